"""`skeleton check` names the wrong joint and the wrong entry, and tells a wrong mirror from an asymmetric model."""

from __future__ import annotations

from pathlib import Path

import pytest

from chiralize.body.robots.checking import RobotCheck, check
from chiralize.body.robots.describing import RobotWishes, import_robot
from chiralize.body.tensors import parse_spec
from chiralize.errors import ChiralizeError, UnknownNameError, WrongValueError
from tests.support.robots import biped, write

pytest.importorskip("mujoco")

JOINTS = """
name: biped
joints: [waist_yaw, right_knee, right_hip_pitch, right_hip_roll, left_hip_roll, left_hip_pitch, left_knee]
pairs:
  - [left_knee, right_knee]
  - [left_hip_pitch, right_hip_pitch]
  - [left_hip_roll, right_hip_roll]
dims: [q]
negate: []
signs:
  waist_yaw: [-1]
  left_hip_pitch: [-1]
  right_hip_pitch: [-1]
  left_hip_roll: [-1]
  right_hip_roll: [-1]
lateral: y
"""
OBSERVATION = """
inputs:
  - layout: "b f"
    fields:
      - {scalar: 1, name: height}
      - {signs: [1, -1, 1, -1], name: orientation}
      - {vector: base_lin_vel}
      - {axial: base_ang_vel}
      - {vector: projected_gravity}
      - {signs: [1, -1, -1], name: commands}
      - {joints: dof_pos}
      - {joints: dof_vel}
      - {joints: last_action}
      - {vector: left_foot_velocity}
outputs:
  - {layout: "b (j d)", dims: [q]}
"""


IMPORTED = parse_spec(JOINTS).skeleton
"""Also in this order: the signs are listed in that of the joints."""


def checked(folder: Path, specification: str, robot: str | None = None, by_name: bool = False) -> RobotCheck:
    """by_name: the biped's actuators are in the order of the joints above, its joints are not."""
    return check(write(folder, robot or biped()), str(write(folder, specification, "spec.yaml")), by_name=by_name)


def test_imported_skeleton_agrees(tmp_path: Path) -> None:
    path, notices = write(tmp_path, biped()), list[str]()
    skeleton = import_robot(path, "mujoco", RobotWishes(), notices)
    assert parse_spec(skeleton.to_yaml()).skeleton.to_dict() | {"source": ""} == IMPORTED.to_dict() | {"source": ""}
    assert notices[-1].startswith("the simulator agrees with the mirror to ") and notices[-1].endswith("as it is")
    result = checked(tmp_path, skeleton.to_yaml())
    assert result.agrees and result.agreed.is_exact and not result.unfelt


def test_observation(tmp_path: Path) -> None:
    """What can be computed from the state is checked; what a name does not say is listed as not checked."""
    result = checked(tmp_path, JOINTS + OBSERVATION, by_name=True)
    assert result.agrees
    assert len(result.checked) == 9
    assert result.unchecked == ("input 0: commands", "input 0: left_foot_velocity")
    assert result.lines()[-1] == (
        "AGREES: T of a step is the step of T. Of 11 blocks 2 could not be checked and may be wrong; commands and "
        "clocks are in no robot's file, so look at them yourself; others can be checked where their names say what "
        "they hold, and where the file has it: another file of this robot may (a free base, motors)"
    )


FAULTS = {
    "sign of a joint in the middle": ("  waist_yaw: [-1]\n", "", "waist_yaw: it is negated (-1), not kept (1)"),
    "sign of a pair": (
        "  left_hip_roll: [-1]\n  right_hip_roll: [-1]\n", "", "left_hip_roll: it is negated (-1), not kept (1)"
    ),
    "a leg that is not exchanged": (
        "  - [left_knee, right_knee]\n", "", "left_knee: its partner is right_knee, not none"
    ),
    "partners exchanged": (
        "  - [left_knee, right_knee]\n  - [left_hip_pitch, right_hip_pitch]\n",
        "  - [left_knee, right_hip_pitch]\n  - [left_hip_pitch, right_knee]\n",
        "left_knee: its partner is right_knee, not right_hip_pitch",
    ),
}  # fmt: skip


