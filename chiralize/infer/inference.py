"""How every tensor of a captured network transforms, found by running the op rules to a fixpoint.

Known at the start: the inputs and outputs, from the specification. Parameters, statistics and states are unknowns that
the rules tie to each other. A rule that cannot say anything yet waits. When nothing moves any more, constants may
choose: whatever leaves them invariant. Then single entries of unknown axes are taken to be fixed points, and last of
all lists that name entries several times choose how their positions move.
What is still free then is a hidden space: `choose` gives it a value. `finish` runs every rule once more with all
values in place; that run alone decides, everything before it was a search, of 300 attempts at most.

A net of two layers, 17 joints (x, y) in and 17 joints (x, y, z) out, goes like this:

    known      input 17 x 2, output 17 x 3        (6 pairs and 5 fixed joints; x is negated)
    rules      fc1.weight [H, 34], fc1.bias [H], relu: H carries no signs, fc2.weight [51, H]
    spaces     H, of 512 units: `methods` say which of them are partners, and call `choose`
    finish     every rule is checked with H in place; the result says how each weight transforms

`problem.mirror.infer` makes an `Inference` of a network and its specification: before a conversion, and for the
certificate on the converted network.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice

from chiralize.errors import (
    AsymmetricConstantError,
    NegatedChannelsError,
    NeverEquivariantError,
    NoRuleError,
    UnsupportedError,
)
from chiralize.errors.words import when
from chiralize.graph.model import CapturedModel, Leaf, Node
from chiralize.infer.calls import names_read
from chiralize.infer.canonical import canonical, parts_joined_with, with_selections
from chiralize.infer.constants import beyond, deviation, largest_change, nearest
from chiralize.infer.given import Known, Repair, Spec, Tensor
from chiralize.infer.propagation import Propagation
from chiralize.infer.records import RepMap, Space
from chiralize.infer.refusal import refusal
from chiralize.infer.registry import Result, registry
from chiralize.infer.solver.unify import Conflict
from chiralize.infer.spaces import added_weights, free_spaces
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import TensorRepresentation
from chiralize.symmetry.symbolic import (
    Axis,
    SymbolicRepresentation,
    Var,
    evaluate,
    is_known,
    known_axis,
    trivial,
    variables,
)

_TRIALS = 16
"""Of each kind of repair so many are tried after a refusal, those nearest to the op that refused."""
_MOST_ATTEMPTS = 300
"""Propagations for one network; networks of the field take one to five. Over 600 ops each takes a tenth of a second."""
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


def _described(outputs: Iterable[Result]) -> Iterator[SymbolicRepresentation]:
    """The outputs of an op of which a rule says how they transform."""
    return (output for output in outputs if isinstance(output, SymbolicRepresentation))


class Inference:
    """Propagation through one captured network.

    inputs, outputs: representation of every tensor argument and result, None where it is to be found.
    joined: pairs of (`input` or `output`, position) that transform alike.  given: what is known of weights, by name.
    symmetrize: constants that the model stores may be changed; `symmetrized` then names those that the mirror changes.
    idle: nodes that change nothing, each with the value that it is.  now: the propagation that went furthest.
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
        self.attempts = 0
        self.captured, self.idle = canonical(captured)
        self.positions = {node.name: position for position, node in enumerate(self.captured.nodes)}
        self.known = Known(self.captured, inputs, outputs, joined, given or {})
        self._check_rules()
        self._search()

    def _search(self) -> None:
        """Propagate. Where that fails, try the repairs that let the propagation get further.

        Repairs are: to take parts of a tensor that meet again as one list, to let a bias be zero, to leave branches
        open, to take axes of single entries for the joints, and to settle open signs one after the other. A repair that
        helps stays, and the next ones are tried on top of it. Raises the refusal of the plain attempt where nothing
        helps: errors of repairs speak of guesses that the user never made.
        """
        repair = Repair(self._zero_already())
        refusal = self._refusal_with(repair)
        first, reached = refusal, self._reached()
        # Usually the plain attempt is not refused, and this loop does not run at all.
        while refusal is not None:
            for trial in self._repairs(refusal, repair):
                if self.attempts >= _MOST_ATTEMPTS:
                    assert first is not None
                    first.facts += f" (the search for repairs ended after {self.attempts} attempts)"
                    raise first
                refusal = self._refusal_with(trial)
                more = self._reached() - reached
                # To take axes for the joints is progress even where it comes no further: the attempt may meet more
                # axes of that kind, and all of them are needed. There are finitely many, so the search ends.
                if refusal is None or more > 0 or (more == 0 and trial.singles != repair.singles):
                    repair, reached = trial, self._reached()
                    break
            else:
                assert first is not None
                raise first
        self._open_waiting(repair)
        self._leave_unread()

    def _leave_unread(self) -> None:
        """Runs of an axis that one weight alone has and no value computed from inputs carries, such as positions beyond
        the example's length, are no hidden space: T leaves them alone, and longer inputs read them as they read others.
        What a rule still waits for may be carried later.
        """
        if self.now.waiting:
            return
        # Unknowns that occur once in all weights, and in no value that depends on the inputs.
        weights = Counter[Var]()
        for leaf in self.captured.weights:
            weights.update(self._unknown(self.now.leaves[leaf.name]))
        carried: set[Var] = set()
        for name, outputs in self.now.nodes.items():
            if name not in self.now.captured.fixed:
                carried.update(*map(self._unknown, _described(outputs)))
        for var, count in weights.items():
            if count == 1 and var.size > 1 and var not in carried:
                self.now.solver.bind(var, trivial(var.size))

    def _unknown(self, rep: SymbolicRepresentation) -> Iterator[Var]:
        """The unknowns of a representation, each as often as it occurs."""
        for axis in rep.axes:
            yield from variables((self.now.solver.resolve(axis),))

    def _open_waiting(self, repair: Repair) -> None:
        """Leave open the joins of exchanged branches that still wait for their parts: later ops may determine the
        whole.

        Where they do not, the whole is taken to be the joints, in the orders in which readers take its entries. An
        attempt counts if it is not refused and the whole is known after it; else what was before is restored.
        """
        tried: set[str] = set()
        while names := [name for name in self.now.waiting_joints if name not in tried]:
            if self.attempts >= _MOST_ATTEMPTS:
                return  # an op that still waits is refused at its own line
            before, name = self.now, names[0]
            tried.add(name)
            for whole in (None, *islice(before.likely_wholes(name), _TRIALS)):
                wholes = repair.wholes if whole is None else {**repair.wholes, name: whole}
                trial = replace(repair, joints=(*repair.joints, name), wholes=wholes)
                refusal = self._refusal_with(trial)
                if refusal is None and is_known(self.now.solver.resolve(self.now.wholes[name])):
                    repair = trial
                    break
                self.now = before

    def _reached(self) -> int:
        """How far the propagation came, counted in the graph as it was captured.

        Repairs change the graph (`with_selections` drops nodes), so positions in it cannot be compared. Outputs are
        counted behind all nodes.
        """
        behind_nodes = self.now.index - len(self.now.captured.nodes)
        if behind_nodes < 0:
            return self.positions[self.now.at]
        return len(self.positions) + behind_nodes

    def _refusal_with(self, repair: Repair) -> UnsupportedError | None:
        """Propagate anew; returns the error that stops it, None if it comes to rest."""
        self.attempts += 1
        known = replace(self.known, captured=with_selections(self.captured, repair.selections))
        self.now = Propagation(known, repair)
        try:
            self.now.settle()
        except (NeverEquivariantError, NegatedChannelsError) as error:
            return error
        return None

    def _repairs(self, refusal: UnsupportedError, repair: Repair) -> list[Repair]:
        """Repairs that might help, those nearest to the node that refused first."""
        nodes = self.captured.until(refusal.at)[::-1]
        trials: list[Repair] = []
        # One sign may decide others, which at once were all taken to be 1.
        if self.now.at_once:
            trials.append(replace(repair, one_by_one=True))
        trials += [replace(repair, singles=singles) for singles in self._singles(repair)]
        parts = parts_joined_with(refusal.at, self.now.captured)
        if parts:
            trials.append(replace(repair, selections=repair.selections | parts))
        # A bias along negated channels can only be zero. That gives up numbers of the network, so it is tried only
        # where signs are what stops it.
        if isinstance(refusal, NegatedChannelsError):
            biases = chain.from_iterable(added_weights(node, self.captured) for node in nodes)
            nonzero = (name for name in biases if name not in repair.zero)
            of = self.now.partners.of
            trials += [replace(repair, zero=repair.zero | {name, of(name)}) for name in islice(nonzero, _TRIALS)]
        closed = [node for node in nodes if node.name not in repair.joints]
        joints = (node.name for node in closed if self.now.partners.has_branches(node))
        return trials + [replace(repair, joints=(*repair.joints, name)) for name in islice(joints, _TRIALS)]

    def _singles(self, repair: Repair) -> Iterator[Mapping[str, Axis]]:
        """Axes of which nothing is known but that entries or parts are read, as the joints, all of one size at once."""
        for action in self.known.actions():
            labels = [label for label, size in self.now.solver.singles.items() if size == action.size]
            if not repair.singles.keys() >= set(labels):
                yield {**repair.singles, **dict.fromkeys(labels, known_axis(action))}

    def _zero_already(self) -> frozenset[str]:
        """Weights of which it is given that the mirror negates them whole: T w = -w, so that they are zero."""
        given = {name for name, rep in self.known.given.items() if rep.sign < 0 and replace(rep, sign=1).is_trivial}
        return frozenset(leaf.name for leaf in self.captured.weights if given & set(leaf.names))

    def _check_rules(self) -> None:
        """Raises NoRuleError at the first op without a rule, before anything is inferred of the others."""
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
        outputs = chain.from_iterable(map(_described, self.now.nodes.values()))
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
