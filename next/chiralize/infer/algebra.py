"""How do representations meet in sums, products and contractions?

    x + y     T x + T y is a mirrored sum if both carry the same T: axis by axis the same, signs included
    x * y     both carry the same permutation P, with signs s and t of their own: the product carries P with s t
    x, w      w follows x: it carries |T|, the permutation of x without signs (a gate, an exponent, an angle's x)
    x @ w     along the axis that is summed over both carry the same T, and the axes that are left go to the result

Broadcasting makes an axis of one entry longer. Along it the other operand decides; a sum demands no signs there, since
one number is added to entries that are negated and to others.

Unknown factors of a product are the hard case: nothing says which of two carries a sign. One is taken to carry none,
at once or as late as possible (`at_once`).
"""

from __future__ import annotations

from collections.abc import Sequence

from chiralize.infer.rule import Call, Operand, Shape, demand_plain
from chiralize.infer.solver.unify import Solver
from chiralize.infer.symbolic import (
    Abs,
    Axis,
    Conflict,
    Known,
    Sign,
    Sum,
    SymbolicRepresentation,
    Term,
    Var,
    Wait,
    action_of,
    is_known,
    known_axis,
    part_ends,
    trivial,
    var_of,
)
from chiralize.symmetry.involution import SignedPermutation

Column = tuple[Axis | None, Axis | None]
"""The axes of two operands at one place of the result; None: it is stretched there."""
Sides = tuple[bool, bool]
"""For each of two factors."""


# ---- axes ---------------------------------------------------------------------------------------------------------
def left_alone(shape: Shape, sign: Sign = 1) -> SymbolicRepresentation:
    """The representation that moves no entry, whatever the sign of the tensor as a whole."""
    return SymbolicRepresentation(tuple(map(trivial, shape)), sign)


def widened(rep: SymbolicRepresentation, ndim: int) -> SymbolicRepresentation:
    """The representation with the leading axes of one entry that broadcasting to `ndim` axes adds."""
    return SymbolicRepresentation(((),) * (ndim - len(rep.axes)) + rep.axes, rep.sign)


def without_axis(rep: SymbolicRepresentation, dim: int) -> SymbolicRepresentation:
    """The representation of a tensor that loses an axis; the sign of the whole tensor stays."""
    return SymbolicRepresentation(rep.axes[:dim] + rep.axes[dim + 1 :], rep.sign)


def even_of(rep: SymbolicRepresentation, solver: Solver) -> SymbolicRepresentation:
    """The representation without its signs, |T|."""
    return SymbolicRepresentation(tuple(solver.absolute(axis) for axis in solver.representation(rep).axes))


def stretched(rep: SymbolicRepresentation, shape: Shape) -> SymbolicRepresentation:
    """Repeated along the axes that the shape has and the representation has not."""
    axes = widened(rep, len(shape)).axes
    wide = tuple(axis or trivial(size) for axis, size in zip(axes, shape, strict=True))
    return SymbolicRepresentation(wide, rep.sign)


def _align(left: SymbolicRepresentation, right: SymbolicRepresentation) -> list[Column]:
    """For every axis of the broadcast result the two axes there; None where one is broadcast along it.

    The empty axis has one entry: next to a longer one it is stretched, next to another one it stays.
    """
    ndim = max(len(left.axes), len(right.axes))
    # "17 2" and "2" meet as (17, None) and (2, 2): the second is repeated along the joints.
    columns: list[Column] = []
    for a, b in zip(widened(left, ndim).axes, widened(right, ndim).axes, strict=True):
        columns.append((a or None, b or None) if a or b else ((), ()))
    return columns


# ---- sums ---------------------------------------------------------------------------------------------------------
def equal_sum(operands: Sequence[Operand], shape: Shape, solver: Solver) -> SymbolicRepresentation:
    """Terms of a sum transform alike; along an axis where one is broadcast there must be no signs.

    Returns the representation of the sum, of this shape. Raises Conflict where terms differ, Wait while a sign is open.
    """
    # Zeros fit any representation, so they demand nothing of the others.
    terms = [operand for operand in operands if not operand.zero] or list(operands)
    result = solver.representation(terms[0].rep)
    for operand in terms[1:]:
        result = _add(result, solver.representation(operand.rep), solver)
    return stretched(result, shape)


def plain_together(call: Call) -> SymbolicRepresentation:
    """All operands of a call, entry by entry: moved alike, and none of them carries a sign. Raises Conflict."""
    return demand_plain(equal_sum(call.operands, call.shape, call.solver), call.solver)


