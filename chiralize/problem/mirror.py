"""Representations for a whole network: inference, choices for the hidden spaces, and T on inputs and outputs.

Between `infer`, which knows graphs, and the steps of a command, which have a `Network`. `infer` propagates T from
inputs and outputs through the graph; hidden spaces stay open variables. `analyse` lets a chooser fill them in: the
result is a representation for every tensor and weight. `mirror_of` then gives T on inputs, outputs and states, with
which verdicts turn inputs and answers around.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from chiralize.body.tensors import ConversionSpec, ResolvedSpec, resolve
from chiralize.body.tensors.resolved import ResolvedTensor
from chiralize.body.tensors.unit_groups import unit_groups
from chiralize.errors import AsymmetricConstantError, ChiralizeError, NegatedChannelsError, UnsupportedError
from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.model import CapturedModel, Leaf, Node
from chiralize.graph.running import Around
from chiralize.graph.traits import Recurrence
from chiralize.graph.units import Units
from chiralize.infer import Inference
from chiralize.infer.hidden.assign import Chooser, assign
from chiralize.infer.hidden.match import FromWeights
from chiralize.infer.records import Choice, RepMap
from chiralize.infer.registry import traits
from chiralize.problem.network import Network
from chiralize.problem.result import WeightAction
from chiralize.storage.passport import Passport
from chiralize.symmetry.representation import TensorRepresentation
from chiralize.symmetry.symbolic import evaluate

_COMPUTED = "a constant that forward computes ({}; as a buffer it could be changed)"
Representations = Sequence[TensorRepresentation | None]


def infer(network: Network, given: Mapping[str, TensorRepresentation] | None = None) -> Inference:
    """Propagate the specification through the graph. Raises UnsupportedError where an op refuses."""
    resolved = network.resolved
    with _looking_at_layouts(resolved):
        return Inference(
            network.graph(), resolved.inputs, resolved.outputs, resolved.joined, given, network.treatment.symmetrize
        )


@dataclass(frozen=True)
class Inferred:
    """What inference says of a network before anything is chosen for its hidden spaces.

    repmap: what is known by then; None where an op refuses, or there is no graph, which is the `refusal`.
    asymmetric: the refusal of a constant that the mirror changes, whatever is chosen.
    """

    network: Network
    repmap: RepMap | None = None
    refusal: UnsupportedError | None = None
    asymmetric: AsymmetricConstantError | None = None

    @staticmethod
    def of(network: Network) -> Inferred:
        """Infer once; refusals become part of the record."""
        try:
            inference = infer(network)
        except UnsupportedError as error:
            return Inferred(network, refusal=_alone(error))
        repmap = inference.result()
        try:
            inference.check_constants()
        except AsymmetricConstantError as error:
            return Inferred(network, repmap, asymmetric=_alone(error))
        return Inferred(network, repmap)

    def known(self) -> RepMap:
        """What is known of the tensors. Raises the refusal of an op."""
        if self.repmap is None:
            assert self.refusal is not None
            raise self.refusal
        return self.repmap


Refusal = TypeVar("Refusal", bound=UnsupportedError)


def _alone(error: Refusal) -> Refusal:
    """The error without the frames that it passed, which hold tensors for as long as it lives."""
    error.__context__ = None
    return error.with_traceback(None)


@contextmanager
def _looking_at_layouts(resolved: ResolvedSpec) -> Iterator[None]:
    """Context that adds a hint to an op's refusal: an input declared `free` may hold joints."""
    try:
        yield
    except UnsupportedError as error:
        joints = len(resolved.spec.skeleton.joints)
        free = [tensor for tensor in resolved.input_tensors if tensor.kind == "free"]
        unsaid = [tensor.where for tensor in free if joints in tensor.shape[1:]]
        advice = f"give {', '.join(unsaid)} a layout if one of its axes is the {joints} joints (it is declared `free`)"
        if unsaid and joints > 1 and advice not in error.remedy:
            error.remedy = f"{advice}; or {error.remedy}"
        raise


