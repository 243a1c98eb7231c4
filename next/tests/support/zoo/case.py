"""What a network of the zoo says about itself; T is written here with plain torch, nothing of chiralize is used."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

Turn = Callable[[Tensor], Tensor]
Step = tuple[tuple[Any, ...], dict[str, Any]]

H36M = [(1, 4), (2, 5), (3, 6), (14, 11), (15, 12), (16, 13)]
COCO = [(i, i + 1) for i in range(1, 17, 2)]
QUADRUPED = [(leg + i, leg + 3 + i) for leg in (0, 6) for i in range(3)]
HIPS = [0, 3, 6, 9]


@dataclass(frozen=True)
class Case:
    """One network.

    build: makes a fresh instance (weights are scrambled afterwards).  spec: YAML.  args, kwargs: examples in float64.
    turns_in, turns_out: T on the flattened tensors, None for a state.  entry: the method that is called.
    stateful: buffers remember.  only: methods that apply.  refolds: folded weights load into a fresh instance.
    """

    name: str
    build: Callable[[], nn.Module]
    spec: str
    args: tuple[Any, ...]
    turns_in: tuple[Turn | None, ...]
    turns_out: tuple[Turn | None, ...]
    kwargs: tuple[tuple[str, Any], ...] = ()
    entry: str = "forward"
    stateful: bool = False
    refolds: bool = True
    only: tuple[str, ...] = ("match", "project", "average")

    def model(self, dtype: torch.dtype = torch.float64) -> nn.Module:
        """A trained-looking instance: nothing is left as PyTorch initialises it."""
        return scrambled(self.build().double(), zlib.crc32(self.name.encode())).to(dtype).eval()

    def example(self, dtype: torch.dtype = torch.float64) -> Step:
        return _cast((self.args, dict(self.kwargs)), dtype)

    def steps(self, count: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> list[Step]:
        """Consecutive inputs, the states among them left at zero."""
        generator = torch.Generator().manual_seed(seed + 1)
        found = []
        for _ in range(count):
            turns = iter(self.turns_in)
            found.append(_fill(self.example(dtype), turns, generator))
        return found


def _cast(step: Step, dtype: torch.dtype) -> Step:
    return pytree.tree_map_only(Tensor, lambda x: x.to(dtype) if x.is_floating_point() else x.clone(), step)


def _fill(step: Step, turns: Any, generator: torch.Generator) -> Step:
    def draw(x: Tensor) -> Tensor:
        if next(turns) is None:
            return torch.zeros_like(x)
        return (
            torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.dtype) if x.is_floating_point() else x
        )

    return pytree.tree_map_only(Tensor, draw, step)


def scrambled(module: nn.Module, seed: int) -> nn.Module:
    """Random weights of a sensible size, random statistics, random biases."""
    generator = torch.Generator().manual_seed(seed)

    def normal(tensor: Tensor) -> Tensor:
        return torch.randn(tensor.shape, generator=generator, dtype=torch.float64).to(tensor.dtype)

    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim > 1:
                parameter.copy_(normal(parameter) / parameter[0].numel() ** 0.5)
            else:
                parameter.copy_(1.0 * name.endswith("weight") + 0.3 * normal(parameter))
        for name, buffer in module.named_buffers():
            if buffer.is_floating_point() and ("mean" in name or "var" in name):
                buffer.copy_(normal(buffer) * 0.3 if "mean" in name else 0.6 + normal(buffer).abs())
    return module


# ---- T, written out ---------------------------------------------------------------------------------------------
def same(x: Tensor) -> Tensor:
    """Left alone."""
    return x


def swapped(pairs: Sequence[tuple[int, int]], axis: int) -> Turn:
    """Entries of an axis exchanged in pairs."""

    def turn(x: Tensor) -> Tensor:
        order = list(range(x.shape[axis]))
        for a, b in pairs:
            order[a], order[b] = b, a
        return x.movedim(axis, 0)[order].movedim(0, axis).contiguous()

    return turn


def negated(entries: Sequence[int], axis: int) -> Turn:
    """Entries of an axis with the other sign."""

    def turn(x: Tensor) -> Tensor:
        out = x.clone().movedim(axis, 0)
        for entry in entries:
            out[entry] = -out[entry]
        return out.movedim(0, axis).contiguous()

    return turn


def both(*turns: Turn) -> Turn:
    """One after the other."""

    def turn(x: Tensor) -> Tensor:
        for each in turns:
            x = each(x)
        return x

    return turn


def pose(pairs: Sequence[tuple[int, int]] = H36M) -> Turn:
    """`... joint coordinate`, x first."""
    return both(swapped(pairs, -2), negated([0], -1))


def parts(*blocks: tuple[int, Turn]) -> Turn:
    """Blocks of the last axis, each with a T of its own."""

    def turn(x: Tensor) -> Tensor:
        pieces = x.split([size for size, _ in blocks], -1)
        return torch.cat([own(piece) for piece, (_, own) in zip(pieces, blocks, strict=True)], -1)

    return turn


def legs(x: Tensor) -> Tensor:
    """12 joints of a quadruped on the last axis: left and right legs exchanged, hip joints negated."""
    return both(swapped(QUADRUPED, -1), negated(HIPS, -1))(x)


# ---- running ------------------------------------------------------------------------------------------------------
def turned(step: Step, turns: Sequence[Turn | None]) -> Step:
    """T on the arguments of a call; states stay as they are."""
    rest = iter(turns)

    def turn(x: Tensor) -> Tensor:
        own = next(rest)
        return own(x) if own is not None else x

    return pytree.tree_map_only(Tensor, turn, step)


def tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor)]


def rolled_out(call: Callable[..., Any], steps: Sequence[Step], case: Case) -> list[list[Tensor]]:
    """Answers to consecutive inputs; states that are returned are fed back."""
    states: list[Tensor] = []
    answers = []
    with torch.no_grad():
        for step in steps:
            if states:
                step = _with_states(step, case.turns_in, states)
            args, kwargs = step
            out = tensors(call(*args, **kwargs))
            states = [own for own, turn in zip(out, case.turns_out, strict=True) if turn is None]
            answers.append(out)
    return answers


def _with_states(step: Step, turns: Sequence[Turn | None], states: Sequence[Tensor]) -> Step:
    rest, given = iter(turns), iter(states)
    return pytree.tree_map_only(Tensor, lambda x: next(given) if next(rest) is None else x, step)
