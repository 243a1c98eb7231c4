"""The numeric verdict: does F(T x) = T F(x) hold on this network, judged by T_in, T_out and the network alone?

    residual = max |F(T x) - T F(x)|      bound = 16 eps scale depth,      scale = max |F|

The rules have no part in it, so a wrong rule cannot approve itself. Where T is affine (pixels), random inputs lie about
its centre and span the picture, none of them exactly 0 (a missing joint); the scale of an output in pixels is counted
from its centre, and the bound allows for the rounding of stored offsets as well: + 8 eps max |F| + 4 times what the
outputs move by if every weight moves by half its last digit. Some networks enlarge rounding (large hidden values that
cancel): where a residual is not far beyond the bound, as much is allowed for as they move by in the precision that they
are judged in.

What holds in float64 need not hold in the precision in which a network runs: a result whose layers enlarge rounding is
equivariant on paper alone. `run_own` asks there, and allows for what the original itself rounds away.

An example of the bound: float64 has eps = 2.2e-16. Outputs of up to 1.5 after 10 contractions (products with weights)
may be 16 * 2.2e-16 * 1.5 * 10 = 5.3e-14 apart. A real fault, one wrong sign, leaves about the scale, 1.5.

`judge` calls this for every network, original or converted. `residuals` has the bounds, `sizes` the other sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import inf
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from chiralize.errors import ChiralizeError, Finding, ModelRunError
from chiralize.graph.quiet import quiet
from chiralize.graph.run import Arguments, Call, Runner, check_count, doubled, random_tensor, results
from chiralize.symmetry.action import act
from chiralize.verification.precision import coarser_inside, moved_by_rounding, own_dtype
from chiralize.verification.residuals import Allowance, Tally
from chiralize.verification.sizes import Resized
from chiralize.verification.verdicts import NumericVerdict, Trial

if TYPE_CHECKING:
    from chiralize.problem.mirror import NetworkMirror

Tell = Callable[[float], None]
SAMPLES = 8
"""Random calls, and calls of the user's, of one verdict: a wrong sign shows on the first, a rare branch on some."""
_STEPS = 3  # consecutive calls of a network with states, so that a state that was written is read again
_PLAIN = 0.1  # of the output's scale: more than rounding makes of it in any dtype
_MIXED = 1e-3  # of the output's scale: float32 rounds far less
_ROWS = 3  # samples of a batch: neither one nor two, which may be taken for something else


@dataclass(frozen=True)
class Setting:
    """What is known of the network that is run.

    depth: contraction steps from input to output, by which bounds grow.  sizes: other sizes of open axes to try.
    moved, most: of a network that computes in no other precision than that of its file: the same with every stored
    number moved by a unit in its last place, and the widest bound relative to an output's scale.
    tell: called with the share of the inputs that it was run on.
    """

    depth: int = 1
    sizes: Sequence[Resized] = ()
    moved: Callable[[], nn.Module] | None = None
    most: float | None = None
    tell: Tell = lambda done: None


def run(
    module: nn.Module, mirror: NetworkMirror, example: Call, trial: Trial | None = None, setting: Setting | None = None
) -> NumericVerdict:
    """Run the network on x and on T x and compare F(T x) with T F(x).

    example: inputs whose tensors, flattened, `mirror.inputs` describes.
    Judged in float64 on a copy where that runs, else in the network's own dtype with a finding that says why.
    Raises ModelRunError, UsageError, RepresentationSizeError.
    """
    setting, trial = setting or Setting(), trial or Trial()
    bench = _Bench(module, mirror, Arguments.of(*example), trial, setting)
    mirror.turned(example)  # raises where T does not describe these tensors
    # In float64 first: there a fault of 1e-6 is far above all rounding, in float32 it is hidden in it. A network that
    # casts to float32 inside would round as that does, and fail a bound of float64.
    try:
        return _run_in(bench, True)
    except _CoarserInside as signal:
        reason = str(signal)
    except ModelRunError as error:
        # An ONNX file refuses numbers of another kind: no fault that anybody could mend.
        reason = error.facts if setting.moved is None else "the file computes in the precision that it was written in"
    verdict = _run_in(bench, False)
    return replace(verdict, findings=(_in_one_dtype(verdict, reason), *verdict.findings))


