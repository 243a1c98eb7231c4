"""Arguments of a class that nobody gave, told by the sizes of its weights; and what the sizes do not tell."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from chiralize.cli.opening import _pairs
from chiralize.errors import FactoryError, UsageError
from chiralize.storage.arguments_from_weights import arguments_from_weights
from chiralize.storage.content import Content
from chiralize.storage.format import Wanted
from chiralize.storage.load import load_model
from chiralize.storage.missing import arguments_needed
from chiralize.storage.sidecar import DIGEST_KEY, with_source
from chiralize.storage.tables import Weights


class Lifter(nn.Module):
    """Temporal convolutions, as a list of their widths says."""

    def __init__(
        self,
        num_joints: int,
        in_features: int,
        filter_widths: list[int],
        p_dropout: float,
        channels: int = 32,
        causal: bool = False,
    ):
        super().__init__()
        self.causal = causal
        self.first = nn.Conv1d(num_joints * in_features, channels, filter_widths[0])
        self.drop = nn.Dropout(p_dropout)
        self.layers = nn.ModuleList([nn.Conv1d(channels, channels, width) for width in filter_widths[1:]])
        self.last = nn.Conv1d(channels, num_joints * 3, 1)


class Attention(nn.Module):
    """The heads share the channels: no weight depends on how many they are."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        assert width % heads == 0
        self.heads = heads
        self.mix = nn.Linear(width, 3 * width)


class Product(nn.Module):
    """The weights tell the product of two arguments alone."""

    def __init__(self, heads: int, width: int):
        super().__init__()
        self.mix = nn.Linear(heads * width, 7)


class Particular(nn.Module):
    """Refuses its own default."""

    def __init__(self, width: int = 5, out_features: int = 3):
        super().__init__()
        assert width == 12
        self.last = nn.Linear(width, out_features)


class JointProduct(nn.Module):
    """A product of which the skeleton says one factor."""

    def __init__(self, num_joints: int, features: int):
        super().__init__()
        self.mix = nn.Linear(num_joints * features, 7)


class Computing(nn.Module):
    """Computes while it is built, so that it needs numbers; it would be large in most of the ways that are tried."""

    def __init__(self, width: int = 64, depth: int = 4):
        super().__init__()
        rates = [rate.item() for rate in torch.linspace(0, 0.5, depth)]
        self.layers = nn.ModuleList([nn.Sequential(nn.Linear(width, width), nn.Dropout(rate)) for rate in rates])


class Guarded(nn.Module):
    """Fails twice with the values that the search begins with: no change of one alone is enough."""

    def __init__(self, strides: list[int], width: int):
        super().__init__()
        assert width % 8 == 0
        self.first = nn.Linear(width, width)
        self.layers = nn.ModuleList([nn.Linear(width, width + stride) for stride in strides])


class OfOptions(nn.Module):
    """Reads its arguments off one object."""

    def __init__(self, args: Any):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(args.channel, args.channel) for _ in range(args.layers)])
        self.head = nn.Linear(args.channel, args.out_joints * 3)


class OfOptionsByDefault(nn.Module):
    """Says that its object of arguments may be left out, and reads it all the same, unless it is told `plain`."""

    def __init__(self, joints: int = 17, args: Any = None, plain: bool = False):
        super().__init__()
        self.head = nn.Linear(joints, 8 if plain else args.channel)


class OneWidthOrMany(nn.Module):
    """A number stands for a list of one."""

    def __init__(self, kernels: int | list[int], width: int):
        super().__init__()
        sizes = [kernels] if isinstance(kernels, int) else kernels
        self.layers = nn.ModuleList([nn.Conv1d(width, width, size) for size in sizes])


@pytest.fixture
def nets(monkeypatch: pytest.MonkeyPatch) -> str:
    """The module of these classes, for --model."""
    module = ModuleType("nets_of_sizes")
    vars(module).update(Lifter=Lifter, Attention=Attention, Product=Product, OfOptions=OfOptions)
    monkeypatch.setitem(sys.modules, "nets_of_sizes", module)
    return "nets_of_sizes"


def told(network: nn.Module, fixed: dict[str, Any] | None = None, joints: int = 17) -> Any:
    """What the weights of a network tell of the arguments of its class."""
    return arguments_from_weights(type(network), fixed or {}, [Weights("", network.state_dict())], joints)


def test_sizes_tell_joints_lists_counts_and_an_argument_that_has_a_default() -> None:
    """The list's entries differ; dropout does nothing in use, so that any value is right."""
    found = told(Lifter(17, 2, [3, 5, 1], 0.3, channels=48))
    assert found.fits and not found.undecided
    assert found.arguments == {
        "num_joints": "17",
        "in_features": "2",
        "filter_widths": "[3, 5, 1]",
        "p_dropout": "0.0",
        "channels": "48",
    }


