"""Networks made of a function and some parts, and short ways to export, read and run them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from chiralize.graph.capture import read
from chiralize.graph.execution import evaluate, start
from chiralize.graph.export import export
from chiralize.graph.model import CapturedModel
from chiralize.graph.writes import EVERY_OP, functional

POSES = ({0: "b", 1: "t"},)
"""The open axes of "b t ..."."""


class Net(nn.Module):
    """Some parts and a function that puts them together. Tensors become buffers."""

    def __init__(self, compute: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        self.compute = compute
        for name, part in parts.items():
            if isinstance(part, Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)

    def forward(self, x: Tensor) -> Any:
        return self.compute(self, x)


def normal(*shape: int, seed: int = 0) -> Tensor:
    """N(0, 1) in float64."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def run_graph(graph: CapturedModel, inputs: Sequence[Tensor]) -> list[Any]:
    """The outputs of a graph that are tensors, in order, run op by op."""
    values = start(graph, inputs)
    for node in graph.nodes:
        values[node.name] = evaluate(node, values)
    return [values[name] for name in graph.answers]


def exported(
    net: nn.Module | Callable[..., Any], *args: Any, axes: Sequence[Mapping[int, str]] | None = None
) -> ExportedProgram:
    """The program of a network in eval mode, or of a function of its input; all axes fixed unless they are listed."""
    module = net if isinstance(net, nn.Module) else Net(lambda _, x: net(x))
    return export(module.eval(), args, {}, axes or [{} for arg in args if isinstance(arg, Tensor)])[0]


def captured(
    net: nn.Module | Callable[..., Any], *args: Any, axes: Sequence[Mapping[int, str]] | None = None
) -> CapturedModel:
    """The graph of a network, its ops left whole."""
    return read(functional(exported(net, *args, axes=axes), EVERY_OP), args, {})
