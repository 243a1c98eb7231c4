"""Batch norms with fixed statistics, folded into the linear map before them.

    y = (W x + b - m) g + c,  g = gamma / sqrt(var + eps)        =>    W' = g W,  b' = (b - m) g + c

g and c are left alone by T, so W' and b' are if W and b were.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn

_ATEN = torch.ops.aten
_MAPS = {_ATEN.linear.default: 2, _ATEN.conv1d.default: 3, _ATEN.conv2d.default: 4}  # axes, of which 1 has the rows
_NORM = _ATEN.batch_norm.default


def fold_norms(module: fx.GraphModule) -> dict[str, str]:
    """Fold norms in place where that is possible; return the new biases by name, each with its weight.

    A norm is folded where nothing else reads what it normalises, and nothing else reads the map's weight.
    """
    nodes = [node for node in module.graph.nodes if node.target == _NORM and _foldable(node)]
    biases = dict(_fold(module, node) for node in nodes)
    module.recompile()
    return biases


def value_of(module: nn.Module, node: Any) -> Tensor:
    """The tensor that a get_attr node names."""
    value: Any = module
    for part in str(node.target).split("."):
        value = getattr(value, part)
    return value


def set_value(module: nn.Module, name: str, value: Tensor) -> None:
    """Register a parameter under a dotted name."""
    parent, _, last = name.rpartition(".")
    holder = module.get_submodule(parent)
    if hasattr(holder, last):
        delattr(holder, last)
    holder.register_parameter(last, nn.Parameter(value, requires_grad=False))


def _foldable(node: Any) -> bool:
    """Whether a batch norm can be folded into the map before it.

    Arguments of the op: (x, weight, bias, mean, variance, training, momentum, eps, cudnn).
    """
    linear: Any = node.args[0]
    tensors = node.args[1:5]
    # In training the statistics are those of the batch; and a value that others read must stay as it is before the
    # norm.
    if node.args[5] or getattr(linear, "target", None) not in _MAPS or len(linear.users) > 1:
        return False
    if len(node.meta["val"].shape) != _MAPS[linear.target]:
        return False  # it normalises frames, not the rows of the map
    read: list[Any] = [argument for argument in (*linear.args[1:3], *tensors) if argument is not None]
    # Numbers that are computed change from call to call; a shared weight would be scaled for its other reader as
    # well.
    stored = all(argument.op == "get_attr" for argument in read)
    return stored and len(read[0].users) == 1 and tensors[2] is not None


def _fold(module: fx.GraphModule, node: Any) -> tuple[str, str]:
    """Fold one norm, in place; (name of the new bias, name of the weight). In float64, rounded once."""
    linear = node.args[0]
    weight_node, bias_node = linear.args[1], linear.args[2] if len(linear.args) > 2 else None
    gamma, shift, mean, var, before = (_double(module, argument) for argument in (*node.args[1:5], bias_node))
    assert mean is not None and var is not None
    weight = value_of(module, weight_node).detach()
    scale = (var + node.args[7]).rsqrt()
    if gamma is not None:
        scale = scale * gamma
    bias = (-mean if before is None else before - mean) * scale
    if shift is not None:
        bias = bias + shift
    name = str(weight_node.target)
    bias_name = f"{name.removesuffix('weight')}folded_bias"
    set_value(module, name, (weight.double() * scale.view(-1, *[1] * (weight.ndim - 1))).to(weight.dtype))
    set_value(module, bias_name, bias.to(weight.dtype))
    with module.graph.inserting_before(linear):
        folded_bias = module.graph.get_attr(bias_name)
    linear.args = (linear.args[0], weight_node, folded_bias, *linear.args[3:])
    node.replace_all_uses_with(linear)
    module.graph.erase_node(node)
    return bias_name, name


def _double(module: nn.Module, node: Any) -> Tensor | None:
    """A stored tensor in float64, None for an argument that is left out."""
    if node is None:
        return None
    return value_of(module, node).detach().double()
