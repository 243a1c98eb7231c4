"""Lengths and distances: signs do not matter, permutations do not either."""

from __future__ import annotations

from chiralize.infer.products import equal_sum, multiplied
from chiralize.infer.registry import Call, Results, Sample, normal, positive
from chiralize.infer.rules._families import even_of, rule, tensor
from chiralize.infer.rules.reduction import without
from chiralize.infer.solver.terms import Conflict
from chiralize.symmetry.symbolic import SymbolicRepresentation

_x = normal(3, 4)


def _rep(call: Call, name: str) -> SymbolicRepresentation:
    return call.solver.representation(tensor(call[name]).rep)


@rule("norm of a matrix or vector", "aten.linalg_norm.default", "aten.linalg_norm.ord_str",
      "aten.linalg_matrix_norm.default", "aten.linalg_matrix_norm.str_ord", "aten.norm.ScalarOpt_dim",
      "aten.norm.Scalar",
      statement="`... a b -> |...|`",
      samples={"aten.linalg_norm.default": [Sample((_x, None, [-1])), Sample((normal(2, 3, 4), 1, [1, 2], True)),
                                            Sample((_x, 2)), Sample((_x,))],
               "aten.linalg_norm.ord_str": [Sample((normal(2, 3, 4), "nuc", [1, 2])), Sample((_x, "fro"))],
               "aten.linalg_matrix_norm.default": [Sample((normal(2, 3, 4), 2))],
               "aten.linalg_matrix_norm.str_ord": [Sample((normal(2, 3, 4), "fro"))],
               "aten.norm.ScalarOpt_dim": [Sample((_x, 2, [1])), Sample((_x, 1, [0], True))],
               "aten.norm.Scalar": [Sample((_x, 2))]})  # fmt: skip
def norm(call: Call) -> Results:
    """Signed permutations of rows and columns change no norm (they are orthogonal, and so for 1 and infinity)."""
    rep = even_of(call.operands[0], call.solver)
    dim = call.get("dim")
    ndim = len(rep.axes)
    dims = {call.axis(item, ndim) for item in (dim if isinstance(dim, (list, tuple)) else [dim])} if dim else set()
    if dim is None and ("matrix_norm" in call.target):
        dims = {ndim - 2, ndim - 1}
    return without(call, rep, dims or set(range(ndim)))


@rule("distance", "aten.dist.default", statement="`a, a ->`",
      samples=[Sample((_x, normal(3, 4))), Sample((_x, normal(3, 4), 1))])  # fmt: skip
def dist(call: Call) -> Results:
    """|x - y| over all entries."""
    equal_sum(call.operands, call.operands[0].shape, call.solver)
    return SymbolicRepresentation(())


@rule("bounded norm", "aten.renorm.default", statement="`... -> ...`",
      samples=[Sample((_x, 2, 1, 1.0)), Sample((_x, 1, 0, 2.0))])  # fmt: skip
def renorm(call: Call) -> Results:
    """Slices along an axis are scaled down where their norm is too large."""
    return call.operands[0].rep


@rule("weight norm", "aten._weight_norm.default", "aten._weight_norm_interface.default",
      statement="`... a ..., |a| -> ... a ...`: the length of every slice is given by itself",
      samples={"aten._weight_norm.default": [Sample((normal(4, 3), positive(4, 1), 0)),
                                             Sample((normal(4, 3), positive(1, 3), 1)),
                                             Sample((normal(4, 3, 2), normal(4, 1, 1), 0))],
               "aten._weight_norm_interface.default": [Sample((normal(4, 3), positive(4, 1), 0),
                                                              read=frozenset({0}))]},
      incomplete="lengths of either sign are never needed")  # fmt: skip
def weight_norm(call: Call) -> Results:
    """g v / |v|, the norm over all axes but one."""
    solver = call.solver
    direction, length = _rep(call, "v"), _rep(call, "g")
    found = solver.representation(multiplied(direction, _plain(length, call), solver))
    return found if len(call.shapes) == 1 else (found, None)


def _plain(rep: SymbolicRepresentation, call: Call) -> SymbolicRepresentation:
    """Lengths carry no signs: those of the weight belong to its direction."""
    if not call.solver.positive(rep.sign):
        raise Conflict("all lengths are negated", negated=True)
    for axis in rep.axes:
        call.solver.sign_free(axis)
    return rep
