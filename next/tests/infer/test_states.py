"""States transform alike before and after a call; what a finished map says of weights, in numbers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from chiralize.errors import NegatedChannelsError, NeverEquivariantError
from chiralize.infer.hidden.match import FromWeights
from chiralize.infer.inference import Inference
from chiralize.infer.records import depth_of
from chiralize.infer.symbolic import evaluate
from tests.infer.nets import JOINTS, PLANE, Net, finished, graph_of, halves, normal, rep, represented, trained

POSE = rep(2, JOINTS, PLANE)


class Stepped(nn.Module):
    """One step of a recurrent cell, its state an argument and a result."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.last = nn.GRUCell(12, 8), nn.Linear(8, 12)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = self.cell(x.flatten(1), h)
        return self.last(h).view_as(x), h


class Remembering(nn.Module):
    """The same, its state a buffer."""

    h: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.last = nn.GRUCell(12, 8), nn.Linear(8, 12)
        self.register_buffer("h", torch.zeros(2, 8))

    def forward(self, x: Tensor) -> Tensor:
        self.h = self.cell(x.flatten(1), self.h)
        return self.last(self.h).view_as(x)


def test_states_in_and_out_share_a_representation() -> None:
    graph = graph_of(trained(Stepped()), normal(2, 6, 2), normal(2, 8))
    joined = [(("input", 1), ("output", 1))]
    repmap = represented(graph, [POSE, None], [POSE, None], halves(graph), joined=joined)
    source, result = repmap.of(graph.inputs[1]), repmap.of(graph.outputs[1] or "")
    assert source is not None and result is not None
    assert evaluate(source, {}) == evaluate(result, {})
    assert not evaluate(source, {}).is_trivial


def test_a_state_in_a_buffer() -> None:
    graph = graph_of(trained(Remembering()), normal(2, 6, 2), words=[{}])
    repmap = represented(graph, [POSE], [POSE], FromWeights(graph))
    weights = repmap.weight_representations(graph)
    assert weights["h"].axes[1] == weights["last.weight"].axes[1] and weights["h"].axes[0].is_trivial


def test_weights_that_are_given() -> None:
    """What a passport says is taken over, or refused where it cannot be."""
    net = trained(Net(lambda net, x: net.last(net.first(x.flatten(1)).relu()).view_as(x), **layers()))
    graph = graph_of(net, normal(2, 6, 2))
    hidden = represented(graph, [POSE], [POSE], halves(graph)).weight_representations(graph)
    again = Inference(graph, [POSE], [POSE], given=hidden)
    assert not again.spaces() and again.finish().weight_representations(graph) == hidden
    wrong = {**hidden, "first.bias": rep(8)}
    with pytest.raises((NeverEquivariantError, NegatedChannelsError)):
        Inference(graph, [POSE], [POSE], given=wrong).finish()


def layers() -> dict[str, nn.Module]:
    return {"first": nn.Linear(12, 8), "last": nn.Linear(8, 12)}


def test_figures_of_a_map() -> None:
    """8 hidden units in pairs, 12 coordinates of which 5 in 12 are odd: even to even and odd to odd are free."""
    net = trained(Net(lambda net, x: net.last(net.first(x.flatten(1)).relu()).view_as(x), **layers()))
    _, repmap = finished(net, normal(2, 6, 2), POSE, POSE)
    graph = graph_of(net, normal(2, 6, 2))
    # T on joints x (x, y): trace 2 - 2 = 0, so 6 even and 6 odd entries; of 8 units in pairs 4 and 4.
    assert repmap.free_parameters(graph) == 2 * (4 * 6 + 4 * 6) + 4 + 6
    assert depth_of(graph) == 2
