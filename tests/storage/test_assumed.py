"""Defaults of a class that the weights of a file do not tell, though answers depend on them, are warned of by name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from chiralize.storage.assumed import assumed_note, doubtful_defaults
from chiralize.storage.load import load_model


class Attention(nn.Module):
    """Heads, a stride and a slope leave no trace in its weights; its width and its depth do."""

    def __init__(
        self,
        width: int = 8,
        depth: int = 1,
        heads: int = 2,
        dilation: int = 1,
        causal: bool = False,
        slope: float = 0.1,
        drop_rate: float = 0.1,
        init_scale: float = 1e-5,
        shift: int = 0,
        act: str = "gelu",
        unused: int = 3,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError("heads must divide the width")
        self.heads, self.causal, self.shift = heads, causal, shift
        self.layers = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(depth))
        self.frames = nn.Conv1d(width, width, 3, dilation=dilation)
        self.act, self.drop = nn.LeakyReLU(slope), nn.Dropout(drop_rate)
        self.gain = nn.Parameter(torch.full((width,), init_scale))


class Constants(nn.Module):
    """Arguments that reach forward by a constant that no state_dict holds, or by nothing that a module shows."""

    def __init__(self, hops: int = 0, reach: int = 1, sharp: float = 1.0, gain: float = 1.0, spare: int = 2) -> None:
        super().__init__()
        self.graph = torch.from_numpy(np.eye(4) - np.linalg.matrix_power(np.eye(4, k=1), hops))
        self.distances = np.arange(4) // reach
        self.register_buffer("scale", torch.full((4,), sharp), persistent=False)
        self.prior = gain * torch.randn(4)
        self.turn = lambda x: x + spare
        self.last = nn.Linear(4, 4)


def shown(build: Callable[..., nn.Module], **given: Any) -> dict[str, Any]:
    doubtful = doubtful_defaults(build, given, given, build(**given))
    return {each.name: each.default for each in doubtful if each.shows}


def assumed(**given: Any) -> dict[str, Any]:
    return shown(Attention, **given)


def test_those_with_an_effect_that_weights_do_not_tell() -> None:
    found = assumed()
    assert found == {"heads": 2, "dilation": 1, "causal": False, "slope": 0.1, "shift": 0}
    assert list(assumed(width=6)) == ["heads", "dilation", "causal", "slope", "shift"]  # 4 does not divide 6, 3 does


def test_what_was_given_is_not_assumed() -> None:
    assert assumed(heads=2, dilation=1, slope=0.1, causal=True, shift=0) == {}


def test_a_class_that_cannot_be_built_otherwise() -> None:
    def only_two(heads: int = 2) -> nn.Module:
        return Attention(heads=heads) if heads == 2 else 1 / 0

    assert shown(only_two) == {}
    assert doubtful_defaults(dict, {}, {}, Attention()) == ()  # without a signature


def test_constants_beside_the_weights_show() -> None:
    """Those whose numbers are known without memory for them; others show in answers alone, as a closure does."""
    doubtful = doubtful_defaults(Constants, {}, {}, Constants())
    assert [each.name for each in doubtful if each.shows] == ["hops", "reach"]
    assert [each.name for each in doubtful if not each.shows] == ["sharp", "gain", "spare"]


def test_the_other_network_has_the_same_weights() -> None:
    net = Constants().double()
    for each in doubtful_defaults(Constants, {}, {}, net):
        other = each.build()
        assert isinstance(other, Constants) and torch.equal(other.last.weight, net.last.weight)


def test_a_checkpoint_of_other_heads_is_warned_of(tmp_path: Path) -> None:
    """By name, whether the class fits as it is or its sizes are found; who says a value is not asked again."""
    for width in (8, 12):
        torch.save(Attention(width=width, heads=4).state_dict(), tmp_path / "net.pt")
        doubtful = load_model(tmp_path / "net.pt", factory=Attention).doubtful
        (note,) = assumed_note(tuple(each for each in doubtful if each.shows))
        assert note.startswith(
            "warning: heads, dilation, causal, slope and 1 more were assumed: the class's own heads=2, "
        )
        assert note.endswith("--arg heads=VALUE --arg dilation=VALUE --arg causal=VALUE --arg slope=VALUE")
    given = {"width": "12", "heads": "4", "dilation": "1", "causal": "false", "slope": "0.1", "shift": "0"}
    loaded = load_model(tmp_path / "net.pt", factory=Attention, factory_args=given)
    assert not loaded.notes and not any(each.shows for each in loaded.doubtful)


def test_what_a_class_prints_is_not_heard(capfd: pytest.CaptureFixture[str]) -> None:
    def loud(heads: int = 2) -> nn.Module:
        print("to stdout")
        print("to stderr", file=sys.stderr)
        return Attention(heads=heads)

    assert [each.name for each in doubtful_defaults(loud, {}, {}, Attention())] == ["heads"]
    assert capfd.readouterr() == ("", "")
