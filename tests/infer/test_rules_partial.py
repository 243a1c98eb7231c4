"""`partial`, by every sample of every rule: the functions that not all numbers have a value of, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_leaves, tree_map_only

from chiralize.graph.execution import overload
from chiralize.infer.registry import Drawn, OpRule, Sample, registry
from tests.support.rule_values import draw

RULES = list({id(rule): rule for rule in registry().values()}.values())
WITHIN = ("positive", "small", "share")


def anywhere(sample: Sample) -> Sample:
    """The sample with all inputs from N(0, 1), whatever it keeps to; parameters stay where they are."""
    args = [
        own if place in sample.parameters or not _is_kept_within(own) else Drawn(own.shape)
        for place, own in enumerate(sample.args)
    ]
    return replace(sample, args=tuple(args))


def _is_kept_within(value: object) -> bool:
    return isinstance(value, Drawn) and value.kind in WITHIN


def answers(target: str, sample: Sample) -> Iterator[torch.Tensor]:
    rng = np.random.default_rng(0)

    def tensor(drawn: Drawn) -> torch.Tensor:
        kinds = {"label": torch.int64, "truth": torch.bool}
        return torch.from_numpy(draw(drawn, 1, rng)[0]).to(kinds.get(drawn.kind))

    wanted = [str(own.type) == "Tensor" for own in overload(target)._schema.arguments]
    args = [
        torch.tensor(own) if isinstance(own, list) and wanted[place] else own for place, own in enumerate(sample.args)
    ]
    args, kwargs = tree_map_only(Drawn, tensor, (args, dict(sample.kwargs)))
    yield from (own for own in tree_leaves(overload(target)(*args, **kwargs)) if isinstance(own, torch.Tensor))


def breaks(rule: OpRule) -> bool:
    given = [(target, own) for target, samples in rule.samples.items() for own in samples]
    moved = [(target, other) for target, own in given if (other := anywhere(own)) != own]
    return any(not bool(own.isfinite().all()) for target, sample in moved for own in answers(target, sample))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_partial_is_what_it_says(rule: OpRule) -> None:
    assert rule.partial == breaks(rule)
