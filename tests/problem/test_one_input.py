"""An input of several that answers hardly depend on in the samples, as one in radians where degrees are taken."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.graph.running import Call
from chiralize.problem.data.one_input import hardly_read
from chiralize.problem.data.units import QUESTION, unit_in_question
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from tests.support.small_body import BODY, normal

SPEC = (
    BODY
    + "inputs: [{layout: b j d}, {fields: [{signs: {yaw: -1, pitch: 1}}], layout: b f}]\noutputs: [{layout: b j d}]\n"
)


class Gaze(nn.Module):
    """Reads points and a head's turn in degrees, of which `share` counts."""

    def __init__(self, share: float = 0.6) -> None:
        super().__init__()
        self.share = share
        self.points, self.head, self.last = nn.Linear(12, 24), nn.Linear(2, 24), nn.Linear(24, 12)
        for seed, layer in enumerate((self.points, self.head, self.last)):
            layer.weight.data = normal(*layer.weight.shape, seed=seed) / layer.in_features**0.5
            layer.bias.data = 0.5 * normal(len(layer.bias), seed=seed + 5)

    def forward(self, points: Tensor, head: Tensor) -> Tensor:
        hidden = self.points(points.flatten(1)) + self.share * self.head(head / 20)
        return self.last(hidden.relu()).view_as(points)


def network(share: float = 0.6) -> Network:
    return prepare(Gaze(share).double(), parse_spec(SPEC), (normal(3, 6, 2), normal(3, 2)))


def calls(unit: float = 1.0, count: int = 300, batch: int = 50) -> Sequence[Call]:
    """Points, and turns of 20 degrees in another unit."""
    points, heads = normal(count, 6, 2, seed=3), 20 * unit * normal(count, 2, seed=4)
    return [((a, b), {}) for a, b in zip(points.split(batch), heads.split(batch), strict=True)]


@pytest.mark.parametrize("batch", [50, 3])
def test_radians_for_degrees_are_questioned(batch: int) -> None:
    words = hardly_read(network(), calls(torch.pi / 180, batch=batch))
    assert words.startswith("answers hardly depend on input 1 (") and words.endswith("% as much as on all inputs)")
    assert unit_in_question(network(), calls(torch.pi / 180)).startswith(f"warning: {QUESTION}: {words[:20]}")


@pytest.mark.parametrize("share", [0.6, 0.1])
def test_right_inputs_are_not(share: float) -> None:
    """Not even one that counts a tenth of what the others do."""
    assert hardly_read(network(share), calls()) == ""


def test_flags_have_no_unit() -> None:
    """One that hardly anybody has changes next to no answer, exchanged or not."""
    flagged: list[Call] = [((points, torch.zeros_like(heads)), {}) for (points, heads), _ in calls()]
    flagged[0][0][1][:3] = 1.0
    assert hardly_read(network(), flagged) == ""


def test_an_input_that_never_varies_is_another_matter() -> None:
    assert hardly_read(network(), calls(0.0)) == ""


def test_a_network_of_one_input_is_not_asked() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 12), nn.Unflatten(1, (6, 2))).double()
    spec = parse_spec(BODY + "inputs: [{layout: b j d}]\noutputs: [{layout: b j d}]\n")
    assert hardly_read(prepare(net, spec, (normal(3, 6, 2),)), [((normal(50, 6, 2),), {})] * 2) == ""
