"""What an audit costs: of a costly network some of the inputs are run, and the report says how many of how many."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from chiralize import audit
from chiralize.body.tensors import parse_spec
from tests.graph.test_rollouts import InBuffers
from tests.support.small_body import POSE, normal


def source(work: float, monkeypatch: pytest.MonkeyPatch, samples: int = 2000) -> str:
    monkeypatch.setattr("chiralize.commands.audit.WORK", work)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 12), nn.Unflatten(1, (6, 2)))
    x = normal(samples, 6, 2).float()
    report = audit(net, parse_spec(POSE), (x[:8],), calibration=x)
    assert report.network.samples == (samples if report.source == "given data" else int(report.source.split()[2]))
    return report.source


def test_inputs_of_a_costly_network_are_run_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """144 multiplications a sample: a bound of 500 samples, spread over all of them; never fewer than 256."""
    assert source(1e12, monkeypatch) == "given data"
    assert source(144 * 500, monkeypatch) == "given data, 504 of 2,000 samples: a run of the network is costly"
    assert source(1, monkeypatch).startswith("given data, 256 of 2,000 samples")
    assert source(1, monkeypatch, samples=200) == "given data"


def test_sequences_are_run_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """By whole sequences, in which every step has the state of those before it."""
    monkeypatch.setattr("chiralize.commands.audit.WORK", 1.0)
    torch.manual_seed(0)
    sequences = normal(20, 30, 6, 2, seed=5)
    report = audit(InBuffers().double(), parse_spec(POSE), (sequences[0, :1],), calibration=sequences)
    says = "given data, along sequences, 210 of 600 steps: a run of the network is costly"
    assert (report.source, report.network.samples) == (says, 210)
