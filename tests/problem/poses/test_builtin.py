"""Built-in poses on networks that came without inputs: found in their units, refused with a reason, told as such."""

from __future__ import annotations

import re
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.commands.convert import Conversion, Request, convert
from chiralize.errors import MethodUnavailableError
from chiralize.problem.data import scattered
from chiralize.problem.network import Network
from chiralize.problem.poses import builtin, evidence
from chiralize.problem.poses.builtin import built_in, fitting
from chiralize.problem.poses.camera import scene
from chiralize.problem.poses.conventions import View, conventions
from chiralize.problem.poses.filling import Form, UnfitError
from chiralize.problem.poses.motion import RATE, draw
from chiralize.problem.preparation import prepare
from chiralize.report.verdict import verdict_of
from tests.support.lifters import Dressed, error, lifter

SPEC = "skeleton: h36m\ninputs: [{layout: b j d, dims: [x, y]%s}]\noutputs: [{layout: b j d}]\n"
NOTHING_TELLS = (
    "nothing tells in which units and axes the network takes poses: no batch norm remembers any, and it does not "
    "answer with poses in space"
)


@cache
def ready(network: nn.Module, said: str = "", shape: tuple[int, ...] = (2, 17, 2)) -> Network:
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(5))
    return prepare(network, parse_spec(SPEC % said), (noise,))


def convention(network: Network) -> str:
    return fitting(network, Form.of(network.resolved.input_tensors[0])).convention.title


# ---- units ----------------------------------------------------------------------------------------------------
UNITS = {
    "image coordinates over half the width": ((1.0, 1.0), (0.0, 0.0), ""),
    "image coordinates, y up": ((1.0, -1.0), (0.0, 0.0), ""),
    "image coordinates over half the width, times 500": ((500.0, 500.0), (0.0, 0.0), ""),
    "pixels of an image of 1000 by 1000": ((500.0, 500.0), (500.0, 500.0), ", reflect: {x: 500}"),
    "pixels of an image of 1920 by 1080": ((960.0, 960.0), (960.0, 540.0), ", reflect: {x: 960}"),
}


@pytest.mark.one_in(4)
@pytest.mark.parametrize("title", UNITS)
def test_the_answers_tell_the_units(title: str) -> None:
    factor, offset, said = UNITS[title]
    assert convention(ready(Dressed(lifter(), factor, offset), said)) == title


@pytest.mark.one_in(2)
@pytest.mark.parametrize("factor", [1.0, 0.1, 370.0, 1000.0])
def test_the_memory_tells_any_unit(factor: float) -> None:
    title = convention(ready(Dressed(lifter(norm=True), (factor, factor))))
    name, _, unit = title.partition(", times ")
    assert name == "image coordinates over half the width"
    assert float(unit or 1) == pytest.approx(factor, rel=0.1)


