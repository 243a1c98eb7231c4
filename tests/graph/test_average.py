"""`--on-blocked average`: both views round a stretch that cannot commute with the mirror, one view everywhere else."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.commands.plan import plan
from chiralize.errors import NegatedChannelsError, NeverEquivariantError, UnsupportedError
from chiralize.graph.passes.average import Averaged
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from chiralize.storage.passport import Passport
from chiralize.verification.judge import judge
from tests.support.command import Shell, library_warnings, working_shell
from tests.support.small_body import (
    CLIP,
    POSE,
    ROUNDING,
    Net,
    converted,
    converted_from,
    normal,
    residual,
    stored,
    trained,
    turned,
    verdicts,
    verified_file,
)

SHAPE = (3, 4, 6, 2)
BATCHES = (1, 3, 5)


# ---- parts that cannot commute --------------------------------------------------------------------------------------
class CoordinateNorm(nn.Module):
    """LayerNorm over entries of which half change their sign."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.first, self.last = nn.LayerNorm(12), nn.Linear(12, 16), nn.Linear(16, 12)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2)
        return (flat + self.last(self.first(self.norm(flat)).relu())).view_as(x)


class JointConv(nn.Module):
    """A convolution along the joint axis, the batch merged into the frames."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.along, self.last = nn.Linear(2, 8), nn.Conv1d(8, 8, 3, padding=1), nn.Linear(48, 12)

    def forward(self, x: Tensor) -> Tensor:
        samples, frames = x.shape[:2]
        hidden = self.first(x).relu().reshape(samples * frames, 6, 8).transpose(1, 2)
        hidden = self.along(hidden).relu().reshape(samples, frames, 48)
        return self.last(hidden).view(samples, frames, 6, 2) + x


class Twice(nn.Module):
    """The same module at two places: two stretches with the same weights, under a name that is taken."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.averaged_0 = nn.LayerNorm(12), nn.Linear(12, 12)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2)
        return self.averaged_0(self.norm(flat + self.norm(flat))).view_as(x)


class Pair(nn.Module):
    """Two results, both of them read; sizes of the batch in between."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.reshape(x.shape[0], -1).exp().reshape(x.shape), torch.softmax(x, -1)


class Limb(nn.Module):
    """One side of the body through an op that takes no signs."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.last = nn.LayerNorm(4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.norm(x.flatten(2)))


class Sides(nn.Module):
    """What one side alone feeds cannot be averaged: the stretch grows until it holds both."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.middle = Limb(), Limb(), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.left(x[:, :, 1:3]), self.right(x[:, :, 3:5])
        return torch.cat([self.middle(x[:, :, [0, 5]].flatten(2)), left, right], -1)


def two_results(net: Net, x: Tensor) -> Tensor:
    return net.last(torch.cat(net.pair(x.flatten(2)), -1)).view_as(x) + x


def softmax(net: Net, x: Tensor) -> Tensor:
    return x + net.last(net.first(torch.softmax(x.flatten(2), -1)).relu()).view_as(x)


def sides(net: Net, x: Tensor) -> Tensor:
    return net.last(net.sides(x).relu()).view_as(x) + x


CASES: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "layer norm": (CoordinateNorm, "norm"),
    "convolution along joints": (JointConv, "along"),
    "an op of the outermost forward": (
        lambda: Net(softmax, first=nn.Linear(12, 16), last=nn.Linear(16, 12)), "small_body.py",
    ),
    "called twice": (Twice, "norm"),
    "two outputs": (lambda: Net(two_results, pair=Pair(), last=nn.Linear(24, 12)), "pair"),
    "one side": (lambda: Net(sides, sides=Sides(), last=nn.Linear(12, 12)), "sides"),
}  # fmt: skip


@cache
def ready(name: str) -> Network:
    return prepare(trained(CASES[name][0]()), parse_spec(CLIP), (normal(*SHAPE),))


@cache
def _made(name: str) -> nn.Module:
    return converted_from(ready(name), on_blocked="average")


def made(name: str) -> nn.Module:
    """A conversion, to be changed at will; copies of graph modules keep no attributes."""
    own = copy.deepcopy(_made(name))
    own.chirality = _made(name).chirality
    return own


@pytest.mark.one_in(6)
@pytest.mark.parametrize("name", CASES)
def test_averaged(name: str) -> None:
    """Proved, judged here at other batch sizes, and the report says what is averaged."""
    own, place = made(name), CASES[name][1]
    report = own.chirality.report
    assert (report.form, report.judgement.certificate.passed) == ("averaged", True)
    assert [residual(own, (batch, 4, 6, 2)) <= ROUNDING for batch in BATCHES] == [True] * 3
    stretches = 2 if name == "called twice" else 1
    assert len(own.chirality.passport.averaged) == stretches == sum(isinstance(m, Averaged) for m in own.modules())
    notes = [note for note in report.notes if note.startswith(f"averaged over both views: {place}")]
    assert len(notes) == stretches
    assert sum("two views averaged" in note for note in report.judgement.certificate.notes) == stretches


@pytest.mark.one_in(6)
@pytest.mark.parametrize("name", CASES)
def test_matched_on_inputs(name: str) -> None:
    """Units are scored by what they do on the user's inputs, though a stretch of the graph is one op."""
    calls = [((part,), {}) for part in normal(30, *SHAPE[1:], seed=5).split(SHAPE[0])]
    own: Any = converted_from(
        ready(name), method="match", on_blocked="average", calibration=calls, rounds=0, force=True
    )
    report = own.chirality.report
    assert (report.method, report.form, report.judgement.certificate.passed) == ("match", "averaged", True)
    assert residual(own, SHAPE) <= ROUNDING


