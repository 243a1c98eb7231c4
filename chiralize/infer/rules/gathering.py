"""Entries taken from places that a tensor of indices names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from chiralize.infer.registry import Call, Operand, Results, Sample, normal
from chiralize.infer.rules._families import plain_of, rule, tensor
from chiralize.infer.rules.selection import at_lists, picked, still
from chiralize.infer.solver import lists
from chiralize.infer.solver.terms import Conflict, Wait, product
from chiralize.symmetry.symbolic import Axis, SymbolicRepresentation, is_known

_x = normal(3, 4)
_lists_of_rows = [[0, 2, 2, 1]] * 3


# ---- what an index tensor names -----------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Spread:
    """An index tensor for one axis that does not change along the other axes: a list."""

    entries: list[int]


def as_list(index: torch.Tensor, dim: int) -> _Spread | None:
    """The list along `dim` that an index tensor repeats along all other axes, or None."""
    if index.ndim == 0:
        return _Spread([int(index)])
    rows = index.movedim(dim, -1).reshape(-1, index.shape[dim])
    return _Spread(rows[0].tolist()) if len(rows) and bool((rows == rows[:1]).all()) else None


def named(call: Call, rep: SymbolicRepresentation, dim: int, index: Operand) -> SymbolicRepresentation:
    """The entries of `rep` that an index tensor of the same number of axes names along `dim`."""
    solver = call.solver
    if index.constant is None:
        return _named_by_computed(call, rep, dim, index)
    if index.ndim == 0:
        raise Conflict("an index without axes")
    still(call, index)
    axes = [
        axis if own == size or place == dim else picked(call, axis, range(own), f"other {place}")
        for place, (axis, own, size) in enumerate(zip(rep.axes, index.shape, rep.shape, strict=True))
    ]
    found = as_list(index.constant, dim)
    if found is not None:
        axes[dim] = picked(call, rep.axes[dim], found.entries)
    else:
        axes[dim] = _varying(call, rep.axes[dim], axes, dim, index.constant)
    return solver.representation(SymbolicRepresentation(tuple(axes), rep.sign))


def _varying(call: Call, axis: Axis, others: Sequence[Axis], dim: int, index: torch.Tensor) -> Axis:
    """Positions of a constant index that differs along other axes too: columns of it move as whole."""
    known = [call.solver.resolve(other) for place, other in enumerate(others) if place != dim]
    axis = call.solver.resolve(axis)
    if not all(map(is_known, [axis, *known])):
        raise Wait("an index that differs along axes that are not known yet")
    action = product(axis)
    if not action.is_sign_free:
        raise Conflict("an index that differs along several axes picks entries with signs", negated=True)
    own = index.cpu().numpy() % action.size
    image = action.partner[own]
    for place, other in enumerate(others):
        if place != dim:
            image = np.take(image, product(call.solver.resolve(other)).partner, place)
    labels, images = (np.moveaxis(part, dim, 0).reshape(part.shape[dim], -1) for part in (own, image))
    tie = lists.Tie((), tuple(row.tobytes() for row in np.ascontiguousarray(labels)),
                     tuple(row.tobytes() for row in np.ascontiguousarray(images)), (1,) * len(labels))  # fmt: skip
    return lists.settled(call, tie, "list", "the constant index")


def _named_by_computed(call: Call, rep: SymbolicRepresentation, dim: int, index: Operand) -> SymbolicRepresentation:
    """An index computed from the input: the axis that it names stays in place, the others move alike."""
    solver = call.solver
    own = plain_of(index, call)
    solver.trivial(rep.axes[dim])
    axes: list[Axis] = []
    for place, (axis, mine) in enumerate(zip(rep.axes, own.axes, strict=True)):
        if place == dim:
            axes.append(mine)
        elif rep.shape[place] == index.shape[place]:
            solver.equal(mine, solver.absolute(axis))
            axes.append(axis)
        else:
            solver.trivial(axis)
            solver.trivial(mine)
            axes.append(mine)
    return SymbolicRepresentation(tuple(axes), rep.sign)


# ---- reading ------------------------------------------------------------------------------------------------------
@rule("gather", "aten.gather.default", "aten.take_along_dim.default",
      statement="`a -> a'` along one axis, as an index with a constant list; where the index is computed, "
                "`... 1a, +... +k -> ... +k`",
      samples={"aten.gather.default": [Sample((_x, 1, [[3, 1], [3, 1], [3, 1]])), Sample((_x, 1, _lists_of_rows)),
                                       Sample((normal(4, 4), 1, [[1, 0], [0, 1], [3, 2], [2, 3]]))],
               "aten.take_along_dim.default": [Sample((_x, [[3, 1]], 1)), Sample((_x, _lists_of_rows, 1))]},
      incomplete="of several ways to pair the copies of an entry one is chosen")  # fmt: skip
def gather(call: Call) -> Results:
    """out[b, k] = x[b, index[b, k]]."""
    rep = call.solver.representation(tensor(call["self"]).rep)
    index = tensor(call["index"] if "index" in call.arguments else call["indices"])
    if call.get("dim") is None:
        raise Conflict("an index into a flattened tensor")
    dim = call.axis(call["dim"], len(rep.axes))
    if "indices" in call.arguments:
        index = _stretched(index, rep, dim)
    found = named(call, rep, dim, index)
    lists.decided(call)
    return found


def _stretched(index: Operand, rep: SymbolicRepresentation, dim: int) -> Operand:
    """take_along_dim repeats an index along axes of size 1."""
    if index.constant is None:
        if any(own != size for place, (own, size) in enumerate(zip(index.shape, rep.shape, strict=True))
               if place != dim):  # fmt: skip
            raise Conflict("a computed index that is stretched along other axes")
        return index
    shape = [index.shape[place] if place == dim else size for place, size in enumerate(rep.shape)]
    wide = index.constant.expand(shape)
    return Operand(SymbolicRepresentation(tuple(rep.axes[:dim]) + ((),) + tuple(rep.axes[dim + 1 :])), wide)


@rule("embedding", "aten.embedding.default",
      statement="`n f, n' -> n' f` for a constant list or table of rows, as an index; `1n f, +... -> +... f` for a "
                "computed one",
      samples=[Sample((normal(4, 3), [0, 1, 2, 3]), {}, frozenset({0})),
               Sample((normal(4, 3), [2, 1]), {}, frozenset({0})),
               Sample((normal(4, 2), [[0, 1, 2], [1, 0, 3]]), {}, frozenset({0})),
               Sample((normal(4, 3), [[0, 1, 2, 3], [0, 1, 2, 3]]), {}, frozenset({0}))])  # fmt: skip
def embedding(call: Call) -> Results:
    """Rows of a table, e.g. one for every joint or frame."""
    solver = call.solver
    table, rows = solver.representation(tensor(call["weight"]).rep), tensor(call["indices"])
    if rows.constant is None:
        rep = plain_of(rows, call)
        solver.trivial(table.axes[0])
        return SymbolicRepresentation((*rep.axes, table.axes[1]), table.sign)
    found = at_lists(call, table, [rows])
    lists.decided(call)
    return solver.representation(found)
