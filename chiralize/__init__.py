"""Turns trained PyTorch networks on bodies into exactly left/right equivariant ones, and proves it.

    from chiralize import chiralize, verify
    chiral = chiralize(model, "h36m")
    verify(chiral).raise_for_failure()

Names are loaded when first used: importing the package does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chiralize.body.skeleton.skeleton import Skeleton as Skeleton
    from chiralize.body.tensors import ConversionSpec as ConversionSpec
    from chiralize.commands.api import audit as audit
    from chiralize.commands.api import chiralize as chiralize
    from chiralize.commands.api import plan as plan
    from chiralize.commands.api import verify as verify
    from chiralize.commands.attaching import attach as attach
    from chiralize.commands.attaching import load as load
    from chiralize.commands.chirality import chirality as chirality
    from chiralize.commands.flip_test import flip_test as flip_test
    from chiralize.commands.saving import save as save
    from chiralize.errors import ChiralizeError as ChiralizeError
    from chiralize.errors import ChiralizeWarning as ChiralizeWarning
    from chiralize.errors import ConstantsWarning as ConstantsWarning
    from chiralize.errors import DataWarning as DataWarning
    from chiralize.errors import DriftWarning as DriftWarning
    from chiralize.errors import LoopWarning as LoopWarning
    from chiralize.errors import MirrorWarning as MirrorWarning
    from chiralize.errors import PrecisionWarning as PrecisionWarning
    from chiralize.errors import SidesWarning as SidesWarning
    from chiralize.errors import StateWarning as StateWarning
    from chiralize.nn.mirror import Mirror as Mirror
    from chiralize.nn.training import keep_symmetric as keep_symmetric
    from chiralize.nn.training import recipe as recipe

__version__ = "0.1.0"

# The module of every public name, for `__getattr__`. The imports above say the same to type checkers.
_HOMES = {
    "chiralize": "chiralize.commands.api",
    "verify": "chiralize.commands.api",
    "plan": "chiralize.commands.api",
    "audit": "chiralize.commands.api",
    "save": "chiralize.commands.saving",
    "load": "chiralize.commands.attaching",
    "attach": "chiralize.commands.attaching",
    "chirality": "chiralize.commands.chirality",
    "Mirror": "chiralize.nn.mirror",
    "flip_test": "chiralize.commands.flip_test",
    "keep_symmetric": "chiralize.nn.training",
    "recipe": "chiralize.nn.training",
    "Skeleton": "chiralize.body.skeleton.skeleton",
    "ConversionSpec": "chiralize.body.tensors",
}
_ERRORS = (
    "ChiralizeError ChiralizeWarning MirrorWarning DriftWarning SidesWarning ConstantsWarning StateWarning DataWarning "
    "PrecisionWarning LoopWarning"
)
_HOMES |= dict.fromkeys(_ERRORS.split(), "chiralize.errors")

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'chiralize' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
