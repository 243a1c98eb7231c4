"""Frozen records of what was measured and judged: verdicts, drift, degeneracy, evidence.

    NumericVerdict, OutputResidual          made by `numeric`: F(T x) beside T F(x)
    CertificateVerdict                      by `certificate`, `average_proof` and `judge`: the proof
    Drift, OutputDrift, JointDrift, ...     by `drift_sums`: how far a result is from the original's flip average
    Degeneracy                              by `drift`: whether the result still tells left from right
    Evidence                                by `mirror_evidence`: whether T is the right mirror at all
    Judgement                               what a command puts together of these

Nothing is computed here but what follows from the fields. `report` writes them down.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from chiralize.errors.words import when
from chiralize.graph.mirror import MirrorFit
from chiralize.graph.model import Where

UNSEEN = (
    "not part of the proof: branches that Python takes by strides, memory format, requires_grad, or anything else that "
    "no graph holds"
)


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


def _passed(passed: bool) -> str:
    """The outcome in a word."""
    return "passed" if passed else "failed"


@dataclass(frozen=True, repr=False)
class NumericVerdict:
    """The verdict of running the network on x and on T x.

    dtype: the precision it was judged in (and why, where that is not float64).  batches: batch sizes tried.
    sizes: other sizes of open axes that were tried, by the axis's name.  beyond: those of all of them where it fails,
    though it holds at the examples' sizes.  layout: how inputs lie in memory where they get other answers than the same
    numbers one after the other; "" where none do.
    """

    outputs: tuple[OutputResidual, ...]
    dtype: str
    samples: int
    batches: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    sizes: tuple[tuple[str, int], ...] = ()
    beyond: tuple[tuple[str, int], ...] = ()
    layout: str = ""

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

    def __repr__(self) -> str:
        if not self.outputs:
            return "<NumericVerdict failed: nothing was run>"
        worst = self.worst
        figures = f"{worst.title} off by {worst.residual:.1e}, bound {worst.bound:.1e}"
        return f"<NumericVerdict {_passed(self.passed)}: {figures} ({self.dtype}, samples: {self.samples})>"

    @property
    def worst(self) -> OutputResidual:
        """The output that is furthest beyond (or nearest to) its bound."""
        return max(self.outputs, key=lambda output: output.residual / output.bound if output.bound else output.residual)


@dataclass(frozen=True, repr=False)
class CertificateVerdict:
    """The verdict of the op rules: a proof for all inputs, or the first place where it breaks.

    ops: how many were checked.  weights: how many parameters, statistics and constants were found invariant.
    broken: where and why, None if the proof is complete.
    """

    passed: bool
    ops: int
    weights: int
    where: Where | None = None
    broken: str = ""
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        broken = when(not self.passed, f", broken at {self.where or 'no op of its own'}: {self.broken}")
        return f"<CertificateVerdict {_passed(self.passed)}: ops: {self.ops}, weights: {self.weights}{broken}>"

    @property
    def unseen(self) -> tuple[str, ...]:
        """Behaviour that the proof does not cover: a graph holds what one call of the examples ran."""
        if self.passed and self.ops:
            return (UNSEEN,)
        return ()


@dataclass(frozen=True)
class JointDrift:
    """One joint of an output, or one quantity where it has no joints: `OutputDrift` over its entries alone.

    gap, drift: in units of the spread of the whole output.  rho: drift / max(gap / 2, gap of the output / 4, 0.01).
    shift: RMS length of g(x) - TTA(x) over the joint's coordinates, in the unit of the output (mm, rad, ...).
    lean: of the joint's entries alone, in units of the spread of the whole output; of an output of several units, in
    that of its own.  share: how much of the entries of the output the joint has.
    """

    name: str
    gap: float
    drift: float
    rho: float
    shift: float
    lean: float = 0.0
    share: float = 1.0


@dataclass(frozen=True)
class OutputDrift:
    """One output on held-out inputs, in units of the spread s of the original's output.

    gap: RMS(f(x) - T f(Tx)) / s of the original.  drift: RMS(g(x) - TTA(x)) / s of the result.
    rho: drift / max(gap / 2, 0.01).  joints: the same for each, empty where the mirror moves none.
    shift: the largest of a joint; without joints, RMS(g(x) - TTA(x)), in the unit of the output.
    lean: RMS over the entries of mean(f(x) - T f(Tx)) / s, less what chance leaves of it: the part of the gap that is
    the same for all inputs.  unlike: whether f answers mirrored inputs with more spread, or less, than chance explains.
    scores: of scores of classes, what their probabilities say of both sides; None of any other output.
    """

    index: int
    gap: float
    drift: float
    rho: float
    joints: tuple[JointDrift, ...] = ()
    shift: float = 0.0
    lean: float = 0.0
    unlike: bool = False
    scores: ScoreDrift | None = None

    @property
    def of_sides(self) -> OutputDrift | ScoreDrift:
        """What tells whether the original knows both sides: of scores the figures of their probabilities."""
        return self.scores or self


@dataclass(frozen=True)
class ScoreDrift:
    """Scores of the original as probabilities: gap, lean and unlike as of `OutputDrift`.

    changed: the share of decisions that the mirror changes.  stay: whether these are few, over all and of each class.
    """

    gap: float
    lean: float
    unlike: bool
    changed: float
    stay: bool


@dataclass(frozen=True)
class Horizon:
    """The worst output along sequences of so many steps, in the words of `OutputDrift`."""

    steps: int
    gap: float
    rho: float
    lean: float = 0.0


FAR_BEYOND = 1.25
"""rho on other inputs than those that were given, above which they were narrow (decision 0029)."""
FURTHER_BEYOND, FURTHER = 1.0, 1.1
"""The same on inputs that predict rho in use, if rho is this many times that on the given inputs (0074, 0078)."""


@dataclass(frozen=True)
class Beyond:
    """The worst output on inputs of another kind than those that were given, in the words of `OutputDrift`.

    what: which inputs.  foretells: they are like the inputs in use, so that rho on them predicts rho in use.
    """

    what: str
    gap: float
    rho: float
    foretells: bool = False

    @property
    def order(self) -> tuple[bool, bool, float]:
        """Which of several counts: one above the bound, then one that predicts rho in use, then the largest rho."""
        return not self.rho <= FAR_BEYOND, self.foretells, self.rho


@dataclass(frozen=True)
class Drift:
    """How far the result is from the original's flip test-time augmentation.

    source: where the inputs came from (calibration, or N(0, 1) in the shape of the example).  noise: the latter, on
    which a gap says little of the network.
    stateful: the network keeps a state from call to call.  steps: length of the roll-outs that were measured, 1 for
    single calls; `outputs` are over all of them.  horizons: the same for shorter ones and for these, empty for single
    calls.  beyond: what was fitted on given inputs, measured on others.  built_in: on built-in poses, not the user's.
    """

    outputs: tuple[OutputDrift, ...]
    source: str
    samples: int
    noise: bool = False
    stateful: bool = False
    steps: int = 1
    horizons: tuple[Horizon, ...] = ()
    beyond: Beyond | None = None
    built_in: bool = False

    @property
    def inputs(self) -> str:
        """What it was fitted and measured on, in words."""
        if self.built_in:
            return "built-in poses"
        return "calibration inputs"

    @property
    def is_telling(self) -> bool:
        """Whether rho says something about the error in use: neither measured on noise nor on single steps alone."""
        return not self.noise and (not self.stateful or self.steps > 1)

    @property
    def is_narrow(self) -> bool:
        """Whether it is far from the original on other inputs than those it was fitted on, or further than on these."""
        return self.beyond is not None and not self.beyond.rho <= self.widest

    @property
    def widest(self) -> float:
        """Up to which rho on other inputs those that it was fitted on are not narrow."""
        if self.beyond is None or not self.beyond.foretells:
            return FAR_BEYOND
        return min(FAR_BEYOND, max(FURTHER_BEYOND, FURTHER * self.rho))

    @property
    def rho(self) -> float:
        """rho of the worst output, at the worst length."""
        return max((output.rho for output in (*self.outputs, *self.horizons)), default=0.0)

    @property
    def gap(self) -> float:
        """The largest gap of any output, at the worst length; of scores that of their probabilities."""
        outputs = [output.of_sides for output in self.outputs]
        return max((output.gap for output in (*outputs, *self.horizons)), default=0.0)

    @property
    def unsettled_gap(self) -> float:
        """The same without the outputs whose decisions stay, however far their scores are apart."""
        outputs = [output for output in self.outputs if output.scores is None or not output.scores.stay]
        if not outputs:
            return 0.0
        return replace(self, outputs=tuple(outputs)).gap

    @property
    def lean(self) -> float:
        """The largest lean of any output, at the worst length; of scores that of their probabilities."""
        outputs = [output.of_sides for output in self.outputs]
        return max((output.lean for output in (*outputs, *self.horizons)), default=0.0)

    @property
    def shift(self) -> float:
        """The largest shift of any output, in the unit of the output that has it."""
        return max((output.shift for output in self.outputs), default=0.0)


@dataclass(frozen=True)
class Degeneracy:
    """Whether the result still tells left from right.

    odd_before, odd_after: share of the output's variance that the mirror negates, by output, of the original's flip
    average and of the result.
    forced: axes forced to be trivial.  free_share: free parameters after / before, None where they are not known.
    zeroed: parameters with entries that could only be zero.
    dead_inputs: labels of input entries that the result ignores and the original does not, of the live_inputs that the
    original reacts to.
    tables: constants that leave hidden channels no pairing.
    """

    odd_before: tuple[float, ...]
    odd_after: tuple[float, ...]
    forced: tuple[str, ...] = ()
    free_share: float | None = None
    zeroed: tuple[str, ...] = ()
    dead_inputs: tuple[str, ...] = ()
    live_inputs: int = 0
    tables: tuple[str, ...] = ()

    @property
    def odd_kept(self) -> float:
        """The smallest share of its odd share that an output kept (1 where none had any to speak of)."""
        # A share of less than 1 % does not matter (decision 0003), and neither does what is left of it.
        pairs = zip(self.odd_before, self.odd_after, strict=True)
        return min((after / before for before, after in pairs if before > 0.01), default=1.0)

    @property
    def collapsed(self) -> tuple[int, ...]:
        """Outputs whose odd share fell below a tenth of what it was, from a share that mattered (over 1 %)."""
        pairs = zip(self.odd_before, self.odd_after, strict=True)
        return tuple(index for index, (before, after) in enumerate(pairs) if before > 0.01 and after < 0.1 * before)

    @property
    def ignores_much(self) -> bool:
        """Whether the result ignores more than a quarter of the entries that the original reacts to."""
        return 4 * len(self.dead_inputs) > self.live_inputs


@dataclass(frozen=True)
class OfMirror:
    """What was found under one of several mirrors, or under some of them one after the other.

    name: of the mirror, or of all of them.  certificate: None where nothing is proved, as for products, which follow
    from their factors.  degeneracy: whether both sides are told apart, None for products.
    """

    name: str
    numeric: NumericVerdict
    certificate: CertificateVerdict | None = None
    degeneracy: Degeneracy | None = None

    @property
    def passed(self) -> bool:
        """Whether the verdicts that there are passed, and the sides are not lost."""
        proved = self.certificate is None or self.certificate.passed
        return self.numeric.passed and proved and not (self.degeneracy and self.degeneracy.collapsed)


@dataclass(frozen=True)
class Judgement:
    """All that was judged of a network, None where it was not asked: whether it commutes with T, and tells left from
    right.

    own_precision: the numeric verdict in the precision in which the network runs, beside the one in float64.
    mirrors: where there are several, the verdicts under each and under their products; the others are then those under
    the first one, or under the first that failed.
    """

    numeric: NumericVerdict | None = None
    certificate: CertificateVerdict | None = None
    degeneracy: Degeneracy | None = None
    own_precision: NumericVerdict | None = None
    mirrors: tuple[OfMirror, ...] = ()

    @property
    def is_collapsed(self) -> bool:
        """Whether left and right are lost."""
        return self.degeneracy is not None and bool(self.degeneracy.collapsed)

    @property
    def passed(self) -> bool:
        """Whether all verdicts that there are passed."""
        verdicts = (self.numeric, self.certificate, *self.mirrors)
        return all(verdict is None or verdict.passed for verdict in verdicts)


@dataclass(frozen=True)
class Evidence:
    """Signs from outside that T is the right mirror (a wrong T must not approve itself).

    warnings: findings against it, in sentences.  checks: what was examined and found in order.
    notes: what was examined and is evidence neither for it nor against it.
    fit: the figures of the network itself, None where nothing was compared.
    are_sides_unknown: nothing shows whether the network learned both sides.
    names_mislead: the network fits T, and clearly worse the mirror that names tell.
    lacks_time: inputs were given to a network that keeps a state, and no sequences, along which it could be asked.
    still: that its answers hardly change with its inputs, in a sentence, so that they are evidence of nothing; else "".
    collapsed: the same of single outputs beside others that vary.
    displaced: of outputs that are forecasts, by position, the spread of what they add to the last frame of an input, in
    shares of their own: what is compared with T there is this displacement.
    """

    checks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    fit: MirrorFit | None = None
    notes: tuple[str, ...] = ()
    are_sides_unknown: bool = False
    still: str = ""
    collapsed: str = ""
    displaced: tuple[tuple[int, float], ...] = ()
    lacks_time: bool = False
    names_mislead: bool = False
