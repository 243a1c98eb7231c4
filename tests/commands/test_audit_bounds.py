"""What an audit costs: of a costly network some of the inputs are run, and the report says how many of how many."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from chiralize import audit
from chiralize.body.tensors import parse_spec
from tests.graph.test_rollouts import InBuffers
from tests.support.command import Shell, network, save_program, working_shell
from tests.support.small_body import POSE, normal


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    yield from working_shell(tmp_path, capsys, monkeypatch)


def source(work: float, monkeypatch: pytest.MonkeyPatch, samples: int = 2000) -> str:
    monkeypatch.setattr("chiralize.commands.audit.WORK", work)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 12), nn.Unflatten(1, (6, 2)))
    x = normal(samples, 6, 2).float()
    report = audit(net, parse_spec(POSE), (x[:8],), calibration=x)
    assert report.network.samples == (samples if report.source == "given data" else int(report.source.split()[2]))
    return report.source


def test_inputs_of_a_costly_network_are_run_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """144 multiplications a sample: a bound of 500 samples, spread over all of them; never fewer than 64."""
    assert source(1e12, monkeypatch) == "given data"
    assert source(144 * 500, monkeypatch) == "given data, 504 of 2,000 samples: a run of the network is costly"
    assert source(1, monkeypatch).startswith("given data, 64 of 2,000 samples")
    assert source(1, monkeypatch, samples=64) == "given data"


def test_sequences_are_run_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """By whole sequences, in which every step has the state of those before it."""
    monkeypatch.setattr("chiralize.commands.audit.WORK", 1.0)
    torch.manual_seed(0)
    sequences = normal(20, 30, 6, 2, seed=5)
    report = audit(InBuffers().double(), parse_spec(POSE), (sequences[0, :1],), calibration=sequences)
    says = "given data, along sequences, 60 of 600 steps: a run of the network is costly"
    assert (report.source, report.network.samples) == (says, 60)


def test_random_inputs_of_a_costly_network_are_fewer(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the user says how many; the layers are measured all the same."""
    save_program(network(hidden=16), shell.folder / "net.pt2", rows=2)
    command = ("audit", "net.pt2", "--skeleton", "lifter.yaml", "--format", "json")

    def samples(*more: str) -> int:
        report = json.loads(shell(*command, *more).out)
        assert report["layers"] or more
        assert ("a run of the network is costly" in report["source"]) == (report["network"]["samples"] == 64)
        return report["network"]["samples"]

    assert samples() == 256
    monkeypatch.setattr("chiralize.commands.audit.WORK", 1.0)
    assert samples() == 64
    assert samples("--samples", "300") == 300
