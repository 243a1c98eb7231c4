"""What goes into an inference, what comes out of it, and how its refusals are worded.

`Known` is the same for all attempts on one network; a `Repair` is what one attempt differs by. Out comes a `RepMap`:
methods read its free spaces, choose an action for each (a `Choice`, with its reason for the report), and later read
from the finished `RepMap` how each weight has to be symmetric.

A `Conflict` says what cannot be. It often shows at another op than the one that is to blame: ReLU demands that H
carries no signs, and the output layer finds that it does. The solver remembers whose demand it was (`Conflict.site`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from chiralize.errors import NegatedChannelsError, NeverEquivariantError, NoRuleError, UnsupportedError
from chiralize.errors.words import when
from chiralize.graph.model import CapturedModel, Leaf, Node, Where
from chiralize.graph.traits import Attention, Product, Recurrence, Scaling
from chiralize.infer.rule import traits
from chiralize.infer.symbolic import Axis, Conflict, SymbolicRepresentation, evaluate
from chiralize.infer.wiring import Wiring
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import TensorRepresentation

Tensor = tuple[str, int]
"""An argument or a result of the network: `input` or `output`, and its position."""
Representations = Sequence[TensorRepresentation | None]
"""How T acts on every argument, or on every result; None where it is to be found."""


# ---- what goes in --------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Known:
    """A network and the representations that are known before its rules run.

    inputs, outputs: representation of every tensor argument and result, None where it is to be found.
    joined: pairs of (`input` or `output`, position) that transform alike.  given: what is known of weights, by name.
    """

    captured: CapturedModel
    inputs: Representations
    outputs: Representations
    joined: Sequence[tuple[Tensor, Tensor]] = ()
    given: Mapping[str, TensorRepresentation] = field(default_factory=dict)

    @cached_property
    def actions(self) -> Sequence[SignedPermutation]:
        """How the mirror acts on axes of the inputs and outputs, where it does anything."""
        reps = [rep for rep in (*self.inputs, *self.outputs) if rep is not None]
        return list(dict.fromkeys(axis.action for rep in reps for axis in rep.axes if not axis.is_trivial))

    @cached_property
    def wiring(self) -> Wiring:
        """Who reads what in the graph."""
        return Wiring(self.captured)

    def name_of(self, tensor: Tensor) -> str | None:
        """The value that an argument or a result of the network is; None for a result that is no tensor."""
        io, index = tensor
        return self.captured.inputs[index] if io == "input" else self.captured.outputs[index]


@dataclass(frozen=True)
class Repair:
    """What an attempt takes for granted where a plainer one was refused.

    zero: weights that can only be zero, such as a bias along an axis with signs.  singles: what unknown axes are taken
    to be of which single entries or parts are read, by label.
    """

    zero: frozenset[str] = frozenset()
    singles: Mapping[str, Axis] = field(default_factory=dict)


# ---- what comes out ------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Space:
    """A hidden space: axes that have to share one unknown involution.

    key: the unknown's number.  label: the first weight axis that carries it, e.g. `expand_conv.weight[0]`.
    module: path of the first writer.  depth: order of the first writer among the spaces.
    sign_free: an operation on the space forbids signs.  cofactor: a factor of an axis beside a larger one.
    """

    key: int
    label: str
    module: str
    size: int
    depth: int
    sign_free: bool
    cofactor: bool = False
    where: Where = Where()


@dataclass(frozen=True)
class RepMap:
    """How every tensor transforms, up to the spaces that are still free.

    leaves, nodes: representation by name (a tuple per output; None where an output is no tensor or unread).
    forced: axes that were taken to be trivial because nothing else could decide.
    names: of the spaces, by their keys, for messages.  partners: values that T does not take to themselves but to
    another one, by name (branches that it exchanges).  symmetrized: constants that the mirror changes and that may be
    changed.  tables: constants that make hidden axes trivial, though weights tie those to an axis on which the mirror
    acts.
    """

    leaves: Mapping[str, SymbolicRepresentation]
    nodes: Mapping[str, tuple[SymbolicRepresentation | None, ...]]
    spaces: tuple[Space, ...]
    forced: tuple[str, ...]
    names: Mapping[int, str]
    partners: Mapping[str, str] = field(default_factory=dict)
    symmetrized: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()

    def of(self, name: str) -> SymbolicRepresentation | None:
        """How a leaf or the first output of a node transforms; None where that is no tensor, or is not read."""
        if name in self.leaves:
            return self.leaves[name]
        return self.nodes[name][0]

    def weight_representations(self, captured: CapturedModel) -> dict[str, TensorRepresentation]:
        """Representation of every weight and state, by each of its names."""
        weights: dict[str, TensorRepresentation] = {}
        for leaf in _weights_and_states(captured):
            weights |= dict.fromkeys(leaf.names, evaluate(self.leaves[leaf.name], {}))
        return weights

    def exchanged(self, captured: CapturedModel) -> dict[str, str]:
        """Weights and states that the mirror takes to another one, each with its partner, by name."""
        leaves = {leaf.name: leaf for leaf in _weights_and_states(captured)}
        exchanged: dict[str, str] = {}
        for name, partner in self.partners.items():
            if name in leaves:
                exchanged.update(zip(leaves[name].names, captured.leaves[partner].names, strict=False))
        return exchanged

    def free_parameters(self, captured: CapturedModel) -> int:
        """Numbers that the symmetric parameters are free to take: the dimension of the symmetric subspace.

        Of a weight of 4 x 4 between two spaces of two pairs each these are 8, half of its 16.
        """
        parameters = (leaf for leaf in captured.leaves.values() if leaf.kind == "parameter")
        return round(sum(map(self._free_entries, parameters)))

    def _free_entries(self, leaf: Leaf) -> float:
        """How many numbers of a parameter are free; of two that the mirror exchanges, half of each."""
        if leaf.name in self.partners:  # each of the two determines the other
            return leaf.tensor.numel() / 2
        return evaluate(self.leaves[leaf.name], {}).dimensions()[0]  # of even and odd entries: T fixes the even ones


def _weights_and_states(captured: CapturedModel) -> list[Leaf]:
    """The leaves that a result stores and that the mirror acts on: neither inputs nor constants."""
    return [leaf for leaf in captured.leaves.values() if leaf.is_weight or leaf.kind == "state"]


def depth_of(captured: CapturedModel) -> int:
    """Sums of products one behind the other, at most, frames of recurrent layers counted one by one; at least 1.

    Bounds on rounding grow with it.
    """
    steps = 0
    for node in captured.nodes:
        match traits().get(node.target):
            case Recurrence(is_single=False):
                steps += node.arguments["num_layers"] * _frames(node)
            case Scaling():  # one product, of which no sum is taken
                pass
            case Recurrence() | Product() | Attention():
                steps += 1
            case _:
                pass
    return max(steps, 1)


def _frames(node: Node) -> int:
    """The frames of one call of a recurrent layer, of whose answer they are the first axis, or behind the batch."""
    shape = node.shapes[0] or (1, 1)
    if "batch_first" not in node.arguments:  # frames of all sequences packed together: no fewer than those of one
        return max(shape[:-1])
    axis = 1 if node.arguments["batch_first"] and len(shape) > 2 else 0
    return shape[axis]


@dataclass(frozen=True)
class Choice:
    """The representation given to a space, and why."""

    space: Space
    action: SignedPermutation
    reason: str


# ---- refusals ------------------------------------------------------------------------------------------------------
def site_of(where: Where, target: str) -> str:
    """How a rule that runs there is called in what it demands."""
    return f"{where}: {target}"


def refusal(where: Where, target: str, conflict: Conflict, at: str) -> UnsupportedError:
    """A conflict as an error, at the operation that makes the demand, which may not be the one where it fails.

    at: node where it fails.
    """
    here = site_of(where, target)
    demand = conflict.site or here
    error: UnsupportedError
    if conflict.negated:
        site, _, op = demand.rpartition(": ")
        signs = when(demand != here, f" (signs of {where})")
        error = NegatedChannelsError(
            site,
            f"{op}: {conflict}{signs}, and the operation is not odd",
            "keep signs away from it (hidden.negated: 0, activation: tanh), or use method average",
        )
    else:
        order = when(demand != here, f"; {demand} keeps such an axis in order")
        error = NeverEquivariantError(
            str(where), f"{target}: {conflict}{order}", "check the layouts, or use method average"
        )
    error.at = at
    return error


def random_numbers(node: Node | None, name: str = "") -> NoRuleError:
    """Why a network with this operation cannot be made equivariant by any method; None: somewhere in that network."""
    where, target, at = (str(node.where), node.target, node.name) if node is not None else (name, "it", "")
    error = NoRuleError(
        where,
        f"{target} draws random numbers: a network with randomness in eval mode has no exact mirror",
        "take the randomness out of eval mode (F.dropout takes training=self.training), or make the numbers an input",
    )
    error.at = at
    return error
