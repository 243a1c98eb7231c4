"""What is fitted: the features of every weight, its targets, and how it lies in its tensor.

A site is an op z = W x + b whose weight carries the representation T_out W T_in = W. Its samples are the positions that
the weight is applied at: rows of a linear layer, places of a convolution.

    linear(x, W)       x "4 27 34", W "256 34"         108 samples of 34 features and 256 targets
    convolution(x, W)  x "4 34 27", W "256 34 3"       4 x 25 samples of 34 x 3 features, kernel fastest
    x @ W              W "in out", transposed
    A @ x              A "out in", along the axis before the last: an adjacency that was learned, axis -2

`regressions` lists everything that is fitted in a graph, sites and recurrent cells alike, in the order of its weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor
from torch import unravel_index as unravelled
from torch.nn import functional

from chiralize.graph.model import CapturedModel, Node, Ref
from chiralize.graph.traits import Contraction, Transpose
from chiralize.infer.records import RepMap
from chiralize.infer.rule import traits
from chiralize.infer.symbolic import SymbolicRepresentation
from chiralize.methods.reduce.cells import Cell, cell_regressions, cells, readings_of
from chiralize.methods.reduce.lifting import Lifting
from chiralize.methods.reduce.ridge import Fit
from chiralize.methods.reduce.views import Reading, Regression, Views, Weights
from chiralize.symmetry.involution import SignedPermutation
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
        """The axis of the result that the weight gives, and of the value that it reads."""
        return 1 if self.spatial else self.axis

    @property
    def readers(self) -> frozenset[int]:
        """The axes of the weight that take values in."""
        return frozenset({0}) if self.transposed else frozenset({1})

    def lying(self, weight: Tensor) -> Tensor:
        """The weight as "out in place..."."""
        return weight.transpose(0, 1) if self.transposed else weight

    def matrix(self, weight: Tensor) -> Tensor:
        """The weight as "out feature": a kernel's "in place..." are one axis, in the order of `features`."""
        return self.lying(weight).flatten(1)

    def tensor(self, matrix: Tensor, like: tuple[int, ...]) -> Tensor:
        """The inverse of `matrix`."""
        if self.transposed:
            return matrix.reshape(like[1], like[0], *like[2:]).transpose(0, 1)
        return matrix.reshape(like)

    def actions(self, rep: TensorRepresentation) -> tuple[SignedPermutation, SignedPermutation]:
        """How the mirror acts on a row of features and of results.

        rep: of the weight. T on features is that on the input's channels times that on the kernel, which a reversed
        axis turns round; a sign of the whole weight goes to the results.
        """
        axes = [axis.action for axis in rep.axes]
        given, *taken = [axes[1], axes[0], *axes[2:]] if self.transposed else axes
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
            value = functional.pad(value, [pad for padding in reversed(arguments["padding"]) for pad in (padding,) * 2])
        # "batch channel place... kernel...", a view: windows overlap, and copies of all of them would be as many times
        # as large as the value as a kernel has entries
        for axis in range(spatial):
            reach, apart = (kernel[axis] - 1) * dilation[axis] + 1, dilation[axis]
            value = value.unfold(2 + axis, reach, stride[axis])[..., ::apart]
        value = value.movedim(1, 1 + spatial)  # "batch place... channel kernel..."
        taken = value[unravelled(rows, value.shape[: 1 + spatial])]  # "sample channel kernel...", the chosen ones alone
        if self.transposed:  # the first entry of a kernel is the last to reach a place
            taken = taken.flip(list(range(2, 2 + spatial)))
        return taken.flatten(1)

    def targets(self, value: Tensor, rows: Tensor) -> Tensor:
        """ "sample target" for the chosen rows of a result."""
        return _rows(value, self.out)[rows]


def _rows(value: Tensor, axis: int) -> Tensor:
    """A value as rows along an axis."""
    moved = value.movedim(axis, -1)
    return moved.reshape(-1, moved.shape[-1])


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


# ---- which ops these are -------------------------------------------------------------------------------------------
def sites_of(captured: CapturedModel) -> dict[str, Site]:
    """All ops whose weights can be fitted, by name, in order."""
    sites = ((node.name, _site_of(node, captured)) for node in captured.nodes)
    return {name: site for name, site in sites if site is not None}


def _site_of(node: Node, captured: CapturedModel) -> Site | None:
    """The site that an op is; None where its weight cannot be fitted."""
    arguments, trait = node.arguments, traits().get(node.target)
    if not isinstance(trait, Contraction):
        return None
    if trait.is_transposed:  # matmul, mm, addmm: either operand may be the weight
        return _of_product(node, captured, trait)
    if not trait.is_windowed:
        return _site(node, captured, arguments["input"], arguments["weight"], arguments.get("bias"))
    weight = captured.leaf_of(arguments["weight"])
    spatial = weight.tensor.ndim - 2 if weight is not None else 0
    if arguments["groups"] != 1 or len(node.shapes[0] or ()) != 2 + spatial:
        return None  # a matrix for every group; a value without samples as its first axis
    operands = arguments["input"], arguments["weight"], arguments.get("bias")
    return _site(node, captured, *operands, trait.is_adjoint(arguments), spatial)


