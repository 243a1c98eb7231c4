"""Fine-tuning a converted network without losing its symmetry.

Gradient steps break the symmetry of dense weights a little each time. Projecting after every step keeps it: exactly
for the weights, and the optimizer needs no change. Layers of `chiralize.nn` need none of that, other weights of a
network that has such layers do.
"""

from __future__ import annotations

from typing import Any

import torch

from chiralize import reynolds
from chiralize.copies import uncompiled
from chiralize.errors import UsageError
from chiralize.nn._module import ChiralModule


class Kept:
    """A network whose weights are projected after every step of an optimizer, until this is called."""

    def __init__(self, module: torch.nn.Module, chirality: Any, optimizer: torch.optim.Optimizer) -> None:
        self.module, self.exchanged = module, chirality.exchanged
        self.hidden = {name: rep for name, rep in chirality.hidden.items() if not _in_blocks(module, name)}
        self._handle = optimizer.register_step_post_hook(lambda *_: self.project())

    def project(self) -> None:
        """Make weights and running statistics symmetric now: after forward passes in training mode that no step of the
        optimizer followed (`torch.optim.swa_utils.update_bn`, a step that a `GradScaler` left out).
        """
        tensors = _tensors(self.module)  # looked up every time: they may have been replaced
        kept = [(tensors[name], rep, self.exchanged.get(name, name)) for name, rep in self.hidden.items()]
        with torch.no_grad():
            values = [reynolds.project(own, rep, tensors[partner]) for own, rep, partner in kept]
            for (own, *_rest), value in zip(kept, values, strict=True):
                own.copy_(value)

    def __call__(self) -> None:
        self._handle.remove()


def keep_symmetric(module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Kept:
    """Project the weights of a converted module after every step of the optimizer.

    module: a result of `chiralize`, folded or with blocks (it carries `chirality`), compiled or not.  Returns what
    stops it when it is called.
    Raises UsageError for a module without hidden representations, one whose weights have other names by now, and an
    optimizer of another network.
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
    module = uncompiled(module)
    tensors = _tensors(module)
    missing = [name for name in hidden if name not in tensors and not _in_blocks(module, name)]
    if missing:
        facts = f"it has no {missing[0]} any more, which is to stay symmetric ({len(missing)} of {len(hidden)})"
        raise UsageError(type(module).__name__, facts, "parametrize the network before it is converted")
    own = set(map(id, module.parameters()))
    if not any(id(given) in own for group in optimizer.param_groups for given in group["params"]):
        facts = "it holds no parameter of the network"
        raise UsageError(type(optimizer).__name__, facts, "make it from the parameters of the result of chiralize(...)")
    return Kept(module, chirality, optimizer)


def _in_blocks(module: torch.nn.Module, name: str) -> bool:
    """Whether a layer of `chiralize.nn` holds this weight in a way of its own."""
    part: Any = module
    for step in name.split("."):
        if isinstance(part, ChiralModule):
            return True
        part = getattr(part, step, None)
    return False


def _tensors(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and buffers by every name that they have."""
    parameters = module.named_parameters(remove_duplicate=False)
    return dict(parameters) | dict(module.named_buffers(remove_duplicate=False))
