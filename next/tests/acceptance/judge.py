"""T as signed permutations of axes, and the judge: f(T x) against T f(x), with numpy and torch alone.

>>> swap([(0, 1)], -1)(torch.tensor([1.0, 2.0, 3.0]))
tensor([2., 1., 3.])
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils.flop_counter import FlopCounterMode

Turn = Callable[[Tensor], Tensor]
ROUNDING = 1e-9
"""Of float64 answers, relative to the largest: sums over a few thousand entries round to less."""


@dataclass(frozen=True)
class Case:
    """One network: how it is built, its specification, example shapes, and T of every tensor in plain torch.

    turns_in, turns_out: T of the flattened inputs and outputs; None for a state, which starts at zero and is fed back.
    remembers: the state lies in buffers.  methods: those that apply without inputs.
    """

    name: str
    build: Callable[[], nn.Module]
    spec: dict[str, Any]
    shapes: tuple[tuple[int, ...], ...]
    turns_in: tuple[Turn | None, ...]
    turns_out: tuple[Turn | None, ...]
    remembers: bool = False
    methods: tuple[str, ...] = ("match", "project", "average")
    dtype: torch.dtype = torch.float64

    def __str__(self) -> str:
        return self.name

    def model(self, dtype: torch.dtype = torch.float64, seed: int = 7) -> nn.Module:
        """An instance with random weights and statistics: hidden units stand in no order."""
        return scrambled(self.build().double(), seed).to(dtype).eval()

    def inputs(self, seed: int = 0, dtype: torch.dtype | None = None) -> tuple[Tensor, ...]:
        """Random arguments of one call; states are zero."""
        generator = torch.Generator().manual_seed(seed)
        dtype = dtype or self.dtype
        pairs = zip(self.shapes, self.turns_in, strict=True)
        return tuple(
            torch.zeros(shape, dtype=dtype)
            if turn is None
            else torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
            for shape, turn in pairs
        )


def scrambled(net: nn.Module, seed: int = 0) -> nn.Module:
    """Weights as after training: of sensible size, and nothing as PyTorch initialises it."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            if parameter.ndim > 1:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
            else:
                parameter.copy_(1.0 * name.endswith("weight") + 0.3 * noise)
        for name, buffer in net.named_buffers():
            noise = torch.randn(buffer.shape, generator=generator, dtype=torch.float64)
            if name.endswith("mean"):
                buffer.copy_(0.3 * noise)
            elif name.endswith("var"):
                buffer.copy_(0.6 + noise.abs())
    return net.eval()


# ---- T ------------------------------------------------------------------------------------------------------------
def same(x: Tensor) -> Tensor:
    """Kept."""
    return x


def swap(pairs: Sequence[Sequence[int]], axis: int) -> Turn:
    """Entries of an axis change places in pairs."""

    def turn(x: Tensor) -> Tensor:
        order = list(range(x.shape[axis]))
        for left, right in pairs:
            order[left], order[right] = right, left
        return x.index_select(axis, torch.tensor(order))

    return turn


def negate(entries: Sequence[int], axis: int) -> Turn:
    """Entries of an axis get the other sign."""

    def turn(x: Tensor) -> Tensor:
        sign = torch.ones(x.shape[axis], dtype=x.dtype)
        sign[list(entries)] = -1
        return (x.movedim(axis, -1) * sign).movedim(-1, axis)

    return turn


def both(*turns: Turn) -> Turn:
    """One after the other."""

    def turn(x: Tensor) -> Tensor:
        for each in turns:
            x = each(x)
        return x

    return turn


def pose(pairs: Sequence[Sequence[int]], joint: int = -2, coordinate: int = -1) -> Turn:
    """Left and right joints change places, x is negated."""
    return both(swap(pairs, joint), negate([0], coordinate))


def parts(*blocks: tuple[int, Turn]) -> Turn:
    """Blocks of the last axis, each with a T of its own."""

    def turn(x: Tensor) -> Tensor:
        pieces = x.split([size for size, _ in blocks], -1)
        return torch.cat([block[1](piece) for piece, block in zip(pieces, blocks, strict=True)], -1)

    return turn


# ---- the judge ----------------------------------------------------------------------------------------------------
def tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor)]


def turned(values: Sequence[Tensor], turns: Sequence[Turn | None]) -> tuple[Tensor, ...]:
    """T of each; states stay as they are."""
    return tuple(x if turn is None else turn(x) for x, turn in zip(values, turns, strict=True))


def rolled(module: nn.Module, case: Case, steps: Sequence[Sequence[Tensor]], views: int = 1) -> list[list[Tensor]]:
    """Answers to consecutive inputs, without the states, which are fed back; a copy is run.

    views: 2 for an average, which has the states of both views side by side.
    """
    net = copy.deepcopy(module)
    states: list[Tensor] = []
    answers = []
    with torch.no_grad():
        for step in steps:
            rest = iter(states)
            pairs = zip(step, case.turns_in, strict=True)
            given = [x if turn is not None else next(rest, x.tile(views)) for x, turn in pairs]
            out = tensors(net(*given))
            states = [x for x, turn in zip(out, case.turns_out, strict=True) if turn is None]
            answers.append([x for x, turn in zip(out, case.turns_out, strict=True) if turn is not None])
    return answers


def both_views(
    module: nn.Module, case: Case, steps: int, start: int, views: int = 1
) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
    """Answers to x, and T of the answers to T x."""
    inputs = [case.inputs(start + step) for step in range(steps)]
    shown = tuple(turn for turn in case.turns_out if turn is not None)
    image = rolled(module, case, [turned(step, case.turns_in) for step in inputs], views)
    return rolled(module, case, inputs, views), [list(turned(step, shown)) for step in image]


def gap(first: list[list[Tensor]], second: list[list[Tensor]]) -> float:
    """The largest difference, relative to the largest answer of that output."""
    worst = 0.0
    for ours, theirs in zip(first, second, strict=True):
        for x, y in zip(ours, theirs, strict=True):
            assert x.shape == y.shape and bool(x.isfinite().all())
            worst = max(worst, float((x - y).abs().max() / x.abs().max().clamp(min=1e-12)))
    return worst


def residual(module: nn.Module, case: Case, steps: int = 3, views: int = 1, start: int = 100) -> float:
    """How far f(T x) and T f(x) are apart, along `steps` calls."""
    return gap(*both_views(module, case, steps, start, views))


def flip_average(module: nn.Module, case: Case, steps: int, start: int = 100) -> list[list[Tensor]]:
    """½ (f(x) + T f(T x)), along `steps` calls."""
    views = zip(*both_views(module, case, steps, start), strict=True)
    return [[(x + y) / 2 for x, y in zip(ours, theirs, strict=True)] for ours, theirs in views]


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """A copy of parameters and buffers."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def unchanged(module: nn.Module, before: dict[str, Tensor]) -> bool:
    """Bit by bit."""
    after = module.state_dict()
    return after.keys() == before.keys() and all(torch.equal(after[name], before[name]) for name in before)


def products(module: nn.Module, *inputs: Tensor) -> int:
    """Multiplications of one call, as torch counts them."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*inputs)
    return counter.get_total_flops() // 2
