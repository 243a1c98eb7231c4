"""The mirror of a robot: partner and sign of every joint, and T on the simulator's positions, velocities and controls.

Places and axes in the reference pose decide; names decide where places alone leave a choice (planar robots, whose legs
lie in one another), and where the two disagree that is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chiralize.body.robots.matching import Matching, Names, Reflection, match, sign_of_joint
from chiralize.body.robots.robot import BALL, FREE, POSITIONS, SLIDE, Actuator, Array, Joint, Robot
from chiralize.body.skeleton.naming import infer_pairs
from chiralize.body.skeleton.skeleton import AXES
from chiralize.errors import RobotMirrorError
from chiralize.symmetry.involution import SignedPermutation

_PREFERRED = ("y", "x", "z")
"""Of axes along which a robot mirrors equally well, the first: most robots look along x, and z is up."""
_Columns = tuple[Sequence[int], Sequence[int]]
"""Which entries of a block those of its image are, and their signs."""
_WHOLE = 1e-3
"""How far entries of a turn may be from 0 and 1 where it only exchanges and negates axes."""


@dataclass(frozen=True, eq=False)
class RobotMirror:
    """How the mirror acts on a robot.

    partner: index of every joint's partner.  sign: of hinges and slides, else 1.  links: partner of every link.
    qpos, qvel, ctrl: T on the simulator's coordinates.  qpos_shift, ctrl_shift: what is added to T qpos and T ctrl,
    not 0 where partners count from different zeros, or the plane of the mirror does not go through 0.
    actuators: partner of every actuator.  notices: what was decided, for the user to see.
    """

    robot: Robot
    reflection: Reflection
    links: tuple[int, ...]
    partner: tuple[int, ...]
    sign: tuple[int, ...]
    qpos: SignedPermutation
    qvel: SignedPermutation
    ctrl: SignedPermutation
    qpos_shift: Array
    ctrl_shift: Array
    actuators: tuple[int, ...]
    notices: tuple[str, ...] = ()

    @property
    def lateral(self) -> str:
        """The axis that the mirror negates."""
        return AXES[self.reflection.lateral]

    @property
    def joints(self) -> dict[str, tuple[str, int]]:
        """Name of every joint but the free ones to the name of its partner and its sign."""
        names = self.robot.names
        moving = [index for index, joint in enumerate(self.robot.joints) if joint.kind != FREE]
        return {names[index]: (names[self.partner[index]], self.sign[index]) for index in moving}

    @property
    def is_trivial(self) -> bool:
        """Whether it leaves every joint as it is: nothing is left or right."""
        joints = [index for index, joint in enumerate(self.robot.joints) if joint.kind != FREE]
        entries = [self.robot.joints[index].velocity for index in joints]
        return all(self.qvel.partner[entry] == entry and self.qvel.sign[entry] == 1 for entry in entries)

    def act_qpos(self, qpos: Array) -> Array:
        """T on positions, "... nq"."""
        return self.qpos.act(qpos, -1) + self.qpos_shift

    def act_ctrl(self, ctrl: Array) -> Array:
        """T on controls, "... nu"."""
        return self.ctrl.act(ctrl, -1) + self.ctrl_shift


def derive(
    poses: Iterable[Robot],
    lateral: str | None = None,
    partners: Mapping[str, str] | None = None,
    hints: Mapping[str, str] | None = None,
) -> RobotMirror:
    """The mirror of a robot, in the first of its poses in which every joint has a partner.

    poses: the robot as it stands in its initial pose, then in others.  lateral: x, y or z, None for the axis along
    which the robot mirrors best.  partners: names of joints, for legs that lie in one another.  hints: the same from a
    specification, which may be wrong.
    Raises RobotMirrorError where a joint has no partner, or more than one.
    """
    given = both_ways(partners or {})
    attempts: list[_Attempt] = []
    for robot in poses:
        _check_names(robot, given)
        for axis in (lateral,) if lateral else _PREFERRED:
            attempts += _attempts(robot, AXES.index(axis), given, both_ways(hints or {}))
        complete = [attempt for attempt in attempts if attempt.matching.is_complete and attempt.robot is robot]
        if any(attempt.moving for attempt in complete):
            return _mirror(max(complete, key=lambda attempt: attempt.merit), given)
    flat = next((attempt for attempt in attempts if attempt.matching.is_complete), None)
    if flat is not None:
        raise _trivial(flat)
    best = max(attempts, key=lambda attempt: attempt.reach)
    raise _incomplete(best, len({id(attempt.robot) for attempt in attempts}))


def both_ways(partners: Mapping[str, str]) -> dict[str, str]:
    """Partners by name, each of the two also the partner of the other."""
    return {**partners, **{second: first for first, second in partners.items()}}


@dataclass(frozen=True, eq=False)
class _Attempt:
    robot: Robot
    reflection: Reflection
    matching: Matching
    agreeing: int
    moving: int

    @property
    def merit(self) -> tuple[bool, int, int]:
        """Complete ones: something is mirrored at all, names agree, many joints are exchanged or negated."""
        return self.moving > 0, self.agreeing, -_PREFERRED.index(AXES[self.reflection.lateral])

    @property
    def reach(self) -> tuple[int, int, int]:
        """Incomplete ones: how many links have a partner, how many names agree, how few have no candidate."""
        matched = sum(partner >= 0 for partner in self.matching.partner)
        return matched, self.agreeing, -len(self.matching.unmatched)


def _attempts(robot: Robot, lateral: int, given: Mapping[str, str], hints: Mapping[str, str]) -> list[_Attempt]:
    """One attempt for every plane that may be the mirror's."""
    by_names = _pairs_by_names(robot)
    attempts = []
    for offset in _offsets(robot, lateral):
        reflection = Reflection(lateral, offset)
        matching = match(robot, reflection, [_says(robot, names) for names in (given, hints, by_names)])
        images = [_image(robot, matching.partner, index) for index in range(len(robot.joints))]
        agreeing = sum(
            image is not None and by_names.get(joint.name) == robot.joints[image].name
            for joint, image in zip(robot.joints, images, strict=True)
        )
        moving = sum(
            image is not None
            and (image != index or sign_of_joint(reflection, robot.joints[index], robot.joints[image]) < 0)
            for index, image in enumerate(images)
            if robot.joints[index].kind != FREE
        )
        attempts.append(_Attempt(robot, reflection, matching, agreeing, moving))
        if matching.is_complete:
            break
    return attempts


