"""Which entries of its inputs a network reacts to: gradients where there are any, else finite differences."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch

from chiralize.errors import ModelRunError
from chiralize.graph.mirror import Mirror
from chiralize.graph.running import Arguments, Call, Runner, random_tensor, results

DRAWS = 2
STEP = 0.1
MOST_ENTRIES = 600


def influence(runner: Runner, mirror: Mirror, inputs: Sequence[Call]) -> list[torch.Tensor | None]:
    """Largest reaction of the outputs to every entry of every input, over the given calls.

    Axes that the mirror leaves alone (batch, frame) are reduced to size 1. Gradients of random combinations of the
    outputs; where the network has none, the outputs' largest change when the entry is moved. None for integers.
    States among the outputs are left out. Raises ModelRunError.
    """
    found: list[torch.Tensor | None] = [None] * len(mirror.inputs)
    for call in inputs:
        try:
            reactions = _gradients(runner, mirror, call)
        except (RuntimeError, ModelRunError, NotImplementedError):  # no gradient through this network
            reactions = _differences(runner, mirror, call)
        for index, own in enumerate(reactions):
            known = found[index]
            if own is not None:
                found[index] = own if known is None else torch.maximum(known, own)
    return found


def _kept(mirror: Mirror, outputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    return [own for index, own in enumerate(outputs) if index not in mirror.state_outputs and own.is_floating_point()]


def _gradients(runner: Runner, mirror: Mirror, call: Call) -> list[torch.Tensor | None]:
    arguments = Arguments.of(*call)
    leaves = [own.detach().clone().requires_grad_() if own.is_floating_point() else own for own in arguments.tensors]
    wanted = [own for own in leaves if own.requires_grad]
    found: list[torch.Tensor | None] = [None] * len(leaves)
    generator = torch.Generator().manual_seed(0)
    with torch.enable_grad():
        module = runner.start()
        outputs = _kept(mirror, results(runner.call(module, arguments.filled(leaves)))[0])
        if not outputs or not wanted:
            return found
        for _ in range(DRAWS):
            loss = sum((own * random_tensor(own.detach(), generator)).sum() for own in outputs)
            assert isinstance(loss, torch.Tensor)
            grads = iter(torch.autograd.grad(loss, wanted, retain_graph=True, allow_unused=True))
            for index, own in enumerate(leaves):
                if not own.requires_grad:
                    continue
                grad = next(grads)
                size = _reduced(torch.zeros_like(own) if grad is None else grad, mirror, index)
                known = found[index]
                found[index] = size if known is None else torch.maximum(known, size)
    return found


def _differences(runner: Runner, mirror: Mirror, call: Call) -> list[torch.Tensor | None]:
    arguments = Arguments.of(*call)
    base = _kept(mirror, results(runner.run([call]).steps[0])[0])
    found: list[torch.Tensor | None] = []
    for index, tensor in enumerate(arguments.tensors):
        axes = mirror.inputs[index].axes
        sizes = [1 if axis.is_trivial else axis.size for axis in axes]
        size = torch.zeros(sizes)
        if not tensor.is_floating_point() or size.numel() > MOST_ENTRIES:
            found.append(None)
            continue
        for entry in product(*(range(count) for count in sizes)):
            where = tuple(slice(None) if axis.is_trivial else at for axis, at in zip(axes, entry, strict=True))
            moved = tensor.detach().clone()
            moved[where] += STEP
            tensors = [moved if place == index else own for place, own in enumerate(arguments.tensors)]
            there = _kept(mirror, results(runner.run([arguments.filled(tensors)]).steps[0])[0])
            change = [float((a - b).abs().max()) for a, b in zip(base, there, strict=True) if a.numel()]
            size[entry] = max(change, default=0.0)
        found.append(size)
    return found


def _reduced(gradient: torch.Tensor, mirror: Mirror, index: int) -> torch.Tensor:
    size = gradient.detach().abs().to("cpu", torch.float64)
    for place, axis in enumerate(mirror.inputs[index].axes):
        if axis.is_trivial and size.shape[place]:
            size = size.amax(place, keepdim=True)
    return size
