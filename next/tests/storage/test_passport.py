"""The passport: the same after it was written, whatever file it is in; edited ones are refused."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from chiralize.errors import ModelFileError
from chiralize.storage.load import Wanted, load_model
from chiralize.storage.passport import Passport, call_record, recorded_call
from chiralize.storage.save import passport_in, write
from tests.support.trainer_files import Net


def test_it_is_the_same_after_it_was_written(passport: Passport) -> None:
    text = passport.to_json()
    assert Passport.from_json(text, "a.pt2") == passport
    # Equal axes are written once.
    assert len(json.loads(text)["representations"]) == 1


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("figures", 5), ("hidden", {"w": [1, 99]}), ("hidden", {"w": [None, 0]}), ("hidden", {"w": [[], 0]})),
        *(("hidden", {"w": "x"}), ("hidden", {"w": [2, 0]}), ("exchanged", ["a"]), ("spec", {"joints": 3})),
        *(("chirality", 1), ("chirality", 3), ("inputs", [3]), ("inputs", "x"), ("mirrors", {"up": {}})),
        *(("representations", [3]), ("representations", ["5 5"])),
    ],
)
def test_edited_passports_are_refused(passport: Passport, key: str, value: Any) -> None:
    record = {**json.loads(passport.to_json()), key: value}
    with pytest.raises(ModelFileError) as caught:
        Passport.from_json(json.dumps(record), "a.pt2")
    assert caught.value.where == "a.pt2"


@pytest.mark.parametrize("key", ["chirality", "method", "spec", "hidden", "representations", "entry"])
def test_passports_without_an_entry_are_refused(passport: Passport, key: str) -> None:
    record = json.loads(passport.to_json())
    del record[key]
    with pytest.raises(ModelFileError):
        Passport.from_json(json.dumps(record), "a.pt2")


@pytest.mark.parametrize("text", ["{}", "null", "[]", 100_000 * "[", "{", ""])
def test_what_is_no_passport(text: str) -> None:
    with pytest.raises(ModelFileError):
        Passport.from_json(text, "a.pt2")


def test_numbers_that_are_not_finite_become_texts(passport: Passport) -> None:
    odd = Passport(passport.spec, "match", "original", figures={"gap": float("inf"), "odd": [float("nan"), 1.0]})
    assert Passport.from_json(odd.to_json(), "a").figures == {"gap": "inf", "odd": ["nan", 1.0]}


@pytest.mark.parametrize("name", ["out.pt2", "out.safetensors", "out.pt", "back.pth", "back.safetensors"])
def test_it_is_inside_of_every_file(name: str, passport: Passport, tmp_path: Path) -> None:
    """Moved files keep it: nothing lies beside them."""
    net, source = Net().eval(), tmp_path / f"in{Path(name).suffix}"
    loaded = None
    if name.startswith("back"):
        write(SimpleNamespace(module=net, program=None, passport=passport), source, None)
        loaded = load_model(source, Wanted(Net))
    program = torch.export.export(net, (torch.randn(2, 10),))
    write(SimpleNamespace(module=net, program=program, passport=passport), tmp_path / name, loaded)
    (tmp_path / "elsewhere").mkdir()
    moved = (tmp_path / name).rename(tmp_path / "elsewhere" / name)
    again = load_model(moved, Wanted() if name.endswith(".pt2") else Wanted(Net))
    assert again.passport == passport and passport_in(moved) == passport
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == [name]


def test_a_damaged_passport_refuses_the_file(tmp_path: Path, passport: Passport) -> None:
    from safetensors.torch import save_file

    save_file(Net().state_dict(), tmp_path / "w.safetensors", metadata={"chirality": "{"})
    with pytest.raises(ModelFileError):
        load_model(tmp_path / "w.safetensors", Wanted(Net))


# ---- calls --------------------------------------------------------------------------------------------------------
def test_a_call_comes_back_in_its_sizes() -> None:
    args = (torch.randn(2, 3), [torch.zeros(1, 4), torch.arange(3)], {"a": None, "sizes": (True, 0.5, "x")})
    record = json.loads(json.dumps(call_record(args, {"mask": torch.ones(2, dtype=torch.bool)})))
    (x, (state, count), table), kwargs = recorded_call(record)
    assert x.shape == (2, 3) and x.abs().sum() > 0
    assert torch.equal(state, torch.zeros(1, 4)) and torch.equal(count, torch.arange(3))
    assert table == {"a": None, "sizes": (True, 0.5, "x")} and torch.equal(kwargs["mask"], torch.tensor([True, True]))


@pytest.mark.parametrize("value", [object(), torch.arange(9999), float("nan"), {1: 2}, torch.zeros(2).to_sparse()])
def test_calls_that_no_text_can_hold(value: Any) -> None:
    record = call_record((value,), {})
    assert record is None or isinstance(value, torch.Tensor)


@pytest.mark.parametrize(
    "part",
    [
        *({"sizes": [2**40], "kind": "float32"}, {"sizes": [-1], "kind": "float32"}, {"sizes": [2], "kind": "x"}),
        *({"sizes": [2], "kind": "int64", "values": [1]}, {"sizes": [True], "kind": "int8"}, 3, {"value": []}),
    ],
)
def test_records_that_are_no_call(part: Any) -> None:
    with pytest.raises(ValueError, match="inputs"):
        recorded_call([{"tuple": [part]}, {"dict": {}}])
