"""Resampling: more or fewer entries by interpolation, mostly of frames.

New entry o lies at (o + 1/2) old / new - 1/2 of the old axis, with `align_corners` at o (old - 1) / (new - 1). Seen
from the other end both are the same places, so that a reversed axis comes reversed. Three things favour one end: a
factor that does not lead to the new size exactly, rounding down to the nearest entry, and one entry that is the first.

The new entries of 4 resampled to 6 lie at -1/6, 1/2, 7/6, 11/6, 5/2 and 19/6. Each and its counterpart from the other
end add up to 3, the last entry: 7/6 + 11/6 = 3. `nearest` takes entries 0, 0, 1, 2, 2, 3 for them, which from the other
end would be 0, 1, 1, 2, 3, 3.
"""

from __future__ import annotations

from fractions import Fraction

from chiralize.graph.traits import MeanResampling, Resampling
from chiralize.infer.registry import Call, Drawn, Results, describe, normal, sample
from chiralize.infer.rules._families import apply_equation, incomplete, op, overloads, rule
from chiralize.infer.rules._turning import end_to_end, reversal, turned_or_still
from chiralize.infer.solver.terms import product
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.symbolic import Axis, SymbolicRepresentation, axis_size, is_known, known_axis, trivial

_x = normal(2, 4, 6)
_square = normal(2, 3, 4)
_plane = normal(1, 2, 3, 4)
_solid = normal(1, 1, 2, 4, 2)
_mean, _nearest = MeanResampling(blends=True), MeanResampling(blends=True, is_nearest=True)
_smooth = [sample(_plane, [5, 4], False, None), sample(_plane, [3, 7], False, None)]


@rule(
    "resampling",
    "`... a -> ... a` along axes that keep their size, `... a -> ... (a 1n)` where every entry is repeated (the copies "
    "reversed with them), else `... 1t -> ... 1t`, or both reversed where no end is favoured",
)
@incomplete("repeated entries could be swapped with each other")
@op("upsample_linear1d.vec upsample_bilinear2d.vec upsample_trilinear3d.vec", trait=_mean)
@op("upsample_nearest1d.vec upsample_nearest2d.vec upsample_nearest3d.vec", trait=_nearest)
@op("upsample_bicubic2d.vec", trait=Resampling())
@op("upsample_linear1d.vec", sample(_x, [9], False, None), sample(_square, [4], True, None))
@op("upsample_linear1d.vec", sample(_square, [7], True, None), sample(_square, None, False, [1.3]))
@op("upsample_bilinear2d.vec upsample_bicubic2d.vec", *_smooth)
@op("_upsample_bilinear2d_aa.vec _upsample_bicubic2d_aa.vec", *_smooth)
@op("upsample_trilinear3d.vec", sample(_solid, [4, 4, 2], False, None))
@op("upsample_nearest1d.vec _upsample_nearest_exact1d.vec", sample(_x, None, [2.0]), sample(_square, [8], None))
@op("upsample_nearest1d.vec _upsample_nearest_exact1d.vec", sample(_square, [2], None), sample(_square, [3], None))
@op("upsample_nearest2d.vec", sample(_plane, [6, 4], None), sample(_plane, [3, 8], None))
@op("_upsample_nearest_exact2d.vec", sample(_plane, [6, 4], None))
@op("upsample_nearest3d.vec _upsample_nearest_exact3d.vec", sample(_solid, [4, 4, 2], None))
def resample(call: Call) -> Results:
    """More or fewer entries by interpolation, x "batch channel *axes", each of the last axes by itself."""
    rep = call.solver.representation(call.operands[0].rep)
    factors = call.get("scale_factors") or [None] * len(rep.axes[2:])
    axes: list[Axis] = list(rep.axes[:2])
    for dim, factor in enumerate(factors, 2):
        axes.append(_resampled(call, rep.axes[dim], call.shape[dim], factor, dim))
    return SymbolicRepresentation(tuple(axes), rep.sign)


describe(overloads("upsample_linear1d upsample_bilinear2d upsample_trilinear3d"), _mean)
describe(overloads("upsample_nearest1d upsample_nearest2d upsample_nearest3d"), _nearest)
describe(overloads("upsample_bicubic2d"), Resampling())


def _resampled(call: Call, axis: Axis, new: int, factor: float | None, dim: int) -> Axis:
    """One axis, of `new` entries behind it. dim: its number, of which the result's name is made.

    factor: as it is given; one that does not lead to the new size exactly is used as it is.
    """
    solver, old = call.solver, axis_size(axis)
    exact = factor is None or factor * old == new
    if old == new and exact:
        return axis
    axis = solver.resolve(axis)
    # Every entry some times in a row: any mirror passes, and copies need no order of their own. Those of a reversed
    # axis are reversed, so that the new axis is reversed as a whole.
    if "nearest" in call.target and new % old == 0 and exact:
        if not is_known(axis):
            return (*axis, *trivial(new // old))
        if product(axis) == reversal(old):
            copies = reversal(new // old)
        else:
            copies = SignedPermutation.identity(new // old)
        return (*axis, *known_axis(copies))
    if "nearest_exact" in call.target:
        possible = _is_palindrome(old, new, Fraction(old, new) if exact else 1 / Fraction(str(factor)))
    elif call.get("align_corners"):
        possible = new > 1  # one entry is the first of the axis
    else:
        possible = exact and "nearest" not in call.target
    refusal = f"resampling from {old} to {new} entries favours one end of an axis that the mirror reverses"
    return turned_or_still(call, [end_to_end(axis)], new, f"out {dim}", refusal, possible)


def _is_palindrome(old: int, new: int, step: Fraction) -> bool:
    """Whether the entries nearest to the middles of the new ones are the same ones from the other end.

    A middle between two entries belongs to the upper one if the step is a number that floating point holds exactly.
    """
    # Exact fractions: in floating point a middle that is a whole number could fall on either side of it.
    middles = [(2 * entry + 1) * step / 2 for entry in range(new)]
    has_ties = any(middle.denominator == 1 for middle in middles)
    if has_ties and step.denominator & (step.denominator - 1):
        return False
    taken = [min(int(middle), old - 1) for middle in middles]
    return [old - 1 - entry for entry in reversed(taken)] == taken


_points = Drawn((2, 2, 4, 2), "small")
_picture = normal(2, 4, 3, 3)

_AT_POINTS = "+b c 1h 1w, +b 1y 1x 1p -> +b c 1y 1x"


@rule("sampling at points", f"`{_AT_POINTS}`")
@incomplete("places could move with the points that are taken there, and pictures be mirrored")
@op("grid_sampler_2d grid_sampler", sample(_picture, _points, 0, 0, True), sample(_picture, _points, 1, 1, True))
@op("grid_sampler_2d grid_sampler", sample(_picture, _points, 2, 2, True))
def sample_at_points(call: Call) -> Results:
    """Entries of a picture, interpolated at given points."""
    return apply_equation(call, ("input", "grid"), _AT_POINTS)
