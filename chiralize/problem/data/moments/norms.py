"""Batch norms that read an affine function z = W x + b of a network's inputs, found by running its graph.

Names and kinds of layers do not matter: every batch norm is taken whose input, on probes of several sizes, is W x + b
for each sample by itself. b is what it reads at x = 0, and column i of W what it reads at the i-th unit vector, less b.
`recovery` solves for the moments of the inputs with these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from chiralize.graph import execution
from chiralize.graph.model import CapturedModel, Node, Shape
from chiralize.graph.traits import BatchNorm
from chiralize.infer.registry import traits
from chiralize.symmetry.representation import TensorRepresentation

_SCALES = (0.01, 1.0, 100.0)
"""Sizes of the probes: tanh is a line for small ones, and ReLU has a kink that large ones do not miss."""
_EQUAL = 1e-4  # of the largest value


class UndeterminedError(Exception):
    """A network's statistics do not determine its inputs' moments; the text says why, with numbers."""


@dataclass(frozen=True)
class Norm:
    """A batch norm and the statistics that it keeps, "channel" (float64).

    source: the value that it reads, channels along axis 1.
    """

    name: str
    source: str
    mean: Tensor
    variance: Tensor


@dataclass(frozen=True)
class Reading:
    """A norm with the function z = W x + b that it reads.  weight: "channel entry", bias: "channel" (float64)."""

    norm: Norm
    weight: Tensor
    bias: Tensor


def norms(captured: CapturedModel) -> list[Norm]:
    """All batch norms with statistics, in order."""
    nodes = (node for node in captured.nodes if isinstance(traits().get(node.target), BatchNorm))
    return list(filter(None, (_norm(node, captured) for node in nodes)))


def _norm(node: Node, captured: CapturedModel) -> Norm | None:
    """A batch norm with its statistics; None where it has none, or forward updates them."""
    mean = captured.leaf_of(node.arguments.get("running_mean"))
    variance = captured.leaf_of(node.arguments.get("running_var"))
    if mean is None or variance is None or "state" in (mean.kind, variance.kind):
        return None
    name, source = mean.names[0].removesuffix(".running_mean"), node.arguments["input"].name
    return Norm(name, source, mean.tensor.detach().double(), variance.tensor.detach().double())


class Inputs:
    """All inputs of one sample as a row of numbers. Raises UndeterminedError where there is no such row."""

    def __init__(self, captured: CapturedModel) -> None:
        tensors = [captured.leaves[name].tensor for name in captured.inputs]
        if not all(tensor.is_floating_point() for tensor in tensors):
            raise UndeterminedError("an input holds no floating-point numbers")
        if all(tensor.ndim < 2 for tensor in tensors):
            raise UndeterminedError("the inputs have no batch axis")
        batches = {tuple(tensor.shape[:1]) for tensor in tensors}
        if len(batches) != 1 or () in batches:
            raise UndeterminedError("the inputs have no batch axis in common")
        self.rows = tensors[0].shape[0]
        self.shapes = [tuple(tensor.shape[1:]) for tensor in tensors]
        self.dtypes = [tensor.dtype for tensor in tensors]

    @property
    def sizes(self) -> list[int]:
        """How many numbers of a sample every input holds."""
        return list(map(prod, self.shapes))

    def tensors(self, rows: Tensor) -> list[Tensor]:
        """The inputs from rows "sample entry"."""
        parts = zip(rows.split(self.sizes, 1), self.shapes, self.dtypes, strict=True)
        return [part.reshape(len(rows), *shape).to(dtype) for part, shape, dtype in parts]

    def rows_of(self, tensors: Sequence[Tensor]) -> Tensor:
        """The inverse of `tensors`, in float64."""
        return torch.cat([tensor.double().flatten(1) for tensor in tensors], 1)


def require_samples(actions: Sequence[TensorRepresentation | None]) -> None:
    """Raises UndeterminedError where the mirror acts on the first axis of an input: no samples lie along that."""
    for action in actions:
        if action is not None and action.axes and not action.axes[0].is_trivial:
            raise UndeterminedError("the inputs have no batch axis")


def places(captured: CapturedModel, norm: Norm, inputs: Inputs) -> int:
    """At how many places of one sample, such as its frames, a norm is applied; 0 where it reads no channels."""
    shape: Shape | None = None
    if norm.source in captured.by_name:
        shape = captured.by_name[norm.source].shapes[0]
    elif norm.source in captured.leaves:
        shape = captured.leaves[norm.source].shape
    if shape is None or len(shape) < 2:
        return 0
    return prod(shape) // (inputs.rows * shape[1])  # channels lie along axis 1


def is_affine(captured: CapturedModel, norm: Norm, inputs: Inputs) -> bool:
    """Whether f(x) + f(y) = f(x + y) + f(0) for what the norm reads, on probes of every size.

    Affine functions do that, and no other continuous ones do for all x and y. The test runs on random ones.
    """
    size = sum(inputs.sizes)
    generator = torch.Generator().manual_seed(0)
    start = _run(captured, norm, inputs, torch.zeros(inputs.rows, size))
    for scale in _SCALES:
        x = scale * torch.randn(inputs.rows, size, generator=generator)
        y = scale * torch.randn(inputs.rows, size, generator=generator)
        of_x, of_y, of_sum = (_run(captured, norm, inputs, rows) for rows in (x, y, x + y))
        if not same(of_x + of_y, of_sum + start):
            return False
    return True


def reading(captured: CapturedModel, norm: Norm, inputs: Inputs) -> Reading | None:
    """W and b of a norm that is applied at one place; None where samples do not go through it each by itself."""
    size = sum(inputs.sizes)
    bias = _run(captured, norm, inputs, torch.zeros(inputs.rows, size))[0]
    # Unit vectors as samples, as many in one run as the batch of the graph holds.
    columns = []
    for part in torch.eye(size).split(inputs.rows):
        columns.append(_run(captured, norm, inputs, _padded(part, inputs.rows))[: len(part)])
    weight = (torch.cat(columns) - bias).T.contiguous()
    # Other samples in the batch: a function that mixes samples fits the unit vectors, and not these.
    x = torch.randn(inputs.rows, size, generator=torch.Generator().manual_seed(1))
    fits = same(_run(captured, norm, inputs, x), x.double() @ weight.T + bias)
    if not fits:
        return None
    return Reading(norm, weight, bias)


def _padded(rows: Tensor, count: int) -> Tensor:
    """Rows, followed by rows of zeros up to `count`."""
    return torch.cat([rows, rows.new_zeros(count - len(rows), rows.shape[1])])


def same(one: Tensor, other: Tensor) -> bool:
    """Equal up to the rounding of many operations in single precision."""
    if not one.numel():
        return True
    scale = float(torch.maximum(one.abs(), other.abs()).max())
    return float((one - other).abs().max()) <= _EQUAL * scale


def _run(captured: CapturedModel, norm: Norm, inputs: Inputs, rows: Tensor) -> Tensor:
    """The values that the norm reads, "sample number" (float64); "sample channel" where it is applied at one place."""
    return values(captured, norm, inputs.tensors(rows)).double().reshape(inputs.rows, -1)


def values(captured: CapturedModel, norm: Norm, tensors: Sequence[Tensor]) -> Tensor:
    """The values that the norm reads when the network runs on these inputs, as far as there."""
    given = execution.start(captured, tensors)
    if norm.source in given:
        return given[norm.source]
    return next(value for name, value in execution.run(captured, tensors) if name == norm.source)
