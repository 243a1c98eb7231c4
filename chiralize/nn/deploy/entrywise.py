"""Which calls of a graph do the same to every entry of an axis alone, so that halves of it need not be put together.

    relu(cat(u, v)) = cat(relu(u), relu(v))         add(cat(a, b), cat(u, v)) = cat(add(a, u), add(b, v))

`halving` asks before it computes a value from halves. Ops that write into their operand are made functional first
(`without_writes`): halves are views of a whole, in which a write would be seen by others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import fx

_ATEN = torch.ops.aten
_AS_THEY_ARE = "gelu silu elu selu celu leaky_relu relu6 hardtanh hardswish hardsigmoid mish softplus neg abs clone"
POINTWISE: dict[Any, Callable[..., Any]] = {
    _ATEN.relu.default: torch.relu,
    _ATEN.tanh.default: torch.tanh,
    _ATEN.sigmoid.default: torch.sigmoid,
    _ATEN.add.Tensor: torch.add,
    _ATEN.sub.Tensor: torch.sub,
    _ATEN.mul.Tensor: torch.mul,
    _ATEN.div.Tensor: _ATEN.div.Tensor,
}
# Ops that run under their own name, and those that write into their operand with what they do without writing.
for _name in _AS_THEY_ARE.split():
    _op = getattr(_ATEN, _name).default
    POINTWISE[_op] = _op
_IN_PLACE: dict[Any, Any] = {_ATEN.add_.Tensor: _ATEN.add.Tensor}
for _name in "relu tanh sigmoid silu elu leaky_relu hardtanh relu6 hardswish mish".split():
    _IN_PLACE[getattr(_ATEN, f"{_name}_").default] = getattr(_ATEN, _name).default
_FRESH = {*POINTWISE, _ATEN.batch_norm.default, _ATEN.layer_norm.default}
"""Ops that return memory of their own, beside linear maps."""
_SLICE, _DROPOUT = _ATEN.slice.Tensor, _ATEN.dropout.default


def is_pointwise(node: fx.Node) -> bool:
    """Whether a call does the same to every entry along the channels (`cuts` looks at slices)."""
    if node.op != "call_function":
        return False
    return node.target in POINTWISE or node.target == _SLICE or (node.target == _DROPOUT and node.args[-1] is False)


def cuts(node: fx.Node, dim: int) -> bool:
    """Whether a slice is taken of the channels, which lie at `dim` from the end."""
    if node.target != _SLICE:
        return False
    source: Any = node.args[0]
    ndim = source.meta["val"].ndim
    axis = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
    return axis % ndim == ndim - dim


def without_writes(graph: fx.Graph, maps: Collection[Any]) -> bool:
    """Make functions that write to a value which nothing else can see functional; False where other writes are left.

    maps: the ops of linear maps, which return memory of their own, as those of `_FRESH` do.
    """
    for node in graph.nodes:
        if isinstance(node.target, torch._ops.HigherOrderOperator):
            return False
        schema = getattr(node.target, "_schema", None)
        if node.op != "call_function" or schema is None or not schema.is_mutable:
            continue
        source: Any = node.args[0]
        # Only the write reads the value, which its maker has just made: nobody can see the difference. Of two types
        # the result would be rounded on being written.
        fresh = (
            isinstance(source, fx.Node)
            and (source.target in _FRESH or source.target in maps)
            and len(source.users) == 1
        )
        kinds = {getattr(other.meta.get("val"), "dtype", None) for other in node.all_input_nodes}
        if node.target not in _IN_PLACE or not fresh or len(kinds) > 1:
            return False
        node.target = _IN_PLACE[node.target]
    return True
