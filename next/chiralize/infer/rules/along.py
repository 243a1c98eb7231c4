"""How do ops transform that sum, search or order the entries of an axis? One table for all of them.

Whatever permutation T is along the axis, a sum or a maximum over it stays the same. Signs are another matter: the sum
of (a, -b) is not plus or minus the sum of (a, b), so there must be none. What an op demands of its axis is

    plain   any permutation, no signs: sums, maxima, variances
    any     signs as well: lengths
    still   left alone: positions such as those of `argmax` are numbers of entries, which T would renumber; and so are
            running sums, where (a, b, c) has (a, a + b, a + b + c), and (b, a, c) has (b, a + b, a + b + c)

and what becomes of signs along the other axes is that they pass (`odd`), are lost (`even`), or are forbidden (`plain`,
since -max(a, b) is a minimum). For x of 3 x 4, reduced over its 4 columns, with P on the rows:

    op              along the columns    along the rows, and what is left
    sum, mean       plain                P
    norm            any                  P, which loses its signs
    variance        plain                P, which loses its signs
    largest         plain                P, without signs
    argmax          still                P, without signs
    running sum     still, and stays     P
    softmax         plain, and stays     P, without signs
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

from chiralize.graph.traits import Movement, Total, Trait
from chiralize.infer.algebra import even_of, multiplied, widened
from chiralize.infer.rule import Answer, Call, Uniform, demand_plain, rule
from chiralize.infer.symbolic import Axis, Conflict, SymbolicRepresentation, trivial

Along = Literal["plain", "any", "still"]
Others = Literal["odd", "even", "plain"]

_CANCEL = "signs that cancel in a product are refused, and those of a middle that may miss numbers"
_TURNED = "time could be reversed along with frequencies, or with running sums"
_REDUCED: list[tuple[Along, Others, str, Trait | None, str]] = [
    ("any", "even", "linalg_vector_norm norm.ScalarOpt_dim norm.Scalar", None, ""),
    ("any", "even", "count_nonzero count_nonzero.dim_IntList", None, ""),
    ("plain", "even", "var.correction std.correction var.dim std.dim", None, ""),
    ("plain", "plain", "amax amin max min prod prod.dim_int median logsumexp", None, _CANCEL),
    ("plain", "plain", "max.dim min.dim median.dim", None, _CANCEL),
    ("plain", "plain", "any any.dim any.dims all all.dim all.dims", None, ""),
    ("still", "plain", "argmax argmin", None, ""),
]
"""(the axis, the others, ops that take the axis away, what kind of ops they are, why they refuse correct pairs)"""
_KEPT: list[tuple[Along, Others, str, Trait | None, str]] = [
    ("plain", "plain", "softmax.int log_softmax.int _softmax _log_softmax _safe_softmax", None, ""),
    ("still", "plain", "cummax cummin cumprod logcumsumexp", None, _CANCEL),
    ("still", "odd", "cumsum", Movement(blends=True), _TURNED),
    ("still", "odd", "_fft_r2c _fft_c2c _fft_c2r", None, _TURNED),
]
"""The same of ops whose result still has the axis."""


def signed_as(rep: SymbolicRepresentation, others: Others, call: Call) -> SymbolicRepresentation:
    """The representation that an op leaves of its operand, apart from the axes that it works along."""
    if others == "even":
        return even_of(rep, call.solver)
    return demand_plain(rep, call.solver) if others == "plain" else rep


def demand_along(rep: SymbolicRepresentation, along: Along, dims: Collection[int], call: Call) -> None:
    """State what an op demands of the axes that it works along. Raises Conflict."""
    for dim in dims:
        if along == "plain":
            call.solver.sign_free(rep.axes[dim])
        elif along == "still":
            _keep_in_order(call, rep.axes[dim])


def _keep_in_order(call: Call, axis: Axis) -> None:
    """Demand that the mirror leaves an axis alone whose entries are counted, or picked by size."""
    try:
        call.solver.trivial(axis)
    except Conflict as conflict:
        raise Conflict(f"{conflict}: of equal ones, as a symmetric pose has them, it decides which are taken") from None


def _dimensions(call: Call, ndim: int) -> set[int]:
    """The axes that a call names by `dim`: all of them where it names none, as an empty list does in torch."""
    dims = call.get("dim")
    if dims is None or (isinstance(dims, Sequence) and not dims):
        return set(range(ndim))
    return set(call.axes(dims, ndim))


def _without(call: Call, rep: SymbolicRepresentation, dims: Collection[int]) -> SymbolicRepresentation:
    """The representation without some axes; `keepdim` leaves them with one entry."""
    left = () if not call.get("keepdim", False) else ((),)
    axes: list[Axis] = []
    for position, axis in enumerate(rep.axes):
        axes.extend(left if position in dims else (axis,))
    return SymbolicRepresentation(tuple(axes), rep.sign)


def _reduce(call: Call, along: Along, others: Others) -> SymbolicRepresentation:
    """The result of an op that takes axes away. Raises Conflict."""
    rep = call.source
    dims = _dimensions(call, len(rep.axes))
    demand_along(rep, along, dims, call)
    return _without(call, call.solver.representation(signed_as(rep, others, call)), dims)


def _declare_reduced(along: Along, others: Others, ops: str, trait: Trait | None, incomplete: str) -> None:
    """Register one row of `_REDUCED`."""

    @rule(ops, f"the reduced axis {along}, others {others}", trait, incomplete)
    def _apply(call: Call) -> Answer:
        """One result, or a value and the position where it stands: if that is used, the axis has to be left alone."""
        is_position = len(call.shapes) > 1 and call.reads(1)
        reduced = _reduce(call, "still" if is_position else along, others)
        return reduced if len(call.shapes) == 1 else (reduced, reduced)


def _declare_kept(along: Along, others: Others, ops: str, trait: Trait | None, incomplete: str) -> None:
    """Register one row of `_KEPT`."""

    @rule(ops, f"the axis {along}, and it stays; others {others}", trait, incomplete)
    def _apply(call: Call) -> Answer:
        """The operand's own representation; an axis that is left alone may change its size."""
        rep = signed_as(call.source, others, call)
        dims = _dimensions(call, len(rep.axes))
        demand_along(rep, along, dims, call)
        for dim in dims if along == "still" else ():
            rep = rep.with_axis(dim, trivial(call.shape[dim]))
        return rep if len(call.shapes) == 1 else (rep,) * len(call.shapes)


