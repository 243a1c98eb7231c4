"""Training that can be stopped at any moment and goes on to the same result."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from examples.study.files import write_atomically
from examples.study.task import Recipe, Samples, Task

SAVE_EVERY = 60.0
"""Seconds between two checkpoints."""

Advance = Callable[[float], None]
"""Told the share of the training that is done."""


@dataclass(frozen=True)
class Trained:
    """A network in eval mode. seconds: of the processor, for the training, over all runs that it took."""

    network: nn.Module
    seconds: float


def train(
    task: Task,
    network: nn.Module,
    recipe: Recipe,
    flips: bool,
    seed: int,
    place: Path | None = None,
    advance: Advance = lambda share: None,
    after: Callable[[nn.Module, torch.optim.Optimizer], object] = lambda network, optimizer: None,
) -> Trained:
    """Updates the network's own parameters.

    flips: every sample is replaced by its mirror image with probability 1/2.  seed: every step has generators of its
    own, so that a continued run draws what an uninterrupted one would have.  place: file of the checkpoint, and of the
    result; a finished training is read from it.  after: called once with network and optimizer.
    """
    optimizer = recipe.optimizer(network.parameters())
    after(network, optimizer)
    rates = [group["lr"] for group in optimizer.param_groups]
    first, seconds = _resume(place, network, optimizer)
    began, saved = time.process_time(), time.perf_counter()
    network.train()
    for step in range(first, recipe.steps):
        share = step / recipe.steps
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * recipe.decay(share)
        if recipe.momentum is not None:
            _set_momentum(network, recipe.momentum(share))
        torch.manual_seed(hash((seed, step)) % 2**31)  # dropout
        optimizer.zero_grad(set_to_none=True)
        task.loss(network, _batch(task, recipe.batch, flips, seed, step)).backward()
        if recipe.clip is not None:
            nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
        optimizer.step()
        advance((step + 1) / recipe.steps)
        if place is not None and time.perf_counter() - saved > SAVE_EVERY:
            saved = time.perf_counter()
            _save(place, network, optimizer, step + 1, seconds + time.process_time() - began)
    seconds += time.process_time() - began if first < recipe.steps else 0.0
    if place is not None and first < recipe.steps:
        _save(place, network, None, recipe.steps, seconds)
    return Trained(network.eval(), seconds)


def _batch(task: Task, count: int, flips: bool, seed: int, step: int) -> Samples:
    rng = np.random.default_rng([seed, step])
    samples = task.draw(rng, count)
    if not flips:
        return samples
    chosen = torch.from_numpy(rng.random(len(samples.inputs)) < 0.5)
    for values, mirror in ((samples.inputs, task.mirror_inputs), (samples.targets, task.mirror_targets)):
        values[chosen] = mirror(values[chosen])
    return samples


def _set_momentum(network: nn.Module, momentum: float) -> None:
    for module in network.modules():
        if "BatchNorm" in type(module).__name__:
            module.momentum = momentum  # type: ignore[assignment]


def _resume(place: Path | None, network: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, float]:
    """Steps that are done, and the seconds that they took."""
    if place is None or not place.exists():
        return 0, 0.0
    state = torch.load(place, weights_only=True)
    network.load_state_dict(state["network"])
    if state["optimizer"] is not None:
        optimizer.load_state_dict(state["optimizer"])
    return state["steps"], state["seconds"]


def _save(place: Path, network: nn.Module, optimizer: torch.optim.Optimizer | None, steps: int, seconds: float) -> None:
    state = {
        "network": network.state_dict(),
        "optimizer": None if optimizer is None else optimizer.state_dict(),
        "steps": steps,
        "seconds": seconds,
    }
    write_atomically(place, lambda path: torch.save(state, path))
