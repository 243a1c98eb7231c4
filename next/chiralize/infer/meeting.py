"""What becomes of values of both sides that meet again?

y = torch.stack([a, b], 1)                    `join`: parts 0 and 1 change places, T acts on y by itself again

e(T x) = R e(x),  o(T x) = -R o(x)            `even_and_odd`: layers that work in the isotypic basis come back to
(e + o)(T x) = R (e - o)(x)                   left and right like this; e + o and e - o are partners
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chiralize.graph.model import Node
from chiralize.graph.traits import Join, Sum
from chiralize.infer.exchange import Exchange, involution
from chiralize.infer.rule import Call, Result, traits
from chiralize.infer.solver.unify import Solver
from chiralize.infer.symbolic import (
    Axis,
    Conflict,
    SymbolicRepresentation,
    Wait,
    action_of,
    axis_size,
    is_known,
    known_axis,
)
from chiralize.infer.wiring import settings
from chiralize.symmetry.involution import SignedPermutation


# ---- branches that meet ----------------------------------------------------------------------------------
def join(exchange: Exchange, node: Node, call: Call, asked: Result) -> SymbolicRepresentation | None:
    """Branches that meet in a concatenation or a stack; None where they do not exchange places there.

    Places may be those of two joins that the mirror exchanges: stack(a, b) and stack(b', a').
    asked: what readers have said of the result while the op waited.
    Raises Wait while the axis of a part is unknown, Conflict where parts cannot be exchanged.
    """
    trait, meeting = traits().get(node.target), _meeting(exchange, node)
    if not isinstance(trait, Join) or meeting is None:
        return None
    other, order = meeting
    # The partners meet in another join: this one and that one are partners as a whole.
    if other is not node:
        exchange.pair(node.name, other.name)
    reps = [call.solver.representation(operand.rep) for operand in call.operands]
    dim = call.axis(call.get("dim", 0), len(call.shape))
    if other is node and not trait.adds_axis and isinstance(asked, SymbolicRepresentation):
        _learn_parts([rep.axes[dim] for rep in reps], order, asked.axes[dim], call.solver)
    first, parts = reps[0], list[SignedPermutation]()
    # All parts have the other axes of the first; the sign by which one differs goes into its place on the axis
    # along which they are joined. A part of a stack has one entry there.
    for rep in reps:
        sign = first.sign * rep.sign
        for position, axis in enumerate(rep.axes):
            if trait.adds_axis or position != dim:
                sign = call.solver.same(axis, first.axes[position], sign)
        axis = () if trait.adds_axis else call.solver.resolve(rep.axes[dim])
        # How the whole moves is written down entry by entry, which takes the sizes and actions of all parts.
        if not is_known(axis):
            raise Wait("exchanged branches are concatenated along an axis that is not known yet")
        parts.append(-action_of(axis) if sign < 0 else action_of(axis))
    whole = known_axis(_side_by_side(parts, order))
    axes = (*first.axes[:dim], whole, *first.axes[dim if trait.adds_axis else dim + 1 :])
    return call.solver.representation(SymbolicRepresentation(axes, first.sign))


def _learn_parts(axes: Sequence[Axis], order: Sequence[int], whole: Axis, solver: Solver) -> None:
    """Where readers know how the whole moves, its parts move accordingly. Raises Conflict where it mixes them.

    order: the part that each part goes to. In parts of 2 and 2 entries, where T takes 0 1 to 2 3, each stays in order.
    """
    whole = solver.resolve(whole)
    if not is_known(whole):
        return
    action = action_of(whole)
    starts = np.cumsum([0, *map(axis_size, axes)])
    for axis, image, start, stop in zip(axes, order, starts, starts[1:], strict=False):
        if not is_known(solver.resolve(axis)):
            partner = action.partner[start:stop] - starts[image]
            solver.equal(axis, known_axis(involution(partner, action.sign[start:stop])))


def _meeting(exchange: Exchange, node: Node) -> tuple[Node, list[int]] | None:
    """The join in which the partners of what a node joins meet, and their places in it; None if there is none.

    cat(l, m, r) has the partners (r, m, l): they meet in the node itself, at [2, 1, 0].
    Two joins whose parts stand in the same order do the same to partners, which is no exchange of places.
    """
    if not isinstance(traits().get(node.target), Join):
        return None
    names = list(map(exchange.one, node.names_read))
    images = list(map(exchange.of, names))
    if exchange.is_exchanged(node.name):
        others = [exchange.nodes[exchange.of(node.name)]]
    else:
        # The node itself comes first: most networks join all their branches once.
        order = _positions_of(images, names)
        if order is not None:
            return node, order
        others = [other for other in exchange.wiring.users.get(images[0], ()) if other.name not in exchange.images]
    for other in others:
        if other.target == node.target and other.shapes == node.shapes and settings(other) == settings(node):
            order = _positions_of(images, list(map(exchange.one, other.names_read)))
            if order is not None and order != sorted(order):
                return other, order
    return None


# ---- even and odd parts that meet ------------------------------------------------------------------------
def even_and_odd(exchange: Exchange, node: Node, call: Call) -> SymbolicRepresentation | None:
    """R, where a node is the sum or the difference of two values of which T negates one, and the graph has both.

    None for everything else. Raises Conflict where the two parts move differently.
    """
    other = _other_of_two(exchange, node)
    if other is None:
        return None
    # e - o may stand beside e + o or o + e; the difference says which part comes first, and that one has the R
    # above: (o - e)(T x) = -R (e + o)(x) is written with -R, the representation of o.
    minuend = (node if _sign(node) < 0 else other).names_read[0]
    in_order = exchange.one(node.names_read[0]) == exchange.one(minuend)
    whole, part = call.operands if in_order else call.operands[::-1]
    first, second = call.solver.representation(whole.rep), call.solver.representation(part.rep)
    # A sign that is still open is no evidence. Of a quaternion, ij - kw and ij + kw are both in the network, with
    # signs that turn out to be the same; the ordinary rule for sums makes them so. A part of zeros is odd as well
    # as even, as it is where a layer reads even entries alone.
    negates = part.zero or first.sign * second.sign == -1
    if first.shape != second.shape or whole.zero or not negates:
        # The rule of a sum would answer as if T took the node to itself, while its readers count on its partner.
        if exchange.is_exchanged(node.name):
            raise Conflict("a sum and a difference of two values of which T does not negate one")
        return None
    for left, right in zip(first.axes, () if part.zero else second.axes, strict=False):
        if call.solver.same(left, right) < 0:
            raise Conflict("an even and an odd part that do not belong to the same entries")
    exchange.pair(node.name, other.name)
    return first


def _other_of_two(exchange: Exchange, node: Node) -> Node | None:
    """The difference of the two values that a node adds, or the sum of those that it subtracts.

    None where the graph has no such node, where one of the two values is of one side of the body, or where T takes
    the node to something else.
    """
    terms = _terms(exchange, node)
    if len(terms) < 2 or any(exchange.is_exchanged(name) or name in exchange.summands for name in terms):
        return None
    if exchange.is_exchanged(node.name):
        partner = exchange.nodes[exchange.of(node.name)]
        return partner if _sign(partner) == -_sign(node) else None
    for other in exchange.wiring.users.get(exchange.one(node.names_read[0]), []):
        fits = _sign(other) == -_sign(node) and other.shapes == node.shapes
        if fits and not exchange.is_exchanged(other.name) and _terms(exchange, other) == terms:
            return other
    return None


def _terms(exchange: Exchange, node: Node) -> frozenset[str]:
    """The two values that an op adds or subtracts; nothing for any other op."""
    if not _sign(node) or len(node.reads) != 2:
        return frozenset()
    return frozenset(map(exchange.one, node.names_read))


def _sign(node: Node) -> int:
    """1 for a + b, -1 for a - b, 0 for any other op."""
    trait = traits().get(node.target)
    if not isinstance(trait, Sum) or trait.signs[0] < 0 or node.arguments.get("alpha", 1) != 1:
        return 0
    return trait.signs[1]


def _side_by_side(parts: Sequence[SignedPermutation], order: Sequence[int]) -> SignedPermutation:
    """A direct sum whose parts change places: part i of T x is part order[i] of x, acted on by parts[i]."""
    # Entry k of part i goes to where part order[i] begins, and there to the partner of k.
    starts = np.cumsum([0] + [part.size for part in parts])
    partners = [part.partner + starts[index] for part, index in zip(parts, order, strict=True)]
    return involution(np.concatenate(partners), np.concatenate([part.sign for part in parts]))


def _positions_of(images: Sequence[str], names: Sequence[str]) -> list[int] | None:
    """The position of every image among the names, copies in order; None where one is not among them."""
    order: list[int] = []
    for number, (name, image) in enumerate(zip(names, images, strict=True)):
        positions = [position for position, candidate in enumerate(names) if candidate == image]
        # The second a of (a, b, a, b) goes to the second b.
        rank = names[:number].count(name)
        if rank >= len(positions):
            return None
        order.append(positions[rank])
    return order
