"""Weights that are fitted: what they read, what they are to give, and how they lie in their tensors.

A site is an op z = W x + b whose weight carries the representation T_out W T_in = W. Its samples are the positions
that the weight is applied at: rows of a linear layer, places of a convolution.

`sites_of` finds them; `tasks` asks each for rows of features and targets, and for its weight as a matrix "out feature":

    linear(x, W)       x "4 27 34", W "256 34"         108 samples of 34 features and 256 targets
    conv1d(x, W)       x "4 34 27", W "256 34 3"       4 x 25 samples of 34 x 3 features, kernel fastest
    x @ W              W "in out", transposed
    A @ x              A "out in", along the axis before the last: an adjacency that was learned, axis -2
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from chiralize.graph.model import CapturedModel, Node, Ref
from chiralize.graph.traits import Adjoint, Contraction, Transpose
from chiralize.infer.registry import traits
from chiralize.symmetry.representation import TensorRepresentation


@dataclass(frozen=True)
class Site:
    """One op that a weight is contracted in.

    source: the value that it reads.  weight, bias: leaves.  transposed: the weight lies "in out", and then "places".
    spatial: axes that a window of weights is moved along.  axis: of the value that is read, and of the result, which
    the weight takes and gives; from the end.
    """

    node: Node
    source: str
    weight: str
    bias: str | None
    transposed: bool = False
    spatial: int = 0
    axis: int = -1

    @property
    def out(self) -> int:
        """The axis of the result that the weight gives."""
        return 1 if self.spatial else self.axis

    @property
    def readers(self) -> frozenset[int]:
        """The axes of the weight that take values in."""
        if self.transposed:
            return frozenset({0})
        return frozenset({1})

    def matrix(self, weight: Tensor) -> Tensor:
        """The weight as "out feature": a kernel's "in place..." are one axis, in the order of `features`."""
        return (weight.transpose(0, 1) if self.transposed else weight).flatten(1)

    def tensor(self, matrix: Tensor, like: tuple[int, ...]) -> Tensor:
        """The inverse of `matrix`."""
        if self.transposed:
            return matrix.reshape(like[1], like[0], *like[2:]).transpose(0, 1)
        return matrix.reshape(like)

    def actions(self, rep: TensorRepresentation) -> tuple[Any, Any]:
        """How the mirror acts on a row of features and of results.

        rep: of the weight. T on features is that on the input's channels times that on the kernel, which a reversed
        axis turns round; a sign of the whole weight goes to the results.
        """
        axes = [axis.action for axis in rep.axes]
        if self.transposed:
            given, taken = axes[1], [axes[0], *axes[2:]]
        else:
            given, taken = axes[0], axes[1:]
        return taken[0].kronecker(*taken[1:]), -given if rep.sign < 0 else given

    def features(self, value: Tensor, shape: tuple[int, ...], rows: Tensor) -> Tensor:
        """ "sample feature" for the chosen rows.  shape: of the weight."""
        spatial = self.spatial
        if not spatial:
            return _rows(value, self.axis)[rows]
        arguments, kernel = self.node.arguments, shape[2:]
        dilation, stride = arguments["dilation"], arguments["stride"]
        if self.transposed:  # as the convolution of a wider value with its kernel turned round
            value, stride = _spread(value, arguments, kernel), [1] * spatial
        else:
            value = functional.pad(value, _pads(arguments, kernel))
        # "batch channel place... kernel...", a view: windows overlap, and copies of all of them would be as many times
        # as large as the value as a kernel has entries
        for axis in range(spatial):
            reach, apart = (kernel[axis] - 1) * dilation[axis] + 1, dilation[axis]
            value = value.unfold(2 + axis, reach, stride[axis])[..., ::apart]
        value = value.movedim(1, 1 + spatial)  # "batch place... channel kernel..."
        places = torch.unravel_index(rows, value.shape[: 1 + spatial])
        taken = value[places]  # "sample channel kernel...", a copy of the chosen windows alone
        if self.transposed:  # the first entry of a kernel is the last to reach a place
            taken = taken.flip(list(range(2, 2 + spatial)))
        return taken.flatten(1)

    def targets(self, value: Tensor, rows: Tensor) -> Tensor:
        """ "sample target" for the chosen rows of a result."""
        return _rows(value, self.out)[rows]

    def count(self, value: Tensor) -> int:
        """How many samples a result holds."""
        return value.numel() // value.shape[self.out]


