"""The mirror of a robot: partner and sign of every joint, and T on the simulator's positions, velocities and controls.

In: the robot in one or more poses, and what a user says. Out: a `RobotMirror`, or an error that says which joint has
no partner. `describing` makes a skeleton of it, `checking` compares a specification with it.

Places and axes in the reference pose decide; names decide where places alone leave a choice (planar robots, whose legs
lie in one another), and where the two disagree that is said.

It is a search: for each pose, each lateral axis and each plane across it, `matching` pairs the links. The first pose
that has a complete and believable attempt is taken, and in it the attempt of most merit. Some quadrupeds are symmetric
along x and along y. Names (`left_hip`, `right_hip`) then tell which of the two is meant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from chiralize.body.robots.matching import FARTHEST, Matching, Names, Reflection, joint_distance, match, sign_of_joint
from chiralize.body.robots.mirroring import WHOLE, RobotMirror, image_of_joint, mirror_from, sign_of, some_names
from chiralize.body.robots.robot import BALL, FREE, Joint, Robot
from chiralize.body.skeleton.naming import infer_pairs
from chiralize.body.skeleton.skeleton import AXES
from chiralize.errors import RobotMirrorError

_PREFERRED = ("y", "x", "z")
"""The order of axes among mirrors that fit equally well: most robots look along x, and z is up."""
_SAME_PLANE = 1e-9
"""Metres by which two planes may be apart to be one."""
_UNEVEN = 0.1
"""How much ranges of partners may differ, as a share of them, to count as even."""


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
    # Of all poses and axes, for the message where none will do.
    attempts: list[_Attempt] = []
    # Poses are read one by one: the first one mostly suffices.
    for robot in poses:
        _check_names(robot, given)
        for axis in (lateral,) if lateral else _PREFERRED:
            attempts += _attempts(robot, AXES.index(axis), given, both_ways(hints or {}))
        best = _best(attempts, robot, lateral is not None)
        if best is not None:
            return _mirror(best, given)
    # No pose will do. Every joint had a partner, yet nothing was exchanged (a planar robot), or it was not believable.
    flat = next((one for one in attempts if one.matching.is_complete and not one.is_even), None)
    if flat is not None:
        raise _trivial(flat)
    # Else say what is missing where most of it fits.
    best = max((attempt for attempt in attempts if not attempt.matching.is_complete), key=lambda attempt: attempt.reach)
    raise _incomplete(best, len({id(attempt.robot) for attempt in attempts}))


def _best(attempts: Sequence[_Attempt], robot: Robot, is_asked: bool) -> _Attempt | None:
    """The best attempt in a pose; None where names contradict its axis.

    A biped that stands straight is nearly its own image from front to back. If it is asymmetric from left to right, the
    front/back mirror must not replace the one that its names mean. Nor is it a mirror if it negates joints that bend to
    one side only, as a hopper's do.
    """
    of_pose = [attempt for attempt in attempts if attempt.robot is robot]
    complete = [attempt for attempt in of_pose if attempt.matching.is_complete and (attempt.is_even or is_asked)]
    best = max(complete, key=lambda attempt: attempt.merit, default=None)
    # `near` is also counted of incomplete attempts: another axis has more pairs by names at mirrored places.
    if best is None or max(attempt.near for attempt in of_pose) > best.near:
        return None
    return best


def both_ways(partners: Mapping[str, str]) -> dict[str, str]:
    """Partners by name, each of the two also the partner of the other."""
    return {**partners, **{second: first for first, second in partners.items()}}


@dataclass(frozen=True, eq=False)
class _Attempt:
    """The result of matching along one axis, about one plane.

    agreeing: how many joints have the partner that their names say. near: how many pairs by names are at mirrored
    places. moving: how many joints are exchanged or negated. uneven: for how many of these ranges or centres of mass
    differ. is_one_sided: whether a joint that would be negated bends to one side only, which no mirror image does.
    """

    robot: Robot
    reflection: Reflection
    matching: Matching
    agreeing: int
    near: int
    moving: int
    uneven: int
    is_one_sided: bool

    @property
    def merit(self) -> tuple[bool, int, int, int]:
        """Order of complete attempts: something is mirrored, names agree, the two sides agree; then y, x and z."""
        return self.moving > 0, self.agreeing, -self.uneven, -_PREFERRED.index(AXES[self.reflection.lateral])

    @property
    def is_even(self) -> bool:
        """Whether something is mirrored, and names agree or most of it is even."""
        is_likely = self.agreeing > 0 or (2 * self.uneven <= self.moving and not self.is_one_sided)
        return self.moving > 0 and is_likely

    @property
    def reach(self) -> tuple[int, int, int]:
        """Order of incomplete attempts: pairs by names at mirrored places, links with a partner, few without a
        candidate.
        """
        matched = sum(partner >= 0 for partner in self.matching.partner)
        return self.near, matched, -len(self.matching.unmatched)


def _attempts(robot: Robot, lateral: int, given: Mapping[str, str], hints: Mapping[str, str]) -> list[_Attempt]:
    """One attempt for every plane that may be the mirror's, up to the first in which every joint has a partner."""
    by_names = _pairs_by_names(robot)
    attempts: list[_Attempt] = []
    for offset in _offsets(robot, lateral):
        reflection = Reflection(lateral, offset)
        # The user's word comes first, then a specification's, then names.
        matching = match(robot, reflection, [_says(robot, names) for names in (given, hints, by_names)])
        if matching.is_complete and robot.base is None:
            reflection = _centred(robot, reflection, matching)  # a floating base lies in the plane already
        attempts.append(_judged(robot, reflection, matching, by_names))
        if matching.is_complete:
            break
    return attempts


