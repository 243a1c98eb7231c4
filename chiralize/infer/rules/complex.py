"""Complex numbers: real and imaginary parts, length and angle.

A sign negates both parts of a number, so that taking one part, or the conjugate, commutes with it. An angle turns by
pi.

    -(x + i y) = (-x) + i (-y)       parts and number carry the same T
    angle(-z) = angle(z) +- pi       neither odd nor even: no signs
    r exp(i t)                       odd in r; -t gives the conjugate, so t has no signs

Signs that negate the imaginary part alone (a conjugate) are no signs of the complex number; so the axis of both parts,
which `view_as_real` adds, has to stay as it is.
"""

from __future__ import annotations

from chiralize.infer.products import equal_sum, following
from chiralize.infer.registry import Call, Drawn, Results, normal, positive, sample
from chiralize.infer.rules._families import odd, op, plain, plain_of, pointwise, rule
from chiralize.symmetry.symbolic import SymbolicRepresentation, trivial

_z = Drawn((3, 4), "complex")
_sample = [sample(_z)]

pointwise(odd, "conjugate", "_conj conj conj_physical resolve_conj resolve_neg _neg_view _conj_physical", *_sample)
pointwise(odd, "real and imaginary part", "real imag", *_sample)
pointwise(plain, "angle of a complex number", "angle", *_sample, sample(normal(3, 4)))


@rule("pairs as complex numbers", "`... 1p -> ...` and back")
@op("view_as_complex", sample(normal(3, 4, 2)))
@op("view_as_real", *_sample)
def view_as(call: Call) -> Results:
    """Real and imaginary parts side by side along a last axis, which the mirror leaves alone."""
    rep = call.solver.representation(call.operands[0].rep)
    if call.target == "aten.view_as_real.default":
        return SymbolicRepresentation((*rep.axes, trivial(2)), rep.sign)
    call.solver.trivial(rep.axes[-1])
    return SymbolicRepresentation(rep.axes[:-1], rep.sign)


@rule("complex number", "`a, a -> a`")
@op("complex", sample(normal(3, 4), normal(3, 4)), sample(normal(3, 4), normal(4)))
def complex_(call: Call) -> Results:
    """x + i y."""
    return equal_sum(call.operands, call.shape, call.solver)


@rule("length and angle", "`a, |a| -> a`: odd in the length")
@op("polar", sample(positive(3, 4), normal(3, 4)), sample(positive(3, 4), normal(4)))
def polar(call: Call) -> Results:
    """r exp(i t)."""
    length, angle = call.operands
    return following(call.solver.representation(length.rep), plain_of(angle, call), call.solver)
