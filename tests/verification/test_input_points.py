"""Inputs that lie a little beside the point that T mirrors them at: what is said of it, and where nothing is."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.graph.running import Call
from chiralize.problem.preparation import prepare
from chiralize.verification.evidence.input_points import _mean_beside
from chiralize.verification.evidence.judging import Basis, judged
from chiralize.verification.evidence.records import ABOUT_THE_MEAN, Comparison, Corrected, MirrorGap
from chiralize.verification.mirror_evidence import ask_network
from chiralize.verification.verdicts import Evidence

C = 320.0
BODY = "joints: [nose, left_eye, right_eye, left_ear, right_ear]\npairs: [[1, 2], [3, 4]]\ndims: [x, y]\n"
PARTNER = [0, 2, 1, 4, 3]
OUTPUTS = "outputs: [{fields: [{signs: {yaw: -1, roll: -1}, name: head}]}]\n"


def image(x: Tensor) -> Tensor:
    """The mirror image of faces in pictures of 640 columns, "sample joint coordinate"."""
    turned = x[:, PARTNER]
    return torch.stack((2 * C - turned[..., 0], turned[..., 1]), -1)


class Head(nn.Module):
    """Points of a face in a picture to yaw and roll; symmetric about column 320 but for a little.

    norm: behind a batch norm that remembers its inputs.  centered: less the middle of each face.
    """

    def __init__(self, norm: bool = False, centered: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.bn = nn.BatchNorm1d(10) if norm else nn.Identity()
        if isinstance(self.bn, nn.BatchNorm1d):
            self.bn.running_mean = faces(4096).flatten(1).mean(0)
            self.bn.running_var = faces(4096).flatten(1).var(0)
        self.inner = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 2))
        with torch.no_grad():
            for weights in self.inner.parameters():
                weights += 0.2 * torch.randn(weights.shape[0], *[1] * (weights.ndim - 1))  # whole directions move
        self.norm, self.centered = norm, centered

    def one_view(self, x: Tensor) -> Tensor:
        x = x - x.mean(1, keepdim=True) + C if self.centered else x
        return self.inner(self.bn(x.flatten(1)) if self.norm else (x / C - 1).flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        return 0.51 * self.one_view(x) - 0.49 * self.one_view(image(x))


class InFields(Head):
    """The same behind a number of another kind."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[:, 1:].unflatten(1, (5, 2)))


def faces(count: int, shift: float = 0.0, alike: bool = False) -> Tensor:
    """Faces somewhere in the picture, "sample joint coordinate".

    shift: of all to one side.  alike: each near the one before it, as in a recording.
    """
    generator = torch.Generator().manual_seed(1)
    places = torch.randn(count, 1, 2, generator=generator)
    if alike:
        places = places.cumsum(0) / count**0.5 * 2
        places = places - places.mean(0) + 0.3 * places.std(0)
    else:
        places = places - places.mean(0)
    offset = torch.tensor([shift, 0.0])
    return C + 100 * places + 40 * torch.randn(count, 5, 2, generator=generator) + offset


def asked(net: nn.Module, x: Tensor, point: float, inputs: str = "", outputs: str = OUTPUTS) -> Evidence:
    """What a network says of T about a point, its inputs in calls of 16."""
    inputs = inputs or "{layout: b j d, reflect: {x: POINT}}"
    spec = parse_spec(f"{BODY}inputs: [{inputs.replace('POINT', str(point))}]\n{outputs.replace('POINT', str(point))}")
    calls: list[Call] = [((part,), {}) for part in x.split(16)]
    return ask_network(prepare(net, spec, calls[0][0]), calls)


def doubts(evidence: Evidence) -> list[str]:
    """Warnings of points beside the one of the inputs."""
    return [warning for warning in evidence.warnings if ABOUT_THE_MEAN in warning]


def test_a_point_beside_the_mean_of_the_inputs_is_doubted() -> None:
    evidence = asked(Head(), faces(1024), 300)
    assert evidence.fit is not None and not evidence.fit.is_refuted and evidence.fit.gap < 0.5
    assert evidence.warnings == (
        "T is in doubt: its gap is 0.0931 with x mirrored at 320 (about the mean of the inputs) instead of 300, 0.368 "
        "with T, not clearly enough to tell which is right; check that `reflect` names the middle of the picture, half "
        "of its width: if it does, what was seen in training lay to one side of that",
    )
    assert evidence.fit.nearest == "x mirrored at 320 (about the mean of the inputs) instead of 300"


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize(("shift", "alike"), [(0.0, False), (30.0, False), (0.0, True)])
def test_the_right_point_is_left_alone(norm: bool, centered: bool, shift: float, alike: bool) -> None:
    """Also where the inputs lie to one side, and where nothing depends on the point."""
    evidence = asked(Head(norm, centered), faces(512, shift, alike), 320)
    assert evidence.warnings == () and evidence.fit is not None and evidence.fit.doubt == ""
    assert ABOUT_THE_MEAN not in evidence.fit.nearest


