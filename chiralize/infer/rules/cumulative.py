"""Running sums, products and extrema, differences of neighbours: along axes whose order matters.

Entry k of a running sum is the sum of entries 0 to k: exchange two entries, and sums between them change. Along other
axes sums and differences are linear, so that signs pass; of extrema and products they do not.

    (a, b, c) has the running sums (a, a + b, a + b + c), (b, a, c) has (b, a + b, a + b + c)

The second is no permutation of the first, so the axis stays as it is.
"""

from __future__ import annotations

from chiralize.graph.traits import Movement
from chiralize.infer.registry import Call, Results, normal, sample
from chiralize.infer.rules._families import incomplete, op, plain_of, rule
from chiralize.infer.solver.terms import Conflict
from chiralize.symmetry.symbolic import trivial

_x = normal(3, 4)


@rule("running extremum", "`+... 1a -> +... 1a`")
@incomplete("signs of other axes would pass a product with an odd number of factors only")
@op("cummax cummin", sample(_x, 1), sample(_x, 0, read={0}))
@op("cumprod logcumsumexp", sample(_x, 1))
def running(call: Call) -> Results:
    """The largest so far, or a function of all entries so far."""
    rep = plain_of(call.operands[0], call)
    call.solver.trivial(rep.axes[call.axis(call["dim"], len(rep.axes))])
    if len(call.shapes) > 1:
        return (rep,) * len(call.shapes)
    return rep


@rule("cumulative sum", "`... 1a -> ... 1a`")
@incomplete("a difference of two entries could be reversed")
@op("cumsum", sample(_x, 1), sample(_x, 0), trait=Movement(blends=True))
@op("diff", sample(_x, 1, 1, normal(3, 1)), sample(_x, 1, 1), sample(_x, 1, 0))
def cumulative(call: Call) -> Results:
    """Running sum, differences of neighbours: the order of the axis matters."""
    solver = call.solver
    rep = solver.representation(call.operands[0].rep)
    dim = call.axis(call.get("dim", -1), len(rep.axes))
    solver.trivial(rep.axes[dim])
    # `prepend` and `append` of `diff` stand in the same row, so they carry what the tensor carries along other axes.
    for other in call.operands[1:]:
        other_rep = solver.representation(other.rep)
        solver.trivial(other_rep.axes[dim])
        sign = rep.sign * other_rep.sign
        for position, axis in enumerate(other_rep.axes):
            if position != dim:
                sign = solver.same(axis, rep.axes[position], sign)
        if not solver.positive(sign):
            raise Conflict("differences with something put before or behind that is negated", negated=True)
    return rep.with_axis(dim, trivial(call.shape[dim]))
