"""Functions applied entry by entry.

Odd ones commute with signs, even ones lose them, all others need entries that are only permuted.
"""

from __future__ import annotations

from chiralize.infer.registry import Call, Drawn, Results, Sample, Uniform, normal, positive, zeros
from chiralize.infer.rules._families import even, joint_plain, odd, plain, pointwise, rule
from chiralize.infer.solver.terms import Conflict

_x = Sample((normal(3, 4),))
_positive = Sample((positive(3, 4),))
_small = Sample((Drawn((3, 4), "small"),))

pointwise(
    odd, "tanh-like", "aten.tanh.default", "aten.neg.default", "aten.sin.default", "aten.sinh.default",
    "aten.tan.default", "aten.asinh.default", "aten.atan.default", "aten.erf.default", "aten.sign.default",
    "aten.sgn.default", "aten.trunc.default", "aten.round.default", "aten.frac.default", "aten.deg2rad.default",
    "aten.rad2deg.default", samples=[_x],
)  # fmt: skip
pointwise(odd, "inverse sine-like", "aten.asin.default", "aten.atanh.default", "aten.erfinv.default", samples=[_small],
          partial=True)  # fmt: skip
pointwise(even, "abs-like", "aten.abs.default", "aten.cos.default", "aten.cosh.default", "aten.square.default",
          "aten.sinc.default", samples=[_x])  # fmt: skip
pointwise(even, "size with a given sign", "aten.copysign.Scalar", samples=[Sample((*_x.args, -2.0))])
pointwise(
    plain, "relu-like", "aten.relu.default", "aten.relu6.default", "aten.leaky_relu.default", "aten.elu.default",
    "aten.gelu.default", "aten.silu.default", "aten.mish.default", "aten.softplus.default", "aten.celu.default",
    "aten.selu.default", "aten.hardswish.default", samples=[_x], activation=True,
)  # fmt: skip
pointwise(
    plain, "exp-like", "aten.sigmoid.default", "aten.hardsigmoid.default", "aten.log_sigmoid.default",
    "aten.exp.default", "aten.expm1.default", "aten.floor.default", "aten.ceil.default", "aten.exp2.default",
    "aten.erfc.default", samples=[_x],
)  # fmt: skip
pointwise(plain, "log-like", "aten.log.default", "aten.log1p.default", "aten.sqrt.default", "aten.rsqrt.default",
          "aten.log2.default", "aten.log10.default", samples=[_positive], partial=True)  # fmt: skip
pointwise(plain, "inverse cosine", "aten.acos.default", samples=[_small], partial=True)


@rule("reciprocal", "aten.reciprocal.default", statement="`... -> ...` (odd), of zeros `+... -> +...`",
      samples=[_positive, Sample((zeros(3, 4),))], divisor="self")  # fmt: skip
def reciprocal(call: Call) -> Results:
    """1 / x: odd, but for numbers known to be zero; what becomes of +0 is the same for both views."""
    return Uniform(call.shape, False) if call.operands[0].zero else odd(call)


@rule(
    "clamp-like", "aten.clamp.default", "aten.hardtanh.default",
    statement="`... -> ...` (odd) where the bounds are opposite, else `+... -> +...`",
    samples={
        "aten.clamp.default": [Sample(_x.args, {"min": -0.5, "max": 0.5}), Sample(_x.args, {"min": 0.0})],
        "aten.hardtanh.default": [Sample(_x.args), Sample((*_x.args, 0.0, 1.0))],
    },
)  # fmt: skip
def clamp(call: Call) -> Results:
    """min(max(x, low), high): odd only between opposite bounds, the lower one below."""
    low, high = (call.get(new, call.get(old)) for new, old in (("min", "min_val"), ("max", "max_val")))
    return odd(call) if low is not None and high is not None and low == -high <= 0 else plain(call)


@rule(
    "shrink-like", "aten.softshrink.default", "aten.hardshrink.default",
    statement="`... -> ...` (odd)", samples=[_x],
)  # fmt: skip
def shrink(call: Call) -> Results:
    """Zero within a band about 0: odd."""
    return odd(call)


