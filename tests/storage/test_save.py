"""Models written for others: readable without chiralize, whole or not at all."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
import torch

from chiralize.errors import OutputFileError
from chiralize.storage import atomic as atomic_module
from chiralize.storage.load import load_model
from chiralize.storage.save import save_pt2, save_safetensors, save_state_dict


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


def test_program_is_read_as_it_was(tmp_path: Path) -> None:
    """By torch alone, and by `load_model`: values to the bit, and the text beside them."""
    x, text = torch.ones(2, 3), '{"spec": 1}'
    program = torch.export.export(Tied(), (x,))
    save_pt2(program, tmp_path / "net.pt2", {"chirality.json": text})
    extra = {"chirality.json": ""}
    alone, loaded = torch.export.load(tmp_path / "net.pt2", extra_files=extra), load_model(tmp_path / "net.pt2")
    assert loaded.extra == extra == {"chirality.json": text}
    assert all(torch.equal(own(x), program.module()(x)) for own in (alone.module(), loaded.module))


def test_safetensors_with_tied_and_strided_tensors(tmp_path: Path) -> None:
    net = Tied()
    save_safetensors(net.state_dict(), tmp_path / "w.safetensors", {"chirality": "{}"})
    import safetensors.torch

    back = safetensors.torch.load_file(tmp_path / "w.safetensors")
    assert set(back) == set(net.state_dict())
    assert all(torch.equal(back[name], tensor) for name, tensor in net.state_dict().items())
    with safetensors.safe_open(tmp_path / "w.safetensors", "pt") as stream:
        assert stream.metadata() == {"chirality": "{}"}


def test_state_dict_with_its_certificate(tmp_path: Path) -> None:
    net = Tied()
    save_state_dict(net.state_dict(), tmp_path / "w.pt", '{"a": 1}')
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w.pt", "w.pt.chirality.json"]
    back = torch.load(tmp_path / "w.pt", weights_only=True)
    assert all(torch.equal(back[name], tensor) for name, tensor in net.state_dict().items())
    assert back["fc.weight"].data_ptr() == back["out.weight"].data_ptr()


def test_certificate_and_weights_are_both_old_or_both_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full when the second of them is written changes neither."""
    save_state_dict({"a": torch.ones(1)}, tmp_path / "w.pt", '{"made": "old"}')
    before = (tmp_path / "w.pt").read_bytes()
    sync, calls = atomic_module._sync, []

    def full(path: Path) -> None:
        calls.append(path.name)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(path)

    with monkeypatch.context() as disk:
        disk.setattr(atomic_module, "_sync", full)
        with pytest.raises(OutputFileError, match="nothing was changed"):
            save_state_dict({"a": torch.zeros(1)}, tmp_path / "w.pt", '{"made": "new"}')
    assert [name.startswith(".w.pt") for name in calls] == [True, True]
    assert (tmp_path / "w.pt").read_bytes() == before
    assert json.loads((tmp_path / "w.pt.chirality.json").read_text())["made"] == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w.pt", "w.pt.chirality.json"]


def test_an_example_of_a_few_rows_is_written_without_the_data_set(tmp_path: Path) -> None:
    """The program in memory keeps the view that it was given."""
    rows = torch.randn(200_000, 3)
    program = torch.export.export(torch.nn.Linear(3, 2), (rows[:4],))
    save_pt2(program, tmp_path / "net.pt2", {})
    assert (tmp_path / "net.pt2").stat().st_size < 200_000
    written = torch.export.load(tmp_path / "net.pt2")
    assert written.example_inputs is not None and torch.equal(written.example_inputs[0][0], rows[:4])
    assert program.example_inputs is not None
    assert program.example_inputs[0][0].untyped_storage().nbytes() == rows.nbytes


def test_small_view_of_a_large_tensor_is_written_small(tmp_path: Path) -> None:
    save_safetensors({"a": torch.zeros(100_000)[:2]}, tmp_path / "w.safetensors", {})
    assert (tmp_path / "w.safetensors").stat().st_size < 1000
