"""A compiled model made equal on both sides: each part and the image of its partner get the mean of the two.

With what is asymmetric out of the way, a simulator that still disagrees disagrees with the mirror. `agreement` asks for
it where the model as it is deviates. It is the projection of the model onto the symmetric ones, P(x) = (x + T x) / 2,
for each property with the T of its kind: masses 2.1 and 1.9 kg both become 2.0 kg; a left axis (0, 1, 0.1), whose image
on the right should be (0, 1, -0.1) and is (0, 1, 0), becomes (0, 1, 0.05) before it is normalised.

Values are read off the `Robot`, in the world's frame, and written into the `mjModel`, in the frames of its bodies.
Frames of bodies stay as they are, since they are labels only.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from chiralize.body.robots.asymmetry import around, differences, image_of_shape
from chiralize.body.robots.mirroring import RobotMirror
from chiralize.body.robots.opening import OpenedModel, simulator
from chiralize.body.robots.reading import links_of_bodies
from chiralize.body.robots.robot import BALL, FREE, HINGE, SLIDE, VELOCITIES, Array
from chiralize.body.robots.stepping import quiet

_OF_DOFS = ("dof_damping", "dof_armature", "dof_frictionloss")
_OF_CONTACTS = ("geom_friction", "geom_solref", "geom_solimp", "geom_margin", "geom_gap", "geom_solmix")
_NEWTON, _ELLIPTIC = 2, 1  # mjtSolver, mjtCone
_ITERATIONS, _TOLERANCE = 200, 1e-14


def mended(opened: OpenedModel, mirror: RobotMirror) -> Any:
    """A copy of the model in which partners are each other's images; shapes without an image touch nothing."""
    mujoco = simulator(opened.path)
    model = copy.copy(opened.model)
    # Frames of the bodies in the reference pose, in which the robot's places and axes are.
    data = mujoco.MjData(model)
    data.qpos[:] = mirror.robot.qpos
    mujoco.mj_kinematics(model, data)
    _mend_links(model, data, mirror)
    _mend_axes(model, data, mirror)
    _mend_joints(model, mirror)
    _mend_actuators(model, mirror)
    _mend_shapes(model, mirror)
    model.opt.gravity[:] = _symmetric(mirror, model.opt.gravity)
    model.opt.wind[:] = _symmetric(mirror, model.opt.wind)
    # Marks of the compiler that two frames coincide, by which the simulator skips turns: no longer true.
    for name in ("body_sameframe", "geom_sameframe", "site_sameframe"):
        getattr(model, name)[:] = 0
    with quiet(mujoco):
        mujoco.mj_setConst(model, mujoco.MjData(model))  # what is derived from masses and axes
    return model


def _symmetric(mirror: RobotMirror, vector: Array) -> Array:
    """The part of a polar vector that the mirror keeps: of gravity (0, 1, -9.8) under y -> -y it is (0, 0, -9.8)."""
    return (vector + mirror.reflection.signs * vector) / 2


def exactly_solved(opened: OpenedModel, model: Any | None = None, *, without: Sequence[str] = ()) -> Any:
    """A copy of a model whose forces depend neither on the order of its contacts nor on how their frames are turned:
    Newton's method, to the last digits, and cones of friction that are round.

    without: `contact` lets everything pass through everything, `equality` lets go of what is tied together.
    """
    mujoco = simulator(opened.path)
    solved = copy.copy(opened.model if model is None else model)
    solved.opt.solver, solved.opt.tolerance = _NEWTON, _TOLERANCE
    solved.opt.iterations, solved.opt.cone = _ITERATIONS, _ELLIPTIC
    for name in without:
        solved.opt.disableflags |= int(getattr(mujoco.mjtDisableBit, f"mjDSBL_{name.upper()}"))
    return solved


