"""Skeleton and specification files with absurd values: an error of the package, never a traceback or a hang."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from chiralize import errors
from chiralize.body.skeleton.catalog import load_skeleton, skeleton_from_dict, skeleton_from_yaml
from chiralize.body.skeleton.dialects import import_skeleton
from chiralize.body.tensors.conversion import load_spec, parse_spec
from chiralize.body.tensors.linting import lint_specification
from chiralize.cli.skeleton import app

DIGITS = "9" * 5000
BODY = "joints: [nose, left_eye, right_eye]\npairs: [[left_eye, right_eye]]\n"
HEADER = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little")
HEADER += b"{'descr': '|O', 'fortran_order': False, 'shape': (), }".ljust(117) + b"\n"
LOOP: dict[str, Any] = {"num_joints": 3}
LOOP["inner"] = LOOP
RING: list[Any] = []
RING.append(RING)


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        (f"chiralize: {DIGITS}\n" + BODY, "number of 5000 digits"),
        (f"joints: [nose, {DIGITS}]\npairs: []\n", "is a number, not a name"),
        (f"joints: [left, right]\npairs: [[0, {DIGITS}]]\n", "joint index '9+\\.\\.\\.' is a number of 5000 digits"),
        (BODY + f"dims: [x]\nsigns: [{DIGITS}]\n", "must be 1 or -1"),
        (BODY + f"inputs: [{{layout: b j d, reflect: {{x: {'9' * 310}}}}}]\n", "centre of x .* lies beyond 1e30"),
        (BODY + f"inputs: [{{layout: b j d, reflect: {{x: 0.{DIGITS}}}}}]\n", "5002 characters, more than 320"),
        (BODY + f"inputs: [{{layout: b j d, reflect: {{x: 1/{DIGITS}}}}}]\n", "5002 characters, more than 320"),
        (BODY + f"hidden: {{negated: {DIGITS}}}\n", "5000 characters, more than 320"),
        (BODY + "inputs: [{classes: {swap: [[0, 99999999999]]}}]\n", "class 99999999999, more than 999999"),
        (BODY + f"inputs: [{{classes: {{swap: [[0, {DIGITS}]]}}}}]\n", "number of 5000 digits"),
        (BODY + "inputs: [{layout: b f, fields: [{scalar: 1000000000000}]}]\n", "a field of 1000000000000 entries"),
    ],
)
def test_numbers_out_of_all_bounds(text: str, fragment: str):
    with pytest.raises(errors.WrongValueError, match=fragment) as caught:
        parse_spec(text)
    assert caught.value.remedy and len(str(caught.value)) < 500


def test_large_numbers_of_an_honest_size_are_read():
    text = BODY + "inputs: [{layout: b j d, reflect: {x: -1e20}}, {classes: {swap: [[0, 20000]]}}]\n"
    inputs = parse_spec(text).inputs
    assert inputs is not None and inputs[0].reflect == (("x", -(10**20)),)
    assert inputs[1].classes is not None and inputs[1].classes.swap == ((0, 20000),)


@pytest.mark.parametrize(
    ("fields", "fragment"),
    [
        ({"joints": ["nose", "\ud800"], "pairs": []}, "joint .* holds half a character"),
        ({"joints": ["nose"], "pairs": [], "note": "\udc00"}, "note .* holds half a character"),
        ({"joints": ["nose"], "pairs": [], "chiralize": int("9" * 4000) ** 2}, "thousands of digits"),
        (LOOP, "a value that holds itself"),
        ({"joints": RING}, "a value that holds itself"),
    ],
    ids=["surrogate", "surrogate_note", "digits", "dict", "list"],
)
def test_odd_values_from_python(fields: dict[str, Any], fragment: str):
    for read in (skeleton_from_dict, load_spec):
        with pytest.raises(errors.WrongValueError, match=fragment) as caught:
            read(fields)
        assert caught.value.where.strip("<>") in ("dict", "specification")


@pytest.mark.parametrize("name", ["n" * 5000, "n" * 5000 + ".yaml", "folder/" + "n" * 300, BODY * 20, "nul\0name"])
def test_names_that_no_file_can_have(name: str):
    for read in (load_skeleton, load_spec):
        with pytest.raises(errors.UnknownNameError, match="no such file exists|there is no file") as caught:
            read(name)
        assert len(str(caught.value)) < 1000
    assert [finding.message for finding in lint_specification(Path(name))] == ["there is no such file"]
    with pytest.raises(errors.ImportFormatError, match="there is no such file"):
        import_skeleton("morphosymm", name, [])


def test_the_command_takes_a_long_joint_name():
    result = CliRunner().invoke(app, ["infer", "n" * 5000])
    assert result.exit_code == 2 and isinstance(result.exception, SystemExit)


def _json(**fields: object) -> bytes:
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    ("tool", "name", "content", "kind", "fragment"),
    [
        ("videopose3d", "a.json", b'{"num_joints": %s}' % DIGITS.encode(), "ImportFormat", "not JSON"),
        ("videopose3d", "a.json", b"[" * 100_000, "ImportFormat", "not JSON"),
        ("videopose3d", "a.json", b"[" * 200 + b"]" * 200, "WrongValue", "nested deeper than 100"),
        ("videopose3d", "a.json", _json(keypoints_symmetry=[[1], [10**9]]), "WrongValue", "1000000001 joints"),
        ("videopose3d", "a.json", _json(keypoints_symmetry=[[1], [10**40]]), "WrongValue", "number of 41 digits"),
        ("videopose3d", "a.json", _json(num_joints=10**9, keypoints_symmetry=[[1], [2]]), "WrongValue", "more than"),
        ("videopose3d", "a.py", b"Skeleton(joints_left=[1], joints_right=[3000000000])", "WrongValue", "more than"),
        ("detectron2", "a.json", _json(keypoint_names=["nose", "\ud800"]), "WrongValue", "half a character"),
        ("pyskl", "a.py", b"left_kp = []\nright_kp = []\n", "ImportFormat", "are empty"),
        ("pyskl", "a.py", b"left_kp = [1]\nright_kp = [3000000000]\n", "WrongValue", "3000000001 joints"),
        ("pyskl", "a.py", f"left_kp = [1]\nright_kp = [{'9' * 4000}]\n".encode(), "WrongValue", "4000 digits"),
        ("ultralytics", "a.yaml", f"kpt_shape: [{DIGITS}, 3]\n".encode(), "WrongValue", "5000 digits"),
    ],
)  # fmt: skip
def test_odd_files_of_other_tools(tmp_path: Path, tool: str, name: str, content: bytes, kind: str, fragment: str):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(errors.SpecError, match=fragment) as caught:
        import_skeleton(tool, path, [])
    assert type(caught.value) is getattr(errors, f"{kind}Error") and str(path) in caught.value.where


@pytest.mark.parametrize(
    ("data", "kind", "fragment"),
    [
        (HEADER + pickle.dumps(LOOP), "WrongValue", "a value that holds itself"),
        (HEADER + pickle.dumps({"num_joints": 1 << 20000}), "WrongValue", "thousands of digits"),
        (HEADER + b"\x80\x04.", "ImportFormat", "no readable `metadata`"),
        (HEADER + b"\x80\x04s.", "ImportFormat", "no readable `metadata`"),
        (HEADER + b"\x80\x04h\x07.", "ImportFormat", "no readable `metadata`"),
        (HEADER + b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f.", "ImportFormat", "no readable `metadata`"),
        (HEADER[:40], "ImportFormat", "no readable `metadata`"),
        (b"", "ImportFormat", "no readable `metadata`"),
    ],
)
def test_odd_pickles_in_an_archive(tmp_path: Path, data: bytes, kind: str, fragment: str):
    path = tmp_path / "odd.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.npy", data)
    with pytest.raises(errors.SpecError, match=fragment) as caught:
        import_skeleton("videopose3d", path, [])
    assert type(caught.value) is getattr(errors, f"{kind}Error") and str(path) in caught.value.where


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("start", [0, 4, 12, 30])
def test_damaged_archives(tmp_path: Path, method: int, start: int):
    path = tmp_path / "damaged.npz"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("metadata.npy", HEADER + pickle.dumps({"num_joints": 3, "text": str(list(range(300)))}))
    raw = bytearray(path.read_bytes())
    begin = 30 + len("metadata.npy") + start
    raw[begin : begin + 16] = b"\xa5" * 16
    path.write_bytes(bytes(raw))
    with pytest.raises(errors.ImportFormatError, match="no readable `metadata`"):
        import_skeleton("videopose3d", path, [])


def test_a_text_with_half_a_character_in_yaml():
    with pytest.raises(errors.SpecError):
        skeleton_from_yaml('joints: ["\\ud800", nose]\npairs: []\n')
