"""The attacks of `benchmarks/soundness`, in their smallest size, and whether they would notice a fault."""

from __future__ import annotations

import random
import zipfile
from io import BytesIO

import pytest
import torch
from torch import nn

from benchmarks.soundness.bodies import random_body
from benchmarks.soundness.damage import damaged
from benchmarks.soundness.networks import FALSE, ask, other_mirror, planted, residual_of
from benchmarks.soundness.random_nets import random_net


class _Scaled(nn.Module):
    """Of each coordinate a multiple: equivariant under every mirror that keeps the joints' dims apart."""

    def __init__(self, joints: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(joints, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale


def test_the_oracle() -> None:
    """It passes what is equivariant, and notices one number that was changed, or another mirror."""
    draw = random.Random(3)
    body = random_body(draw)
    net = _Scaled(len(body.joints)).double()
    assert residual_of(net, body, 0) == 0
    with torch.no_grad():
        net.scale[body.joints.index("left_0")] = 1.001
    assert residual_of(net, body, 0) > FALSE[torch.float64]
    random_one, its_body = random_net(0)
    assert residual_of(random_one.double(), its_body, 0) > 0.01
    assert other_mirror(its_body, draw) != its_body


def test_a_planted_fault_changes_one_number() -> None:
    net, _ = random_net(1)
    before = net.state_dict()
    after = planted(net, random.Random(0)).state_dict()
    assert sum(int((before[name] != after[name]).sum()) for name in before) == 1


@pytest.mark.thorough
def test_one_network() -> None:
    """All four questions, of a network that match converts."""
    rows = ask(1)
    assert [row.question for row in rows] == ["original", "converted", "planted", "other mirror"]
    assert [row.said for row in rows] == ["rejected", "accepted", "rejected", "rejected"]
    assert not any(row.is_false or row.is_foreign for row in rows)


def test_damage() -> None:
    """Damaged copies differ from the file, and archives are rebuilt with right checksums now and then."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.json", '{"x": [1, 2, 3]}')
    copies = [damaged(buffer.getvalue(), "a.pt2", random.Random(seed), b"payload") for seed in range(40)]
    assert sum(copy != buffer.getvalue() for copy in copies) >= 36
    assert any(copy.startswith(b"payload") for copy in copies)
    opened = [copy for copy in copies if zipfile.is_zipfile(BytesIO(copy))]
    assert any(zipfile.ZipFile(BytesIO(copy)).testzip() is None for copy in opened)
