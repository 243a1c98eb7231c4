"""What chiral layers are compared with: torch's dense layers on weights projected by the definition.

Nothing of chiralize is imported here. An action is anything that says where entries go and with which sign.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tests.support.oracle import Action, Matrix, action_matrix, direct_sum, project


def turn(x: Tensor, action: Action, dim: int = -1) -> Tensor:
    """T along one axis: no rounding."""
    shape = [1] * x.ndim
    shape[dim] = -1
    sign = torch.tensor(action.sign, dtype=x.dtype).view(shape)
    return x.index_select(dim % x.ndim, torch.tensor(action.partner)) * sign


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def scrambled(module: nn.Module, seed: int = 0) -> nn.Module:
    """Random parameters and statistics, so that nothing is symmetric by being fresh."""
    with torch.no_grad():
        for at, (name, item) in enumerate(module.state_dict().items()):
            if item.is_floating_point():
                drawn = noise(*item.shape, seed=seed + at) / max(item[:1].numel(), 1) ** 0.5
                item.copy_(drawn.abs() + 0.5 if "var" in name else drawn)
    return module


def projected(layer: nn.Module, actions: Mapping[str, Sequence[Matrix]]) -> nn.Module:
    """A dense layer of torch with the nearest weights that T leaves alone; axes without a matrix stay."""
    with torch.no_grad():
        for name, item in layer.state_dict().items():
            if name in actions and item.numel():
                matrices = actions[name]
                flat = item.double().reshape(*item.shape[: len(matrices)], -1)
                item.copy_(torch.from_numpy(project_leading(flat.numpy(), matrices)).reshape(item.shape))
    return layer


def project_leading(weight: Matrix, matrices: Sequence[Matrix]) -> Matrix:
    """(W + T W) / 2 with a matrix for each of the first axes."""
    return project(weight, [*matrices, action_matrix(_Still(weight.shape[-1]))])


class _Still:
    def __init__(self, size: int) -> None:
        self.partner, self.sign = np.arange(size), np.ones(size, dtype=np.int64)


def recurrent_actions(layer: nn.Module, into: Matrix, state: Matrix, cell: Matrix) -> dict[str, list[Matrix]]:
    """How T acts on the weights of nn.LSTM or nn.GRU: |H|, |H|, H, |H| or |H|, |H|, H on the rows."""
    plain = abs(cell)
    rows = direct_sum(plain, plain, cell, plain) if isinstance(layer, nn.LSTM) else direct_sum(plain, plain, cell)
    both = bool(getattr(layer, "bidirectional", False))
    deeper = direct_sum(state, state) if both else state
    result: dict[str, list[Matrix]] = {}
    for name in layer.state_dict():
        entering = into if "_l0" in name else deeper
        kinds = {"weight_ih": [rows, entering], "weight_hh": [rows, state], "weight_hr": [state, cell], "bias_": [rows]}
        result[name] = next(item for start, item in kinds.items() if name.startswith(start))
    return result


def on_both(layer: Any, x: Tensor, action: Action) -> Tensor:
    """Batch normalisation in training by torch, on the batch and its mirror image; the result for the batch."""
    return layer(torch.cat([x, turn(x, action, 1)]))[: len(x)]


def rounding(dtype: torch.dtype, scale: Tensor, depth: int = 1) -> float:
    """16 eps x scale x depth: what a layer that is not exact bit for bit may be off."""
    return 16 * torch.finfo(dtype).eps * float(scale.detach().abs().max()) * depth


def apart(left: Tensor, right: Tensor) -> float:
    """The largest difference of two entries."""
    return float((left.detach() - right.detach()).abs().max())
