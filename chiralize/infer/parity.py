"""Even and odd parts that meet again: their sum becomes their difference.

    e(T x) = R e(x),  o(T x) = -R o(x)    =>    (e + o)(T x) = R (e - o)(x),  (e - o)(T x) = R (e + o)(x)

Layers that work in the isotypic basis come back to left and right like this. Neither the sum nor the difference is a
value that T takes to itself; each is the other's partner. So it is where one part is zero, as the odd part is where a
layer reads even entries alone.
"""

from __future__ import annotations

from chiralize.graph.model import Node
from chiralize.graph.traits import Sum
from chiralize.infer.calls import names_read
from chiralize.infer.partners import Partners
from chiralize.infer.registry import Call, traits
from chiralize.infer.solver.terms import Conflict
from chiralize.symmetry.symbolic import SymbolicRepresentation


def even_and_odd(node: Node, call: Call, partners: Partners) -> SymbolicRepresentation | None:
    """R, where a node is the sum or the difference of two values of which T negates one, and the graph has the other.

    None for everything else. Raises Conflict where the two parts move differently.
    """
    other = _other_of_two(node, partners)
    if other is None:
        return None
    # e - o may stand beside e + o or o + e; the difference says which part comes first, and that one has the R above:
    # (o - e)(T x) = -R (e + o)(x) is written with -R, the representation of o.
    minuend = (node if _sign(node) < 0 else other).reads[0].name
    in_order = partners.one(node.reads[0].name) == partners.one(minuend)
    whole, part = call.operands if in_order else call.operands[::-1]
    first, second = call.solver.representation(whole.rep), call.solver.representation(part.rep)
    if first.shape != second.shape or whole.zero:
        _check_open(node, partners)
        return None
    if not part.zero:
        # A sign that is still open is no evidence. Of a quaternion, ij - kw and ij + kw are both in the network, with
        # signs that turn out to be the same; the ordinary rule for sums makes them so.
        if first.sign * second.sign != -1:
            _check_open(node, partners)
            return None
        for left, right in zip(first.axes, second.axes, strict=True):
            if call.solver.same(left, right) < 0:
                raise Conflict("an even and an odd part that do not belong to the same entries")
    partners.pair(node.name, other.name)
    return first


def _check_open(node: Node, partners: Partners) -> None:
    """Raises Conflict for a node that T takes to its partner, as an earlier run decided of other signs or shapes.

    The rule of a sum would answer for it as if T took it to itself, while its readers count on its partner.
    """
    if partners.exchanged(node.name):
        raise Conflict("a sum and a difference of two values of which T does not negate one")


def _other_of_two(node: Node, partners: Partners) -> Node | None:
    """The difference of the two values that a node adds, or the sum of those that it subtracts.

    None where the graph has no such node, where one of the two values is of one side of the body, or where T takes the
    node to something else.
    """
    terms = _terms(node, partners)
    if len(terms) < 2 or any(partners.exchanged(name) or name in partners.summands for name in terms):
        return None
    if partners.exchanged(node.name):
        known = partners.nodes[partners.of(node.name)]
        if _sign(known) != -_sign(node):
            return None
        return known
    for other in partners.users.get(partners.one(node.reads[0].name), []):
        fits = _sign(other) == -_sign(node) and other.shapes == node.shapes
        if fits and not partners.exchanged(other.name) and _terms(other, partners) == terms:
            return other
    return None


def _terms(node: Node, partners: Partners) -> frozenset[str]:
    """The two values that an op adds or subtracts; nothing for any other op."""
    if not _sign(node) or len(node.reads) != 2:
        return frozenset()
    return frozenset(map(partners.one, names_read(node)))


def _sign(node: Node) -> int:
    """1 for a + b, -1 for a - b, 0 for any other op."""
    trait = traits().get(node.target)
    if not isinstance(trait, Sum) or trait.signs[0] < 0 or node.arguments.get("alpha", 1) != 1:
        return 0
    return trait.signs[1]
