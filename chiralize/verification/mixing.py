"""Whether the answer to one sample depends on the others of its batch: then T holds of whole batches alone.

Both verdicts mirror all samples of a batch. A network that takes samples for something else (people, whose axis is
merged with the batch in another order) is equivariant under that, and not where some samples alone are mirrored.

It is asked by three random samples a, b, c: one stays, the others are drawn anew. Where the answer to a moves from
(a, b, c) to (a, d, e), it depends on the others. `commands` put the warning into their reports.
"""

from __future__ import annotations

from math import inf

import torch

from chiralize.graph.copies import is_large
from chiralize.graph.running import Arguments, Call, Runner, random_tensor, results
from chiralize.graph.silence import quiet
from chiralize.problem.network import Network

_ROWS = 3
"""Samples of the batch: neither one nor two, which may be taken for something else."""
_BOUND = 1e-3
"""Of the spread of an output; float32 rounds far less."""
_OF_ALL = (
    "warning: the network gives one answer to all samples of a batch: its first axis is none (time?), and inputs were "
    'taken for single samples that are parts of one. Name the axis: a layout such as "t j d" or "t f"'
)


def mixing_notes(network: Network) -> tuple[str, ...]:
    """A warning where an answer depends on other samples; () where it does not, or where nobody can tell."""
    share = mixing(network)
    if share <= _BOUND:
        return ()
    if share == inf:
        return (_OF_ALL,)
    return (
        f"warning: the answer to a sample depends on the others of its batch: it moves by {share:.2g} of its size "
        "where they change. T holds where all of a batch are mirrored: give single samples for answers to each, "
        'and where the first axis is time, name it so: a layout such as "t j d" or "t f"',
    )


def mixing(network: Network) -> float:
    """By how much answers to one of three random samples move, of their size, where the others change.

    Of the first sample and of the last: what reads samples in turn, as frames, answers one of them without the others.
    Infinite where there is but one answer to the three.  0 where the first axis is no batch, where states are read, and
    where the network takes no three samples.
    """
    if not network.has_rows or is_large(network.module) or None in network.resolved.inputs:
        return 0.0
    first, last = (_batches(network, same) for same in (0, -1))
    try:
        with quiet(), Runner(network.module) as runner:
            # The first sample and the last: what sums up from the first on answers that one without the others.
            moved = [_moved(network, runner, batches, same) for batches, same in ((first, 0), (last, -1))]
            if _answers_once(runner, first[0], _batches(network, 0, _ROWS - 1)[0]):
                return inf
    except Exception:  # noqa: BLE001 - whatever it says, it does not take three samples
        return 0.0
    return max(moved)


def _batches(network: Network, same: int, rows: int = _ROWS) -> tuple[Call, Call]:
    """Two random batches of samples, one of which is the same in both. same: its position.  rows: samples.

    Inputs that hold no samples, such as a table, are the same in both.
    """
    generator = torch.Generator().manual_seed(0)
    example = Arguments.of(network.args, network.kwargs)
    one: list[torch.Tensor] = []
    other: list[torch.Tensor] = []
    for described, tensor in zip(network.resolved.input_tensors, example.tensors, strict=True):
        shape = (rows, *tensor.shape[1:]) if described.has_rows else tuple(tensor.shape)
        one.append(random_tensor(tensor, generator, shape))
        other.append(random_tensor(tensor, generator, shape))
        if described.has_rows:
            other[-1][same] = one[-1][same]
        else:
            other[-1] = one[-1]
    return example.filled(one), example.filled(other)


def _moved(network: Network, runner: Runner, batches: tuple[Call, Call], same: int) -> float:
    """By how much the answers to the sample that both batches have differ, of the size of all answers."""
    before, after = (results(runner.run([call]).steps[0])[0] for call in batches)
    most = 0.0
    for described, one, other in zip(network.resolved.output_tensors, before, after, strict=False):
        # An answer of another first size is none of three samples: that is left to `_answers_once`.
        is_of_samples = described.has_rows and one.shape == other.shape and one.ndim and one.shape[0] == _ROWS
        if is_of_samples and one.is_floating_point() and one.numel():
            size = float(one.abs().max())
            difference = float((one[same] - other[same]).abs().max())
            if 0 < size < float("inf"):
                most = max(most, difference / size)
    return most


def _answers_once(runner: Runner, one: Call, other: Call) -> bool:
    """Whether answers have the same sizes for both calls, one of which has a sample more."""
    shapes = [_shapes(runner, call) for call in (one, other)]
    return shapes[0] == shapes[1]


def _shapes(runner: Runner, call: Call) -> list[torch.Size]:
    """The sizes of the answers to one call. Raises ModelRunError."""
    return [answer.shape for answer in results(runner.run([call]).steps[0])[0]]
