"""Fine-tuning a folded network without losing its symmetry.

Gradient steps break the symmetry of dense weights a little each time. Projecting after every step keeps it: exactly
for the weights, and the optimizer needs no change.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from chiralize import reynolds
from chiralize.errors import UsageError


def keep_symmetric(module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    """Project the weights of a converted module after every step of the optimizer.

    module: a result of `chiralize` in folded form (it carries `chirality`).  Returns a function that stops it.
    Raises UsageError for a module without hidden representations.
    """
    chirality: Any = getattr(module, "chirality", None)
    hidden = getattr(chirality, "hidden", None)
    if not hidden:
        raise UsageError(
            type(module).__name__, "it does not say how its weights transform", "pass a folded result of chiralize(...)"
        )
    tensors = dict(module.named_parameters()) | dict(module.named_buffers())
    kept = [(tensors[name], rep) for name, rep in hidden.items() if name in tensors]

    def project(*_: Any) -> None:
        with torch.no_grad():
            for tensor, rep in kept:
                tensor.copy_(reynolds.project(tensor, rep))

    return optimizer.register_step_post_hook(project).remove
