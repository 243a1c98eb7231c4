"""Choosing which units to keep: backward elimination by what the readers lose.

Let G be the second moments of the units and A those of the gradients behind them, P = G^-1. If unit q is dropped and
what read it is refitted on the others, the outputs change by A_qq / P_qq (the loss of the optimal brain surgeon).
Dropping several, D, and keeping L is a block step of Gaussian elimination:

    a_D = B a_L,  B = -P_DD^-1 P_DL        P <- P_LL + P_LD B        A <- [1; B]' A [1; B]

Units of a lifted network have two features, even and odd, with moments of their own: a pair holds both.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_SHARE = 0.05
_RIDGE = 1e-3


class Features:
    """The features that are left, of one parity at one reading place.

    moments, metric: G and A, "unit unit", float64.
    """

    def __init__(self, moments: Tensor, metric: Tensor) -> None:
        ridge = _RIDGE * float(moments.diagonal().mean())
        eye = torch.eye(len(moments), dtype=moments.dtype)
        self.inverse = torch.linalg.inv(moments + (ridge or 1.0) * eye)
        self.metric = metric

    def losses(self) -> Tensor:
        """What dropping each unit costs by itself."""
        return (self.metric.diagonal() / self.inverse.diagonal()).clamp_min(0)

    def drop(self, left: Tensor, gone: Tensor) -> None:
        """Drop the units at the positions `gone` and keep those at `left`."""
        p, a = self.inverse, self.metric
        back = -torch.linalg.solve(p[gone][:, gone], p[gone][:, left])
        self.inverse = p[left][:, left] + p[left][:, gone] @ back
        cross = a[left][:, gone] @ back
        self.metric = a[left][:, left] + cross + cross.T + back.T @ a[gone][:, gone] @ back


def eliminate(features: Sequence[Features], count: int) -> list[int]:
    """The `count` units that are kept, ascending: a twentieth of them goes at a time, by the loss summed over all."""
    units = torch.arange(len(features[0].metric))
    while len(units) > count:
        loss = torch.stack([own.losses() for own in features]).sum(0)
        order = loss.argsort(descending=True, stable=True)
        fewer = max(len(units) - max(int(len(units) * _SHARE), 1), count)
        left, gone = order[:fewer].sort().values, order[fewer:]
        for own in features:
            own.drop(left, gone)
        units = units[left]
    return units.tolist()
