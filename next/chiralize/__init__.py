"""Turns trained PyTorch networks on bodies into exactly left/right equivariant ones, and proves it.

    from chiralize import chiralize, verify
    chiral = chiralize(model, "h36m", method="average")
    verify(chiral).raise_for_failure()

Names are loaded when first used: importing the package does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chiralize.body.skeleton import Skeleton as Skeleton
    from chiralize.body.spec import Spec as Spec
    from chiralize.commands.api import chiralize as chiralize
    from chiralize.commands.api import verify as verify
    from chiralize.errors import ChiralizeError as ChiralizeError
    from chiralize.errors import ChiralizeWarning as ChiralizeWarning
    from chiralize.nn.mirror import Mirror as Mirror
    from chiralize.nn.training import keep_symmetric as keep_symmetric
    from chiralize.nn.training import recipe as recipe

__version__ = "0.2.0.dev0"

# The module of every public name, for `__getattr__`. The imports above say the same to type checkers.
_HOMES = {
    "chiralize": "chiralize.commands.api",
    "verify": "chiralize.commands.api",
    "Mirror": "chiralize.nn.mirror",
    "keep_symmetric": "chiralize.nn.training",
    "recipe": "chiralize.nn.training",
    "Skeleton": "chiralize.body.skeleton",
    "Spec": "chiralize.body.spec",
    "ChiralizeError": "chiralize.errors",
    "ChiralizeWarning": "chiralize.errors",
}
__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'chiralize' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
