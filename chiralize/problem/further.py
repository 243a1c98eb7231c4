"""The mirrors after the first that a specification names, each fitted to the tensors of a network.

Two mirrors A, B have to commute: else A B is no involution, and the group that they generate has more elements than
the four {1, A, B, A B} that are verified. Both act axis by axis, so that it is enough to look at each axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

from chiralize.body.skeleton.mirrors import not_commuting
from chiralize.body.tensors import ConversionSpec, ResolvedSpec, resolve
from chiralize.symmetry.orbits import entry_apart

Shapes = Sequence[Sequence[int]]


def further_mirrors(spec: ConversionSpec, inputs: Shapes, outputs: Shapes) -> tuple[tuple[str, ResolvedSpec], ...]:
    """The mirrors after the first that a specification names, each fitted to the network's tensors.

    Raises NotAnInvolutionError where two of them do not commute on some tensor.
    """
    resolved: dict[str, ResolvedSpec] = {}
    for name, one in spec.named:
        # A further mirror that describes no tensors has those of the first.
        one = replace(one, inputs=one.inputs or spec.inputs, outputs=one.outputs or spec.outputs)
        resolved[name] = resolve(one, inputs, outputs)
    for (name, first), (other_name, second) in combinations(resolved.items(), 2):
        _check_commuting(first, second, (name, other_name))
    return tuple(resolved.items())[1:]


def _check_commuting(first: ResolvedSpec, second: ResolvedSpec, names: tuple[str, str]) -> None:
    """Raises NotAnInvolutionError at the first entry that both take to different ones, depending on which is first."""
    pairs = zip(
        (*first.input_tensors, *first.output_tensors), (*second.input_tensors, *second.output_tensors), strict=True
    )
    for tensor, other in pairs:
        if tensor.representation is None or other.representation is None:
            continue
        axes = zip(tensor.representation.axes, other.representation.axes, strict=True)
        for position, (one, another) in enumerate(axes):
            apart = entry_apart(one.action, another.action)
            if apart is not None:
                entry = [0] * len(tensor.shape)  # any entry with this position along this axis
                entry[position] = apart
                raise not_commuting(tensor.entry.where or tensor.where, names, tensor.label(entry))
