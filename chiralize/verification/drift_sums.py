"""Running sums of drift: how far a result is from its original's flip average, batch by batch.

s, gap, drift, rho and lean are those of `drift`, which hands the answers in. Everything is summed in float64; no output
is kept, so that a run over thousands of inputs takes the memory of one batch.

Example: one entry, answers f(x) = 1, 3 and T f(T x) = 1, 1. Its mean is 2, s = 1, gap = RMS(0, 2) / s = 1.41. The flip
averages are 1, 2. A result that answers 1, 2.5 has drift = RMS(0, 0.5) / s = 0.35, and rho = 0.35 / (1.41 / 2) = 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from math import inf, isfinite, sqrt

import torch

from chiralize.body.tensors.resolved import ResolvedTensor
from chiralize.graph import processes
from chiralize.graph.mirror import ONE_UNIT, NetworkMirror
from chiralize.graph.running import check_outputs
from chiralize.graph.units import Units, relative
from chiralize.symmetry.representation import TensorRepresentation
from chiralize.symmetry.reynolds import wide
from chiralize.verification.asymmetry.decisions import Decisions, as_shares, may_be_scores
from chiralize.verification.asymmetry.lean import beyond_chance
from chiralize.verification.asymmetry.spreads import Spreads
from chiralize.verification.by_joint import FLOOR, JointSums
from chiralize.verification.verdicts import Degeneracy, Drift, Horizon, OutputDrift, ScoreDrift

_ROUNDED = 4  # eps that rounding moves an output by


class Tally:
    """Running sums over every output of both views of the original and of the result.

    horizons: lengths of sequences; a figure for each is taken over the steps up to there. One for single calls.
    States and integers are left out.

    tensors: what the outputs are, so that scores of classes are known.

    spreads: by output, a record of sums for every horizon.  scores: the same of those that may be scores.
    before, after: by output, the odd share of the original's flip average and of the result; over all horizons
    together.
    """

    def __init__(
        self, mirror: NetworkMirror, horizons: Sequence[int] = (1,), tensors: Sequence[ResolvedTensor] = ()
    ) -> None:
        self.mirror, self.horizons = mirror, tuple(horizons)
        self.scores = dict[int, list[_Scores]]()
        self.spreads: dict[int, list[_Spread]] = {}
        for index in range(len(mirror.outputs)):
            if index not in mirror.state_outputs:
                sums = partial(JointSums, *mirror.output_in_rows(index))
                self.spreads[index] = [_Spread(sums(), mirror.units_in_rows(index)) for _ in horizons]
                if tensors and may_be_scores(mirror, index, tensors[index]):
                    self.scores[index] = [_Scores(mirror, tensors[index]) for _ in horizons]
        self.before = [_Share() for _ in mirror.outputs]
        self.after = [_Share() for _ in mirror.outputs]
        self.samples = 0

    def add(
        self,
        plain: Sequence[torch.Tensor],
        turned: Sequence[torch.Tensor],
        theirs: Sequence[torch.Tensor],
        step: int = 0,
    ) -> None:
        """Take f(x) (plain), f(T x) (turned) and g(x) (theirs) in, the outputs of one call each, a batch of samples.

        step: of a sequence, from 0. Raises UsageError where outputs are missing.
        """
        for answers in (plain, turned, theirs):
            check_outputs(answers, self.mirror.outputs)
        for index, spreads in list(self.spreads.items()):
            if not (plain[index].is_floating_point() or plain[index].is_complex()):
                del self.spreads[index]
                continue
            first, other, result = (wide(answers[index].detach()) for answers in (plain, turned, theirs))
            back = self.mirror.turned_output(index, other)
            parts = [self.mirror.in_rows(_real(answer)) for answer in (first, back, result)]
            for spread, length in zip(spreads, self.horizons, strict=True):
                if step < length:
                    spread.add(*parts)
            for scores, length in zip(self.scores.get(index, ()), self.horizons, strict=False):
                if step < length:
                    scores.add(first, back)
            # The odd share of g is held against that of the flip average, not of f (decision 0003).
            eps, average = torch.finfo(plain[index].dtype).eps, (first + back) / 2
            for share, value in ((self.before[index], average), (self.after[index], result)):
                image = self.mirror.turned_output(index, value)
                share.add(self.mirror.in_rows(_real(value)), self.mirror.in_rows(_real(image)), eps)
        if not step:  # the steps of one sequence are one sample
            self.samples += self.mirror.samples_in(plain)

    def result(self, source: str) -> tuple[Drift, Degeneracy]:
        """The figures of all samples together, over all processes. Some of them may have been given no samples."""
        # What is no floating-point number was left out by the processes that saw it, and is by the others now.
        for counted in processes.gathered(frozenset(self.spreads)):
            self.spreads = {index: spreads for index, spreads in self.spreads.items() if index in counted}
        for sums in (*chain.from_iterable(self.spreads.values()), *self.before, *self.after):
            sums.take_others()
        samples = round(processes.total(self.samples))
        by_horizon = list[list[OutputDrift]]()
        for index, spreads in self.spreads.items():
            by_horizon.append([spread.result(index) for spread in spreads])
        if processes.count() == 1:  # decisions are counted for one process alone
            by_horizon = list(map(self._with_scores, by_horizon))
        steps = self.horizons[-1]
        outputs = tuple(column[-1] for column in by_horizon)
        horizons = self._horizons(by_horizon) if steps > 1 and outputs else ()
        drift = Drift(outputs, source, samples, steps=steps, horizons=horizons)
        before = tuple(share.value for share in self.before)
        return drift, Degeneracy(before, tuple(share.value for share in self.after))

    def _with_scores(self, outputs: Sequence[OutputDrift]) -> list[OutputDrift]:
        """The figures of one output, a horizon each, with those of the probabilities where these are scores."""
        known = self.scores.get(outputs[0].index)
        if known is None:
            return list(outputs)
        return [replace(output, scores=scores.result()) for output, scores in zip(outputs, known, strict=True)]

    def _horizons(self, by_horizon: Sequence[Sequence[OutputDrift]]) -> tuple[Horizon, ...]:
        """The worst output at every length. by_horizon: figures of each output, a horizon each."""
        horizons = list[Horizon]()
        for steps, outputs in zip(self.horizons, zip(*by_horizon, strict=True), strict=True):
            gap, rho = max(output.of_sides.gap for output in outputs), max(output.rho for output in outputs)
            horizons.append(Horizon(steps, gap, rho, max(output.of_sides.lean for output in outputs)))
        return tuple(horizons)


def _first_of_all(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The tensors of the first process that has any; none where no process has."""
    for given in processes.gathered([tensor.cpu() for tensor in tensors]):
        if given:
            return given
    return []