@pytest.mark.one_in(2)
@pytest.mark.parametrize("robot", [biped(), biped(mass=2.5, com=0.03, gear=0.7)], ids=["symmetric", "asymmetric"])
@pytest.mark.parametrize("fault", FAULTS)
def test_wrong_joints_are_named(fault: str, robot: str, tmp_path: Path) -> None:
    """Also where the model is asymmetric: that is listed beside it, and not taken for an excuse."""
    old, new, message = FAULTS[fault]
    text = JOINTS.replace(old, new)
    if "not exchanged" in fault:
        text = text.replace("dims: [q]", "center: [left_knee, right_knee, waist_yaw]\ndims: [q]")
    if fault == "partners exchanged":
        text = text.replace("  left_hip_pitch: [-1]\n  right_hip_pitch: [-1]\n", "")
    assert text != JOINTS
    result = checked(tmp_path, text, robot)
    assert not result.agrees and result.agreed.agrees
    assert message in [str(joint) for joint in result.joints]
    assert result.given.one > 1e-3
    assert any("DISAGREES" in line for line in result.lines())


ENTRIES = {
    "quaternion": ("[1, -1, 1, -1]", "[1, 1, -1, -1]", ["entry 2 (orientation[1]): it has to be negated",
                                                     "entry 3 (orientation[2]): it has to be kept"]),
    "angular velocity": ("{axial: base_ang_vel}", "{vector: base_ang_vel}",
                         ["entry 8 (base_ang_vel.x): it has to be negated"]),
    "scalar": ("{vector: projected_gravity}", "{scalar: 3, name: projected_gravity}",
               ["entry 12 (projected_gravity[1]): it has to be negated"]),
}  # fmt: skip


@pytest.mark.parametrize("fault", ENTRIES)
def test_wrong_entries_are_named(fault: str, tmp_path: Path) -> None:
    old, new, messages = ENTRIES[fault]
    result = checked(tmp_path, JOINTS + OBSERVATION.replace(old, new))
    assert not result.agrees and not result.joints
    listed = [str(entry) for entry in result.entries]
    assert all(f"input 0, {message}" in listed for message in messages), listed


KEPT = "{} stays where it is, as many numbers as there are joints"
UNSIGNED = "{} has no signs (kind: scalar), where the joints have"
POSES = '{layout: "b (j d)", dims: [q]}'
UNCLEAR = {
    "scalars of an input": ("{joints: last_action}", "{scalar: 7, name: last_action}", f"input 0: {KEPT}"),
    "in a history": ("{joints: last_action}", "{history: 1, of: [{scalar: 7, name: last_action}]}", f"input 0: {KEPT}"),
    "scalars of an output": (POSES, "{fields: [{scalar: 7, name: last_action}]}", f"output 0: {KEPT}"),
    "no signs": ("{joints: last_action}", "{joints: last_action, kind: scalar}", f"input 0: {UNSIGNED}"),
    "an output without signs": (POSES, "{fields: [{joints: last_action, kind: scalar}]}", f"output 0: {UNSIGNED}"),
}


@pytest.mark.one_in(2)
@pytest.mark.parametrize("case", UNCLEAR)
def test_numbers_of_joints_that_no_state_holds_are_undecided(case: str, tmp_path: Path) -> None:
    """Nothing refutes them; but joints have partners, and these have signs."""
    old, new, says = UNCLEAR[case]
    result = checked(tmp_path, JOINTS + OBSERVATION.replace(old, new), by_name=True)
    assert not result.agrees and not result.entries and not result.joints
    assert result.of_joints == (says.format("last_action"),)
    assert "numbers of joints that are mirrored as no joint is" in result.lines()
    assert result.verdict == (
        "UNDECIDED: some numbers of joints are mirrored otherwise than joints are, and no state holds them: write "
        "{joints: NAME}"
    )


def test_numbers_that_have_names_and_joints_without_signs_pass(tmp_path: Path) -> None:
    """Seven numbers may be anything; where no joint has a sign, none is left out."""
    named = "{scalar: [a, b, c, d, e, f, g], name: last_action}"
    assert checked(tmp_path, JOINTS + OBSERVATION.replace("{joints: last_action}", named)).of_joints == ()
    unsigned = OBSERVATION.replace("{joints: last_action}", "{joints: last_action, kind: scalar}")
    assert checked(tmp_path, JOINTS.partition("signs:")[0] + "lateral: y\n" + unsigned).of_joints == ()