def _judged(robot: Robot, reflection: Reflection, matching: Matching, by_names: Mapping[str, str]) -> _Attempt:
    """The attempt with its counts; those of joints leave out free ones, and joints whose link has no partner."""
    agreeing = near = moving = uneven = 0
    is_one_sided = False
    # Each pair is counted from both of its members, in all counts alike.
    for index, joint in enumerate(robot.joints):
        # `near` is counted of pairs by names, whether the walk took them or not: it says whether this is their axis.
        image, named = image_of_joint(robot, matching.partner, index), by_names.get(joint.name)
        if named is not None:
            near += joint_distance(robot, reflection, index, robot.names.index(named)) <= FARTHEST * robot.size
        if image is None or joint.kind == FREE:
            continue
        other = robot.joints[image]
        sign = sign_of(reflection, joint, other)
        agreeing += named == other.name
        is_moving = image != index or sign < 0
        moving += is_moving
        uneven += is_moving and _is_uneven(robot, reflection, joint, other, sign)
        is_one_sided |= image == index and sign < 0 and _bends_one_way(joint)
    return _Attempt(robot, reflection, matching, agreeing, near, moving, uneven, is_one_sided)


def _bends_one_way(joint: Joint) -> bool:
    """Whether a range lies mostly to one side of its zero: its middle is farther from 0 than a quarter of its width.

    A knee from -0.1 to 2.5 rad does (middle 1.2, width 2.6), a hip from -0.5 to 0.8 rad does not (0.15, 1.3).
    """
    if joint.span is None:
        return False
    lower, upper = (end - float(joint.zero[0]) for end in joint.span)
    return abs(lower + upper) > (upper - lower) / 2


def _is_uneven(robot: Robot, reflection: Reflection, joint: Joint, other: Joint, sign: int) -> bool:
    """Whether ranges or centres of mass are not each other's images, roughly."""
    first, second = robot.links[joint.link], robot.links[other.link]
    away = np.linalg.norm(reflection.point(first.center) - second.center)
    if joint.span is None or other.span is None:
        spans = joint.span != other.span
    else:
        # A negated range has its ends exchanged: (-0.5, 2) becomes (-2, 0.5).
        gap = np.abs(np.sort(np.array(other.span) * sign) - joint.span).max()
        spans = gap > _UNEVEN * (joint.span[1] - joint.span[0])
    return bool(away > FARTHEST * robot.size or spans)


