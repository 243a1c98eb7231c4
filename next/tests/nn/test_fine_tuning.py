"""Fine-tuning a converted network: with the projection it stays symmetric, without it does not."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import pytest
import torch
from torch import nn

from chiralize import chiralize, keep_symmetric, recipe
from chiralize.body.spec import parse_spec
from chiralize.errors import UsageError
from chiralize.graph.quiet import quiet
from tests.support.small_body import POSE, ROUNDING, Net, normal, turned
from tests.support.small_body import trained as scrambled


def test_only_converted_networks() -> None:
    net = torch.nn.Linear(2, 2)
    with pytest.raises(UsageError):
        keep_symmetric(net, torch.optim.SGD(net.parameters(), 0.1))


# ---- networks and optimizers that are not what they were ------------------------------------------------------------
def converted() -> Any:
    """A network with a batch norm, converted, in training mode; a copy, to be trained at will."""
    return copy.deepcopy(_converted())


@cache
def _converted() -> Any:
    parts = {"up": nn.Linear(12, 16), "norm": nn.BatchNorm1d(16), "down": nn.Linear(16, 12)}
    net = Net(lambda items, x: items.down(items.norm(items.up(x.flatten(1))).relu()).view_as(x), **parts)
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
    with quiet():
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
    net.load_state_dict({name: items.clone() for name, items in net.state_dict().items()}, assign=True)
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
    with pytest.raises(UsageError):
        keep_symmetric(net, torch.optim.Adam(converted().parameters()))
    nn.utils.parametrizations.weight_norm(net.up)
    with pytest.raises(UsageError):
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

    xs = [normal(32, 6, 2, seed=seed + where) for where in range(count)]
    with torch.no_grad():
        return [(x, (answer(x) + turned(answer(turned(x)))) / 2) for x in xs]


def test_the_recipe_learns_and_stays_symmetric() -> None:
    """Of a copy; what is told are the losses on what is held out."""
    net, told = converted().eval(), list[tuple[int, int, float]]()
    before = {name: items.clone() for name, items in net.state_dict().items()}
    held = labelled(2, seed=50)
    result = recipe(net, labelled(8), squared, steps=60, rate=2e-2, held=held, progress=lambda *all: told.append(all))
    assert squared(result, held[0]).item() < 0.5 * squared(net, held[0]).item()
    assert off(result) < ROUNDING and not result.training and result.chirality.report is not None
    assert [step for step, _, _ in told] == list(range(6, 61, 6)) and told[-1][2] < told[0][2]
    assert all(torch.equal(items, before[name]) for name, items in net.state_dict().items())


def test_a_lifted_network_learns_too() -> None:
    """Whatever its weights are, the average of both views stays symmetric."""
    layers = scrambled(nn.Sequential(nn.Flatten(), nn.Linear(12, 12), nn.Unflatten(1, (6, 2))))
    net = chiralize(layers, parse_spec(POSE), (normal(2, 6, 2),), method="average")
    result = recipe(net, labelled(4), squared, steps=20, rate=2e-2)
    held = labelled(1, seed=50)[0]
    assert squared(result, held).item() < squared(net, held).item() and off(result) < ROUNDING


def test_without_held_out_labels_the_last_weights_count() -> None:
    losses = list[float]()
    result = recipe(converted(), labelled(4), squared, steps=10, progress=lambda step, steps, loss: losses.append(loss))
    assert len(losses) == 10 and off(result) < ROUNDING


def test_never_worse_on_what_is_held_out() -> None:
    """Where training leads away, the network comes back as it was."""
    net = converted().eval()
    held = [(x, net(x).detach()) for x, _ in labelled(1, seed=50)]
    result = recipe(net, labelled(2), squared, steps=5, rate=1.0, held=held)
    assert all(torch.equal(items, net.state_dict()[name]) for name, items in result.state_dict().items())


@pytest.mark.parametrize(
    ("batches", "options"),
    [
        ((items for items in labelled(2)), {"steps": 3}),
        ([], {"steps": 3}),
        (labelled(1), {"steps": 0}),
        (labelled(1), {"rate": 0.0}),
    ],
)
def test_what_the_recipe_refuses(batches: Any, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        recipe(converted(), batches, squared, **options)
    with pytest.raises(UsageError):
        recipe(nn.Linear(2, 2), labelled(1), squared)
