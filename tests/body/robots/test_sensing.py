"""`skeleton check` on what bodies feel: contact forces, velocities, inertia; in histories, and for every foot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chiralize.body.robots.agreement import agreement
from chiralize.body.robots.checking import RobotCheck, check
from chiralize.body.robots.sensing import bodies_named, partners_of_bodies, scene_of
from tests.body.robots.test_checking import JOINTS
from tests.support.robots import biped, opened_mirror, write

pytest.importorskip("mujoco")

BODIES = "[pelvis, left_thigh, left_shin, right_thigh, right_shin, torso]"
FIELDS = """
inputs:
  - layout: "b f"
    fields:
      - {vector: base_position, dims: [z]}
      - {bodies: BODIES, kind: wrench, order: torque_first, name: cfrc_ext}
      - {bodies: BODIES, kind: twist, order: angular_first, name: cvel}
      - {bodies: BODIES, kind: inertia, order: mujoco, name: cinert}
      - legs: [left, right]
        name: feet
        each: [{vector: contact_force}, {axial: contact_torque}, {scalar: 1, name: load}]
      - {feet: [left, right], kind: vector, dims: [x, y], name: velocity, major: entries}
      - history: 2
        of: [{joints: dof_pos}, {feet: [left, right], kind: scalar, name: contact}]
      - history: 2
        major: terms
        of: [{joints: qfrc_actuator}, {bodies: [torso, pelvis], kind: vector, name: position}]
""".replace("BODIES", BODIES)


def checked(folder: Path, fields: str, robot: str | None = None) -> RobotCheck:
    return check(write(folder, robot or biped()), str(write(folder, JOINTS + fields, "spec.yaml")), by_name=True)


@pytest.mark.parametrize("robot", [biped(), biped(mass=2.5, com=0.03)], ids=["symmetric", "lopsided"])
def test_what_bodies_feel_is_checked(robot: str, tmp_path: Path) -> None:
    """Where the model is lopsided, in the model that was made equal."""
    result = checked(tmp_path, FIELDS, robot)
    assert result.agrees, [str(entry) for entry in result.entries]
    condition = "as it is" if robot == biped() else "made equal"
    assert f"input 0: cfrc_ext (forces on bodies, {condition})" in result.checked
    assert f"input 0: qfrc_actuator (forces of actuators on joints, {condition})" in result.checked
    assert result.unchecked == ()
    assert len(result.checked) == 12


FAULTS = {
    "torque and force exchanged": (
        "order: torque_first", "order: force_first", "input 0, entry 1 (cfrc_ext.pelvis.force.x): it has to be negated"
    ),
    "velocities exchanged": (
        "order: angular_first", "order: linear_first", "cvel.pelvis.linear.x): it has to be negated"
    ),
    "one of MuJoCo's arrays taken for numbers that stay": (
        "bodies: BODIES, kind: wrench, order: torque_first, name: cfrc_ext".replace("BODIES", BODIES),
        "scalar: 36, name: cfrc_ext", "input 0, entry 7 (cfrc_ext[6]): its image is negated cfrc_ext[18]",
    ),
    "thighs that do not swap": (
        "kind: twist, order", "swap: [[left_shin, right_shin]], kind: twist, order",
        "cvel.left_thigh.angular.x): its image is negated cvel.right_thigh.angular.x",
    ),
    "a torque taken for a force": (
        "{axial: contact_torque}", "{vector: contact_torque}",
        "feet.left.contact_torque.x): its image is negated feet.right.contact_torque.x",
    ),
    "feet that do not swap, in a history": (
        "kind: scalar, name: contact", "swap: [], kind: scalar, name: contact",
        "frame1.contact.left): its image is frame1.contact.right",
    ),
    "a base that rises downwards": (
        "{vector: base_position, dims: [z]}", "{signs: [-1], name: height}", "(height): it has to be kept"
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_wrong_entries_of_bodies_are_named(fault: str, tmp_path: Path) -> None:
    old, new, message = FAULTS[fault]
    assert old in FIELDS
    result = checked(tmp_path, FIELDS.replace(old, new, 1))
    assert not result.agrees and not result.joints
    assert any(message in str(entry) for entry in result.entries), [str(entry) for entry in result.entries]


@pytest.mark.parametrize("bodies", [BODIES, "[a, b, c, d, e, f]"], ids=["the model's names", "other names"])
def test_mujocos_arrays_are_taken_as_they_lie(bodies: str, tmp_path: Path) -> None:
    """The world comes first in them, and feels nothing; whoever lists it last has all the others off by one."""
    inside = bodies[1:-1]
    for listed, is_right in ((f"[world, {inside}]", True), (f"[{inside}, world]", False)):
        swaps = "[[left_thigh, right_thigh], [left_shin, right_shin]]" if bodies == BODIES else "[[b, d], [c, e]]"
        block = f"{{bodies: {listed}, swap: {swaps}, kind: wrench, order: torque_first, name: cfrc_ext}}"
        spec = f"{JOINTS}\ninputs:\n  - fields: [{block}]\n"
        result = check(write(tmp_path, biped()), str(write(tmp_path, spec, "spec.yaml")))
        assert result.agrees == is_right and len(result.checked) == 1
        assert is_right == any("world.torque.x" in line and "0 in all states" in line for line in result.unchecked)


def test_entries_that_stay_zero_are_told(tmp_path: Path) -> None:
    """In a model that is made equal, what is welded to a body is counted there, and has no inertia of its own."""
    head = '<body name="head" pos="0 0 .4"><geom size=".1" mass="1"/></body>'
    robot = biped(com=0.03).replace('<geom name="torso_geom"', head + '<geom name="torso_geom"')
    result = checked(tmp_path, FIELDS.replace("torso]", "torso, head]"), robot)
    assert result.agrees
    (silent,) = [title for title in result.unchecked if "cinert" in title]
    assert silent.startswith("input 0: cinert: cinert.head.Ixx, ") and silent.endswith(" (0 in all states)")


def test_bodies_by_name_limb_or_order(tmp_path: Path) -> None:
    opened, mirror = opened_mirror(write(tmp_path, biped()))
    scene = scene_of(agreement(opened, mirror), mirror)
    assert scene is not None
    names = list(scene.names)
    assert names == ["pelvis", "left_thigh", "left_shin", "right_thigh", "right_shin", "torso"]
    assert bodies_named(scene, ["right_shin", "torso"]) == [5, 6]
    assert bodies_named(scene, ["a", "b", "c", "d", "e", "f"]) == [1, 2, 3, 4, 5, 6]
    assert bodies_named(scene, ["left", "right"]) == [3, 5]  # the biped has no feet, ankles, calves or shanks
    assert bodies_named(scene, ["left_arm", "right_arm"]) is None
    assert partners_of_bodies(opened.model, mirror) == [0, 1, 4, 5, 2, 3, 6]


def test_the_image_is_the_image(tmp_path: Path) -> None:
    """Forces of contacts and pushes: T of what is felt, by the formula for forces and torques, is what is felt of T."""
    opened, mirror = opened_mirror(write(tmp_path, biped()))
    scene = scene_of(agreement(opened, mirror), mirror)
    assert scene is not None
    values, images = scene.both(lambda data: data.cfrc_ext)
    partner = partners_of_bodies(opened.model, mirror)
    signs = np.array([-1, 1, -1, 1, -1, 1])  # torques about x and z, the force along y
    expected = (values.reshape(-1, 7, 6)[:, partner] * signs).reshape(values.shape)
    assert np.abs(expected - images).max() < 1e-9 * max(1.0, np.abs(values).max())
    assert any(data.ncon for data in scene.states)
