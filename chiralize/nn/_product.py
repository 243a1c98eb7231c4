"""Products with a weight by oneDNN, where that is faster.

torch multiplies matrices by MKL, which is slow on other processors than Intel's, but convolves, and multiplies in its
fused kernels for LSTM and GRU, by oneDNN: what is to be faster than those needs the same. On an AMD EPYC a product by
oneDNN takes 0.45 to 0.6 of the time, on an older one 0.9, on an Intel Xeon 0.95 to 1.1.

The public way to it is a convolution of one tap. It is taken where it was measured to be faster here; torch's private
operators (`_private`) wherever they are switched on.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from chiralize.nn import _private
from chiralize.nn._eager import runs_on_cpu
from chiralize.nn._private import goes_forward, packed, product_by_convolution
from chiralize.nn.timings import is_known_above, measured

_LEAST, _ENTRIES, _MANY = 4, 1 << 18, 1 << 23
"""Rows, inputs and outputs of a product, and entries of the largest of its three matrices, or multiplications, from
which oneDNN is faster."""
_CONVOLVED = 20480
"""Entries of a picture up to which torch convolves with its own kernel and not with oneDNN."""
_ROWS = 128
"""Rows from which a product by convolution is worth moving the weight in memory, which every call does."""
_OFTEN = 8
"""Products from which it is faster to copy the weight into oneDNN's own order first."""
_FASTER = 0.8
"""Share of torch's time below which a product by convolution is used. Ratios near 1 differ from hour to hour."""
_BY_CONVOLUTION = "product by convolution"
_SIZES = 256, 512, 512
"""Rows, outputs and inputs of the product that is timed for that."""


class Product:
    """x -> x W^T, or x W^T + added; x: "batch in", added: "batch out". For where autograd does not look.

    Made once for a weight that many x are multiplied with, such as that of a recurrence, which can then be packed.
    -x gives exactly -(x W^T), as it does by torch: the sums are the same, negated.
    """

    def __init__(self, weight: Tensor, batch: int, times: int) -> None:
        """weight: "out in", on the CPU. batch: rows of an x. times: how many x there will be."""
        self.weight, self.by_onednn = weight, _is_for_onednn(weight, batch)
        if self.by_onednn and times >= _OFTEN and _private.are_on():
            self.weight = packed(weight, batch)

    def __call__(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        # One call for product and sum where torch multiplies.
        if not self.by_onednn:
            if added is None:
                return x @ self.weight.t()
            return torch.addmm(added, x, self.weight.t())
        if added is None:
            return _product(x, self.weight, None)
        return _private.product_and(x, self.weight, added)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b as `torch.nn.functional.linear`. x: "... in", weight: "out in", bias: "out"."""
    # Rows 0 are never for oneDNN; an export must not look at a size.
    rows = 0 if torch.compiler.is_exporting() else x.numel() // max(x.shape[-1], 1)
    if not _is_for_onednn(weight, rows) or not _is_plain(x, weight, bias):
        return nn.functional.linear(x, weight, bias)
    return _applied(x.reshape(rows, -1), weight, bias, 1.0).view(*x.shape[:-1], -1)


class AffineMap(Protocol):
    """scale x W^T + b in one call; scale: a power of two. x: "rows in", weight: "out in", bias: "out"."""

    def __call__(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, scale: float, out: Tensor | None = None
    ) -> Tensor:
        """out: "rows out", where the answer may be written; it need not be."""
        ...


def affine(x: Tensor, weight: Tensor, bias: Tensor | None = None, scale: float = 1.0) -> Tensor:
    """scale x W^T + b in one call; scale: a power of two. x: "rows in", weight: "out in", bias: "out"."""
    return affine_map(x, weight, bias)(x, weight, bias, scale)


def affine_map(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> AffineMap:
    """The way to such a map of tensors like these: to choose it takes as long as a small product."""
    if _is_for_onednn(weight, len(x)) and _is_plain(x, weight, bias):
        return _applied
    return _by_torch


def _by_torch(x: Tensor, weight: Tensor, bias: Tensor | None, scale: float, out: Tensor | None = None) -> Tensor:
    """`AffineMap` by torch's product."""
    if bias is None:
        return torch.addmm(x.new_empty(1), x, weight.t(), beta=0, alpha=scale, out=out)
    return torch.addmm(bias, x, weight.t(), alpha=scale, out=out)


def of_weight(d_y: Tensor, x: Tensor, scale: float = 1.0) -> Tensor:
    """scale d_y^T x, the gradient of an `affine` map's weight. d_y: "rows out", x: "rows in".

    oneDNN moves the first of two transposed matrices in memory: let it be the smaller.
    """
    if d_y.shape[1] > x.shape[1] and _is_for_onednn(d_y.t(), x.shape[1]):
        return affine(x.t(), d_y.t(), None, scale).t()
    return affine(d_y.t(), x.t(), None, scale)


def _applied(x: Tensor, weight: Tensor, bias: Tensor | None, scale: float, out: Tensor | None = None) -> Tensor:
    """`AffineMap` by oneDNN, in memory of its own, with a step of autograd where gradients are wanted."""
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
        # y = s x W^T + b:  d_x = s d_y W,  d_W = s d_y^T x,  d_b = sum of d_y.
        d_x = affine(d_y, weight.t(), None, ctx.scale) if of_x else None
        d_weight = of_weight(d_y, x, ctx.scale) if wanted else None
        return d_x, d_weight, d_y.sum(0) if of_bias else None, None


def _by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None, scale: float) -> Tensor:
    """`affine`; the scale goes to x or to y, whichever is smaller. All of that is exact."""
    columns, depth = weight.shape
    # x has depth numbers a row, y has columns.
    if scale != 1.0 and depth <= columns:
        return _by_onednn(x * scale, weight, bias, 1.0)
    if bias is not None and scale != 1.0:
        bias = bias / scale
    y = _product(x, weight, bias)
    return y if scale == 1.0 else y.mul_(scale)


