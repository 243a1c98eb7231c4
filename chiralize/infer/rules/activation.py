"""Functions applied entry by entry.

Odd ones commute with signs, even ones lose them, all others need entries that are only permuted.

    tanh(-x) = -tanh(x)      odd: T passes as it is
    abs(-x) = abs(x)         even: |T| is left
    relu(-x) = neither       a hidden unit behind a ReLU cannot be negated by the mirror

So T (a, b) = (-b, -a) passes tanh, since tanh(-b) = -tanh(b). Behind abs it is (|b|, |a|), the exchange by itself. For
relu it is refused: relu leaves (0, 1) as it is, but makes (0, 0) of T (0, 1) = (-1, 0).

Each `pointwise` line has a parity, the name of the family, its ops, and the input on which they are tried: `_signed`
numbers of both signs, `_above_zero` for logarithms and roots, `_near_zero` within -1 to 1. partial: random numbers may
lie where the function has no value.
"""

from __future__ import annotations

from chiralize.graph.traits import Copy, Pointwise
from chiralize.infer.registry import Call, Drawn, Results, Uniform, normal, positive, sample, zeros
from chiralize.infer.rules._families import (
    even,
    first_outputs,
    incomplete,
    joint_plain,
    odd,
    op,
    plain,
    plain_of,
    pointwise,
    rule,
)
from chiralize.infer.solver.terms import Conflict

_x = normal(3, 4)
_positive = positive(3, 4)
_signed = sample(_x)
_above_zero = sample(_positive)
_near_zero = sample(Drawn((3, 4), "small"))

pointwise(odd, "tanh-like", "tanh neg sin sinh tan asinh atan erf sign sgn trunc round frac deg2rad rad2deg", _signed)
pointwise(odd, "inverse sine-like", "asin atanh erfinv", _near_zero, partial=True)
pointwise(odd, "shrink-like", "softshrink hardshrink", _signed)
pointwise(even, "abs-like", "abs cos cosh square sinc", _signed)
pointwise(even, "size with a given sign", "copysign.Scalar", sample(_x, -2.0))
pointwise(
    plain,
    "relu-like",
    "relu relu6 leaky_relu elu gelu silu mish softplus celu selu hardswish",
    _signed,
    activation=True,
)
pointwise(plain, "exp-like", "sigmoid hardsigmoid log_sigmoid exp expm1 floor ceil exp2 erfc", _signed)
pointwise(plain, "log-like", "log log1p sqrt rsqrt log2 log10", _above_zero, partial=True)
pointwise(plain, "inverse cosine", "acos", _near_zero, partial=True)


@rule("reciprocal", "`... -> ...` (odd), of zeros `+... -> +...`", divisor="self", trait=Pointwise())
@op("reciprocal", _above_zero, sample(zeros(3, 4)))
def reciprocal(call: Call) -> Results:
    """1 / x: odd, but for numbers known to be zero; what becomes of +0 is the same for both views."""
    if call.operands[0].zero:
        return Uniform(call.shape, False)
    return odd(call)


@rule("clamp-like", "`... -> ...` (odd) where the bounds are opposite, else `+... -> +...`", trait=Pointwise())
@op("clamp", sample(_x, min=-0.5, max=0.5), sample(_x, min=0.0))
@op("hardtanh", sample(_x), sample(_x, 0.0, 1.0))
def clamp(call: Call) -> Results:
    """min(max(x, low), high): odd only between opposite bounds, the lower one below."""
    # hardtanh calls its bounds min_val and max_val. A bound that is not given is infinite, and has no opposite.
    low, high = call.get("min", call.get("min_val")), call.get("max", call.get("max_val"))
    # `<= 0`: with the lower bound above the upper one, clamp(x, 1, -1), the result is -1 for every x, which is not odd.
    opposite = low is not None and high is not None and low == -high <= 0
    return odd(call) if opposite else plain(call)


