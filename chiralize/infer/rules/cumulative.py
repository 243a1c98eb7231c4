"""Running sums, products and extrema, differences of neighbours: along axes whose order matters."""

from __future__ import annotations

from chiralize.infer.registry import Call, Results, Sample, normal
from chiralize.infer.rules._families import plain_of, rule
from chiralize.infer.solver.terms import Conflict
from chiralize.symmetry.symbolic import trivial

_x = normal(3, 4)


@rule("running extremum", "aten.cummax.default", "aten.cummin.default", "aten.cumprod.default",
      "aten.logcumsumexp.default", statement="`+... 1a -> +... 1a`",
      samples={"aten.cumprod.default": [Sample((_x, 1))], "aten.logcumsumexp.default": [Sample((_x, 1))],
               **{f"aten.{name}.default": [Sample((_x, 1)), Sample((_x, 0), read=frozenset({0}))]
                  for name in ("cummax", "cummin")}},
      incomplete="signs of other axes would pass a product with an odd number of factors only")  # fmt: skip
def running(call: Call) -> Results:
    """The largest so far, or a function of all entries so far."""
    rep = plain_of(call.operands[0], call)
    call.solver.trivial(rep.axes[call.axis(call["dim"], len(rep.axes))])
    return (rep,) * len(call.shapes) if len(call.shapes) > 1 else rep


@rule("cumulative sum", "aten.cumsum.default", "aten.diff.default", statement="`... 1a -> ... 1a`",
      samples={
          "aten.cumsum.default": [Sample((_x, 1)), Sample((_x, 0))],
          "aten.diff.default": [Sample((_x, 1, 1, normal(3, 1))), Sample((_x, 1, 1)), Sample((_x, 1, 0))]},
      incomplete="a difference of two entries could be reversed")  # fmt: skip
def cumulative(call: Call) -> Results:
    """Running sum, differences of neighbours: the order of the axis matters."""
    solver = call.solver
    rep = solver.representation(call.operands[0].rep)
    dim = call.axis(call.get("dim", -1), len(rep.axes))
    solver.trivial(rep.axes[dim])
    for other in call.operands[1:]:  # put before or behind
        own = solver.representation(other.rep)
        solver.trivial(own.axes[dim])
        sign = rep.sign * own.sign
        for place, axis in enumerate(own.axes):
            if place != dim:
                sign = solver.same(axis, rep.axes[place], sign)
        if not solver.positive(sign):
            raise Conflict("differences with something put before or behind that is negated", negated=True)
    return rep.with_axis(dim, trivial(call.shape[dim]))
