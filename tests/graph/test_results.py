"""Results that are graphs, as modules among others: modes, copies, parts of larger networks."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.commands.api import Chirality
from tests.support.small_body import POSE, ROUNDING, Net, normal, trained, turned

WAYS: dict[str, dict[str, Any]] = {
    "dense": {"method": "reduce", "width": 0.707, "rounds": 0},
    "fused": {"method": "match", "form": "fused"},
    "average": {"method": "average"},
    "program": {"method": "match"},
}


def converted(way: str) -> nn.Module:
    parts = {"up": nn.Linear(12, 16), "norm": nn.BatchNorm1d(16), "drop": nn.Dropout(), "down": nn.Linear(16, 12)}
    net = trained(Net(lambda own, x: own.down(own.drop(own.norm(own.up(x.flatten(1))).relu())).view_as(x), **parts))
    data, model = normal(200, 6, 2), net
    if way in ("program", "average"):
        model = torch.export.export(net, (data[:2],), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    given = {"calibration": data} if way == "dense" else {}
    return chiralize.chiralize(model, parse_spec(POSE), (data[:2],), force=True, samples=1, **WAYS[way], **given)


@pytest.mark.thorough
@pytest.mark.parametrize("way", WAYS)
def test_modes_change_nothing(way: str) -> None:
    """Dropout was left out when the graph was made, and statistics are those of the original."""
    net, x = converted(way), normal(5, 6, 2, seed=1)
    assert not net.training
    whole, expected = nn.Sequential(net), net(x)
    for mode in (True, False):
        assert whole.train(mode) is whole and net.training is mode
        assert torch.equal(whole(x), expected)


@pytest.mark.one_in(4)
@pytest.mark.parametrize("way", WAYS)
def test_copies_know_what_they_are(way: str) -> None:
    net, x = converted(way), normal(5, 6, 2, seed=1)
    other: Any = copy.deepcopy(net).eval()
    assert isinstance(other.chirality, Chirality) and torch.equal(other(x), net(x))
    torch.testing.assert_close(other(turned(x)), turned(other(x)), rtol=0, atol=ROUNDING)
    assert chiralize.verify(other, example_inputs=(x[:2],), samples=1).passed
