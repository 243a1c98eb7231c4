"""An axis summed, averaged or searched: what is left must not depend on its order.

Whatever permutation T is along the axis, a sum or a maximum over it stays the same. Signs are another matter: the sum
of (a, -b) is not plus or minus the sum of (a, b), so there must be none (`_reduced`). Ops differ in what signs along
the other axes do: a sum keeps them, a norm loses them, a maximum forbids them, since -max(a, b) is a minimum.

Where an op also returns positions (`argmax`), these are numbers of entries, which T would renumber: the axis has to
stay as it is. It has to even where only the choice between equal entries depends on the order (`_keep_in_order`).

For x of 3 x 4, reduced over its 4 columns, with P on the rows:

    op              along the columns         along the rows, and what is left
    sum, mean       permuted, no signs        P
    norm            permuted, any signs       P, which loses its signs
    variance        permuted, no signs        P, which loses its signs
    largest         permuted, no signs        P, without signs
    argmax          left alone                P, without signs

Samples: `_dims` reduces one axis, and two of three with `keepdim`; `read={0}` says that positions are not used.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from math import prod

from chiralize.graph.traits import Total
from chiralize.infer.products import multiplied, widened, without_axis
from chiralize.infer.registry import Call, Drawn, Results, Uniform, normal, sample, truth, whole
from chiralize.infer.rules._families import even_of, first_outputs, incomplete, op, plain_of, representations, rule
from chiralize.infer.solver.terms import Conflict
from chiralize.symmetry.symbolic import Axis, SymbolicRepresentation, trivial

_x = normal(3, 4)
_truth = truth(3, 4)
_dims = [sample(_x, [1]), sample(normal(2, 3, 4), [1, 2], True)]


def _reduced(call: Call, rep: SymbolicRepresentation) -> SymbolicRepresentation:
    """The representation without the reduced axes, which must carry no signs. Raises Conflict where they do."""
    dims = _dimensions(call, len(rep.axes))
    for dim in dims:
        call.solver.sign_free(rep.axes[dim])
    return without(call, rep, dims)


def without(call: Call, rep: SymbolicRepresentation, dims: Collection[int]) -> SymbolicRepresentation:
    """The representation without some axes; `keepdim` leaves them with one entry."""
    axes: list[Axis] = []
    for position, axis in enumerate(rep.axes):
        if position not in dims:
            axes.append(axis)
        elif call.get("keepdim", False):
            axes.append(())
    return SymbolicRepresentation(tuple(axes), rep.sign)


def _dimensions(call: Call, ndim: int) -> set[int]:
    """The axes that a call names by `dim`: all of them where it names none, as an empty list does in torch."""
    dims = call.get("dim")
    if dims is None or (isinstance(dims, Sequence) and not dims):
        return set(range(ndim))
    return set(call.axes(dims, ndim))


@rule("mean, sum", "`... +a -> ...`; of a product that nothing else reads `... a, ... a -> ...`")
@op("mean.dim sum.dim_IntList", *_dims, trait=Total(blends=True))
@op("mean sum", sample(_x), trait=Total(blends=True))
@op("nanmean nansum", *_dims)
def total(call: Call) -> Results:
    """Sum over axes: order does not matter, signs would. Given two operands (`infer`), of their product."""
    if len(call.operands) > 1:
        return _inner(call)
    return _reduced(call, call.solver.representation(call.operands[0].rep))


def _inner(call: Call) -> Results:
    """A product of two tensors, summed over axes along which their signs agree up to one for the whole.

    `canonical` makes this call of (a * b).sum(dim): the factors are tied along the summed axes as in an inner product,
    and multiplied entry by entry along all others.
    """
    solver, ndim = call.solver, max(operand.ndim for operand in call.operands)
    if any(operand.zero for operand in call.operands):
        return Uniform(call.shape, True)
    # What does not depend on the inputs comes second, and takes whatever sign the other has.
    left, right = sorted(call.operands, key=lambda operand: operand.fixed)
    a = widened(solver.representation(left.rep), ndim)
    b = widened(solver.representation(right.rep), ndim)
    dims, sign = _dimensions(call, ndim), a.sign * b.sign
    # Summed axes are tied and taken away one by one, so that `multiplied` sees only what is left.
    for dim in sorted(dims):
        # Where one factor is broadcast along the axis, the other one is summed by itself.
        if a.axes[dim] and b.axes[dim]:
            sign *= solver.paired(a.axes[dim], b.axes[dim], "" if right.fixed else call.at(dim))
        else:
            solver.sign_free(a.axes[dim] or b.axes[dim])
        a, b = a.with_axis(dim, ()), b.with_axis(dim, ())
    rest = multiplied(a, b, solver, (left.fixed, right.fixed))
    return without(call, solver.representation(SymbolicRepresentation(rest.axes, sign)), dims)


@rule(
    "largest, smallest",
    "`+... +a -> +...`; where the position is used, `+... 1a -> +...`; the middle one `... +a -> ...`",
)
@incomplete("signs that cancel in a product are refused, and those of a middle that may miss numbers")
@op("amax amin", *_dims)
@op("max.dim min.dim median.dim nanmedian.dim", sample(_x, 1), sample(_x, -2, True, read={0}))
@op("max min prod", sample(_x))
@op("kthvalue", sample(_x, 2, 1), sample(_x, 2, 1, read={0}), sample(_x, 2, 0, read={0}))
@op("mode", sample(_x, 1), sample(_x, 1, read={0}))
@op("quantile.scalar", sample(_x, 0.3, 1), sample(_x, 0.3), sample(_x, 0.5, 1))
@op("nanquantile.scalar", sample(_x, 0.3, 1), sample(_x, 0.5, 1))
@op("median", sample(_x), sample(normal(3, 3)))
@op("logsumexp", sample(_x, [1]))
@op("prod.dim_int", sample(_x, 1))
@op("aminmax", sample(_x, dim=1))
def extreme(call: Call) -> Results:
    """The largest value over an axis; where its position is used too the axis must stay in place."""
    # Unlike of `max`, no `dim` means the last axis here.
    if "kthvalue" in call.target or "mode" in call.target:
        call = replace(call, arguments={"dim": -1, **call.arguments})
    # The middle of negated numbers is the negated middle, so that signs of other axes pass, unlike for the largest:
    # of (1, 2, 4) it is 2 and of (-1, -2, -4) it is -2, but the largest are 4 and -1.
    if _is_middle(call):
        values = _reduced(call, call.solver.representation(call.operands[0].rep))
        return first_outputs(call, values)
    rep = plain_of(call.operands[0], call)
    if len(call.shapes) == 1:
        return _reduced(call, rep)
    # The second output is positions, but for `aminmax`, of which it is the largest value.
    if call.reads(1) and "aminmax" not in call.target:
        _keep_in_place(call, rep)
    return _reduced(call, rep), _reduced(call, rep)


def _is_middle(call: Call) -> bool:
    """Whether the value is the middle in size, with as many larger as smaller entries: it is negated with them.

    Positions have no such symmetry: where they are read the answer is False.
    """
    name, shape = call.target.split(".")[1], call.operands[0].shape
    count = prod(shape[dim] for dim in _dimensions(call, len(shape)))
    # Of an even number of entries the middle lies between two: it is negated with them if it is halfway, and is not if
    # the lower one is taken, as `median` does.
    if name in ("quantile", "nanquantile"):
        between = call.get("interpolation", "linear") in ("linear", "midpoint")
        return call["q"] == 0.5 and (between or (name == "quantile" and count % 2 == 1))
    if len(call.shapes) > 1 and call.reads(1):
        return False
    return count % 2 == 1 and (name == "median" or (name == "kthvalue" and call["k"] == (count + 1) // 2))


def _keep_in_place(call: Call, rep: SymbolicRepresentation) -> None:
    """Demand that the mirror leaves all reduced axes alone, since positions along them are returned."""
    for dim in _dimensions(call, len(rep.axes)):
        _keep_in_order(call, rep.axes[dim])


def _keep_in_order(call: Call, axis: Axis) -> None:
    """Demand that the mirror leaves an axis alone whose entries are picked by size, since some may be equal."""
    try:
        call.solver.trivial(axis)
    except Conflict as conflict:
        raise Conflict(f"{conflict}: of equal ones, as a symmetric pose has them, it decides which are taken") from None


@rule("count", "`... a -> |...|`")
@op("count_nonzero", sample(whole(3, 4), 1), sample(whole(3, 4)))
@op("count_nonzero.dim_IntList", sample(whole(2, 3, 4), [0, 2]))
def count(call: Call) -> Results:
    """How many entries are not zero: signs do not matter."""
    return _reduced(call, even_of(call.operands[0], call.solver))


@rule(
    "counts by value",
    "`+... -> 1n`: how many entries have a value; what is counted, where that is given, `+a, a -> 1n`",
)
@incomplete("numbers that are all negated reverse the bins, but for those on an edge")
@op("histc", sample(_x, 5, -2.0, 2.0), sample(_x, 3))
@op("bincount", sample(Drawn((4,), "label"), None, 3), sample(Drawn((4,), "label"), normal(4), 3))
def histogram(call: Call) -> Results:
    """How many entries lie in each bin, or what they sum up to: neither the order nor the place of an entry matters."""
    # Weights are summed bin by bin. They are paired with the entries, and one sign of them all is one of the sums.
    rep, weights = plain_of(call.operands[0], call), call.get("weights")
    bins = trivial(call.shape[0])
    if weights is None:
        return SymbolicRepresentation((bins,))
    weights_rep = call.solver.representation(weights.rep)
    return SymbolicRepresentation((bins,), call.solver.same(weights_rep.axes[0], rep.axes[0], weights_rep.sign))


@rule("any, all", "`+... +a -> +...`")
@op("any.dim", sample(_truth, 1))
@op("all.dim", sample(_truth, 0, True))
@op("any all", sample(truth(4)))
def any_or_all(call: Call) -> Results:
    """Whether some or all entries are true."""
    return _reduced(call, plain_of(call.operands[0], call))


@rule(
    "position of the largest",
    "`+... 1a -> +...`: of equal entries the first is taken, and a pose that is its own mirror image has "
    "equal entries, whose order the mirror changes",
)
@op("argmax argmin", sample(_x, 1), sample(_x))
def argument(call: Call) -> Results:
    """Which entry is the largest: the axis must stay in place, since of equal ones the first is taken."""
    rep = plain_of(call.operands[0], call)
    _keep_in_place(call, rep)
    return _reduced(call, rep)


@rule("order", "`+... +a -> +... 1a`; where positions are used, or the largest come unsorted, `+... 1a -> +... 1a`")
@incomplete(
    "signs common to all entries, which reverse the order, are refused; so are positions along an axis that "
    "the mirror acts on, sorting that is undone again among them: equal entries, as in a pose that is its own "
    "mirror image, come in the order of their places"
)
@op("sort", sample(_x, 1), sample(_x, 1, read={0}))
@op("topk", sample(_x, 2, 1, read={0}), sample(_x, 4, 1, True, False, read={0}))
@op("argsort", sample(_x, 1))
def order(call: Call) -> Results:
    """Entries by size: where they were does not matter, unless it is asked for, or decides in which order they come."""
    rep = plain_of(call.operands[0], call)
    dim = call.axis(call.get("dim", -1), len(rep.axes))
    # The largest k without `sorted` come in an order that torch does not promise.
    if "argsort" in call.target or call.reads(1) or not call.get("sorted", True):
        _keep_in_order(call, rep.axes[dim])
    # Sorted positions are ranks, the same for x and T x.
    sorted_ = rep.with_axis(dim, trivial(call.shape[dim]))
    return (sorted_,) * len(call.shapes)


_uncorrected = [sample(_x, [1]), sample(normal(2, 3, 4), [1, 2], keepdim=True)]
_unbiased = [sample(_x, [1]), sample(normal(2, 3, 4), [1, 2], False, True)]


@rule("variance", "`... +a -> |...|`, the mean beside it `... +a -> ...`")
@op("var.correction std.correction var_mean.correction std_mean.correction", *_uncorrected)
@op("var.dim std.dim var_mean.dim std_mean.dim", *_unbiased)
def variance(call: Call) -> Results:
    """Spread about the mean: even, the reduced axis without signs."""
    # Also where only the spread is asked for: the mean is part of it, and signs along the axis would change it.
    mean = _reduced(call, call.solver.representation(call.operands[0].rep))
    spread = _reduced(call, even_of(call.operands[0], call.solver))
    if len(call.shapes) == 1:
        return spread
    return spread, mean


@rule("norm", "`... a -> |...|`")
@op("linalg_vector_norm", sample(_x, 2, [1]), sample(normal(2, 3, 4), 2, [-1], True), sample(_x, 1, [0]), sample(_x))
def norm(call: Call) -> Results:
    """Length of a vector: signs do not matter."""
    return _reduced(call, even_of(call.operands[0], call.solver))


@rule("cosine", "`... a, ... a -> ...`, other axes multiplied entry by entry")
@op("cosine_similarity", sample(_x, normal(3, 4), 1), sample(_x, normal(3, 4), 0))
def cosine(call: Call) -> Results:
    """Inner product along an axis, divided by both lengths."""
    left, right = representations(call)
    # `dim` counts axes of the broadcast result: in a shorter tensor the same number would be another axis.
    if len(left.axes) != len(right.axes):
        raise Conflict("a cosine between tensors with different numbers of axes")
    dim = call.axis(call.get("dim", 1), len(left.axes))
    # As in an inner product; the lengths beneath the fraction have no signs and change nothing.
    sign = call.solver.same(left.axes[dim], right.axes[dim])
    result = multiplied(without_axis(left, dim), without_axis(right, dim), call.solver)
    return call.solver.representation(SymbolicRepresentation(result.axes, result.sign * sign))


@rule("softmax", "`+... +k -> +... +k`")
@op("softmax.int", sample(_x, -1))
@op("log_softmax.int", sample(_x, 1))
@op("_softmax _log_softmax", sample(_x, -1, False))
@op("_safe_softmax", sample(_x, 1))
def softmax(call: Call) -> Results:
    """exp, divided by its sum over an axis, which stays: a sum takes no notice of the order, so entries move along."""
    return plain_of(call.operands[0], call)
