"""Which value the mirror takes to which other one, and whether two computations do the same to both.

Code may have one layer per limb: `left = net_l(x[:, 4:7])`, `right = net_r(x[:, 1:4])`. Then T takes the one value to
the other and back: left(T x) = R right(x). The two are partners. For that, net_l and net_r have to run the same ops in
the same order, on operands that are partners; their weights are then partners, too. Two comparisons find that out:

    _alike   do two ops do the same to operands that are partners by now? Weights without a partner become partners.
    _mates   could two values be partners, as far back as they differ? This is a guess for where branches meet.

`Partners` builds on them: it looks for the op that is to be compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chiralize.graph.model import CapturedModel, Node, Ref
from chiralize.graph.traits import Extremum, Scaling, Sum
from chiralize.infer.calls import names_read
from chiralize.infer.constants import equal
from chiralize.infer.picks import AxisOf, Picks, taken_by
from chiralize.infer.registry import traits


class Exchanges:
    """Which value of a graph the mirror takes to which other one; most are their own partners.

    zero: weights that can only be zero; nothing has to be exchanged there.
    images: the partner of every value that has one, by the name that `one` gives.  moved: grows with every new pair.
    loose: weights, constants and what is computed from these alone: no input says how they are exchanged.
    open: axes of which entries are taken and on which T is not known.  taken: by op, which entries it takes out of an
    axis.  users: by value, the nodes that read it.  twins: values that are read off a tensor once more, see `one`.
    """

    def __init__(self, captured: CapturedModel, zero: frozenset[str] = frozenset()) -> None:
        self.leaves = captured.leaves
        self.taken = taken_by(captured)
        self.nodes = captured.by_name
        self.images: dict[str, str] = {}
        self.moved = 0
        self.open: set[AxisOf] = set()
        self.zero = zero
        self.users: dict[str, list[Node]] = {}
        self.twins: dict[str, str] = {}
        self.loose = {leaf.name for leaf in captured.leaves.values() if leaf.kind not in ("input", "state")}
        picks: dict[Any, str] = {}
        # In the order of the graph, so that `one` knows the operands of a node when its turn comes.
        for node in captured.nodes:
            names = list(dict.fromkeys(map(self.one, names_read(node))))
            for name in names:
                self.users.setdefault(name, []).append(node)
            if names and self.loose.issuperset(names):
                self.loose.add(node.name)
            # x[:, 3] written twice is two nodes of one value: with one partner both have it.
            if (picked := self.taken.get(node.name)) is not None and len(picked.entries) == 1:
                self.twins[node.name] = picks.setdefault((names[0], picked), node.name)
        self.picks = Picks(captured, self.taken, self.one)

    def one(self, name: str) -> str:
        """The first of several values that are the same entries of the same tensor."""
        return self.twins.get(name, name)

    def of(self, name: str) -> str:
        """The value that T takes this one to."""
        return self.images.get(self.one(name), self.one(name))

    def exchanged(self, name: str) -> bool:
        """Whether T takes the value to another one."""
        return bool(self.images) and self.of(name) != self.one(name)

    def same_constant(self, name: str) -> bool:
        """Whether a constant and its partner hold the same numbers, so that a rule may look at them."""
        return not self.exchanged(name) or equal(self.leaves[name].tensor, self.leaves[self.of(name)].tensor)

    def pair(self, name: str, other: str) -> None:
        """T takes each of the two values to the other."""
        name, other = self.one(name), self.one(other)
        self.moved += self.images.get(name) != other
        self.images[name], self.images[other] = other, name

    def leaf_pairs(self) -> Mapping[str, str]:
        """Exchanged leaves, each with its partner."""
        return {name: other for name, other in self.images.items() if name != other and name in self.leaves}

    # ---- comparing -------------------------------------------------------------------------------------------
    def _alike(self, node: Node, other: Node, pairs: dict[str, str], deep: bool = False) -> bool:
        """Whether two operations do the same to partners; weights without a partner become partners.

        deep: values that could be exchanged become partners, too.  pairs: takes in what has become partners, and is of
        no use any more after a comparison that fails.
        """
        if node.target != other.target or node.shapes != other.shapes or set(node.arguments) != set(other.arguments):
            return False
        trial = dict(pairs)
        if all(self._agree(value, other.arguments[key], trial, deep) for key, value in node.arguments.items()):
            pairs.update(trial)
            return True
        if sign_of_exchange(node) != 1 or len(node.reads) != 2 or settings(node) != settings(other):
            return False
        # Of a + b and b' + a' the operands stand the other way round.
        (a, b), (c, d) = node.reads, other.reads
        return len(other.reads) == 2 and self._agree(a, d, pairs) and self._agree(b, c, pairs)

    def _agree(self, ours: Any, theirs: Any, pairs: dict[str, str], deep: bool = False) -> bool:
        """Whether an argument is the partner of another one: a tensor, a list of them, or the same number."""
        if isinstance(ours, Ref) and isinstance(theirs, Ref):
            return self._agree_names(ours.name, theirs.name, pairs) or (
                deep and self._mates(self.one(ours.name), self.one(theirs.name), pairs)
            )
        if isinstance(ours, (list, tuple)) and isinstance(theirs, (list, tuple)):
            both = zip(ours, theirs, strict=False)
            return len(ours) == len(theirs) and all(self._agree(a, b, pairs, deep) for a, b in both)
        return _setting(ours) == _setting(theirs)

    def _agree_names(self, ours: str, theirs: str, pairs: dict[str, str]) -> bool:
        """Whether one value is the partner of another, or both may become partners since no input decides on them."""
        ours, theirs = self.one(ours), self.one(theirs)
        if ours in self.zero or theirs in self.zero:
            return ours in self.zero and theirs in self.zero
        # A pair is a pair in both directions: who has a partner gets no second one.
        known = {**self.images, **pairs}
        if ours in known or theirs in known:
            return known.get(ours) == theirs
        # Computed from inputs and without a partner: T takes it to itself, and to no other value.
        if ours not in self.loose or theirs not in self.loose:
            return ours == theirs
        # Weights become partners where they could hold the same numbers. What is computed from weights alone, such as
        # a weight that is normalised, is compared op by op down to these.
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

    def _mates(self, one: str, two: str, pairs: dict[str, str]) -> bool:
        """Whether two values could be exchanged: computed by the same operations, from the same values or mates.

        pairs: takes in all that would be partners then, a failed comparison included; callers throw that away.
        """
        known = {**self.images, **pairs}
        if one == two or known.get(one) == two:
            return True
        if one in known or two in known:
            return False
        # Two entries of one axis on which T is unknown: nothing speaks against it, and here the way back ends.
        if self.picks.axis(one) == self.picks.axis(two) in self.open:
            pairs[one], pairs[two] = two, one
            return True
        if one in self.loose or one not in self.nodes or two not in self.nodes:
            return self._agree_names(one, two, pairs)
        a, b = self.nodes[one], self.nodes[two]
        if a.target != b.target or a.shapes != b.shapes or len(a.reads) != len(b.reads):
            return False
        if settings(a) != settings(b):
            return False
        for x, y in zip(a.reads, b.reads, strict=True):
            if not self._mates(self.one(x.name), self.one(y.name), pairs):
                return False
        pairs[one], pairs[two] = two, one
        return True


def settings(node: Node) -> dict[str, Any]:
    """The arguments of an op by name, with all that two ops have in common if they differ in their tensors alone."""
    return {key: _setting(value) for key, value in node.arguments.items()}


def _setting(value: Any) -> Any:
    """An argument with its type, since 1, 1.0 and True are equal and not the same; one tensor is as good as another."""
    if isinstance(value, Ref):
        return Ref
    if isinstance(value, (list, tuple)):
        return tuple(map(_setting, value))
    return type(value), value


def sign_of_exchange(node: Node) -> int:
    """The change of a result when its two operands are exchanged: 1 none, -1 it is negated, 0 something else."""
    match traits().get(node.target):
        case Sum() as trait if node.arguments.get("alpha", 1) == 1:
            return trait.signs[0] * trait.signs[1]
        case Scaling(divides=False) | Extremum():
            return 1
    return 0
