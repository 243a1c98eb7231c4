"""Mistakes in blocks: error, place, and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from chiralize.body.tensors import parse_spec, resolve
from chiralize.body.tensors.linting import lint_specification
from chiralize.errors import ChiralizeError

HEAD = "skeleton: quadruped\ninputs:\n- fields:\n  - "
BAD = {
    "items without content": ("{feet: [FL, FR]}", "MissingKeyError", "what each of the feet holds", "kind: vector"),
    "wrench without order": ("{feet: [FL, FR], kind: wrench}", "MissingKeyError", "order", "or `order: torque_first`"),
    "order of a vector": ("{feet: [FL, FR], kind: vector, order: xyz}", "WrongValueError", "has none", ""),
    "each and kind": ("{feet: [FL], kind: axial, each: [{vector: v}]}", "WrongValueError", "beside `each`", ""),
    "dims of a wrench": (
        "{feet: [FL, FR], kind: wrench, order: force_first, dims: [x]}",
        "WrongValueError",
        "`dims` of a wrench",
        "",
    ),
    "item twice": ("{feet: [FL, FL], kind: scalar}", "WrongValueError", "listed twice", ""),
    "swap of a stranger": ("{feet: [FL, FR], kind: scalar, swap: [[FL, RR]]}", "UnknownNameError", "'RR'", ""),
    "swap that is one pair": (
        "{feet: [FL, FR], kind: scalar, swap: [FL, FR]}",
        "WrongValueError",
        "'FL' is none",
        "[[A",
    ),
    "swap with itself": (
        "{feet: [FL, FR], kind: scalar, swap: [[FL, FL]]}",
        "WrongValueError",
        "item 'FL' is paired with itself",
        "leave it out of `swap`",
    ),
    "swap in two pairs": (
        "{feet: [a, b, c], kind: scalar, swap: [[a, b], [b, c]]}",
        "NotAnInvolutionError",
        "swaps with",
        "",
    ),
    "no body's axis": ("{vector: v, dims: [q]}", "UnknownNameError", "no axis of the body", "x, y and z"),
    "grid of nothing": ("{grid: [0, 3], axes: [x, y]}", "WrongValueError", "sizes [0, 3]", ""),
    "grid too large": ("{grid: [100000, 100000], axes: [x, y]}", "WrongValueError", "sizes", "points"),
    "grid without axes": ("{grid: [3, 3]}", "MissingKeyError", "which axis", "axes: [x, y]"),
    "grid of strange axes": ("{grid: [3, 3], axes: [row, column]}", "MissingKeyError", "which axis", "flip: 1"),
    "grid of one axis": ("{grid: [3, 3], axes: [y]}", "WrongValueError", "1 axes", ""),
    "flip outside": ("{grid: [3, 3], flip: 2}", "WrongValueError", "flip 2", "from 0"),
    "raw phase": ("{phase: radians, shift: half}", "WrongValueError", "addition", "sine and cosine"),
    "phase without shift": ("{phase: sin_cos}", "MissingKeyError", "half a period", "shift: half"),
    "unknown phase": ("{phase: sincos, shift: half}", "WrongValueError", "'sincos'", "'sin_cos'"),
    "unknown command": ("{command: [vx, gait]}", "WrongValueError", "'gait'", "{gait: -1}"),
    "unknown commands": (
        "{command: [vx, gait, {hop: 1}, frob]}\n  - {command: [skip]}",
        "WrongValueError",
        "3 commands is not told by their names: 'gait', 'frob', 'skip'",
        "give each its sign: {gait: 1}",
    ),
    "history of nothing": ("{history: 3}", "MissingKeyError", "a history of nothing", "of:"),
    "history of no frames": ("{history: 0, of: {vector: v}}", "WrongValueError", "0 frames", ""),
    "history of a stranger": ("{history: 2, of: [{vectr: v}]}", "UnknownKeyError", "'vectr'", "'vector'"),
    "quaternion of a stranger": ("{quaternion: wzyx}", "WrongValueError", "'wzyx'", "wxyz"),
    "euler of a stranger": ("{euler: xyz}", "WrongValueError", "'xyz'", "rpy"),
    "foreign key": ("{vector: v, swap: []}", "WrongValueError", "no meaning beside `vector`", "dims"),
    "inferred": ("{like: input 0}", "WrongValueError", "not inferred", "a tensor of its own"),
    "latent": ("{latent: 16}", "WrongValueError", "not inferred", "scalar: n"),
    "nothing": ("{name: v}", "WrongValueError", "no kind", "give one of"),
}


@pytest.mark.parametrize("case", BAD)
def test_mistakes_are_told_with_their_line(case: str) -> None:
    text, error, facts, remedy = BAD[case]
    with pytest.raises(ChiralizeError) as caught:
        parse_spec(HEAD + text, "robot.yaml")
    assert type(caught.value).__name__ == error
    assert caught.value.where == "robot.yaml:4"
    assert facts in caught.value.facts and remedy in caught.value.remedy


UNFIT = {
    "half a pair": ("{feet: [FL, RR], kind: scalar}", 2, "UnpairedJointError", "without its partner"),
    "joints open under the swap": ("{joints: q, of: [FL_hip]}", 1, "UnpairedJointError", "without its partner"),
    "joint unknown": ("{joints: q, of: [FL_hipp, FR_hip]}", 2, "UnknownNameError", "FL_hipp"),
    "another size": ("{grid: [2, 3], axes: [x, y], name: h}", 7, "LayoutSizeError", "the fields make 6 entries (h 6)"),
    "history of millions": (
        "{history: 10000, of: {history: 10000, of: {scalar: 1000000}}}",
        7,
        "WrongValueError",
        "100000000000000 entries",
    ),
}


@pytest.mark.parametrize("case", UNFIT)
def test_what_does_not_fit_the_body_or_the_tensor(case: str) -> None:
    """Nothing is built before the sizes agree, so that a file cannot ask for all the memory."""
    text, size, error, facts = UNFIT[case]
    with pytest.raises(ChiralizeError) as caught:
        resolve(parse_spec(HEAD + text), [(1, size)], [])
    assert type(caught.value).__name__ == error and facts in caught.value.facts


def test_a_body_without_a_lateral_axis_has_no_vectors() -> None:
    head = "joints: [a]\npairs: []\ndims: [q]\nnegate: []\ninputs: [{fields: ["
    for block, size in (("{quaternion: wxyz}", 4), ("{grid: [2], axes: [y]}", 2), ("{command: [vy]}", 1)):
        with pytest.raises(ChiralizeError, match="no `lateral` axis"):
            resolve(parse_spec(f"{head}{block}]}}]"), [(1, size)], [])
    for block, size in (("{command: [speed]}", 1), ("{feet: [l, r], kind: scalar}", 2), ("{grid: [2], flip: 0}", 2)):
        resolve(parse_spec(f"{head}{block}]}}]"), [(1, size)], [])


def test_lint_questions_what_looks_like_left_and_right(tmp_path: Path) -> None:
    path = tmp_path / "robot.yaml"
    path.write_text(HEAD + "{scalar: 4, name: feet_contact}\n")
    (finding,) = lint_specification(path)
    assert finding.level == "warning" and finding.where == f"{path}:4"
    assert "keeps 4 entries" in finding.message and "kind: scalar" in finding.remedy
