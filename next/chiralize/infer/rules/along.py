"""How do ops transform that sum, search or order the entries of an axis? One table for all of them.

Whatever permutation T is along the axis, a sum or a maximum over it stays the same. Signs are another matter: the sum
of (a, -b) is not plus or minus the sum of (a, b), so there must be none. What an op demands of its axis is

    plain   any permutation, no signs: sums, maxima, variances
    any     signs as well: lengths
    still   left alone: positions such as those of `argmax` are numbers of entries, which T would renumber; and so are
            running sums, where (a, b, c) has (a, a + b, a + b + c), and (b, a, c) has (b, a + b, a + b + c)

and what becomes of signs along the other axes is that they pass (`odd`), are lost (`even`), or are forbidden (`plain`,
since -max(a, b) is a minimum).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

from chiralize.graph.traits import Movement, Total
from chiralize.infer.algebra import even_of, multiplied, widened
from chiralize.infer.rule import Answer, Call, Uniform, demand_plain, describe, rule
from chiralize.infer.symbolic import Axis, SymbolicRepresentation, trivial

Along = Literal["plain", "any", "still"]
Others = Literal["odd", "even", "plain"]

_CANCEL = "signs that cancel in a product are refused, and those of a middle that may miss numbers"
_TURNED = "time could be reversed along with frequencies, or with running sums"
_TABLE: list[tuple[Along, Others, bool, str, str]] = [
    ("any", "even", False, "linalg_vector_norm norm.ScalarOpt_dim norm.Scalar", ""),
    ("any", "even", False, "count_nonzero count_nonzero.dim_IntList", ""),
    ("plain", "even", False, "var.correction std.correction var.dim std.dim", ""),
    ("plain", "plain", False, "amax amin max min prod prod.dim_int median logsumexp", _CANCEL),
    ("plain", "plain", False, "max.dim min.dim median.dim", _CANCEL),
    ("plain", "plain", False, "any any.dim any.dims all all.dim all.dims", ""),
    ("still", "plain", False, "argmax argmin", ""),
    ("plain", "plain", True, "softmax.int log_softmax.int _softmax _log_softmax _safe_softmax", ""),
    ("still", "plain", True, "cummax cummin cumprod logcumsumexp", _CANCEL),
    ("still", "odd", True, "cumsum _fft_r2c _fft_c2c _fft_c2r", _TURNED),
]
"""(the axis, the others, whether the result still has the axis, the ops, why they refuse correct pairs)"""


def _dimensions(call: Call, ndim: int) -> set[int]:
    """The axes that a call names by `dim`: all of them where it names none, as an empty list does in torch."""
    dims = call.get("dim")
    if dims is None or (isinstance(dims, Sequence) and not dims):
        return set(range(ndim))
    return set(call.axes(dims, ndim))


def _without(call: Call, rep: SymbolicRepresentation, dims: set[int]) -> SymbolicRepresentation:
    """The representation without some axes; `keepdim` leaves them with one entry."""
    left = ((),) if call.get("keepdim", False) else ()
    axes: list[Axis] = []
    for position, axis in enumerate(rep.axes):
        axes.extend(left if position in dims else (axis,))
    return SymbolicRepresentation(tuple(axes), rep.sign)


def _reduced(call: Call, along: Along, others: Others, stays: bool = False) -> SymbolicRepresentation:
    """The result of an op that takes axes away, or keeps them. Raises Conflict where signs or the order forbid it."""
    rep, solver = call.source, call.solver
    dims = _dimensions(call, len(rep.axes))
    for dim in dims:
        if along == "plain":
            solver.sign_free(rep.axes[dim])
        elif along == "still":
            solver.trivial(rep.axes[dim])
    if others == "even":
        rep = even_of(rep, solver)
    elif others == "plain":
        demand_plain(rep, solver)
    rep = solver.representation(rep)
    if not stays:
        return _without(call, rep, dims)
    # An axis that is left alone may change its size, as that of frequencies does.
    for dim in dims if along == "still" else ():
        rep = rep.with_axis(dim, trivial(call.shape[dim]))
    return rep


def _answer(call: Call, along: Along, others: Others, stays: bool) -> Answer:
    """One result, or a value and the position where it stands: if that is used, the axis has to be left alone."""
    is_position = len(call.shapes) > 1 and call.reads(1)
    return (_reduced(call, "still" if is_position else along, others, stays),) * len(call.shapes)


for _along, _others, _stays, _ops, _why in _TABLE:
    _statement = f"the axis {_along}{', and it stays' if _stays else ''}; others {_others}"
    rule(_ops, _statement, None, _why)(partial(_answer, along=_along, others=_others, stays=_stays))
describe("cumsum", Movement(blends=True))


@rule(
    "mean.dim sum.dim_IntList mean sum",
    "`... +a -> ...`; of a product that nothing else reads `... a, ... a -> ...`",
    Total(blends=True),
)
def total(call: Call) -> Answer:
    """Sum over axes: order does not matter, signs would. Given two operands (by `canonical`), of their product."""
    return _inner(call) if len(call.operands) > 1 else _reduced(call, "plain", "odd")


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


@rule("var_mean.correction std_mean.correction var_mean.dim std_mean.dim", "`... +a -> |...|, ...`")
def spread_and_mean(call: Call) -> Answer:
    """Spread about the mean, which is even, and the mean itself."""
    return _reduced(call, "plain", "even"), _reduced(call, "plain", "odd")
