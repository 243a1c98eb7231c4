"""How a conversion changed the answers: drift from the original's flip average, and whether left and right survived.

    s = RMS(f(x) - mean f)        gap = RMS(f(x) - T f(T x)) / s        TTA = (f(x) + T f(T x)) / 2
    drift = RMS(g(x) - TTA) / s   rho = drift / max(gap / 2, 0.01)      lean = RMS(mean(f(x) - T f(T x))) / s

f is the original, g the result; s is that of every unit where an output has several (`graph.units`). Everything is
summed batch by batch in float64; no output is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from math import inf, isfinite, sqrt
from typing import Any

import torch

from chiralize.graph import processes
from chiralize.graph.mirror import ONE_UNIT, NetworkMirror
from chiralize.graph.rollouts import HORIZONS, LONGEST, Carried, Steps, roll, roll_both_views
from chiralize.graph.running import Arguments, Around, Call, Runner, check_outputs, placed, random_calls, results
from chiralize.graph.units import Units, relative
from chiralize.symmetry.reynolds import wide
from chiralize.verification.asymmetry.lean import beyond_chance
from chiralize.verification.asymmetry.spreads import Spreads
from chiralize.verification.by_joint import FLOOR, JointSums
from chiralize.verification.influence import influence
from chiralize.verification.verdicts import Degeneracy, Drift, Horizon, OutputDrift

Adapt = Callable[[Call], Call]
DEAD, ALIVE = 1e-7, 1e-4
_ABOUT_0 = Around()
_ROUNDED = 4  # eps that rounding moves an output by


# ---- one pass over the inputs ---------------------------------------------------------------------------------
def measure(
    original: torch.nn.Module,
    converted: torch.nn.Module,
    mirror: NetworkMirror,
    inputs: Sequence[Call],
    source: str,
    *,
    adapt: Adapt | None = None,
    probes: int = 2,
    small: Call | None = None,
) -> tuple[Drift, Degeneracy]:
    """Drift of `converted` from the flip average of `original`, and whether it still tells left from right.

    inputs: held-out calls (args, kwargs), each a batch; axis 0 of the outputs counts as samples.  source: where they
    came from, for the report.  adapt: turns a call of the original into one of the converted network where they
    differ (an averaged network has two copies of every state).  Outputs that are states or integers are left out.

    Odd share of an output: the variance over inputs of its odd part (y - T y) / 2 in that of y; of the original's
    flip average (the original's own odd part also holds what is merely asymmetric) and of the result.  dead inputs:
    entries that the original reacts to and the result does not, looked for on the first `probes` calls.
    small: a call of few samples, which is enough to notice states; the first of the inputs without it.
    Raises ModelRunError, UsageError.
    """
    tally, adapted = Tally(mirror), inputs
    repeated = inputs[:1] if small is None else [small]
    adapted_repeated = repeated
    if adapt is not None:
        adapted, adapted_repeated = list(map(adapt, inputs)), list(map(adapt, repeated))
    with Runner(original) as first, Runner(converted) as second:
        _notice(first, second, mirror, repeated, adapted_repeated)
        for call, adapted_call in zip(inputs, adapted, strict=True):
            plain = _outputs(first, call, mirror)
            turned = _outputs(first, mirror.turned(call), mirror, turned=True)
            tally.add(plain, turned, results(second.run([adapted_call]).steps[0])[0])
        dead, live = _dead_inputs(first, second, mirror, inputs[:probes], adapted[:probes])
    drift, degeneracy = tally.result(source)
    return drift, replace(degeneracy, dead_inputs=dead, live_inputs=live)


def measure_along(
    original: torch.nn.Module,
    converted: torch.nn.Module,
    mirror: NetworkMirror,
    sequences: Sequence[Steps],
    source: str,
    carried: Carried,
    *,
    two_view: bool = False,
) -> tuple[Drift, Degeneracy]:
    """The same along sequences, where both views of the original and the result each carry their own states.

    sequences: held-out ones.  mirror: leaves states alone, since every view starts from the one that is stored.
    two_view: the result takes and returns the states of both views, side by side on their last axis.
    Drift has one figure for every length of `HORIZONS`, up to that which half of the sequences have.
    Raises ModelRunError, UsageError.
    """
    longest = min(sorted(map(len, sequences))[len(sequences) // 2], LONGEST)
    horizons = tuple(sorted({min(steps, longest) for steps in HORIZONS}))
    tally, sizes = Tally(mirror, horizons), _of_both_views if two_view else tuple
    with Runner(original) as first, Runner(converted) as second:
        for steps in sequences:
            steps = steps[:longest]
            views = list(roll_both_views(first, steps, carried, mirror))  # both may have one module's state
            answers = roll(second, steps, carried, state_sizes=sizes)
            for number, ((plain, turned), result) in enumerate(zip(views, answers, strict=True)):
                tally.add(plain.answers, turned.answers, result.answers, step=number)
    return tally.result(source)


def _of_both_views(shape: Sequence[int]) -> tuple[int, ...]:
    return (*shape[:-1], 2 * shape[-1])


class Tally:
    """Running sums over every output of both views of the original and of the result.

    horizons: lengths of sequences; a figure for each is taken over the steps up to there. One for single calls.
    States and integers are left out.
    """

    def __init__(self, mirror: NetworkMirror, horizons: Sequence[int] = (1,)) -> None:
        self.mirror, self.horizons = mirror, tuple(horizons)
        self.spreads: dict[int, list[_Spread]] = {}
        for index in range(len(mirror.outputs)):
            if index not in mirror.state_outputs:
                sums = partial(JointSums, *mirror.output_in_rows(index))
                self.spreads[index] = [_Spread(sums(), mirror.units_in_rows(index)) for _ in horizons]
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
        """Take f(x), f(T x) and g(x) in. step: of a sequence, from 0. Raises UsageError where outputs are missing."""
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
            eps, average = torch.finfo(plain[index].dtype).eps, (first + back) / 2
            for share, value in ((self.before[index], average), (self.after[index], result)):
                image = self.mirror.turned_output(index, value)
                share.add(self.mirror.in_rows(_real(value)), self.mirror.in_rows(_real(image)), eps)
        if not step:
            self.samples += self.mirror.samples_in(plain)

    def result(self, source: str) -> tuple[Drift, Degeneracy]:
        """The figures of all samples together, over all processes."""
        for sums in (*chain.from_iterable(self.spreads.values()), *self.before, *self.after):
            sums.take_others()
        samples = round(processes.total(self.samples))
        by_horizon = list[list[OutputDrift]]()
        for index, spreads in self.spreads.items():
            by_horizon.append([spread.result(index) for spread in spreads])
        steps = self.horizons[-1]
        outputs = tuple(column[-1] for column in by_horizon)
        horizons = self._horizons(by_horizon) if steps > 1 and outputs else ()
        drift = Drift(outputs, source, samples, steps=steps, horizons=horizons)
        before = tuple(share.value for share in self.before)
        return drift, Degeneracy(before, tuple(share.value for share in self.after))

    def _horizons(self, by_horizon: Sequence[Sequence[OutputDrift]]) -> tuple[Horizon, ...]:
        """The worst output at every length. by_horizon: figures of each output, a horizon each."""
        horizons = list[Horizon]()
        for steps, outputs in zip(self.horizons, zip(*by_horizon, strict=True), strict=True):
            gap, rho = max(output.gap for output in outputs), max(output.rho for output in outputs)
            horizons.append(Horizon(steps, gap, rho, max(output.lean for output in outputs)))
        return tuple(horizons)


def _zero() -> torch.Tensor:
    return torch.zeros((), dtype=torch.float64)


@dataclass
class _Spread:
    """Running sums of one output.

    joints: those of every joint. apart: f(x) - T f(T x). gap, drift, energy, square: sums of squares of every entry
    where there are several units, else of all.
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
        if self.shift is None or self.total is None or self.apart is None:
            self.shift = first.mean(0)
            processes.take_first([self.shift])
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
        """Add the sums of all other processes."""
        if self.total is None or self.apart is None:
            return
        if processes.count() > 1:
            self.views = None
        sums = torch.tensor([self.count, self.rows], dtype=torch.float64)
        self.gap, self.drift, self.energy, self.square = (
            part.double().cpu().contiguous() for part in (self.gap, self.drift, self.energy, self.square)
        )
        processes.add_up([sums, self.total, self.apart, self.gap, self.drift, self.energy, self.square])
        self.count, self.rows = map(round, sums.tolist())
        self.joints.take_others()

    def result(self, index: int) -> OutputDrift:
        """The figures of the output at this position; zeros where nothing was added."""
        if not self.count or self.total is None or self.apart is None:
            return OutputDrift(index, 0.0, 0.0, 0.0)
        units, count = self.units.within(-1), self.count / self.gap.numel()  # of each of the sums
        variance = (self.square - units.summed(self.total.square()).cpu() / self.rows) / count
        scales = units.squared_spread(variance, self.energy / count)
        gap, off = relative(self.gap / count, scales), relative(self.drift / count, scales)
        drifted = sqrt(float(self.drift.sum()) / self.count)
        if isfinite(gap) and isfinite(off):
            rho = off / max(gap / 2, FLOOR)
        else:
            rho = inf
        if not isfinite(rho):
            return OutputDrift(index, gap, off, rho, shift=drifted)
        mean = self.apart / self.rows
        joints = self.joints.result(self.units.shaped(scales.sqrt(), mean.ndim + 1), gap, mean, self.rows)
        shift = max((joint.shift for joint in joints), default=drifted)
        leaning = units.summed(mean.square()).cpu() * (scales.numel() / mean.numel())
        lean = beyond_chance(relative(leaning, scales), gap, self.rows)
        views = self.views.result() if self.views is not None else None
        return OutputDrift(index, gap, off, rho, joints, shift, lean, views is not None and views.differs)


class _Share:
    """Running variance of an output and of its odd part.

    The first values are subtracted before squaring. A nearly constant output hardly differs from them, and without that
    the squares of its size would hide its variance. An output that differs from them by rounding alone has no variance.
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
        """Add the sums of all other processes, counted from the mean of their first values."""
        common = [first.clone() for first in self.firsts]
        processes.add_up(common)
        for index, (first, shared) in enumerate(zip(self.firsts, common, strict=True)):
            off, total = first - shared / processes.count(), self.totals[index]
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
        least = max(1e-12 * self.squares[1], self.noise)
        if whole > least and isfinite(whole):
            return max(odd, 0.0) / whole
        return 0.0

    def _variance(self, index: int) -> float:
        """Variance of the odd part (0) or of the output (1), summed over samples and entries."""
        return self.squares[index] - float(self.totals[index].square().sum()) / self.rows


def _dead_inputs(
    first: Runner, second: Runner, mirror: NetworkMirror, inputs: Sequence[Call], adapted: Sequence[Call]
) -> tuple[tuple[str, ...], int]:
    """Labels of the entries that only the first network reacts to, and the number of entries that it reacts to."""
    before, after = influence(first, mirror, inputs), influence(second, mirror, adapted)
    alive, floor = ALIVE * _highest(before), DEAD * _highest(after)
    is_dead: dict[str, bool] = {}
    for index, (reaction, theirs) in enumerate(zip(before, after, strict=False)):
        if reaction is None or theirs is None or reaction.shape != theirs.shape:
            continue
        for entry in (reaction > alive).nonzero().tolist():
            label = mirror.label("input", index, tuple(entry))
            is_dead[label] = is_dead.get(label, True) and bool(theirs[tuple(entry)] <= floor)
    return tuple(label for label, dead in is_dead.items() if dead), len(is_dead)


def _highest(reactions: Sequence[torch.Tensor | None]) -> float:
    return max((float(reaction.max()) for reaction in reactions if reaction is not None), default=0.0)


# ---- inputs ---------------------------------------------------------------------------------------------------
def random_inputs(
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None,
    count: int,
    seed: int = 0,
    around: Around = _ABOUT_0,
) -> list[Call]:
    """`count` calls in the examples' shapes with N(0, 1) in place of floating-point tensors; integers are kept.

    around: where inputs lie instead.
    """
    return [placed(call, around) for call in random_calls(Arguments.of(args, kwargs), count, seed)]


# ---- running --------------------------------------------------------------------------------------------------
def _notice(
    first: Runner, second: Runner, mirror: NetworkMirror, inputs: Sequence[Call], adapted: Sequence[Call]
) -> None:
    """Start every call of both networks from the state that they have now, if they keep one."""
    first.stateful = second.stateful = bool(mirror.states)
    if inputs and not mirror.states:
        first.notice_state(inputs[0])
        second.notice_state(adapted[0])


def _outputs(runner: Runner, call: Call, mirror: NetworkMirror, *, turned: bool = False) -> list[torch.Tensor]:
    tensors = results(runner.run([call], mirror.states, turned=turned).steps[0])[0]
    check_outputs(tensors, mirror.outputs)
    return tensors


def _real(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor with every complex number as two real ones."""
    if tensor.is_complex():
        return torch.view_as_real(tensor.resolve_conj())
    return tensor
