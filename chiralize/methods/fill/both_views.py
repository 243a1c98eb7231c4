"""Both views of a network as one module: no weight changes, and no hidden space is looked at."""

from __future__ import annotations

from chiralize.graph import rewrite
from chiralize.graph.copies import is_large
from chiralize.infer import random_numbers
from chiralize.nn.two_view import TwoView
from chiralize.problem.network import Network
from chiralize.problem.result import Converted


def averaged(network: Network) -> Converted:
    """Both views of the network as one module. Raises NoRuleError where it draws random numbers."""
    for node in network.captured.drawing if network.captured else ():
        raise random_numbers(node)
    if network.captured is None and network.answers_vary():
        raise random_numbers(None, type(network.module).__name__)
    own_buffers = bool(network.captured.mutations or network.unheld) if network.captured else True
    resolved = network.resolved
    centers = resolved.input_centers, resolved.output_centers
    module_of_original = rewrite.with_weights(network.module, {}) if is_large(network.module) else network.module
    example = network.args, dict(network.kwargs)
    module = TwoView(
        module_of_original, resolved.inputs, resolved.outputs, own_buffers=own_buffers, centers=centers, example=example
    )
    module.training = False  # a program's module refuses eval(); it is in that mode already
    states = [tensor.where for tensor in resolved.input_tensors if tensor.representation is None]
    notes = tuple(f"{where}: the states of both views, twice as large on its last axis" for where in states)
    if own_buffers and network.captured:
        names = [network.captured.leaves[leaf].names[0] for leaf in network.captured.mutations]
        names += network.unheld
        notes += (f"states kept once per view: {', '.join(names)}",)
    return Converted(module, "average", "two-view", notes=(*network.notes, *notes))
