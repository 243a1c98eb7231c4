"""What a robot observes, computed from its state, for those blocks of an observation whose names say what they hold.

`observation` calls the readers of this file on a state s and on its image T s, and compares: a block that reads r(s)
is mirrored rightly by T' where T' r(s) = r(T s). A block that is called `base_lin_vel` reads the base's velocity,
`joint_pos` the joints' positions, `actions` the controls. A block whose name says nothing is not checked.
No simulator runs here; `sensing` has the readers that want one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from chiralize.body.robots.describing import Entry
from chiralize.body.robots.mirroring import RobotMirror
from chiralize.body.robots.robot import BALL, FREE, Array, Joint, Robot
from chiralize.body.skeleton.skeleton import AXES

_VELOCITY = re.compile(r"^d_?q|vel|speed|qdot")
_ACTION = re.compile(r"action|torque|ctrl|control|command|target|motor")
_POSITION = re.compile(r"^q(pos)?(_|$)|pos|angle")
_GRAVITY, _ANGULAR, _LINEAR = re.compile(r"grav"), re.compile(r"ang|gyro|omega"), re.compile(r"vel")
_QUATERNION, _EULER = re.compile(r"quat|orient|rot"), re.compile(r"euler|rpy")
CONTROLS = "controls"
_OF_THE_BASE = set(
    "base torso root body trunk pelvis robot imu projected local world in frame b w linear lin angular ang velocity "
    "vel gravity grav vector vec orientation quat quaternion wxyz xyzw euler rpy height z gyro omega rotation rot "
    "position pos".split()
)
"""Words of which the name of a block about the base consists; others may mean a foot, a command or a thing."""


@dataclass(frozen=True, eq=False)
class Moment:
    """A state of a robot and what drives it.  qpos: "nq".  qvel: "nv".  controls: "nu"."""

    qpos: Array
    qvel: Array
    controls: Array


Reader = Callable[[Moment], Array]
"""The numbers of a block."""


def mirrored(mirror: RobotMirror, moment: Moment) -> Moment:
    """T on a state and its controls; what is added to T, since zeros differ, is taken off where blocks are read.

    Of controls it is left off here, of positions in the readers, which take differences from the reference pose.
    """
    return Moment(mirror.act_qpos(moment.qpos), mirror.qvel.act(moment.qvel), mirror.ctrl.act(moment.controls))


def random_moments(mirror: RobotMirror, count: int) -> list[Moment]:
    """States with every number at random: this is about how they are read, not about how they come to be.

    Quaternions have length 1. The seed is fixed, so that a check says the same each time.
    """
    rng, robot = np.random.default_rng(0), mirror.robot
    moments = []
    for _ in range(count):
        qpos = robot.qpos + 0.3 * rng.standard_normal(len(robot.qpos))
        for joint in robot.joints:
            if joint.kind in (BALL, FREE):
                start = joint.position + (3 if joint.kind == FREE else 0)
                qpos[start : start + 4] /= np.linalg.norm(qpos[start : start + 4])
        moments.append(Moment(qpos, rng.standard_normal(robot.velocities), rng.standard_normal(len(robot.actuators))))
    return moments


def joints_reader(robot: Robot, name: str, entries: Sequence[Entry]) -> tuple[Reader, str] | None:
    """How a block of joints is read, and in which words; None where its name says nothing, or nothing drives some.

    Positions are those from the reference pose.
    """
    word = name.lower()
    # Actions first: `joint_pos_target` and `target_velocity` are controls.
    if _ACTION.search(word):
        driver = drivers_of(robot)
        if any(entry.joint not in driver for entry in entries) or _has_balls(robot, entries):
            return None
        indices = [driver[entry.joint] for entry in entries]
        return lambda moment: moment.controls[indices], CONTROLS
    if _VELOCITY.search(word):
        columns = [robot.joints[entry.joint].velocity + entry.component for entry in entries]
        return lambda moment: moment.qvel[columns], "joint velocities"
    if _POSITION.search(word):
        starts = [position_of(robot.joints[entry.joint], entry) for entry in entries]
        return lambda moment: (moment.qpos - robot.qpos)[starts], "joint positions"
    return None


def drivers_of(robot: Robot) -> dict[int | None, int]:
    """The actuator of every joint that has one, of several the last; under None one that drives none."""
    return {actuator.joint: index for index, actuator in enumerate(robot.actuators)}


def _has_balls(robot: Robot, entries: Sequence[Entry]) -> bool:
    """Whether some entry is of a ball, which has three numbers and may have one actuator."""
    return any(robot.joints[entry.joint].kind == BALL for entry in entries)


def position_of(joint: Joint, entry: Entry) -> int:
    """Where an entry stands in qpos; of a ball the vector part of its quaternion (w, x, y, z), behind w."""
    return joint.position + (1 + entry.component if joint.kind == BALL else 0)


def base_reader(robot: Robot, kind: str, name: str, size: int) -> tuple[Reader, str] | None:
    """How a block about the base is read, and in which words; None where its name says nothing, or the base is fixed.

    kind: vector, axial, signs or scalar; of quaternions and angles the kind is not looked at.  size: of the block.
    """
    word = name.lower()
    if robot.base is None or set(re.findall("[a-z]+", word)) - _OF_THE_BASE:
        return None
    base = robot.joints[robot.base]
    # From the most special on: four numbers are a quaternion, one is a height, three may be several things.
    if size == 4 and _QUATERNION.search(word):
        is_last = "xyzw" in word
        order = [1, 2, 3, 0] if is_last else [0, 1, 2, 3]
        columns = [base.position + 3 + number for number in order]
        return lambda moment: moment.qpos[columns], "the base's quaternion " + ("x y z w" if is_last else "w x y z")
    if size == 1 and re.search("height", word):
        return lambda moment: moment.qpos[[base.position + 2]], "the base's height"
    if size != 3:
        return None
    return _three(base, kind, word)


def position_reader(robot: Robot, name: str, dims: Sequence[str]) -> tuple[Reader, str] | None:
    """How the base's position is read, of which an observation often has the height alone; None as in `base_reader`."""
    if robot.base is None or set(re.findall("[a-z]+", name.lower())) - _OF_THE_BASE:
        return None
    start = robot.joints[robot.base].position
    columns = [start + AXES.index(axis) for axis in dims]
    # From the reference pose, as of joints: a base that stands at y = 2 there is mirrored at y = 2.
    return lambda moment: (moment.qpos - robot.qpos)[columns], "the base's position"