def test_lists_are_tried_where_a_number_runs() -> None:
    assert told(OneWidthOrMany([3, 5, 3], 24)).arguments == {"kernels": "[3, 5, 3]", "width": "24"}


def test_an_object_that_is_read_though_it_may_be_left_out() -> None:
    """It is looked for only where the class cannot be built without."""
    found = told(OfOptionsByDefault(args=argparse.Namespace(channel=20)))
    assert found.fits and not found.undecided and found.arguments == {"args.channel": "20"}
    assert not told(OfOptionsByDefault(plain=True), {"plain": True}).arguments


def test_the_command_takes_the_names_that_messages_print() -> None:
    """`--arg args.channel=20` is an entry of an object."""
    assert dict(_pairs(["args.channel=20", "depth=[1, 2]"])) == {"args.channel": "20", "depth": "[1, 2]"}
    for text in ("args.=3", ".depth=3", "a b=3", "depth"):
        with pytest.raises(UsageError, match="is not name=value"):
            _pairs([text])


def test_what_no_weight_depends_on_is_left_open() -> None:
    found = told(Attention(24, 4))
    assert found.fits and found.undecided == ("heads",) and found.arguments == {"width": "24"}
    assert told(Attention(24, 4), {"heads": 4}).arguments == {"width": "24"}


def test_of_a_product_the_skeleton_decides_or_nobody() -> None:
    assert set(told(Product(4, 6)).undecided) == {"heads", "width"}
    assert told(JointProduct(17, 2)).arguments == {"num_joints": "17", "features": "2"}
    assert set(told(JointProduct(17, 2), joints=0).undecided) == {"num_joints", "features"}


class FlatPoses(nn.Module):
    """Reads joints and coordinates together, as a recogniser of flat poses does."""

    def __init__(self, joint_n: int, joint_d: int, filters: int) -> None:
        super().__init__()
        self.layer = nn.Linear(joint_n * joint_d, filters)


def test_names_decide_what_could_be_exchanged() -> None:
    """The number of joints is the skeleton's, whichever comes first, and `joint_d` is none."""
    assert told(FlatPoses(15, 2, 8), joints=15).arguments == {"joint_n": "15", "joint_d": "2", "filters": "8"}
    assert told(FlatPoses(17, 3, 8)).arguments == {"joint_n": "17", "joint_d": "3", "filters": "8"}


def test_a_skeleton_that_no_sizes_fit_is_named() -> None:
    found = told(FlatPoses(15, 2, 8))
    assert set(found.undecided) == {"joint_n", "joint_d"} and found.joints == (15, 10)
    error = arguments_needed(
        Content(Path("net.pt"), None), Wanted(joints=17), found.arguments, found.undecided, found.joints
    )
    assert "with the 17 joints of the skeleton no sizes fit" in error.facts
    assert re.search(r"15 joints would fit \(.*jhmdb-15", error.remedy)


def test_a_class_that_refuses_its_own_default_is_given_another() -> None:
    assert told(Particular(12, 7)).arguments == {"width": "12", "out_features": "7"}


def test_a_class_that_computes_while_it_is_built() -> None:
    assert told(Computing(16, 2)).arguments == {"width": "16", "depth": "2"}


def test_two_arguments_that_fail_one_after_the_other() -> None:
    assert told(Guarded([3, 5], 24)).arguments == {"strides": "[3, 5]", "width": "24"}


