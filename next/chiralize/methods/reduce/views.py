"""What do both views of a network read, batch by batch, and is it a network that weights can be fitted for?

Fits aim at both views of the original, f(x) and T f(T x). They run it on x and on T x: 2,500 inputs of a lifter are 40
batches of 64, and its graph is captured anew in that size.

    ready(problem)      Ready: the network in batches of 64, how its tensors transform, and the batches
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Protocol, TypeVar

from torch import Tensor

from chiralize.body.resolve import resolve
from chiralize.errors import CaptureError, Finding, MethodUnavailableError, ModelRunError
from chiralize.graph.model import CapturedModel, Node
from chiralize.graph.run import Arguments, Call
from chiralize.infer.capture import captured
from chiralize.infer.records import RepMap
from chiralize.infer.symbolic import SymbolicRepresentation
from chiralize.methods.reduce.ridge import Fit
from chiralize.methods.target import Target, aimed
from chiralize.problem.mirror import infer, with_tables
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem
from chiralize.symmetry.action import act
from chiralize.symmetry.involution import SignedPermutation

_ROWS = 64
"""Samples that are run at a time."""
_BATCHES = 10
"""There are so many batches at least, of which two are held out for the strength of ridges."""
_ROOM = 128_000_000
"""Bytes that the values of one batch may take."""
T = TypeVar("T")
Weights = dict[str, Tensor]


# ---- what a fit reads ----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Batch:
    """The inputs and states of a graph, by the names of its leaves, for the original on x and on T x."""

    plain: Mapping[str, Tensor]
    turned: Mapping[str, Tensor]


class Views:
    """Values by name in three runs: of the original on x and on T x, and of a third network beside it."""

    def __init__(self, plain: Mapping[str, Any], turned: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        self.plain, self.turned, self.new = plain, turned, new
        self._made: dict[Any, Any] = {}

    def once(self, key: Any, make: Callable[[], T]) -> T:
        """What `make` gives, made at the first call with this key."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


@dataclass(frozen=True)
class Reading:
    """One value that one weight reads.

    rep, axis: how the value transforms, and along which axis it is read.  matrix: the weight, "out feature".
    values: the value in all three runs.  is_layer: the answer of the op is that of the weight.
    """

    node: Node
    rep: SymbolicRepresentation
    axis: int
    weight: Tensor
    values: Callable[[Views], Sequence[Tensor]]
    is_layer: bool = True


class Regression(Protocol):
    """One least-squares problem: a layer is one, a recurrent cell is one or three.

    name: of the weight, by leaf.  nodes: the ops that the weights work in.  actions: T on a row of features and of
    targets.  has_bias: a bias is fitted with the weight.
    """

    name: str
    nodes: tuple[Node, ...]
    actions: tuple[SignedPermutation, SignedPermutation]
    has_bias: bool

    def source(self, node: Node) -> str:
        """The value that an op reads."""
        ...

    def rows(self, node: Node, views: Views, given: Tensor, draw: Callable[[int], Tensor]) -> tuple[Tensor, Tensor]:
        """Features and targets at an op, "sample ..." each.  given: what the op of the smaller network reads.

        draw: which of so many samples are taken.
        """
        ...

    def starts(self, weights: Mapping[str, Tensor]) -> tuple[Tensor | None, Tensor]:
        """What the ridge pulls towards, None for 0, and the lifted weight; "target feature"."""
        ...

    def write(self, fit: Fit, weights: Weights) -> None:
        """Put what was fitted into the weights of the smaller network."""
        ...


# ---- the network in batches ----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Ready:
    """A network captured in the sizes of the batches that it is fitted on.

    original: as it was given.  network: in batches, its tables taken as weights.  batches: what both views read.
    target: what weights are fitted to.  findings: why, where the report has to say it.
    """

    original: Network
    network: Network
    repmap: RepMap
    batches: Sequence[Batch]
    target: Target
    findings: tuple[Finding, ...]

    @property
    def graph(self) -> CapturedModel:
        """The graph in batches."""
        return self.network.graph()


