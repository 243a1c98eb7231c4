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

An example of the bound: float64 has eps = 2.2e-16. Outputs of up to 1.5 after 10 contractions (products with weights)
may be 16 * 2.2e-16 * 1.5 * 10 = 5.3e-14 apart. A real fault, one wrong sign, leaves about the scale, 1.5.

`judge.judge` calls this for every network, original or converted. `task` draws the inputs, `residuals` has the bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from chiralize.errors import ChiralizeError, ModelRunError
from chiralize.graph.copies import is_large
from chiralize.graph.dtypes import coarser_inside, own_dtype
from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.other_sizes import Resized
from chiralize.graph.running import Arguments, Call, Runner, check_outputs, doubled, results
from chiralize.graph.silence import quiet
from chiralize.graph.strides import answers_by_layout
from chiralize.graph.widening import has_float32_written_in
from chiralize.symmetry.action import act
from chiralize.verification.residuals import CLOSE, Allowance, Tally, Written
from chiralize.verification.task import Task
from chiralize.verification.verdicts import NumericVerdict

__all__ = ["Written", "act", "judge", "judge_own"]

STEPS = 3  # consecutive calls of a network with states, so that a state that was written is read again
_PLAIN = 0.1  # of the output's scale: more than rounding makes of it in any dtype
REAL = 8  # inputs of the user that one verdict takes


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
    takes: Callable[[Call], bool] | None = None,
    rows: int | None = None,
    tell: Callable[[float], None] = lambda done: None,
    written: Written | None = None,
) -> NumericVerdict:
    """Run the network on x and on T x and compare F(T x) with T F(x).

    args, kwargs: example inputs; their tensors, flattened, are what `mirror.inputs` describes.  samples: how many
    random inputs N(0, 1) in their shapes (integers keep their values).  real: more inputs, the first 8 are used.
    depth: contraction steps from input to output (>= 1), scales the bound.  tolerance: a bound relative to the
    output's scale instead.  batches: sizes of axis 0 to try as well, where it is no body axis.
    sizes: of other axes.  takes: which calls of other sizes are to be tried, all without it.
    strides: also compare its answers to the same inputs laid out otherwise in memory.
    rows: of all random inputs but the first, where the examples have more than are needed and it takes fewer.
    tell: called with the share of the inputs that it was run on.
    written: of a network that computes in no other precision than that of its file.
    A large network is judged on one input: each op computes in float64, which takes its time.
    Judged in float64 on a copy where that runs, else in the network's own dtype with a note that says why.
    The network is left as it was. Raises ModelRunError, UsageError, RepresentationSizeError.
    """
    example = Arguments.of(args, kwargs)
    mirror.turned(example.filled(example.tensors))  # raises where T does not describe these tensors
    if is_large(module):
        samples, real, batches, sizes = int(not real), real[:1], (), ()
    allowance = Allowance(tolerance, max(depth, 1), written=written)
    trials = tuple(batches), sizes, strides, takes, rows, tell
    task = Task(mirror, example, tuple(real[:REAL]), samples, allowance, seed, *trials)
    # In float64 first: there a fault of 1e-6 is far above all rounding, in float32 it is hidden in it. A network that
    # casts to float32 inside would round as that does, and fail a bound of float64.
    try:
        return _judge_in(module, task, True, ())
    except _CoarserInside as signal:
        reason = str(signal)
    except ModelRunError as error:
        # An ONNX file refuses numbers of another kind: no fault that anybody could mend.
        reason = error.facts if written is None else "the file computes in the precision that it was written in"
    verdict = _judge_in(module, task, False, ())
    return replace(verdict, notes=(_in_one_dtype(module, verdict, reason), *verdict.notes))


def _in_one_dtype(module: torch.nn.Module, verdict: NumericVerdict, reason: str) -> str:
    """A note on a network that was run in its own precision alone: why, and what that leaves unseen."""
    note = f"run in {verdict.dtype} alone"
    if verdict.outputs:
        bound = max(output.bound for output in verdict.outputs)
        note += f", whose rounding allows residuals of {bound:.1e}: a smaller fault would not show in a run"
    if has_float32_written_in(module):
        reason = f"float32 is written into its graph, as an export writes `.to(x.dtype)` ({reason})"
    return f"{note}. Not in float64: {reason}"


