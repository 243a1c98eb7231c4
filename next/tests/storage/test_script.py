"""TorchScript in and out: honest scripts load, those whose code reaches outside are refused with nothing run."""

from __future__ import annotations

import io
import os
import pickle
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from chiralize.errors import ExportError, ModelFileError, ParityError, UnsafeFileError
from chiralize.graph.quiet import quiet
from chiralize.storage.load import load_model
from chiralize.storage.passport import Passport, call_record
from chiralize.storage.save import passport_in, target_of, write

Members = dict[str, bytes]


class Saving(nn.Module):
    """Has an attribute and a variable called `save`, which is nothing bad."""

    def __init__(self) -> None:
        super().__init__()
        self.save = nn.Parameter(torch.ones(3))
        self.layers = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        save = self.save * x
        return self.layers(save)


class Recurrent(nn.Module):
    """A layer that keeps its weights in a list as well."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(3, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.rnn(x)[0]


HONEST: dict[str, nn.Module] = {
    "named save": Saving(),
    "recurrent": Recurrent(),
    "bfloat16": nn.Linear(3, 3).to(torch.bfloat16),
}


def scripted(net: nn.Module) -> bytes:
    stream = io.BytesIO()
    with quiet():
        torch.jit.save(torch.jit.script(net.eval()), stream)
    return stream.getvalue()


@pytest.mark.parametrize("name", HONEST)
def test_honest_scripts_load(name: str, tmp_path: Path) -> None:
    (tmp_path / "net.pt").write_bytes(scripted(HONEST[name]))
    loaded = load_model(tmp_path / "net.pt")
    assert loaded.kind == "script" and not loaded.module.training
    state = loaded.module.state_dict()
    assert all(torch.equal(state[key], tensor) for key, tensor in HONEST[name].state_dict().items())


@pytest.fixture(scope="module")
def members() -> Members:
    with zipfile.ZipFile(io.BytesIO(scripted(nn.Sequential(nn.Linear(2, 2))))) as source:
        return {name.split("/", 1)[1]: source.read(name) for name in source.namelist()}


def write_members(path: Path, members: Members) -> Path:
    with zipfile.ZipFile(path, "w") as target:
        for name, data in members.items():
            target.writestr(f"archive/{name}", data)
    return path


def _code(new: str) -> Callable[[Members], None]:
    def change(members: Members) -> None:
        name = next(name for name, data in members.items() if name.endswith(".py") and b"return " in data)
        members[name] = members[name].replace(b"return ", f"{new}\n    return ".encode(), 1)

    return change


UNSAFE: dict[str, str] = {
    "writes": "ops.aten.save(input, '/x')",
    "writes by its short name": "torch.save(input, '/x')",
    "another name for the module": "t = torch\n    t.save(input, '/x')",
    "another name for the function": "f = torch.save\n    f(input, '/x')",
    "a blank": "torch . save(input, '/x')",
    "another name for self": "self = torch\n    self.save(input, '/x')",
    "by a text": 'getattr(torch, "save")(input, "/x")',
    "by two texts": 'getattr(torch, "sa" "ve")(input, "/x")',
    "by an escaped text": 'getattr(torch, "\\x73ave")(input, "/x")',
    "reads": "y = torch.from_file('/x')",
    "foreign operator": "ops.evil.run(input)",
    "another name for ops": "o = ops\n    o.evil.run(input)",
    "in a comment": "# torch.save",
}


@pytest.mark.parametrize("case", UNSAFE)
def test_code_that_reaches_outside(case: str, members: Members, tmp_path: Path) -> None:
    spoilt = dict(members)
    _code(UNSAFE[case])(spoilt)
    with pytest.raises(UnsafeFileError):
        load_model(write_members(tmp_path / "net.pt", spoilt))


def test_such_code_writes_files_on_torch(members: Members, tmp_path: Path) -> None:
    """The payload works: the test above is not empty."""
    spoilt, marker = dict(members), tmp_path / "was_run"
    _code(f"t = torch\n    t.save(input, {str(marker)!r})")(spoilt)
    path = write_members(tmp_path / "net.pt", spoilt)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.load(path)(torch.ones(1, 2))
    assert marker.exists()
    marker.unlink()
    with pytest.raises(UnsafeFileError):
        load_model(path)
    assert not marker.exists()


class Touch:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("was_run",)


OTHERS: dict[str, tuple[Callable[[Members], object], type[Exception]]] = {
    "python import": (lambda m: m.update({"data.pkl": pickle.dumps(Touch(), 2)}), ModelFileError),
    "computed import": (lambda m: m.update({"constants.pkl": pickle.dumps(Touch(), 4)}), ModelFileError),
    "not a pickle": (lambda m: m.update({"constants.pkl": b"hello"}), ModelFileError),
    "old layout": (lambda m: m.update({"model.json": b"{}"}), UnsafeFileError),
}


@pytest.mark.parametrize("case", OTHERS)
def test_archives_of_another_shape(
    case: str, members: Members, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spoilt, (change, error) = dict(members), OTHERS[case]
    change(spoilt)
    with pytest.raises(error):
        load_model(write_members(tmp_path / "net.pt", spoilt))
    assert not (tmp_path / "was_run").exists()


# ---- written -----------------------------------------------------------------------------------------------------
def test_a_result_goes_back_as_a_script(tmp_path: Path, passport: Passport) -> None:
    """With the original's code, lists of weights within it included."""
    net, x = Recurrent(), torch.randn(5, 3)
    (tmp_path / "net.pt").write_bytes(scripted(net))
    loaded = load_model(tmp_path / "net.pt")
    other = Recurrent()
    known = replace(passport, inputs=call_record((x,), {}))
    result: Any = SimpleNamespace(module=other, program=None, passport=known)
    assert target_of(tmp_path / "out.pt", loaded.path) == "script"
    write(result, tmp_path / "out.pt", loaded)
    again = load_model(tmp_path / "out.pt")
    assert torch.allclose(again.module(x), other(x), atol=1e-6)
    assert again.passport == known == passport_in(tmp_path / "out.pt")
    assert torch.equal(loaded.module(x), net(x))  # the network that was loaded is not touched


def test_a_result_that_has_no_room_in_the_script(tmp_path: Path, passport: Passport) -> None:
    (tmp_path / "net.pt").write_bytes(scripted(nn.Linear(3, 3)))
    loaded = load_model(tmp_path / "net.pt")
    for module, error in ((nn.Linear(3, 4), ExportError), (_Twice(3, 3), ParityError)):
        result: Any = SimpleNamespace(
            module=module, program=None, passport=replace(passport, inputs=call_record((torch.randn(2, 3),), {}))
        )
        with pytest.raises(error):
            write(result, tmp_path / "out.pt", loaded)
        assert not (tmp_path / "out.pt").exists()


class _Twice(nn.Linear):
    """The same weights, and another answer."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)
