"""Functions in attributes of a network, which Python's copies leave with the original."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.commands.chirality import chirality_of
from chiralize.graph.copies import copied, replaced, with_same_parameters


class Lambda(nn.Module):
    """A layer behind a lambda in an attribute."""

    embed: Any
    counted: Any

    def __init__(self, keep: Callable[[Lambda], Any]) -> None:
        super().__init__()
        self.layer, self.last = nn.Linear(34, 32), nn.Linear(32, 51)
        self.embed = keep(self)

    def forward(self, x: Tensor) -> Tensor:
        embed = self.embed
        if isinstance(embed, (list, dict)):
            embed = embed[0]
        return self.last(torch.tanh(embed(x.flatten(1)))).view(-1, 17, 3)


def _by_layer(net: Lambda) -> Any:
    layer = net.layer
    return lambda x: layer(x)  # noqa: PLW0108 - the closure is what is tested


def _by_default(net: Lambda) -> Any:
    return lambda x, net=net: net.layer(x)


def _by_keyword(net: Lambda) -> Any:
    def embed(x: Tensor, *, layer: nn.Module = net.layer) -> Tensor:
        return layer(x)

    return embed


def _nested(net: Lambda) -> Any:
    inner = _by_layer(net)
    return lambda x: inner(x)  # noqa: PLW0108


def _by_method(net: Lambda) -> Any:
    run = net.layer.forward
    return lambda x: run(x)  # noqa: PLW0108


def _of_itself(net: Lambda) -> Any:
    def embed(x: Tensor, again: bool = True) -> Tensor:
        return embed(x, False) if again else net.layer(x)

    return embed


WAYS = {
    "module": lambda net: lambda x: net.layer(x),
    "layer": _by_layer,
    "weight": lambda net: (lambda weight, bias: lambda x: x @ weight.T + bias)(net.layer.weight, net.layer.bias),
    "default": _by_default,
    "keyword": _by_keyword,
    "nested": _nested,
    "method": _by_method,
    "itself": _of_itself,
    "list": lambda net: [lambda x: net.layer(x)],
    "dict": lambda net: {0: lambda x: net.layer(x)},
}


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize("copy", [copied, lambda net: replaced(net, {})])
def test_a_copy_computes_with_its_weights(way: str, copy: Callable[[nn.Module], nn.Module]) -> None:
    net, x = Lambda(WAYS[way]), torch.randn(3, 17, 2)
    before = net(x)
    other = copy(net)
    torch.testing.assert_close(other(x), before)
    with torch.no_grad():
        other.get_submodule("layer").weight.zero_()
    assert not torch.equal(other(x), before)
    torch.testing.assert_close(net(x), before)


def test_one_with_the_same_parameters_has_them_in_its_functions() -> None:
    net, x = Lambda(WAYS["module"]), torch.randn(3, 17, 2)
    other = with_same_parameters(net)
    with torch.no_grad():
        net.layer.weight.zero_()
    torch.testing.assert_close(other(x), net(x))


def test_functions_that_share_a_state_share_it_in_the_copy() -> None:
    net = Lambda(WAYS["module"])
    calls = 0

    def count(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return net.layer(x)

    net.embed, net.counted = count, lambda: (calls, net.last)[0]
    other = copied(net)
    other(torch.randn(1, 17, 2))
    assert (other.counted(), net.counted(), calls) == (1, 0, 0)


def test_a_function_that_reaches_nothing_is_the_same() -> None:
    scale = 2.0
    net = Lambda(lambda _: lambda x: x[:, :32] * scale)
    assert copied(net).embed is net.embed


@pytest.mark.parametrize("way", ["module", "layer", "default"])
def test_such_a_weight_is_converted_as_a_weight(way: str) -> None:
    """As the constant that torch.export took it for, it would have been refused (CH304)."""
    torch.manual_seed(0)
    net = Lambda(WAYS[way])
    result = chiralize.chiralize(net, "h36m", torch.randn(2, 17, 2), method="match", force=True)
    chirality = chirality_of(result)
    assert chirality is not None and chirality.report is not None
    moved = {entry.name for entry in chirality.report.changes.moved}
    assert "layer.weight" in moved and not any("lifted" in name for name in moved)
    assert chiralize.verify(result).passed
