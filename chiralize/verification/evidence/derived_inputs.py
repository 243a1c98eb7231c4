"""An input that is computed from another one, such as bones from joints: is its mirror image computed so, too?

Bones that start at a joint beside the middle (x0 - x5) have no mirror image among bones of the same list. A swap of
their entries is exact for the network, and no mirror of the body.

Example: joints x = (x0, x1), partners of each other, negated, and a second input b = x0 - 2 x1. T x = (-x1, -x0), from
which b would be -x1 + 2 x0. If the specification only negates b, T b is -x0 + 2 x1: the two differ, T is wrong on b.

The function is fitted on the samples by least squares and has to be exact there. `mirror_evidence` asks this of the
user's inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import torch
from torch import Tensor

from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.running import Call
from chiralize.problem.data.cutting import tensors
from chiralize.verification.verdicts import Evidence

_MOST = 512
"""Numbers a sample; larger inputs are not compared."""
_ROWS = 4096
_EXACT = 1e-4
"""Of the spread of an input: what float32 leaves of a computed one."""
_BROKEN = 0.02
"""Of the spread as well: from here on the mirror image is not computed so."""


def derived_findings(mirror: NetworkMirror, inputs: Sequence[Call]) -> Evidence:
    """A warning where one mirrored input is an affine function of another in the samples, and the mirror breaks that.

    inputs: of the user.  Nothing is said where the samples are fewer than twice the numbers, nor where T leads out of
    what they span: there the function is not known.
    """
    if not inputs:
        return Evidence()
    is_real = [tensor.is_floating_point() for tensor in tensors(inputs[0])]
    moved = [index for index, action in enumerate(mirror.inputs) if is_real[index] and not action.is_trivial]
    if len(moved) < 2:
        return Evidence()
    rows = _rows(inputs, moved)
    turned = _rows([mirror.turned(call) for call in inputs[:_ROWS]], moved)
    for source, result in permutations(moved, 2):
        apart = _breaks(rows[source], rows[result], turned[source], turned[result])
        if apart > _BROKEN:
            return Evidence(warnings=(_warning(source, result, apart),))
    return Evidence()


def _rows(calls: Sequence[Call], wanted: Sequence[int]) -> dict[int, Tensor]:
    """Every wanted input as "sample number", in float64."""
    columns: dict[int, list[Tensor]] = {index: [] for index in wanted}
    for call in calls[:_ROWS]:
        values = tensors(call)
        for index in wanted:
            columns[index].append(values[index].detach().double().flatten(1))
    return {index: torch.cat(parts)[:_ROWS] for index, parts in columns.items()}


def _breaks(source: Tensor, result: Tensor, turned_source: Tensor, turned_result: Tensor) -> float:
    """How far the mirrored result is from what the mirrored source gives, in spreads; 0 where it cannot be said.

    All four "sample number".
    """
    # With as many samples as numbers every result is an exact function of every source.
    if len(source) != len(result) or source.shape[1] > _MOST or len(source) < 2 * source.shape[1]:
        return 0.0
    center, middle = source.mean(0), result.mean(0)
    spread = _size(result - middle)
    # The samples tell the function only within what they span: T may not lead out of that.
    basis = _span(source - center)
    if not spread or _size(_outside(turned_source - center, basis)) > _EXACT * _size(source - center):
        return 0.0
    # result = middle + (source - center) basis function, exactly, or the result is not computed from this source.
    known = (source - center) @ basis  # "sample direction"
    function = torch.linalg.lstsq(known, result - middle).solution
    if _size(known @ function - (result - middle)) > _EXACT * spread:
        return 0.0
    # What the mirrored source gives, beside T of the result.
    expected = middle + (turned_source - center) @ basis @ function
    return _size(expected - turned_result) / spread


def _span(rows: Tensor) -> Tensor:
    """An orthonormal basis of the directions that the rows vary in, "number direction"."""
    _, sizes, directions = torch.linalg.svd(rows, full_matrices=False)
    return directions[sizes > _EXACT * sizes.max()].T


def _outside(rows: Tensor, basis: Tensor) -> Tensor:
    """What of the rows lies outside of the span of a basis."""
    return rows - rows @ basis @ basis.T


def _size(rows: Tensor) -> float:
    """RMS over all numbers."""
    return float(rows.square().mean().sqrt())


def _warning(source: int, result: int, apart: float) -> str:
    """The warning, with how far apart the two are, in spreads of the result."""
    return (
        f"in these samples input {result} is computed from input {source}, and its mirror image is not computed so "
        f"from the mirrored input {source}: {apart:.2g} of its spread apart. The mirror that is stated for input "
        f"{result} is not the body's, as of bones that start at a joint beside the middle: compute it within the "
        "network, or state it by `fields`"
    )
