"""What a conversion did to the answers: drift from the original's flip average, and what became of left and right.

    s = RMS(f(x) - mean f)        gap = RMS(f(x) - T f(T x)) / s        TTA = (f(x) + T f(T x)) / 2
    drift = RMS(g(x) - TTA) / s   rho = drift / max(gap / 2, 0.01)

f is the original, g the result. Everything is summed batch by batch in float64; no output is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf, isfinite, sqrt
from typing import Any

import torch

from chiralize.graph import processes
from chiralize.graph.mirror import Mirror
from chiralize.graph.rollouts import HORIZONS, LONGEST, Carried, Steps, roll
from chiralize.graph.running import Arguments, Around, Call, Runner, check_outputs, placed, random_calls, results
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
    mirror: Mirror,
    inputs: Sequence[Call],
    source: str,
    *,
    adapt: Adapt | None = None,
    probes: int = 2,
) -> tuple[Drift, Degeneracy]:
    """Drift of `converted` from the flip average of `original`, and whether it still tells left from right.

    inputs: held-out calls (args, kwargs), each a batch; axis 0 of the outputs counts as samples.  source: where they
    came from, for the report.  adapt: turns a call of the original into one of the converted network where they
    differ (a lifted network has two copies of every state).  Outputs that are states or integers are left out.

    Odd share of an output: the variance over inputs of its odd part (y - T y) / 2 in that of y; of the original's
    flip average (the original's own odd part also holds what is merely lopsided) and of the result.  dead inputs:
    entries that the original reacts to and the result does not, looked for on the first `probes` calls.
    Raises ModelRunError, UsageError.
    """
    tally = Tally(mirror)
    with Runner(original) as first, Runner(converted) as second:
        _notice(first, second, mirror, inputs, adapt)
        for call in inputs:
            own = _outputs(first, call, mirror)
            turned = _outputs(first, mirror.turned(call), mirror, turned=True)
            theirs = results(second.run([adapt(call) if adapt else call]).steps[0])[0]
            tally.add(own, turned, theirs)
        dead, live = _dead_inputs(first, second, mirror, list(inputs[:probes]), adapt)
    drift, degeneracy = tally.result(source)
    return drift, replace(degeneracy, dead_inputs=dead, live_inputs=live)


def measure_along(
    original: torch.nn.Module,
    converted: torch.nn.Module,
    mirror: Mirror,
    sequences: Sequence[Steps],
    source: str,
    carried: Carried,
    *,
    two_view: bool = False,
) -> tuple[Drift, Degeneracy]:
    """The same along sequences, at which both views of the original and the result carry what is their own.

    sequences: held-out ones.  mirror: leaves states alone, since every view starts from the one that is stored.
    two_view: the result takes and returns the states of both views, side by side on their last axis.
    Drift has one figure for every length of `HORIZONS`, up to that which half of the sequences have.
    Raises ModelRunError, UsageError.
    """
    longest = min(sorted(map(len, sequences))[len(sequences) // 2], LONGEST)
    horizons = tuple(sorted({min(own, longest) for own in HORIZONS}))
    tally, sizes = Tally(mirror, horizons), _of_both_views if two_view else tuple
    with Runner(original) as first, Runner(converted) as second:
        for steps in sequences:
            steps = steps[:longest]
            runs = [  # one after the other: a network that cannot be copied has one state
                list(run)
                for run in (
                    roll(first, steps, carried),
                    roll(first, steps, carried, mirror.turned),
                    roll(second, steps, carried, state_sizes=sizes),
                )
            ]
            for number, made in enumerate(zip(*runs, strict=True)):
                tally.add(*(own.answers for own in made), step=number)
    return tally.result(source)


def _of_both_views(shape: Sequence[int]) -> tuple[int, ...]:
    return (*shape[:-1], 2 * shape[-1])


class Tally:
    """Running sums over every output of both views of the original and of the result.

    horizons: lengths of sequences; a figure for each is taken over the steps up to there. One for single calls.
    States and integers are left out.
    """

    def __init__(self, mirror: Mirror, horizons: Sequence[int] = (1,)) -> None:
        self.mirror, self.horizons = mirror, tuple(horizons)
        wanted = [index for index in range(len(mirror.outputs)) if index not in mirror.state_outputs]
        self.spreads = {
            index: [_Spread(JointSums(mirror.outputs[index], partial(mirror.part, "output", index))) for _ in horizons]
            for index in wanted
        }
        self.before, self.after = ([_Share() for _ in mirror.outputs] for _ in range(2))
        self.samples = 0

    def add(
        self,
        own: Sequence[torch.Tensor],
        turned: Sequence[torch.Tensor],
        theirs: Sequence[torch.Tensor],
        step: int = 0,
    ) -> None:
        """Take f(x), f(T x) and g(x) in. step: of a sequence, from 0. Raises UsageError where outputs are missing."""
        for answers in (own, turned, theirs):
            check_outputs(answers, self.mirror.outputs)
        for index, spreads in list(self.spreads.items()):
            if not (own[index].is_floating_point() or own[index].is_complex()):
                del self.spreads[index]
                continue
            first, other, result = (_wide(answers[index]) for answers in (own, turned, theirs))
            back = self.mirror.turned_output(index, other)
            parts = _real(first), _real(back), _real(result)
            for spread, length in zip(spreads, self.horizons, strict=True):
                if step < length:
                    spread.add(*parts)
            eps, average = torch.finfo(own[index].dtype).eps, (first + back) / 2
            for share, value in ((self.before[index], average), (self.after[index], result)):
                share.add(_real(value), _real(self.mirror.turned_output(index, value)), eps)
        if not step:
            self.samples += own[0].shape[0] if own and own[0].ndim else 1

    def result(self, source: str) -> tuple[Drift, Degeneracy]:
        """What became of it, over all processes."""
        for sums in (*(spread for own in self.spreads.values() for spread in own), *self.before, *self.after):
            sums.take_others()
        samples = round(processes.total(self.samples))
        found = {index: [spread.result(index) for spread in own] for index, own in self.spreads.items()}
        steps = self.horizons[-1]
        outputs = tuple(by_horizon[-1] for by_horizon in found.values())
        horizons = self._horizons(list(found.values())) if steps > 1 and outputs else ()
        drift = Drift(outputs, source, samples, steps=steps, horizons=horizons)
        before, after = (tuple(share.value for share in column) for column in (self.before, self.after))
        return drift, Degeneracy(before, after)

    def _horizons(self, found: Sequence[Sequence[OutputDrift]]) -> tuple[Horizon, ...]:
        """The worst output at every length. found: figures of each output, a horizon each."""
        horizons = list[Horizon]()
        for steps, outputs in zip(self.horizons, zip(*found, strict=True), strict=True):
            gap, rho = max(output.gap for output in outputs), max(output.rho for output in outputs)
            horizons.append(Horizon(steps, gap, rho))
        return tuple(horizons)


@dataclass
class _Spread:
    """Running sums of one output. joints: those of every joint."""

    joints: JointSums
    count: int = 0
    rows: int = 0
    gap: float = 0.0
    drift: float = 0.0
    energy: float = 0.0
    shift: torch.Tensor | None = None
    total: torch.Tensor | None = None
    square: float = 0.0

    def add(self, own: torch.Tensor, back: torch.Tensor, theirs: torch.Tensor) -> None:
        """own: f(x), back: T f(T x), theirs: g(x), each "sample entry..."."""
        if not own.ndim:
            own, back, theirs = own[None], back[None], theirs[None]
        if self.shift is None or self.total is None:
            self.shift = own.mean(0)
            processes.take_first([self.shift])
            self.total = torch.zeros_like(self.shift)
        about = own - self.shift
        self.total += about.sum(0)
        self.square += float(about.square().sum())
        self.energy += float(own.square().sum())
        self.rows += own.shape[0]
        self.count += own.numel()
        gap, drift = (own - back).square(), (theirs - (own + back) / 2).square()
        self.gap += float(gap.sum())
        self.drift += float(drift.sum())
        self.joints.add(gap, drift)

    def take_others(self) -> None:
        """Add the sums of all other processes."""
        if self.total is None:
            return
        own = [self.count, self.rows, self.gap, self.drift, self.energy, self.square]
        sums = torch.tensor([float(value) for value in own], dtype=torch.float64)
        processes.add_up([sums, self.total])
        count, rows, self.gap, self.drift, self.energy, self.square = sums.tolist()
        self.count, self.rows = round(count), round(rows)
        self.joints.take_others()

    def result(self, index: int) -> OutputDrift:
        if not self.count or self.total is None:
            return OutputDrift(index, 0.0, 0.0, 0.0)
        about = (self.square - float(self.total.square().sum()) / self.rows) / self.count
        energy = self.energy / self.count
        scale = sqrt(about) if about > 1e-24 * energy else sqrt(energy)  # a constant output has no spread
        gap, off = (_ratio(sqrt(total / self.count), scale) for total in (self.gap, self.drift))
        rho = off / max(gap / 2, FLOOR) if isfinite(gap) and isfinite(off) else inf
        joints = self.joints.result(scale, gap) if isfinite(rho) else ()
        shift = max((own.shift for own in joints), default=sqrt(self.drift / self.count))
        return OutputDrift(index, gap, off, rho, joints, shift)


def _ratio(value: float, scale: float) -> float:
    if not (isfinite(value) and isfinite(scale)):
        return inf
    return value / scale if scale else (inf if value else 0.0)


class _Share:
    """Running variance of an output and of its odd part.

    Counted from their first values, which a nearly constant output hardly leaves: its squares would drown the rest. One
    that leaves them by rounding alone has no variance.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.noise = 0.0
        self.squares = [0.0, 0.0]
        self.firsts: list[torch.Tensor] = []
        self.totals: list[torch.Tensor] = []

    def add(self, value: torch.Tensor, turned: torch.Tensor, eps: float) -> None:
        """value: "sample entry...", turned: T of it, in float64.  eps: of the type that they came in."""
        self.noise += float((_ROUNDED * eps * value).square().sum())
        parts = [part if part.ndim else part[None] for part in ((value - turned) / 2, value)]
        self.firsts = self.firsts or [part[0].clone() for part in parts]
        parts = [part - first for part, first in zip(parts, self.firsts, strict=True)]
        self.rows += parts[0].shape[0]
        self.squares = [old + float(part.square().sum()) for old, part in zip(self.squares, parts, strict=True)]
        sums = [part.sum(0) for part in parts]
        self.totals = [old + new for old, new in zip(self.totals, sums, strict=True)] if self.totals else sums

    def take_others(self) -> None:
        """Add the sums of all other processes, counted from the mean of their first values."""
        common = [first.clone() for first in self.firsts]
        processes.add_up(common)
        for place, (own, shared) in enumerate(zip(self.firsts, common, strict=True)):
            off, total = own - shared / processes.count(), self.totals[place]
            self.squares[place] += 2 * float((off * total).sum()) + self.rows * float(off.square().sum())
            self.totals[place] = total + self.rows * off
        sums = torch.tensor([float(self.rows), self.noise, *self.squares], dtype=torch.float64)
        processes.add_up([sums, *self.totals])
        self.rows, self.noise, self.squares = round(float(sums[0])), float(sums[1]), sums[2:].tolist()

    @property
    def value(self) -> float:
        if not self.rows:
            return 0.0
        odd, whole = (
            square - float(total.square().sum()) / self.rows
            for square, total in zip(self.squares, self.totals, strict=True)
        )
        least = max(1e-12 * self.squares[1], self.noise)
        return max(odd, 0.0) / whole if whole > least and isfinite(whole) else 0.0


def _dead_inputs(
    first: Runner, second: Runner, mirror: Mirror, inputs: Sequence[Call], adapt: Adapt | None
) -> tuple[tuple[str, ...], int]:
    """Labels of the entries that only the first network reacts to, and of how many it reacts to at all."""
    before = influence(first, mirror, inputs)
    after = influence(second, mirror, [adapt(call) for call in inputs] if adapt else inputs)
    highest = [max((float(own.max()) for own in side if own is not None), default=0.0) for side in (before, after)]
    live: dict[str, bool] = {}
    for index, (own, theirs) in enumerate(zip(before, after, strict=False)):
        if own is None or theirs is None or own.shape != theirs.shape:
            continue
        for entry in (own > ALIVE * highest[0]).nonzero().tolist():
            label = mirror.label("input", index, tuple(entry))
            dead = bool(theirs[tuple(entry)] <= DEAD * highest[1])
            live[label] = live.get(label, True) and dead
    return tuple(label for label, dead in live.items() if dead), len(live)


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
def _notice(first: Runner, second: Runner, mirror: Mirror, inputs: Sequence[Call], adapt: Adapt | None) -> None:
    first.stateful = second.stateful = bool(mirror.states)
    if inputs and not mirror.states:
        first.notice_state(inputs[0])
        second.notice_state(adapt(inputs[0]) if adapt else inputs[0])


def _outputs(runner: Runner, call: Call, mirror: Mirror, *, turned: bool = False) -> list[torch.Tensor]:
    tensors = results(runner.run([call], mirror.states, turned=turned).steps[0])[0]
    check_outputs(tensors, mirror.outputs)
    return tensors


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to(torch.complex128 if tensor.is_complex() else torch.float64)


def _real(tensor: torch.Tensor) -> torch.Tensor:
    """Complex numbers as two each."""
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
