"""Gradients of random combinations of a network's answers by its inputs: which entries it reacts to, and how strongly.

With y = f(x) and random numbers r of its shape, one gradient of sum(r y) says of every entry of x at once what many
gradients, one for each entry of y, would say of it.

Example: y = 2 x[0] + 0 x[1] has the gradients (2 r, 0).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from chiralize.graph.running import Arguments, Call, Runner, random_tensor


def random_gradients(
    runner: Runner,
    call: Call,
    wanted: Collection[int],
    answers: Callable[[Any], Sequence[Tensor]],
    draws: int,
    generator: torch.Generator,
) -> list[dict[int, Tensor]]:
    """The gradients by the inputs at these positions, once for each combination; none where nothing answers a number.

    wanted: positions of floating-point tensors among the call's.  answers: those of a result that are combined.
    Raises RuntimeError where the network has no gradient, ModelRunError where it fails.
    """
    arguments = Arguments.of(*call)
    leaves, asked = list(arguments.tensors), dict[int, Tensor]()
    for index in wanted:
        leaves[index] = asked[index] = leaves[index].detach().clone().requires_grad_()
    drawn = list[dict[int, Tensor]]()
    with torch.enable_grad():  # `Runner.run` would switch gradients off
        outputs = answers(runner.call(runner.start(), arguments.filled(leaves)))
        if not outputs or not asked:
            return []
        for _ in range(draws):
            terms = [(output * random_tensor(output.detach(), generator)).sum() for output in outputs]
            gradients = torch.autograd.grad(
                sum(terms[1:], terms[0]), list(asked.values()), retain_graph=True, allow_unused=True
            )
            by_input = dict[int, Tensor]()
            for (index, leaf), gradient in zip(asked.items(), gradients, strict=True):
                # the outputs may not depend on this input at all
                by_input[index] = torch.zeros_like(leaf) if gradient is None else gradient
            drawn.append(by_input)
    return drawn
