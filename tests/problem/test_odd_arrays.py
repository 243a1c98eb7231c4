"""Arrays that numpy can hold and networks cannot take as they are: brought into kind, or refused with what is wrong."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.errors import ChiralizeError, DataFileError, NonFiniteError, UsageError
from chiralize.graph.running import Call
from chiralize.infer.hidden.pairing import Score, best_involution
from chiralize.problem.data.cutting import check
from chiralize.problem.data.examples import examples_for
from chiralize.problem.data.from_python import calls_of
from chiralize.problem.data.inputs import calls_from
from chiralize.problem.preparation import prepare
from chiralize.storage.arrays import load_arrays
from chiralize.storage.labels import load_labels
from chiralize.storage.load import LoadedModel
from tests.support.command import LIFTER, network, poses, save_program, working_shell
from tests.support.small_body import POSE, normal

EXAMPLE = ((torch.zeros(2, 5, 2),), {})
TWO = ((torch.zeros(2, 5, 2), torch.zeros(2, 1)), {})
NESTED = ((torch.zeros(2, 5, 2), (torch.zeros(2, 3), torch.zeros(2, 3))), {})
PLAIN = poses(8, seed=1).numpy()


def saved(folder: Path, array: np.ndarray) -> Path:
    np.save(folder / "data.npy", array)
    return folder / "data.npy"


# ---- kinds of numbers ------------------------------------------------------------------------------------------------
KINDS = [">f4", ">f8", ">f2", np.longdouble, ">u2", ">i4", np.uint64, "?"]


def brought_from(path: Path) -> Call:
    return examples_for(model().module, parse_spec("skeleton: h36m"), "m.pt2", example=path).call


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_number_is_taken(kind: Any, tmp_path: Path) -> None:
    array = np.round(abs(PLAIN)).astype(kind)
    wanted = array.astype(np.float32).tolist()
    path = saved(tmp_path, array)
    brought, stored, given = brought_from(path), calls_from(path, EXAMPLE), calls_of(array, EXAMPLE)[0]
    assert brought[0][0].tolist() == (wanted[:1] if np.dtype(kind).kind == "f" else array[:1].tolist())
    for calls in (stored, given):
        assert torch.cat([call[0][0] for call in calls]).tolist() == wanted
        assert all(call[0][0].dtype == torch.float32 for call in calls)


def model() -> LoadedModel:
    return LoadedModel(network(), "pt2", Path("m.pt2"), "")


WRONG_DATA: dict[str, tuple[Any, type[ChiralizeError], str]] = {
    "text": (np.full((4, 5, 2), "a"), DataFileError, "holds <U1, which is no kind of numbers"),
    "objects": (np.full((4, 5, 2), None), DataFileError, "holds object, which is no kind"),
    "dates": (np.zeros((4, 5, 2), "M8[s]"), DataFileError, "no kind of numbers that torch has"),
    "beyond float32": (np.full((4, 5, 2), 1e300), NonFiniteError, "20 of 20 entries .* infinite as float32"),
    "tensor beyond float32": (torch.full((4, 5, 2), 1e300, dtype=torch.float64), NonFiniteError, "infinite as float32"),
    "complex": (torch.zeros(4, 5, 2, dtype=torch.complex64), DataFileError, "complex64, the model's input is float32"),
    "rank of an array": (np.zeros((4, 10)), DataFileError, r"shape \(2, 10\), the model's input has \(2, 5, 2\)"),
    "rank of a batch": ([torch.zeros(2, 10)], DataFileError, r"shape \(2, 10\), the model's input has \(2, 5, 2\)"),
    "arguments": ([(torch.zeros(2, 5, 2), torch.zeros(2), 1)], DataFileError, "has 3 arguments, .* takes 1"),
    "numbers in a batch": ([1.0, 2.0], DataFileError, r"holds a float, the model's input is a tensor of shape"),
    "empty batch": ([torch.zeros(0, 5, 2)], DataFileError, r"Tensor is empty, shape \(0, 5, 2\)"),
    "empty list": ([], DataFileError, "the list is empty"),
    "empty array": (np.zeros((0, 5, 2)), DataFileError, r"ndarray is empty, shape \(0, 5, 2\)"),
    "exhausted": (iter([]), DataFileError, "list_iterator is empty"),
    "name": ("poses.npy", UsageError, r"a str is no array.*\n.*load it first: numpy.load"),
    "path": (Path("poses.npy"), UsageError, "load it first"),
    "number": (3.5, UsageError, "a float is no array"),
    "table": ({"poses": PLAIN}, UsageError, "a dict is no array"),
}


@pytest.mark.parametrize("name", WRONG_DATA)
def test_data_that_do_not_fit(name: str) -> None:
    data, kind, says = WRONG_DATA[name]
    with pytest.raises(kind, match=says):
        calls_of(data, EXAMPLE)


@pytest.mark.parametrize(
    ("data", "example", "says"),
    [
        ([(torch.zeros(2, 5, 2),)], TWO, "has 1 arguments, one call of the model takes 2"),
        ([(torch.zeros(2, 5, 2), torch.zeros(2))], TWO, r"shape \(2,\), the model's input has \(2, 1\)"),
        ([(torch.zeros(2, 5, 2), torch.zeros(2, 3))], NESTED, "holds 1 values, the example's holds 2"),
    ],
)
def test_several_arguments_that_do_not_fit(data: Any, example: Any, says: str) -> None:
    with pytest.raises(DataFileError, match=says):
        calls_of(data, example)


def test_one_array_where_the_first_argument_is_a_table() -> None:
    with pytest.raises(UsageError, match="first argument is no tensor"):
        calls_of(PLAIN, (([torch.zeros(2, 3)],), {}))


def test_what_does_fit() -> None:
    """Other sizes behind the first axis, nested arguments, precisions: brought into the example's kinds."""
    assert calls_of(torch.zeros(4, 9, 2), EXAMPLE)[0][0][0][0].shape == (2, 9, 2)
    (call,), _ = calls_of([(PLAIN[:2], [np.ones((2, 3)), torch.ones(2, 3).half()])], NESTED)
    assert isinstance(call[0][1], tuple) and [own.dtype for own in call[0][1]] == [torch.float32] * 2
    (call,), _ = calls_of([torch.ones(2, 5, 2).double()], TWO)
    assert call[0][0].dtype == torch.float32 and call[0][1] is TWO[0][1]


