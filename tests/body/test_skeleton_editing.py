"""`skeleton infer FILE -o OUT` changes nothing but the pairs."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from chiralize.body.skeleton.catalog import load_skeleton
from chiralize.body.skeleton.editing import with_pairs
from chiralize.cli.app import app
from chiralize.errors import NotAnInvolutionError, UnknownKeyError, UnpairedJointError, WrongValueError, YamlSyntaxError

ROBOT = """\
# hips first, as the simulator has them
name: walker
joints: [waist, left_hip, right_hip,
         left_knee, right_knee]   # the order of the URDF
{pairs}dims: [pitch, yaw]   # degrees
negate: [yaw]
signs:
  waist: [1, -1]      # turned about z

edges: [[waist, left_hip], [waist, right_hip]]
note: "kept: as it is"
# the end
"""
BLOCK = "pairs:\n  - [left_hip, right_hip]\n  - [left_knee, right_knee]\n"
LINE = "pairs: [[left_hip, right_hip], [left_knee, right_knee]]"


def inferred(path: Path, out: Path) -> bytes:
    result = CliRunner().invoke(app, ["skeleton", "infer", str(path), "-o", str(out)])
    if result.exception:
        raise result.exception
    assert result.exit_code == 0, result.output
    return out.read_bytes()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", BLOCK),
        ("pairs: infer   # from the names\n", f"{LINE}   # from the names\n"),
        ("pairs:\n", f"{LINE}\n"),
        ("pairs: []\n", f"{LINE}\n"),
        ("pairs: [[left_hip, right_hip]]  # more to come\n", f"{LINE}  # more to come\n"),
        ("pairs:   # two\n  - [left_hip, right_hip]\n# of legs\n", "pairs:   # two\n" + BLOCK[7:] + "# of legs\n"),
        ("pairs:\n- - left_hip\n  - right_hip   # hips\n\n", BLOCK.replace("  -", "-")[:-1] + "   # hips\n\n"),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_all_else_stays_byte_for_byte(old: str, new: str, newline: str, tmp_path: Path) -> None:
    path, out = tmp_path / "walker.yaml", tmp_path / "walker.pairs.yaml"
    path.write_bytes(ROBOT.format(pairs=old).replace("\n", newline).encode())
    assert inferred(path, out).decode() == ROBOT.format(pairs=new).replace("\n", newline)
    skeleton = load_skeleton(out)
    assert skeleton.pairs == ((1, 2), (3, 4)) and skeleton.negate == ("yaw",) and skeleton.signs == ((0, (1, -1)),)
    assert inferred(out, out) == out.read_bytes()


def test_a_file_may_be_its_own_output(tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_text("joints: [left_a, right_a]\nnegate: [y]")
    assert inferred(path, path) == b"joints: [left_a, right_a]\npairs:\n  - [left_a, right_a]\nnegate: [y]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"joints": ["nose", "tail"], "negate": ["y"]}', '{"joints": ["nose", "tail"], "pairs": [], "negate": ["y"]}'),
        (
            '{"joints": ["a_l", "a_r"],\n "pairs": "infer", "negate": ["y"]}\n',
            '{"joints": ["a_l", "a_r"],\n "pairs": [["a_l", "a_r"]], "negate": ["y"]}\n',
        ),
        (
            "  keypoints:\n  - a_l\n  - a_r\n  # none\n",
            "  keypoints:\n  - a_l\n  - a_r\n  pairs:\n    - [a_l, a_r]\n  # none\n",
        ),
        ("joints: [a, b]\npairs:\n- [a, b]\n", "joints: [a, b]\npairs:\n  []\n"),
        ("joints: [a, b]\n", "joints: [a, b]\npairs: []\n"),
        (
            "\ufeffjoints: [ä_l, ä_r] # \U0001f600\n",
            '\ufeffjoints: [ä_l, ä_r] # \U0001f600\npairs:\n  - ["ä_l", "ä_r"]\n',
        ),
    ],
)
def test_other_layouts(text: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "body.json"
    path.write_text(text, encoding="utf-8")
    assert inferred(path, tmp_path / "out.json").decode() == expected


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("joints: [left_a, right_a]\nflip_idx: [1, 0]\n", UnknownKeyError, r":2: 'flip_idx' gives the pairs already"),
        (
            "joints: [l_a, r_a]\nreflection: [1, 1]\npairs: infer\n",
            UnknownKeyError,
            "'reflection' gives",
        ),
        ("joints: [nose]\nskeleton: h36m\n", UnknownKeyError, "'skeleton' gives the pairs already, and perhaps more"),
        ("joints: [left_a, right_a]\ncenter: [left_a, right_a]\n", WrongValueError, "is also in pair"),
        ("joints: [left_a, right_a]\nsigns: {left_a: [-1, 1, 1]}\nnegate: []\n", NotAnInvolutionError, "have signs"),
        ("joints: [left_a, right_b]\n", UnpairedJointError, "names a side but has no partner"),
    ],
)
def test_refused_where_the_rest_does_not_go_with_the_pairs(
    text: str, error: type[Exception], says: str, tmp_path: Path
) -> None:
    path = tmp_path / "body.yaml"
    path.write_text(text)
    with pytest.raises(error, match=says):
        inferred(path, tmp_path / "out.yaml")
    assert not (tmp_path / "out.yaml").exists()


def test_refused_where_the_text_cannot_be_changed_in_one_place() -> None:
    """A key that goes on behind its question mark."""
    with pytest.raises((WrongValueError, YamlSyntaxError)):
        with_pairs("? joints\n: [left_a, right_a]\n? pairs\n", [("left_a", "right_a")], Path("odd.yaml"))


@pytest.mark.parametrize(
    ("text", "joints"),
    [
        ("left ear\nright ear\n\nnose\n", ("left ear", "right ear", "nose")),
        ("nose, left_ear, right_ear\n", ("nose", "left_ear", "right_ear")),
        ("nose L1A R1A", ("nose", "L1A", "R1A")),
        ("- nose\n- L1A\n- R1A\n", ("nose", "L1A", "R1A")),
    ],
)
def test_names_in_a_file(text: str, joints: tuple[str, ...], tmp_path: Path) -> None:
    """As other tools write them: lines, words, or a list of YAML."""
    path, out = tmp_path / "names.txt", tmp_path / "fly.yaml"
    path.write_text(text)
    inferred(path, out)
    skeleton = load_skeleton(out)
    assert skeleton.joints == joints and len(skeleton.pairs) == 1


def test_names_in_a_file_are_listed_once(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("nose\nnose\n")
    with pytest.raises(WrongValueError, match="joint 'nose' is listed twice"):
        inferred(path, tmp_path / "out.yaml")
