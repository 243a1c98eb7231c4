"""How a mirror acts on a robot: T on the simulator's positions, velocities and controls, from the links' partners.

`deriving` finds the partners of links and calls `mirror_from`; the result is what all other files of this folder use.
T of a state is affine, a signed permutation and a shift:

    (T q)[i] = sign[i] q[partner[i]] + shift[i]

Entries of qpos and of qvel by kind of joint, under y -> -y, and their signs where the joint is its own partner:

    free    x y z | w qx qy qz       + - +  | + - + -     velocities  vx vy vz | wx wy wz     + - + | - + -
    ball            w qx qy qz              + - + -                              wx wy wz             - + -
    hinge   its angle                + about y, else - (sign_of)              the same
    slide   its way                  - along y, else + (sign_of)              the same

A position is a polar vector, a turn (the vector part of a quaternion, an angular velocity) is a pseudo-vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chiralize.body.robots.matching import Reflection, sign_of_joint
from chiralize.body.robots.robot import BALL, FREE, POSITIONS, SLIDE, Actuator, Array, Joint, Robot
from chiralize.body.skeleton.naming import infer_pairs
from chiralize.body.skeleton.skeleton import AXES
from chiralize.errors import RobotMirrorError
from chiralize.errors.words import listed
from chiralize.symmetry.involution import SignedPermutation

WHOLE = 1e-3
"""How far entries of a turn may be from 0 and 1 where it only exchanges and negates axes."""
_Columns = tuple[Sequence[int], Sequence[int]]
"""Which entries of a block those of its image are, and their signs."""


@dataclass(frozen=True, eq=False)
class RobotMirror:
    """How the mirror acts on a robot.

    partner: index of every joint's partner.  sign: of hinges and slides, else 1.  links: partner of every link.
    qpos, qvel, ctrl: T on the simulator's coordinates, "nq", "nv", "nu".  qpos_shift, ctrl_shift: what is added to
    T qpos and T ctrl, not 0 where partners count from different zeros, or the plane of the mirror does not go through
    0.  A left elbow that is straight at 0.3 rad and a right one at 0.1 rad, exchanged and negated, have
    q_left' = -q_right + 0.4.
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
        """Whether it leaves every joint but the free ones as it is: nothing is left or right."""
        joints = [index for index, joint in enumerate(self.robot.joints) if joint.kind != FREE]
        entries = [self.robot.joints[index].velocity for index in joints]
        return all(self.qvel.partner[entry] == entry and self.qvel.sign[entry] == 1 for entry in entries)

    def act_qpos(self, qpos: Array) -> Array:
        """T on positions, "... nq"."""
        return self.qpos.act(qpos, -1) + self.qpos_shift

    def act_ctrl(self, ctrl: Array) -> Array:
        """T on controls, "... nu"."""
        return self.ctrl.act(ctrl, -1) + self.ctrl_shift


def mirror_from(
    robot: Robot, reflection: Reflection, links: Sequence[int], partner: Sequence[int], notices: Sequence[str]
) -> RobotMirror:
    """T on everything, from the partners of links and joints.

    links, partner: of every link and joint; involutions, complete.  notices: what was decided about them. Raises
    RobotMirrorError where frames of balls are no mirror images, or the two sides have other actuators.
    """
    joints = robot.joints
    sign = tuple(sign_of(reflection, joint, joints[image]) for joint, image in zip(joints, partner, strict=True))
    qpos, qvel, shift = _coordinates(robot, reflection, partner, sign)
    said = [*notices]
    if robot.pose != "initial pose":
        said.append(f"the robot is symmetric in {robot.pose}, not in its initial pose: angles count from there")
    # The shift of a free base is where the plane lies, no difference between two sides.
    turned = [joint.name for joint in joints if joint.kind != FREE and _is_shifted(joint, shift)]
    if turned:
        facts = f"partners count from different zeros: {some_names(turned)}"
        said.append(f"{facts}; the signs are those of the difference from {robot.pose}, q - q0")
    actuators, ctrl, ctrl_shift = _controls(robot, reflection, partner, sign, shift, qvel, said)
    return RobotMirror(
        robot,
        reflection,
        tuple(links),
        tuple(partner),
        sign,
        qpos,
        qvel,
        ctrl,
        shift,
        ctrl_shift,
        actuators,
        tuple(said),
    )


def some_names(names: Sequence[str]) -> str:
    """Names for a message; of many the first ones."""
    return listed(names, 12)


def image_of_joint(robot: Robot, links: Sequence[int], joint: int) -> int | None:
    """The joint's partner: the one with its number on the partner of its link; None where the link has none.

    links: the partner of every link, -1 for none.
    """
    link = robot.joints[joint].link
    if links[link] < 0:
        return None
    return robot.links[links[link]].joints[robot.links[link].joints.index(joint)]


def _is_shifted(joint: Joint, shift: Array) -> bool:
    """Whether something is added to T of the joint's positions.  shift: "nq"."""
    entries = shift[joint.position : joint.position + POSITIONS[joint.kind]]
    return bool(np.abs(entries).max() > 1e-9)