def _offsets(robot: Robot, lateral: int) -> list[float]:
    """Where the plane may lie: through a floating base, else through 0 or the middle of the joints."""
    if robot.base is not None:
        return [float(robot.joints[robot.base].anchor[lateral])]
    places = np.array([joint.anchor[lateral] for joint in robot.joints])
    middles = (0.0, float(places.mean()), float(places.min() + places.max()) / 2)
    distinct: list[float] = []
    for middle in middles:
        if all(abs(middle - other) > 1e-9 for other in distinct):
            distinct.append(middle)
    return distinct


def _image(robot: Robot, links: Sequence[int], joint: int) -> int | None:
    """The joint's partner: the one with its number on the partner of its link."""
    link = robot.joints[joint].link
    if links[link] < 0:
        return None
    return robot.links[links[link]].joints[robot.links[link].joints.index(joint)]


# ---- names ----------------------------------------------------------------------------------------------------
def _pairs_by_names(robot: Robot) -> dict[str, str]:
    """Joints whose names, or else those of the bodies that they move, say that they are partners."""
    names = robot.names
    partners = {names[left]: names[right] for left, right in infer_pairs(names).pairs}
    bodies = [link.name for link in robot.links]
    for left, right in infer_pairs(bodies).pairs:
        for first, second in zip(robot.links[left].joints, robot.links[right].joints, strict=False):
            if names[first] not in both_ways(partners) and names[second] not in both_ways(partners):
                partners[names[first]] = names[second]
    return both_ways(partners)


def _says(robot: Robot, partners: Mapping[str, str]) -> Names:
    """Whether the names of two links' joints are partners; a joint may be said to be its own."""

    def says(link: int, image: int) -> bool:
        """Of the first joints that a link and its image have."""
        pairs = zip(robot.links[link].joints, robot.links[image].joints, strict=False)
        return any(partners.get(robot.names[joint]) == robot.names[other] for joint, other in pairs)

    return says