@pytest.mark.parametrize(("name", "error"), [("layer norm", NegatedChannelsError), ("one side", NegatedChannelsError),
                                             ("convolution along joints", NeverEquivariantError)])  # fmt: skip
def test_refused_unless_asked(name: str, error: type[UnsupportedError]) -> None:
    """The module and the line, and what could be done."""
    with pytest.raises(error, match=r"\w+ \(test_average.py:\d+\): (?s:.*)--on-blocked average") as caught:
        converted_from(ready(name))
    assert caught.value.where.startswith(CASES[name][1])


def test_cost() -> None:
    """Conv1d over 6 joints, 8 x 8 channels, kernel 3 makes 12 frames x 1152 of 21 888 multiplications, twice."""
    report = made("convolution along joints").chirality.report
    along = 12 * 6 * 8 * 8 * 3
    total = 12 * (6 * 2 * 8 + 48 * 12) + along
    assert (report.cost.macs_before, report.cost.macs_after) == (total, total + along)
    assert any(f"{along / total:.2%} of the multiplications" in note for note in report.notes)


def test_plan_says_what_averaging_would_cost() -> None:
    blocked = plan(ready("convolution along joints"), "net", "project")
    assert any("along (test_average.py:" in text for text in blocked.blocked)
    note = next(note for note in blocked.notes if "--on-blocked average" in note)
    assert note.startswith("with --on-blocked average: averaged over both views: along (test_average.py:")
    assert note.endswith("63.16% of the multiplications")
    free = plan(prepare(trained(nn.Linear(2, 2)), parse_spec(CLIP), (normal(*SHAPE),)), "net", "project")
    assert not free.blocked and not any("on-blocked" in note for note in free.notes)


