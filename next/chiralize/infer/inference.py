"""How does every tensor of a captured network transform, and what is still free to choose?

Known at the start: the inputs and outputs, from the specification. Parameters, statistics and states are unknowns that
the rules tie to each other (`run`). What is still free then is a hidden space: `choose` gives it a value. `finish` runs
every rule once more with all values in place; that run alone decides, everything before it was a search.

A net of two layers, 17 joints (x, y) in and 17 joints (x, y, z) out, goes like this:

    known      input 17 x 2, output 17 x 3        (6 pairs and 5 fixed joints; x is negated)
    rules      fc1.weight [H, 34], fc1.bias [H], relu: H carries no signs, fc2.weight [51, H]
    spaces     H, of 512 units: `methods` say which of them are partners, and call `choose`
    finish     every rule is checked with H in place; the result says how each weight transforms

A rule that refuses may be right, or may have met what a guess made earlier has spoiled. So an attempt is repeated with
one more thing taken for granted, a `Repair`, and a repair stays if the attempt then comes further in the graph:

    a bias along channels that change sign     let it be zero
    entry 5 of an unknown axis of 17           take the axis for the joints

Each attempt is a whole `Run` from the start, since nothing is ever unbound. A repair may be wrong, too: `finish` finds
that out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice

from chiralize.errors import AsymmetricConstantError, NegatedChannelsError, NeverEquivariantError, NoRuleError
from chiralize.errors.words import listed, when
from chiralize.graph.model import CapturedModel, Leaf, Node, Where
from chiralize.graph.traits import Sum
from chiralize.infer.canonical import canonical
from chiralize.infer.records import Known, Repair, RepMap, Representations, Space, Tensor, random_numbers, refusal
from chiralize.infer.rule import Result, rule_of, traits
from chiralize.infer.run import Run
from chiralize.infer.symbolic import Conflict, SymbolicRepresentation, Var, known_axis, trivial, variables
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import TensorRepresentation

_TRIALS = 16
"""Biases that are tried after a refusal, those nearest to the op that refused; the first one is nearly always it."""
_MOST_ATTEMPTS = 60
"""Attempts on one network; of 60 networks of the field 57 took one. Over 600 ops each takes half a second."""
Refusal = NeverEquivariantError | NegatedChannelsError


class Inference:
    """Propagation through one captured network.

    inputs, outputs: representation of every tensor argument and result, None where it is to be found.
    joined: pairs of (`input` or `output`, position) that transform alike.  given: what is known of weights, by name.
    symmetrize: constants that the model stores may be changed; `symmetrized` then names those that the mirror changes.
    idle: nodes that change nothing, each with the value that it is.  run: the attempt that came to rest.
    Raises NoRuleError, NeverEquivariantError, NegatedChannelsError, AsymmetricConstantError, each at its node.
    """

    def __init__(
        self,
        captured: CapturedModel,
        inputs: Representations,
        outputs: Representations,
        joined: Sequence[tuple[Tensor, Tensor]] = (),
        given: Mapping[str, TensorRepresentation] | None = None,
        symmetrize: bool = False,
    ) -> None:
        self.symmetrize = symmetrize
        self.symmetrized: list[str] = []
        _check_rules(captured)
        self.captured, self.idle = canonical(captured)
        self.run = _settled(Known(self.captured, inputs, outputs, joined, given or {}))
        self._leave_unread()

    # ---- hidden spaces ------------------------------------------------------------------------------------
    def spaces(self) -> tuple[Space, ...]:
        """Unknowns that are still free, in the order in which the network writes them."""
        reps: dict[str, SymbolicRepresentation] = {}
        for leaf in chain.from_iterable(map(self._weights_of, self.captured.nodes)):
            if leaf.name not in reps:
                reps[leaf.name] = self.run.solver.representation(self.run.leaves[leaf.name])
        weights = [(self.captured.leaves[name], rep) for name, rep in reps.items()]
        return _free_spaces(weights, self.run.solver.demanded_sign_free)

    def is_free(self, space: Space) -> bool:
        """Whether nothing has decided a space since it was found free."""
        return space.key not in self.run.solver.bindings

    def _weights_of(self, node: Node) -> list[Leaf]:
        """Leaves that a node reads, but for inputs and for constants of one number, which carry no space."""
        names = [name for name in node.names_read if name in self.captured.leaves and name not in self.captured.inputs]
        return [self.captured.leaves[name] for name in names if self.run.constants.uniform.get(name) is None]

    def choose(self, space: Space, action: SignedPermutation) -> None:
        """Give a hidden space its representation; what waited for it is decided at once. Raises as the class does."""
        try:
            self.run.moves(lambda: self.run.solver.bind(Var(space.key, space.size), known_axis(action)))
        except Conflict as conflict:
            raise refusal(space.where, space.label, conflict) from None
        # Where nothing waits, nothing can follow from the choice. Whether all rules agree with it `finish` will say.
        if self.run.waiting or self.run.constants.open(self.run.leaves, self.run.solver):
            self.run.settle()
            self._leave_unread()

    def _leave_unread(self) -> None:
        """Runs of an axis that one weight alone has and no value computed from inputs carries are no hidden space: T
        leaves them alone. What a rule still waits for may be carried later.
        """
        if self.run.waiting:
            return
        # Unknowns that occur once in all weights, and in no value that depends on the inputs.
        weights = Counter[Var](
            chain.from_iterable(self._unknown(self.run.leaves[leaf.name]) for leaf in self.captured.weights)
        )
        carried: set[Var] = set()
        for name, outputs in self.run.nodes.items():
            # A slice of a table of positions is a value, too, and says no more of the axis than the table does.
            if name not in self.captured.fixed:
                carried.update(*map(self._unknown, _described(outputs)))
        for var, count in weights.items():
            # One that occurs in two weights ties them to each other: the unit that one writes, the other reads.
            if count == 1 and var.size > 1 and var not in carried:
                self.run.moves(lambda var=var: self.run.solver.bind(var, trivial(var.size)))

    def _unknown(self, rep: SymbolicRepresentation) -> Iterator[Var]:
        return variables(map(self.run.solver.resolve, rep.axes))

    # ---- results ------------------------------------------------------------------------------------------
    def result(self) -> RepMap:
        """Everything that is known, for steps that read it; spaces may still be free."""
        solver, exchange = self.run.solver, self.run.exchange
        leaves = {name: solver.representation(rep) for name, rep in self.run.leaves.items()}
        nodes: dict[str, tuple[SymbolicRepresentation | None, ...]] = {}
        for name, outputs in self.run.nodes.items():
            nodes[name] = tuple(map(self._resolved, outputs))
        # Nodes that were left out of the graph since they change nothing are the value that they read.
        for name, value in self.idle.items():
            nodes[name] = (leaves[value],) if value in leaves else nodes.get(value or "", (None,))
        partners = {name: exchange.of(name) for name in (*leaves, *nodes) if exchange.is_exchanged(name)}
        tables = tuple(self.run.constants.tables)
        return RepMap(leaves, nodes, self.spaces(), tuple(solver.forced), partners, tuple(self.symmetrized), tables)

    def _resolved(self, output: Result) -> SymbolicRepresentation | None:
        return self.run.solver.representation(output) if isinstance(output, SymbolicRepresentation) else None

    def finish(self) -> RepMap:
        """The last run: every space has a value, every rule is checked. Raises at the first node that refuses."""
        # Methods choose before; what they left is taken to be fixed points.
        for space in self.spaces():
            self.choose(space, SignedPermutation.identity(space.size))
        self._close()
        self.run.prove()
        if self.run.waiting:
            position = min(self.run.waiting)
            task, reason = self.run.tasks[position], self.run.waiting[position]
            raise NeverEquivariantError(str(task.where), f"undecided: {reason}", "use method average")
        self.check_constants()
        return self.result()

    def _close(self) -> None:
        """Let the mirror leave alone all axes that are still open, so that the last run checks them like all others."""
        outputs = chain.from_iterable(map(_described, self.run.nodes.values()))
        for rep in (*self.run.leaves.values(), *outputs):
            for axis in rep.axes:
                for var in variables((self.run.solver.resolve(axis),)):
                    self.run.solver.bind(var, trivial(var.size))
        self.run.solver.settle_signs()

    def check_constants(self) -> None:
        """Raises AsymmetricConstantError where the mirror changes one; those that are still open are passed over."""
        for leaf, change in self.run.constants.changes(self.run.leaves, self.run.solver):
            if not (self.symmetrize and leaf.stored):
                facts = f"constant {_name_of(leaf)} {leaf.shape} changes by {change:.3g} under the mirror"
                raise AsymmetricConstantError(str(leaf.where), facts, _remedy_of(leaf))
            if leaf.name not in self.symmetrized:
                self.symmetrized.append(leaf.name)


def _check_rules(captured: CapturedModel) -> None:
    """Raises NoRuleError at the first op without a rule, before anything is inferred of the others."""
    # Before missing rules: an op that draws numbers has no rule either, and its reason is another one.
    for node in captured.drawing:
        raise random_numbers(node)
    for node in captured.nodes:
        if node.target != "getitem" and rule_of(node.target) is None:
            shapes = ", ".join(str(shape) for shape in node.shapes if shape is not None)
            facts = f"no rule for {node.target} (result {shapes})"
            raise NoRuleError(str(node.where), facts, "write it with supported operations, or use method average")


def _described(outputs: Iterable[Result]) -> Iterator[SymbolicRepresentation]:
    return (output for output in outputs if isinstance(output, SymbolicRepresentation))


def _free_spaces(
    weights: Iterable[tuple[Leaf, SymbolicRepresentation]], sign_free: Collection[int]
) -> tuple[Space, ...]:
    """Every unknown of some weight, in the order of the weights.  sign_free: unknowns that may carry no sign."""
    order: dict[int, tuple[Var, str, Where]] = {}
    cofactors: set[int] = set()
    for leaf, rep in weights:
        for dim, axis in enumerate(rep.axes):
            # Of heads beside the channels of a head, the smaller factor.
            factors = [term for term in axis if isinstance(term, Var)]
            leading = max(factors, key=lambda term: term.size, default=None)
            cofactors |= {term.id for term in factors if leading is not None and term.id != leading.id}
            for var in variables((axis,)):
                # An unknown of one entry is a sign, which propagation settles by itself.
                if var.size > 1:
                    order.setdefault(var.id, (var, f"{leaf.names[0]}[{dim}]", leaf.where))
    spaces: list[Space] = []
    for depth, (key, (var, label, where)) in enumerate(order.items()):
        module = label.rpartition("[")[0].rpartition(".")[0]
        spaces.append(Space(key, label, module, var.size, depth, key in sign_free, key in cofactors, where))
    return tuple(spaces)


def _name_of(leaf: Leaf) -> str:
    """What people know a constant by: its key, its global, or what forward computes it of."""
    if leaf.stored or leaf.known_as:
        return leaf.known_as or leaf.names[0]
    return "computed in forward" + when(leaf.sources, f" of {listed(leaf.sources)}")


def _remedy_of(leaf: Leaf) -> str:
    if leaf.frozen:
        return f"requires_grad_(True) has {listed(leaf.frozen)} converted as a weight, or use method average"
    if leaf.stored:
        return "check the pairs of the skeleton, allow it to be changed (symmetrize constants), or use method average"
    return "make it symmetric, let the module hold it (register_buffer), or use method average"


# ---- attempts --------------------------------------------------------------------------------------------------------
def _settled(known: Known) -> Run:
    """The attempt that comes to rest; where the plain one does not, with repairs that let it get further.

    Raises the refusal of the plain attempt where nothing helps: those of repairs speak of guesses.
    """
    # Weights of which it is given that the mirror negates them whole: T w = -w, so that they are zero.
    given = {name for name, rep in known.given.items() if rep.sign < 0 and replace(rep, sign=1).is_trivial}
    zero = frozenset(leaf.name for leaf in known.captured.weights if given & set(leaf.names))
    run, first = _attempt(known, Repair(zero))
    refusal, attempts = first, 1
    while first is not None and refusal is not None:
        # A repair that helps stays, and the next ones are tried on top of it.
        for repair in [*_singles(run), *_zero(run, refusal)]:
            if attempts >= _MOST_ATTEMPTS:
                raise first
            trial, later = _attempt(known, repair)
            attempts += 1
            # To take axes for the joints is progress even where it comes no further: the attempt may meet more axes of
            # that kind, and all of them are needed. There are finitely many, so the search ends.
            is_level = trial.position == run.position and repair.singles != run.repair.singles
            if later is None or trial.position > run.position or is_level:
                run, refusal = trial, later
                break
        else:
            raise first
    return run


def _attempt(known: Known, repair: Repair) -> tuple[Run, Refusal | None]:
    run = Run(known, repair)
    try:
        run.settle()
    except (NeverEquivariantError, NegatedChannelsError) as error:
        return run, error
    return run, None


def _singles(run: Run) -> Iterator[Repair]:
    """Axes of which nothing is known but that entries or parts are read, as the joints, all of one size at once."""
    singles = run.repair.singles
    for action in run.known.actions:
        labels = [label for label, size in run.solver.singles.items() if size == action.size]
        if not singles.keys() >= set(labels):
            yield replace(run.repair, singles={**singles, **dict.fromkeys(labels, known_axis(action))})


def _zero(run: Run, refusal: Refusal) -> Iterator[Repair]:
    """A bias along negated channels can only be zero. That gives up numbers, so it is tried only where signs refuse."""
    if isinstance(refusal, NegatedChannelsError):
        nodes = run.captured.until(run.tasks[run.position].at)[::-1]
        biases = chain.from_iterable(_added_weights(node, run.captured) for node in nodes)
        for name in islice((name for name in biases if name not in run.repair.zero), _TRIALS):
            yield replace(run.repair, zero=run.repair.zero | {name, run.exchange.of(name)})


def _added_weights(node: Node, captured: CapturedModel) -> Iterator[str]:
    """Weights that an op adds along an axis that they do not have: with signs there they can only be zero."""
    refs = list(node.reads) if isinstance(traits().get(node.target), Sum) else []
    if "bias" in node.arguments:
        refs = [node.arguments["bias"]]
    for ref in refs:
        leaf = captured.leaf_of(ref)
        if leaf is not None and leaf.kind == "parameter" and leaf.shape != node.shapes[0]:
            yield leaf.name