# ---- the Python interface --------------------------------------------------------------------------------------------
def converted(calibration: Any) -> nn.Module:
    return chiralize.chiralize(
        network(), parse_spec(LIFTER), torch.ones(1, 5, 2), method="match", calibration=calibration, rounds=0,
        samples=1, force=True,
    )  # fmt: skip


@pytest.mark.thorough
@pytest.mark.parametrize(
    "given", [Tensor.double, lambda own: own.numpy().astype(">f8"), lambda own: list(own.double().split(1))]
)
def test_precision_of_calibration_changes_nothing(given: Callable[[Tensor], Any]) -> None:
    data = poses(64, seed=1)
    x = poses(4, seed=2)
    assert torch.equal(converted(given(data))(x), converted(data)(x))


def test_calibration_whose_moments_overflow() -> None:
    with pytest.raises(NonFiniteError, match="overflow"):
        converted(poses(64, seed=1) * 1e37)


def test_batches_of_several_sizes() -> None:
    with pytest.raises(DataFileError, match=r"input 0 has shape \(8, 6, 2\) in one batch, \(1, 5, 2\) in the first"):
        converted([poses(8, seed=1), torch.ones(8, 6, 2)])


@pytest.mark.one_in(3)
@pytest.mark.parametrize("data", [torch.zeros(64, 6, 2), torch.zeros(64, 5, 3), [torch.zeros(8, 6, 2)]])
def test_calibration_of_another_skeleton(data: Any) -> None:
    with pytest.raises(DataFileError, match=r"calibration: .*shape \(.*, .*input 0 has \(1, 5, 2\)"):
        converted(data)
    with pytest.raises(DataFileError, match="give inputs of the same skeleton, laid out as 'b j d'"):
        chiralize.audit(network(), parse_spec(LIFTER), torch.ones(1, 5, 2), data=data)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_not_finite(value: float) -> None:
    with pytest.raises(NonFiniteError, match="scores are not finite: second moments"):
        best_involution(Score(np.full((3, 3), value), np.zeros((3, 3))), sign_free=True)


def test_audit_of_data_that_are_not_finite() -> None:
    data = poses(8, seed=1)
    data[5] = torch.nan
    with pytest.raises(NonFiniteError, match="calibration, input 0: 10 entries are NaN or infinite"):
        chiralize.audit(network(), parse_spec(LIFTER), torch.ones(1, 5, 2), data=data)


