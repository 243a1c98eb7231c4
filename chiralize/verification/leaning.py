"""Whether an original leans to one side, which no flip average takes out without changing what the network does.

The two views f(x) and T f(T x) of a network that learned from noisy samples differ by noise, whose mean over many
inputs is nearly 0: an average takes it out, and errs less. Where a network answers the two sides by habits of its own,
a part of the difference is the same for all inputs. That part is the lean; the gap does not tell the two apart.

Measured (docs/decisions/0049-one-sided-networks.md): 0.085 at most, and for any joint 0.19, where the average is as
good as the original or better, gaps of up to 0.85 among them; from 0.17 and 0.28 on where it is worse. Of an output of
hundreds of numbers one entry leans so far by itself, and has to carry weight to count (`LEANING_OF_FEW`).
Scores of classes are judged as probabilities, and by the decisions that change (`asymmetry.decisions`).

Example: differences f(x) - T f(T x) of 0.4, -0.4, 0.4, -0.4 have a gap of 0.4 and no lean. Differences of 0.4
throughout have the same gap, and a lean of 0.4. Reports warn of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from chiralize.verification.asymmetry.advice import ASYMMETRIC, UNEVEN
from chiralize.verification.asymmetry.lean import LEANING, LEANING_JOINT, LEANING_OF_FEW
from chiralize.verification.verdicts import Drift, OutputDrift


@dataclass(frozen=True)
class Lean:
    """The output, or the joint of one, that leans most. lean: in units of the spread of the output.

    whole: of the output that a joint belongs to; None where the whole output leans.
    """

    where: str
    lean: float
    whole: float | None = None


def lean_of(drift: Drift) -> Lean | None:
    """Where an original leans by more than those do that know both sides; None where it does not, or nobody can tell.

    The whole output is named before a joint of it.
    """
    if not drift.is_telling:
        return None
    if drift.lean > LEANING:
        worst = max(drift.outputs, key=lambda output: output.of_sides.lean)
        return Lean(f"output {worst.index}", drift.lean)
    heavy = [lean for lean, weight in _leaning_joints(drift) if weight >= LEANING_OF_FEW]
    return max(heavy, key=lambda joint: joint.lean, default=None)


def light_lean(drift: Drift) -> Lean | None:
    """The joint that leans most of those with too small a share of their output to say anything of the original.

    None where there is none, and where the original leans in more than that.
    """
    if not drift.is_telling or lean_of(drift) is not None:
        return None
    return max((lean for lean, _ in _leaning_joints(drift)), key=lambda joint: joint.lean, default=None)


def _leaning_joints(drift: Drift) -> list[tuple[Lean, float]]:
    """The joints that lean, each with what it adds to the lean of its output."""
    joints = list[tuple[Lean, float]]()
    for output in drift.outputs:
        if output.scores is not None:  # the scores of one class may be any distance apart
            continue
        for joint in output.joints:
            if joint.lean > LEANING_JOINT:
                where = f"{joint.name} of output {output.index}"
                joints.append((Lean(where, joint.lean, output.lean), joint.lean * sqrt(joint.share)))
    return joints


def is_noise(drift: Drift) -> bool:
    """Whether the two views of the original differ by noise, as far as can be told: then their average errs less.

    False for a small gap, which needs no explanation, for a very wide one, and along sequences, where noise grows.
    """
    if drift.stateful or not drift.is_telling or lean_of(drift) is not None:
        return False
    return UNEVEN < drift.unsettled_gap <= ASYMMETRIC and not any(map(_is_unlike, drift.outputs))


def _is_unlike(output: OutputDrift) -> bool:
    """Whether answers spread unlike on both views by more than chance explains, of an output with a wide gap."""
    return output.of_sides.unlike and output.of_sides.gap > UNEVEN
