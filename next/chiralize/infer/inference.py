"""How does every tensor of a captured network transform, and what is still free to choose?

Known at the start: the inputs and outputs, from the specification. Parameters, statistics and states are unknowns that
the rules tie to each other (`run`). What is still free then is a hidden space: `choose` gives it a value. `finish` runs
every rule once more with all values in place; that run alone decides, everything before it was a search.

A net of two layers, 17 joints (x, y) in and 17 joints (x, y, z) out, goes like this:

    known      input 17 x 2, output 17 x 3        (6 pairs and 5 fixed joints; x is negated)
    rules      fc1.weight [H, 34], fc1.bias [H], relu: H carries no signs, fc2.weight [51, H]
    spaces     H, of 512 units: `methods` say which of them are partners, and call `choose`
    finish     every rule is checked with H in place; the result says how each weight transforms
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain

from chiralize.errors import AsymmetricConstantError, NeverEquivariantError, NoRuleError
from chiralize.errors.words import listed, when
from chiralize.graph.model import CapturedModel, Leaf, Node, Where
from chiralize.infer.canonical import canonical
from chiralize.infer.records import Known, RepMap, Representations, Space, Tensor, random_numbers, refusal
from chiralize.infer.rule import Result, rule_of
from chiralize.infer.search import settled
from chiralize.infer.symbolic import Conflict, SymbolicRepresentation, Var, known_axis, trivial, variables
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import TensorRepresentation


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
        self.run = settled(Known(self.captured, inputs, outputs, joined, given or {}))
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
        """Give a hidden space its representation; what waited for it is decided at once.

        Raises the errors of the class where the network forbids that one.
        """
        try:
            self.run.moves(lambda: self.run.solver.bind(Var(space.key, space.size), known_axis(action)))
        except Conflict as conflict:
            label = space.label.rpartition("[")[0]
            writers = (
                node.name for node in self.captured.nodes for leaf in self._weights_of(node) if label in leaf.names
            )
            raise refusal(space.where, space.label, conflict, next(writers, "")) from None
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
        """The unknowns of a representation, each as often as it occurs."""
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
        spaces = self.spaces()
        # Spaces are H1, H2, ... in messages and plans, in the order in which the network writes them.
        names = {space.key: f"H{space.depth + 1}" for space in spaces}
        partners = {name: exchange.of(name) for name in (*leaves, *nodes) if exchange.is_exchanged(name)}
        tables = tuple(self.run.constants.tables)
        return RepMap(leaves, nodes, spaces, tuple(solver.forced), names, partners, tuple(self.symmetrized), tables)

    def _resolved(self, output: Result) -> SymbolicRepresentation | None:
        """How an output transforms, by now; None where it is no tensor, is unread or holds one number."""
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
            error = NeverEquivariantError(str(task.where), f"undecided: {reason}", "use method average")
            error.at = task.at
            raise error
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
            error = NoRuleError(str(node.where), facts, "write it with supported operations, or use method average")
            error.at = node.name
            raise error


def _described(outputs: Iterable[Result]) -> Iterator[SymbolicRepresentation]:
    """The outputs of an op of which a rule says how they transform."""
    return (output for output in outputs if isinstance(output, SymbolicRepresentation))


def _free_spaces(
    weights: Iterable[tuple[Leaf, SymbolicRepresentation]], sign_free: Collection[int]
) -> tuple[Space, ...]:
    """Every unknown of some weight, in the order in which the network writes them.

    weights: in the order of the graph.  sign_free: unknowns that may carry no sign.
    """
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
    """The remedy where the mirror changes a constant."""
    if leaf.frozen:
        return f"requires_grad_(True) has {listed(leaf.frozen)} converted as a weight, or use method average"
    if leaf.stored:
        return "check the pairs of the skeleton, allow it to be changed (symmetrize constants), or use method average"
    if leaf.known_as:
        return "make it symmetric, let the module hold it (register_buffer), or use method average"
    return "make what forward computes it from symmetric, or use method average"
