"""An axis summed, averaged or searched: what is left must not depend on its order."""

from __future__ import annotations

from collections.abc import Sequence

from chiralize.rules._families import demand_plain, even, rule
from chiralize.rules._registry import Call, Operand, Results, Sample, normal
from chiralize.rules._solver import Conflict
from chiralize.symbolic import Axis, SymbolicRepresentation, trivial

_x = normal(3, 4)
_dims = [Sample((_x, [1])), Sample((normal(2, 3, 4), [1, 2], True))]


def _reduced(call: Call, rep: SymbolicRepresentation) -> SymbolicRepresentation:
    """The representation without the reduced axes, which must carry no signs."""
    dims = _dimensions(call, len(rep.axes))
    for dim in dims:
        call.solver.sign_free(rep.axes[dim])
    keep = bool(call.get("keepdim", False))
    axes: list[Axis] = []
    for place, axis in enumerate(rep.axes):
        if place not in dims:
            axes.append(axis)
        elif keep:
            axes.append(())
    return SymbolicRepresentation(tuple(axes), rep.sign)


def _dimensions(call: Call, ndim: int) -> set[int]:
    dim = call.get("dim")
    if dim is None or (isinstance(dim, Sequence) and not dim):
        return set(range(ndim))
    return {call.axis(item, ndim) for item in (dim if isinstance(dim, Sequence) else [dim])}


@rule("mean, sum", "aten.mean.dim", "aten.sum.dim_IntList", "aten.mean.default", "aten.sum.default",
      statement="`... +a -> ...`",
      samples={"aten.mean.dim": _dims, "aten.sum.dim_IntList": _dims, "aten.mean.default": [Sample((_x,))],
               "aten.sum.default": [Sample((_x,))]},
      incomplete="a sum over entries that cancel in pairs is zero and would fit anything")  # fmt: skip
def total(call: Call) -> Results:
    """Sum over axes: order does not matter, signs would."""
    return _reduced(call, call.solver.representation(call.operands[0].rep))


@rule("largest, smallest", "aten.amax.default", "aten.amin.default", "aten.max.dim", "aten.min.dim",
      "aten.max.default", "aten.min.default", "aten.logsumexp.default",
      statement="`+... +a -> +...`; for the position of the largest `+... 1a -> +...`",
      samples={"aten.amax.default": _dims, "aten.amin.default": _dims, "aten.max.dim": [Sample((_x, 1))],
               "aten.min.dim": [Sample((_x, 1))], "aten.max.default": [Sample((_x,))], "aten.min.default": [Sample((_x,))],
               "aten.logsumexp.default": [Sample((_x, [1]))]},
      incomplete="the position is refused whenever the searched axis moves, and with it the value")  # fmt: skip
def extreme(call: Call) -> Results:
    """The largest value over an axis; where its position is returned too the axis must stay in place."""
    rep = call.solver.representation(call.operands[0].rep)
    demand_plain(rep, call)
    if len(call.shapes) == 2:
        for dim in _dimensions(call, len(rep.axes)):
            call.solver.trivial(rep.axes[dim])
        return (_reduced(call, rep), _reduced(call, rep))
    return _reduced(call, rep)


@rule("position of the largest", "aten.argmax.default", "aten.argmin.default",
      statement="`+... 1a -> +...`", samples=[Sample((_x, 1))])  # fmt: skip
def argument(call: Call) -> Results:
    """Which entry is the largest: the axis must stay in place."""
    rep = call.solver.representation(call.operands[0].rep)
    demand_plain(rep, call)
    for dim in _dimensions(call, len(rep.axes)):
        call.solver.trivial(rep.axes[dim])
    return _reduced(call, rep)


@rule("variance", "aten.var.correction", "aten.std.correction", statement="`... +a -> |...|`",
      samples=[Sample((_x, [1])), Sample((normal(2, 3, 4), [1, 2]), {"keepdim": True})],
      incomplete="a sign common to all reduced entries would pass")  # fmt: skip
def variance(call: Call) -> Results:
    """Spread about the mean: even, the reduced axis without signs."""
    _reduced(call, call.solver.representation(call.operands[0].rep))
    return _reduced(call, _without_signs(call))


@rule("norm", "aten.linalg_vector_norm.default", statement="`... a -> |...|`",
      samples=[Sample((_x, 2, [1])), Sample((normal(2, 3, 4), 2, [-1], True))])  # fmt: skip
def norm(call: Call) -> Results:
    """Length of a vector: signs do not matter."""
    return _reduced(call, _without_signs(call))


def _without_signs(call: Call) -> SymbolicRepresentation:
    operand = call.operands[0]
    return even(Call(call.target, {"self": Operand(operand.rep)}, call.shapes, call.solver))


@rule("softmax", "aten.softmax.int", "aten.log_softmax.int", "aten._softmax.default", "aten._log_softmax.default",
      statement="`+... +k -> +... +k`",
      samples={"aten.softmax.int": [Sample((_x, -1))], "aten.log_softmax.int": [Sample((_x, 1))],
               "aten._softmax.default": [Sample((_x, -1, False))], "aten._log_softmax.default": [Sample((_x, -1, False))]})  # fmt: skip
def softmax(call: Call) -> Results:
    """exp, divided by its sum over an axis."""
    rep = call.solver.representation(call.operands[0].rep)
    demand_plain(rep, call)
    return rep


@rule("cumulative sum", "aten.cumsum.default", statement="`... 1a -> ... 1a`", samples=[Sample((_x, 1)), Sample((_x, 0))],
      incomplete="a common sign of all entries would pass")  # fmt: skip
def cumulative(call: Call) -> Results:
    """Running sum: the order of the axis matters."""
    rep = call.solver.representation(call.operands[0].rep)
    call.solver.trivial(rep.axes[call.axis(call["dim"], len(rep.axes))])
    return rep


@rule("pooling over frames", "aten.avg_pool1d.default", "aten.adaptive_avg_pool1d.default", "aten.max_pool1d.default",
      statement="`... 1t -> ... 1t` for means, `+... 1t -> +... 1t` for the largest",
      samples={"aten.avg_pool1d.default": [Sample((normal(2, 4, 6), [2])), Sample((normal(2, 3, 4), [2]))],
               "aten.adaptive_avg_pool1d.default": [Sample((normal(2, 4, 6), [2]))],
               "aten.max_pool1d.default": [Sample((normal(2, 4, 6), [2])), Sample((normal(2, 3, 4), [3], [1], [1]))]},
      incomplete="windows that a mirrored order maps onto each other are refused: frames stay in place")  # fmt: skip
def pool(call: Call) -> Results:
    """Windows along the last axis."""
    rep = call.solver.representation(call.operands[0].rep)
    call.solver.trivial(rep.axes[-1])
    if "max" in call.target:
        demand_plain(rep, call)
    if call.shape[-1] > 10**9:
        raise Conflict("an unbounded pooled axis")
    return rep.with_axis(-1 % len(rep.axes), trivial(call.shape[-1]))