def with_tables(network: Network) -> Network:
    """The network with its tables (`RepMap.tables`) as weights, so that they transform as their hidden axes do."""
    # A table that becomes a weight may show another one behind it, so that this is repeated until none is new. It
    # ends, since every round adds keys of the network.
    keys: set[str] = set()
    while True:
        try:
            inference = infer(network)
        except UnsupportedError:
            return network
        leaves = inference.captured.leaves
        more = {key for name in inference.result().tables for key in leaves[name].sources} - keys
        if not more:
            return network
        keys |= more
        network = network.captured_with(keys)


def tables_of(network: Network, repmap: RepMap) -> tuple[str, ...]:
    """The tables of a network, by their keys in it where they have some."""
    leaves = [leaf for leaf in network.graph().leaves.values() if leaf.name in repmap.tables]
    return tuple(dict.fromkeys(key for leaf in leaves for key in leaf.sources or (_COMPUTED.format(leaf.where),)))


def is_computed(table: str) -> bool:
    """Whether one of `tables_of` is a constant that forward computes, so that the network does not store it."""
    return table.startswith(_COMPUTED.partition("{")[0])


def analyse(
    network: Network, chooser: Chooser, given: Mapping[str, TensorRepresentation] | None = None
) -> tuple[RepMap, tuple[Choice, ...]]:
    """Infer, choose a representation for every hidden space, check. Raises UnsupportedError where an op refuses.

    given: representations of weights, by name.
    """
    # `assign` notes a space in `plain` where an op refused its negated channels. Inference does not take choices back,
    # so that it starts anew, and these spaces get choices without signs. It ends when no space is new.
    plain: set[int] = set()
    while True:
        inference, before = infer(network, given), len(plain)
        try:
            choices = assign(inference, chooser, plain)
            with _looking_at_layouts(network.resolved):
                return inference.finish(), choices
        except NegatedChannelsError:
            if len(plain) == before:
                raise


def represent(
    network: Network, passport: Passport | None, known: Mapping[str, TensorRepresentation] | None = None
) -> tuple[RepMap | None, ChiralizeError | None]:
    """Concrete representations, from the passport or by matching the weights; or the reason why there are none.

    known: of weights, by name.
    """
    # A converted file's passport says what its conversion chose. Else the weights tell which units are partners.
    try:
        if passport is not None and passport.hidden:
            return infer(network, {**(known or {}), **passport.hidden}).finish(), None
        return analyse(network, FromWeights(network.graph()), known)[0], None
    except UnsupportedError as error:
        return None, error


def mirror_of(network: Network, repmap: RepMap | None) -> NetworkMirror:
    """T on inputs, outputs and states, from the specification and else from inference. Raises UnsupportedError."""
    captured, resolved = network.captured, network.resolved
    # What the specification says comes first. Inference adds tensors that it leaves open (`state`, `like`).
    inputs, outputs = list(resolved.inputs), list(resolved.outputs)
    states: dict[str, TensorRepresentation] = {}
    if repmap is not None and captured is not None:
        inputs = [rep or _inferred(repmap, name) for rep, name in zip(inputs, captured.inputs, strict=True)]
        outputs = [rep or _inferred(repmap, name) for rep, name in zip(outputs, captured.outputs, strict=True)]
        states = {captured.leaves[leaf].names[0]: evaluate(repmap.leaves[leaf], {}) for leaf in captured.mutations}
    return mirror_from(resolved, inputs, outputs, states, network.around)


def mirror_if_known(network: Network, repmap: RepMap | None) -> NetworkMirror | None:
    """T, or None for a network that reads states whose representation nobody knows yet.

    States that it only returns, such as an LSTM's last ones, are left alone: no figure is taken of them.
    """
    if repmap is not None:
        return mirror_of(network, repmap)
    resolved = network.resolved
    # Without inference no representation of a state that is read is known: T on the inputs would be incomplete.
    reads_states = None in resolved.inputs or bool(network.captured and network.captured.mutations)
    unknown = [tensor.kind for tensor in resolved.output_tensors if tensor.representation is None]
    if reads_states or set(unknown) - {"state"}:
        return None
    return mirror_from(resolved, resolved.inputs, with_states_free(resolved.output_tensors), {}, network.around)


