"""Whether the answer to one sample depends on the others of its batch: then T holds of whole batches alone.

Both verdicts mirror all samples of a batch. A network that takes samples for something else (people, whose axis is
merged with the batch in another order) is equivariant under that, and not where some samples alone are mirrored.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from chiralize.graph.copies import is_large
from chiralize.graph.running import Arguments, Runner, random_tensor, results
from chiralize.graph.silence import quiet
from chiralize.problem.network import Network

_ROWS = 3
"""Samples of the batch: neither one nor two, which may be taken for something else."""
_BOUND = 1e-3
"""Of the spread of an output; float32 rounds far less."""


def mixing_notes(network: Network) -> tuple[str, ...]:
    """A warning where an answer depends on other samples; () where it does not, or where nobody can tell."""
    share = mixing(network)
    if share <= _BOUND:
        return ()
    return (
        f"warning: the answer to a sample depends on the others of its batch: it moves by {share:.2g} of its size "
        "where they change. T holds where all samples of a batch are mirrored: give single samples for answers to each",
    )


def mixing(network: Network) -> float:
    """By how much answers to the first of three random samples move, of their size, where the others change.

    0 where the first axis is no batch, where a state is carried, and where the network takes no three samples.
    """
    module, tensors = network.module, network.resolved.input_tensors
    if not network.has_rows or is_large(module) or None in (*network.resolved.inputs, *network.resolved.outputs):
        return 0.0
    example = Arguments.of(network.args, network.kwargs)
    generator = torch.Generator().manual_seed(0)
    one: list[torch.Tensor] = []
    other: list[torch.Tensor] = []
    for described, tensor in zip(tensors, example.tensors, strict=True):
        shape = (_ROWS, *tensor.shape[1:]) if described.has_rows else tuple(tensor.shape)
        one.append(random_tensor(tensor, generator, shape))
        other.append(random_tensor(tensor, generator, shape))
        if described.has_rows:
            other[-1][0] = one[-1][0]
        else:
            other[-1] = one[-1]
    calls = [example.filled(one), example.filled(other)]
    try:
        with quiet(), Runner(module) as runner:
            before, after = (results(runner.run([call]).steps[0])[0] for call in calls)
    except Exception:  # noqa: BLE001 - whatever it says, it does not take three samples
        return 0.0
    return max(_moved(before, after, network), default=0.0)


def _moved(before: Sequence[torch.Tensor], after: Sequence[torch.Tensor], network: Network) -> list[float]:
    """Of every output with samples, by how much the answer to the first moves, of the size of all answers."""
    moved: list[float] = []
    for described, one, other in zip(network.resolved.output_tensors, before, after, strict=False):
        is_of_samples = described.has_rows and one.shape == other.shape and one.ndim and one.shape[0] == _ROWS
        if is_of_samples and one.is_floating_point() and one.numel():
            size = float(one.abs().max())
            difference = float((one[0] - other[0]).abs().max())
            moved.append(difference / size if 0 < size < float("inf") else 0.0)
    return moved