def _three(base: Joint, kind: str, word: str) -> tuple[Reader, str] | None:
    """Three numbers about the base, by their name; gravity and velocities are in the base's own frame."""
    if _GRAVITY.search(word):
        # (0, 0, -1) in the frame of the base: R^T (0, 0, -1), the last row of R negated.
        return lambda moment: _turn(base, moment)[2] * -1.0, "gravity in the base's frame"
    if _EULER.search(word):
        return lambda moment: _euler(_turn(base, moment)), "the base's roll, pitch and yaw"
    # Before `vel`, which is in the name of an angular velocity, too.
    if kind == "axial" or _ANGULAR.search(word):
        return lambda moment: moment.qvel[base.velocity + 3 : base.velocity + 6], "the base's angular velocity"
    if _LINEAR.search(word):
        return (
            lambda moment: _turn(base, moment).T @ moment.qvel[base.velocity : base.velocity + 3],
            "the base's velocity",
        )
    return None


def _turn(base: Joint, moment: Moment) -> Array:
    """The base's rotation matrix: its columns are its axes in the world."""
    w, x, y, z = moment.qpos[base.position + 3 : base.position + 7]
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def _euler(turn: Array) -> Array:
    """Roll, pitch and yaw, rad, of R = Rz(yaw) Ry(pitch) Rx(roll)."""
    return np.array(
        [
            np.arctan2(turn[2, 1], turn[2, 2]),
            np.arcsin(np.clip(-turn[2, 0], -1, 1)),
            np.arctan2(turn[1, 0], turn[0, 0]),
        ]
    )