def _of_product(node: Node, captured: CapturedModel, trait: Contraction) -> Site | None:
    """The site of `value @ weight`, or, along axis -2, of `weight @ value`, as of a learned adjacency."""
    arguments, added = node.arguments, trait.added(node.arguments)
    if any(arguments.get(factor, 1) != 1 for factor in ("alpha", "beta")):
        return None
    for source, weight, axis in ((trait.source, trait.weight, -1), (trait.weight, trait.source, -2)):
        # a bias goes along the last axis, and so not with a weight from the left, which gives the one before it
        if axis == -2 and (added is not None or len(node.shapes[0] or ()) < 2):
            continue
        # x @ W has W as "in out", W @ x as "out in"; a transpose in the graph between the leaf and the product turns it
        ref, transposed = arguments[weight], axis == -1
        before = captured.by_name.get(ref.name)
        if before is not None and isinstance(traits().get(before.target), Transpose):
            ref, transposed = before.arguments["self"], not transposed
        site = _site(node, captured, arguments[source], ref, added, transposed)
        if site is not None:
            return replace(site, axis=axis)
    return None


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


# ---- what they read ------------------------------------------------------------------------------------------------
def readings(captured: CapturedModel, repmap: RepMap) -> Iterator[Reading]:
    """Every value that a weight reads, in the order of the graph."""
    sites = sites_of(captured)
    for node in captured.nodes:
        if node.name in sites:
            site = sites[node.name]
            outputs = repmap.nodes.get(site.source) or (repmap.leaves.get(site.source),)
            if outputs[0] is not None:
                weight = site.lying(captured.leaves[site.weight].tensor.detach())
                yield Reading(node, outputs[0], site.out % len(outputs[0].axes), weight, _named(site.source))
        for cell in cells(node, captured):
            yield from readings_of(cell, captured, repmap)


def _named(name: str) -> Callable[[Views], Sequence[Tensor]]:
    """A value by name, in all three runs."""
    return lambda views: [views.plain[name], views.turned[name], views.new[name]]


# ---- fits ----------------------------------------------------------------------------------------------------------
class SiteRegression:
    """A linear layer or a convolution; several where they share their weight.

    is_mean: it aims at the mean of both views where the mirror is known, else at the answers to x.
    """

    def __init__(self, sites: Sequence[Site], repmap: RepMap, lifting: Lifting, is_mean: bool) -> None:
        self.sites, self.site = {site.node.name: site for site in sites}, sites[0]
        self.nodes, self.name = tuple(site.node for site in sites), sites[0].weight
        self.repmap, self.lifting, self.is_mean = repmap, lifting, is_mean
        self.rep = lifting.representation(repmap.leaves[self.name])
        self.actions, self.has_bias = self.site.actions(self.rep), self.site.bias is not None

    def source(self, node: Node) -> str:
        """The value that an op reads."""
        return self.sites[node.name].source

    def rows(self, node: Node, views: Views, given: Tensor, draw: Callable[[int], Tensor]) -> tuple[Tensor, Tensor]:
        """Features are what the smaller network reads, targets what the kept units of the original give."""
        site, rep = self.sites[node.name], representation(self.repmap, node.name)
        plain, turned = views.plain[node.name], views.turned[node.name]
        if self.is_mean:
            plain, turned = self.lifting.coupled(plain, turned, rep)
        value = self.lifting.value(plain, turned, rep)
        chosen = draw(value.numel() // value.shape[site.out])
        return site.features(given, self.rep.shape, chosen), site.targets(value, chosen)

    def starts(self, weights: Mapping[str, Tensor]) -> tuple[Tensor | None, Tensor]:
        """The ridge pulls towards the original's weight, lifted to the new spaces."""
        lifted = self.site.matrix(weights[self.name])
        return lifted, lifted

    def write(self, fit: Fit, weights: Weights) -> None:
        """The weight and its bias. A fit is symmetric but for rounding; the projection makes it exactly so."""
        values = {self.name: self.site.tensor(fit.weight, self.rep.shape)}
        if self.site.bias is not None and fit.bias is not None:
            values[self.site.bias] = fit.bias
        for name, value in values.items():
            weights[name] = self.lifting.symmetric(value.to(weights[name].dtype), self.repmap.leaves[name])


def regressions(captured: CapturedModel, repmap: RepMap, lifting: Lifting, is_mean: bool) -> list[Regression]:
    """Everything that is fitted, in the order of the graph; what shares its weights is fitted once.

    is_mean: see `SiteRegression`.
    """
    at, sites, of_cells = sites_of(captured), dict[str, list[Site]](), dict[str, list[Cell]]()
    weights: dict[str, None] = {}  # in the order of their first op
    for node in captured.nodes:
        if node.name in at:
            sites.setdefault(at[node.name].weight, []).append(at[node.name])
            weights[at[node.name].weight] = None
        for cell in cells(node, captured):
            of_cells.setdefault(cell.weights[0], []).append(cell)
            weights[cell.weights[0]] = None
    every: list[Regression] = []
    for name in weights:
        if name in sites:
            every.append(SiteRegression(sites[name], repmap, lifting, is_mean))
        else:
            same = of_cells[name]
            every += cell_regressions(same[0], [cell.node for cell in same], repmap, lifting)
    return every


def representation(repmap: RepMap, name: str) -> SymbolicRepresentation:
    """How a value or a leaf transforms, of which something is known."""
    rep = repmap.of(name)
    assert rep is not None
    return rep