def test_plan_does_not_look_for_stretches_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every one takes an inference; a network may have hundreds."""
    network = ready("called twice")
    assert sum("averaged over both views: " in note for note in plan(network, "net").notes) == 2
    monkeypatch.setattr("chiralize.commands.plan._MOST_STRETCHES", 1)
    (note,) = [note for note in plan(network, "net").notes if "on-blocked" in note]
    assert note.startswith("with --on-blocked average: more than 1 stretches on both views")


def test_the_stretch_may_compute_anything() -> None:
    """Whatever its weights are, the average commutes."""
    own = made("convolution along joints")
    inner = {name for name in own.state_dict() if name.startswith("along.")}
    assert inner == {"along.weight", "along.bias"}
    with torch.no_grad():
        for name in inner:
            own.state_dict()[name].copy_(normal(*own.state_dict()[name].shape, seed=9))
    assert residual(own, SHAPE) <= ROUNDING and verdicts(own, SHAPE)[:2] == (True, True)


def test_averaged_whole_if_asked() -> None:
    own = converted(trained(CoordinateNorm()), CLIP, SHAPE, on_blocked="average-all")
    assert own.chirality.report.form == "two-view" and residual(own, SHAPE) <= ROUNDING
    assert any(note.startswith("averaged as a whole: norm (test_average.py") for note in own.chirality.report.notes)


def test_nothing_is_averaged_without_need() -> None:
    net = trained(Net(lambda net, x: net.last(x.flatten(2)).view_as(x), last=nn.Linear(12, 12)))
    own = converted(net, CLIP, SHAPE, on_blocked="average")
    assert own.chirality.report.form == "folded" and not own.chirality.passport.averaged


def test_one_side_alone() -> None:
    """Only the left arm is read: what is averaged then is the op that takes it out."""
    net = trained(Net(lambda net, x: net.last(x[:, :, 1]).view_as(x), last=nn.Linear(2, 12)))
    own = converted(net, CLIP, SHAPE, on_blocked="average", force=True)
    assert residual(own, SHAPE) <= ROUNDING and verdicts(own, SHAPE)[:2] == (True, True)


class Remembering(nn.Module):
    """A state inside the part that cannot commute."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("before", torch.zeros(12))

    def forward(self, x: Tensor) -> Tensor:
        self.before.copy_(x.exp().mean((0, 1)))
        return x.exp() + self.before


@pytest.mark.parametrize(
    "net",
    [
        Net(lambda net, x: net.last(net.part(x.flatten(2))).view_as(x), part=Remembering(), last=nn.Linear(12, 12)),
        Net(lambda net, x: x.exp()),
    ],
    ids=["a state inside", "the network is that op alone"],
)
def test_what_cannot_be_averaged_is_refused(net: nn.Module) -> None:
    """Nothing round the op can be taken as one; the refusal is the one that was there before."""
    with pytest.raises(UnsupportedError):
        converted(trained(net), CLIP, SHAPE, on_blocked="average", force=True)


# ---- faults ---------------------------------------------------------------------------------------------------------
def negated_entry(own: nn.Module) -> None:
    own.averaged_0.turn_inputs[0].sign_2[0].neg_()  # type: ignore[union-attr, index]


def negated_result(own: nn.Module) -> None:
    own.averaged_0.turn_outputs[0].sign = -1.0  # type: ignore[union-attr, index]


def another_order(own: nn.Module) -> None:
    order = own.averaged_0.turn_outputs[0].partner_2  # type: ignore[union-attr, index]
    order.copy_(order.roll(1))


def one_view(own: nn.Module) -> None:
    average = own.averaged_0
    average.forward = average.inner.forward  # type: ignore[union-attr, method-assign]


def weight_outside(own: nn.Module) -> None:
    own.get_parameter("first.weight")[0, 0] *= 1 + 1e-3


@pytest.mark.parametrize("fault", [negated_entry, negated_result, another_order, one_view, weight_outside])
def test_faults(fault: Callable[[nn.Module], None]) -> None:
    """T of the wrong sign or order in the stretch, only one view, a weight elsewhere: both verdicts say no."""
    own = made("layer norm")
    with torch.no_grad():
        fault(own)
    assert residual(own, SHAPE) > ROUNDING
    assert verdicts(own, SHAPE)[:2] == (False, False)


def test_a_passport_cannot_call_something_an_average() -> None:
    """The stretch it names is looked at: one view of a LayerNorm is none."""
    own = made("layer norm")
    one_view(own)
    claimed = replace(own.chirality.passport, averaged=("averaged_0#0",))
    verdict = judge(prepare(own, parse_spec(CLIP), (normal(*SHAPE),)), claimed, samples=1)
    assert not verdict.numeric.passed and verdict.certificate is not None and not verdict.certificate.passed
    assert "two views" in verdict.certificate.broken


