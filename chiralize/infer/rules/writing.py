"""Entries written to, or added at, places that constant lists or a tensor of indices name."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from chiralize.infer.products import equal_sum
from chiralize.infer.registry import Call, Operand, Results, Sample, demand_plain, normal, positive
from chiralize.infer.rules._families import plain_of, rule, tensor
from chiralize.infer.rules.gathering import as_list, named
from chiralize.infer.rules.selection import at_lists, computed, entries_of, lists_by_axis, picked
from chiralize.infer.solver.lists import decided
from chiralize.infer.solver.terms import Conflict
from chiralize.symmetry.symbolic import Axis, SymbolicRepresentation

_x = normal(3, 4)
_lists_of_rows = [[0, 2, 2, 1]] * 3


def anchored(operand: Operand, call: Call) -> SymbolicRepresentation:
    """What is written into. Where it is one number everywhere it may move in any way, the same at every run."""
    solver = call.solver
    rep = solver.representation(operand.rep)
    axes: list[Axis] = []
    for place, axis in enumerate(rep.axes):
        passing = [term for term in axis if getattr(term, "id", None) in solver.passing]
        size = operand.shape[place]
        axes.append(solver.kept(f"{call.key}<{place}>", size, signed=operand.zero) if passing else axis)
    return SymbolicRepresentation(tuple(axes), rep.sign)


def spread(call: Call, rep: SymbolicRepresentation, dim: int, source: Operand) -> None:
    """Before a part along `dim` is known: what is written has the other axes of the whole."""
    if source.ndim == len(rep.axes) and not source.zero:
        own = call.solver.representation(source.rep)
        for place, (axis, theirs) in enumerate(zip(rep.axes, own.axes, strict=True)):
            if place != dim and source.shape[place] != 1:
                call.solver.same(axis, theirs)


def written(call: Call, rep: SymbolicRepresentation, old: SymbolicRepresentation, source: Operand) -> Results:
    """Entries `old` of `rep` replaced by (or added to) a tensor that must transform as they do."""
    solver = call.solver
    if not source.zero:
        equal_sum([Operand(solver.representation(old)), source], old.shape, solver)
    decided(call)
    return solver.representation(rep)


@rule("write at a list", "aten.index_put.default", "aten.index_fill.int_Scalar", "aten.index_fill.int_Tensor",
      "aten.index_copy.default", "aten.index_add.default", "aten.index_reduce.default",
      "aten._unsafe_index_put.default",
      statement="`a, a' -> a`: the list of entries must be closed under the mirror; what is added at a list of "
                "nodes moves as the list does",
      samples={"aten.index_put.default": [Sample((_x, [None, [1, 2]], normal(3, 2))), Sample((_x, [None, [3, 0]],
          normal(1))), Sample((normal(4, 4), [[0, 1, 2, 1], [1, 0, 2, 3]], normal(4)))],
               "aten._unsafe_index_put.default": [Sample((_x, [None, [1, 2]], normal(3, 2)))],
               "aten.index_fill.int_Scalar": [Sample((_x, 1, [1, 2], 0.0)), Sample((_x, 1, [1], 2.0))],
               "aten.index_fill.int_Tensor": [Sample((_x, 1, [1, 2], normal()))],
               "aten.index_copy.default": [Sample((_x, 1, [2, 1], normal(3, 2)))],
               "aten.index_add.default": [Sample((_x, 1, [2, 1, 2, 3], normal(3, 4)))],
               "aten.index_reduce.default": [Sample((_x, 1, [2, 1, 2, 3], normal(3, 4), "amax"))]},
      incomplete="what is written transforms as what it replaces, and of several ways to pair the copies of an entry "
                 "one is chosen")  # fmt: skip
def index_put(call: Call) -> Results:
    """A tensor with the entries of constant lists replaced, or added to."""
    rep = anchored(tensor(call["self"]), call)
    if "reduce" in call.arguments:
        demand_plain(call.solver.representation(rep), call)
    if "indices" in call.arguments:
        lists = call["indices"]
        is_computed = any(isinstance(item, Operand) and item.constant is None for item in lists)
        if not call.get("accumulate", False):
            _once(call, rep.shape, lists, tensor(call["values"]))
        given = [place for place, item in enumerate(lists) if item is not None]
        if is_computed and len(given) == 1 and lists[given[0]].truth and math.prod(tensor(call["values"]).shape) == 1:
            return _masked(call, rep, given[0], tensor(call["values"]))
        old = (computed if is_computed else at_lists)(call, rep, lists)
        return written(call, rep, old, tensor(call["values"]))
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
    if call["value"] != 0:
        demand_plain(call.solver.representation(old), call)
    decided(call)
    return rep


def _masked(call: Call, rep: SymbolicRepresentation, first: int, source: Operand) -> Results:
    """One number written where a computed mask is true, which moves along with the entries that it covers."""
    solver = call.solver
    for place, axis in enumerate(plain_of(call["indices"][first], call).axes, first):
        solver.equal(axis, solver.absolute(rep.axes[place]))
    if not source.zero:
        plain_of(source, call)
        demand_plain(solver.representation(rep), call)
    decided(call)
    return solver.representation(rep)


def _once(call: Call, shape: Sequence[int], lists: Sequence[Operand | None], source: Operand) -> None:
    """Where an entry is written several times the last one wins, and the mirror would change which one that is."""
    used = [item for item in lists if item is not None]
    if source.zero or math.prod(source.shape) == 1:
        return
    if any(item.constant is None for item in used):
        for item in used:
            for axis in plain_of(item, call).axes:
                call.solver.trivial(axis)
        return
    entries = [own % shape[dim] for dim, own in lists_by_axis(call, lists).items()]  # -1: the last one
    rows = torch.stack([own.reshape(-1) for own in torch.broadcast_tensors(*entries)], 1)
    if len(rows.unique(dim=0)) < len(rows):
        raise Conflict("an entry is written several times: the last one wins")


@rule("scatter", "aten.scatter.src", "aten.scatter.value", "aten.scatter_add.default", "aten.scatter_reduce.two",
      statement="`a, a' -> a` along one axis, as a write at a constant list; `+` where entries are not summed",
      samples={"aten.scatter.src": [Sample((_x, 1, [[3, 1], [3, 1], [3, 1]], normal(3, 2)))],
               "aten.scatter.value": [Sample((_x, 1, [[3, 1], [3, 1], [3, 1]], 0.0)),
                                      Sample((_x, 1, [[3, 1], [3, 1], [3, 1]], 1.0))],
               "aten.scatter_add.default": [Sample((_x, 1, _lists_of_rows, normal(3, 4)))],
               "aten.scatter_reduce.two": [Sample((_x, 1, _lists_of_rows, normal(3, 4), "amax")),
                                           Sample((_x, 1, _lists_of_rows, positive(3, 4), "mean"))]},
      incomplete="what is written transforms as what it replaces, and of several ways to pair the copies of an entry "
                 "one is chosen")  # fmt: skip
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
    if source.shape != index.shape:
        raise Conflict("a scatter that reads only a part of its source")
    if index.constant is not None and call.target == "aten.scatter.src":
        found = as_list(index.constant, dim)
        if found is None or len(set(found.entries)) != len(found.entries):
            raise Conflict("a scatter that writes an entry several times: the last one wins")
    if index.constant is None:
        _pinned(call, rep, dim, index)
    return written(call, rep, named(call, rep, dim, index), source)


def _pinned(call: Call, rep: SymbolicRepresentation, dim: int, index: Operand) -> None:
    """A computed index writes where it says, the last of several wins: what it names stays in place."""
    if call.target == "aten.scatter.src":
        own = plain_of(index, call)
        call.solver.trivial(own.axes[dim])
        call.solver.trivial(rep.axes[dim])
