"""Comparisons, truth values, and choices by a mask.

x > y turns round where both are negated, so that comparisons need entries without signs; x == y does not. A truth value
has no negative, and moves with the entries that it is about. A mask chooses entry by entry: it has to move along with
both tensors, and has no signs that could go to the result.

    x > y      -x > -y is x < y                        no signs: `+a, +a -> +a`
    x == y     -x == -y is x == y                      the same signs on both, lost behind it: `a, a -> |a|`
    x == 1     -x == 1 is another question             no signs
    x == 0     0 is its own negative                   signs are lost
    where      (m ? x : y), T on x and y, |T| on m     the result carries T: `+c, a, a -> a`

The truth values of a mirrored tensor are those of the tensor in mirrored order: for T (a, b) = (-b, -a) they are of
(b, a) for `x == 0`. Numbers that are chosen, `where(m, x, 1)`, stay 1 in both views, so that T may negate nothing then;
0 is an exception.
"""

from __future__ import annotations

import torch

from chiralize.graph.traits import Movement
from chiralize.infer.products import equal_sum, following
from chiralize.infer.registry import Call, Drawn, Operand, Results, demand_plain, normal, positive, sample, truth, whole
from chiralize.infer.rules._families import even_of, incomplete, joint_plain, op, plain, plain_of, rule
from chiralize.infer.solver.terms import Conflict
from chiralize.symmetry.symbolic import SymbolicRepresentation, trivial

_a = normal(3, 4)
_b = positive(3, 4)
_truth = truth(3, 4)
_truths = [sample(_truth, truth(3, 4)), sample(_truth, truth(3, 1))]
_pairs = [sample(whole(3, 4), whole(3, 4)), sample(whole(3, 4), whole(4))]


@rule("equality", "`a, a -> |a|`")
@op("eq.Tensor ne.Tensor", *_pairs)
def equality(call: Call) -> Results:
    """Whether entries are equal, a truth value each; signs common to both do not matter."""
    rep = call.solver.representation(equal_sum(call.operands, call.shape, call.solver))
    return even_of(Operand(rep), call.solver)


@rule("undefined or infinite", "`a -> |a|`")
@incomplete("where every number is finite the answer is the same everywhere")
@op("isnan isinf isfinite", sample(_a))
def undefined(call: Call) -> Results:
    """A truth value per entry: signs do not matter."""
    return even_of(call.operands[0], call.solver)


@rule("bins", "`+a -> +a`: the number of a bin, whose edges the mirror leaves alone")
@op("bucketize.Tensor", sample(_a, [-0.5, 0.0, 0.5, 1.0]))
@op("searchsorted.Tensor", sample([-0.5, 0.0, 0.5, 1.0], _a))
def bins(call: Call) -> Results:
    """Between which of some ordered edges every number lies."""
    edges = call["sorted_sequence" if "search" in call.target else "boundaries"]
    if not isinstance(edges, Operand) or edges.ndim != 1:
        raise Conflict("edges of bins that differ from row to row")
    # The result is a position among the edges, which would be another one if the mirror moved these.
    for axis in plain_of(edges, call).axes:
        call.solver.trivial(axis)
    return plain_of(call["self"], call)


@rule("one of several", "`+... -> +... 1n`: the classes stay in place")
@op("one_hot", sample(Drawn((3, 4), "label"), 3))
def one_hot(call: Call) -> Results:
    """1 in the place that a whole number names."""
    # The new axis has an entry for each class. Numbers of classes are the same for both views, so nothing moves there.
    rep = plain_of(call.operands[0], call)
    return SymbolicRepresentation((*rep.axes, trivial(call.shape[-1])))


@rule("equality with a number", "`a -> |a|` with 0, else `+a -> +a`")
@op("eq.Scalar ne.Scalar", sample(whole(3, 4), 0), sample(whole(3, 4), 1))
def equality_with_number(call: Call) -> Results:
    """A truth value per entry: 0 is its own negative."""
    # -x == 1 is another question than x == 1.
    if call["other"] == 0:
        return even_of(call.operands[0], call.solver)
    return plain(call)


@rule("comparison", "`+a, +a -> +a`")
@op("gt.Scalar lt.Scalar ge.Scalar le.Scalar", sample(whole(3, 4), 1))
@op("gt.Tensor lt.Tensor ge.Tensor le.Tensor", *_pairs)
@op("logical_and logical_or logical_xor bitwise_and.Tensor bitwise_or.Tensor bitwise_xor.Tensor", *_truths)
@op("__and__.Tensor __or__.Tensor __xor__.Tensor", *_truths)
def compare(call: Call) -> Results:
    """A truth value per entry."""
    return joint_plain(call)


@rule("not", "`+a -> +a`")
@op("logical_not bitwise_not", sample(_truth))
def negate_truth(call: Call) -> Results:
    """The opposite truth value per entry."""
    return plain(call)


@rule(
    "choice",
    "`+c, a, a -> a`; a number chosen (other than 0) demands `+a`",
    trait=Movement(blends=True, fills=("self", "other", "value")),
)
@op("where.self", sample(_truth, _a, _b), sample(truth(3, 1), _a, _b), sample(_truth, normal(3, 1), normal()))
@op("where.Scalar", sample(_truth, 1.0, 2.0))
@op("where.ScalarSelf", sample(_truth, 1.0, _b), sample(_truth, 0.0, _b))
@op("where.ScalarOther", sample(_truth, _a, 1.0), sample(_truth, _a, 0.0))
@op("masked_fill.Scalar", sample(_a, _truth, -5.0), sample(_a, truth(4), 0.0))
@op("masked_fill.Tensor", sample(_a, _truth, normal()))
def choose(call: Call) -> Results:
    """Entry by entry one of two, by a mask that moves along.

    Tensors to choose from are `self`, `other` and `value`; any of them may be a number instead. Both tensors have to
    transform alike, since any entry of the result may come from either.
    """
    solver = call.solver
    # `where` calls its mask condition, `masked_fill` mask.
    mask = call.get("condition", call.get("mask"))
    values = [operand for operand in call.operands if operand is not mask]
    numbers = [call[name] for name in ("self", "other", "value") if isinstance(call.get(name), (int, float, complex))]
    mask_rep = plain_of(mask, call)
    if not values:  # a number here, another one there
        return mask_rep
    # The values without the mask, which may be longer than they are: `following` stretches them along it.
    shape = tuple(torch.broadcast_shapes(*(value.shape for value in values)))
    rep = solver.representation(equal_sum(values, shape, solver))
    # A number stays what it is where the mirror negates its entry; 0 alone is right there, too.
    if any(number != 0 for number in numbers):
        demand_plain(rep, call)
    return following(rep, mask_rep, solver)
