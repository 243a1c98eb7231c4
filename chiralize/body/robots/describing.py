"""From a robot's file to a skeleton: one coordinate for each joint, its partner and its sign.

This is `chiralize skeleton import --from mujoco` (or `urdf`): open the file, find the mirror, ask the simulator whether
it is one, and write down what was found. The body of the skeleton is the joint space: a hinge is a joint with the
single coordinate `q`, a ball is three of them, and T is

    (T q)[i] = sign[i] q[partner[i]]

The shift of `RobotMirror` is not part of it: angles of a skeleton count from the pose in which the robot is symmetric.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chiralize.body.robots.agreement import Agreement, agreement
from chiralize.body.robots.asymmetry import differences, short_summary, summary
from chiralize.body.robots.deriving import derive, is_free, without_joints
from chiralize.body.robots.mirroring import RobotMirror
from chiralize.body.robots.opening import OpenedModel, open_model
from chiralize.body.robots.reading import poses, read_robot
from chiralize.body.robots.robot import BALL, FREE, Robot
from chiralize.body.skeleton.naming import orient, side_in_pair
from chiralize.body.skeleton.nodes import did_you_mean
from chiralize.body.skeleton.skeleton import AXES, Skeleton
from chiralize.errors import UnknownNameError, UnpairedJointError, UsageError
from chiralize.errors.words import when

_FORMATS = {"mujoco": "MuJoCo XML", "urdf": "URDF"}
ORDERS = ("actuators", "joints", "file")


@dataclass(frozen=True)
class RobotWishes:
    """What a user says about a robot's import.

    lateral: the sideways axis, None to find it.  order: of `ORDERS`, None for actuators where there are any.
    partners: joints that are partners, by name.
    """

    lateral: str | None = None
    order: str | None = None
    partners: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for option, value, choices in (("--lateral", self.lateral, AXES), ("--order", self.order, ORDERS)):
            if value is not None and value not in choices:
                raise UnknownNameError(
                    option, f"{value!r} is none of {', '.join(choices)}", did_you_mean(value, choices)
                )

    @property
    def asks(self) -> bool:
        """Whether it says anything."""
        return self.lateral is not None or self.order is not None or bool(self.partners)


@dataclass(frozen=True)
class Entry:
    """One number of a robot's skeleton.  joint: index.  component: 0, of balls 0, 1 or 2."""

    name: str
    joint: int
    component: int = 0


def entries_of(robot: Robot, joints: Sequence[int]) -> list[Entry]:
    """The numbers of some joints: one each, three of a ball (about the axes of its body), none of free ones."""
    entries: list[Entry] = []
    for index in joints:
        joint = robot.joints[index]
        if joint.kind == BALL:
            entries += [Entry(f"{joint.name}_{axis}", index, number) for number, axis in enumerate(AXES)]
        elif joint.kind != FREE:
            entries.append(Entry(joint.name, index))
    return entries


def mirror_of(opened: OpenedModel, wishes: RobotWishes | None = None) -> RobotMirror:
    """The mirror of an opened model. Raises RobotMirrorError."""
    wishes = wishes or RobotWishes()
    # A generator: keyframes are read only where the robot is not symmetric in the poses before them.
    robots = (read_robot(opened, name, qpos) for name, qpos in poses(opened))
    return derive(robots, wishes.lateral, wishes.partners)


def import_robot(path: Path, kind: str, wishes: RobotWishes, notices: list[str]) -> Skeleton:
    """The skeleton of a robot's file; what was decided, what is asymmetric and what the simulator says is noticed.

    A simulator that disagrees is a notice, too: a skeleton of an asymmetric robot is still of use.
    Raises ImportFormatError, RobotMirrorError, UsageError, UnpairedJointError, MissingPackageError.
    """
    opened = open_model(path, kind)
    mirror = mirror_of(opened, wishes)
    if is_free(mirror.robot):  # where the lateral axis was given, a mirror is found all the same
        raise without_joints(mirror.robot)
    joints = _ordered(mirror.robot, opened, wishes.order, notices)
    notices += [*opened.notices, *mirror.notices, *_about_controls(mirror), *_about_sides(mirror)]
    asymmetric = differences(mirror)
    notices += [f"asymmetric in the model: {line}" for line in summary(asymmetric)]
    notices.append(_said(agreement(opened, mirror)))
    source = f"{_FORMATS[opened.kind]} {path.name}: places and axes of the joints in the {mirror.robot.pose}"
    note = f"asymmetric in the model: {short_summary(asymmetric)}" if asymmetric else ""
    return skeleton_of(mirror, joints, source, note, path.stem)


def _said(result: Agreement) -> str:
    """The notice about the simulator, by the last condition that was tried."""
    last = result.rungs[-1]
    far = f"to {last.one:.0e} after 1 step and {last.many:.0e} after 20"
    if not result.agrees:
        return f"warning: the simulator does not agree with this mirror ({far}, {last.label}): check what is asymmetric"
    return f"the simulator agrees with the mirror {far}, {last.label}"


