"""Norms are folded where they normalise the rows of the map before them, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, fx, nn

from chiralize.nn.deploy.norms import fold_norms


class Frames(nn.Module):
    """A map, then a norm of its second axis; as many frames as rows, so that sizes do not tell."""

    def __init__(self, layer: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.layer, self.norm = layer, norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.layer(x))


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "linear": (lambda: Frames(nn.Linear(3, 6), nn.BatchNorm1d(6)), (4, 3), 1),
    "linear, frames": (lambda: Frames(nn.Linear(3, 6), nn.BatchNorm1d(6)), (4, 6, 3), 0),
    "conv1d": (lambda: Frames(nn.Conv1d(3, 6, 3, bias=False), nn.BatchNorm1d(6)), (4, 3, 8), 1),
    "conv1d without batch": (lambda: Frames(nn.Conv1d(3, 6, 3), nn.BatchNorm1d(6)), (3, 8), 0),
    "conv2d": (lambda: Frames(nn.Conv2d(3, 6, 2), nn.BatchNorm2d(6, affine=False)), (4, 3, 5, 5), 1),
}


@pytest.mark.parametrize("name", CASES)
def test_folded_or_left(name: str) -> None:
    """The same function to rounding, with as many norms folded as can be."""
    make, shape, count = CASES[name]
    torch.manual_seed(0)
    net = make().double().eval()
    for tensor in net.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5)
    x = torch.randn(shape, dtype=torch.float64)
    graph = torch.export.export(net, (x,)).module(check_guards=False)
    assert isinstance(graph, fx.GraphModule)
    assert len(fold_norms(graph)) == count
    with torch.no_grad():
        torch.testing.assert_close(graph(x), net(x), rtol=0, atol=1e-12)
