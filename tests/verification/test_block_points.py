"""Blocks that count their lateral coordinate from another point: T about it comes before a changed sign."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.graph.running import Call
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from chiralize.verification.evidence.block_points import _points_away, _simple, blocks_about_means
from chiralize.verification.evidence.judging import Basis, judged
from chiralize.verification.evidence.records import ABOUT_THE_MEAN, Comparison, MirrorGap
from chiralize.verification.evidence.remedies import first_remedy
from chiralize.verification.mirror_evidence import ask_network
from chiralize.verification.verdicts import Evidence

BODY = "joints: [left_hand, right_hand]\npairs: [[0, 1]]\ndims: [x, y]\nnegate: [y]\nlateral: y\n"
FIELDS = "{hands: [left, right], each: [{vector: at, dims: [x, y] HANDS}], name: ee}, {vector: goal, dims: [x, y] GOAL}"
OUTPUTS = "outputs: [{fields: [{signs: {yaw: -1, roll: -1}, name: head}]}]\n"
POINT = ", reflect: {y: 0.5}"
MEAN = torch.tensor([0.0, 0.7, 0.0, 0.3, 0.0, 0.51, 0.0, 0.0])
SPREAD = torch.tensor([0.3, 0.08, 0.3, 0.09, 0.3, 0.15, 0.5, 0.2])
WORDS = "`reflect: {y: 0.5}`"


def seen(mean: Tensor = MEAN) -> Tensor:
    """The places of two hands and of a goal on a table, and a speed: "sample number"."""
    generator = torch.Generator().manual_seed(1)
    together = torch.randn(512, 1, 2, generator=generator)  # hands go where the goal is
    places = 0.8 * together + 0.6 * torch.randn(512, 4, 2, generator=generator)
    return mean + SPREAD * (places - places.mean(0)).flatten(1)


def image(x: Tensor, center: float) -> Tensor:
    """The mirror image, in which y of the places is 2 c - y, and y of the speed -y."""
    turned = x[:, [2, 3, 0, 1, 4, 5, 6, 7]].clone()
    turned[:, [1, 3, 5]] = 2 * center - turned[:, [1, 3, 5]]
    turned[:, 7] = -turned[:, 7]
    return turned


class Policy(nn.Module):
    """Yaw and roll; symmetric but for a little.  remembers: means and spreads in training lie in buffers."""

    mean: Tensor
    std: Tensor

    def __init__(self, remembers: bool = True, mean: Tensor = MEAN, center: float = 0.5) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.register_buffer("mean", mean.clone())
        self.register_buffer("std", SPREAD.clone())
        self.inner = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 2))
        with torch.no_grad():
            for weights in self.inner.parameters():
                weights += 0.2 * torch.randn(weights.shape[0], *[1] * (weights.ndim - 1))
        self.remembers, self.center = remembers, center

    def one_view(self, x: Tensor) -> Tensor:
        return self.inner((x - 0.3) * 5)

    def forward(self, x: Tensor) -> Tensor:
        if self.remembers:
            x = (x - self.mean) / self.std * SPREAD + self.mean
        return 0.55 * self.one_view(x) - 0.45 * self.one_view(image(x, self.center))


def prepared(module: nn.Module, hands: str = "", goal: str = "") -> Network:
    """The network under a specification with these words in the entries of two blocks."""
    fields = FIELDS.replace("HANDS", hands).replace("GOAL", goal)
    spec = parse_spec(f"{BODY}inputs: [{{fields: [{fields}, {{vector: speed, dims: [x, y]}}]}}]\n{OUTPUTS}")
    return prepare(module.eval(), spec, seen())


def calls_of(x: Tensor) -> list[Call]:
    """Samples in calls of 64."""
    return [((part,), {}) for part in x.split(64)]


def asked(module: nn.Module, hands: str = "", goal: str = "", x: Tensor | None = None) -> Evidence:
    """What the network says."""
    return ask_network(prepared(module, hands, goal), calls_of(seen() if x is None else x))


def named(blocks: str, whose: str, entries: str = "its entry") -> str:
    """The name of T about 1/2 of blocks."""
    return f"y of {blocks} of input 0 mirrored at 0.5 {ABOUT_THE_MEAN}{whose}) instead of 0 ({WORDS} in {entries})"


@pytest.mark.parametrize(("remembers", "whose"), [(True, "that its normaliser remembers"), (False, "of the inputs")])
def test_the_point_of_a_block_comes_before_a_changed_sign(remembers: bool, whose: str) -> None:
    both = named("ee.at, goal", whose, "each of their entries")
    for hands, goal, name in (("", "", both), (POINT, "", named("goal", whose)), ("", POINT, named("ee.at", whose))):
        evidence = asked(Policy(remembers), hands, goal)
        assert evidence.fit is not None and evidence.fit.is_refuted
        assert evidence.fit.better == evidence.fit.changes == (name,)
        assert f"another mirror fits the network better: its gap is 0.367 with {name}, " in evidence.warnings[-1]
        assert first_remedy(evidence.fit) == f"try {name} in the specification"


@pytest.mark.parametrize("remembers", [True, False])
def test_the_right_point_is_accepted(remembers: bool) -> None:
    evidence = asked(Policy(remembers), POINT, POINT)
    assert evidence.warnings == () and evidence.fit is not None and evidence.fit.doubt == ""
    assert list(blocks_about_means(prepared(Policy(remembers), POINT, POINT), calls_of(seen()))) == []


@pytest.mark.parametrize("remembers", [True, False])
def test_inputs_on_one_side_of_a_right_zero_raise_no_doubt(remembers: bool) -> None:
    """Goals and hands on the left in training, which the network answers as well on the right."""
    to_the_left = MEAN - torch.tensor([0.0, 0.3, 0.0, 0.3, 0.0, 0.3, 0.0, 0.0])
    policy, x = Policy(remembers, to_the_left, 0.0), seen(to_the_left)
    tried = list(blocks_about_means(prepared(policy), calls_of(x)))
    assert len(tried) == 3 and all(ABOUT_THE_MEAN in candidate.name for candidate in tried)
    evidence = asked(policy, x=x)
    assert evidence.warnings == () and evidence.fit is not None and not evidence.fit.is_refuted


def test_what_lies_about_zero_is_not_tried() -> None:
    """The speed is, and the places once they count from the middle."""
    about_zero = MEAN - torch.tensor([0.0, 0.5, 0.0, 0.5, 0.0, 0.5, 0.0, 0.0])
    policy = Policy(True, about_zero, 0.0)
    assert list(blocks_about_means(prepared(policy), calls_of(seen(about_zero)))) == []


def test_blocks_with_different_points_have_each_its_number() -> None:
    away = MEAN + torch.tensor([0.0, 0.0, 0.0, 0.0, 0.0, 1.5, 0.0, 0.0])
    first, *each = blocks_about_means(prepared(Policy(True, away)), calls_of(seen(away)))
    assert first.name.startswith("y of ee.at (0.5), goal (2) of input 0 mirrored at these points (about the mean ")
    assert first.name.endswith("(`reflect: {y: 0.5}`, `reflect: {y: 2}` in each of their entries)")
    assert [candidate.name.partition(" (")[0] for candidate in each] == [
        "y of ee.at of input 0 mirrored at 0.5",
        "y of goal of input 0 mirrored at 2",
    ]


@pytest.mark.parametrize(
    ("mean", "given", "point"),
    [
        (0.52, (), Fraction(1, 2)),
        (0.49, (Fraction(12, 25),), Fraction(12, 25)),  # 0.48, as another block gives it
        (0.41, (), Fraction(2, 5)),
        (1.02, (), Fraction(1)),
        (0.35, (), Fraction(35, 100)),
    ],
)
def test_a_mean_near_a_simple_number_stands_for_it(mean: float, given: tuple[Fraction, ...], point: Fraction) -> None:
    (one, *_) = _points_away(prepared(Policy()), calls_of(seen()))
    assert _simple(replace(one, mean=mean, spread=0.1), given) == point


def test_by_itself_it_is_a_doubt_that_says_what_to_check() -> None:
    name = named("goal", "of the inputs")
    other = MirrorGap(name, 0.12, 0.14, 0.12, 0.86, recenters=True, numbers=500)
    evidence = judged(Comparison(0.66, (other,)), Basis(real=True, trained=True, rows=256))
    assert evidence.fit is not None and not evidence.fit.is_refuted and name in evidence.fit.doubt
    (doubt,) = evidence.warnings
    assert "check where the coordinates of such blocks count from" in doubt and "picture" not in doubt


def test_a_sign_that_leaves_less_than_the_point_stays_the_advice() -> None:
    point = MirrorGap(named("goal", "of the inputs"), 0.3, 0.4, 0.3, 0.8, recenters=True, numbers=500)
    sign = MirrorGap("the other sign of goal.y of input 0", 0.2, 0.25, 0.2, 0.8, numbers=500)
    basis = Basis(real=True, trained=True, rows=256)
    fit = judged(Comparison(0.8, (point, sign)), basis).fit
    assert fit is not None and fit.better == (sign.name,)
    fit = judged(Comparison(0.8, (replace(point, gap=0.2), sign)), basis).fit
    assert fit is not None and fit.is_refuted and fit.better == (point.name,)
