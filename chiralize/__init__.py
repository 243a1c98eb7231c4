"""Turns trained PyTorch networks on bodies into exactly left/right equivariant ones, and proves it.

    from chiralize import chiralize, verify
    chiral = chiralize(model, "h36m", example_inputs=(x,))
    verify(chiral, "h36m", example_inputs=(x,)).raise_for_failure()

Names are loaded when first used: importing the package does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chiralize.api import audit as audit
    from chiralize.api import chiralize as chiralize
    from chiralize.api import plan as plan
    from chiralize.api import verify as verify
    from chiralize.cautions import ChiralizeWarning as ChiralizeWarning
    from chiralize.cautions import ConstantsWarning as ConstantsWarning
    from chiralize.cautions import DataWarning as DataWarning
    from chiralize.cautions import DriftWarning as DriftWarning
    from chiralize.cautions import MirrorWarning as MirrorWarning
    from chiralize.cautions import PrecisionWarning as PrecisionWarning
    from chiralize.cautions import SidesWarning as SidesWarning
    from chiralize.cautions import StateWarning as StateWarning
    from chiralize.errors import ChiralizeError as ChiralizeError
    from chiralize.skeleton.skeleton import Skeleton as Skeleton
    from chiralize.spec import ConversionSpec as ConversionSpec
    from chiralize.training import keep_symmetric as keep_symmetric

__version__ = "0.1.0"

_HOMES = {
    "chiralize": "chiralize.api",
    "verify": "chiralize.api",
    "plan": "chiralize.api",
    "audit": "chiralize.api",
    "keep_symmetric": "chiralize.training",
    "Skeleton": "chiralize.skeleton.skeleton",
    "ConversionSpec": "chiralize.spec",
    "ChiralizeError": "chiralize.errors",
    "ChiralizeWarning": "chiralize.cautions",
    "MirrorWarning": "chiralize.cautions",
    "DriftWarning": "chiralize.cautions",
    "SidesWarning": "chiralize.cautions",
    "ConstantsWarning": "chiralize.cautions",
    "StateWarning": "chiralize.cautions",
    "DataWarning": "chiralize.cautions",
    "PrecisionWarning": "chiralize.cautions",
}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'chiralize' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
