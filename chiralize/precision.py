"""The dtypes that a network computes in."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from chiralize.errors import ModelRunError
from chiralize.running import Call, Runner


class _Casts(TorchDispatchMode):
    """Watches for ops that take a floating-point tensor and return a coarser one."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[torch.dtype] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if not (name.startswith("new_") or name.endswith("_like")):
            taken, given = floats((args, kwargs)), floats(out)
            if taken and given:
                finest = min(torch.finfo(own).eps for own in taken)
                self.found |= {own for own in given if torch.finfo(own).eps > finest}
        return out


def floats(tree: Any) -> set[torch.dtype]:
    """The floating-point dtypes among some values."""
    leaves = tree_flatten(tree)[0]
    return {leaf.dtype for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.is_floating_point()}


def coarser_inside(runner: Runner, call: Call) -> set[torch.dtype]:
    """Coarser dtypes that a network casts to by itself."""
    runner.run([call])
    watch = _Casts()
    try:
        with watch:
            runner.run([call])
    except ModelRunError:  # some compiled networks cannot be watched
        return set()
    return watch.found