def _is_plain(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether both are ordinary tensors of one type on the CPU, and no derivative goes forward."""
    if x.dtype != weight.dtype or not runs_on_cpu(x):
        return False
    if torch.compiler.is_compiling():
        return True
    # A subclass may have a product of its own, and the step of autograd here has no forward derivative.
    return type(weight) in (Tensor, nn.Parameter) and not goes_forward(x, weight, bias)


def _is_for_onednn(weight: Tensor, rows: int) -> bool:
    """Whether oneDNN is there, is not switched off, and would be faster. It has no float64."""
    if not weight.is_cpu or weight.dtype != torch.float32:
        return False
    if torch.compiler.is_exporting():  # which wants no size to be looked at
        return False
    columns, depth = weight.shape
    return _is_large(rows, columns, depth) and _is_enabled(rows, depth)


def _is_large(rows: int, columns: int, depth: int) -> bool:
    """Whether some matrix of the product, or the product itself, is large enough for oneDNN to be faster."""
    if min(rows, columns, depth) < _LEAST:
        return False
    return max(rows * columns, rows * depth, columns * depth) >= _ENTRIES or rows * columns * depth >= _MANY


@torch.compiler.assume_constant_result
def _is_enabled(rows: int, depth: int) -> bool:
    """Whether products go to oneDNN here: by the private calls where they are on, by a convolution where that was
    faster.

    rows, depth: of x. Constant under torch.compile, which can neither measure nor read settings.
    """
    is_private = _private.are_on()
    if not is_private and (rows < _ROWS or rows * depth <= _CONVOLVED or is_known_above(_BY_CONVOLUTION, _FASTER)):
        return False
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled):
        return False
    if is_private:
        return True
    if not measured(_BY_CONVOLUTION, _times, otherwise=1.0) < _FASTER:
        return False
    as_convolved = getattr(torch.backends.mkldnn, "conv", None), getattr(torch.backends.mkldnn, "matmul", None)
    # A user may let convolutions be rounded otherwise than products, which have to keep their own precision.
    return len({getattr(kind, "fp32_precision", None) for kind in as_convolved}) == 1


@torch.compiler.assume_constant_result
def _is_private() -> bool:
    """Whether the private calls are on; constant under torch.compile."""
    return _private.are_on()


def _times() -> dict[str, Any]:
    """The two functions that are timed to see whether oneDNN is faster: torch's product first."""
    rows, columns, depth = _SIZES
    x, weight = (torch.ones(size, depth, dtype=torch.float32, device="cpu") for size in (rows, columns))
    return {
        "torch": lambda: nn.functional.linear(x, weight),
        "convolution": lambda: product_by_convolution(x, weight, None),
    }


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x W^T + bias by oneDNN, also under torch.compile, where the private product is an op of our own library."""
    if not torch.compiler.is_compiling():
        return _private.product(x, weight, bias)
    if _is_private():
        return torch.ops.chiralize.product(x, weight, bias)
    return product_by_convolution(x, weight, bias)


# ---- for torch.compile, whose own lowering of the private product takes none but constant weights -------------------
_library = torch.library.Library("chiralize", "DEF")
_library.define("product(Tensor x, Tensor weight, Tensor? bias) -> Tensor")


def _shaped(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The sizes of the product, for tensors without values."""
    return x.new_empty(x.shape[0], weight.shape[0])


_library.impl("product", _private.product, "CPU")
_library.impl("product", _shaped, "Meta")
