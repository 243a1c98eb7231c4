"""What a comparison of a specification with a robot's file brought to light, and how it is said to people and programs.

`checking` fills the record; the command line prints `lines`, or `to_dict` as JSON.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from chiralize.body.robots.agreement import Agreement, Rung
from chiralize.body.robots.asymmetry import Difference, summary
from chiralize.body.robots.mirroring import RobotMirror
from chiralize.body.robots.observation import WrongEntry

_WORDS = {1: "kept", -1: "negated"}


@dataclass(frozen=True)
class WrongJoint:
    """A joint of which the specification says another partner or sign than the robot has.

    partner, sign: as the specification says.  right_partner, right_sign: as the file says; the joint itself where it
    has no partner.
    """

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

    robot: the mirror of the file.  differences: what is asymmetric in the model.  of_joints: numbers of joints that are
    mirrored as no joint is.  notices: for the user to see.
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
        """Whether nothing is wrong where every entry is what its name says, wherever it stands."""
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
        """AGREES, DISAGREES or UNDECIDED with the reason, and how many blocks could not be checked."""
        # A specification that is wrong already needs no word about what else might be.
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
        """The verdict on what was checked; the cases that leave it open come first."""
        # The joints are right, yet the simulator refutes even the mirror of the file: nothing is proved either way.
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
    """A line of the table of deviations, with its columns."""
    return f"  {label:46}{step.one:10.1e}{step.many:10.1e}"