for _row in _REDUCED:
    _declare_reduced(*_row)
for _row in _KEPT:
    _declare_kept(*_row)


@rule(
    "mean.dim sum.dim_IntList mean sum",
    "`... +a -> ...`; of a product that nothing else reads `... a, ... a -> ...`",
    Total(blends=True),
)
def total(call: Call) -> Answer:
    """Sum over axes: order does not matter, signs would. Given two operands (by `canonical`), of their product."""
    return _inner(call) if len(call.operands) > 1 else _reduce(call, "plain", "odd")


def _inner(call: Call) -> Answer:
    """A product of two tensors, summed over axes along which their signs agree up to one for the whole.

    The factors are tied along the summed axes as in an inner product, and multiplied entry by entry along all others.
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
    return _without(call, solver.representation(SymbolicRepresentation(rest.axes, sign)), dims)


@rule("aminmax", "`+... +a -> +..., +...`")
def smallest_and_largest(call: Call) -> Answer:
    """Two values over the same axis."""
    reduced = _reduce(call, "plain", "plain")
    return reduced, reduced


@rule("var_mean.correction std_mean.correction var_mean.dim std_mean.dim", "`... +a -> |...|, ...`")
def spread_and_mean(call: Call) -> Answer:
    """Spread about the mean, which is even, and the mean itself."""
    return _reduce(call, "plain", "even"), _reduce(call, "plain", "odd")


@rule(
    "sort topk argsort",
    "`+... +a -> +... 1a`; where positions are used, or the largest come unsorted, `+... 1a -> +... 1a`",
    incomplete="signs common to all entries, which reverse the order, are refused; so are positions along an axis that "
    "the mirror acts on, sorting that is undone again among them: equal entries, as in a pose that is its own mirror "
    "image, come in the order of their places",
)
def order(call: Call) -> Answer:
    """Entries by size: where they were does not matter, unless it is asked for, or decides in which order they come."""
    rep = demand_plain(call.source, call.solver)
    dim = call.axis(call.get("dim", -1), len(rep.axes))
    # `argsort` returns positions alone. The largest k without `sorted` come in an order that torch does not promise.
    if len(call.shapes) == 1 or call.reads(1) or not call.get("sorted", True):
        _keep_in_order(call, rep.axes[dim])
    # Sorted positions are ranks, the same for x and T x.
    return (rep.with_axis(dim, trivial(call.shape[dim])),) * len(call.shapes)


@rule(
    "_weight_norm _weight_norm_interface",
    "`... a ..., |a| -> ... a ...`: the length of every slice is given by itself",
    incomplete="lengths of either sign are never needed",
)
def weight_norm(call: Call) -> Answer:
    """g v / |v|, the norm over all axes but one: |v| takes no notice of signed permutations inside a slice."""
    solver, (direction, length) = call.solver, call.representations("v", "g")
    # Signs of the weight belong to its direction.
    return call.first(solver.representation(multiplied(direction, demand_plain(length, solver), solver)))
