"""One attempt: the op rules run over a graph until nothing moves, constants choose, single entries are forced."""

from __future__ import annotations

from collections.abc import Iterator, Set
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from chiralize.errors import InternalError
from chiralize.graph.model import Leaf, Node, Ref, Where
from chiralize.infer.calls import names_read
from chiralize.infer.canonical import unread
from chiralize.infer.choosing import Constants
from chiralize.infer.given import Known, Repair, Rest, Tensor
from chiralize.infer.parity import even_and_odd
from chiralize.infer.partners import Partners
from chiralize.infer.products import equal_sum, left_alone
from chiralize.infer.refusal import refusal, site_of
from chiralize.infer.registry import Call, Operand, Result, Shape, Uniform, registry
from chiralize.infer.solver.terms import unknowns_in
from chiralize.infer.solver.unify import Conflict, Solver, Wait
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.symbolic import (
    Axis,
    SymbolicRepresentation,
    is_known,
    known_axis,
    lower,
    sign_of,
)

_MOST_RUNS = 10_000

Outputs = tuple[Result, ...]


class Propagation:
    """Representations of all values of a graph, as far as the rules tie them together.

    at, index: the node that was tried last, and its position in the graph.  at_once: several signs that nothing had
    decided were taken to be 1 at once.
    late: products that are taken together with their sum; their rule answers once everything else has come to rest.
    resting: nodes whose rule had nothing new to say, and what that rests on. Their rule runs again when one of those
    has moved, what the node reads was `replaced` in this run, or it may guess now. So do exchanged leaves.
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
        self.late = unread(self.captured)
        self.replaced: set[str] = set()
        self.unanswered: set[str] = set()
        self.resting: dict[str, Rest] = {}
        self.waiting: dict[str, str] = {}
        self.wholes: dict[str, Axis] = {}
        self.waiting_joints: dict[str, None] = {}
        self.undecided: Set[int] = frozenset()
        self.index = 0
        self.at_once = False
        self.at = ""
        self.leaves = {leaf.name: self._start(leaf) for leaf in self.captured.leaves.values()}
        for name, rep in zip(self.captured.inputs, known.inputs, strict=True):
            if rep is not None:
                self.leaves[name] = lower(rep)

    def _start(self, leaf: Leaf) -> SymbolicRepresentation:
        if leaf.name in self.repair.zero:
            return left_alone(leaf.shape, -1)
        for name in leaf.names:
            if name in self.known.given:
                return lower(self.known.given[name])
        rep = self.solver.fresh_like(leaf.shape, leaf.names[0])
        if leaf.name in self.known.of_one_number:
            return replace(rep, sign=self.solver.sign_at(leaf.name))
        return rep

    # ---- fixpoint -----------------------------------------------------------------------------------------
    def settle(self) -> None:
        """Run the rules until nothing moves; then constants choose, single entries are forced, lists and signs last.

        A guess that decides something of a constant is followed by the choice of constants.
        """
        while True:
            self.run_until_still()
            if self.constants.choose(self.leaves, self.solver) or self._regions_choose():
                continue
            if self.waiting:
                if self._moves_as_last_resort(lists=False) or self._moves_as_last_resort(lists=True):
                    continue
            elif self.solver.take_defaults():
                continue
            settled = self.solver.settle_signs(1 if self.repair.one_by_one else None)
            self.at_once |= settled > 1
            if not settled and not self.late:
                return
            if not settled:
                self.late = frozenset()

    def _moves_as_last_resort(self, lists: bool) -> bool:
        before = self.solver.changes
        self.undecided = self.constants.unknowns(self.leaves, self.solver)
        with self.solver.resort(lists):
            self._run()
        return self.solver.changes > before

    def run_until_still(self) -> None:
        """Run all rules again and again until nothing moves. Raises InternalError after very many runs."""
        for _ in range(_MOST_RUNS):
            before = self.solver.changes + self.partners.moved
            self._run()
            if self.solver.changes + self.partners.moved == before:
                return
        raise InternalError("inference", f"it does not come to rest in {_MOST_RUNS} runs", "report this model")

    def _run(self) -> None:
        """Run every rule that may give a new answer, up to the first guess."""
        self.waiting = {}
        if not self.solver.guessed:  # else the last run ended before all readers had run on the replaced values
            self.replaced = set()
        self.solver.guessed = False
        for self.index, node in enumerate(self.captured.nodes):  # noqa: B020
            self.at = node.name
            if self._rests(node):
                if self.resting[node.name].waits:
                    self.waiting.setdefault(f"{node.where}", self.resting[node.name].waits)
            elif node.name not in self.late:
                self._visit(node)
            if self.solver.guessed:
                return
        self._compare_ends()

    def _compare_ends(self) -> None:
        """States, exchanged leaves, outputs and what is joined transform as they have to."""
        for leaf, node in self.captured.mutations.items():
            where = self.captured.leaves[leaf].where
            self._guard(where, f"state {self.captured.leaves[leaf].names[0]}", lambda a=leaf, b=node: self._same(a, b))
        self._guard(Where(), "mirror", self._exchange_leaves)
        for output, (name, rep) in enumerate(zip(self.captured.outputs, self.known.outputs, strict=True)):
            if name is not None and rep is not None:
                self.at, self.index = name, len(self.captured.nodes) + output
                self._guard(Where(f"output {output}"), "output", lambda a=name, b=rep: self._meet(a, lower(b)))
        for first, second in self.known.joined:
            a, b = self._name_of(first), self._name_of(second)
            if a is not None and b is not None:
                self._guard(Where("{} {}".format(*second)), "state", lambda a=a, b=b: self._same(a, b))

    def _rests(self, node: Node) -> bool:
        """Whether the rule of a node would only repeat its last answer."""
        return (
            node.name in self.resting
            and not (self.resting[node.name].guesses and self.solver.resorts)
            and self._still(node.name)
            and self.replaced.isdisjoint(names_read(node))
        )

    def _still(self, name: str) -> bool:
        """Whether nothing that the rule read has changed."""
        rest = self.resting[name]
        return (
            rest.decided == self.partners.decided
            and self.solver.bindings.keys().isdisjoint(rest.seen)
            and self.solver.demanded_sign_free.isdisjoint(rest.signed)
        )

    def _rest(self, name: str, waits: str = "") -> None:
        """Note what the rule read, and what it still waits for."""
        seen = self.solver.seen
        signed = tuple(seen - self.solver.demanded_sign_free)
        self.resting[name] = Rest(tuple(seen), signed, self.partners.decided, self.solver.consulted, waits)

    def _visit(self, node: Node) -> None:
        """Run the rule of a node; if it changes nothing, note what it read."""
        solver, old, before = self.solver, self.nodes.get(node.name), self._moves()
        solver.seen.clear()
        solver.consulted = False
        waits = self._guard(node.where, node.target, lambda: self._apply(node))
        if solver.resorts and solver.consulted:
            solver.guessed |= not solver.bindings.keys().isdisjoint(self.undecided)
        if old is None and waits and node.name in self.nodes:
            self._ask(node)
        if self.nodes.get(node.name) != old:
            self.replaced.add(node.name)
        self.resting.pop(node.name, None)
        if self._moves() == before and not solver.resorts:
            self._rest(node.name, waits)

    def _ask(self, node: Node) -> None:
        """Let the ops that read a waiting rule's outputs determine their axes and their signs."""
        self.unanswered.add(node.name)
        outputs = list(self.nodes[node.name])
        for index, output in enumerate(outputs):
            if isinstance(output, SymbolicRepresentation):
                outputs[index] = SymbolicRepresentation(output.axes, sign_of(self.solver.unknown_sign()[0]))
        self.nodes[node.name] = tuple(outputs)

    def _moves(self) -> int:
        return self.solver.changes + self.solver.asked + self.partners.moved

    def _exchange_leaves(self) -> None:
        """Make exchanged leaves transform alike; pairs of which nothing has moved are passed over."""
        for name, other in self.partners.leaf_pairs().items():
            if name in self.resting and self._still(name):
                continue
            before = self._moves()
            self.solver.seen.clear()
            self._exchange(self.leaves[name], self.leaves[other])
            if self._moves() == before:
                self._rest(name)

    def _name_of(self, tensor: Tensor) -> str | None:
        io, index = tensor
        if io == "input":
            return self.captured.inputs[index]
        return self.captured.outputs[index]

    def _guard(self, where: Where, target: str, action: Any) -> str:
        """Run a step; returns the reason why it waits, or nothing where it came to an end. Raises its refusal."""
        self.solver.site = site_of(where, target)
        try:
            action()
        except Conflict as conflict:
            raise refusal(where, target, conflict, self.at) from None
        except Wait as wait:
            self.waiting.setdefault(f"{where}", str(wait))
            return str(wait)
        return ""

    def _apply(self, node: Node) -> None:
        if node.target == "getitem":
            outputs: Outputs = (self.nodes[node.arguments["value"].name][node.arguments["index"]],)
            if self.partners.reads_exchanged(node):
                self.partners.follow(node)
        else:
            outputs = self._outputs(node)
        if node.name in self.unanswered:
            self.unanswered.remove(node.name)
            self._take_over(self.nodes[node.name], outputs)
        self.nodes[node.name] = outputs
        if self.partners.exchanged(node.name):
            for ours, theirs in zip(outputs, self.nodes.get(self.partners.of(node.name), ()), strict=False):
                self._exchange(ours, theirs)

    def _take_over(self, asked: Outputs, outputs: Outputs) -> None:
        """Compare the answer of a rule with what readers have determined of the value while the rule waited."""
        for asked_of, said in zip(asked, outputs, strict=False):
            if isinstance(asked_of, SymbolicRepresentation) and isinstance(said, SymbolicRepresentation):
                sign = asked_of.sign * said.sign
                for axis, answer in zip(asked_of.axes, said.axes, strict=False):
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
        if node.name not in self.nodes:
            self.nodes[node.name] = tuple(map(self._fresh, node.shapes))
        picked = self.partners.take(node, call)
        if picked is not None:
            return picked
        met = even_and_odd(node, call, self.partners)
        if met is not None:
            return (met,)
        sign = 1
        if node.name in self.repair.joints or self.partners.reads_exchanged(node):
            joined = self._joined(node, call)
            if joined is not None:
                return (joined,)
        if self.partners.reads_exchanged(node):
            sign = self.partners.follow(node)
        answer = rule.outputs(call)
        if sign > 0:
            return answer
        return tuple(map(_negated, answer))

    def _fresh(self, shape: Shape | None) -> Result:
        """Unknown axes for an output, None for one that is no tensor."""
        if shape is None:
            return None
        return self.solver.fresh_like(shape)

    def _region(self, node: Node) -> Outputs:
        """A stretch that is averaged over both views: its outputs transform in any way that their readers need."""
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
        """Let open outputs of averaged stretches transform as their inputs do; True if something moved."""
        before = self.solver.changes
        for node in self.captured.nodes:
            if node.inner is not None:
                self._as_entered(node)
        return self.solver.changes > before

    def _as_entered(self, node: Node) -> None:
        for out in self.nodes[node.name]:
            for ref in node.reads:
                rep = self._operand(ref.name).rep
                if isinstance(out, SymbolicRepresentation) and rep.shape == out.shape:
                    for axis, entered in zip(out.axes, rep.axes, strict=True):
                        forbidden = unknowns_in((axis,)) & self.solver.demanded_sign_free
                        if not is_known(self.solver.resolve(axis)):
                            with suppress(Conflict, Wait):  # readers may want another
                                self.solver.same(axis, self.solver.absolute(entered) if forbidden else entered)
                    break

    def _joined(self, node: Node, call: Call) -> SymbolicRepresentation | None:
        """The result of a join of branches that the mirror exchanges; None for any other op."""
        reps = [self.solver.representation(operand.rep) for operand in call.operands]
        if node.name not in self.repair.joints:
            try:
                self.waiting_joints.pop(node.name, None)
                return self.partners.join(node, reps, call)
            except Wait:
                self.waiting_joints[node.name] = None
                raise
        dim = call.axis(call.get("dim", 0), len(call.shape))
        whole = self.repair.wholes.get(node.name) or self.solver.fresh(call.shape[dim])
        whole = self.wholes.setdefault(node.name, whole)
        return self.partners.open_join(node, reps, call, self.solver.resolve(whole))

    def likely_wholes(self, name: str) -> Iterator[Axis]:
        """Guesses for the axis of a concatenation that no reader knows: the joints, maybe in another order."""
        node = self.partners.nodes[name]
        shape = node.shapes[0]
        assert shape is not None
        size: int = shape[node.arguments.get("dim", 0)]
        orders = [*map(list, self.partners.orders(name)), list(range(size))]
        for rep in dict.fromkeys(rep for rep in (*self.known.inputs, *self.known.outputs) if rep is not None):
            for axis in rep.axes:
                action = axis.action
                for order in orders:
                    if len(order) == action.size == size and not action.is_identity:
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
        if isinstance(value, Ref):
            return self._operand(value.name)
        if isinstance(value, (list, tuple)):
            return [self._argument(item) for item in value]
        return value

    def _operand(self, name: str) -> Operand:
        """A value as an operand of its reader."""
        if name in self.leaves:
            leaf = self.captured.leaves[name]
            if leaf.kind == "constant" and self.partners.same_constant(name):
                constant = leaf.tensor
            else:
                constant = None
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
        if self.partners.exchanged(name):
            raise Conflict("it belongs to one side of the body, and the mirror exchanges it with that of the other")
        operand = self._operand(name)
        equal_sum([Operand(rep), operand], operand.shape, self.solver)

    def _same(self, left: str, right: str) -> None:
        self._meet(right, self._operand(left).rep)


def _negated(out: Result) -> Result:
    if isinstance(out, SymbolicRepresentation):
        return SymbolicRepresentation(out.axes, -out.sign)
    return out