def _zero() -> torch.Tensor:
    """A sum of nothing, in float64, in which all sums are taken."""
    return torch.zeros((), dtype=torch.float64)


@dataclass
class _Spread:
    """Running sums of one output.

    joints: those of every joint.  rows: samples.  count: numbers, samples times entries.
    gap: of (f(x) - T f(T x))².  drift: of (g(x) - TTA)².  energy: of f(x)².  square: of (f(x) - shift)². Each is the
    sum over all entries, or "entry" where there are several units.
    shift: the mean of the first batch, "entry...".  total: of f(x) - shift, and apart: of f(x) - T f(T x), "entry...".
    views: how far both views spread. None where other processes have a part of the samples, since its sums over blocks
    cannot be added up.
    """

    joints: JointSums
    units: Units = ONE_UNIT
    count: int = 0
    rows: int = 0
    gap: torch.Tensor = field(default_factory=_zero)
    drift: torch.Tensor = field(default_factory=_zero)
    energy: torch.Tensor = field(default_factory=_zero)
    square: torch.Tensor = field(default_factory=_zero)
    shift: torch.Tensor | None = None
    total: torch.Tensor | None = None
    apart: torch.Tensor | None = None
    views: Spreads | None = field(init=False)

    def __post_init__(self) -> None:
        """Begin the sums over views, in the units of the output."""
        self.views = Spreads(self.units)

    def add(self, first: torch.Tensor, back: torch.Tensor, theirs: torch.Tensor) -> None:
        """Take f(x) (first), T f(T x) (back) and g(x) (theirs) in, each "sample entry..."."""
        # Squares are summed about a point near the mean, so that the variance of answers of 1000 ± 0.01 is no
        # difference of two large sums.
        if self.shift is None or self.total is None or self.apart is None:
            self.shift = first.mean(0)
            self.total, self.apart = torch.zeros_like(self.shift), torch.zeros_like(self.shift)
        about = first - self.shift
        self.total += about.sum(0)
        self.apart += (first - back).sum(0)
        if self.views is not None:
            self.views.add(first, back)
        self.square = self.square + self.units.summed(about.square())
        self.energy = self.energy + self.units.summed(first.square())
        self.rows += first.shape[0]
        self.count += first.numel()
        gap, drift = (first - back).square(), (theirs - (first + back) / 2).square()
        self.gap, self.drift = self.gap + self.units.summed(gap), self.drift + self.units.summed(drift)
        self.joints.add(gap, drift)

    def take_others(self) -> None:
        """Add the sums of all other processes. Every process makes the same calls, whether or not it has samples."""
        shift = _first_of_all([] if self.shift is None else [self.shift])
        if not shift:
            return
        if processes.count() > 1:
            self.views = None
            self._count_from(shift[0])
        assert self.total is not None and self.apart is not None
        sums = torch.tensor([self.count, self.rows], dtype=torch.float64)
        self.gap, self.drift, self.energy, self.square = (
            part.double().cpu().contiguous() for part in (self.gap, self.drift, self.energy, self.square)
        )
        processes.add_up([sums, self.total, self.apart, self.gap, self.drift, self.energy, self.square])
        self.count, self.rows = map(round, sums.tolist())
        self.joints.take_others()

    def _count_from(self, shift: torch.Tensor) -> None:
        """Move the point that squares are summed about, or begin with sums of nothing.  shift: "entry..."."""
        # The point has no axis of samples, so that the axis of units is one earlier than in answers.
        units = self.units.within(-1)
        if self.shift is None or self.total is None:
            self.total, self.apart = torch.zeros_like(shift), torch.zeros_like(shift)
            self.gap, self.drift, self.energy, self.square = (units.summed(torch.zeros_like(shift)) for _ in range(4))
        else:
            # With off = old point - new point, the sum of (d + off)² over the rows is that of d², and 2 off times that
            # of d, and rows times off².
            off = self.shift - shift.to(self.shift.device)
            self.square = self.square + units.summed(2 * off * self.total + self.rows * off.square())
            self.total = self.total + self.rows * off
        self.shift = shift

    def result(self, index: int) -> OutputDrift:
        """The figures of the output at this position; zeros where nothing was added."""
        if not self.count or self.total is None or self.apart is None:
            return OutputDrift(index, 0.0, 0.0, 0.0)
        # total, apart and mean have no axis of samples, so that units lie along an axis further to the front.
        units, count = self.units.within(-1), self.count / self.gap.numel()  # numbers in each of the sums
        # The sum of (x - mean)² is that of (x - shift)² less rows (mean - shift)².
        variance = (self.square - units.summed(self.total.square()).cpu() / self.rows) / count
        scales = units.squared_spread(variance, self.energy / count)
        gap, off = relative(self.gap / count, scales), relative(self.drift / count, scales)
        drifted = sqrt(float(self.drift.sum()) / self.count)
        if isfinite(gap) and isfinite(off):
            rho = off / max(gap / 2, FLOOR)
        else:
            rho = inf
        if not isfinite(rho):  # of answers that are not finite no joint and no lean can be told
            return OutputDrift(index, gap, off, rho, shift=drifted)
        mean = self.apart / self.rows
        joints = self.joints.result(self.units.shaped(scales.sqrt(), mean.ndim + 1), gap, mean, self.rows)
        shift = max((joint.shift for joint in joints), default=drifted)
        # From a sum over the entries of each unit to their mean.
        leaning = units.summed(mean.square()).cpu() * (scales.numel() / mean.numel())
        lean = beyond_chance(relative(leaning, scales), gap, self.rows)
        views = self.views.result() if self.views is not None else None
        return OutputDrift(index, gap, off, rho, joints, shift, lean, views is not None and views.differs)


