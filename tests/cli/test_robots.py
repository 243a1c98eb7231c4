"""`skeleton import --from mujoco|urdf` and `skeleton check --robot` from the shell: streams, options, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from chiralize.body.skeleton.catalog import load_skeleton
from chiralize.cli.skeleton import app
from chiralize.errors import ImportFormatError, UnknownNameError, UsageError
from tests.support.robots import BIPED_JOINTS, biped, write

pytest.importorskip("mujoco")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_import_and_check(tmp_path: Path) -> None:
    robot, spec = write(tmp_path, biped(mass=2.2)), tmp_path / "biped.yaml"
    result = run("import", "--from", "mujoco", robot, "-o", spec)
    assert result.exit_code == 0 and result.stdout == ""
    assert "note: asymmetric in the model: mass: left_thigh 2, right_thigh 2.2 (9.1 %)" in result.stderr
    skeleton = load_skeleton(str(spec))
    assert skeleton.dims == ("q",) and skeleton.negate == () and skeleton.lateral == "y"
    assert "mass (1 part, up to 9.1 %)" in skeleton.note and "robot.xml" in skeleton.source
    signs = skeleton.sign_table()[:, 0]
    said = {name: (skeleton.joints[skeleton.partner(at)], signs[at]) for at, name in enumerate(skeleton.joints)}
    assert said == BIPED_JOINTS
    result = run("check", "--robot", robot, spec)
    assert result.exit_code == 0 and "AGREES, once what is asymmetric" in result.stdout
    wrong = write(tmp_path, spec.read_text().replace("  waist_yaw: [-1]\n", ""), "wrong.yaml")
    result = run("check", "--robot", robot, wrong)
    assert result.exit_code == 1 and "waist_yaw: it is negated (-1), not kept (1)" in result.stdout
    result = run("check", "--robot", robot, wrong, "--format", "json")
    report = json.loads(result.stdout)
    assert result.exit_code == 1 and not report["agrees"]
    assert [joint["joint"] for joint in report["wrong_joints"]] == ["waist_yaw"]


def test_orders(tmp_path: Path) -> None:
    robot = write(tmp_path, biped())
    joints = {
        order: json.loads(run("import", "--from", "mujoco", robot, "--order", order, "--format", "json").stdout)[
            "joints"
        ]
        for order in ("actuators", "joints", "file")
    }
    assert joints["actuators"][:2] == ["waist_yaw", "right_knee"]
    assert joints["joints"][:2] == ["left_hip_roll", "left_hip_pitch"] == joints["file"][:2]
    default = json.loads(run("import", "--from", "mujoco", robot, "--format", "json").stdout)["joints"]
    assert default == joints["actuators"]


def test_options_of_robots_only(tmp_path: Path) -> None:
    robot = write(tmp_path, biped())
    assert isinstance(run("import", "--from", "coco", robot, "--lateral", "y").exception, UsageError)
    assert isinstance(run("import", "--from", "mujoco", robot, "--pair", "a").exception, UsageError)
    assert isinstance(run("import", "--from", "urdf", robot).exception, ImportFormatError)
    assert isinstance(run("check", "--robot", robot, "h36n").exception, UnknownNameError)


def test_no_traceback_and_status_2(tmp_path: Path) -> None:
    """Through the real command: a broken file, in an empty folder, leaves nothing behind."""
    write(tmp_path, "<mujoco><worldbody>", "broken.xml")
    command = [
        sys.executable,
        "-m",
        "chiralize",
        "skeleton",
        "import",
        "--from",
        "mujoco",
        "broken.xml",
        "-o",
        "out.yaml",
    ]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 2 and "CH111" in result.stderr and "Traceback" not in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["broken.xml"]


def test_help_has_examples() -> None:
    assert "--from urdf g1.urdf --order file" in run("import", "--help").stdout
    assert "chiralize skeleton check --robot go2.xml policy.yaml" in run("check", "--help").stdout
