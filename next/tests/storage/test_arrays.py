"""Reading of arrays: every kind of file, in file order, and how broken ones are refused."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from chiralize.errors import ChiralizeError, DataFileError, NonFiniteError
from chiralize.storage.arrays import load_arrays, load_labels


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def test_arrays_of_every_kind(tmp_path: Path) -> None:
    x = np.arange(6.0).reshape(2, 3)
    path = tmp_path / "x"
    path.write_bytes(npy(x))
    assert list(load_arrays(path)) == [""] and np.array_equal(load_arrays(path)[""], x)
    path.write_bytes(npy(np.asfortranarray(x).astype(">f4")))
    assert np.array_equal(load_arrays(path)[""], x)
    path.write_bytes(npz(poses=x, action=np.arange(2)))
    assert list(load_arrays(path)) == ["poses", "action"]
    torch.save([torch.ones(2), torch.ones(3, dtype=torch.bfloat16)], path)
    assert [array.shape for array in load_arrays(path).values()] == [(2,), (3,)]
    torch.save(torch.ones(2, 2), path)
    assert list(load_arrays(path)) == [""]
    torch.save({"b": torch.ones(2), "a": {"c": torch.ones(1)}}, path)
    assert list(load_arrays(path)) == ["b", "a/c"]
    safetensors.torch.save_file({"b": torch.ones(2)}, path)
    assert list(load_arrays(path)) == ["b"]


@pytest.mark.parametrize(
    "text",
    [
        *("hip x; hip y; knee x\n0; 1; 2\n\n3; 4; 5\n", "0,1,2\n3,4,5", "0 1  2\n3 4 5\n", "a\tb\tc\n0\t1\t2\n3\t4\t5"),
        *("\ufeff0,1,2\r\n3,4,5\r\n", "# x,y,z\n0,1,2\n3,4,5e0\n"),
    ],
)
def test_tables_of_text(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(text, encoding="utf-8")
    assert np.array_equal(load_arrays(tmp_path / "x.csv")[""], np.arange(6.0).reshape(2, 3))


def test_names_that_differ_in_their_case_alone(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", X=np.ones(3), x=np.zeros(3))
    arrays = load_arrays(tmp_path / "x.npz")
    assert list(arrays) == ["X", "x"] and arrays["X"].all() and not arrays["x"].any()


def test_a_large_array_stays_on_the_disk(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones(1000))
    assert isinstance(load_arrays(tmp_path / "x.npy")[""], np.memmap)


def test_published_npz_that_holds_nested_tables(tmp_path: Path) -> None:
    table = {"S1": {"Walking 1": np.ones((5, 3), np.float32), "cams": [np.ones(2), np.zeros(2)]}}
    np.savez_compressed(tmp_path / "data_3d.npz", positions_3d=np.array(table, dtype=object))
    arrays = load_arrays(tmp_path / "data_3d.npz")
    assert list(arrays) == ["positions_3d/S1/Walking 1", "positions_3d/S1/cams/0", "positions_3d/S1/cams/1"]
    assert arrays["positions_3d/S1/Walking 1"].dtype == np.float32


def test_labels_beside_poses(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(npz(poses=np.ones(2), subject=np.array(["a", "b"])))
    with pytest.raises(DataFileError):
        load_arrays(tmp_path / "x.npz")
    assert list(load_arrays(tmp_path / "x.npz", skip_text=True)) == ["poses"]


BROKEN: dict[str, Callable[[Path], Any]] = {
    "missing": lambda path: None,
    "model": lambda path: torch.export.save(torch.export.export(torch.nn.ReLU(), (torch.ones(2, 3),)), path),
    "text file": lambda path: path.write_text("poses, as told"),
    "text array": lambda path: path.write_bytes(npy(np.array(["a"]))),
    "empty array": lambda path: path.write_bytes(npy(np.ones((0, 3)))),
    "empty list": lambda path: torch.save([], path),
    "cut off": lambda path: path.write_bytes(npy(np.ones(99))[:-8]),
    "header": lambda path: path.write_bytes(b"\x93NUMPY\x01\x00\x10\x00{'descr': 1}    "),
    "version": lambda path: path.write_bytes(b"\x93NUMPY\x09\x00" + bytes(20)),
    "text in a table": lambda path: torch.save({"a": "x"}, path),
    "damaged npz": lambda path: path.write_bytes(npz(a=np.ones(9))[:100]),
    "negative size": lambda path: path.write_bytes(npy(np.ones(9)).replace(b"(9,)", b"(-9,)").replace(b"  \n", b" \n")),
    "more than there is": lambda path: path.write_bytes(
        npy(np.ones(9)).replace(b"(9,)", b"(9999999999,)").replace(b"         \n", b"\n")
    ),
    "ragged rows": lambda path: path.write_text("1,2\n3,4,5\n"),
    "a word in a row": lambda path: path.write_text("a,b\n1,2\n3,left\n"),
    "a name that is a number in Python": lambda path: path.write_text("a,b\n1,2\n1_000,2\n"),
}
NOT_FINITE: dict[str, Callable[[Path], Any]] = {
    "npz": lambda path: path.write_bytes(npz(a=np.array([1, np.nan]))),
    "csv": lambda path: path.write_text("1,nan\n2,3\n"),
    "pt": lambda path: torch.save(torch.tensor([1, float("inf")]), path),
}


@pytest.mark.parametrize("case", [*BROKEN, *NOT_FINITE])
def test_broken_array_file(case: str, tmp_path: Path) -> None:
    path = tmp_path / "poses"
    {**BROKEN, **NOT_FINITE}[case](path)
    with pytest.raises(ChiralizeError) as caught:
        load_arrays(path)
    assert type(caught.value) is (NonFiniteError if case in NOT_FINITE else DataFileError)
    assert str(path) in caught.value.where


LABELS: dict[str, tuple[bytes, list[str]]] = {
    "lines": (b"walk\nrun, fast\nwalk\n", ["walk", "run", "walk"]),
    "header": (b"label\n1\n2\n1\n", ["1", "2", "1"]),
    "column": (b"name,label\na,2.0\nb,2\nc,x y\n", ["2", "2", "x y"]),
    "array": (npy(np.array([1.0, 2.0, 1.5])), ["1", "2", "1.5"]),
    "texts": (npy(np.array(["b", "a", "b"])), ["b", "a", "b"]),
    "named": (npz(x=np.ones(2), label=np.array([3, 4, 3])), ["3", "4", "3"]),
}


@pytest.mark.parametrize("case", LABELS)
def test_labels(case: str, tmp_path: Path) -> None:
    data, labels = LABELS[case]
    (tmp_path / "labels").write_bytes(data)
    assert load_labels(tmp_path / "labels", 3) == labels
    with pytest.raises(DataFileError):
        load_labels(tmp_path / "labels", 7)