def plainly_differs(
    module: torch.nn.Module, mirror: NetworkMirror, args: Sequence[Any], kwargs: Mapping[str, Any] | None = None
) -> bool:
    """Whether one input in the network's own dtype is enough to see that it does not commute with the mirror at all.

    True where some output is more than a tenth of its scale apart. Raises ModelRunError.
    """
    example = Arguments.of(args, kwargs)
    task = Task(mirror, example, samples=1, allowance=Allowance(_PLAIN))
    tally = Tally(mirror, 0.0, task.allowance)
    with Runner(module) as runner:
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
    rows: int | None = None,
) -> NumericVerdict | None:
    """The verdict in the precision in which the network runs: the coarsest of its weights, buffers and inputs.

    original: what the network it was made from rounds away there (`dtypes.rounding`), by output; the bound is 64 times
    that, and never below 256 eps of the scale. Without it, 16 eps for every contraction step, as in float64, and never
    below 256 eps either.
    rows: see `judge`.
    None where that precision is float64, where the network does not run in it, or where no output rounds.
    """
    example = Arguments.of(args, kwargs)
    if own_dtype(module, example) == torch.float64:
        return None
    if is_large(module):
        samples, real = int(not real), real[:1]
    allowance = Allowance(tolerance, max(depth, 1), True, original)
    task = Task(mirror, example, tuple(real[:REAL]), samples, allowance, rows=rows)
    try:
        verdict = _judge_in(module, task, False, ())
    except ModelRunError:
        return None
    if not verdict.outputs:
        return None
    return verdict


def _judge_in(module: torch.nn.Module, task: Task, double: bool, notes: tuple[str, ...]) -> NumericVerdict:
    """The verdict in float64 if `double`, else in the network's own dtype. Raises _CoarserInside, ModelRunError.

    notes: to begin with.
    """
    mirror = task.mirror
    dtype = torch.float64 if double else own_dtype(module, task.example)
    with Runner(module, double=double) as runner:
        # What kind of network it is: does it keep a state, and in which precision does it really compute?
        light = task.light(runner)
        first = light or task.example.filled(task.example.tensors)
        undescribed = not mirror.states and runner.keeps_state(first)
        is_stateful = bool(mirror.states) or undescribed
        coarser = coarser_inside(runner, first)
        if double and coarser:
            raise _CoarserInside(f"the network itself casts to {', '.join(sorted(map(_name, coarser)))}")
        eps = max(torch.finfo(kind).eps for kind in {dtype, *coarser})  # its coarsest step decides
        tally = Tally(mirror, eps, task.allowance)
        notes += mirror.around.notes
        if undescribed:
            notes += ("the network keeps a state that the mirror does not describe; both runs start from the same one",)
        # F(T x) beside T F(x), at the examples' sizes.
        sequences = task.sequences(STEPS if is_stateful else 1, light is not None and not is_stateful)
        for number, calls in enumerate(sequences):
            task.tell(number / len(sequences))
            _compare(runner, mirror, calls, tally)
        if mirror.is_affine:  # offsets are stored in biases, and rounded there
            moved = task.moved(module, own_dtype(module, task.example), double)
            _add_rounding(moved, runner, sequences[:2], tally)
        # Taken before other sizes are merged in: `beyond` names sizes only for a network that holds at the examples'.
        equivariant = all(output.passed for output in tally.outputs())
        ran = _other_batches(module, runner, task, tally, dtype)
        sizes = _other_sizes(module, runner, task, tally, dtype)
        # A residual that is not far beyond the bound may be rounding that the network enlarges: measure how much.
        if task.measures_rounding(double) and not mirror.is_affine and tally.is_close() and not is_large(module):
            _add_rounding(task.moved(module, dtype, double), runner, sequences, tally)
        layout = ""
        if equivariant and sequences:  # of a network that fails anyhow, layouts are no news
            layout = _other_strides(runner, task, tally, sequences[0][0], is_large(module))
    beyond = tuple(tally.broken) if equivariant else ()
    return NumericVerdict(tally.outputs(), _name(dtype), len(sequences), ran, notes, sizes, beyond, layout)


def _compare(runner: Runner, mirror: NetworkMirror, calls: Sequence[Call], tally: Tally) -> None:
    """Run consecutive calls, then their mirror images, and put answers, other results and states in the tally.

    Both runs begin at the state s that the network was handed over in, the second one at T s. Each answers step by
    step, so that answer k of the one is to be T of answer k of the other; then the last states are compared.
    """
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
    if runner.double:
        return list(map(doubled, calls))
    return calls


