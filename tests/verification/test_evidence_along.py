"""A network that carries states is asked for its mirror along sequences, where single calls tell little."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.errors import MirrorError
from chiralize.graph.mirror import MirrorFit
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from chiralize.verification.evidence import joined
from chiralize.verification.mirror_evidence import ask_network
from chiralize.verification.verdicts import Evidence
from tests.support.small_body import POSE, converted, normal, trained

WRONG = {
    "the other sign of x": POSE.replace("dims: [x, y]", "dims: [x, y]\nnegate: []"),
    "arms unswapped": POSE.replace("[l_arm, r_arm], ", "").replace("dims", "center: [hip, head, l_arm, r_arm]\ndims"),
}


class Cell(nn.Module):
    """A GRU cell that keeps its state."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(12, 10), nn.Linear(10, 12)
        self.register_buffer("hidden", torch.zeros(1, 10))

    def forward(self, x: Tensor) -> Tensor:
        self.hidden[:] = self.cell(x.flatten(1), self.hidden)
        return self.head(self.hidden).view(-1, 6, 2)


@cache
def learned() -> Any:
    """Equivariant but for a tenth of its weights, as a network that learned both sides."""
    net = converted(trained(Cell()), shape=(1, 6, 2), form="folded", force=True, max_drift=1e9)
    with torch.no_grad():
        for number, weight in enumerate(net.parameters()):
            weight += 0.03 * weight.std(unbiased=False) * normal(*weight.shape, seed=number)
        net.head.bias[1] += 3.0  # the hip is up there, as no initialisation has it
    return net


def walks() -> list[list[Any]]:
    """Three sequences of thirty poses that move."""
    poses = 0.3 * normal(3, 30, 6, 2, seed=4).cumsum(1) + normal(6, 2, seed=5)
    return [[((pose[None],), {}) for pose in walk] for walk in poses]


@cache
def ready(spec: str) -> Network:
    return prepare(learned(), parse_spec(spec), (normal(1, 6, 2),))


def asked(spec: str) -> Any:
    return ask_network(ready(spec), [], walks())


def test_its_own_mirror_is_confirmed() -> None:
    found = asked(POSE)
    assert isinstance(found.fit, MirrorFit) and found.fit.is_confirmed and 0.0 < found.fit.gap < 0.5
    assert "the network fits T" in found.checks[0]


@pytest.mark.one_in(2)
@pytest.mark.parametrize("case", WRONG)
def test_another_mirror_is_refuted_by_the_right_one(case: str) -> None:
    found = asked(WRONG[case])
    assert found.fit.is_refuted and found.fit.nearest_gap < 0.5 < found.fit.gap
    assert any(each.startswith("another mirror fits the network better") for each in found.warnings)


def test_conversions_along_sequences_refuse_another_mirror() -> None:
    poses = torch.stack([torch.cat([call[0][0] for call in walk]) for walk in walks()])
    with pytest.raises(MirrorError, match="fits the network better"):
        converted(learned(), WRONG["arms unswapped"], (1, 6, 2), method="auto", calibration=poses)


def test_without_sequences_nobody_is_asked() -> None:
    found = ask_network(ready(POSE), [call for walk in walks() for call in walk])
    assert found.fit is None and found.notes[0].endswith("--calibration sequences tell")
    assert found.lacks_time and joined(found, Evidence()).lacks_time


def test_who_gives_nothing_gives_no_samples_without_a_time() -> None:
    assert not ask_network(ready(POSE)).lacks_time and not asked(POSE).lacks_time
