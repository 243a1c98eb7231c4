"""Coordinates of answers that are mirrored at a point which the specification does not give: what is said of them."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec, resolve
from chiralize.errors import MirrorError
from chiralize.graph.running import Call
from chiralize.methods.registry import method_of
from chiralize.problem.preparation import prepare
from chiralize.problem.problem import Problem
from chiralize.problem.request import Request
from chiralize.verification.evidence.answer_points import mirrored_at_points, points_of_answers
from chiralize.verification.mirror_evidence import ask_network
from chiralize.verification.verdicts import Evidence
from chiralize.verification.wrong_mirror import refuse_wrong_mirror
from tests.support.cases import mainly

BODY = "joints: [nose, left_eye, right_eye]\npairs: [[1, 2]]\ndims: [x, y]\ninputs: ['b c h ~w']\n"
WIDTH = 12
PARTNER = [0, 2, 1]


class Landmarks(nn.Module):
    """Three joints of a picture of 12 columns, as numbers between 0 and `unit`; nearly symmetric."""

    def __init__(self, unit: float = 1.0, outputs: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner = nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * WIDTH, 32), nn.Tanh(), nn.Linear(32, 6))
        with torch.no_grad():
            for weights in self.inner.parameters():
                weights += 0.2 * torch.randn(weights.shape[0], *[1] * (weights.ndim - 1))  # whole directions move
        self.unit, self.outputs = unit, outputs

    def one_view(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.inner(x)).view(-1, 3, 2)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        turned = self.one_view(x.flip(-1))[:, PARTNER]
        turned = torch.stack((1 - turned[..., 0], turned[..., 1]), -1)
        answer = self.unit * (0.55 * self.one_view(x) + 0.45 * turned)
        return answer if self.outputs == 1 else (answer,) * self.outputs


def pictures() -> list[Call]:
    generator = torch.Generator().manual_seed(0)
    smooth = nn.functional.interpolate(torch.randn(64, 3, 3, 4, generator=generator), (6, WIDTH), mode="bilinear")
    return [((part,), {}) for part in (3 * smooth).split(16)]


def asked(net: nn.Module, outputs: str) -> tuple[Problem, Evidence]:
    calls = pictures()
    network = prepare(net, parse_spec(f"{BODY}outputs: [{outputs}]\n"), calls[0][0])
    return Problem.of(network, Request(), method_of("auto")), ask_network(network, calls)


@pytest.mark.parametrize(("unit", "words"), [(1.0, "0.5 instead of 0 (`reflect: {x: 1/2}`)"), (12.0, "6 instead of 0")])
def test_a_point_that_answers_lack_is_the_first_thing_to_try(unit: float, words: str) -> None:
    problem, evidence = asked(Landmarks(unit), "{layout: b j d, name: face}")
    assert evidence.fit is not None and evidence.fit.is_refuted
    assert evidence.fit.better[0].startswith(f"x of output 0 'face' mirrored at {words}")
    with pytest.raises(MirrorError) as caught:
        refuse_wrong_mirror(problem, "net", evidence)
    assert caught.value.remedy.startswith(f"try x of output 0 'face' mirrored at {words}")


def test_the_mirror_with_the_point_is_left_alone() -> None:
    _, evidence = asked(Landmarks(), "{layout: b j d, reflect: {x: 1/2}}")
    assert evidence.fit is not None and not evidence.fit.is_refuted


class Tracker(Landmarks):
    """Seven joints in cells of a picture of 12 columns, counted from 0, each with a lean of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(32, 14)
        self.leans = torch.linspace(-0.02, 0.03, 7)

    def one_view(self, x: Tensor) -> Tensor:
        return (WIDTH - 1) * torch.sigmoid(self.last(self.inner[:-1](x))).view(-1, 7, 2)

    def forward(self, x: Tensor) -> Tensor:
        turned = self.one_view(x.flip(-1))
        turned = torch.stack((WIDTH - 1 - turned[..., 0], turned[..., 1]), -1)
        answer = 0.55 * self.one_view(x) + 0.45 * turned
        return torch.stack((answer[..., 0] + self.leans, answer[..., 1]), -1)


@pytest.mark.parametrize(("point", "warned"), [("11/2", False), ("6", True), ("5", True)])
def test_a_point_beside_the_one_of_the_answers(point: str, warned: bool) -> None:
    """W/2 for (W - 1)/2 hardly changes the gap, but all joints are off by half a cell."""
    joints = f"joints: [{', '.join(f'spine_{number}' for number in range(7))}]\npairs: []\ndims: [x, y]\n"
    spec = f"{joints}inputs: ['b c h ~w']\noutputs: [{{layout: b j d, reflect: {{x: {point}}}}}]\n"
    calls = pictures()
    evidence = ask_network(prepare(Tracker(), parse_spec(spec), calls[0][0]), calls)
    told = [warning for warning in evidence.warnings if "is mirrored at" in warning]
    assert len(told) == warned
    if warned:
        assert told[0].startswith(f"spine_0.x of output 0 is mirrored at {point}, while its answers lie about 5.5")
        assert "`reflect: {x: 11/2}` is the mirror then" in told[0]


