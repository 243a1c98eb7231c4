"""The state of a whole chiral network as that of the same network of torch layers, strictly, and back."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from chiralize.errors import AsymmetricWeightError
from chiralize.nn import ChiralModule, InvariantParameter, dense_state, load_dense_state
from tests.nn.test_state import NETS, example, net
from tests.support.chiral_oracle import scrambled


def folded(network: nn.Module) -> nn.Module:
    """The same class with torch's layers; invariant parameters become parameters under the same name."""
    drawn = copy.deepcopy(network)
    layers = [(path, layer) for path, layer in drawn.named_modules() if isinstance(layer, ChiralModule)]
    for path, layer in [item for item in layers if _is_outermost(drawn, item[0])]:
        parent, _, last = path.rpartition(".")
        holder = drawn.get_submodule(parent)
        if isinstance(layer, InvariantParameter):
            delattr(holder, last)
            holder.register_parameter(last, nn.Parameter(torch.zeros_like(layer().detach())))
        else:
            setattr(holder, last, layer.folded())
    return drawn


def _is_outermost(network: nn.Module, path: str) -> bool:
    parts = path.split(".")
    return not any(isinstance(network.get_submodule(".".join(parts[:at])), ChiralModule) for at in range(1, len(parts)))


@pytest.mark.parametrize("name", NETS)
def test_there_and_back(name: str) -> None:
    """Another network's state, through the folded one: every block arrives as it left."""
    first, second = net(name, 1), net(name, 2)
    theirs = scrambled(folded(first), 3)
    theirs.load_state_dict(dense_state(first), strict=True)
    item = dense_state(first)
    assert item.keys() == theirs.state_dict().keys() and not any(value.requires_grad for value in item.values())
    if not any(isinstance(layer, InvariantParameter) for layer in first.modules()):
        with torch.no_grad():
            torch.testing.assert_close(theirs(example(name)), first(example(name)), rtol=0, atol=1e-10)
    load_dense_state(second, theirs.state_dict())
    for key, value in second.state_dict().items():
        torch.testing.assert_close(value, first.state_dict()[key], rtol=0, atol=1e-12)


def test_strictly() -> None:
    """What is missing, too much or asymmetric is refused by name."""
    network = net("transformer")
    state = dense_state(network)
    assert "places" in state
    missing = {name: value for name, value in state.items() if name != "places"}
    with pytest.raises(RuntimeError):
        load_dense_state(network, missing)
    with pytest.raises(RuntimeError):
        load_dense_state(network, {**state, "other": torch.ones(1)})
    with pytest.raises(AsymmetricWeightError):
        load_dense_state(network, {**state, "places": torch.randn_like(state["places"])})


def test_one_layer_alone() -> None:
    """A network that is a layer has no prefix; a layer under two names is there twice."""
    layer = net("transformer").get_submodule("places")
    assert list(dense_state(layer)) == ["weight"]
    load_dense_state(layer, dense_state(layer))
    linear = next(item for item in net("perceptron").modules() if isinstance(item, ChiralModule))
    twice = nn.ModuleDict({"a": linear, "b": linear, "c": nn.Linear(2, 2)})
    assert {"a.weight", "b.weight", "c.weight"} <= set(dense_state(twice))
