"""Pictures of policies in the loop, as PNG files: paths from starts and from mirrored starts, and a film strip.

`--rollout` with a page asks for them (`pictures_of`), and `html` puts them into the page. Of a policy that commutes
with the mirror, in an environment that is its own mirror image, every point of the first picture lies on its diagonal,
and every dashed path on a full one.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from chiralize.verification.closed_loop.records import Plane, Rollout, Walker

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from chiralize.verification.closed_loop.film import Film

_AHEAD, _MIRRORED = "tab:blue", "tab:orange"


def pictures_of(rollout: Rollout, film: Film | None) -> dict[str, bytes]:
    """PNG files by their captions. matplotlib has to be installed: the command asks before it begins."""
    pictures = {"Returns, and paths seen from above": draw(rollout)}
    if film is not None:
        pictures["The first start, and its mirror image"] = strip(film)
    return pictures


def draw(rollout: Rollout) -> bytes:
    """The returns of starts against those of their mirror images, and the paths of every policy.

    Paths from mirrored starts are drawn mirrored, so that those of an equivariant policy lie on the others.
    """
    with_paths = [walker for walker in rollout.walkers if walker.ahead.paths]
    figure = _figure((3.4 * (1 + len(with_paths)), 3.4))
    returns, *others = figure.subplots(1, 1 + len(with_paths), squeeze=False)[0]
    _draw_returns(returns, rollout)
    for axes, walker in zip(others, with_paths, strict=True):
        _draw_paths(axes, walker, rollout.plane)
    return _png(figure)


def _draw_returns(axes: Axes, rollout: Rollout) -> None:
    """A point for every start of every policy; on the grey diagonal both sides return the same."""
    for walker in rollout.walkers:
        axes.scatter(walker.ahead.returns, walker.mirrored.returns, s=14, label=walker.name)
    # from the least to the greatest of both axes, so that the diagonal crosses all of the picture
    ends = [*axes.get_xlim(), *axes.get_ylim()]
    axes.plot([min(ends), max(ends)], [min(ends), max(ends)], color="0.6", linewidth=0.8)
    axes.set(xlabel="return from the start", ylabel="return from its mirror image", title=rollout.environment[-34:])
    axes.legend(fontsize=7)


def _draw_paths(axes: Axes, walker: Walker, plane: Plane | None) -> None:
    """Paths seen from above, metres: from starts, and, mirrored in the plane of the environment, from mirrored ones."""
    assert plane is not None  # who knows where the robot is knows it from the simulator, whose plane that is
    for number, (ahead, mirrored) in enumerate(zip(walker.ahead.paths, walker.mirrored.paths, strict=True)):
        # one entry in the legend for all paths of a colour
        names = ("from the start", "from its mirror image, mirrored") if not number else (None, None)
        axes.plot(*zip(*ahead, strict=True), color=_AHEAD, linewidth=1.2, label=names[0])
        turned = [plane.image(point) for point in mirrored]
        axes.plot(*zip(*turned, strict=True), color=_MIRRORED, linewidth=0.9, linestyle="--", label=names[1])
    axes.set(title=walker.name, xlabel="x, m", ylabel="y, m")
    axes.set_aspect("equal", adjustable="datalim")
    axes.legend(fontsize=6)


def strip(film: Film) -> bytes:
    """Frames side by side, a row for every policy and side."""
    figure = _figure((1.5 * len(film.steps), 1.25 * len(film.rows)))
    grid = figure.subplots(len(film.rows), len(film.steps), squeeze=False)
    for axes, step in zip(grid[0], film.steps, strict=True):
        axes.set_title(f"step {step}", fontsize=7)
    for axes_row, title, frames in zip(grid, film.titles, film.rows, strict=True):
        for axes, frame in zip(axes_row, frames, strict=True):
            axes.imshow(frame)
            axes.set(xticks=[], yticks=[])
        axes_row[0].set_ylabel(title.replace(", ", ",\n"), fontsize=7)
    return _png(figure)


def _figure(size: tuple[float, float]) -> Any:
    """An empty figure, of a size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained", dpi=110)


def _png(figure: Any) -> bytes:
    """A figure as the bytes of a PNG file."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()