class Regard(nn.Module):
    """A point on a screen of 1920 columns, nearly symmetric, and a height, which the mirror leaves."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner = nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * WIDTH, 32), nn.Tanh(), nn.Linear(32, 2))
        with torch.no_grad():
            for weights in self.inner.parameters():  # unlike an initialisation
                weights += 0.2 * torch.randn(weights.shape[0], *[1] * (weights.ndim - 1))

    def forward(self, x: Tensor) -> Tensor:
        one, other = self.inner(x), self.inner(x.flip(-1))
        return torch.stack((960 + 300 * (one[:, 0] - 0.99 * other[:, 0]), 50 + one[:, 1] + other[:, 1]), 1)


@pytest.mark.parametrize(
    ("fields", "point"), [("{vector: por, dims: [x, y]}", "960"), ("{signs: [1, -1], name: por}", "")]
)
def test_a_point_that_a_field_lacks(fields: str, point: str) -> None:
    """It is what answers to x and T x lie about; of a number that T negates and the network leaves there is none."""
    spec = f"{BODY}outputs: [{{fields: [{fields}]}}]\n"
    calls = pictures()
    evidence = ask_network(prepare(Regard(), parse_spec(spec), calls[0][0]), calls)
    told = [warning for warning in evidence.warnings if "is mirrored at 0, while its answers lie about" in warning]
    assert bool(told) == bool(point)
    assert not point or f"`reflect: {{x: {point}}}` is the mirror then" in told[0]


def test_several_outputs_are_mirrored_at_their_points_at_once() -> None:
    _, evidence = asked(Landmarks(outputs=2), "{layout: b j d}, {layout: b j d}")
    assert evidence.fit is not None
    words = "coordinates of 2 outputs mirrored at a point instead of 0 (`reflect: {x: 1/2}`)"
    assert evidence.fit.nearest == words and evidence.fit.nearest_gap < 0.5


@pytest.mark.parametrize("share", mainly([[0.6], [0.4]], [[0.4]]))
def test_the_remedy_names_it_though_another_output_has_the_widest_gap(share: float) -> None:
    """That gap stays whatever is done to x: a mirror that leaves x as it is has the same one. With 0.4 none fits."""

    class WithFlag(Landmarks):
        """The same beside a number that the picture's two sides say something different of."""

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            answer = super().forward(x)
            assert isinstance(answer, Tensor)
            flag = x[..., WIDTH // 2 :].mean((1, 2, 3)) + share * x[..., : WIDTH // 2].mean((1, 2, 3))
            return answer, flag.unsqueeze(1)

    problem, evidence = asked(WithFlag(), "{layout: b j d}, invariant")
    assert evidence.fit is not None
    with pytest.raises(MirrorError) as caught:
        refuse_wrong_mirror(problem, "net", evidence)
    assert caught.value.remedy.startswith("try x of output 0 mirrored at 0.5 instead of 0 (`reflect: {x: 1/2}`)")


@pytest.mark.parametrize(
    ("low", "high", "point"),
    [
        (0.0, 1.0, Fraction(1, 2)),
        (-0.1, 1.1, Fraction(1, 2)),
        (0.5, 11.0, Fraction(6)),
        (300.0, 340.0, Fraction(320)),  # beyond the picture: their mean
        (0.02, 0.1, Fraction(6, 100)),  # far from the middle of 0 to 1
        (-1.0, 1.0, None),
    ],
)
def test_the_point_is_the_middle_of_what_answers_lie_in(low: float, high: float, point: Fraction | None) -> None:
    resolved = resolve(parse_spec(f"{BODY}outputs: ['b j d']\n"), [(8, 3, 6, WIDTH)], [(8, 3, 2)])
    values = torch.linspace(low, high, 24).view(8, 3, 1).expand(8, 3, 2)
    assert points_of_answers(resolved, {0: [values]}) == ({} if point is None else {(0, "x"): point})


def test_no_point_is_looked_for_in_maps_or_where_one_is_given() -> None:
    for entry, shape in (("{layout: b j d, reflect: {x: 1/2}}", (8, 3, 2)), ("b j d h ~w", (8, 3, 2, 6, WIDTH))):
        resolved = resolve(parse_spec(f"{BODY}outputs: [{entry}]\n"), [(8, 3, 6, WIDTH)], [shape])
        assert points_of_answers(resolved, {0: [torch.rand(shape) + 5]}) == {}
    assert list(mirrored_at_points(resolved, {})) == []
