"""Pictures and maps: which inputs and outputs have an axis that the mirror reverses, and where layers find it again.

A layout `b c h ~w` says that T reverses the last axis: T x[..., w] = x[..., W - 1 - w]. `aligning` and `naming_widths`
look for layers whose windows slide along that axis.
"""

from __future__ import annotations

from collections.abc import Sequence

from chiralize.body.tensors.layout import parse_layout
from chiralize.body.tensors.resolved import ResolvedTensor
from chiralize.graph.model import CapturedModel
from chiralize.graph.passes.alignment.windows import windows
from chiralize.infer.registry import traits
from chiralize.problem.network import Network

_AXES_READ = (4, 3)
"""Of pictures, and of what lies along a line, where layers slide over them."""


def pictures_of(network: Network) -> list[tuple[ResolvedTensor, int]]:
    """Inputs with an axis that is reversed as a whole, and that axis."""
    return _reversed(network.resolved.input_tensors)


def maps_of(network: Network) -> list[tuple[ResolvedTensor, int]]:
    """Outputs with an axis that is reversed as a whole, and that axis."""
    return _reversed(network.resolved.output_tensors)


def _reversed(tensors: Sequence[ResolvedTensor]) -> list[tuple[ResolvedTensor, int]]:
    """Every reversed axis, `~w` of a layout, with its tensor."""
    axes: list[tuple[ResolvedTensor, int]] = []
    for tensor in tensors:
        for word, _ in tensor.entry.mirror:
            axis = parse_layout(tensor.layout).axis_of(word)
            if axis is not None:
                axes.append((tensor, axis))
    return axes


def as_layers_read(graph: CapturedModel, picture: ResolvedTensor, axis: int) -> tuple[int, int]:
    """How many axes a picture has where layers read it, and which of them is `axis`.

    Of several cameras (b, view, c, h, w) layers read (b view, c, h, w), of beams (b, beams) they read (b, 1, beams).
    """
    ndim = len(picture.shape)
    # Axes before the reversed one may be joined or added on the way; counted from the last one it stays where it is.
    from_last = axis - ndim
    if any(windows(graph, ndim, axis, traits())):
        return ndim, axis
    width = picture.shape[axis]
    for other in _AXES_READ:
        # Only windows over as many columns as the picture has can be over the same axis.
        along = other + from_last
        if along >= 0 and any(window.sliding.size == width for window in windows(graph, other, along, traits())):
            return other, along
    return ndim, axis
