"""Points that T mirrors at a few percent beside the right one: what is said, and that right ones are left alone."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.graph.running import Call
from chiralize.problem.preparation import prepare
from chiralize.verification.evidence.records import AT_THE_LEAST, AT_THE_MIDDLE
from chiralize.verification.mirror_evidence import ask_network
from chiralize.verification.verdicts import Evidence
from tests.support.cases import mainly

BODY = "joints: [nose, left_eye, right_eye, left_ear, right_ear]\npairs: [[1, 2], [3, 4]]\ndims: [x, y]\n"
PARTNER = [0, 2, 1, 4, 3]
BEARING = "outputs: [{fields: [{signs: {bearing: -1, side: -1, up: 1, depth: 1}, name: place}]}]\n"
POSE = "outputs: [{layout: b j d, reflect: {x: POINT}}]\n"
SIGNS = torch.tensor([-1.0, -1.0, 1.0, 1.0])


def points(count: int, shift: float = 0.0, seed: int = 1) -> Tensor:
    """Faces in a picture, in shares of its width: "sample joint coordinate".  shift: of all to one side."""
    generator = torch.Generator().manual_seed(seed)
    face = torch.tensor([[0, 0], [-0.05, 0.05], [0.05, 0.05], [-0.1, 0], [0.1, 0]])
    size = 0.5 + torch.rand(count, 1, 1, generator=generator)
    places = torch.tensor([0.5 + shift, 0.5]) + 0.15 * torch.randn(count, 1, 2, generator=generator)
    return places + size * face + 0.02 * torch.randn(count, 5, 2, generator=generator)


def image(x: Tensor) -> Tensor:
    """The mirror image in the picture."""
    turned = x[:, PARTNER]
    return torch.stack((1 - turned[..., 0], turned[..., 1]), -1)


def places(x: Tensor) -> Tensor:
    """Where a face is in front of the camera, which depends on where it is in the picture."""
    middle = x.mean(1)
    angle, size = 1.4 * (middle[:, 0] - 0.5), (x - x.mean(1, keepdim=True)).square().mean((1, 2)).sqrt()
    return torch.stack((torch.sin(angle), 5 * size * torch.tan(angle), middle[:, 1], 10 * size), -1)


def trained(copies: bool, shift: float, seed: int) -> nn.Module:
    """A network of `places` that learned from noisy answers, with mirrored copies or without."""
    torch.manual_seed(seed)
    x = points(1000, shift, seed + 10)
    y = places(x) + 0.05 * torch.randn(1000, 4)
    net = nn.Sequential(nn.Flatten(), nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for step in range(300):
        batch = torch.randint(0, 1000, (128,))
        seen, answer = x[batch], y[batch]
        if copies and step % 2:
            seen, answer = image(seen), answer * SIGNS
        loss = (net(seen) - answer).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


def asked(net: nn.Module, x: Tensor, point: float, outputs: str = BEARING, unit: float = 1.0) -> Evidence:
    """What a network says of T about a point.  unit: of the points that it reads."""
    inputs = "inputs: [{layout: b j d, reflect: {x: POINT}}]\n"
    spec = parse_spec(BODY + (inputs + outputs).replace("POINT", str(point)))
    calls: list[Call] = [((unit * part,), {}) for part in x.split(64)]
    return ask_network(prepare(net, spec, calls[0][0]), calls)


def doubts(evidence: Evidence) -> list[str]:
    """Warnings of another point, by where the gap is least."""
    return [text for text in evidence.warnings if AT_THE_LEAST in text or AT_THE_MIDDLE in text]


class InPixels(nn.Module):
    """The same of points in a picture of 64 columns."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x / 64)


@pytest.fixture(scope="module")
def net() -> nn.Module:
    """One that saw both sides."""
    return trained(True, 0.0, 0)