def _add(left: SymbolicRepresentation, right: SymbolicRepresentation, solver: Solver) -> SymbolicRepresentation:
    """The representation that both terms have, over the axes of the broadcast result."""
    columns = _align(left, right)
    # Invariant: in the columns that are not compared yet, right has to be `sign` times left. Unknown axes absorb it.
    sign = left.sign * right.sign
    for a, b in sorted(columns, key=_openness):
        if a is not None and b is not None:
            sign = solver.same(b, a, sign)
    if not solver.positive(sign):
        # An axis that is not known may turn out to be a negated one.
        if not solver.last_resort and not _all_known((left, right), solver):
            raise Wait("terms of a sum differ by a sign, and not all axes are known")
        raise Conflict("one term of a sum is negated by the mirror and the other is not", negated=True)
    axes: list[Axis] = []
    for a, b in columns:
        # The same number is added to every entry along this axis, to negated ones as to others.
        if a is None or b is None:
            solver.sign_free(a or b or ())
        axes.append(solver.resolve(a or b or ()))
    return SymbolicRepresentation(tuple(axes), left.sign)


def _openness(column: Column) -> tuple[int, bool]:
    """Known axes are compared first, and wholly unknown ones last, so that the sign that is left over reaches an
    unknown that can take it: the parts of a stack may have signs of their own already.
    """
    unknown = [axis for axis in column if axis is not None and not is_known(axis)]
    return len(unknown), any(isinstance(term, Var) for axis in unknown for term in axis)


def _all_known(reps: Sequence[SymbolicRepresentation], solver: Solver) -> bool:
    """Whether no axis is open by now, so that no sign can be absorbed any more."""
    return all(is_known(solver.resolve(axis)) for rep in reps for axis in rep.axes)


def following(lead: SymbolicRepresentation, other: SymbolicRepresentation, solver: Solver) -> SymbolicRepresentation:
    """A tensor without signs that moves along with another: its axes are the other's without signs.

    Returns the representation of the broadcast result, signs those of `lead`.
    """
    axes: list[Axis] = []
    for a, b in _align(lead, other):
        if b is not None:
            solver.sign_free(b)
        if a is not None and b is not None:
            solver.equal(b, solver.absolute(a))
        axes.append(solver.resolve(a or b or ()))
    return SymbolicRepresentation(tuple(axes), lead.sign)


# ---- products -----------------------------------------------------------------------------------------------------
def element_product(operands: Sequence[Operand], shape: Shape, solver: Solver) -> SymbolicRepresentation:
    """Factors move alike and their signs multiply; along an axis where one is broadcast the other decides.

    What does not depend on the inputs, such as a learned scale, comes last, where it leaves the signs to the others: an
    entry that the mirror negates and does not move could only be scaled by zero.
    """
    first, *others = sorted(operands, key=lambda operand: operand.fixed)  # stable: else in their order
    result = solver.representation(first.rep)
    for operand in others:
        result = multiplied(result, solver.representation(operand.rep), solver, (first.fixed, operand.fixed))
    return stretched(solver.representation(result), shape)


def multiplied(
    left: SymbolicRepresentation, right: SymbolicRepresentation, solver: Solver, at_once: Sides = (True, True)
) -> SymbolicRepresentation:
    """Product of two tensors, entry by entry; axes where one of them has one entry are the other's.

    at_once: of each of them, whether it carries no signs where it is unknown and the other is known, whoever reads it.
    """
    axes: list[Axis] = []
    for a, b in _align(left, right):
        both = a is not None and b is not None
        axes.append(multiply(a or (), b or (), solver, at_once) if both else a or b or ())
    return SymbolicRepresentation(tuple(axes), left.sign * right.sign)


def multiply(left: Axis, right: Axis, solver: Solver, at_once: Sides = (True, True)) -> Axis:
    """Axis of an elementwise product. Raises Conflict where the factors move differently, Wait unless `at_once`."""
    a, b = solver.resolve(left), solver.resolve(right)
    if is_known(a) and is_known(b):
        return _multiply_known(action_of(a), action_of(b))
    out: list[Term] = []
    # Terms from the front, in pairs of the same size, as in `Solver.same`; signs of one entry go to the result.
    while a and b:
        # A term of one entry is a sign in front of the rest, which belongs to the product as it stands.
        if 1 in (a[0].size, b[0].size):
            out.extend(term for term in (*a, *b) if term.size == 1)
            a, b = _longer_terms(a), _longer_terms(b)
        elif a[0].size > b[0].size:
            a = (*solver.split(a, b[0].size), *a[1:])
        elif b[0].size > a[0].size:
            b = (*solver.split(b, a[0].size), *b[1:])
        else:
            out.extend(_multiply_terms(a[0], b[0], solver, at_once))
            a, b = solver.resolve(a[1:]), solver.resolve(b[1:])
    return solver.resolve((*out, *a, *b))


def _longer_terms(axis: Axis) -> Axis:
    """The axis without the signs among its terms."""
    return tuple(term for term in axis if term.size != 1)