def run_own(
    module: nn.Module, mirror: NetworkMirror, example: Call, trial: Trial, setting: Setting
) -> NumericVerdict | None:
    """The verdict in the precision in which the network runs: the coarsest of its weights, buffers and inputs.

    The bound is 64 times what the network it was made from rounds away there (`Trial.original`), and never below 256
    eps of the scale. Without it, 16 eps for every contraction step, as in float64, and never below 256 eps either.
    None where that precision is float64, where the network does not run in it, or where no output rounds.
    """
    bench = _Bench(module, mirror, Arguments.of(*example), replace(trial, batches=()), replace(setting, sizes=()))
    if bench.own == torch.float64:
        return None
    try:
        verdict = _run_in(bench, False, as_it_runs=True)
    except ModelRunError:
        return None
    return verdict if verdict.outputs else None


def plainly_differs(module: nn.Module, mirror: NetworkMirror, example: Call) -> bool:
    """Whether one input in the network's own dtype is enough to see that it does not commute with the mirror at all.

    True where some output is more than a tenth of its scale apart. Raises ModelRunError.
    """
    bench = _Bench(module, mirror, Arguments.of(*example), Trial(1, tolerance=_PLAIN), Setting())
    tally = Tally(0.0, Allowance(_PLAIN))
    with Runner(module) as runner:
        for calls in bench.sequences(1):
            _compare(runner, mirror, calls, tally)
    return any(output.bound > 0 and not output.passed for output in tally.outputs())


def _in_one_dtype(verdict: NumericVerdict, reason: str) -> Finding:
    """That a network was run in its own precision alone: why, and what that leaves unseen."""
    facts = f"run in {verdict.dtype} alone"
    if verdict.outputs:
        bound = max(output.bound for output in verdict.outputs)
        facts += f", whose rounding allows residuals of {bound:.1e}: a smaller fault would not show in a run"
    return Finding("precision", "note", f"{facts}. Not in float64: {reason}")


# ---- what is run ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Bench:
    """A network and its mirror, and the calls that a trial asks for."""

    module: nn.Module
    mirror: NetworkMirror
    example: Arguments
    trial: Trial
    setting: Setting

    @cached_property
    def own(self) -> torch.dtype:
        """The coarsest precision of its weights, buffers and inputs."""
        return own_dtype(self.module, self.example)

    @property
    def batch(self) -> int | None:
        """Size of axis 0 of the first input, or None where axis 0 of some input belongs to the body."""
        axes = [representation.axes[0] for representation in self.mirror.inputs if representation.axes]
        if axes and all(axis.is_trivial for axis in axes):
            return axes[0].size
        return None

    def sequences(self, steps: int, rows: int | None = None) -> list[list[Call]]:
        """Consecutive calls for every sample; `steps` is 1 for a network without state.

        rows: of all random calls but the first, which has the examples' sizes.
        """
        generator = torch.Generator().manual_seed(self.trial.seed)
        sequences = list[list[Call]]()
        for number in range(SAMPLES if self.trial.samples is None else self.trial.samples):
            shapes = self.shapes(rows if number else None)
            sequences.append([self._drawn(generator, shapes) for _ in range(steps)])
        return sequences + [[call] * steps for call in self.trial.real[:SAMPLES]]

    def call_of(self, size: int, shapes: Sequence[Sequence[int]]) -> Call:
        """One random call in other shapes. size: which of them this is, for other numbers at every size."""
        return self._drawn(torch.Generator().manual_seed(self.trial.seed + size), shapes)

    def _drawn(self, generator: torch.Generator, shapes: Sequence[Sequence[int]]) -> Call:
        """One random call, moved to where inputs of the network lie."""
        pairs = zip(self.example.tensors, shapes, strict=True)
        drawn = [random_tensor(tensor, generator, shape) for tensor, shape in pairs]
        return self.mirror.placed(self.example.filled(drawn))

    def shapes(self, rows: int | None = None) -> list[tuple[int, ...]]:
        """Sizes of the inputs, with `rows` entries along axis 0 of those that share it; of the examples without."""
        shapes = list[tuple[int, ...]]()
        for tensor in self.example.tensors:
            has_rows = rows is not None and tensor.ndim > 0 and tensor.shape[0] == self.batch
            shapes.append((rows or 0, *tensor.shape[1:]) if has_rows else tuple(tensor.shape))
        return shapes

    def others(self) -> list[tuple[str, int, Call]]:
        """Calls of other sizes: the axis, its size, and the call."""
        calls = list[tuple[str, int, Call]]()
        if self.batch is not None:
            rows = [size for size in self.trial.batches if size != self.batch]
            calls += [("batch", size, self.call_of(size, self.shapes(size))) for size in rows]
        calls += [(new.axis, new.size, self.call_of(new.size, new.shapes)) for new in self.setting.sizes]
        return calls

    def measures_rounding(self, double: bool) -> bool:
        """Whether a residual near its bound is compared with what the network rounds away in this precision.

        In the one of its weights a small fault is no other than rounding: only what has no finer one is excused there.
        """
        return double or self.setting.moved is not None

    def moved(self, dtype: torch.dtype, double: bool) -> nn.Module:
        """The network with every stored number moved by half its last digit in `dtype`."""
        if self.setting.moved is not None:
            return self.setting.moved()
        return moved_by_rounding(self.module, dtype, double)


