"""Which ops are another op, written otherwise?

    x.t(), x.transpose(0, 1), x.mT          aten.permute(x, [1, 0])
    x.view(12), x.flatten(), x.squeeze(1)   aten.reshape(x, [12])
    F.conv1d(x, w, b, stride=2)             aten.convolution(x, w, b, [2], [0], [1], False, [0], 1)
    x.narrow(1, 4, 3)                       aten.slice(x, 1, 4, 7)

A captured graph has numbers for all sizes, so that each of these can be said by the one op of its family. Rules and
traits know that op alone. The answers of the graph are the same, bit by bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from chiralize.graph.model import Node, overload
from chiralize.infer.rule import overloads, rule_of
from chiralize.infer.rules._equation import per_axis

Arguments = dict[str, Any]


def spelled(node: Node) -> Node:
    """The node as the op of its family; the node itself where it is that op, or of no family here."""
    if node.target not in SPELLED:
        return node
    target, rewrite = SPELLED[node.target]
    others = rewrite(node)
    if others is None:
        return node
    # What the op works on comes first, and keeps its name.
    name, source = next(iter(node.arguments.items()))
    return replace(node, target=target, arguments={name: source, **others})


class _Whole:
    """The ops that have a rule, themselves or as what they are spelled, as a container of their names."""

    def __contains__(self, target: object) -> bool:
        return isinstance(target, str) and (target in SPELLED or rule_of(target) is not None)


WHOLE = _Whole()
"""For `graph.writes.functional`: `"aten.linear.default" in WHOLE`. Ops outside are taken apart by torch."""


# ---- layouts ------------------------------------------------------------------------------------------------------
def _reshaped(node: Node) -> Arguments:
    """The sizes of the result: those that the op names, else those that it has."""
    sizes = node.arguments.get("size", node.arguments.get("shape"))
    return {"shape": list(_shape(node)) if sizes is None else sizes}


def _tiled(node: Node) -> Arguments:
    """How often, for every axis of the result; `tile` counts from the last."""
    times = list(node.arguments["dims"])
    return {"repeats": [1] * (len(_shape(node)) - len(times)) + times}


def _permuted(node: Node) -> Arguments:
    """The order in which the op leaves the axes of a tensor, each of which has a size of its own."""
    name, *others = node.arguments
    op = overload(node.target)
    assert op is not None
    axes = torch.empty(tuple(range(len(_shape(node)))), device="meta")
    return {"dims": list(op(axes, **{other: node.arguments[other] for other in others}).shape)}


# ---- parts --------------------------------------------------------------------------------------------------------
def _sliced(node: Node) -> Arguments:
    """From `start` on `length` entries; counted from the end where `start` is negative."""
    start, length = node.arguments["start"], node.arguments["length"]
    end = start + length
    ends_behind = start < 0 <= end
    return {"dim": node.arguments["dim"], "start": start, "end": None if ends_behind else end, "step": 1}


def _split(node: Node) -> Arguments:
    dim = node.arguments.get("dim", 0)
    return {"split_sizes": [shape[dim] for shape in node.shapes if shape is not None], "dim": dim}


# ---- convolutions -------------------------------------------------------------------------------------------------
def _convolution(node: Node) -> Arguments | None:
    """All options with a number for every axis; None without an axis of samples, which the op must have."""
    count = int(node.target.split("d.")[0][-1])
    if len(_shape(node)) != count + 2:
        return None
    given = {"bias": None, "stride": 1, "padding": 0, "dilation": 1, "output_padding": 0, "groups": 1, **node.arguments}
    options = {name: per_axis(given[name], count) for name in ("stride", "padding", "dilation", "output_padding")}
    others = {"transposed": "conv_transpose" in node.target, "groups": given["groups"]}
    return {"weight": given["weight"], "bias": given["bias"], **options, **others}


def _without_flags(node: Node) -> Arguments:
    """A convolution as traced code calls it, without the flags of a library for graphics cards."""
    flags = ("benchmark", "deterministic", "cudnn_enabled", "allow_tf32")
    return {name: value for name, value in node.arguments.items() if name not in flags}


def _shape(node: Node) -> tuple[int, ...]:
    shape = node.shapes[0]
    assert shape is not None
    return shape


def _same(node: Node) -> Arguments:
    return dict(node.arguments)


_FAMILIES: list[tuple[str, Callable[[Node], Arguments | None], str]] = [
    ("permute", _permuted, "t transpose.int swapaxes swapdims mT numpy_T"),
    ("permute", _permuted, "movedim.int movedim.intlist moveaxis.int moveaxis.intlist"),
    ("reshape", _reshaped, "view _unsafe_view view_as reshape_as flatten.using_ints unflatten.int ravel"),
    ("reshape", _reshaped, "squeeze squeeze.dim squeeze.dims unsqueeze"),
    ("expand", lambda node: {"size": list(_shape(node))}, "expand_as broadcast_to"),
    ("repeat", _tiled, "tile"),
    ("slice.Tensor", _sliced, "narrow"),
    ("split_with_sizes", _split, "split.Tensor split.sizes chunk unsafe_split.Tensor unsafe_chunk"),
    (
        "convolution",
        _convolution,
        "conv1d conv2d conv3d conv_transpose1d conv_transpose2d.input conv_transpose3d.input",
    ),
    ("convolution", _without_flags, "_convolution"),
    ("matmul", _same, "linalg_matmul"),
    ("clamp", _same, "clip"),
    ("clamp.Tensor", _same, "clip.Tensor"),
    ("mul.Tensor", _same, "multiply.Tensor"),
    ("sub.Tensor", _same, "subtract.Tensor"),
    ("div.Tensor", _same, "divide.Tensor true_divide.Tensor"),
    ("neg", _same, "negative"),
    ("abs", _same, "absolute"),
]
"""(the op of a family, how its arguments are written, the ops that are spelled so)"""

SPELLED: Mapping[str, tuple[str, Callable[[Node], Arguments | None]]] = {
    target: (overloads(name)[0], rewrite) for name, rewrite, ops in _FAMILIES for target in overloads(ops)
}
"""By op, the op that it is and what its arguments are there."""
