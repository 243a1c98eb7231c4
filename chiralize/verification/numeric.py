"""The numeric verdict: does F(T x) = T F(x) hold on this network, judged by T_in, T_out and the network alone.

    residual = max |F(T x) - T F(x)|      bound = 16 eps scale depth,      scale = max |F|

The rules have no part in it, so a wrong rule cannot approve itself. Where T is affine (pixels), random inputs lie about
its centre and span the picture, none of them exactly 0 (a missing joint); the scale of an output in pixels is counted
from its centre, and the bound allows for the rounding of stored offsets as well: + 8 eps max |F| + 4 times what the
outputs move by if every weight moves by half its last digit. Some networks enlarge rounding (large hidden values that
cancel): where a residual is not far beyond the bound, as much is allowed for as they move by in the precision that they
are judged in.

What holds in float64 need not hold in the precision in which a network runs: a result whose layers enlarge rounding is
equivariant on paper alone. `judge_own` asks there, and allows for what the original itself rounds away.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch

from chiralize.errors import ChiralizeError, ModelRunError
from chiralize.graph.copies import is_large
from chiralize.graph.dtypes import coarser_inside, own_dtype
from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.other_sizes import Resized
from chiralize.graph.running import Arguments, Call, Runner, check_outputs, doubled, random_tensor, results, same
from chiralize.graph.silence import quiet
from chiralize.graph.strides import answers_by_layout
from chiralize.symmetry.action import Center, act
from chiralize.verification.verdicts import NumericVerdict, OutputResidual

__all__ = ["act", "judge", "judge_own"]

STEPS = 3
_CLOSE = 100  # times the bound that a network's own rounding may make it
_PLAIN = 0.1  # of the output's scale: more than rounding makes of it in any dtype
REAL = 8
_TIMES = 64  # what the original rounds away, that a result may be off by in the same precision
_LEAST = 4  # eps that every network rounds away; few samples of few numbers may show less


def judge(
    module: torch.nn.Module,
    mirror: NetworkMirror,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    *,
    real: Sequence[Call] = (),
    samples: int = 8,
    tolerance: float | None = None,
    depth: int = 1,
    seed: int = 0,
    batches: Sequence[int] = (1, 2, 5),
    sizes: Sequence[Resized] = (),
    strides: bool = True,
) -> NumericVerdict:
    """Run the network on x and on T x and compare F(T x) with T F(x).

    args, kwargs: example inputs; their tensors, flattened, are what `mirror.inputs` describes.  samples: how many
    random inputs N(0, 1) in their shapes (integers keep their values).  real: more inputs, the first 8 are used.
    depth: contraction steps from input to output (>= 1), scales the bound.  tolerance: a bound relative to the
    output's scale instead.  batches: sizes of axis 0 to try as well, where it is no body axis.
    sizes: of other axes.  strides: also compare its answers to the same inputs laid out otherwise in memory.
    A large network is judged on one input: each op computes in float64, which takes its time.
    Judged in float64 on a copy where that runs, else in the network's own dtype with a note that says why.
    The network is left as it was. Raises ModelRunError, UsageError, RepresentationSizeError.
    """
    example = Arguments.of(args, kwargs)
    mirror.turned(example.filled(example.tensors))
    if is_large(module):
        samples, real, batches, sizes = int(not real), real[:1], (), ()
    task = _Task(mirror, example, tuple(real[:REAL]), samples, tolerance, max(depth, 1), seed)
    task = replace(task, batches=tuple(batches), sizes=sizes, strides=strides)
    try:
        return _judge_in(module, task, True, ())
    except _CoarserInside as signal:
        reason = str(signal)
    except ModelRunError as error:
        reason = error.facts
    dtype = own_dtype(module, example)
    return _judge_in(module, task, False, (f"judged in {_name(dtype)}, not float64: {reason}",))


def plainly_differs(
    module: torch.nn.Module, mirror: NetworkMirror, args: Sequence[Any], kwargs: Mapping[str, Any] | None = None
) -> bool:
    """Whether one input in the network's own dtype is enough to see that it does not commute with the mirror at all."""
    example = Arguments.of(args, kwargs)
    task = _Task(mirror, example, samples=1, tolerance=_PLAIN)
    tally = _Tally(mirror, 0.0, task)
    with Runner(module) as runner:
        runner.stateful = True
        for calls in task.sequences(1):
            _compare(runner, mirror, calls, tally)
    return any(output.bound > 0 and not output.passed for output in tally.outputs())


