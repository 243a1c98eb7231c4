"""Reading of arrays: every kind of file, in file order, and how broken ones are refused."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from chiralize.errors import ChiralizeError, DataFileError, NonFiniteError
from chiralize.storage.arrays import load_arrays
from tests.support.array_bytes import npy, npz


def write_program(path: Path) -> None:
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(torch.nn.ReLU(), (torch.ones(2, 3),)), buffer)
    path.write_bytes(buffer.getvalue())


def check_message(error: ChiralizeError, *words: str) -> None:
    text = str(error)
    assert error.exit_status == 2
    assert "\n    Fix: " in text
    for word in words:
        assert word in text


def test_arrays_of_every_kind(tmp_path: Path) -> None:
    x = np.arange(6.0).reshape(2, 3)
    path = tmp_path / "x"
    path.write_bytes(npy(x))
    assert list(load_arrays(path)) == [""] and np.array_equal(load_arrays(path)[""], x)
    path.write_bytes(npz(poses=x, action=np.arange(2)))
    assert list(load_arrays(path)) == ["poses", "action"]
    torch.save([torch.ones(2), torch.ones(3, dtype=torch.bfloat16)], path)
    assert [array.shape for array in load_arrays(path).values()] == [(2,), (3,)]
    torch.save(torch.ones(2, 2), path)
    assert list(load_arrays(path)) == [""]
    torch.save({"b": torch.ones(2), "a": {"c": torch.ones(1)}}, path)
    assert list(load_arrays(path)) == ["b", "a/c"]
    path.write_text("hip x; hip y; knee x\n0; 1; 2\n\n3; 4; 5\n")
    assert np.array_equal(load_arrays(path)[""], x)
    path.write_text("0,1,2\n3,4,5")
    assert np.array_equal(load_arrays(path)[""], x)
    safetensors.torch.save_file({"b": torch.ones(2)}, path)
    assert list(load_arrays(path)) == ["b"]


def test_published_npz_that_holds_nested_tables(tmp_path: Path) -> None:
    table = {"S1": {"Walking 1": np.ones((5, 3), np.float32), "cams": [np.ones(2), np.zeros(2)]}}
    np.savez_compressed(tmp_path / "data_3d.npz", positions_3d=np.array(table, dtype=object))
    arrays = load_arrays(tmp_path / "data_3d.npz")
    assert list(arrays) == ["positions_3d/S1/Walking 1", "positions_3d/S1/cams/0", "positions_3d/S1/cams/1"]
    assert arrays["positions_3d/S1/Walking 1"].dtype == np.float32


def test_labels_beside_poses(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(npz(poses=np.ones(2), subject=np.array(["a", "b"])))
    with pytest.raises(DataFileError, match="'subject' holds <U1, not numbers"):
        load_arrays(tmp_path / "x.npz")
    assert list(load_arrays(tmp_path / "x.npz", skip_text=True)) == ["poses"]


BROKEN_ARRAYS: dict[str, tuple[Callable[[Path], Any], type[ChiralizeError], str]] = {
    "missing": (lambda path: None, DataFileError, "no such file"),
    "model": (write_program, DataFileError, "a pt2 model"),
    "text file": (lambda path: path.write_text("poses, as told"), DataFileError, "a text file"),
    "text array": (lambda path: path.write_bytes(npy(np.array(["a"]))), DataFileError, "not numbers"),
    "empty array": (lambda path: path.write_bytes(npy(np.ones((0, 3)))), DataFileError, "is empty, shape (0, 3)"),
    "empty list": (lambda path: torch.save([], path), DataFileError, "holds no arrays"),
    "nan": (lambda path: path.write_bytes(npz(a=np.array([1, np.nan]))), NonFiniteError, "1 of 2"),
    "cut off": (lambda path: path.write_bytes(npy(np.ones(99))[:-8]), DataFileError, "truncated"),
    "header": (lambda path: path.write_bytes(b"\x93NUMPY\x01\x00\x10\x00{'descr': 1}    "), DataFileError, "header"),
    "version": (lambda path: path.write_bytes(b"\x93NUMPY\x09\x00" + bytes(20)), DataFileError, "header"),
    "text in a table": (lambda path: torch.save({"a": "x"}, path), DataFileError, "'a' holds"),
    "damaged npz": (lambda path: path.write_bytes(npz(a=np.ones(9))[:100]), DataFileError, "damaged"),
    "negative size": (
        lambda path: path.write_bytes(npy(np.ones(9)).replace(b"(9,)", b"(-9,)").replace(b"  \n", b" \n")),
        DataFileError,
        "cannot be read",
    ),
    "no values": (lambda path: torch.save(torch.ones(2, device="meta"), path), DataFileError, "on meta"),
    "itself": (lambda path: torch.save(_endless(), path), DataFileError, "contains itself"),
}


def _endless() -> list:
    value: list = []
    value.append(value)
    return value


@pytest.mark.parametrize("case", BROKEN_ARRAYS)
def test_broken_array_file(case: str, tmp_path: Path) -> None:
    write, error, cause = BROKEN_ARRAYS[case]
    path = tmp_path / "poses.npz"
    write(path)
    with pytest.raises(error) as caught:
        load_arrays(path)
    check_message(caught.value, cause, str(path))


def test_reading_of_files_needs_no_torch_until_it_does() -> None:
    code = "import sys, chiralize.storage.sniff, chiralize.storage.unpickle, chiralize.storage.arrays"
    code += "; sys.exit('torch' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,2\n3,4,5\n", (":2", "3 numbers, 2 in the first row")),
        ("a,b\n1,2\n3,left\n", (":3", "'left' is no number")),
        ("a,b\n1,2\n1_000,2\n", (":3", "'1_000' is no number")),
        ("1,nan\n2,3\n", ("NaN or infinity in 1 of 4",)),
    ],
)
def test_broken_tables_of_text(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    """The line, and what is wrong in it."""
    path = tmp_path / "poses.csv"
    path.write_text(text)
    with pytest.raises((DataFileError, NonFiniteError)) as caught:
        load_arrays(path)
    check_message(caught.value, *words)


def test_a_table_of_one_line_behind_a_byte_order_mark(tmp_path: Path) -> None:
    """As spreadsheets write it."""
    path = tmp_path / "poses.csv"
    path.write_text("1,2,3\n", encoding="utf-8-sig")
    (rows,) = load_arrays(path).values()
    assert rows.tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("missed", "remedy"),
    [
        (
            [0],
            "fill missing joints with what the network was trained on, such as 0: numpy.nan_to_num(x); or keep the 2 "
            "of 3 samples without: x[numpy.isfinite(x).reshape(len(x), -1).all(1)]",
        ),
        (
            [0, 1, 2],
            "fill missing joints with what the network was trained on, such as 0: numpy.nan_to_num(x); every sample "
            "has some.",
        ),
    ],
)
def test_missing_joints(missed: list[int], remedy: str, tmp_path: Path) -> None:
    """The line that is shown keeps the samples that it counts."""
    x = np.ones((3, 4, 2))
    x[missed, 1] = np.nan
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(NonFiniteError) as raised:
        load_arrays(tmp_path / "x.npy")
    assert raised.value.remedy == remedy
    assert len(x[np.isfinite(x).reshape(len(x), -1).all(1)]) == 3 - len(missed)
