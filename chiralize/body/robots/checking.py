"""A specification against a robot's file: which joint's partner or sign, which entry of an observation is wrong.

Three kinds of evidence: the places and axes in the file; the simulator, which steps states and their images; and the
observation, computed from a state and from its image.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from chiralize.body.robots.agreement import EXACT, Agreement, Rung, agreement, rung
from chiralize.body.robots.asymmetry import Difference, differences, summary
from chiralize.body.robots.deriving import derive
from chiralize.body.robots.describing import Entry, RobotWishes, entries_of, image_of
from chiralize.body.robots.matching import FARTHEST, joint_distance
from chiralize.body.robots.mirroring import RobotMirror, sign_of
from chiralize.body.robots.observation import WrongEntry, observation_of
from chiralize.body.robots.observing import position_of
from chiralize.body.robots.opening import open_model
from chiralize.body.robots.reading import poses, read_robot
from chiralize.body.robots.robot import BALL, Array, Robot
from chiralize.body.robots.sensing import scene_of
from chiralize.body.robots.stepping import deviations
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
_ACTION = re.compile("action|target|command|torque", re.IGNORECASE)
_WORDS = {1: "kept", -1: "negated"}


@dataclass(frozen=True)
class WrongJoint:
    """A joint of which the specification says another partner or sign than the robot has."""

    joint: str
    partner: str
    sign: int
    right_partner: str
    right_sign: int

    def __str__(self) -> str:
        """`left_hip: its partner is right_hip, not left_hip; it is negated, not kept`."""
        parts = []
        if self.partner != self.right_partner:
            right = "none" if self.right_partner == self.joint else self.right_partner
            parts.append(f"its partner is {right}, not {'none' if self.partner == self.joint else self.partner}")
        if self.sign != self.right_sign:
            parts.append(f"it is {_WORDS[self.right_sign]} ({self.right_sign}), not {_WORDS[self.sign]} ({self.sign})")
        return f"{self.joint}: {'; '.join(parts)}"


@dataclass(frozen=True, eq=False)
class RobotCheck:
    """What came out.

    agreed: the simulator with the mirror that the file says.  given: with the one that the specification says, under
    the last of these conditions.  joints, entries: what is wrong.  unfelt: joints whose sign makes no difference to
    the simulator.  checked, unchecked: blocks of the observation.  by_name: blocks that are right by the names of their
    entries, and wrong where the simulator takes them one after the other.
    """

    robot: RobotMirror
    agreed: Agreement
    given: Rung
    joints: tuple[WrongJoint, ...]
    entries: tuple[WrongEntry, ...]
    differences: tuple[Difference, ...]
    unfelt: tuple[str, ...] = ()
    checked: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()
    notices: tuple[str, ...] = field(default=())
    by_name: tuple[str, ...] = ()
    of_joints: tuple[str, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether the simulator agrees with the specification, no entry of the observation is wrong, and none is likely
        to be.
        """
        return self._agrees_by_name and not self.by_name and not self.of_joints

    @property
    def _agrees_by_name(self) -> bool:
        return self.given.agrees and not self.joints and not self.entries

    def to_dict(self) -> dict[str, object]:
        """The check as JSON values."""
        return {
            "agrees": self.agrees,
            "lateral": self.robot.lateral,
            "simulator_with_the_mirror_of_the_file": [step.to_dict() for step in self.agreed.rungs],
            "simulator_with_the_specification": self.given.to_dict(),
            "wrong_joints": [vars(wrong) for wrong in self.joints],
            "wrong_entries": [vars(wrong) for wrong in self.entries],
            "asymmetric": [difference.to_dict() for difference in self.differences],
            "signs_not_felt": list(self.unfelt),
            "right_by_name_only": list(self.by_name),
            "mirrored_as_no_joint_is": list(self.of_joints),
            "checked": list(self.checked),
            "unchecked": list(self.unchecked),
            "notices": list(self.notices),
        }

    def lines(self) -> list[str]:
        """The check for people."""
        lines = [f"{self.robot.robot.name}: lateral axis {self.robot.lateral}", "", "largest deviation of T of a step"]
        lines.append(f"  {'':46}{'1 step':>10}{'20 steps':>10}")
        lines += [_row(f"mirror of the file, {step.label}", step) for step in self.agreed.rungs]
        lines.append(_row(f"specification, {self.agreed.rungs[-1].label}", self.given))
        for title, items in (
            ("wrong joints", self.joints),
            ("wrong entries", self.entries),
            ("asymmetric in the model", summary(self.differences)),
            ("signs that the simulator does not feel", self.unfelt),
            ("right by name, wrong in these places", self.by_name),
            ("numbers of joints that are mirrored as no joint is", self.of_joints),
            ("checked against the state", self.checked),
            ("not checked", self.unchecked),
        ):
            if items:
                lines += ["", title, *(f"  {item}" for item in items)]
        return [*lines, "", self.verdict]

    @property
    def verdict(self) -> str:
        """One sentence."""
        if not self.agrees or not self.unchecked:
            return self._of_what_was_checked
        count, of_all = len(self.unchecked), len(self.unchecked) + len(self.checked)
        return (
            f"{self._of_what_was_checked}. Of {of_all} blocks {count} could not be checked and may be wrong; "
            "commands and clocks are in no robot's file, so look at them yourself; others can be checked where their "
            "names say what they hold, and where the file has it: another file of this robot may (a free base, motors)"
        )

    @property
    def _of_what_was_checked(self) -> str:
        if not self.agrees and not self.agreed.agrees and not self.joints:
            return (
                "UNDECIDED: the joints are as in the file, but the simulator disagrees with that mirror, too: "
                "the model is asymmetric in what is not read (tendons, ties, actuators without a joint)"
            )
        if self._agrees_by_name and self.by_name:
            return (
                "UNDECIDED: the specification is the mirror of this robot where its entries are put in the model's "
                "order by their names (--by-name says so); taken one after the other, they are not mirrored rightly"
            )
        if self._agrees_by_name and self.of_joints:
            return (
                "UNDECIDED: some numbers of joints are mirrored otherwise than joints are, and no state holds them: "
                "write {joints: NAME}"
            )
        if not self.agrees:
            return "DISAGREES: the specification is not the mirror of this robot"
        if self.agreed.is_exact:
            return "AGREES: T of a step is the step of T"
        if not self.differences:
            return (
                "AGREES, but for contacts or ties: nothing that is read is asymmetric, and yet with them the "
                "simulator's step is not its own mirror image"
            )
        return (
            "AGREES, once what is asymmetric in the model is made equal; the robot itself is not its own mirror image"
        )


