"""What refusals of a search have in common: the words for sizes, layouts and skeletons that could be meant."""

from __future__ import annotations

from chiralize.body.skeleton.kinds import offered
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors.guess import fitting
from chiralize.problem.readings.remark import sizes_text
from chiralize.problem.readings.trial import Shape, Shapes

NOTHING = "no example inputs are given, and none could be derived"
MOST_NAMED = 3
"""Alternatives that a message names, at most."""


def command_for(shapes: Shapes, option: str) -> str:
    """What gives these sizes: `--input-shape 1,17,2` for every input, or `example_inputs=(torch.zeros(1,17,2),)`.

    option: as the user would type it, which begins with -- on the command line.
    """
    if not option.startswith("--"):
        return f"{option}={_zeros(shapes)}"
    return " ".join(f"{option} {sizes_text(shape)}" for shape in shapes)


def _zeros(shapes: Shapes) -> str:
    """Python for example inputs of these sizes, a tuple."""
    return "(" + ", ".join(f"torch.zeros({sizes_text(shape)})" for shape in shapes) + ",)"


def layouts_of(shape: Shape, skeleton: Skeleton) -> list[str]:
    """The layouts of a pose that fit sizes, as text, the likeliest first; none where no axis counts joints."""
    return [str(pose.layout) for pose in fitting(shape, skeleton, False, "tensor")]


def skeletons_of_width(width: int | None, given: Skeleton) -> str:
    """Shipped skeletons whose joints times 2 or 3 make a width: `45 = 15 x 3: humaneva-15, jhmdb-15`.

    Those that could be meant instead of the given one, as `offered` says.
    """
    texts: list[str] = []
    for count in (2, 3):
        if width is None or width % count:
            continue
        names = offered(width // count, instead_of=given, most=MOST_NAMED, dims=count)
        if names:
            texts.append(f"{width} = {width // count} x {count}: {names}")
    return "; ".join(texts)
