"""Sums, differences, products and quotients, entry by entry with broadcasting.

What a function of two numbers lets pass is a matter of its parities. Odd in x: f(-x, y) = -f(x, y), and signs of x go
to the result. Even in x: they are lost. Neither: there must be none. In all cases both tensors are permuted alike.

    x + y           odd in both together: both carry the same signs        `equal_sum`
    x * y, x / y    odd in each: signs multiply                            `element_product`
    atan2(y, x)     odd in y, neither in x                                 `following`
    max(x, y)       neither: no signs                                      `joint_plain`

On an axis of two entries that the mirror exchanges and negates, T (a, b) = (-b, -a). With T on x and on y:

    x + y     T x + T y = T (x + y)                  the sum carries T
    x * y     (b d, a c) for x = (a, b), y = (c, d)  the product is only exchanged: -1 times -1
    x + 1     (1 - b, 1 - a), not (-1 - b, -1 - a)   no mirror image: a number added demands that T has no signs

Samples: `_a` has numbers of either sign, `_b` positive ones. `_two` are calls with a second tensor of the same shape,
of a row and of a column (both broadcast), `_number` one with a number in place of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from chiralize.graph.traits import Extremum, Pointwise, Scaling, Sum
from chiralize.infer.products import element_product, equal_sum, following
from chiralize.infer.registry import Call, Operand, Results, Uniform, demand_plain, normal, positive, sample, zeros
from chiralize.infer.rules._families import even_of, incomplete, joint_plain, op, plain_of, representations, rule
from chiralize.symmetry.symbolic import SymbolicRepresentation

_a = normal(3, 4)
_b = positive(3, 4)
_row = positive(4)
_column = positive(3, 1)
_two = [sample(_a, _b), sample(_a, _row), sample(_a, _column)]
_number = [sample(_a, 0.5)]


@rule("sum", "`a, a -> a`; `+` along axes where one is broadcast, and everywhere with a number")
@op("add.Tensor sub.Tensor", *_two, *_number)
@op("rsub.Tensor", *_two)
@op("add.Scalar sub.Scalar rsub.Scalar", *_number)
@op("add.Tensor add.Scalar", trait=Sum(of_tensors="aten.add.Tensor"))
@op("sub.Tensor sub.Scalar", trait=Sum((1, -1), of_tensors="aten.add.Tensor"))
@op("rsub.Tensor rsub.Scalar", trait=Sum((-1, 1), is_turned=True, of_tensors="aten.sub.Tensor"))
def add(call: Call) -> Results:
    """x + y, x - y: both transform alike; a number added demands that nothing carries a sign."""
    # Of two tensors a number can only be `alpha`, which multiplies one of them. Beside one tensor it may be added:
    # -x + 1 is not -(x + 1).
    operands = call.operands
    rep = equal_sum(operands, call.shape, call.solver)
    if len(operands) == 1 and _adds_number(call):
        demand_plain(call.solver.representation(rep), call)
    return rep


def _adds_number(call: Call) -> bool:
    """Whether a number other than 0 is added; `alpha` only multiplies."""
    numbers = {name: value for name, value in call.arguments.items() if isinstance(value, (int, float, complex))}
    return any(value != 0 for name, value in numbers.items() if name != "alpha")


@rule(
    "product",
    "`a, b -> a b`: the same permutation, signs multiplied; numbers are free. Of two unknown axes one is "
    "taken to have no signs: a weight's, else the second",
    trait=Scaling(),
)
@op("mul.Tensor", *_two, *_number)
@op("mul.Scalar", *_number)
def mul(call: Call) -> Results:
    """x * y: moved alike, signs multiply; with a factor of zeros it is zero."""
    # Zeros fit any reader. To compare the factors would demand something of the other one, for nothing.
    if any(operand.zero for operand in call.operands):
        return Uniform(call.shape, True)
    return element_product(call.operands, call.shape, call.solver)


@rule("quotient", "as a product: 1 / b is odd in b, where b is not 0", divisor="other", trait=Scaling(divides=True))
@op("div.Tensor", *_two, *_number, sample(_a, zeros(3, 4)))
@op("div.Scalar", *_number)
def div(call: Call) -> Results:
    """x / y: moved alike, signs multiply; zeros divided are zero."""
    if call.operands[0].zero:
        return Uniform(call.shape, True)
    return quotient(call.operands, call)


def quotient(operands: Sequence[Operand], call: Call) -> SymbolicRepresentation:
    """A product with 1 / y; where y is known to be zero, 1 / 0 is the same number everywhere and for both views."""
    # x / 0 is odd in x as x times any number is, so a divisor of zeros drops out and x decides.
    first, *others = operands
    return element_product([first, *(factor for factor in others if not factor.zero)], call.shape, call.solver)


_sums = [sample(_a, _b, _b), sample(_a, _row, _b, value=0.5), sample(normal(4), _b, _b)]


@rule("product and sum", "`a b, a, b -> a b`")
@op("addcmul", *_sums)
def addcmul(call: Call) -> Results:
    """x + value * y * z: `value` only multiplies, and demands nothing."""
    x, *factors = call.operands
    product = element_product(factors, call.shape, call.solver)
    return equal_sum([x, Operand(product)], call.shape, call.solver)


@rule("quotient and sum", "`a b, a, b -> a b`", divisor="tensor2")
@op("addcdiv", *_sums)
def addcdiv(call: Call) -> Results:
    """x + value * y / z."""
    x, *factors = call.operands
    return equal_sum([x, Operand(quotient(factors, call))], call.shape, call.solver)


@rule("blend", "`a, a, |a| -> a`")
@op("lerp.Scalar", sample(_a, _b, 0.3), sample(_a, _row, 0.3))
@op("lerp.Tensor", sample(_a, _b, _b), sample(_a, _b, _row))
def lerp(call: Call) -> Results:
    """x + w * (y - x)."""
    # x and y are alike, so x + w (y - x) is, for a number w; a tensor w moves along, and its sign would not cancel.
    x, y, *weight = call.operands
    rep = call.solver.representation(equal_sum([x, y], call.shape, call.solver))
    if weight:
        return following(rep, plain_of(weight[0], call), call.solver)
    return rep


@rule("larger or smaller", "`+a, +a -> +a`", trait=Pointwise())
@incomplete("signs that a remainder of x by -y happens to undo are refused")
@op("maximum minimum max.other min.other fmax fmin", trait=Extremum())
@op("maximum minimum max.other min.other fmax fmin heaviside logaddexp logaddexp2 remainder.Tensor floor_divide", *_two)
def extremum(call: Call) -> Results:
    """Functions of two tensors that are neither odd nor even; with a number the tensor alone counts."""
    return joint_plain(call)


@rule("power of tensors", "`+a, +a -> +a`", partial=True, trait=Pointwise())
@op("pow.Tensor_Tensor", sample(_b, _b), sample(_b, _row))
def tensor_power(call: Call) -> Results:
    """x ** y: neither odd nor even in x or y, since y may be any number."""
    # `extremum` is a record by now, which `rule` put in place of the function.
    return extremum.apply(call)


@rule("angle", "`a, |a| -> a`: odd in the first, the second without signs", divisor="self")
@op("atan2", *_two, sample(zeros(3, 4), _a))
def atan2(call: Call) -> Results:
    """Angle of (y, x): atan2(-y, x) = -atan2(y, x), but atan2(y, -x) is pi - atan2(y, x) for y > 0."""
    y, x = call.operands
    if y.zero:  # +0 for both views: the angle of a negative x is pi for both
        return plain_of(x, call)
    return following(call.solver.representation(y.rep), plain_of(x, call), call.solver)


@rule("remainder towards zero", "`a, b -> a` with |a| = |b|: odd in the first, even in the second")
@op("fmod.Tensor", *_two)
@op("fmod.Scalar", *_number)
def fmod(call: Call) -> Results:
    """x - y trunc(x / y)."""
    rep = call.solver.representation(call.operands[0].rep)
    # fmod(-7, 3) = -1 = -fmod(7, 3), and fmod(7, -3) = 1 = fmod(7, 3): the signs are those of x.
    if len(call.operands) > 1:
        return following(rep, even_of(call.operands[1], call.solver), call.solver)
    return rep


@rule("sign of another", "`a, b -> b` with |a| = |b|: even in the first, odd in the second", divisor="other")
@op("copysign.Tensor", sample(_a, normal(3, 4)), sample(_b, normal(4)))
def copysign(call: Call) -> Results:
    """|x| with the sign of y: the first by its size alone. Zeros have a sign of their own, as where one divides."""
    size, sign = call.operands
    return following(call.solver.representation(sign.rep), even_of(size, call.solver), call.solver)


@rule("times a power of two", "`a, |a| -> a`: odd in the first, the second without signs")
@op("ldexp.Tensor", *_two)
def ldexp(call: Call) -> Results:
    """x 2 ** y: y has to be without signs, as 2 ** -y is another factor."""
    x, exponent = call.operands
    return following(call.solver.representation(x.rep), plain_of(exponent, call), call.solver)


@rule("length of a right angle", "`a, b -> |a|` with |a| = |b|")
@op("hypot", *_two)
def hypot(call: Call) -> Results:
    """sqrt(x x + y y)."""
    left, right = (even_of(operand, call.solver) for operand in call.operands)
    return following(left, right, call.solver)


@rule(
    "division with rounding",
    "as a product where rounding is towards zero, else `+a, +a -> +a`",
    divisor="other",
    trait=Pointwise(),
)
@incomplete("rounding down could lose a sign that both factors share")
@op("div.Tensor_mode", sample(_a, _b, rounding_mode="trunc"), sample(_a, _b, rounding_mode="floor"))
@op("div.Scalar_mode", sample(_a, 0.5, rounding_mode="trunc"), sample(_a, 0.5, rounding_mode="floor"))
def divide(call: Call) -> Results:
    """floor(x / y) or trunc(x / y)."""
    # trunc is odd. floor is not: floor(-1.5) = -2, and -floor(1.5) = -1.
    if call["rounding_mode"] == "floor":
        return extremum.apply(call)
    return quotient(call.operands, call)


@rule("remainder by a number", "`+a -> +a`, bounds alike")
@op("remainder.Scalar", *_number)
@op("pow.Scalar", sample(2.0, _a))
@op("clamp.Tensor", sample(_a, _b), sample(_a, normal(4), _row))
@op("clamp_min.Tensor", sample(_a, normal(4)))
@op("clamp_max.Tensor", sample(_a, normal(3, 4)))
def bounded(call: Call) -> Results:
    """Functions of a tensor and numbers, or of a tensor and its bounds, that are neither odd nor even."""
    return joint_plain(call)


@rule("outer product", "`a, b -> a b`")
@op("outer", sample(normal(3), normal(4)))
def outer(call: Call) -> Results:
    """Every entry of one vector times every entry of another."""
    # T on both: (T u)(S v)' = T (u v') S', so rows carry T and columns S, whatever they are.
    left, right = representations(call)
    return SymbolicRepresentation((*left.axes, *right.axes), left.sign * right.sign)