def _centred(robot: Robot, reflection: Reflection, matching: Matching) -> Reflection:
    """The plane in the middle between partners. In a robot that stands fixed it may lie a little beside 0.

    The median, so that one pair that is a little off does not move the plane.
    """
    lateral, middles = reflection.lateral, []  # of each pair, counted from both of its members
    for index, joint in enumerate(robot.joints):
        image = image_of_joint(robot, matching.partner, index)
        if image is not None and image != index:
            middles.append((joint.anchor[lateral] + robot.joints[image].anchor[lateral]) / 2)
    offset = float(np.median(middles)) if middles else reflection.offset
    if abs(offset - reflection.offset) < _SAME_PLANE:
        return reflection
    return Reflection(lateral, offset)


def _offsets(robot: Robot, lateral: int) -> list[float]:
    """Where the plane may lie, metres along the axis: through a floating base, else through 0 or the middle of the
    joints, as the mean of their anchors or between the outermost ones.
    """
    if robot.base is not None:
        return [float(robot.joints[robot.base].anchor[lateral])]
    # None of the three is right for every robot: they are tried one after the other.
    # A pair of arms on a table may be modelled anywhere: its middle is that of its joints.
    places = np.array([joint.anchor[lateral] for joint in robot.joints])
    middles = (0.0, float(places.mean()), float(places.min() + places.max()) / 2)
    distinct: list[float] = []
    for middle in middles:
        if all(abs(middle - other) > _SAME_PLANE for other in distinct):
            distinct.append(middle)
    return distinct


# ---- names ----------------------------------------------------------------------------------------------------
def _pairs_by_names(robot: Robot) -> dict[str, str]:
    """Joints whose names, or else those of the bodies that they move, say that they are partners."""
    names = robot.names
    partners = {names[left]: names[right] for left, right in infer_pairs(names).pairs}
    # Joints are often called `joint1` and their bodies `left_thigh`. What the joints' own names say is not replaced.
    bodies = [link.name for link in robot.links]
    for left, right in infer_pairs(bodies).pairs:
        # By names alone two links need not have as many joints as each other; the first ones go together.
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
    """Raise RobotMirrorError where the user names a joint that the robot does not have."""
    for name in given:
        if name not in robot.names:
            raise RobotMirrorError(robot.name, f"no joint is called {name!r}", f"joints are {some_names(robot.names)}")


def _disagreements(robot: Robot, partner: Sequence[int], given: Mapping[str, str]) -> list[str]:
    """Joints that names would pair otherwise."""
    # Named here, and not refused: a name may be wrong, or mean another thing than the side.
    by_names = _pairs_by_names(robot)
    wrong = []
    for index, name in enumerate(robot.names):
        image = robot.names[partner[index]]
        # What the user said is not questioned, and of a pair one line is enough: that of the name that sorts first.
        if name in given or by_names.get(name, image) == image or by_names[name] < name:
            continue
        wrong.append(f"{name} ({robot.links[robot.joints[index].link].name}) with {by_names[name]}, not {image}")
    if not wrong:
        return []
    return [f"names and places disagree, places decide; by names: {some_names(wrong)}"]


def _mirror(attempt: _Attempt, given: Mapping[str, str]) -> RobotMirror:
    """T from a complete attempt. Raises RobotMirrorError where it contradicts the user's partners."""
    robot, links = attempt.robot, attempt.matching.partner
    partner = [image_of_joint(robot, links, index) or 0 for index in range(len(robot.joints))]
    _check_given(robot, partner, given)
    return mirror_from(robot, attempt.reflection, links, partner, _disagreements(robot, partner, given))


def _check_given(robot: Robot, partner: Sequence[int], given: Mapping[str, str]) -> None:
    """Raise RobotMirrorError where a partner that the user gave lies elsewhere: `match` asks names in ties only."""
    for index, name in enumerate(robot.names):
        image = robot.names[partner[index]]
        if given.get(name, image) != image:
            facts = f"{given[name]} is not at the mirrored place of {name}, {image} is"
            raise RobotMirrorError(robot.name, facts, "drop the pair, or give another lateral axis")