def _multiply_known(x: SignedPermutation, y: SignedPermutation) -> Axis:
    """(P, s) and (P, t) make (P, s t). Raises Conflict where the permutations differ."""
    if abs(x) != abs(y):
        raise Conflict(f"the factors of a product of {x.size} entries move differently under the mirror")
    return known_axis(SignedPermutation(x.partner, x.sign * y.sign))


def _multiply_terms(a: Term, b: Term, solver: Solver, at_once: Sides) -> Axis:
    """The product of two terms of the same size."""
    match a, b:
        case (Known(x), Known(y)):
            return _multiply_known(x, y)
        case (Var(), Known(x)):
            return _multiply_unknown(a, x, solver, at_once[0])
        case (Known(x), Var()):
            return _multiply_unknown(b, x, solver, at_once[1])
        # Before the cases of unknowns: an unknown beside a concatenation is cut where that has its ends.
        case (Sum(), _) | (_, Sum()):
            return _multiply_sums(a, b, solver, at_once)
        case (Var(), Var()) if a == b:  # x * x: signs are squared
            return solver.absolute((a,))
        case (Abs(var), other) | (other, Abs(var)):
            return _multiply_absolute(var, other, solver)
        # Of two unknowns one that may carry no signs leaves them to the other, else the second is taken to have none.
        case (Var(), _) if a.id in solver.demanded_sign_free:
            return _bind_absolute(a, b, solver)
        case (_, Var()):
            return _bind_absolute(b, a, solver)
    raise Conflict("a product of axes that have nothing in common")


def _multiply_unknown(var: Var, known: SignedPermutation, solver: Solver, at_once: bool) -> Axis:
    """The product of a known factor and an unknown one.

    The ops that read the unknown factor, or the product, may determine its signs. Where the known factor carries none,
    the product has those of the unknown one; where it does carry some, they cannot be told apart yet.
    """
    decided = at_once or solver.last_resort or var.id in solver.demanded_sign_free or var.id in solver.passing
    if decided:
        return _bind_absolute(var, Known(known), solver)
    if not known.is_sign_free:
        raise Wait("a factor whose signs are not known yet")
    solver.default((var,), known_axis(known))
    return (var,)


def _bind_absolute(var: Var, other: Term, solver: Solver) -> Axis:
    """The unknown factor is taken to carry no signs, and the product those of the other; returns the product."""
    solver.sign_free((var,))
    solver.bind(var, solver.absolute((other,)))
    return solver.resolve((other,))


def _multiply_absolute(var: Var, other: Term, solver: Solver) -> Axis:
    """The product of |T| and another term: both have the same permutation, and the other one's signs remain."""
    match other:
        case Abs(second) if second == var:
            return (other,)
        case Var() if other == var:
            return (other,)
        # |T| times an unknown U without signs: U is |T|, and so is the product.
        case Var() if other.id in solver.demanded_sign_free:
            return _bind_absolute(other, Abs(var), solver)
        # U or |U| beside |T|: the permutations have to be the same, and the signs of U are taken to be those of T.
        case Var() | Abs():
            solver.bind(var_of(other), (var,))
            return solver.resolve((other,))
        case _:
            if not solver.last_resort:
                raise Wait("a gate whose representation is not known yet")
            solver.bind(var, solver.absolute((other,)))
            return (other,)


def _multiply_sums(a: Term, b: Term, solver: Solver, at_once: Sides) -> Axis:
    """Concatenated axes are multiplied part by part, both cut where either has an end."""
    ends = sorted(set(part_ends(a)) | set(part_ends(b)))
    pairs = zip(solver.cut((a,), ends), solver.cut((b,), ends), strict=True)
    return solver.concatenate([multiply(left, right, solver, at_once) for left, right in pairs])


# ---- sums of products ---------------------------------------------------------------------------------------------
def matrix_product(
    first: SymbolicRepresentation, second: SymbolicRepresentation, solver: Solver
) -> SymbolicRepresentation:
    """Representation of first @ second: "... m k" by "... k n", "... m k" by "k", "k" by "... k n", or "k" by "k"."""
    a, b = solver.representation(first), solver.representation(second)
    # A vector has no rows on the left and no columns on the right; its only axis is the one that is summed over.
    rows, left = (a.axes[-2:-1], a.axes[-1])
    right, columns = (b.axes[0], ()) if len(b.axes) == 1 else (b.axes[-2], b.axes[-1:])
    # Signs along the summed axis may be any, if both tensors have them: in sum_k x_k y_k they cancel.
    sign = solver.same(left, right)
    batch = multiplied(SymbolicRepresentation(a.axes[:-2], a.sign), SymbolicRepresentation(b.axes[:-2], b.sign), solver)
    return solver.representation(SymbolicRepresentation((*batch.axes, *rows, *columns), batch.sign * sign))
