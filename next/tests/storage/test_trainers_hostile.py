"""Checkpoints that would run code for the trainer's own loader: read here and written, with none run."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import struct
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from chiralize.errors import ChiralizeError, DataFileError, ModelFileError, UnsafeFileError
from chiralize.storage import formats
from chiralize.storage.arrays import load_arrays
from chiralize.storage.files import content_of
from chiralize.storage.load import Wanted, load_model
from chiralize.storage.passport import Passport
from chiralize.storage.pickles import Foreign
from chiralize.storage.save import write
from chiralize.storage.torch_file import read_torch
from tests.support.trainer_files import CHECKPOINTS, Net, Touch, save, torch_bytes, trainers_classes, weights


class TouchOnState(dict):
    """The same, as a dict that is filled after it was built."""

    def __init__(self, marker: Path) -> None:
        super().__init__()
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),), {"a": 1}, iter([1]), iter([("k", 2)])


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "was_run"


@pytest.mark.parametrize("payload", [Touch, TouchOnState])
@pytest.mark.parametrize("name", CHECKPOINTS)
@pytest.mark.parametrize("old", [False, True])
def test_objects_beside_the_weights_are_not_restored(
    name: str, payload: Callable[[Path], Any], old: bool, marker: Path, tmp_path: Path, passport: Passport
) -> None:
    """Nor by what writes the result; the payload works for torch.load, before and after."""
    path = save(name, tmp_path, {"extra": [payload(marker)]}, old=old)
    target = tmp_path / f"out{path.suffix}"
    loaded = load_model(path, Wanted(Net))
    assert torch.equal(loaded.module.state_dict()["first.weight"], weights()["first.weight"])
    files = [path]
    if not old:  # an old file with objects is not written back
        write(SimpleNamespace(module=loaded.module, program=None, passport=passport), target, loaded)
        files += [target]
    assert not marker.exists() and "a_trainer" not in sys.modules
    for each in files:
        with trainers_classes(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                torch.load(each, weights_only=False)
            except Exception:  # what mkdir returns cannot be filled
                pass
        assert marker.is_dir(), "the payload does not work, so the test would prove nothing"
        marker.rmdir()


CODE: dict[str, Callable[[Touch], bytes]] = {
    "zip": lambda touch: torch_bytes({"first.weight": touch}),
    "module": lambda touch: torch_bytes(touch),
    "plain pickle": pickle.dumps,
    "protocol 2": lambda touch: pickle.dumps({"a": touch}, protocol=2),
}


@pytest.mark.parametrize("kind", CODE)
def test_files_of_code_alone(kind: str, marker: Path, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(CODE[kind](Touch(marker)))
    for wanted in (Wanted(), Wanted(Net)):
        with pytest.raises(UnsafeFileError):
            load_model(path, wanted)
    with pytest.raises((UnsafeFileError, DataFileError)):
        load_arrays(path)
    assert not marker.exists()


def test_consent_is_what_runs_it(marker: Path, tmp_path: Path) -> None:
    """And only that: weights that can be read without it are."""
    path = tmp_path / "weights.pt"
    path.write_bytes(torch_bytes({"x": Touch(marker)}))
    with pytest.raises(ModelFileError):
        load_model(path, Wanted(unsafe_pickle=True))
    assert marker.is_dir()
    marker.rmdir()
    path.write_bytes(torch_bytes({"state_dict": weights(), "x": Touch(marker)}))
    load_model(path, Wanted(Net, unsafe_pickle=True))
    assert not marker.exists()


def test_a_pickled_module_needs_its_code(tmp_path: Path) -> None:
    """Its weights do not: in a network that the user names they are read without it."""
    torch.save(Net(), tmp_path / "net.pt")
    with pytest.raises(UnsafeFileError):
        load_model(tmp_path / "net.pt")
    by_code = load_model(tmp_path / "net.pt", Wanted(unsafe_pickle=True))
    without = load_model(tmp_path / "net.pt", Wanted(Net))
    assert by_code.kind == "module" and without.kind == "weights"
    first, second = by_code.module.state_dict(), without.module.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("suffix", ["npz", "npy"])
def test_hostile_numpy_file(suffix: str, marker: Path, tmp_path: Path) -> None:
    path = tmp_path / f"poses.{suffix}"
    value = np.empty((), dtype=object)
    value[()] = {"S1": Touch(marker)}
    if suffix == "npz":
        np.savez(path, positions_3d=value)
    else:
        np.save(path, value, allow_pickle=True)
    for read in (load_arrays, load_model):
        with pytest.raises(UnsafeFileError):
            read(path)
    assert not marker.exists()


def test_numpy_type_that_lies_about_references(tmp_path: Path) -> None:
    """numpy itself would take the eight bytes of this file for the address of an object."""
    lie = (3, "|", None, ("x",), {"x": (np.dtype("O"), 0)}, 8, 1, 0)

    class Lie:
        def __reduce__(self) -> tuple[Any, ...]:
            return np.dtype, ("V8", False, True), lie

    value = np.empty((), dtype=object)
    value[()] = {"poses": Lie()}
    np.savez(tmp_path / "poses.npz", poses=value)
    with pytest.raises(DataFileError):
        load_arrays(tmp_path / "poses.npz")


# ---- pickles by hand --------------------------------------------------------------------------------------------
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"
STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"
EVIL = b"cevil\nEvil\n"


def file_with(entry: bytes) -> bytes:
    """A torch file of {"w": <entry>, "x": a foreign class}, with one storage of 16 bytes."""
    pickled = b"\x80\x02}(X\x01\x00\x00\x00w" + entry + b"X\x01\x00\x00\x00x" + EVIL + b"u."
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in {"data.pkl": pickled, "version": b"3", "data/0": bytes(16)}.items():
            archive.writestr(f"archive/{name}", data)
    return stream.getvalue()


def tensor(offset: int = 0, shape: bytes = b"K\x04\x85", strides: bytes = b"K\x01\x85") -> bytes:
    return TENSOR + b"(" + STORAGE + b"J" + struct.pack("<i", offset) + shape + strides + b"\x89}tR"


PICKLES: dict[str, bytes] = {
    "more entries than bytes": tensor(shape=b"K\x05\x85"),
    "beyond the end": tensor(offset=1),
    "before the start": tensor(offset=-1),
    "negative stride": tensor(strides=b"J\xff\xff\xff\xff\x85"),
    "no storage": TENSOR + b"(NK\x00))\x89}tR",
    "text for a size": tensor(shape=b"X\x01\x00\x00\x004\x85"),
    "state for our function": TENSOR + b"}X\x08\x00\x00\x00__code__Nsb",
    "slots of our function": TENSOR + b"N}X\x0c\x00\x00\x00__defaults__Ns\x86b",
    "another storage": tensor().replace(b"X\x01\x00\x00\x000", b"X\x01\x00\x00\x009"),
}


@pytest.mark.parametrize("case", PICKLES)
def test_pickles_by_hand(case: str, tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(file_with(PICKLES[case]))
    for wanted in (Wanted(), Wanted(Net), Wanted(Net, unsafe_pickle=True)):
        with pytest.raises(ModelFileError):
            load_model(path, wanted)
    assert "evil" not in sys.modules


def test_the_pickle_by_hand_is_right_without_an_attack() -> None:
    file = read_torch(content_of(file_with(tensor()), "w.pt"))
    assert file is not None and torch.equal(file.tree["w"], torch.zeros(4))
    assert issubclass(file.tree["x"], Foreign) and file.foreign == ("evil.Evil",)


def test_a_network_that_contains_itself(tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(file_with(EVIL + b")Rq\x00}X\x08\x00\x00\x00_modules}X\x01\x00\x00\x00ah\x00ssb"))
    with pytest.raises(ChiralizeError):
        load_model(tmp_path / "w.pt", Wanted(Net))


def test_a_list_that_contains_itself(tmp_path: Path) -> None:
    value: list[Any] = []
    value.append(value)
    torch.save(value, tmp_path / "w.pt")
    with pytest.raises(ModelFileError):
        load_model(tmp_path / "w.pt", Wanted(Net))
    with pytest.raises(DataFileError):
        load_arrays(tmp_path / "w.pt")


def test_the_other_order_of_bytes_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(save("mmengine", tmp_path)) as old, zipfile.ZipFile(tmp_path / "big.pth", "w") as new:
        for name in old.namelist():
            new.writestr(name, b"big" if name.endswith("/byteorder") else old.read(name))
    with pytest.raises(ModelFileError):
        load_model(tmp_path / "big.pth", Wanted(Net))


@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
@pytest.mark.parametrize("old", [False, True])
def test_a_checkpoint_that_is_cut_off(share: float, old: bool, tmp_path: Path) -> None:
    path = save("mmengine", tmp_path, old=old)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ModelFileError):
        load_model(path, Wanted(Net))


# ---- safetensors ---------------------------------------------------------------------------------------------------
def entry(dtype: str = "F32", shape: Any = (10,), offsets: Any = (0, 40)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


HEADERS: dict[str, Any] = {
    "beyond the file": {"first.bias": entry(shape=[2**40], offsets=[0, 2**42])},
    "before it": {"first.bias": entry(offsets=[-40, 0])},
    "fewer bytes than numbers": {"first.bias": entry(offsets=[0, 4])},
    "sizes that are none": {"first.bias": entry(shape=[-10])},
    "a size that is text": {"first.bias": entry(shape=["x"])},
    "no kind of numbers": {"first.bias": entry(dtype="__import__('os')")},
    "a list": [1, 2],
    "an entry that is a number": {"first.bias": 3},
    "a text": {"__metadata__": 3},
    "too deep": None,
}


@pytest.mark.parametrize("case", HEADERS)
def test_headers_that_lie(case: str, tmp_path: Path) -> None:
    """They are refused in words, and no memory is taken for what a header promises."""
    header = b'{"a":' * 5000 if case == "too deep" else json.dumps(HEADERS[case]).encode()
    path = tmp_path / "w.safetensors"
    for length in (len(header), 2**60):
        path.write_bytes(struct.pack("<Q", length) + header + bytes(40))
        with pytest.raises(ChiralizeError) as caught:
            load_model(path, Wanted(Net))
        assert caught.value.code.startswith("CH2") and "w.safetensors" in caught.value.where


ATTACKED = {
    "_torch": "test_trainers_hostile.py: test_objects_beside_the_weights_are_not_restored",
    "_safetensors": "test_trainers_hostile.py: test_headers_that_lie",
    "_numpy": "test_trainers_hostile.py: test_hostile_numpy_file",
    "_sb3": "test_policies.py: test_stable_baselines3",
    "_pickle": "test_trainers_hostile.py: test_files_of_code_alone",
}


def test_every_format_is_attacked() -> None:
    """A new one comes with a test of hostile files of it."""
    assert set(ATTACKED) == {known.__name__ for known in formats.FORMATS}
    for named in ATTACKED.values():
        file, test = named.split(": ")
        text = (Path(__file__).parent / file).read_text(encoding="utf-8")
        assert re.search(rf"^def {test}\(", text, re.MULTILINE), named
