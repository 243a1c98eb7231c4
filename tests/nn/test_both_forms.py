"""Weights of either form load into the other by `load_state_dict`, strictly, and compute the same."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiralize.commands.convert import Request, convert
from chiralize.errors import AsymmetricWeightError
from chiralize.nn import ChiralModule, Linear, hidden
from chiralize.nn.deploy.loading import takes_blocks
from tests.commands.test_zoo import prepared
from tests.support import script_nets
from tests.support.zoo import CASES
from tests.support.zoo.judging import answers, apart, scale

NAMES = (
    "temporal", "residual layer norm", "grouped convolutions", "paper layout, 102", "states passed along",
    "policy, act", "policy, gru in buffers", "shared and tied", "invariant classifier",
    "lstm", "lstm, both ways, two layers", "gru",
)  # fmt: skip


@cache
def forms(name: str) -> tuple[nn.Module, nn.Module]:
    """The same network folded, as `chiralize` hands it over, and in blocks."""
    network = prepared(CASES[name], CASES[name].model())
    folded = convert(network, name, Request("match", form="folded", samples=1))
    takes_blocks(folded.module, folded.passport.hidden)
    return folded.module, convert(network, name, Request("match", form="blocks", samples=1)).module


def pair(name: str) -> tuple[nn.Module, nn.Module]:
    """Copies of both, each with other weights: those in blocks trained on, so to say."""
    folded, blocks = map(copy.deepcopy, forms(name))
    with torch.no_grad():
        for number, parameter in enumerate(blocks.parameters()):
            generator = torch.Generator().manual_seed(number)
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.mul_(1 + 0.1 * noise) if _in_blocks(blocks, parameter) else None
    return folded, blocks


def _in_blocks(module: nn.Module, parameter: Tensor) -> bool:
    layers = [layer for layer in module.modules() if isinstance(layer, ChiralModule)]
    return any(parameter is other for layer in layers for other in layer.parameters())


@pytest.mark.one_in(12)
@pytest.mark.parametrize("name", NAMES)
def test_there_and_back(name: str) -> None:
    """Into the folded form, strictly; and from that into other blocks: what arrives is what left."""
    case = CASES[name]
    folded, blocks = pair(name)
    state = blocks.state_dict()
    assert set(state) != set(folded.state_dict())
    before = {key: value.clone() for key, value in state.items()}
    assert str(folded.load_state_dict(state, strict=True)) == "<All keys matched successfully>"
    assert state.keys() == before.keys() and all(torch.equal(state[key], before[key]) for key in state)
    expected = answers(blocks, case)
    assert apart(answers(folded, case), expected) <= 1e-9 * scale(expected)
    other = copy.deepcopy(forms(name)[1])
    assert str(other.load_state_dict(folded.state_dict(), strict=True)) == "<All keys matched successfully>"
    for key, value in other.state_dict().items():
        torch.testing.assert_close(value, state[key], rtol=1e-12, atol=1e-12)
    assert apart(answers(other, case), expected) <= 1e-9 * scale(expected)


def test_exactly_where_the_arithmetic_is() -> None:
    """Between pairs, weights that are sums of few powers of two are folded and unfolded bit for bit."""
    blocks = nn.Sequential(Linear(hidden(8), hidden(6), dtype=torch.float64))
    with torch.no_grad():
        for parameter in blocks.parameters():
            parameter.copy_((8 * parameter).round() / 8 + 0.0)
    folded = nn.Sequential(nn.Linear(8, 6, dtype=torch.float64))
    takes_blocks(folded, {f"0.{name}": rep for name, rep in blocks[0].dense_representations().items()})  # type: ignore[operator]
    folded.load_state_dict(blocks.state_dict())
    other = nn.Sequential(Linear(hidden(8), hidden(6), dtype=torch.float64))
    other.load_state_dict(folded.state_dict())
    assert all(torch.equal(value, blocks.state_dict()[key]) for key, value in other.state_dict().items())
    assert all(torch.equal(value, folded.state_dict()[f"0.{key}"]) for key, value in other[0].dense().items())  # type: ignore[operator]


def wrapped(module: nn.Module) -> nn.Module:
    return nn.ModuleDict({"net": module})


def test_inside_another_module_and_after_copies() -> None:
    folded, blocks = pair("temporal")
    expected = answers(blocks, CASES["temporal"])
    for take in (copy.deepcopy, lambda module: module.double()):
        outer = wrapped(take(folded))
        outer.load_state_dict(wrapped(blocks).state_dict())
        assert apart(answers(outer["net"], CASES["temporal"]), expected) <= 1e-9 * scale(expected)  # type: ignore[index]


@pytest.mark.thorough
def test_assigned_and_in_another_precision() -> None:
    """`assign=True` takes the tensors over; weights in float32 are folded in float32."""
    folded, blocks = pair("gru")
    blocks.float()
    folded.load_state_dict(blocks.state_dict(), assign=True)
    assert {parameter.dtype for parameter in folded.parameters()} == {torch.float32}
    expected = answers(blocks, CASES["gru"], torch.float32)
    assert apart(answers(folded, CASES["gru"], torch.float32), expected) <= 1e-5 * scale(expected)


def fewer(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state that lacks one block."""
    missing = next(key for key in state if key.endswith("weight_odd"))
    return {key: value for key, value in state.items() if key != missing}


def other_size(state: Mapping[str, Any]) -> dict[str, Any]:
    key = next(key for key in state if key.endswith("weight_odd"))
    return {**state, key: state[key][:-1]}


@pytest.mark.one_in(2)
@pytest.mark.parametrize("change", [fewer, other_size])
def test_what_does_not_fit_is_named_by_torch(change: Any) -> None:
    folded, blocks = pair("temporal")
    before = copy.deepcopy(folded.state_dict())
    with pytest.raises(RuntimeError, match="weight_even") as caught:
        folded.load_state_dict(change(blocks.state_dict()))
    assert "Unexpected key" in str(caught.value)
    half = [key for key in before if not torch.equal(before[key], folded.state_dict()[key])]
    assert len(half) < len(before)


def test_other_weights_are_taken_as_ever() -> None:
    """The folded form's own state loads as it does without the hook; blocks refuse weights that T moves."""
    folded, blocks = pair("temporal")
    original = CASES["temporal"].model()
    folded.load_state_dict(original.state_dict())
    assert apart(answers(folded, CASES["temporal"]), answers(original, CASES["temporal"])) == 0
    with pytest.raises(AsymmetricWeightError):
        blocks.load_state_dict(original.state_dict())


def test_another_mirror_takes_the_place_of_the_first() -> None:
    module, (folded, blocks) = nn.Linear(2, 2), pair("temporal")
    takes_blocks(module, {})
    takes_blocks(module, {})
    assert len(module._load_state_dict_pre_hooks) == 1
    takes_blocks(folded, {})
    with pytest.raises(RuntimeError, match="Unexpected key"):
        folded.load_state_dict(blocks.state_dict())


def test_scripts_take_no_hooks() -> None:
    """`chiralize.load` gives a script back as it is: torch registers no hooks on it."""
    script = script_nets.script_of(nn.Linear(2, 2))
    takes_blocks(script, {})
    script.load_state_dict(script.state_dict())
