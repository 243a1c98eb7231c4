"""`bench --rollout`: a policy step by step as a robot runs it: its own file, one sample, states carried along.

TorchScript is run as torch.jit runs it, ONNX by onnxruntime, everything else as a module. Steps are timed one by one,
in turns, since what counts in a control loop is the slow one.

Five runs go along one sequence of drawn observations o_1, o_2, ..., each with states h of its own:

    timed             f(o_t)                 the original's time
    left, right       f(o_t), f(T o_t)       the flip average ½ (f(o_t) + T f(T o_t)); without T on states, since the
                                             right run has lived in the mirror from its first step
    chiral            g(o_t)                 the result's time
    chiral mirrored   g(T o_t)               with g(o_t): how far g is from commuting with T, after many steps

No environment answers: times do not depend on what is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import median, quantiles
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from chiralize.body.tensors import ResolvedTensor
from chiralize.commands.bench import ORIGINAL, TTA, with_threads
from chiralize.commands.runtimes import parameters_of
from chiralize.errors import ModelRunError, UsageError
from chiralize.errors.words import first_line
from chiralize.graph.copies import copied
from chiralize.graph.running import Arguments, results
from chiralize.problem.network import Network
from chiralize.problem.progress import Progress, silent
from chiralize.problem.resizing import resized
from chiralize.report import BenchReport, Cost, RolloutRow
from chiralize.report.particulars import Conditions
from chiralize.storage.format import LoadedModel
from chiralize.symmetry.action import act

_WARM = 20
"""Steps before the first one that is timed."""
_LEAST = 100
"""Steps at least: of fewer no slowest hundredth could be given."""
_KEEPS = 0.9  # of an observation, from step to step
_WHERE = "--rollout"
DRAWN = "observations of the roll-out are drawn (a first-order walk of spread 1): times do not depend on them, {} may"

Step = Callable[[Sequence[Tensor]], list[Tensor]]
"""One step: what is observed to what is answered, states apart."""


@dataclass(frozen=True)
class Runner:
    """A network and the file that it came from."""

    network: Network
    loaded: LoadedModel

    @property
    def states(self) -> dict[int, int]:
        """The output that each argument is in the next call, by the argument's position."""
        return {handed.input: handed.output for handed in self.network.resolved.handed}

    @cached_property
    def tensors(self) -> list[Tensor]:
        """The tensors of the example, in order, of one sample. Raises ModelRunError."""
        return list(Arguments.of(*resized(self.network, 1)).tensors)

    @property
    def observed(self) -> list[tuple[Tensor, ResolvedTensor]]:
        """Examples of what is observed, one sample of each, and how it is mirrored."""
        pairs = zip(self.tensors, self.network.resolved.input_tensors, strict=True)
        return [pair for index, pair in enumerate(pairs) if index not in self.states]

    @property
    def answered(self) -> list[int]:
        """Positions of the answers that are no states."""
        count = len(self.network.resolved.output_tensors)
        return [index for index in range(count) if index not in self.states.values()]

    def begin(self, threads: int) -> Step:
        """A run of its own, from the state in which the file has the network. Raises UsageError, ModelRunError."""
        call = self._session(threads) if self.loaded.format == "onnx" else self._module()
        examples, answered, states = self.tensors, self.answered, self.states
        # States by the position of their argument; an episode begins with zeros.
        held = {index: torch.zeros_like(examples[index]) for index in states}

        def step(observations: Sequence[Tensor]) -> list[Tensor]:
            """One step."""
            # Observations fill the arguments that are no states, in their order.
            rest = iter(observations)
            tensors: list[Tensor] = []
            for index in range(len(examples)):
                tensors.append(held[index] if index in held else next(rest))
            answers = call(tensors)
            for index, output in states.items():
                held[index] = answers[output]
            return [answers[index] for index in answered]

        return step

    def _module(self) -> Callable[[Sequence[Tensor]], list[Tensor]]:
        """Calls of a copy, so that what forward writes into buffers belongs to this run."""
        if self.loaded.format == "torchscript":
            module = self.loaded.module
        else:
            module = self.network.module
        again = copied(module)
        arguments = Arguments.of(self.network.args, self.network.kwargs)

        def call(tensors: Sequence[Tensor]) -> list[Tensor]:
            """One call of the module."""
            args, kwargs = arguments.filled(tensors)
            with torch.inference_mode():
                return results(again(*args, **kwargs))[0]

        return call

    def _session(self, threads: int) -> Callable[[Sequence[Tensor]], list[Tensor]]:
        """Calls of the file by onnxruntime, in a session of its own."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        session: Any = onnxruntime.InferenceSession(
            str(self.loaded.source), options, providers=["CPUExecutionProvider"]
        )
        names = [port.name for port in session.get_inputs()]

        def call(tensors: Sequence[Tensor]) -> list[Tensor]:
            """One call of the session."""
            arrays = {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)}
            return [torch.from_numpy(array) for array in session.run(None, arrays)]

        return call


def rolled(
    original: Runner,
    chiral: Runner,
    *,
    steps: int = 500,
    threads: int = 1,
    progress: Progress = silent,
) -> BenchReport:
    """Latency of every step and how far answers are from commuting with the mirror, along one sequence.

    Both networks take one sample.  steps: of the sequence, 100 at least; 20 before them are not timed.
    A row each for the original, its flip average and the chiral network: median and slowest hundredth of a step in
    seconds, the largest gap over the sequence and the gap of its last step, in units of the largest answer.
    Raises UsageError, ModelRunError.
    """
    if steps < _LEAST:
        raise UsageError(_WHERE, f"{steps} steps are too few for the slowest hundredth", f"give at least {_LEAST}")
    # One sequence is shown to both.
    _check_observed(original, chiral)
    mirrored = _Mirrored(original)
    with with_threads(threads):
        runs = {name: runner.begin(threads) for name, runner in _instances(original, chiral)}
        times: dict[str, list[float]] = {ORIGINAL: [], TTA: [], _CHIRAL: []}
        gaps: dict[str, _Gap] = {name: _Gap() for name in times}
        away = _Gap()
        for number, here in enumerate(_walk(original, steps + _WARM)):
            # Nobody asks for the mirror image outside of the flip average: it is made before the clock starts.
            image_of_here = mirrored.observed(here)
            spent: dict[str, float] = {}
            _, spent[ORIGINAL] = _timed(lambda here=here: runs["timed"](here))

            # The flip average pays for both runs, for T of what is observed, for T of the answers and for the mean.
            def both(here: list[Tensor] = here) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
                """Both views of the original, and their average."""
                first, second = runs["left"](here), runs["right"](mirrored.observed(here))
                turned = mirrored.answered(second)
                return first, second, [(one + other) / 2 for one, other in zip(first, turned, strict=True)]

            (first, second, average), spent[TTA] = _timed(both)
            answers, spent[_CHIRAL] = _timed(lambda here=here: runs["chiral"](here))
            image = runs["chiral mirrored"](image_of_here)
            # The first steps count for the states alone: they have to be taken, but times and gaps begin after them.
            if number < _WARM:
                continue
            for name, seconds in spent.items():
                times[name].append(seconds)
            gaps[ORIGINAL].add(mirrored.answered(second), first)
            # An average has no gap by construction; its size is what it is compared in.
            gaps[TTA].add(average, average)
            gaps[_CHIRAL].add(mirrored.answered(image), answers)
            away.add(answers, average)
            if number % 100 == 0:
                progress("rolling out", number / steps)
    rows = tuple(_row(name, seconds, gaps[name]) for name, seconds in times.items())
    # Only the last row, that of the chiral network, is compared with the flip average.
    rows = (*rows[:-1], replace(rows[-1], to_average=away.relative))
    # Sizes of both networks beside their times.
    counts = parameters_of(original.network), parameters_of(chiral.network)
    cost = Cost(*counts) if all(counts) else Cost(0, 0)  # graphs keep weights among their constants
    names = original.loaded.source.name, chiral.loaded.source.name
    notes = (DRAWN.format("how far answers are apart"), f"run as {_how(original)} and as {_how(chiral)}")
    return BenchReport(*names, (), cost, Conditions(threads), notes=notes, rollout=rows)


_CHIRAL = "chiral"


def _instances(original: Runner, chiral: Runner) -> list[tuple[str, Runner]]:
    """Every run has its own states."""
    alike = [(name, original) for name in ("timed", "left", "right")]
    return [*alike, ("chiral", chiral), ("chiral mirrored", chiral)]


def _timed(run: Callable[[], Any]) -> tuple[Any, float]:
    """What a run answers, and its seconds on the wall. Raises ModelRunError for whatever it raises."""
    started = perf_counter()
    try:
        answer = run()
    except Exception as error:
        raise ModelRunError(_WHERE, first_line(error), "give networks that take one sample at a time") from error
    return answer, perf_counter() - started


class _Gap:
    """The largest difference over a sequence, that of its last step, and the largest answer."""

    def __init__(self) -> None:
        self.largest = self.last = self.size = 0.0

    def add(self, answers: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
        """One more step."""
        differences = [float((one - other).abs().max()) for one, other in zip(answers, expected, strict=True)]
        # The maximum of torch keeps what is no number; that of Python drops it, or what came before it.
        self.last = float(torch.tensor(differences, dtype=torch.float64).max())
        self.largest = float(torch.tensor([self.largest, self.last], dtype=torch.float64).max())
        self.size = max(self.size, *(float(other.abs().max()) for other in expected))

    @property
    def relative(self) -> float:
        """The largest difference in units of the largest answer."""
        if self.size:
            return self.largest / self.size
        return 0.0


def _row(name: str, seconds: Sequence[float], gap: _Gap) -> RolloutRow:
    """One network: median and slowest hundredth of its steps, the largest gap and the last."""
    slowest = quantiles(seconds, n=100)[-1]
    return RolloutRow(name, median(seconds), slowest, gap.relative, gap.last / gap.size if gap.size else 0.0)


class _Mirrored:
    """T on what is observed and on answers, states apart."""

    def __init__(self, runner: Runner) -> None:
        self.inputs = [tensor for _, tensor in runner.observed]
        self.outputs = [runner.network.resolved.output_tensors[index] for index in runner.answered]

    def observed(self, values: Sequence[Tensor]) -> list[Tensor]:
        """T of observations."""
        return [_turned(value, tensor) for value, tensor in zip(values, self.inputs, strict=True)]

    def answered(self, values: Sequence[Tensor]) -> list[Tensor]:
        """T of answers."""
        return [_turned(value, tensor) for value, tensor in zip(values, self.outputs, strict=True)]


def _turned(value: Tensor, tensor: ResolvedTensor) -> Tensor:
    """T of one tensor. Raises UsageError where its representation is known to inference alone."""
    if tensor.is_free:
        return value
    if tensor.representation is None:
        raise UsageError(tensor.where, "it is not said how the mirror acts on it", "describe it in the specification")
    return act(value, tensor.representation.fitted(tuple(value.shape)), tensor.center)


def _walk(runner: Runner, steps: int) -> list[list[Tensor]]:
    """Observations of every step: each has most of the one before, and spread 1; free ones stay as in the example."""
    generator = torch.Generator().manual_seed(0)
    walks: list[list[Tensor]] = []
    now = [torch.randn(value.shape, generator=generator) for value, _ in runner.observed]
    for _ in range(steps):
        fresh = [torch.randn(value.shape, generator=generator) for value in now]
        # 0.9^2 + (1 - 0.9^2) = 1: the spread stays 1 from step to step.
        now = [_KEEPS * value + (1 - _KEEPS**2) ** 0.5 * change for value, change in zip(now, fresh, strict=True)]
        row: list[Tensor] = []
        for value, (example, tensor) in zip(now, runner.observed, strict=True):
            is_drawn = example.is_floating_point() and not tensor.is_free
            row.append(value.to(example.dtype) if is_drawn else example)
        walks.append(row)
    return walks


def _check_observed(original: Runner, chiral: Runner) -> None:
    """Raise UsageError where the files observe other things."""
    first = [tuple(value.shape) for value, _ in original.observed]
    second = [tuple(value.shape) for value, _ in chiral.observed]
    if first != second:
        raise UsageError(_WHERE, f"the files observe {first} and {second}", "give two forms of one network")


def _how(runner: Runner) -> str:
    """What runs the network, in words."""
    return {"onnx": "onnxruntime", "torchscript": "torch.jit"}.get(runner.loaded.format, "a module of torch")
