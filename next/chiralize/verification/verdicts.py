"""What is asked of a network, and what was found: the records of the verdicts and of the figures. Nothing is run here.

    Trial                                what to run: how many random inputs, the user's inputs, a bound
    NumericVerdict, OutputResidual       made by `numeric`: F(T x) beside T F(x)
    CertificateVerdict                   made by `certificate` and `average`: the proof
    Verdict                              made by `judge`: both of them, and one `Standing` that follows
    Gap, Measured, Horizon, Degeneracy   made by `measure`: how far a result is from the original

A network that passes on its numbers while a rule is missing has a standing of its own:

    verdict = judge(network)
    verdict.standing    Standing.UNPROVED: equivariant on 8 runs; not proved: no rule for aten.grid_sampler
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import TYPE_CHECKING, Literal

from chiralize.errors import ChiralizeError, Finding
from chiralize.errors.words import when
from chiralize.graph.model import Where
from chiralize.graph.run import Call

if TYPE_CHECKING:
    from chiralize.infer.records import RepMap
    from chiralize.problem.mirror import NetworkMirror

UNSEEN = (
    "not part of the proof: branches that Python takes by strides, memory format, requires_grad, or anything else that "
    "no graph holds"
)
FLOOR = 0.01
"""The least half gap, in spreads of the output, that rho is counted in: below it a network is symmetric already."""
MATTERS = 0.01
"""An odd share above which an output tells left from right: of less than 1 % nothing needs to be left."""
COLLAPSED = 0.1
"""An output has lost its sides where less than this part of its odd share is left."""


# ---- what to run ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Trial:
    """What a network is run on to see whether F(T x) = T F(x).

    samples: random calls, N(0, 1) in the shapes of the examples, or about the centre of T; None for 8, and fewer of a
    costly network.  real: calls of the user, of which 8 are run.  tolerance: a bound relative to the scale of an
    output, in place of that of rounding.  batches: other sizes of the first axis, where it counts samples.  seed: of
    the random calls.  original: what the network that this one was made from rounds away, by output, which widens the
    bounds in the network's own precision (`precision.rounding`).
    """

    samples: int | None = None
    real: Sequence[Call] = ()
    tolerance: float | None = None
    batches: Sequence[int] = (1, 2, 5)
    seed: int = 0
    original: Mapping[int, float] | None = None


# ---- what was found by running it ----------------------------------------------------------------------------------
@dataclass(frozen=True)
class OutputResidual:
    """How far one output is from equivariance: max |F(Tx) - T F(x)| against its bound.

    index: position among the tensors of the results; beyond them, states; below zero, results that are no tensors.
    scale: max |F(x)|.  worst: label of the entry where it is largest.  name: `output 0`, `state hidden`, ...
    finite: whether F(x) is, on all inputs; if not, nothing is known of this output.
    """

    index: int
    residual: float
    scale: float
    bound: float
    worst: str
    name: str = ""
    finite: bool = True

    @property
    def title(self) -> str:
        """The name of the output for people."""
        return self.name or f"output {self.index}"

    @property
    def passed(self) -> bool:
        """Whether the residual is within the bound."""
        return self.residual <= self.bound


@dataclass(frozen=True, repr=False)
class NumericVerdict:
    """The verdict of running the network on x and on T x.

    dtype: the precision it was judged in.  samples: calls.  batches: batch sizes tried.  sizes: other sizes of open
    axes that were tried, by the axis's name.  beyond: those of all of them where it fails, though it holds at the
    examples' sizes.
    """

    outputs: tuple[OutputResidual, ...]
    dtype: str
    samples: int
    batches: tuple[int, ...] = ()
    findings: tuple[Finding, ...] = ()
    sizes: tuple[tuple[str, int], ...] = ()
    beyond: tuple[tuple[str, int], ...] = ()

    @property
    def tried(self) -> dict[str, tuple[int, ...]]:
        """Every size that was tried, by the name of its axis."""
        sizes: dict[str, set[int]] = {"batch": set(self.batches)} if self.batches else {}
        for axis, size in self.sizes:
            sizes.setdefault(axis, set()).add(size)
        return {axis: tuple(sorted(tried)) for axis, tried in sizes.items()}

    @property
    def passed(self) -> bool:
        """Whether there is an output, and every one is within its bound."""
        return bool(self.outputs) and all(output.passed for output in self.outputs)

    @property
    def worst(self) -> OutputResidual:
        """The output that is furthest beyond (or nearest to) its bound."""
        return max(self.outputs, key=lambda output: output.residual / output.bound if output.bound else output.residual)

    def __repr__(self) -> str:
        if not self.outputs:
            return "<NumericVerdict failed: nothing was run>"
        worst = self.worst
        figures = f"{worst.title} off by {worst.residual:.1e}, bound {worst.bound:.1e}"
        return f"<NumericVerdict {_passed(self.passed)}: {figures} ({self.dtype}, samples: {self.samples})>"


# ---- what was proved -----------------------------------------------------------------------------------------------
@dataclass(frozen=True, repr=False)
class CertificateVerdict:
    """The verdict of a proof: it holds for all inputs, or this is the first place where it breaks.

    ops: how many were checked.  weights: how many parameters, statistics and constants were found invariant.
    broken: why it breaks, "" if the proof is complete.  where: the node or weight of the user's model.
    """

    passed: bool
    ops: int
    weights: int
    where: Where | None = None
    broken: str = ""
    findings: tuple[Finding, ...] = ()

    @property
    def unseen(self) -> tuple[str, ...]:
        """Behaviour that the proof does not cover: a graph holds what one call of the examples ran."""
        if self.passed and self.ops:
            return (UNSEEN,)
        return ()

    def __repr__(self) -> str:
        broken = when(not self.passed, f", broken at {self.where or 'no op of its own'}: {self.broken}")
        return f"<CertificateVerdict {_passed(self.passed)}: ops: {self.ops}, weights: {self.weights}{broken}>"


def _passed(passed: bool) -> str:
    """The outcome in a word."""
    return "passed" if passed else "failed"


# ---- both ----------------------------------------------------------------------------------------------------------
class Standing(Enum):
    """What both verdicts say together. A command maps it to its exit status."""

    PROVED = "proved"
    """Equivariant: it holds on all runs, and there is a proof."""
    RUN = "run"
    """Equivariant on all runs, of a file that has no graph to prove anything on."""
    UNPROVED = "unproved"
    """Equivariant on all runs; a rule or the graph is missing, or nobody knows which hidden units are partners."""
    DISAGREE = "disagree"
    """A proof holds and a run fails, or what a conversion says of its weights does not hold: trust neither."""
    FAILED = "failed"
    """Not equivariant, or nothing could be compared."""


@dataclass(frozen=True)
class Verdict:
    """Both verdicts on a network under one mirror, the mirror they used, and why there is no proof if there is none.

    certificate: None where nothing could be proved.  unproved: the reason.  as_it_runs: the numeric verdict in the
    precision in which the network runs, None where that is the one it was judged in.  run_only: the file has no graph.
    is_claimed: a passport says how weights transform, so that a proof that breaks contradicts it. Else partners were
    looked for, and nothing is known where none are right.
    """

    numeric: NumericVerdict
    certificate: CertificateVerdict | None
    mirror: NetworkMirror
    repmap: RepMap | None = None
    unproved: ChiralizeError | None = None
    run_only: bool = False
    as_it_runs: NumericVerdict | None = None
    is_claimed: bool = False

    @property
    def standing(self) -> Standing:
        """What both verdicts say together."""
        is_proved = self.certificate is not None and self.certificate.passed
        if not self.numeric.passed:
            return Standing.DISAGREE if is_proved else Standing.FAILED
        if is_proved:
            return Standing.PROVED
        if self.run_only:
            return Standing.RUN
        return Standing.DISAGREE if self.certificate is not None and self.is_claimed else Standing.UNPROVED

    @property
    def passed(self) -> bool:
        """Whether the network is equivariant: proved, or run without fault where there is nothing to prove."""
        return self.standing in (Standing.PROVED, Standing.RUN)

    @property
    def summary(self) -> str:
        """The verdict in a sentence: `equivariant on 8 runs; not proved: no rule for aten.grid_sampler`."""
        runs = f"equivariant on {self.numeric.samples} runs"
        if not self.numeric.passed:
            worst = f": {self.numeric.worst.title}" if self.numeric.outputs else ""
            return f"not equivariant on {self.numeric.samples} runs{worst}"
        if self.standing is Standing.PROVED:
            return f"{runs}, and proved"
        if self.standing is Standing.RUN:
            return runs
        return f"{runs}; not proved: {self.gap_of_proof}"

    @property
    def gap_of_proof(self) -> str:
        """Why there is no proof, or where it breaks; "" where it holds."""
        if self.certificate is None:
            return self.unproved.facts if self.unproved is not None else "there is no graph"
        return self.certificate.broken

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is to be said beside the verdicts."""
        findings = [*self.numeric.findings, *(self.certificate.findings if self.certificate is not None else ())]
        coarse = self.as_it_runs
        if coarse is not None and self.numeric.passed and not coarse.passed:
            figures = f"off by {coarse.worst.residual:.1e}, bound {coarse.worst.bound:.1e}"
            facts = f"in {coarse.dtype}, in which it runs, {coarse.worst.title} is {figures}"
            findings.append(Finding("precision", "doubt", facts, "run it in float64", f"{figures} in {coarse.dtype}"))
        return tuple(findings)


