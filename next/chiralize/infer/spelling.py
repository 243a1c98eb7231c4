"""Which ops are another op, written otherwise?

    x.t(), x.transpose(0, 1), x.mT          aten.permute(x, [1, 0])
    x.view(12), x.flatten(), x.squeeze(1)   aten.reshape(x, [12])
    F.conv1d(x, w, b, stride=2)             aten.convolution(x, w, b, [2], [0], [1], False, [0], 1)
    x.narrow(1, 4, 3)                       aten.slice(x, 1, 4, 7)

A captured graph has numbers for all sizes, so that each of these can be said by the one op of its family. Rules and
traits know that op alone. The answers of the graph are the same, bit by bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from chiralize.graph.model import CapturedModel, Node
from chiralize.infer.rule import overloads, rule_of
from chiralize.infer.rules.declare import per_axis

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


def spelled_graph(captured: CapturedModel) -> CapturedModel:
    """The graph with every node as the op of its family."""
    return replace(captured, nodes=tuple(map(spelled, captured.nodes)))


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


def _expanded(node: Node) -> Arguments:
    """Stretched to the shape of the result."""
    return {"size": list(_shape(node))}


def _tiled(node: Node) -> Arguments:
    """How often, for every axis of the result; `tile` counts from the last."""
    times = list(node.arguments["dims"])
    return {"repeats": [1] * (len(_shape(node)) - len(times)) + times}


def _exchanged(node: Node) -> Arguments:
    """Two axes change places: those named, of `mT` the last two, of `t` the first two, of a vector none."""
    order = list(range(len(_shape(node))))
    names = ("axis0", "axis1") if "axis0" in node.arguments else ("dim0", "dim1")
    usual = (-2, -1) if ".mT." in node.target else (0, 1)
    first, second = (node.arguments.get(name, dim) for name, dim in zip(names, usual, strict=True))
    if len(order) > 1:
        order[first], order[second] = order[second], order[first]
    return {"dims": order}


def _turned(node: Node) -> Arguments:
    """All axes in reversed order."""
    return {"dims": list(range(len(_shape(node))))[::-1]}


def _moved(node: Node) -> Arguments:
    """Axes of `source` go to `destination`; the others keep their order: of a b c, 1 2 and 0 2 give b a c."""
    ndim = len(_shape(node))
    source = [dim % ndim for dim in _listed(node.arguments["source"])]
    destination = [dim % ndim for dim in _listed(node.arguments["destination"])]
    order = [dim for dim in range(ndim) if dim not in source]
    # Filled in from the front, so that what is inserted later moves nothing that has its final position.
    for target, dim in sorted(zip(destination, source, strict=True)):
        order.insert(target, dim)
    return {"dims": order}


# ---- parts --------------------------------------------------------------------------------------------------------
def _sliced(node: Node) -> Arguments:
    """From `start` on `length` entries; counted from the end where `start` is negative."""
    start, length = node.arguments["start"], node.arguments["length"]
    end = start + length
    ends_behind = start < 0 <= end
    return {"dim": node.arguments["dim"], "start": start, "end": None if ends_behind else end, "step": 1}


def _split(node: Node) -> Arguments:
    """The lengths of all parts."""
    dim = node.arguments.get("dim", 0)
    return {"split_sizes": [shape[dim] for shape in node.shapes if shape is not None], "dim": dim}


# ---- convolutions -------------------------------------------------------------------------------------------------
def _convolution(node: Node) -> Arguments | None:
    """All options with a number for every axis; None without an axis of samples, which the op must have."""
    count = int(node.target.split("d.")[0][-1])
    if len(_shape(node)) != count + 2:
        return None
    given = node.arguments
    return {
        "weight": given["weight"],
        "bias": given.get("bias"),
        "stride": per_axis(given.get("stride", 1), count),
        "padding": per_axis(given.get("padding", 0), count),
        "dilation": per_axis(given.get("dilation", 1), count),
        "transposed": "conv_transpose" in node.target,
        "output_padding": per_axis(given.get("output_padding", 0), count),
        "groups": given.get("groups", 1),
    }


def _without_flags(node: Node) -> Arguments:
    """A convolution as traced code calls it, without the flags of a library for graphics cards."""
    flags = ("benchmark", "deterministic", "cudnn_enabled", "allow_tf32")
    return {name: value for name, value in node.arguments.items() if name not in flags}


def _as_it_is(node: Node) -> Arguments:
    """The same arguments under another name of the op."""
    return dict(node.arguments)


def _listed(dims: int | Sequence[int]) -> Sequence[int]:
    """One number or several, as several."""
    return dims if isinstance(dims, Sequence) else [dims]


def _shape(node: Node) -> tuple[int, ...]:
    """Of the first output, which every op here has."""
    shape = node.shapes[0]
    assert shape is not None
    return shape


_FAMILIES: list[tuple[str, Callable[[Node], Arguments | None], str]] = [
    ("permute", _exchanged, "t transpose.int swapaxes swapdims mT"),
    ("permute", _turned, "numpy_T"),
    ("permute", _moved, "movedim.int movedim.intlist moveaxis.int moveaxis.intlist"),
    ("reshape", _reshaped, "view _unsafe_view view_as reshape_as flatten.using_ints unflatten.int ravel"),
    ("reshape", _reshaped, "squeeze squeeze.dim squeeze.dims unsqueeze"),
    ("expand", _expanded, "expand_as broadcast_to"),
    ("repeat", _tiled, "tile"),
    ("slice.Tensor", _sliced, "narrow"),
    ("split_with_sizes", _split, "split.Tensor split.sizes chunk unsafe_split.Tensor unsafe_chunk"),
    (
        "convolution",
        _convolution,
        "conv1d conv2d conv3d conv_transpose1d conv_transpose2d.input conv_transpose3d.input",
    ),
    ("convolution", _without_flags, "_convolution"),
    ("matmul", _as_it_is, "linalg_matmul"),
    ("clamp", _as_it_is, "clip"),
    ("clamp.Tensor", _as_it_is, "clip.Tensor"),
    ("mul.Tensor", _as_it_is, "multiply.Tensor"),
    ("sub.Tensor", _as_it_is, "subtract.Tensor"),
    ("div.Tensor", _as_it_is, "divide.Tensor true_divide.Tensor"),
    ("neg", _as_it_is, "negative"),
    ("abs", _as_it_is, "absolute"),
]
"""(the op of a family, how its arguments are written, the ops that are spelled so)"""

SPELLED: Mapping[str, tuple[str, Callable[[Node], Arguments | None]]] = {
    target: (overloads(name)[0], rewrite) for name, rewrite, ops in _FAMILIES for target in overloads(ops)
}
"""By op, the op that it is and what its arguments are there."""
