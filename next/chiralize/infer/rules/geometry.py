"""How do products of vectors in space transform, and distances between points?

A reflection P = diag(-1, 1, 1) turns a x b into (P a) x (P b) = det(P) P (a x b) = diag(1, -1, -1) (a x b): a cross
product is a pseudovector, as an axis of rotation is. Taken apart into products and differences it would lose its
handedness, so that it stays one op. Distances are the same whatever signed permutation acts on the coordinates of both
points.
"""

from __future__ import annotations

from math import prod

from chiralize.infer.algebra import equal_sum, even_of, multiplied, widened, without_axis
from chiralize.infer.rule import Answer, Call, Operand, rule
from chiralize.infer.solver.unify import times
from chiralize.infer.symbolic import (
    Axis,
    Conflict,
    Sign,
    Sum,
    SymbolicRepresentation,
    Wait,
    action_of,
    axis_size,
    is_known,
    sign_of,
    signed,
)


@rule(
    "linalg_cross cross",
    "`... a, ... a -> ... a'` with a' = det(a) a (a reflection turns it into a pseudovector), other axes multiplied "
    "entry by entry; without a dim in vectors alone, since else the batch is the axis where it has three samples",
)
def cross(call: Call) -> Answer:
    """Perpendicular to both vectors: (P a) x (P b) = det(P) P (a x b) for orthogonal P."""
    solver, ndim = call.solver, len(call.shape)
    left, right = (widened(rep, ndim) for rep in call.representations())
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
        action = action_of(space)
        return (-1) ** (len(action.pairs) + int((action.sign < 0).sum()))
    # (x) + (y) + (z), each with a sign of its own that may be unknown: det is x's sign times y's times z's.
    entries: list[Axis] = []
    for term in space:
        entries.extend(term.parts if isinstance(term, Sum) else ((term,),))
    if any(axis_size(entry) > 1 for entry in entries):
        return None
    return prod(sign_of(term) for entry in entries for term in entry)


@rule("cdist _cdist_forward", "`... +m a, ... +n a -> ... +m +n`")
def cdist(call: Call) -> Answer:
    """Length of every difference: signs of a coordinate are lost, and those that both tensors share."""
    solver, (a, b) = call.solver, call.representations()
    # Differences as "... m n a": the points of one tensor are stretched along those of the other.
    left = SymbolicRepresentation((*a.axes[:-1], (), a.axes[-1]), a.sign)
    right = SymbolicRepresentation((*b.axes[:-2], (), *b.axes[-2:]), b.sign)
    solver.sign_free(a.axes[-2])
    solver.sign_free(b.axes[-2])
    shape = (*call.shape, a.shape[-1])
    out = even_of(equal_sum([Operand(left), Operand(right)], shape, solver), solver)
    return SymbolicRepresentation(out.axes[:-1])
