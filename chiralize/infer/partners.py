"""Values that the mirror exchanges: what the left branch computes becomes what the right branch computes.

Python code may take joints or limbs apart (one layer per joint, one network per limb). Then T does not act on one
value of the graph, it takes it to another, its partner: value(T x) = R partner(x). A rule says that
op(R a, S b) = Q op(a, b) for all a and b, so it holds here too, if the partners of the operands are the operands of
the partner. What is left is to find partners: where entries are taken out of an axis, forwards from there, and where
branches meet again. Weights of exchanged branches are exchanged as well.

    left, right = x[:, 1], x[:, 2]                `take`: T exchanges joints 1 and 2
    a, b = net_1(left), net_2(right)              `follow`: the same ops; the weights of net_1 and net_2 are partners
    y = torch.stack([a, b], 1)                    `join`: parts 0 and 1 change places, T acts on y by itself again

`Answers` calls all three in every run, before the rule of the op. Every run checks what earlier ones decided, so the
last one proves it. (Decision 0005 has what else was tried.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from chiralize.graph.model import CapturedModel, Node
from chiralize.graph.traits import Join
from chiralize.infer.actions import between, closed, exchange, involution, part, positions_of
from chiralize.infer.calls import names_read
from chiralize.infer.exchanges import Exchanges, settings, sign_of_exchange
from chiralize.infer.picks import AxisOf
from chiralize.infer.registry import Call, traits
from chiralize.infer.solver.terms import Conflict, Wait, product
from chiralize.infer.taking import Taken, taken
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.symbolic import Axis, SymbolicRepresentation, is_known, known_axis


class Partners(Exchanges):
    """Finds partners: where entries are taken out, forwards from there, and where branches meet.

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
            # Several ops may take the same entries. One that has its partner is no partner of another one.
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
        # Exchanged operands are only a guess, so operations whose operands are partners come first.
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

    def join(self, node: Node, reps: Sequence[SymbolicRepresentation], call: Call) -> SymbolicRepresentation | None:
        """Branches that meet in a concatenation or a stack; None where they do not exchange places there.

        Places may be those of two joins that the mirror exchanges: stack(a, b) and stack(b', a').
        reps: of the parts. Raises Wait while the axis of a part is unknown, Conflict where parts cannot be exchanged.
        """
        trait, meeting = traits().get(node.target), self._meeting(node)
        if not isinstance(trait, Join) or meeting is None:
            return None
        other, order = meeting
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
        if stacked:
            ends = np.arange(1, len(reps) + 1)
        else:
            ends = np.cumsum([rep.shape[dim] for rep in reps])
        action, names = product(whole), names_read(node)
        starts = [0, *ends[:-1].tolist()]
        for start, end, name, rep in zip(starts, ends, names, reps, strict=True):
            # The part in which the image of each entry lies: parts of 2 entries end at 2 and 4, and entry 3 lies in
            # part 1. All images have to lie in the same one.
            image = np.searchsorted(ends, action.partner[start:end], side="right")
            other = names[int(image[0])]
            if len(set(image.tolist())) > 1:
                raise Conflict("the mirror takes a branch of a concatenation to parts of several others")
            if not stacked and not is_known(rep.axes[dim]):
                within = action.partner[start:end] - starts[int(image[0])]
                call.solver.equal(rep.axes[dim], known_axis(involution(within, action.sign[start:end])))
            if other != name and not self.exchanged(name):
                pairs: dict[str, str] = {}
                if not self._mates(name, other, pairs):
                    raise Conflict("branches of a concatenation that the mirror exchanges do not compute the same")
                for one, two in pairs.items():
                    self.pair(one, two)
        return self.join(node, [call.solver.representation(rep) for rep in reps], call)

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
        # Left and right stand next to each other in a list of limbs, or half of the list apart: no part is compared
        # with one that is farther away.
        for position, one in enumerate(names):
            nearest = names[position + 1 : position + 2 + len(names) // 2]
            if any(self._mates(one, two, {}) for two in nearest):
                return True
        return False


def _is_chained(node: Node) -> bool:
    """Whether it does not matter in which order, and in which groups, the terms of such operations are taken."""
    return sign_of_exchange(node) == 1 and len(node.reads) == 2