# ---- what is missing ------------------------------------------------------------------------------------------
def _incomplete(attempt: _Attempt, count: int) -> RobotMirrorError:
    """The reason why the robot has no mirror, in the axis and the pose that come nearest to one.

    count: how many poses were tried.
    """
    robot, axis = attempt.robot, AXES[attempt.reflection.lateral]
    if not attempt.matching.unmatched:
        # Every link has candidates, and some have several: the user can name the partners.
        lines = []
        for link, candidates in attempt.matching.ambiguous.items():
            mine, theirs = (", ".join(_joint_names(robot, one)) for one in (link, candidates[0]))
            others = "; ".join(", ".join(_joint_names(robot, other)) for other in candidates)
            lines.append(f"{mine} may be the partner of {others}" if mine != theirs or len(candidates) > 1 else mine)
        facts = f"places alone do not say which joints are partners along {axis}, and no names do: {some_names(lines)}"
        if _is_planar(robot, attempt.reflection):
            facts = f"it moves in a plane across {axis} and has no left and right; {facts}"
        return RobotMirrorError(robot.name, facts, "name partners, --pair JOINT=PARTNER, once for each pair")
    lines = [f"{', '.join(_joint_names(robot, link))}: {words}" for link, words in attempt.matching.unmatched.items()]
    tried = f"in none of {count} poses" if count > 1 else "not"
    facts = f"the robot is {tried} its own mirror image, {axis} comes nearest; without a partner: {some_names(lines)}"
    remedy = "give a pose in which it is, as a keyframe; a single arm has no left and right"
    return RobotMirrorError(robot.name, facts, remedy)


def _trivial(attempt: _Attempt) -> RobotMirrorError:
    """The error for a robot of which every joint has a partner, and which still has no left and right.

    Either joints are exchanged or negated, but most of them are uneven or bend to one side only; or nothing moves: the
    robot is one free body, or planar.
    """
    robot, axis = attempt.robot, AXES[attempt.reflection.lateral]
    if attempt.moving:
        facts = f"it has no left and right: {axis} -> -{axis} comes nearest, but of {attempt.moving} joints that it "
        facts += f"exchanges or negates {attempt.uneven} have other ranges or masses than their images"
        return RobotMirrorError(robot.name, facts, f"if it is meant all the same, give --lateral {axis}")
    if is_free(robot):
        return without_joints(robot)
    facts = f"it has no left and right: it moves in a plane, and {axis} -> -{axis} leaves every joint as it is"
    remedy = "there is nothing to convert; legs that lie in one another can be exchanged, --pair JOINT=PARTNER"
    return RobotMirrorError(robot.name, facts, remedy)


def is_free(robot: Robot) -> bool:
    """Whether it moves by free joints alone, of which a skeleton has none."""
    return all(joint.kind == FREE for joint in robot.joints)


def without_joints(robot: Robot) -> RobotMirrorError:
    """The error where a skeleton is asked for of a robot that `is_free`."""
    facts = "it is one free body: nothing that is read of it, its joints, has a left and a right"
    remedy = "write the specification by hand, with what acts on it (rotors, thrusters, rudders) as joints and pairs"
    return RobotMirrorError(robot.name, facts, remedy)


def _joint_names(robot: Robot, link: int) -> list[str]:
    """The names of the joints that move a link."""
    return [robot.names[joint] for joint in robot.links[link].joints]


def _is_planar(robot: Robot, reflection: Reflection) -> bool:
    """Whether no joint moves anything across the plane: hinges turn about the lateral axis, slides run across it."""
    return all(
        joint.kind not in (BALL, FREE)
        and sign_of_joint(reflection, joint, joint) > 0
        and abs(abs(float(reflection.axis(joint) @ joint.axis)) - 1) < WHOLE
        for joint in robot.joints
    )