@pytest.mark.parametrize("point", [0.48, 0.52, 0.46])
def test_a_share_beside_the_half_is_doubted(net: nn.Module, point: float) -> None:
    (doubt,) = doubts(asked(net, points(512), point))
    assert f"with x mirrored at 0.5 (a middle, where its gap is least) instead of {point}" in doubt
    assert "check that `reflect` names the middle" in doubt


@pytest.mark.parametrize("point", [31, 33])
def test_a_pixel_beside_the_middle_is_doubted(net: nn.Module, point: int) -> None:
    (doubt,) = doubts(asked(InPixels(net), points(512), point, unit=64.0))
    assert f"with x mirrored at 32 (a middle, where its gap is least) instead of {point}" in doubt
    assert not doubts(asked(InPixels(net), points(512), 32, unit=64.0))


@pytest.mark.parametrize(
    ("copies", "shift", "seed"),
    mainly(
        product((True, False), (0.0, 0.03, 0.08), (0, 1)),
        [(True, 0.0, 0), (True, 0.08, 1), (False, 0.03, 0), (False, 0.08, 1)],
    ),
)
def test_the_right_point_is_left_alone(copies: bool, shift: float, seed: int) -> None:
    """Of networks with habits, too: without mirrored copies the gap is least where the faces of training lay."""
    net = trained(copies, shift, seed)
    assert not doubts(asked(net, points(512, shift), 0.5))
    # The middle of a room, which is no half of anything: it is doubted for a gap of less than half alone.
    room = "outputs: [{fields: [{signs: {bearing: -1, side: -1, up: 1, depth: 1}, name: place}]}]\n"
    assert not doubts(asked(Moved(net), points(512, shift) + torch.tensor([0.73, 0.0]), 1.23, room))


class Moved(nn.Module):
    """The same of points of which the middle is at 1.23."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x - torch.tensor([0.73, 0.0]))


class Refined(nn.Module):
    """Points a little further from their middle: it has every point for its own."""

    def forward(self, x: Tensor) -> Tensor:
        middle = x.mean(1, keepdim=True)
        return middle + 1.3 * (x - middle)


class Steady(nn.Module):
    """Points of pictures, of which a network knows where they mostly are; a little off."""

    def forward(self, x: Tensor) -> Tensor:
        nearer = 0.5 * x + 0.25
        return nearer + torch.stack((0.02 * torch.sin(40 * x[..., 1]), torch.zeros_like(x[..., 0])), -1)


def test_answers_that_move_with_their_inputs_have_every_point() -> None:
    assert not doubts(asked(Refined(), points(512), 0.48, POSE))


def test_answers_in_the_picture_move_with_the_point() -> None:
    (doubt,) = doubts(asked(Steady(), points(512), 0.47, POSE))
    assert "with x mirrored at 0.5 (a middle" in doubt and not doubts(asked(Steady(), points(512), 0.5, POSE))


class Landmarks(nn.Module):
    """Three points in pictures of 64 columns, where the bright spots are."""

    def forward(self, x: Tensor) -> Tensor:
        columns = torch.arange(64.0) + 0.5
        weights = torch.softmax(8 * x.mean(2), -1)  # "sample spot column"
        place = (weights * columns).sum(-1)
        return torch.stack((place + 0.3 * torch.sin(place), x.mean((2, 3))), -1)


def test_points_that_answers_alone_have_are_looked_at() -> None:
    body = "joints: [nose, left_eye, right_eye]\npairs: [[1, 2]]\ndims: [x, y]\n"
    generator = torch.Generator().manual_seed(0)
    wide = nn.functional.interpolate(torch.randn(256, 3, 4, 9, generator=generator), (4, 64), mode="bilinear")
    calls: list[Call] = [((part,), {}) for part in (3 * wide).split(64)]
    for point, said in ((31, 1), (32, 0)):
        spec = parse_spec(f"{body}inputs: [b (j) h ~w]\noutputs: [{{layout: b j d, reflect: {{x: {point}}}}}]\n")
        evidence = ask_network(prepare(Landmarks(), spec, calls[0][0]), calls)
        assert len(doubts(evidence)) == said, evidence
