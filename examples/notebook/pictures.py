"""Pictures of bodies and of matrices: left, right and centre in colours that colour-blind readers can tell apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch

from chiralize.body.skeleton.skeleton import Skeleton

Array = npt.NDArray[Any]

COLORS = {"left": "#0072B2", "right": "#D55E00", "center": "#555555"}
"""Blue, vermilion and grey of the palette of Okabe and Ito."""

NETWORKS = ("#000000", "#E69F00", "#56B4E9", "#009E73")
"""One colour per network, of the same palette."""

MARKERS = {"left": "o", "right": "s", "center": "."}
STYLE = {
    "figure.dpi": 80,
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}
GREY = "#999999"


def legend(figure: Figure, **settings: Any) -> None:
    """Left, right and centre, once per figure."""
    keys = [
        Line2D([], [], color=COLORS[side], marker=MARKERS[side], lw=3, label=name)
        for side, name in (("left", "left"), ("right", "right"), ("center", "centre"))
    ]
    figure.legend(handles=keys, ncols=3, **{"loc": "lower center", **settings})


def skeleton(axes: Axes, body: Skeleton, pose: Array, color: str | None = None, **line: Any) -> None:
    """A pose "joint coord" seen by the camera (x right, y down), or in space where coord is 3 and the axes allow it.

    color: for all bones; None gives left, right and centre their own.
    """
    solid = axes.name == "3d"
    places = np.stack([pose[:, 0], pose[:, 2], -pose[:, 1]], -1) if solid else pose[:, :2] * [1, -1]
    style = {"lw": 3, "ms": 5, "solid_capstyle": "round", **line}
    for start, end in body.edges:
        side = body.side(end) if body.side(start) == "center" else body.side(start)
        points = places[[start, end]].T
        axes.plot(*points, color=color or COLORS[side], marker=MARKERS[side], **style)


def flat(axes: Axes, poses: Sequence[Array], title: str = "", below: bool = False) -> None:
    """Axes for a pose in the image, with the mirror as a dashed line in their middle and room for all of `poses`."""
    every = np.concatenate([pose[:, :2] for pose in poses])
    margin = 0.06 * float(np.ptp(every[:, 1]))
    half = float(np.abs(every[:, 0]).max()) + margin
    axes.set_xlim(-half, half)
    axes.set_ylim(-every[:, 1].max() - margin, -every[:, 1].min() + margin)
    axes.set_title(title, y=-0.02 if below else None, va="top" if below else "baseline")
    axes.set_aspect("equal")
    axes.axvline(0, color=GREY, lw=1, ls=(0, (4, 4)), zorder=0)
    axes.axis("off")


def room(axes: Any, poses: Sequence[Array], title: str = "", azimuth: float = -70) -> None:
    """Axes for poses in space, metres, with equal scales, seen from an angle (degrees; -90 is the camera's)."""
    axes.set_title(title, y=1.0)
    every = np.concatenate(list(poses))
    half = 0.55 * float(np.ptp(every[:, :3], axis=0).max())
    middle = (every.max(0) + every.min(0)) / 2
    axes.set_xlim(-half, half)
    axes.set_ylim(middle[2] - half, middle[2] + half)
    axes.set_zlim(-middle[1] - half, -middle[1] + half)
    axes.set_box_aspect((1, 1, 1), zoom=1.1)
    axes.tick_params(color=(0, 0, 0, 0), labelcolor=(0, 0, 0, 0))
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.line.set_color(GREY)
        axis.pane.set_alpha(0.0)
    axes.set_xlabel("x", labelpad=-12)
    axes.set_ylabel("depth", labelpad=-12)
    axes.view_init(elev=12, azim=azimuth)


def square(
    body: Skeleton, there: Array, back: Array, lifted: Array, mirrored_lift: Array, lift_of_mirrored: Array
) -> None:
    """The two ways from a pose x to a lifted pose on the other side of the mirror, as a square of arrows.

    there, back: x and T x, "joint 2".  lifted: f(x).  mirrored_lift: T f(x).  lift_of_mirrored: f(T x), all "joint 3".
    """
    figure, grid = plt.subplots(2, 2, figsize=(8, 7.4))
    figure.subplots_adjust(left=0.02, right=0.98, top=0.93, bottom=0.15, wspace=0.3, hspace=0.25)
    gap = 1000 * float(np.linalg.norm(mirrored_lift - lift_of_mirrored, axis=-1).mean())
    last = f"$T f(x)$ in colours, $f(T x)$ in black:\n{gap:.1f} mm apart"
    for column, pair in enumerate(((there, back), (lifted, mirrored_lift))):
        for line, title in enumerate((("$x$", "$T x$"), ("$f(x)$", last))[column]):
            skeleton(grid[line, column], body, pair[line])
            flat(grid[line, column], [*pair, lift_of_mirrored] if column else pair, title, below=line == 1)
    skeleton(grid[1, 1], body, lift_of_mirrored, color="black", lw=1.5, ms=2)
    boxes = [[axes.get_position(original=True) for axes in line] for line in grid]
    for line in boxes:
        height = (line[0].y0 + line[0].y1) / 2
        _arrow(figure, (line[0].x1, height), (line[1].x0, height), "$f$", (0, 0.025))
    for above, below in zip(*boxes, strict=True):
        middle = (above.x0 + above.x1) / 2
        _arrow(figure, (middle, above.y0 - 0.005), (middle, below.y1 + 0.005), "$T$", (0.025, 0))
    legend(figure)
    plt.show()


def _arrow(figure: Figure, start: tuple[float, float], end: tuple[float, float], name: str, aside: Any) -> None:
    """An arrow with its name beside it, in fractions of the figure."""
    figure.add_artist(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=18, lw=1.5, color="black"))
    x, y = ((start[place] + end[place]) / 2 + aside[place] for place in (0, 1))
    figure.text(x, y, name, ha="center", va="center", fontsize=14)


