"""The dtypes that a network computes in, and how large its rounding is.

Bounds of verdicts depend on it: a network in float32 that casts to half precision inside is equivariant only up to
the rounding of half precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from chiralize.errors import ModelRunError
from chiralize.graph.copies import is_large
from chiralize.graph.running import Arguments, Call, Runner
from chiralize.graph.tensors import tensors_in


class _Casts(TorchDispatchMode):
    """Watches for ops that take a floating-point tensor and return a coarser one."""

    def __init__(self) -> None:
        super().__init__()
        self.coarser: set[torch.dtype] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        # Making a tensor like another (`zeros_like`) rounds nothing.
        name = func.overloadpacket.__name__
        if not (name.startswith("new_") or name.endswith("_like")):
            read, returned = floats((args, kwargs)), floats(out)
            if read and returned:
                finest = min(map(_eps, read))
                self.coarser |= {dtype for dtype in returned if _eps(dtype) > finest}
        return out


def floats(values: Any) -> set[torch.dtype]:
    """The dtypes of the floating-point tensors within nested values."""
    return {tensor.dtype for tensor in tensors_in(values) if tensor.is_floating_point()}


def _eps(dtype: torch.dtype) -> float:
    """The relative rounding of a floating-point type: the coarser, the larger."""
    return torch.finfo(dtype).eps


def coarser_inside(runner: Runner, call: Call) -> set[torch.dtype]:
    """Coarser dtypes that a network casts floating-point values to by itself."""
    # Once without watching: a first run settles how the network is run, and may be made twice.
    runner.run([call])
    watch = _Casts()
    try:
        with watch:
            runner.run([call])
    except ModelRunError:  # some compiled networks cannot be watched
        return set()
    return watch.coarser


def own_dtype(module: torch.nn.Module, example: Arguments) -> torch.dtype:
    """The coarsest floating-point dtype among parameters, buffers and inputs; float32 where there is none."""
    dtypes = floats([list(module.parameters()), list(module.buffers()), list(example.tensors)])
    return max(dtypes, key=_eps, default=torch.float32)


def rounding(module: torch.nn.Module, calls: Sequence[Call]) -> dict[int, float] | None:
    """How large a network's rounding is: max |f(x) - f64(x)| / max |f64(x)|, by position of the output.

    f64 is the network in float64. None where it is large, runs in float64 anyway, or does not run there. Its state is
    left as it was.
    """
    if not calls or is_large(module) or own_dtype(module, Arguments.of(*calls[0])) == torch.float64:
        return None
    errors, scales = dict[int, float](), dict[int, float]()
    try:
        with Runner(module) as narrow, Runner(module, double=True) as wide:
            for call in calls:
                answers = tensors_in(narrow.run([call]).steps)
                exact = tensors_in(wide.run([call]).steps)
                for index, (rounded, value) in enumerate(zip(answers, exact, strict=True)):
                    if value.is_floating_point() and value.numel():
                        error = float((rounded.double() - value).abs().max())
                        errors[index] = max(errors.get(index, 0.0), error)
                        scales[index] = max(scales.get(index, 0.0), float(value.abs().max()))
    except ModelRunError:
        return None
    for index, scale in scales.items():
        errors[index] = errors[index] / scale if scale else 0.0
    return errors