def test_answers_in_millimetres_and_y_up_are_answers() -> None:
    class Other(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = lifter()

        def forward(self, poses: Tensor) -> Tensor:
            return self.network(poses) * torch.tensor([1000.0, -1000.0, -1000.0])

    assert convention(ready(Other())) == "image coordinates over half the width"


@pytest.mark.one_in(2)
def test_less_has_to_speak_for_poses_beside_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """And near the bound it is asked with more poses, since what answers to few of them explain is off by as much."""
    network = ready(lifter())
    form = Form.of(network.resolved.input_tensors[0])
    few = fitting(network, form).share
    assert few is not None
    monkeypatch.setattr(builtin, "LEAST_KNOWN", few + 0.01)
    with pytest.raises(UnfitError):
        built_in(network)
    for bound, is_near in ((few - 0.2, False), (few - 0.1, True)):
        monkeypatch.setattr(builtin, "LEAST_BESIDE", bound)
        share = fitting(network, form, beside=True).share
        assert share is not None and (share != few) == is_near
        assert share == pytest.approx(few, abs=0.05)
    monkeypatch.setattr(builtin, "LEAST_BESIDE", few + 0.1)
    with pytest.raises(UnfitError, match="its answers explain"):
        built_in(network, beside=True)


# ---- refused --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("norm", [True, False])
def test_joints_in_another_order_are_noticed(norm: bool) -> None:
    """Arms where the specification says legs: the mirror is right, and the poses are wrong."""
    network = Dressed(lifter(norm), (1.0, 1.0))
    network.order = [0, 14, 15, 16, 11, 12, 13, 7, 8, 9, 10, 4, 5, 6, 1, 2, 3]
    with pytest.raises(UnfitError, match="built-in poses are not what the network was trained on"):
        built_in(ready(network))


def test_an_untrained_network_is_none_of_them() -> None:
    torch.manual_seed(1)
    network = nn.Sequential(nn.Flatten(), nn.Linear(34, 64), nn.ReLU(), nn.Linear(64, 51), nn.Unflatten(1, (17, 3)))
    with pytest.raises(UnfitError, match=r"its answers explain \d+% of the depth"):
        built_in(ready(network))


def refused(spec: str, network: nn.Module, *shape: int) -> str:
    with pytest.raises(UnfitError) as caught:
        built_in(prepare(network, parse_spec(spec), (torch.randn(shape),)))
    return str(caught.value)


def test_nothing_is_guessed() -> None:
    """A recogniser without a batch norm answers with nothing that is known of drawn poses; nor does a forecaster."""
    classes = "skeleton: h36m\ninputs: [{layout: b j d, dims: [x, y]}]\noutputs: [{invariant: true}]\n"
    network = nn.Sequential(nn.Flatten(), nn.Linear(34, 16), nn.ReLU(), nn.Linear(16, 5))
    assert refused(classes, network, 2, 17, 2) == NOTHING_TELLS
    fresh = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(34), nn.Linear(34, 5))  # as if of standardised poses
    assert refused(classes, fresh.eval(), 2, 17, 2) == NOTHING_TELLS
    flat = "skeleton: h36m\ninputs: [{layout: b j d, dims: [x, y]}]\noutputs: [{layout: b j d, dims: [x, y]}]\n"
    assert refused(flat, nn.Sequential(nn.Linear(2, 2)), 2, 17, 2) == NOTHING_TELLS


def test_depth_that_the_input_tells_proves_nothing() -> None:
    """Whatever gives back the pose in space that it was given seems to know the depth, in any unit."""
    space = "skeleton: h36m\ninputs: [{layout: b j d}]\noutputs: [{layout: b j d}]\n"
    assert "not what the network was trained on" in refused(space, nn.Sequential(nn.Linear(3, 3)), 2, 17, 3)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("rows", [1, 7, 300])
def test_examples_of_any_number_of_samples(rows: int) -> None:
    calls = built_in(ready(lifter(), shape=(rows, 17, 2))).calls
    assert sum(len(call[0][0]) for call in calls) >= 1000
    assert len(calls) >= min(10, 1000 // rows)  # some are held out


def test_a_network_is_asked_in_few_batches() -> None:
    """Every way to write poses down costs a run of each; the examples may have few samples."""
    network = ready(lifter())
    form = Form.of(network.resolved.input_tensors[0])
    view = View(scene(draw(128, 1, 1, RATE), 1), form.points)
    (first, *_), asked = conventions(form, {}), evidence.Asked.of(network, form, 128)
    assert [len(call[0][0]) for call in asked.calls(first.values(view))] == [64, 64]


def test_hands_are_no_bodies() -> None:
    spec = "skeleton: hand-21x2\ninputs: [{layout: b j d, dims: [x, y]}]\noutputs: [{layout: b j d}]\n"
    assert refused(spec, nn.Linear(2, 3), 2, 42, 2) == (
        "skeleton hand-21x2 has no shoulders and elbows, and is no whole body"
    )


# ---- the whole way --------------------------------------------------------------------------------------------
@cache
def converted(norm: bool) -> Conversion:
    return convert(ready(lifter(norm)), "net", Request(rounds=0, samples=1))


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builtin, "SAMPLES", 1200)
    monkeypatch.setattr(scattered, "SAMPLES", 1000)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("norm", [True, False])