def judge_own(
    module: torch.nn.Module,
    mirror: NetworkMirror,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    *,
    original: Mapping[int, float] | None = None,
    real: Sequence[Call] = (),
    samples: int = 8,
    tolerance: float | None = None,
    depth: int = 1,
) -> NumericVerdict | None:
    """The verdict in the precision in which the network runs: the coarsest of its weights, buffers and inputs.

    original: what the network it was made from rounds away there (`precision.rounding`); the bound is 64 times that,
    and never below 256 eps of the scale. Without it, 16 eps for every contraction step, as in float64.
    None where that precision is float64, where the network does not run in it, or where no output rounds.
    """
    example = Arguments.of(args, kwargs)
    if own_dtype(module, example) == torch.float64:
        return None
    if is_large(module):
        samples, real = int(not real), real[:1]
    task = _Task(mirror, example, tuple(real[:REAL]), samples, tolerance, max(depth, 1))
    task = replace(task, as_it_runs=True, original=original)
    try:
        verdict = _judge_in(module, task, False, ())
    except ModelRunError:
        return None
    if not verdict.outputs:
        return None
    return verdict


@dataclass(frozen=True)
class _Task:
    """The arguments of `judge`. as_it_runs: judge in the precision in which the network runs."""

    mirror: NetworkMirror
    example: Arguments
    real: tuple[Call, ...] = ()
    samples: int = 8
    tolerance: float | None = None
    depth: int = 1
    seed: int = 0
    batches: tuple[int, ...] = ()
    sizes: Sequence[Resized] = ()
    strides: bool = False
    as_it_runs: bool = False
    original: Mapping[int, float] | None = None

    def sequences(self, steps: int) -> list[list[Call]]:
        """Consecutive calls for every sample; `steps` is 1 for a network without state."""
        generator = torch.Generator().manual_seed(self.seed)
        sequences = list[list[Call]]()
        for _ in range(self.samples):
            sequences.append([self._drawn(generator) for _ in range(steps)])
        return sequences + [[call] * steps for call in self.real]

    def _drawn(self, generator: torch.Generator) -> Call:
        call = self.example.filled([random_tensor(tensor, generator) for tensor in self.example.tensors])
        return self.mirror.placed(call)

    def of_rows(self, rows: int) -> list[Call]:
        """One random call with `rows` entries along axis 0 of the inputs that share it."""
        shapes = list[Sequence[int]]()
        for tensor in self.example.tensors:
            has_rows = tensor.ndim > 0 and tensor.shape[0] == self.batch_size
            shapes.append((rows, *tensor.shape[1:]) if has_rows else tuple(tensor.shape))
        return self.of_sizes(rows, shapes)

    def of_sizes(self, size: int, shapes: Sequence[Sequence[int]]) -> list[Call]:
        """One random call in other shapes."""
        generator = torch.Generator().manual_seed(self.seed + size)
        tensors = [
            random_tensor(tensor, generator, shape) for tensor, shape in zip(self.example.tensors, shapes, strict=True)
        ]
        return [self.mirror.placed(self.example.filled(tensors))]

    @property
    def batch_size(self) -> int | None:
        """Size of axis 0 of the first input, or None where axis 0 of some input belongs to the body."""
        axes = [rep.axes[0] for rep in self.mirror.inputs if rep.axes]
        if axes and all(axis.is_trivial for axis in axes):
            return axes[0].size
        return None


def _judge_in(module: torch.nn.Module, task: _Task, double: bool, notes: tuple[str, ...]) -> NumericVerdict:
    """The verdict in float64 if `double`, else in the network's own dtype. Raises _CoarserInside, ModelRunError."""
    mirror = task.mirror
    dtype = torch.float64 if double else own_dtype(module, task.example)
    with Runner(module, double=double) as runner:
        runner.stateful = bool(mirror.states)
        first = task.example.filled(task.example.tensors)
        undescribed = runner.notice_state(first) and not mirror.states
        coarser = coarser_inside(runner, first)
        if double and coarser:
            raise _CoarserInside(f"the network itself casts to {', '.join(sorted(map(_name, coarser)))}")
        eps = max(torch.finfo(kind).eps for kind in {dtype, *coarser})
        tally = _Tally(mirror, eps, task)
        notes += mirror.around.notes
        if undescribed:
            notes += ("the network keeps a state that the mirror does not describe; both runs start from the same one",)
        sequences = task.sequences(STEPS if runner.stateful else 1)
        for calls in sequences:
            _compare(runner, mirror, calls, tally)
        if mirror.is_affine:  # offsets are stored in biases, and rounded there
            _add_rounding(module, runner, sequences[:2], tally, own_dtype(module, task.example))
        equivariant = all(output.passed for output in tally.outputs())
        ran = _other_batches(module, runner, task, tally, dtype)
        sizes = _other_sizes(module, runner, task, tally, dtype)
        # A residual that is not far beyond the bound may be rounding that the network enlarges: measure how much.
        if double and not mirror.is_affine and tally.is_close() and not is_large(module):
            _add_rounding(module, runner, sequences, tally, dtype)
        layout = ""
        if equivariant and sequences:
            layout = _other_strides(runner, task, tally, sequences[0][0], is_large(module))
    beyond = tuple(tally.broken) if equivariant else ()
    return NumericVerdict(tally.outputs(), _name(dtype), len(sequences), ran, notes, sizes, beyond, layout)


