"""What the rule of one op is given, and what its answer becomes: one step of a propagation.

The rule of an op knows representations and no graph. Here a node of the graph becomes the `Call` that its rule reads,
and the answer of the rule becomes the representation of its outputs. Most nodes are that simple. Four kinds are not:

    x[:, 3]           one entry that is not its own mirror image: a value of one side, T takes it to x[:, 6]
    e + o             even and odd parts that meet again (`parity`)
    stack([l, r])     values of both sides that meet again: the rule would ask that each moves by itself
    a stretch         ops that are averaged over both views: no rule at all, their outputs move as readers need

`Propagation` decides in which order nodes come here, and calls `_apply` for each. An answer may come late: the rule
raises `Wait` while too little is known. Until then its outputs are unknown axes, which readers may already determine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from chiralize.graph.model import Leaf, Node, Ref
from chiralize.infer.choosing import Constants
from chiralize.infer.given import Known, Repair
from chiralize.infer.parity import even_and_odd
from chiralize.infer.partners import Partners
from chiralize.infer.products import equal_sum, left_alone
from chiralize.infer.registry import Call, Operand, Result, Shape, Uniform, registry
from chiralize.infer.solver.terms import unknowns_in
from chiralize.infer.solver.unify import Conflict, Solver, Wait
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.symbolic import Axis, SymbolicRepresentation, is_known, known_axis, lower, sign_of

Outputs = tuple[Result, ...]
"""How every output of a node transforms."""


class Answers:
    """Representations of leaves and nodes, and the steps that find those of one node.

    leaves, nodes: by name, the latter a tuple of outputs. macs: multiplications of a node, where its rule counts them.
    unanswered: nodes whose rule has waited and whose outputs readers may determine meanwhile.
    wholes: axes of joins that are left open (`Repair.joints`), by node.  waiting_joints: joins that wait for their
    parts.
    """

    def __init__(self, known: Known, repair: Repair) -> None:
        self.known = known
        self.captured = known.captured
        self.macs: dict[str, int] = {}
        self.repair = repair
        self.solver = Solver()
        self.solver.likely = repair.singles
        self.solver.exchanging = {action.size for action in known.actions() if action.pairs}
        self.solver.reversing = any(action.is_reversal for action in known.actions())
        self.partners = Partners(self.captured, repair.zero)
        self.constants = Constants(self.captured, self.partners)
        self.nodes: dict[str, Outputs] = {}
        self.unanswered: set[str] = set()
        self.wholes: dict[str, Axis] = {}
        self.waiting_joints: dict[str, None] = {}
        self.leaves = {leaf.name: self._start(leaf) for leaf in self.captured.leaves.values()}
        for name, rep in zip(self.captured.inputs, known.inputs, strict=True):
            if rep is not None:
                self.leaves[name] = lower(rep)

    def _start(self, leaf: Leaf) -> SymbolicRepresentation:
        """How a leaf transforms before any rule has run: as it is given, else by unknown axes."""
        if leaf.name in self.repair.zero:
            return left_alone(leaf.shape, -1)  # T w = -w, and T w = w holds for w = 0 alone
        for name in leaf.names:
            if name in self.known.given:
                return lower(self.known.given[name])
        rep = self.solver.fresh_like(leaf.shape, leaf.names[0])
        if leaf.name in self.known.of_one_number:
            return replace(rep, sign=self.solver.sign_at(leaf.name))
        return rep

    # ---- one node -----------------------------------------------------------------------------------------
    def _apply(self, node: Node) -> None:
        """Run the rule of a node and note how its outputs transform. Raises Conflict, Wait."""
        if node.target == "getitem":
            # One output of an op of several has the representation that the rule of that op has given it.
            outputs: Outputs = (self.nodes[node.arguments["value"].name][node.arguments["index"]],)
            if self.partners.reads_exchanged(node):
                self.partners.follow(node)
        else:
            outputs = self._outputs(node)
        if node.name in self.unanswered:
            self.unanswered.remove(node.name)
            self._take_over(self.nodes[node.name], outputs)
        self.nodes[node.name] = outputs
        # value(T x) = R partner(x), and partner(T x) = R value(x) since T T = 1: both have the same R.
        if self.partners.exchanged(node.name):
            for ours, theirs in zip(outputs, self.nodes.get(self.partners.of(node.name), ()), strict=False):
                self._exchange(ours, theirs)

    def _ask(self, node: Node) -> None:
        """Let the ops that read a waiting rule's outputs determine their axes and their signs."""
        self.unanswered.add(node.name)
        outputs = list(self.nodes[node.name])
        for index, output in enumerate(outputs):
            if isinstance(output, SymbolicRepresentation):
                outputs[index] = SymbolicRepresentation(output.axes, sign_of(self.solver.unknown_sign()[0]))
        self.nodes[node.name] = tuple(outputs)

    def _take_over(self, asked: Outputs, outputs: Outputs) -> None:
        """Compare the answer of a rule with what readers have determined of the value while the rule waited."""
        for asked_of, said in zip(asked, outputs, strict=False):
            if isinstance(asked_of, SymbolicRepresentation) and isinstance(said, SymbolicRepresentation):
                sign = asked_of.sign * said.sign
                for axis, answer in zip(asked_of.axes, said.axes, strict=False):
                    # Where both differ the rule's answer stands. Readers run again on it, and refuse it themselves.
                    with suppress(Conflict, Wait):
                        sign = self.solver.same(answer, axis, sign)
                self.solver.positive(sign)

    def _outputs(self, node: Node) -> Outputs:
        """The answer of an op's rule for its outputs, or for those of its partner where the mirror exchanges two."""
        if node.inner is not None:
            return self._region(node)
        arguments = {key: self._argument(value) for key, value in node.arguments.items()}
        call = Call(node.target, arguments, node.shapes, self.solver, node.read, node.name, node.dtypes)
        rule = registry()[node.target]
        if rule.macs and node.name not in self.macs:
            self.macs[node.name] = rule.macs(call)
        # Readers need something to read even if the rule waits from here on.
        if node.name not in self.nodes:
            self.nodes[node.name] = tuple(map(self._fresh, node.shapes))
        special = self._of_partners(node, call)
        if special is not None:
            return special
        sign = 1
        if self.partners.reads_exchanged(node):
            sign = self.partners.follow(node)
        # The rule says op(R a, S b) = Q op(a, b) for all a and b. With the partners of a and b in their place this is
        # Q times the partner of the result, so the rule's Q is right for exchanged values, too.
        answer = rule.outputs(call)
        if sign > 0:
            return answer
        return tuple(map(_negated, answer))

    def _of_partners(self, node: Node, call: Call) -> Outputs | None:
        """The outputs of a node at which values of one side begin or end; None where its rule says how they move.

        Raises Conflict, Wait.
        """
        # The rule would refuse entries of one side as not closed under T.
        picked = self.partners.take(node, call)
        if picked is not None:
            return picked
        # The rule of a sum would refuse terms of which T negates one.
        met = even_and_odd(node, call, self.partners)
        if met is not None:
            return (met,)
        # A join that is left open need not read any exchanged value yet.
        if node.name in self.repair.joints or self.partners.reads_exchanged(node):
            joined = self._joined(node, call)
            if joined is not None:
                return (joined,)
        return None

    def _fresh(self, shape: Shape | None) -> Result:
        """Unknown axes for an output, None for one that is no tensor."""
        if shape is None:
            return None
        return self.solver.fresh_like(shape)

    # ---- stretches that are averaged ----------------------------------------------------------------------
    def _region(self, node: Node) -> Outputs:
        """A stretch that is averaged over both views: its outputs transform in any way that their readers need."""
        # The average runs the stretch on T of its inputs as well, and T does not take a value of one side to itself.
        if self.partners.reads_exchanged(node):
            raise Conflict("an averaged stretch reads a value of one side of the body")
        if node.name not in self.nodes:
            outputs: list[SymbolicRepresentation] = []
            for index, shape in enumerate(node.shapes):
                label = f"{node.name} output {index}"
                if label in self.known.given:
                    outputs.append(lower(self.known.given[label].fitted(shape or ())))
                else:
                    outputs.append(self.solver.fresh_like(shape or (), label))
            self.nodes[node.name] = tuple(outputs)
        return self.nodes[node.name]

    def _regions_choose(self) -> bool:
        """Let open outputs of averaged stretches transform as their inputs do; True if something moved.

        Any representation is sound there, as the average of both views takes on whichever it is given.
        """
        before = self.solver.changes
        for node in self.captured.nodes:
            if node.inner is not None:
                self._as_entered(node)
        return self.solver.changes > before

    def _as_entered(self, node: Node) -> None:
        """Every output takes the axes of the first input of its shape, as far as its own are open."""
        for out in self.nodes[node.name]:
            for ref in node.reads:
                rep = self._operand(ref.name).rep
                if isinstance(out, SymbolicRepresentation) and rep.shape == out.shape:
                    for axis, entered in zip(out.axes, rep.axes, strict=True):
                        # A reader that forbids signs gets the permutation of the input without its signs.
                        forbidden = unknowns_in((axis,)) & self.solver.demanded_sign_free
                        if not is_known(self.solver.resolve(axis)):
                            with suppress(Conflict, Wait):  # readers may want another
                                self.solver.same(axis, self.solver.absolute(entered) if forbidden else entered)
                    break

    # ---- joins of branches --------------------------------------------------------------------------------
    def _joined(self, node: Node, call: Call) -> SymbolicRepresentation | None:
        """The result of a join of branches that the mirror exchanges; None for any other op.

        Usually the partners of its parts are known, and they say how places are exchanged. A join that is left open
        (`Repair.joints`) goes the other way: its axis is an unknown, and what reads it says which branches are
        partners.
        """
        reps = [self.solver.representation(operand.rep) for operand in call.operands]
        if node.name not in self.repair.joints:
            # Noted only while it waits: `Inference` leaves such joins open once nothing else moves.
            try:
                self.waiting_joints.pop(node.name, None)
                return self.partners.join(node, reps, call)
            except Wait:
                self.waiting_joints[node.name] = None
                raise
        dim = call.axis(call.get("dim", 0), len(call.shape))
        # The same unknown at every run, so that what readers say of it in one run counts in the next.
        whole = self.repair.wholes.get(node.name) or self.solver.fresh(call.shape[dim])
        whole = self.wholes.setdefault(node.name, whole)
        return self.partners.open_join(node, reps, call, self.solver.resolve(whole))

    def likely_wholes(self, name: str) -> Iterator[Axis]:
        """Guesses for the axis of a concatenation that no reader knows: the joints, maybe in another order.

        Branches may be joined by limb and be sorted into joints later, by a list such as [2, 0, 1] that reads entry 2
        as joint 0. Where the mirror exchanges joints 0 and 1, it exchanges entries 2 and 0 of the concatenation.
        """
        node = self.partners.nodes[name]
        shape = node.shapes[0]
        assert shape is not None
        size: int = shape[node.arguments.get("dim", 0)]
        # Orders in which a reader takes the entries come before the order in which they stand.
        orders = [*map(list, self.partners.orders(name)), list(range(size))]
        for rep in dict.fromkeys(rep for rep in (*self.known.inputs, *self.known.outputs) if rep is not None):
            for axis in rep.axes:
                action = axis.action
                for order in orders:
                    if len(order) == action.size == size and not action.is_identity:
                        # Entry e is joint positions[e], and joint j is entry order[j].
                        positions = np.argsort(order)
                        partner = np.array(order)[action.partner[positions]]
                        yield known_axis(SignedPermutation(partner, action.sign[positions]))

    def _exchange(self, ours: Result, theirs: Result) -> None:
        """T takes one value to the other and back: R of the one is R of the other."""
        if isinstance(ours, SymbolicRepresentation) and isinstance(theirs, SymbolicRepresentation):
            sign = ours.sign * theirs.sign
            for left, right in zip(ours.axes, theirs.axes, strict=True):
                sign = self.solver.same(left, right, sign)
            if not self.solver.positive(sign):
                raise Conflict("two branches that the mirror exchanges differ by a sign", negated=True)

    def _argument(self, value: Any) -> Any:
        """An argument of a node with operands in place of references, also within lists."""
        if isinstance(value, Ref):
            return self._operand(value.name)
        if isinstance(value, (list, tuple)):
            return [self._argument(item) for item in value]
        return value

    def _operand(self, name: str) -> Operand:
        """A value as an operand of its reader: its representation, and its numbers where rules may look at them."""
        if name in self.leaves:
            leaf = self.captured.leaves[name]
            # A rule that looks at a list of joints says what T does to that list; beside another one it would be wrong.
            if leaf.kind == "constant" and self.partners.same_constant(name):
                constant = leaf.tensor
            else:
                constant = None
            # A constant of one number moves in any way, a new one for every reader: nothing ties its readers together.
            number = self.constants.number(name)
            if number is not None:
                uniform = self._fitting(Uniform(leaf.shape, number == 0))
                return Operand(uniform, constant, number == 0, truth=name in self.captured.truths)
            if name in self.repair.zero:
                return Operand(self._fitting(Uniform(leaf.shape, True)), None, True)
            return Operand(
                self.leaves[name], constant, fixed=name in self.captured.fixed, truth=name in self.captured.truths
            )
        result = self.nodes[name][0]
        if isinstance(result, Uniform):
            return Operand(self._fitting(result), None, result.zero, truth=name in self.captured.truths)
        if result is None:
            raise Conflict("an output that no rule describes is used")
        return Operand(result, fixed=name in self.captured.fixed, truth=name in self.captured.truths)

    def _fitting(self, uniform: Uniform) -> SymbolicRepresentation:
        """A uniform tensor takes whatever representation its reader needs (without signs, unless it is zero)."""
        return self.solver.fitting(uniform.shape, uniform.zero)

    def _meet(self, name: str, rep: SymbolicRepresentation) -> None:
        """Demand that a value transforms by a representation. Raises Conflict where it cannot."""
        # What leaves the network has to be taken to itself, since the caller has no partner for it.
        if self.partners.exchanged(name):
            raise Conflict("it belongs to one side of the body, and the mirror exchanges it with that of the other")
        operand = self._operand(name)
        equal_sum([Operand(rep), operand], operand.shape, self.solver)

    def _same(self, left: str, right: str) -> None:
        """Demand that two values transform alike. Raises Conflict where they cannot."""
        self._meet(right, self._operand(left).rep)


def _negated(out: Result) -> Result:
    """How an output transforms that T negates besides, as it does a - b where it exchanges a and b."""
    if isinstance(out, SymbolicRepresentation):
        return SymbolicRepresentation(out.axes, -out.sign)
    return out
