"""The checked copy of an archive: all that torch reads, on the disk where it is large, and never twice in memory."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.export.pt2_archive import _package

from chiralize.errors import ModelFileError, UnsafeFileError
from chiralize.storage.load import load_model

WEIGHTS = "data/weights/model_weights_config.json"
Members = dict[str, bytes]


def torch_bytes(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def written(path: Path, change: Callable[[Members], Any] = lambda members: None) -> Path:
    """A program of one linear layer, its members changed."""
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(torch.nn.Linear(3, 4).eval(), (torch.ones(2, 3),)), buffer)
    with zipfile.ZipFile(buffer) as source:
        members = {name.split("/", 1)[1]: source.read(name) for name in source.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as target:
        for name, data in members.items():
            target.writestr(f"archive/{name}", data)
    return path


@pytest.mark.one_in(2)
@pytest.mark.usefixtures("checked_copy")
@pytest.mark.parametrize("pickled_first", [True, False])
def test_tensor_that_is_a_pickle_by_one_entry_only(pickled_first: bool, tmp_path: Path) -> None:
    """The plain entry would have it copied as it is, the other one would have torch unpickle it without limits."""

    def change(members: Members) -> None:
        tree = json.loads(members[WEIGHTS])
        for name, entry in tree["config"].items():
            entry.update(use_pickle=(name == next(iter(tree["config"]))) == pickled_first, path_name="weight_0")
        members[WEIGHTS] = json.dumps(tree).encode()
        members["data/weights/weight_0"] = torch_bytes(torch.ones(4, 3))

    with pytest.raises(UnsafeFileError, match="pickle by one entry"):
        load_model(written(tmp_path / "net.pt2", change))


class Touch:
    """Creates a folder when it is unpickled the ordinary way."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.mkdir, (str(self.marker),)


@pytest.mark.usefixtures("checked_copy")
def test_file_that_changes_after_it_was_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The payload is in the file when torch begins to read, and torch does not see it."""
    marker, path, load = tmp_path / "was_run", written(tmp_path / "net.pt2"), _package.load_pt2
    loaded: list[Any] = []

    def swapped(file: Any) -> Any:
        samples = {"data/sample_inputs/model.pt": torch_bytes(((Touch(marker),), {}))}
        written(path, lambda members: members.update(samples))
        loaded.append(load(file))
        return loaded[0]

    monkeypatch.setattr(_package, "load_pt2", swapped)
    with pytest.raises(ModelFileError, match="was written to while it was read"):
        load_model(path)
    assert loaded and not marker.exists()


@pytest.mark.usefixtures("checked_copy")
def test_damaged_tensor_is_refused_and_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte of a weight is flipped: the checksum of the archive says so."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    path = written(
        tmp_path / "net.pt2", lambda members: members.update({"data/weights/weight_1": b"find me" + bytes(9)})
    )
    assert load_model(path).module(torch.ones(2, 3)).shape == (2, 4)
    path.write_bytes(path.read_bytes().replace(b"find me", b"find mf"))
    with pytest.raises(ModelFileError, match="weight_1' cannot be read.*truncated or damaged"):
        load_model(path)
    assert not list(folder.iterdir())


def test_no_room_for_a_large_one(checked_copy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "net.pt2")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    if checked_copy == "in memory":
        load_model(path)
        return
    with pytest.raises(ModelFileError, match=r"temporary copy of [\d,]+ bytes(?s:.*)Fix: .*TMPDIR"):
        load_model(path)


MEASURED = """
import sys
from benchmarks.large.run import memory
from chiralize.storage.load import load_model
load_model(sys.argv[1])  # what any program needs
before = memory("VmHWM")
load_model(sys.argv[2])
print(memory("VmHWM") - before)
"""


@pytest.mark.thorough
def test_memory(tmp_path: Path) -> None:
    """A program of 67 MB is held once; one of its tensors has 8 MB."""
    small, path = written(tmp_path / "small.pt2"), tmp_path / "large.pt2"
    network = torch.nn.Sequential(*(torch.nn.Linear(1448, 1448) for _ in range(8)))
    torch.export.save(torch.export.export(network, (torch.ones(1, 1448),)), path)
    size = path.stat().st_size / 1e6
    try:
        command = [sys.executable, "-c", MEASURED, str(small), str(path)]
        exact = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}  # else glibc keeps up to 10 MB that were given back
        result = subprocess.run(command, capture_output=True, text=True, check=True, env=exact)
    finally:
        path.unlink()
    assert size > 65
    assert float(result.stdout) <= 1.2 * size
