"""Fine-tuning a converted network without losing its symmetry.

Gradient steps break the symmetry of dense weights a little each time. Projecting after every step keeps it: exactly
for the weights, and the optimizer needs no change. Layers of `chiralize.nn` need none of that, other weights of a
network that has such layers do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from chiralize import reynolds
from chiralize.errors import UsageError


def keep_symmetric(module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    """Project the weights of a converted module after every step of the optimizer.

    module: a result of `chiralize`, folded or with blocks (it carries `chirality`).  Returns a function that stops it.
    Raises UsageError for a module without hidden representations.
    """
    chirality: Any = getattr(module, "chirality", None)
    hidden = getattr(chirality, "hidden", None)
    if not hidden:
        raise UsageError(
            type(module).__name__, "it does not say how its weights transform", "pass a folded result of chiralize(...)"
        )
    entries = (*(chirality.spec.inputs or ()), *(chirality.spec.outputs or ()))
    if any(center for entry in entries for _, center in entry.reflect):
        raise UsageError(
            type(module).__name__, "its mirror is affine (`reflect`), so its biases hold the offset of the coordinates",
            "centre the coordinates before the network for fine-tuning, or convert again afterwards",
        )  # fmt: skip
    tensors = dict(module.named_parameters()) | dict(module.named_buffers())
    partner = {name: tensors[chirality.exchanged.get(name, name)] for name in hidden if name in tensors}
    kept = [(own, rep, partner[name]) for name, rep in hidden.items() if (own := tensors.get(name)) is not None]

    def project(*_: Any) -> None:
        with torch.no_grad():
            values = [reynolds.project(own, rep, other) for own, rep, other in kept]
            for (own, *_rest), value in zip(kept, values, strict=True):
                own.copy_(value)

    return optimizer.register_step_post_hook(project).remove