def test_audit_of_a_file_beyond_the_precision(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_program(network(), tmp_path / "good.pt2")
    for shell in working_shell(tmp_path, capsys, monkeypatch):
        good = shell(
            "audit", "good.pt2", "--skeleton", "lifter.yaml", "--calibration", saved(tmp_path, PLAIN.astype(">f4"))
        )
        assert good.status == 0, good.err
        array = PLAIN.astype(np.float64)
        array[3] = 1e300
        bad = shell("audit", "good.pt2", "--skeleton", "lifter.yaml", "--calibration", saved(tmp_path, array))
        assert bad.status == 2 and "NonFiniteError CH205" in bad.err and "infinite as float32" in bad.err


# ---- files -----------------------------------------------------------------------------------------------------------
def npy(header: str, body: bytes = b"") -> bytes:
    text = header.encode("latin1") + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body


def packed(members: dict[str, bytes], method: int = zipfile.ZIP_STORED, damage: bytes = b"") -> bytes:
    """An archive; damage: what the middle of the first member's content is overwritten with."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        middle = archive.infolist()[0].compress_size // 2
    data = bytearray(buffer.getvalue())
    start = 30 + len(next(iter(members))) + (middle if damage else 0)
    data[start : start + len(damage)] = damage
    return bytes(data)


def stored_array(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


NUMBERS = stored_array(np.arange(2000.0))
DAMAGED_HEADERS = {
    "not closed": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (3"),
    "deep": npy("(" * 5000),
    "huge": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"),
    "minus": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-3,), }", bytes(24)),
    "no table": npy("3"),
    "zip": packed({"a.npy": NUMBERS}, damage=b"?" * 64),
    "deflate": packed({"a.npy": NUMBERS}, zipfile.ZIP_DEFLATED, b"\xff" * 64),
    "lzma": packed({"a.npy": NUMBERS}, zipfile.ZIP_LZMA, b"\xff" * 64),
    "bzip2": packed({"a.npy": NUMBERS}, zipfile.ZIP_BZIP2, b"\xff" * 64),
    "truncated": packed({"a.npy": NUMBERS})[:900],
    "no array": packed({"readme.txt": b"hello"}),
}


@pytest.mark.parametrize("name", DAMAGED_HEADERS)
def test_damaged_files_of_numpy(name: str, tmp_path: Path) -> None:
    """The same files as data and as labels."""
    content = DAMAGED_HEADERS[name]
    path = tmp_path / ("data.npz" if content.startswith(b"PK") else "data.npy")
    path.write_bytes(content)
    with pytest.raises(DataFileError, match="data.np"):
        load_arrays(path)
    with pytest.raises(DataFileError, match="cannot be read: .*(damaged|truncated|cannot be read|too deeply)"):
        load_labels(path, 3)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.npy", stored_array(np.array([b"\xff", b"a", b"b"])), "the labels are no text: 'utf-8' codec"),
        ("a.npy", npy("{'descr': '<U1', 'fortran_order': False, 'shape': (3,), }", b"\xff" * 12), "are no text"),
        ("a.npy", npy("{'descr': '<U0', 'fortran_order': False, 'shape': (1000000000000,), }"), "1000000000000|1 is"),
        ("a.csv", b"a" * 200_000 + b"\nb\nc\n", "cannot be read: field larger than field limit"),
    ],
)
def test_labels_that_are_no_text(name: str, content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataFileError, match=says):
        load_labels(tmp_path / name, 3)


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_every_line_end_in_tables(end: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(end.join(["file,label", "1,walk", "2,sit", ""]).encode())
    assert load_labels(tmp_path / "a.csv", 2) == ["walk", "sit"]


def test_labels_in_the_other_byte_order(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([3, 1], ">i4"))
    assert load_labels(tmp_path / "a.npy", 2) == ["3", "1"]


@pytest.mark.parametrize(
    "broken", [np.full((4, 5, 2), np.nan), np.full((4, 5, 2), np.longdouble("1e3000"))], ids=["NaN", "beyond float64"]
)
def test_what_is_not_finite_is_found_by_the_conversion(broken: np.ndarray) -> None:
    """Reading leaves it alone: a mask may hold infinities."""
    found, _ = calls_of(broken, EXAMPLE)
    with pytest.raises(NonFiniteError, match="NaN or infinite"):
        check(prepare(nn.Tanh(), parse_spec(POSE), (normal(2, 6, 2),)), found)