def _mend_links(model: Any, data: Any, mirror: RobotMirror) -> None:
    """Mass, centre and inertia; what is welded to a link is counted in its first body."""
    robot = mirror.robot
    link_of, moved = links_of_bodies(model)
    for index, link in enumerate(robot.links):
        other, reflection = robot.links[mirror.links[index]], around(mirror, index)
        # The compiler marks bodies whose centre of mass is their origin as simple, and refuses another centre then.
        if index == 0 or model.body_simple[moved[index]]:
            continue
        body = moved[index]
        # The link's whole mass goes to its first body, so what is welded to that one has none left.
        welded = [number for number, owner in enumerate(link_of) if owner == index]
        model.body_mass[welded] = 0
        model.body_inertia[welded] = 0
        turn, origin = data.xmat[body].reshape(3, 3), data.xpos[body]
        center = (link.center + reflection.point(other.center)) / 2
        inertia = (link.inertia + reflection.tensor(other.inertia)) / 2
        # MuJoCo has an inertia as three moments and the turn of their axes, in the frame of the body: turn^T I turn.
        moments, axes = np.linalg.eigh(turn.T @ inertia @ turn)
        axes = axes * np.sign(np.linalg.det(axes))  # eigenvectors may be left-handed, which no quaternion is
        model.body_mass[body] = (link.mass + other.mass) / 2
        model.body_ipos[body] = turn.T @ (center - origin)
        model.body_inertia[body] = np.maximum(moments, 0)
        model.body_iquat[body] = _quaternion(axes)


def _quaternion(turn: Array) -> Array:
    """The quaternion w, x, y, z of a rotation matrix, from the largest of four equivalent forms.

    products: 4 q q^T, "4 4", written in the entries of the matrix. Each row is q up to a factor; the one with the
    largest diagonal entry is divided by a number that is far from 0.
    """
    products = np.array(
        [
            [1 + np.trace(turn), turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]],
            [
                turn[2, 1] - turn[1, 2],
                1 + 2 * turn[0, 0] - np.trace(turn),
                turn[0, 1] + turn[1, 0],
                turn[0, 2] + turn[2, 0],
            ],
            [
                turn[0, 2] - turn[2, 0],
                turn[0, 1] + turn[1, 0],
                1 + 2 * turn[1, 1] - np.trace(turn),
                turn[1, 2] + turn[2, 1],
            ],
            [
                turn[1, 0] - turn[0, 1],
                turn[0, 2] + turn[2, 0],
                turn[1, 2] + turn[2, 1],
                1 + 2 * turn[2, 2] - np.trace(turn),
            ],
        ]
    )
    row = products[int(np.diag(products).argmax())]
    return row / np.linalg.norm(row)


def _mend_axes(model: Any, data: Any, mirror: RobotMirror) -> None:
    """Axes and places of the joints, in the frames of their bodies."""
    robot, reflection = mirror.robot, mirror.reflection
    for index, joint in enumerate(robot.joints):
        other = robot.joints[mirror.partner[index]]
        # A free joint has neither an axis nor a place in its body.
        if joint.kind == FREE:
            continue
        body = int(model.jnt_bodyid[index])
        turn, origin = data.xmat[body].reshape(3, 3), data.xpos[body]
        anchor = (joint.anchor + reflection.point(other.anchor)) / 2
        if joint.kind in (HINGE, SLIDE):
            axis = joint.axis + mirror.sign[index] * reflection.axis(other)  # never near 0: the sign is chosen so
            axis /= np.linalg.norm(axis)
            model.jnt_axis[index] = turn.T @ axis
            if joint.kind == HINGE:  # where on its line it is anchored is no difference
                anchor = anchor + ((joint.anchor - anchor) @ axis) * axis
        if joint.kind in (HINGE, BALL):
            model.jnt_pos[index] = turn.T @ (anchor - origin)


