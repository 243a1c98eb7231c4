"""Where maps of joints have their peaks by both views: what a network says, apart from how it draws it.

Two maps whose spots are of unlike height, or a quarter of a cell apart, differ by much of their spread although both
say the same joint; and one joint in twenty that is taken for its partner makes up most of a mean square. Neither is
one-sided. What is, moves the peaks to one side in the mean over many pictures (decision 0066).

Example: a map has 0.2, 1.0 and 0.6 at cells 7, 8 and 9. The parabola through them has its top at
8 + (0.6 - 0.2) / (2 * (2 * 1.0 - 0.2 - 0.6)) = 8.17.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from chiralize.body.tensors.resolved import ResolvedSpec
from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.running import Call, Runner, results
from chiralize.verification.asymmetry.advice import ASYMMETRIC
from chiralize.verification.asymmetry.lean import beyond_chance
from chiralize.verification.asymmetry.spreads import Spreads

LEANING_PEAKS = 0.2
"""Lean above which maps are of one side, or badly aligned: 0.00 to 0.02 of trained networks whose maps are aligned,
0.18 of one that was hardly trained; 0.23 of maps that are three quarters of a cell off, 0.46 of a network that saw
people of one side alone."""


@dataclass(frozen=True)
class PeakGap:
    """The peaks of f(x) beside those of T f(T x), along all axes of the maps.

    gap: RMS distance along an axis over the spread of the peaks.  lean: of what is the same for all inputs, less what
    chance leaves.  cells: median distance, in cells.  unlike: one view's peaks spread more than chance explains.
    """

    gap: float
    lean: float
    cells: float
    unlike: bool = False

    @property
    def is_one_sided(self) -> bool:
        """Whether the two views put peaks elsewhere for more reasons than noise."""
        return self.lean > LEANING_PEAKS or (self.gap > ASYMMETRIC and self.unlike)


def peak_gap(
    module: torch.nn.Module, mirror: NetworkMirror, inputs: Sequence[Call], resolved: ResolvedSpec
) -> PeakGap | None:
    """How far the peaks of both views are apart; None for networks that answer with anything but maps of joints.

    inputs: real pictures.
    """
    indices = [tensor.index for tensor in resolved.output_tensors]
    is_of_maps = all(tensor.is_map for tensor in resolved.output_tensors)
    if not is_of_maps or not any(tensor.entry.mirror for tensor in resolved.output_tensors) or mirror.states:
        return None
    plain_parts, turned_parts, spreads = list[Tensor](), list[Tensor](), Spreads()
    with Runner(module) as runner:
        for call in inputs:
            plain = results(runner.run([call]).steps[0])[0]
            turned = results(runner.run([mirror.turned(call)], turned=True).steps[0])[0]
            plain_parts.append(torch.cat([peaks(plain[index]) for index in indices], -1))
            images = (mirror.turned_output(index, turned[index]) for index in indices)
            turned_parts.append(torch.cat([peaks(image) for image in images], -1))
            spreads.add(plain_parts[-1], turned_parts[-1])
    if not plain_parts:
        return None
    first, other = torch.cat(plain_parts), torch.cat(turned_parts)  # "sample joint axis"
    apart, spread = first - other, float((first - first.mean(0)).square().mean().sqrt())
    if not spread > 0:
        return None
    gap = float(apart.square().mean().sqrt()) / spread
    lean = float(apart.mean(0).square().mean().sqrt()) / spread
    cells, spread_of_views = float(apart.norm(dim=-1).median()), spreads.result()
    unlike = spread_of_views is not None and spread_of_views.differs
    return PeakGap(gap, beyond_chance(lean, gap, len(first)), cells, unlike)


def peaks(maps: Tensor) -> Tensor:
    """The places of the highest cells, "sample joint axis", in cells; between cells by a parabola along each axis.

    maps: "sample joint ...".
    """
    sizes = maps.shape[2:]
    flat = maps.detach().flatten(2).double()  # "sample joint cell"
    best = flat.argmax(-1)  # "sample joint"
    cells = torch.unravel_index(best, sizes)
    places: list[Tensor] = []
    step = flat.shape[-1]
    for cell, size in zip(cells, sizes, strict=True):
        step //= size  # of the flat map, from one cell to the next along this axis
        is_inside = (cell > 0) & (cell < size - 1)  # at a border there is no parabola: the cell itself
        reach = step * is_inside
        below, middle, above = (flat.gather(2, (best + side * reach)[..., None])[..., 0] for side in (-1, 0, 1))
        bend = (2 * middle - below - above).clamp(min=1e-30)  # 0 where all three are equal
        places.append(cell + torch.where(is_inside, (above - below) / (2 * bend), 0.0).clamp(-0.5, 0.5))
    return torch.stack(places, -1)
