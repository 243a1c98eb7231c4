"""Which value does the mirror take to which other one?

Python code may take joints or limbs apart (one layer per joint, one network per limb). Then T does not act on one
value of the graph, it takes it to another, its partner: value(T x) = R partner(x), and partner(T x) = R value(x) since
T T = 1. A rule says that op(R a, S b) = Q op(a, b) for all a and b, so it holds here too, if the partners of the
operands are the operands of the partner. What is left is to find partners. Weights of exchanged branches are exchanged
as well.

    left, right = x[:, 1], x[:, 2]                `take`: T exchanges joints 1 and 2
    a, b = net_1(left), net_2(right)              `follow`: the same ops; the weights of net_1 and net_2 are partners
    y = torch.stack([a, b], 1)                    `meeting.join`: T acts on y by itself again

`run.Run` calls all of them in every run, before the rule of the op. Every run checks what earlier ones decided, so the
last one proves it.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch

from chiralize.errors import NotAnInvolutionError
from chiralize.graph.model import Node
from chiralize.graph.traits import Extremum, Scaling, Sum
from chiralize.infer.algebra import without_axis
from chiralize.infer.rule import Call, traits
from chiralize.infer.symbolic import Axis, Conflict, SymbolicRepresentation, action_of, is_known, known_axis
from chiralize.infer.wiring import AxisOf, Taken, Wiring, settings
from chiralize.symmetry.involution import IntArray, SignedPermutation


class Exchange:
    """Finds and holds the partners of values; most values are their own.

    zero: weights that can only be zero; nothing has to be exchanged there.
    images: the partner of every value that has one, by the name that `Wiring.one` gives.
    open: axes of which entries are taken and on which T is not known.
    summands: partial sums in which values of one side meet, and whose partners are looked for in the whole sum.
    apart: splits whose outputs are exchanged one by one.  moved: values of which something was decided, for whoever
    clears it.
    """

    def __init__(self, wiring: Wiring, zero: frozenset[str] = frozenset()) -> None:
        self.wiring, self.zero = wiring, zero
        self.nodes, self.leaves, self.one = wiring.captured.by_name, wiring.captured.leaves, wiring.one
        self.images: dict[str, str] = {}
        self.open: set[AxisOf] = set()
        self.summands: set[str] = set()
        self.apart: set[str] = set()
        self.moved: set[str] = set()

    def of(self, name: str) -> str:
        """The value that T takes this one to."""
        return self.images.get(self.one(name), self.one(name))

    def is_exchanged(self, name: str) -> bool:
        """Whether T takes the value to another one."""
        return bool(self.images) and self.of(name) != self.one(name)

    def reads_exchanged(self, node: Node) -> bool:
        """Whether an op reads a value of one side, or a part of a sum in which such values meet."""
        return bool(self.images) and any(self.is_exchanged(name) or name in self.summands for name in node.names_read)

    def same_constant(self, name: str) -> bool:
        """Whether a constant and its partner hold the same numbers, so that a rule may look at them."""
        if not self.is_exchanged(name):
            return True
        ours, theirs = self.leaves[name].tensor, self.leaves[self.of(name)].tensor
        return ours.dtype == theirs.dtype and torch.equal(ours, theirs)

    def pair(self, name: str, other: str) -> None:
        """T takes each of the two values to the other."""
        name, other = self.one(name), self.one(other)
        if self.images.get(name) != other:
            self.moved |= {name, other}
        self.images[name], self.images[other] = other, name

    # ---- comparing -------------------------------------------------------------------------------------------
    def _alike(self, node: Node, other: Node, deep: bool = False) -> dict[str, str] | None:
        """What becomes partners where two operations do the same to partners; None where they do not.

        deep: values that could be exchanged may become partners, too.
        """
        if node.target != other.target or node.shapes != other.shapes or settings(node) != settings(other):
            return None
        pairs = self._pairs(zip(node.names_read, other.names_read, strict=True), deep)
        if pairs is None and sign_of_exchange(node) == 1 and len(node.reads) == 2:
            # Of a + b and b' + a' the operands stand the other way round.
            return self._pairs(zip(node.names_read, other.names_read[::-1], strict=True), False)
        return pairs

    def _pairs(self, values: Iterable[tuple[str, str]], deep: bool) -> dict[str, str] | None:
        """What has to become partners so that all of these are, as far back as they differ; None where they cannot be.

        Weights without a partner may become partners, and what is computed from weights alone. Values that inputs
        decide on may do so where `deep` allows that guess.
        """
        pairs: dict[str, str] = {}
        known = ChainMap(pairs, self.images)
        # A list in place of recursion: branches may be thousands of ops long.
        left = [(self.one(ours), self.one(theirs)) for ours, theirs in values]
        while left:
            ours, theirs = left.pop()
            if ours in self.zero and theirs in self.zero:
                continue
            # A pair is a pair in both directions: who has a partner gets no second one.
            if ours in known or theirs in known:
                if known.get(ours) != theirs:
                    return None
                continue
            is_loose = ours in self.wiring.loose and theirs in self.wiring.loose
            # Computed from inputs and without a partner: T takes it to itself.
            if ours == theirs and not is_loose:
                continue
            if not (is_loose or deep) or not self._could_be(ours, theirs):
                return None
            pairs[ours], pairs[theirs] = theirs, ours
            if ours != theirs and not self._are_open(ours, theirs) and ours in self.nodes:
                both = zip(self.nodes[ours].names_read, self.nodes[theirs].names_read, strict=True)
                left += [(self.one(one), self.one(two)) for one, two in both]
        return pairs

    def _could_be(self, ours: str, theirs: str) -> bool:
        """Whether two values without partners look alike by themselves: whatever the values are that they read."""
        if ours in self.zero or theirs in self.zero:
            return False
        if self._are_open(ours, theirs) or ours == theirs:
            return True
        # Weights become partners where they could hold the same numbers.
        if ours in self.leaves and theirs in self.leaves:
            a, b = self.leaves[ours], self.leaves[theirs]
            both_loose = self.wiring.loose.issuperset((ours, theirs))
            return both_loose and (a.kind, a.shape, a.tensor.dtype) == (b.kind, b.shape, b.tensor.dtype)
        if ours in self.nodes and theirs in self.nodes:
            a, b = self.nodes[ours], self.nodes[theirs]
            return a.target == b.target and a.shapes == b.shapes and settings(a) == settings(b)
        return False

    def _are_open(self, ours: str, theirs: str) -> bool:
        """Whether these are two entries of one axis on which T is unknown: nothing speaks against an exchange."""
        axis = self.wiring.axis_of(ours)
        return axis is not None and axis == self.wiring.axis_of(theirs) and axis in self.open

    # ---- taking entries ------------------------------------------------------------------------------------
    def take(self, node: Node, call: Call) -> tuple[SymbolicRepresentation, ...] | None:
        """Entries taken out of a known axis that are not closed under T, if another place takes their mirror images.

        None where the ordinary rule applies. Raises Conflict where the branches do not mirror each other.
        """
        selection = self.wiring.taken.get(node.name)
        if selection is None:
            return None
        rep = call.solver.representation(call.operands[0].rep)
        action = self._settled(node, selection, rep.axes[selection.dim], call)
        # Entries that the mirror exchanges among each other are a part of the axis, which the ordinary rule covers.
        # So it does where T on the axis is unknown yet: most axes that are cut are not cut into sides.
        if action is None or all(action.restrict(entries) is not None for entries in selection.entries):
            return None
        outputs: list[SymbolicRepresentation] = []
        # value(T x) = R partner(x): R moves the entries of each output into the order in which its partner has them.
        for output, entries in enumerate(selection.entries):
            image = [int(action.partner[entry]) for entry in entries]
            order = self._mirrored(node, output, selection, image)
            if order is None:
                return None
            outputs.append(_part(rep, selection, _between(action, entries, order)))
        return tuple(map(call.solver.representation, outputs))

    def _settled(self, node: Node, selection: Taken, axis: Axis, call: Call) -> SignedPermutation | None:
        """T on the axis. Where nothing else knows it, entries change places in the end whose values are exchanged.

        Raises Conflict where the mirror does not exchange such entries.
        """
        source_axis = AxisOf(self.one(node.reads[0].name), selection.dim, selection.size)
        images = self._images_on(source_axis)
        if not is_known(call.solver.resolve(axis)):
            self.open.add(source_axis)
            if not images:
                return None
            partner = np.arange(selection.size)
            entries, others = zip(*images, strict=True)
            partner[list(entries)] = others
            call.solver.equal(axis, known_axis(involution(partner, np.ones_like(partner))))
            call.solver.watch.guessed = True
        self.open.discard(source_axis)
        action = action_of(call.solver.resolve(axis))
        # Where the source is exchanged itself, its entries have their partners in the source's partner.
        is_side = self.is_exchanged(source_axis.source)
        if not is_side and any(action.partner[entry] != other for entry, other in images):
            raise Conflict("entries of an axis are used as if the mirror exchanged them, and it does not")
        return action

    def _images_on(self, axis: AxisOf) -> list[tuple[int, int]]:
        """Every entry of the axis whose value has a partner, and that one: -1 for no entry of it."""
        images: list[tuple[int, int]] = []
        for name in self.wiring.picked.get(axis, ()):
            if self.is_exchanged(name):
                source, entry = self.wiring.entry.get(self.of(name), (None, -1))
                images.append((self.wiring.entry[name][1], entry if source == axis else -1))
        return images

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
            return list(selection.entries[other]) if self._pair_outputs(node, output, selection, other) else None
        source = self.of(node.reads[0].name)
        # A node that has its partner is compared with that one alone.
        if self.is_exchanged(node.name):
            candidates = [self.nodes[self.of(node.name)]]
        else:
            candidates = self.wiring.users.get(source, [])
        for other in candidates:
            theirs = self.wiring.taken.get(other.name)
            if theirs is None or self.one(other.reads[0].name) != source or len(theirs.entries) != 1:
                continue
            if replace(theirs, entries=selection.entries) != selection or sorted(theirs.entries[0]) != sorted(image):
                continue
            # Several ops may take the same entries. One that has its partner cannot be the partner of this one, too.
            if self.is_exchanged(node.name) or not self.is_exchanged(other.name):
                self.pair(node.name, other.name)
                return list(theirs.entries[0])
        return None

    def _pair_outputs(self, node: Node, output: int, selection: Taken, other: int) -> bool:
        """Exchange the outputs of a split, or of two splits of exchanged values; False if nothing reads the other one.

        output: a part of `node`.  other: the part of the same split, or of the split of the partner, that is taken to
        it.
        """
        source, twin = node.reads[0].name, node
        # Of one split parts are exchanged with each other; a value of one side and its partner are split alike.
        if self.is_exchanged(node.name):
            twin = self.nodes[self.of(node.name)]
        elif self.is_exchanged(source):
            users = self.wiring.users.get(self.of(source), [])
            alike = [user for user in users if self.wiring.taken.get(user.name) == selection]
            twin = next((user for user in alike if user.name not in self.images), None)
            if twin is None:
                return False
            self.pair(node.name, twin.name)
        # A split has no partner as a whole, only its parts have: `follow` must not look for one.
        if not self.apart >= {node.name, twin.name}:
            self.apart |= {node.name, twin.name}
            self.moved |= {node.name, twin.name}
        # The outputs are values by their `getitem` nodes. One that is never read has none, and no partner either.
        ours, theirs = self._getters(node, output), self._getters(twin, other)
        if len(ours) != len(theirs) or any(self.images.get(a, b) != b for a, b in zip(ours, theirs, strict=True)):
            return False
        for a, b in zip(ours, theirs, strict=True):
            self.pair(a, b)
        return True

    def _getters(self, node: Node, output: int) -> list[str]:
        """The values that are one output of an op."""
        users = self.wiring.users.get(node.name, [])
        return [user.name for user in users if user.target == "getitem" and user.arguments["index"] == output]

    # ---- operations on exchanged values ----------------------------------------------------------------------
    def follow(self, node: Node) -> int:
        """Find, or check, the partner of an operation on exchanged values; returns the sign of an exchange of terms.

        Raises Conflict where nothing in the graph does the same to the partners of its operands.
        """
        if node.target == "getitem" and node.arguments["value"].name in self.apart:
            return 1  # `take` has found its partner
        # A pair of an earlier run is compared anew: operands may have been paired otherwise since.
        if self.is_exchanged(node.name):
            if self._alike(node, self.nodes[self.of(node.name)]) is None:
                raise Conflict("two branches that the mirror exchanges do not compute the same")
            return 1
        # Values of both sides that meet in one op come before partners of the op: left + right is its own partner.
        sign = self._exchanges_terms(node)
        if sign:
            return sign
        if node.name in self.summands or self._sums_up(node) or self._pair_with_alike(node):
            return 1
        if self._is_summand(node):
            self.summands.add(node.name)
            self.moved.add(node.name)
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
                pairs = self._alike(node, other, deep)
                if pairs is not None:
                    for first, second in {**pairs, node.name: other.name}.items():
                        self.pair(first, second)
                    return True
        return False

    def _free_candidates(self, node: Node) -> list[Node]:
        """Operations without a partner that read the partner of the first operand that has one."""
        for name in filter(self.is_exchanged, node.names_read):
            return [other for other in self.wiring.users.get(self.of(name), []) if other.name not in self.images]
        return []

    def _exchanges_terms(self, node: Node) -> int:
        """+1 or -1 for an operation whose two operands are partners of each other, 0 for any other.

        left - right becomes right - left: it is taken to itself and negated.
        """
        sign, names = sign_of_exchange(node), node.names_read
        mutual = len(names) == 2 and self.is_exchanged(names[0]) and self.of(names[0]) == self.one(names[1])
        if mutual and not (sign < 0 and self._is_taken_both_ways(node)):
            return sign
        return 0

    def _is_taken_both_ways(self, node: Node) -> bool:
        """Whether the graph has b - a, too, and treats it as a - b: then both may be exchanged without a sign."""
        for other in self._free_candidates(node):
            alike = other is not node and self._alike(node, other) is not None
            if alike and self._targets_of_readers(other) == self._targets_of_readers(node):
                return True
        return False

    def _targets_of_readers(self, node: Node) -> list[str]:
        """Which ops read a value, one name for each, in a fixed order."""
        return sorted(user.target for user in self.wiring.users.get(node.name, []))

    def _is_summand(self, node: Node) -> bool:
        """A partial sum that only a larger sum reads: partners are looked for among the terms of the whole.

        (a + l) + r is computed as a + l first, which T takes to a + r, and nothing computes that. The terms {a, l, r}
        of the whole are exchanged among each other. So it is with products, and with the largest and the smallest.
        """
        users = self.wiring.users.get(node.name, [])
        is_inner = len(users) == 1 and node.name not in self.wiring.captured.results
        is_chain = is_inner and _is_chained(node) and _is_chained(users[0])
        return is_chain and users[0].target == node.target and users[0].shapes == node.shapes

    def _sums_up(self, node: Node) -> bool:
        """Whether the terms of a sum of sums (or of another chain) are exchanged among each other."""
        if not _is_chained(node):
            return False
        terms: list[str] = []
        left = list(node.names_read)
        # Partial sums are written out: a, l, r of (a + l) + r.
        while left:
            name = left.pop()
            if name in self.summands and self.nodes[name].target == node.target:
                left += self.nodes[name].names_read
            else:
                terms.append(name)
        return sorted(map(self.of, terms)) == sorted(map(self.one, terms))


def sign_of_exchange(node: Node) -> int:
    """The change of a result when its two operands are exchanged: 1 none, -1 it is negated, 0 something else."""
    match traits().get(node.target):
        case Sum() as trait if node.arguments.get("alpha", 1) == 1:
            return trait.signs[0] * trait.signs[1]
        case Scaling(divides=False) | Extremum():
            return 1
    return 0


def _is_chained(node: Node) -> bool:
    """Whether it does not matter in which order, and in which groups, the terms of such operations are taken."""
    return sign_of_exchange(node) == 1 and len(node.reads) == 2


def _between(action: SignedPermutation, entries: Sequence[int], theirs: Sequence[int]) -> SignedPermutation:
    """R of value(T x) = R partner(x): entry i of ours is the mirror image of that entry of theirs.

    With joints 1, 2 exchanged with 4, 5, T takes x[[1, 2]] to x[[5, 4]] by the R that exchanges both entries.
    """
    positions: dict[int, list[int]] = {}
    # An entry may be taken several times: copies correspond in their order.
    for position, entry in enumerate(theirs):
        positions.setdefault(entry, []).append(position)
    partner = [positions[int(action.partner[entry])].pop(0) for entry in entries]
    return involution(np.array(partner), action.sign[np.asarray(entries)])


def involution(partner: IntArray, sign: IntArray) -> SignedPermutation:
    """The involution of these partners and signs. Raises Conflict where it is none.

    R has to be one, since the partner's partner is the value itself, by the same R.
    """
    try:
        return SignedPermutation(partner, sign)
    except NotAnInvolutionError:
        message = "two branches take the same entries in different orders: no involution exchanges them"
        raise Conflict(message) from None


def _part(rep: SymbolicRepresentation, taken: Taken, action: SignedPermutation) -> SymbolicRepresentation:
    """The representation of entries taken out of a tensor, on which the mirror acts by `action`."""
    if taken.single:
        rest = without_axis(rep, taken.dim)
        return SymbolicRepresentation(rest.axes, rest.sign * int(action.sign[0]))
    return rep.with_axis(taken.dim, known_axis(action))
