"""Resampling: more or fewer entries by interpolation, mostly of frames."""

from __future__ import annotations

from chiralize.graph.traits import Movement
from chiralize.infer.registry import Call, Drawn, Results, normal, sample
from chiralize.infer.rules._families import apply_equation, incomplete, op, rule
from chiralize.symmetry.symbolic import Axis, SymbolicRepresentation, trivial

_x = normal(2, 4, 6)
_square = normal(2, 3, 4)
_plane = normal(1, 2, 3, 4)
_solid = normal(1, 1, 2, 4, 2)
_smooth = [sample(_plane, [5, 4], False, None), sample(_plane, [3, 7], False, None)]


@rule(
    "resampling",
    "`... a -> ... a` along axes that keep their size, `... a -> ... (a 1n)` where every entry is repeated, else "
    "`... 1t -> ... 1t`",
)
@incomplete("an axis that is stretched could be reversed")
@op("upsample_linear1d.vec upsample_bilinear2d.vec", trait=Movement(blends=True))
@op("upsample_nearest1d.vec upsample_nearest2d.vec", trait=Movement(blends=True))
@op("upsample_linear1d.vec", sample(_x, [9], False, None), sample(_square, [4], True, None))
@op("upsample_bilinear2d.vec upsample_bicubic2d.vec", *_smooth)
@op("_upsample_bilinear2d_aa.vec _upsample_bicubic2d_aa.vec", *_smooth)
@op("upsample_trilinear3d.vec", sample(_solid, [4, 4, 2], False, None))
@op("upsample_nearest1d.vec _upsample_nearest_exact1d.vec", sample(_x, None, [2.0]), sample(_square, [8], None))
@op("upsample_nearest2d.vec", sample(_plane, [6, 4], None), sample(_plane, [3, 8], None))
@op("_upsample_nearest_exact2d.vec", sample(_plane, [6, 4], None))
@op("upsample_nearest3d.vec _upsample_nearest_exact3d.vec", sample(_solid, [4, 4, 2], None))
def resample(call: Call) -> Results:
    """More or fewer entries by interpolation."""
    solver = call.solver
    rep = solver.representation(call.operands[0].rep)
    sizes_decide = _sizes_decide(call)
    axes: list[Axis] = list(rep.axes[:2])
    for dim in range(2, len(rep.axes)):
        old, new = rep.shape[dim], call.shape[dim]
        if old == new and sizes_decide:
            axes.append(rep.axes[dim])
        elif "nearest" in call.target and new % old == 0 and sizes_decide:
            axes.append((*rep.axes[dim], *trivial(new // old)))
        else:
            solver.trivial(rep.axes[dim])
            axes.append(trivial(new))
    return SymbolicRepresentation(tuple(axes), rep.sign)


def _sizes_decide(call: Call) -> bool:
    """Whether sizes alone say what happens: a factor that is no whole number is used as it is given."""
    factors = call.get("scale_factors") or []
    return all(float(factor).is_integer() for factor in factors)


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