def sign_of(reflection: Reflection, joint: Joint, other: Joint) -> int:
    """The sign of a hinge or a slide, whose partner is `other`; 1 of balls and free joints."""
    if joint.kind in (BALL, FREE):
        return 1
    return sign_of_joint(reflection, joint, other)


def _coordinates(
    robot: Robot, reflection: Reflection, partner: Sequence[int], sign: Sequence[int]
) -> tuple[SignedPermutation, SignedPermutation, Array]:
    """T on qpos and on qvel, and what is added to T qpos."""
    position = np.zeros((2, len(robot.qpos)), np.int64)  # rows: partners, signs
    velocity = np.zeros((2, robot.velocities), np.int64)
    shift = np.zeros(len(robot.qpos))
    for index, joint in enumerate(robot.joints):
        image = robot.joints[partner[index]]
        at, dof = joint.position, joint.velocity
        if joint.kind == FREE:
            # Place x y z and velocity are polar; w of the quaternion, the cosine of half the angle, is kept.
            turned = _axes_exchanged(robot, reflection, image, joint)
            linear = [0, 1, 2], list(map(int, reflection.signs))
            rows = [(0, linear), (3, ([0], [1])), (4, turned)]
            _fill(position[:, at : at + 7], image.position, rows)
            _fill(velocity[:, dof : dof + 6], image.velocity, [(0, linear), (3, turned)])
            shift[at + reflection.lateral] = 2 * reflection.offset  # points y go to 2 offset - y
        elif joint.kind == BALL:
            turned = _axes_exchanged(robot, reflection, image, joint)
            _fill(position[:, at : at + 4], image.position, [(0, ([0], [1])), (1, turned)])
            _fill(velocity[:, dof : dof + 3], image.velocity, [(0, turned)])
        else:
            position[:, at], velocity[:, dof] = (image.position, sign[index]), (image.velocity, sign[index])
            # The sign is that of differences from the reference pose: q' - q0 = sign (q_image - q0_image).
            shift[at] = joint.zero[0] - sign[index] * image.zero[0] + _slid(robot, reflection, partner[index], index)
    return SignedPermutation(*position), SignedPermutation(*velocity), np.where(np.abs(shift) < 1e-12, 0.0, shift)


def _slid(robot: Robot, reflection: Reflection, index: int, other: int) -> float:
    """How far a sliding body has to move to be at the mirrored place of its partner; 0 for other joints.

    index, other: joints; the answer is a distance along the axis of `other`, metres.  A puck that stands at y = 0.5 in
    the reference pose, with the plane at 0, is its own partner and has to go 1 m back. Only things that lie about
    (`Robot.is_thing`) are asked, which `match` lets be anywhere.
    """
    joint, image = robot.joints[index], robot.joints[other]
    if joint.kind != SLIDE or not robot.is_thing(joint.link):
        return 0.0
    away = reflection.point(robot.links[joint.link].center) - robot.links[image.link].center
    return float(away @ image.axis)


def _fill(
    table: npt.NDArray[np.int64], start: int, rows: Sequence[tuple[int, tuple[Sequence[int], Sequence[int]]]]
) -> None:
    """Writes partners and signs of blocks of entries; blocks begin at the first number of each row.

    table: "2 entry", a view of the entries of one joint; row 0 receives partners, row 1 signs.  start: the first entry
    of the joint's partner.
    """
    for begin, (columns, signs) in rows:
        for offset, (column, sign) in enumerate(zip(columns, signs, strict=True)):
            table[:, begin + offset] = start + begin + column, sign


def _axes_exchanged(robot: Robot, reflection: Reflection, joint: Joint, other: Joint) -> _Columns:
    """Which component of a turn (a pseudo-vector) of `joint` each component of `other`'s is, with its sign.

    For turn = [[0, 1, 0], [-1, 0, 0], [0, 0, 1]] it is ([1, 0, 2], [1, -1, 1]).
    Raises RobotMirrorError where components mix, which no signed permutation says.
    """
    turn = -reflection.turn(joint, other)  # of pseudo-vectors: det(S) S = -S
    # The nearest matrix with a single 1 or -1 in each row.
    columns = np.abs(turn).argmax(axis=1)
    signs = np.sign(turn[np.arange(3), columns])
    whole = np.zeros((3, 3))
    whole[np.arange(3), columns] = signs
    # A ball: T keeps w and turns the vector part, so it takes no turn to no turn, and a reference pose of another turn
    # to another pose. A free joint: its velocity is mirrored in the world's axes, so its frame has to have them, too.
    is_turned = joint.kind == BALL and max(_turn_of(joint), _turn_of(other)) > WHOLE
    is_free = joint.kind == FREE and np.abs(whole - np.diag(-reflection.signs)).max() > WHOLE
    if np.abs(turn - whole).max() > WHOLE or is_turned or is_free:
        facts = f"the frame of {other.name} is no mirror image of the frame of {joint.name}: their components mix"
        remedy = "turn the body's frame (pos and quat in the file) so that its axes are those of the mirror"
        raise RobotMirrorError(robot.name, facts, remedy)
    return columns.tolist(), list(map(int, signs))


