"""TorchScript goes in as a trace: other op names, and no checks of sizes."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from chiralize.body.tensors import ConversionSpec, load_spec
from chiralize.commands import api
from chiralize.errors import ModelRunError, StateWarning
from chiralize.graph import rewrite
from chiralize.problem.preparation import prepare
from tests.support.zoo import lifters, policies, recurrent, structures
from tests.support.zoo.case import Case
from tests.support.zoo.judging import residual

NAMES = ("temporal", "lstm cell loop", "invariant classifier", "policy, gru in buffers")
CASES = {case.name: case for module in (lifters, policies, recurrent, structures) for case in module.CASES}


def scripted(case: Case) -> Any:
    """The network of a case as a traced TorchScript module."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(case.model(), case.example()[0])


@pytest.mark.one_in(4)
@pytest.mark.parametrize("name", NAMES)
def test_traced_networks_convert(name: str, spec_of: Callable[[Case], ConversionSpec]) -> None:
    """torch.jit.trace runs the network, so the policy starts lopsided: the result starts where T leaves it alone."""
    case = CASES[name]
    script = scripted(case)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        chiral: Any = api.chiralize(script, spec_of(case), case.example()[0], method="match", samples=1)
    assert any(own.category is StateWarning for own in caught) == ("buffers" in name)
    assert {own.name for own in chiral.chirality.report.changes.states} == (
        {"hidden", "last"} if "buffers" in name else set()
    )
    assert residual(chiral, case) < 1e-10


@pytest.fixture
def spec_of(tmp_path: Path) -> Callable[[Case], ConversionSpec]:
    """The specification of a case, from a file."""

    def read(case: Case) -> ConversionSpec:
        file = tmp_path / "spec.yaml"
        file.write_text(case.spec)
        return load_spec(file)

    return read


def test_no_other_batch_is_tried_on_a_trace(spec_of: Callable[[Case], ConversionSpec]) -> None:
    """A trace holds states of one batch size: it refuses others, before the LSTM kernel reads past their end."""
    case = CASES["lstm"]
    args = case.example()[0]
    network = prepare(scripted(case), spec_of(case), args)
    assert network.origin.traced
    with pytest.raises(ModelRunError, match=r"CH208  input 0: its sizes are \(7, .*as it was traced takes \(\d"):
        network.module(args[0][:1].repeat_interleave(7, 0))
    report = api.verify(scripted(case), spec_of(case), args, samples=1)
    assert set(report.judgement.numeric.batches) <= {len(args[0])}


def test_argument_called_like_a_builtin() -> None:
    """Copying a program renames an argument `input`; the copy must be fit to be saved all the same."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(34, 8), nn.ReLU(), nn.Linear(8, 51), nn.Unflatten(1, (17, 3)))
    x = torch.zeros(2, 17, 2)
    program = torch.export.export(network.eval(), (x,))
    assert "input" in program.graph_signature.user_inputs
    chiral = api.chiralize(program, "h36m", (x,), method="project", samples=1)
    assert api.verify(chiral, example_inputs=(x,), samples=1).passed


def test_copied_programs_keep_their_names() -> None:
    program = torch.export.export(nn.Sequential(nn.Linear(3, 3)), (torch.zeros(1, 3),))
    copied = rewrite.program_with_weights(program, {})
    assert [node.name for node in copied.graph.nodes] == [node.name for node in program.graph.nodes]
    buffer = io.BytesIO()
    torch.export.save(copied, buffer)
    assert torch.export.load(io.BytesIO(buffer.getvalue())).graph_signature.user_inputs == ("input",)


def test_a_script_that_fails_on_the_example_says_so(spec_of: Callable[[Case], ConversionSpec]) -> None:
    """Its class has no forward that could be looked up in the plain way; its state is that of one robot."""
    case = CASES["policy, lstm in buffers"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.script(case.build().eval())
    with pytest.raises(ModelRunError, match=r"Expected hidden\[0\] size \(1, 2, 8\)"):
        prepare(script, spec_of(case), (torch.zeros(2, 48),))
