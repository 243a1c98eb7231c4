"""Results that are written: readable without chiralize, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch

from chiralize.errors import ExportError, UsageError
from chiralize.storage.load import load_model
from chiralize.storage.passport import Passport
from chiralize.storage.pt2 import save_program
from chiralize.storage.save import target_of, write


class Tied(torch.nn.Module):
    view: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(3, 3)
        self.out = torch.nn.Linear(3, 3)
        self.out.weight = self.fc.weight
        self.register_buffer("view", torch.arange(12.0).reshape(3, 4).t())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.fc(x)) + self.view[:1, :3]


def result(module: torch.nn.Module, passport: Passport, program: Any = None) -> Any:
    return SimpleNamespace(module=module, program=program, passport=passport)


def test_program_is_read_as_it_was(tmp_path: Path, passport: Passport) -> None:
    """By torch alone, and by `load_model`: values to the bit, and the passport."""
    x = torch.ones(2, 3)
    program = torch.export.export(Tied(), (x,))
    write(result(Tied(), passport, program), tmp_path / "net.pt2", None)
    extra = {"chirality.json": ""}
    by_torch, loaded = torch.export.load(tmp_path / "net.pt2", extra_files=extra), load_model(tmp_path / "net.pt2")
    assert Passport.from_json(extra["chirality.json"], "") == loaded.passport == passport
    assert loaded.example is not None and torch.equal(loaded.example[0][0], x)
    assert all(torch.equal(module(x), program.module()(x)) for module in (by_torch.module(), loaded.module))


def test_a_result_without_a_program(tmp_path: Path, passport: Passport) -> None:
    with pytest.raises(ExportError):
        write(result(Tied(), passport), tmp_path / "net.pt2", None)
    assert not list(tmp_path.iterdir())


def test_safetensors_with_tied_and_strided_tensors(tmp_path: Path, passport: Passport) -> None:
    net = Tied()
    write(result(net, passport), tmp_path / "w.safetensors", None)
    back = safetensors.torch.load_file(tmp_path / "w.safetensors")
    assert set(back) == set(net.state_dict())
    assert all(torch.equal(back[name], tensor) for name, tensor in net.state_dict().items())
    with safetensors.safe_open(tmp_path / "w.safetensors", "pt") as stream:
        assert stream.metadata() == {"chirality": passport.to_json()}


@pytest.mark.parametrize("mapped", [False, True])
def test_state_dict(mapped: bool, tmp_path: Path, passport: Passport) -> None:
    """As torch writes it: tied weights stay tied, and it can be mapped into memory."""
    net = Tied()
    write(result(net, passport), tmp_path / "w.pt", None)
    assert [path.name for path in tmp_path.iterdir()] == ["w.pt"]
    back = torch.load(tmp_path / "w.pt", weights_only=True, mmap=mapped)
    assert all(torch.equal(back[name], tensor) for name, tensor in net.state_dict().items())
    assert back["fc.weight"].data_ptr() == back["out.weight"].data_ptr()


def test_an_example_of_a_few_rows_is_written_without_the_data_set(tmp_path: Path) -> None:
    """The program in memory keeps the view that it was given."""
    rows = torch.randn(200_000, 3)
    program = torch.export.export(torch.nn.Linear(3, 2), (rows[:4],))
    save_program(program, tmp_path / "net.pt2", "")
    assert (tmp_path / "net.pt2").stat().st_size < 200_000
    written = torch.export.load(tmp_path / "net.pt2")
    assert written.example_inputs is not None and torch.equal(written.example_inputs[0][0], rows[:4])
    assert program.example_inputs is not None
    assert program.example_inputs[0][0].untyped_storage().nbytes() == rows.nbytes


TARGETS = {
    ("a.pt2", "b.pt2"): "program",
    ("a.pt2", "b.pt"): "program",
    ("a.PT2", None): "program",
    ("a.safetensors", "b.pt"): "safetensors",
    ("a.safetensors", "b.safetensors"): "back",
    ("a.pt", "b.pt"): "back",
    ("a.ckpt", "b.ckpt"): "back",
    ("a.pt", "b.ckpt"): "state_dict",
    ("a.pth", "b.pt2"): "state_dict",
}


@pytest.mark.parametrize("case", TARGETS, ids=str)
def test_the_suffix_says_what_is_written(case: tuple[str, str | None]) -> None:
    target, source = case
    assert target_of(Path(target), Path(source) if source else None) == TARGETS[case]


@pytest.mark.parametrize("name", ["a", "a.txt", "a.ckpt", "a.onnxx"])
def test_suffixes_that_are_not_known(name: str) -> None:
    with pytest.raises(UsageError):
        target_of(Path(name), Path("b.pt2"))
