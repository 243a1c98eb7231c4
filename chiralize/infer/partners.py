"""Values that the mirror exchanges: what the left branch computes becomes what the right branch computes.

Python code may take joints or limbs apart (one layer per joint, one network per limb). Then T does not act on one
value of the graph, it takes it to another, its partner: value(T x) = R partner(x). A rule says that
op(R a, S b) = Q op(a, b) for all a and b, so it holds here too, if the partners of the operands are the operands of
the partner. What is left is to find partners: where entries are taken out of an axis, forwards from there, and where
branches meet again (`joins`). Weights of exchanged branches are exchanged as well.

    left, right = x[:, 1], x[:, 2]                `take`: T exchanges joints 1 and 2
    a, b = net_1(left), net_2(right)              `follow`: the same ops; the weights of net_1 and net_2 are partners
    y = torch.stack([a, b], 1)                    `join`: parts 0 and 1 change places, T acts on y by itself again

`Answers` calls all three in every run, before the rule of the op. Every run checks what earlier ones decided, so the
last one proves it. (Decision 0005 has what else was tried.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from chiralize.graph.model import CapturedModel, Node
from chiralize.infer.actions import between, closed, involution, part
from chiralize.infer.calls import names_read
from chiralize.infer.exchanges import sign_of_exchange
from chiralize.infer.joins import Joins
from chiralize.infer.picks import AxisOf
from chiralize.infer.registry import Call
from chiralize.infer.solver.terms import Conflict, product
from chiralize.infer.taking import Taken, taken
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.symbolic import Axis, SymbolicRepresentation, is_known, known_axis


class Partners(Joins):
    """Finds partners: where entries are taken out, and forwards from there; `Joins` has where branches meet.

    zero: weights that can only be zero; nothing has to be exchanged there.
    summands: partial sums in which values of one side meet, and whose partners are looked for in the whole sum.
    apart: splits whose outputs are exchanged one by one.
    """

    def __init__(self, captured: CapturedModel, zero: frozenset[str] = frozenset()) -> None:
        super().__init__(captured, zero)
        self.summands: set[str] = set()
        self.apart: set[str] = set()
        self.results = set(captured.results)

    @property
    def decided(self) -> int:
        """Grows with everything that is decided here."""
        return self.moved + len(self.summands) + len(self.apart)

    def reads_exchanged(self, node: Node) -> bool:
        """Whether an op reads a value of one side, or a part of a sum in which such values meet."""
        return any(self.exchanged(ref.name) or ref.name in self.summands for ref in node.reads)

    # ---- taking entries ------------------------------------------------------------------------------------
    def take(self, node: Node, call: Call) -> tuple[SymbolicRepresentation, ...] | None:
        """Entries taken out of a known axis that are not closed under T, if another place takes their mirror images.

        None where the ordinary rule applies. Raises Conflict where the branches do not mirror each other.
        """
        selection = taken(call)
        if selection is None:
            return None
        rep = call.solver.representation(call.operands[0].rep)
        action = self._settled(node, selection, rep.axes[selection.dim], call)
        # Entries that the mirror exchanges among each other are a part of the axis, which the ordinary rule covers.
        # So it does where T on the axis is unknown yet: most axes that are cut are not cut into sides.
        if action is None or all(closed(action, entries) for entries in selection.entries):
            return None
        outputs: list[SymbolicRepresentation] = []
        # value(T x) = R partner(x): R moves the entries of each output into the order in which its partner has them.
        for output, entries in enumerate(selection.entries):
            image = [int(action.partner[entry]) for entry in entries]
            order = self._mirrored(node, output, selection, image)
            if order is None:
                return None
            outputs.append(part(rep, selection, between(action, entries, order)))
        return tuple(call.solver.representation(out) for out in outputs)

    def _settled(self, node: Node, selection: Taken, axis: Axis, call: Call) -> SignedPermutation | None:
        """T on the axis. Where nothing else knows it, entries change places in the end whose values are exchanged.

        Raises Conflict where the mirror does not exchange such entries.
        """
        source_axis = AxisOf(self.one(node.reads[0].name), selection.dim, selection.size)
        images = self.picks.images(source_axis, self.of)
        if not is_known(axis):
            # An open join has found partners among the entries: T on the axis exchanges those, if nothing says more.
            self.open.add(source_axis)
            # An entry whose value is exchanged with no entry of the same axis (-1) leaves the action open. So does an
            # attempt that may still learn it otherwise.
            if not images or any(other < 0 for _, other in images) or not call.solver.last_resort:
                return None
            partner = np.arange(selection.size)
            entries, others = zip(*images, strict=True)
            partner[list(entries)] = others
            call.solver.equal(axis, known_axis(involution(partner, np.ones_like(partner))))
            call.solver.guessed = True
        self.open.discard(source_axis)
        action = product(call.solver.resolve(axis))
        # Where the source is exchanged itself, its entries have their partners in the source's partner.
        if not self.exchanged(source_axis.source) and any(action.partner[entry] != other for entry, other in images):
            raise Conflict("entries of an axis are used as if the mirror exchanged them, and it does not")
        return action

    def _mirrored(self, node: Node, output: int, selection: Taken, image: Sequence[int]) -> list[int] | None:
        """The entries, in their order, that the partner of an output takes: those in `image`, in any order.

        None where nothing takes them. For x[:, [1, 2, 3]] of joints whose partners are [4, 5, 6] this may be
        x[:, [6, 5, 4]], and [6, 5, 4] is returned.
        """
        # A split takes all of the axis: the image of a part has to be another part of it.
        if len(selection.entries) > 1:
            ordered = [sorted(entries) for entries in selection.entries]
            if sorted(image) not in ordered:
                return None
            other = ordered.index(sorted(image))
            if not self._pair_outputs(node, output, selection, other):
                return None
            return list(selection.entries[other])
        source = self.of(node.reads[0].name)
        # A node that has its partner is compared with that one alone.
        if self.exchanged(node.name):
            known = [self.nodes[self.of(node.name)]]
        else:
            known = self.users.get(source, [])
        for other in known:
            if self.one(other.reads[0].name) != source:
                continue
            entries = self._entries(other, selection)
            if entries is None or sorted(entries) != sorted(image):
                continue
            # Several ops may take the same entries. One that has its partner cannot be the partner of this one, too.
            if self.exchanged(node.name) or not self.exchanged(other.name):
                self.pair(node.name, other.name)
                return list(entries)
        return None

    def _entries(self, node: Node, like: Taken) -> tuple[int, ...] | None:
        """The entries that another node takes out of the same axis, None where it takes several runs or none."""
        selection = self.taken.get(node.name)
        if selection is None or replace(selection, entries=like.entries) != like or len(selection.entries) != 1:
            return None
        return selection.entries[0]

    def _pair_outputs(self, node: Node, output: int, selection: Taken, other: int) -> bool:
        """Exchange the outputs of a split, or of two splits of exchanged values; False if nothing reads the other
        one.

        output: a part of `node`.  other: the part of the same split, or of the split of the partner, that is taken to
        it.
        """
        source = node.reads[0].name
        twin = node
        # Of one split parts are exchanged with each other; a value of one side and its partner are split alike.
        if self.exchanged(node.name):
            twin = self.nodes[self.of(node.name)]
        elif self.exchanged(source):
            alike = (user for user in self.users.get(self.of(source), []) if self.taken.get(user.name) == selection)
            twin = next((user for user in alike if user.name not in self.images), None)
            if twin is None:
                return False
            self.pair(node.name, twin.name)
        # A split has no partner as a whole, only its parts have: `follow` must not look for one.
        self.apart |= {node.name, twin.name}
        # The outputs are values by their `getitem` nodes. One that is never read has none, and no partner either.
        ours, theirs = self._readers(node, output), self._readers(twin, other)
        if len(ours) != len(theirs) or any(self.images.get(a, b) != b for a, b in zip(ours, theirs, strict=True)):
            return False
        for a, b in zip(ours, theirs, strict=True):
            self.pair(a, b)
        return True

    def _readers(self, node: Node, output: int) -> list[str]:
        """The values that are one output of an op."""
        users = self.users.get(node.name, [])
        return [user.name for user in users if user.target == "getitem" and user.arguments["index"] == output]

    # ---- operations on exchanged values ----------------------------------------------------------------------
    def follow(self, node: Node) -> int:
        """Find, or check, the partner of an operation on exchanged values; returns the sign of an exchange of terms.

        Raises Conflict where nothing in the graph does the same to the partners of its operands.
        """
        if node.target == "getitem" and node.arguments["value"].name in self.apart:
            return 1  # `take` has found its partner
        # A pair of an earlier run is compared anew: operands may have been paired otherwise since.
        if self.exchanged(node.name):
            if not self._alike(node, self.nodes[self.of(node.name)], {}):
                raise Conflict("two branches that the mirror exchanges do not compute the same")
            return 1
        # Values of both sides that meet in one op come before partners of the op: left + right is its own partner.
        sign = self._exchanges_terms(node)
        if sign:
            return sign
        if node.name in self.summands or self._sums_up(node):
            return 1
        if self._pair_with_alike(node):
            return 1
        if self._is_summand(node):
            self.summands.add(node.name)
            return 1
        raise Conflict("a value of one side of the body is used, and nothing does the same with that of the other side")

    def _pair_with_alike(self, node: Node) -> bool:
        """Pair an operation with the first that does the same to the partners of its operands; False if none does."""
        # There are no candidates for an op of which a partial sum is the only operand of one side.
        free = self._free_candidates(node)
        # To exchange operands that have no partner yet (`deep`) is a guess, so operations whose operands are partners
        # come first.
        for deep in (False, True):
            for other in free:
                pairs: dict[str, str] = {}
                if self._alike(node, other, pairs, deep):
                    for first, second in {**pairs, node.name: other.name}.items():
                        self.pair(first, second)
                    return True
        return False

    def _free_candidates(self, node: Node) -> list[Node]:
        """Operations without a partner that read the partner of the first operand that has one."""
        for name in filter(self.exchanged, names_read(node)):
            return [other for other in self.users.get(self.of(name), []) if other.name not in self.images]
        return []

    def _exchanges_terms(self, node: Node) -> int:
        """+1 or -1 for an operation whose two operands are partners of each other, 0 for any other.

        left - right becomes right - left: it is taken to itself and negated.
        """
        sign, refs = sign_of_exchange(node), list(node.reads)
        mutual = len(refs) == 2 and self.exchanged(refs[0].name) and self.of(refs[0].name) == self.one(refs[1].name)
        if mutual and not (sign < 0 and self._is_taken_both_ways(node)):
            return sign
        return 0

    def _is_taken_both_ways(self, node: Node) -> bool:
        """Whether the graph also has b - a, treated in the same way as a - b: then the two may be exchanged without
        a sign.
        """
        for other in self._free_candidates(node):
            same = other is not node and self._alike(node, other, {})
            if same and self._targets_of_readers(other) == self._targets_of_readers(node):
                return True
        return False

    def _targets_of_readers(self, node: Node) -> list[str]:
        """Which ops read a value, one name for each, in a fixed order."""
        return sorted(user.target for user in self.users.get(node.name, []))

    def _is_summand(self, node: Node) -> bool:
        """A partial sum that only a larger sum reads: partners are looked for among the terms of the whole.

        (a + l) + r is computed as a + l first, which T takes to a + r, and nothing computes that. The terms {a, l, r}
        of the whole are exchanged among each other. So it is with products, and with the largest and the smallest.
        """
        users = self.users.get(node.name, [])
        inner = len(users) == 1 and node.name not in self.results and _is_chained(node) and _is_chained(users[0])
        return inner and users[0].target == node.target and users[0].shapes == node.shapes

    def _sums_up(self, node: Node) -> bool:
        """Whether the terms of a sum of sums (or of another chain) are exchanged among each other."""
        if not _is_chained(node):
            return False
        terms = self._terms(node)
        return sorted(self.of(name) for name in terms) == sorted(self.one(name) for name in terms)

    def _terms(self, node: Node) -> list[str]:
        """The values that a chain of sums adds up, partial sums written out: a, l, r of (a + l) + r."""
        names: list[str] = []
        for ref in node.reads:
            inner = ref.name in self.summands and self.nodes[ref.name].target == node.target
            names += self._terms(self.nodes[ref.name]) if inner else [ref.name]
        return names


def _is_chained(node: Node) -> bool:
    """Whether it does not matter in which order, and in which groups, the terms of such operations are taken."""
    return sign_of_exchange(node) == 1 and len(node.reads) == 2
