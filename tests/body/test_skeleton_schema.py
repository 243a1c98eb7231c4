"""The keys of a skeleton file: every spelling that is read, and every mistake with its line and its remedy."""

from pathlib import Path

import numpy as np
import pytest

from chiralize import errors
from chiralize.body.skeleton.catalog import load_skeleton, skeleton_from_yaml
from chiralize.body.skeleton.skeleton import Skeleton

HEAD = "joints: [nose, left_eye, right_eye, left_ear, right_ear]\n"
EYES_AND_EARS = ((1, 2), (3, 4))

SPELLINGS = {
    "names": "pairs: [[left_eye, right_eye], [left_ear, right_ear]]",
    "indices": "pairs: [[1, 2], [3, 4]]",
    "mixed": "pairs: [[1, right_eye], [left_ear, 4]]",
    "a pair twice": "pairs: [[1, 2], [2, 1], [3, 4]]",
    "infer": "pairs: infer",
    "flip_pairs": "flip_pairs: [[1, 2], [3, 4]]",
    "flip_pairs right first": "flip_pairs: [[2, 1], [4, 3]]",
    "symmetries": "symmetries: [[right_eye, left_eye], [3, 4]]",
    "symmetric_pairs": "symmetric_pairs: [[1, 2], [3, 4]]",
    "keypoint_flip_map": "keypoint_flip_map: [[left_eye, right_eye], [left_ear, right_ear]]",
    "swap one way": "swap: {left_eye: right_eye, left_ear: right_ear}",
    "swap both ways": "swap: {left_eye: right_eye, right_eye: left_eye, left_ear: right_ear, right_ear: left_ear}",
    "swap list": "swap: ['', right_eye, left_eye, right_ear, left_ear]",
    "flip_idx": "flip_idx: [0, 2, 1, 4, 3]",
    "flip_idx as pairs": "flip_idx: [[1, 2], [4, 3]]",
    "left and right": "left: [left_eye, 3]\nright: [2, right_ear]",
    "permutation": "permutation: [0, 2, 1, 4, 3]",
    "permutation in a list": "permutation: [[0, 2, 1, 4, 3]]",
}


@pytest.mark.parametrize("case", SPELLINGS)
def test_pair_spellings_mean_the_same(case):
    assert skeleton_from_yaml(HEAD + SPELLINGS[case]).pairs == EYES_AND_EARS


@pytest.mark.parametrize("key", ["joints", "keypoints", "nodes", "bodyparts", "names", "keypoint_names"])
def test_joint_spellings(key):
    assert skeleton_from_yaml(f"{key}: [a, b]\npairs: [[a, b]]").joints == ("a", "b")


def test_flip_idx_says_what_it_was_read_as(tmp_path):
    for text, words in (("[1, 0]", "flat permutation of 2"), ("[[0, 1]]", "list of 1 pairs")):
        path = tmp_path / "f.yaml"
        path.write_text(f"joints: [a, b]\nflip_idx: {text}\n")
        notices: list[str] = []
        load_skeleton(path, notices)
        assert words in notices[0] and f"{path}:2" in notices[0]


def test_coordinates_and_signs():
    robot = skeleton_from_yaml(
        "joints: [a, b, w]\npairs: [[a, b]]\ndims: [q]\nnegate: []\nsigns: {w: [-1]}\nlateral: y"
    )
    assert robot.sign_table().tolist() == [[1], [1], [-1]]
    assert str(robot.merged_action()) == "3: (0 1) -2"
    short = skeleton_from_yaml("joints: [a, b, w]\npermutation: [1, 0, 2]\nreflection: [-1, -1, 1]")
    assert (short.dims, short.negate, str(short.merged_action())) == (("q",), (), "3: -(0 1)")
    on_x = skeleton_from_yaml("joints: [a, b, w]\npermutation: [1, 0, 2]\nreflection: [-1, -1, 1]\ndims: [x]")
    assert on_x.merged_action() == short.merged_action()
    axis_angle = skeleton_from_yaml("joints: [a, b]\npairs: [[a, b]]\nsigns: [1, -1, -1]")
    assert axis_angle.negate == ("y", "z")
    assert skeleton_from_yaml("joints: [a]\npairs: []\ndims: [x, y]").negate == ("x",)
    assert skeleton_from_yaml("joints: [a]\npairs: []\ndims: [u]\nnegate: [u]").lateral is None


