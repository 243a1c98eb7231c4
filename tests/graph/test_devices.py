"""Networks on another device than the CPU, and `--device`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.errors import ModelRunError, UsageError
from chiralize.graph import devices
from chiralize.graph.staying import Staying, staying
from chiralize.storage.factory import build_module
from tests.support.command import Shell, network, save_program, working_shell
from tests.support.other_process import run_pytest
from tests.support.small_body import BODY

POSE_ROW = parse_spec(BODY + 'inputs: [{layout: "b (j d)"}]\noutputs: [{layout: "b (j d)"}]\n')


def test_networks_of_another_device(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """In a process of its own: it gets a second device, for good."""
    checks = Path(__file__).parents[1] / "support" / "check_devices.py"
    words = ["-q", "-p", "no:xdist", "-p", "no:cacheprovider", "--rootdir", str(checks.parents[2]), str(checks)]
    if request.config.getoption("--thorough"):
        words.append("--thorough")
    status, written = run_pytest(tmp_path, words)
    assert status == 0, written


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


class Asking(torch.nn.Module):
    """It asks for a GPU in every way that networks do, while it is built and in forward, unless it is `plain`."""

    def __init__(self, plain: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.plain = plain
        self.first, self.last = torch.nn.Linear(12, 16), torch.nn.Linear(16, 12)
        if not plain:
            self.first.cuda()
            self.last.to("cuda:0")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.plain:
            return self.last(torch.tanh(self.first(x) + torch.ones(16))) * torch.full((12,), 3.0)
        hidden = self.first(x.cuda()) + torch.ones(16).cuda(x.get_device()) + torch.zeros(16, device="cuda")
        hidden = torch.tanh(hidden + torch.zeros(16).to(torch.device("cuda", 0)) + torch.zeros(16).to(device=0))
        return self.last(hidden) * torch.tensor(3.0, device=torch.device("cuda")).expand(12)


def asking() -> Asking:
    """As `--model` builds it."""
    built = build_module(lambda: Asking(plain=False), {})
    assert isinstance(built, Asking)
    return built


def test_networks_that_ask_for_a_gpu_are_run_on_the_cpu() -> None:
    x = torch.randn(2, 12)
    ours = chiralize.chiralize(asking(), POSE_ROW, method="match")
    plain = chiralize.chiralize(Asking(plain=True), POSE_ROW, method="match")
    with Staying():
        assert torch.equal(ours(x), plain(x))


def test_only_what_asks_for_a_gpu_is_answered() -> None:
    with Staying():
        assert torch.zeros(2, device="meta").to("meta").is_meta and torch.zeros(2).to("meta").is_meta
        assert torch.zeros(2).to(torch.float64).dtype == torch.zeros(2).to(torch.zeros(1).double()).dtype
        assert torch.zeros(2, dtype=torch.float64, device="cuda").dtype == torch.float64
        with torch.device("meta"):
            assert torch.zeros(2).cuda().is_meta
    assert isinstance(staying(torch.nn.Linear(2, 2)), Staying)
    assert not isinstance(staying(torch.nn.Linear(2, 2, device="meta")), Staying)


class Looking(torch.nn.Linear):
    """It asks what GPU there is."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input) * torch.cuda.current_device()


@pytest.mark.skipif(torch.cuda.is_available(), reason="the words are those of torch where there is no CUDA")
def test_networks_that_look_for_a_gpu() -> None:
    with pytest.raises(ModelRunError) as found:
        chiralize.plan(Looking(12, 12), POSE_ROW, (torch.randn(2, 12),))
    assert "CUDA" in found.value.facts or "NVIDIA" in found.value.facts
    assert "use x.device in forward" in found.value.remedy


class Mixed(torch.nn.Linear):
    """It holds a constant of another precision, which training under autocast hides."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.register_buffer("table", torch.eye(inputs, dtype=torch.float64))

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input @ self.table)  # type: ignore[operator]


@pytest.mark.parametrize("has_examples", [True, False])
def test_networks_of_two_precisions(has_examples: bool) -> None:
    examples = (torch.randn(2, 12),) if has_examples else ()
    with pytest.raises((ModelRunError, UsageError)) as found:
        chiralize.chiralize(Mixed(12, 12), POSE_ROW, examples)
    assert "dtype" in found.value.facts or "scalar type" in found.value.facts
    assert "make all of its numbers float32 (model.float()" in found.value.remedy


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    yield from working_shell(tmp_path, capsys, monkeypatch)


def test_convert_says_of_a_device_that_there_is_none(shell: Shell) -> None:
    save_program(network(hidden=8), shell.folder / "net.pt2")
    done = shell("convert", "net.pt2", "--skeleton", "lifter.yaml", "--distill", "9", "--device", "nowhere")
    assert done.status == 2 and "--device: 'nowhere': " in done.err, done.err
