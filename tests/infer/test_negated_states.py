"""Hidden spaces whose entries are all negated: their sign may also be written on the whole weight."""

from __future__ import annotations

import pytest
import torch

from chiralize.body.tensors import parse_spec
from chiralize.commands import api
from tests.support.zoo import recurrent
from tests.support.zoo.judging import residual

CASES = {case.name: case for case in recurrent.CASES}


@pytest.mark.one_in(4)
@pytest.mark.parametrize("name", ["lstm", "gru, both ways, two layers", "gru cell loop", "lstm cell loop"])
def test_all_negated(name: str) -> None:
    case = CASES[name]
    spec = parse_spec(case.spec + "hidden: {negated: 1}\n")
    args, kwargs = case.example()
    chiral = api.chiralize(case.model(), spec, args, kwargs, method="project", samples=1, force=True)
    assert residual(chiral, case) < 1e-10
    proof = chiral.chirality.report.judgement.certificate  # type: ignore[union-attr]
    assert proof is not None and proof.passed
    with torch.no_grad():
        weight = next(parameter for name, parameter in chiral.named_parameters() if "weight_hh" in name)
        weight[0, 1] += 1e-3
    broken = api.verify(chiral, example_inputs=args, example_kwargs=kwargs, samples=1)
    assert broken.certificate is not None and not broken.certificate.passed