def test_what_is_negated_in_one_word():
    """One name needs no list; where joints have signs of their own, nothing has to be said of the others."""
    head = "joints: [a, b, w]\npairs: [[a, b]]\ndims: [q]\n"
    assert skeleton_from_yaml(head + "negate: q") == skeleton_from_yaml(head + "negate: [q]")
    signs = "signs: {a: [-1], b: [-1]}\n"
    assert skeleton_from_yaml(head + signs) == skeleton_from_yaml(head + signs + "negate: []")
    for text, error in (("negate: none", errors.UnknownNameError), ("negate: no", errors.WrongValueError)):
        with pytest.raises(error, match="negate"):
            skeleton_from_yaml(head + text)
    for nothing in ("", "negate:", "signs: {}"):
        with pytest.raises(errors.ChiralizeError):
            skeleton_from_yaml(head + nothing)


def test_signs_of_a_joint_stand_in_place_of_negate():
    skeleton = skeleton_from_yaml("joints: [a, b, w]\npairs: [[a, b]]\nsigns: {w: [1, -1, 1]}")
    assert skeleton.sign_table().tolist() == [[-1, 1, 1], [-1, 1, 1], [1, -1, 1]]
    assert skeleton.sign_table(("y", "c", "x")).tolist() == [[1, 1, -1], [1, 1, -1], [-1, 1, 1]]
    with pytest.raises(errors.SpecError, match="different signs"):
        skeleton.coord_action()
    action = skeleton.merged_action()
    grid = np.arange(9.0).reshape(3, 3) + 1
    expected = grid[[1, 0, 2]] * skeleton.sign_table()
    assert (action.act(grid.reshape(-1)) == expected.reshape(-1)).all()
    by_coordinate = skeleton.merged_action(joint_major=False)
    assert (by_coordinate.act(grid.T.reshape(-1)) == expected.T.reshape(-1)).all()


def test_center_is_checked_and_written_only_where_names_need_it():
    text = "joints: [left_hand, tail]\npairs: [[0, 1]]"
    assert "center" not in skeleton_from_yaml(text).to_yaml()
    odd = skeleton_from_yaml("joints: [left_arm, tail]\npairs: []\ncenter: [left_arm, tail]\n")
    assert "center: [left_arm, tail]" in odd.to_yaml()
    assert skeleton_from_yaml(odd.to_yaml()) == odd


def test_extending_a_shipped_one(tmp_path):
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
    inline = skeleton_from_yaml("skeleton: {joints: [a, b], pairs: [[a, b]]}\nsigns: [1, -1, 1]")
    assert inline.negate == ("y",)


def test_robot_extended_with_other_signs():
    robot = skeleton_from_yaml("skeleton: quadruped\nsigns: {FL_calf: [-1], FR_calf: [-1]}")
    assert [robot.joints[joint] for joint, _ in robot.signs] == ["FL_calf", "FR_calf"]


def test_circles_of_files_end(tmp_path):
    (tmp_path / "a.yaml").write_text("skeleton: b.yaml\n")
    (tmp_path / "b.yaml").write_text("skeleton: a.yaml\n")
    with pytest.raises(errors.SpecError, match="extend each other"):
        load_skeleton(tmp_path / "a.yaml")


