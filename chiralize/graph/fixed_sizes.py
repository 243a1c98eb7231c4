"""Sizes that a graph fixes. It has lost the checks of the modules that it was made of, and kernels (those of LSTM and
GRU above all) read past the end of what has other sizes; a trace has the sizes of its examples written into its ops.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx.node import has_side_effect

from chiralize.errors import ModelRunError

Sizes = tuple[int | None, ...]
_REMEDIES = {
    "exported": "leave sizes open when you export (dynamic_shapes)",
    "captured": "example inputs of the sizes in use (two samples or more may leave the batch open)",
    "traced": "example inputs of the sizes in use",
}


def fixed_sizes(value: Any) -> Sizes | None:
    """The sizes of a tensor in a program, None in the place of those that are open; None for what is no tensor."""
    if not isinstance(value, torch.Tensor):
        return None
    return tuple(size if isinstance(size, int) else size.node.maybe_as_int() for size in value.shape)


@has_side_effect
def check_sizes(value: torch.Tensor, name: str, fixed: Sizes | None, made: str = "exported") -> None:
    """Raises ModelRunError for a tensor of sizes that the graph does not take. made: exported, captured or traced."""
    have = tuple(value.shape)
    if fixed is None or (
        len(have) == len(fixed) and all(want in (None, own) for own, want in zip(have, fixed, strict=True))
    ):
        return
    taken = ", ".join("any" if size is None else str(size) for size in fixed)
    raise ModelRunError(
        f"input {name}", f"its sizes are {have}, the network as it was {made} takes ({taken}) alone",
        f"give inputs of these sizes, or {_REMEDIES[made]}",
    )  # fmt: skip


def guarded(module: torch.fx.GraphModule, program: ExportedProgram, made: str = "exported") -> torch.fx.GraphModule:
    """A graph that was made of a program, in place, with a check of the sizes of every input before all else.

    torch's own guards would stand in the way of those who rewrite the graph.
    """
    unhooked(module)
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    names = [node.name for node in module.graph.nodes if node.op == "placeholder"]
    fixed = [fixed_sizes(values.get(str(own))) for own in program.graph_signature.user_inputs]
    return checked(module, names, fixed, made)


def unhooked(module: torch.fx.GraphModule) -> torch.fx.GraphModule:
    """A program's module, in place, without the hooks that look at its inputs: sizes are checked in the graph, too, and
    the hooks take longer than a narrow layer.
    """
    module._forward_pre_hooks.clear()
    module._forward_pre_hooks_with_kwargs.clear()
    return module


def checked(
    module: torch.fx.GraphModule, names: Sequence[str], fixed: Sequence[Sizes | None], made: str = "exported"
) -> torch.fx.GraphModule:
    """A graph, in place, with a check of the sizes of every input. names: what messages call the inputs."""
    places = [node for node in module.graph.nodes if node.op == "placeholder"]
    with module.graph.inserting_after(places[-1]):
        for place, name, own in zip(places, names, fixed, strict=True):
            if own is not None:
                module.graph.call_function(check_sizes, (place, name, own, made))
    module.recompile()
    return module


def leaves_open(module: torch.fx.GraphModule) -> bool:
    """Whether the checks of a graph leave some size open."""
    taken = [node.args[2] for node in module.graph.nodes if node.target is check_sizes]
    return any(isinstance(own, tuple) and None in own for own in taken)