def _turn_of(joint: Joint) -> float:
    """How far a ball's quaternion in the reference pose is from no turn, which is (1, 0, 0, 0) and its negative."""
    return float(np.abs(np.abs(joint.zero) - np.array([1.0, 0.0, 0.0, 0.0])).max())


def _controls(
    robot: Robot,
    reflection: Reflection,
    partner: Sequence[int],
    sign: Sequence[int],
    shift: Array,
    qvel: SignedPermutation,
    notices: list[str],
) -> tuple[tuple[int, ...], SignedPermutation, Array]:
    """Partners of the actuators, T on the controls, and what is added to it.

    sign, shift: of joints and of qpos.  notices: a list that what was decided is added to.
    """
    count = len(robot.actuators)
    # First those that drive no joint: tendons, sites, bodies.
    loose = _loose_images(robot, qvel)
    images = list(range(count))
    signs = [1] * count
    for index, (image, found_sign) in loose.items():
        images[index], signs[index] = image, found_sign or 1
    unread = [robot.actuators[index].name for index, (_, found_sign) in loose.items() if not found_sign]
    if unread:
        facts = f"in the {robot.pose} their force does not tell the sign of the controls {some_names(unread)}"
        notices.append(f"{facts}; they are taken as kept")
    # Then those of joints, whose partners drive the partner of the joint.
    shifts = np.zeros(len(images))
    for index, actuator in enumerate(robot.actuators):
        if actuator.joint is not None:
            images[index] = _actuator_image(robot, partner, index)
            signs[index] = _control_sign(robot, reflection, partner, sign, actuator, robot.actuators[images[index]])
            # The control of a servo is a position, gear times q, and is shifted as q is.
            if actuator.is_servo and robot.joints[actuator.joint].kind not in (BALL, FREE):
                shifts[index] = actuator.gear[0] * shift[robot.joints[actuator.joint].position]
    return tuple(images), SignedPermutation(np.array(images, int), np.array(signs, int)), shifts


def _loose_images(robot: Robot, qvel: SignedPermutation) -> dict[int, tuple[int, int]]:
    """Partner and sign of each actuator that drives a tendon, a site or a body, by the force that it has on joints.

    The sign is 0 where there is no force in the reference pose, or where no actuator has the image of the force; the
    partner is then the one that names say. Two legs with a cable each: the force of the left cable on qvel is
    (3, 0), its image (0, 3) is what the right cable does, so they are partners with sign 1.
    """
    loose = [index for index, actuator in enumerate(robot.actuators) if actuator.joint is None]
    named = infer_pairs([robot.actuators[index].name for index in loose]).pairs
    by_name = {loose[left]: loose[right] for left, right in named}
    by_name |= {right: left for left, right in by_name.items()}
    images: dict[int, tuple[int, int]] = {}
    for index in loose:
        image = qvel.act(robot.actuators[index].moment)
        # Several cables may pull alike: the one that names mean is asked first.
        preferred = sorted(loose, key=lambda other: (other != by_name.get(index, index), other))
        for other in preferred:
            sign = _parallel(image, robot.actuators[other].moment)
            if sign and index not in images and other not in images:
                images[index], images[other] = (other, sign), (index, sign)
    # Names decide the rest, unless the force gave that partner to another one: partners have to be mutual.
    for index in loose:
        other = by_name.get(index, index)
        if index not in images:
            if other in images and images[other][0] != index:
                images[index] = index, 0
            else:
                images[index] = other, 0
    return images


def _parallel(force: Array, other: Array) -> int:
    """1 or -1 where a force is another one with that sign, 0 where it is neither, or there is none.  "nv"."""
    size = max(float(np.linalg.norm(force)), float(np.linalg.norm(other)))
    for sign in (1, -1):
        if size > 0 and np.linalg.norm(force - sign * other) <= WHOLE * size:
            return sign
    return 0


def _actuator_image(robot: Robot, partner: Sequence[int], index: int) -> int:
    """The actuator with the same number on the partner of the joint.

    Raises RobotMirrorError where the partner has fewer.
    """
    actuator = robot.actuators[index]
    assert actuator.joint is not None
    # A joint may have several, such as two muscles: the first belongs to the first, the second to the second.
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
    """The joint's sign, but where one of the two gears is negative; of balls and free joints, by the gears' images.

    A gear of a ball is a torque "3" in the frame of its body, of a free joint a force and a torque, "6".
    """
    joint = robot.joints[actuator.joint or 0]
    image = robot.joints[partner[actuator.joint or 0]]
    if joint.kind not in (BALL, FREE):
        return sign[actuator.joint or 0] * (1 if actuator.gear[0] * other.gear[0] >= 0 else -1)
    turn = -reflection.turn(joint, image)  # of pseudo-vectors, such as torques
    if joint.kind == BALL:
        mirrored, theirs = turn @ actuator.gear[:3], other.gear[:3]
    else:
        mirrored = np.concatenate([reflection.signs * actuator.gear[:3], turn @ actuator.gear[3:]])
        theirs = other.gear
    return 1 if mirrored @ theirs >= 0 else -1