# ---- mistakes: (text, error, line, words of the facts, words of the remedy) ----------------------------------------
BAD = {
    "no pairs": (HEAD, "MissingKeyError", 1, "no `pairs`", "pairs: infer"),
    "no joints": ("pairs: []", "MissingKeyError", 1, "no `joints`", "list the joints"),
    "empty joints": ("joints: []\npairs: []", "WrongValueError", 1, "empty", "list the joints"),
    "joints as text": ("joints: nose\npairs: []", "WrongValueError", 1, "must be a list", "[a, b"),
    "unknown key": (HEAD + "pair: []", "UnknownKeyError", 2, "'pair'", "'pairs'"),
    "unknown pair name": (
        HEAD + "pairs:\n  - [left_eyes, right_eye]",
        "UnknownNameError",
        3,
        "'left_eyes'",
        "'left_eye'",
    ),
    "pair index": (HEAD + "pairs: [[1, 9]]", "WrongValueError", 2, "index 9 lies outside 0..4", "from 0"),
    "negative index": (HEAD + "pairs: [[1, -1]]", "WrongValueError", 2, "-1", "from 0"),
    "self pair": (HEAD + "pairs: [[1, 1]]", "WrongValueError", 2, "'left_eye' is paired with itself", "centre"),
    "two partners": (HEAD + "pairs:\n - [1, 2]\n - [1, 4]", "NotAnInvolutionError", 4, "in line 3", "one partner"),
    "three in a pair": (HEAD + "pairs: [[1, 2, 3]]", "WrongValueError", 2, "must have 2 entries, not 3", "2"),
    "flat pairs": (HEAD + "pairs: [1, 2]", "WrongValueError", 2, "[left, right]", "[[left_hip"),
    "pairs as word": (HEAD + "pairs: guess", "WrongValueError", 2, "must be a list", ""),
    "pairs missing value": (HEAD + "pairs:", "WrongValueError", 2, "must be a list", ""),
    "sided without partner": (
        "joints: [nose, l_paw_front, r_paw_frnt, left_eye, right_eye]\npairs: [[3, 4]]",
        "UnpairedJointError",
        1,
        "left joint 'l_paw_front' has no right partner.\n    nearest name: 'r_paw_frnt' (line 1).",
        "list the joint under `center`",
    ),
    "infer, one sided": ("joints: [left_a, right_b, l_c, r_c]\npairs: infer", "UnpairedJointError", 1, "'left_a'", ""),
    "infer, nothing told": ("joints: [a, b]\npairs: infer", "WrongValueError", 2, "no joint's name", "write the pairs"),
    "center in a pair": (HEAD + "pairs: infer\ncenter: [left_eye]", "WrongValueError", 3, "'left_eye' is also in", ""),
    "center incomplete": (
        "joints: [a, b, c, d]\npairs: [[0, 1]]\ncenter: [c]",
        "UnpairedJointError",
        1,
        "'d' is in no pair and not under `center` (line 3)",
        "",
    ),
    "two spellings": (HEAD + "pairs: []\nflip_idx: [0]", "UnknownKeyError", 3, "both give the pairs", "keep one"),
    "two joint lists": (HEAD + "pairs: []\nnodes: [a]", "UnknownKeyError", 3, "both give the joints", "keep one"),
    "joint twice": ("joints:\n - a\n - b\n - a\npairs: []", "WrongValueError", 4, "first in line 2", "own name"),
    "no as joint": ("joints: [no, yes]\npairs: []", "WrongValueError", 1, "boolean", 'quote it: "no"'),
    "off as dim": (HEAD + "pairs: []\ndims: [x, off]", "WrongValueError", 3, "boolean", "quote it"),
    "number as joint": ("joints: [1, 2]\npairs: [[0, 1]]", "WrongValueError", 1, "a number", "quote it"),
    "dims without x": (HEAD + "pairs: infer\ndims: [y, z]", "MissingKeyError", 3, "no `negate`", "negate: []"),
    "dim twice": (HEAD + "pairs: infer\ndims: [x, x]", "WrongValueError", 3, "'x' is listed twice", ""),
    "negate unknown": (HEAD + "pairs: infer\nnegate: [w]", "UnknownNameError", 3, "'w' is no dim", "x, y, z"),
    "signs too long": (HEAD + "pairs: infer\nsigns: [1, 1]", "WrongValueError", 3, "2 entries for dims", "reflection"),
    "sign of 2": (HEAD + "pairs: infer\nsigns: [2, 1, 1]", "WrongValueError", 3, "must be 1 or -1, not '2'", ""),
    "signs and negate": (HEAD + "pairs: infer\nsigns: [1, 1, 1]\nnegate: []", "UnknownKeyError", 3, "both say", ""),
    "signs of nobody": (HEAD + "pairs: infer\nsigns: {tail: [1, 1, 1]}", "UnknownNameError", 3, "'tail'", ""),
    "signs too few": (HEAD + "pairs: infer\nsigns: {nose: [1]}", "WrongValueError", 3, "1 signs for dims", ""),
    "signs one-sided": (
        HEAD + "pairs: infer\ndims: [q]\nnegate: []\nsigns:\n  left_eye: [-1]",
        "NotAnInvolutionError",
        6,
        "'left_eye' and 'right_eye' have signs [-1] and [1]",
        "same signs",
    ),
    "reflection one-sided": (
        HEAD + "permutation: [0, 2, 1, 4, 3]\nreflection: [1, -1, 1, 1, 1]",
        "NotAnInvolutionError",
        3,
        "'left_eye' and 'right_eye'",
        "same signs",
    ),
    "reflection too short": (
        HEAD + "permutation: [0, 2, 1, 4, 3]\nreflection: [1]",
        "WrongValueError",
        3,
        "1 signs",
        "",
    ),
    "reflection alone": (HEAD + "reflection: [1, 1, 1, 1, 1]", "MissingKeyError", 2, "without 'permutation'", ""),
    "reflection, three dims": (
        HEAD + "permutation: [0, 2, 1, 4, 3]\nreflection: [1, 1, 1, 1, 1]\ndims: [x, y, z]",
        "MissingKeyError",
        3,
        "one sign per joint",
        "dims: [q]",
    ),
    "flip_idx too short": (HEAD + "flip_idx: [0, 2, 1]", "WrongValueError", 2, "3 entries for 5 joints", "5 entries"),
    "flip_idx cycle": (
        HEAD + "flip_idx: [1, 2, 0, 3, 4]",
        "NotAnInvolutionError",
        2,
        "'nose' goes to 'left_eye'",
        "mutual",
    ),
    "two permutations": (HEAD + "permutation: [[0], [1]]", "WrongValueError", 2, "one mirror", ""),
    "swap chain": (
        HEAD + "swap:\n  left_eye: right_eye\n  right_eye: left_ear",
        "NotAnInvolutionError",
        4,
        "'right_eye' swaps with 'left_ear' here but with 'left_eye' in line 3",
        "",
    ),
    "swap list half": (HEAD + "swap: ['', right_eye, '', '', '']", "NotAnInvolutionError", 2, "make", ""),
    "left without right": (HEAD + "left: [1]", "MissingKeyError", 2, "without 'right'", ""),
    "right without left": (HEAD + "right: [1]", "MissingKeyError", 2, "without 'left'", ""),
    "sides unequal": (HEAD + "left: [1, 3]\nright: [2]", "WrongValueError", 3, "left has 2 joints, right has 1", ""),
    "edge to itself": (HEAD + "pairs: infer\nedges: [[0, 0]]", "WrongValueError", 3, "'nose' to itself", ""),
    "edge of nobody": (HEAD + "pairs: infer\nedges: [[nose, tail]]", "UnknownNameError", 3, "'tail'", ""),
    "lateral": (HEAD + "pairs: infer\nlateral: w", "WrongValueError", 3, "'w', not one of x, y, z", ""),
    "version": ("chiralize: 2\n" + HEAD + "pairs: infer", "WrongValueError", 1, "format version 2", "chiralize: 1"),
    "list as file": ("- a\n- b", "WrongValueError", 1, "must be a map", ""),
    "unknown base": ("skeleton: h36n", "UnknownNameError", 1, "'h36n'", "'h36m'"),
    "empty base": ("skeleton:", "MissingKeyError", 1, "empty", ""),
    "base and pairs": ("skeleton: h36m\npairs: []", "UnknownKeyError", 2, "beside `skeleton: h36m-17`", "keep one"),
    "base and half a pair": ("skeleton: h36m\njoints: [left_hip]", "UnpairedJointError", 2, "'right_hip'", "add"),
    "base, signs one-sided": ("skeleton: a1\nsigns: {FL_hip: [-1]}", "NotAnInvolutionError", 2, "'FL_hip'", "same"),
    "base and unknown joint": ("skeleton: h36m\njoints: [left_hop]", "UnknownNameError", 2, "'left_hop'", "'left_hip'"),
}