def test_auto_reduces_on_built_in_poses_and_says_so(norm: bool) -> None:
    report = converted(norm).report
    assert report.method == "reduce" and report.drift is not None and report.drift.built_in
    told = "built-in poses, not yours: image coordinates over half the width; "
    assert report.drift.source.startswith(f"held-out {told}")
    sentence = verdict_of(report).sentence
    assert f"{report.drift.rho:.3g} on built-in poses, not on yours" in sentence
    assert "the mirror is not confirmed: give --calibration real inputs" in sentence
    remark = next(note for note in report.notes if note.startswith("fitted without data, on built-in poses ("))
    assert remark.endswith("; --calibration poses.npz fits and measures on yours")
    assert report.evidence.fit is None or not report.evidence.fit.real


@pytest.mark.one_in(2)
@pytest.mark.parametrize("norm", [True, False])
def test_the_result_is_as_good_as_told(norm: bool) -> None:
    """Other poses of the same kind: its error is near the original's."""
    assert error(converted(norm).module) < 1.04 * error(lifter(norm))


def test_auto_averages_where_they_do_not_fit() -> None:
    network = Dressed(lifter(), (1.0, 1.0))
    network.order = [0, 14, 15, 16, 11, 12, 13, 7, 8, 9, 10, 4, 5, 6, 1, 2, 3]
    report = convert(ready(network), "net", Request(samples=1)).report
    assert report.method == "average"
    (note,) = [note for note in report.notes if note.startswith("averaged: ")]
    assert "no built-in poses: built-in poses are not what the network was trained on (at best " in note
    assert note.endswith("; for one pass give --calibration inputs.npz, thousands of unlabelled inputs")


def test_by_name_it_says_why_not() -> None:
    network = ready(nn.Sequential(nn.Flatten(), nn.Linear(34, 51), nn.Unflatten(1, (17, 3))))
    with pytest.raises(MethodUnavailableError, match="no built-in poses"):
        convert(network, "net", Request("reduce", samples=1))


@pytest.mark.thorough
def test_given_inputs_win(monkeypatch: pytest.MonkeyPatch) -> None:
    """All figures are of them; built-in poses are fitted on, too."""
    monkeypatch.setattr("chiralize.problem.data.drawn.built_in", None)
    view = builtin.scene(builtin.draw(640, 1, 3), 3)
    calls = [((part,), {}) for part in torch.from_numpy(view.image[:, 0]).float().split(64)]
    report = convert(ready(lifter()), "net", Request(calibration=calls, rounds=0, samples=1)).report
    assert report.drift is not None and not report.drift.built_in
    assert report.drift.source == "held-out calibration inputs"
    words = "its answers explain [0-9]+ ?% of the depth of poses that it never saw"
    remark = f"fitted on 1,[0-9]+ built-in poses, too: image coordinates over half the width; {words}"
    assert any(re.fullmatch(remark, note) for note in report.notes)


def test_the_same_poses_every_time() -> None:
    one, other = (built_in(ready(lifter())) for _ in range(2))
    assert one.origin == other.origin
    assert all(torch.equal(a[0][0], b[0][0]) for a, b in zip(one.calls, other.calls, strict=True))


class OneSided(nn.Module):
    """A lifter that takes people whose left hip is farther away for small ones."""

    def __init__(self) -> None:
        super().__init__()
        self.network = lifter()
        self.nearer = nn.Linear(17 * 3, 1)
        with torch.no_grad():
            self.nearer.weight.zero_().unflatten(1, (17, 3))[0, [4, 1], 2] = torch.tensor([-100.0, 100.0])
            self.nearer.bias.zero_()

    def forward(self, poses: Tensor) -> Tensor:
        answers = self.network(poses)
        share = self.nearer(answers.flatten(1)).sigmoid()
        return answers * (0.3 + 0.7 * share)[:, None]


def test_a_network_whose_sides_are_far_apart_is_averaged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builtin, "LEAST_KNOWN", 0.3)
    report = convert(ready(OneSided()), "net", Request(samples=1)).report
    assert report.method == "average"
    (note,) = [note for note in report.notes if note.startswith("averaged: ")]
    assert re.search(r"on built-in poses its two sides are [\d.]+ of its spread apart, and 0.1 to 0.25 are usual", note)
