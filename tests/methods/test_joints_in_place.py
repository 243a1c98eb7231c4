"""`reduce` on networks whose layers mix joints: both views beside each other along the channels, joints in place."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.commands.convert import Conversion, convert
from chiralize.methods.reduce.joints_in_place import led_in_and_out, mixes_joints
from chiralize.methods.reduce.reduce import reduced
from chiralize.problem.mirror import infer
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from chiralize.problem.request import Request
from chiralize.problem.result import Converted
from tests.support.problems import posed
from tests.support.reduce_nets import calls_for, flip_average
from tests.support.small_body import BODY, POSE, normal, residual, trained, turned

LAYOUTS = {"b j d": (6, 2), "b t j d": (3, 6, 2), "b (j d)": (12,)}


class Mixer(nn.Module):
    """Layers along the joints, the same for every channel, and layers along the channels. Poses "... joint coord", or
    with joints and coordinates in one axis.
    """

    def __init__(self, flat: bool = False, classes: int = 0, norm: bool = False) -> None:
        super().__init__()
        self.flat, self.classes = flat, classes
        self.first, self.last = nn.Linear(2, 8), nn.Linear(8, classes or 2)
        self.norm = nn.LayerNorm(8) if norm else nn.Identity()
        self.joints = nn.Sequential(nn.Linear(6, 7), nn.GELU(), nn.Linear(7, 6))
        self.channels = nn.Sequential(nn.Linear(8, 10), nn.GELU(), nn.Linear(10, 8))

    def forward(self, pose: Tensor) -> Tensor:
        y = self.first(pose.unflatten(-1, (6, 2)) if self.flat else pose)
        y = y + self.joints(self.norm(y).transpose(-1, -2)).transpose(-1, -2)
        y = self.last(y + self.channels(self.norm(y)))
        if self.classes:
            return y.mean(-2)
        return y.flatten(-2) if self.flat else y


@cache
def ready(layout: str = "b j d") -> Network:
    """A mixer without norms, made ready."""
    spec = parse_spec(BODY + f'inputs: [{{layout: "{layout}"}}]\noutputs: [{{layout: "{layout}"}}]\n')
    return prepare(trained(Mixer(layout == "b (j d)"), 3), spec, (normal(8, *LAYOUTS[layout]),))


def poses() -> list[Tensor]:
    """Batches as a user gives them."""
    return [x for (x,), _ in calls_for((6, 2), 12)]


def first_draft(layout: str, width: float) -> Converted:
    """What `reduce` makes of it first, shown every pose beside its mirror image."""
    shape = (6, 2) if layout == "b (j d)" else LAYOUTS[layout]
    calls = [((x.flatten(1) if layout == "b (j d)" else x,), {}) for (x,), _ in calls_for(shape, 8, mirrored=True)]
    return next(reduced(posed(ready(layout), Request("reduce", calibration=calls)), width)).converted


def distance(layout: str, found: Converted) -> float:
    """From the flip average, over the largest answer."""
    x = normal(16, *((6, 2) if layout == "b (j d)" else LAYOUTS[layout]), seed=9)
    module = ready(layout).module

    def answers(net: nn.Module, poses: Tensor) -> Tensor:
        """In joints and coordinates."""
        if layout != "b (j d)":
            return net(poses)
        return net(poses.flatten(1)).unflatten(1, (6, 2))

    with torch.no_grad():
        wanted = (answers(module, x) + turned(answers(module, turned(x)))) / 2
        return float((answers(found.module, x) - wanted).abs().max() / wanted.abs().max())


@pytest.mark.thorough
@pytest.mark.parametrize("layout", LAYOUTS)
def test_with_all_channels_it_is_the_flip_average(layout: str) -> None:
    """No norms: then nothing is lost, and the layers along the joints are the original's own."""
    found = first_draft(layout, 1.0)
    assert distance(layout, found) <= 1e-6
    state, before = found.module.state_dict(), ready(layout).module.state_dict()
    assert torch.allclose(state["joints.0.weight"], before["joints.0.weight"], atol=1e-9)
    assert state["led_in"].shape == (24, 12) and state["led_out_0"].shape == (12, 24)


