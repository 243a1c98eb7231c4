"""An axis summed, averaged or searched: what is left must not depend on its order."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from math import prod

from chiralize.infer.products import multiplied
from chiralize.infer.registry import Call, Drawn, Results, Sample, Uniform, normal, truth, whole
from chiralize.infer.rules._families import even_of, plain_of, rule
from chiralize.infer.solver.terms import Conflict
from chiralize.symmetry.symbolic import SymbolicRepresentation, trivial

_x = normal(3, 4)
_truth = truth(3, 4)
_dims = [Sample((_x, [1])), Sample((normal(2, 3, 4), [1, 2], True))]


def _reduced(call: Call, rep: SymbolicRepresentation) -> SymbolicRepresentation:
    """The representation without the reduced axes, which must carry no signs."""
    dims = _dimensions(call, len(rep.axes))
    for dim in dims:
        call.solver.sign_free(rep.axes[dim])
    return without(call, rep, dims)


def without(call: Call, rep: SymbolicRepresentation, dims: Collection[int]) -> SymbolicRepresentation:
    """The representation without some axes; `keepdim` leaves them with one entry."""
    keep = bool(call.get("keepdim", False))
    kept = ((place, axis) for place, axis in enumerate(rep.axes) if keep or place not in dims)
    return SymbolicRepresentation(tuple(() if place in dims else axis for place, axis in kept), rep.sign)


def _dimensions(call: Call, ndim: int) -> set[int]:
    dim = call.get("dim")
    if dim is None or (isinstance(dim, Sequence) and not dim):
        return set(range(ndim))
    return {call.axis(item, ndim) for item in (dim if isinstance(dim, Sequence) else [dim])}


@rule("mean, sum", "aten.mean.dim", "aten.sum.dim_IntList", "aten.mean.default", "aten.sum.default",
      "aten.nanmean.default", "aten.nansum.default",
      statement="`... +a -> ...`; of a product that nothing else reads `... a, ... a -> ...`",
      samples={"aten.mean.dim": _dims, "aten.sum.dim_IntList": _dims, "aten.mean.default": [Sample((_x,))],
               "aten.nanmean.default": _dims, "aten.nansum.default": _dims,
               "aten.sum.default": [Sample((_x,))]})  # fmt: skip
def total(call: Call) -> Results:
    """Sum over axes: order does not matter, signs would. Given two operands (`infer`), of their product."""
    return _inner(call) if len(call.operands) > 1 else _reduced(call, call.solver.representation(call.operands[0].rep))


def _inner(call: Call) -> Results:
    """A product of two tensors, summed over axes along which their signs agree up to one for the whole."""
    solver, ndim = call.solver, max(operand.ndim for operand in call.operands)
    if any(operand.zero for operand in call.operands):
        return Uniform(call.shape, True)
    left, right = sorted(call.operands, key=lambda operand: operand.fixed)
    reps = [solver.representation(operand.rep) for operand in (left, right)]
    a, b = (SymbolicRepresentation(((),) * (ndim - len(rep.axes)) + rep.axes, rep.sign) for rep in reps)
    dims, sign = _dimensions(call, ndim), a.sign * b.sign
    for dim in sorted(dims):
        if a.axes[dim] and b.axes[dim]:
            sign *= solver.paired(a.axes[dim], b.axes[dim], "" if right.fixed else call.at(dim))
        else:
            solver.sign_free(a.axes[dim] or b.axes[dim])
        a, b = a.with_axis(dim, ()), b.with_axis(dim, ())
    rest = multiplied(a, b, solver, (left.fixed, right.fixed))
    return without(call, solver.representation(SymbolicRepresentation(rest.axes, sign)), dims)


@rule("largest, smallest", "aten.amax.default", "aten.amin.default", "aten.max.dim", "aten.min.dim", "aten.median.dim",
      "aten.max.default", "aten.min.default", "aten.kthvalue.default", "aten.nanmedian.dim", "aten.mode.default",
      "aten.quantile.scalar", "aten.nanquantile.scalar", "aten.median.default", "aten.prod.default",
      "aten.logsumexp.default", "aten.prod.dim_int", "aten.aminmax.default",
      statement="`+... +a -> +...`; where the position is used, `+... 1a -> +...`; the middle one `... +a -> ...`",
      samples={"aten.amax.default": _dims, "aten.amin.default": _dims, "aten.max.default": [Sample((_x,))],
               "aten.min.default": [Sample((_x,))], "aten.logsumexp.default": [Sample((_x, [1]))],
               "aten.prod.dim_int": [Sample((_x, 1))],
               "aten.kthvalue.default": [Sample((_x, 2, 1)), Sample((_x, 2, 1), read=frozenset({0})),
                                         Sample((_x, 2, 0), read=frozenset({0}))],
               "aten.mode.default": [Sample((_x, 1)), Sample((_x, 1), read=frozenset({0}))],
               "aten.quantile.scalar": [Sample((_x, 0.3, 1)), Sample((_x, 0.3)), Sample((_x, 0.5, 1))],
               "aten.nanquantile.scalar": [Sample((_x, 0.3, 1)), Sample((_x, 0.5, 1))],
               "aten.median.default": [Sample((_x,)), Sample((normal(3, 3),))],
               "aten.prod.default": [Sample((_x,))], "aten.aminmax.default": [Sample((_x,), {"dim": 1})]}
      | {f"aten.{name}.dim": [Sample((_x, 1)), Sample((_x, -2, True), read=frozenset({0}))] for name in ("max", "min",
          "median", "nanmedian")},
      incomplete="signs that cancel in a product are refused, and those of a middle that may miss numbers")  # fmt: skip
def extreme(call: Call) -> Results:
    """The largest value over an axis; where its position is used too the axis must stay in place."""
    if "kthvalue" in call.target or "mode" in call.target:
        call = replace(call, arguments={"dim": -1, **call.arguments})
    if _is_middle(call):
        values = _reduced(call, call.solver.representation(call.operands[0].rep))
        return values if len(call.shapes) == 1 else (values, None)
    rep = plain_of(call.operands[0], call)
    if len(call.shapes) == 1:
        return _reduced(call, rep)
    if call.reads(1) and "aminmax" not in call.target:
        _keep_in_place(call, rep)
    return _reduced(call, rep), _reduced(call, rep)


def _is_middle(call: Call) -> bool:
    """Whether the value is the middle of all, as far from the largest as from the smallest: negated with them."""
    name, shape = call.target.split(".")[1], call.operands[0].shape
    count = prod(shape[dim] for dim in _dimensions(call, len(shape)))
    if name in ("quantile", "nanquantile"):
        between = call.get("interpolation", "linear") in ("linear", "midpoint")
        return call["q"] == 0.5 and (between or (name == "quantile" and count % 2 == 1))
    if len(call.shapes) > 1 and call.reads(1):
        return False
    return count % 2 == 1 and (name == "median" or (name == "kthvalue" and call["k"] == (count + 1) // 2))


def _keep_in_place(call: Call, rep: SymbolicRepresentation) -> None:
    for dim in _dimensions(call, len(rep.axes)):
        call.solver.trivial(rep.axes[dim])


@rule("count", "aten.count_nonzero.default", "aten.count_nonzero.dim_IntList", statement="`... a -> |...|`",
      samples={"aten.count_nonzero.default": [Sample((whole(3, 4), 1)), Sample((whole(3, 4),))],
               "aten.count_nonzero.dim_IntList": [Sample((whole(2, 3, 4), [0, 2]))]})  # fmt: skip
def count(call: Call) -> Results:
    """How many entries are not zero: signs do not matter."""
    return _reduced(call, even_of(call.operands[0], call.solver))


@rule("counts by value", "aten.histc.default", "aten.bincount.default",
      statement="`+... -> 1n`: how many entries have a value; what is counted, where that is given, `+a, a -> 1n`",
      samples={"aten.histc.default": [Sample((_x, 5, -2.0, 2.0)), Sample((_x, 3))],
               "aten.bincount.default": [Sample((Drawn((4,), "label"), None, 3)),
                                         Sample((Drawn((4,), "label"), normal(4), 3))]},
      incomplete="numbers that are all negated reverse the bins, but for those on an edge")  # fmt: skip
def histogram(call: Call) -> Results:
    """How many entries lie in each bin, or what they sum up to: neither the order nor the place of an entry matters."""
    rep, weights = plain_of(call.operands[0], call), call.get("weights")
    bins = trivial(call.shape[0])
    if weights is None:
        return SymbolicRepresentation((bins,))
    own = call.solver.representation(weights.rep)
    return SymbolicRepresentation((bins,), call.solver.same(own.axes[0], rep.axes[0], own.sign))


@rule("any, all", "aten.any.dim", "aten.all.dim", "aten.any.default", "aten.all.default", statement="`+... +a -> +...`",
      samples={"aten.any.dim": [Sample((_truth, 1))], "aten.all.dim": [Sample((_truth, 0, True))],
               "aten.any.default": [Sample((truth(4),))], "aten.all.default": [Sample((truth(4),))]})  # fmt: skip
def some(call: Call) -> Results:
    """Whether some or all entries are true."""
    return _reduced(call, plain_of(call.operands[0], call))


@rule("position of the largest", "aten.argmax.default", "aten.argmin.default",
      statement="`+... 1a -> +...`: of equal entries the first is taken, and a pose that is its own mirror image has "
                "equal entries, whose order the mirror changes",
      samples=[Sample((_x, 1)), Sample((_x,))])  # fmt: skip
def argument(call: Call) -> Results:
    """Which entry is the largest: the axis must stay in place, since of equal ones the first is taken."""
    rep = plain_of(call.operands[0], call)
    _keep_in_place(call, rep)
    return _reduced(call, rep)


@rule("order", "aten.sort.default", "aten.topk.default", "aten.argsort.default",
      statement="`+... +a -> +... 1a`; where positions are used, or the largest come unsorted, `+... 1a -> +... 1a`",
      samples={"aten.sort.default": [Sample((_x, 1)), Sample((_x, 1), read=frozenset({0}))],
          "aten.argsort.default": [Sample((_x, 1))],
               "aten.topk.default": [Sample((_x, 2, 1), read=frozenset({0})),
                                 Sample((_x, 4, 1, True, False), read=frozenset({0}))]},
      incomplete="signs common to all entries, which reverse the order, are refused; so are positions along an axis "
                 "that the mirror acts on, sorting that is undone again among them: equal entries, as in a pose that "
                 "is its own mirror image, come in the order of their places")  # fmt: skip
def order(call: Call) -> Results:
    """Entries by size: where they were does not matter, unless it is asked for, or decides in which order they come."""
    rep = plain_of(call.operands[0], call)
    dim = call.axis(call.get("dim", -1), len(rep.axes))
    if "argsort" in call.target or call.reads(1) or not call.get("sorted", True):
        call.solver.trivial(rep.axes[dim])
    sorted_ = rep.with_axis(dim, trivial(call.shape[dim]))
    return (sorted_,) * len(call.shapes)


_spread_samples = [Sample((_x, [1])), Sample((normal(2, 3, 4), [1, 2]), {"keepdim": True})]
_unbiased = [Sample((_x, [1])), Sample((normal(2, 3, 4), [1, 2], False, True))]


@rule("variance", "aten.var.correction", "aten.std.correction", "aten.var.dim", "aten.std.dim",
    "aten.var_mean.correction",
      "aten.std_mean.correction", "aten.var_mean.dim", "aten.std_mean.dim",
      statement="`... +a -> |...|`, the mean beside it `... +a -> ...`",
      samples={f"aten.{name}.correction": _spread_samples for name in ("var", "std", "var_mean", "std_mean")}
      | {f"aten.{name}.dim": _unbiased for name in ("var", "std", "var_mean", "std_mean")})  # fmt: skip
def variance(call: Call) -> Results:
    """Spread about the mean: even, the reduced axis without signs."""
    mean = _reduced(call, call.solver.representation(call.operands[0].rep))
    spread = _reduced(call, even_of(call.operands[0], call.solver))
    return spread if len(call.shapes) == 1 else (spread, mean)


@rule("norm", "aten.linalg_vector_norm.default", statement="`... a -> |...|`",
      samples=[Sample((_x, 2, [1])), Sample((normal(2, 3, 4), 2, [-1], True)), Sample((_x, 1, [0])),
          Sample((_x,))])  # fmt: skip
def norm(call: Call) -> Results:
    """Length of a vector: signs do not matter."""
    return _reduced(call, even_of(call.operands[0], call.solver))


@rule("cosine", "aten.cosine_similarity.default",
    statement="`... a, ... a -> ...`, other axes multiplied entry by entry",
      samples=[Sample((_x, normal(3, 4), 1)), Sample((_x, normal(3, 4), 0))])  # fmt: skip
def cosine(call: Call) -> Results:
    """Inner product along an axis, divided by both lengths."""
    left, right = (call.solver.representation(operand.rep) for operand in call.operands)
    if len(left.axes) != len(right.axes):
        raise Conflict("a cosine between tensors with different numbers of axes")
    dim = call.axis(call.get("dim", 1), len(left.axes))
    sign = call.solver.same(left.axes[dim], right.axes[dim])
    rest = [SymbolicRepresentation(rep.axes[:dim] + rep.axes[dim + 1 :], rep.sign) for rep in (left, right)]
    result = multiplied(rest[0], rest[1], call.solver)
    return call.solver.representation(SymbolicRepresentation(result.axes, result.sign * sign))


@rule("softmax", "aten.softmax.int", "aten.log_softmax.int", "aten._softmax.default", "aten._log_softmax.default",
    "aten._safe_softmax.default",
      statement="`+... +k -> +... +k`",
      samples={"aten.softmax.int": [Sample((_x, -1))], "aten.log_softmax.int": [Sample((_x, 1))],
               "aten._softmax.default": [Sample((_x, -1, False))], "aten._safe_softmax.default": [Sample((_x, 1))],
               "aten._log_softmax.default": [Sample((_x, -1, False))]})  # fmt: skip
def softmax(call: Call) -> Results:
    """exp, divided by its sum over an axis."""
    return plain_of(call.operands[0], call)
