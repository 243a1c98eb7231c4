"""Maps read between their cells: every answer moved by part of a cell, by a cubic of four cells.

Both views are moved half-way to each other. Then the plain reversal takes one to the other, and T T = 1: moving by a,
turned, is moving by -a.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import floor

import torch
from torch import fx

from chiralize.graph.written import ADD, INDEX_SELECT, MUL


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
        with module.graph.inserting_before(output):
            output.replace_input_with(node, _moved(module, node, axis, cells, shift))
    module.graph.lint()
    module.recompile()
    return module


def _moved(module: fx.GraphModule, node: fx.Node, axis: int, cells: int, shift: float) -> fx.Node:
    first, graph = floor(-shift), module.graph
    total: fx.Node | None = None
    for tap, weight in enumerate(cubic(-shift - first)):
        index = (torch.arange(cells) + first + tap - 1).clamp(0, cells - 1)
        name = f"cells_{node.name}_{axis}_{tap}"
        module.register_buffer(name, index, persistent=True)
        picked = graph.call_function(INDEX_SELECT, (node, axis, graph.get_attr(name)))
        term = graph.call_function(MUL, (picked, weight))
        total = term if total is None else graph.call_function(ADD, (total, term))
    assert total is not None
    return total
