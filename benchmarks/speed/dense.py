"""torch's layers on the ways to multiply that ours take: what a dense layer gains from the same tricks.

Every layer takes the weights of torch's own and computes the same. No block is in them: products, convolutions and
steps of full size, by the library, the order in memory and the functions of autograd that `chiralize.nn` uses.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import chiralize.nn._product as product
from chiralize.nn._private import packed, set_private_ops
from chiralize.nn._steps import GRUSteps

_OUTWEIGH = 2  # as in chiralize.nn._convolution


class Linear(nn.Module):
    """x W^T + b."""

    def __init__(self, inner: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = inner.weight, inner.bias

    def forward(self, x: Tensor) -> Tensor:
        return product.linear(x, self.weight, self.bias)


class Packed(nn.Module):
    """x W^T + b by oneDNN with a weight in its own order, which only inference can have."""

    def __init__(self, inner: nn.Linear, rows: int) -> None:
        super().__init__()
        set_private_ops(True)
        self.weight, self.bias = packed(inner.weight.detach(), rows), inner.bias.detach()
        set_private_ops(False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")


class Conv1d(nn.Module):
    """A product of matrices where windows do not overlap, and channels last where frames outweigh weights."""

    def __init__(self, inner: nn.Conv1d) -> None:
        super().__init__()
        self.weight, self.bias = inner.weight, inner.bias
        self.stride, self.kernel = inner.stride, inner.kernel_size[0]

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == (self.kernel,) and (self.kernel > 1 or x.stride(1) == 1):
            return self._by_products(x.transpose(1, 2)).transpose(1, 2)
        x = x.unsqueeze(2)
        if x.numel() >= _OUTWEIGH * self.weight.numel():
            x = x.contiguous(memory_format=torch.channels_last)
        return F.conv2d(x, self.weight.unsqueeze(2), self.bias, (1, *self.stride)).squeeze(2)

    def _by_products(self, x: Tensor) -> Tensor:
        x, weight = x.unflatten(1, (-1, self.kernel)), self.weight
        if x.shape[0] * x.shape[1] < len(weight):
            x = x.transpose(2, 3)
        else:
            weight = weight.transpose(1, 2)
        y = product.affine(x.flatten(2).flatten(0, 1), weight.flatten(1), self.bias)
        return y.unflatten(0, x.shape[:2])


class BatchNorm1d(nn.Module):
    """Normalise by the running statistics in the order of x in memory, as one product and sum."""

    def __init__(self, inner: nn.BatchNorm1d) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        inner: Any = self.inner
        if self.training or x.is_contiguous():
            return inner(x)
        scale = torch.rsqrt(inner.running_var + inner.eps) * inner.weight
        return torch.addcmul((inner.bias - inner.running_mean * scale)[:, None], x, scale[:, None])


class Attention(nn.Module):
    """Attention without weights that are looked at: three products, torch's fused attention, one product."""

    def __init__(self, inner: nn.MultiheadAttention) -> None:
        super().__init__()
        self.parts = nn.ParameterList(part.detach().clone() for part in inner.in_proj_weight.chunk(3))
        self.biases = nn.ParameterList(part.detach().clone() for part in inner.in_proj_bias.chunk(3))
        self.out_proj, self.heads = inner.out_proj, inner.num_heads

    def forward(self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool = False) -> tuple[Tensor, None]:
        each = zip((query, key, value), self.parts, self.biases, strict=True)
        q, k, v = (product.linear(x, w, b).unflatten(-1, (self.heads, -1)).transpose(1, 2) for x, w, b in each)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return product.linear(y, self.out_proj.weight, self.out_proj.bias), None


class _NoBasis:
    """In the place of a butterfly: all coordinates are even. Scaled as the recurrence expects of one."""

    def __init__(self, is_of_rows: bool) -> None:
        self.is_of_rows = is_of_rows  # the gates' gradient is doubled there, the state's halved

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return (x * 0.5 if self.is_of_rows else x), x[:, :0]

    def join(self, even: Tensor, odd: Tensor) -> Tensor:
        return even if self.is_of_rows else even.mul_(2.0)


class GRU(nn.Module):
    """The recurrence of `chiralize.nn.GRU` with dense weights: one product for the input, one for every step."""

    def __init__(self, inner: nn.GRU) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        inner: Any = self.inner
        entering = product.linear(x, inner.weight_ih_l0, inner.bias_ih_l0)
        nothing, h = x.new_empty(0, 0), x.new_zeros(x.shape[1], inner.hidden_size)
        bases = _NoBasis(False), _NoBasis(True)
        blocks = inner.weight_hh_l0, nothing
        return GRUSteps.apply(entering, h, inner.bias_hh_l0, *blocks, *bases, torch.is_grad_enabled())  # type: ignore[no-any-return]


def on_our_kernels(module: nn.Module) -> nn.Module:
    """A copy of a network of torch's layers, each on our ways to multiply."""
    kinds = {
        nn.Linear: Linear,
        nn.Conv1d: Conv1d,
        nn.BatchNorm1d: BatchNorm1d,
        nn.GRU: GRU,
        nn.MultiheadAttention: Attention,
    }
    made: Any = kinds.get(type(module))  # type: ignore[call-overload]
    if made is not None:
        return made(copy.deepcopy(module))
    result = copy.deepcopy(module)
    for name, child in module.named_children():
        setattr(result, name, on_our_kernels(child))
    return result
