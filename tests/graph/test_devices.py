"""Networks on another device than the CPU, and `--device`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.errors import ModelRunError, UsageError
from chiralize.graph import devices
from tests.support.command import Shell, network, save_program, working_shell
from tests.support.small_body import BODY

POSE_ROW = parse_spec(BODY + 'inputs: [{layout: "b (j d)"}]\noutputs: [{layout: "b (j d)"}]\n')


def test_networks_of_another_device(request: pytest.FixtureRequest) -> None:
    checks = Path(__file__).parents[1] / "support" / "check_devices.py"
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", str(checks)]
    if request.config.getoption("--thorough"):
        words.append("--thorough")
    run = subprocess.run(words, cwd=checks.parents[1], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout


@pytest.mark.parametrize("name", ["nowhere", "meta", "cpu:x"])
def test_what_is_no_device_is_refused(name: str) -> None:
    with pytest.raises(UsageError) as found:
        devices.named(name)
    assert found.value.where == "--device"
    assert "leave --device out" in str(found.value)


@pytest.mark.parametrize("name", ["cpu", "cpu:0"])
def test_the_cpu_has_one_name(name: str) -> None:
    assert devices.named(name) == devices.CPU


def test_networks_of_several_devices_and_of_none_belong_to_the_cpu() -> None:
    split = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2, device="meta"))
    assert devices.device_of(split) == devices.device_of(torch.nn.ReLU()) == devices.CPU


class Fixed(torch.nn.Linear):
    """It moves its input to a GPU itself."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input.cuda())


@pytest.mark.skipif(torch.cuda.is_available(), reason="the words are those of torch where there is no CUDA")
def test_networks_that_name_their_device() -> None:
    with pytest.raises(ModelRunError) as found:
        chiralize.plan(Fixed(12, 12), POSE_ROW, (torch.randn(2, 12),))
    assert "CUDA" in found.value.facts
    assert "use x.device in forward" in found.value.remedy


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    yield from working_shell(tmp_path, capsys, monkeypatch)


def test_convert_says_of_a_device_that_there_is_none(shell: Shell) -> None:
    save_program(network(hidden=8), shell.folder / "net.pt2")
    done = shell("convert", "net.pt2", "--skeleton", "lifter.yaml", "--distill", "9", "--device", "nowhere")
    assert done.status == 2 and "--device: 'nowhere': " in done.err, done.err
