"""Lengths and distances: signs do not matter, permutations do not either.

|T x| = |x| along the axes that the length is taken of, so they may carry anything and are gone from the result; signs
of other axes are lost, since a length has none.

    |(a, b)| = |(-b, -a)|           any signed permutation along the axis of the length
    |x - y| = |T x - T y|           the same one on both: in `dist` x and y are compared, signs included
    W = g v / |v|                   the direction v carries what W carries; lengths g are permuted with the slices
"""

from __future__ import annotations

from chiralize.infer.products import equal_sum, multiplied
from chiralize.infer.registry import Call, Results, normal, positive, sample
from chiralize.infer.rules._families import even_of, first_outputs, incomplete, op, rule, tensor
from chiralize.infer.rules.reduction import without
from chiralize.infer.solver.terms import Conflict
from chiralize.symmetry.symbolic import SymbolicRepresentation

_x = normal(3, 4)


def _rep(call: Call, name: str) -> SymbolicRepresentation:
    """How the tensor argument called `name` transforms, as far as is known by now."""
    return call.solver.representation(tensor(call[name]).rep)


@rule("norm of a matrix or vector", "`... a b -> |...|`")
@op("linalg_norm", sample(_x, None, [-1]), sample(normal(2, 3, 4), 1, [1, 2], True), sample(_x, 2), sample(_x))
@op("linalg_norm.ord_str", sample(normal(2, 3, 4), "nuc", [1, 2]), sample(_x, "fro"))
@op("linalg_matrix_norm", sample(normal(2, 3, 4), 2))
@op("linalg_matrix_norm.str_ord", sample(normal(2, 3, 4), "fro"))
@op("norm.ScalarOpt_dim", sample(_x, 2, [1]), sample(_x, 1, [0], True))
@op("norm.Scalar", sample(_x, 2))
def norm(call: Call) -> Results:
    """Signed permutations of rows and columns change no norm (they are orthogonal, and so for 1 and infinity)."""
    rep = even_of(call.operands[0], call.solver)
    dims, ndim = call.get("dim"), len(rep.axes)
    if dims:
        return without(call, rep, call.axes(dims, ndim))
    # Without dims a matrix norm is one of the last two axes, with batches before them; other norms are of all entries.
    is_matrix = dims is None and "matrix_norm" in call.target
    return without(call, rep, range(ndim - 2, ndim) if is_matrix else range(ndim))


@rule("distance", "`a, a ->`")
@op("dist", sample(_x, normal(3, 4)), sample(_x, normal(3, 4), 1))
def dist(call: Call) -> Results:
    """|x - y| over all entries: one number, which the mirror leaves as it is if it does the same to x and y."""
    equal_sum(call.operands, call.operands[0].shape, call.solver)
    return SymbolicRepresentation(())


@rule("bounded norm", "`... -> ...`")
@op("renorm", sample(_x, 2, 1, 1.0), sample(_x, 1, 0, 2.0))
def renorm(call: Call) -> Results:
    """Slices along an axis are scaled down where their norm is too large.

    The norm of a slice is the same in both views, and so is the factor: any representation passes.
    """
    return call.operands[0].rep


@rule("weight norm", "`... a ..., |a| -> ... a ...`: the length of every slice is given by itself")
@incomplete("lengths of either sign are never needed")
@op("_weight_norm", sample(normal(4, 3), positive(4, 1), 0), sample(normal(4, 3), positive(1, 3), 1))
@op("_weight_norm", sample(normal(4, 3, 2), normal(4, 1, 1), 0))
@op("_weight_norm_interface", sample(normal(4, 3), positive(4, 1), 0, read={0}))
def weight_norm(call: Call) -> Results:
    """g v / |v|, the norm over all axes but one."""
    # |v| takes no notice of signed permutations inside a slice, and is even: the result is v times lengths.
    solver = call.solver
    direction, length = _rep(call, "v"), _rep(call, "g")
    rep = solver.representation(multiplied(direction, _plain(length, call), solver))
    return first_outputs(call, rep)


def _plain(rep: SymbolicRepresentation, call: Call) -> SymbolicRepresentation:
    """Lengths carry no signs: those of the weight belong to its direction. Raises Conflict where they carry any."""
    if not call.solver.positive(rep.sign):
        raise Conflict("all lengths are negated", negated=True)
    for axis in rep.axes:
        call.solver.sign_free(axis)
    return rep