def _add_rounding(moved: torch.nn.Module | None, runner: Runner, sequences: Sequence[list[Call]], tally: Tally) -> None:
    """Measure by how much the outputs move if every stored number moves by half its last digit, as it has in `moved`.

    The largest move of each output is noted in the tally, where bounds allow for four times that. None: nothing is.

    In the network's own dtype: a bias that holds an offset, b - W c, is no more exact than that, and neither is any
    figure about it. In the dtype that it is judged in: whatever is rounded on the way moves as much.
    """
    if moved is None:
        return
    with Runner(moved, double=runner.double) as other:
        for calls in sequences:
            calls = _as_run(runner, calls)
            for step, moved_step in zip(runner.run(calls).steps, other.run(calls).steps, strict=True):
                pairs = zip(results(step)[0], results(moved_step)[0], strict=True)
                for index, (answer, moved_answer) in enumerate(pairs):
                    worst = tally.by_name.get(f"output {index}")
                    is_comparable = answer.shape == moved_answer.shape and answer.is_floating_point()
                    if worst is not None and is_comparable and answer.numel():
                        apart = (answer - moved_answer).abs().nan_to_num()
                        worst.rounding = max(worst.rounding, float(apart.max()))


def _other_batches(
    module: torch.nn.Module, runner: Runner, task: Task, tally: Tally, dtype: torch.dtype
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
    module: torch.nn.Module, runner: Runner, task: Task, tally: Tally, dtype: torch.dtype
) -> tuple[tuple[str, int], ...]:
    """Try other sizes of open axes and return axis and size of those that ran."""
    ran = []
    for resized in task.sizes:
        calls = task.of_sizes(resized.size, resized.shapes)
        trial = _tried(module, runner, task, tally, calls, dtype)
        if trial is not None:
            tally.merge(trial, (resized.axis, resized.size))
            ran.append((resized.axis, resized.size))
    return tuple(ran)


def _other_strides(runner: Runner, task: Task, tally: Tally, call: Call, few: bool) -> str:
    """The layout in memory in which the same inputs get other answers than contiguous ones, "" where none does.

    Differences within a hundred times the bound count as rounding, since other strides may use other kernels.
    """
    if not task.strides:
        return ""
    answers = answers_by_layout(runner, call, few)
    tensors, others = results(next(answers)[1])  # the first ones are those to contiguous inputs
    for layout, value in answers:
        trial = Tally(task.mirror, tally.eps, task.allowance)
        turned_answers, other_results = results(value)
        for index, (turned, expected) in enumerate(zip(turned_answers, tensors, strict=False)):
            label = partial(task.mirror.label, "output", index)
            trial.add(f"output {index} with other strides of the inputs", index, turned, expected, label)
        trial.add_others(other_results, others)
        if not all(output.residual <= CLOSE * output.bound for output in trial.outputs()):
            tally.by_name |= trial.by_name  # under names of their own, so that the verdict fails by them
            return layout
    return ""


def _tried(
    module: torch.nn.Module, runner: Runner, task: Task, tally: Tally, calls: Sequence[Call], dtype: torch.dtype
) -> Tally | None:
    """Residuals of calls of other sizes, which may round more than the examples; None where they are refused."""
    if task.takes is not None and not all(map(task.takes, calls)):
        return None
    # A tally of its own: what it measures of rounding here may not widen the bound at the examples' sizes.
    trial = Tally(task.mirror, tally.eps, task.allowance)
    try:
        with quiet():  # a graph that fails prints where
            _compare(runner, task.mirror, calls, trial)
    except ChiralizeError:
        return None
    if task.measures_rounding(runner.double) and trial.is_close():
        _add_rounding(task.moved(module, dtype, runner.double), runner, [list(calls)], trial)
    return trial


def _state_label(name: str) -> Callable[[tuple[int, ...]], str]:
    """What an entry of a state is called: `cell.h[0, 3]`."""
    return lambda entry: f"{name}{list(entry)}"


class _CoarserInside(Exception):  # noqa: N818 - a signal between two attempts, no error
    """The network casts to a coarser dtype than the one that it was asked to run in."""


def _name(dtype: torch.dtype) -> str:
    """`float32` of torch.float32."""
    return str(dtype).removeprefix("torch.")
