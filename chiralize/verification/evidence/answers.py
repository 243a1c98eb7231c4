"""The answers of a network to some inputs, and what it answers to their mirror images under any mirror.

A network is run once on x, and once on T x for every mirror T that treats inputs otherwise. `fitting` takes the gaps
from these answers, in the units that are found here: the spread of an output about its mean, or, of a forecast, the
spread of what it adds to the last frame that it was given.

Example: an output of one number answers 1.0, 3.0, 5.0 and 7.0 to 8 samples, each twice. Its mean is 4, its spread
sqrt(5), and its unit, a sum of squares, is 40. Forecasts whose last frames were 0.9, 2.9, 5.1 and 7.1 add ±0.1: their
spread is 0.045 of the whole, too little to be counted in (`_LEAST_DISPLACED`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from math import inf, isfinite, sqrt
from operator import itemgetter

import torch

from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.rollouts import Carried, Steps, roll
from chiralize.graph.running import Arguments, Call, Runner, results
from chiralize.graph.units import Units
from chiralize.problem.data.forecasts import LastFrame
from chiralize.symmetry.action import act
from chiralize.symmetry.representation import Representation, TensorRepresentation
from chiralize.verification.evidence.mirrors import Key, input_key

Run = Callable[[NetworkMirror | None], Sequence[Sequence[torch.Tensor]]]
"""Answers to all inputs, call by call: as they are, or to their images under a mirror."""
Start = tuple[Sequence[torch.Tensor], Sequence[torch.Tensor]]
"""Last frames that an output may be the forecast from, a tensor per call, and the inputs that they are the last of."""
FEWEST_ROWS = 8
"""Of fewer samples no mean is taken: their answers are counted from 0, which makes gaps smaller."""
_STILL = 0.01
"""Answers that vary by less than this share of their size count as constant: in units of so small a spread any gap is
large.
"""
_LEAST_DISPLACED, _MOST_DISPLACED = 0.05, 0.6
"""A forecast that adds less than this share of its spread to the last frame repeats it: what it adds is rounding, or
the noise of people who stand still. One that adds more does not start there."""


class Answers:
    """The answers of a network to some inputs, and what it answers to their mirror images, each computed once.

    Calls whose answers have the same shapes lie in one stack, calls first: T is the same for all of them.

    run: see `of_calls` and `along`.  mirror: T, whose states and units count.
    first: the answers to the first inputs alone, where runs are costly: they suffice to drop most mirrors.
    indices: the outputs that can tell something.  hardly_vary: those that could if they varied (constant ones, too).
    variation: of all outputs that are numbers, their spread in shares of their size.
    displaced: of outputs that are forecasts, the spread of what they add to the last frame, in shares of their own.
    is_finite: whether all answers to the inputs as they are, are.  count: of the inputs, calls.
    """

    def __init__(
        self,
        run: Run,
        mirror: NetworkMirror,
        first: Answers | None = None,
        starts: Mapping[int, Sequence[Start]] | None = None,
    ) -> None:
        self._run = run
        self.first = first
        self._mirrored: dict[Key, list[list[torch.Tensor]]] = {}
        plain = list(map(_in_float64, run(None)))
        self.count = len(plain)
        # Outputs of several units are divided by the spread of each first, so that every entry counts alike.
        self._scales = dict[int, torch.Tensor]()
        for index, units in mirror.units.items():
            if plain[0][index].is_floating_point():
                self._scales[index] = _scale(units, [answers[index] for answers in plain])
        plain = list(map(self._in_units, plain))
        self._plain = _stacked(plain)
        # By output, over all calls: the mean of all samples, and the sum of squares about it.
        columns = [list(column) for column in zip(*plain, strict=True)]
        self.centers = [_mean(column) for column in columns]
        self.spreads = list(map(_spread, columns, self.centers))
        numbers = list[int]()
        for index, answer in enumerate(plain[0]):
            if answer.is_floating_point() and index not in mirror.state_outputs:
                numbers.append(index)
        # Which outputs can tell something: numbers that are no states and vary.
        self.is_finite = all(bool(answer.isfinite().all()) for index in numbers for answer in columns[index])
        self.hardly_vary = [index for index in numbers if self._hardly_varies(columns[index], index)]
        self.indices = [index for index in numbers if index not in self.hardly_vary]
        self.variation = [variation_of(columns[index]) for index in numbers]
        # Forecasts among them, by the frame that they may start from.
        self.displaced = dict[int, float]()
        self._starts = dict[int, list[torch.Tensor]]()
        for index in self.indices:
            for start in (starts or {}).get(index, ()):
                self._count_from(index, plain, start)

    def _count_from(self, index: int, rows: Sequence[Sequence[torch.Tensor]], start: Start) -> None:
        """Count a forecast from its last frames, where it varies least about them of all that were tried.

        Not one that varies less about the input, frame by frame: what gives its input back adds its own errors to it.

        rows: all answers, a call each.
        """
        column = list(map(itemgetter(index), rows))
        if sum(len(torch.atleast_1d(answer)) for answer in column) < FEWEST_ROWS:
            return
        last, given = start
        share = self._share_about(index, column, last)
        # A network that gives its input back (an autoencoder) is nearer to it frame by frame than to its last frame.
        are_alike = [tensor.shape for tensor in given] == [answer.shape for answer in column]
        is_copy = are_alike and self._share_about(index, column, given) < share
        if _LEAST_DISPLACED < share < self.displaced.get(index, _MOST_DISPLACED) and not is_copy:
            self.displaced[index] = share
            unit = self._unit_of_entries(index)
            with_starts = list(map(list, rows))  # of all outputs, since all shapes decide what lies in one stack
            for row, frame in zip(with_starts, last, strict=True):
                row[index] = (frame / unit).expand_as(row[index])
            self._starts[index] = list(map(itemgetter(index), _stacked(with_starts)))

    def _share_about(self, index: int, column: Sequence[torch.Tensor], about: Sequence[torch.Tensor]) -> float:
        """The spread of an output about other tensors, a call each, in shares of its own.

        column: answers in spreads of their units.  about: in the output's own unit.
        """
        unit = self._unit_of_entries(index)
        moved = [answer - tensor / unit for answer, tensor in zip(column, about, strict=True)]
        return relative_rms(_spread(moved, _mean(moved)), self.spreads[index])

    def _unit_of_entries(self, index: int) -> torch.Tensor:
        """What the entries of an output are divided by."""
        return self._scales.get(index, torch.ones((), dtype=torch.float64))

    def count_as_a_whole(self) -> None:
        """Count forecasts as other answers are."""
        self.displaced, self._starts = {}, {}
        if self.first is not None:
            self.first.count_as_a_whole()

    def unit(self, index: int) -> float:
        """The sum of squares that gaps of an output are counted in: of its spread, or of its displacements'."""
        return self.spreads[index] * self.displaced.get(index, 1.0) ** 2

    def moved(self, index: int) -> list[torch.Tensor]:
        """f(x) about its mean, or what a forecast adds to the last frame about the mean of that, stack by stack."""
        if index not in self._starts:
            return [stack - self.centers[index] for stack in self.plain(index)]
        moved = [plain - start for plain, start in zip(self.plain(index), self._starts[index], strict=True)]
        center = _mean(list(chain.from_iterable(moved)))
        return [stack - center for stack in moved]

    def _hardly_varies(self, column: Sequence[torch.Tensor], index: int) -> bool:
        """Whether the answers of one output, a call each, vary by less than a hundredth of their size."""
        size = _spread(column, torch.zeros_like(self.centers[index]))
        return self.spreads[index] <= _STILL**2 * size  # one that is 0 throughout, too

    def plain(self, index: int) -> list[torch.Tensor]:
        """f(x) of one output, stack by stack, in float64; where entries have several units, in spreads of each."""
        return [stack[index] for stack in self._plain]

    def knows(self, mirror: NetworkMirror) -> bool:
        """Whether mirrored inputs of this mirror have been run already, the first at least."""
        return input_key(mirror) in self._mirrored or (self.first is not None and self.first.knows(mirror))

    def share_run(self, mirror: NetworkMirror) -> float:
        """What part of the inputs has been run under this mirror, which is known."""
        if self.first is None or input_key(mirror) in self._mirrored:
            return 1.0
        return self.first.count / self.count

    def turned_back(self, mirror: NetworkMirror, index: int) -> list[torch.Tensor]:
        """T f(T x) of one output, stack by stack, as `plain`. Raises ModelRunError."""
        # f(T x) depends on what T does to inputs alone: mirrors that differ in the outputs share one run.
        key = input_key(mirror)
        if key not in self._mirrored:
            self._mirrored[key] = _stacked(list(map(_in_float64, self._run(mirror))))
        action, scale = of_stacks(mirror.outputs[index]), self._scales.get(index)
        turned = [act(stack[index], action, mirror.center_of(index)) for stack in self._mirrored[key]]
        return turned if scale is None else [stack / scale for stack in turned]

    def pairs(self, mirror: NetworkMirror, index: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """f(x) and T f(T x) of one output in its own unit, call by call. Raises ModelRunError."""
        unit = self._unit_of_entries(index)
        plain, turned = map(chain.from_iterable, (self.plain(index), self.turned_back(mirror, index)))
        return [each * unit for each in plain], [each * unit for each in turned]

    def _in_units(self, answers: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The answers to one call, in spreads of their units where they have several."""
        scaled = list(answers)
        for index, scale in self._scales.items():
            scaled[index] = answers[index] / scale
        return scaled


def of_calls(
    runner: Runner,
    mirror: NetworkMirror,
    calls: Sequence[Call],
    first: int = 0,
    frames: Mapping[int, Sequence[LastFrame]] | None = None,
) -> Answers:
    """Answers to calls, each for itself, from the stored states.

    mirror: its states are those that the network starts from.  first: how many calls suffice to drop a mirror that is
    far worse than T; 0 for all.  frames: those that an output may be the forecast from.
    """

    def run(other: NetworkMirror | None) -> list[list[torch.Tensor]]:
        """As `Run` says."""
        if other is None:
            return [results(runner.run([call], mirror.states).steps[0])[0] for call in calls]
        turned = [runner.run([other.turned(call)], other.states, turned=True) for call in calls]
        return [results(each.steps[0])[0] for each in turned]

    of_first = of_calls(runner, mirror, calls[:first], frames=frames) if 0 < first < len(calls) else None
    # For every frame that an output may start from: that frame of each call, and the input that it is the last of.
    starts = dict[int, list[Start]]()
    inputs = [Arguments.of(*call).tensors for call in calls]
    for index, possible in (frames or {}).items():
        for frame in possible:
            given = list(map(itemgetter(frame.input), inputs))
            starts.setdefault(index, []).append((list(map(frame.of, inputs)), given))
    return Answers(run, mirror, of_first, starts)


def along(
    runner: Runner, mirror: NetworkMirror, sequences: Sequence[Steps], carried: Carried, first: int = 0
) -> Answers:
    """Answers to all calls of sequences, in which every view carries the states that it has come to.

    first: how many sequences suffice to drop a mirror that is far worse than T; 0 for all.
    """

    def run(other: NetworkMirror | None) -> list[list[torch.Tensor]]:
        """As `Run` says."""
        turned = other.turned if other is not None else None
        return [step.answers for steps in sequences for step in roll(runner, steps, carried, turned)]

    of_first = along(runner, mirror, sequences[:first], carried) if 0 < first < len(sequences) else None
    return Answers(run, mirror, of_first)


def _scale(units: Units, answers: Sequence[torch.Tensor]) -> torch.Tensor:
    """The spread of the unit of every entry of an output, 1 where it has none; to be broadcast to an answer."""
    # Sums over all answers by entry of the units; `count` is how many numbers each of them is of.
    center = units.shaped(sum(map(units.summed, answers), torch.zeros(())), answers[0].ndim)
    count = sum(answer.numel() for answer in answers) / center.numel()
    about = [(answer - center / count).square() for answer in answers]
    variance = sum(map(units.summed, about), torch.zeros(())) / count
    energy = sum((units.summed(answer.square()) for answer in answers), torch.zeros(())) / count
    spread = units.squared_spread(variance, energy).sqrt()
    return units.shaped(torch.where(spread > 0, spread, torch.ones_like(spread)), answers[0].ndim)


def _in_float64(answers: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The same with floating-point ones in float64."""
    wide = list(answers)
    for index, answer in enumerate(answers):
        if answer.is_floating_point():
            wide[index] = answer.double()
    return wide


def _stacked(answers: Sequence[Sequence[torch.Tensor]]) -> list[list[torch.Tensor]]:
    """Answers of alike shapes stacked along a new first axis, the calls.

    answers: "call output".  Returned "stack output": of 3 calls of (4, 17, 3) and one of (2, 17, 3) there are two
    stacks, with tensors of (3, 4, 17, 3) and of (1, 2, 17, 3).
    """
    alike: dict[Key, list[Sequence[torch.Tensor]]] = {}
    for row in answers:
        alike.setdefault(tuple(answer.shape for answer in row), []).append(row)
    stacks = list[list[torch.Tensor]]()
    for rows in alike.values():
        stacks.append([torch.stack(column) for column in zip(*rows, strict=True)])
    return stacks


def of_stacks(representation: TensorRepresentation) -> TensorRepresentation:
    """The same on answers that are stacked along a new first axis."""
    return replace(representation, axes=(Representation.trivial(1), *representation.axes))


def _mean(column: Sequence[torch.Tensor]) -> torch.Tensor:
    """The mean of all samples, which lie along the first axis; 0 where there are too few to have one."""
    rows = torch.cat(list(map(torch.atleast_1d, column)))
    if not (rows.is_floating_point() or rows.is_complex()):
        rows = rows.double()
    if len(rows) >= FEWEST_ROWS:
        return rows.mean(0)
    return torch.zeros_like(rows[0])


def variation_of(column: Sequence[torch.Tensor]) -> float:
    """The spread of tensors over their samples, in shares of their size; 1 where there are too few to have a spread."""
    center = _mean(column)
    size = _spread(column, torch.zeros_like(center))
    return sqrt(_spread(column, center) / size) if size else 0.0


def _spread(column: Sequence[torch.Tensor], center: torch.Tensor) -> float:
    """Sum of squares about the center."""
    if not column[0].is_floating_point():
        return 0.0
    return sum(float((answer - center).square().sum()) for answer in column)


def relative_rms(apart: float, spread: float) -> float:
    """The root of one sum of squares over another; 0 where there is no spread, infinite where one is not finite."""
    if not (isfinite(apart) and isfinite(spread)):
        return inf
    if spread > 0:
        return sqrt(apart / spread)
    return 0.0
