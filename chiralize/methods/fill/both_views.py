"""Both views of a network as one module: no weight changes, and no hidden space is looked at.

`ways.average`, `drafts` and `several` call `averaged`. The result is (f(x) + T f(T x)) / 2 with the original inside:
an ONNX file as a graph with two copies of its ops, anything else as `nn.TwoView`.
"""

from __future__ import annotations

from chiralize.body.tensors import ResolvedTensor
from chiralize.graph import rewrite
from chiralize.graph.copies import is_large
from chiralize.graph.running import Arguments
from chiralize.infer import random_numbers
from chiralize.methods.fill.whole_answers import handed_through, notes_on_whole_answers, refuse_unaveraged
from chiralize.nn.two_view import TwoView
from chiralize.problem.network import Network
from chiralize.problem.result import Converted
from chiralize.storage.onnx_joining import both_views
from chiralize.storage.onnx_network import OnnxNetwork
from chiralize.symmetry.action import Turn


def _states(network: Network) -> tuple[str, ...]:
    """Notes on states that are arguments."""
    states = [tensor.where for tensor in network.resolved.input_tensors if tensor.representation is None]
    return tuple(f"{where}: the states of both views, twice as large on its last axis" for where in states)


def turns_by_port(network: Network, module: OnnxNetwork) -> tuple[list[Turn | None], list[Turn | None]]:
    """T on the inputs and outputs of an ONNX file in the order of its graph, None for states."""
    resolved = network.resolved
    turns = list(map(_turn, resolved.input_tensors))
    # a file's inputs are in its own order; which argument each is, is known by the example tensor that it is given
    flat = Arguments.of(*network.example).tensors
    numbers = {id(tensor): number for number, tensor in enumerate(flat)}
    ordered = [turns[numbers[id(tensor)]] for tensor in module.in_order(*network.example)]
    return ordered, list(map(_turn, resolved.output_tensors))


def _turn(tensor: ResolvedTensor) -> Turn | None:
    """T on an input or output, with its centre; None for states, of which no T is known."""
    if tensor.representation is None:
        return None
    return tensor.representation, tensor.center


def averaged(network: Network) -> Converted:
    """Both views of the network as one module. Raises NoRuleError where it draws random numbers.

    Raises MethodUnavailableError and ExportError for answers that have no average.
    """
    for node in network.captured.drawing if network.captured else ():
        raise random_numbers(node)
    if network.captured is None and network.answers_vary():
        raise random_numbers(None, type(network.module).__name__)
    refuse_unaveraged(network)
    # Buffers that forward writes hold a state, which each view needs for itself. Without a graph nobody knows.
    own_buffers = not network.captured or bool(network.captured.mutations or network.origin.unheld)
    resolved = network.resolved
    if isinstance(network.module, OnnxNetwork):
        where = network.module.where
        joined = OnnxNetwork(both_views(network.module.model, *turns_by_port(network, network.module), where), where)
        return Converted(joined, "average", "two-view", notes=(*network.notes, *_states(network)))
    centers = resolved.input_centers, resolved.output_centers
    if is_large(network.module):
        module_of_original = rewrite.with_weights(network.module, {})
    else:
        module_of_original = network.module
    example = network.args, dict(network.kwargs)
    same = handed_through(network)
    module = TwoView(
        module_of_original,
        resolved.inputs,
        resolved.outputs,
        own_buffers=own_buffers,
        centers=centers,
        example=example,
        same=same,
    )
    module.training = False  # a program's module refuses eval(); it is in that mode already
    notes = (*_states(network), *notes_on_whole_answers(network, same))
    if own_buffers and network.captured:
        names = [network.captured.leaves[leaf].names[0] for leaf in network.captured.mutations]
        names += network.origin.unheld
        notes += (f"states kept once per view: {', '.join(names)}",)
    return Converted(module, "average", "two-view", notes=(*network.notes, *notes))
