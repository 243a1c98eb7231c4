"""One call of a network as text: what is written comes back, and what others wrote builds nothing absurd."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from chiralize.errors import ModelFileError
from chiralize.storage.call_record import call_text, recorded


def test_comes_back() -> None:
    args = (torch.zeros(2, 3), [torch.zeros(1, dtype=torch.float64), None], {"mask": torch.tensor([True, False])})
    kwargs = {"scale": 0.5, "state": (torch.arange(3), "word")}
    text = call_text(args, kwargs)
    assert text is not None
    (first, (second, nothing), table), more = recorded(text, "net.pt")
    assert (first.shape, first.dtype, second.dtype, nothing) == ((2, 3), torch.float32, torch.float64, None)
    assert float(first.abs().sum()) > 0  # random numbers, not those of the example
    assert torch.equal(table["mask"], torch.tensor([True, False]))
    assert more["scale"] == 0.5
    assert torch.equal(more["state"][0], torch.arange(3))
    assert more["state"][1] == "word"


def test_no_record_of_what_has_no_form() -> None:
    assert call_text((object(),), {}) is None
    assert call_text(({1: torch.zeros(1)},), {}) is None


TENSOR = {"tensor": [2, 3], "dtype": "float32"}
BAD: dict[str, Any] = {
    "no table": [],
    "no arguments": {"kwargs": {}},
    "sizes": {"args": [{**TENSOR, "tensor": [-1]}], "kwargs": {}},
    "sizes of another kind": {"args": [{**TENSOR, "tensor": "2"}], "kwargs": {}},
    "a huge tensor": {"args": [{**TENSOR, "tensor": [2**20, 2**20]}], "kwargs": {}},
    "many large tensors": {"args": [{"list": [{**TENSOR, "tensor": [2**27]}] * 100}], "kwargs": {}},
    "no kind of numbers": {"args": [{**TENSOR, "dtype": "load"}], "kwargs": {}},
    "a kind without random numbers": {"args": [{**TENSOR, "dtype": "qint8"}], "kwargs": {}},
    "other values than sizes": {"args": [{**TENSOR, "values": [1]}], "kwargs": {}},
    "values that are none": {"args": [{**TENSOR, "values": [{}]}], "kwargs": {}},
    "plain that is not": {"args": [{"plain": [1]}], "kwargs": {}},
    "an unknown entry": {"args": [{"code": "1"}], "kwargs": {}},
    "an entry that is a number": {"args": [3], "kwargs": {}},
}


@pytest.mark.parametrize("name", BAD)
def test_bad_records_are_refused(name: str) -> None:
    with pytest.raises(ModelFileError, match=r"net.pt: chirality.call.json cannot be read") as refused:
        recorded(json.dumps(BAD[name]), "net.pt")
    assert "convert the network again, or give --input-shape" in refused.value.remedy


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000])
def test_text_that_is_no_json(text: str) -> None:
    with pytest.raises(ModelFileError):
        recorded(text, "net.pt")
