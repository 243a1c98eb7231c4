"""Sizes that an exported program fixes. It has lost the checks of the modules that it was made of, and kernels (those
of LSTM and GRU above all) read past the end of what has other sizes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx.node import has_side_effect

from chiralize.errors import ModelRunError

Sizes = tuple[int | None, ...]


def fixed_sizes(value: Any) -> Sizes | None:
    """The sizes of a tensor in a program, None in the place of those that are open; None for what is no tensor."""
    if not isinstance(value, torch.Tensor):
        return None
    return tuple(size if isinstance(size, int) else size.node.maybe_as_int() for size in value.shape)


@has_side_effect
def check_sizes(value: torch.Tensor, name: str, fixed: Sizes | None) -> None:
    """Raises ModelRunError for a tensor of sizes that the program does not take."""
    have = tuple(value.shape)
    if fixed is None or (
        len(have) == len(fixed) and all(want in (None, own) for own, want in zip(have, fixed, strict=True))
    ):
        return
    taken = ", ".join("any" if size is None else str(size) for size in fixed)
    raise ModelRunError(
        f"input {name}", f"its sizes are {have}, the network as it was exported takes ({taken}) alone",
        "give inputs of these sizes, or leave sizes open when you export (dynamic_shapes)",
    )  # fmt: skip


def guarded(module: torch.fx.GraphModule, program: ExportedProgram) -> torch.fx.GraphModule:
    """A graph that was made of a program, in place, with a check of the sizes of every input before all else.

    torch's own guards would stand in the way of those who rewrite the graph.
    """
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    places = [node for node in module.graph.nodes if node.op == "placeholder"]
    with module.graph.inserting_after(places[-1]):
        for place, name in zip(places, program.graph_signature.user_inputs, strict=True):
            fixed = fixed_sizes(values.get(str(name)))
            if fixed is not None:
                module.graph.call_function(check_sizes, (place, place.name, fixed))
    module.recompile()
    return module
