"""The records that reports hold beside verdicts: what a result costs, what was changed, how far it is off, single rows.

A command fills them and puts them into its report (`records`). They say nothing in words; what is said of them is made
in the parts of documents and in the warnings.

    verify   Circumstances, Claims, JointGap                 convert  Way, Cost (CallTime), Changes, Nearness, Claims
    plan     PlanRow, Cost                                   bench    BenchRow, RolloutRow, Conditions, Cost
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from chiralize.graph.model import Where
from chiralize.graph.rewrite import Moved
from chiralize.infer.records import Choice
from chiralize.problem.result import Fitted
from chiralize.verification.verdicts import Drift


@dataclass(frozen=True)
class CallTime:
    """A call of some samples, on this machine. before: the median, in seconds.  ratio: of interleaved runs."""

    samples: int
    before: float
    ratio: float
    threads: int

    @property
    def after(self) -> float:
        """The time before times the ratio: medians of each by itself may disagree with that of calls in turns."""
        return self.before * self.ratio


@dataclass(frozen=True)
class Cost:
    """Numbers in the parameters, and multiply-accumulates, before and after.

    unit: what the multiply-accumulates are of: a call with the examples, or one sample where the examples of two files
    differ in size.  samples: in a call with the examples.  times: of calls of some sizes, where they were measured.
    """

    parameters_before: int
    parameters_after: int
    macs_before: int = 0
    macs_after: int = 0
    unit: Literal["call", "sample"] = "call"
    samples: int = 1
    times: tuple[CallTime, ...] = ()


MOVED = 0.5
"""Share of its spread from which an output that nothing is claimed of is not what the original answers."""


@dataclass(frozen=True)
class LeftOut:
    """Entries of an output of which nothing is claimed.

    error: how far they are from the original's, relative to its spread there; None where nobody compared.
    """

    name: str
    size: int
    error: float | None = None


@dataclass(frozen=True)
class Claims:
    """What a report is about, where entries of outputs are left out. words: `12 of 19 outputs`."""

    words: str
    left_out: tuple[LeftOut, ...]

    @property
    def names(self) -> str:
        """`arm (7)`: what is left out, with sizes."""
        return ", ".join(f"{part.name} ({part.size})" for part in self.left_out)

    @property
    def moved(self) -> tuple[LeftOut, ...]:
        """Those whose answers are others than the original's, as a latent code in another basis is."""
        return tuple(part for part in self.left_out if (part.error or 0.0) > MOVED)


@dataclass(frozen=True)
class JointGap:
    """How far the answers for one joint of an output are from the mirror image of those to mirrored inputs.

    gap: RMS(f(x) - T f(T x)) over the joint's entries, in units of the spread of the whole output.
    """

    output: int
    name: str
    gap: float


@dataclass(frozen=True)
class Circumstances:
    """What has to be known of a network to understand the verdicts on it.

    given: samples of the user's that it was run on, beside random ones.
    constant: a sentence where no answer depends on the inputs, so that the numeric verdict shows nothing; else "".
    remedy: what to do where it is not equivariant, where that is not to convert it.
    """

    given: int = 0
    constant: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Way:
    """How a result answers. views: of an input, that an average runs.

    why_average: a clause on what kept `auto` from one pass.
    """

    method: str
    form: str
    views: int = 2
    why_average: str = ""

    @property
    def unchanged(self) -> bool:
        """Whether the network was equivariant already and is written back as it was."""
        return self.form == "original"

    @property
    def is_average(self) -> bool:
        """Whether both views run through the whole of the original."""
        return self.form == "two-view"


@dataclass(frozen=True)
class Changes:
    """What became of hidden spaces and weights.

    fitted: by least squares.  states: stored states that were moved onto the symmetric subspace.
    """

    choices: tuple[Choice, ...] = ()
    moved: tuple[Moved, ...] = ()
    fitted: tuple[Fitted, ...] = ()
    states: tuple[Moved, ...] = ()

    @property
    def names(self) -> list[str]:
        """The weights and states that are others than the original's."""
        return [entry.name for entry in (*self.moved, *self.states) if entry.distance > 0]


@dataclass(frozen=True)
class Nearness:
    """How far a result is from the original's flip average, and the bounds that were in force, None without one.

    max_drift: on rho.  max_shift: on how far a joint moves, in the unit of its output.
    """

    drift: Drift | None = None
    max_drift: float | None = None
    max_shift: float | None = None

    @property
    def is_near(self) -> bool:
        """Whether it is within the bounds."""
        if self.drift is None:  # nothing was measured: no figure is beyond a bound
            return True
        pairs = ((self.drift.rho, self.max_drift), (self.drift.shift, self.max_shift))
        return all(bound is None or figure <= bound for figure, bound in pairs)


@dataclass(frozen=True)
class PlanRow:
    """One op: how its tensors transform and what a conversion would do with it.

    before, after: representations of inputs and outputs in words.  action: convert, keep, refuse, ...
    distance: relative distance of its weights from the nearest equivariant ones, None without weights.
    """

    module: str
    op: str
    before: str
    after: str
    action: str
    distance: float | None = None
    where: Where = Where()


@dataclass(frozen=True)
class BenchRow:
    """One network at one batch size.

    seconds: median of a call.  ratio: median of its time to the original's in the same round; low, high: quartiles.
    to_average: the ratio to the flip average's, None where that is not timed.  to_fair: to that of the original with
    the speed-ups that do not come from symmetry (`--fair`), None where that is not timed.
    """

    batch: int
    name: str
    seconds: float
    ratio: float
    low: float
    high: float
    to_average: float | None = None
    to_fair: float | None = None


@dataclass(frozen=True)
class RolloutRow:
    """One network along a sequence, step by step.

    seconds, slow: of a step, the median and what one in a hundred exceeds.  residual: the largest difference between
    answers on the mirrored sequence and mirrored answers, in units of the largest answer; last: that of the last step.
    to_average: the largest difference to the flip average's answers, in the same unit; None where it is not asked.
    """

    name: str
    seconds: float
    slow: float
    residual: float
    last: float
    to_average: float | None = None


@dataclass(frozen=True)
class Conditions:
    """What times depend on beside the networks, and how they were taken.

    machine: the processor by its name, and how many there are.  compiled: by torch.compile.
    clock: "processor" where the processor's time was measured, which other processes do not disturb, or "wall".
    runtime: what ran the networks, with its version.
    """

    threads: int
    device: str = "cpu"
    compiled: bool = False
    machine: str = ""
    torch: str = ""
    clock: str = "wall"
    runtime: str = ""
