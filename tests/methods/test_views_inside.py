"""`reduce` on graph networks whose nodes are coordinates of joints: both views along the channels, from the first
weight that reads features to the last that gives them.
"""

from __future__ import annotations

from math import pi

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.commands.convert import convert
from chiralize.methods.reduce.reduce import reduced
from chiralize.methods.reduce.views_inside import doubled_inside
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from chiralize.problem.request import Request
from chiralize.problem.result import Converted
from tests.support.problems import posed
from tests.support.reduce_nets import calls_for
from tests.support.small_body import BODY, normal, trained, turned

FLAT = BODY + 'inputs: [{layout: "b t (j d)"}]\noutputs: [{layout: "b t (j d)"}]\n'
NODES, FRAMES, WIDTH = 12, 4, 6


class Graph(nn.Module):
    """Clips "batch frame node": the cosine transform of every node along the frames, layers along its coefficients and
    along the nodes, and back.
    """

    def __init__(self, norm: bool = False) -> None:
        super().__init__()
        frames, orders = torch.arange(FRAMES) + 0.5, torch.arange(FRAMES)[:, None]
        self.cosines = nn.Buffer(torch.cos(pi / FRAMES * frames * orders))
        self.back = nn.Buffer(torch.linalg.inv(self.cosines))
        self.first, self.last = nn.Linear(FRAMES, WIDTH, bias=False), nn.Linear(WIDTH, FRAMES)
        self.nodes = nn.ParameterList([nn.Parameter(torch.randn(NODES, NODES) / 3) for _ in range(2)])
        self.norm = nn.BatchNorm1d(WIDTH) if norm else nn.Identity()

    def forward(self, clip: Tensor) -> Tensor:
        seen = (self.cosines @ clip).transpose(1, 2)
        y = torch.matmul(self.nodes[0], self.first(seen))
        y = self.norm(y.transpose(1, 2)).transpose(1, 2).tanh()
        y = torch.matmul(self.nodes[1], self.last(y)) + seen
        return self.back @ y.transpose(1, 2)


class Convolved(nn.Module):
    """The same with frames as the channels of a convolution, and nodes read from the right; the first layer reads the
    input itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv1d(FRAMES, WIDTH, 1), nn.Conv1d(WIDTH, FRAMES, 1)
        self.nodes = nn.Parameter(torch.randn(NODES, NODES) / 3)

    def forward(self, clip: Tensor) -> Tensor:
        return clip + self.last((self.first(clip) @ self.nodes).tanh())


def ready(net: nn.Module) -> Network:
    """Trained, and captured on clips."""
    return prepare(trained(net, 3), parse_spec(FLAT), (normal(8, FRAMES, 6, 2).flatten(2),))


def flat(seed: int) -> list[tuple[tuple[Tensor], dict[str, Tensor]]]:
    """Clips, each beside its mirror image."""
    return [((x.flatten(2),), {}) for (x,), _ in calls_for((FRAMES, 6, 2), seed, mirrored=True)]


def average(network: Network, x: Tensor) -> Tensor:
    """Of both views of clips "batch frame joint coordinate"."""
    with torch.no_grad():
        plain, mirrored = network.module(x.flatten(2)), network.module(turned(x).flatten(2))
    return (plain.unflatten(2, (6, 2)) + turned(mirrored.unflatten(2, (6, 2)))) / 2


@pytest.mark.parametrize("kind", [Graph, Convolved])
def test_with_all_channels_it_is_the_flip_average(kind: type[nn.Module]) -> None:
    """No norms: nothing is lost, and layers along the nodes are the original's own."""
    torch.manual_seed(5)
    network = ready(kind())
    found: Converted = next(reduced(posed(network, Request("reduce", calibration=flat(8))), 1.0)).converted
    x = normal(16, FRAMES, 6, 2, seed=9)
    with torch.no_grad():
        given = found.module(x.flatten(2)).unflatten(2, (6, 2))
    torch.testing.assert_close(given, average(network, x), rtol=1e-6, atol=1e-6)
    before, after = network.module.state_dict(), found.module.state_dict()
    assert after["led_in_0"].shape == (2 * NODES, NODES) and after["led_out_0"].shape == (NODES, 2 * NODES)
    for name in before:
        if name.startswith("nodes"):
            torch.testing.assert_close(after[name], before[name], rtol=0, atol=1e-8)


def test_the_maps_change_nothing_before_they_are_fitted() -> None:
    torch.manual_seed(5)
    for net in (Graph(), Convolved()):
        network = ready(net)
        with_maps = doubled_inside(network)
        assert with_maps is not None
        x = normal(5, FRAMES, NODES, seed=1)
        torch.testing.assert_close(with_maps.module(x), network.module(x), rtol=1e-12, atol=1e-12)


def test_half_is_proved_and_near(monkeypatch: pytest.MonkeyPatch) -> None:
    """With norms, through the whole of `convert`; in the usual basis, where nodes are moved, it is further away."""
    torch.manual_seed(5)
    network = ready(Graph(norm=True))
    x = normal(64, FRAMES, 6, 2, seed=9)
    wanted = average(network, x)

    def apart() -> float:
        """From the flip average, over its spread; once both verdicts have passed."""
        request = Request("reduce", "dense", calibration=flat(12), width=0.5, samples=1, rounds=0, force=True)
        found = convert(network, "net", request)
        certificate, numeric = found.report.certificate, found.report.numeric
        assert certificate is not None and certificate.passed and numeric is not None and numeric.passed
        with torch.no_grad():
            given = found.module(x.flatten(2)).unflatten(2, (6, 2))
        return float((given - wanted).square().mean() / wanted.var())

    near = apart()
    monkeypatch.setattr("chiralize.methods.reduce.reduce.doubled_inside", lambda network: None)
    assert near < 0.05 and near < apart() / 2


class Shared(Convolved):
    """One weight gives the channels twice: it could not be padded for one of them."""

    def forward(self, clip: Tensor) -> Tensor:
        return super().forward(super().forward(clip))


def test_weights_that_work_in_several_places_are_left_alone() -> None:
    torch.manual_seed(5)
    assert doubled_inside(ready(Shared())) is None
