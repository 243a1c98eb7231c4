"""How does a tensor transform of which entries are replaced, or added to: slices, constant lists, computed places?

A write takes the entries that it replaces out of the whole, as a read would (`selection`), and demands that what is
written transforms as they do. The whole then moves as it did before:

    x[:, [1, 4]] = y                positions of the list are exchanged by T, so T has to exchange the entries of y
    out.index_add(1, parents, m)    several entries of m may go to one place: they are summed, and their order is free

Where entries are replaced and one is written twice, the last one wins; T would make it the first one. `_once` refuses
it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from chiralize.graph.traits import Write
from chiralize.infer.algebra import equal_sum, without_axis
from chiralize.infer.rule import Answer, Call, Operand, demand_plain, rule
from chiralize.infer.rules.declare import tensor
from chiralize.infer.rules.selection import along_list, at_places, is_computed, lists_by_axis, named, picked
from chiralize.infer.solver.lists import decided
from chiralize.infer.symbolic import Axis, Conflict, SymbolicRepresentation

_REPLACED = "what is written transforms as what it replaces"
_PAIRED = f"{_REPLACED}, and of several ways to pair the copies of an entry one is chosen"


def _anchored(call: Call) -> SymbolicRepresentation:
    """The tensor that is written into. If it is one number everywhere it may move in any way, the same at every run.

    Zeros that are filled by several writes move as what is written. As operands they get new unknowns for each run of a
    rule; here they get lasting ones, so that what one write says of them is known to the next.
    """
    solver, operand = call.solver, tensor(call["self"])
    rep = solver.representation(operand.rep)
    axes: list[Axis] = []
    for dim, axis in enumerate(rep.axes):
        if any(getattr(term, "id", None) in solver.passing for term in axis):
            axis = solver.unknown_at(f"{call.key}<{dim}>", operand.shape[dim], signed=operand.zero)
        axes.append(axis)
    return SymbolicRepresentation(tuple(axes), rep.sign)


def _written(call: Call, rep: SymbolicRepresentation, old: SymbolicRepresentation, source: Operand) -> Answer:
    """Entries `old` of `rep` replaced by (or added to) a tensor that must transform as they do.

    rep: of the whole, which is what the result carries as well.  old: of the entries, as a read would have it. A source
    of zeros fits any. Raises Conflict where the source transforms otherwise.
    """
    solver = call.solver
    if not source.zero:
        equal_sum([Operand(solver.representation(old)), source], old.shape, solver)
    decided(call)
    return solver.representation(rep)


@rule("slice_scatter", "`(a + b + c), b -> (a + b + c)`", Write(), _REPLACED)
@rule("select_scatter", "`(a + b + c), b -> (a + b + c)`, b of one entry", Write(is_single=True), _REPLACED)
def scatter_slice(call: Call) -> Answer:
    """A tensor with one part replaced: the new part transforms as the old one did."""
    solver, rep, source = call.solver, _anchored(call), tensor(call["src"])
    dim = call.axis(call.get("dim", 0), len(rep.axes))
    # select_scatter writes one entry, without the axis; slice_scatter a run of them.
    is_single = "index" in call.arguments
    entries = call.run(rep.shape[dim])
    if is_single:
        entry = call["index"] % rep.shape[dim]
        entries = range(entry, entry + 1)
    # All of it is replaced, so nothing is left of the old tensor.
    if len(entries) == rep.shape[dim] > 1:
        return source.rep
    _spread(call, rep, dim, source, is_single)
    old = solver.representation(rep.with_axis(dim, picked(call, rep.axes[dim], entries)))
    return _written(call, rep, without_axis(old, dim) if is_single else old, source)


def _spread(call: Call, rep: SymbolicRepresentation, dim: int, source: Operand, is_single: bool) -> None:
    """Before a part along `dim` is known: what is written has the other axes of the whole.

    The rule may wait for the part; these axes are tied to each other already by then.
    """
    axes = call.solver.representation(source.rep).axes
    if is_single:
        axes = (*axes[:dim], (), *axes[dim:])
    if len(axes) == len(rep.axes) and not source.zero:
        for position, (axis, written) in enumerate(zip(rep.axes, axes, strict=True)):
            if position != dim and written:
                call.solver.same(axis, written)


@rule(
    "index_put _unsafe_index_put",
    "`a, a' -> a`: the list of entries must be closed under the mirror; `+` for a mask that is computed",
    incomplete=_PAIRED,
)
def index_put(call: Call) -> Answer:
    """`x[rows, columns] = values`, or plus them; in place of the lists may stand one mask."""
    rep, indices, values = _anchored(call), call["indices"], tensor(call["values"])
    # What is added up does not depend on the order.
    if not call.get("accumulate", False):
        _once(call, rep.shape, indices, values)
    given = [position for position, item in enumerate(indices) if item is not None]
    # x[x > 0] = 1: a mask moves with the entries, where a list of computed places would pin them.
    if is_computed(indices) and len(given) == 1 and indices[given[0]].truth and math.prod(values.shape) == 1:
        return _masked(call, rep, given[0], values)
    return _written(call, rep, at_places(call, rep, indices), values)


def _masked(call: Call, rep: SymbolicRepresentation, first: int, source: Operand) -> Answer:
    """One number written where a computed mask is true, which moves along with the entries that it covers."""
    solver = call.solver
    mask = solver.representation(demand_plain(call["indices"][first].rep, solver))
    for dim, axis in enumerate(mask.axes, first):
        solver.equal(axis, solver.absolute(rep.axes[dim]))
    if not source.zero:
        demand_plain(source.rep, solver)
        demand_plain(rep, solver)
    decided(call)
    return solver.representation(rep)


def _once(call: Call, shape: Sequence[int], indices: Sequence[Operand | None], source: Operand) -> None:
    """Demand that no entry is written twice: the last one wins, and the mirror would change which one that is.

    shape: of the tensor that is written into.  indices: as `x[indices] = source` has them.  Raises Conflict.
    """
    used = [item for item in indices if item is not None]
    # Of writes of one and the same number it makes no difference which comes last.
    if source.zero or math.prod(source.shape) == 1:
        return
    # Which entries are written twice is not known: the order in which they are written may not change.
    if is_computed(used):
        for item in used:
            for axis in call.solver.representation(demand_plain(item.rep, call.solver)).axes:
                call.solver.trivial(axis)
        return
    # -1 names the last entry, as does size - 1.
    entries = [listed % shape[dim] for dim, listed in lists_by_axis(call, indices).items()]
    rows = torch.stack([listed.reshape(-1) for listed in torch.broadcast_tensors(*entries)], 1)
    if len(rows.unique(dim=0)) < len(rows):
        raise Conflict("an entry is written several times: the last one wins")


@rule("index_add", "`a, a' -> a`: what is added at a list of nodes moves as the list does", incomplete=_PAIRED)
def index_add(call: Call) -> Answer:
    """Entries of a list added to; several may go to one place."""
    rep = _anchored(call)
    return _written(call, rep, along_list(call, rep, tensor(call["index"])), tensor(call["source"]))


@rule(
    "scatter_add scatter_reduce.two",
    "`a, a' -> a` along one axis, as a write at a constant list; `+` where entries are not summed",
    incomplete=_PAIRED,
)
def scatter(call: Call) -> Answer:
    """out[b, index[b, k]] plus source[b, k], or the larger of both, or their mean."""
    rep, index, source = _anchored(call), tensor(call["index"]), tensor(call["src"])
    # The largest of negated numbers is not the negated largest.
    if call.get("reduce", "sum") not in ("sum", "mean"):
        demand_plain(rep, call.solver)
    # scatter may read source[:, :k] only; the rest of the source then has entries without a place.
    if source.shape != index.shape:
        raise Conflict("a scatter that reads only a part of its source")
    return _written(call, rep, named(call, rep, call.axis(call["dim"], len(rep.axes)), index), source)
