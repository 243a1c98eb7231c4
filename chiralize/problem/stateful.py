"""Networks that carry something from call to call: what that is, and what they read and do along sequences.

A state is an argument that comes back as an answer (h in, h out), or a buffer that forward writes. Fits want pairs of
inputs and states that occur together, so that the original is run along the user's sequences, in both views.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from chiralize.body.tensors.resolved import all_have_rows
from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.rollouts import RolledCall, Steps, roll_both_views
from chiralize.graph.running import Arguments, Runner
from chiralize.problem.data.both_views import Batch
from chiralize.problem.data.inputs import names_of_tensors
from chiralize.problem.data.sequences import Reading
from chiralize.problem.mirror import mirror_from, with_states_free
from chiralize.problem.network import Network

_LEAST, _MOST, _FOR_EACH = 1024, 8192, 16
"""Samples to fit on: so many for each entry of the largest weight. Neighbours along a sequence are nearly equal."""


def reading_of(network: Network, names: Sequence[str], axis: int | None) -> Reading:
    """The inputs that one call reads of the user's sequences: all but states, which are handed on.

    names: of the arguments.  axis: of the data, along which time goes.
    """
    states = {handed.input for handed in network.resolved.handed if handed.is_state}
    states |= {tensor.index for tensor in network.resolved.input_tensors if tensor.kind == "state"}
    observed = [tensor for tensor in network.resolved.input_tensors if tensor.index not in states]
    positions = tuple(tensor.index for tensor in observed)
    names_by_position = names_of_tensors(network.example, names)
    names_of_observed = tuple(names_by_position.get(position, "") for position in positions)
    has_rows = all_have_rows(observed)  # states are left out: their batch may be on another axis
    return Reading(network.example, positions, names_of_observed, has_rows, axis, bool(network.carried))


SAMPLES_ALONE = (
    "the network carries states from call to call, and the calibration inputs are samples without a time: nothing is "
    "known about longer runs; give sequences, (sequence, time, ...)"
)


def mirror_of_calls(network: Network) -> NetworkMirror:
    """T on the inputs and outputs of a call. States are left as they are: each view has its own."""
    resolved = network.resolved
    inputs, outputs = with_states_free(resolved.input_tensors), with_states_free(resolved.output_tensors)
    return mirror_from(resolved, inputs, outputs, {}, network.around)


def batches_along(network: Network, sequences: Sequence[Steps]) -> list[Batch]:
    """Inputs and states of both views of the original along sequences; each view has the states that it has come to."""
    captured, carried, mirror = network.graph(), network.carried, mirror_of_calls(network)
    # From a buffer's name in the network to its leaf in the graph, which is what fits read.
    names = {captured.leaves[leaf].names[0]: leaf for leaf in captured.mutations}
    total = sum(map(len, sequences)) * max(network.rows, 1)
    largest = max((max(weight.shape, default=1) for weight in network.module.parameters()), default=1)
    every = -(-total // min(max(_FOR_EACH * largest, _LEAST), _MOST))  # rounded up: take each `every`-th call
    batches: list[Batch] = []

    def leaves_of(step: RolledCall) -> dict[str, Tensor]:
        """The inputs and states of one call by the names of the graph's leaves."""
        inputs = zip(captured.inputs, network.centered(Arguments.of(*step.call).tensors), strict=True)
        return {**dict(inputs), **{names[name]: state for name, state in step.states.items()}}

    with Runner(network.module) as runner:
        for number, steps in enumerate(sequences):
            views = list(roll_both_views(runner, steps, carried, mirror, tuple(names)))
            # Another start in every sequence, so that calls early and late in a sequence are among the samples.
            chosen = views[number % every :: every]
            batches += [Batch(leaves_of(plain), leaves_of(turned)) for plain, turned in chosen]
    return batches
