"""Complex numbers: real and imaginary parts, length and angle."""

from __future__ import annotations

from chiralize.infer.products import equal_sum, following
from chiralize.infer.registry import Call, Drawn, Results, Sample, normal, positive
from chiralize.infer.rules._families import odd, plain, plain_of, pointwise, rule
from chiralize.symmetry.symbolic import SymbolicRepresentation, trivial

_z = Drawn((3, 4), "complex")
_sample = [Sample((_z,))]

pointwise(odd, "conjugate", "aten._conj.default", "aten.conj.default", "aten.conj_physical.default",
          "aten.resolve_conj.default", "aten.resolve_neg.default", "aten._neg_view.default",
          "aten._conj_physical.default", samples=_sample)  # fmt: skip
pointwise(odd, "real and imaginary part", "aten.real.default", "aten.imag.default", samples=_sample)
pointwise(plain, "angle of a complex number", "aten.angle.default", samples=[*_sample, Sample((normal(3, 4),))])


@rule("pairs as complex numbers", "aten.view_as_complex.default", "aten.view_as_real.default",
      statement="`... 1p -> ...` and back",
      samples={"aten.view_as_complex.default": [Sample((normal(3, 4, 2),))],
               "aten.view_as_real.default": _sample})  # fmt: skip
def view_as(call: Call) -> Results:
    """Real and imaginary parts side by side along a last axis, which the mirror leaves alone."""
    rep = call.solver.representation(call.operands[0].rep)
    if call.target == "aten.view_as_real.default":
        return SymbolicRepresentation((*rep.axes, trivial(2)), rep.sign)
    call.solver.trivial(rep.axes[-1])
    return SymbolicRepresentation(rep.axes[:-1], rep.sign)


@rule("complex number", "aten.complex.default", statement="`a, a -> a`",
      samples=[Sample((normal(3, 4), normal(3, 4))), Sample((normal(3, 4), normal(4)))])  # fmt: skip
def complex_(call: Call) -> Results:
    """x + i y."""
    return equal_sum(call.operands, call.shape, call.solver)


@rule("length and angle", "aten.polar.default", statement="`a, |a| -> a`: odd in the length",
      samples=[Sample((positive(3, 4), normal(3, 4))), Sample((positive(3, 4), normal(4)))])  # fmt: skip
def polar(call: Call) -> Results:
    """r exp(i t)."""
    length, angle = call.operands
    return following(call.solver.representation(length.rep), plain_of(angle, call), call.solver)
