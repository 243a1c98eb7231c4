"""Where the cells of a map lie over the picture, by the strides, kernels and paddings of the layers before it.

Cell i of a map has the middle of what it reads at column start + step i. Layers with a stride move that middle, and
where the cells lie off the middle of the picture, the maps of a mirrored picture are off by twice as much when they
are turned back. 4 cells of a kernel of 3 with stride 2 and padding 1 over 8 columns lie at 0, 2, 4, 6; those of the
mirrored picture, turned back, at 1, 3, 5, 7: half a cell further right.
What the network was trained to answer in a cell is another matter; only a kernel that is its own mirror image
answers for the middle of what it reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from chiralize.graph.model import CapturedModel, Node
from chiralize.graph.passes.alignment.windows import shapes_of, window_of
from chiralize.graph.traits import (
    BatchNorm,
    Copy,
    Join,
    Normalised,
    Pointwise,
    Resampling,
    Scaling,
    Sum,
    Traits,
)


@dataclass(frozen=True)
class Cells:
    """Cell i lies at column start + step i of the picture."""

    step: float
    start: float

    def shift(self, columns: int, cells: int) -> float:
        """By how many cells maps of a mirrored picture have to move to the right when they are turned back."""
        last = self.start + self.step * (cells - 1)
        return (columns - 1 - last - self.start) / self.step


def cells_of(graph: CapturedModel, picture: str, axis: int, traits: Traits) -> Mapping[str, Cells]:
    """Where the cells of every value lie over the picture; no entry where nobody can tell."""
    shapes = shapes_of(graph)
    ndim, values = len(shapes[picture]), {picture: Cells(1.0, 0.0)}
    still = {leaf.name for leaf in graph.leaves.values() if leaf.kind != "input"}
    for node in graph.nodes:
        cells = _cells(node, values, shapes, still, ndim, axis, traits)
        if cells is not None:
            values[node.name] = cells
    return values


def _cells(
    node: Node,
    values: Mapping[str, Cells],
    shapes: Mapping[str, tuple[int, ...]],
    still: set[str],
    ndim: int,
    axis: int,
    traits: Traits,
) -> Cells | None:
    """Cells of what an op answers; None where nobody can tell. values: of what came before.  still: weights and
    constants.

    Ops that look at every entry alone keep the cells, windows move them, and anything else ends the trail.
    """
    read = [name for name in node.names_read if name not in still]
    grids = {values.get(name) for name in read}
    # Branches that meet must lie alike: the sum of two grids lies nowhere.
    if len(grids) != 1 or not read:
        return None
    (cells,) = grids
    if cells is None:
        return None
    if node.target == "getitem":
        return cells
    window = window_of(node, shapes, ndim, axis, traits)
    if window is not None:
        return Cells(*window.cells(cells.step, cells.start))
    before, after = shapes[read[0]], shapes.get(node.name, ())
    if len(after) != ndim:
        return None
    match traits.get(node.target):
        case Pointwise() | Sum() | Scaling() | BatchNorm() | Normalised() | Copy():
            return cells if before[axis] == after[axis] else None
        case Join(adds_axis=False):
            # Joined along channels, say; along the axis itself two grids would follow each other.
            return cells if node.arguments.get("dim", 0) not in (axis, axis - ndim) else None
        case Resampling() as trait:
            return _resized(node, trait, cells, before[axis], after[axis])
    return None


def _resized(node: Node, trait: Resampling, cells: Cells, before: int, after: int) -> Cells | None:
    """Cells of an interpolation: on the same stretch as before, or with the outermost cells where they were."""
    if after < 2:
        return None
    if node.arguments.get("align_corners"):
        return Cells(cells.step * (before - 1) / (after - 1), cells.start)
    # Repeated unevenly, cells are not the same distance apart.
    if trait.is_nearest and after % before:
        return None
    step = cells.step * before / after
    return Cells(step, cells.start + (step - cells.step) / 2)
