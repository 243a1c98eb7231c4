"""Blocks in a graph of ATen ops: linear maps become calls of twins, and norms fold into the maps before them.

This is the form `fused`, for exported programs and whatever is kept as a graph; `swapping` does the same in a
module. In order: batch norms are folded, each map with a stored weight gets a chiral layer that computes the same
(`layer_at`, `twins`), `halving` writes the ops of these layers into the graph, and weights that nothing reads any
more go.

    linear(x, fc.weight)    ->    a submodule fc_blocks with weight_even and weight_odd, read by two linear ops
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx, nn

from chiralize.graph.copies import copied
from chiralize.graph.model import CapturedModel, Node
from chiralize.nn.deploy.halving import with_halves
from chiralize.nn.deploy.norms import fold_norms, value_of
from chiralize.nn.deploy.plain_calls import plain_call
from chiralize.nn.deploy.swapping import NO_BLOCKS, Swapped, Wanted, chosen, representations
from chiralize.nn.maps import ChiralMap
from chiralize.symmetry.representation import TensorRepresentation

_ATEN = torch.ops.aten
LINEAR, CONVOLUTION = _ATEN.linear.default, _ATEN.conv1d.default
_LAYERS: Mapping[Any, Any] = {
    LINEAR: nn.Linear,
    CONVOLUTION: nn.Conv1d,
    _ATEN.conv2d.default: nn.Conv2d,
    _ATEN.conv_transpose2d.input: nn.ConvTranspose2d,
}
_SETTINGS = ("stride", "padding", "dilation", "groups")
_SETTINGS_TRANSPOSED = ("stride", "padding", "output_padding", "groups", "dilation")


def with_calls(
    module: fx.GraphModule, captured: CapturedModel, hidden: Mapping[str, TensorRepresentation], wanted: Wanted
) -> Swapped:
    """A copy of a graph that calls twins where it multiplied by dense weights; norms of batches are folded first.

    Arguments and result as `swapping.swapped`; the layers are named by their weights.
    """
    result = copied(module)
    assert isinstance(result, fx.GraphModule)
    known = dict(hidden)
    # A folded bias transforms as the rows of its weight.
    for name, weight in fold_norms(result).items():
        if weight in hidden:
            known[name] = TensorRepresentation(hidden[weight].axes[:1])
    ops = captured.by_name
    twins: dict[Any, tuple[str, ChiralMap]] = {}
    done: list[str] = []
    dense: dict[str, str] = {}
    # First all twins are made and added, then `with_halves` writes the ops: it has to know all maps at once.
    for node in list(result.graph.nodes):
        # Only maps with a stored weight; a computed one (weight norm) may be different in each call.
        if node.target not in _LAYERS or node.args[1].op != "get_attr":
            continue
        name = str(node.args[1].target)
        twin = _twin(result, node, known, wanted, [ops[node.name]] if node.name in ops else [])
        if isinstance(twin, str):
            dense[name] = twin
        else:
            # For inference: one pass over the coordinates less.
            twin.take_scale()
            twins[node] = added(result, name.removesuffix(".weight"), twin), twin
            done.append(name)
    with_halves(result, twins)
    drop_unread(result, [path for path, _ in twins.values()])
    plain_call(result)
    result.graph.lint()
    result.recompile()
    return Swapped(result, tuple(done), dense, representations(result, known))


def _twin(
    module: fx.GraphModule,
    node: Any,
    hidden: Mapping[str, TensorRepresentation],
    wanted: Wanted,
    ops: Sequence[Node],
) -> ChiralMap | str:
    """The twin of the map that a node computes, or why it stays dense."""
    rep, layer = hidden.get(str(node.args[1].target)), layer_at(module, node)
    if isinstance(layer, str):
        return layer
    if rep is None:
        return NO_BLOCKS
    # A bias lies along the outputs, the second axis of a transposed weight.
    rows = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
    if layer.bias is not None:
        bias = {"bias": TensorRepresentation((rep.axes[rows],))}
    else:
        bias = {}
    twin = chosen(layer, {"weight": rep, **bias}, ops, wanted)
    assert isinstance(twin, (ChiralMap, str))
    return twin


def layer_at(module: fx.GraphModule, node: Any) -> Any:
    """The torch layer that a node computes, or why it cannot be replaced."""
    weight_node, bias_node = node.args[1], node.args[2] if len(node.args) > 2 else None
    if len(weight_node.users) > 1:
        return "its weight is read by several ops"
    if bias_node is not None and bias_node.op != "get_attr":
        return "its bias is computed"
    weight = value_of(module, weight_node)
    bias = value_of(module, bias_node) if bias_node is not None else None
    kind = _LAYERS[node.target]
    out, into = weight.shape[:2]
    kernel: Any = tuple(weight.shape[2:])
    if kind is nn.Linear:
        layer: Any = nn.Linear(into, out, bias is not None, device="meta")
    else:
        is_transposed = kind is nn.ConvTranspose2d
        names = _SETTINGS_TRANSPOSED if is_transposed else _SETTINGS
        settings = {name: _plain(value) for name, value in zip(names, node.args[3:], strict=False)}
        settings |= {name: _plain(value) for name, value in node.kwargs.items() if name in names}
        groups = settings.get("groups", 1)
        # torch's layers take (in, out) channels; the weight has in/groups (transposed: out/groups).
        sides = (out, into * groups) if is_transposed else (into * groups, out)
        layer = kind(*sides, kernel, bias=bias is not None, device="meta", **settings)
    values = {"weight": weight.detach()}
    if bias is not None:
        values["bias"] = bias.detach()
    # On `meta` so far: the stored tensors themselves become its weights, no copies.
    layer.load_state_dict(values, assign=True)
    return layer.eval()


def _plain(value: Any) -> Any:
    """A setting as torch's layers take it: a tuple in place of a list."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(value)
    return value


def added(module: fx.GraphModule, path: str, twin: nn.Module) -> str:
    """Make a twin a submodule, and return the path under which it is one."""
    name = f"{path.replace('.', '_')}_blocks"
    # The user's network may have a part of this name.
    while hasattr(module, name):
        name += "_"
    module.add_submodule(name, twin)
    return name


def drop_unread(module: fx.GraphModule, twins: Sequence[str]) -> None:
    """Delete parameters and buffers that no node reads any more; twins stay whole."""
    for node in reversed(module.graph.nodes):
        if node.op == "get_attr" and not node.users:
            module.graph.erase_node(node)
    read = {str(node.target) for node in module.graph.nodes if node.op == "get_attr"}
    called = tuple(f"{path}." for path in twins)
    for names in (dict(module.named_parameters()), dict(module.named_buffers())):
        for name in names:
            if name not in read and not name.startswith(called):
                parent, _, last = name.rpartition(".")
                delattr(module.get_submodule(parent), last)
