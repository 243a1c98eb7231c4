"""Special functions of mathematics and statistics, entry by entry: a table of parities, as in `activation`."""

from __future__ import annotations

from chiralize.infer.registry import Drawn, normal, positive, sample
from chiralize.infer.rules._families import even, odd, plain, pointwise

_x = sample(normal(3, 4))
_positive = sample(positive(3, 4))
_share = sample(Drawn((3, 4), "share"))

pointwise(
    even,
    "even special functions",
    "i0 special_i0e special_bessel_j0 special_modified_bessel_i0 special_spherical_bessel_j0",
    _x,
)
pointwise(odd, "odd special functions", "special_i1 special_i1e special_bessel_j1 special_modified_bessel_i1", _x)
pointwise(
    plain,
    "other special functions",
    "special_erfcx special_ndtr special_log_ndtr special_entr lgamma digamma special_bessel_y0 "
    "special_bessel_y1 special_modified_bessel_k0 special_modified_bessel_k1 acosh",
    _positive,
    partial=True,
)
pointwise(plain, "logit-like", "logit special_ndtri", _share, partial=True)
