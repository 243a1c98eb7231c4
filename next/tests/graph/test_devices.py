"""Networks that ask for a GPU by themselves. There and back needs a second device."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from chiralize.graph import devices
from chiralize.graph.devices import Staying
from chiralize.graph.run import Runner
from tests.graph.nets import Net, captured, exported, run_graph


def test_networks_of_several_devices_and_of_none_belong_to_the_cpu() -> None:
    split = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, device="meta"))
    assert devices.device_of(split) == devices.device_of(nn.ReLU()) == devices.CPU
    assert devices.on_cpu(split) is split


class Asking(nn.Module):
    """It asks for a GPU in every way that networks do, unless it is `plain`."""

    def __init__(self, plain: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.plain, self.layer = plain, nn.Linear(12, 12)

    def forward(self, x: Tensor) -> Tensor:
        if self.plain:
            return torch.tanh(self.layer(x) + torch.ones(12)) * torch.full((12,), 3.0)
        hidden = self.layer(x.cuda()) + torch.ones(12).cuda(x.get_device()) + torch.zeros(12, device="cuda")
        hidden = torch.tanh(hidden + torch.zeros(12).to(torch.device("cuda", 0)) + torch.zeros(12).to(device=0))
        return hidden * torch.tensor(3.0, device=torch.device("cuda")).expand(12)


def test_networks_that_ask_for_a_gpu_are_run_and_captured_on_the_cpu() -> None:
    x, plain = torch.randn(2, 12), Asking(plain=True)
    with Runner(Asking(plain=False)) as runner:
        assert torch.equal(runner.run([((x,), {})]).steps[0], plain(x))
    (answer,) = run_graph(captured(Asking(plain=False), x), [x])
    assert torch.equal(answer, plain(x))


def test_only_what_asks_for_a_gpu_is_answered() -> None:
    with Staying():
        assert torch.zeros(2, device="meta").to("meta").is_meta and torch.zeros(2).to("meta").is_meta
        assert torch.zeros(2).to(torch.float64).dtype == torch.zeros(2).to(torch.zeros(1).double()).dtype
        assert torch.zeros(2, dtype=torch.float64, device="cuda").dtype == torch.float64
        with torch.device("meta"):
            assert torch.zeros(2).cuda().is_meta


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a second device")
def test_there_and_back() -> None:
    """Parameters, plain attributes, and devices that are written into graphs."""
    net = Net(lambda s, x: s.layer(x) + s.plain + torch.ones(3, device=x.device), layer=nn.Linear(3, 3)).eval()
    net.plain = torch.ones(3)  # type: ignore[assignment]
    x = torch.randn(2, 3)
    expected = net(x)
    away = devices.moved(copy.deepcopy(net), torch.device("cuda", 0))
    program = exported(away, x.cuda())
    for model in (away, program):
        back = devices.on_cpu(model)
        module = back.module() if isinstance(back, torch.export.ExportedProgram) else back
        torch.testing.assert_close(module(x), expected)
    assert next(away.parameters()).is_cuda
    with Runner(away) as runner:
        torch.testing.assert_close(runner.run([((x.cuda(),), {})]).steps[0].cpu(), expected)
