"""A specification against a robot's file: which joint's partner or sign, which entry of an observation is wrong.

Three kinds of evidence: the places and axes in the file; the simulator, which steps states and their images; and the
observation, computed from a state and from its image.

This is `chiralize skeleton check --robot FILE SPECIFICATION`. In go two files, out comes a `RobotCheck`. The mirror of
the file is derived first, and everything that the specification says is held against it, since a robot that was made
equal by the specification's mirror would agree with any. The joints of the specification are found in the robot by
their names: `left_hip` is the joint `left_hip`, what the actuator `left_hip` drives, or `left_hip_joint`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from chiralize.body.robots.agreement import EXACT, Agreement, agreement, rung
from chiralize.body.robots.asymmetry import differences
from chiralize.body.robots.checked import RobotCheck, WrongJoint
from chiralize.body.robots.deriving import derive
from chiralize.body.robots.describing import Entry, RobotWishes, entries_of, image_of
from chiralize.body.robots.matching import FARTHEST, joint_distance
from chiralize.body.robots.mirroring import RobotMirror, sign_of
from chiralize.body.robots.observation import WrongEntry, observation_of
from chiralize.body.robots.observing import position_of
from chiralize.body.robots.opening import open_model, simulator
from chiralize.body.robots.reading import poses, read_robot
from chiralize.body.robots.robot import BALL, Array, Robot
from chiralize.body.robots.sensing import scene_of
from chiralize.body.robots.stepping import deviations, quiet
from chiralize.body.skeleton.nodes import did_you_mean
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors import load_spec
from chiralize.body.tensors.conversion import ConversionSpec, doubts_of
from chiralize.body.tensors.fields.field import with_parts
from chiralize.body.tensors.fields.joints import Joints
from chiralize.body.tensors.fields.plain import Scalar
from chiralize.errors import RobotMirrorError, UnknownNameError, WrongValueError
from chiralize.symmetry.involution import SignedPermutation

_FELT = 1e3 * EXACT
"""A wrong sign counts as noticed if it separates the two states by at least this much."""
_PLANTED_STARTS = 3
"""From how many states the simulator steps to feel a sign that was turned round; there is one run for each joint."""
_ACTION = re.compile("action|target|command|torque", re.IGNORECASE)


def check(
    robot_file: Path, specification: str | Path, wishes: RobotWishes | None = None, by_name: bool = False
) -> RobotCheck:
    """Compare a specification with a robot's file.

    by_name: whether entries are put in the model's order by their names before the simulator has them, so that places
    say nothing.

    Raises SpecError of every kind, ImportFormatError, RobotMirrorError, MissingPackageError.
    """
    spec = load_spec(specification)
    body = spec.skeleton
    # The mirror of the file, and whether the simulator agrees with it.
    opened = open_model(robot_file)
    standing = [read_robot(opened, name, qpos) for name, qpos in poses(opened)]
    entries = joints_of(standing[0], body)
    mirror, lateral = _mirror_of(standing, body, entries, wishes or RobotWishes())
    agreed = agreement(opened, mirror)
    # The mirror of the specification, in the same model and from the same states.
    given = _given_mirror(mirror, body, entries)
    outcome = rung(agreed.rungs[-1].label, agreed.model, given, agreed.states)
    unfelt = _unfelt(mirror, agreed, entries)
    notices = [*spec.notices, *doubts_of(spec), *opened.notices, *mirror.notices]
    wrong = _wrong_joints(mirror, body, entries)
    # Legs that lie in one another may be exchanged or not: the specification may have chosen otherwise, and be right.
    # All three have to say so, the steps, the places and the axes.
    if wrong and outcome.agrees and _is_mirror_too(mirror, body, entries):
        listed = "; ".join(map(str, wrong))
        notices.append(f"another mirror is as right by places, axes and steps: {listed}")
        wrong = []
    # What is observed, block by block.
    with quiet(simulator(robot_file)):
        scene = scene_of(agreed, mirror)
    observed = observation_of(spec, mirror, lambda other: joints_of(mirror.robot, other), scene, by_name)
    return RobotCheck(
        mirror,
        agreed,
        outcome,
        tuple(wrong),
        (*lateral, *observed.wrong),
        tuple(differences(mirror)),
        tuple(unfelt),
        observed.checked,
        observed.unchecked,
        tuple(notices),
        observed.by_name,
        tuple(_mirrored_as_no_joint(spec)),
    )


def _mirrored_as_no_joint(spec: ConversionSpec) -> Iterator[str]:
    """Blocks of a number for each joint that stay where they are, and actions without the signs that joints have.

    `{scalar: 12, name: last_action}` of a robot of 12 joints, or `{joints: action, kind: scalar}`.
    """
    for kind, entries in (("input", spec.inputs or ()), ("output", spec.outputs or ())):
        for number, entry in enumerate(entries):
            body = entry.override.skeleton or spec.skeleton
            for block in with_parts(entry.fields or ()):
                # An answer is an action, whatever it is called. An input has to be called one: other numbers of joints,
                # such as confidences, have no sign.
                is_action = kind == "output" or _ACTION.search(block.name) is not None
                if isinstance(block, Scalar) and block.is_one_for_each_joint(body):
                    yield f"{kind} {number}: {block.name} stays where it is, as many numbers as there are joints"
                elif isinstance(block, Joints) and block.is_plain and is_action:
                    if (body.sign_table() < 0).any():
                        yield f"{kind} {number}: {block.name} has no signs (kind: scalar), where the joints have"


# ---- the joints -----------------------------------------------------------------------------------------------
def joints_of(robot: Robot, body: Skeleton) -> list[Entry]:
    """The robot's numbers that the joints of a skeleton name: as joints, as actuators, or but for the word `joint`.

    One for each joint of the skeleton, in its order. Raises WrongValueError where joints have several coordinates or
    two of them are the same number of the robot, UnknownNameError where one is none of it.
    """
    if len(body.dims) != 1:
        facts = f"joints have {len(body.dims)} coordinates, a robot's have one each"
        raise WrongValueError(f"skeleton {body.name}", facts, "list every number as a joint, `dims: [q]`")
    entries = entries_of(robot, range(len(robot.joints)))
    exact = {entry.name: entry for entry in entries}
    by_joint = {entry.joint: entry for entry in reversed(entries)}  # of a ball its first number, which comes last here
    driven = {actuator.name: by_joint[actuator.joint] for actuator in robot.actuators if actuator.joint in by_joint}
    plain: dict[str, list[Entry]] = {}
    for entry in entries:
        plain.setdefault(_plain(entry.name), []).append(entry)
    chosen = []
    # From the surest to the least sure: the joint's name, that of its actuator, either without `joint` and separators,
    # and last the same words in another order.
    for name in body.joints:
        alike = plain.get(_plain(name), [])
        entry = exact.get(name) or driven.get(name) or (alike[0] if len(alike) == 1 else _by_words(name, entries))
        if entry is None:
            facts = f"the robot {robot.name} has no joint {name!r}"
            raise UnknownNameError(f"skeleton {body.name}", facts, did_you_mean(name, list(exact)))
        chosen.append(entry)
    twice = [entry.name for entry, count in Counter(chosen).items() if count > 1]
    if twice:
        facts = f"two of its joints are the robot's {twice[0]!r}"
        raise WrongValueError(f"skeleton {body.name}", facts, "name the joints as the robot's file does")
    return chosen


def _by_words(name: str, entries: Sequence[Entry]) -> Entry | None:
    """The number with the same words in another order; or without its side, where the other side has one.

    MuJoCo's walker has `thigh_joint` and `thigh_left_joint`, which are right_thigh and left_thigh.
    """
    words = _words(name)
    by_words = {_words(entry.name): entry for entry in entries}
    if len(by_words) < len(entries):
        return None  # two joints have the same words: words do not tell them apart
    if words in by_words:
        return by_words[words]
    for side, other in (("right", "left"), ("left", "right")):
        if side in words and words - {side} | {other} in by_words:
            return by_words.get(words - {side})
    return None


def _words(name: str) -> frozenset[str]:
    """The words and numbers of a name: `Left_Knee_joint2` has left, knee and 2."""
    return frozenset(re.findall(r"[a-z]+|[0-9]+", name.lower())) - {"joint"}


def _plain(name: str) -> str:
    """The name in small letters without separators and the word joint: `FL_hip_joint` is flhip."""
    return re.sub(r"[^a-z0-9]|joint", "", name.lower())


def _mirror_of(
    standing: Sequence[Robot], body: Skeleton, entries: Sequence[Entry], wishes: RobotWishes
) -> tuple[RobotMirror, tuple[WrongEntry, ...]]:
    """The mirror that the file has, along the lateral axis of the specification if there is one along it.

    Beside it what is wrong with the specification's axis. Raises RobotMirrorError where there is no mirror at all, or
    none along the axis that the user asks for.
    """
    names = standing[0].names
    # The specification's pairs decide between legs that lie in one another, and nowhere else: it may be wrong.
    hints = {names[entries[left].joint]: names[entries[right].joint] for left, right in body.pairs}
    for index in body.center:
        hints[names[entries[index].joint]] = names[entries[index].joint]
    lateral = wishes.lateral or body.lateral
    try:
        return derive(standing, lateral, wishes.partners, hints), ()
    except RobotMirrorError:
        if wishes.lateral is not None or lateral is None:
            raise
    mirror = derive(standing, None, wishes.partners, hints)
    wrong = WrongEntry(f"skeleton {body.name}", 0, "lateral", f"it is {mirror.lateral}, not {lateral}")
    return mirror, (wrong,)


@dataclass(frozen=True, eq=False)
class _Given:
    """T as a specification says it: of the joints that it names; all else is as in the file."""

    qpos: SignedPermutation
    qvel: SignedPermutation
    ctrl: SignedPermutation
    qpos_shift: Array
    ctrl_shift: Array

    def act_qpos(self, qpos: Array) -> Array:
        """T on positions."""
        return self.qpos.act(qpos, -1) + self.qpos_shift

    def act_ctrl(self, ctrl: Array) -> Array:
        """T on controls."""
        return self.ctrl.act(ctrl, -1) + self.ctrl_shift


def _given_mirror(mirror: RobotMirror, body: Skeleton, entries: Sequence[Entry]) -> _Given:
    """T with the partners and the signs of a skeleton in place of the robot's.

    entries: of the robot, one for each joint of the skeleton.
    """
    images = {number: (body.partner(number), int(body.sign_table()[number, 0])) for number in range(len(entries))}
    return with_images(mirror, entries, images)


def with_images(mirror: RobotMirror, entries: Sequence[Entry], images: Mapping[int, tuple[int, int]]) -> _Given:
    """T in which some entries, by number, go to others with a sign.

    images: number of an entry to (number of its image, sign).  What it does not list is as in `mirror`.
    """
    robot = mirror.robot
    qpos = np.array([mirror.qpos.partner, mirror.qpos.sign])
    qvel = np.array([mirror.qvel.partner, mirror.qvel.sign])
    ctrl = np.array([mirror.ctrl.partner, mirror.ctrl.sign])
    qpos_shift, ctrl_shift = mirror.qpos_shift.copy(), mirror.ctrl_shift.copy()
    # Row 0 of a table "2 entry" has partners, row 1 signs; what no image is given for keeps the file's.
    for number, (image, sign) in images.items():
        joint, other = robot.joints[entries[number].joint], robot.joints[entries[image].joint]
        first, second = position_of(joint, entries[number]), position_of(other, entries[image])
        qpos[:, first] = second, sign
        qvel[:, joint.velocity + entries[number].component] = other.velocity + entries[image].component, sign
        # Also with another partner or sign the reference pose is its own image: q0 = sign q0_image + shift.
        if joint.kind != BALL:
            qpos_shift[first] = robot.qpos[first] - sign * robot.qpos[second]
        else:
            qpos_shift[first] = 0.0
        # As in the file: its shift may hold more (things that slide), and its controls are right already.
        if sign == mirror.qpos.sign[first] and second == mirror.qpos.partner[first]:
            qpos_shift[first] = mirror.qpos_shift[first]
            continue
        # The actuators follow their joints, with the sign of the joint unless one of two gears is negative.
        # `ctrl` has an entry an actuator, and a joint may have none or several.
        drivers, theirs = _drivers(robot, entries[number].joint), _drivers(robot, entries[image].joint)
        for mine, his in zip(drivers, theirs, strict=False):
            gears = robot.actuators[mine].gear[0] * robot.actuators[his].gear[0]
            ctrl[:, mine] = his, sign * (1 if gears >= 0 else -1)
            # The control of a servo is gear times the joint's position, and is shifted with it.
            if robot.actuators[mine].is_servo:
                ctrl_shift[mine] = robot.actuators[mine].gear[0] * qpos_shift[first]
            else:
                ctrl_shift[mine] = 0.0
    return _Given(_involution(qpos), _involution(qvel), _involution(ctrl), qpos_shift, ctrl_shift)


def _drivers(robot: Robot, joint: int) -> list[int]:
    """The actuators that drive a joint, by their indices, in their order."""
    return [index for index, actuator in enumerate(robot.actuators) if actuator.joint == joint]


def _involution(table: npt.NDArray[np.int64]) -> SignedPermutation:
    """The signed permutation of a table "2 entry" of partners and signs.

    Joints whose partner has another partner stay alone: of 0 -> 1, 1 -> 2, 2 -> 1 the first keeps its place. A sign
    that partners do not share becomes 1.
    """
    partner, sign = table
    stays = partner[partner] != np.arange(len(partner))
    partner = np.where(stays, np.arange(len(partner)), partner)
    return SignedPermutation(partner, np.where(sign[partner] != sign, 1, sign))


def _wrong_joints(mirror: RobotMirror, body: Skeleton, entries: Sequence[Entry]) -> list[WrongJoint]:
    """The joints whose partner or sign differ from the file's.

    A partner that the skeleton does not have is called by its name in the file.
    """
    names = {(entry.joint, entry.component): name for entry, name in zip(entries, body.joints, strict=True)}
    wrong = []
    for number, entry in enumerate(entries):
        partner, sign = image_of(mirror, entry)
        right = names.get(partner, mirror.robot.names[partner[0]])
        said, said_sign = body.joints[body.partner(number)], int(body.sign_table()[number, 0])
        if (said, said_sign) != (right, sign):
            wrong.append(WrongJoint(body.joints[number], said, said_sign, right, sign))
    return wrong


def _is_mirror_too(mirror: RobotMirror, body: Skeleton, entries: Sequence[Entry]) -> bool:
    """Whether places and axes also allow the mirror of a skeleton, as for legs at the same place, exchanged or not.

    Steps of the simulator are not enough: each of two arms on a table is its own image about a plane of its own.
    """
    robot, reflection = mirror.robot, mirror.reflection
    for number, entry in enumerate(entries):
        other = entries[body.partner(number)]
        first, second = robot.joints[entry.joint], robot.joints[other.joint]
        far = joint_distance(robot, reflection, entry.joint, other.joint)
        if first.kind == BALL or far > FARTHEST * robot.size:
            return False
        if sign_of(reflection, first, second) != int(body.sign_table()[number, 0]):
            return False
    return True


def _unfelt(mirror: RobotMirror, agreed: Agreement, entries: Sequence[Entry]) -> list[str]:
    """Joints whose sign could be wrong without any effect in the simulator. Found by turning each sign round."""
    if not agreed.agrees:
        return []
    # A sign that the simulator does not feel is not confirmed by its agreement, so the user is told which.
    unfelt, position = [], {(entry.joint, entry.component): number for number, entry in enumerate(entries)}
    for number, entry in enumerate(entries):
        partner, sign = image_of(mirror, entry)
        image = position.get(partner)
        if image is None or image < number:
            continue  # no joint of the skeleton, or a pair that was looked at from its other member
        # Both members of a pair have the same sign, so both are turned round.
        planted = with_images(mirror, entries, {number: (image, -sign), image: (number, -sign)})
        if deviations(agreed.model, planted, agreed.states[:_PLANTED_STARTS]).max() < _FELT:
            unfelt += [entries[index].name for index in dict.fromkeys((number, image))]
    return unfelt