def _row(label: str, step: Rung) -> str:
    return f"  {label:46}{step.one:10.1e}{step.many:10.1e}"


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
    opened = open_model(robot_file)
    standing = [read_robot(opened, name, qpos) for name, qpos in poses(opened)]
    entries = joints_of(standing[0], body)
    mirror, lateral = _mirror_of(standing, body, entries, wishes or RobotWishes())
    agreed = agreement(opened, mirror)
    given = _given_mirror(mirror, body, entries)
    outcome = rung(agreed.rungs[-1].label, agreed.model, given, agreed.states)
    unfelt = _unfelt(mirror, agreed, entries)
    notices = [*spec.notices, *doubts_of(spec), *opened.notices, *mirror.notices]
    wrong = _wrong_joints(mirror, body, entries)
    if wrong and outcome.agrees and _is_mirror_too(mirror, body, entries):
        listed = "; ".join(map(str, wrong))
        notices.append(f"another mirror is as right by places, axes and steps: {listed}")
        wrong = []
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
    """Blocks of a number for each joint that stay where they are, and actions without the signs that joints have."""
    for kind, entries in (("input", spec.inputs or ()), ("output", spec.outputs or ())):
        for number, entry in enumerate(entries):
            body = entry.override.skeleton or spec.skeleton
            is_action = _ACTION.search if kind == "input" else str
            for block in with_parts(entry.fields or ()):
                if isinstance(block, Scalar) and block.is_one_for_each_joint(body):
                    yield f"{kind} {number}: {block.name} stays where it is, as many numbers as there are joints"
                elif isinstance(block, Joints) and block.is_plain and is_action(block.name):
                    if (body.sign_table() < 0).any():
                        yield f"{kind} {number}: {block.name} has no signs (kind: scalar), where the joints have"


