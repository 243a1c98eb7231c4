"""How do more or fewer entries by interpolation transform?

New entry o lies at (o + 1/2) old / new - 1/2 of the old axis, with `align_corners` at o (old - 1) / (new - 1). Seen
from the other end both are the same places, so that a reversed axis comes reversed. Two things favour one end: a factor
that does not lead to the new size exactly, and rounding down to the nearest entry.

The new entries of 4 resampled to 6 lie at -1/6, 1/2, 7/6, 11/6, 5/2 and 19/6. Each and its counterpart from the other
end add up to 3, the last entry: 7/6 + 11/6 = 3. `nearest` takes entries 0, 0, 1, 2, 2, 3 for them, which from the other
end would be 0, 1, 1, 2, 3, 3.
"""

from __future__ import annotations

from functools import partial

from chiralize.graph.traits import Movement
from chiralize.infer.rule import Answer, Call, describe, rule
from chiralize.infer.rules.sliding import end_to_end, reversal, turned_or_still
from chiralize.infer.symbolic import Axis, SymbolicRepresentation, action_of, axis_size, is_known, known_axis, trivial
from chiralize.symmetry.involution import SignedPermutation

_MEAN = Movement(blends=True)
_RESAMPLED = (
    "`... a -> ... a` along axes that keep their size, `... a -> ... (a 1n)` where every entry is repeated (the copies "
    "reversed with them), else `... 1t -> ... 1t`, or both reversed where no end is favoured"
)
_COPIES = "repeated entries could be swapped with each other"


def resample(call: Call, is_nearest: bool) -> Answer:
    """More or fewer entries by interpolation, x "batch channel *axes", each of the last axes by itself."""
    rep = call.source
    factors = call.get("scale_factors") or [None] * len(rep.axes[2:])
    axes: list[Axis] = list(rep.axes[:2])
    for dim, factor in enumerate(factors, 2):
        axes.append(_resampled(call, rep.axes[dim], factor, dim, is_nearest))
    return SymbolicRepresentation(tuple(axes), rep.sign)


_smooth, _nearest = partial(resample, is_nearest=False), partial(resample, is_nearest=True)
rule("upsample_linear1d.vec upsample_bilinear2d.vec upsample_trilinear3d.vec", _RESAMPLED, _MEAN)(_smooth)
rule("upsample_bicubic2d.vec _upsample_bilinear2d_aa.vec _upsample_bicubic2d_aa.vec", _RESAMPLED)(_smooth)
rule("upsample_nearest1d.vec upsample_nearest2d.vec upsample_nearest3d.vec", _RESAMPLED, _MEAN, _COPIES)(_nearest)
describe("upsample_linear1d upsample_bilinear2d upsample_trilinear3d", _MEAN)
describe("upsample_nearest1d upsample_nearest2d upsample_nearest3d", _MEAN)


def _resampled(call: Call, axis: Axis, factor: float | None, dim: int, is_nearest: bool) -> Axis:
    """One axis. dim: its number.

    factor: as it is given; one that does not lead to the new size exactly is used as it is.
    """
    solver, old, new = call.solver, axis_size(axis), call.shape[dim]
    exact = factor is None or factor * old == new
    if old == new and exact:
        return axis
    axis = solver.resolve(axis)
    # Every entry some times in a row: any mirror passes, and copies need no order of their own. Those of a reversed
    # axis are reversed, so that the new axis is reversed as a whole.
    if is_nearest and new % old == 0 and exact:
        if not is_known(axis):
            return (*axis, *trivial(new // old))
        turned = action_of(axis) == reversal(old)
        copies = reversal(new // old) if turned else SignedPermutation.identity(new // old)
        return (*axis, *known_axis(copies))
    # With corners aligned, one entry alone would be the first of the axis.
    possible = new > 1 if call.get("align_corners") else exact and not is_nearest
    refusal = f"resampling from {old} to {new} entries favours one end of an axis that the mirror reverses"
    return turned_or_still(call, [end_to_end(axis)], new, f"out {dim}", refusal, possible)
