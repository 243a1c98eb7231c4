"""Fourier transforms: linear, along axes that stay in place.

A transform mixes all entries of its axis with weights that depend on their places, so T must leave that axis alone.
Along the others it is the same linear map for every entry, and commutes with any signed permutation.

For x "joint frame", transformed along the frames by F: (T x) F = T (x F) for any T on joints.
"""

from __future__ import annotations

from chiralize.infer.registry import Call, Drawn, Results, normal, sample
from chiralize.infer.rules._families import incomplete, op, rule
from chiralize.symmetry.symbolic import SymbolicRepresentation, trivial

_x = normal(3, 4)
_z = Drawn((3, 4), "complex")
_half = Drawn((4, 3), "complex")


@rule("Fourier transform", "`... 1t -> ... 1f` along the axes that are transformed")
@incomplete("time could be reversed along with frequencies")
@op("fft_fft fft_ifft fft_rfft fft_ihfft", sample(_x), sample(_x, 6, 0, "ortho"))
@op("fft_irfft fft_hfft", sample(_half, 4, 1), sample(_z, 4, 0))
@op("fft_fft2 fft_ifft2 fft_rfft2 fft_fftn fft_ifftn fft_rfftn", sample(normal(4, 2, 3), None, [0, 2]))
@op("fft_irfft2 fft_irfftn", sample(Drawn((4, 2, 3), "complex"), [4, 4], [0, 2]))
@op("_fft_r2c", sample(normal(4, 3), [1], 0, True))
@op("_fft_c2c", sample(_half, [1], 0, True))
@op("_fft_c2r", sample(_half, [1], 0, 4))
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
    """The axes that are transformed: those that `dim` names, else the last ones."""
    # n-dimensional transforms may name sizes `s` alone, which are of the last axes; without either all are transformed,
    # and one-dimensional ones, which have an `n`, take the last.
    dims = call.get("dim", call.get("s") and list(range(-len(call["s"]), 0)))
    if dims is None:
        if "n" in call.arguments:
            return [ndim - 1]
        return list(range(ndim))
    return call.axes(dims, ndim)


@rule("short-time Fourier transform", "`... 1t, 1w -> ... 1f 1t`")
@op("stft", sample(normal(4, 16), 4, 2, 4, normal(4), False, True, True))
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
    ends = tuple(map(trivial, call.shape[len(rep.axes) - 1 :]))
    return SymbolicRepresentation((*rep.axes[:-1], *ends), sign)
