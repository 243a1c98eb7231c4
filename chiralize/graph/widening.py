"""Float64 copies of networks whose graph has float32 written into it, as exports write `.to(x.dtype)`.

Where every floating-point tensor of a graph is float32, a cast to float32 rounds nothing that was finer, and the
network in float64 is the one that casts to float64 in its place. Where another dtype is in the graph, or float32 stands
in an op for which this is not known, nothing is changed: the network then runs in float32 alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.fx import GraphModule, Node
from torch.utils._pytree import tree_leaves, tree_map

from chiralize.graph.tensors import tensors_in

_FROM, _TO = torch.float32, torch.float64
_CASTS = frozenset(
    "to _to_copy _assert_tensor_metadata softmax _softmax log_softmax _log_softmax sum mean prod cumsum cumprod arange "
    "linspace full zeros ones empty eye scalar_tensor full_like zeros_like ones_like empty_like new_full new_zeros "
    "new_ones new_empty".split()
)
"""Ops whose dtype says what they return, or check, and nothing else."""
_CAST_METHODS = frozenset("half bfloat16 float double to type type_as".split())
_HOMES = frozenset({"torch", "_operator"})
"""Where functions are at home that do what their name says."""


def widen(module: torch.nn.Module) -> None:
    """Make a network float64, in place: its weights, and the casts to float32 in its graphs."""
    # Looked at before the weights change: afterwards they are float64 everywhere.
    graphs = [part for part in module.modules() if isinstance(part, GraphModule) and _is_of_float32(part)]
    module.double()
    for part in graphs:
        for node in _with_float32(part):
            node.args, node.kwargs = tree_map(_wider, node.args), tree_map(_wider, node.kwargs)
        part.recompile()


def has_float32_written_in(module: torch.nn.Module) -> bool:
    """Whether a graph of the network has float32 among the arguments of its ops."""
    return any(True for part in module.modules() if isinstance(part, GraphModule) for _ in _with_float32(part))


def _with_float32(part: GraphModule) -> Iterator[Node]:
    """The nodes of a graph that have float32 among their arguments."""
    for node in part.graph.nodes:
        if any(leaf is _FROM for leaf in tree_leaves((node.args, node.kwargs))):
            yield node


def _is_of_float32(part: GraphModule) -> bool:
    """Whether all floating-point values of a graph are float32, and it names float32 only where that is a cast."""
    for node in part.graph.nodes:
        if node.users and not _holds_float32(part, node):
            return False
    return all(_name(node) in _CASTS for node in _with_float32(part))


def _holds_float32(part: GraphModule, node: Node) -> bool:
    """Whether no value of a node is of another floating-point dtype; False where that is not known."""
    if node.op == "get_attr":
        return _is_float32(_attribute(part, str(node.target)))
    # It holds what others have made.
    if node.op == "output":
        return True
    # An export records every value's dtype. Graphs of layers of ours have ops without a record, and calls of layers.
    if "val" in node.meta:
        return _is_float32(node.meta["val"])
    if node.op == "call_module":  # a layer that took an op's place
        layer = part.get_submodule(str(node.target))
        return _is_float32([*layer.parameters(), *layer.buffers()])
    return _keeps_dtype(node)


def _keeps_dtype(node: Node) -> bool:
    """Whether an op without a recorded value, as layers are taken apart into, is torch's and returns what it reads."""
    if any(isinstance(leaf, torch.dtype) for leaf in tree_leaves((node.args, node.kwargs))):
        return False
    if node.op == "call_method":
        return node.target not in _CAST_METHODS
    home = (getattr(node.target, "__module__", None) or "").partition(".")[0]
    return node.op == "call_function" and home in _HOMES


def _is_float32(value: Any) -> bool:
    """Whether all floating-point tensors within a value are float32, and none is complex."""
    kinds = {tensor.dtype for tensor in tensors_in(value)}
    return not any(kind.is_complex or (kind.is_floating_point and kind is not _FROM) for kind in kinds)


def _attribute(part: GraphModule, path: str) -> Any:
    """What a graph module holds under a path, None where there is nothing."""
    value: Any = part
    for name in path.split("."):
        value = getattr(value, name, None)
    return value


def _name(node: Node) -> str:
    """The name of the op that a node calls, without its overload."""
    packet = getattr(node.target, "overloadpacket", None)
    return getattr(packet, "__name__", str(node.target))


def _wider(value: Any) -> Any:
    """float64 in place of float32, anything else as it is."""
    if value is _FROM:
        return _TO
    return value
