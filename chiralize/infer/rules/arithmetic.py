"""Sums, differences, products and quotients, entry by entry with broadcasting."""

from __future__ import annotations

from collections.abc import Sequence

from chiralize.infer.products import element_product, equal_sum, following
from chiralize.infer.registry import Call, Operand, Results, Sample, Uniform, normal, positive, zeros
from chiralize.infer.rules._families import even_of, joint_plain, multiplied, plain, plain_of, rule, summed, tensor
from chiralize.symmetry.symbolic import SymbolicRepresentation

_a = normal(3, 4)
_b = positive(3, 4)
_row = positive(4)
_column = positive(3, 1)
_two = [Sample((_a, _b)), Sample((_a, _row)), Sample((_a, _column))]
_number = [Sample((_a, 0.5))]


@rule("sum", "aten.add.Tensor", "aten.sub.Tensor", "aten.rsub.Tensor", "aten.add.Scalar", "aten.sub.Scalar",
      "aten.rsub.Scalar",
      statement="`a, a -> a`; `+` along axes where one is broadcast, and everywhere with a number",
      samples={"aten.add.Tensor": [*_two, *_number], "aten.sub.Tensor": [*_two, *_number], "aten.rsub.Tensor": _two,
               "aten.add.Scalar": _number, "aten.sub.Scalar": _number, "aten.rsub.Scalar": _number})  # fmt: skip
def add(call: Call) -> Results:
    """x + y, x - y: both transform alike."""
    return summed(call)


@rule("product", "aten.mul.Tensor", "aten.mul.Scalar",
      statement="`a, b -> a b`: the same permutation, signs multiplied; numbers are free. Of two unknown axes "
                "one is taken to have no signs: a weight's, else the second",
      samples={"aten.mul.Tensor": [*_two, *_number], "aten.mul.Scalar": _number})  # fmt: skip
def mul(call: Call) -> Results:
    """x * y: moved alike, signs multiply; with a factor of zeros it is zero."""
    if any(operand.zero for operand in call.operands):
        return Uniform(call.shape, True)
    return multiplied(call)


@rule("quotient", "aten.div.Tensor", "aten.div.Scalar", statement="as a product: 1 / b is odd in b, where b is not 0",
      samples={"aten.div.Tensor": [*_two, *_number, Sample((_a, zeros(3, 4)))], "aten.div.Scalar": _number},
      divisor="other")  # fmt: skip
def div(call: Call) -> Results:
    """x / y: moved alike, signs multiply; zeros divided are zero."""
    return Uniform(call.shape, True) if call.operands[0].zero else quotient(call.operands, call)


def quotient(operands: Sequence[Operand], call: Call) -> SymbolicRepresentation:
    """A product with 1 / y; where y is known to be zero, 1 / 0 is the same number everywhere and for both views."""
    first, *others = operands
    return element_product([first, *(own for own in others if not own.zero)], call.shape, call.solver)


_sums = [Sample((_a, _b, _b)), Sample((_a, _row, _b), {"value": 0.5}), Sample((normal(4), _b, _b))]


@rule("product and sum", "aten.addcmul.default", statement="`a b, a, b -> a b`", samples=_sums)
def addcmul(call: Call) -> Results:
    """x + value * y * z."""
    x, *factors = call.operands
    product = element_product(factors, call.shape, call.solver)
    return equal_sum([x, Operand(product)], call.shape, call.solver)


@rule("quotient and sum", "aten.addcdiv.default", statement="`a b, a, b -> a b`", samples=_sums, divisor="tensor2")
def addcdiv(call: Call) -> Results:
    """x + value * y / z."""
    x, *factors = call.operands
    return equal_sum([x, Operand(quotient(factors, call))], call.shape, call.solver)


@rule("blend", "aten.lerp.Scalar", "aten.lerp.Tensor", statement="`a, a, |a| -> a`",
      samples={"aten.lerp.Scalar": [Sample((_a, _b, 0.3)), Sample((_a, _row, 0.3))],
               "aten.lerp.Tensor": [Sample((_a, _b, _b)), Sample((_a, _b, _row))]})  # fmt: skip
def lerp(call: Call) -> Results:
    """x + w * (y - x)."""
    x, y, *weight = call.operands
    rep = call.solver.representation(equal_sum([x, y], call.shape, call.solver))
    return following(rep, plain_of(weight[0], call), call.solver) if weight else rep


@rule("larger or smaller", "aten.maximum.default", "aten.minimum.default", "aten.max.other", "aten.min.other",
      "aten.fmax.default", "aten.fmin.default", "aten.heaviside.default", "aten.logaddexp.default",
      "aten.logaddexp2.default", "aten.remainder.Tensor", "aten.floor_divide.default",
      statement="`+a, +a -> +a`",
      samples={f"aten.{name}": _two for name in ("maximum.default", "minimum.default", "max.other", "min.other",
          "fmax.default", "fmin.default", "heaviside.default", "logaddexp.default", "logaddexp2.default",
          "remainder.Tensor", "floor_divide.default")},
      incomplete="signs that a remainder of x by -y happens to undo are refused")  # fmt: skip
