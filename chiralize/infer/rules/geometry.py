"""Products of vectors in space, and distances between points."""

from __future__ import annotations

from math import prod

from chiralize.infer.products import equal_sum, multiplied
from chiralize.infer.registry import Call, Operand, Results, Sample, normal
from chiralize.infer.rules._families import even_of, rule
from chiralize.infer.solver.terms import Conflict, Wait, product
from chiralize.infer.solver.unify import times
from chiralize.symmetry.symbolic import Axis, Sign, Sum, SymbolicRepresentation, axis_size, is_known, sign_of, signed

_CROSS = [Sample((normal(4, 3), normal(4, 3)), {"dim": -1}), Sample((normal(3, 2), normal(3, 2)), {"dim": 0}),
          Sample((normal(2, 4, 3), normal(1, 4, 3)), {"dim": 2})]  # fmt: skip


@rule("cross product", "aten.linalg_cross.default", "aten.cross.default",
      statement="`... a, ... a -> ... a'` with a' = det(a) a (a reflection turns it into a pseudovector), other axes "
                "multiplied entry by entry; without a dim in vectors alone, since else the batch is the axis where it "
                "has three samples",
      samples={"aten.linalg_cross.default": _CROSS,
               "aten.cross.default": [*_CROSS, Sample((normal(3), normal(3)))]})  # fmt: skip
def cross(call: Call) -> Results:
    """Perpendicular to both vectors: (P a) x (P b) = det(P) P (a x b) for orthogonal P."""
    solver, ndim = call.solver, len(call.shape)
    reps = [solver.representation(operand.rep) for operand in call.operands]
    left, right = (SymbolicRepresentation(((),) * (ndim - len(rep.axes)) + rep.axes, rep.sign) for rep in reps)
    given = call.get("dim", -1 if "linalg" in call.target else None)
    if given is None and ndim > 1:
        raise Conflict("torch.cross takes the first axis of size 3, which may be the batch: name one (dim=-1)")
    dim = call.axis(given or 0, ndim)
    sign = solver.paired(left.axes[dim], right.axes[dim], call.at("pair"))
    space = solver.resolve(left.axes[dim])
    rest = [SymbolicRepresentation(rep.axes[:dim] + rep.axes[dim + 1 :], rep.sign) for rep in (left, right)]
    out = multiplied(rest[0], rest[1], solver)
    axes = (*out.axes[:dim], _pseudovector(space, call), *out.axes[dim:])
    return solver.representation(SymbolicRepresentation(axes, sign * out.sign))


def _pseudovector(space: Axis, call: Call) -> Axis:
    """det(P) P. Until P is known, it is either P or -P, and always the same."""
    solver, orientation = call.solver, handedness(space)
    if orientation is not None:
        axial = times(space, orientation)
    elif call.key:
        axial = signed(space, solver.kept_sign(call.at("orientation")))
    else:
        raise Wait("the axis of a cross product is not known yet")
    if call.key:
        solver.equal(solver.kept(call.at("axial"), 3, signed=True), axial)
    return axial


def handedness(space: Axis) -> Sign | None:
    """det(P): every pair and every sign changes it; None where more than its signs is unknown."""
    if is_known(space):
        action = product(space)
        return (-1) ** (len(action.pairs) + int((action.sign < 0).sum()))
    entries = [part for term in space for part in (term.parts if isinstance(term, Sum) else ((term,),))]
    if any(axis_size(entry) > 1 for entry in entries):
        return None
    return prod(sign_of(term) for entry in entries for term in entry)


@rule("distances between points", "aten.cdist.default", statement="`... +m a, ... +n a -> ... +m +n`",
      samples=[Sample((normal(3, 4), normal(2, 4))), Sample((normal(4, 3), normal(4, 3), 1.0)),
               Sample((normal(2, 3, 2), normal(2, 4, 2)))])  # fmt: skip
def cdist(call: Call) -> Results:
    """Length of every difference: signs of a coordinate are lost, and those that both tensors share."""
    solver = call.solver
    a, b = (solver.representation(operand.rep) for operand in call.operands)
    left = SymbolicRepresentation((*a.axes[:-1], (), a.axes[-1]), a.sign)
    right = SymbolicRepresentation((*b.axes[:-2], (), *b.axes[-2:]), b.sign)
    solver.sign_free(a.axes[-2])
    solver.sign_free(b.axes[-2])
    shape = (*call.shape, a.shape[-1])
    out = even_of(Operand(equal_sum([Operand(left), Operand(right)], shape, solver)), solver)
    return SymbolicRepresentation(out.axes[:-1])


@rule("distance of two points", "aten.pairwise_distance.default",
      statement="`... a, ... a -> ...`; no signs where a number is added to the difference (eps)",
      samples=[Sample((normal(3, 4), normal(3, 4))), Sample((normal(3, 4), normal(4), 2.0, 0.0, True)),
               Sample((normal(4, 3), normal(4, 3), 1.0, 0.0))])  # fmt: skip
def pairwise_distance(call: Call) -> Results:
    """Length of the difference along the last axis."""
    solver = call.solver
    shape = max((operand.shape for operand in call.operands), key=len)
    difference = solver.representation(equal_sum(call.operands, shape, solver))
    if call.get("eps", 1e-6):
        if not solver.positive(difference.sign):
            raise Conflict("all entries are negated", negated=True)
        for axis in difference.axes:
            solver.sign_free(axis)
    axes = even_of(Operand(difference), solver).axes[:-1]
    return SymbolicRepresentation((*axes, ()) if call.get("keepdim", False) else axes)
