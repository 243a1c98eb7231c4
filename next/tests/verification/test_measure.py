"""Figures on the user's inputs: held-out samples, and sequences along which a network hands values on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.spec import parse_spec
from chiralize.problem.inputs import inputs_of
from chiralize.problem.mirror import mirror_at_rest, mirror_if_known
from chiralize.problem.network import Network
from chiralize.problem.prepare import prepare
from chiralize.verification.measure import figures, measure
from tests.support.small_body import POSE, normal


class Memory(nn.Module):
    """Equivariant on a single call; what it remembers fades faster on one side."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("last", torch.zeros(1, 6, 2).double())
        self.register_buffer("fading", torch.linspace(0.2, 0.8, 6).double()[:, None])

    def forward(self, x: Tensor) -> Tensor:
        self.last = self.fading * self.last + x
        return self.last + 0.0


def ready(net: nn.Module, *shape: int, spec: str = POSE) -> Network:
    return prepare(net.eval(), (normal(*shape),), {}, parse_spec(spec))


def test_what_a_state_adds_is_seen_along_sequences() -> None:
    network = ready(Memory(), 1, 6, 2)
    mirror = mirror_at_rest(network)
    assert mirror is not None
    inputs, _ = inputs_of(network, normal(10, 20, 6, 2))
    steps = inputs.held_sequences
    single, _ = measure(network, mirror, [[call] for call in steps[0]])
    along, _ = measure(network, mirror, steps)
    assert single.gap < 1e-12 and single.samples == 20
    assert along.gap > 0.1 and along.samples == 40


def test_figures_are_taken_along_the_sequences_that_are_held_out() -> None:
    network = ready(Memory(), 1, 6, 2)
    inputs, _ = inputs_of(network, normal(10, 20, 6, 2))
    found = figures(network, network.module, None, inputs=inputs).measured
    assert found is not None and (found.kind, found.samples) == ("given", 40)
    assert found.rho == pytest.approx(1.0)


def test_figures_are_taken_on_samples_that_are_held_out() -> None:
    """In batches, of which every sample counts alike: the gap is that of single samples."""
    layer = nn.Linear(2, 2, bias=False).double()
    network = ready(layer, 2, 6, 2)
    inputs, _ = inputs_of(network, normal(400, 6, 2))
    found = figures(network, network.module, None, inputs=inputs).measured
    assert found is not None and found.samples == 78 and found.kind == "given"
    mirror = mirror_if_known(network, None)
    assert mirror is not None
    one_by_one, _ = measure(network, mirror, [[call] for call in inputs.measured(1)])
    assert found.gap == pytest.approx(one_by_one.gap, rel=0.1) and found.gap > 0