def _compare(runner: Runner, mirror: NetworkMirror, calls: Sequence[Call], tally: _Tally) -> None:
    """Run consecutive calls, then their mirror images, and put answers, other results and states in the tally."""
    calls = _as_run(runner, calls)  # before T, which may round
    plain = runner.run(calls, mirror.states)
    turned = runner.run([mirror.turned(call) for call in calls], mirror.states, turned=True)
    for step, turned_step in zip(plain.steps, turned.steps, strict=True):
        tensors, others = results(step)
        turned_tensors, turned_others = results(turned_step)
        check_outputs(tensors, mirror.outputs)
        check_outputs(turned_tensors, mirror.outputs)
        for index, (answer, turned_answer) in enumerate(zip(tensors, turned_tensors, strict=True)):
            expected = mirror.turned_output(index, answer)
            label, center = partial(mirror.label, "output", index), mirror.center_of(index)
            tally.add(f"output {index}", index, turned_answer, expected, label, center)
        tally.add_others(others, turned_others)
    for position, (name, state) in enumerate(plain.states.items()):
        index = len(mirror.outputs) + position
        tally.add(f"state {name}", index, turned.states[name], act(state, mirror.states[name]), _state_label(name))


def _as_run(runner: Runner, calls: Sequence[Call]) -> Sequence[Call]:
    """The calls in the precision in which they are run."""
    return list(map(doubled, calls)) if runner.double else calls


def _add_rounding(
    module: torch.nn.Module, runner: Runner, sequences: Sequence[list[Call]], tally: _Tally, dtype: torch.dtype
) -> None:
    """Measure by how much the outputs move if every stored number moves by half its last digit in `dtype`.

    In the network's own dtype: a bias that holds an offset, b - W c, is no more exact than that, and neither is any
    figure about it. In the dtype that it is judged in: whatever is rounded on the way moves as much.
    """
    moved = _moved_by_rounding(module, dtype, runner.double)
    if moved is None:
        return
    with Runner(moved, double=runner.double) as other:
        other.stateful = runner.stateful
        for calls in sequences:
            calls = _as_run(runner, calls)
            for step, moved_step in zip(runner.run(calls).steps, other.run(calls).steps, strict=True):
                pairs = zip(results(step)[0], results(moved_step)[0], strict=True)
                for index, (a, b) in enumerate(pairs):
                    worst = tally.by_name.get(f"output {index}")
                    if worst is not None and a.shape == b.shape and a.is_floating_point() and a.numel():
                        worst.rounding = max(worst.rounding, float((a - b).abs().nan_to_num().max()))


def _moved_by_rounding(module: torch.nn.Module, dtype: torch.dtype, double: bool) -> torch.nn.Module | None:
    """A copy with every parameter and buffer moved by half a unit in its last place, up or down."""
    try:
        copied = copy.deepcopy(module)
    except Exception:  # noqa: BLE001 - a network that cannot be copied is judged without this
        return None
    if double:
        copied.double()
    generator = torch.Generator().manual_seed(0)
    step = torch.finfo(dtype).eps * (0.5 if double else 1.0)
    with torch.no_grad():
        for tensor in {id(tensor): tensor for tensor in (*copied.parameters(), *copied.buffers())}.values():
            if tensor.is_floating_point():
                sign = torch.randint(0, 2, tensor.shape, generator=generator).to(tensor.device, tensor.dtype) * 2 - 1
                tensor.mul_(1 + step * sign)
    return copied


