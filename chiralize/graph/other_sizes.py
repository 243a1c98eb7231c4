"""Other sizes that a program with open axes promises to take. A proof holds at the examples' sizes; these are run.

Of an input "batch frame 34" with 2 samples of 27 frames, frames are tried at the smallest size that the program
takes, at the largest that can be afforded, and at one in between; then samples likewise. Sizes may depend on each
other (a mask of as many frames): torch writes them as expressions of symbols, and a symbol is given another value
everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import sympy
import torch
from torch.export import ExportedProgram

from chiralize.graph.fixed_sizes import input_values, number_of
from chiralize.graph.model import Shape

_MOST = 512
_TIMES = 64  # the examples' size
_FEW = 2


@dataclass(frozen=True)
class Resized:
    """Shapes of all inputs with another size of one open axis."""

    axis: str
    size: int
    shapes: tuple[Shape, ...]


def is_open(program: ExportedProgram) -> bool:
    """Whether some size of its inputs is open."""
    return any(not isinstance(size, int) for sizes in symbolic_sizes(program) for size in sizes)


def is_open_along(program: ExportedProgram, axes: Sequence[Sequence[int]]) -> bool:
    """Whether all of these axes of the inputs are open.  axes: of every tensor."""
    sizes = zip(symbolic_sizes(program), axes, strict=False)
    return not any(isinstance(tensor[axis], int) for tensor, of_it in sizes for axis in of_it)


def resizings(
    program: ExportedProgram,
    tensors: Sequence[torch.Tensor],
    names: Mapping[tuple[int, int], str],
    room: float = _TIMES,
    bounded: bool = True,
    floors: Mapping[str, int] | None = None,
) -> list[Resized]:
    """For every open axis the smallest size, the largest that can be afforded, and one in between.

    While another axis than the batch changes, an open batch has no more than two samples, which leaves room.
    tensors: the example inputs.  names: of axes, by (input, axis); only those in it are tried.
    room: how many times the examples' size can be afforded.  bounded: whether the program's own bounds count; False
    where it stands for a module that has none.  floors: by axis, the least size that has an answer.
    """
    resized: list[Resized] = []
    for open_axis in open_axes(program, tensors, names, bounded, floors):
        now = open_axis.now
        largest = max(min(open_axis.most, int(now * min(room * open_axis.spare, _TIMES))), now)
        # The geometric mean lies in between for short and for long axes; equal sizes are tried once.
        for size in dict.fromkeys((max(open_axis.least, 1), round((now * largest) ** 0.5), largest)):
            new = open_axis.at(size)
            if size != now and new is not None:
                resized.append(new)
    return resized


@dataclass(frozen=True)
class OpenAxis:
    """An axis of the inputs with an open size, and the shapes of all inputs where it has another one.

    now: its size in the examples.  least, most: of its sizes.  spare: how many times longer it may get, since the batch
    becomes smaller meanwhile.  shapes_at: the shapes of all inputs at a size.
    """

    axis: str
    now: int
    least: int
    most: int
    spare: float
    shapes_at: Callable[[int], tuple[Shape, ...]]

    def at(self, size: int) -> Resized | None:
        """The shapes at a size; None where an axis of "s - 5" entries would be negative."""
        shapes = self.shapes_at(size)
        if any(min(shape, default=0) < 0 for shape in shapes):
            return None
        return Resized(self.axis, size, shapes)


def open_axes(
    program: ExportedProgram,
    tensors: Sequence[torch.Tensor],
    names: Mapping[tuple[int, int], str],
    bounded: bool = True,
    floors: Mapping[str, int] | None = None,
) -> Iterator[OpenAxis]:
    """Every open axis of the inputs. The arguments are those of `resizings`."""
    symbolic = symbolic_sizes(program)
    shapes = [tuple(tensor.shape) for tensor in tensors]
    # Not the tensors that the program was exported with.
    if list(map(len, symbolic)) != list(map(len, shapes)):
        return
    symbols = {symbol: (now, axis) for symbol, now, axis in _symbols(symbolic, shapes, names)}
    bounds: dict[Any, tuple[int, int]] = {}
    for symbol, (_, axis) in symbols.items():
        least, most = _bounds(program, symbol, bounded)
        bounds[symbol] = max(least, (floors or {}).get(axis, 1)), min(most, _MOST)
    for symbol, (now, axis) in symbols.items():
        # few: other symbols that shrink meanwhile, to two samples or the program's least.
        few: dict[Any, int] = {}
        spare = 1.0
        for other, (count, name) in symbols.items():
            if name == "batch" != axis:
                few[other] = min(count, max(_FEW, bounds[other][0]))
                spare *= count / max(few[other], 1)
        yield OpenAxis(axis, now, *bounds[symbol], spare, partial(_shapes_with, symbol, few, symbolic, shapes))


def _shapes_with(
    symbol: Any, few: Mapping[Any, int], symbolic: Sequence[Sequence[Any]], shapes: Sequence[Shape], size: int
) -> tuple[Shape, ...]:
    """The shapes of all inputs where one symbol has another value, and those that shrink meanwhile have theirs."""
    return _shapes_at({**few, symbol: size}, symbolic, shapes)


def _bounds(program: ExportedProgram, symbol: Any, bounded: bool) -> tuple[int, int]:
    """The smallest and the largest value of a symbol."""
    bounds = program.range_constraints.get(symbol) if bounded else None
    if bounds is None:
        return 1, _MOST
    return _number(bounds.lower, 1), _number(bounds.upper, _MOST)


def symbolic_sizes(program: ExportedProgram) -> list[list[Any]]:
    """The sizes of every tensor that a program takes: numbers, or expressions of symbols where they are open."""
    return [list(map(_plain, value.shape)) for value in input_values(program) if isinstance(value, torch.Tensor)]


def _plain(size: Any) -> Any:
    """A size as a number, or as an expression of symbols where it is open."""
    number = number_of(size)
    if number is None:
        return size.node.expr
    return number


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
    new: list[Shape] = []
    for sizes, shape in zip(symbolic, shapes, strict=True):
        new.append(tuple(_sized(size, values, old) for size, old in zip(sizes, shape, strict=True)))
    return tuple(new)


def _sized(size: Any, values: Mapping[Any, int], old: int) -> int:
    """A size where symbols have other values; the old one if it depends on none of them, or stays an expression."""
    if not values.keys() & getattr(size, "free_symbols", ()):
        return old
    number = size.subs(values)
    if number.is_Integer:
        return int(number)
    return old


def _number(bound: Any, default: int) -> int:
    """A bound as a number, where it is one."""
    if getattr(bound, "is_Integer", isinstance(bound, int)):
        return int(bound)
    return default
