"""Calls as JSON values and back; what is none is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._pytree import tree_flatten

from chiralize.storage.calls import call_record, recorded_call

kinds = st.sampled_from([torch.float16, torch.float32, torch.float64, torch.int64, torch.bool, torch.complex64])
leaves = st.one_of(
    st.builds(lambda sizes, kind: torch.ones(sizes, dtype=kind), st.lists(st.integers(0, 3), max_size=3), kinds),
    st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.floats(allow_nan=False, allow_infinity=False),
)  # fmt: skip
values = st.recursive(
    leaves,
    lambda part: st.one_of(
        st.lists(part, max_size=3), st.lists(part, max_size=3).map(tuple), st.dictionaries(st.text(max_size=3), part)
    ),
    max_leaves=8,
)


@given(st.lists(values, max_size=3), st.dictionaries(st.text(max_size=3), values, max_size=2))
def test_structure_sizes_and_kinds_come_back(args: list[Any], kwargs: dict[str, Any]) -> None:
    record = json.loads(json.dumps(call_record(args, kwargs)))
    before, structure = tree_flatten((tuple(args), kwargs))
    after, same_structure = tree_flatten(recorded_call(record))
    assert structure == same_structure
    for one, other in zip(before, after, strict=True):
        assert type(one) is type(other)
        if isinstance(one, torch.Tensor):
            assert (one.shape, one.dtype) == (other.shape, other.dtype)
            assert one.is_floating_point() or one.is_complex() or torch.equal(one, other)
        else:
            assert one == other


def test_a_state_at_rest_stays_so() -> None:
    args, _ = recorded_call(call_record((torch.zeros(2, 3), torch.ones(2, 3)), {}))
    assert not args[0].any() and args[1].any()


@pytest.mark.parametrize("value", [object(), {1: torch.ones(1)}, float("nan"), torch.ones(5000, dtype=torch.long)])
def test_what_cannot_be_written_is_left_out(value: object) -> None:
    assert call_record((torch.ones(1), value), {}) is None


HUGE = {"sizes": [2**20, 2**20], "kind": "float32"}
BAD: list[Any] = [
    1, [], [{}, {}], [{"tuple": []}], [{"dict": {}}, {"tuple": []}], [{"tuple": [HUGE]}, {"dict": {}}],
    [{"tuple": [{"sizes": [-1], "kind": "float32"}]}, {"dict": {}}],
    [{"tuple": [{"sizes": [1.5], "kind": "float32"}]}, {"dict": {}}],
    [{"tuple": [{"sizes": [2], "kind": "object"}]}, {"dict": {}}],
    [{"tuple": [{"sizes": [2], "kind": "int64", "values": [1]}]}, {"dict": {}}],
    [{"tuple": [{"sizes": [1], "kind": "int64", "values": ["x"]}]}, {"dict": {}}],
    [{"tuple": [{"value": {"a": 1}}]}, {"dict": {}}],
]  # fmt: skip


@pytest.mark.parametrize("record", BAD, ids=str)
def test_what_is_no_call(record: Any) -> None:
    with pytest.raises(ValueError, match="inputs"):
        recorded_call(record)


def test_a_record_that_goes_on_and_on() -> None:
    record: Any = {"value": 1}
    for _ in range(200):
        record = {"tuple": [record]}
    with pytest.raises(ValueError, match="too deep"):
        recorded_call([record, {"dict": {}}])