def with_states_free(tensors: Sequence[ResolvedTensor]) -> list[TensorRepresentation]:
    """Their representations; T leaves alone what is not known, as of states."""
    return [tensor.representation or TensorRepresentation.trivial(tensor.shape) for tensor in tensors]


def mirror_at_rest(network: Network) -> NetworkMirror | None:
    """T at the start of a roll-out: all state buffers are zero, so that any T leaves them as they are.

    None where that is not so, or where states are arguments.
    """
    captured, resolved = network.captured, network.resolved
    if captured is None or None in (*resolved.inputs, *resolved.outputs):
        return None
    # A signed permutation takes zeros to zeros: the trivial representation stands for any.
    buffers = [captured.leaves[leaf] for leaf in captured.mutations]
    if any(bool(leaf.tensor.any()) for leaf in buffers):
        return None
    states = {leaf.names[0]: TensorRepresentation.trivial(leaf.shape) for leaf in buffers}
    return mirror_from(resolved, resolved.inputs, resolved.outputs, states, network.around)


def _inferred(repmap: RepMap, name: str | None) -> TensorRepresentation | None:
    """The representation that inference found for a leaf or a node of the graph; None where it found none."""
    if name is None:
        return None
    rep = repmap.of(name)
    if rep is None:
        return None
    return evaluate(rep, {})


def mirror_from(
    resolved: ResolvedSpec,
    inputs: Representations,
    outputs: Representations,
    states: Mapping[str, TensorRepresentation],
    around: Around,
) -> NetworkMirror:
    """T on the given representations, with names for their entries.  states: of state buffers, by name.

    Raises UnsupportedError where the representation of an input or output is not known.
    """
    unknown = [f"input {index}" for index, action in enumerate(inputs) if action is None]
    unknown += [f"output {index}" for index, action in enumerate(outputs) if action is None]
    if unknown:
        facts = "how the mirror acts on this tensor could not be found"
        raise UnsupportedError(unknown[0], facts, "describe it in the specification")

    def inside(io: str, index: int, entry: tuple[int, ...]) -> list[int]:
        """Entries beyond the examples' sizes lie on free axes, which have no names."""
        return [position % size for position, size in zip(entry, resolved.tensor(io, index).shape, strict=True)]

    def label(io: str, index: int, entry: tuple[int, ...]) -> str:
        """One entry in the words of the skeleton."""
        return resolved.label(io, index, inside(io, index, entry))

    def part(io: str, index: int, entry: tuple[int, ...]) -> str:
        """The joint, or the quantity, that an entry belongs to."""
        return resolved.tensor(io, index).part(inside(io, index, entry))

    state_outputs = {index for index, tensor in enumerate(resolved.output_tensors) if tensor.kind == "state"}
    state_outputs |= {handed.output for handed in resolved.handed if handed.is_state}  # `like` an input that is one
    state_inputs = {index for index, tensor in enumerate(resolved.input_tensors) if tensor.kind == "state"}
    known_inputs, known_outputs = tuple(filter(None, inputs)), tuple(filter(None, outputs))
    mirror = NetworkMirror(known_inputs, known_outputs, states, frozenset(state_outputs), label, part, around=around)
    mirror = replace(mirror, is_single=resolved.is_single, units=_units(resolved), state_inputs=frozenset(state_inputs))
    if not resolved.is_affine:
        return mirror
    return replace(mirror, input_centers=resolved.input_centers, output_centers=resolved.output_centers)


def _units(resolved: ResolvedSpec) -> dict[int, Units]:
    """The units of the outputs that have several."""
    units: dict[int, Units] = {}
    for tensor in resolved.output_tensors:
        groups = unit_groups(tensor, resolved.spec.skeleton)
        if groups and tensor.name_axis is not None:
            units[tensor.index] = Units(tensor.name_axis, groups)
    return units


