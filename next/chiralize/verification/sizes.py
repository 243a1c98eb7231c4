"""Which other sizes does a program with open axes promise to take? A proof is about the examples' sizes; these are run.

Of an input "batch frame 34" with 2 samples of 27 frames, frames are tried at the smallest size that the program
takes, at the largest that can be afforded, and at one in between. Sizes may depend on each other (a mask of as many
frames): torch writes them as expressions of symbols, and a symbol is given another value everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sympy
import torch
from torch.export import ExportedProgram

Shape = tuple[int, ...]
_MOST = 512
"""The largest size that is tried: frames of a minute or less."""
_TIMES = 64
"""How many times the examples' size is tried at most."""
_FEW = 2
"""Samples of a batch while another axis changes, which leaves room."""


@dataclass(frozen=True)
class Resized:
    """Shapes of all inputs with another size of one open axis."""

    axis: str
    size: int
    shapes: tuple[Shape, ...]


def is_open(program: ExportedProgram) -> bool:
    """Whether some size of its inputs is open."""
    return any(not isinstance(size, int) for sizes in _symbolic_sizes(program) for size in sizes)


def resizings(
    program: ExportedProgram, shapes: Sequence[Shape], names: Mapping[tuple[int, int], str], room: float, bounded: bool
) -> Iterator[Resized]:
    """For every open axis but the batch the smallest size, the largest that can be afforded, and one in between.

    shapes: of the example inputs.  names: of the axes that may change, by (input, axis): those that the mirror leaves
    alone.  room: how many times the examples' size can be afforded.  bounded: whether the program's own bounds count;
    False where it stands for a module that has none.
    """
    symbolic = _symbolic_sizes(program)
    # Not the tensors that the program was exported with.
    if list(map(len, symbolic)) != list(map(len, shapes)):
        return
    symbols = {symbol: (now, axis) for symbol, now, axis in _symbols(symbolic, shapes, names)}
    few = {symbol: min(now, _FEW) for symbol, (now, axis) in symbols.items() if axis == "batch"}
    spare = max((now / _FEW for symbol, (now, axis) in symbols.items() if axis == "batch"), default=1.0)
    for symbol, (now, axis) in symbols.items():
        if symbol in few:
            continue
        bounds = program.range_constraints.get(symbol) if bounded else None
        least, most = (1, _MOST) if bounds is None else (_number(bounds.lower, 1), _number(bounds.upper, _MOST))
        largest = max(min(most, _MOST, int(now * min(room * max(spare, 1.0), _TIMES))), now)
        # The geometric mean lies in between for short and for long axes; equal sizes are tried once.
        for size in dict.fromkeys((max(least, 1), round((now * largest) ** 0.5), largest)):
            resized = _shapes_at({**few, symbol: size}, symbolic, shapes)
            # An axis of "s - 5" entries may not be negative.
            if size != now and all(min(shape, default=0) >= 0 for shape in resized):
                yield Resized(axis, size, resized)


def _symbolic_sizes(program: ExportedProgram) -> list[list[Any]]:
    """The sizes of every tensor that a program takes: numbers, or expressions of symbols where they are open."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    inputs = [values.get(str(name)) for name in program.graph_signature.user_inputs]
    return [list(map(_plain, value.shape)) for value in inputs if isinstance(value, torch.Tensor)]


def _plain(size: Any) -> Any:
    """A size as a number, or as an expression of symbols where it is open."""
    if isinstance(size, int):
        return size
    number = size.node.maybe_as_int()
    return size.node.expr if number is None else number


def _symbols(
    symbolic: Sequence[Sequence[Any]], shapes: Sequence[Shape], names: Mapping[tuple[int, int], str]
) -> Iterator[tuple[Any, int, str]]:
    """(symbol, its value in the examples, name) of every open size, unless the mirror acts on an axis that has it."""
    axes_with: dict[Any, list[tuple[int, int]]] = {}
    for index, sizes in enumerate(symbolic):
        for axis, size in enumerate(sizes):
            for symbol in getattr(size, "free_symbols", ()):
                axes_with.setdefault(symbol, []).append((index, axis))
    for symbol, axes in axes_with.items():
        index, axis = axes[0]
        size = symbolic[index][axis]
        # Only symbols that are alone in a size, so that their value follows from it; and only where the mirror leaves
        # all axes alone that have it.
        if size.free_symbols != {symbol} or not names.keys() >= set(axes):
            continue
        values = sympy.solve(size - shapes[index][axis], symbol)
        if len(values) == 1 and values[0].is_Integer:
            yield symbol, int(values[0]), names[axes[0]]


def _shapes_at(
    values: Mapping[Any, int], symbolic: Sequence[Sequence[Any]], shapes: Sequence[Shape]
) -> tuple[Shape, ...]:
    """The shapes of all inputs where symbols have other values."""
    resized = list[Shape]()
    for sizes, shape in zip(symbolic, shapes, strict=True):
        resized.append(tuple(_sized(size, values, before) for size, before in zip(sizes, shape, strict=True)))
    return tuple(resized)


def _sized(size: Any, values: Mapping[Any, int], before: int) -> int:
    """A size where symbols have other values; as before if it depends on none of them, or stays an expression."""
    if not values.keys() & getattr(size, "free_symbols", ()):
        return before
    number = size.subs(values)
    return int(number) if number.is_Integer else before


def _number(bound: Any, default: int) -> int:
    """A bound as a number, where it is one."""
    return int(bound) if getattr(bound, "is_Integer", isinstance(bound, int)) else default
