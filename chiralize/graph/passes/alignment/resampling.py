"""Maps read between their cells: every answer moved by part of a cell, by a cubic of four cells.

Both views are moved half-way to each other. Then the plain reversal takes one to the other, and T T = 1: moving by a,
turned, is moving by -a.

Where a convolution makes the maps, its kernel takes the four cells in. No layer then stands behind it that moves to one
side, so that one pass can be fitted to the moved maps. Cells beyond the border are zeros to it, as they are to every
convolution; any other layer finds the last cell there again.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import floor

import torch
from torch import fx, nn

from chiralize.graph.execution import arguments_of
from chiralize.graph.passes.alignment.windows import for_each_axis
from chiralize.graph.written import ADD, CONVOLUTIONS, INDEX_SELECT, MUL


def cubic(fraction: float) -> tuple[float, float, float, float]:
    """Weights of the cells -1, 0, 1, 2 at a place between 0 and 1 (Keys' kernel, a = -1/2).

    >>> cubic(0.0), sum(cubic(0.25))
    ((0.0, 1.0, 0.0, 0.0), 1.0)
    """
    t = fraction
    return (
        -0.5 * t + t**2 - 0.5 * t**3 + 0.0,
        1 - 2.5 * t**2 + 1.5 * t**3,
        0.5 * t + 2 * t**2 - 1.5 * t**3,
        -0.5 * t**2 + 0.5 * t**3,
    )


def moved_outputs(module: fx.GraphModule, moves: Sequence[tuple[int, int, int, float]]) -> fx.GraphModule:
    """The module with some of its outputs moved to the right, changed in place.

    moves: (position among the outputs that are tensors, axis, cells, by how many cells).
    """
    output = next(node for node in module.graph.nodes if node.op == "output")
    results = [node for node in output.all_input_nodes if isinstance(node.meta.get("val"), torch.Tensor)]
    for position, axis, cells, shift in moves:
        node = results[position]
        if _moved_in_kernel(module, node, axis, shift):
            continue
        with module.graph.inserting_before(output):
            output.replace_input_with(node, _moved(module, node, axis, cells, shift))
    module.graph.lint()
    module.recompile()
    return module


def _moved(module: fx.GraphModule, node: fx.Node, axis: int, cells: int, shift: float) -> fx.Node:
    """A value with its cells moved to the right by `shift`: a sum of four gathers along `axis`, each times its
    weight.
    """
    # Moved right by a, cell i is read at i - a: between the cells i + first and i + first + 1.
    first, graph = floor(-shift), module.graph
    total: fx.Node | None = None
    for tap, weight in enumerate(cubic(-shift - first)):
        # Taps 0 to 3 are the cells -1, 0, 1, 2 from there; beyond the border the last cell is read again.
        index = (torch.arange(cells) + first + tap - 1).clamp(0, cells - 1)
        name = f"cells_{node.name}_{axis}_{tap}"
        module.register_buffer(name, index, persistent=True)
        picked = graph.call_function(INDEX_SELECT, (node, axis, graph.get_attr(name)))
        term = graph.call_function(MUL, (picked, weight))
        if total is None:
            total = term
        else:
            total = graph.call_function(ADD, (total, term))
    assert total is not None
    return total


def _moved_in_kernel(module: fx.GraphModule, node: fx.Node, axis: int, shift: float) -> bool:
    """Move what a convolution answers by a wider kernel. False where another op answers, or others read it, too."""
    if node.target not in CONVOLUTIONS.values() or len(node.users) > 1:
        return False
    arguments, count = arguments_of(node), node.meta["val"].ndim - 2
    weight = arguments["weight"]
    if not isinstance(weight, fx.Node) or weight.op != "get_attr" or len(weight.users) > 1:
        return False
    parameter = str(weight.target)
    path, _, name = parameter.rpartition(".")
    holder = module.get_submodule(path)
    kernel, paddings = getattr(holder, name), for_each_axis(arguments.get("padding", 0), count)
    strides, dilations = (for_each_axis(arguments.get(word, 1), count) for word in ("stride", "dilation"))
    at, taps = axis - 2, kernel.shape[axis]
    # Else a kernel moved by a tap would not move the answer by a cell, or the map would change its size.
    if strides[at] != 1 or dilations[at] != 1 or taps != 2 * paddings[at] + 1:
        return False
    first = floor(-shift)
    # How far the four cells reach to the left and to the right; as many columns on both sides keep the kernel
    # centred.
    more = max(1 - first, first + 2)
    shape = list(kernel.shape)
    shape[axis] += 2 * more
    wider = torch.zeros(shape, dtype=kernel.dtype)
    for tap, share in enumerate(cubic(-shift - first)):
        wider.narrow(axis, more + first + tap - 1, taps).add_(kernel.detach(), alpha=share)
    setattr(holder, name, nn.Parameter(wider, kernel.requires_grad))
    paddings[at] += more
    node.args, node.kwargs = (), {**arguments, "padding": paddings}
    return True
