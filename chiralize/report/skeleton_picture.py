"""Drawings of a skeleton: a table of joints and a tree of its edges for the terminal, and a picture.

`chiralize skeleton show` prints the first two and saves the third; an audit draws its gaps on the picture
(`save_gaps`), and `body` places joints by the same tree. Of a hip with two legs the tree has three columns, a pair in
one row:

    left        center    right
                hip
      l_knee                r_knee
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.errors import OutputFileError, UsageError
from chiralize.errors.words import when
from chiralize.storage.atomic import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from rich.console import RenderableType

_COLORS = {"left": "cyan", "right": "magenta", "center": "white"}


def table(skeleton: Skeleton) -> RenderableType:
    """One row per joint: index, name, side, partner and signs over the dims."""
    from rich.markup import escape
    from rich.table import Table

    signs = skeleton.sign_table()
    grid = Table(box=None, pad_edge=False, header_style="bold")
    grid.add_column("#", justify="right", no_wrap=True)
    for title in ("joint", "side", "partner"):
        grid.add_column(title, no_wrap=True)
    grid.add_column("signs of " + " ".join(skeleton.dims), no_wrap=True)
    for index, joint in enumerate(skeleton.joints):
        side, partner = skeleton.side(index), skeleton.partner(index)
        partner_text = when(partner != index, f"{partner} {escape(skeleton.joints[partner])}")
        row = " ".join(map(_sign, signs[index]))
        grid.add_row(str(index), escape(joint), side, partner_text, row, style=_COLORS[side])
    return grid


def _sign(value: int) -> str:
    """A sign of T on a coordinate as text."""
    return "-" if value < 0 else "+"


def tree(skeleton: Skeleton) -> RenderableType | None:
    """The edges as a tree per connected part, in three columns: left | center | right. None without edges."""
    if not skeleton.edges:
        return None
    from rich.markup import escape
    from rich.table import Table

    grid = Table(box=None, pad_edge=False, header_style="bold")
    for side in ("left", "center", "right"):
        grid.add_column(side, style=_COLORS[side], no_wrap=True)
    # A pair has one row, that of its left joint. A right joint has one of its own only where no edge leads to its left.
    rows = _rows(skeleton)
    drawn = {index for _, index in rows}
    for depth, index in rows:
        side = skeleton.side(index)
        text = "  " * depth + escape(skeleton.joints[index])
        if side == "left":
            grid.add_row(text, "", "  " * depth + escape(skeleton.joints[skeleton.partner(index)]))
        elif side == "center" or skeleton.partner(index) not in drawn:  # a right joint stands beside its left partner
            grid.add_row("", text, "")
    return grid


def _rows(skeleton: Skeleton) -> list[tuple[int, int]]:
    """(depth, joint) of a walk through the edges, from the centre joint with most neighbours."""
    neighbours: dict[int, list[int]] = {}
    for i, j in skeleton.edges:
        neighbours.setdefault(i, []).append(j)
        neighbours.setdefault(j, []).append(i)
    # every joint with an edge is tried as a root: of parts that are reached already nothing is left
    roots = sorted(neighbours, key=lambda i: (skeleton.side(i) != "center", -len(neighbours[i]), i))
    rows: list[tuple[int, int]] = []
    seen: set[int] = set()
    for root in roots:
        stack = [(0, root)]
        while stack:
            depth, index = stack.pop()
            if index not in seen:
                seen.add(index)
                rows.append((depth, index))
                stack += [(depth + 1, joint) for joint in reversed(neighbours[index]) if joint not in seen]
    return rows


def save_picture(skeleton: Skeleton, path: Path) -> None:
    """Draw left, right and centre as a graph and save it; positions follow the tree of edges.

    Raises UsageError where matplotlib is not installed, OutputFileError where the file cannot be written.
    """
    figure, axes, positions = _bones(skeleton, "--image")
    colors = {"left": "tab:cyan", "right": "tab:pink", "center": "0.3"}
    for index, (x, y) in positions.items():
        axes.scatter([x], [y], color=colors[skeleton.side(index)], zorder=2)
        text = f"{index} {skeleton.joints[index]}"
        axes.annotate(text, (x, y), textcoords="offset points", xytext=(5, 3), fontsize=7)
    axes.set_title(f"{skeleton.name}: {len(skeleton.pairs)} pairs, {len(skeleton.center)} centre")
    _save(figure, path)


def save_gaps(skeleton: Skeleton, gaps: Mapping[str, float], path: Path) -> None:
    """Draw how far every joint pair is from symmetric, as colours and numbers on the skeleton, and save it.

    gaps: by `left/right` or the name of a centre joint.  Raises as `save_picture` does.
    """
    figure, axes, positions = _bones(skeleton, "--plot")
    by_joint: dict[str, float] = {}
    for label, gap in gaps.items():
        by_joint.update(dict.fromkeys(label.split("/"), gap))
    values = [by_joint.get(name, 0.0) for name in skeleton.joints]
    xs, ys = zip(*(positions[index] for index in range(len(values))), strict=True)
    dots = axes.scatter(xs, ys, c=values, cmap="viridis_r", vmin=0, zorder=2)
    for index, (x, y) in positions.items():
        text = f"{skeleton.joints[index]} {values[index]:.3g}"
        axes.annotate(text, (x, y), textcoords="offset points", xytext=(6, 3), fontsize=7)
    figure.colorbar(dots, label="mean distance between f(x) and T f(T x), units of the output")
    axes.set_title(f"{skeleton.name}: the network's gap at every joint")
    _save(figure, path)


def _bones(skeleton: Skeleton, option: str) -> tuple[Figure, Axes, dict[int, tuple[float, float]]]:
    """A figure with the edges, and the positions of the joints in it."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError(option, "matplotlib is not installed", "pip install matplotlib") from None
    positions = tree_positions(skeleton)
    height = max((y for _, y in positions.values()), default=0)
    figure = Figure(figsize=(8, 1 + 0.3 * (height + 1)))
    axes = figure.subplots()
    for i, j in skeleton.edges:
        axes.plot(*zip(positions[i], positions[j], strict=True), color="0.7", zorder=1)
    axes.invert_yaxis()
    axes.set_axis_off()
    return figure, axes, positions


def _save(figure: Figure, path: Path) -> None:
    """Write a figure in the format of the path's suffix. Raises OutputFileError."""
    kind = path.suffix[1:] or "no suffix"
    try:
        atomic_write(path, lambda temporary: figure.savefig(temporary, format=kind))
    except ValueError as error:
        raise OutputFileError(str(path), str(error), "give a path that ends in .png, .svg or .pdf") from None


def tree_positions(skeleton: Skeleton) -> dict[int, tuple[float, float]]:
    """(x, y) of every joint: a line for each pair or centre joint, further out the deeper in the tree it is."""
    # joints without an edge come last, each in a line of its own
    rows = _rows(skeleton)
    listed = {index for _, index in rows}
    rows += [(0, index) for index in range(len(skeleton.joints)) if index not in listed]
    positions: dict[int, tuple[float, float]] = {}
    for depth, index in rows:
        if index in positions:  # with its partner, which came first
            continue
        side, partner, y = skeleton.side(index), skeleton.partner(index), float(len(set(positions.values())))
        shift = {"left": -1.0 - 0.3 * depth, "center": 0.0, "right": 1.0 + 0.3 * depth}
        positions[index] = (shift[side], y)
        if partner != index:
            positions[partner] = (-shift[side], y)
    return positions
