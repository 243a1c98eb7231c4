"""Weights that are fitted: what a site reads and gives is the op, written as rows of features and of results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from chiralize.body.spec import parse_spec
from chiralize.graph import execution
from chiralize.methods.reduce.layers import Site, sites_of
from chiralize.problem.network import Network
from chiralize.problem.prepare import prepare
from tests.support.small_body import BODY, normal

FREE = BODY + "inputs: [free]\noutputs: [free]\n"
Op = Callable[["Weighted", Tensor], Tensor]


class Weighted(nn.Module):
    """One op with one weight."""

    weight: Tensor
    bias: Any

    def __init__(self, op: Op, *shape: int, bias: int = 0) -> None:
        super().__init__()
        self.op, self.weight = op, nn.Parameter(torch.randn(*shape, dtype=torch.float64))
        self.bias = nn.Parameter(torch.randn(bias, dtype=torch.float64)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return self.op(self, x)


OPS: dict[str, tuple[Weighted, tuple[int, ...]]] = {
    "linear": (Weighted(lambda net, x: functional.linear(x, net.weight, net.bias), 5, 4, bias=5), (3, 2, 4)),
    "x @ W": (Weighted(lambda net, x: x @ net.weight, 4, 5), (3, 2, 4)),
    "x @ W.T": (Weighted(lambda net, x: x @ net.weight.t(), 5, 4), (3, 2, 4)),
    "W @ x": (Weighted(lambda net, x: net.weight @ x, 5, 4), (3, 2, 4, 6)),
    "W.T @ x": (Weighted(lambda net, x: net.weight.t() @ x, 4, 5), (3, 4, 6)),
    "W @ matrix": (Weighted(lambda net, x: torch.mm(net.weight, x), 5, 4), (4, 6)),
    "addmm": (Weighted(lambda net, x: torch.addmm(net.bias, x, net.weight), 4, 5, bias=5), (3, 4)),
    "conv": (Weighted(lambda net, x: functional.conv1d(x, net.weight, net.bias, 2, 1), 5, 4, 3, bias=5), (3, 4, 9)),
    "adjoint": (Weighted(lambda net, x: functional.conv_transpose1d(x, net.weight, None, 2, 1), 4, 5, 3), (3, 4, 7)),
}
NO_SITES: dict[str, tuple[Weighted, tuple[int, ...]]] = {
    "W + b @ x": (Weighted(lambda net, x: torch.addmm(net.bias, net.weight, x), 5, 4, bias=6), (4, 6)),
    "W @ vector": (Weighted(lambda net, x: torch.matmul(net.weight, x), 5, 4), (4,)),
    "a batch of W @ x": (Weighted(lambda net, x: torch.matmul(net.weight, x), 3, 5, 4), (3, 4, 6)),
}


def captured(op: str, ops: dict[str, tuple[Weighted, tuple[int, ...]]]) -> tuple[Network, dict[str, Site], Tensor]:
    """The network of one op, its sites, and an input."""
    net, shape = ops[op]
    x = normal(*shape)
    network = prepare(net, (x,), None, parse_spec(FREE))
    return network, sites_of(network.graph()), x


@pytest.mark.parametrize("op", OPS)
def test_features_times_the_matrix_are_the_targets(op: str) -> None:
    """For some of the rows, in an order of their own."""
    network, sites, x = captured(op, OPS)
    ((name, site),) = sites.items()
    graph, net = network.graph(), OPS[op][0]
    values = execution.start(graph, (), {graph.inputs[0]: x})
    for node in graph.nodes:
        values[node.name] = execution.evaluate(node, values)
    rows = torch.randperm(values[name].numel() // 5)[:4]
    features = site.features(values[site.source], tuple(net.weight.shape), rows)
    with torch.no_grad():
        given = functional.linear(features, site.matrix(net.weight), net.bias)
    torch.testing.assert_close(given, site.targets(values[name], rows), rtol=1e-12, atol=1e-12)
    assert torch.equal(site.tensor(site.matrix(net.weight), tuple(net.weight.shape)), net.weight)


@pytest.mark.parametrize("op", NO_SITES)
def test_what_is_no_row_of_one_weight_is_no_site(op: str) -> None:
    """A bias along another axis, a result of one axis, one weight for each sample."""
    assert captured(op, NO_SITES)[1] == {}