def test_wrong_action(tmp_path: Path) -> None:
    """An output with joints of its own order and signs of its own."""
    text = JOINTS + OBSERVATION.replace("dims: [q]}", "dims: [q], signs: {left_knee: [-1], right_knee: [-1]}}")
    result = checked(tmp_path, text)
    assert {entry.label for entry in result.entries} >= {"left_knee", "right_knee", "waist_yaw"}


def test_negative_gear_of_an_action(tmp_path: Path) -> None:
    """The action's sign is not the joint's where a gear is negative: the action is wrong, the joints are right."""
    result = checked(tmp_path, JOINTS + OBSERVATION, biped(gear=-1))
    assert not result.agrees and not result.joints
    assert {entry.tensor for entry in result.entries} == {"input 0", "output 0"}
    assert {entry.label for entry in result.entries if entry.tensor == "output 0"} == {
        "left_hip_roll",
        "right_hip_roll",
    }


def test_wrong_lateral(tmp_path: Path) -> None:
    result = checked(tmp_path, JOINTS.replace("lateral: y", "lateral: z"))
    assert not result.agrees
    assert "skeleton biped, entry 0 (lateral): it is y, not z" in [str(entry) for entry in result.entries]


def test_asymmetric_model_is_told_apart(tmp_path: Path) -> None:
    result = checked(tmp_path, JOINTS, biped(mass=2.5, friction=0.4))
    assert result.agrees and not result.agreed.is_exact
    assert {one.property for one in result.differences} == {"mass", "inertia", "friction 0"}
    assert any("once what is asymmetric in the model is made equal" in line for line in result.lines())


def test_a_sign_that_the_simulator_does_not_feel(tmp_path: Path) -> None:
    """A balanced wheel on a fixed body turns alike both ways: the axis in the file decides, and that is said."""
    wheel = (
        '<mujoco model="wheels"><worldbody><geom size=".01"/>'
        '<body name="l" pos="0 .2 0"><joint name="left" axis="1 0 0"/><geom size=".1" pos="0 .1 -.1"/></body>'
        '<body name="r" pos="0 -.2 0"><joint name="right" axis="1 0 0"/><geom size=".1" pos="0 -.1 -.1"/></body>'
        '<body name="w"><joint name="wheel" axis="0 1 0"/><geom type="cylinder" size=".05 .01" euler="90 0 0"/></body>'
        "</worldbody></mujoco>"
    )
    text = (
        "joints: [left, right, wheel]\npairs: [[left, right]]\ndims: [q]\nnegate: []\nlateral: y\n"
        "signs: {left: [-1], right: [-1]}\n"
    )
    right = checked(tmp_path, text, wheel)
    assert right.agrees and right.unfelt == ("wheel",)
    wrong = checked(tmp_path, text.replace("right: [-1]}", "right: [-1], wheel: [-1]}"), wheel)
    assert not wrong.agrees
    assert [str(joint) for joint in wrong.joints] == ["wheel: it is kept (1), not negated (-1)"]


TWO_ARMS = (
    '<mujoco model="arms"><worldbody>'
    '<body name="l" pos="0 .4 0"><joint name="left" axis="1 0 0"/><geom size=".1" pos="0 0 -.3"/></body>'
    '<body name="r" pos="0 -.4 0"><joint name="right" axis="1 0 0"/><geom size=".1" pos="0 0 -.3"/></body>'
    "</worldbody></mujoco>"
)


def test_two_arms_that_know_nothing_of_each_other(tmp_path: Path) -> None:
    """Each is its own image about a plane of its own, so that every step agrees; places say that they are partners."""
    text = "joints: [left, right]\npairs: []\ndims: [q]\nnegate: []\nlateral: y\nsigns: {left: [-1], right: [-1]}\n"
    result = checked(tmp_path, text, TWO_ARMS)
    assert result.given.agrees and not result.agrees
    assert str(result.joints[0]) == "left: its partner is right, not none"
    assert checked(tmp_path, text.replace("pairs: []", "pairs: [[left, right]]"), TWO_ARMS).agrees


