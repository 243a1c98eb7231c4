"""Edits on copies of the user's network: symmetric weights in place of the old ones, tanh in place of ReLU."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from chiralize import reynolds
from chiralize.errors import InternalError
from chiralize.records import CapturedModel, Leaf, Moved
from chiralize.representation import TensorRepresentation

_ACTIVATIONS: tuple[type[nn.Module], ...] = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus, nn.CELU, nn.SELU, nn.Hardswish,
)  # fmt: skip
_ACTIVATION_OPS = frozenset(
    {"relu", "relu_", "relu6", "leaky_relu", "leaky_relu_", "elu", "elu_", "gelu", "silu", "silu_", "mish", "mish_",
     "softplus", "celu", "celu_", "selu", "selu_", "hardswish", "hardswish_"}
)  # fmt: skip


def symmetric_weights(
    captured: CapturedModel, representations: Mapping[str, TensorRepresentation]
) -> tuple[dict[str, Tensor], tuple[Moved, ...]]:
    """Every parameter and statistic projected onto its symmetric subspace, by name, and how far it was moved.

    The values that states start from are projected too: a roll-out has to start where T leaves things alone.
    """
    values: dict[str, Tensor] = {}
    moved: list[Moved] = []
    for leaf in (*captured.weights, *captured.states):
        rep = representations[leaf.name]
        values[leaf.names[0]] = reynolds.project(leaf.tensor.detach(), rep)
        moved.append(_moved(leaf, rep, values[leaf.names[0]]))
        for alias in leaf.names[1:]:
            values[alias] = values[leaf.names[0]]
    return values, tuple(moved)


def _moved(leaf: Leaf, rep: TensorRepresentation, projected: Tensor) -> Moved:
    tensor = leaf.tensor.detach()
    zeros = reynolds.forced_zero(rep) & (tensor != 0).cpu() if rep.sign < 0 or not rep.is_sign_free else None
    zeroed = int(zeros.sum()) if zeros is not None else 0
    norm = float(tensor.norm(dtype=torch.float64))
    distance = float((tensor - projected).norm(dtype=torch.float64)) / norm if norm else 0.0
    return Moved(leaf.names[0], leaf.kind, distance, zeroed, leaf.where)


def with_weights(module: nn.Module, values: Mapping[str, Tensor]) -> nn.Module:
    """A deep copy of the module with the given tensors in place of its own. Raises InternalError for unknown names."""
    result = copy.deepcopy(module)
    tensors = dict(result.named_parameters(remove_duplicate=False)) | dict(result.named_buffers(remove_duplicate=False))
    with torch.no_grad():
        for name, value in values.items():
            if name not in tensors:
                raise InternalError(name, "the graph names a tensor that the module does not have", "report this model")
            tensors[name].copy_(value)
    return result


def program_with_weights(program: ExportedProgram, values: Mapping[str, Tensor]) -> ExportedProgram:
    """A copy of an exported program with the given tensors in place of its own."""
    result = _copied(program)
    with torch.no_grad():
        for name, value in values.items():
            store = result.state_dict if name in result.state_dict else result.constants
            stored = store.get(name)
            if not isinstance(stored, Tensor):
                raise InternalError(
                    name, "the graph names a tensor that the program does not have", "report this model"
                )
            stored.copy_(value)
    return result


def with_tanh(module: nn.Module) -> tuple[nn.Module, int]:
    """A copy with every activation module replaced by tanh, and how many there were."""
    result = copy.deepcopy(module)
    count = 0
    for parent in list(result.modules()):
        for name, child in list(parent.named_children()):
            if type(child) in _ACTIVATIONS:
                setattr(parent, name, nn.Tanh())
                count += 1
    return result, count


def _copied(program: ExportedProgram) -> ExportedProgram:
    """A deep copy, names included: copying renames nodes called like a Python builtin (`input`)."""
    with warnings.catch_warnings():  # torch copies its own trees in a way that it warns about
        warnings.simplefilter("ignore", FutureWarning)
        result = copy.deepcopy(program)
    for old, new in zip(program.graph.nodes, result.graph.nodes, strict=True):
        new.name = old.name
        if old.op == "placeholder":
            new.target = old.target
    result.graph_module.recompile()
    return result


def program_with_tanh(program: ExportedProgram) -> tuple[ExportedProgram, int]:
    """A copy of an exported program with every activation op replaced by tanh, and how many there were."""
    result = _copied(program)
    graph = result.graph_module.graph
    count = 0
    for node in list(graph.nodes):
        name = str(node.target).split(".")
        if node.op == "call_function" and name[0] == "aten" and name[1] in _ACTIVATION_OPS:
            node.target = torch.ops.aten.tanh.default
            node.args, node.kwargs = node.args[:1], {}
            count += 1
    graph.lint()
    result.graph_module.recompile()
    return result, count
