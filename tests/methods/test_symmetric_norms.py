"""One-sided normalisers in a conversion: what the projection makes of the weights that took their shift up."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.support.small_body import converted, normal, trained, turned


class Shifted(nn.Module):
    """W (x - m) + b, of one-sided inputs alone: m is one-sided, and b is not."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(12, 12)
        self.register_buffer("running_mean", normal(6, 2, seed=3))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer((x - self.running_mean).flatten(1)).view(-1, 6, 2)


def test_a_symmetric_bias_takes_a_one_sided_shift_up_and_the_result_is_the_flip_average() -> None:
    """T on the bias is known, so that the projection takes the odd part of the shift away again.

    That is what the mean of both views does to it. Were the bias left alone, m would be projected by itself, and what W
    makes of its odd part would be lost.
    """
    net = trained(Shifted()).double()
    with torch.no_grad():
        bias = net.layer.bias.view(1, 6, 2)
        bias.copy_((bias + turned(bias)) / 2)
    x, result = normal(50, 6, 2, seed=5), converted(net)
    with torch.no_grad():
        wanted = (net(x) + turned(net(turned(x)))) / 2
        assert float((result(x) - wanted).abs().max()) < 1e-9
        assert float((net(x) - wanted).abs().max()) > 0.1