# ---- how far from the original -------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Gap:
    """One output, or one joint, class or block of it, on the same inputs in both views.

    With d = f(x) - T f(Tx), e = g(x) - TTA(x) and s the spread of f's output:
    gap: RMS(d) / s.  lean: RMS over the entries of mean(d) / s, less what chance leaves of it.  apart: RMS(d) in the
    output's own unit.  drift: RMS(e) / s, and rho: drift / max(gap / 2, 0.01), None without a result g.  shift: RMS(e)
    in the output's own unit.  odd: share of the variance that the mirror negates, of the original's average of both
    views and of the result.  spread: that of f(Tx) over that of f(x), and the error of its logarithm.
    share: how much of the entries of the output a part has.  parts: the joints, classes or blocks.
    """

    name: str
    gap: float
    lean: float
    apart: float
    drift: float | None = None
    rho: float | None = None
    shift: float = 0.0
    odd: tuple[float, float] = (0.0, 0.0)
    spread: tuple[float, float] = (1.0, inf)
    share: float = 1.0
    parts: tuple[Gap, ...] = ()


@dataclass(frozen=True)
class Horizon:
    """The worst output along sequences of so many steps, in the words of `Gap`."""

    steps: int
    gap: float
    rho: float | None
    lean: float = 0.0


@dataclass(frozen=True)
class Measured:
    """The figures of a network, or of a result beside its original.

    kind: what inputs they were measured on: the user's, random numbers, or poses that come with the package.
    samples: how many.  source: where they came from, in words.  horizons: along sequences, empty for single calls.
    """

    outputs: tuple[Gap, ...]
    kind: Literal["given", "noise", "poses"]
    samples: int
    source: str = ""
    horizons: tuple[Horizon, ...] = ()

    @property
    def gap(self) -> float:
        """The largest gap of any output, at the worst length."""
        return max((figures.gap for figures in (*self.outputs, *self.horizons)), default=0.0)

    @property
    def lean(self) -> float:
        """The largest lean of any output, at the worst length."""
        return max((figures.lean for figures in (*self.outputs, *self.horizons)), default=0.0)

    @property
    def rho(self) -> float | None:
        """rho of the worst output, at the worst length; None without a result."""
        known = [figures.rho for figures in (*self.outputs, *self.horizons) if figures.rho is not None]
        return max(known, default=None)

    @property
    def shift(self) -> float:
        """The largest shift of any output, in the unit of the output that has it."""
        return max((output.shift for output in self.outputs), default=0.0)


