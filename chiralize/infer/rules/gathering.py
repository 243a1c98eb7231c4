"""Entries taken from places that a tensor of indices names.

`gather(x, 1, index)` reads x[b, index[b, k]]. Three kinds of index are told apart:

    constant, the same in every row     a list, as in `selection`
    constant, different in the rows     column k of the index is the label of position k: where the mirror takes the
                                        labels to each other, positions move as they do (`_varying`)
    computed from the inputs            which entries are named depends on x, so the axis that is read has to stay
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from chiralize.graph.traits import Movement
from chiralize.infer.products import without_axis
from chiralize.infer.registry import Call, Operand, Results, normal, sample
from chiralize.infer.rules._families import incomplete, op, plain_of, rule, tensor
from chiralize.infer.rules.selection import at_lists, picked, still
from chiralize.infer.solver import lists
from chiralize.infer.solver.terms import Conflict, Wait, product
from chiralize.symmetry.symbolic import Axis, SymbolicRepresentation, is_known

_x = normal(3, 4)
_lists_of_rows = [[0, 2, 2, 1]] * 3


# ---- what an index tensor names -----------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Spread:
    """An index tensor for one axis that does not change along the other axes: [[3, 1], [3, 1]] is the list 3, 1."""

    entries: list[int]


def as_list(index: torch.Tensor, dim: int) -> _Spread | None:
    """The list along `dim` that an index tensor repeats along all other axes, or None."""
    if index.ndim == 0:
        return _Spread([int(index)])
    rows = index.movedim(dim, -1).reshape(-1, index.shape[dim])
    if len(rows) and bool((rows == rows[:1]).all()):
        return _Spread(rows[0].tolist())
    return None


def named(call: Call, rep: SymbolicRepresentation, dim: int, index: Operand) -> SymbolicRepresentation:
    """The representation of the entries that an index tensor of as many axes as `rep` names along `dim`.

    Raises Conflict where the mirror does not take these entries to each other, Wait while that is open.
    """
    solver = call.solver
    if index.constant is None:
        return _named_by_computed(call, rep, dim, index)
    if index.ndim == 0:
        raise Conflict("an index without axes")
    # From here on the index is a constant: T moves what it names, and not the numbers in it.
    still(call, index)
    axes = list(rep.axes)
    # An index may be shorter than the tensor along the other axes: only the first entries are read there.
    for position, length in enumerate(index.shape):
        if position != dim and length != rep.shape[position]:
            axes[position] = picked(call, axes[position], range(length), f"other {position}")
    listed = as_list(index.constant, dim)
    if listed is not None:
        axes[dim] = picked(call, rep.axes[dim], listed.entries)
    else:
        axes[dim] = _varying(call, rep.axes[dim], axes, dim, index.constant)
    return solver.representation(SymbolicRepresentation(tuple(axes), rep.sign))


def _varying(call: Call, axis: Axis, others: Sequence[Axis], dim: int, index: torch.Tensor) -> Axis:
    """Positions of a constant index that differs along other axes too: columns of it move as whole.

    out[b, k] = x[b, I[b, k]] becomes out[b', k'] with b' the partner of b. So column k' has to hold, at b', the partner
    of I[b, k]. The column of images is the label that position k has to go to.

    With I = [[0, 1], [1, 0]] and entries 0 and 1 exchanged: column 0 is (0, 1), and its image (1, 0) is column 1, so
    the positions are exchanged. Where the rows are exchanged as well, the image is (0, 1) again, and they stay.
    """
    known = [call.solver.resolve(other) for position, other in enumerate(others) if position != dim]
    axis = call.solver.resolve(axis)
    if not all(map(is_known, [axis, *known])):
        raise Wait("an index that differs along axes that are not known yet")
    action = product(axis)
    if not action.is_sign_free:
        raise Conflict("an index that differs along several axes picks entries with signs", negated=True)
    entries = index.cpu().numpy() % action.size
    image = action.partner[entries]
    for position, other in enumerate(others):
        if position != dim:
            image = np.take(image, product(call.solver.resolve(other)).partner, position)
    labels, images = _labels(entries, dim), _labels(image, dim)
    tie = lists.Tie((), labels, images, (1,) * len(labels))
    return lists.settled(call, tie, "list", "the constant index")


def _labels(entries: npt.NDArray[np.int64], dim: int) -> tuple[bytes, ...]:
    """A label for every position along `dim`: all that stands there."""
    rows = np.moveaxis(entries, dim, 0).reshape(entries.shape[dim], -1)
    return tuple(row.tobytes() for row in np.ascontiguousarray(rows))


def _named_by_computed(call: Call, rep: SymbolicRepresentation, dim: int, index: Operand) -> SymbolicRepresentation:
    """An index computed from the input: the axis that it names stays in place, the others move alike."""
    solver = call.solver
    index_rep = plain_of(index, call)
    solver.trivial(rep.axes[dim])
    axes: list[Axis] = []
    for position, (axis, index_axis) in enumerate(zip(rep.axes, index_rep.axes, strict=True)):
        # Along `dim` the result has the positions of the index. Along the others row b is read by row b of the index:
        # both move alike, or, where only the first rows are read, neither moves.
        if position == dim:
            axes.append(index_axis)
        elif rep.shape[position] == index.shape[position]:
            solver.equal(index_axis, solver.absolute(axis))
            axes.append(axis)
        else:
            solver.trivial(axis)
            solver.trivial(index_axis)
            axes.append(index_axis)
    return SymbolicRepresentation(tuple(axes), rep.sign)


# ---- reading ------------------------------------------------------------------------------------------------------
@rule(
    "gather",
    "`a -> a'` along one axis, as an index with a constant list; where the index is computed, `... 1a, +... "
    "+k -> ... +k`",
)
@incomplete("of several ways to pair the copies of an entry one is chosen")
@op("gather", sample(_x, 1, [[3, 1], [3, 1], [3, 1]]), sample(_x, 1, _lists_of_rows), trait=Movement())
@op("gather", sample(normal(4, 4), 1, [[1, 0], [0, 1], [3, 2], [2, 3]]))
@op("take_along_dim", sample(_x, [[3, 1]], 1), sample(_x, _lists_of_rows, 1))
def gather(call: Call) -> Results:
    """out[b, k] = x[b, index[b, k]]."""
    rep = call.solver.representation(tensor(call["self"]).rep)
    index = tensor(call["index"] if "index" in call.arguments else call["indices"])
    if call.get("dim") is None:
        raise Conflict("an index into a flattened tensor")
    dim = call.axis(call["dim"], len(rep.axes))
    if "indices" in call.arguments:
        index = _stretched(index, rep, dim)
    gathered = named(call, rep, dim, index)
    lists.decided(call)
    return gathered


def _stretched(index: Operand, rep: SymbolicRepresentation, dim: int) -> Operand:
    """take_along_dim repeats an index along axes of size 1."""
    # Which way the copies of a computed index move is not followed, so there may be none.
    if index.constant is None:
        if without_axis(index.rep, dim).shape != without_axis(rep, dim).shape:
            raise Conflict("a computed index that is stretched along other axes")
        return index
    wide = index.constant.expand([*rep.shape[:dim], index.shape[dim], *rep.shape[dim + 1 :]])
    return Operand(SymbolicRepresentation(tuple(rep.axes[:dim]) + ((),) + tuple(rep.axes[dim + 1 :])), wide)


@rule(
    "embedding",
    "`n f, n' -> n' f` for a constant list or table of rows, as an index; `1n f, +... -> +... f` for a computed one",
)
@op("embedding", sample(normal(4, 3), [0, 1, 2, 3], weights={0}), sample(normal(4, 3), [2, 1], weights={0}))
@op("embedding", sample(normal(4, 2), [[0, 1, 2], [1, 0, 3]], weights={0}))
@op("embedding", sample(normal(4, 3), [[0, 1, 2, 3], [0, 1, 2, 3]], weights={0}))
def embedding(call: Call) -> Results:
    """Rows of a table, e.g. one for every joint or frame."""
    solver = call.solver
    table, rows = solver.representation(tensor(call["weight"]).rep), tensor(call["indices"])
    # Computed numbers of rows, such as tokens, are the same in both views, so T must not renumber the table.
    if rows.constant is None:
        rep = plain_of(rows, call)
        solver.trivial(table.axes[0])
        return SymbolicRepresentation((*rep.axes, table.axes[1]), table.sign)
    taken = at_lists(call, table, [rows])
    lists.decided(call)
    return solver.representation(taken)
