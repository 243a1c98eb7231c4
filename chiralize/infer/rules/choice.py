"""Comparisons, truth values, and choices by a mask."""

from __future__ import annotations

from chiralize.infer.products import equal_sum, following
from chiralize.infer.registry import Call, Drawn, Operand, Results, Sample, demand_plain, normal, positive, truth, whole
from chiralize.infer.rules._families import even_of, joint_plain, plain, plain_of, rule
from chiralize.infer.solver.terms import Conflict
from chiralize.symmetry.symbolic import SymbolicRepresentation, trivial

_a = normal(3, 4)
_b = positive(3, 4)
_truth = truth(3, 4)
_orders = ("gt", "lt", "ge", "le")
_joins = ("aten.logical_and.default", "aten.logical_or.default", "aten.logical_xor.default", "aten.bitwise_and.Tensor",
          "aten.bitwise_or.Tensor", "aten.bitwise_xor.Tensor", "aten.__and__.Tensor", "aten.__or__.Tensor",
          "aten.__xor__.Tensor")  # fmt: skip


@rule("equality", "aten.eq.Tensor", "aten.ne.Tensor", statement="`a, a -> |a|`",
      samples=[Sample((whole(3, 4), whole(3, 4))), Sample((whole(3, 4), whole(4)))])  # fmt: skip
def equality(call: Call) -> Results:
    """Whether entries are equal, a truth value each; signs common to both do not matter."""
    rep = call.solver.representation(equal_sum(call.operands, call.shape, call.solver))
    return even_of(Operand(rep), call.solver)


@rule("undefined or infinite", *(f"aten.{name}.default" for name in ("isnan", "isinf", "isfinite")),
      statement="`a -> |a|`", samples=[Sample((_a,))],
      incomplete="where every number is finite the answer is the same everywhere")  # fmt: skip
def undefined(call: Call) -> Results:
    """A truth value per entry: signs do not matter."""
    return even_of(call.operands[0], call.solver)


@rule("bins", "aten.bucketize.Tensor", "aten.searchsorted.Tensor",
      statement="`+a -> +a`: the number of a bin, whose edges the mirror leaves alone",
      samples={"aten.bucketize.Tensor": [Sample((_a, [-0.5, 0.0, 0.5, 1.0]))],
               "aten.searchsorted.Tensor": [Sample(([-0.5, 0.0, 0.5, 1.0], _a))]})  # fmt: skip
def bins(call: Call) -> Results:
    """Between which of some ordered edges every number lies."""
    values, edges = ("self", "sorted_sequence" if "search" in call.target else "boundaries")
    own = call[edges]
    if not isinstance(own, Operand) or own.ndim != 1:
        raise Conflict("edges of bins that differ from row to row")
    for axis in plain_of(own, call).axes:
        call.solver.trivial(axis)
    return plain_of(call[values], call)


@rule("one of several", "aten.one_hot.default", statement="`+... -> +... 1n`: the classes stay in place",
      samples=[Sample((Drawn((3, 4), "label"), 3))])  # fmt: skip
def one_hot(call: Call) -> Results:
    """1 in the place that a whole number names."""
    rep = plain_of(call.operands[0], call)
    return SymbolicRepresentation((*rep.axes, trivial(call.shape[-1])))


@rule("equality with a number", "aten.eq.Scalar", "aten.ne.Scalar",
      statement="`a -> |a|` with 0, else `+a -> +a`",
      samples=[Sample((whole(3, 4), 0)), Sample((whole(3, 4), 1))])  # fmt: skip
def equality_with_number(call: Call) -> Results:
    """A truth value per entry: 0 is its own negative."""
    return even_of(call.operands[0], call.solver) if call["other"] == 0 else plain(call)


@rule("comparison", *(f"aten.{order}.Scalar" for order in _orders), *(f"aten.{order}.Tensor" for order in _orders),
    *_joins,
      statement="`+a, +a -> +a`",
      samples={f"aten.{order}.Scalar": [Sample((whole(3, 4), 1))] for order in _orders}
      | {f"aten.{order}.Tensor": [Sample((whole(3, 4), whole(3, 4))), Sample((whole(3, 4), whole(4)))]
          for order in _orders}
      | {join: [Sample((_truth, truth(3, 4))), Sample((_truth, truth(3, 1)))] for join in _joins})  # fmt: skip
def compare(call: Call) -> Results:
    """A truth value per entry."""
    return joint_plain(call) if len(call.operands) > 1 else plain(call)


@rule(
    "not", "aten.logical_not.default", "aten.bitwise_not.default", statement="`+a -> +a`", samples=[Sample((_truth,))]
)
def negate_truth(call: Call) -> Results:
    """The opposite truth value per entry."""
    return plain(call)


@rule("choice", "aten.where.self", "aten.where.Scalar", "aten.where.ScalarSelf", "aten.where.ScalarOther",
      "aten.masked_fill.Scalar", "aten.masked_fill.Tensor",
      statement="`+c, a, a -> a`; a number chosen (other than 0) demands `+a`",
      samples={"aten.where.self": [Sample((_truth, _a, _b)), Sample((truth(3, 1), _a, _b)), Sample((_truth, normal(3,
          1), normal()))],
               "aten.where.Scalar": [Sample((_truth, 1.0, 2.0))],
               "aten.where.ScalarSelf": [Sample((_truth, 1.0, _b)), Sample((_truth, 0.0, _b))],
               "aten.where.ScalarOther": [Sample((_truth, _a, 1.0)), Sample((_truth, _a, 0.0))],
               "aten.masked_fill.Scalar": [Sample((_a, _truth, -5.0)), Sample((_a, truth(4), 0.0))],
               "aten.masked_fill.Tensor": [Sample((_a, _truth, normal()))]})  # fmt: skip
def choose(call: Call) -> Results:
    """Entry by entry one of two, by a mask that moves along."""
    solver = call.solver
    mask = call.get("condition", call.get("mask"))
    values = [operand for operand in call.operands if operand is not mask]
    numbers = [call[name] for name in ("self", "other", "value") if isinstance(call.get(name), (int, float, complex))]
    mask_rep = plain_of(mask, call)
    if not values:
        return mask_rep
    rep = solver.representation(equal_sum(values, values[0].shape if len(values) == 1 else _broadcast(values), solver))
    if any(number != 0 for number in numbers):
        demand_plain(rep, call)
    return following(rep, mask_rep, solver)


def _broadcast(values: list[Operand]) -> tuple[int, ...]:
    """Shape of the values together, without the mask."""
    ndim = max(value.ndim for value in values)
    shapes = [(1,) * (ndim - value.ndim) + value.shape for value in values]
    return tuple(max(sizes) for sizes in zip(*shapes, strict=True))