def depth_of(captured: CapturedModel | None, macs: Mapping[str, int] | None = None) -> int:
    """Contraction steps from input to output, frames of recurrent layers counted one by one (64 without a graph).

    Bounds on rounding grow with it.  macs: multiplications by node; ops without any are not counted.
    """
    if captured is None:
        return 64
    steps = 0
    for node in captured.nodes:
        trait = traits().get(node.target)
        if isinstance(trait, Recurrence) and not trait.is_single:
            steps += node.arguments["num_layers"] * _frames(node)
        elif macs is None or node.name in macs:
            steps += 1
    return max(steps, 1)


def _frames(node: Node) -> int:
    """The frames of one call of a recurrent layer, of whose answer they are the first axis, or behind the batch."""
    shape = node.shapes[0] or (1, 1)
    if "batch_first" not in node.arguments:  # frames of all sequences packed together: no fewer than those of one
        return max(shape[:-1])
    axis = 1 if node.arguments["batch_first"] and len(shape) > 2 else 0
    return shape[axis]


def weight_action(captured: CapturedModel, repmap: RepMap) -> WeightAction:
    """How the mirror acts on every weight and state."""
    return WeightAction(hidden_representations(captured, repmap), _exchanged(captured, repmap))


def hidden_representations(captured: CapturedModel, repmap: RepMap) -> dict[str, TensorRepresentation]:
    """Representation of every weight and state, by each of its names."""
    hidden: dict[str, TensorRepresentation] = {}
    for leaf in _weights_and_states(captured):
        hidden |= dict.fromkeys(leaf.names, evaluate(repmap.leaves[leaf.name], {}))
    return hidden


def _weights_and_states(captured: CapturedModel) -> list[Leaf]:
    """The leaves that a result stores and that the mirror acts on: neither inputs nor constants."""
    return [leaf for leaf in captured.leaves.values() if leaf.is_weight or leaf.kind == "state"]


def _exchanged(captured: CapturedModel, repmap: RepMap) -> dict[str, str]:
    """Weights and states that the mirror takes to another one, each with its partner, by name."""
    leaves = {leaf.name: leaf for leaf in _weights_and_states(captured)}
    exchanged: dict[str, str] = {}
    for name, partner in repmap.partners.items():
        if name in leaves:
            exchanged.update(zip(leaves[name].names, captured.leaves[partner].names, strict=False))
    return exchanged


def free_parameters(captured: CapturedModel, repmap: RepMap) -> int:
    """Numbers that the symmetric parameters are free to take: the dimension of the symmetric subspace.

    Of a weight of 4 x 4 between two spaces of two pairs each these are 8, half of its 16.
    """
    parameters = (leaf for leaf in captured.leaves.values() if leaf.kind == "parameter")
    return round(sum(_free_entries(leaf, repmap) for leaf in parameters))


def _free_entries(leaf: Leaf, repmap: RepMap) -> float:
    """How many numbers of a parameter are free; of two that the mirror exchanges, half of each."""
    if leaf.name in repmap.partners:  # each of the two determines the other
        return leaf.tensor.numel() / 2
    if leaf.name not in repmap.leaves:  # within a stretch that is averaged
        return leaf.tensor.numel()
    return evaluate(repmap.leaves[leaf.name], {}).dimensions()[0]  # of the even and the odd part: T fixes the even one


def resolved_as(network: Network, spec: ConversionSpec) -> tuple[ResolvedSpec, NetworkMirror]:
    """Another specification fitted to the network, and its T."""
    resolved = network.resolved
    inputs = [tensor.shape for tensor in resolved.input_tensors]
    outputs = [tensor.shape for tensor in resolved.output_tensors]
    other = resolve(spec, inputs, outputs)
    # Random inputs are drawn about the centre of the mirror that is tried, not about that of the network's own.
    if other.is_affine:
        around = Around(other.input_centers, other.spreads)
    else:
        around = network.around
    read, answered = with_states_free(other.input_tensors), with_states_free(other.output_tensors)
    return other, mirror_from(other, read, answered, {}, around)


def free_share(network: Network, repmap: RepMap | None, original: Network | None = None) -> float | None:
    """Free parameters over all parameters, those of the original where it is given; None where they are not known."""
    captured, before = network.captured, (original or network).captured
    if repmap is None or captured is None or before is None or not before.parameter_count:
        return None
    return free_parameters(captured, repmap) / before.parameter_count
