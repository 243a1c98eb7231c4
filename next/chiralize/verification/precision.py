"""In which precision does a network compute, and how much does it round away there?

Bounds of verdicts depend on it: a network in float32 that casts to half precision inside is equivariant only up to
the rounding of half precision.

    own_dtype(net, example)     torch.float32
    rounding(net, calls)        {0: 3.1e-7}: output 0 is off by so much of its largest entry
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from chiralize.errors import ModelRunError
from chiralize.graph.run import Arguments, Call, Runner, copied, tensors_in, widen


def own_dtype(module: torch.nn.Module, example: Arguments) -> torch.dtype:
    """The coarsest floating-point dtype among parameters, buffers and inputs; float32 where there is none."""
    dtypes = _floats([list(module.parameters()), list(module.buffers()), list(example.tensors)])
    return max(dtypes, key=_eps, default=torch.float32)


def coarser_inside(runner: Runner, call: Call) -> set[torch.dtype]:
    """Coarser dtypes that a network casts floating-point values to by itself. Raises ModelRunError."""
    watch = _Casts()
    with watch:
        runner.run([call])
    return watch.coarser


def rounding(module: torch.nn.Module, calls: Sequence[Call]) -> dict[int, float] | None:
    """How large a network's rounding is: max |f(x) - f64(x)| / max |f64(x)|, by position of the output.

    f64 is the network in float64. None where it runs in float64 anyway, or does not run there.
    """
    if not calls or own_dtype(module, Arguments.of(*calls[0])) == torch.float64:
        return None
    errors, scales = dict[int, float](), dict[int, float]()
    try:
        with Runner(module) as narrow, Runner(module, double=True) as wide:
            for call in calls:
                answers, exact = (tensors_in(runner.run([call]).steps) for runner in (narrow, wide))
                for index, (rounded, value) in enumerate(zip(answers, exact, strict=True)):
                    if value.is_floating_point() and value.numel():
                        error = float((rounded.double() - value).abs().max())
                        errors[index] = max(errors.get(index, 0.0), error)
                        scales[index] = max(scales.get(index, 0.0), float(value.abs().max()))
    except ModelRunError:
        return None
    return {index: errors[index] / scale if scale else 0.0 for index, scale in scales.items()}


def moved_by_rounding(module: torch.nn.Module, dtype: torch.dtype, double: bool) -> torch.nn.Module:
    """A copy with every parameter and buffer moved by half a unit in its last place, up or down at random.

    dtype: whose last place is meant.  double: the copy computes in float64.
    """
    moved = copied(module)
    if double:
        widen(moved)
    generator = torch.Generator().manual_seed(0)
    # eps is one unit in the last place of 1. In the network's own dtype 1 + eps / 2 would be rounded to 1.
    step = torch.finfo(dtype).eps * (0.5 if double else 1.0)
    with torch.no_grad():
        # By identity: two names of one tensor (tied weights) move it once.
        for tensor in {id(tensor): tensor for tensor in (*moved.parameters(), *moved.buffers())}.values():
            if tensor.is_floating_point():
                sign = torch.randint(0, 2, tensor.shape, generator=generator).to(tensor.device, tensor.dtype) * 2 - 1
                tensor.mul_(1 + step * sign)
    return moved


class _Casts(TorchFunctionMode):
    """Watches for functions that take a floating-point tensor and return a coarser one."""

    def __init__(self) -> None:
        super().__init__()
        self.coarser: set[torch.dtype] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        read, returned = _floats((args, kwargs)), _floats(out)
        # Making a tensor like another (`zeros_like`, `new_zeros`) rounds nothing.
        name = getattr(func, "__name__", "").partition(".")[0]
        if read and returned and not (name.startswith("new_") or name.endswith("_like")):
            finest = min(map(_eps, read))
            self.coarser |= {dtype for dtype in returned if _eps(dtype) > finest}
        return out


def _floats(values: Any) -> set[torch.dtype]:
    """The dtypes of the floating-point tensors within nested values."""
    return {tensor.dtype for tensor in tensors_in(values) if tensor.is_floating_point()}


def _eps(dtype: torch.dtype) -> float:
    """The relative rounding of a floating-point type: the coarser, the larger."""
    return torch.finfo(dtype).eps