# ---- the joints -----------------------------------------------------------------------------------------------
def joints_of(robot: Robot, body: Skeleton) -> list[Entry]:
    """The robot's numbers that the joints of a skeleton name: as joints, as actuators, or but for the word `joint`.

    Raises WrongValueError where joints have several coordinates, UnknownNameError.
    """
    if len(body.dims) != 1:
        facts = f"joints have {len(body.dims)} coordinates, a robot's have one each"
        raise WrongValueError(f"skeleton {body.name}", facts, "list every number as a joint, `dims: [q]`")
    entries = entries_of(robot, range(len(robot.joints)))
    exact = {entry.name: entry for entry in entries}
    by_joint = {entry.joint: entry for entry in reversed(entries)}
    driven = {actuator.name: by_joint[actuator.joint] for actuator in robot.actuators if actuator.joint in by_joint}
    plain: dict[str, list[Entry]] = {}
    for entry in entries:
        plain.setdefault(_plain(entry.name), []).append(entry)
    chosen = []
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
        return None
    if words in by_words:
        return by_words[words]
    for side, other in (("right", "left"), ("left", "right")):
        if side in words and words - {side} | {other} in by_words:
            return by_words.get(words - {side})
    return None


def _words(name: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z]+|[0-9]+", name.lower())) - {"joint"}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]|joint", "", name.lower())


def _mirror_of(
    standing: Sequence[Robot], body: Skeleton, entries: Sequence[Entry], wishes: RobotWishes
) -> tuple[RobotMirror, tuple[WrongEntry, ...]]:
    """The mirror that the file has, along the lateral axis of the specification if there is one along it."""
    names = standing[0].names
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
    """T with the partners and the signs of a skeleton in place of the robot's."""
    images = {number: (body.partner(number), int(body.sign_table()[number, 0])) for number in range(len(entries))}
    return with_images(mirror, entries, images)


def with_images(mirror: RobotMirror, entries: Sequence[Entry], images: Mapping[int, tuple[int, int]]) -> _Given:
    """T in which some entries, by number, go to others with a sign."""
    robot = mirror.robot
    qpos = np.array([mirror.qpos.partner, mirror.qpos.sign])
    qvel = np.array([mirror.qvel.partner, mirror.qvel.sign])
    ctrl = np.array([mirror.ctrl.partner, mirror.ctrl.sign])
    qpos_shift, ctrl_shift = mirror.qpos_shift.copy(), mirror.ctrl_shift.copy()
    for number, (image, sign) in images.items():
        joint, other = robot.joints[entries[number].joint], robot.joints[entries[image].joint]
        first, second = position_of(joint, entries[number]), position_of(other, entries[image])
        qpos[:, first] = second, sign
        qvel[:, joint.velocity + entries[number].component] = other.velocity + entries[image].component, sign
        if joint.kind != BALL:
            qpos_shift[first] = robot.qpos[first] - sign * robot.qpos[second]
        else:
            qpos_shift[first] = 0.0
        if sign == mirror.qpos.sign[first] and second == mirror.qpos.partner[first]:
            qpos_shift[first] = mirror.qpos_shift[first]
            continue
        drivers = [index for index, actuator in enumerate(robot.actuators) if actuator.joint == entries[number].joint]
        theirs = [index for index, actuator in enumerate(robot.actuators) if actuator.joint == entries[image].joint]
        for mine, his in zip(drivers, theirs, strict=False):
            gears = robot.actuators[mine].gear[0] * robot.actuators[his].gear[0]
            ctrl[:, mine] = his, sign * (1 if gears >= 0 else -1)
            servo = robot.actuators[mine].is_servo
            if servo:
                ctrl_shift[mine] = robot.actuators[mine].gear[0] * qpos_shift[first]
            else:
                ctrl_shift[mine] = 0.0
    return _Given(_involution(qpos), _involution(qvel), _involution(ctrl), qpos_shift, ctrl_shift)


def _involution(table: npt.NDArray[np.int64]) -> SignedPermutation:
    """The signed permutation of a table of partners and signs. Joints whose partner has another partner stay alone."""
    partner, sign = table
    stays = partner[partner] != np.arange(len(partner))
    partner = np.where(stays, np.arange(len(partner)), partner)
    return SignedPermutation(partner, np.where(sign[partner] != sign, 1, sign))


def _wrong_joints(mirror: RobotMirror, body: Skeleton, entries: Sequence[Entry]) -> list[WrongJoint]:
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
    unfelt, position = [], {(entry.joint, entry.component): number for number, entry in enumerate(entries)}
    for number, entry in enumerate(entries):
        partner, sign = image_of(mirror, entry)
        image = position.get(partner)
        if image is None or image < number:
            continue
        planted = with_images(mirror, entries, {number: (image, -sign), image: (number, -sign)})
        if deviations(agreed.model, planted, agreed.states[:_PLANTED_STARTS]).max() < _FELT:
            unfelt += [entries[index].name for index in dict.fromkeys((number, image))]
    return unfelt
