"""Lint: what is formally right and probably not meant, each with its line."""

from pathlib import Path

import numpy as np
import pytest

from chiralize.body.skeleton.lint import lint_skeleton
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors import parse_spec
from chiralize.body.tensors.linting import lint_specification
from chiralize.body.tensors.resolution import resolve

EYES = "joints:\n  - nose\n  - left_eye\n  - right_eye\n"

SIGNED = "pairs: infer\ndims: [q]\nsigns: {left_eye: [-1], right_eye: [-1]}\nlateral: x\noutputs:"
WARNINGS = {
    "explicit none": (EYES + "pairs: []", 5, "the names tell 1, such as left_eye and right_eye"),
    "right first": (EYES + "pairs: [[right_eye, left_eye]]", 5, "written right first"),
    "sided centre": (EYES + "pairs: [[0, 1]]\ncenter: [right_eye]", 4, "'right_eye' names a side"),
    "another partner exists": (
        "joints: [left_a, right_a, left_b, right_b]\npairs:\n - [left_a, right_b]\n - [left_b, right_a]",
        3,
        "'left_a' is paired with 'right_b', though 'right_a' exists",
    ),
    "both left": ("joints: [left_a, left_b]\npairs: [[0, 1]]", 2, "are left"),
    "open edge": (EYES + "pairs: infer\nedges:\n - [nose, left_eye]", 7, "has no mirror image nose - right_eye"),
    "identity": ("joints: [a]\npairs: []\nnegate: []", 0, "the mirror leaves all joints as they are"),
    "lateral not negated": (EYES + "pairs: infer\nlateral: y", 6, "lateral is y, but x is negated"),
    "nothing negated": (
        EYES + "pairs: infer\ndims: [x, y]\nnegate: []",
        7,
        "nothing is negated, though dims are coordinates of space (x, y): left stays left",
    ),
    "nothing sideways negated": (
        EYES + "pairs: infer\nnegate: []\nlateral: x",
        6,
        "nothing is negated, though dims have the lateral axis x: left stays left",
    ),
    "nothing of a tensor negated": (
        EYES + "pairs: infer\ninputs:\n - {layout: b j d, negate: []}",
        7,
        "nothing is negated, though dims have the lateral axis x",
    ),
    "no lateral": (EYES + "pairs: infer\ndims: [q]\nnegate: []", 0, "no `lateral` axis"),
    "no vectors": (EYES + "pairs: infer\ndims: [q]\nnegate: []\ninputs: [{layout: b j}]", 5, "1 pairs and 1 centre"),
    "inferred": (EYES + "pairs: infer", 5, "1 pairs and 1 centre joints inferred"),
    "reflect without missing": (
        EYES + "pairs: infer\ninputs:\n  - {layout: b j d, reflect: {x: 320}}",
        7,
        "reflect without `missing`",
    ),
    "signs left out": (
        EYES + SIGNED + "\n  - 'b a j h ~w'",
        10,
        "no d, so that the signs of f are left out: where each number is that of its joint, add dims: [q]",
    ),
    "negated and keep": (EYES + "pairs: infer\nhidden: {negated: 1/3}", 0, "activation: keep"),
}


@pytest.mark.parametrize("case", WARNINGS)
def test_warnings_name_the_line(tmp_path, case):
    text, line, words = WARNINGS[case]
    path = tmp_path / "f.yaml"
    path.write_text(text)
    found = [finding for finding in lint_specification(path) if words in finding.message]
    assert found and found[0].level == "warning"
    assert found[0].where == (f"{path}:{line}" if line else str(path))
    assert all(finding.level == "warning" for finding in lint_specification(path))


