"""The numeric verdict: does F(T x) = T F(x) hold on this network, judged by T_in, T_out and the network alone.

    residual = max |F(T x) - T F(x)|      bound = 16 eps scale depth,      scale = max |F|

The rules have no part in it, so a wrong rule cannot approve itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from chiralize.errors import ChiralizeError, ModelRunError
from chiralize.running import Arguments, Call, Runner, act, check_outputs, mirrored, random_tensor, results, same
from chiralize.verdicts import Mirror, NumericVerdict, OutputResidual

__all__ = ["act", "judge"]

STEPS = 3
REAL = 8


def judge(
    module: torch.nn.Module,
    mirror: Mirror,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    *,
    real: Sequence[Call] = (),
    samples: int = 8,
    tolerance: float | None = None,
    depth: int = 1,
    seed: int = 0,
    batches: Sequence[int] = (1, 2, 5),
) -> NumericVerdict:
    """Run the network on x and on T x and compare F(T x) with T F(x).

    args, kwargs: example inputs; their tensors, flattened, are what `mirror.inputs` describes.  samples: how many
    random inputs N(0, 1) in their shapes (integers keep their values).  real: more inputs, the first 8 are used.
    depth: contraction steps from input to output (>= 1), scales the bound.  tolerance: a bound relative to the
    output's scale instead.  batches: sizes of axis 0 to try as well, where it is no body axis.
    Judged in float64 on a copy where that runs, else in the network's own dtype with a note that says why.
    The network is left as it was. Raises ModelRunError, UsageError, RepresentationSizeError.
    """
    example = Arguments.of(args, kwargs)
    mirrored(example.filled(example.tensors), mirror.inputs)
    task = _Task(mirror, example, tuple(real[:REAL]), samples, tolerance, max(depth, 1), seed, tuple(batches))
    try:
        return _judge_in(module, task, True, ())
    except _CoarserInside as found:
        reason = str(found)
    except ModelRunError as error:
        reason = error.facts
    own = _own_dtype(module, example)
    return _judge_in(module, task, False, (f"judged in {_name(own)}, not float64: {reason}",))


@dataclass(frozen=True)
class _Task:
    mirror: Mirror
    example: Arguments
    real: tuple[Call, ...]
    samples: int
    tolerance: float | None
    depth: int
    seed: int
    batches: tuple[int, ...]

    def sequences(self, steps: int) -> list[list[Call]]:
        """Consecutive calls for every sample; `steps` is 1 for a network without state."""
        generator = torch.Generator().manual_seed(self.seed)
        drawn = [
            [self.example.filled([random_tensor(own, generator) for own in self.example.tensors]) for _ in range(steps)]
            for _ in range(self.samples)
        ]
        return drawn + [[call] * steps for call in self.real]

    def resized(self, rows: int) -> list[Call]:
        """One random call with `rows` entries along axis 0 of the inputs that share it."""
        generator = torch.Generator().manual_seed(self.seed + rows)
        size = self.batch_size
        tensors = [
            random_tensor(own, generator, rows if own.ndim and own.shape[0] == size else None)
            for own in self.example.tensors
        ]
        return [self.example.filled(tensors)]

    @property
    def batch_size(self) -> int | None:
        """Size of axis 0 of the first input, or None where axis 0 of some input belongs to the body."""
        axes = [own.axes[0] for own in self.mirror.inputs if own.axes]
        return axes[0].size if axes and all(axis.is_trivial for axis in axes) else None


def _judge_in(module: torch.nn.Module, task: _Task, double: bool, notes: tuple[str, ...]) -> NumericVerdict:
    mirror = task.mirror
    dtype = torch.float64 if double else _own_dtype(module, task.example)
    with Runner(module, double=double) as runner:
        runner.stateful = bool(mirror.states)
        first = task.example.filled(task.example.tensors)
        undescribed = runner.notice_state(first) and not mirror.states
        coarser = _coarser_inside(runner, first)
        if double and coarser:
            raise _CoarserInside(f"the network itself casts to {', '.join(sorted(map(_name, coarser)))}")
        eps = max(torch.finfo(own).eps for own in {dtype, *coarser})
        tally = _Tally(mirror, eps, task)
        if undescribed:
            notes += ("the network keeps a state that the mirror does not describe; both runs start from the same one",)
        sequences = task.sequences(STEPS if runner.stateful else 1)
        for calls in sequences:
            _compare(runner, mirror, calls, tally)
        ran = _other_batches(runner, task, tally)
    return NumericVerdict(tally.outputs(), _name(dtype), len(sequences), ran, notes)


def _compare(runner: Runner, mirror: Mirror, calls: Sequence[Call], tally: _Tally) -> None:
    plain = runner.run(calls, mirror.states)
    turned = runner.run([mirrored(call, mirror.inputs) for call in calls], mirror.states, turned=True)
    for step, turned_step in zip(plain.steps, turned.steps, strict=True):
        tensors, others = results(step)
        turned_tensors, turned_others = results(turned_step)
        check_outputs(tensors, mirror.outputs)
        check_outputs(turned_tensors, mirror.outputs)
        for index, (own, there) in enumerate(zip(tensors, turned_tensors, strict=True)):
            tally.add(f"output {index}", index, there, act(mirror.outputs[index], own), _output_label(mirror, index))
        tally.add_others(others, turned_others)
    for place, (name, own) in enumerate(plain.states.items()):
        index = len(mirror.outputs) + place
        tally.add(f"state {name}", index, turned.states[name], act(mirror.states[name], own), _state_label(name))


def _other_batches(runner: Runner, task: _Task, tally: _Tally) -> tuple[int, ...]:
    """Sizes of axis 0 that ran; a program is free to refuse others than its own."""
    own = task.batch_size
    if own is None:
        return ()
    ran = []
    for rows in task.batches:
        if rows != own:
            trial = _Tally(task.mirror, tally.eps, task)
            try:
                _compare(runner, task.mirror, task.resized(rows), trial)
            except ChiralizeError:
                continue
            tally.merge(trial)
        ran.append(rows)
    return tuple(ran)


# ---- residuals ------------------------------------------------------------------------------------------------
@dataclass
class _Worst:
    """The largest residual of one output so far."""

    index: int
    residual: float = 0.0
    scale: float = 0.0
    worst: str = ""
    exact: bool = False

    def offer(self, residual: float, worst: str) -> None:
        if residual > self.residual:
            self.residual, self.worst = residual, worst


@dataclass
class _Tally:
    mirror: Mirror
    eps: float
    task: _Task
    found: dict[str, _Worst] = field(default_factory=dict)

    def add(
        self,
        name: str,
        index: int,
        turned: torch.Tensor,
        expected: torch.Tensor,
        label: Callable[[tuple[int, ...]], str],
    ) -> None:
        """Take F(T x) and T F(x) of one output in."""
        worst = self.found.setdefault(name, _Worst(index))
        if turned.shape != expected.shape:
            worst.offer(float("inf"), f"shape {tuple(turned.shape)} for T x, {tuple(expected.shape)} for x")
            return
        if not turned.numel():
            return
        worst.exact = not (turned.is_floating_point() or turned.is_complex())
        wide = torch.complex128 if turned.is_complex() else torch.float64
        first, second = turned.detach().to("cpu", wide), expected.detach().to("cpu", wide)
        for side, values in (("T x", first), ("x", second)):
            broken = ~torch.isfinite(values)
            if broken.any():
                entry = _entry(broken, int(broken.reshape(-1).to(torch.uint8).argmax()))
                worst.offer(float("inf"), f"{label(entry)} is {values[entry].item()} for {side}")
            else:
                worst.scale = max(worst.scale, float(values.abs().max()))
        difference = (first - second).abs().nan_to_num(0.0, 0.0, 0.0)
        largest = int(difference.reshape(-1).argmax())
        residual = float(difference.reshape(-1)[largest])
        if residual > worst.residual:
            worst.offer(residual, label(_entry(difference, largest)))

    def add_others(self, plain: Sequence[Any], turned: Sequence[Any]) -> None:
        """Results that are no tensors must be equal."""
        for place, (own, there) in enumerate(zip(plain, turned, strict=False)):
            worst = self.found.setdefault(f"result {place}", _Worst(-1 - place, exact=True))
            if not same(own, there):
                worst.offer(float("inf"), f"{there!r} for T x, {own!r} for x")
        if len(plain) != len(turned):
            worst = self.found.setdefault("results", _Worst(-1 - max(len(plain), len(turned)), exact=True))
            worst.offer(float("inf"), f"{len(turned)} results that are no tensors for T x, {len(plain)} for x")

    def merge(self, other: _Tally) -> None:
        for name, theirs in other.found.items():
            worst = self.found.setdefault(name, _Worst(theirs.index))
            worst.scale = max(worst.scale, theirs.scale)
            worst.exact = theirs.exact
            worst.offer(theirs.residual, theirs.worst)

    def outputs(self) -> tuple[OutputResidual, ...]:
        return tuple(
            OutputResidual(own.index, own.residual, own.scale, self._bound(own), own.worst, name)
            for name, own in self.found.items()
        )

    def _bound(self, worst: _Worst) -> float:
        if worst.exact:
            return 0.0
        if self.task.tolerance is not None:
            return max(self.task.tolerance * worst.scale, self.eps**2)
        return max(16 * self.eps * worst.scale * self.task.depth, self.eps**2)


def _output_label(mirror: Mirror, index: int) -> Callable[[tuple[int, ...]], str]:
    return lambda entry: mirror.label("output", index, entry)


def _state_label(name: str) -> Callable[[tuple[int, ...]], str]:
    return lambda entry: f"{name}{list(entry)}"


def _entry(tensor: torch.Tensor, place: int) -> tuple[int, ...]:
    return tuple(int(own) for own in torch.unravel_index(torch.tensor(place), tensor.shape))


# ---- precision ------------------------------------------------------------------------------------------------
class _CoarserInside(Exception):  # noqa: N818 - a signal between two attempts, no error
    """The network casts to a coarser dtype than the one that it was asked to run in."""


class _Casts(TorchDispatchMode):
    """Watches for ops that take a floating-point tensor and return a coarser one."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[torch.dtype] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if not (name.startswith("new_") or name.endswith("_like")):
            taken, given = _floats((args, kwargs)), _floats(out)
            if taken and given:
                finest = min(torch.finfo(own).eps for own in taken)
                self.found |= {own for own in given if torch.finfo(own).eps > finest}
        return out


def _floats(tree: Any) -> set[torch.dtype]:
    leaves = tree_flatten(tree)[0]
    return {leaf.dtype for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.is_floating_point()}


def _coarser_inside(runner: Runner, call: Call) -> set[torch.dtype]:
    runner.run([call])
    watch = _Casts()
    try:
        with watch:
            runner.run([call])
    except ModelRunError:  # some compiled networks cannot be watched
        return set()
    return watch.found


def _own_dtype(module: torch.nn.Module, example: Arguments) -> torch.dtype:
    """The coarsest floating-point dtype among parameters, buffers and inputs; float32 where there is none."""
    found = _floats([list(module.parameters()), list(module.buffers()), list(example.tensors)])
    return max(found, key=lambda own: torch.finfo(own).eps, default=torch.float32)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
