"""Labels of samples: every kind of file, and what is wrong with those that cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chiralize.errors import DataFileError, ModelFileError
from chiralize.storage.labels import load_labels

WORDS = ["walk", "sit", "walk"]


@pytest.mark.one_in(3)
@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.npy", np.array(WORDS), WORDS),
        ("a.npy", np.array([3, 0, 3]), ["3", "0", "3"]),
        ("a.npy", np.array([3.0, 0.5, 3.0]), ["3", "0.5", "3"]),
        ("a.npy", np.array([b"walk", b"sit", b"walk"]), WORDS),
        ("a.npz", {"anything": np.array(WORDS)}, WORDS),
        ("a.npz", {"x": np.zeros((3, 2)), "label": np.array(WORDS)}, WORDS),
        ("a.txt", "walk\nsit\nwalk\n", WORDS),
        ("a.txt", "walk, slowly\r\nsit\r\nwalk\r\n", ["walk, slowly", "sit", "walk"]),
        ("a.csv", "walk\nsit\nwalk\n", WORDS),
        ("a.csv", "label\nwalk\nsit\nwalk\n", WORDS),
        ("a.csv", '\ufefffile,label\n1.npy,walk\n2.npy,"sit"\n3.npy,walk\n', WORDS),
    ],
)
def test_every_kind(name: str, content: object, expected: list[str], tmp_path: Path) -> None:
    assert load_labels(stored(tmp_path / name, content), 3) == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npy", np.array(WORDS[:2]), "holds 2 labels, the data hold 3 samples"),
        ("a.npy", np.zeros((3, 2)), r"the labels have shape \(3, 2\) of float64"),
        ("a.npy", np.array([{}], dtype=object), "cannot be read: .*allow_pickle"),
        ("a.npz", {"a": np.zeros(3), "b": np.zeros(3)}, "holds 2 arrays: a, b"),
        ("a.npz", b"no archive", "cannot be read"),
        ("a.txt", b"\xff\xfe\x00", "is no text"),
        ("a.csv", "1,walk\n2,sit\n3,walk\n", "has 2 columns, none is called 'label'"),
        ("a.csv", "file,label\n1,walk\n2\n3,walk\n", r"a.csv:3: has 1 columns, the label is in column 2"),
        ("a.csv", "\n", "holds 0 labels, the data hold 3 samples"),
    ],
)
def test_what_cannot_be_used(name: str, content: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match=message):
        load_labels(stored(tmp_path / name, content), 3)


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises((DataFileError, ModelFileError), match="nowhere.txt"):
        load_labels(tmp_path / "nowhere.txt", 3)


def stored(path: Path, content: object) -> Path:
    if isinstance(content, np.ndarray):
        np.save(path, content)
    elif isinstance(content, dict):
        np.savez(path, **content)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(str(content), encoding="utf-8", newline="")
    return path