def ready(problem: Problem, method: str, tables: bool) -> Ready:
    """The network as fits need it.  tables: whether constants that hidden units tie to others count as weights.

    Raises MethodUnavailableError where it cannot be fitted, UnsupportedError where an op refuses.
    """
    network = problem.network
    if problem.inputs is None:
        facts = "there are no inputs to fit on"
        raise MethodUnavailableError(f"--method {method}", facts, "give --calibration inputs.npz, unlabelled inputs")
    network.graph()  # raises the reason why there is none
    large, calls = _in_batches(network, problem.inputs.fitted)
    large = with_tables(large) if tables else large
    inference = infer(large)
    inference.check_constants()
    repmap, graph = inference.result(), large.graph()
    for obstacle in _obstacles(large, repmap):
        facts = f"this network cannot be fitted: {obstacle}"
        raise MethodUnavailableError(f"--method {method}", facts, "use --method match without inputs, or average")
    target, findings = aimed(problem)
    return Ready(network, large, repmap, [_batch(large, graph, call) for call in calls], target, findings)


def _obstacles(network: Network, repmap: RepMap) -> Iterator[str]:
    """Why weights cannot be fitted, the first reason first; nothing where they can."""
    if network.carried:
        yield "it carries states from call to call"
    if repmap.partners:
        yield "the mirror exchanges whole branches of it"
    if not repmap.spaces:
        yield "it has no hidden space"


def _in_batches(network: Network, fitted: Callable[[int], Sequence[Call]]) -> tuple[Network, Sequence[Call]]:
    """The network captured again in larger batches, as far as it takes them, and the inputs in that size."""
    rows = network.rows
    if network.has_rows and network.program is not None:
        of_one = _bytes(network) / rows
        rows = max(min(_ROWS, len(fitted(rows)) * rows // _BATCHES, int(_ROOM / of_one)), 1)
    calls = fitted(rows)
    try:
        return _captured_at(network, calls[0]), calls
    except (CaptureError, ModelRunError):  # a program that is fixed to the sizes of the examples
        return network, fitted(network.rows)


def _captured_at(network: Network, call: Call) -> Network:
    """The network captured again in the sizes of a call. Raises CaptureError, ModelRunError."""
    shapes = [tuple(tensor.shape) for tensor in Arguments.of(*call).tensors]
    if network.program is None or shapes == [tensor.shape for tensor in network.resolved.inputs]:
        return network
    graph = captured(network.program, *call)
    resolved = resolve(network.spec, shapes, graph.output_shapes)
    return replace(network, args=call[0], kwargs=call[1], captured=graph, resolved=resolved)


def _bytes(network: Network) -> float:
    """What the values of all ops take in a call with the examples."""
    graph = network.graph()
    entries = sum(prod(shape) for node in graph.nodes for shape in node.shapes if shape is not None)
    return max(entries, 1) * graph.leaves[graph.inputs[0]].tensor.element_size()


def _batch(network: Network, graph: CapturedModel, call: Call) -> Batch:
    """What both views read in one call; from the centre, where the mirror is affine."""
    tensors, turned = list(Arguments.of(*call).tensors), list[Tensor]()
    for index, (tensor, on_tensor) in enumerate(zip(tensors, network.resolved.inputs, strict=True)):
        if on_tensor.center is not None:
            tensors[index] = tensor - tensor.new_tensor(on_tensor.center)
        turned.append(
            tensors[index] if on_tensor.representation is None else act(tensors[index], on_tensor.representation)
        )
    states = {leaf.name: leaf.tensor for leaf in graph.states}
    named = (dict(zip(graph.inputs, values, strict=True)) for values in (tensors, turned))
    plain, other = ({**states, **values} for values in named)
    return Batch(plain, other)
