"""Weights and statistics as training might leave them: all different, none of them symmetric by accident.

A fresh BatchNorm commutes with every mirror, and so does an adjacency of equal numbers; what they hide comes to light
only when every number is drawn.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

_SPREAD, _LEAST, _MANY = 0.3, 1e-4, 16


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


def settle(model: torch.nn.Module, inputs: Sequence[Any], seed: int = 0) -> None:
    """Give batch norms the statistics of what reaches them on these inputs, each off by as much as `scramble` draws.

    Training leaves statistics that fit the weights. Those drawn of nothing let answers grow from block to block until
    float32 holds no digit of a tanh or a softmax. In place; a norm that sees fewer than two values keeps what it has.
    """
    generator = torch.Generator().manual_seed(seed)
    done: set[int] = set()

    def fit(norm: torch.nn.Module, args: tuple[Any, ...]) -> None:
        x = args[0].transpose(0, 1).flatten(1) if args[0].dim() > 1 else args[0][None]
        if id(norm) in done or norm.running_mean is None or x.shape[1] < 2:
            return
        done.add(id(norm))
        spread = x.var(1) if x.shape[1] >= _MANY else x.var(1).mean().expand(len(x))
        drawn = [torch.randn(len(x), generator=generator), torch.rand(len(x), generator=generator)]
        norm.running_mean.copy_(x.mean(1) + _SPREAD * spread.sqrt() * drawn[0])
        norm.running_var.copy_(spread * (0.5 + drawn[1]))

    hooks = [own.register_forward_pre_hook(fit) for own in model.modules() if isinstance(own, _BatchNorm)]
    try:
        with torch.no_grad():
            if hooks:  # a network without norms may keep a state
                model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()


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
