"""Fourier transforms: linear, along axes that stay in place."""

from __future__ import annotations

from collections.abc import Sequence

from chiralize.infer.registry import Call, Drawn, Results, Sample, normal
from chiralize.infer.rules._families import rule
from chiralize.symmetry.symbolic import SymbolicRepresentation, trivial

_x = normal(3, 4)
_z = Drawn((3, 4), "complex")
_half = Drawn((4, 3), "complex")
_line = ("fft_fft", "fft_ifft", "fft_rfft", "fft_ihfft")
_back = ("fft_irfft", "fft_hfft")
_plane = ("fft_fft2", "fft_ifft2", "fft_rfft2", "fft_irfft2", "fft_fftn", "fft_ifftn", "fft_rfftn", "fft_irfftn")
_text = "`... 1t -> ... 1f` along the axes that are transformed"


@rule("Fourier transform", *(f"aten.{name}.default" for name in (*_line, *_back, *_plane)), "aten._fft_r2c.default",
      "aten._fft_c2c.default", "aten._fft_c2r.default", statement=_text,
      samples={f"aten.{name}.default": [Sample((_x,)), Sample((_x, 6, 0, "ortho"))] for name in _line}
      | {f"aten.{name}.default": [Sample((_half, 4, 1)), Sample((_z, 4, 0))] for name in _back}
      | {f"aten.{name}.default": [Sample((normal(4, 2, 3), None, [0, 2]))] for name in _plane if "ir" not in name}
      | {f"aten.{name}.default": [Sample((Drawn((4, 2, 3), "complex"), [4, 4], [0, 2]))]
         for name in _plane if "ir" in name}
      | {"aten._fft_r2c.default": [Sample((normal(4, 3), [1], 0, True))],
         "aten._fft_c2c.default": [Sample((_half, [1], 0, True))],
         "aten._fft_c2r.default": [Sample((_half, [1], 0, 4))]},
      incomplete="time could be reversed along with frequencies")  # fmt: skip
def fourier(call: Call) -> Results:
    """Frequencies of an axis: other axes pass with all their signs, since the transform is linear (and real ones
    are taken to be so by all of it)."""
    solver = call.solver
    rep = solver.representation(call.operands[0].rep)
    for dim in _transformed(call, len(rep.axes)):
        solver.trivial(rep.axes[dim])
        rep = rep.with_axis(dim, trivial(call.shape[dim]))
    return rep


def _transformed(call: Call, ndim: int) -> list[int]:
    dim = call.get("dim", call.get("s") and list(range(-len(call["s"]), 0)))
    if dim is None:
        return [ndim - 1] if "n" in call.arguments else list(range(ndim))
    return [call.axis(item, ndim) for item in (dim if isinstance(dim, Sequence) else [dim])]


@rule("short-time Fourier transform", "aten.stft.default", statement="`... 1t, 1w -> ... 1f 1t`",
      samples=[Sample((normal(4, 16), 4, 2, 4, normal(4), False, True, True))])  # fmt: skip
def stft(call: Call) -> Results:
    """Frequencies of windows along the last axis."""
    solver = call.solver
    rep = solver.representation(call.operands[0].rep)
    solver.trivial(rep.axes[-1])
    sign = rep.sign
    if len(call.operands) > 1:
        window = solver.representation(call.operands[1].rep)
        solver.trivial(window.axes[0])
        sign *= window.sign
    ends = tuple(trivial(size) for size in call.shape[len(rep.axes) - 1 :])
    return SymbolicRepresentation((*rep.axes[:-1], *ends), sign)