def _other_batches(
    module: torch.nn.Module, runner: Runner, task: _Task, tally: _Tally, dtype: torch.dtype
) -> tuple[int, ...]:
    """Try other sizes of axis 0 and return those that ran; a program may refuse sizes other than its own."""
    size = task.batch_size
    if size is None:
        return ()
    ran = []
    for rows in task.batches:
        if rows != size:
            trial = _tried(module, runner, task, tally, task.of_rows(rows), dtype)
            if trial is None:
                continue
            tally.merge(trial, ("batch", rows))
        ran.append(rows)
    return tuple(ran)


def _other_sizes(
    module: torch.nn.Module, runner: Runner, task: _Task, tally: _Tally, dtype: torch.dtype
) -> tuple[tuple[str, int], ...]:
    """Axes and sizes of the other sizes that ran."""
    ran = []
    for resized in task.sizes:
        calls = task.of_sizes(resized.size, resized.shapes)
        trial = _tried(module, runner, task, tally, calls, dtype)
        if trial is not None:
            tally.merge(trial, (resized.axis, resized.size))
            ran.append((resized.axis, resized.size))
    return tuple(ran)


def _other_strides(runner: Runner, task: _Task, tally: _Tally, call: Call, few: bool) -> str:
    """The layout in memory in which the same inputs get other answers than contiguous ones, "" where none does.

    Differences within a hundred times the bound are rounding: other strides take other kernels.
    """
    if not task.strides:
        return ""
    answers = answers_by_layout(runner, call, few)
    tensors, others = results(next(answers)[1])
    for layout, value in answers:
        trial = _Tally(task.mirror, tally.eps, task)
        turned_answers, other_results = results(value)
        for index, (turned, expected) in enumerate(zip(turned_answers, tensors, strict=False)):
            label = partial(task.mirror.label, "output", index)
            trial.add(f"output {index} with other strides of the inputs", index, turned, expected, label)
        trial.add_others(other_results, others)
        if not all(output.residual <= _CLOSE * output.bound for output in trial.outputs()):
            tally.by_name |= trial.by_name
            return layout
    return ""


def _tried(
    module: torch.nn.Module, runner: Runner, task: _Task, tally: _Tally, calls: Sequence[Call], dtype: torch.dtype
) -> _Tally | None:
    """Residuals of calls of other sizes, which may round more than the examples; None where the network refuses."""
    trial = _Tally(task.mirror, tally.eps, task)
    try:
        with quiet():  # a graph that fails prints where
            _compare(runner, task.mirror, calls, trial)
    except ChiralizeError:
        return None
    if runner.double and trial.is_close():
        _add_rounding(module, runner, [list(calls)], trial, dtype)
    return trial


# ---- residuals ------------------------------------------------------------------------------------------------
@dataclass
class _Worst:
    """The largest residual of one output so far."""

    index: int
    residual: float = 0.0
    scale: float = 0.0
    size: float = 0.0
    rounding: float = 0.0
    worst: str = ""
    exact: bool = False
    finite: bool = True

    def offer(self, residual: float, worst: str) -> None:
        """Take a residual in if it is larger than all before. worst: the entry that has it, in words."""
        if residual > self.residual:
            self.residual, self.worst = residual, worst


