"""Windows, triangles and resampling along axes whose order matters, mostly frames."""

from __future__ import annotations

from chiralize.rules._families import demand_plain, rule
from chiralize.rules._registry import Call, Results, Sample, normal
from chiralize.rules._terms import Conflict
from chiralize.symbolic import SymbolicRepresentation, trivial

_x = normal(2, 4, 6)
_square = normal(2, 3, 4)


@rule("pooling over frames", "aten.avg_pool1d.default", "aten.adaptive_avg_pool1d.default", "aten.max_pool1d.default",
      "aten.adaptive_max_pool1d.default",
      statement="`... 1t -> ... 1t` for means, `+... 1t -> +... 1t` for the largest",
      samples={"aten.avg_pool1d.default": [Sample((_x, [2])), Sample((_square, [2]))],
               "aten.adaptive_avg_pool1d.default": [Sample((_x, [2])), Sample((_x, [1]))],
               "aten.adaptive_max_pool1d.default": [Sample((_x, [2]))],
               "aten.max_pool1d.default": [Sample((_x, [2])), Sample((_square, [3], [1], [1]))]},
      incomplete="windows that a mirrored order maps onto each other are refused: frames stay in place")  # fmt: skip
def pool(call: Call) -> Results:
    """Windows along the last axis."""
    rep = call.solver.representation(call.operands[0].rep)
    if "max" in call.target:
        demand_plain(rep, call)
    if call.shape[-1] == 1 and "adaptive_avg" in call.target:
        call.solver.sign_free(rep.axes[-1])
    else:
        call.solver.trivial(rep.axes[-1])
    out = rep.with_axis(len(rep.axes) - 1, trivial(call.shape[-1]))
    return out if len(call.shapes) == 1 else (out, out)


@rule("resampling of frames", "aten.upsample_linear1d.vec", "aten.upsample_nearest1d.vec",
      statement="`... 1t -> ... 1t`",
      samples={"aten.upsample_linear1d.vec": [Sample((_x, [9], False, None))],
               "aten.upsample_nearest1d.vec": [Sample((_x, None, [2.0])), Sample((_square, [8], None))]},
      incomplete="frames stay in place; resampling could be mirrored")  # fmt: skip
def resample(call: Call) -> Results:
    """More or fewer frames by interpolation."""
    rep = call.solver.representation(call.operands[0].rep)
    call.solver.trivial(rep.axes[-1])
    return rep.with_axis(len(rep.axes) - 1, trivial(call.shape[-1]))


@rule("windows", "aten.unfold.default", statement="`... 1t -> ... 1t 1w`", samples=[Sample((_x, -1, 2, 1)),
    Sample((_square, 1, 2, 1))])  # fmt: skip
def unfold(call: Call) -> Results:
    """Sliding windows of an axis, along a new last one."""
    rep = call.solver.representation(call.operands[0].rep)
    dim = call.axis(call["dimension"], len(rep.axes))
    call.solver.trivial(rep.axes[dim])
    wide = rep.with_axis(dim, trivial(call.shape[dim]))
    return SymbolicRepresentation((*wide.axes, trivial(call.shape[-1])), wide.sign)


@rule("triangle", "aten.tril.default", "aten.triu.default", statement="`... 1m 1n -> ... 1m 1n`",
      samples=[Sample((_square,)), Sample((_square, 1))],
      incomplete="signs of rows and columns would pass, and the two empty rows or columns could swap")  # fmt: skip
def triangle(call: Call) -> Results:
    """Zero above or below a diagonal."""
    rep = call.solver.representation(call.operands[0].rep)
    if len(rep.axes) < 2:
        raise Conflict("a triangle of fewer than two axes")
    for axis in rep.axes[-2:]:
        call.solver.trivial(axis)
    return rep
