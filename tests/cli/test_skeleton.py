"""The commands of `chiralize skeleton`: data on stdout, the rest on stderr, exit codes."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chiralize.body.skeleton.catalog import (
    load_skeleton,
    shipped,
    shipped_robots,
    skeleton_from_dict,
    skeleton_from_yaml,
)
from chiralize.cli.skeleton import app
from chiralize.errors import ChiralizeError, ImportFormatError, OutputFileError, UnknownNameError, UnpairedJointError

BROKEN = "joints: [left_eye, right_eye]\npairs: [[0, 0]]\n"
WARNED = "joints: [left_eye, right_eye]\npairs: [[1, 0]]\n"


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_list_names_every_skeleton():
    result = run("list")
    assert result.exit_code == 0
    skeletons, robots = result.stdout.split("\n\n")
    assert [line.split()[0] for line in skeletons.splitlines()[1:]] == shipped()
    assert [line.split()[0] for line in robots.splitlines()[1:]] == shipped_robots()
    listed = json.loads(run("list", "--format", "json").stdout)
    assert listed[shipped().index("h36m-17")] == {
        "name": "h36m-17",
        "aliases": ["h36m", "human36m"],
        "joints": 17,
        "pairs": 6,
        "center": 5,
        "dims": ["x", "y", "z"],
    }


def test_show_lists_the_entries_of_an_observation(tmp_path):
    """Each with its number, name, sign and partner, for people to check by eye."""
    text = run("show", "ant-v5").stdout
    assert "input 0 'observation', 105 entries" in text and "output 0 'action', 8 entries" in text
    assert "  37 cfrc_ext.leg_1.force.y -> -91 cfrc_ext.leg_4.force.y\n" in text
    listed = json.loads(run("show", "ant-v5", "--format", "json").stdout)["entries"]["input 0 'observation'"]
    entry = {"index": 37, "name": "cfrc_ext.leg_1.force.y", "sign": -1, "partner": 91}
    assert listed[37] == entry | {"partner_name": "cfrc_ext.leg_4.force.y"}


ACTED_ON = """
joints: [left_hand, right_hand, hip, left_foot, right_foot]
pairs: [[left_hand, right_hand], [left_foot, right_foot]]
dims: [x, y]
negate: [x]
inputs:
  - {name: pose, layout: "b t j d"}
  - {layout: "b (j d)", joints: [left_hand, right_hand], negate: [y]}
  - {layout: "b (j d)", signs: {hip: [-1, -1], left_hand: [1, 1], right_hand: [1, 1]}}
  - {layout: "b c h ~w"}
  - {layout: "b j d", reflect: {x: 320}}
  - {free: true}
