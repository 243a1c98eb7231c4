"""Numbers that belong to a matrix however its rows and columns are turned: its determinant, its singular values.

Eigenvalues of a symmetric matrix are no such rule: torch reads one of its triangles, whatever the other holds.

With P on rows and Q on columns, det(P A Q) = det(P) det(Q) det(A), and the determinant of a signed permutation is 1 or
-1. Where P = Q both cancel, known or not; -A has det(A) in an even number of rows and -det(A) in an odd one.

    det [[a, b], [c, d]] = a d - b c        rows exchanged: det [[c, d], [a, b]] = -(a d - b c)
    rows and columns exchanged: a d - b c   as with P = Q

Some ops return the factors of a decomposition as well, which are not unique. Of these nothing is said, and nobody may
read them. Samples name the outputs in use with `read`.
"""

from __future__ import annotations

from chiralize.infer.registry import Call, Results, normal, sample
from chiralize.infer.rules._families import first_outputs, op, rule
from chiralize.infer.rules.geometry import handedness
from chiralize.infer.solver.terms import Conflict, Wait
from chiralize.symmetry.symbolic import Sign, SymbolicRepresentation, trivial

_square = normal(2, 4, 4)


def _turned(rep: SymbolicRepresentation, call: Call) -> Sign:
    """det of what the mirror does to rows and columns, and to the matrix as a whole: 1 or -1, or a sign still open.

    Raises Wait where rows and columns differ and are not both known.
    """
    rows, columns = (call.solver.resolve(axis) for axis in rep.axes[-2:])
    common = rep.sign if rep.shape[-1] % 2 else 1
    # det(P) det(P) = 1, even while P is unknown: A A' has the rows of A for rows and columns.
    if rows == columns:
        return common
    first, second = handedness(rows), handedness(columns)
    if first is None or second is None:
        raise Wait("the axes of a determinant are not known yet")
    return common * first * second


def _batch(rep: SymbolicRepresentation, call: Call) -> SymbolicRepresentation:
    """The axes before rows and columns, and no sign for the whole, which `_turned` has.

    A batch axis with signs negates whole matrices: an even number of rows loses these signs, an odd one keeps them.
    """
    axes = rep.axes[:-2]
    return SymbolicRepresentation(axes if rep.shape[-1] % 2 else tuple(map(call.solver.absolute, axes)))


def _demand_unread(call: Call, first: int, what: str) -> None:
    """Nobody may use the outputs from `first` on. Raises Conflict."""
    if any(call.reads(output) for output in range(first, len(call.shapes))):
        raise Conflict(f"{what} are not determined by the matrix alone: each may come with either sign or order")


@rule("determinant", "`... a b -> ...` times det(a) det(b)")
@op("_linalg_det", sample(_square, read={0}), sample(normal(3, 3), read={0}))
@op("linalg_det det", sample(_square))
def determinant(call: Call) -> Results:
    """det(P A Q) = det(P) det(A) det(Q)."""
    rep = call.solver.representation(call.operands[0].rep)
    _demand_unread(call, 1, "the factors of a matrix")
    out = SymbolicRepresentation(_batch(rep, call).axes, _turned(rep, call))
    return first_outputs(call, out)


@rule("sign and logarithm of a determinant", "`... a b -> ..., |...|`, the sign times det(a) det(b)")
@op("_linalg_slogdet", sample(_square, read={0, 1}))
@op("linalg_slogdet", sample(_square), sample(normal(3, 3)))
def slogdet(call: Call) -> Results:
    """The sign as the determinant's, the logarithm of its size without signs."""
    rep = call.solver.representation(call.operands[0].rep)
    _demand_unread(call, 2, "the factors of a matrix")
    size = SymbolicRepresentation(tuple(map(call.solver.absolute, rep.axes[:-2])))
    # The logarithm needs no orientation: where nobody reads the sign there is nothing to wait for.
    if call.reads(0):
        sign = SymbolicRepresentation(_batch(rep, call).axes, _turned(rep, call))
    else:
        sign = None
    return first_outputs(call, sign, size)


@rule("singular values", "`... a b -> |...| 1k`; singular vectors are determined up to their signs only")
@op("_linalg_svd", sample(normal(2, 3, 4), read={1}))
@op("linalg_svdvals", sample(normal(2, 3, 4)), sample(normal(4, 4)))
def singular_values(call: Call) -> Results:
    """By size: turning rows and columns changes none of them."""
    # `svdvals` returns the values, `_linalg_svd` (left vectors, values, right vectors).
    rep = call.solver.representation(call.operands[0].rep)
    output = 0 if len(call.shapes) == 1 else 1
    if len(call.shapes) > 1 and (call.reads(0) or call.reads(2)):
        _demand_unread(call, 0, "singular vectors")
    # Sorted, the largest first: position 0 is the largest for A and for P A Q, so that the mirror moves none.
    axes = (*map(call.solver.absolute, rep.axes[:-2]), trivial((call.shapes[output] or (1,))[-1]))
    out = SymbolicRepresentation(axes)
    if len(call.shapes) == 1:
        return out
    return None, out, None
