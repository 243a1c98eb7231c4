"""Representations for a whole network: inference, choices for the hidden spaces, and T on inputs, outputs and states.

Between `infer`, which knows graphs, and the steps of a command, which have a `Network`. `infer` propagates T from
inputs and outputs through the graph; hidden spaces stay open variables. `analyse` lets a chooser fill them in: the
result is a representation for every tensor and weight. `mirror_of` then gives T on inputs, outputs and states, with
which verdicts turn inputs and answers around:

    gap = |f(T x) - T f(x)|,  0 for a network that commutes with its mirror
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch

from chiralize.body.resolve import OnTensor, Resolved
from chiralize.errors import AsymmetricConstantError, NegatedChannelsError, UnsupportedError
from chiralize.graph.run import Around, Call, in_rows, mirrored, placed
from chiralize.infer.hidden.choose import Chooser, assign
from chiralize.infer.hidden.match import FromWeights
from chiralize.infer.inference import Inference
from chiralize.infer.records import Choice, RepMap
from chiralize.infer.symbolic import evaluate
from chiralize.problem.network import Network
from chiralize.storage.passport import Passport
from chiralize.symmetry.action import Center, Turn, act
from chiralize.symmetry.representation import TensorRepresentation

Label = Callable[[Literal["input", "output"], int, tuple[int, ...]], str]
Representations = Sequence[TensorRepresentation | None]


def plain_label(io: str, index: int, entry: tuple[int, ...]) -> str:
    """Name of a tensor entry where no joint names are known, e.g. `output 0[0, 0, 3, 1]`."""
    return f"{io} {index}{list(entry)}"


@dataclass(frozen=True)
class NetworkMirror:
    """T on everything that goes into a network and comes out of it, at the sizes of the examples.

    inputs, outputs: one representation for each tensor of the flattened arguments and results; along trivial axes other
    sizes are fine.  states: by name of the buffer that forward writes.  state_inputs, state_outputs: positions of those
    that are states (left out of drift).  label: the name of one entry, such as `right_elbow.x`.  part: of the joint, or
    the quantity, that it belongs to, `right_elbow`.
    input_centers, output_centers: c of an affine T x = c + R (x - c), None where T is linear; empty where all are.
    around: where random inputs lie.  is_single: a call is one sample, so that no axis of its outputs counts samples.
    """

    inputs: tuple[TensorRepresentation, ...]
    outputs: tuple[TensorRepresentation, ...]
    states: Mapping[str, TensorRepresentation] = field(default_factory=dict)
    state_outputs: frozenset[int] = frozenset()
    label: Label = plain_label
    part: Label = plain_label
    input_centers: tuple[Center, ...] = field(default=(), compare=False)
    output_centers: tuple[Center, ...] = field(default=(), compare=False)
    around: Around = field(default=Around(), compare=False)
    is_single: bool = field(default=False, compare=False)
    state_inputs: frozenset[int] = frozenset()

    def in_rows(self, output: torch.Tensor) -> torch.Tensor:
        """An output of one call as "sample entry..."."""
        return in_rows(output, self.is_single)

    def samples_in(self, outputs: Sequence[torch.Tensor]) -> int:
        """How many samples the outputs of one call belong to."""
        return len(self.in_rows(outputs[0])) if outputs else 1

    @property
    def is_affine(self) -> bool:
        """Whether T has a centre other than 0 on some input or output, so that it is not linear."""
        return any(center is not None for center in (*self.input_centers, *self.output_centers))

    def turned(self, call: Call) -> Call:
        """The call on T x. Raises UsageError where it has another number of tensors than the mirror describes."""
        return mirrored(call, self.inputs, self.input_centers)

    def turned_output(self, index: int, tensor: torch.Tensor) -> torch.Tensor:
        """T y of one output."""
        return act(tensor, self.outputs[index], self.center_of(index))

    def center_of(self, index: int) -> Center:
        """The fixed point c of T on an output, None for 0."""
        return self.output_centers[index] if self.output_centers else None

    @property
    def turns_in(self) -> tuple[Turn, ...]:
        """T on every input: its linear part and its centre."""
        return tuple(zip(self.inputs, self.input_centers or [None] * len(self.inputs), strict=True))

    @property
    def turns_out(self) -> tuple[Turn, ...]:
        """T on every output: its linear part and its centre."""
        return tuple(zip(self.outputs, self.output_centers or [None] * len(self.outputs), strict=True))

    def placed(self, call: Call) -> Call:
        """A call drawn from N(0, 1), moved to where random inputs lie."""
        return placed(call, self.around)


@dataclass(frozen=True)
class WeightAction:
    """How the mirror acts on the weights and states of a network, by name.

    hidden: representation of every one.  exchanged: those that the mirror takes to another one, and that one's name.
    """

    hidden: Mapping[str, TensorRepresentation] = field(default_factory=dict)
    exchanged: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def of(network: Network, repmap: RepMap) -> WeightAction:
        """The action that inference found for a network."""
        graph = network.graph()
        return WeightAction(repmap.weight_representations(graph), repmap.exchanged(graph))


# ---- inference -----------------------------------------------------------------------------------------------------
def infer(network: Network, given: Mapping[str, TensorRepresentation] | None = None) -> Inference:
    """Propagate the specification through the graph. Raises UnsupportedError where an op refuses.

    given: representations of weights, by name.
    """
    resolved = network.resolved
    inputs, outputs = resolved.representations("input"), resolved.representations("output")
    return Inference(network.graph(), inputs, outputs, resolved.joined, given, network.symmetrize)


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
            return Inferred(network, refusal=error.with_traceback(None))
        repmap = inference.result()
        try:
            inference.check_constants()
        except AsymmetricConstantError as error:
            return Inferred(network, repmap, asymmetric=error.with_traceback(None))
        return Inferred(network, repmap)

    def known(self) -> RepMap:
        """What is known of the tensors. Raises the refusal of an op."""
        if self.repmap is None:
            assert self.refusal is not None
            raise self.refusal
        return self.repmap


@dataclass(frozen=True)
class Analysed:
    """A network with a representation for everything in it.

    network: the one that was given, its tables taken as weights.  choices: what the chooser said of hidden spaces.
    """

    network: Network
    repmap: RepMap
    choices: tuple[Choice, ...] = ()


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


def analyse(network: Network, chooser: Chooser, given: Mapping[str, TensorRepresentation] | None = None) -> Analysed:
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
            return Analysed(network, inference.finish(), choices)
        except NegatedChannelsError:
            if len(plain) == before:
                raise


def represent(
    network: Network, passport: Passport | None, given: Mapping[str, TensorRepresentation] | None = None
) -> RepMap:
    """Representations of a network as it is: what its passport says its conversion chose, else its weights tell.

    given: representations of weights, by name.
    Raises UnsupportedError where an op refuses, or the network has no graph.
    """
    if passport is not None and passport.hidden:
        return infer(network, {**(given or {}), **passport.hidden}).finish()
    return analyse(network, FromWeights(network.graph()), given).repmap


# ---- T of a network ------------------------------------------------------------------------------------------------
def mirror_of(network: Network, repmap: RepMap | None) -> NetworkMirror:
    """T on inputs, outputs and states, from the specification and else from inference. Raises UnsupportedError."""
    graph, resolved = network.captured, network.resolved
    # What the specification says comes first. Inference adds tensors that it leaves open (`state`, `like`).
    inputs, outputs = list(resolved.representations("input")), list(resolved.representations("output"))
    states: dict[str, TensorRepresentation] = {}
    if repmap is not None and graph is not None:
        inputs = [rep or _inferred(repmap, name) for rep, name in zip(inputs, graph.inputs, strict=True)]
        outputs = [rep or _inferred(repmap, name) for rep, name in zip(outputs, graph.outputs, strict=True)]
        states = {graph.leaves[leaf].names[0]: evaluate(repmap.leaves[leaf], {}) for leaf in graph.mutations}
    return mirror_from(resolved, inputs, outputs, states, network.around)


def mirror_if_known(network: Network, repmap: RepMap | None) -> NetworkMirror | None:
    """T, or None for a network that reads states whose representation nobody knows yet.

    States that it only returns, such as an LSTM's last ones, are left alone: no figure is taken of them.
    """
    if repmap is not None:
        return mirror_of(network, repmap)
    resolved = network.resolved
    # Without inference no representation of a state that is read is known: T on the inputs would be incomplete.
    reads_states = None in resolved.representations("input") or bool(network.captured and network.captured.mutations)
    unknown = {tensor.kind for tensor in resolved.outputs if tensor.representation is None}
    if reads_states or unknown - {"state"}:
        return None
    return mirror_from(resolved, resolved.representations("input"), _left_alone(resolved.outputs), {}, network.around)


def mirror_at_rest(network: Network) -> NetworkMirror | None:
    """T at the start of a roll-out: all state buffers are zero, so that any T leaves them as they are.

    None where that is not so, or where states are arguments.
    """
    graph, resolved = network.captured, network.resolved
    inputs, outputs = resolved.representations("input"), resolved.representations("output")
    if graph is None or None in (*inputs, *outputs):
        return None
    # A signed permutation takes zeros to zeros: the trivial representation stands for any.
    buffers = [graph.leaves[leaf] for leaf in graph.mutations]
    if any(bool(leaf.tensor.any()) for leaf in buffers):
        return None
    states = {leaf.names[0]: TensorRepresentation.trivial(leaf.shape) for leaf in buffers}
    return mirror_from(resolved, inputs, outputs, states, network.around)


def mirror_from(
    resolved: Resolved,
    inputs: Representations,
    outputs: Representations,
    states: Mapping[str, TensorRepresentation],
    around: Around,
) -> NetworkMirror:
    """T on the given representations, with names for their entries.  states: of state buffers, by name.

    Raises UnsupportedError where the representation of an input or output is not known.
    """
    tensors = {"input": resolved.inputs, "output": resolved.outputs}
    unknown = [f"input {index}" for index, action in enumerate(inputs) if action is None]
    unknown += [f"output {index}" for index, action in enumerate(outputs) if action is None]
    if unknown:
        facts = "how the mirror acts on this tensor could not be found"
        raise UnsupportedError(unknown[0], facts, "describe it in the specification")

    def inside(io: str, index: int, entry: tuple[int, ...]) -> list[int]:
        """Entries beyond the examples' sizes lie on free axes, which have no names."""
        return [position % size for position, size in zip(entry, tensors[io][index].shape, strict=True)]

    def label(io: Literal["input", "output"], index: int, entry: tuple[int, ...]) -> str:
        """One entry in the words of the skeleton."""
        return resolved.label(io, index, inside(io, index, entry))

    def part(io: Literal["input", "output"], index: int, entry: tuple[int, ...]) -> str:
        """The joint, or the quantity, that an entry belongs to."""
        return tensors[io][index].part(inside(io, index, entry))

    state_outputs = {tensor.index for tensor in resolved.outputs if tensor.kind == "state"}
    state_outputs |= {handed.output for handed in resolved.handed if handed.is_state}  # `like` an input that is one
    return NetworkMirror(
        tuple(filter(None, inputs)),
        tuple(filter(None, outputs)),
        states,
        frozenset(state_outputs),
        label,
        part,
        tuple(resolved.centers("input")) if resolved.is_affine else (),
        tuple(resolved.centers("output")) if resolved.is_affine else (),
        around,
        resolved.is_single,
        frozenset(tensor.index for tensor in resolved.inputs if tensor.kind == "state"),
    )


def _left_alone(tensors: Sequence[OnTensor]) -> list[TensorRepresentation]:
    """Their representations; T leaves alone what is not known, as of states."""
    return [tensor.representation or TensorRepresentation.trivial(tensor.shape) for tensor in tensors]


def _inferred(repmap: RepMap, name: str | None) -> TensorRepresentation | None:
    """The representation that inference found for a leaf or a node of the graph; None where it found none."""
    rep = repmap.of(name) if name is not None else None
    return evaluate(rep, {}) if rep is not None else None
