"""What is said of calibration inputs: refused where a fit would run on other numbers than in use, else doubted."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.spec import parse_spec
from chiralize.errors import DataFileError, Finding
from chiralize.methods import method_of
from chiralize.problem.checks import LEAST, checked, findings_on, with_inputs
from chiralize.problem.inputs import inputs_of
from chiralize.problem.network import Network
from chiralize.problem.prepare import prepare
from chiralize.problem.problem import Problem
from chiralize.problem.request import Request
from tests.support.small_body import BODY, CLIP, POSE, normal, turned

PIXELS = POSE.replace('inputs: [{layout: "b j d"', 'inputs: [{layout: "b j d", negate: x, reflect: {x: 960}')


def poses(count: int = 1000, seed: int = 3) -> Tensor:
    return normal(1, 6, 2, seed=8) + normal(count, 6, 2, seed=seed) * (0.3 + normal(1, 6, 2, seed=9).abs())


@cache
def remembering() -> Network:
    """It has seen poses, and keeps their statistics in a batch norm."""
    layers = nn.Sequential(nn.Flatten(), nn.Linear(12, 40), nn.BatchNorm1d(40, momentum=None), nn.Linear(40, 12))
    net = nn.Sequential(*layers, nn.Unflatten(1, (6, 2))).double()
    for part in poses(4000, 11).split(500):
        net.train()(part)
    return prepare(net.eval(), (normal(2, 6, 2),), {}, parse_spec(POSE))


@cache
def plain(spec: str = POSE, shape: tuple[int, ...] = (2, 6, 2)) -> Network:
    return prepare(nn.Linear(2, 2).double(), (normal(*shape),), {}, parse_spec(spec))


def findings(network: Network, x: Tensor) -> list[Finding]:
    return [each for each in findings_on(network, inputs_of(network, x)[0]) if each.level != "note"]


def problem_of(network: Network, x: Tensor, method: str = "match", force: bool = False) -> Problem:
    request = Request(method=method, data=x, force=force)
    asked = None if method == "auto" else method_of(method)
    return checked(with_inputs(Problem(network, request, asked)))


@pytest.mark.parametrize("view", [lambda x: x, turned, lambda x: 1.1 * x])
def test_inputs_as_in_training_pass(view: Callable[[Tensor], Tensor]) -> None:
    assert findings(remembering(), view(poses())) == []


FOREIGN: dict[str, Callable[[Tensor], Tensor]] = {
    "millimetres": lambda x: 1000 * x,
    "another order": lambda x: x[:, [2, 0, 4, 5, 1, 3]],
    "axes exchanged": lambda x: x.flip(-1),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_inputs_are_refused_by_what_fits(name: str) -> None:
    """With --force they are doubted, and so they are where nothing is fitted."""
    x = FOREIGN[name](poses())
    for method in ("match", "reduce", "auto"):
        with pytest.raises(DataFileError):
            problem_of(remembering(), x, method)
    for problem in (problem_of(remembering(), x, force=True), problem_of(remembering(), x, "average")):
        assert [each.topic for each in problem.findings if each.level == "doubt"] == ["inputs"]


def test_the_entries_that_are_furthest_off_are_named() -> None:
    """By joint and axis, where the network remembers entries."""
    x = poses()
    net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(12, momentum=None), nn.Linear(12, 12), nn.Unflatten(1, (6, 2)))
    net.double().train()(x)
    network = prepare(net.eval(), (normal(2, 6, 2),), {}, parse_spec(POSE))
    far = x.clone()
    far[:, 2, 1] += 400
    (found,) = findings(network, far)
    assert found.level == "refusal" and "l_leg.y" in found.facts


@pytest.mark.parametrize(
    ("count", "levels"), [(LEAST - 1, ["refusal"]), (LEAST, ["doubt"]), (499, ["doubt"]), (500, [])]
)
def test_few_samples(count: int, levels: list[str]) -> None:
    """Of frames as many, but a clip of more than four frames is one sample."""
    assert [each.level for each in findings(plain(), normal(count, 6, 2))] == levels


@pytest.mark.parametrize(
    ("frames", "clips", "are_few"), [(64, 95, True), (64, 96, False), (3, 160, True), (3, 170, False)]
)
def test_frames_of_a_clip_are_no_samples_of_their_own(frames: int, clips: int, are_few: bool) -> None:
    found = findings(plain(CLIP, (2, frames, 6, 2)), normal(clips, frames, 6, 2))
    assert [each.level for each in found] == ["doubt"] * are_few


def test_without_a_memory_directions_tell() -> None:
    x = normal(1, 6, 2) + 0.1 * normal(1000, 1, 1, seed=2)
    assert [each.level for each in findings(plain(), x)] == ["doubt"]


def test_an_input_that_no_array_is_of() -> None:
    """What the mirror moves has the example's numbers then, which belong to no sample; a flag may have them."""

    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x + y.view(len(y), -1)[:, :1, None]

    for kind, count in (('{layout: "b j d"}', 1), ("{free: true}", 0)):
        spec = BODY + f'inputs: [{{layout: "b j d"}}, {kind}]\noutputs: [{{layout: "b j d"}}]\n'
        network = prepare(Two(), (normal(2, 6, 2), normal(2, 6, 2)), {}, parse_spec(spec))
        assert len(findings(network, normal(600, 6, 2))) == count


def test_missing_joints_in_pixels() -> None:
    """Exact zeros come to the other border, where no joint is; about 0 they stay missing."""
    x = 960 + 200 * normal(1000, 6, 2)
    assert findings(plain(PIXELS), x) == []
    x[::9, 2] = 0
    assert [each.level for each in findings(plain(PIXELS), x)] == ["doubt"]
    x[:, 2] = 0
    assert findings(plain(PIXELS), x) == [], "a root that always stands there"
    centred = normal(1000, 6, 2)
    centred[::9, 2] = 0
    assert findings(plain(), centred) == []


def test_figures_of_every_input() -> None:
    """Range and spread by coordinate, and what never moves."""
    x = normal(1000, 6, 2)
    x[:, 3, 1] = 7.0
    (note,) = [each for each in findings_on(plain(), inputs_of(plain(), x)[0]) if "r_arm.y" in each.facts]
    assert note.level == "note" and "x " in note.facts and "r_arm.x" not in note.facts


def test_mirror_images_are_told() -> None:
    x = poses()
    problem = problem_of(plain(), torch.cat([x, turned(x)]))
    assert any("1,000 of 2,000" in each.facts for each in problem.findings)
