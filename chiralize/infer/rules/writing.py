"""Entries written to, or added at, places that constant lists or a tensor of indices name.

A write takes the entries that it replaces out of the whole, as a read would (`at_lists`, `named`), and demands that
what is written transforms as they do. The whole then moves as it did before:

    x[:, [1, 4]] = y          positions of the list are exchanged by T, so T has to exchange the two entries of y
    out.index_add(1, parents, m)    several entries of m may go to one place: they are summed, and their order is free

Where entries are replaced and one is written twice, the last one wins; T would make it the first one. `_once` refuses
it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from chiralize.infer.products import equal_sum
from chiralize.infer.registry import Call, Operand, Results, demand_plain, normal, positive, sample
from chiralize.infer.rules._families import incomplete, op, plain_of, rule, tensor
from chiralize.infer.rules.gathering import as_list, named
from chiralize.infer.rules.selection import at_lists, computed, entries_of, is_computed, lists_by_axis, picked
from chiralize.infer.solver.lists import decided
from chiralize.infer.solver.terms import Conflict
from chiralize.symmetry.symbolic import Axis, SymbolicRepresentation

_x = normal(3, 4)
_lists_of_rows = [[0, 2, 2, 1]] * 3


def anchored(operand: Operand, call: Call) -> SymbolicRepresentation:
    """The tensor that is written into. If it is one number everywhere it may move in any way, the same at every run.

    Zeros that are filled by several writes move as what is written. As operands they get new unknowns for each run of a
    rule; here they get lasting ones, so that what one write says of them is known to the next.
    """
    solver = call.solver
    rep = solver.representation(operand.rep)
    axes: list[Axis] = []
    for dim, axis in enumerate(rep.axes):
        passing = [term for term in axis if getattr(term, "id", None) in solver.passing]
        size = operand.shape[dim]
        axes.append(solver.unknown_at(f"{call.key}<{dim}>", size, signed=operand.zero) if passing else axis)
    return SymbolicRepresentation(tuple(axes), rep.sign)


def spread(call: Call, rep: SymbolicRepresentation, dim: int, source: Operand) -> None:
    """Before a part along `dim` is known: what is written has the other axes of the whole.

    The rule may wait for the part; these axes are tied to each other already by then.
    """
    if source.ndim == len(rep.axes) and not source.zero:
        source_rep = call.solver.representation(source.rep)
        for position, (axis, source_axis) in enumerate(zip(rep.axes, source_rep.axes, strict=True)):
            if position != dim and source.shape[position] != 1:
                call.solver.same(axis, source_axis)


def written(call: Call, rep: SymbolicRepresentation, old: SymbolicRepresentation, source: Operand) -> Results:
    """Entries `old` of `rep` replaced by (or added to) a tensor that must transform as they do.

    rep: of the whole, which is what the result carries as well.  old: of the entries, as a read would have it. A source
    of zeros fits any. Raises Conflict where the source transforms otherwise.
    """
    solver = call.solver
    if not source.zero:
        equal_sum([Operand(solver.representation(old)), source], old.shape, solver)
    decided(call)
    return solver.representation(rep)


@rule(
    "write at a list",
    "`a, a' -> a`: the list of entries must be closed under the mirror; what is added at a list of nodes "
    "moves as the list does",
)
@incomplete(
    "what is written transforms as what it replaces, and of several ways to pair the copies of an entry one is chosen"
)
@op("index_put", sample(_x, [None, [1, 2]], normal(3, 2)), sample(_x, [None, [3, 0]], normal(1)))
@op("index_put", sample(normal(4, 4), [[0, 1, 2, 1], [1, 0, 2, 3]], normal(4)))
@op("index_fill.int_Scalar", sample(_x, 1, [1, 2], 0.0), sample(_x, 1, [1], 2.0))
@op("index_fill.int_Tensor", sample(_x, 1, [1, 2], normal()))
@op("index_copy", sample(_x, 1, [2, 1], normal(3, 2)))
@op("index_add", sample(_x, 1, [2, 1, 2, 3], normal(3, 4)))
@op("index_reduce", sample(_x, 1, [2, 1, 2, 3], normal(3, 4), "amax"))
@op("_unsafe_index_put", sample(_x, [None, [1, 2]], normal(3, 2)))
def index_put(call: Call) -> Results:
    """A tensor with the entries of constant lists replaced, or added to."""
    rep = anchored(tensor(call["self"]), call)
    # The largest of negated numbers is not the negated largest.
    if "reduce" in call.arguments:
        demand_plain(call.solver.representation(rep), call)
    # Several lists, or masks (index_put), else one list along `dim` (index_fill, index_copy, index_add).
    if "indices" in call.arguments:
        return _put(call, rep)
    dim = call.axis(call["dim"], len(rep.axes))
    if tensor(call["index"]).constant is None:
        old = computed(call, rep, [None] * dim + [call["index"]])
    else:
        old = rep.with_axis(dim, picked(call, rep.axes[dim], entries_of(call, call["index"])))
    if call.target == "aten.index_copy.default":
        _once(call, rep.shape, [None] * dim + [call["index"]], tensor(call["source"]))
    if "source" in call.arguments:
        return written(call, rep, old, tensor(call["source"]))
    if isinstance(call["value"], Operand):
        return written(call, rep, old, call["value"])
    # The same number in all places, which no sign may stand before unless it is 0.
    if call["value"] != 0:
        demand_plain(call.solver.representation(old), call)
    decided(call)
    return rep


def _put(call: Call, rep: SymbolicRepresentation) -> Results:
    """`x[rows, columns] = values`, or plus them.  rep: of the tensor that is written into."""
    lists, values = call["indices"], tensor(call["values"])
    # What is added up does not depend on the order.
    if not call.get("accumulate", False):
        _once(call, rep.shape, lists, values)
    given = [position for position, item in enumerate(lists) if item is not None]
    # x[x > 0] = 1: a mask moves with the entries, where a list of computed places would pin them.
    if is_computed(lists) and len(given) == 1 and lists[given[0]].truth and math.prod(values.shape) == 1:
        return _masked(call, rep, given[0], values)
    old = computed(call, rep, lists) if is_computed(lists) else at_lists(call, rep, lists)
    return written(call, rep, old, values)


def _masked(call: Call, rep: SymbolicRepresentation, first: int, source: Operand) -> Results:
    """One number written where a computed mask is true, which moves along with the entries that it covers."""
    solver = call.solver
    for dim, axis in enumerate(plain_of(call["indices"][first], call).axes, first):
        solver.equal(axis, solver.absolute(rep.axes[dim]))
    if not source.zero:
        plain_of(source, call)
        demand_plain(solver.representation(rep), call)
    decided(call)
    return solver.representation(rep)


def _once(call: Call, shape: Sequence[int], lists: Sequence[Operand | None], source: Operand) -> None:
    """Demand that no entry is written twice: the last one wins, and the mirror would change which one that is.

    shape: of the tensor that is written into.  lists: as `x[lists] = source` has them.  Raises Conflict.
    """
    used = [item for item in lists if item is not None]
    # Of writes of one and the same number it makes no difference which comes last.
    if source.zero or math.prod(source.shape) == 1:
        return
    # Which entries are written twice is not known: the order in which they are written may not change.
    if is_computed(used):
        for item in used:
            for axis in plain_of(item, call).axes:
                call.solver.trivial(axis)
        return
    # -1 names the last entry, as does size - 1.
    entries = [listed % shape[dim] for dim, listed in lists_by_axis(call, lists).items()]
    rows = torch.stack([listed.reshape(-1) for listed in torch.broadcast_tensors(*entries)], 1)
    if len(rows.unique(dim=0)) < len(rows):
        raise Conflict("an entry is written several times: the last one wins")


@rule("scatter", "`a, a' -> a` along one axis, as a write at a constant list; `+` where entries are not summed")
@incomplete(
    "what is written transforms as what it replaces, and of several ways to pair the copies of an entry one is chosen"
)
@op("scatter.src", sample(_x, 1, [[3, 1], [3, 1], [3, 1]], normal(3, 2)))
@op("scatter.value", sample(_x, 1, [[3, 1], [3, 1], [3, 1]], 0.0), sample(_x, 1, [[3, 1], [3, 1], [3, 1]], 1.0))
@op("scatter_add", sample(_x, 1, _lists_of_rows, normal(3, 4)))
@op("scatter_reduce.two", sample(_x, 1, _lists_of_rows, normal(3, 4), "amax"))
@op("scatter_reduce.two", sample(_x, 1, _lists_of_rows, positive(3, 4), "mean"))
def scatter(call: Call) -> Results:
    """out[b, index[b, k]] = source[b, k], or plus it."""
    rep = anchored(tensor(call["self"]), call)
    dim = call.axis(call["dim"], len(rep.axes))
    index = tensor(call["index"])
    if call.get("reduce", "sum") not in ("sum", "mean"):
        demand_plain(call.solver.representation(rep), call)
    if "value" in call.arguments:
        old = named(call, rep, dim, index)
        if call["value"] != 0:
            demand_plain(call.solver.representation(old), call)
        decided(call)
        return rep
    source = tensor(call["src"])
    # scatter may read source[:, :k] only; the rest of the source then has entries without a place.
    if source.shape != index.shape:
        raise Conflict("a scatter that reads only a part of its source")
    if index.constant is not None and call.target == "aten.scatter.src":
        listed = as_list(index.constant, dim)
        if listed is None or len(set(listed.entries)) != len(listed.entries):
            raise Conflict("a scatter that writes an entry several times: the last one wins")
    if index.constant is None:
        _pinned(call, rep, dim, index)
    return written(call, rep, named(call, rep, dim, index), source)


def _pinned(call: Call, rep: SymbolicRepresentation, dim: int, index: Operand) -> None:
    """A computed index writes where it says, the last of several wins: what it names stays in place."""
    if call.target == "aten.scatter.src":
        index_rep = plain_of(index, call)
        call.solver.trivial(index_rep.axes[dim])
        call.solver.trivial(rep.axes[dim])
