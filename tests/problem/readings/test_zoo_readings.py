"""The true sizes of the zoo's networks, found by trial: the first reading that holds is the one they were made for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._pytree import tree_leaves

from chiralize.body.tensors import parse_spec, resolve
from chiralize.errors import UsageError
from chiralize.problem.readings.derive import derive
from tests.support.zoo import CASES
from tests.support.zoo.case import Case, tensors

NESTED = "trees"
"""Takes a table and a keyword: no list of tensors says where they go."""


def answers_of(case: Case, call: Any) -> list[tuple[int, ...]]:
    args, kwargs = call
    with torch.no_grad():
        return [
            tuple(answer.shape) for answer in tensors(getattr(case.model(torch.float32), case.entry)(*args, **kwargs))
        ]


@pytest.mark.one_in(12)
@pytest.mark.parametrize("name", [name for name in CASES if name != NESTED])
def test_the_true_reading_comes_first(name: str) -> None:
    """Layouts are the true ones, and all sizes but those of batch and frames."""
    case = CASES[name]
    spec, example = parse_spec(case.spec), case.example(torch.float32)
    derived = derive(case.model(torch.float32), spec, torch.float32, case.entry, name, "--input-shape")
    true_shapes = [tuple(tensor.shape) for tensor in tree_leaves(example)]
    shapes = [tuple(tensor.shape) for tensor in tree_leaves(derived.call)]
    true = resolve(spec, true_shapes, answers_of(case, example)).input_tensors
    ours = resolve(derived.spec, shapes, answers_of(case, derived.call)).input_tensors
    assert [tensor.layout for tensor in ours] == [tensor.layout for tensor in true]
    for one, other in zip(ours, true, strict=True):
        is_open = [word in ("b", "t") for word in one.layout.split()] if one.pose else [True] * len(one.shape)
        sizes = zip(is_open, one.shape, other.shape, strict=False)
        assert all(free or size == true_size for free, size, true_size in sizes), (one.shape, other.shape)
    assert derived.remark.startswith("taken as ") and "; --input-shape says otherwise" in derived.remark


def test_there_are_enough() -> None:
    single = [case for case in CASES.values() if len(tree_leaves((case.args, dict(case.kwargs)))) == 1]
    assert len(single) >= 35


def test_a_nested_call_is_refused_with_the_arguments() -> None:
    case = CASES[NESTED]
    with pytest.raises(UsageError, match=r"3 inputs are described, the network's arguments are: batch, prior"):
        derive(case.model(torch.float32), parse_spec(case.spec), torch.float32, "forward", "trees", "--input-shape")