# ---- files ----------------------------------------------------------------------------------------------------------
@pytest.mark.thorough
def test_through_a_file(tmp_path: Path) -> None:
    """Batch 3 when it was made, 5 when it is verified; the certificate finds the stretch again."""
    path = stored(trained(JointConv()), tmp_path, CLIP, SHAPE, on_blocked="average")
    passport, report = verified_file(path, (5, 4, 6, 2))
    assert passport.averaged == ("averaged_0#0",) and Passport.from_json(passport.to_json(), "").averaged
    assert report.passed and report.judgement.certificate is not None
    assert any("two views averaged" in note for note in report.judgement.certificate.notes)
    with library_warnings():
        assert residual(torch.export.load(path).module(), (2, 4, 6, 2)) <= ROUNDING


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    yield from working_shell(tmp_path, capsys, monkeypatch)


@pytest.mark.thorough
def test_on_the_command_line(shell: Shell) -> None:
    """From a program; weights alone cannot hold the result, and nothing is written."""
    (shell.folder / "clip.yaml").write_text(CLIP)
    net, example = trained(CoordinateNorm()), (normal(*SHAPE),)
    with library_warnings():
        torch.export.save(torch.export.export(net, example, strict=False), shell.folder / "net.pt2")
    words = ("convert", "net.pt2", "--skeleton", "clip.yaml", "--method", "project", "--samples", "1")
    before = shell.listing().keys()
    refused = shell(*words, "-o", "out.pt2")
    assert refused.status == 3 and "NegatedChannelsError CH303" in refused.err
    for target in ("out.pt", "out.safetensors"):
        found = shell(*words, "--on-blocked", "average", "-o", target)
        assert found.status == 2 and "holds weights only" in found.err and "write a .pt2" in found.err
    assert shell.listing().keys() == before
    found = shell(*words, "--on-blocked", "average", "-o", "out.pt2", "--format", "json")
    assert found.status == 0, found.err
    report = json.loads(found.out)
    assert report["form"] == "averaged" and any("both views: norm" in note for note in report["notes"])
    assert shell("verify", "out.pt2").status == 0


@pytest.mark.thorough
def test_two_stretches_far_apart() -> None:
    """What is collapsed first leaves the ops of the second together; heads lie merged in the axis that it turns."""

    def compute(s: Net, x: Tensor) -> Tensor:
        z = s.norm(x)
        q, k, v = (layer(z).unflatten(-1, (3, 4)).transpose(1, 2) for layer in (s.q, s.k, s.v))
        attended = ((q @ k.transpose(-2, -1)).softmax(-1) @ v).transpose(1, 2).flatten(2)
        return s.out(torch.relu(torch.cat([torch.relu(s.a(x)), torch.relu(s.b(z))], -1) + attended))

    parts = {name: nn.Linear(2, 12) for name in "qkv"} | {"a": nn.Linear(2, 5), "b": nn.Linear(2, 7)}
    net = trained(Net(compute, norm=nn.LayerNorm(2), out=nn.Linear(12, 2), **parts))
    found: Any = converted(net, on_blocked="average")
    assert found.chirality.form == "averaged" and len(found.chirality.passport.averaged) == 2
    assert residual(found, (3, 6, 2)) < ROUNDING and verdicts(found)[:2] == (True, True)
    assert residual(found, (5, 6, 2)) < ROUNDING


@pytest.mark.thorough
def test_windows_that_cut_a_stream_of_joints() -> None:
    """The stream goes on with another representation than it entered the stretch with."""

    def window(s: Net, hidden: Tensor) -> Tensor:
        return s.mix(hidden.reshape(-1, 3, 8).transpose(1, 2)).transpose(1, 2).reshape(-1, 6, 8)

    def compute(s: Net, x: Tensor) -> Tensor:
        hidden = torch.relu(s.inlet(x))
        for _ in range(2):
            hidden = hidden + window(s, s.norm(hidden))
        return s.outlet(hidden.mean(1))

    layers = {"inlet": nn.Linear(2, 8), "mix": nn.Linear(3, 3), "norm": nn.LayerNorm(8), "outlet": nn.Linear(8, 5)}
    net = trained(Net(compute, **layers))
    found: Any = converted(net, POSE.replace('outputs: [{layout: "b j d"}]', "outputs: [{invariant: true}]"),
                           on_blocked="average")  # fmt: skip
    assert found.chirality.form == "averaged" and verdicts(found)[:2] == (True, True)
    x = normal(3, 6, 2)
    torch.testing.assert_close(found(turned(x)), found(x), rtol=0, atol=ROUNDING)
