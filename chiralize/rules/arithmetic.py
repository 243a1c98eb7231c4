"""Sums, differences, products and quotients, comparisons and choices, entry by entry with broadcasting."""

from __future__ import annotations

from chiralize.rules._families import demand_plain, joint_plain, multiplied, plain, rule, summed
from chiralize.rules._products import equal_sum
from chiralize.rules._registry import Call, Results, Sample, normal, positive, truth

_a = normal(3, 4)
_b = positive(3, 4)
_row = positive(4)
_truth = truth(3, 4)
_column = positive(3, 1)
_two = [Sample((_a, _b)), Sample((_a, _row)), Sample((_a, _column))]
_number = [Sample((_a, 0.5))]


@rule("sum", "aten.add.Tensor", "aten.sub.Tensor", "aten.add.Scalar", "aten.sub.Scalar", "aten.rsub.Scalar",
      statement="`a, a -> a`; `+` along axes where one is broadcast, and everywhere with a number",
      samples={"aten.add.Tensor": [*_two, *_number], "aten.sub.Tensor": [*_two, *_number],
               "aten.add.Scalar": _number, "aten.sub.Scalar": _number, "aten.rsub.Scalar": _number})  # fmt: skip
def add(call: Call) -> Results:
    """x + y, x - y: both transform alike."""
    return summed(call)


@rule("product", "aten.mul.Tensor", "aten.div.Tensor", "aten.mul.Scalar", "aten.div.Scalar",
      statement="`a, b -> a b`: the same permutation, signs multiplied; numbers are free",
      samples={"aten.mul.Tensor": [*_two, *_number], "aten.div.Tensor": [*_two, *_number],
               "aten.mul.Scalar": _number, "aten.div.Scalar": _number},
      incomplete="a product of two unknown axes is taken to have no signs in one factor")  # fmt: skip
def mul(call: Call) -> Results:
    """x * y, x / y: moved alike, signs multiply (1 / y is odd in y)."""
    return multiplied(call)


@rule("larger or smaller", "aten.maximum.default", "aten.minimum.default", "aten.atan2.default", "aten.fmod.Tensor",
      statement="`+a, +a -> +a`", samples=_two,
      incomplete="atan2 and fmod are odd in one argument; they are treated as neither")  # fmt: skip
def extremum(call: Call) -> Results:
    """Functions of two tensors that are neither odd nor even."""
    return joint_plain(call)


@rule("comparison", "aten.gt.Scalar", "aten.lt.Scalar", "aten.ge.Scalar", "aten.le.Scalar", "aten.eq.Scalar",
      "aten.ne.Scalar", "aten.gt.Tensor", "aten.lt.Tensor", "aten.ge.Tensor", "aten.le.Tensor", "aten.eq.Tensor",
      "aten.ne.Tensor", "aten.logical_and.default", "aten.logical_or.default",
      statement="`+a, +a -> +a`",
      samples={f"aten.{op}.Scalar": _number for op in ("gt", "lt", "ge", "le", "eq", "ne")}
      | {f"aten.{op}.Tensor": [Sample((_a, normal(3, 4)))] for op in ("gt", "lt", "ge", "le", "eq", "ne")}
      | {f"aten.logical_{op}.default": [Sample((_truth, truth(3, 4)))] for op in ("and", "or")},
      incomplete="comparing signed entries for equality would keep |T|; such graphs do not occur")  # fmt: skip
def compare(call: Call) -> Results:
    """A truth value per entry."""
    return joint_plain(call) if len(call.operands) > 1 else plain(call)


@rule("not", "aten.logical_not.default", "aten.bitwise_not.default",
      statement="`+a -> +a`", samples=[Sample((_truth,))])  # fmt: skip
def negate_truth(call: Call) -> Results:
    """The opposite truth value per entry."""
    return plain(call)


@rule("choice", "aten.where.self", "aten.masked_fill.Scalar",
      statement="`+c, a, a -> a`; a number chosen demands `+a`",
      samples={"aten.where.self": [Sample((_truth, _a, _b))], "aten.masked_fill.Scalar": [Sample((_a, _truth, -5.0))]},
      incomplete="masks are permuted like the values, never signed")  # fmt: skip
def choose(call: Call) -> Results:
    """Entry by entry one of two, by a mask that moves along."""
    mask = call.get("condition", call.get("mask"))
    values = [operand for operand in call.operands if operand is not mask]
    rep = call.solver.representation(equal_sum(values, call.shape, call.solver))
    if len(values) == 1 and call["value"] != 0:
        demand_plain(rep, call)
    mask_rep = call.solver.representation(mask.rep)
    demand_plain(mask_rep, call)
    lead = len(rep.axes) - len(mask_rep.axes)
    for own, axis in zip(mask_rep.axes, rep.axes[lead:], strict=True):
        if own:
            call.solver.same(own, call.solver.absolute(axis))
    return rep
