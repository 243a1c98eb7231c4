"""Resampling: more or fewer entries by interpolation, mostly of frames."""

from __future__ import annotations

from chiralize.infer.registry import Call, Drawn, Results, Sample, normal
from chiralize.infer.rules._families import equation, rule
from chiralize.symmetry.symbolic import Axis, SymbolicRepresentation, trivial

_x = normal(2, 4, 6)
_square = normal(2, 3, 4)
_plane = normal(1, 2, 3, 4)
_solid = normal(1, 1, 2, 4, 2)


@rule("resampling", *(f"aten.upsample_{name}.vec" for name in ("linear1d", "bilinear2d", "trilinear3d", "bicubic2d",
          "nearest1d", "nearest2d", "nearest3d")), *(f"aten._upsample_nearest_exact{rank}d.vec" for rank in (1, 2, 3)),
      "aten._upsample_bilinear2d_aa.vec", "aten._upsample_bicubic2d_aa.vec",
      statement="`... a -> ... a` along axes that keep their size, `... a -> ... (a 1n)` where every entry is "
                "repeated, else `... 1t -> ... 1t`",
      samples={"aten.upsample_linear1d.vec": [Sample((_x, [9], False, None)), Sample((_square, [4], True, None))],
               "aten.upsample_nearest1d.vec": [Sample((_x, None, [2.0])), Sample((_square, [8], None))],
               "aten._upsample_nearest_exact1d.vec": [Sample((_x, None, [2.0])), Sample((_square, [8], None))],
               **{f"aten.{name}2d{end}.vec": [Sample((_plane, [5, 4], False, None)), Sample((_plane, [3, 7], False,
                   None))] for name, end in (("upsample_bilinear", ""), ("upsample_bicubic", ""),
                                             ("_upsample_bilinear", "_aa"), ("_upsample_bicubic", "_aa"))},
               "aten.upsample_nearest2d.vec": [Sample((_plane, [6, 4], None)), Sample((_plane, [3, 8], None))],
               "aten._upsample_nearest_exact2d.vec": [Sample((_plane, [6, 4], None))],
               "aten.upsample_nearest3d.vec": [Sample((_solid, [4, 4, 2], None))],
               "aten._upsample_nearest_exact3d.vec": [Sample((_solid, [4, 4, 2], None))],
               "aten.upsample_trilinear3d.vec": [Sample((_solid, [4, 4, 2], False, None))]},
      incomplete="an axis that is stretched could be reversed")  # fmt: skip
def resample(call: Call) -> Results:
    """More or fewer entries by interpolation."""
    solver = call.solver
    rep = solver.representation(call.operands[0].rep)
    own = _unstretched(call)
    axes: list[Axis] = list(rep.axes[:2])
    for place in range(2, len(rep.axes)):
        old, new = rep.shape[place], call.shape[place]
        if old == new and own:
            axes.append(rep.axes[place])
        elif "nearest" in call.target and new % old == 0 and own:
            axes.append((*rep.axes[place], *trivial(new // old)))
        else:
            solver.trivial(rep.axes[place])
            axes.append(trivial(new))
    return SymbolicRepresentation(tuple(axes), rep.sign)


def _unstretched(call: Call) -> bool:
    """Whether sizes alone say what happens: a factor that is no whole number is used as it is given."""
    factors = call.get("scale_factors") or []
    return all(float(factor).is_integer() for factor in factors)


_places = Drawn((2, 2, 4, 2), "small")

equation(
    "sampling at points", "aten.grid_sampler_2d.default", "aten.grid_sampler.default",
    names=("input", "grid"),
    text="+b c 1h 1w, +b 1y 1x 1p -> +b c 1y 1x",
    samples=[Sample((normal(2, 4, 3, 3), _places, mode, padding, True))
             for mode, padding in ((0, 0), (1, 1), (2, 2))],
    incomplete="places could move with the points that are taken there, and pictures be mirrored",
)  # fmt: skip