@dataclass(frozen=True)
class Degeneracy:
    """Whether the result still tells left from right.

    odd_before, odd_after: share of the output's variance that the mirror negates, by output, of the original's flip
    average and of the result.  forced: axes forced to be trivial.  free_share: free parameters after / before, None
    where they are not known.  zeroed: parameters with entries that could only be zero.
    dead_inputs: labels of input entries that the result ignores and the original does not, of the live_inputs that the
    original reacts to.
    """

    odd_before: tuple[float, ...]
    odd_after: tuple[float, ...]
    forced: tuple[str, ...] = ()
    free_share: float | None = None
    zeroed: tuple[str, ...] = ()
    dead_inputs: tuple[str, ...] = ()
    live_inputs: int = 0

    @property
    def ignores_much(self) -> bool:
        """Whether the result ignores more than a quarter of the entries that the original reacts to."""
        return 4 * len(self.dead_inputs) > self.live_inputs

    @property
    def odd_kept(self) -> float:
        """The smallest share of its odd share that an output kept (1 where none had any to speak of)."""
        pairs = zip(self.odd_before, self.odd_after, strict=True)
        return min((after / before for before, after in pairs if before > MATTERS), default=1.0)

    @property
    def collapsed(self) -> tuple[int, ...]:
        """Outputs whose odd share fell below a tenth of what it was, from a share that mattered."""
        pairs = zip(self.odd_before, self.odd_after, strict=True)
        return tuple(
            index for index, (before, after) in enumerate(pairs) if before > MATTERS and after < COLLAPSED * before
        )
