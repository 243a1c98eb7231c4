"""The dtypes that a network computes in, and what is rounded away in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from chiralize.errors import ModelRunError
from chiralize.graph.copies import is_large
from chiralize.graph.running import Arguments, Call, Runner, results


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


def own_dtype(module: torch.nn.Module, example: Arguments) -> torch.dtype:
    """The coarsest floating-point dtype among parameters, buffers and inputs; float32 where there is none."""
    found = floats([list(module.parameters()), list(module.buffers()), list(example.tensors)])
    return max(found, key=lambda own: torch.finfo(own).eps, default=torch.float32)


def rounding(module: torch.nn.Module, calls: Sequence[Call]) -> dict[int, float] | None:
    """What a network rounds away in its own precision: max |f(x) - f64(x)| / max |f64(x)| by position of the output.

    None where it is large, runs in float64 anyway, or does not run there. Its state is left as it was.
    """
    if not calls or is_large(module) or own_dtype(module, Arguments.of(*calls[0])) == torch.float64:
        return None
    errors, scales = dict[int, float](), dict[int, float]()
    try:
        with Runner(module) as own, Runner(module, double=True) as wide:
            wide.stateful = own.notice_state(calls[0])
            for call in calls:
                answers, exact = (results(runner.run([call]).steps[0])[0] for runner in (own, wide))
                for index, (rounded, value) in enumerate(zip(answers, exact, strict=True)):
                    if value.is_floating_point() and value.numel():
                        error = float((rounded.double() - value).abs().max())
                        errors[index] = max(errors.get(index, 0.0), error)
                        scales[index] = max(scales.get(index, 0.0), float(value.abs().max()))
    except ModelRunError:
        return None
    return {index: error / scales[index] if scales[index] else 0.0 for index, error in errors.items()}
