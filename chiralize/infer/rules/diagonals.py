"""Diagonals and triangles: two axes read together.

Entry (i, i) goes to (p(i), q(i)), which is on the diagonal where both axes are permuted alike; its sign is the product
of both. Off the diagonal, or above it, order decides which entries count: there both axes have to stay in place.

With rows acted on by (p, s) and columns by (p, t), p a permutation and s, t signs, the diagonal is acted on by
(p, s t). For A of 2 x 2 with rows exchanged, T = [[0, 1], [1, 0]], and columns exchanged and negated, S = -T:

    [[a, b], [c, d]]  goes to  [[-d, -c], [-b, -a]]     diagonal (a, d) to (-d, -a)

With the rows exchanged and the columns left, (c, b) would be on the diagonal, which (a, d) says nothing of.
"""

from __future__ import annotations

from chiralize.graph.traits import Layout, Movement
from chiralize.infer.products import multiply
from chiralize.infer.registry import Call, Results, normal, sample, zeros
from chiralize.infer.rules._families import incomplete, op, rule, tensor
from chiralize.infer.rules.writing import anchored, written
from chiralize.infer.solver.terms import Conflict
from chiralize.symmetry.symbolic import Axis, SymbolicRepresentation, trivial

_square = normal(2, 4, 4)
_rows = normal(2, 3, 4)


def _diagonal(call: Call, rep: SymbolicRepresentation, size: int) -> SymbolicRepresentation:
    """The diagonal of two axes, `dim1` and `dim2` of the call: they move alike, its entries carry the signs of both.

    size: entries of the diagonal.  Returns the other axes in their order, then the diagonal, as torch does.
    """
    solver, ndim = call.solver, len(rep.axes)
    first, second = call.axis(call.get("dim1", 0), ndim), call.axis(call.get("dim2", 1), ndim)
    rest = tuple(axis for position, axis in enumerate(rep.axes) if position not in (first, second))
    # Entry (i, i + 1) goes to (p(i), p(i + 1)), which is on the same diagonal only if p keeps neighbours in order.
    if call.get("offset", 0) or rep.shape[first] != rep.shape[second]:
        solver.trivial(rep.axes[first])
        solver.trivial(rep.axes[second])
        return SymbolicRepresentation((*rest, trivial(size)), rep.sign)
    both = multiply(rep.axes[first], rep.axes[second], solver)
    return solver.representation(SymbolicRepresentation((*rest, both), rep.sign))


@rule("diagonal", "`... a b -> ... ab`: both move alike, signs multiply; off the middle `... 1a 1b -> ... 1c`")
@incomplete("a diagonal off the middle could be reversed, and signs could pass there")
@op("diagonal", trait=Layout())
@op("diagonal diagonal_copy", sample(_square, 0, 1, 2), sample(_rows, 1, -2, -1), sample(normal(4, 4)))
def diagonal(call: Call) -> Results:
    """x[i, i]."""
    return _diagonal(call, call.solver.representation(call.operands[0].rep), call.shape[-1])


@rule("write into a diagonal", "`a b, ab -> a b`")
@op("diagonal_scatter", sample(normal(4, 4), normal(4)), sample(_square, zeros(2, 4), 0, 1, 2))
def diagonal_scatter(call: Call) -> Results:
    """x with another diagonal: the source has to transform as the diagonal that it replaces."""
    rep = anchored(tensor(call["self"]), call)
    source = tensor(call["src"])
    return written(call, rep, _diagonal(call, rep, source.shape[-1]), source)


@rule("diagonal matrix", "`... a -> ... a |a|`")
@incomplete("a diagonal off the middle could be reversed")
@op("diag_embed", sample(normal(3, 4)), sample(normal(3, 4), 0, 0, 1), sample(normal(3, 4), 1))
def diag_embed(call: Call) -> Results:
    """A matrix with the given diagonal, zero elsewhere."""
    solver = call.solver
    rep = solver.representation(call.operands[0].rep)
    ndim = len(call.shape)
    first, second = call.axis(call.get("dim1", -2), ndim), call.axis(call.get("dim2", -1), ndim)
    # Entry (i, i) carries the sign of i once: rows have it, columns have none.
    pair: tuple[Axis, Axis] = (rep.axes[-1], solver.absolute(rep.axes[-1]))
    # Off the middle the matrix is larger than the diagonal, and has rows without an entry of it: nothing moves there.
    if call.get("offset", 0):
        solver.trivial(rep.axes[-1])
        pair = (trivial(call.shape[first]), trivial(call.shape[second]))
    # From the front, so that the second of the two is inserted where it finally stands.
    axes = list(rep.axes[:-1])
    for position, axis in sorted(zip((first, second), pair, strict=True)):
        axes.insert(position, axis)
    return SymbolicRepresentation(tuple(axes), rep.sign)


@rule("triangle", "`... m n -> ... m n`: rows and columns stay in place, signs pass", trait=Movement(blends=True))
@incomplete("two empty rows or columns could swap")
@op("tril triu", sample(normal(2, 3, 4)), sample(normal(2, 3, 4), 1))
def triangle(call: Call) -> Results:
    """Zero above or below a diagonal."""
    rep = call.solver.representation(call.operands[0].rep)
    if len(rep.axes) < 2:
        raise Conflict("a triangle of fewer than two axes")
    # No row or column moves, but each may be negated as a whole: zeros stay zeros.
    for axis in rep.axes[-2:]:
        call.solver.trivial(call.solver.absolute(axis))
    return rep


@rule("trace", "`a |a| ->`")
@op("trace", sample(normal(4, 4)))
def trace(call: Call) -> Results:
    """Sum of the diagonal."""
    solver = call.solver
    rep = solver.representation(call.operands[0].rep)
    if call.operands[0].shape[0] != call.operands[0].shape[1]:
        raise Conflict("the trace of a matrix that is not square")
    # The diagonal as an axis, which is then summed over: signs along it would change the sum.
    solver.sign_free(multiply(rep.axes[0], rep.axes[1], solver))
    return SymbolicRepresentation((), rep.sign)