def test_legs_that_lie_in_one_another(tmp_path: Path) -> None:
    """Exchanged or not: both are mirrors of a planar walker, and a note says so."""
    leg = '<body><joint name="{}" axis="0 1 0"/><geom type="capsule" fromto="0 0 0 .2 0 -.4" size=".05"/></body>'
    torso = '<joint name="rootx" type="slide" axis="1 0 0"/><geom type="capsule" fromto="0 0 0 0 0 .4" size=".05"/>'
    walker = (
        f'<mujoco><worldbody><body pos="0 0 1">{torso}{leg.format("a")}{leg.format("b")}</body></worldbody></mujoco>'
    )
    for pairs in ("[[a, b]]", "[]"):
        text = f"joints: [a, b]\npairs: {pairs}\ndims: [q]\nnegate: []\nlateral: y\n"
        result = check(
            write(tmp_path, walker), str(write(tmp_path, text, "spec.yaml")), RobotWishes(partners={"a": "b"})
        )
        assert result.agrees
        assert any("another mirror is as right" in notice for notice in result.notices) == (pairs == "[]")


def test_joints_under_other_names(tmp_path: Path) -> None:
    """Names of actuators and names without the word `joint` are understood; others are not guessed."""
    text = JOINTS.replace("waist_yaw", "waist").replace("left_knee", "left_knee_joint")
    assert checked(tmp_path, text).agrees
    with pytest.raises(UnknownNameError, match="has no joint 'elbow'"):
        checked(tmp_path, JOINTS.replace("waist_yaw", "elbow"))
    with pytest.raises(WrongValueError, match="two of its joints are the robot's 'waist_yaw'"):
        checked(
            tmp_path, JOINTS.replace("[waist_yaw,", "[waist_yaw, waist,").replace("  waist_yaw: [-1]", "  waist: [-1]")
        )
    with pytest.raises(ChiralizeError, match="joints have 3 coordinates"):
        check(write(tmp_path, biped()), "h36m")


def test_a_base_beside_the_plane(tmp_path: Path) -> None:
    """A base that stands at y = 2 is mirrored there, so that its position from there is negated."""
    robot = biped().replace('name="pelvis" pos="0 0 .7"', 'name="pelvis" pos="0 2 .7"')
    observation = "inputs:\n  - fields: [{vector: base_position, reflect: {y: 2}}, {joints: dof_pos}]\n"
    assert checked(tmp_path, JOINTS + observation, robot, by_name=True).agrees


def test_entries_of_which_nothing_is_claimed_are_not_checked(tmp_path: Path) -> None:
    """What stands behind them keeps its place."""
    outputs = "outputs:\n  - fields: [{unclaimed: 2, name: arm}, {joints: action}]\n"
    result = checked(tmp_path, JOINTS + outputs, by_name=True)
    assert result.agrees and result.unchecked == ("output 0: arm",)
    assert result.checked == ("output 0: action (controls)",)
    fault = checked(tmp_path, JOINTS + outputs.replace("{joints: action}", "{joints: action, kind: scalar}"))
    assert not fault.agrees


def test_the_simulator_writes_no_log_beside_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two slides along one axis have a singular inertia, of which MuJoCo warns in MUJOCO_LOG.TXT."""
    slides = '<joint name="a" type="slide" axis="1 0 0"/><joint name="b" type="slide" axis="1 0 0"/>'
    arm = f'<body name="arm" pos=".3 .005 0">{slides}<geom size=".03" pos="0 -.02 -.1"/></body>'
    puck = '<body pos=".5 .5 .1"><joint type="slide" axis="0 1 0" name="puck"/><geom size=".05"/></body>'
    base = f'<body name="trunk" pos="0 0 1"><freejoint/><geom type="box" size=".1 .1 .1"/>{arm}</body>'
    path = write(tmp_path, f"<mujoco><worldbody>{base}{puck}</worldbody></mujoco>")
    monkeypatch.chdir(tmp_path)
    import_robot(path, "mujoco", RobotWishes(lateral="y"), [])
    assert not (tmp_path / "MUJOCO_LOG.TXT").exists()