def skeleton_of(
    mirror: RobotMirror, joints: Sequence[int], source: str, note: str = "", default_name: str = "robot"
) -> Skeleton:
    """A skeleton of chosen joints, in their order. Raises UnpairedJointError where a partner is not among them."""
    robot = mirror.robot
    entries = entries_of(robot, joints)
    # A ball is three entries, so partners are looked up by joint and component.
    position = {(entry.joint, entry.component): number for number, entry in enumerate(entries)}
    pairs: list[tuple[int, int]] = []
    signs: list[tuple[int, tuple[int, ...]]] = []
    names = [entry.name for entry in entries]
    # Signs are listed by joint, since those of a robot are not the same for all.
    for number, entry in enumerate(entries):
        partner, sign = image_of(mirror, entry)
        if partner not in position:
            missing = robot.names[partner[0]]
            facts = f"joint {entry.name!r} is in the order, its partner {missing!r} is not"
            raise UnpairedJointError(robot.name, facts, "use --order joints")
        if number < position[partner]:  # each pair once; in the middle both are the same
            pairs.append(_left_first(mirror, (number, position[partner]), entries, names))
        if sign < 0:
            signs.append((number, (-1,)))
    return Skeleton(
        name=robot.name or default_name,
        joints=tuple(names),
        pairs=tuple(pairs),
        dims=("q",),
        negate=(),
        signs=tuple(signs),
        lateral=mirror.lateral,
        source=source,
        note=note,
    )


def image_of(mirror: RobotMirror, entry: Entry) -> tuple[tuple[int, int], int]:
    """((joint, component), sign) of the image of an entry.

    It is read off T on velocities, whose entries are those of a skeleton, balls included.
    """
    at = mirror.robot.joints[entry.joint].velocity + entry.component
    partner = mirror.partner[entry.joint]
    component = int(mirror.qvel.partner[at]) - mirror.robot.joints[partner].velocity
    return (partner, component), int(mirror.qvel.sign[at])


def _left_first(
    mirror: RobotMirror, pair: tuple[int, int], entries: Sequence[Entry], names: Sequence[str]
) -> tuple[int, int]:
    """(left, right) by the names where they tell, else by the side: left is y > 0, and x < 0."""
    first, second = names[pair[0]], names[pair[1]]
    # Two names that tell the same side, or none, leave it to the places.
    if side_in_pair(first, second) is not None and side_in_pair(second, first) != side_in_pair(first, second):
        return orient(pair, names)
    if _is_left(mirror, entries[pair[0]].joint):
        return pair
    return pair[1], pair[0]


def _is_left(mirror: RobotMirror, joint: int) -> bool:
    """Whether a joint is farther left than its partner, looking along x, or along y where x is sideways."""
    joints, lateral = mirror.robot.joints, mirror.reflection.lateral
    away = joints[joint].anchor[lateral] - joints[mirror.partner[joint]].anchor[lateral]
    if lateral == 0:
        return bool(away < 0)
    return bool(away >= 0)


def _ordered(robot: Robot, opened: OpenedModel, order: str | None, notices: list[str]) -> list[int]:
    """Indices of the joints in the order that was asked for; free ones are left out.

    Unasked it is the order of the actuators, in which a policy's actions come, without joints that none drives; of a
    robot without motors it is the order of the model. Raises UsageError where actuators are asked for and there are
    none.
    """
    # A joint with two actuators counts at the first of them.
    driven = [actuator.joint for actuator in robot.actuators if actuator.joint is not None]
    movable = [index for index, joint in enumerate(robot.joints) if joint.kind != FREE]
    chosen = list(dict.fromkeys(joint for joint in driven if joint in movable))
    if order == "actuators" and not chosen:
        facts = "no actuator drives a joint"
        raise UsageError("--order actuators", facts, "use --order joints, or --order file")
    if order == "joints" or (order is None and not chosen):
        if opened.kind == "urdf":
            notices.append("joints are in MuJoCo's order, depth first: --order file is that of the file")
        return movable
    if order == "file":
        # Joints that the file does not name come last.
        place_of = {name: number for number, name in enumerate(opened.document)}
        return sorted(movable, key=lambda index: place_of.get(robot.names[index], len(place_of)))
    left_out = [robot.names[index] for index in movable if index not in chosen]
    if left_out:
        listed = ", ".join(left_out[:8]) + when(len(left_out) > 8, ", ...")
        notices.append(f"joints that no actuator drives are left out: {listed}; --order joints has them")
    return chosen


def _about_controls(mirror: RobotMirror) -> list[str]:
    """Controls whose sign is not that of their joint."""
    robot = mirror.robot
    # A control has the sign of its joint, but for a gear of -1 on one of two partners; balls have three numbers.
    turned = [
        actuator.name
        for index, actuator in enumerate(robot.actuators)
        if actuator.joint is not None
        and robot.joints[actuator.joint].kind not in (BALL, FREE)
        and mirror.ctrl.sign[index] != mirror.sign[actuator.joint]
    ]
    if not turned:
        return []
    return [f"a gear is negative, so that controls have the other sign than their joints: {', '.join(turned)}"]


def _about_sides(mirror: RobotMirror) -> list[str]:
    """Whether names call left what lies to the right of a robot that looks along x."""
    # Only for a robot that looks along x is y > 0 its left for certain.
    if mirror.lateral != "y":
        return []
    names, wrong, right = mirror.robot.names, [], 0  # names on the wrong side, and how many are on the right one
    for index, name in enumerate(names):
        other = names[mirror.partner[index]]
        if mirror.partner[index] != index and side_in_pair(name, other) == "left":
            away = mirror.robot.joints[index].anchor[1] - mirror.robot.joints[mirror.partner[index]].anchor[1]
            right += away > 0
            if away < 0:
                wrong.append(name)
    if not wrong or right > len(wrong):
        return []
    return [f"names call left what lies at y < 0: {', '.join(wrong[:6])}; it makes no difference to the mirror"]
