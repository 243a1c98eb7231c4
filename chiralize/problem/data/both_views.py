"""Inputs of a fit: what both views of the original read, its states included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from chiralize.graph.model import CapturedModel
from chiralize.symmetry import reynolds
from chiralize.symmetry.representation import TensorRepresentation


@dataclass(frozen=True)
class Batch:
    """Leaves of a graph by name. plain: what the original reads on x.  turned: on T x, where a state is the one that
    the mirrored sequence has led to, whatever T does to it.
    """

    plain: Mapping[str, Tensor]
    turned: Mapping[str, Tensor]


def of_inputs(
    captured: CapturedModel, inputs: Sequence[Tensor], mirror: Sequence[TensorRepresentation | None]
) -> Batch:
    """Of inputs alone. mirror: T on every one; None leaves it as it is."""
    turned = [reynolds.act(x, rep) if rep else x for x, rep in zip(inputs, mirror, strict=True)]
    plain, other = (dict(zip(captured.inputs, own, strict=True)) for own in (inputs, turned))
    return Batch(plain, other)
