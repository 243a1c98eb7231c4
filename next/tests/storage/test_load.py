"""Programs, weights and classes of the user: what is loaded, and how what cannot be is refused."""

from __future__ import annotations

import argparse
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from chiralize.errors import FactoryError, ModelFileError, NonFiniteError, UsageError
from chiralize.graph.quiet import quiet
from chiralize.graph.run import results, same
from chiralize.storage.factory import nested, parse_value
from chiralize.storage.load import Wanted, load_model
from tests.support.trainer_files import Net, weights
from tests.support.zoo import CASES

NETS = """\
import argparse
import sys
import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--width", type=int, default=3)
WIDTH = parser.parse_args().width


class Net(nn.Module):
    def __init__(self, hidden: int = 4) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(10, hidden), nn.BatchNorm1d(hidden), nn.Linear(hidden, 10)


class Holder:
    net = Net


def fails(hidden=4):
    raise ValueError("no such thing")


def leaves():
    sys.exit(3)


def text():
    return "no network"


class Refuses(Net):
    def load_state_dict(self, state, strict=True):
        raise RuntimeError("not these")


number = 3
"""


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's module in the current folder, which is not on the import path, and weights of its network."""
    (tmp_path / "user_nets.py").write_text(NETS)
    (tmp_path / "broken_nets.py").write_text("import nothing_of_this_name\n")
    torch.save(weights(), tmp_path / "w.pt")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["chiralize", "convert", "w.pt"])
    yield tmp_path
    for name in ("user_nets", "broken_nets"):
        sys.modules.pop(name, None)


# ---- programs ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", list(CASES)[::3])
def test_a_program_answers_as_it_did(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    net, (args, kwargs) = case.model(), case.example()
    net.forward = getattr(net, case.entry)  # type: ignore[method-assign]
    with quiet():
        torch.export.save(torch.export.export(net, args, kwargs, strict=False), tmp_path / "net.pt2")
    loaded = load_model(tmp_path / "net.pt2")
    expected = torch.export.load(tmp_path / "net.pt2").module()(*args, **kwargs)
    answers = loaded.module(*args, **kwargs)
    assert all(map(same, results(answers)[0], results(expected)[0]))
    assert loaded.kind == "program" and loaded.program is not None and loaded.example is not None


def test_open_sizes_stay_open(tmp_path: Path) -> None:
    sizes = {"x": {0: torch.export.Dim.AUTO}}
    program = torch.export.export(Net().eval(), (torch.randn(3, 10),), dynamic_shapes=sizes)
    torch.export.save(program, tmp_path / "net.pt2")
    assert load_model(tmp_path / "net.pt2").module(torch.randn(7, 10)).shape == (7, 10)


# ---- weights ----------------------------------------------------------------------------------------------------
WRITERS: dict[str, Callable[[Path], Any]] = {
    "state dict": lambda path: torch.save(weights(), path),
    "before 1.6": lambda path: torch.save(weights(), path, _use_new_zipfile_serialization=False),
    "protocol 4": lambda path: torch.save(weights(), path, pickle_protocol=4),
    "parameters": lambda path: torch.save({k: nn.Parameter(v, False) for k, v in weights().items()}, path),
    "parallel": lambda path: torch.save(nn.DataParallel(_filled()).state_dict(), path),
    "module": lambda path: torch.save(_filled(), path),
    "safetensors": lambda path: safetensors.torch.save_file(weights(), path),
    "npz": lambda path: np.savez(path.open("wb"), **{k: v.numpy() for k, v in weights().items()}),
    "objects": lambda path: torch.save({"args": argparse.Namespace(a=1), "model": weights()}, path),
    "float64": lambda path: torch.save({k: v.double() if v.ndim else v for k, v in weights().items()}, path),
}


def _filled() -> Net:
    net = Net()
    net.load_state_dict(weights())
    return net


@pytest.mark.parametrize("kind", WRITERS)
def test_weights_of_every_kind(kind: str, tmp_path: Path) -> None:
    WRITERS[kind](tmp_path / "w")
    state = load_model(tmp_path / "w", Wanted(Net)).module.state_dict()
    for name, tensor in weights().items():
        assert torch.equal(state[name], tensor.to(state[name].dtype))
    assert state["first.weight"].dtype is (torch.float64 if kind == "float64" else torch.float32)


@pytest.mark.parametrize("model", [Net, Net(), lambda: Net()], ids=["class", "module", "function"])
def test_a_model_may_be_the_class_itself(model: Any, tmp_path: Path) -> None:
    """Or a module, which is copied."""
    torch.save(weights(), tmp_path / "w.pt")
    loaded = load_model(tmp_path / "w.pt", Wanted(model))
    assert torch.equal(loaded.module.state_dict()["first.weight"], weights()["first.weight"])
    if isinstance(model, Net):
        assert not torch.equal(model.state_dict()["first.weight"], weights()["first.weight"])
        with pytest.raises(UsageError):
            load_model(tmp_path / "w.pt", Wanted(model, {"hidden": "4"}))


def test_views_of_one_storage_come_in_as_they_are(tmp_path: Path) -> None:
    whole = torch.randn(6, 10)
    torch.save({**weights(), "first.weight": whole[1:5], "last.weight": torch.randn(4, 10).t()}, tmp_path / "w.pt")
    state = torch.load(tmp_path / "w.pt")
    loaded = load_model(tmp_path / "w.pt", Wanted(Net)).module.state_dict()
    assert all(torch.equal(loaded[name], state[name]) for name in state)


def test_weights_without_a_class(tmp_path: Path) -> None:
    torch.save(weights(), tmp_path / "w.pt")
    with pytest.raises(UsageError) as caught:
        load_model(tmp_path / "w.pt")
    assert "--model" in caught.value.remedy


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    table = weights()
    table["first.weight"][0, 0] = float("nan")
    torch.save(table, tmp_path / "w.pt")
    with pytest.raises(NonFiniteError):
        load_model(tmp_path / "w.pt", Wanted(Net))


def test_attention_mask_of_minus_infinity_is_meant_so(tmp_path: Path) -> None:
    class Masked(nn.Module):
        mask: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mask", torch.full((3, 3), float("-inf")).triu(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x + self.mask).softmax(-1)

    torch.export.save(torch.export.export(Masked(), (torch.ones(3, 3),)), tmp_path / "net.pt2")
    assert load_model(tmp_path / "net.pt2").kind == "program"


# ---- the user's class -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("model", ["user_nets:Net", "user_nets:Holder.net"])
def test_a_class_of_the_working_folder(model: str, nets: Path) -> None:
    """Its module reads the command line as it is imported, which is not that of chiralize."""
    assert load_model(nets / "w.pt", Wanted(model)).kind == "weights"
    assert str(nets) not in sys.path and sys.argv[1] == "convert"


WRONG = ["user_nets", "user_nets:Nte", "user_nets:number", "user_nets.py:Net", "no_such:Net", "broken_nets:Net", ":x"]


@pytest.mark.parametrize("model", [*WRONG, *(f"user_nets:{name}" for name in ("fails", "leaves", "text", "Refuses"))])
def test_wrong_class(model: str, nets: Path) -> None:
    with pytest.raises(FactoryError):
        load_model(nets / "w.pt", Wanted(model))
    assert str(nets) not in sys.path


def test_an_argument_that_the_class_does_not_take(nets: Path) -> None:
    with pytest.raises(FactoryError):
        load_model(nets / "w.pt", Wanted("user_nets:Net", {"colour": "3"}))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("3", 3), ("0.5", 0.5), ("true", True), ("null", None), ("[1, 2]", [1, 2]), ("3,3", (3, 3)), ("a", "a")),
        *(("'a,b'", "a,b"), ("{a: 1}", {"a": 1}), ("", None)),
    ],
)
def test_argument_values(text: str, value: object) -> None:
    assert parse_value("x", text) == value


