"""Batch norms that read an affine function z = W x + b of a network's inputs, found by running its graph.

Names and kinds of layers do not matter: every batch norm is taken whose input, on probes of several sizes, is W x + b
for each sample by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from chiralize.graph import execution
from chiralize.graph.model import CapturedModel, Node

TARGETS = ("aten.batch_norm.default", "aten._native_batch_norm_legit_no_training.default")
_SCALES = (0.01, 1.0, 100.0)
_EQUAL = 1e-4  # of the largest value


class UndeterminedError(Exception):
    """A network does not tell what its inputs are like; the text says why, with numbers."""


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
    """A norm that reads z = W x + b.  weight: "channel entry", bias: "channel" (float64)."""

    norm: Norm
    weight: Tensor
    bias: Tensor


def norms(captured: CapturedModel) -> list[Norm]:
    """All batch norms with statistics, in order."""
    found = (_norm(node, captured) for node in captured.nodes if node.target in TARGETS)
    return [norm for norm in found if norm is not None]


def _norm(node: Node, captured: CapturedModel) -> Norm | None:
    kept = [node.arguments.get(name) for name in ("running_mean", "running_var")]
    leaves = [captured.leaves.get(ref.name) if ref is not None else None for ref in kept]
    if leaves[0] is None or leaves[1] is None or "state" in (leaves[0].kind, leaves[1].kind):
        return None
    name = leaves[0].names[0].removesuffix(".running_mean")
    mean, variance = (leaf.tensor.detach().double() for leaf in leaves if leaf is not None)
    return Norm(name, node.arguments["input"].name, mean, variance)


class Inputs:
    """All inputs of one sample as a row of numbers. Raises UndeterminedError where there is no such row."""

    def __init__(self, captured: CapturedModel) -> None:
        tensors = [captured.leaves[name].tensor for name in captured.inputs]
        if not all(own.is_floating_point() for own in tensors):
            raise UndeterminedError("an input holds no floating-point numbers")
        if len({own.shape[0] if own.ndim else 0 for own in tensors}) != 1 or not tensors[0].ndim:
            raise UndeterminedError("the inputs have no batch axis in common")
        self.rows = tensors[0].shape[0]
        self.shapes = [tuple(own.shape[1:]) for own in tensors]
        self.dtypes = [own.dtype for own in tensors]

    @property
    def sizes(self) -> list[int]:
        return [prod(shape) for shape in self.shapes]

    def tensors(self, rows: Tensor) -> list[Tensor]:
        """The inputs from rows "sample entry"."""
        parts = rows.split(self.sizes, 1)
        own = zip(parts, self.shapes, self.dtypes, strict=True)
        return [part.reshape(len(rows), *shape).to(dtype) for part, shape, dtype in own]

    def rows_of(self, tensors: Sequence[Tensor]) -> Tensor:
        """The inverse of `tensors`, in float64."""
        return torch.cat([own.double().flatten(1) for own in tensors], 1)


def places(captured: CapturedModel, norm: Norm, inputs: Inputs) -> int:
    """At how many places of one sample a norm is applied."""
    made = {node.name: node.shapes[0] for node in captured.nodes}
    shape = made.get(norm.source) or (captured.leaves[norm.source].shape if norm.source in captured.leaves else None)
    return prod(shape) // (inputs.rows * shape[1]) if shape is not None and len(shape) > 1 else 0


def is_affine(captured: CapturedModel, norm: Norm, inputs: Inputs) -> bool:
    """Whether f(x) + f(y) = f(x + y) + f(0) for what the norm reads, on probes of every size."""
    size = sum(inputs.sizes)
    generator = torch.Generator().manual_seed(0)
    start = _run(captured, norm, inputs, torch.zeros(inputs.rows, size))
    for scale in _SCALES:
        x, y = (scale * torch.randn(inputs.rows, size, generator=generator) for _ in range(2))
        parts = [_run(captured, norm, inputs, own) for own in (x, y, x + y)]
        if not same(parts[0] + parts[1], parts[2] + start):
            return False
    return True


def reading(captured: CapturedModel, norm: Norm, inputs: Inputs) -> Reading | None:
    """W and b of a norm that is applied at one place; None where samples do not go through it each by itself."""
    size = sum(inputs.sizes)
    bias = _run(captured, norm, inputs, torch.zeros(inputs.rows, size))[0]
    columns = [
        _run(captured, norm, inputs, _padded(part, inputs.rows))[: len(part)]
        for part in torch.eye(size).split(inputs.rows)
    ]
    weight = (torch.cat(columns) - bias).T.contiguous()
    x = torch.randn(inputs.rows, size, generator=torch.Generator().manual_seed(1))
    fits = same(_run(captured, norm, inputs, x), x.double() @ weight.T + bias)
    return Reading(norm, weight, bias) if fits else None


def _padded(rows: Tensor, count: int) -> Tensor:
    return torch.cat([rows, rows.new_zeros(count - len(rows), rows.shape[1])])


def same(one: Tensor, other: Tensor) -> bool:
    """Equal up to the rounding of single precision, however often it happened."""
    scale = float(torch.maximum(one.abs(), other.abs()).max()) if one.numel() else 0.0
    return float((one - other).abs().max()) <= _EQUAL * scale if one.numel() else True


def _run(captured: CapturedModel, norm: Norm, inputs: Inputs, rows: Tensor) -> Tensor:
    """What the norm reads, "sample number" (float64); "sample channel" where it is applied at one place."""
    return values(captured, norm, inputs.tensors(rows)).double().reshape(inputs.rows, -1)


def values(captured: CapturedModel, norm: Norm, tensors: Sequence[Tensor]) -> Tensor:
    """What the norm reads when the network runs on these inputs."""
    found = execution.start(captured, tensors)
    with torch.no_grad():
        for node in captured.until(norm.source) if norm.source not in found else ():
            found[node.name] = execution.evaluate(node, found)
    return found[norm.source]