def _check_names(robot: Robot, given: Mapping[str, str]) -> None:
    for name in given:
        if name not in robot.names:
            raise RobotMirrorError(robot.name, f"no joint is called {name!r}", f"joints are {_some(robot.names)}")


def _some(names: Sequence[str]) -> str:
    """Names for a message; of many the first ones."""
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _disagreements(robot: Robot, partner: Sequence[int], given: Mapping[str, str]) -> list[str]:
    """Joints that names would pair otherwise."""
    by_names = _pairs_by_names(robot)
    wrong = []
    for index, name in enumerate(robot.names):
        image = robot.names[partner[index]]
        if name in given or by_names.get(name, image) == image or by_names[name] < name:
            continue
        wrong.append(f"{name} ({robot.links[robot.joints[index].link].name}) with {by_names[name]}, not {image}")
    if not wrong:
        return []
    return [f"names and places disagree, places decide; by names: {_some(wrong)}"]


# ---- putting it together --------------------------------------------------------------------------------------
def _mirror(attempt: _Attempt, given: Mapping[str, str]) -> RobotMirror:
    robot, reflection = attempt.robot, attempt.reflection
    links = tuple(attempt.matching.partner)
    partner = tuple(_image(robot, links, index) or 0 for index in range(len(robot.joints)))
    _check_given(robot, partner, given)
    sign = tuple(
        _sign(reflection, joint, robot.joints[image]) for joint, image in zip(robot.joints, partner, strict=True)
    )
    qpos, qvel, shift = _coordinates(robot, reflection, partner, sign)
    notices = _disagreements(robot, partner, given)
    if robot.pose != "initial pose":
        notices.append(f"the robot is symmetric in {robot.pose}, not in its initial pose: angles count from there")
    turned = [
        robot.names[index]
        for index, joint in enumerate(robot.joints)
        if joint.kind != FREE and _is_shifted(joint, shift)
    ]
    if turned:
        facts = f"partners count from different zeros: {_some(turned)}"
        notices.append(f"{facts}; the signs are those of the difference from {robot.pose}, q - q0")
    actuators, ctrl, ctrl_shift = _controls(robot, reflection, partner, sign, shift, notices)
    return RobotMirror(
        robot, reflection, links, partner, sign, qpos, qvel, ctrl, shift, ctrl_shift, actuators, tuple(notices)
    )


def _check_given(robot: Robot, partner: Sequence[int], given: Mapping[str, str]) -> None:
    for index, name in enumerate(robot.names):
        image = robot.names[partner[index]]
        if given.get(name, image) != image:
            facts = f"{given[name]} is not at the mirrored place of {name}, {image} is"
            raise RobotMirrorError(robot.name, facts, "drop the pair, or give another lateral axis")


def _is_shifted(joint: Joint, shift: Array) -> bool:
    entries = shift[joint.position : joint.position + POSITIONS[joint.kind]]
    return bool(np.abs(entries).max() > 1e-9)


def _sign(reflection: Reflection, joint: Joint, other: Joint) -> int:
    return 1 if joint.kind in (BALL, FREE) else sign_of_joint(reflection, joint, other)


def _coordinates(
    robot: Robot, reflection: Reflection, partner: Sequence[int], sign: Sequence[int]
) -> tuple[SignedPermutation, SignedPermutation, Array]:
    """T on qpos and on qvel, and what is added to T qpos."""
    position = np.zeros((2, len(robot.qpos)), np.int64)
    velocity = np.zeros((2, robot.velocities), np.int64)
    shift = np.zeros(len(robot.qpos))
    for index, joint in enumerate(robot.joints):
        image = robot.joints[partner[index]]
        at, dof = joint.position, joint.velocity
        if joint.kind == FREE:
            turned = _axes_exchanged(robot, reflection, image, joint)
            linear = [0, 1, 2], [int(sign) for sign in reflection.signs]
            rows = [(0, linear), (3, ([0], [1])), (4, turned)]
            _fill(position[:, at : at + 7], image.position, rows)
            _fill(velocity[:, dof : dof + 6], image.velocity, [(0, linear), (3, turned)])
            shift[at + reflection.lateral] = 2 * reflection.offset
        elif joint.kind == BALL:
            turned = _axes_exchanged(robot, reflection, image, joint)
            _fill(position[:, at : at + 4], image.position, [(0, ([0], [1])), (1, turned)])
            _fill(velocity[:, dof : dof + 3], image.velocity, [(0, turned)])
        else:
            position[:, at], velocity[:, dof] = (image.position, sign[index]), (image.velocity, sign[index])
            shift[at] = joint.zero[0] - sign[index] * image.zero[0] + _slid(robot, reflection, partner[index], index)
    return SignedPermutation(*position), SignedPermutation(*velocity), np.where(np.abs(shift) < 1e-12, 0.0, shift)


