"""TorchScript archives whose tensors reach beyond their bytes.

torch believes how many numbers a member holds: where that is too large, it reads past the end, and the process dies.
"""

from __future__ import annotations

import io
import pickle
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from chiralize.errors import UnsafeFileError
from chiralize.storage import script_tensors
from chiralize.storage.load import load_model

Members = dict[str, bytes]
QUANTISED = torch.ao.quantization.quantize_dynamic


class Net(torch.nn.Module):
    """A Linear layer, a buffer that is half of a larger tensor, and a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(6, 4)
        self.column = torch.nn.Buffer(torch.arange(8.0).reshape(4, 2)[:, 1])
        self.table = torch.arange(4.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x) + self.column + self.table


def traced(network: torch.nn.Module) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(network.eval(), torch.ones(1, 6)), buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def members() -> Members:
    with zipfile.ZipFile(io.BytesIO(traced(Net()))) as source:
        return {name.split("/", 1)[1]: source.read(name) for name in source.namelist()}


def write(path: Path, members: Members) -> Path:
    with zipfile.ZipFile(path, "w") as target:
        for name, data in members.items():
            target.writestr(f"archive/{name}", data)
    return path


@pytest.mark.parametrize("network", [Net(), torch.nn.GRU(6, 3), torch.nn.Linear(6, 3).half().to(torch.bfloat16)])
def test_honest_scripts_load(network: torch.nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(network), buffer)
    path.write_bytes(buffer.getvalue())
    loaded = load_model(path).module.state_dict()
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded[name], tensor)


def test_quantised_scripts_are_no_attack(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = QUANTISED(torch.nn.Sequential(torch.nn.Linear(6, 3)), {torch.nn.Linear})
    path = tmp_path / "net.pt"
    path.write_bytes(traced(network))
    assert load_model(path).module(torch.ones(1, 6)).shape == (1, 3)


# ---- one number of the file changed -------------------------------------------------------------------------------
def numbers(*values: int) -> bytes:
    """A tuple as torch writes it."""
    return b"(" + b"".join(number(value) for value in values) + b"t"


def number(value: int) -> bytes:
    if 0 <= value < 256:
        return b"K" + bytes([value])
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    return b"\x8a\x08" + struct.pack("<q", value)


WEIGHT = numbers(4, 6) + numbers(6, 1)
ATTACKS: dict[str, tuple[str, bytes, bytes, str]] = {
    "sizes": ("data.pkl", WEIGHT, numbers(4000000, 6) + numbers(6, 1), "reaches to number 24,000,000 of 'data/"),
    "strides": ("data.pkl", WEIGHT, numbers(4, 6) + numbers(10**9, 1), "strides (1000000000, 1) and offset 0 reaches"),
    "negative strides": ("data.pkl", WEIGHT, numbers(4, 6) + numbers(-60, 1), "strides (-60, 1)"),
    "huge sizes": (
        "data.pkl",
        WEIGHT,
        numbers(2**40, 2**40) + numbers(0, 0),
        "claims 1,208,925,819,614,629,174,706,176",
    ),
    "negative sizes": ("data.pkl", WEIGHT, numbers(4, -6) + numbers(6, 1), "sizes (4, -6)"),
    "fewer strides": ("data.pkl", WEIGHT, numbers(4, 6) + b"K\x06\x85", "strides (6,)"),
    "sizes of another kind": ("data.pkl", WEIGHT, b"N" + numbers(6, 1), "strides (6, 1)"),
    "offset": ("data.pkl", b"K\x00" + WEIGHT, number(2**40) + WEIGHT, "offset 1099511627776 reaches"),
    "negative offset": ("data.pkl", b"K\x00" + WEIGHT, number(-999999) + WEIGHT, "offset -999999"),
    "more numbers than bytes": (
        "data.pkl",
        b"K\x18t",
        number(24 * 10**6) + b"t",
        "takes 24,000,000 numbers of 4 bytes",
    ),
    "more of both": (
        "data.pkl",
        b"K\x18tQq\x10K\x00" + WEIGHT,
        number(24 * 10**8) + b"tQq\x10K\x00" + numbers(4 * 10**8, 6) + numbers(6, 1),
        "takes 2,400,000,000 numbers",
    ),
    "a constant": (
        "constants.pkl",
        b"K\x00" + numbers(4),
        b"K\x00" + numbers(99999999),
        "of 'constants/0', which has 4",
    ),
    "bytes that are not there": (
        "data.pkl",
        b"X\x01\x00\x00\x000",
        b"X\x01\x00\x00\x009",
        "'data/9', which the archive",
    ),
    "a function by its number": (
        "data.pkl",
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"K\x01",
        "something that has no name",
    ),
}


@pytest.mark.parametrize("case", ATTACKS)
def test_tensors_beyond_their_bytes(case: str, members: Members, tmp_path: Path) -> None:
    name, old, new, cause = ATTACKS[case]
    assert old in members[name]
    path = write(tmp_path / "net.pt", {**members, name: members[name].replace(old, new, 1)})
    with pytest.raises(UnsafeFileError) as told:
        load_model(path)
    assert cause in str(told.value), str(told.value)
    assert f"{path}: member '{name}'" in str(told.value) or "claims" in cause


# ---- pickles that torch never writes ------------------------------------------------------------------------------
def checked(data: bytes) -> None:
    script_tensors.check_script_tensors(data, "data.pkl", {"data/0": 64}.get, "net.pt")


STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x10tQ"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
ODD: dict[str, tuple[bytes, str]] = {
    "another type of storage": (STORAGE.replace(b"FloatStorage", b"BoatStorage"), "refers to bytes in a way"),
    "a storage that is a text": (b"X\x01\x00\x00\x000Q", "refers to bytes in a way"),
    "a tensor of no storage": (REBUILD + b"(NK\x00" + numbers(4) + numbers(1) + b"\x89tR.", "is not described as"),
    "a type of its own": (b"ctorch._tensor\n_rebuild_from_type_v2\n(NtR.", "a type of its own is not described"),
    "hidden in a type of its own": (
        b"ctorch._tensor\n_rebuild_from_type_v2\n(" + REBUILD + b"N(" + STORAGE + b"K\x00" + numbers(99) + numbers(1)
        + b"\x89tNtR.",
        "reaches to number 99",
    ),
    "an empty stack": (b"0.", "not a pickle that torch.jit.save writes (IndexError"),
    "an unknown place": (b"h\x07.", "not a pickle that torch.jit.save writes (KeyError"),
    "another opcode": (b"\x80\x02C\x01a.", "ValueError: opcode SHORT_BINBYTES"),
    "scales": (
        b"ctorch._utils\n_rebuild_qtensor\n(" + STORAGE + b"K\x00" + numbers(4) + numbers(1)
        + b"(ctorch\nper_channel_affine\n"
        + 2 * (REBUILD + b"(" + STORAGE + b"K\x00" + numbers(3) + numbers(1) + b"\x89tR") + b"K\x00t\x89tR.",
        "other scales than channels",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ODD)
def test_descriptions_that_torch_does_not_write(case: str) -> None:
    data, cause = ODD[case]
    with pytest.raises(UnsafeFileError) as told:
        checked(data if data.endswith(b".") else data + b".")
    assert cause in str(told.value) and "net.pt: member 'data.pkl'" in str(told.value)


@pytest.mark.parametrize("value", [(1, "text", 2.5, None, True, {"a": [1, 2]}), [[], {}, ()], 2**40])
def test_ordinary_values_pass(value: Any) -> None:
    checked(pickle.dumps(value, 2))


def test_many_shared_parts_take_no_time() -> None:
    """Tuples that hold the one before twice: 2**60 parts, never walked."""
    checked(b")" + b"".join(b"q%ch%ch%c\x86" % (index, index, index) for index in range(60)) + b".")