outputs: [{like: pose}, {classes: {swap: [[wave_left, wave_right]], names: [wave_left, wave_right, rest]}}]
"""


def test_show_says_what_becomes_of_every_input_and_output(tmp_path):
    """By the code that conversions use: which joints swap, which coordinates or entries are negated."""
    path = tmp_path / "spec.yaml"
    path.write_text(ACTED_ON)
    text = run("show", path).stdout
    assert text[text.index("what the mirror does") :].splitlines()[1:9] == [
        "  input 0 'pose' 'b t j d': swaps the 2 pairs; negates x",
        "  input 1 'b (j d)': swaps left_hand and right_hand; negates y",
        "  input 2 'b (j d)': swaps the 2 pairs; negates hip.x, left_foot.x, right_foot.x, hip.y",
        "  input 3 'b c h w': reverses w",
        "  input 4 'b j d': swaps the 2 pairs; negates x; x is mirrored at 320, x -> 640 - x",
        "  input 5: stays as it is",
        "  output 0: as pose",
        "  output 1: swaps wave_left and wave_right",
    ]
    action = json.loads(run("show", path, "--format", "json").stdout)["action"]["input 1"]
    assert action == {"layout": "b (j d)", "swapped": [["left_hand", "right_hand"]], "negated": ["y"], "says": []}
    assert "what the mirror does" not in run("show", "h36m").stdout


def test_show_says_it_of_every_mirror():
    text = run("show", "ant-v5").stdout
    assert "entries swap" in text and "what the mirror does" in text
    several = run("show", "ant-27-k4").stdout
    assert "what the mirror left_right does" in several and "what the mirror front_back does" in several


def test_show_draws_and_tells_the_source(tmp_path):
    result = run("show", "h36m")
    assert result.exit_code == 0
    assert "h36m-17 (h36m, human36m): 17 joints, 6 pairs, 5 center" in result.stdout
    assert "right_knee" in result.stdout and "mmpose" in result.stdout
    assert skeleton_from_dict(json.loads(run("show", "coco", "--format", "json").stdout)) == load_skeleton("coco")
    path = tmp_path / "f.yaml"
    path.write_text("joints: [left_a, right_a]\npairs: infer\n")
    result = run("show", path)
    assert "2 joints, 1 pairs" in result.stdout and "note: " in result.stderr and "inferred" in result.stderr


def test_show_of_a_wrong_name_raises_for_the_caller_to_print():
    result = run("show", "h36n")
    assert isinstance(result.exception, UnknownNameError) and "h36m" in result.exception.remedy


def test_show_image(tmp_path):
    pytest.importorskip("matplotlib")
    result = run("show", "coco", "--image", tmp_path / "coco.png")
    assert result.exit_code == 0 and (tmp_path / "coco.png").read_bytes()[:4] == b"\x89PNG"


def test_lint_exit_codes(tmp_path):
    broken, warned = tmp_path / "broken.yaml", tmp_path / "warned.yaml"
    broken.write_text(BROKEN)
    warned.write_text(WARNED)
    assert run("lint", warned).exit_code == 0
    assert "written right first" in run("lint", warned).stdout
    result = run("lint", warned, broken)
    assert result.exit_code == 2
    assert f"{broken}:2: error: WrongValueError CH106" in result.stdout
    assert "2 files, 1 errors, 1 warnings" in result.stderr
    found = json.loads(run("lint", broken, "--format", "json").stdout)
    assert [(item["level"], item["where"]) for item in found] == [("error", f"{broken}:2")]
    assert run("lint", tmp_path / "none.yaml").exit_code == 2


def test_infer_proposes_until_accepted(tmp_path):
    result = run("infer", "nose", "left_eye", "right_eye")
    assert result.exit_code == 2
    assert result.stdout.splitlines() == ["pair    left_eye  right_eye", "center  nose"]
    assert "accept with --accept" in result.stderr
    accepted = run("infer", "nose", "left_eye", "right_eye", "--accept")
    assert accepted.exit_code == 0 and skeleton_from_yaml(accepted.stdout).pairs == ((1, 2),)
    path = tmp_path / "names.yaml"
    path.write_text("joints: [nose, left_eye, right_eye]\n")
    out = tmp_path / "face.yaml"
    assert run("infer", path, "-o", out).exit_code == 0
    assert load_skeleton(out).pairs == ((1, 2),)
    found = json.loads(run("infer", "left_a", "right_b", "--format", "json").stdout)
    assert found == {"pairs": [], "center": [], "unpaired": ["left_a", "right_b"]}
    assert isinstance(run("infer", "left_a", "right_b", "--accept").exception, UnpairedJointError)
    assert isinstance(run("infer", "a", "a").exception, ChiralizeError)
    assert isinstance(run("infer", "nose", "-o", tmp_path / "no" / "a.yaml").exception, OutputFileError)


def _full(path, data):
    with path.open("wb") as file:
        file.write(data[:10])
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_import_writes_what_reads_back(tmp_path, monkeypatch):
    source, out = tmp_path / "a.json", tmp_path / "a.yaml"
    source.write_text(json.dumps({"keypoints": ["nose", "left_eye", "right_eye"], "skeleton": [[1, 2]]}))
    result = run("import", "--from", "coco", source)
    assert result.exit_code == 0
    assert skeleton_from_yaml(result.stdout).pairs == ((1, 2),)
    assert "inferred from the names" in result.stderr and "no mirror image" in result.stderr
    assert run("import", "--from", "coco", source, "-o", out).stdout == ""
    assert load_skeleton(out).joints == ("nose", "left_eye", "right_eye")
    with monkeypatch.context() as full:
        full.setattr(Path, "write_bytes", _full)
        assert isinstance(run("import", "--from", "coco", source, "-o", out).exception, OutputFileError)
    assert load_skeleton(out).pairs == ((1, 2),)  # as it was
    assert json.loads(run("import", "--from", "coco", source, "--format", "json").stdout)["name"] == "a"
    assert isinstance(run("import", "--from", "mmpose", source).exception, ImportFormatError)
    assert run("import", "--from", "excel", source).exit_code == 2


@pytest.mark.parametrize("command", [[], ["list"], ["show"], ["lint"], ["infer"], ["import"]])
def test_help_has_an_example(command):
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert not command or "Example: chiralize skeleton" in result.stdout


def test_help_imports_neither_torch_nor_numpy():
    code = (
        "import sys; from typer.testing import CliRunner; from chiralize.cli.skeleton import app;"
        "CliRunner().invoke(app, ['list', '--help']); sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