def order_of(body: Skeleton, coords: int, negated: int = 1) -> tuple[Array, dict[str, int]]:
    """Channels "joint coord" put into the paper's order, and how many each group has.

    Groups: l, r, c (left, right, centre joints), in each n, then p (negated coordinates, plain ones).
    """
    sides = {
        "l": [left for left, _ in body.pairs],
        "r": [right for _, right in body.pairs],
        "c": list(body.center),
    }
    order: list[int] = []
    groups: dict[str, int] = {}
    for side, joints in sides.items():
        for kind, places in (("n", range(negated)), ("p", range(negated, coords))):
            found = [joint * coords + place for joint in joints for place in places]
            groups[side + kind] = len(found)
            order += found
    return np.array(order), groups


def matrix(axes: Axes, values: Array, rows: Mapping[str, int], columns: Mapping[str, int], title: str = "") -> None:
    """A heat map: blue below zero, red above, white at zero, with a line and a name for every group."""
    most = float(np.abs(values).max()) or 1.0
    axes.imshow(values, cmap="RdBu_r", vmin=-0.7 * most, vmax=0.7 * most, aspect="auto", interpolation="nearest")
    axes.set_title(title)
    for groups, line, ticks in ((rows, axes.axhline, axes.set_yticks), (columns, axes.axvline, axes.set_xticks)):
        ends = np.cumsum(list(groups.values()))
        for end in ends[:-1]:
            line(end - 0.5, color="black", lw=0.8)
        ticks(ends - np.array(list(groups.values())) / 2 - 0.5, list(groups))
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(True)


def by_joint(axes: Axes, body: Skeleton, found: Mapping[str, Array], unit: str) -> None:
    """A value per joint and network as dots: left and right joints next to each other, in the colours of their side."""
    joints = [*body.center, *(joint for pair in body.pairs for joint in pair)]
    for place, (name, values) in enumerate(found.items()):
        axes.plot(
            values[joints], np.arange(len(joints)), "oDs^v"[place], color=NETWORKS[place], label=name, ms=7, alpha=0.9
        )
    axes.set_yticks(range(len(joints)), [body.joints[joint].replace("_", " ") for joint in joints])
    for label, joint in zip(axes.get_yticklabels(), joints, strict=True):
        label.set_color(COLORS[body.side(joint)])
    axes.grid(axis="y", color="#dddddd")
    axes.set_axisbelow(True)
    axes.invert_yaxis()
    axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))
    axes.set_xlabel(unit)
    axes.legend()
