"""Inputs of a fit: the inputs and states that both views of the original read.

Fits aim at the mean of both views of the original, (f(x) + T f(T x)) / 2. They run it on x and on T x, batch by batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from chiralize.graph.model import CapturedModel
from chiralize.symmetry import reynolds
from chiralize.symmetry.representation import TensorRepresentation


@dataclass(frozen=True)
class Batch:
    """Inputs and states of a graph, by the names of its leaves, for the original on x and on T x.

    plain: on x.  turned: on T x; a state is the one that the mirrored sequence has led to, whatever T does to it.
    """

    plain: Mapping[str, Tensor]
    turned: Mapping[str, Tensor]


def of_inputs(
    captured: CapturedModel, inputs: Sequence[Tensor], mirror: Sequence[TensorRepresentation | None]
) -> Batch:
    """The batch of a graph that reads inputs alone.  mirror: T on every one; None leaves it as it is."""
    turned = list(inputs)
    for index, (tensor, representation) in enumerate(zip(inputs, mirror, strict=True)):
        if representation is not None:
            turned[index] = reynolds.act(tensor, representation)
    return Batch(dict(zip(captured.inputs, inputs, strict=True)), dict(zip(captured.inputs, turned, strict=True)))