def _mend_joints(model: Any, mirror: RobotMirror) -> None:
    """Damping, armature, friction, springs and ranges of the joints."""
    before = copy.copy(model)  # partners are written one after the other, and read as they were
    for index, joint in enumerate(mirror.robot.joints):
        image = mirror.partner[index]
        other = mirror.robot.joints[image]
        dofs = np.arange(joint.velocity, joint.velocity + VELOCITIES[joint.kind])
        images = np.arange(other.velocity, other.velocity + VELOCITIES[joint.kind])
        for name in _OF_DOFS:
            values = getattr(before, name)
            getattr(model, name)[dofs] = (values[dofs] + values[images]) / 2
        model.jnt_stiffness[index] = (before.jnt_stiffness[index] + before.jnt_stiffness[image]) / 2
        if joint.kind not in (HINGE, SLIDE):
            continue
        sign, shift = mirror.sign[index], mirror.qpos_shift[joint.position]
        model.qpos_spring[joint.position] = _mean(
            before.qpos_spring[joint.position], sign * before.qpos_spring[other.position] + shift
        )
        spans = np.sort(sign * before.jnt_range[image] + shift)
        model.jnt_range[index] = (before.jnt_range[index] + spans) / 2
        model.jnt_limited[index] = before.jnt_limited[index] and before.jnt_limited[image]


def _mean(value: float, other: float) -> float:
    return (value + other) / 2


def _mend_actuators(model: Any, mirror: RobotMirror) -> None:
    """Gears, gains and ranges of the actuators; gears keep their own signs."""
    before = copy.copy(model)
    for index in range(len(mirror.actuators)):
        image, sign, shift = mirror.actuators[index], int(mirror.ctrl.sign[index]), mirror.ctrl_shift[index]
        sizes = (np.abs(before.actuator_gear[index]) + np.abs(before.actuator_gear[image])) / 2
        model.actuator_gear[index] = np.copysign(sizes, before.actuator_gear[index])
        for name in ("actuator_gainprm", "actuator_biasprm", "actuator_dynprm"):
            values = getattr(before, name)
            getattr(model, name)[index] = (values[index] + values[image]) / 2
        # The one bias that is a force by itself turns round with the sign.
        constant = (before.actuator_biasprm[index, 0] + sign * before.actuator_biasprm[image, 0]) / 2
        model.actuator_biasprm[index, 0] = constant
        controls = np.sort(sign * before.actuator_ctrlrange[image] + shift)
        model.actuator_ctrlrange[index] = (before.actuator_ctrlrange[index] + controls) / 2
        forces = np.sort(sign * before.actuator_forcerange[image])
        model.actuator_forcerange[index] = (before.actuator_forcerange[index] + forces) / 2
        for name in ("actuator_ctrllimited", "actuator_forcelimited"):
            values = getattr(before, name)
            getattr(model, name)[index] = values[index] and values[image]


def _mend_shapes(model: Any, mirror: RobotMirror) -> None:
    """Friction and the like; a shape that is not exactly where its image has to be touches nothing."""
    before, shapes = copy.copy(model), mirror.robot.shapes
    uneven: set[str] = set()
    # Places, sizes and turns of shapes are not mended: two soles of other sizes would still touch the floor unlike.
    for difference in differences(mirror):
        if "shape" in difference.property:
            uneven |= {difference.part, difference.partner}
    for index, shape in enumerate(shapes):
        image, geom = image_of_shape(mirror, index), int(shape.properties["index"])
        if image is None or shape.name in uneven:
            model.geom_contype[geom] = model.geom_conaffinity[geom] = 0
            continue
        theirs = int(shapes[image].properties["index"])
        for name in _OF_CONTACTS:
            values = getattr(before, name)
            getattr(model, name)[geom] = (values[geom] + values[theirs]) / 2
        model.geom_condim[geom] = max(before.geom_condim[geom], before.geom_condim[theirs])
        model.geom_priority[geom] = max(before.geom_priority[geom], before.geom_priority[theirs])
        model.geom_contype[geom] = before.geom_contype[geom] & before.geom_contype[theirs]
        model.geom_conaffinity[geom] = before.geom_conaffinity[geom] & before.geom_conaffinity[theirs]