def test_argument_that_is_not_yaml() -> None:
    with pytest.raises(UsageError):
        parse_value("x", "[1")


def test_arguments_in_one_object() -> None:
    call = nested({"args.frames": 27, "args.model.width": 4, "depth": 2})
    assert call["depth"] == 2 and call["args"].frames == 27 and call["args"].model.width == 4
    with pytest.raises(AttributeError):
        _ = call["args"].heads


# ---- broken files ---------------------------------------------------------------------------------------------------
def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", b"x")


BROKEN: dict[str, Callable[[Path], Any]] = {
    "missing": lambda path: None,
    "folder": lambda path: path.mkdir(),
    "empty": lambda path: path.write_bytes(b""),
    "one byte": lambda path: path.write_bytes(b"\x80"),
    "text": lambda path: path.write_text("hello world"),
    "web page": lambda path: path.write_text("<!DOCTYPE html>"),
    "git-lfs pointer": lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"),
    "random bytes": lambda path: path.write_bytes(bytes(range(255, 0, -1))),
    "plain zip": _zip,
    "damaged zip": lambda path: path.write_bytes(b"PK\x03\x04" + bytes(100)),
    "safetensors header": lambda path: path.write_bytes((4000).to_bytes(8, "little") + b"{}"),
    "safetensors json": lambda path: path.write_bytes((8).to_bytes(8, "little") + b"{abcdefg" + bytes(9)),
    "array": lambda path: np.save(path.open("wb"), np.ones(3)),
    "device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_model_file(case: str, tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    BROKEN[case](path)
    with pytest.raises(ModelFileError) as caught:
        load_model(path, Wanted(Net))
    assert str(path) in caught.value.where and caught.value.remedy
