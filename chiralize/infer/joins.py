"""Branches that meet: a concatenation or a stack whose parts the mirror exchanges acts on itself again.

Values of one side have partners and no representation of their own. Where they are put side by side again, T exchanges
their places, so that the whole has one. Two ways lead there:

    join        the partners of the parts are known, and say how places change: cat(l, m, r) with l and r partners
    open_join   nothing is known of the parts, since each has weights of its own; what reads the whole says how its
                entries move, and so which branches are partners: cat(net_0(x), net_1(x), net_2(x)) before a sum with
                the joints

The second is a guess, which `Repair.joints` allows for a join by name. In parts of 2, 2 and 2 entries, where T takes
entries 0 1 to 4 5, parts 0 and 2 are partners, and part 1 has to be its own: so what is known of the entries is carried
back to the branches. `Answers` calls both, before the rule of the op.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from chiralize.graph.model import Node
from chiralize.graph.traits import Join
from chiralize.infer.actions import exchange, involution, positions_of
from chiralize.infer.calls import names_read
from chiralize.infer.exchanges import Exchanges, settings
from chiralize.infer.registry import Call, traits
from chiralize.infer.solver.terms import Conflict, Wait, product
from chiralize.symmetry.involution import IntArray, SignedPermutation
from chiralize.symmetry.symbolic import Axis, SymbolicRepresentation, is_known, known_axis


class Joins(Exchanges):
    """Finds partners where branches meet, forwards from known parts or backwards from a known whole."""

    def join(self, node: Node, reps: Sequence[SymbolicRepresentation], call: Call) -> SymbolicRepresentation | None:
        """Branches that meet in a concatenation or a stack; None where they do not exchange places there.

        Places may be those of two joins that the mirror exchanges: stack(a, b) and stack(b', a').
        reps: of the parts. Raises Wait while the axis of a part is unknown, Conflict where parts cannot be exchanged.
        """
        trait, meeting = traits().get(node.target), self._meeting(node)
        if not isinstance(trait, Join) or meeting is None:
            return None
        other, order = meeting
        # The partners meet in another join: this one and that one are partners as a whole.
        if other is not node:
            self.pair(node.name, other.name)
        stacked = trait.adds_axis
        dim = call.axis(call.get("dim", 0), len(call.shape))
        first = reps[0]
        parts: list[SignedPermutation] = []
        # All parts have the other axes of the first; the sign by which one differs goes into its place on the axis
        # along which they are joined. A part of a stack has one entry there.
        for rep in reps:
            sign = first.sign * rep.sign
            for position, axis in enumerate(rep.axes):
                if stacked or position != dim:
                    sign = call.solver.same(axis, first.axes[position], sign)
            axis = () if stacked else call.solver.resolve(rep.axes[dim])
            # How the whole moves is written down entry by entry, which takes the sizes and actions of all parts.
            if not is_known(axis):
                raise Wait("exchanged branches are concatenated along an axis that is not known yet")
            parts.append(-product(axis) if sign < 0 else product(axis))
        whole = known_axis(exchange(parts, order))
        axes = (*first.axes[:dim], whole, *first.axes[dim if stacked else dim + 1 :])
        return call.solver.representation(SymbolicRepresentation(axes, first.sign))

    def _meeting(self, node: Node) -> tuple[Node, list[int]] | None:
        """The join in which the partners of what a node joins meet, and their places in it; None if there is none.

        cat(l, m, r) has the partners (r, m, l): they meet in the node itself, at [2, 1, 0].
        Two joins whose parts stand in the same order do the same to partners, which is no exchange of places.
        """
        if not isinstance(traits().get(node.target), Join):
            return None
        names = list(map(self.one, names_read(node)))
        images = list(map(self.of, names))
        if self.exchanged(node.name):
            others = [self.nodes[self.of(node.name)]]
        else:
            # The node itself comes first: most networks join all their branches once.
            order = positions_of(images, names)
            if order is not None:
                return node, order
            others = [other for other in self.users.get(images[0], ()) if other.name not in self.images]
        for other in others:
            alike = other.target == node.target and other.shapes == node.shapes and settings(other) == settings(node)
            if alike:
                order = positions_of(images, list(map(self.one, names_read(other))))
            else:
                order = None
            if order is not None and order != sorted(order):
                return other, order
        return None

    def open_join(
        self, node: Node, reps: Sequence[SymbolicRepresentation], call: Call, whole: Axis
    ) -> SymbolicRepresentation | None:
        """Branches with weights of their own that meet: what follows decides which of them the mirror exchanges.

        whole: the axis that they form together. None where it leaves every branch at its place.
        Raises Conflict where it takes a branch apart, or to one that computes something else.
        """
        dim = call.axis(call.get("dim", 0), len(call.shape))
        trait = traits().get(node.target)
        stacked = isinstance(trait, Join) and trait.adds_axis
        first = reps[0]
        # While the axis is unknown, readers get it as it is: they are to determine it.
        if not is_known(whole):
            axes = (*first.axes[:dim], whole, *first.axes[dim if stacked else dim + 1 :])
            return SymbolicRepresentation(axes, first.sign)
        # Of a stack every part is one entry of the new axis.
        lengths = [1] * len(reps)
        if not stacked:
            lengths = [rep.shape[dim] for rep in reps]
        action, names = product(whole), names_read(node)
        runs = _runs(lengths, action.partner)
        for (entries, number, within), name, rep in zip(runs, names, reps, strict=True):
            # Of a part whose axis is unknown the whole says how its entries move, counted from its partner's first.
            if not stacked and not is_known(rep.axes[dim]):
                call.solver.equal(rep.axes[dim], known_axis(involution(within, action.sign[entries])))
            if names[number] != name and not self.exchanged(name):
                self._pair_branches(name, names[number])
        # Now the partners of all parts are known, as in an ordinary join of exchanged branches.
        return self.join(node, [call.solver.representation(rep) for rep in reps], call)

    def _pair_branches(self, name: str, other: str) -> None:
        """Two branches become partners, back to where they begin. Raises Conflict where they do not compute the same.

        Nothing is paired unless the whole way back is alike.
        """
        pairs: dict[str, str] = {}
        if not self._mates(name, other, pairs):
            raise Conflict("branches of a concatenation that the mirror exchanges do not compute the same")
        for one, two in pairs.items():
            self.pair(one, two)

    def orders(self, name: str) -> Iterator[Sequence[int]]:
        """Lists in which readers take all entries of a value along an axis, each once."""
        readers = [self.taken[node.name] for node in self.users.get(name, ()) if node.name in self.taken]
        for selection in readers:
            for entries in selection.entries:
                if sorted(entries) == list(range(len(entries))):
                    yield entries

    def has_branches(self, node: Node) -> bool:
        """Whether some operands of a concatenation or a stack are computed alike, with other weights."""
        if not isinstance(traits().get(node.target), Join):
            return False
        names = names_read(node)
        # Left and right stand next to each other in a list of limbs, or about half of the list apart: parts that are
        # farther away from each other than that by more than one are not compared.
        for position, one in enumerate(names):
            nearest = names[position + 1 : position + 2 + len(names) // 2]
            if any(self._mates(one, two, {}) for two in nearest):
                return True
        return False


def _runs(lengths: Sequence[int], partner: IntArray) -> Iterator[tuple[slice, int, IntArray]]:
    """For every part of a concatenation: its entries, the number of the part that they go to, and where within that.

    partner: where every entry of the whole goes.  Parts of 2 and 2 entries with the partners [3, 2, 1, 0] give
    (0:2, 1, [1, 0]) and (2:4, 0, [1, 0]). Raises Conflict where a part is taken apart.
    """
    ends = np.cumsum(lengths)
    starts = ends - lengths
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        entries = slice(start, end)
        # Ends are 2 and 4 above: entry 3 lies in part 1, the first one that ends behind it.
        parts = np.searchsorted(ends, partner[entries], side="right")
        number = int(parts[0])
        if (parts != number).any():
            raise Conflict("the mirror takes a branch of a concatenation to parts of several others")
        yield entries, number, partner[entries] - starts[number]
