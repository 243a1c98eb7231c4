"""Products of vectors in space, and distances between points.

A reflection P = diag(-1, 1, 1) turns a x b into (P a) x (P b) = det(P) P (a x b) = diag(1, -1, -1) (a x b): a cross
product is a pseudovector, as an axis of rotation is. Distances are the same whatever signed permutation acts on the
coordinates of both points.
"""

from __future__ import annotations

from math import prod

from chiralize.infer.products import equal_sum, multiplied, widened, without_axis
from chiralize.infer.registry import Call, Operand, Results, demand_plain, normal, sample
from chiralize.infer.rules._families import even_of, op, representations, rule
from chiralize.infer.solver.terms import Conflict, Wait, product
from chiralize.infer.solver.unify import times
from chiralize.symmetry.symbolic import Axis, Sign, Sum, SymbolicRepresentation, axis_size, is_known, sign_of, signed

_CROSS = [
    sample(normal(4, 3), normal(4, 3), dim=-1),
    sample(normal(3, 2), normal(3, 2), dim=0),
    sample(normal(2, 4, 3), normal(1, 4, 3), dim=2),
]


@rule(
    "cross product",
    "`... a, ... a -> ... a'` with a' = det(a) a (a reflection turns it into a pseudovector), other axes "
    "multiplied entry by entry; without a dim in vectors alone, since else the batch is the axis where it has "
    "three samples",
)
@op("linalg_cross", *_CROSS)
@op("cross", *_CROSS, sample(normal(3), normal(3)))
def cross(call: Call) -> Results:
    """Perpendicular to both vectors: (P a) x (P b) = det(P) P (a x b) for orthogonal P."""
    solver, ndim = call.solver, len(call.shape)
    left, right = (widened(rep, ndim) for rep in representations(call))
    # Without a dim `linalg_cross` takes the last axis, and `cross` the first one of three entries.
    given = call.get("dim", -1 if "linalg" in call.target else None)
    if given is None and ndim > 1:
        raise Conflict("torch.cross takes the first axis of size 3, which may be the batch: name one (dim=-1)")
    dim = call.axis(given or 0, ndim)
    # Both vectors lie in one space. The product is odd in each: a sign by which they differ is one of the result.
    sign = solver.paired(left.axes[dim], right.axes[dim], call.at("pair"))
    space = solver.resolve(left.axes[dim])
    out = multiplied(without_axis(left, dim), without_axis(right, dim), solver)
    axes = (*out.axes[:dim], _pseudovector(space, call), *out.axes[dim:])
    return solver.representation(SymbolicRepresentation(axes, sign * out.sign))


def _pseudovector(space: Axis, call: Call) -> Axis:
    """det(P) P. Until P is known, it is either P or -P, and always the same.

    So what is unknown is one sign, which belongs to this place of the graph; readers of the product may decide it.
    """
    solver, orientation = call.solver, handedness(space)
    if orientation is not None:
        axial = times(space, orientation)
    elif call.key:
        axial = signed(space, solver.sign_at(call.at("orientation")))
    else:
        raise Wait("the axis of a cross product is not known yet")
    if call.key:
        solver.equal(solver.unknown_at(call.at("axial"), 3, signed=True), axial)
    return axial


def handedness(space: Axis) -> Sign | None:
    """det(P): every pair and every sign changes it; None where more than its signs is unknown.

    An axis that was cut into single entries has unknown signs and exchanges nothing: its determinant is their product.
    """
    if is_known(space):
        action = product(space)
        return (-1) ** (len(action.pairs) + int((action.sign < 0).sum()))
    # (x) + (y) + (z), each with a sign of its own that may be unknown: det is x's sign times y's times z's.
    entries: list[Axis] = []
    for term in space:
        entries.extend(term.parts if isinstance(term, Sum) else ((term,),))
    if any(axis_size(entry) > 1 for entry in entries):
        return None
    return prod(sign_of(term) for entry in entries for term in entry)


@rule("distances between points", "`... +m a, ... +n a -> ... +m +n`")
@op("cdist", sample(normal(3, 4), normal(2, 4)), sample(normal(4, 3), normal(4, 3), 1.0))
@op("cdist", sample(normal(2, 3, 2), normal(2, 4, 2)))
def cdist(call: Call) -> Results:
    """Length of every difference: signs of a coordinate are lost, and those that both tensors share."""
    solver = call.solver
    a, b = representations(call)
    # Differences as "... m n a": the points of one tensor are stretched along those of the other.
    left = SymbolicRepresentation((*a.axes[:-1], (), a.axes[-1]), a.sign)
    right = SymbolicRepresentation((*b.axes[:-2], (), *b.axes[-2:]), b.sign)
    solver.sign_free(a.axes[-2])
    solver.sign_free(b.axes[-2])
    shape = (*call.shape, a.shape[-1])
    out = even_of(Operand(equal_sum([Operand(left), Operand(right)], shape, solver)), solver)
    return SymbolicRepresentation(out.axes[:-1])


@rule("distance of two points", "`... a, ... a -> ...`; no signs where a number is added to the difference (eps)")
@op("pairwise_distance", sample(normal(3, 4), normal(3, 4)), sample(normal(3, 4), normal(4), 2.0, 0.0, True))
@op("pairwise_distance", sample(normal(4, 3), normal(4, 3), 1.0, 0.0))
def pairwise_distance(call: Call) -> Results:
    """Length of the difference along the last axis."""
    solver = call.solver
    shape = max((operand.shape for operand in call.operands), key=len)
    difference = solver.representation(equal_sum(call.operands, shape, solver))
    # |x - y + eps|: the same number is added to negated differences and to others.
    if call.get("eps", 1e-6):
        demand_plain(difference, call)
    axes = even_of(Operand(difference), solver).axes[:-1]
    return SymbolicRepresentation((*axes, ()) if call.get("keepdim", False) else axes)