@pytest.mark.parametrize("case", BAD)
def test_mistakes_name_file_line_value_and_remedy(case):
    text, name, line, facts, remedy = BAD[case]
    with pytest.raises(getattr(errors, name)) as caught:
        skeleton_from_yaml(text, "dog.yaml")
    error = caught.value
    assert type(error).__name__ == name
    assert error.where == f"dog.yaml:{line}"
    assert facts in error.facts or facts in error.remedy
    assert remedy in error.remedy
    assert error.exit_status == 2


def test_the_message_of_an_unpaired_joint_word_for_word():
    with pytest.raises(errors.UnpairedJointError) as caught:
        skeleton_from_yaml("joints:\n  - nose\n  - l_paw_front\n  - r_paw_frnt\npairs: [[0, 2]]\n", "dog.yaml")
    assert str(caught.value) == (
        "UnpairedJointError CH101  dog.yaml:3: left joint 'l_paw_front' has no right partner.\n"
        "    nearest name: 'r_paw_frnt' (line 4).\n"
        "    Fix: correct the name or the pairs; or list the joint under `center`, with all others that are in "
        "no pair: center: [l_paw_front]"
    )


@pytest.mark.parametrize(
    "text",
    [
        "joints: [hip, l_arm, r_arm, l_leg, r_ear, head]\npairs: infer\n",
        "joints: [hip, l_arm, r_arm, l_leg, r_ear, head]\npairs: [[l_arm, r_arm]]\n",
        "joints: [hip, l_arm, r_arm, l_leg, head, neck]\npairs: infer\ncenter: [l_leg]\n",
        "joints: [hip, l_arm]\npairs: infer\n",
    ],
)
def test_following_the_remedy_of_an_unpaired_joint_is_enough(text: str) -> None:
    """One line, which lists every joint that is in no pair, whatever its name says, and however pairs are told."""
    with pytest.raises(errors.UnpairedJointError) as caught:
        skeleton_from_yaml(text, "dog.yaml")
    line = f"center: {caught.value.remedy.partition('center: ')[2]}"
    skeleton = skeleton_from_yaml(text.partition("center: ")[0] + line, "dog.yaml")
    assert skeleton.pairs == (((1, 2),) if "r_arm" in skeleton.joints else ())