def test_of_few_inputs_the_mean_that_a_batch_norm_remembers_counts() -> None:
    assert not doubts(asked(Head(), faces(24), 300))
    (doubt,) = doubts(asked(Head(norm=True), faces(24), 300))
    assert "with x mirrored at 320 (about the mean that bn remembers) instead of 300" in doubt


def test_points_of_fields_are_doubted_too() -> None:
    fields = "{fields: [{scalar: 1, name: t}, {joints: p, reflect: {x: POINT}}]}"
    x = torch.cat((torch.zeros(1024, 1), faces(1024).flatten(1)), 1)
    (doubt,) = doubts(asked(InFields(), x, 300, fields))
    assert "with x mirrored at 320 (about the mean of the inputs) instead of 300" in doubt
    assert not doubts(asked(InFields(), x, 320, fields))


class Smoothed(Head):
    """A face nearer to where faces mostly are: answers in the same picture, which move with the point."""

    def forward(self, x: Tensor) -> Tensor:
        nearer = 0.5 * x + C / 2
        moved = 30 * torch.tanh(super().forward(x)).unsqueeze(1)
        return nearer + torch.stack((moved[..., 0], torch.zeros_like(moved[..., 0])), -1)


def test_answers_that_are_mirrored_there_move_with_the_point() -> None:
    outputs = "outputs: [{layout: b j d, reflect: {x: POINT}}]\n"
    (doubt,) = doubts(asked(Smoothed(), faces(1024), 300, outputs=outputs))
    assert doubt.startswith("T is in doubt: its gap is 0.01 with x mirrored at 320 (about the mean of the inputs)")
    assert not doubts(asked(Smoothed(), faces(512), 320, outputs=outputs))


def test_zeros_stand_for_missing_joints() -> None:
    x = faces(1024)
    x[::2, 3] = 0.0
    assert not doubts(asked(Head(centered=True), x, 320))
    x = x.masked_fill(x == 0, torch.nan)
    spec = parse_spec(f"{BODY}inputs: [{{layout: b j d, reflect: {{x: 304}}}}]\n{OUTPUTS}")
    (tensor,) = prepare(Head(), spec, x).resolved.input_tensors
    mean = _mean_beside(tensor, 304.0, [x])
    assert mean == pytest.approx(320, abs=2) and _mean_beside(tensor, 304.0, [x.nan_to_num(0.0)]) == mean


ABOUT = f"x mirrored at 320 {ABOUT_THE_MEAN}of the inputs) instead of 304"
BASIS = Basis(real=True, trained=True, rows=256)


def compared(*gaps: tuple[str, float]) -> Comparison:
    """T with a gap of 0.4 beside mirrors with these gaps, and three changes at once that leave 0.1."""
    others = tuple(MirrorGap(name, gap, gap / 0.4, gap, 0.4, numbers=2560) for name, gap in gaps)
    return Comparison(0.4, others, corrected=Corrected(("one", "two", "three"), 0.1))


def test_what_makes_up_for_a_part_of_a_wrong_point_is_not_named() -> None:
    """Other pairs refute T; the point leaves less than any of them, and is the thing to change."""
    evidence = judged(compared(("other pairs", 0.22), (ABOUT, 0.09)), BASIS)
    assert evidence.fit is not None and evidence.fit.better == evidence.fit.changes == (ABOUT,)
    assert evidence.warnings == (f"another mirror fits the network better: its gap is 0.09 with {ABOUT}, 0.4 with T",)
    beside = judged(compared(("other pairs", 0.1), (ABOUT, 0.09)), BASIS)
    assert beside.fit is not None and beside.fit.better == ("other pairs",)


def test_a_point_alone_refutes_nothing() -> None:
    """Faces may stand on one side of all pictures: then it fits a network better than the right one."""
    evidence = judged(replace(compared((ABOUT, 0.02)), corrected=None), BASIS)
    assert evidence.fit is not None and not evidence.fit.is_refuted and evidence.fit.doubt
    evidence = judged(replace(compared((ABOUT, 0.3)), corrected=None), BASIS)
    assert evidence.fit is not None and not evidence.fit.doubt and evidence.fit.nearest == ""