def test_where_joints_are_moved_no_layer_can_be_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same network with all of its units, in the usual basis: far from the flip average."""
    monkeypatch.setattr("chiralize.methods.reduce.reduce.mixes_joints", lambda captured, repmap: False)
    found = first_draft("b j d", 1.0)
    assert "led_in" not in found.module.state_dict()
    assert distance("b j d", found) > 1e-2


def converted(net: nn.Module, spec: str) -> Conversion:
    """By `reduce` at half the width: given up where a verdict fails."""
    network = prepare(net, parse_spec(spec), (normal(8, 6, 2),))
    calls = [((batch,), {}) for batch in poses()]
    return convert(
        network, "net", Request("reduce", "dense", calibration=calls, width=0.5, samples=1, rounds=0, force=True)
    )


def test_half_is_proved_costs_what_it_says_and_is_near() -> None:
    """With norms, through the whole of `convert`. The usual basis is measured beside it, and loses."""
    net = trained(Mixer(norm=True), 3)
    found = converted(net, POSE)
    certificate, numeric = found.report.judgement.certificate, found.report.judgement.numeric
    assert certificate is not None and certificate.passed and numeric is not None and numeric.passed
    assert residual(found.module, (4, 6, 2)) <= 1e-11
    assert any("joints stay in place" in note for note in found.report.notes)
    weights = {name: tensor for name, tensor in found.module.state_dict().items() if tensor.ndim == 2}
    rows = {"led_in": 1, "led_out_0": 1, "first.weight": 6, "last.weight": 6}
    rows |= {"joints.0.weight": 8, "joints.2.weight": 8, "channels.0.weight": 6, "channels.2.weight": 6}
    assert found.report.cost.macs_after == 8 * sum(count * weights[name].numel() for name, count in rows.items())
    x = normal(64, 6, 2, seed=9)
    wanted = flip_average(net, x)
    otherwise = x.transpose(0, 2).contiguous().transpose(0, 2)  # the same numbers, joints apart
    with torch.no_grad():
        assert float((found.module(x) - wanted).square().mean() / wanted.var()) < 0.1
        assert torch.equal(found.module(otherwise), found.module(x))


@pytest.mark.thorough
def test_answers_that_the_mirror_leaves_alone_are_not_led_out() -> None:
    """A recogniser: its classes are the same in both views."""
    found = converted(trained(Mixer(classes=3), 3), BODY + 'inputs: [{layout: "b j d"}]\noutputs: [free]\n')
    assert {"led_in"} == {name for name in found.module.state_dict() if name.startswith("led_")}
    x = normal(5, 6, 2, seed=5)
    with torch.no_grad():
        assert (found.module(x) - found.module(turned(x))).abs().max() <= 1e-11


class Stages(nn.Module):
    """A graph network in two stages, each with its answer: joints are mixed by a learned matrix on the left, frames by
    one on the right. Clips "batch time joint coord".
    """

    def __init__(self) -> None:
        super().__init__()
        self.graphs = nn.ParameterList([nn.Parameter(torch.randn(6, 6) / 6**0.5) for _ in range(2)])
        self.frames = nn.ParameterList([nn.Parameter(torch.randn(4, 4) / 2) for _ in range(2)])
        self.first = nn.ModuleList([nn.Linear(2, 8) for _ in range(2)])
        self.last = nn.ModuleList([nn.Linear(8, 2) for _ in range(2)])

    def forward(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        first = self.stage(clip, 0)
        return self.stage(first, 1), first

    def stage(self, clip: Tensor, number: int) -> Tensor:
        y = torch.matmul(self.graphs[number], self.first[number](clip))
        y = torch.matmul(y.permute(0, 2, 3, 1), self.frames[number]).permute(0, 3, 1, 2)
        return clip + self.last[number](y.tanh())


def test_every_answer_of_a_graph_network_has_its_map_out_and_frames_stay_in_place() -> None:
    """Two outputs, of which one is read again: with all channels both are their flip averages."""
    torch.manual_seed(3)
    layout = '{layout: "b t j d"}'
    spec = parse_spec(BODY + f"inputs: [{layout}]\noutputs: [{layout}, {layout}]\n")
    network = prepare(trained(Stages(), 3), spec, (normal(8, 4, 6, 2),))
    calls = [((x,), {}) for (x,), _ in calls_for((4, 6, 2), 8, mirrored=True)]
    draft = next(reduced(posed(network, Request("reduce", calibration=calls)), 1.0))
    state, x = draft.converted.module.state_dict(), normal(16, 4, 6, 2, seed=9)
    assert [name for name in state if name.startswith("led_")] == ["led_in", "led_out_0", "led_out_1"]
    torch.testing.assert_close(state["frames.0"], network.module.state_dict()["frames.0"], rtol=0, atol=1e-8)
    with torch.no_grad():
        views = zip(network.module(x), network.module(turned(x)), strict=True)
        for given, (plain, mirrored) in zip(draft.converted.module(x), views, strict=True):
            torch.testing.assert_close(given, (plain + turned(mirrored)) / 2, rtol=1e-6, atol=1e-6)


class Edge(nn.Module):
    """Reads the coordinates of every joint alone; or all joints at once."""

    def __init__(self, flat: bool) -> None:
        super().__init__()
        self.flat = flat
        self.first = nn.Linear(12 if flat else 2, 8)
        self.last = nn.Linear(8, 12 if flat else 2)

    def forward(self, pose: Tensor) -> Tensor:
        y = self.last(self.first(pose.flatten(1) if self.flat else pose).tanh())
        return y.unflatten(1, (6, 2)) if self.flat else y


@pytest.mark.parametrize("flat", [False, True])
def test_other_networks_are_left_in_the_usual_basis(flat: bool) -> None:
    """Neither a layer of every joint alone nor one of the whole pose is the same for hidden channels."""
    network = prepare(trained(Edge(flat), 3), parse_spec(POSE), (normal(4, 6, 2),))
    assert not mixes_joints(network.graph(), infer(network).result())
    mixing = ready()
    assert mixes_joints(mixing.graph(), infer(mixing).result())


def test_both_maps_change_nothing_before_they_are_fitted() -> None:
    """The same answers, to the last bit but rounding."""
    network = led_in_and_out(ready())
    assert network is not None
    x = normal(5, 6, 2, seed=1)
    torch.testing.assert_close(network.module(x), ready().module(x), rtol=1e-12, atol=1e-12)
