"""Whether an original leans to one side, which no flip average takes out without changing what the network does.

The two views f(x) and T f(T x) of a network that learned from noisy samples differ by noise, whose mean over many
inputs is nearly 0: an average takes it out, and errs less. Where a network answers the two sides by habits of its own,
a part of the difference is the same for all inputs. That part is the lean; the gap does not tell the two apart.

Measured (docs/decisions/0049-one-sided-networks.md): 0.085 at most, and for any joint 0.19, where the average is as
good as the original or better, gaps of up to 0.85 among them; from 0.17 and 0.28 on where it is worse.

Example: differences f(x) - T f(T x) of 0.4, -0.4, 0.4, -0.4 have a gap of 0.4 and no lean. Differences of 0.4
throughout have the same gap, and a lean of 0.4. Reports warn of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from chiralize.verification.asymmetry.advice import ASYMMETRIC, UNEVEN
from chiralize.verification.asymmetry.lean import LEANING, LEANING_JOINT
from chiralize.verification.verdicts import Drift, OutputDrift


@dataclass(frozen=True)
class Lean:
    """The output, or the joint of one, that leans most. lean: in units of the spread of the output."""

    where: str
    lean: float


def lean_of(drift: Drift) -> Lean | None:
    """Where an original leans by more than those do that know both sides; None where it does not, or nobody can tell.

    The whole output is named before a joint of it.
    """
    if not drift.is_telling:
        return None
    if drift.lean > LEANING:
        worst = max(drift.outputs, key=lambda output: output.lean)
        return Lean(f"output {worst.index}", drift.lean)
    joints = list[Lean]()
    for output in drift.outputs:
        joints += [Lean(f"{joint.name} of output {output.index}", joint.lean) for joint in output.joints]
    worst_joint = max(joints, key=lambda joint: joint.lean, default=None)
    if worst_joint is not None and worst_joint.lean > LEANING_JOINT:
        return worst_joint
    return None


def is_noise(drift: Drift) -> bool:
    """Whether the two views of the original differ by noise, as far as can be told: then their average errs less.

    False for a small gap, which needs no explanation, for a very wide one, and along sequences, where noise grows.
    """
    if drift.stateful or not drift.is_telling or lean_of(drift) is not None:
        return False
    return UNEVEN < drift.gap <= ASYMMETRIC and not any(map(_is_unlike, drift.outputs))


def _is_unlike(output: OutputDrift) -> bool:
    """Whether answers spread unlike on both views by more than chance explains, of an output with a wide gap."""
    return output.unlike and output.gap > UNEVEN