# ---- running it ------------------------------------------------------------------------------------------------------
def _run_in(bench: _Bench, double: bool, as_it_runs: bool = False) -> NumericVerdict:
    """The verdict in float64 if `double`, else in the network's own dtype. Raises _CoarserInside, ModelRunError."""
    mirror, trial = bench.mirror, bench.trial
    dtype = torch.float64 if double else bench.own
    with Runner(bench.module, double=double) as runner:
        # What kind of network it is: does it keep a state, and in which precision does it really compute?
        first = bench.example.filled(bench.example.tensors)
        undescribed = not mirror.states and runner.keeps_state(first)
        coarser = coarser_inside(runner, first)
        if double and coarser:
            raise _CoarserInside(f"the network itself casts to {', '.join(sorted(map(_name, coarser)))}")
        eps = max(torch.finfo(kind).eps for kind in {dtype, *coarser})  # its coarsest step decides
        allowance = Allowance(
            trial.tolerance,
            max(bench.setting.depth, 1),
            mirror.is_affine,
            as_it_runs,
            trial.original if as_it_runs else None,
            bench.setting.most,
        )
        tally = Tally(eps, allowance)
        # F(T x) beside T F(x), at the examples' sizes.
        if mirror.states or undescribed:
            sequences = bench.sequences(_STEPS)
        else:
            sequences = bench.sequences(1, _few(bench, runner))
        for number, calls in enumerate(sequences):
            bench.setting.tell(number / len(sequences))
            _compare(runner, mirror, calls, tally)
        if mirror.is_affine:  # offsets are stored in biases, and rounded there
            _add_rounding(bench.moved(bench.own, double), runner, sequences[:2], tally)
        # Taken before other sizes are merged in: `beyond` names sizes only for a network that holds at the examples'.
        equivariant = all(output.passed for output in tally.outputs())
        ran = _other_sizes(bench, runner, tally, dtype)
        # A residual that is not far beyond the bound may be rounding that the network enlarges: measure how much.
        if bench.measures_rounding(double) and not mirror.is_affine and tally.is_close():
            _add_rounding(bench.moved(dtype, double), runner, sequences, tally)
        findings = _findings(bench, runner, undescribed)
    return NumericVerdict(
        tally.outputs(),
        _name(dtype),
        len(sequences),
        tuple(size for axis, size in ran if axis == "batch"),
        findings,
        tuple((axis, size) for axis, size in ran if axis != "batch"),
        tuple(tally.broken) if equivariant else (),
    )


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
        for answers in (tensors, turned_tensors):
            check_count("the results", answers, mirror.outputs)
        for index, (answer, turned_answer) in enumerate(zip(tensors, turned_tensors, strict=True)):
            expected = mirror.turned_output(index, answer)
            label, center = partial(mirror.label, "output", index), mirror.center_of(index)
            tally.add(f"output {index}", index, turned_answer, expected, label, center)
        tally.add_others(others, turned_others)
    for position, (name, state) in enumerate(plain.states.items()):
        index = len(mirror.outputs) + position
        tally.add(f"state {name}", index, turned.states[name], act(state, mirror.states[name]), _state_label(name))


def _few(bench: _Bench, runner: Runner) -> int | None:
    """Samples of a random call where the examples have more than are needed; None where it takes no fewer."""
    if bench.batch is None or bench.batch <= SAMPLES:
        return None
    with suppress(ModelRunError), quiet():
        runner.run([bench.call_of(SAMPLES, bench.shapes(SAMPLES))])
        return SAMPLES
    return None


def _as_run(runner: Runner, calls: Sequence[Call]) -> list[Call]:
    """The calls in the precision in which they are run."""
    return list(map(doubled, calls)) if runner.double else list(calls)


def _add_rounding(moved: nn.Module, runner: Runner, sequences: Sequence[list[Call]], tally: Tally) -> None:
    """Measure by how much the outputs move if every stored number moves by half its last digit, as it has in `moved`.

    The largest move of each output is noted in the tally, where bounds allow for four times that.

    In the network's own dtype: a bias that holds an offset, b - W c, is no more exact than that, and neither is any
    figure about it. In the dtype that it is judged in: whatever is rounded on the way moves as much.
    """
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