def test_what_there_was_no_time_to_look_at_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search ends by time, and the values that it ended with were not questioned."""
    monkeypatch.setattr("chiralize.graph.time_limit.TimeLimit.is_over", True)
    monkeypatch.setattr("chiralize.storage.trial_builds.TrialBuilds.distance", lambda *given: 0.0)
    found = told(Attention(1, 1))
    assert found.fits and set(found.undecided) == {"width", "heads"} and not found.arguments


def test_another_network_is_not_bent_to_fit() -> None:
    """Weights of a class with other names: nothing is said to fit."""
    found = arguments_from_weights(Lifter, {}, [Weights("", Attention(24, 4).state_dict())], 17)
    assert found is None or not found.fits


def test_the_file_is_loaded_and_the_note_says_with_what(tmp_path: Path, nets: str) -> None:
    network = Lifter(17, 2, [3, 3], 0.1, channels=16)
    path = tmp_path / "epoch.pt"
    torch.save(
        {"epoch": 3, "model_pos": {f"module.{name}": value for name, value in network.state_dict().items()}}, path
    )
    loaded = load_model(path, factory=f"{nets}:Lifter", joints=17)
    assert torch.equal(loaded.module.state_dict()["last.weight"], network.last.weight)
    assert any("filter_widths=[3, 3]" in note and "--arg says otherwise" in note for note in loaded.notes)
    assert [(each.name, each.default) for each in loaded.doubtful if each.shows] == [("causal", False)]
    assert loaded.origin is not None and loaded.origin.factory_args["channels"] == "16"


def test_what_is_open_is_asked_for_with_the_rest_filled_in(tmp_path: Path, nets: str) -> None:
    path = tmp_path / "weights.pt"
    torch.save(Attention(24, 4).state_dict(), path)
    with pytest.raises(FactoryError) as raised:
        load_model(
            path, factory=f"{nets}:Attention", command="chiralize convert weights.pt --model nets_of_sizes:Attention"
        )
    assert "--arg width=24 --arg heads=VALUE" in str(raised.value)
    assert "name a function of yours without arguments" in str(raised.value)
    loaded = load_model(path, factory=f"{nets}:Attention", factory_args={"heads": "4"})
    assert loaded.module.heads == 4


def test_a_missing_weight_is_said_before_arguments_are_asked_for(tmp_path: Path, nets: str) -> None:
    """Whether none or all but the widths are given; a file that lacks a half is another network's, and not told so."""
    network = Lifter(17, 2, [3, 3, 3, 3], 0.1, channels=16)
    state, path = network.state_dict(), tmp_path / "epoch.pt"
    torch.save({name: value for name, value in state.items() if name != "layers.1.bias"}, path)
    for given in ({}, {"num_joints": "17", "in_features": "2", "filter_widths": "3,3,3,3", "p_dropout": "0"}):
        with pytest.raises(FactoryError) as raised:
            load_model(path, factory=f"{nets}:Lifter", factory_args=given, joints=17)
        assert raised.value.facts.startswith(
            "lacks 'layers.1.bias' (16,); all other weights fit nets_of_sizes:Lifter with "
        )
        assert "channels=16" in raised.value.facts
    torch.save({name: value for name, value in state.items() if not name.endswith("bias")}, path)
    with pytest.raises(FactoryError) as raised:
        load_model(path, factory=f"{nets}:Lifter", joints=17)
    assert "lacks" not in raised.value.facts


def test_arguments_are_those_of_the_conversion(tmp_path: Path, nets: str) -> None:
    """A converted file remembers what no weight tells; what the user gives wins, and another class gets none."""
    path = tmp_path / "weights.pt"
    torch.save(Attention(24, 4).state_dict(), path)
    before = load_model(path, factory=f"{nets}:Attention", factory_args={"heads": "4"})
    assert before.origin is not None
    text = with_source(json.dumps({DIGEST_KEY: before.digest}), before.origin)
    (tmp_path / "weights.pt.chirality.json").write_text(text)
    loaded = load_model(path, factory=f"{nets}:Attention")
    assert loaded.module.heads == 4
    assert "built with heads=4, width=24, as at the conversion; --arg says otherwise" in loaded.notes
    assert load_model(path, factory=f"{nets}:Attention", factory_args={"heads": "8"}).module.heads == 8
    with pytest.raises(FactoryError, match=r"OfOptions\(\) raised TypeError"):
        load_model(path, factory=f"{nets}:OfOptions")


def test_options_in_one_object_are_found_given_or_saved_beside_the_weights(tmp_path: Path, nets: str) -> None:
    """Three ways to the same network: by sizes, by --arg args.NAME, by the Namespace that the trainer saved."""
    network = OfOptions(argparse.Namespace(channel=20, layers=3, out_joints=17))
    path = tmp_path / "plain.pt"
    torch.save(network.state_dict(), path)
    loaded = load_model(path, factory=f"{nets}:OfOptions", joints=17)
    assert len(loaded.module.layers) == 3
    given = {"args.channel": "20", "args.layers": "3"}
    assert len(load_model(path, factory=f"{nets}:OfOptions", factory_args=given, joints=17).module.layers) == 3
    saved = tmp_path / "saved.pt"
    options = argparse.Namespace(channel=20, layers=3, out_joints=17, lr=0.1)
    torch.save({"args": options, "state_dict": network.state_dict()}, saved)
    loaded = load_model(saved, factory=f"{nets}:OfOptions")
    assert any("args.channel=20" in note for note in loaded.notes)
    other = tmp_path / "other.pt"
    torch.save(Attention(24, 4).state_dict(), other)
    with pytest.raises(FactoryError, match=r"asks its object of arguments for 'channel'\n.*--arg args\.channel=VALUE"):
        load_model(other, factory=f"{nets}:OfOptions", factory_args={"args.layers": "3"})
    with pytest.raises(FactoryError, match=r"--arg args\.NAME=VALUE \(one for each NAME"):
        load_model(other, factory=f"{nets}:OfOptions")
