"""How every tensor of a captured network transforms, found by running the op rules to a fixpoint.

Known at the start: the inputs and outputs, from the specification. Parameters, statistics and states are unknowns that
the rules tie to each other. A rule that cannot say anything yet waits. When nothing moves any more, constants may
choose: whatever leaves them invariant. Then single entries of unknown axes are taken to be fixed points, and last of
all lists that name entries several times choose how their positions move.
What is still free then is a hidden space: `choose` gives it a value. `finish` runs every rule once more with all
values in place; that run alone decides, everything before it was a search (`search.Search`).

A net of two layers, 17 joints (x, y) in and 17 joints (x, y, z) out, goes like this:

    known      input 17 x 2, output 17 x 3        (6 pairs and 5 fixed joints; x is negated)
    rules      fc1.weight [H, 34], fc1.bias [H], relu: H carries no signs, fc2.weight [51, H]
    spaces     H, of 512 units: `methods` say which of them are partners, and call `choose`
    finish     every rule is checked with H in place; the result says how each weight transforms

`problem.mirror.infer` makes an `Inference` of a network and its specification: before a conversion, and for the
certificate on the converted network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

from chiralize.errors import (
    AsymmetricConstantError,
    NeverEquivariantError,
    NoRuleError,
)
from chiralize.errors.words import when
from chiralize.graph.model import CapturedModel, Leaf, Node
from chiralize.infer.calls import names_read
from chiralize.infer.canonical import canonical
from chiralize.infer.constants import beyond, deviation, largest_change, nearest
from chiralize.infer.given import Known, Spec, Tensor
from chiralize.infer.records import RepMap, Space
from chiralize.infer.refusal import refusal
from chiralize.infer.registry import Result, registry
from chiralize.infer.search import Search, described
from chiralize.infer.solver.unify import Conflict
from chiralize.infer.spaces import free_spaces
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import TensorRepresentation
from chiralize.symmetry.symbolic import (
    SymbolicRepresentation,
    Var,
    evaluate,
    is_known,
    known_axis,
    trivial,
    variables,
)

OR_AVERAGE = ", or use --method average"
"""The end of remedies for what stops one pass alone."""
_MEND = (
    "check the pairs of the skeleton where it is over joints; else make the constant symmetric, use "
    "--symmetrize-constants to have that done"
)
_HOLD = (
    "make it symmetric where it is made, or let the module hold it (self.register_buffer in __init__) for "
    "--symmetrize-constants to change it"
)


def _remedy_of(leaf: Leaf, symmetrize: bool) -> str:
    """The remedy where the mirror changes a constant.  symmetrize: the user asked for stored ones to be changed."""
    if leaf.stored:
        remedy = _MEND
    elif leaf.known_as:
        remedy = _HOLD
    else:
        note = when(symmetrize, " (--symmetrize-constants changes only constants that the model stores)")
        remedy = f"make what forward computes it from symmetric{note}"
    remedy += OR_AVERAGE
    if not leaf.frozen:
        return remedy
    names = ", ".join(leaf.frozen)
    return (
        f"{remedy}; {names} is a frozen parameter (requires_grad=False) that looks like a table: requires_grad_(True) "
        "has it converted as a weight"
    )


def _name_of(leaf: Leaf) -> str:
    """What people know a constant by: its key, its global, or what forward computes it of."""
    if leaf.stored or leaf.known_as:
        return leaf.known_as or leaf.names[0]
    return "computed in forward" + when(leaf.sources, f" of {', '.join(leaf.sources)}")


def random_numbers(node: Node | None, name: str = "") -> NoRuleError:
    """Why a network with this operation cannot be made equivariant by any method; None: somewhere in that network."""
    where, target, at = name, "it", ""
    if node is not None:
        where, target, at = str(node.where), node.target, node.name
    error = NoRuleError(
        where,
        f"{target} draws random numbers: a network with randomness in eval mode has no exact mirror",
        "take the randomness out of eval mode (F.dropout takes training=self.training), or make the numbers an input: "
        "the mirror of x needs the mirror of the noise, which a seed does not give",
    )
    error.at = at
    return error


class Inference(Search):
    """Propagation through one captured network.

    inputs, outputs: representation of every tensor argument and result, None where it is to be found.
    joined: pairs of (`input` or `output`, position) that transform alike.  given: what is known of weights, by name.
    symmetrize: constants that the model stores may be changed; `symmetrized` then names those that the mirror changes.
    idle: nodes that change nothing, each with the value that it is.  now: the propagation that came to rest.
    Raises NoRuleError, NeverEquivariantError, NegatedChannelsError, AsymmetricConstantError, each at its node.
    """

    def __init__(
        self,
        captured: CapturedModel,
        inputs: Spec,
        outputs: Spec,
        joined: Sequence[tuple[Tensor, Tensor]] = (),
        given: Mapping[str, TensorRepresentation] | None = None,
        symmetrize: bool = False,
    ) -> None:
        self.symmetrize = symmetrize
        self.symmetrized: list[str] = []
        graph, self.idle = canonical(captured)
        super().__init__(Known(graph, inputs, outputs, joined, given or {}))
        # An attempt looks every rule up, and would end in a KeyError at an op that has none.
        self._check_rules()
        self.search()

    def _check_rules(self) -> None:
        """Raises NoRuleError at the first op without a rule, before anything is inferred of the others."""
        # Before missing rules: an op that draws numbers has no rule either, and its reason is another one.
        for node in self.captured.drawing:
            raise random_numbers(node)
        for node in self.captured.nodes:
            if node.target != "getitem" and node.inner is None and node.target not in registry():
                shapes = ", ".join(str(shape) for shape in node.shapes if shape is not None)
                error = NoRuleError(
                    str(node.where),
                    f"no rule for {node.target} (result {shapes})",
                    "write the operation with supported ones, add a rule (docs/add-a-rule.md), or use --method average",
                )
                error.at = node.name
                raise error

    # ---- hidden spaces ------------------------------------------------------------------------------------
    def spaces(self) -> tuple[Space, ...]:
        """Unknowns that are still free, in the order in which the network writes them."""
        weights = [leaf for node in self.captured.nodes for leaf in self._weights_of(node)]
        reps = [(leaf, self.now.solver.representation(self.now.leaves[leaf.name])) for leaf in weights]
        return free_spaces(reps, self.now.solver.demanded_sign_free)

    def is_free(self, space: Space) -> bool:
        """Whether nothing has decided a space since it was found free."""
        return space.key not in self.now.solver.bindings

    def _writer(self, space: Space) -> str:
        """The first node whose weights carry a space; its label is the name of the weight with the axis in brackets."""
        label = space.label.rpartition("[")[0]
        for node in self.captured.nodes:
            if label in [leaf.names[0] for leaf in self._weights_of(node)]:
                return node.name
        return ""

    def _weights_of(self, node: Node) -> list[Leaf]:
        """Leaves that a node reads, but for inputs and for constants of one number, which carry no space."""
        names = [name for name in names_read(node) if name in self.now.leaves and name not in self.captured.inputs]
        return [self.captured.leaves[name] for name in names if self.now.constants.uniform.get(name) is None]

    def choose(self, space: Space, action: SignedPermutation) -> None:
        """Give a hidden space its representation; what waited for it is decided at once.

        Raises the errors of the class where the network forbids that one.
        """
        try:
            self.now.solver.bind(Var(space.key, space.size), known_axis(action))
        except Conflict as conflict:
            raise refusal(space.where, space.label, conflict, self._writer(space)) from None
        # Where nothing waits, nothing can follow from the choice. Whether all rules agree with it `finish` will say.
        if self.now.waiting or self.now.constants.open(self.now.leaves, self.now.solver):
            self.now.settle()
            self._leave_unread()

    def result(self) -> RepMap:
        """Everything that is known, for steps that read it; spaces may still be free."""
        leaves: dict[str, SymbolicRepresentation] = {}
        for name, rep in self.now.leaves.items():
            if name in self.captured.leaves:
                leaves[name] = self.now.solver.representation(rep)
        nodes = {name: tuple(map(self._resolved, outputs)) for name, outputs in self.now.nodes.items()}
        # Nodes that were left out of the graph since they change nothing are the value that they read.
        for name, value in self.idle.items():
            if value in leaves:
                nodes[name] = (leaves[value],)
            elif value in nodes:
                nodes[name] = nodes[value]
        spaces = self.spaces()
        # Spaces are H1, H2, ... in messages and plans, in the order in which the network writes them.
        names = {space.key: f"H{space.depth + 1}" for space in spaces}
        partners = {name: self.now.partners.of(name) for name in (*leaves, *nodes) if self.now.partners.exchanged(name)}
        forced, symmetrized = tuple(self.now.solver.forced), tuple(self.symmetrized)
        tables = tuple(self.now.constants.tables)
        return RepMap(leaves, nodes, spaces, forced, names, self.now.macs, partners, symmetrized, tables)

    def _resolved(self, output: Result) -> SymbolicRepresentation | None:
        """How an output transforms, by now; None where it is no tensor, is unread or holds one number."""
        if not isinstance(output, SymbolicRepresentation):
            return None
        return self.now.solver.representation(output)

    def finish(self) -> RepMap:
        """The last run: every space has a value, every rule is checked. Raises at the first node that refuses."""
        # Methods choose before; what they left is taken to be fixed points.
        for space in self.spaces():
            self.choose(space, SignedPermutation.identity(space.size))
        self._close()
        self.now.run_until_still()
        if self.now.waiting:
            where, reason = next(iter(self.now.waiting.items()))
            error = NeverEquivariantError(where, f"undecided: {reason}", "use --method average, or report this model")
            error.at = next((node.name for node in self.captured.nodes if str(node.where) == where), "")
            raise error
        self.check_constants()
        return self.result()

    def _close(self) -> None:
        """Let the mirror leave alone all axes that are still open, so that the last run checks them like all others.

        That run is a whole one: no rule rests.
        """
        outputs = chain.from_iterable(map(described, self.now.nodes.values()))
        for rep in (*self.now.leaves.values(), *outputs):
            for axis in rep.axes:
                for var in variables((self.now.solver.resolve(axis),)):
                    self.now.solver.bind(var, trivial(var.size))
        self.now.solver.settle_signs()
        self.now.resting.clear()

    def check_constants(self) -> None:
        """Raises AsymmetricConstantError where the mirror changes one; those that are still open are passed over."""
        for leaf in self.captured.leaves.values():
            # One number everywhere is the same under every mirror, unless the leaf was cut from a longer constant.
            uniform = self.now.constants.number(leaf.name) is not None and leaf.whole is None
            if leaf.kind != "constant" or uniform:
                continue
            rep = self.now.solver.representation(self.now.leaves[leaf.name])
            if not all(map(is_known, rep.axes)):
                continue
            partner = self.now.constants.partner_of(leaf)
            known = evaluate(rep, {})
            worst = change = deviation(leaf.tensor, known, partner)
            # Other sizes of the inputs read other entries of the whole, which the mirror may not change either.
            if partner is None and leaf.whole is not None:
                worst = max(worst, beyond(leaf.whole, known))
            if worst > 0 and self.symmetrize and leaf.stored:
                self.symmetrized.append(leaf.name)
            elif worst > 0:
                example = ""
                # For the message alone: under the mirror that fits best a single slip stands out.
                if change > 0:
                    known = nearest(leaf.tensor, known, partner, self.known.actions())
                    worst = deviation(leaf.tensor, known, partner)
                    example = f": {largest_change(leaf.tensor, known, partner)}"
                facts = f"constant {_name_of(leaf)} {leaf.shape} changes by {worst:.3g} under the mirror{example}"
                raise AsymmetricConstantError(str(leaf.where), facts, _remedy_of(leaf, self.symmetrize))
