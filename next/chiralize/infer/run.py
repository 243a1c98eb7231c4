"""One attempt: the rules of all ops run until nothing moves, then the mildest guess is made, and so on.

In goes a graph with what is known of its inputs, outputs and weights (`Known`), and with what is taken for granted
(`Repair`); out come representations of all its values, as far as the rules tie them together. Every op is a task, and
so is every demand at the ends of the graph: outputs are as they are known, states transform as they did before. A task
is due when it has never run, when it moved something when it ran last, or when something that it looked at has moved
since: an unknown got a value or a demand, a value that it reads has another representation, a partner was found.

    drain     tasks that are due run, in the order of the graph, until none is due
    settle    drain, then the mildest guess that moves anything (GUESSES), then drain again
    prove     every task runs once more, all of them, until a whole round moves nothing

Nothing is ever undone within one attempt: where a guess was wrong the attempt is refused, and `search` tries another.

An answer may come late: a rule raises `Wait` while too little is known. Until then its outputs are unknown axes, which
readers may already determine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from chiralize.errors import InternalError
from chiralize.graph.model import Leaf, Node, Ref, Where
from chiralize.infer.algebra import equal_sum, left_alone
from chiralize.infer.constants import Constants
from chiralize.infer.exchange import Exchange
from chiralize.infer.meeting import even_and_odd, join
from chiralize.infer.records import Known, Repair, refusal, site_of
from chiralize.infer.rule import Call, Operand, Result, Shape, Uniform, rule_of
from chiralize.infer.solver.unify import Solver
from chiralize.infer.solver.unknowns import Leave
from chiralize.infer.symbolic import Conflict, SymbolicRepresentation, Wait, lower, sign_of

Outputs = tuple[Result, ...]
"""How every output of a node transforms."""
_MOST_ROUNDS = 10_000
"""Rounds over a graph before a defect is reported; networks of the field take one to thirty."""


@dataclass(frozen=True)
class Task:
    """A rule, or a demand at an end of the graph.  reads: values whose representation it looks at.

    at: the node to name in a refusal.  where, target: how the user knows it.
    """

    at: str
    where: Where
    target: str
    reads: Sequence[str]
    action: Callable[[], None]


class Run:
    """Representations of leaves and nodes, and the tasks that find them.

    leaves, nodes: by name, the latter a tuple of outputs.  waiting: by task, why it waits.
    position: the task that ran last: where a refusal came up.
    unanswered: nodes whose rule has waited and whose outputs readers may determine meanwhile.
    undecided: unknowns of constants that have not chosen yet, noted before rules may guess.
    """

    def __init__(self, known: Known, repair: Repair) -> None:
        self.known, self.repair, self.captured = known, repair, known.captured
        self.solver = Solver(
            exchanging={action.size for action in known.actions if action.pairs},
            reversing=any(action.is_reversal for action in known.actions),
            likely=repair.singles,
        )
        self.exchange = Exchange(known.wiring, repair.zero)
        self.constants = Constants(self.captured, self.exchange)
        self.nodes: dict[str, Outputs] = {}
        self.leaves = {leaf.name: self._start(leaf) for leaf in self.captured.leaves.values()}
        for name, rep in zip(self.captured.inputs, known.inputs, strict=True):
            if rep is not None:
                self.leaves[name] = lower(rep)
        self.waiting: dict[int, str] = {}
        self.unanswered: set[str] = set()
        self.undecided: set[int] = set()
        self.position = 0
        self.tasks: list[Task] = []
        self._due: set[int] = set()
        self._has_moved = False
        self._tied: set[str] = set()
        self._consulted: set[int] = set()
        self._watchers: dict[int, set[int]] = {}
        self._readers: dict[str, list[int]] = {}
        self._add(self._of_node(node) for node in self.captured.nodes)
        self._add(self._ends())

    def _start(self, leaf: Leaf) -> SymbolicRepresentation:
        """How a leaf transforms before any rule has run: as it is given, else by unknown axes."""
        if leaf.name in self.repair.zero:
            return left_alone(leaf.shape, -1)  # T w = -w, and T w = w holds for w = 0 alone
        for name in leaf.names:
            if name in self.known.given:
                return lower(self.known.given[name])
        rep = self.solver.fresh_like(leaf.shape, leaf.names[0])
        return replace(rep, sign=self.solver.sign_at(leaf.name)) if self._is_of_one_number(leaf) else rep

    def _is_of_one_number(self, leaf: Leaf) -> bool:
        """Whether one number goes into a weight or comes out of it, or is added: an axis of one entry has no sign.

        So weights (n, 1, ...) and (1, n, ...), and biases of one number, have a sign of their own, which is open: a
        turn rate, or a steering angle, is negated by the mirror, and so is the last weight behind it.
        """
        # The second size of filters in groups is that of a group, and every group has signs by its first axis.
        readers = self.captured.readers(leaf.name)
        if leaf.kind != "parameter" or any(node.arguments.get("groups", 1) != 1 for node in readers):
            return False
        return leaf.shape == (1,) or min(leaf.shape[:2], default=0) == 1 < max(leaf.shape[:2], default=0)

    # ---- tasks --------------------------------------------------------------------------------------------
    def _add(self, tasks: Iterable[Task]) -> None:
        """More tasks, all of them due."""
        for task in tasks:
            position = len(self.tasks)
            self.tasks.append(task)
            self._due.add(position)
            for name in dict.fromkeys(task.reads):
                self._readers.setdefault(name, []).append(position)

    def _of_node(self, node: Node) -> Task:
        """The rule of a node."""
        return Task(node.name, node.where, node.target, node.names_read, partial(self._apply, node))

    def _ends(self) -> Iterable[Task]:
        """What leaves the network, or is read again at the next call, has to transform as it is known to."""
        for leaf, node in self.captured.mutations.items():
            where, name = self.captured.leaves[leaf].where, self.captured.leaves[leaf].names[0]
            yield Task(node, where, f"state {name}", [node], partial(self._alike, leaf, node))
        for output, (name, rep) in enumerate(zip(self.captured.outputs, self.known.outputs, strict=True)):
            if name is not None and rep is not None:
                yield Task(name, Where(f"output {output}"), "output", [name], partial(self._meet, name, lower(rep)))
        for first, second in self.known.joined:
            a, b = self.known.name_of(first), self.known.name_of(second)
            if a is not None and b is not None:
                yield Task(b, Where("{} {}".format(*second)), "state", [a, b], partial(self._alike, a, b))

    def settle(self) -> None:
        """Run the rules until nothing moves, not even by a guess."""
        # Whatever moves leads back to the rules: after one guess they may know the rest, and know it better.
        self.drain()
        while any(guess(self) for guess in GUESSES):
            self.drain()

    def drain(self) -> None:
        """Run the tasks that are due, in rounds over the graph, until none is. Raises the refusal of a task."""
        for _ in range(_MOST_ROUNDS):
            if not self._due:
                return
            self._round(self._due)
        raise InternalError("inference", f"it does not come to rest in {_MOST_ROUNDS} rounds", "report this model")

    def prove(self) -> None:
        """Run every task, until a whole round moves nothing. Raises the refusal of a task."""
        for _ in range(_MOST_ROUNDS):
            self._round(set(range(len(self.tasks))))
            if not self._has_moved:
                return
        raise InternalError("inference", f"it does not come to rest in {_MOST_ROUNDS} rounds", "report this model")

    def guess(self, leave: Leave) -> bool:
        """One round in which rules that asked for it may guess; whether it moved anything."""
        self.undecided = self.constants.unknowns(self.leaves, self.solver)
        self.solver.leave = leave
        self._round(self._consulted | self._due)
        self.solver.leave = Leave.NOTHING
        return self._has_moved

    def moves(self, action: Callable[[], None]) -> bool:
        """Run a step that is no task; whether it moved anything, so that tasks are due."""
        self.solver.watch.moved.clear()
        action()
        return self._wake()

    def _round(self, due: set[int]) -> None:
        """Run these tasks in order, and those that become due behind the one that runs, up to a guess."""
        self.solver.watch.guessed = self._has_moved = False
        position = 0
        # Tasks may be added while others run.
        while position < len(self.tasks):
            if position in due or position in self._due:
                self._visit(position)
            # One guess a round: tasks before this one may follow from it, and may not guess otherwise meanwhile.
            if self.solver.watch.guessed:
                return
            position += 1

    def _visit(self, position: int) -> None:
        """Run a task, and note what it looked at and moved. Raises its refusal."""
        task, watch, self.position = self.tasks[position], self.solver.watch, position
        for noted in (watch.seen, watch.moved, self.exchange.moved):
            noted.clear()
        watch.consulted = False
        self._due.discard(position)
        self._consulted.discard(position)
        self.waiting.pop(position, None)
        self.solver.site = site_of(task.where, task.target)
        try:
            task.action()
        except Conflict as conflict:
            raise refusal(task.where, task.target, conflict, task.at) from None
        except Wait as wait:
            self.waiting[position] = str(wait)
        if watch.consulted:
            self._consulted.add(position)
        for key in watch.seen:
            self._watchers.setdefault(key, set()).add(position)
        # A guess has decided something of a constant: the round ends, so that the constant decides the rest of it.
        may_guess = self.solver.leave != Leave.NOTHING
        if may_guess and watch.consulted and not self.solver.bindings.keys().isdisjoint(self.undecided):
            watch.guessed = True
        # An answer that was given when rules might guess is not the one that they give otherwise.
        if self._wake() or may_guess:
            self._due.add(position)

    def _wake(self) -> bool:
        """Make due what looked at unknowns, or reads values, of which something has moved; False if nothing has."""
        moved, decided = self.solver.watch.moved, self.exchange.moved
        for key in moved:
            self._due |= self._watchers.pop(key, set())
        for name in decided:
            # Who looks at partners looks at those of what it reads, and of what is read beside that.
            node = self.exchange.nodes.get(name)
            beside = node.names_read if node is not None else ()
            for value in (name, *beside):
                self._due.update(self._readers.get(value, ()))
        self._tie_leaves(decided)
        self._has_moved |= bool(moved or decided)
        has_moved = bool(moved or decided)
        moved.clear()
        decided.clear()
        return has_moved

    def _tie_leaves(self, names: set[str]) -> None:
        """Leaves that the mirror exchanges transform alike: a task for every such pair."""
        for name in sorted(self.leaves.keys() & names - self._tied):
            if self.exchange.is_exchanged(name):
                self._tied |= {name, self.exchange.of(name)}
                self._add([Task("", Where(), "mirror", (), partial(self._exchange_leaves, name))])

    def _exchange_leaves(self, name: str) -> None:
        """A leaf and its partner transform alike. Raises Conflict where they cannot."""
        self._exchange(self.leaves[name], self.leaves[self.exchange.of(name)])

    # ---- one node -----------------------------------------------------------------------------------------
    def _apply(self, node: Node) -> None:
        """Run the rule of a node and note how its outputs transform. Raises Conflict, Wait."""
        before = self.nodes.get(node.name)
        try:
            self._answer(node)
        except Wait:
            # The rule waited at its first turn, and has left unknown axes for its outputs.
            if before is None and node.name in self.nodes:
                self._ask(node)
            raise
        finally:
            if self.nodes.get(node.name) != before:
                self._due.update(self._readers.get(node.name, ()))

    def _answer(self, node: Node) -> None:
        """Take over the answer of a rule as the representation of a node's outputs. Raises Conflict, Wait."""
        # Also of leaves whose representation is given, as that of an input is.
        for name in self.leaves.keys() & node.names_read:
            for dim in self.captured.left_alone.get(name, ()):
                self.solver.trivial(self.leaves[name].axes[dim])
        if node.target == "getitem":
            # One output of an op of several has the representation that the rule of that op has given it.
            outputs: Outputs = (self.nodes[node.arguments["value"].name][node.arguments["index"]],)
            if self.exchange.reads_exchanged(node):
                self.exchange.follow(node)
        else:
            outputs = self._outputs(node)
        if node.name in self.unanswered:
            self.unanswered.remove(node.name)
            self._take_over(self.nodes[node.name], outputs)
        for dim in self.captured.left_alone.get(node.name, ()):
            if isinstance(outputs[0], SymbolicRepresentation):
                self.solver.trivial(outputs[0].axes[dim])
        self.nodes[node.name] = outputs
        if self.exchange.is_exchanged(node.name):
            for ours, theirs in zip(outputs, self.nodes.get(self.exchange.of(node.name), ()), strict=False):
                self._exchange(ours, theirs)

    def _outputs(self, node: Node) -> Outputs:
        """The answer of an op's rule for its outputs, or for those of its partner where the mirror exchanges two."""
        arguments = {key: self._argument(value) for key, value in node.arguments.items()}
        call = Call(node.target, arguments, node.shapes, self.solver, node.read, node.name, node.dtypes)
        # Readers need something to read even if the rule waits from here on.
        if node.name not in self.nodes:
            self.nodes[node.name] = tuple(map(self._fresh, node.shapes))
        # The rule would refuse entries of one side as not closed under T.
        picked = self.exchange.take(node, call)
        if picked is not None:
            return picked
        # The rule of a sum would refuse terms of which T negates one, that of a join parts that change places.
        met = even_and_odd(self.exchange, node, call)
        sign = 1
        if met is None and self.exchange.reads_exchanged(node):
            met = join(self.exchange, node, call, self.nodes[node.name][0])
            sign = 1 if met is not None else self.exchange.follow(node)
        if met is not None:
            return (met,)
        rule = rule_of(node.target)
        assert rule is not None  # `Inference` has looked all rules up
        answer = rule.outputs(call)
        return answer if sign > 0 else tuple(map(_negated, answer))

    def _fresh(self, shape: Shape | None) -> Result:
        """Unknown axes for an output, None for one that is no tensor."""
        return None if shape is None else self.solver.fresh_like(shape)

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

    def _exchange(self, ours: Result, theirs: Result) -> None:
        """T takes one value to the other and back: R of the one is R of the other."""
        if isinstance(ours, SymbolicRepresentation) and isinstance(theirs, SymbolicRepresentation):
            sign = ours.sign * theirs.sign
            for left, right in zip(ours.axes, theirs.axes, strict=True):
                sign = self.solver.same(left, right, sign)
            if not self.solver.positive(sign):
                raise Conflict("two branches that the mirror exchanges differ by a sign", negated=True)

    # ---- operands -----------------------------------------------------------------------------------------
    def _argument(self, value: Any) -> Any:
        """An argument of a node with operands in place of references, also within lists."""
        if isinstance(value, Ref):
            return self._operand(value.name)
        if isinstance(value, (list, tuple)):
            return [self._argument(item) for item in value]
        return value

    def _operand(self, name: str) -> Operand:
        """A value as an operand of its reader: its representation, and its numbers where rules may look at them."""
        is_truth, is_fixed = name in self.captured.truths, name in self.captured.fixed
        result = self.leaves[name] if name in self.leaves else self.nodes[name][0]
        constant = None
        if name in self.leaves:
            leaf = self.captured.leaves[name]
            # A rule that looks at a list of joints says what T does to that list; beside another one it would be wrong.
            if leaf.kind == "constant" and self.exchange.same_constant(name):
                constant = leaf.tensor
            # A constant of one number moves in any way, a new one for every reader: nothing ties its readers together.
            number = self.constants.number(name)
            if number is not None or name in self.repair.zero:
                result, is_fixed = Uniform(leaf.shape, number == 0 or name in self.repair.zero), False
        if isinstance(result, Uniform):
            fitting = self.solver.fitting(result.shape, result.zero)
            return Operand(fitting, constant, result.zero, truth=is_truth)
        if result is None:
            raise Conflict("an output that no rule describes is used")
        return Operand(result, constant, fixed=is_fixed, truth=is_truth)

    def _meet(self, name: str, rep: SymbolicRepresentation) -> None:
        """Demand that a value transforms by a representation. Raises Conflict where it cannot."""
        # What leaves the network has to be taken to itself, since the caller has no partner for it.
        if self.exchange.is_exchanged(name):
            raise Conflict("it belongs to one side of the body, and the mirror exchanges it with that of the other")
        operand = self._operand(name)
        equal_sum([Operand(rep), operand], operand.shape, self.solver)

    def _alike(self, left: str, right: str) -> None:
        """Demand that two values transform alike. Raises Conflict where they cannot."""
        self._meet(right, self._operand(left).rep)


