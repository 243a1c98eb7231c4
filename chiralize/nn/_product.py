"""Products with a weight by oneDNN, where that is faster.

torch multiplies by MKL, which is slow on other processors than Intel's; its fused kernels for LSTM and GRU multiply by
oneDNN, and steps that are to be faster than those need the same. On an AMD EPYC an LSTM of 1024 units by steps takes
0.89 of the time in forward and 0.87 in training for a batch of 128, 0.90 and 0.91 for one of 16 (two threads); with 512
units, whose blocks have half as many inputs, there is nothing to be had.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_LEAST, _ROWS = 512, 4
"""Inputs and outputs of a weight, and rows of an x, from which oneDNN is faster."""
_OFTEN = 8
"""Products from which it pays to bring the weight into oneDNN's own order first."""
_onednn: Any = torch.ops.mkldnn


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
            return _onednn._linear_pointwise(x, self.weight, None, "none", [], "")
        return _onednn._linear_pointwise.binary(x, added, self.weight, None, "add")


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b; by oneDNN where there are no gradients. x: "... in", weight: "out in", on the CPU."""
    trained = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    if trained or not _is_for_onednn(weight, x.numel() // x.shape[-1]):
        return F.linear(x, weight, bias)
    return _onednn._linear_pointwise(x, weight, bias, "none", [], "")


def _is_for_onednn(weight: Tensor, batch: int) -> bool:
    """Whether oneDNN is there, is not switched off, and would be faster. It has no float64."""
    there = hasattr(_onednn, "_linear_pointwise") and hasattr(_onednn, "_reorder_linear_weight")
    wide = batch >= _ROWS and min(weight.shape) >= _LEAST
    return there and wide and weight.dtype == torch.float32 and torch._C._get_mkldnn_enabled()
