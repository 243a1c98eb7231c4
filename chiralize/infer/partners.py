"""Values that the mirror exchanges: what the left branch computes becomes what the right branch computes.

Python code may take joints or limbs apart (one layer per joint, one network per limb). Then T does not act on one
value of the graph, it takes it to another, its partner: value(T x) = R partner(x). A rule says that
op(R a, S b) = Q op(a, b) for all a and b, so it holds here too, if the partners of the operands are the operands of
the partner. What is left is to find partners: where entries are taken out of an axis, forwards from there, and where
branches meet again. Weights of exchanged branches are exchanged as well.

Every run checks what earlier ones decided, so the last one proves it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from chiralize.graph.model import CapturedModel, Node, Ref
from chiralize.infer.actions import between, closed, exchange, involution, part, places
from chiralize.infer.calls import holds
from chiralize.infer.constants import equal
from chiralize.infer.picks import AxisOf, Picks, taken_by
from chiralize.infer.registry import Call
from chiralize.infer.solver.terms import Conflict, Wait, product
from chiralize.infer.taking import Taken, taken
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.symbolic import Axis, SymbolicRepresentation, is_known, known_axis

SUM, DIFFERENCE = "aten.add.Tensor", "aten.sub.Tensor"
_EXCHANGEABLE = {SUM: 1, "aten.mul.Tensor": 1, "aten.maximum.default": 1, "aten.minimum.default": 1,
                 "aten.max.other": 1, "aten.min.other": 1,
                 DIFFERENCE: -1}  # fmt: skip
_ASSOCIATIVE = {target for target, sign in _EXCHANGEABLE.items() if sign > 0}
_JOINS = ("aten.cat.default", "aten.stack.default")


class Partners:
    """Which value of a graph the mirror takes to which other one; most are their own partners.

    zero: weights that can only be zero; nothing has to be exchanged there.
    """

    def __init__(self, captured: CapturedModel, zero: frozenset[str] = frozenset()) -> None:
        self.leaves = captured.leaves
        self.taken = taken_by(captured)
        self.nodes = {node.name: node for node in captured.nodes}
        self.found: dict[str, str] = {}
        self.moved = 0
        self.summands: set[str] = set()
        self.apart: set[str] = set()
        self.open: set[AxisOf] = set()
        self.zero = zero
        self.results = {*captured.outputs, *captured.mutations.values()}
        self.users: dict[str, list[Node]] = {}
        self.twins: dict[str, str] = {}
        self.loose = {leaf.name for leaf in captured.leaves.values() if leaf.kind not in ("input", "state")}
        picks: dict[Any, str] = {}
        for node in captured.nodes:
            names = list(dict.fromkeys(self.one(ref.name) for ref in node.reads))
            for name in names:
                self.users.setdefault(name, []).append(node)
            if names and all(name in self.loose for name in names):
                self.loose.add(node.name)
            if (picked := self.taken.get(node.name)) is not None and len(picked.entries) == 1:
                self.twins[node.name] = picks.setdefault((names[0], picked), node.name)
        self.picks = Picks(captured, self.taken, self.one)

    @property
    def decided(self) -> int:
        """Grows with everything that is decided here."""
        return self.moved + len(self.summands) + len(self.apart)

    def one(self, name: str) -> str:
        """The first of several values that are the same entries of the same tensor."""
        return self.twins.get(name, name)

    def of(self, name: str) -> str:
        """The value that T takes this one to."""
        return self.found.get(self.one(name), self.one(name))

    def exchanged(self, name: str) -> bool:
        """Whether T takes the value to another one."""
        return bool(self.found) and self.of(name) != self.one(name)

    def reads_exchanged(self, node: Node) -> bool:
        return any(self.exchanged(ref.name) or ref.name in self.summands for ref in node.reads)

    def same_constant(self, name: str) -> bool:
        """Whether a constant and its partner hold the same numbers, so that a rule may look at them."""
        return not self.exchanged(name) or equal(self.leaves[name].tensor, self.leaves[self.of(name)].tensor)

    # ---- taking entries ------------------------------------------------------------------------------------
    def take(self, node: Node, call: Call) -> tuple[SymbolicRepresentation, ...] | None:
        """Entries taken out of a known axis that are not closed under T, if another place takes their mirror images.

        None where the ordinary rule applies. Raises Conflict where the branches do not mirror each other.
        """
        found = taken(call)
        if found is None:
            return None
        rep = call.solver.representation(call.operands[0].rep)
        action = self._settled(node, found, rep.axes[found.dim], call)
        if action is None or all(closed(action, entries) for entries in found.entries):
            return None
        outputs: list[SymbolicRepresentation] = []
        for place, entries in enumerate(found.entries):
            image = [int(action.partner[entry]) for entry in entries]
            order = self._mirrored(node, place, found, image)
            if order is None:
                return None
            outputs.append(part(rep, found, between(action, entries, order)))
        return tuple(call.solver.representation(out) for out in outputs)

    def _settled(self, node: Node, found: Taken, axis: Axis, call: Call) -> SignedPermutation | None:
        """T on the axis. Where nothing else knows it, entries change places in the end whose values are exchanged.

        Raises Conflict where the mirror does not exchange such entries.
        """
        own = AxisOf(self.one(node.reads[0].name), found.dim, found.size)
        images = self.picks.images(own, self.of)
        if not is_known(axis):
            self.open.add(own)
            if not images or any(other < 0 for _, other in images) or not call.solver.last_resort:
                return None
            partner = np.arange(found.size)
            partner[[entry for entry, _ in images]] = [other for _, other in images]
            call.solver.equal(axis, known_axis(involution(partner, np.ones_like(partner))))
            call.solver.guessed = True
        self.open.discard(own)
        action = product(call.solver.resolve(axis))
        if not self.exchanged(own.source) and any(action.partner[entry] != other for entry, other in images):
            raise Conflict("entries of an axis are used as if the mirror exchanged them, and it does not")
        return action

    def _mirrored(self, node: Node, place: int, found: Taken, image: Sequence[int]) -> list[int] | None:
        """The entries, in their order, that the partner of an output takes: those in `image`, in any order."""
        if len(found.entries) > 1:
            matching = (at for at, entries in enumerate(found.entries) if sorted(entries) == sorted(image))
            other = next(matching, None)
            return None if other is None or not self._pair_outputs(node, place, found, other) else list(
                found.entries[other])  # fmt: skip
        source = self.of(node.reads[0].name)
        known = [self.nodes[self.of(node.name)]] if self.exchanged(node.name) else self.users.get(source, [])
        for other in known:
            entries = self._entries(other, found) if self.one(other.reads[0].name) == source else None
            if entries is not None and sorted(entries) == sorted(image):
                if self.exchanged(node.name) or not self.exchanged(other.name):
                    self.pair(node.name, other.name)
                    return list(entries)
        return None

    def _entries(self, node: Node, like: Taken) -> tuple[int, ...] | None:
        """What another node takes out of the same axis."""
        found = self.taken.get(node.name)
        same = found is not None and (found.dim, found.size, found.single) == (like.dim, like.size, like.single)
        return found.entries[0] if same and found is not None and len(found.entries) == 1 else None

    def _pair_outputs(self, node: Node, place: int, found: Taken, other: int) -> bool:
        """Outputs of a split, or of two splits of exchanged values, are exchanged; False if nobody reads the other."""
        source = node.reads[0].name
        twin = node
        if self.exchanged(node.name):
            twin = self.nodes[self.of(node.name)]
        elif self.exchanged(source):
            alike = (user for user in self.users.get(self.of(source), []) if self.taken.get(user.name) == found)
            twin = next((user for user in alike if user.name not in self.found), None)
            if twin is None:
                return False
            self.pair(node.name, twin.name)
        self.apart |= {node.name, twin.name}
        ours, theirs = self._readers(node, place), self._readers(twin, other)
        if len(ours) != len(theirs) or any(self.found.get(a, b) != b for a, b in zip(ours, theirs, strict=True)):
            return False
        for a, b in zip(ours, theirs, strict=True):
            self.pair(a, b)
        return True

    def _readers(self, node: Node, place: int) -> list[str]:
        """The values that are output `place` of an op."""
        users = self.users.get(node.name, [])
        return [user.name for user in users if user.target == "getitem" and user.arguments["index"] == place]

    # ---- operations on exchanged values ----------------------------------------------------------------------
    def follow(self, node: Node) -> int:
        """Find, or check, the partner of an operation on exchanged values; returns the sign of an exchange of terms.

        Raises Conflict where nothing in the graph does the same to the partners of its operands.
        """
        if node.target == "getitem" and node.arguments["value"].name in self.apart:
            return 1  # `take` has found its partner
        if self.exchanged(node.name):
            if not self._alike(node, self.nodes[self.of(node.name)], {}):
                raise Conflict("two branches that the mirror exchanges do not compute the same")
            return 1
        sign = self._exchanges_terms(node)
        if sign:
            return sign
        if node.name in self.summands or self._sums_up(node):
            return 1
        free = [other for other in self._candidates(node) if other.name not in self.found]
        for other, deep in [*((other, False) for other in free), *((other, True) for other in free)]:
            pairs: dict[str, str] = {}
            if self._alike(node, other, pairs, deep):
                for first, second in {**pairs, node.name: other.name}.items():
                    self.pair(first, second)
                return 1
        if self._is_summand(node):
            self.summands.add(node.name)
            return 1
        raise Conflict("a value of one side of the body is used, and nothing does the same with that of the other side")

    def _candidates(self, node: Node) -> Sequence[Node]:
        first = next((ref.name for ref in node.reads if self.exchanged(ref.name)), None)
        return self.users.get(self.of(first), []) if first is not None else []

    def _exchanges_terms(self, node: Node) -> int:
        """+1 or -1 for an operation whose two operands are each other's partners, 0 for any other."""
        sign, refs = _EXCHANGEABLE.get(node.target, 0), list(node.reads)
        plain = node.arguments.get("alpha", 1) == 1
        mutual = len(refs) == 2 and self.exchanged(refs[0].name) and self.of(refs[0].name) == self.one(refs[1].name)
        return sign if plain and mutual and not (sign < 0 and self._is_taken_both_ways(node)) else 0

    def _is_taken_both_ways(self, node: Node) -> bool:
        """Whether b - a is there beside a - b, and the same is done to both: then they may change places, unnegated."""
        readers = sorted(user.target for user in self.users.get(node.name, []))
        return any(
            other is not node and other.name not in self.found and self._alike(node, other, {})
            and sorted(user.target for user in self.users.get(other.name, [])) == readers
            for other in self._candidates(node)
        )  # fmt: skip

    def _is_summand(self, node: Node) -> bool:
        """A partial sum that only a larger sum reads: partners are looked for among the terms of the whole.

        So it is with products, and with the largest and the smallest of several.
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
        names: list[str] = []
        for ref in node.reads:
            inner = ref.name in self.summands and self.nodes[ref.name].target == node.target
            names += self._terms(self.nodes[ref.name]) if inner else [ref.name]
        return names

    def join(self, node: Node, reps: Sequence[SymbolicRepresentation], call: Call) -> SymbolicRepresentation | None:
        """Branches that meet in a concatenation or a stack; None where they do not exchange places there."""
        if node.target not in _JOINS or self.exchanged(node.name):
            return None
        names = [self.one(ref.name) for ref in node.reads]
        order = places(names, [self.of(name) for name in names])
        if order is None:
            return None
        stacked = node.target == "aten.stack.default"
        dim = call.axis(call.get("dim", 0), len(call.shape))
        first = reps[0]
        parts: list[SignedPermutation] = []
        for rep in reps:
            sign = first.sign * rep.sign
            rest = [(own, axis) for at, (own, axis) in enumerate(zip(rep.axes, first.axes, strict=True))
                    if stacked or at != dim]  # fmt: skip
            for own, axis in rest:
                sign = call.solver.same(own, axis, sign)
            axis = () if stacked else call.solver.resolve(rep.axes[dim])
            if not is_known(axis):
                raise Wait("exchanged branches are concatenated along an axis that is not known yet")
            parts.append(-product(axis) if sign < 0 else product(axis))
        whole = known_axis(exchange(parts, order))
        axes = (*first.axes[:dim], whole, *first.axes[dim if stacked else dim + 1 :])
        return call.solver.representation(SymbolicRepresentation(axes, first.sign))

    def open_join(
        self, node: Node, reps: Sequence[SymbolicRepresentation], call: Call, whole: Axis
    ) -> SymbolicRepresentation | None:
        """Branches with weights of their own that meet: what follows decides which of them the mirror exchanges.

        whole: the axis that they form together. None where it leaves every branch at its place.
        """
        dim = call.axis(call.get("dim", 0), len(call.shape))
        stacked = node.target == "aten.stack.default"
        first = reps[0]
        if not is_known(whole):
            axes = (*first.axes[:dim], whole, *first.axes[dim if stacked else dim + 1 :])
            return SymbolicRepresentation(axes, first.sign)
        ends = np.cumsum([1 if stacked else rep.shape[dim] for rep in reps])
        action, names = product(whole), [ref.name for ref in node.reads]
        starts = [0, *ends[:-1].tolist()]
        for start, end, name, rep in zip(starts, ends, names, reps, strict=True):
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
        for node in self.users.get(name, ()):
            found = self.taken.get(node.name)
            for entries in found.entries if found is not None else ():
                if sorted(entries) == list(range(len(entries))):
                    yield entries

    def has_branches(self, node: Node) -> bool:
        """Whether some operands of a concatenation or a stack are computed alike, with other weights."""
        names = [ref.name for ref in node.reads]
        return node.target in _JOINS and any(
            self._mates(one, two, {})
            for at, one in enumerate(names)
            for two in names[at + 1 : at + 2 + len(names) // 2]
        )

    def _mates(self, one: str, two: str, pairs: dict[str, str]) -> bool:
        """Whether two values could be exchanged: computed by the same operations, from the same values or mates."""
        known = {**self.found, **pairs}
        if one == two or known.get(one) == two:
            return True
        if one in known or two in known:
            return False
        if self.picks.axis(one) == self.picks.axis(two) in self.open:
            pairs[one], pairs[two] = two, one
            return True
        if one in self.loose or one not in self.nodes or two not in self.nodes:
            return self._agree_names(one, two, pairs)
        a, b = self.nodes[one], self.nodes[two]
        if a.target != b.target or a.shapes != b.shapes or len(a.reads) != len(b.reads):
            return False
        others = [[value for value in node.arguments.values() if not holds(value)] for node in (a, b)]
        mates = others[0] == others[1] and all(
            self._mates(self.one(x.name), self.one(y.name), pairs) for x, y in zip(a.reads, b.reads, strict=True)
        )
        if mates:
            pairs[one], pairs[two] = two, one
        return mates

    # ---- comparing -------------------------------------------------------------------------------------------
    def _alike(self, node: Node, other: Node, pairs: dict[str, str], deep: bool = False) -> bool:
        """Whether two operations do the same to partners; weights that nobody has spoken for become partners.

        deep: values become partners, too, that could be exchanged.
        """
        if node.target != other.target or node.shapes != other.shapes or set(node.arguments) != set(other.arguments):
            return False
        trial = dict(pairs)
        if all(self._agree(value, other.arguments[key], trial, deep) for key, value in node.arguments.items()):
            pairs.update(trial)
            return True
        if _EXCHANGEABLE.get(node.target) != 1 or len(node.reads) != 2 or node.arguments.get("alpha", 1) != 1:
            return False
        (a, b), (c, d) = node.reads, other.reads
        return len(other.reads) == 2 and self._agree(a, d, pairs) and self._agree(b, c, pairs)

    def _agree(self, ours: Any, theirs: Any, pairs: dict[str, str], deep: bool = False) -> bool:
        if isinstance(ours, Ref) and isinstance(theirs, Ref):
            return self._agree_names(ours.name, theirs.name, pairs) or (
                deep and self._mates(self.one(ours.name), self.one(theirs.name), pairs)
            )
        if isinstance(ours, (list, tuple)) and isinstance(theirs, (list, tuple)):
            both = zip(ours, theirs, strict=False)
            return len(ours) == len(theirs) and all(self._agree(a, b, pairs, deep) for a, b in both)
        return type(ours) is type(theirs) and ours == theirs

    def _agree_names(self, ours: str, theirs: str, pairs: dict[str, str]) -> bool:
        ours, theirs = self.one(ours), self.one(theirs)
        if ours in self.zero or theirs in self.zero:
            return ours in self.zero and theirs in self.zero
        known = {**self.found, **pairs}
        if ours in known or theirs in known:
            return known.get(ours) == theirs
        if ours not in self.loose or theirs not in self.loose:
            return ours == theirs
        if ours in self.leaves and theirs in self.leaves:
            one, two = self.leaves[ours], self.leaves[theirs]
            alike = (one.kind, one.shape, one.tensor.dtype) == (two.kind, two.shape, two.tensor.dtype)
        elif ours in self.nodes and theirs in self.nodes:
            alike = ours == theirs or self._alike(self.nodes[ours], self.nodes[theirs], pairs)
        else:
            return False
        if alike:
            pairs[ours], pairs[theirs] = theirs, ours
        return alike

    def pair(self, name: str, other: str) -> None:
        """T takes each of the two values to the other."""
        name, other = self.one(name), self.one(other)
        self.moved += self.found.get(name) != other
        self.found[name], self.found[other] = other, name

    def leaf_pairs(self) -> Mapping[str, str]:
        """Exchanged leaves, each with its partner."""
        return {name: other for name, other in self.found.items() if name != other and name in self.leaves}


def _is_chained(node: Node) -> bool:
    """Whether it does not matter in which order, and in which groups, the terms of such operations are taken."""
    return node.target in _ASSOCIATIVE and node.arguments.get("alpha", 1) == 1 and len(node.reads) == 2
