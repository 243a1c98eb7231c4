"""The examples, run as their pages say; training needs the motion data and skips without them."""

from __future__ import annotations

import json
import os
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from safetensors.torch import load_file
from typer.testing import CliRunner

from examples.lifting.networks import TemporalLifter
from examples.lifting.train import train

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "chiralize" / "storage" / "pretrained"


@pytest.fixture
def lifter() -> torch.nn.Module:
    """The example's network with the shipped weights."""
    network = TemporalLifter()
    network.load_state_dict(load_file(SHIPPED / "lifter27.safetensors"), strict=True)
    return network.eval()


@pytest.mark.filterwarnings("ignore:'examples.lifting.train' found in sys.modules")
def test_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["train", "--help"])
    with pytest.raises(SystemExit) as left:
        runpy.run_module("examples.lifting.train", run_name="__main__")
    assert not left.value.code and "--minutes" in capsys.readouterr().out


@pytest.mark.thorough
@pytest.mark.skipif("CHIRALIZE_DATA" not in os.environ, reason="CHIRALIZE_DATA names no folder with the motion data")
def test_training_runs(tmp_path: Path) -> None:
    """A few steps, then the files and figures."""
    app = typer.Typer()
    app.command()(train)
    result = CliRunner().invoke(app, ["--minutes", "0.01", "--channels", "16", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "lifter27.json").read_text())
    assert figures["figures"]["mpjpe_mm"] > 0
    assert (tmp_path / "lifter27.pt2").exists()


def test_shipped_program_is_the_network(lifter: torch.nn.Module) -> None:
    """The .pt2 and the weights are the same network, at other sizes too."""
    program = torch.export.load(SHIPPED / "lifter27.pt2").module()
    for batch, frames in ((1, 27), (3, 40)):
        x = torch.randn(batch, frames, 17, 2, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            assert torch.equal(program(x), lifter(x))


def test_shipped_program_names_no_machine() -> None:
    """Stack traces carry files of the project, not of the machine that exported it."""
    found = re.findall(rb'File \\?"([^"\\]+)', (SHIPPED / "lifter27.pt2").read_bytes())
    assert found and not any(name.startswith(b"/") for name in found)


def test_shipped_inputs() -> None:
    """Unlabelled windows for calibration, in the range of normalised image coordinates."""
    poses = np.load(SHIPPED / "lifter27_inputs.npz")["poses"]
    assert poses.shape == (256, 27, 17, 2) and poses.dtype == np.float32
    assert np.abs(poses).max() < 2
