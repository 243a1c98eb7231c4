"""Discrete Fourier transforms as matrix products, for runtimes whose own are not exact enough.

onnxruntime's DFT loses digits where the length is no power of two: 7e-6 of the largest value at 27 points, 7e-5 at 243,
where torch has 1e-7. Up to some hundred points a product with the matrix of cosines and sines is as good as torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import pi, prod

import torch
from torch import Tensor
from torch.export import ExportedProgram

_MOST = 1024
_aten = torch.ops.aten


def transforms(program: ExportedProgram) -> bool:
    """Whether a program holds Fourier transforms."""
    return any("fft_" in str(node.target) for node in program.graph.nodes if node.op == "call_function")


def as_products(program: ExportedProgram) -> ExportedProgram:
    """The program with every Fourier transform as a matrix product; itself where a length is open, or above `_MOST`."""
    table = {op: own for op, own in torch.export.default_decompositions().items() if str(op).startswith("aten.fft_")}
    table |= {_aten._fft_r2c.default: _real, _aten._fft_c2c.default: _complex, _aten._fft_c2r.default: _to_real}
    try:
        return program.run_decompositions(table)
    except _OtherLengthError:
        return program


class _OtherLengthError(Exception):
    """A length that has no matrix here."""


def _complex(x: Tensor, dim: Sequence[int], normalization: int, forward: bool) -> Tensor:
    """X[k] = sum over t of x[t] exp(-2 pi i k t / n), along every axis; backwards with the other sign."""
    sign = -1.0 if forward else 1.0
    for place in dim:
        cos, sin = _waves(x, x.shape[place])
        re, im = (_along(part, place) for part in torch.view_as_real(x).unbind(-1))
        parts = re @ cos - sign * (im @ sin), im @ cos + sign * (re @ sin)
        x = torch.view_as_complex(torch.stack([_along(part, place) for part in parts], -1))
    return x * _scale(x.shape, dim, normalization)


def _real(x: Tensor, dim: Sequence[int], normalization: int, onesided: bool) -> Tensor:
    """Of real values; the last axis may keep its first half alone."""
    count, place = x.shape[dim[-1]], dim[-1]
    cos, sin = (table[:, : count // 2 + 1] if onesided else table for table in _waves(x, count))
    rows = _along(x, place)
    out = torch.view_as_complex(torch.stack([_along(rows @ cos, place), _along(-(rows @ sin), place)], -1))
    return _complex(out, dim[:-1], 0, True) * _scale(x.shape, dim, normalization)


def _to_real(x: Tensor, dim: Sequence[int], normalization: int, last_dim_size: int) -> Tensor:
    """Real values from the first half of their transform: its other half are the conjugates."""
    x, place = _complex(x, dim[:-1], 0, False), dim[-1]
    cos, sin = (table[: x.shape[place]] for table in _waves(x, last_dim_size))
    inner = torch.arange(x.shape[place], device=x.device).unsqueeze(1)
    twice = 2 - ((inner == 0) | (2 * inner == last_dim_size)).to(cos.dtype)
    re, im = (_along(part, place) for part in torch.view_as_real(x).unbind(-1))
    out = _along(re @ (cos * twice) - im @ (sin * twice), place)
    return out * _scale(out.shape, dim, normalization)


def _along(x: Tensor, place: int) -> Tensor:
    return x.transpose(place, -1)


def _waves(x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """cos and sin of 2 pi k t / n, "t k"."""
    if not isinstance(count, int) or count > _MOST:
        raise _OtherLengthError
    steps = torch.arange(count, device=x.device)
    angles = (torch.outer(steps, steps) % count).to(torch.float64) * (2 * pi / count)
    dtype = x.real.dtype if x.is_complex() else x.dtype
    return angles.cos().to(dtype), angles.sin().to(dtype)


def _scale(shape: Sequence[int], dim: Sequence[int], normalization: int) -> float:
    """normalization: 0 none, 1 by the root of the number of points, 2 by their number."""
    return float(prod(shape[place] for place in dim)) ** -(normalization / 2)
