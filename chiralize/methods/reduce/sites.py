"""Weights that are fitted: what they read, what they are to give, and how they lie in their tensors.

A site is an op z = W x + b whose weight carries the representation T_out W T_in = W. Its samples are the positions
that the weight is applied at: rows of a linear layer, places of a convolution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from chiralize.graph.model import CapturedModel, Node, Ref
from chiralize.symmetry.representation import TensorRepresentation

_CONVOLUTIONS = {f"aten.conv{n}d.{overload}": n for n in (1, 2, 3) for overload in ("default", "padding")}
_TRANSPOSED = {"aten.conv_transpose1d.default": 1, "aten.conv_transpose2d.input": 2, "aten.conv_transpose3d.input": 3}
_SPATIAL = {**_CONVOLUTIONS, **_TRANSPOSED}
_PRODUCTS = ("aten.matmul.default", "aten.mm.default")


@dataclass(frozen=True)
class Site:
    """One op that a weight is contracted in.

    source: the value that it reads.  weight, bias: leaves.  transposed: the weight lies "in out", and then "places".
    out: axis of the result that the weight gives.
    """

    node: Node
    source: str
    weight: str
    bias: str | None
    transposed: bool = False

    @property
    def out(self) -> int:
        """The axis of the result that the weight gives."""
        return 1 if self.node.target in _SPATIAL else -1

    @property
    def readers(self) -> frozenset[int]:
        """The axes of the weight that take values in."""
        return frozenset({0}) if self.transposed else frozenset({1})

    def matrix(self, weight: Tensor) -> Tensor:
        """The weight as "out features"."""
        return (weight.transpose(0, 1) if self.transposed else weight).flatten(1)

    def tensor(self, matrix: Tensor, like: tuple[int, ...]) -> Tensor:
        """The inverse of `matrix`."""
        if self.transposed:
            return matrix.reshape(like[1], like[0], *like[2:]).transpose(0, 1)
        return matrix.reshape(like)

    def actions(self, rep: TensorRepresentation) -> tuple[Any, Any]:
        """How the mirror acts on a row of features and of results."""
        axes = [axis.action for axis in rep.axes]
        given, taken = (axes[1], [axes[0], *axes[2:]]) if self.transposed else (axes[0], axes[1:])
        return taken[0].kronecker(*taken[1:]), -given if rep.sign < 0 else given

    def features(self, value: Tensor, shape: tuple[int, ...], rows: Tensor) -> Tensor:
        """ "sample feature" for the chosen rows.  shape: of the weight."""
        spatial = _SPATIAL.get(self.node.target)
        if spatial is None:
            return value.reshape(-1, value.shape[-1])[rows]
        arguments, kernel = self.node.arguments, shape[2:]
        dilation, stride = arguments["dilation"], arguments["stride"]
        if self.transposed:
            value, stride = _spread(value, arguments, kernel), [1] * spatial
        else:
            value = functional.pad(value, _pads(arguments, kernel))
        for axis in range(spatial):
            reach, apart = (kernel[axis] - 1) * dilation[axis] + 1, dilation[axis]
            value = value.unfold(2 + axis, reach, stride[axis])[..., ::apart]
        value = value.movedim(1, 1 + spatial)
        places = torch.unravel_index(rows, value.shape[: 1 + spatial])
        taken = value[places]
        if self.transposed:  # the first entry of a kernel is the last to reach a place
            taken = taken.flip(list(range(2, 2 + spatial)))
        return taken.flatten(1)

    def targets(self, value: Tensor, rows: Tensor) -> Tensor:
        """ "sample target" for the chosen rows of a result."""
        moved = value.movedim(self.out, -1)
        return moved.reshape(-1, moved.shape[-1])[rows]

    def count(self, value: Tensor) -> int:
        """How many samples a result holds."""
        return value.numel() // value.shape[self.out]


def _pads(arguments: Mapping[str, Any], kernel: Sequence[int]) -> list[int]:
    """Zeros in front of every axis and behind it, the last axis first."""
    pads: list[int] = []
    for axis in reversed(range(len(kernel))):
        given, reach = arguments["padding"], (kernel[axis] - 1) * arguments["dilation"][axis]
        if given == "same":
            pads += [reach // 2, reach - reach // 2]
        else:
            pads += [0 if given == "valid" else given[axis]] * 2
    return pads


def _spread(value: Tensor, arguments: Mapping[str, Any], kernel: Sequence[int]) -> Tensor:
    """The value with zeros between its entries and around them, as a convolution reads it whose transpose it was."""
    pads: list[int] = []
    for axis, length in enumerate(kernel):
        stride, size = arguments["stride"][axis], value.shape[2 + axis]
        wide = value.new_zeros(*value.shape[: 2 + axis], (size - 1) * stride + 1, *value.shape[3 + axis :])
        wide.transpose(2 + axis, 0)[::stride] = value.transpose(2 + axis, 0)
        value = wide
        reach = (length - 1) * arguments["dilation"][axis] - arguments["padding"][axis]
        pads = [reach, reach + arguments["output_padding"][axis], *pads]
    return functional.pad(value, pads)


def sites_of(captured: CapturedModel) -> dict[str, Site]:
    """All ops whose weights can be fitted, by name, in order."""
    nodes = {node.name: node for node in captured.nodes}
    sites = ((node.name, _site_of(node, captured, nodes)) for node in captured.nodes)
    return {name: site for name, site in sites if site is not None}


def _site_of(node: Node, captured: CapturedModel, nodes: Mapping[str, Node]) -> Site | None:
    arguments = node.arguments
    if node.target == "aten.linear.default" or node.target in _SPATIAL:
        if arguments.get("groups", 1) != 1 or len(node.shapes[0] or ()) != _ndim(node):
            return None
        weight, transposed = arguments["weight"], node.target in _TRANSPOSED
        return _site(node, captured, arguments["input"], weight, arguments.get("bias"), transposed)
    if node.target == "aten.addmm.default" and arguments["beta"] == arguments["alpha"] == 1:
        return _turned(node, captured, nodes, arguments["mat1"], arguments["mat2"], arguments["self"])
    if node.target in _PRODUCTS:
        first, second = (value for value in arguments.values() if isinstance(value, Ref))
        return _turned(node, captured, nodes, first, second, None)
    return None


def _ndim(node: Node) -> int:
    return 2 + _SPATIAL[node.target] if node.target in _SPATIAL else len(node.shapes[0] or ())


def _turned(
    node: Node, captured: CapturedModel, nodes: Mapping[str, Node], value: Ref, weight: Ref, bias: Ref | None
) -> Site | None:
    """A product with a weight, or with a weight that is transposed just before."""
    before = nodes.get(weight.name)
    if before is not None and before.target == "aten.t.default":
        return _site(node, captured, value, before.arguments["self"], bias)
    return _site(node, captured, value, weight, bias, transposed=True)


def _site(
    node: Node, captured: CapturedModel, value: Ref, weight: Ref, bias: Ref | None, transposed: bool = False
) -> Site | None:
    leaf = captured.leaves.get(weight.name)
    source = captured.leaves.get(value.name)
    if leaf is None or leaf.kind != "parameter" or leaf.tensor.ndim < 2 or (source and source.kind != "input"):
        return None
    if leaf.tensor.ndim > 2 and node.target not in _SPATIAL:
        return None
    added = captured.leaves.get(bias.name) if bias is not None else None
    if bias is not None and (added is None or added.kind != "parameter" or added.tensor.ndim != 1):
        return None
    return Site(node, value.name, weight.name, added.name if added is not None else None, transposed)