@pytest.mark.parametrize(
    "text",
    [
        "dims: [x, z]\nnegate: []\nlateral: y",  # seen from the side
        "dims: [q]\nnegate: []\nlateral: y",
        "dims: [x, y]\nlateral: x\nsigns: [-1, 1]",
        "inputs:\n - {layout: b j d, dims: [deviation], negate: []}",
    ],
)
def test_nothing_negated_is_no_doubt_where_no_coordinate_points_sideways(tmp_path, text):
    path = tmp_path / "f.yaml"
    path.write_text(EYES + f"pairs: [[1, 2]]\n{text}")
    assert not [finding for finding in lint_specification(path) if "nothing is negated" in finding.message]


def test_errors_of_the_skeleton_and_of_the_tensors_are_findings(tmp_path):
    path = tmp_path / "f.yaml"
    path.write_text(EYES + "pairs: [[1, 1]]")
    (finding,) = lint_specification(path)
    assert (finding.level, finding.where) == ("error", f"{path}:5")
    assert finding.message.startswith("WrongValueError CH106: joint 'left_eye'")
    path.write_text(EYES + "pairs: infer\ninputs: [{layot: b}]")
    assert lint_specification(path)[0].message.startswith("UnknownKeyError CH103: input 0 has no key 'layot'")
    assert lint_specification(tmp_path / "none.yaml")[0].message == "there is no such file"


@pytest.mark.parametrize("name", ["coco", "h36m-17", "g1-47"])
def test_a_shipped_name_is_linted_too(name: str) -> None:
    """A name, an alias and a robot's; with no error."""
    assert not [finding for finding in lint_specification(name) if finding.level == "error"]


@pytest.mark.parametrize(
    "outputs",
    ["[{layout: 'b a j h ~w', dims: [q]}]", "['b a j d h ~w']", "['b a (j d) h ~w']", "[{layout: b a, free: true}]"],
)
def test_signs_that_are_asked_for_are_no_doubt(tmp_path: Path, outputs: str) -> None:
    """A coordinate, or the dims of the tensor, have them."""
    path = tmp_path / "f.yaml"
    path.write_text(f"{EYES}{SIGNED} {outputs}")
    assert not [finding for finding in lint_specification(path) if "no d" in finding.message]


def test_a_clean_file_has_no_findings(tmp_path):
    path = tmp_path / "f.yaml"
    path.write_text(EYES + "pairs: [[left_eye, right_eye]]\nedges: [[nose, left_eye], [nose, right_eye]]\n")
    assert lint_specification(path) == []


def test_findings_without_a_file_name_the_skeleton():
    (finding,) = lint_skeleton(Skeleton("s", ("left_a", "right_a"), ((1, 0),)))
    assert finding.where == "skeleton s"
    assert finding.to_dict()["level"] == "warning"


SHIPPED = sorted(path.stem for path in (Path(__file__).parents[2] / "skeletons").rglob("*.yaml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_signs_are_said_to_be_left_out_where_they_are(name: str) -> None:
    """Of one number a joint: of angles they are applied, with a coordinate axis or without; of maps they are not."""
    skeleton = parse_spec(f"skeleton: {name}").skeleton
    joints, dims = len(skeleton.joints), len(skeleton.dims)
    has_signs = dims == 1 and bool((skeleton.sign_table() < 0).any())
    layouts = {
        "b j": (2, joints),
        "b t j": (2, 4, joints),
        "b t j d": (2, 4, joints, dims),
        "b (j d)": (2, joints * dims),
        "b j h ~w": (2, joints, 3, 4),
    }
    for layout, shape in layouts.items():
        if dims > 1 and layout in ("b j", "b t j"):
            continue  # refused, whatever is said of it
        spec = parse_spec(f"{{skeleton: {name}, inputs: ['{layout}'], outputs: [{{invariant: true}}]}}")
        (representation,) = resolve(spec, [shape], [(2, 3)]).inputs
        assert representation is not None
        applied = bool((representation.act(np.ones(shape)) < 0).any())
        (entry,) = spec.inputs or ()
        said = any("signs" in doubt and "left out" in doubt for _, doubt in entry.doubts(skeleton))
        assert said == (has_signs and not applied), layout