@rule(
    "threshold", "aten.threshold.default", "aten.clamp_min.default", "aten.clamp_max.default",
    statement="`+... -> +...`",
    samples={
        "aten.threshold.default": [Sample((*_x.args, 0.1, 0.0))],
        "aten.clamp_min.default": [Sample((*_x.args, 0.1))],
        "aten.clamp_max.default": [Sample((*_x.args, 0.1))],
    },
)  # fmt: skip
def threshold(call: Call) -> Results:
    """A one-sided bound: neither odd nor even."""
    return plain(call)


@rule(
    "power",
    "aten.pow.Tensor_Scalar",
    statement="`c -> |c|` for an even whole exponent, `... -> ...` for an odd one above 0, else `+... -> +...`",
    samples=[Sample((*_x.args, 2)), Sample((*_x.args, 3)), Sample((*_positive.args, 0.5)),
             Sample((*_positive.args, -1))],
    incomplete="an odd power of 1 / x is odd, but for x = 0",
    partial=True,
)  # fmt: skip
def power(call: Call) -> Results:
    """x ** n: even or odd with n."""
    exponent = call["exponent"]
    if float(exponent).is_integer():
        return even(call) if int(exponent) % 2 == 0 else odd(call) if exponent > 0 else plain(call)
    return plain(call)


@rule(
    "prelu", "aten.prelu.default", "aten._prelu_kernel.default",
    statement="`+b +c +..., c -> +b +c +...`, or one slope for all",
    samples={
        "aten.prelu.default": [
            Sample((normal(3, 4, 2), positive(4)), {}, frozenset({1})),
            Sample((normal(3, 4), positive(1)), {}, frozenset({1})),
        ],
        "aten._prelu_kernel.default": [
            Sample((normal(3, 4), positive(1, 4)), {}, frozenset({1})),
        ],
    },
)  # fmt: skip
def prelu(call: Call) -> Results:
    """max(x, 0) + slope * min(x, 0), a slope per channel (axis 1) or one for all."""
    x, slope = call.operands
    if not call.solver.positive(slope.rep.sign):
        raise Conflict("the slope is negated", negated=True)
    if slope.shape == (1,):
        return plain(Call(call.target, {"self": x}, call.shapes, call.solver))
    if slope.ndim == 1:
        call.solver.equal(slope.rep.axes[0], x.rep.axes[1])
        return plain(Call(call.target, {"self": x}, call.shapes, call.solver))
    return joint_plain(call)


@rule("random slope", "aten.rrelu.default", statement="`+... -> +...` while it is switched off", samples=[_x])
def rrelu(call: Call) -> Results:
    """A leaky ReLU with the mean slope in eval mode."""
    if call["training"]:
        raise Conflict("rrelu stays random in eval mode (F.rrelu without training=self.training)")
    return plain(call)


@rule("undefined numbers", "aten.nan_to_num.default",
      statement="`... -> ...` (odd) unless numbers are given for them, then `+... -> +...`",
      samples=[_x, Sample(_x.args, {"nan": 1.0, "posinf": 2.0})],
      incomplete="ordinary numbers pass unchanged, so that signs do no harm where nothing is undefined")  # fmt: skip
def nan_to_num(call: Call) -> Results:
    """Numbers in place of nan and infinities."""
    high, low = call.get("posinf"), call.get("neginf")
    opposite = high is low is None or (high is not None and low is not None and high == -low)
    return odd(call) if opposite and not call.get("nan", 0) else plain(call)


_off = [Sample((*_x.args, 0.5, False))]


@rule(
    "dropout", "aten.dropout.default", "aten.feature_dropout.default", "aten.alpha_dropout.default",
    "aten.feature_alpha_dropout.default", "aten.native_dropout.default",
    statement="`... -> ...` while it is switched off", samples={
        "aten.dropout.default": _off, "aten.feature_dropout.default": _off, "aten.alpha_dropout.default": _off,
        "aten.feature_alpha_dropout.default": _off,
        "aten.native_dropout.default": [Sample((*_x.args, 0.5, False), read=frozenset({0}))],
    },
)  # fmt: skip
def dropout(call: Call) -> Results:
    """The identity in eval mode. In a captured eval graph `train=True` means dropout that is never switched off."""
    if call["train"]:
        raise Conflict("dropout stays on in eval mode (F.dropout without training=self.training)")
    rep = call.operands[0].rep
    return rep if len(call.shapes) == 1 else (rep, None)
