"""A refusal of layers that the reversal of the width does not fit, with what would make them fit.

Inference refuses a strided layer at 8 columns and says why. What helps depends on the whole network: widths at which
every layer fits (7 or 9 columns), kernels that can be widened, pictures that can be padded. `convert` and `plan` ask
that here, of the graph alone, and put it into the remedy. `--align` (`aligning`) does it.
"""

from __future__ import annotations

from chiralize.commands.reversed_axes import as_layers_read, maps_of, pictures_of
from chiralize.errors import UnsupportedError
from chiralize.errors.words import when
from chiralize.graph.model import CapturedModel
from chiralize.graph.passes.alignment.editing import upsampling_from_first_cell, widened_for_reversal
from chiralize.graph.passes.alignment.widths import fitting_width
from chiralize.graph.passes.alignment.windows import shapes_of
from chiralize.infer.registry import traits
from chiralize.problem.network import Network


def with_widths(network: Network, error: UnsupportedError) -> UnsupportedError:
    """A refusal of windows that read a picture from one end, with the widths at which every layer of a network fits.

    Any other error comes back as it is; so does one where several axes are reversed, or about a given column.
    """
    pictures = pictures_of(network)
    if not error.sized or len(pictures) != 1 or network.program is None:
        return error
    picture, axis = pictures[0]
    if any(center is not None for _, center in picture.entry.mirror):
        return error
    graph = network.graph()
    name = str(graph.inputs[picture.index])
    widths = [fitting_width(graph, name, axis, traits(), smaller=smaller) for smaller in (True, False)]
    near = " or ".join(str(width) for width in widths if width is not None)
    # Of a network without maps a layer such as the last linear one may rest on the width: it is not looked at here.
    size, has_maps = picture.shape[axis], bool(maps_of(network))
    others_too = when(not has_maps, ", if the layers that have no windows take as many")
    fitting = when(near, f"every layer fits at {near} columns in place of {size}{others_too}; ")
    kernel = when(_can_widen_kernels(graph, *as_layers_read(graph, picture, axis)), "--align kernel keeps all sizes, ")
    wider = _width_padded_to(graph, name, axis) if has_maps else None
    pad = when(wider, f"--align pad widens pictures to {wider}, ")
    remedy = f"{fitting}{kernel}{pad}--method average takes any"
    # An error of the same class, with everything that others read off it.
    changed = type(error)(error.where, error.facts, remedy)
    changed.at, changed.settled, changed.sized = error.at, error.settled, error.sized
    changed.aligns = bool(kernel)
    return changed


def _can_widen_kernels(graph: CapturedModel, ndim: int, axis: int) -> bool:
    """Whether columns of zeros in kernels make every layer fit, as far as the graph tells."""
    try:
        return bool(widened_for_reversal(graph, ndim, axis, traits()))
    except UnsupportedError:
        return False


def _width_padded_to(graph: CapturedModel, picture: str, axis: int) -> int | None:
    """The width that `--align pad` would give to pictures, as far as the graph tells."""
    try:
        changes = upsampling_from_first_cell(graph, len(shapes_of(graph)[picture]), axis, traits())
    except UnsupportedError:
        return None
    return fitting_width(graph, picture, axis, traits(), {change.window.op for change in changes})
