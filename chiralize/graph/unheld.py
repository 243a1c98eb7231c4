"""Constants of a graph that its module does not hold: globals of a file, tables that forward makes of numbers.

An export lifts them out of the code, under names of its own. Nothing that is written into the module changes them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from chiralize.graph.model import CapturedModel, Leaf
from chiralize.graph.rewrite import tensors_of

OUTSIDE = "that is no buffer of the module"


def as_held(captured: CapturedModel, module: nn.Module) -> CapturedModel:
    """The graph with what the module does not hold marked so: as it is known, without a key, and not to be changed."""
    held = tensors_of(module)
    # Constants under a name of the export's own, which no key of the module leads to.
    outside = {leaf.name: leaf for leaf in captured.leaves.values() if leaf.stored and _is_outside(leaf, held)}
    leaves: dict[str, Leaf] = {}
    for name, leaf in captured.leaves.items():
        sources = tuple(key for key in leaf.sources if key in held)
        leaves[name] = replace(leaf, sources=sources)
        if name in outside:
            leaves[name] = replace(leaves[name], stored=False, known_as=_known_as(leaf.tensor, module))
    return replace(captured, leaves=leaves)


def _is_outside(leaf: Leaf, held: Collection[str]) -> bool:
    """Whether a leaf is a constant under no key of the module."""
    return leaf.kind == "constant" and not any(name in held for name in leaf.names)


def _known_as(tensor: torch.Tensor, module: nn.Module) -> str:
    """`A of graphs.ntu`: the global that a constant is; else that it is no buffer."""
    for part in module.modules():
        names = getattr(type(part).forward, "__globals__", {})
        for name, value in names.items():
            if _is_same(value, tensor):
                return f"{name} of {names.get('__name__', 'its module')}"
    return OUTSIDE


def _is_same(value: Any, tensor: torch.Tensor) -> bool:
    """Whether a global holds the numbers of a constant, in whatever precision."""
    if not isinstance(value, (np.ndarray, torch.Tensor)) or tuple(value.shape) != tuple(tensor.shape):
        return False
    try:
        return bool(torch.equal(torch.as_tensor(value).to(tensor), tensor))
    except (TypeError, RuntimeError):  # of objects or texts
        return False
