"""Widths of pictures that the reversal fits in every layer of a network.

Convolutions with strides leave columns over at one end at some widths: a kernel of 3 with stride 2 and padding 1
fits at 7 and 9 columns, not at 8. Widths are followed through the graph, layer by layer, without running it.
`commands/naming_widths` offers the next ones that fit.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace

from chiralize.graph.model import CapturedModel, Node
from chiralize.graph.passes.alignment.windows import (
    Window,
    added_by,
    adds_zeros,
    beyond_padding,
    shapes_of,
    window_of,
)
from chiralize.graph.traits import Traits

FURTHEST = 64


def fitting_width(
    graph: CapturedModel,
    picture: str,
    axis: int,
    traits: Traits,
    upsampled: Container[str] = (),
    smaller: bool = False,
) -> int | None:
    """The next larger width of a picture at which every layer commutes with the reversal; None where none is near.

    upsampled: transposed layers that will answer from the first cell to the last of what they read.
    smaller: look for the next smaller one.
    """
    width = shapes_of(graph)[picture][axis]
    step = -1 if smaller else 1
    for other in range(width + step, width + step * (FURTHEST + 1), step):
        if other > 0 and _fits(graph, picture, axis, other, traits, upsampled):
            return other
    return None


def _fits(graph: CapturedModel, picture: str, axis: int, width: int, traits: Traits, upsampled: Container[str]) -> bool:
    """Whether layers read along the axis, every one fits at a width, and branches that meet are as wide.

    The axis is counted from the last one: layers may read beams (b, 1, beams) that are given as (b, beams), and
    (b view, c, h, w) of several cameras.
    """
    shapes = shapes_of(graph)
    widths, from_last = {picture: width}, axis - len(shapes[picture])
    pads: dict[str, tuple[Node, tuple[int, int]]] = {}
    is_read = False
    for node in graph.nodes:
        sizes = {widths[name] for name in node.names_read if name in widths}
        ndim = len(shapes.get(node.name, ()))
        axis = ndim + from_last
        # Weights and constants have no width here; what has lost the reversed axis ends the trail.
        if not sizes or not _goes_on(node, shapes, widths, axis):
            continue
        window = window_of(node, shapes, ndim, axis, traits)
        # Branches of different widths cannot be added.
        if len(sizes) > 1:
            return False
        (size,) = sizes
        sides = added_by(node, ndim, axis, traits)
        if sides is not None:
            pads[node.name] = node, sides
            # Columns that an op adds are counted, and left to the layers that read them.
            widths[node.name] = size + sum(sides)
            continue
        sides = (0, 0)
        for name in node.names_read:
            if name in pads:
                pad, sides = pads[name]
                # Unequal padding goes together with the windows of a convolution; for any other reader it is a shift.
                if sides[0] != sides[1] and (window is None or window.kind != "convolution" or not adds_zeros(pad)):
                    return False
        if window is None:
            widths[node.name] = _scaled(node, size, shapes, axis)
            continue
        # The windows at this width: as many as fit, if they are their own mirror image.
        answers = _answers(window, size, node.name in upsampled, sides)
        if answers is None:
            return False
        is_read = True
        widths[node.name] = answers
    return is_read


def _goes_on(node: Node, shapes: dict[str, tuple[int, ...]], widths: Container[str], axis: int) -> bool:
    """Whether what comes out has the reversed axis at this place, counted from the last one as before.

    Where the number of axes changes, only if it is as long as before: else it became a part of another axis.
    """
    after = shapes.get(node.name, ())
    if axis < 0 or axis >= len(after):
        return False
    before = [shapes[name] for name in node.names_read if name in widths]
    from_last = axis - len(after)
    return all(len(shape) == len(after) or shape[from_last] == after[from_last] for shape in before)


def _answers(window: Window, size: int, is_upsampled: bool, sides: tuple[int, int]) -> int | None:
    """The width of a layer's answer on another number of columns; None where it reads none, or does not commute.

    sides: how many of these columns an op before it has added on the left and on the right.
    """
    sliding = window.sliding
    if window.kind == "transposed":
        if is_upsampled:
            return sliding.stride * (size - 1) + 1
        # Another entry to read makes the answer a stride longer.
        grown = replace(sliding, count=size, size=sliding.size + sliding.stride * (size - sliding.count))
        if not grown.is_symmetric:
            return None
        return grown.size
    # padding="same" with an even kernel adds one column more on the right, which `before` does not show.
    lacks_one = sliding.kernel % 2 == 0 and sliding.stride == 1 and sliding.excess == -1
    free = size + 2 * sliding.before + lacks_one - sliding.extent
    if free < 0:
        return None
    wider = replace(window, sliding=replace(sliding, size=size, count=free // sliding.stride + 1))
    if beyond_padding(wider, sides).commutes and not window.ceil:
        return wider.sliding.count
    return None


def _scaled(node: Node, size: int, shapes: dict[str, tuple[int, ...]], axis: int) -> int:
    """The width behind an op without a window: as many times as before where it resizes."""
    before = [shapes[name] for name in node.names_read if len(shapes[name]) == len(shapes[node.name])]
    after = shapes[node.name][axis]
    if not before or after == before[0][axis] or after % before[0][axis]:
        return size
    return size * (after // before[0][axis])
