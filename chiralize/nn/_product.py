"""Products with a weight by oneDNN, where that is faster.

torch multiplies matrices by MKL, which is slow on other processors than Intel's, but convolves, and multiplies in its
fused kernels for LSTM and GRU, by oneDNN: what is to be faster than those needs the same. On an AMD EPYC a product by
oneDNN takes 0.45 to 0.6 of the time, on an older one 0.9.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from chiralize.nn._eager import runs_on_cpu

_LEAST, _ENTRIES, _MANY = 4, 1 << 18, 1 << 23
"""Rows, inputs and outputs of a product, and entries of the largest of its three matrices, or multiplications, from
which oneDNN is faster."""
_OFTEN = 8
"""Products from which it pays to bring the weight into oneDNN's own order first."""
_onednn: Any = torch.ops.mkldnn
_THERE = hasattr(_onednn, "_linear_pointwise") and hasattr(_onednn, "_reorder_linear_weight")


class Product:
    """x -> x W^T, or x W^T + added; x: "batch in", added: "batch out". For where autograd does not look.

    -x gives exactly -(x W^T), as it does by torch: the sums are the same, negated.
    """

    def __init__(self, weight: Tensor, batch: int, times: int) -> None:
        """weight: "out in", on the CPU. batch: rows of an x. times: how many x there will be."""
        self.weight, self.by_onednn = weight, _is_for_onednn(weight, batch)
        if self.by_onednn and times >= _OFTEN:
            self.weight = _onednn._reorder_linear_weight(weight.contiguous(), batch)

    def __call__(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        if not self.by_onednn:
            return x @ self.weight.t() if added is None else torch.addmm(added, x, self.weight.t())
        if added is None:
            return _product(x, self.weight, None)
        return _onednn._linear_pointwise.binary(x, added, self.weight, None, "add")


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b as `torch.nn.functional.linear`. x: "... in", weight: "out in", bias: "out"."""
    rows = 0 if torch.compiler.is_exporting() else x.numel() // max(x.shape[-1], 1)
    if not _is_for_onednn(weight, rows) or not _is_plain(x, weight):
        return nn.functional.linear(x, weight, bias)
    return _applied(x.reshape(rows, -1), weight, bias, 1.0).view(*x.shape[:-1], -1)


def affine(x: Tensor, weight: Tensor, bias: Tensor | None = None, scale: float = 1.0) -> Tensor:
    """scale x W^T + b in one call; scale: a power of two. x: "rows in", weight: "out in", bias: "out"."""
    if _is_for_onednn(weight, len(x)) and _is_plain(x, weight):
        return _applied(x, weight, bias, scale)
    if bias is None:
        return torch.addmm(x.new_empty(1), x, weight.t(), beta=0, alpha=scale)
    return torch.addmm(bias, x, weight.t(), alpha=scale)


def of_weight(d_y: Tensor, x: Tensor, scale: float = 1.0) -> Tensor:
    """scale d_y^T x, the gradient of an `affine` map's weight. d_y: "rows out", x: "rows in".

    oneDNN moves the first of two transposed matrices in memory: let it be the smaller.
    """
    if d_y.shape[1] > x.shape[1] and _is_for_onednn(d_y.t(), x.shape[1]):
        return affine(x.t(), d_y.t(), None, scale).t()
    return affine(d_y.t(), x.t(), None, scale)


def _applied(x: Tensor, weight: Tensor, bias: Tensor | None, scale: float) -> Tensor:
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in (x, weight, bias)):
        return _ByOneDNN.apply(x, weight, bias, scale)
    return _by_onednn(x, weight, bias, scale)


class _ByOneDNN(torch.autograd.Function):
    """`affine` by oneDNN. Its gradients are such products again: differentiable any number of times."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, scale: float) -> Tensor:
        """y; x and the weight are saved."""
        ctx.save_for_backward(x, weight)
        ctx.scale = scale
        return _by_onednn(x, weight, bias, scale)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        """Gradients of x, the weight and the bias, each where it is wanted."""
        (d_y,), (x, weight) = grad_outputs, ctx.saved_tensors
        of_x, wanted, of_bias, _ = ctx.needs_input_grad
        d_x = affine(d_y, weight.t(), None, ctx.scale) if of_x else None
        d_weight = of_weight(d_y, x, ctx.scale) if wanted else None
        return d_x, d_weight, d_y.sum(0) if of_bias else None, None


def _by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None, scale: float) -> Tensor:
    """`affine`; the scale goes to x or to y, whichever is smaller. All of that is exact."""
    columns, depth = weight.shape
    if scale != 1.0 and depth <= columns:
        return _by_onednn(x * scale, weight, bias, 1.0)
    if bias is not None and scale != 1.0:
        bias = bias / scale
    product = torch.ops.chiralize.product if torch.compiler.is_compiling() else _product
    y = product(x, weight, bias)
    return y if scale == 1.0 else y.mul_(scale)


def _is_plain(x: Tensor, weight: Tensor) -> bool:
    """Whether both are ordinary tensors of one type on the CPU, and no derivative goes forward."""
    if x.dtype != weight.dtype or not runs_on_cpu(x):
        return False
    return torch.compiler.is_compiling() or (type(weight) in (Tensor, nn.Parameter) and forward_ad._current_level < 0)


def _is_for_onednn(weight: Tensor, rows: int) -> bool:
    """Whether oneDNN is there, is not switched off, and would be faster. It has no float64."""
    if weight.dtype != torch.float32 or torch.compiler.is_exporting():  # which wants no size to be looked at
        return False
    return _is_large(rows, *weight.shape) and _THERE and _is_enabled()


def _is_large(rows: int, columns: int, depth: int) -> bool:
    if min(rows, columns, depth) < _LEAST:
        return False
    return max(rows * columns, rows * depth, columns * depth) >= _ENTRIES or rows * columns * depth >= _MANY


@torch.compiler.assume_constant_result
def _is_enabled() -> bool:
    return torch._C._get_mkldnn_enabled()


# ---- for torch.compile, whose own lowering takes none but constant weights ------------------------------------------
_library = torch.library.Library("chiralize", "DEF")
_library.define("product(Tensor x, Tensor weight, Tensor? bias) -> Tensor")


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return _onednn._linear_pointwise(x, weight, bias, "none", [], "")


def _shaped(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[0])


_library.impl("product", _product, "CPU")
_library.impl("product", _shaped, "Meta")
