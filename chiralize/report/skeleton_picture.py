"""Drawings of a skeleton: a table of joints and a tree of its edges for the terminal, and a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.errors import OutputFileError, UsageError
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
    made = Table(box=None, pad_edge=False, header_style="bold")
    made.add_column("#", justify="right", no_wrap=True)
    for title in ("joint", "side", "partner"):
        made.add_column(title, no_wrap=True)
    made.add_column("signs of " + " ".join(skeleton.dims), no_wrap=True)
    for index, joint in enumerate(skeleton.joints):
        side, other = skeleton.side(index), skeleton.partner(index)
        partner = "" if other == index else f"{other} {escape(skeleton.joints[other])}"
        row = " ".join("-" if sign < 0 else "+" for sign in signs[index])
        made.add_row(str(index), escape(joint), side, partner, row, style=_COLORS[side])
    return made


def tree(skeleton: Skeleton) -> RenderableType | None:
    """The edges as a tree per connected part, in three columns: left | center | right. None without edges."""
    if not skeleton.edges:
        return None
    from rich.markup import escape
    from rich.table import Table

    made = Table(box=None, pad_edge=False, header_style="bold")
    for side in ("left", "center", "right"):
        made.add_column(side, style=_COLORS[side], no_wrap=True)
    for depth, index in _rows(skeleton):
        side = skeleton.side(index)
        if side == "right" and skeleton.partner(index) in _drawn(skeleton):
            continue
        text = "  " * depth + escape(skeleton.joints[index])
        other = "  " * depth + escape(skeleton.joints[skeleton.partner(index)])
        made.add_row(*((text, "", other) if side == "left" else ("", text, "")))
    return made


def _drawn(skeleton: Skeleton) -> set[int]:
    return {index for _, index in _rows(skeleton)}


def _rows(skeleton: Skeleton) -> list[tuple[int, int]]:
    """(depth, joint) of a walk through the edges, from the centre joint with most neighbours."""
    neighbours: dict[int, list[int]] = {}
    for i, j in skeleton.edges:
        neighbours.setdefault(i, []).append(j)
        neighbours.setdefault(j, []).append(i)
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
                stack += [(depth + 1, other) for other in reversed(neighbours[index]) if other not in seen]
    return rows


def save_picture(skeleton: Skeleton, path: Path) -> None:
    """Draw left, right and centre as a graph and save it; positions follow the tree of edges.

    Raises UsageError where matplotlib is not installed, OutputFileError where the file cannot be written.
    """
    figure, axes, places = _bones(skeleton, "--image")
    colors = {"left": "tab:cyan", "right": "tab:pink", "center": "0.3"}
    for index, (x, y) in places.items():
        axes.scatter([x], [y], color=colors[skeleton.side(index)], zorder=2)
        axes.annotate(
            f"{index} {skeleton.joints[index]}", (x, y), textcoords="offset points", xytext=(5, 3), fontsize=7
        )
    axes.set_title(f"{skeleton.name}: {len(skeleton.pairs)} pairs, {len(skeleton.center)} centre")
    _save(figure, path)


def save_gaps(skeleton: Skeleton, gaps: Mapping[str, float], path: Path) -> None:
    """Draw how far every joint pair is from symmetric, as colours and numbers on the skeleton, and save it.

    gaps: by `left/right` or the name of a centre joint.  Raises as `save_picture` does.
    """
    figure, axes, places = _bones(skeleton, "--plot")
    by_joint = {name: gap for label, gap in gaps.items() for name in label.split("/")}
    values = [by_joint.get(name, 0.0) for name in skeleton.joints]
    dots = axes.scatter(
        *zip(*(places[index] for index in range(len(values))), strict=True),
        c=values,
        cmap="viridis_r",
        vmin=0,
        zorder=2,
    )
    for index, (x, y) in places.items():
        axes.annotate(
            f"{skeleton.joints[index]} {values[index]:.3g}",
            (x, y),
            textcoords="offset points",
            xytext=(6, 3),
            fontsize=7,
        )
    figure.colorbar(dots, label="mean distance between f(x) and T f(T x), units of the output")
    axes.set_title(f"{skeleton.name}: how lopsided the network is")
    _save(figure, path)


def _bones(skeleton: Skeleton, option: str) -> tuple[Figure, Axes, dict[int, tuple[float, float]]]:
    """A figure with the edges, and where the joints are."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError(option, "matplotlib is not installed", "pip install 'chiralize[report]'") from None
    places = _places(skeleton)
    height = max((y for _, y in places.values()), default=0)
    figure = Figure(figsize=(8, 1 + 0.3 * (height + 1)))
    axes = figure.subplots()
    for i, j in skeleton.edges:
        axes.plot(*zip(places[i], places[j], strict=True), color="0.7", zorder=1)
    axes.invert_yaxis()
    axes.set_axis_off()
    return figure, axes, places


def _save(figure: Figure, path: Path) -> None:
    kind = path.suffix[1:] or "no suffix"
    try:
        atomic_write(path, lambda temporary: figure.savefig(temporary, format=kind))
    except ValueError as error:
        raise OutputFileError(str(path), str(error), "give a path that ends in .png, .svg or .pdf") from None


def _places(skeleton: Skeleton) -> dict[int, tuple[float, float]]:
    rows = _rows(skeleton)
    listed = {index for _, index in rows}
    rows += [(0, index) for index in range(len(skeleton.joints)) if index not in listed]
    places: dict[int, tuple[float, float]] = {}
    for depth, index in rows:
        if index in places:
            continue
        side, other, y = skeleton.side(index), skeleton.partner(index), float(len(set(places.values())))
        shift = {"left": -1.0 - 0.3 * depth, "center": 0.0, "right": 1.0 + 0.3 * depth}
        places[index] = (shift[side], y)
        if other != index:
            places[other] = (-shift[side], y)
    return places