@rule("threshold", "`+... -> +...`", trait=Pointwise())
@op("threshold", sample(_x, 0.1, 0.0))
@op("clamp_min clamp_max", sample(_x, 0.1))
def threshold(call: Call) -> Results:
    """A one-sided bound: neither odd nor even."""
    return plain(call)


@rule(
    "power",
    "`c -> |c|` for an even whole exponent, `... -> ...` for an odd one above 0, else `+... -> +...`",
    partial=True,
    trait=Pointwise(),
)
@incomplete("an odd power of 1 / x is odd, but for x = 0")
@op("pow.Tensor_Scalar", sample(_x, 2), sample(_x, 3), sample(_positive, 0.5), sample(_positive, -1))
def power(call: Call) -> Results:
    """x ** n: even or odd with n."""
    # Negative even powers are even as well. Negative odd ones, such as 1 / x, are odd everywhere but at 0.
    exponent = call["exponent"]
    if float(exponent).is_integer() and exponent % 2 == 0:
        return even(call)
    if float(exponent).is_integer() and exponent > 0:
        return odd(call)
    return plain(call)


@rule("prelu", "`+b +c +..., c -> +b +c +...`, or one slope for all")
@op("prelu", trait=Pointwise("weight"))
@op("prelu", sample(normal(3, 4, 2), positive(4), weights={1}), sample(normal(3, 4), positive(1), weights={1}))
@op("_prelu_kernel", sample(normal(3, 4), positive(1, 4), weights={1}))
def prelu(call: Call) -> Results:
    """max(x, 0) + slope * min(x, 0), a slope per channel (axis 1) or one for all.

    Channels that the mirror exchanges need the same slope. Raises Conflict where the slopes are negated as a whole.
    """
    x, slope = call.operands
    if not call.solver.positive(slope.rep.sign):
        raise Conflict("the slope is negated", negated=True)
    # Traced code hands the slopes over with as many axes as the input.
    if slope.ndim != 1:
        return joint_plain(call)
    if slope.shape != (1,):
        call.solver.equal(slope.rep.axes[0], x.rep.axes[1])
    return plain_of(x, call)


@rule("random slope", "`+... -> +...` while it is switched off", trait=Pointwise())
@op("rrelu", _signed)
def rrelu(call: Call) -> Results:
    """A leaky ReLU with the mean slope in eval mode."""
    if call["training"]:
        raise Conflict("rrelu stays random in eval mode (F.rrelu without training=self.training)")
    return plain(call)


@rule(
    "undefined numbers", "`... -> ...` (odd) unless numbers are given for them, then `+... -> +...`", trait=Pointwise()
)
@incomplete("ordinary numbers pass unchanged, so that signs do no harm where nothing is undefined")
@op("nan_to_num", _signed, sample(_x, nan=1.0, posinf=2.0))
def nan_to_num(call: Call) -> Results:
    """Numbers in place of nan and infinities."""
    # Without numbers the largest and the smallest of the type stand in, which are opposite; nan becomes 0.
    # nan has no negative, so a number other than 0 in its place would be the same for both views.
    high, low = call.get("posinf"), call.get("neginf")
    opposite = high is low is None or (high is not None and low is not None and high == -low)
    if opposite and not call.get("nan", 0):
        return odd(call)
    return plain(call)


_off = [sample(_x, 0.5, False)]


@rule("dropout", "`... -> ...` while it is switched off")
@op("dropout feature_dropout native_dropout", trait=Copy())
@op("dropout feature_dropout alpha_dropout feature_alpha_dropout", *_off)
@op("native_dropout", sample(_x, 0.5, False, read={0}))
def dropout(call: Call) -> Results:
    """The identity in eval mode. In a captured eval graph `train=True` means dropout that is never switched off."""
    if call["train"]:
        raise Conflict("dropout stays on in eval mode (F.dropout without training=self.training)")
    return first_outputs(call, call.operands[0].rep)
