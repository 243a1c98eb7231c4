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


def call(**args: Any) -> list[Any]:
    """A record of a call with these arguments."""
    return [{"tuple": list(args.values())}, {"dict": {}}]


TENSOR = {"sizes": [2, 3], "kind": "float32"}
WHOLE = {"sizes": [1], "kind": "int64"}
BAD: dict[str, Any] = {
    "a number": 1,
    "no pair": [],
    "tables that say nothing": [{}, {}],
    "no keywords": [{"tuple": []}],
    "the wrong way round": [{"dict": {}}, {"tuple": []}],
    "arguments under their names": {"args": [TENSOR], "kwargs": {}},
    "a size below 0": call(x={**TENSOR, "sizes": [-1]}),
    "a size that is no whole number": call(x={**TENSOR, "sizes": [1.5]}),
    "a size that is a truth value": call(x={**TENSOR, "sizes": [True]}),
    "sizes as text": call(x={**TENSOR, "sizes": "2"}),
    "more axes than any tensor": call(x={**TENSOR, "sizes": [1] * 65}),
    "no kind": call(x={"sizes": [2]}),
    "a kind that is a function of torch": call(x={**TENSOR, "kind": "load"}),
    "a kind without random numbers": call(x={**TENSOR, "kind": "qint8"}),
    "more values than sizes say": call(x={**WHOLE, "values": [1, 2]}),
    "fewer values than sizes say": call(x={**TENSOR, "values": [1]}),
    "a value that is a text": call(x={**WHOLE, "values": ["x"]}),
    "a value that is a table": call(x={**WHOLE, "values": [{}]}),
    "a value too large": call(x={**WHOLE, "values": [2**70]}),
    "a plain value that is a table": call(x={"value": {"a": 1}}),
    "a plain value that is a list": call(x={"value": [1]}),
    "an entry of no known kind": call(x={"code": "1"}),
    "an entry that is no table": call(x=3),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_call(name: str) -> None:
    with pytest.raises(ValueError, match="inputs"):
        recorded_call(json.loads(json.dumps(BAD[name])))


LARGE = {**TENSOR, "sizes": [2**27]}
TOO_LARGE: dict[str, Any] = {
    "one tensor": call(x={**TENSOR, "sizes": [2**20, 2**20]}),
    "one whose values are said to be few": call(x={**WHOLE, "sizes": [2**62], "values": [1]}),
    "one without entries": call(x={**TENSOR, "sizes": [2**62, 2**62, 0]}),
    "many, each below the bound": call(x=LARGE, more={"list": [LARGE] * 100}),
    "some by their names": [{"tuple": [LARGE]}, {"dict": {"x": {"dict": {"y": {"tuple": [LARGE, TENSOR]}}}}}],
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_what_would_fill_the_memory(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All tensors of a record are counted together, before the first one is made."""

    def made(*_: Any, **__: Any) -> None:
        pytest.fail("a tensor was made")

    for maker in ("zeros", "randn", "tensor"):
        monkeypatch.setattr(torch, maker, made)
    with pytest.raises(ValueError, match=r"inputs: tensors of [\d,]{11,} entries together"):
        recorded_call(TOO_LARGE[name])


def test_an_argument_may_be_called_as_entries_of_the_record_are() -> None:
    kwargs: dict[str, Any] = {"sizes": 3, "dict": {"tuple": [1], "sizes": torch.ones(2)}, "value": None}
    _, back = recorded_call(call_record((), kwargs))
    assert back["sizes"] == 3 and back["dict"]["tuple"] == [1] and back["dict"]["sizes"].shape == (2,)


def test_a_record_that_goes_on_and_on() -> None:
    record: Any = {"value": 1}
    for _ in range(200):
        record = {"tuple": [record]}
    with pytest.raises(ValueError, match="too deep"):
        recorded_call([record, {"dict": {}}])
