"""Weights and statistics as training might leave them: all different, none of them symmetric by accident.

A fresh BatchNorm commutes with every mirror, and so does an adjacency of equal numbers; what they hide comes to light
only when every number is drawn.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

import torch

_SPREAD, _LEAST = 0.3, 1e-4


def scramble(
    model: torch.nn.Module, keep: Sequence[str] = (), positive: Sequence[str] = (), seed: int = 0
) -> list[str]:
    """Draw every parameter, and every floating buffer that holds one number per feature, in place.

    Parameters that do not require a gradient and other buffers are the authors' constants: they stay. keep: globs of
    names that stay too.  positive: of those which are drawn above zero.  Returns the names of what stayed.
    """
    generator = torch.Generator().manual_seed(seed)
    stayed = []
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad or _listed(name, keep):
                stayed.append(name)
            elif parameter.is_floating_point():
                drawn = _drawn(parameter, generator)
                parameter.copy_(drawn.abs() if _listed(name, positive) else drawn)
        for name, buffer in model.named_buffers():
            value = None if _listed(name, keep) else _statistic(name, buffer, generator)
            if value is None:
                stayed.append(name)
            else:
                buffer.copy_(value)
    return stayed


def _listed(name: str, globs: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, glob) for glob in globs)


def _drawn(own: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Normal, of the tensor's own mean and spread; one of equal numbers, or of next to nothing (gains that start at
    1e-8), gets a spread that keeps outputs O(1)."""
    noise = torch.randn(own.shape, generator=generator)
    mean = float(own.mean()) if own.numel() else 0.0
    spread = float(own.std()) if own.numel() > 1 else 0.0
    if spread < max(1e-6 * abs(mean), _LEAST):
        spread = _SPREAD if mean or own.ndim < 2 else own[0].numel() ** -0.5
    return mean + spread * noise


def _statistic(name: str, own: torch.Tensor, generator: torch.Generator) -> torch.Tensor | None:
    """New running statistics; None for a buffer that is none."""
    last = name.rpartition(".")[2]
    if not own.is_floating_point() or sum(size != 1 for size in own.shape) != 1:
        return None
    if "var" in last or "std" in last:
        return 0.5 + torch.rand(own.shape, generator=generator)
    if "mean" in last:
        return _SPREAD * torch.randn(own.shape, generator=generator)
    return None