# ---- finding ------------------------------------------------------------------------------------------------------
def test_names_are_never_guessed():
    for text, near in (("h36", "'h36m'"), ("h36m-1", "'h36m"), ("COCO", "'coco'")):
        with pytest.raises(errors.UnknownNameError) as caught:
            load_skeleton(text)
        assert near in caught.value.remedy and caught.value.code == "CH104"


@pytest.mark.parametrize(
    ("missing", "remedy"),
    [
        ("my-bodi.yaml", "did you mean 'my-body.yaml'?"),
        ("my-body.json", "did you mean 'my-body.yaml'?"),
        ("skeletons/mine.yml", "see `chiralize skeleton list`, or give the path of a skeleton file"),
        ("mine.yaml", "see `chiralize skeleton list`, or give the path of a skeleton file"),
        ("walker2d.yaml", "did you mean 'walker2d-v5'? (all names: chiralize skeleton list)"),
    ],
)
def test_a_missing_file_is_looked_for_beside_it(
    missing: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A shipped skeleton is offered only for a name that is nearly its own."""
    (tmp_path / "my-body.yaml").write_text("joints: [a]")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.UnknownNameError, match="there is no file") as caught:
        load_skeleton(missing)
    assert caught.value.remedy == remedy


def test_a_file_name_that_is_no_file_falls_back_and_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    notices: list[str] = []
    assert load_skeleton("h36m.yaml", notices).name == "h36m-17"
    assert notices == ["h36m.yaml is not a file: the shipped skeleton h36m-17 is used"]
    with pytest.raises(errors.UnknownNameError, match=r"no file 'dog\.yaml'"):
        load_skeleton("dog.yaml")
    with pytest.raises(errors.UnknownNameError, match="no file 'x/dog'"):
        load_skeleton("x/dog")
    folder = tmp_path / "sub"
    folder.mkdir()
    (folder / "body.yaml").write_text("joints: [a]\npairs: []\n")
    (folder / "spec.yaml").write_text("skeleton: sub/body.yaml\n")
    with pytest.raises(
        errors.UnknownNameError, match=r"no file 'sub/body.yaml' \(sub/sub/body.yaml: it counts"
    ) as caught:
        load_skeleton("sub/spec.yaml")
    assert caught.value.remedy == "write 'body.yaml'"
    (tmp_path / "h36m.yaml").write_text("joints: [a]\npairs: []\n")
    assert load_skeleton("h36m.yaml").joints == ("a",)
    assert load_skeleton(Path("h36m.yaml")).name == "h36m"


def test_a_file_of_another_tool_points_to_the_importer(tmp_path):
    path = tmp_path / "h36m.py"
    path.write_text("dataset_info = dict()")
    with pytest.raises(errors.SpecError, match="skeleton import --from"):
        load_skeleton(str(path))


# ---- Skeletons from Python ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("parts", "name", "words"),
    [
        ({"pairs": ((0, 0),)}, "WrongValueError", "with itself"),
        ({"pairs": ((0, 1), (1, 2))}, "NotAnInvolutionError", "two pairs"),
        ({"pairs": ((0, 7),)}, "WrongValueError", "outside"),
        ({"joints": ("a", "a", "b")}, "WrongValueError", "twice"),
        ({"joints": ()}, "WrongValueError", "no joints"),
        ({"negate": ("w",)}, "UnknownNameError", "no dim"),
        ({"signs": ((0, (1,)),)}, "WrongValueError", "signs"),
        ({"signs": ((9, (1, 1, 1)),)}, "WrongValueError", "does not exist"),
        ({"signs": ((0, (1, 1, 1)),)}, "NotAnInvolutionError", "twice is not the identity"),
        ({"edges": ((0, 9),)}, "WrongValueError", "edge"),
    ],
)
def test_wrong_skeletons_cannot_be_built(parts, name, words):
    base = {"name": "s", "joints": ("a", "b", "c"), "pairs": ((0, 1),)}
    with pytest.raises(getattr(errors, name), match=words):
        Skeleton(**(base | parts))


def test_subsets_and_other_dims():
    skeleton = load_skeleton("h36m")
    assert skeleton.with_joints(["hip"]).pairs == ()
    with pytest.raises(errors.UnpairedJointError, match="'right_knee'"):
        skeleton.with_joints(["left_knee"])
    with pytest.raises(errors.UnknownNameError, match="did you mean 'left_knee'"):
        skeleton.with_joints(["left_kne"])
    with pytest.raises(errors.WrongValueError, match="twice"):
        skeleton.with_joints(["hip", "hip"])
    seen = skeleton.with_dims(("x", "y", "c"))
    assert seen.negate == ("x",)
    assert skeleton.with_dims(("y",)).negate == ()


def test_other_dims_of_joints_with_signs_of_their_own():
    """What is negated of all joints says something else than the signs: nothing at all, or it is refused."""
    robot = load_skeleton("quadruped")
    assert robot.with_dims(("q", "c")).sign_table()[:2].tolist() == [[-1, 1], [1, 1]]
    assert (robot.with_dims(("q",), ()).sign_table() == 1).all()
    assert (robot.with_dims(None, ()).sign_table() == 1).all()
    assert (robot.with_dims(("c",), ("c",)).sign_table() == -1).all()
    with pytest.raises(
        errors.WrongValueError, match=r"`negate: \['c'\]` is[\s\S]*say `signs` over \['q', 'c'\] instead"
    ):
        robot.with_dims(("q", "c"), ("c",))
