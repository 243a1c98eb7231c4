"""Rows of layers that are dropped with the entries that they compute: what is read twice, and slopes of channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from chiralize.body.tensors import ConversionSpec, parse_spec
from chiralize.problem.network import Network
from chiralize.problem.partial import Partial, prepare


def spec(layout: str = "b f") -> ConversionSpec:
    """Three entries that are claimed, and two of which nothing is."""
    return parse_spec(f"""
skeleton: {{joints: [left_a, right_a], pairs: infer, dims: [x], negate: [x]}}
inputs: [{{fields: [{{scalar: 4}}]}}]
outputs:
  - {{layout: "{layout}", fields: [{{scalar: 3}}, {{unclaimed: 2, name: arm}}]}}
""")


def partial_of(network: Network) -> Partial:
    assert network.handover.partial is not None
    return network.handover.partial


class Twice(nn.Module):
    """Adds to what a layer computes a function of it."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.fc(x)
        return y + torch.tanh(y)


class Channels(nn.Module):
    """As many channels as entries, with slopes of the channels."""

    def __init__(self, slopes: int) -> None:
        super().__init__()
        self.fc, self.act = nn.Linear(4, 5), nn.PReLU(slopes)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.fc(x[:, None].expand(-1, 5, -1)))


def test_a_layer_that_is_read_twice_loses_its_rows_once() -> None:
    x = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    network = prepare(net := Twice(), spec(), (x,))
    assert partial_of(network).mixed is None
    assert [head.dropped for head in partial_of(network).heads] == [(3, 4)]
    assert torch.allclose(network.module(x), net(x)[:, :3])


def test_slopes_of_channels_are_not_those_of_entries() -> None:
    for slopes, is_refused in ((5, True), (1, False)):
        mixed = partial_of(prepare(Channels(slopes), spec("b t f"), (torch.ones(2, 4),))).mixed
        assert (mixed is not None and "slopes are those of another axis" in mixed.facts) == is_refused