def _slid(robot: Robot, reflection: Reflection, index: int, other: int) -> float:
    """How far a thing that slides about has to go to be at the mirrored place of its partner; 0 of other joints."""
    joint, image = robot.joints[index], robot.joints[other]
    if joint.kind != SLIDE or not robot.is_thing(joint.link):
        return 0.0
    away = reflection.point(robot.links[joint.link].center) - robot.links[image.link].center
    return float(away @ image.axis)


def _fill(
    table: npt.NDArray[np.int64], start: int, rows: Sequence[tuple[int, tuple[Sequence[int], Sequence[int]]]]
) -> None:
    """Writes partners and signs of blocks of entries; blocks begin at the first number of each row."""
    for begin, (columns, signs) in rows:
        for offset, (column, sign) in enumerate(zip(columns, signs, strict=True)):
            table[:, begin + offset] = start + begin + column, sign


def _axes_exchanged(robot: Robot, reflection: Reflection, joint: Joint, other: Joint) -> _Columns:
    """Which component of a turn (a pseudo-vector) of `joint` each component of `other`'s is, with its sign.

    Raises RobotMirrorError where components mix, which no signed permutation says.
    """
    turn = -reflection.turn(joint, other)
    columns = np.abs(turn).argmax(axis=1)
    signs = np.sign(turn[np.arange(3), columns])
    whole = np.zeros((3, 3))
    whole[np.arange(3), columns] = signs
    is_turned = joint.kind == BALL and max(_turn_of(joint), _turn_of(other)) > _WHOLE
    is_free = joint.kind == FREE and np.abs(whole - np.diag(-reflection.signs)).max() > _WHOLE
    if np.abs(turn - whole).max() > _WHOLE or is_turned or is_free:
        facts = f"the frame of {other.name} is no mirror image of the frame of {joint.name}: their components mix"
        remedy = "turn the body's frame (pos and quat in the file) so that its axes are those of the mirror"
        raise RobotMirrorError(robot.name, facts, remedy)
    return columns.tolist(), [int(value) for value in signs]


def _turn_of(joint: Joint) -> float:
    """How far a ball's quaternion in the reference pose is from no turn."""
    return float(np.abs(np.abs(joint.zero) - np.array([1.0, 0.0, 0.0, 0.0])).max())


def _controls(
    robot: Robot,
    reflection: Reflection,
    partner: Sequence[int],
    sign: Sequence[int],
    shift: Array,
    notices: list[str],
) -> tuple[tuple[int, ...], SignedPermutation, Array]:
    """Partners of the actuators, T on the controls, and what is added to it."""
    named = infer_pairs([actuator.name for actuator in robot.actuators]).pairs
    by_name = {**dict(named), **{right: left for left, right in named}}
    images = [_actuator_image(robot, partner, index, by_name) for index in range(len(robot.actuators))]
    elsewhere = [actuator.name for actuator in robot.actuators if actuator.joint is None]
    if elsewhere:
        notices.append(f"actuators that drive no joint are paired by their names, without signs: {_some(elsewhere)}")
    signs = [1] * len(images)
    shifts = np.zeros(len(images))
    for index, actuator in enumerate(robot.actuators):
        if actuator.joint is not None:
            signs[index] = _control_sign(robot, reflection, partner, sign, actuator, robot.actuators[images[index]])
            if actuator.is_servo and robot.joints[actuator.joint].kind not in (BALL, FREE):
                shifts[index] = actuator.gear[0] * shift[robot.joints[actuator.joint].position]
    return tuple(images), SignedPermutation(np.array(images, int), np.array(signs, int)), shifts


