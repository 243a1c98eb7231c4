"""Networks that lie on another device: run by `test_devices.py` in a process of its own, which gets that device."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.graph import devices
from chiralize.nn.training import keep_symmetric
from tests.support import elsewhere
from tests.support.cases import mainly
from tests.support.small_body import POSE, Net, normal, turned
from tests.support.zoo.case import scrambled

SPEC = parse_spec(POSE)
SHAPE = (2, 6, 2)
WAYS = {
    "average": {"method": "average"},
    "match": {"method": "match"},
    "blocks": {"method": "match", "form": "blocks"},
    "fused": {"method": "match", "form": "fused"},
    "reduce": {"method": "reduce", "width": 0.5, "calibration": True, "rounds": 1, "distill": 3},
}


@pytest.fixture(autouse=True)
def device() -> None:
    elsewhere.register()


def network(names_its_device: bool = False) -> nn.Module:
    """It makes numbers on the device of its input, and holds a tensor that is no part of its state.

    names_its_device: in an op that export writes down in another way. It has no rule, and decomposing takes long.
    """

    def compute(net: Any, x: Tensor) -> Tensor:
        hidden = net.norm(net.first(x.flatten(1)))
        scale = torch.full((16,), 0.5, device=x.device) + net.kept["plain"]
        if names_its_device:
            scale = torch.ops.aten.to.device(scale, x.device, x.dtype)
        return net.last(torch.relu(hidden * scale)).view(x.shape)

    net = Net(compute, first=nn.Linear(12, 16), norm=nn.BatchNorm1d(16), last=nn.Linear(16, 12))
    net.kept = {"plain": torch.ones(16)}  # type: ignore[assignment]
    return scrambled(net, 0).eval()


def there(net: nn.Module) -> nn.Module:
    """Moved as a user does it."""
    net.kept = {"plain": net.kept["plain"].to(elsewhere.NAME)}  # type: ignore[assignment,index]
    return net.to(elsewhere.NAME)


def samples(count: int = 100) -> Tensor:
    return normal(count, *SHAPE[1:], seed=3).float()


def converted(net: nn.Module, device: str, options: dict[str, Any]) -> nn.Module:
    given = dict(options)
    if given.pop("calibration", False):
        given["calibration"] = samples().to(device)
    example = normal(*SHAPE).float().to(device)
    return chiralize.chiralize(net, SPEC, (example,), force=True, max_drift=1e9, samples=1, **given)


def places(net: nn.Module) -> set[str]:
    return {own.device.type for own in (*net.parameters(), *net.buffers())}


@pytest.mark.parametrize(("way",), mainly(product(WAYS), [("average",), ("reduce",)]))
def test_result_comes_back_to_the_device_and_is_what_it_is_on_the_cpu(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Distilling runs there, in batches of the same samples; a CPU without bfloat16 steps otherwise than a device."""
    monkeypatch.setattr("chiralize.methods.refine.steps.has_bfloat16", lambda: True)
    plain, net = network(), there(network())
    before = [own.cpu().clone() for own in net.state_dict().values()]
    expected, found = (converted(own, place, WAYS[way]) for own, place in ((plain, "cpu"), (net, elsewhere.NAME)))
    assert places(net) == places(found) == {elsewhere.NAME}
    assert all(torch.equal(own.cpu(), old) for own, old in zip(net.state_dict().values(), before, strict=True))
    x = samples(4)
    with torch.no_grad():
        on_cpu, answer = expected(x), found(x.to(elsewhere.NAME))
    assert answer.device.type == elsewhere.NAME
    assert torch.equal(answer.cpu(), on_cpu)
    assert chiralize.verify(found, example_inputs=(samples(2).to(elsewhere.NAME),), samples=1).passed


def test_the_other_functions_take_a_network_of_the_device() -> None:
    net, x = there(network()), samples(2).to(elsewhere.NAME)
    assert chiralize.plan(net, SPEC, (x,)).rows
    assert chiralize.audit(net, SPEC, (x,), calibration=samples().to(elsewhere.NAME)).source == "given data"
    assert not chiralize.verify(net, SPEC, (x,), samples=1).passed


@pytest.mark.thorough
def test_batches_of_a_loader_may_lie_anywhere() -> None:
    batches: Sequence[Tensor] = [own.to(elsewhere.NAME) for own in samples().split(20)]
    options: dict[str, Any] = {"method": "match", "rounds": 0, "samples": 1, "max_drift": 1e9, "force": True}
    there_, here = (
        chiralize.chiralize(network(), SPEC, (samples(2),), calibration=iter(own), **options)
        for own in (batches, samples().split(20))
    )
    assert all(torch.equal(*pair) for pair in zip(there_.parameters(), here.parameters(), strict=True))


@pytest.mark.thorough
def test_training_keeps_a_result_symmetric_on_its_device() -> None:
    net = converted(there(network()), elsewhere.NAME, {"method": "project"})
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    keep_symmetric(net, optimizer)
    x = samples(8)
    (net(x.to(elsewhere.NAME)) - x.to(elsewhere.NAME)).square().sum().backward()
    optimizer.step()
    with torch.no_grad():
        one, other = net(x.to(elsewhere.NAME)).cpu(), net(turned(x).to(elsewhere.NAME)).cpu()
    assert (turned(one) - other).abs().max() < 1e-4


def test_devices_without_float64_leave_training_to_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.device(elsewhere.NAME)
    assert devices.with_doubles(device) == device

    def refuses(*size: int, **how: Any) -> Tensor:
        raise TypeError("no float64")

    monkeypatch.setattr(torch, "empty", refuses)
    assert devices.with_doubles(device) == devices.CPU


@pytest.mark.thorough
def test_program_of_a_device_is_converted_on_the_cpu_and_comes_back() -> None:
    example = samples(2)
    program = torch.export.export(network(names_its_device=True), (example,))
    x = example.to(elsewhere.NAME)
    expected = chiralize.chiralize(program, SPEC, (example,), method="project", samples=1)
    there_ = torch.export.passes.move_to_device_pass(program, elsewhere.NAME)
    found = chiralize.chiralize(there_, SPEC, (x,), method="project", samples=1)
    with torch.no_grad():
        assert torch.equal(found(x).cpu(), expected(example))
    assert devices.device_of(there_).type == elsewhere.NAME