def _other_sizes(bench: _Bench, runner: Runner, tally: Tally, dtype: torch.dtype) -> list[tuple[str, int]]:
    """Try other sizes, and return axis and size of those that ran; a program may refuse sizes other than its own.

    Where F(x) is not finite there is no answer to compare, as a standard deviation over one frame.
    """
    ran = [("batch", size) for size in bench.trial.batches if size == bench.batch]
    for axis, size, call in bench.others():
        # A tally of its own: what it measures of rounding here may not widen the bound at the examples' sizes.
        other = Tally(tally.eps, tally.allowance)
        try:
            with quiet():  # a graph that fails prints where
                _compare(runner, bench.mirror, [call], other)
        except ChiralizeError:
            continue
        if not all(output.finite for output in other.outputs()):
            continue
        if bench.measures_rounding(runner.double) and other.is_close():
            _add_rounding(bench.moved(dtype, runner.double), runner, [[call]], other)
        tally.merge(other, (axis, size))
        ran.append((axis, size))
    return ran


# ---- what is to be said ----------------------------------------------------------------------------------------------
def _findings(bench: _Bench, runner: Runner, undescribed: bool) -> tuple[Finding, ...]:
    """What is to be said of the run, beside its figures."""
    findings = list[Finding]()
    if undescribed:
        facts = "the network keeps a state that the mirror does not describe; both runs start from the same one"
        findings.append(Finding("states", "note", facts))
    share = 0.0 if undescribed else _mixing(bench, runner)
    facts = f"the answer to a sample depends on the others of its batch: it moves by {share:.2g} of its size"
    if share == inf:
        facts = "the network gives one answer to all samples of a batch: its first axis is none (time?)"
    if share > _MIXED:
        remedy = 'T holds where all of a batch are mirrored; where the first axis is time, name it so (layout "t j d")'
        findings.append(Finding("inputs", "doubt", facts, remedy))
    return tuple(findings)


def _mixing(bench: _Bench, runner: Runner) -> float:
    """By how much answers move, of their size, where the first sample of a batch is mirrored and the others are not.

    Both verdicts mirror all samples of a batch. A network that takes samples for something else (people, whose axis is
    merged with the batch in another order) is equivariant under that, and not where some samples alone are mirrored.
    Infinite where there is but one answer to the batch.  0 where the first axis is no batch, where states are read, and
    where the network does not take three samples.
    """
    mirror = bench.mirror
    if bench.batch is None or mirror.is_single or mirror.states or mirror.state_inputs:
        return 0.0
    call = bench.call_of(_ROWS, bench.shapes(_ROWS))
    turned = mirror.turned(call)
    sides = zip(Arguments.of(*call).tensors, Arguments.of(*turned).tensors, bench.example.tensors, strict=True)
    # Inputs that hold no samples, such as a table, are as in `call`.
    mixed = [
        torch.cat([image[:1], plain[1:]]) if tensor.shape[:1] == (bench.batch,) else plain
        for plain, image, tensor in sides
    ]
    try:
        with quiet():
            calls = call, bench.example.filled(mixed), turned, bench.call_of(_ROWS - 1, bench.shapes(_ROWS - 1))
            before, among, after, fewer = ([*results(runner.run([one]).steps[0])[0]] for one in calls)
    except ChiralizeError:
        return 0.0
    if [answer.shape for answer in before] == [answer.shape for answer in fewer]:
        return inf
    answers = [three for three in zip(before, among, after, strict=True) if _is_of_samples(three[0])]
    # By itself the first sample is answered as in a batch that is mirrored whole, and the others as in one that is not.
    return max((_share(among, torch.cat([after[:1], before[1:]])) for before, among, after in answers), default=0.0)


def _is_of_samples(answer: Tensor) -> bool:
    """Whether an answer holds numbers for each of the samples."""
    return answer.is_floating_point() and answer.shape[:1] == (_ROWS,) and answer.numel() > 0


def _share(answer: Tensor, other: Tensor) -> float:
    """The largest difference of two answers, of the size of the first; 0 where they are not finite."""
    size = float(answer.abs().max())
    return float((answer - other).abs().max()) / size if 0 < size < inf else 0.0


def _state_label(name: str) -> Callable[[tuple[int, ...]], str]:
    """What an entry of a state is called: `cell.h[0, 3]`."""
    return lambda entry: f"{name}{list(entry)}"


class _CoarserInside(Exception):  # noqa: N818 - a signal between two attempts, no error
    """The network casts to a coarser dtype than the one that it was asked to run in."""


def _name(dtype: torch.dtype) -> str:
    """`float32` of torch.float32."""
    return str(dtype).removeprefix("torch.")
