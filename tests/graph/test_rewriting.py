"""A graph written otherwise: what it computes is compared, and a change that matters is seen."""

from __future__ import annotations

import torch
from torch import nn

from chiralize.graph.passes.rewriting import Rewrite
from chiralize.infer.capture import capture


def test_other_numbers_in_some_leaves() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    x = torch.randn(5, 4)
    graph = capture(torch.export.export(net, (x,)), (x,), {})
    first, second = (leaf.name for leaf in graph.weights if leaf.tensor.ndim == 2)
    bias = next(leaf.name for leaf in graph.weights if leaf.shape == (3,))
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
    rewrite = Rewrite(graph)
    assert rewrite.agrees([x])
    rewrite[first], rewrite[bias] = turn @ rewrite[first], turn @ rewrite[bias]
    assert not rewrite.agrees([x])
    rewrite[second] = rewrite[second] @ turn.T
    assert rewrite.agrees([x])
    assert rewrite.graph().leaves[first].tensor.dtype == torch.float32
    assert not torch.equal(rewrite.graph().leaves[first].tensor, graph.leaves[first].tensor)
