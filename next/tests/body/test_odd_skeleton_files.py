"""Skeleton and specification files with absurd values: an error of the package, never a traceback or a hang."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chiralize import errors
from chiralize.body.catalog import load_skeleton
from chiralize.body.lint import lint_file
from chiralize.body.spec import load_spec, parse_spec

DIGITS = "9" * 5000
BODY = "joints: [nose, left_eye, right_eye]\npairs: [[left_eye, right_eye]]\n"
LOOP: dict[str, Any] = {"joints": ["a"]}
LOOP["inner"] = LOOP
RING: list[Any] = []
RING.append(RING)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"chiralize: {DIGITS}\n" + BODY, 1),
        (f"joints: [nose, {DIGITS}]\npairs: []\n", 1),
        (f"joints: [left, right]\npairs: [[0, {DIGITS}]]\n", 2),
        (BODY + f"dims: [x]\nsigns: [{DIGITS}]\n", 4),
        (BODY + f"inputs: [{{layout: b j d, reflect: {{x: {'9' * 310}}}}}]\n", 3),
        (BODY + f"inputs: [{{layout: b j d, reflect: {{x: 0.{DIGITS}}}}}]\n", 3),
        (BODY + f"inputs: [{{layout: b j d, reflect: {{x: 1/{DIGITS}}}}}]\n", 3),
        (BODY + f"hidden: {{negated: {DIGITS}}}\n", 3),
        (BODY + "inputs: [{classes: {swap: [[0, 99999999999]]}}]\n", 3),
        (BODY + f"inputs: [{{classes: {{swap: [[0, {DIGITS}]]}}}}]\n", 3),
        (BODY + "inputs: [{layout: b f, fields: [{scalar: 1000000000000}]}]\n", 3),
        (BODY + "inputs: [{layout: b f, fields: [{history: 100000, of: [{scalar: 1000}]}]}]\n", 3),
    ],
)
def test_numbers_out_of_all_bounds(text: str, line: int) -> None:
    with pytest.raises(errors.SpecError) as caught:
        parse_spec(text, "f.yaml")
    assert caught.value.where == f"f.yaml:{line}" and caught.value.remedy and len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "fields",
    [
        {"joints": ["nose", "\ud800"], "pairs": []},
        {"joints": ["nose"], "pairs": [], "note": "\udc00"},
        {"joints": ["nose"], "pairs": [], "chiralize": int("9" * 4000) ** 2},
        LOOP,
        {"joints": RING},
    ],
    ids=["surrogate", "surrogate in a note", "digits", "dict", "list"],
)
def test_odd_values_from_python(fields: dict[str, Any]) -> None:
    with pytest.raises(errors.WrongValueError) as caught:
        load_spec(fields)
    assert caught.value.where == "specification"


@pytest.mark.parametrize("name", ["n" * 5000, "n" * 5000 + ".yaml", "folder/" + "n" * 300, BODY * 20, "nul\0name"])
def test_names_that_no_file_can_have(name: str) -> None:
    for read in (load_skeleton, load_spec):
        with pytest.raises(errors.UnknownNameError) as caught:
            read(name)
        assert len(str(caught.value)) < 1000
    assert [finding.level for finding in lint_file(name)] == ["error"]


# ---- what reads well, and is probably not meant: (text, line, a word of the warning) --------------------------------
EYES = "joints:\n  - nose\n  - left_eye\n  - right_eye\n"
WARNINGS = {
    "explicit none": (EYES + "pairs: []", 5, "no pairs"),
    "right first": (EYES + "pairs: [[right_eye, left_eye]]", 5, "right first"),
    "against the names": (
        "joints: [left_a, right_a, left_b, right_b]\npairs:\n - [left_a, right_b]\n - [left_b, right_a]", 3, "names",
    ),
    "open edge": (EYES + "pairs: infer\nedges:\n - [nose, left_eye]", 7, "mirror image"),
    "lateral not negated": (EYES + "pairs: infer\nlateral: y", 6, "lateral"),
    "nothing negated": (EYES + "pairs: infer\ndims: [x, y]\nnegate: []", 7, "negated"),
    "nothing sideways negated": (EYES + "pairs: infer\nnegate: []\nlateral: x", 6, "negated"),
    "no lateral": (EYES + "pairs: infer\ndims: [q]\nnegate: []", 1, "lateral"),
    "reflect": (EYES + "pairs: infer\ninputs:\n  - {layout: b j d, reflect: {x: 320}}", 7, "missing"),
}  # fmt: skip


@pytest.mark.parametrize("case", WARNINGS)
def test_warnings_name_the_line(tmp_path: Path, case: str) -> None:
    text, line, word = WARNINGS[case]
    path = tmp_path / "f.yaml"
    path.write_text(text)
    findings = lint_file(path)
    assert all(finding.level == "warning" for finding in findings)
    assert any(word in finding.message and finding.where == f"{path}:{line}" for finding in findings)
    path.write_text(EYES + "pairs: [[left_eye, right_eye]]\nedges: [[nose, left_eye], [nose, right_eye]]\n")
    assert not lint_file(path)
