"""How do signs pass functions of single entries? One table for all of them.

f(P x, P y) = P f(x, y) for every permutation P: whatever is computed entry by entry moves as its operands do, which all
have to be moved alike. What is left to say of an op is what signs do. A letter for each of its arguments:

    o   odd: the sign goes to the result                     tanh(-x) = -tanh(x),  (-x) y = -(x y)
    d   odd, but at 0: 1 / 0 is the same for both views      x / (-y) = -(x / y)
    e   even: the sign is lost                               |-x| = |x|
    s   odd together: all of these carry the same sign       (-x) + (-y) = -(x + y)
    p   neither: no entry may carry a sign                   relu, exp; the mask of `where`
    |   around all letters: the result carries no sign       x == y

Signs of all `o` and `d` multiply, and what is left of the op is a sum of this product and of the `s`: `soo` is
x + y z. On an axis of two entries that the mirror exchanges and negates, T (a, b) = (-b, -a):

    x + y     T x + T y = T (x + y)                  ss: the sum carries T
    x * y     (b d, a c) for x = (a, b), y = (c, d)  oo: the product is only exchanged, -1 times -1
    x + 1     (1 - b, 1 - a), not (-1 - b, -1 - a)   no mirror image: a number other than 0 demands that T has no signs

Ops that torch tags as pointwise and that have no line here need none: no entry may carry a sign. A wrong letter would
be found by the oracle of the tests, which tries all signed involutions on every op, those by the tag included.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from chiralize.graph.traits import Copy, Extremum, Movement, Pointwise, Scaling, Sum, Trait
from chiralize.infer.algebra import element_product, equal_sum, even_of, following, plain_together
from chiralize.infer.rule import Answer, Call, Operand, Uniform, demand_plain, describe, overloads, rule, rule_by_tag
from chiralize.infer.rules.declare import demand_eval
from chiralize.infer.symbolic import Conflict, SymbolicRepresentation

_CHOICE = Movement(blends=True, fills=("self", "other", "value"))
_TABLE: list[tuple[str, str, Trait]] = [
    ("o", "neg sin sinh tan tanh asin asinh atan atanh erf erfinv sign sgn trunc round round.decimals", Pointwise()),
    ("o", "frac softshrink hardshrink deg2rad rad2deg positive conj_physical _conj_physical real imag", Pointwise()),
    ("d", "reciprocal", Pointwise()),
    ("e", "abs cos cosh square sinc i0 isnan isinf isfinite", Pointwise()),
    ("ss", "add.Tensor add.Scalar", Sum(of_tensors="aten.add.Tensor")),
    ("ss", "sub.Tensor sub.Scalar", Sum((1, -1), of_tensors="aten.add.Tensor")),
    ("ss", "rsub.Tensor rsub.Scalar", Sum((-1, 1), is_turned=True, of_tensors="aten.sub.Tensor")),
    ("oo", "mul.Tensor mul.Scalar", Scaling()),
    ("od", "div.Tensor div.Scalar", Scaling(divides=True)),
    ("soo", "addcmul", Pointwise()),
    ("sod", "addcdiv", Pointwise()),
    ("oe", "fmod.Tensor fmod.Scalar", Pointwise()),
    ("op", "ldexp.Tensor polar", Pointwise()),
    ("dp", "atan2", Pointwise()),
    ("ed", "copysign.Tensor copysign.Scalar", Pointwise()),
    ("ee", "hypot", Pointwise()),
    ("ss", "complex", Pointwise()),
    ("ssp", "lerp.Tensor lerp.Scalar", Pointwise()),
    ("|ss|", "eq.Tensor ne.Tensor eq.Scalar ne.Scalar", Pointwise()),
    ("pss", "where.self where.Scalar where.ScalarSelf where.ScalarOther", _CHOICE),
    ("sps", "masked_fill.Scalar masked_fill.Tensor", _CHOICE),
    # Functions of entries that torch does not tag as such, since it writes them in others.
    ("p", "log_sigmoid hardswish special_ndtr", Pointwise()),
    ("pp", "floor_divide __and__.Tensor __or__.Tensor", Pointwise()),
]
"""(letters, ops, what kind of ops they are)"""

_FINITE = "where every number is finite the answer is the same everywhere"
_INCOMPLETE = {
    **dict.fromkeys(("isnan", "isinf", "isfinite"), _FINITE),
    "floor_divide": "signs that a rounded quotient happens to undo are refused",
}
"""Why the rule of an op refuses correct pairs of representations."""

SIGNS: Mapping[str, str] = {target: letters for letters, ops, _ in _TABLE for target in overloads(ops)}
"""The letters of every op in the table."""

ACTIVATIONS = frozenset(overloads("relu relu6 leaky_relu elu gelu silu mish softplus celu selu hardswish"))
"""Nonlinearities between layers, for which an odd one may stand."""

_NUMBER = (int, float, complex)


def divisor(target: str) -> int | None:
    """Which argument of an op, counted from 0, may hold no zeros where its sign counts; None where none is such."""
    letters = SIGNS.get(target, "")
    return letters.index("d") if "d" in letters else None


def elementwise(call: Call, letters: str) -> Answer:
    """The result of a function of single entries, by the letters of its arguments. Raises Conflict and Wait."""
    solver = call.solver
    by_letter: dict[str, list[Operand]] = {letter: [] for letter in "odesp"}
    numbers: list[complex] = []
    for letter, value in zip(letters.strip("|"), call.arguments.values(), strict=False):
        if isinstance(value, Operand):
            by_letter[letter].append(value)
        elif letter == "s" and isinstance(value, _NUMBER):
            numbers.append(value)
    # Zeros fit any reader. To compare the factors would demand something of the other one, for nothing.
    vanishes = any(factor.zero for factor in by_letter["o"])
    factors = [factor for factor in by_letter["o"] + by_letter["d"] if not factor.zero]
    terms, others = by_letter["s"], by_letter["e"] + by_letter["p"]
    if factors and not vanishes:
        shape = tuple(torch.broadcast_shapes(*(factor.shape for factor in factors)))
        terms = [*terms, Operand(element_product(factors, shape, solver))]
    if not terms and not others:
        return Uniform(call.shape, vanishes)
    unsigned = [even_of(operand.rep, solver) for operand in by_letter["e"]]
    unsigned += [demand_plain(operand.rep, solver) for operand in by_letter["p"]]
    rep = _sum(terms, any(numbers), call) if terms else unsigned.pop(0)
    for other in unsigned:
        rep = following(solver.representation(rep), solver.representation(other), solver)
    return even_of(rep, solver) if letters[0] == "|" else rep


def _sum(terms: list[Operand], with_number: bool, call: Call) -> SymbolicRepresentation:
    """All terms alike; a number that is added or chosen stays what it is where the mirror negates an entry."""
    # The shape is that of the terms alone: a mask may be longer than they are, and `following` stretches them along it.
    shape = tuple(torch.broadcast_shapes(*(term.shape for term in terms)))
    rep = call.solver.representation(equal_sum(terms, shape, call.solver))
    return demand_plain(rep, call.solver) if with_number else rep


for _letters, _ops, _trait in _TABLE:
    for _op in _ops.split():
        rule(_op, f"signs `{_letters}`", _trait, _INCOMPLETE.get(_op, ""))(
            lambda call: elementwise(call, SIGNS[call.target])
        )

describe("maximum minimum max.other min.other fmax fmin", Extremum())


@rule_by_tag(torch.Tag.pointwise, "`+a, +a -> +a`, by torch's tag")
def plain(call: Call) -> Answer:
    """All operands are moved alike, none of them carries a sign, and neither does any result."""
    rep = plain_together(call)
    return rep if len(call.shapes) == 1 else (rep,) * len(call.shapes)


def _odd_if(condition: bool, call: Call) -> Answer:
    """Of an op that is odd for some of its numbers only."""
    return elementwise(call, "o") if condition else plain(call)


# ---- numbers decide -----------------------------------------------------------------------------------------------
@rule("clamp hardtanh", "odd between opposite bounds, else without signs", Pointwise())
def clamp(call: Call) -> Answer:
    """min(max(x, low), high)."""
    # hardtanh calls its bounds min_val and max_val. A bound that is not given is infinite, and has no opposite.
    low, high = call.get("min", call.get("min_val")), call.get("max", call.get("max_val"))
    # `<= 0`: with the lower bound above the upper one, clamp(x, 1, -1), the result is -1 for every x, which is not odd.
    return _odd_if(low is not None and high is not None and low == -high <= 0, call)


@rule(
    "pow.Tensor_Scalar",
    "even for an even whole exponent, odd for an odd one above 0, else without signs",
    Pointwise(),
    incomplete="an odd power of 1 / x is odd, but for x = 0",
)
def power(call: Call) -> Answer:
    """x ** n. Negative even powers are even as well; negative odd ones are odd everywhere but at 0."""
    exponent = call["exponent"]
    if not float(exponent).is_integer():
        return plain(call)
    return elementwise(call, "e") if exponent % 2 == 0 else _odd_if(exponent > 0, call)


@rule(
    "nan_to_num",
    "odd unless numbers are given that are not opposite, else without signs",
    Pointwise(),
    incomplete="ordinary numbers pass unchanged, so that signs do no harm where nothing is undefined",
)
def nan_to_num(call: Call) -> Answer:
    """Numbers in place of nan and infinities."""
    # Without numbers the largest and the smallest of the type stand in, which are opposite; nan becomes 0.
    # nan has no negative, so a number other than 0 in its place would be the same for both views.
    high, low = call.get("posinf"), call.get("neginf")
    opposite = high is low is None or (high is not None and low is not None and high == -low)
    return _odd_if(opposite and not call.get("nan", 0), call)


# ---- a slope per channel, and switches ----------------------------------------------------------------------------
@rule("prelu _prelu_kernel", "`+b +c +..., c -> +b +c +...`, or one slope for all", Pointwise("weight"))
def prelu(call: Call) -> Answer:
    """max(x, 0) + slope * min(x, 0), a slope per channel (axis 1) or one for all.

    Channels that the mirror exchanges need the same slope. Raises Conflict where the slopes are negated as a whole.
    """
    x, slope = call.operands
    if not call.solver.positive(slope.rep.sign):
        raise Conflict("the slope is negated", negated=True)
    # Traced code hands the slopes over with as many axes as the input.
    if slope.ndim != 1:
        return plain(call)
    if slope.shape != (1,):
        call.solver.equal(slope.rep.axes[0], x.rep.axes[1])
    return demand_plain(x.rep, call.solver)


_OFF = "dropout stays on in eval mode (F.dropout without training=self.training)"


@rule("rrelu", "`+... -> +...` switched off", Pointwise())
def rrelu(call: Call) -> Answer:
    """A leaky ReLU with the mean slope in eval mode."""
    demand_eval(call, "training", "rrelu stays random in eval mode (F.rrelu without training=self.training)")
    return plain(call)


@rule("dropout feature_dropout alpha_dropout feature_alpha_dropout native_dropout", "`... -> ...` switched off", Copy())
def dropout(call: Call) -> Answer:
    """The identity in eval mode. In a captured eval graph `train=True` means dropout that is never switched off."""
    demand_eval(call, "train", _OFF)
    return call.first(call.operands[0].rep)
