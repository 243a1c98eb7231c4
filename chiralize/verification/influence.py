"""Which entries of its inputs a network reacts to: gradients where there are any, else finite differences.

`drift` asks it of an original and of a result: an entry that only the original reacts to is a dead input.

Example: y = 2 x[0] + 0 x[1] has the reactions (2 |r|, 0), r being the random number that y was multiplied with.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import Any

import torch

from chiralize.errors import ModelRunError
from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.reactions import random_gradients
from chiralize.graph.running import Arguments, Call, Runner, results

DRAWS = 2
"""Random combinations of the outputs whose gradients are taken; the larger reaction counts."""
STEP = 0.1
"""By which an entry is moved where there is no gradient."""
MOST_ENTRIES = 600
"""The most entries of an input that are moved one by one, a run each."""


def influence(runner: Runner, mirror: NetworkMirror, inputs: Sequence[Call]) -> list[torch.Tensor | None]:
    """Largest reaction of the outputs to every entry of every input, over the given calls.

    Axes that the mirror leaves alone (batch, frame) are reduced to size 1. Gradients of random combinations of the
    outputs; where the network has none, the outputs' largest change when the entry is moved. None for integers.
    States among the outputs are left out. Raises ModelRunError.
    """
    largest: list[torch.Tensor | None] = [None] * len(mirror.inputs)
    for call in inputs:
        try:
            reactions = _gradients(runner, mirror, call)
        except (RuntimeError, ModelRunError, NotImplementedError):  # no gradient through this network
            reactions = _differences(runner, mirror, call)
        for index, reaction in enumerate(reactions):
            largest[index] = _larger(largest[index], reaction)
    return largest


def _larger(known: torch.Tensor | None, reaction: torch.Tensor | None) -> torch.Tensor | None:
    """The larger of two reactions, entry by entry; the other one where one is None."""
    if known is None or reaction is None:
        return reaction if known is None else known
    return torch.maximum(known, reaction)


def _answers(mirror: NetworkMirror, value: Any) -> list[torch.Tensor]:
    """The floating-point outputs that are no states."""
    answers = list[torch.Tensor]()
    for index, output in enumerate(results(value)[0]):
        if index not in mirror.state_outputs and output.is_floating_point():
            answers.append(output)
    return answers


def _gradients(runner: Runner, mirror: NetworkMirror, call: Call) -> list[torch.Tensor | None]:
    """Reactions by gradients, an entry per input; None for integers, and for all where no output is a number.

    Raises RuntimeError where the network has no gradient.
    """
    tensors = Arguments.of(*call).tensors
    wanted = [index for index, tensor in enumerate(tensors) if tensor.is_floating_point()]
    largest: list[torch.Tensor | None] = [None] * len(tensors)
    generator = torch.Generator().manual_seed(0)
    for gradients in random_gradients(runner, call, wanted, partial(_answers, mirror), DRAWS, generator):
        for index, gradient in gradients.items():
            largest[index] = _larger(largest[index], _reduced(gradient, mirror, index))
    return largest


def _differences(runner: Runner, mirror: NetworkMirror, call: Call) -> list[torch.Tensor | None]:
    """Reactions by the largest change of any answer where one entry is moved; None for integers and large inputs.

    An entry is moved in all samples and frames at once: along axes that T leaves alone.
    """
    arguments = Arguments.of(*call)
    base = _answers(mirror, runner.run([call]).steps[0])
    reactions: list[torch.Tensor | None] = []
    for index, tensor in enumerate(arguments.tensors):
        representation = mirror.inputs[index]
        reaction = torch.zeros(representation.moved_sizes)
        if not tensor.is_floating_point() or reaction.numel() > MOST_ENTRIES:
            reactions.append(None)
            continue
        # With axes that T leaves alone of size 1: of an input (8, 27, 17, 2) there are 17 x 2 entries.
        for entry in product(*map(range, reaction.shape)):
            where: list[int | slice] = list(entry)
            for axis in representation.still_axes:
                where[axis] = slice(None)
            tensors = list(arguments.tensors)
            tensors[index] = tensor.detach().clone()
            tensors[index][tuple(where)] += STEP
            answers = _answers(mirror, runner.run([arguments.filled(tensors)]).steps[0])
            changes = [float((a - b).abs().max()) for a, b in zip(base, answers, strict=True) if a.numel()]
            reaction[entry] = max(changes, default=0.0)
        reactions.append(reaction)
    return reactions


def _reduced(gradient: torch.Tensor, mirror: NetworkMirror, index: int) -> torch.Tensor:
    """Sizes of a gradient, the largest along every axis that the mirror leaves alone."""
    size = gradient.detach().abs().to("cpu", torch.float64)
    for axis in mirror.inputs[index].still_axes:
        if size.shape[axis]:
            size = size.amax(axis, keepdim=True)
    return size