def extremum(call: Call) -> Results:
    """Functions of two tensors that are neither odd nor even; with a number the tensor alone counts."""
    return joint_plain(call) if len(call.operands) > 1 else plain(call)


@rule("power of tensors", "aten.pow.Tensor_Tensor", statement="`+a, +a -> +a`",
      samples=[Sample((_b, _b)), Sample((_b, _row))], partial=True)  # fmt: skip
def tensor_power(call: Call) -> Results:
    """x ** y."""
    return extremum.apply(call)


@rule(
    "angle", "aten.atan2.default", statement="`a, |a| -> a`: odd in the first, the second without signs",
    samples=[*_two, Sample((zeros(3, 4), _a))], divisor="self",
)  # fmt: skip
def atan2(call: Call) -> Results:
    """Angle of (y, x): odd in y."""
    y, x = call.operands
    if y.zero:  # +0 for both views: the angle of a negative x is pi for both
        return plain_of(x, call)
    return following(call.solver.representation(y.rep), plain_of(x, call), call.solver)


@rule("remainder towards zero", "aten.fmod.Tensor", "aten.fmod.Scalar",
      statement="`a, b -> a` with |a| = |b|: odd in the first, even in the second",
      samples={"aten.fmod.Tensor": _two, "aten.fmod.Scalar": _number})  # fmt: skip
def fmod(call: Call) -> Results:
    """x - y trunc(x / y)."""
    rep = call.solver.representation(call.operands[0].rep)
    return following(rep, even_of(call.operands[1], call.solver), call.solver) if len(call.operands) > 1 else rep


@rule("sign of another", "aten.copysign.Tensor",
      statement="`a, b -> b` with |a| = |b|: even in the first, odd in the second",
      samples=[Sample((_a, normal(3, 4))), Sample((_b, normal(4)))], divisor="other")  # fmt: skip
def copysign(call: Call) -> Results:
    """|x| with the sign of y: the first by its size alone. Zeros have a sign of their own, as where one divides."""
    size, sign = call.operands
    return following(call.solver.representation(sign.rep), even_of(size, call.solver), call.solver)


@rule("times a power of two", "aten.ldexp.Tensor",
      statement="`a, |a| -> a`: odd in the first, the second without signs",
      samples=_two)  # fmt: skip
def ldexp(call: Call) -> Results:
    """x 2 ** y."""
    x, exponent = call.operands
    return following(call.solver.representation(x.rep), plain_of(exponent, call), call.solver)


@rule("length of a right angle", "aten.hypot.default", statement="`a, b -> |a|` with |a| = |b|", samples=_two)
def hypot(call: Call) -> Results:
    """sqrt(x x + y y)."""
    left, right = (even_of(operand, call.solver) for operand in call.operands)
    return following(left, right, call.solver)


@rule("division with rounding", "aten.div.Tensor_mode", "aten.div.Scalar_mode",
      statement="as a product where rounding is towards zero, else `+a, +a -> +a`",
      samples={"aten.div.Tensor_mode": [Sample((_a, _b), {"rounding_mode": mode}) for mode in ("trunc", "floor")],
               "aten.div.Scalar_mode": [Sample((_a, 0.5), {"rounding_mode": mode}) for mode in ("trunc", "floor")]},
      incomplete="rounding down could lose a sign that both factors share", divisor="other")  # fmt: skip
def divide(call: Call) -> Results:
    """floor(x / y) or trunc(x / y)."""
    return extremum.apply(call) if call["rounding_mode"] == "floor" else quotient(call.operands, call)


@rule("remainder by a number", "aten.remainder.Scalar", "aten.pow.Scalar", "aten.clamp.Tensor", "aten.clamp_min.Tensor",
      "aten.clamp_max.Tensor",
      statement="`+a -> +a`, bounds alike",
      samples={"aten.remainder.Scalar": _number, "aten.pow.Scalar": [Sample((2.0, _a))],
               "aten.clamp.Tensor": [Sample((_a, _b)), Sample((_a, normal(4), _row))],
               "aten.clamp_min.Tensor": [Sample((_a, normal(4)))], "aten.clamp_max.Tensor": [Sample((_a, normal(3,
                   4)))]})  # fmt: skip
def bounded(call: Call) -> Results:
    """Functions of a tensor and numbers, or of a tensor and its bounds, that are neither odd nor even."""
    return joint_plain(call)


@rule("outer product", "aten.outer.default", statement="`a, b -> a b`", samples=[Sample((normal(3), normal(4)))])
def outer(call: Call) -> Results:
    """Every entry of one vector times every entry of another."""
    left, right = (call.solver.representation(tensor(operand).rep) for operand in call.operands)
    return SymbolicRepresentation((*left.axes, *right.axes), left.sign * right.sign)