def _actuator_image(robot: Robot, partner: Sequence[int], index: int, by_name: Mapping[int, int]) -> int:
    """The actuator with the same number on the partner of the joint.

    Raises RobotMirrorError where the partner has fewer.
    """
    actuator = robot.actuators[index]
    if actuator.joint is None:
        return by_name.get(index, index)
    same = [number for number, other in enumerate(robot.actuators) if other.joint == actuator.joint]
    image = partner[actuator.joint]
    others = [number for number, other in enumerate(robot.actuators) if other.joint == image]
    if len(same) != len(others):
        facts = (
            f"{robot.names[actuator.joint]} has {len(same)} actuators, its partner {robot.names[image]} {len(others)}"
        )
        raise RobotMirrorError(robot.name, facts, "give both sides the same actuators, or use --order joints")
    return others[same.index(index)]


def _control_sign(
    robot: Robot,
    reflection: Reflection,
    partner: Sequence[int],
    sign: Sequence[int],
    actuator: Actuator,
    other: Actuator,
) -> int:
    """The joint's sign, but where one of the two gears is negative; of balls and free joints, by the gears' images."""
    joint = robot.joints[actuator.joint or 0]
    image = robot.joints[partner[actuator.joint or 0]]
    if joint.kind not in (BALL, FREE):
        return sign[actuator.joint or 0] * (1 if actuator.gear[0] * other.gear[0] >= 0 else -1)
    turn = -reflection.turn(joint, image)
    if joint.kind == BALL:
        mirrored, theirs = turn @ actuator.gear[:3], other.gear[:3]
    else:
        mirrored = np.concatenate([reflection.signs * actuator.gear[:3], turn @ actuator.gear[3:]])
        theirs = other.gear
    return 1 if mirrored @ theirs >= 0 else -1


# ---- what is missing ------------------------------------------------------------------------------------------
def _incomplete(attempt: _Attempt, count: int) -> RobotMirrorError:
    """What keeps the robot from having a mirror, in the axis and the pose that come nearest to one."""
    robot, axis = attempt.robot, AXES[attempt.reflection.lateral]
    if not attempt.matching.unmatched:
        lines = []
        for link, candidates in attempt.matching.ambiguous.items():
            mine, theirs = (", ".join(_joint_names(robot, one)) for one in (link, candidates[0]))
            others = "; ".join(", ".join(_joint_names(robot, other)) for other in candidates)
            lines.append(f"{mine} may be the partner of {others}" if mine != theirs or len(candidates) > 1 else mine)
        facts = f"places alone do not say which joints are partners along {axis}, and no names do: {_some(lines)}"
        if _is_planar(robot, attempt.reflection):
            facts = f"it moves in a plane across {axis} and has no left and right; {facts}"
        return RobotMirrorError(robot.name, facts, "name partners, --pair JOINT=PARTNER, once for each pair")
    lines = [f"{', '.join(_joint_names(robot, link))}: {words}" for link, words in attempt.matching.unmatched.items()]
    tried = f"in none of {count} poses" if count > 1 else "not"
    facts = f"the robot is {tried} its own mirror image, {axis} comes nearest; without a partner: {_some(lines)}"
    remedy = "give a pose in which it is, as a keyframe; a single arm has no left and right"
    return RobotMirrorError(robot.name, facts, remedy)


def _trivial(attempt: _Attempt) -> RobotMirrorError:
    """Every joint is its own partner and keeps its sign: it moves in the plane of the mirror."""
    robot, axis = attempt.robot, AXES[attempt.reflection.lateral]
    facts = f"it has no left and right: it moves in a plane, and {axis} -> -{axis} leaves every joint as it is"
    remedy = "there is nothing to convert; legs that lie in one another can be exchanged, --pair JOINT=PARTNER"
    return RobotMirrorError(robot.name, facts, remedy)


def _joint_names(robot: Robot, link: int) -> list[str]:
    return [robot.names[joint] for joint in robot.links[link].joints]


def _is_planar(robot: Robot, reflection: Reflection) -> bool:
    """Whether no joint moves anything across the plane."""
    return all(
        joint.kind not in (BALL, FREE)
        and sign_of_joint(reflection, joint, joint) > 0
        and abs(abs(float(reflection.axis(joint) @ joint.axis)) - 1) < _WHOLE
        for joint in robot.joints
    )