@dataclass
class _Tally:
    """The largest residual of every output. broken: axes and sizes at which the network is not equivariant."""

    mirror: NetworkMirror
    eps: float
    task: _Task
    by_name: dict[str, _Worst] = field(default_factory=dict)
    broken: list[tuple[str, int]] = field(default_factory=list)

    def add(
        self,
        name: str,
        index: int,
        turned: torch.Tensor,
        expected: torch.Tensor,
        label: Callable[[tuple[int, ...]], str],
        center: Center = None,
    ) -> None:
        """Take F(T x) and T F(x) of one output in. center: the point that it is mirrored at."""
        worst = self.by_name.setdefault(name, _Worst(index))
        if turned.shape != expected.shape:
            worst.offer(float("inf"), f"shape {tuple(turned.shape)} for T x, {tuple(expected.shape)} for x")
            return
        if not turned.numel():
            return
        worst.exact = not (turned.is_floating_point() or turned.is_complex())
        wide = torch.complex128 if turned.is_complex() else torch.float64
        first, second = turned.detach().to("cpu", wide), expected.detach().to("cpu", wide)
        for side, values in (("x", second), ("T x", first)):
            broken = ~torch.isfinite(values)
            if broken.any():
                entry = _entry(broken, int(broken.reshape(-1).to(torch.uint8).argmax()))
                worst.offer(float("inf"), f"{label(entry)} is {values[entry].item()} for {side}")
                worst.finite = worst.finite and side != "x"
            else:
                about = values if center is None else values - torch.from_numpy(center)
                worst.scale = max(worst.scale, float(about.abs().max()))
                worst.size = max(worst.size, float(values.abs().max()))
        difference = (first - second).abs().nan_to_num(0.0, 0.0, 0.0)
        largest = int(difference.reshape(-1).argmax())
        residual = float(difference.reshape(-1)[largest])
        if residual > worst.residual:
            worst.offer(residual, label(_entry(difference, largest)))

    def add_others(self, plain: Sequence[Any], turned: Sequence[Any]) -> None:
        """Take results that are no tensors in: they must be equal."""
        for position, (result, turned_result) in enumerate(zip(plain, turned, strict=False)):
            worst = self.by_name.setdefault(f"result {position}", _Worst(-1 - position, exact=True))
            if not same(result, turned_result):
                worst.offer(float("inf"), f"{turned_result!r} for T x, {result!r} for x")
        if len(plain) != len(turned):
            worst = self.by_name.setdefault("results", _Worst(-1 - max(len(plain), len(turned)), exact=True))
            worst.offer(float("inf"), f"{len(turned)} results that are no tensors for T x, {len(plain)} for x")

    def merge(self, other: _Tally, size: tuple[str, int]) -> None:
        """Take in the residuals of another size; offsets of pixels round there as they do here."""
        for name, theirs in other.by_name.items():
            if self.mirror.is_affine and name in self.by_name:
                theirs.rounding = max(theirs.rounding, self.by_name[name].rounding)
        if not all(output.passed for output in other.outputs()):
            self.broken.append(size)
        for name, theirs in other.by_name.items():
            worst = self.by_name.setdefault(name, _Worst(theirs.index))
            worst.scale = max(worst.scale, theirs.scale)
            worst.size = max(worst.size, theirs.size)
            worst.rounding = max(worst.rounding, theirs.rounding)
            worst.exact = theirs.exact
            worst.finite = worst.finite and theirs.finite
            worst.offer(theirs.residual, theirs.worst)

    def outputs(self) -> tuple[OutputResidual, ...]:
        """Every output, state and other result with its residual and bound, in the order in which they came."""
        outputs = list[OutputResidual]()
        for name, worst in self.by_name.items():
            # A choice between equals falls as rounding has it: exact results say nothing in a coarse precision.
            if not (self.task.as_it_runs and worst.exact):
                figures = (worst.residual, worst.scale, self._bound(worst))
                outputs.append(OutputResidual(worst.index, *figures, worst.worst, name, worst.finite))
        return tuple(outputs)

    def _bound(self, worst: _Worst) -> float:
        if worst.exact:
            return 0.0
        if self.task.tolerance is not None:
            return max(self.task.tolerance * worst.scale, self.eps**2)
        plain = max(16 * self.eps * worst.scale * self.task.depth, self.eps**2)
        if self.task.as_it_runs:
            plain = self._bound_by_original(worst, plain)
        if self.mirror.is_affine:
            return plain + 8 * self.eps * worst.size + 4 * worst.rounding
        return plain + min(4 * worst.rounding, _CLOSE * plain)

    def _bound_by_original(self, worst: _Worst, plain: float) -> float:
        """A multiple of what the original rounds away; nothing is known of states: they count as its worst output."""
        known = self.task.original
        least = _LEAST * self.eps
        if known is None:
            return max(plain, _TIMES * least * worst.scale)
        return _TIMES * max(known.get(worst.index, max(known.values(), default=0.0)), least) * worst.scale

    def is_close(self) -> bool:
        """Whether some output fails, but none by more than rounding may explain."""
        failed = [worst for worst in self.by_name.values() if worst.residual > self._bound(worst)]
        within = all(worst.residual <= _CLOSE * self._bound(worst) for worst in failed)
        return bool(failed) and self.task.tolerance is None and within


def _state_label(name: str) -> Callable[[tuple[int, ...]], str]:
    return lambda entry: f"{name}{list(entry)}"


def _entry(tensor: torch.Tensor, position: int) -> tuple[int, ...]:
    return tuple(int(index) for index in torch.unravel_index(torch.tensor(position), tensor.shape))


# ---- precision ------------------------------------------------------------------------------------------------
class _CoarserInside(Exception):  # noqa: N818 - a signal between two attempts, no error
    """The network casts to a coarser dtype than the one that it was asked to run in."""


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
