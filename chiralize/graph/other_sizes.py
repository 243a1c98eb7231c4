"""Other sizes that a program with open axes says it takes: what is proved at the examples' sizes is run at these."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import sympy
import torch
from torch.export import ExportedProgram

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
    return any(not isinstance(size, int) for own in _inputs(program) for size in own)


def resizings(
    program: ExportedProgram,
    tensors: Sequence[torch.Tensor],
    names: Mapping[tuple[int, int], str],
    room: float = _TIMES,
    bounded: bool = True,
) -> list[Resized]:
    """For every open axis the smallest size, the largest that can be afforded, and one in between.

    Where others than the batch change, a batch that is open has no more than two samples, which leaves room for them.
    tensors: the example inputs.  names: of axes, by input and place; only those that it holds are tried.
    room: how many times the examples' size can be afforded.  bounded: the program's own bounds count; else it stands
    for a module that has none.
    """
    symbolic = _inputs(program)
    shapes = [tuple(own.shape) for own in tensors]
    if len(symbolic) != len(shapes) or any(len(a) != len(b) for a, b in zip(symbolic, shapes, strict=True)):
        return []
    found: list[Resized] = []
    symbols = {symbol: (now, axis) for symbol, now, axis in _symbols(symbolic, shapes, names)}
    bounds = {symbol: _bounds(program, symbol, bounded) for symbol in symbols}
    for symbol, (now, axis) in symbols.items():
        least, most = bounds[symbol]
        few = {other: min(size, max(_FEW, bounds[other][0])) for other, (size, name) in symbols.items()
               if name == "batch" != axis}  # fmt: skip
        spare = prod(symbols[other][0] / max(size, 1) for other, size in few.items())
        largest = min(most, _MOST, int(now * min(room * spare, _TIMES)))
        for size in dict.fromkeys((max(least, 1), round((now * max(largest, now)) ** 0.5), max(largest, now))):
            new = tuple(tuple(_sized(own, few | {symbol: size}, old) for own, old in zip(*pair, strict=True))
                        for pair in zip(symbolic, shapes, strict=True))  # fmt: skip
            if size != now and all(own >= 0 for shape in new for own in shape):
                found.append(Resized(axis, size, new))
    return found


def _bounds(program: ExportedProgram, symbol: Any, bounded: bool) -> tuple[int, int]:
    """The smallest and the largest value of a symbol."""
    bounds = program.range_constraints.get(symbol) if bounded else None
    return (1, _MOST) if bounds is None else (_number(bounds.lower, 1), _number(bounds.upper, _MOST))


def _inputs(program: ExportedProgram) -> list[Any]:
    """The sizes of every tensor that it takes, symbols in the place of those that are open."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    found = [values.get(str(name)) for name in program.graph_signature.user_inputs]
    return [[_plain(size) for size in own.shape] for own in found if isinstance(own, torch.Tensor)]


def _plain(size: Any) -> Any:
    """A number, or an expression of symbols."""
    if isinstance(size, int):
        return size
    known = size.node.maybe_as_int()
    return size.node.expr if known is None else known


def _symbols(
    symbolic: Sequence[Sequence[Any]], shapes: Sequence[Shape], names: Mapping[tuple[int, int], str]
) -> Iterator[tuple[Any, int, str]]:
    """Every open size, its value in the examples and its name; not where the mirror acts on an axis that has it."""
    places: dict[Any, list[tuple[int, int]]] = {}
    for index, own in enumerate(symbolic):
        for axis, size in enumerate(own):
            for symbol in getattr(size, "free_symbols", ()):
                places.setdefault(symbol, []).append((index, axis))
    for symbol, found in places.items():
        index, axis = found[0]
        size = symbolic[index][axis]
        values = sympy.solve(size - shapes[index][axis], symbol) if size.free_symbols == {symbol} else []
        if all(place in names for place in found) and len(values) == 1 and values[0].is_Integer:
            yield symbol, int(values[0]), names[found[0]]


def _sized(size: Any, values: Mapping[Any, int], old: int) -> int:
    if not values.keys() & getattr(size, "free_symbols", ()):
        return old
    found = size.subs(values)
    return int(found) if found.is_Integer else old


def _number(bound: Any, default: int) -> int:
    """A bound as a number, where it is one."""
    return int(bound) if getattr(bound, "is_Integer", isinstance(bound, int)) else default
