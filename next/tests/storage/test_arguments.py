"""Arguments of a class that nobody gave: from what the file saved, or from names and sizes of its weights."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from chiralize.errors import FactoryError
from chiralize.storage.load import Wanted, load_model
from tests.support.trainer_files import Net, save


class Lifter(nn.Module):
    """Temporal convolutions, as a list of their widths says."""

    def __init__(
        self,
        joints: int,
        in_features: int,
        widths: list[int],
        p_dropout: float,
        channels: int = 32,
        causal: bool = False,
    ):
        super().__init__()
        self.causal = causal
        self.first = nn.Conv1d(joints * in_features, channels, widths[0])
        self.drop = nn.Dropout(p_dropout)
        self.layers = nn.ModuleList([nn.Conv1d(channels, channels, width) for width in widths[1:]])
        self.last = nn.Conv1d(channels, joints * 3, 1)


class Attention(nn.Module):
    """The heads share the channels: no weight depends on how many they are."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        assert width % heads == 0
        self.heads = heads
        self.mix = nn.Linear(width, 3 * width)


class Computing(nn.Module):
    """Computes while it is built, so that it needs numbers."""

    def __init__(self, width: int = 64, depth: int = 4):
        super().__init__()
        rates = [rate.item() for rate in torch.linspace(0, 0.5, depth)]
        self.layers = nn.ModuleList([nn.Sequential(nn.Linear(width, width), nn.Dropout(rate)) for rate in rates])


class OfOptions(nn.Module):
    """Reads its arguments off one object."""

    def __init__(self, args: Any):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(args.channel, args.channel) for _ in range(args.layers)])
        self.head = nn.Linear(args.channel, args.out_joints * 3)


class OneWidthOrMany(nn.Module):
    """A number stands for a list of one."""

    def __init__(self, kernels: int | list[int], width: int):
        super().__init__()
        sizes = [kernels] if isinstance(kernels, int) else kernels
        self.layers = nn.ModuleList([nn.Conv1d(width, width, size) for size in sizes])


class ByText(nn.Module):
    """Wants what no size tells."""

    def __init__(self, kind: str, width: int):
        super().__init__()
        self.layer = {"linear": nn.Linear}[kind](width, width)


NETWORKS: dict[str, nn.Module] = {
    "lists, counts and a default": Lifter(17, 2, [3, 5, 1], 0.3, channels=48),
    "one layer": Lifter(5, 3, [3], 0.1),
    "many layers": Lifter(17, 2, [3, 3, 3, 3], 0.1, channels=40),
    "computing": Computing(12, 7),
    "an object": OfOptions(argparse.Namespace(channel=24, layers=5, out_joints=17)),
    "one or many": OneWidthOrMany([3, 5], 6),
    "defaults": Net(9),
}


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("name", NETWORKS)
def test_sizes_tell_whole_numbers_and_lists(name: str, prefix: str, tmp_path: Path) -> None:
    """All names and shapes agree, and what was chosen is said."""
    net = NETWORKS[name]
    torch.save({f"{prefix}{key}": tensor for key, tensor in net.state_dict().items()}, tmp_path / "w.pt")
    loaded = load_model(tmp_path / "w.pt", Wanted(type(net)))
    state = loaded.module.state_dict()
    assert state.keys() == net.state_dict().keys()
    assert all(torch.equal(state[key], tensor) for key, tensor in net.state_dict().items())
    assert any(finding.level == "note" and "=" in finding.facts for finding in loaded.findings)


def test_what_weights_do_not_tell_is_asked_for(tmp_path: Path) -> None:
    """And what the user gives is fixed."""
    torch.save(Attention(24, 4).state_dict(), tmp_path / "w.pt")
    with pytest.raises(FactoryError) as caught:
        load_model(tmp_path / "w.pt", Wanted(Attention))
    assert "--arg heads" in caught.value.remedy and "width" not in caught.value.remedy
    loaded = load_model(tmp_path / "w.pt", Wanted(Attention, {"heads": "3"}))
    assert loaded.module.heads == 3
    with pytest.raises(FactoryError):
        load_model(tmp_path / "w.pt", Wanted(Attention, {"width": "25"}))


def test_sizes_that_no_numbers_explain(tmp_path: Path) -> None:
    """The arguments without value are named, and the layers of the file."""
    torch.save(ByText("linear", 12).state_dict(), tmp_path / "w.pt")
    with pytest.raises(FactoryError) as caught:
        load_model(tmp_path / "w.pt", Wanted(ByText))
    assert "kind" in caught.value.remedy and "width" in caught.value.remedy and "12 -> 12" in caught.value.facts
    assert load_model(tmp_path / "w.pt", Wanted(ByText, {"kind": "linear"})).kind == "weights"


def test_arguments_that_the_file_saved(tmp_path: Path) -> None:
    """As Lightning does; what the user says wins."""
    loaded = load_model(save("lightning", tmp_path), Wanted(Net))
    assert any("hidden=4" in finding.facts for finding in loaded.findings)
    with pytest.raises(FactoryError):
        load_model(tmp_path / "last.ckpt", Wanted(Net, {"hidden": "5"}))


def test_options_that_a_trainer_saved(tmp_path: Path) -> None:
    """In an object of arguments, whose class is not needed."""
    args = argparse.Namespace(channel=24, layers=5, out_joints=17, name="run")
    torch.save({"args": args, "model": OfOptions(args).state_dict()}, tmp_path / "w.pt")
    loaded = load_model(tmp_path / "w.pt", Wanted(OfOptions))
    assert loaded.module.head.out_features == 51
