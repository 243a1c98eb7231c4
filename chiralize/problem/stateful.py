"""Networks that carry something from call to call: what that is, and what they read and do along sequences."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from chiralize.body.tensors.resolution import ResolvedTensor
from chiralize.graph.copies import is_large
from chiralize.graph.mirror import Mirror
from chiralize.graph.model import CapturedModel
from chiralize.graph.rollouts import LONGEST, Carried, Made, Steps, roll
from chiralize.graph.running import Arguments, Runner
from chiralize.problem.data.both_views import Batch
from chiralize.problem.data.inputs import names_of_tensors
from chiralize.problem.data.sequences import Reading
from chiralize.problem.mirror import mirror_from
from chiralize.problem.network import Network, writes_something
from chiralize.symmetry.representation import TensorRepresentation

_LEAST, _MOST, _FOR_EACH = 1024, 8192, 16
"""Samples to fit on: so many for each entry of the largest weight. Neighbours along a sequence tell nearly the same."""


def carried_of(network: Network) -> Carried:
    """What the network carries from one call to the next."""
    return Carried(_keeps_state(network), network.resolved.handed)


def _keeps_state(network: Network) -> bool:
    """Whether an answer depends on what an earlier call has left in the network."""
    if network.unheld:
        return True
    if network.captured is not None:
        return bool(_remembered(network.captured))
    call = tuple(network.args), dict(network.kwargs)
    counts = not is_large(network.module) and writes_something(network.module, call)
    with Runner(network.module) as runner:
        return runner.notice_state(call, LONGEST if counts else 2)


def _remembered(captured: CapturedModel) -> set[str]:
    """States that forward writes and that an answer depends on, at once or in a later call. A counter is none."""
    wanted = {name for name in captured.outputs if name is not None}
    while True:
        for node in reversed(captured.nodes):
            if node.name in wanted:
                wanted.update(ref.name for ref in node.reads)
        found = wanted & captured.mutations.keys()
        later = {captured.mutations[name] for name in found} - wanted
        if not later:
            return found
        wanted |= later


def reading_of(network: Network, names: Sequence[str], axis: int | None) -> Reading:
    """What data of the user bring to one call. names: of the arguments.  axis: of the data, along which time goes."""
    states = {handed.input for handed in network.resolved.handed if handed.is_state}
    observed = [
        tensor for tensor in network.resolved.input_tensors if tensor.kind != "state" and tensor.index not in states
    ]
    example = tuple(network.args), dict(network.kwargs)
    names_by_index = names_of_tensors(example, names)
    names_of_observed = tuple(names_by_index.get(tensor.index, "") for tensor in observed)
    rows = [tensor.has_rows for tensor in observed if tensor.has_rows or not tensor.is_free]
    has_rows = bool(rows) and all(rows)  # whatever axis the batch of a state is
    return Reading(example, tuple(tensor.index for tensor in observed), names_of_observed, has_rows, axis)


SAMPLES_ALONE = (
    "the network carries states from call to call, and the calibration inputs are samples without a time: nothing is "
    "known about longer runs; give sequences, (sequence, time, ...)"
)


def mirror_of_calls(network: Network) -> Mirror:
    """T on what every call observes and answers. States are left alone: both views have their own."""
    resolved = network.resolved

    def at_rest(own: ResolvedTensor) -> TensorRepresentation:
        return own.representation or TensorRepresentation.trivial(own.shape)

    inputs, outputs = (list(map(at_rest, own)) for own in (resolved.input_tensors, resolved.output_tensors))
    return mirror_from(resolved, inputs, outputs, {}, network.around)


def batches_along(network: Network, sequences: Sequence[Steps]) -> list[Batch]:
    """What both views of the original read along sequences, each with the states that it has come to."""
    captured, carried, mirror = network.graph(), carried_of(network), mirror_of_calls(network)
    names = {captured.leaves[leaf].names[0]: leaf for leaf in captured.mutations}
    total = sum(map(len, sequences)) * max(network.rows, 1)
    largest = max((max(own.shape, default=1) for own in network.module.parameters()), default=1)
    every = -(-total // min(max(_FOR_EACH * largest, _LEAST), _MOST))
    found: list[Batch] = []

    def read(made: Made) -> dict[str, Tensor]:
        inputs = zip(captured.inputs, network.centered(Arguments.of(*made.call).tensors), strict=True)
        return {**dict(inputs), **{names[name]: state for name, state in made.states.items()}}

    with Runner(network.module) as runner:
        for place, steps in enumerate(sequences):
            views = [list(roll(runner, steps, carried, turn, watched=tuple(names))) for turn in (None, mirror.turned)]
            pairs = list(zip(*views, strict=True))
            found += [Batch(read(plain), read(turned)) for plain, turned in pairs[place % every :: every]]
    return found
