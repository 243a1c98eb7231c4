"""The keys of a skeleton file: what they mean, and every mistake with its code and its line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chiralize import errors
from chiralize.body.catalog import load_skeleton
from chiralize.body.skeleton import Skeleton
from chiralize.body.spec import parse_spec

HEAD = "joints: [nose, left_eye, right_eye, left_ear, right_ear]\n"


def skeleton(text: str) -> Skeleton:
    return parse_spec(text, "dog.yaml").skeleton


@pytest.mark.parametrize(
    "pairs",
    ["[[left_eye, right_eye], [left_ear, right_ear]]", "[[1, 2], [3, 4]]", "[[1, right_eye], [left_ear, 4]]", "infer"],
)
def test_pairs_by_name_by_position_or_from_the_names(pairs: str) -> None:
    assert skeleton(f"{HEAD}pairs: {pairs}").pairs == ((1, 2), (3, 4))


def test_every_pair_that_is_read_from_names_is_listed() -> None:
    (notice,) = parse_spec("joints: [lead, read, hip]\npairs: infer").notices
    assert "lead/read" in notice


@pytest.mark.parametrize("key", ["flip_idx: [0]", "keypoints: [a]", "swap: {}", "permutation: [0]", "left: [1]"])
def test_keys_of_other_tools_are_named_as_such(key: str) -> None:
    with pytest.raises(errors.UnknownKeyError) as caught:
        skeleton(HEAD + key)
    assert "skeleton import" in caught.value.remedy and caught.value.where == "dog.yaml:2"


def test_coordinates_and_signs() -> None:
    head = "joints: [a, b, w]\npairs: [[a, b]]\n"
    robot = skeleton(head + "dims: [q]\nnegate: []\nsigns: {w: [-1]}\nlateral: y")
    assert (robot.sign_table().tolist(), str(robot.merged_action())) == ([[1], [1], [-1]], "3: (0 1) -2")
    assert skeleton(head + "signs: [1, -1, -1]").negate == ("y", "z")
    assert skeleton(head + "dims: [x, y]").negate == ("x",)
    assert skeleton(head + "dims: [u]\nnegate: [u]").lateral is None
    assert skeleton(head + "dims: [q]\nnegate: q") == skeleton(head + "dims: [q]\nnegate: [q]")
    signs = head + "dims: [q]\nsigns: {a: -1, b: [-1]}\n"
    assert skeleton(signs) == skeleton(signs + "negate: []")
    for nothing in ("", "negate:", "negate: no", "negate: none", "signs: {}"):
        with pytest.raises(errors.SpecError):
            skeleton(f"{head}dims: [q]\n{nothing}")


def test_signs_of_a_joint_stand_in_place_of_negate():
    body = skeleton("joints: [a, b, w]\npairs: [[a, b]]\nsigns: {w: [1, -1, 1]}")
    assert body.sign_table().tolist() == [[-1, 1, 1], [-1, 1, 1], [1, -1, 1]]
    assert body.sign_table(("y", "c", "x")).tolist() == [[1, 1, -1], [1, 1, -1], [-1, 1, 1]]
    with pytest.raises(errors.SpecError):
        body.coord_action()
    action = body.merged_action()
    grid = np.arange(9.0).reshape(3, 3) + 1
    expected = grid[[1, 0, 2]] * body.sign_table()
    assert (action.act(grid.reshape(-1)) == expected.reshape(-1)).all()
    by_coordinate = body.merged_action(joint_major=False)
    assert (by_coordinate.act(grid.T.reshape(-1)) == expected.T.reshape(-1)).all()


def test_center_is_checked_and_written_only_where_names_need_it():
    text = "joints: [left_hand, tail]\npairs: [[0, 1]]"
    assert "center" not in skeleton(text).to_yaml()
    odd = skeleton("joints: [left_arm, tail]\npairs: []\ncenter: [left_arm, tail]\n")
    assert "center: [left_arm, tail]" in odd.to_yaml()
    assert skeleton(odd.to_yaml()) == odd


def test_extending_a_shipped_one(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text("skeleton: h36m\nname: mine\ndims: [x, y]\njoints: [hip, left_hip, right_hip]\n")
    mine = load_skeleton(path)
    assert (mine.name, mine.joints, mine.pairs, mine.dims) == (
        "mine",
        ("hip", "left_hip", "right_hip"),
        ((1, 2),),
        ("x", "y"),
    )
    assert mine.edges == ((0, 1), (0, 2))
    (tmp_path / "more.yaml").write_text("skeleton: mine.yaml\nnegate: [y]\n")
    assert load_skeleton(tmp_path / "more.yaml").negate == ("y",)
    inline = skeleton("skeleton: {joints: [a, b], pairs: [[a, b]]}\nsigns: [1, -1, 1]")
    assert inline.negate == ("y",)


def test_circles_of_files_end(tmp_path: Path):
    (tmp_path / "a.yaml").write_text("skeleton: b.yaml\n")
    (tmp_path / "b.yaml").write_text("skeleton: a.yaml\n")
    with pytest.raises(errors.SpecError):
        load_skeleton(tmp_path / "a.yaml")


# ---- mistakes: (text, error, line) ---------------------------------------------------------------------------------
BAD = {
    "no pairs": (HEAD, errors.MissingKeyError, 1),
    "no joints": ("pairs: []", errors.MissingKeyError, 1),
    "empty joints": ("joints: []\npairs: []", errors.WrongValueError, 1),
    "joints as text": ("joints: nose\npairs: []", errors.WrongValueError, 1),
    "unknown key": (HEAD + "pair: []", errors.UnknownKeyError, 2),
    "unknown pair name": (HEAD + "pairs:\n  - [left_eyes, right_eye]", errors.UnknownNameError, 3),
    "pair index": (HEAD + "pairs: [[1, 9]]", errors.WrongValueError, 2),
    "negative index": (HEAD + "pairs: [[1, -1]]", errors.WrongValueError, 2),
    "self pair": (HEAD + "pairs: [[1, 1]]", errors.WrongValueError, 2),
    "two partners": (HEAD + "pairs:\n - [1, 2]\n - [1, 4]", errors.NotAnInvolutionError, 4),
    "three in a pair": (HEAD + "pairs: [[1, 2, 3]]", errors.WrongValueError, 2),
    "flat pairs": (HEAD + "pairs: [1, 2]", errors.WrongValueError, 2),
    "pairs as word": (HEAD + "pairs: guess", errors.WrongValueError, 2),
    "pairs missing value": (HEAD + "pairs:", errors.WrongValueError, 2),
    "sided without partner": (
        "joints: [nose, l_paw_front, r_paw_frnt, left_eye, right_eye]\npairs: [[3, 4]]",
        errors.UnpairedJointError,
        1,
    ),
    "infer, one sided": ("joints: [left_a, right_b, l_c, r_c]\npairs: infer", errors.UnpairedJointError, 1),
    "infer, nothing told": ("joints: [a, b]\npairs: infer", errors.WrongValueError, 2),
    "center in a pair": (HEAD + "pairs: infer\ncenter: [left_eye]", errors.WrongValueError, 3),
    "center incomplete": ("joints: [a, b, c, d]\npairs: [[0, 1]]\ncenter: [c]", errors.UnpairedJointError, 1),
    "joint twice": ("joints:\n - a\n - b\n - a\npairs: []", errors.WrongValueError, 4),
    "no as joint": ("joints: [no, yes]\npairs: []", errors.WrongValueError, 1),
    "off as dim": (HEAD + "pairs: []\ndims: [x, off]", errors.WrongValueError, 3),
    "number as joint": ("joints: [1, 2]\npairs: [[0, 1]]", errors.WrongValueError, 1),
    "dims without x": (HEAD + "pairs: infer\ndims: [y, z]", errors.MissingKeyError, 3),
    "dim twice": (HEAD + "pairs: infer\ndims: [x, x]", errors.WrongValueError, 3),
    "negate unknown": (HEAD + "pairs: infer\nnegate: [w]", errors.UnknownNameError, 3),
    "signs too long": (HEAD + "pairs: infer\nsigns: [1, 1]", errors.WrongValueError, 3),
    "sign of 2": (HEAD + "pairs: infer\nsigns: [2, 1, 1]", errors.WrongValueError, 3),
    "signs and negate": (HEAD + "pairs: infer\nsigns: [1, 1, 1]\nnegate: []", errors.UnknownKeyError, 3),
    "signs of nobody": (HEAD + "pairs: infer\nsigns: {tail: [1, 1, 1]}", errors.UnknownNameError, 3),
    "signs too few": (HEAD + "pairs: infer\nsigns: {nose: [1]}", errors.WrongValueError, 3),
    "signs one-sided": (
        HEAD + "pairs: infer\ndims: [q]\nnegate: []\nsigns:\n  left_eye: [-1]",
        errors.NotAnInvolutionError,
        6,
    ),
    "edge to itself": (HEAD + "pairs: infer\nedges: [[0, 0]]", errors.WrongValueError, 3),
    "edge of nobody": (HEAD + "pairs: infer\nedges: [[nose, tail]]", errors.UnknownNameError, 3),
    "lateral": (HEAD + "pairs: infer\nlateral: w", errors.WrongValueError, 3),
    "version": (
        "chiralize: 2\njoints: [nose, left_eye, right_eye, left_ear, right_ear]\npairs: infer",
        errors.WrongValueError,
        1,
    ),
    "list as file": ("- a\n- b", errors.WrongValueError, 1),
    "unknown base": ("skeleton: h36n", errors.UnknownNameError, 1),
    "empty base": ("skeleton:", errors.MissingKeyError, 1),
    "base and pairs": ("skeleton: h36m\npairs: []", errors.UnknownKeyError, 2),
    "base and half a pair": ("skeleton: h36m\njoints: [left_hip]", errors.UnpairedJointError, 2),
    "base, signs one-sided": ("skeleton: a1\nsigns: {FL_hip: [-1]}", errors.NotAnInvolutionError, 2),
    "base and unknown joint": ("skeleton: h36m\njoints: [left_hop]", errors.UnknownNameError, 2),
}


@pytest.mark.parametrize("case", BAD)
def test_mistakes_name_file_line_and_remedy(case: str) -> None:
    text, error, line = BAD[case]
    with pytest.raises(error) as caught:
        skeleton(text)
    assert type(caught.value) is error
    assert caught.value.where == f"dog.yaml:{line}" and caught.value.remedy


@pytest.mark.parametrize(
    "text",
    [
        "joints: [hip, l_arm, r_arm, l_leg, r_ear, head]\npairs: infer\n",
        "joints: [hip, l_arm, r_arm, l_leg, r_ear, head]\npairs: [[l_arm, r_arm]]\n",
        "joints: [hip, l_arm, r_arm, l_leg, head, neck]\npairs: infer\ncenter: [l_leg]\n",
    ],
)
def test_following_the_remedy_of_an_unpaired_joint_is_enough(text: str) -> None:
    """One line, which lists every joint that is in no pair, whatever its name says, and however pairs are given."""
    with pytest.raises(errors.UnpairedJointError) as caught:
        skeleton(text)
    line = f"center: {caught.value.remedy.partition('center: ')[2]}"
    assert skeleton(text.partition("center: ")[0] + line).pairs == ((1, 2),)


# ---- names and files -----------------------------------------------------------------------------------------------
def test_names_are_never_guessed() -> None:
    for text, near in (
        ("h36", "'h36m'"),
        ("h36m-1", "'h36m"),
        ("COCO", "'coco'"),
        ("h36m.yaml", "'h36m"),
        ("walker2d.yaml", "'walker2d-v5'"),
    ):
        with pytest.raises(errors.UnknownNameError) as caught:
            load_skeleton(text)
        assert near in caught.value.remedy