# ---- guesses ---------------------------------------------------------------------------------------------------------
def _constants(run: Run) -> bool:
    """A constant decides its open axes. Its numbers are evidence, so this comes before all real guesses."""
    return run.moves(lambda: run.constants.choose(run.leaves, run.solver))


def _entries(run: Run) -> bool:
    """Rules that wait guess: single entries of unknown axes, for example, are taken to be fixed points."""
    return bool(run.waiting) and run.guess(Leave.ENTRIES)


def _lists(run: Run) -> bool:
    """Lists choose how their positions move. Whoever reads the entries may know better, so this comes later."""
    return bool(run.waiting) and run.guess(Leave.LISTS)


def _defaults(run: Run) -> bool:
    """Unknowns for which a rule has named a value take it."""
    return not run.waiting and run.moves(run.solver.take_defaults)


def _signs(run: Run) -> bool:
    """Signs that nothing has decided are 1."""
    return run.moves(run.solver.settle_signs)


GUESSES: Sequence[Callable[[Run], bool]] = (_constants, _entries, _lists, _defaults, _signs)
"""What is decided where the rules have come to rest, the mildest first. Each says whether it moved anything."""


def _negated(out: Result) -> Result:
    """How an output transforms that T negates besides, as it does a - b where it exchanges a and b."""
    if isinstance(out, SymbolicRepresentation):
        return SymbolicRepresentation(out.axes, -out.sign)
    return out