class _Scores:
    """Running sums of scores of classes: their decisions, and their probabilities."""

    def __init__(self, mirror: NetworkMirror, tensor: ResolvedTensor) -> None:
        self.mirror, self.decisions = mirror, Decisions(tensor)
        self.shares = _Spread(JointSums(TensorRepresentation(()), str))

    def add(self, first: torch.Tensor, back: torch.Tensor) -> None:
        """Take f(x) (first) and T f(T x) (back) in."""
        if first.is_complex():
            return
        self.decisions.add(first, back)
        axis = self.decisions.axis
        assert axis is not None
        one, other = (self.mirror.in_rows(as_shares(view, axis)) for view in (first, back))
        self.shares.add(one, other, (one + other) / 2)

    def result(self) -> ScoreDrift | None:
        """The figures of the probabilities; None where the numbers may be no scores, or a class loses its answers."""
        shown = self.decisions.shown()
        if shown is None or not shown.is_of_all_classes:
            return None
        figures = self.shares.result(0)
        return ScoreDrift(figures.gap, figures.lean, figures.unlike, shown.changed, shown.stay)


class _Share:
    """Running variance of an output and of its odd part.

    The first values are subtracted before squaring. A nearly constant output hardly differs from them, and without that
    the squares of its size would hide its variance. An output that differs from them by rounding alone has no variance.

    squares, firsts, totals: of the odd part (y - T y) / 2, then of the output y itself.  firsts: the first sample,
    "entry...".  squares: sums of (value - first)².  totals: sums of value - first, "entry...".
    noise: what rounding adds to the squares at most.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.noise = 0.0
        self.squares = [0.0, 0.0]
        self.firsts: list[torch.Tensor] = []
        self.totals: list[torch.Tensor] = []

    def add(self, value: torch.Tensor, turned: torch.Tensor, eps: float) -> None:
        """Take an output and T of it in, "sample entry..." in float64. eps: of the type that they came in."""
        self.noise += float((_ROUNDED * eps * value).square().sum())
        odd = (value - turned) / 2
        parts = [odd, value]
        if not self.firsts:
            self.firsts = [part[0].clone() for part in parts]
            self.totals = [torch.zeros_like(first) for first in self.firsts]
        self.rows += parts[0].shape[0]
        for index, (part, first) in enumerate(zip(parts, self.firsts, strict=True)):
            part = part - first
            self.squares[index] += float(part.square().sum())
            self.totals[index] = self.totals[index] + part.sum(0)

    def take_others(self) -> None:
        """Add the sums of all other processes, counted from the first values of one of them."""
        common = _first_of_all(self.firsts)
        if not self.firsts:  # this process was given no samples, and adds sums of nothing
            self.firsts, self.totals = common, list(map(torch.zeros_like, common))
        # Every process has subtracted a first value of its own: `_Spread._count_from` has the formula.
        for index, (first, shared) in enumerate(zip(self.firsts, common, strict=True)):
            off, total = first - shared.to(first.device), self.totals[index]
            self.squares[index] += 2 * float((off * total).sum()) + self.rows * float(off.square().sum())
            self.totals[index] = total + self.rows * off
        sums = torch.tensor([float(self.rows), self.noise, *self.squares], dtype=torch.float64)
        processes.add_up([sums, *self.totals])
        self.rows, self.noise, self.squares = round(float(sums[0])), float(sums[1]), sums[2:].tolist()

    @property
    def value(self) -> float:
        """Variance of the odd part in that of the output; 0 for an output that does not vary."""
        if not self.rows:
            return 0.0
        odd, whole = self._variance(0), self._variance(1)
        # The variance is a difference of sums: what is left of them below 1e-12, or below the rounding, is none.
        least = max(1e-12 * self.squares[1], self.noise)
        if whole > least and isfinite(whole):
            return max(odd, 0.0) / whole
        return 0.0

    def _variance(self, index: int) -> float:
        """Variance of the odd part (0) or of the output (1), summed over samples and entries."""
        return self.squares[index] - float(self.totals[index].square().sum()) / self.rows


def _real(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor with every complex number as two real ones."""
    if tensor.is_complex():
        return torch.view_as_real(tensor.resolve_conj())
    return tensor
