"""One attempt: the op rules run over a graph until nothing moves, constants choose, single entries are forced.

In goes a graph with what is known of its inputs, outputs and weights; out come representations of all its values, as
far as the rules tie them together. `Inference` makes one `Propagation` for each attempt, with a `Repair` that says
which ways out it may take. `Answers` has what happens to one node; here is in which order nodes get their turn:

    run      every node once, in the order of the graph; then states, outputs and exchanged weights are compared
    settle   runs until nothing moves; then the mildest guess that moves anything; then runs again

A rule moves something by giving an unknown a value, by demanding that it carries no signs, or by finding that two
values are partners. Nothing is ever undone within one attempt: where a guess was wrong the attempt is refused, and
`Inference` tries another (decision 0071).
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from chiralize.errors import InternalError
from chiralize.graph.model import Node, Where
from chiralize.infer.answers import Answers
from chiralize.infer.calls import names_read
from chiralize.infer.canonical import unread
from chiralize.infer.given import Known, Repair, Rest, Tensor
from chiralize.infer.refusal import refusal, site_of
from chiralize.infer.solver.unify import Conflict, Wait
from chiralize.symmetry.symbolic import lower

_MOST_RUNS = 10_000


class Propagation(Answers):
    """Representations of all values of a graph, as far as the rules tie them together.

    at, index: the node that was tried last, and its position in the graph.  at_once: several signs that nothing had
    decided were taken to be 1 at once.
    late: products that are taken together with their sum; their rule answers once everything else has come to rest.
    resting: nodes whose rule had nothing new to say, and what that rests on. Their rule runs again when one of those
    has moved, what the node reads was `replaced` in this run, or it may guess now. So do exchanged leaves.
    waiting: by the user's file and line, why the first rule there waits.
    undecided: unknowns of constants that have not chosen yet, noted before rules may guess.
    """

    def __init__(self, known: Known, repair: Repair) -> None:
        super().__init__(known, repair)
        self.late = unread(self.captured)
        self.replaced: set[str] = set()
        self.resting: dict[str, Rest] = {}
        self.waiting: dict[str, str] = {}
        self.undecided: Set[int] = frozenset()
        self.index = 0
        self.at_once = False
        self.at = ""

    # ---- fixpoint -----------------------------------------------------------------------------------------
    def settle(self) -> None:
        """Run the rules until nothing moves; then constants choose, single entries are forced, lists and signs last.

        A guess that decides something of a constant is followed by the choice of constants.
        """
        # Whatever moves leads back to the top: after one guess the rules may know the rest, and know it better.
        while True:
            self.run_until_still()
            # The numbers of a constant are evidence, so constants come before all guesses.
            if self.constants.choose(self.leaves, self.solver) or self._regions_choose():
                continue
            # Whoever reads the entries of a list may know how they move, so lists choose only where that does not help.
            if self.waiting:
                if self._moves_as_last_resort(lists=False) or self._moves_as_last_resort(lists=True):
                    continue
            elif self.solver.take_defaults():
                continue
            settled = self.solver.settle_signs(1 if self.repair.one_by_one else None)
            self.at_once |= settled > 1
            if not settled and not self.late:
                return
            # The rule of a product takes one of two unknown factors to carry no signs. Here nothing is unknown to it
            # any more that its sum could still decide.
            if not settled:
                self.late = frozenset()

    def _moves_as_last_resort(self, lists: bool) -> bool:
        """One run in which rules may guess; whether it moved anything. lists: lists of entries may choose, too."""
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
                # `waiting` starts empty in every run, and `settle` guesses only where something is in it.
                if self.resting[node.name].waits:
                    self.waiting.setdefault(f"{node.where}", self.resting[node.name].waits)
            elif node.name not in self.late:
                self._visit(node)
            # One guess a run: nodes before this one may follow from it, and may not guess otherwise meanwhile.
            if self.solver.guessed:
                return
        self._compare_ends()

    def _compare_ends(self) -> None:
        """States, exchanged leaves, outputs and what is joined transform as they have to."""
        # A state that is written is read again at the next call, so old and new state transform alike.
        for leaf, node in self.captured.mutations.items():
            where = self.captured.leaves[leaf].where
            self._guard(where, f"state {self.captured.leaves[leaf].names[0]}", lambda a=leaf, b=node: self._same(a, b))
        self._guard(Where(), "mirror", self._exchange_leaves)
        for output, (name, rep) in enumerate(zip(self.captured.outputs, self.known.outputs, strict=True)):
            if name is not None and rep is not None:
                # Behind all nodes, so that `Inference` sees that an attempt which fails here came further.
                self.at, self.index = name, len(self.captured.nodes) + output
                self._guard(Where(f"output {output}"), "output", lambda a=name, b=rep: self._meet(a, lower(b)))
        for first, second in self.known.joined:
            a, b = self._name_of(first), self._name_of(second)
            if a is not None and b is not None:
                self._guard(Where("{} {}".format(*second)), "state", lambda a=a, b=b: self._same(a, b))

    def _rests(self, node: Node) -> bool:
        """Whether the rule of a node would only repeat its last answer.

        It would if no unknown that it read has moved, nothing that it read was replaced, and it may not guess now
        where it waited for that.
        """
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
        # A guess has decided something of a constant: the run ends, so that the constant decides the rest of it.
        if solver.resorts and solver.consulted:
            solver.guessed |= not solver.bindings.keys().isdisjoint(self.undecided)
        # The rule waited at its first turn, and `_apply` has left unknown axes for its outputs.
        if old is None and waits and node.name in self.nodes:
            self._ask(node)
        if self.nodes.get(node.name) != old:
            self.replaced.add(node.name)
        # An answer that was given when rules might guess is not the one that they give otherwise: it is not kept.
        self.resting.pop(node.name, None)
        if self._moves() == before and not solver.resorts:
            self._rest(node.name, waits)

    def _moves(self) -> int:
        """Grows with all that a rule can move, and where it asks for positions that other lists may decide."""
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
        """The value that an argument or a result of the network is; None for a result that is no tensor."""
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
