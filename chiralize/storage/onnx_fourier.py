"""Discrete Fourier transforms as matrix products, for runtimes whose own are not exact enough.

onnxruntime's DFT loses digits where the length is no power of two: 7e-6 of the largest value at 27 points, 7e-5 at 243,
where torch has 1e-7. Up to some hundred points a product with the matrix of cosines and sines is as good as torch.

`onnx_export` calls `as_products` where a file with transforms was not near enough to torch. Transforms of torch are of
three kinds: complex to complex (c2c), real to complex (r2c) and complex to real (c2r). Each becomes

    X[k] = sum over t of x[t] (cos a - i sin a),   a = 2 pi k t / n

on real and imaginary parts. For n = 4 the matrices "t k" are

    cos  1  1  1  1      sin  0  0  0  0
         1  0 -1  0           0  1  0 -1
         1 -1  1 -1           0  0  0  0
         1  0 -1  0           0 -1  0  1
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import chain
from math import pi, prod
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from chiralize.errors import CaptureError
from chiralize.graph.open_axes import axes_of
from chiralize.graph.open_sizes import opened
from chiralize.graph.other_sizes import symbolic_sizes
from chiralize.graph.running import Call

_MOST = 1024
"""Points of a transform: the matrices have n x n entries, and are written into the file."""
_aten = torch.ops.aten


def transforms(program: ExportedProgram) -> bool:
    """Whether a program holds Fourier transforms."""
    return any("fft_" in str(node.target) for node in program.graph.nodes if node.op == "call_function")


def as_products(program: ExportedProgram, example: Call) -> ExportedProgram:
    """The program with every Fourier transform as a matrix product; itself where a length is above `_MOST`.

    Lengths that are open are closed, at those of the example: a file for these alone is better than none.
    """
    # Each round closes the open axes on which one length depends. It ends, since `_closed` gives None without any.
    current: ExportedProgram | None = program
    while current is not None:
        try:
            return _with_matrices(current)
        except _OtherLengthError as error:
            current = _closed(current, example, error.symbols)
    return program


def _with_matrices(program: ExportedProgram) -> ExportedProgram:
    """The program with every Fourier transform as a matrix product. Raises _OtherLengthError."""
    # torch.fft.rfft and the like are first taken apart into the three kinds, by torch's own decompositions.
    defaults = torch.export.default_decompositions()
    table = {op: decompose for op, decompose in defaults.items() if str(op).startswith("aten.fft_")}
    table |= {_aten._fft_r2c.default: _real, _aten._fft_c2c.default: _complex, _aten._fft_c2r.default: _to_real}
    return program.run_decompositions(table)


class _OtherLengthError(Exception):
    """A length for which no matrix is built: an open one, or one above `_MOST`.

    symbols: of the program, on which an open one depends; none where it is too long.
    """

    def __init__(self, length: Any) -> None:
        self.symbols: Collection[Any] = () if isinstance(length, int) else length.node.expr.free_symbols
        super().__init__(f"{length} points")


def _closed(program: ExportedProgram, example: Call, symbols: Collection[Any]) -> ExportedProgram | None:
    """The program without the open axes that depend on these symbols; None where there are none, or export refuses."""
    sizes = symbolic_sizes(program)  # of every input that is a tensor, in their order
    of_tensors = iter(sizes)

    def depends(size: Any) -> bool:
        """Whether a size depends on one of the symbols."""
        return not getattr(size, "free_symbols", set[Any]()).isdisjoint(symbols)

    def left_open(leaf: Any) -> Any:
        """The axes of an argument that stay open. Called once for each, in the order of the sizes."""
        if not isinstance(leaf, Tensor):
            return None
        axes = dict[int, Any]()
        for axis, size in enumerate(next(of_tensors)):
            if not (isinstance(size, int) or depends(size)):
                axes[axis] = torch.export.Dim.AUTO
        return axes

    if not any(map(depends, chain.from_iterable(sizes))):
        return None
    try:
        return opened(program.module(check_guards=False), *example, axes_of(left_open, example))
    except CaptureError:
        return None


def _complex(x: Tensor, dim: Sequence[int], normalization: int, forward: bool) -> Tensor:
    """X[k] = sum over t of x[t] exp(-2 pi i k t / n), along every axis; backwards with the other sign.

    dim: the axes.  normalization: see `_scale`.  A transform along several axes is one along each in turn.
    """
    sign = -1.0 if forward else 1.0
    for axis in dim:
        cos, sin = _waves(x, x.shape[axis])
        re, im = _parts_along(x, axis)
        # (re + i im)(cos + sign i sin)
        x = _from_parts(re @ cos - sign * (im @ sin), im @ cos + sign * (re @ sin), axis)
    return x * _scale(x.shape, dim, normalization)


def _real(x: Tensor, dim: Sequence[int], normalization: int, onesided: bool) -> Tensor:
    """The transform of real values; onesided: of the last axis only the first half, which determines the other."""
    # Real values have X[n - k] = conj X[k]. Only the last axis can use that: behind it the values are complex.
    axis = dim[-1]
    count = x.shape[axis]
    frequencies = count // 2 + 1 if onesided else count
    cos, sin = (waves[:, :frequencies] for waves in _waves(x, count))
    rows = x.transpose(axis, -1)
    out = _from_parts(rows @ cos, -(rows @ sin), axis)
    return _complex(out, dim[:-1], 0, True) * _scale(x.shape, dim, normalization)


def _to_real(x: Tensor, dim: Sequence[int], normalization: int, last_dim_size: int) -> Tensor:
    """Real values from the first half of their transform: its other half are the conjugates."""
    # The complex axes first, without scale: the scale counts all axes, and is known when the last one has its size.
    x, axis = _complex(x, dim[:-1], 0, False), dim[-1]
    cos, sin = (waves[: x.shape[axis]] for waves in _waves(x, last_dim_size))
    # Every frequency stands for itself and its conjugate, but for those that are their own conjugates: 0 and n / 2.
    frequencies = torch.arange(x.shape[axis], device=x.device).unsqueeze(1)
    twice = 2 - ((frequencies == 0) | (2 * frequencies == last_dim_size)).to(cos.dtype)
    re, im = _parts_along(x, axis)
    out = (re @ (cos * twice) - im @ (sin * twice)).transpose(axis, -1)
    return out * _scale(out.shape, dim, normalization)


def _parts_along(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Real and imaginary part, each with this axis last."""
    re, im = torch.view_as_real(x).unbind(-1)
    return re.transpose(axis, -1), im.transpose(axis, -1)


def _from_parts(re: Tensor, im: Tensor, axis: int) -> Tensor:
    """The inverse of `_parts_along`."""
    return torch.view_as_complex(torch.stack([re.transpose(axis, -1), im.transpose(axis, -1)], -1))


def _waves(x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """cos and sin of 2 pi k t / n, "t k", in the number type of x (of its parts). Raises _OtherLengthError."""
    if not isinstance(count, int) or count > _MOST:
        raise _OtherLengthError(count)
    # k t modulo n, as whole numbers: angles below 2 pi keep all digits of float64.
    steps = torch.arange(count, device=x.device)
    angles = (torch.outer(steps, steps) % count).to(torch.float64) * (2 * pi / count)
    dtype = x.real.dtype if x.is_complex() else x.dtype
    return angles.cos().to(dtype), angles.sin().to(dtype)


def _scale(shape: Sequence[int], dim: Sequence[int], normalization: int) -> float:
    """The factor of a transform over these axes. normalization: 0 none, 1 by the root of the number of points, 2 by it.

    2 ** -(0.5) for one axis of 2 points and normalization 1.
    """
    return float(prod(shape[axis] for axis in dim)) ** -(normalization / 2)
