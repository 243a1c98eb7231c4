"""Checks of the input sizes that a graph fixes.

A graph has lost the checks of the modules that it came from. Kernels (of LSTM and GRU above all) read past the end of
tensors of other sizes, and a trace has the sizes of its examples written into its ops.
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
    """The sizes of a tensor in a program, None in place of those that are open; None for a value that is no tensor."""
    if not isinstance(value, torch.Tensor):
        return None
    return tuple(map(number_of, value.shape))


def number_of(size: Any) -> int | None:
    """A size of a tensor in a program as a number, None where it is open."""
    if isinstance(size, int):
        return size
    return size.node.maybe_as_int()


@has_side_effect
def check_sizes(value: torch.Tensor, name: str, fixed: Sizes | None, origin: str = "exported") -> None:
    """Raises ModelRunError for a tensor of sizes that the graph does not take. origin: exported, captured or traced."""
    if fixed is None:
        return
    sizes = tuple(value.shape)
    if len(sizes) == len(fixed) and all(want in (None, size) for size, want in zip(sizes, fixed, strict=True)):
        return
    taken = ", ".join(map(_text, fixed))
    facts = f"its sizes are {sizes}, the network as it was {origin} takes ({taken}) alone"
    raise ModelRunError(f"input {name}", facts, f"give inputs of these sizes, or {_REMEDIES[origin]}")


def _text(size: int | None) -> str:
    """A size for a message."""
    return "any" if size is None else str(size)


def guarded(module: torch.fx.GraphModule, program: ExportedProgram, origin: str = "exported") -> torch.fx.GraphModule:
    """The graph of a program with a check of the sizes of every input before all other ops. Changed in place.

    torch's own guards would stand in the way of those who rewrite the graph.
    """
    unhooked(module)
    names = [node.name for node in placeholders(module)]
    return checked(module, names, list(map(fixed_sizes, input_values(program))), origin)


def input_values(program: ExportedProgram) -> list[Any]:
    """What a program records of every input: a tensor with its sizes, a number, or None."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    return [values.get(str(name)) for name in program.graph_signature.user_inputs]


def placeholders(module: torch.fx.GraphModule) -> list[torch.fx.Node]:
    """The nodes that stand for the inputs of a graph, in order."""
    return [node for node in module.graph.nodes if node.op == "placeholder"]


def unhooked(module: torch.fx.GraphModule) -> torch.fx.GraphModule:
    """A program's module without the hooks that check its inputs. Changed in place.

    The graph checks sizes as well, and the hooks take longer than a narrow layer.
    """
    module._forward_pre_hooks.clear()
    module._forward_pre_hooks_with_kwargs.clear()
    return module


def checked(
    module: torch.fx.GraphModule, names: Sequence[str], fixed: Sequence[Sizes | None], origin: str = "exported"
) -> torch.fx.GraphModule:
    """A graph with a check of the sizes of every input. Changed in place. names: of the inputs, for messages."""
    inputs = placeholders(module)
    # Before all ops, so that no kernel sees a wrong size; a check has no result, and is kept since it counts as a
    # side effect.
    with module.graph.inserting_after(inputs[-1]):
        for placeholder, name, sizes in zip(inputs, names, fixed, strict=True):
            if sizes is not None:
                module.graph.call_function(check_sizes, (placeholder, name, sizes, origin))
    module.recompile()
    return module


def leaves_open(module: torch.fx.GraphModule) -> bool:
    """Whether the checks of a graph leave some size open."""
    checks = [node.args[2] for node in module.graph.nodes if node.target is check_sizes]
    return any(isinstance(sizes, tuple) and None in sizes for sizes in checks)
