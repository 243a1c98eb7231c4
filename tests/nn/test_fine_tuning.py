"""Fine-tuning a converted network: with the projection it stays symmetric, without it does not."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import pytest
import torch
from torch import nn

from chiralize.body.tensors import parse_spec
from chiralize.commands.api import chiralize
from chiralize.errors import UsageError
from chiralize.nn import Linear
from chiralize.nn.training import keep_symmetric, recipe
from tests.support.command import library_warnings
from tests.support.small_body import CLIP, POSE, ROUNDING, Net, normal, turned
from tests.support.small_body import residual as gap
from tests.support.small_body import trained as scrambled
from tests.support.zoo import CASES
from tests.support.zoo.judging import residual


def trained(kept: bool) -> float:
    """Residual after 50 steps of AdamW on lopsided targets."""
    case = CASES["joint major"]
    args, kwargs = case.example()
    net = chiralize(case.model(), parse_spec(case.spec), args, kwargs, method="match", samples=1)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-2)
    stop = keep_symmetric(net, optimizer) if kept else None
    generator = torch.Generator().manual_seed(0)
    net.train()
    for _ in range(50):
        x = torch.randn(16, 34, generator=generator, dtype=torch.float64)
        loss = (net(x) - x.repeat(1, 2)[:, :51]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if stop is not None:
        stop()
    net.eval()
    for norm in net.modules():
        if isinstance(norm, torch.nn.BatchNorm1d) and kept:
            assert norm.running_mean is not None
    return residual(net, case)


@pytest.mark.thorough
def test_projection_after_every_step_keeps_the_symmetry() -> None:
    assert trained(True) <= 1e-6
    assert trained(False) > 1e-2


def test_only_converted_networks() -> None:
    net = torch.nn.Linear(2, 2)
    with pytest.raises(UsageError, match="how its weights transform"):
        keep_symmetric(net, torch.optim.SGD(net.parameters(), 0.1))


@pytest.mark.one_in(2)
@pytest.mark.parametrize("kept", [True, False])
def test_what_blocks_leave_to_it(kept: bool) -> None:
    """Learned positions are no layer: the report names them, and the projection keeps them."""
    parts = {"up": nn.Linear(12, 16), "at": nn.Parameter(normal(4, 16)), "down": nn.Linear(16, 12)}
    net = Net(lambda own, x: own.down((own.up(x.flatten(2)) + own.at).relu()).view_as(x), **parts)
    found: Any = chiralize(scrambled(net), parse_spec(CLIP), (normal(2, 4, 6, 2),), method="match", form="blocks")
    notes = found.chirality.report.notes
    assert isinstance(found.up, Linear) and any("holds at: `keep_symmetric`" in note for note in notes)
    optimizer = torch.optim.Adam(found.parameters(), 1e-2)
    if kept:
        keep_symmetric(found, optimizer)
    x, y = normal(8, 4, 6, 2, seed=1), normal(8, 4, 6, 2, seed=2)
    for _ in range(5):
        optimizer.zero_grad()
        (found(x) - y).square().mean().backward()
        optimizer.step()
    assert (gap(found, (3, 4, 6, 2)) <= ROUNDING) == kept


# ---- networks and optimizers that are not what they were ------------------------------------------------------------
def converted() -> Any:
    """A network with a batch norm, converted, in training mode; a copy, to be trained at will."""
    return copy.deepcopy(_converted())


@cache
def _converted() -> Any:
    parts = {"up": nn.Linear(12, 16), "norm": nn.BatchNorm1d(16), "down": nn.Linear(16, 12)}
    net = Net(lambda own, x: own.down(own.norm(own.up(x.flatten(1))).relu()).view_as(x), **parts)
    return chiralize(scrambled(net), parse_spec(POSE), (normal(2, 6, 2),), method="match").train()


def step(net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    (net(normal(8, 6, 2, seed=1)) - normal(8, 6, 2, seed=2)).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


def off(net: nn.Module) -> float:
    x = normal(8, 6, 2, seed=3)
    net.eval()
    with torch.no_grad():
        return float((turned(net(x)) - net(turned(x))).abs().max())


def test_a_compiled_handle() -> None:
    net = converted()
    with library_warnings():
        handle: Any = torch.compile(net, backend="eager")
        optimizer = torch.optim.Adam(handle.parameters(), 1e-2)
        keep_symmetric(handle, optimizer)
        for _ in range(2):
            step(handle, optimizer)
    assert off(net) < ROUNDING


def test_weights_that_were_replaced() -> None:
    net = converted()
    optimizer = torch.optim.SGD(net.parameters(), 1e-2)
    keep_symmetric(net, optimizer)
    net.load_state_dict({name: own.clone() for name, own in net.state_dict().items()}, assign=True)
    optimizer.param_groups[0]["params"] = list(net.parameters())
    step(net, optimizer)
    assert off(net) < ROUNDING


def test_statistics_that_no_step_followed() -> None:
    net = converted()
    kept = keep_symmetric(net, torch.optim.SGD(net.parameters(), 1e-2))
    net(normal(8, 6, 2, seed=1))
    kept.project()
    assert off(net) < ROUNDING
    net.train()(normal(8, 6, 2, seed=1))
    assert off(net) > 1e-4


def test_weights_of_other_names_and_another_optimizer_are_refused() -> None:
    net = converted()
    with pytest.raises(UsageError, match="Adam: it holds no parameter of the network"):
        keep_symmetric(net, torch.optim.Adam(converted().parameters()))
    nn.utils.parametrizations.weight_norm(net.up)
    with pytest.raises(UsageError, match="it has no up.weight any more, which is to stay symmetric"):
        keep_symmetric(net, torch.optim.Adam(net.parameters()))


# ---- the recipe -----------------------------------------------------------------------------------------------------
Samples = tuple[torch.Tensor, torch.Tensor]


def squared(net: nn.Module, batch: Samples) -> torch.Tensor:
    return (net(batch[0]) - batch[1]).square().mean()


def labelled(count: int, seed: int = 0) -> list[Samples]:
    """Batches of what another, equivariant network answers."""
    aim = torch.nn.Linear(12, 12).double()
    with torch.no_grad():
        aim.weight.copy_(normal(12, 12, seed=9))

    def answer(x: torch.Tensor) -> torch.Tensor:
        return aim(x.flatten(1)).view_as(x)

    xs = [normal(32, 6, 2, seed=seed + place) for place in range(count)]
    with torch.no_grad():
        return [(x, (answer(x) + turned(answer(turned(x)))) / 2) for x in xs]


def test_the_recipe_learns_and_stays_symmetric() -> None:
    """Of a copy; what is told are the losses on what is held out."""
    net, told = converted().eval(), list[tuple[int, int, float]]()
    before = {name: own.clone() for name, own in net.state_dict().items()}
    held = labelled(2, seed=50)
    found = recipe(net, labelled(8), squared, steps=60, rate=2e-2, held=held, progress=lambda *all: told.append(all))
    assert squared(found, held[0]).item() < 0.5 * squared(net, held[0]).item()
    assert off(found) < ROUNDING and not found.training and found.chirality.report is not None
    assert [step for step, _, _ in told] == list(range(6, 61, 6)) and told[-1][2] < told[0][2]
    assert all(torch.equal(own, before[name]) for name, own in net.state_dict().items())


def test_a_lifted_network_learns_too() -> None:
    """Whatever its weights are, the average of both views stays symmetric."""
    layers = scrambled(nn.Sequential(nn.Flatten(), nn.Linear(12, 12), nn.Unflatten(1, (6, 2))))
    net = chiralize(layers, parse_spec(POSE), (normal(2, 6, 2),), method="average")
    found = recipe(net, labelled(4), squared, steps=20, rate=2e-2)
    held = labelled(1, seed=50)[0]
    assert squared(found, held).item() < squared(net, held).item() and off(found) < ROUNDING


def test_without_held_out_labels_the_last_weights_count() -> None:
    losses = list[float]()
    found = recipe(converted(), labelled(4), squared, steps=10, progress=lambda step, steps, loss: losses.append(loss))
    assert len(losses) == 10 and off(found) < ROUNDING


def test_never_worse_on_what_is_held_out() -> None:
    """Where training leads away, the network comes back as it was."""
    net = converted().eval()
    held = [(x, net(x).detach()) for x, _ in labelled(1, seed=50)]
    found = recipe(net, labelled(2), squared, steps=5, rate=1.0, held=held)
    assert all(torch.equal(own, net.state_dict()[name]) for name, own in found.state_dict().items())


@pytest.mark.parametrize(
    ("batches", "options", "words"),
    [
        ((own for own in labelled(2)), {"steps": 3}, "batches: they end after 2 of 3 steps"),
        ([], {"steps": 3}, "batches: they end after 0 of 3 steps"),
        (labelled(1), {"steps": 0}, "recipe: steps 0, rate 0.001"),
        (labelled(1), {"rate": 0.0}, "recipe: steps 1000, rate 0.0"),
    ],
)
def test_what_the_recipe_refuses(batches: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        recipe(converted(), batches, squared, **options)
    with pytest.raises(UsageError, match="how its weights transform"):
        recipe(nn.Linear(2, 2), labelled(1), squared)
