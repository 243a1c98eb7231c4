"""Special functions of mathematics and statistics, entry by entry: a table of parities."""

from __future__ import annotations

from chiralize.infer.registry import Drawn, Sample, normal, positive
from chiralize.infer.rules._families import even, odd, plain, pointwise

_x = Sample((normal(3, 4),))
_positive = Sample((positive(3, 4),))
_share = Sample((Drawn((3, 4), "share"),))

pointwise(
    even, "even special functions", "aten.i0.default", "aten.special_i0e.default", "aten.special_bessel_j0.default",
    "aten.special_modified_bessel_i0.default", "aten.special_spherical_bessel_j0.default", samples=[_x],
)  # fmt: skip
pointwise(
    odd, "odd special functions", "aten.special_i1.default", "aten.special_i1e.default",
    "aten.special_bessel_j1.default", "aten.special_modified_bessel_i1.default", samples=[_x],
)  # fmt: skip
pointwise(
    plain, "other special functions", "aten.special_erfcx.default", "aten.special_ndtr.default",
    "aten.special_log_ndtr.default", "aten.special_entr.default", "aten.lgamma.default", "aten.digamma.default",
    "aten.special_bessel_y0.default", "aten.special_bessel_y1.default", "aten.special_modified_bessel_k0.default",
    "aten.special_modified_bessel_k1.default", "aten.acosh.default", samples=[_positive], partial=True,
)  # fmt: skip
pointwise(plain, "logit-like", "aten.logit.default", "aten.special_ndtri.default", samples=[_share], partial=True)