def _rows(value: Tensor, axis: int) -> Tensor:
    """A value as rows along an axis."""
    moved = value.movedim(axis, -1)
    return moved.reshape(-1, moved.shape[-1])


def _pads(arguments: Mapping[str, Any], kernel: Sequence[int]) -> list[int]:
    """Zeros in front of every axis and behind it, the last axis first."""
    # reach: from the first to the last entry of a window. "same" puts the odd zero behind, as torch does.
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
        # along the axis: 3 entries at stride 2 become x0 0 x1 0 x2, of size 5
        wide.transpose(2 + axis, 0)[::stride] = value.transpose(2 + axis, 0)
        value = wide
        reach = (length - 1) * arguments["dilation"][axis] - arguments["padding"][axis]
        pads = [reach, reach + arguments["output_padding"][axis], *pads]
    return functional.pad(value, pads)


def sites_of(captured: CapturedModel) -> dict[str, Site]:
    """All ops whose weights can be fitted, by name, in order."""
    nodes = captured.by_name
    sites = ((node.name, _site_of(node, captured, nodes)) for node in captured.nodes)
    return {name: site for name, site in sites if site is not None}


def _site_of(node: Node, captured: CapturedModel, nodes: Mapping[str, Node]) -> Site | None:
    """The site that an op is; None where its weight cannot be fitted."""
    arguments, trait = node.arguments, traits().get(node.target)
    match trait:
        case Contraction(is_transposed=True):  # matmul, mm, addmm: either operand may be the weight
            if any(arguments.get(factor, 1) != 1 for factor in ("alpha", "beta")):
                return None
            added = trait.added(arguments)
            # a bias goes along the last axis, and so not with a weight from the left, which gives the one before it
            for source, weight, axis in ((trait.source, trait.weight, -1), (trait.weight, trait.source, -2)):
                if axis == -1 or added is None:
                    site = _of_product(node, captured, nodes, arguments[source], arguments[weight], added, axis)
                    if site is not None:
                        return site
        case Contraction(is_windowed=True) | Adjoint(switch=""):
            weight = captured.leaf_of(arguments["weight"])
            spatial = weight.tensor.ndim - 2 if weight is not None else 0
            if arguments["groups"] != 1 or len(node.shapes[0] or ()) != 2 + spatial:
                return None  # a matrix for every group; a value without samples as its first axis
            operands = arguments["input"], arguments["weight"], arguments.get("bias")
            return _site(node, captured, *operands, isinstance(trait, Adjoint), spatial)
        case Contraction():
            return _site(node, captured, arguments["input"], arguments["weight"], arguments.get("bias"))
    return None


def _of_product(
    node: Node,
    captured: CapturedModel,
    nodes: Mapping[str, Node],
    value: Ref,
    weight: Ref,
    bias: Ref | None,
    axis: int,
) -> Site | None:
    """The site of `value @ weight`, or, for axis -2, of `weight @ value`, such as of an adjacency that was learned."""
    # x @ W has W as "in out", W @ x as "out in"; a transpose in the graph between the leaf and the product turns that
    transposed = axis == -1
    before = nodes.get(weight.name)
    if before is not None and isinstance(traits().get(before.target), Transpose):
        weight, transposed = before.arguments["self"], not transposed
    site = _site(node, captured, value, weight, bias, transposed)
    if site is None or len(node.shapes[0] or ()) < -axis:
        return None
    return replace(site, axis=axis)


def _site(
    node: Node,
    captured: CapturedModel,
    value: Ref,
    weight: Ref,
    bias: Ref | None,
    transposed: bool = False,
    spatial: int = 0,
) -> Site | None:
    """The site of an op that contracts a value with a weight; None where it is not one matrix that is trained."""
    leaf, source = captured.leaf_of(weight), captured.leaf_of(value)
    # The weight is trained and read as it is, and the value depends on the inputs: of a parameter there are no samples.
    if leaf is None or leaf.kind != "parameter" or leaf.tensor.ndim < 2 or (source and source.kind != "input"):
        return None
    if leaf.tensor.ndim > 2 and not spatial:  # a matrix for every sample of a batched product
        return None
    added = captured.leaf_of(bias)
    if bias is not None and (added is None or added.kind != "parameter" or added.tensor.ndim != 1):
        return None
    return Site(node, value.name, weight.name, added.name if added is not None else None, transposed, spatial)
