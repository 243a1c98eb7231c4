"""A network that was trained on one side, and whose normaliser remembers it, is fitted to what it learned there."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.commands.audit import audit
from chiralize.commands.one_sided import are_sides_unknown, recalled, with_consequence, with_sides
from chiralize.methods.known_side import on_known_side
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from chiralize.problem.problem import Problem
from chiralize.problem.request import Request
from chiralize.verification.evidence import joined
from chiralize.verification.verdicts import Evidence
from tests.support.problems import posed
from tests.support.small_body import POSE, Net, converted, normal, turned

HIP, X = 0, 0
"""The entry that shows the side: T negates it."""
SIDE = torch.zeros(6, 2, dtype=torch.float64)
SIDE[HIP, X] = 1.0
"""The mean in training."""
SPREAD = torch.full((6, 2), 0.5, dtype=torch.float64)
SPREAD[HIP, X] = 0.4


def swings(rows: int = 600) -> Tensor:
    """Poses that swing about a middle, all joints at their own pace: no noise, both sides."""
    time = torch.linspace(0, 90, rows, dtype=torch.float64).reshape(-1, 1, 1)
    return (time * torch.linspace(1, 3, 12, dtype=torch.float64).reshape(6, 2)).sin()


class OneSided(nn.Module):
    """The pose as it is where hip.x > 0; else junk beside it, which grows with -hip.x. In exact ReLU layers."""

    def __init__(self, mean: Tensor = SIDE, spread: Tensor = SPREAD) -> None:
        super().__init__()
        self.register_buffer("mean", mean.clone())
        self.register_buffer("spread", spread.clone())
        self.first, self.last = nn.Linear(12, 25).double(), nn.Linear(25, 12).double()
        one, flat = torch.eye(12, dtype=torch.float64), spread.flatten()
        side = torch.zeros(1, 12, dtype=torch.float64)
        side[0, 0] = -1.0
        weight = torch.cat([one, -one, side])
        with torch.no_grad():
            self.first.weight.copy_(weight * flat)
            self.first.bias.copy_(weight @ mean.flatten())
            self.last.weight.copy_(torch.cat([one, -one, 0.2 * normal(12, 1, seed=3)], 1))
            self.last.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        z = ((x - self.mean) / self.spread).flatten(1)
        return self.last(self.first(z).relu()).view_as(x)


@cache
def network(mean: Tensor = SIDE) -> Network:
    return prepare(OneSided(mean).eval(), parse_spec(POSE), (normal(3, 6, 2),))


def problem(x: Tensor, method: str = "reduce", mean: Tensor = SIDE) -> Problem:
    calls = tuple(((part,), {}) for part in x.split(50))
    net = network(mean)
    return with_sides(posed(net, Request(method, calibration=calls)), recalled(net))


def given(found: Problem) -> Tensor:
    return torch.cat([args[0] for args, _ in found.batches.given])


@cache
def made(method: str) -> nn.Module:
    return converted(OneSided().eval(), method=method, calibration=swings().split(50), force=True, rounds=0)


def test_inputs_are_turned_to_the_side_that_was_trained_on() -> None:
    x = swings()
    found = given(on_known_side(problem(x)))
    assert (found[:, HIP, X] >= 0).all()
    for row, before, after in zip(x[:, HIP, X], x, found, strict=True):
        assert torch.equal(after, before if row >= 0 else turned(before))


def test_both_sides_end_at_the_same_inputs() -> None:
    x = swings()
    assert torch.equal(given(on_known_side(problem(turned(x)))), given(on_known_side(problem(x))))


def test_a_network_that_saw_both_sides_is_left_alone() -> None:
    """1.9 spreads to one side are chance."""
    for side in (0.0, 1.9 * 0.4 / 2):
        found = problem(swings(), mean=side * SIDE)
        assert not found.one_sided and not found.batches.remarks
        assert on_known_side(found) is found


def test_the_result_does_what_was_learned_and_no_flip_average() -> None:
    """On the known side the network answers the pose itself; its average adds half of the junk of the other side."""
    x = swings()
    x = torch.where((x[:, HIP, X] < 0)[:, None, None], turned(x), x)
    with torch.no_grad():
        junk = float((made("average")(x) - x).square().mean().sqrt())
        for method in ("reduce", "match"):
            assert (made(method)(x) - x).square().mean().sqrt() <= 0.1 * junk, method


def test_every_result_is_warned_of_and_promises_nothing() -> None:
    warning = (
        "warning: the original saw one side in training: in its normaliser (mean, spread) hip.x is 1 in the mean, and "
        "-1 in its mirror image, 5 spreads apart (or T is not its mirror: check its pair and its sign). Unless it saw "
        "mirrored copies, what it answers on the other side are "
    )
    for method in ("reduce", "average"):
        report = made(method).chirality.report
        assert any(note.startswith(warning) for note in report.notes)
        assert "the original saw one side in training" in report.verdict and "few percent" not in report.verdict
    notes = audit(network(), "net", [((part,), {}) for part in swings().split(50)]).notes
    assert any(note.startswith(warning) for note in notes)


def test_inputs_of_one_side_are_warned_of() -> None:
    """Those of a network that remembers both sides: of a swing about one side, and of one that never moves from it."""
    for side in (swings() * (1 - 0.9 * SIDE) + SIDE, swings() * (1 - SIDE) + SIDE):
        (remark,) = problem(side, mean=0 * SIDE).batches.remarks
        assert remark.startswith(
            "warning: the calibration inputs show one side: hip.x is 1 in the mean, and -1 in its mi"
        )
        (fitted,), (averaged,) = with_consequence((remark,), False), with_consequence((remark,), True)
        assert fitted.startswith(remark) and "does on the other side what the original does on this one" in fitted
        assert averaged.startswith(remark) and "an average mixes what the original does on this side with" in averaged
        assert with_consequence(("another remark",), True) == ["another remark"]
        assert not problem(side, "average", 0 * SIDE).batches.remarks  # which is the flip average on any inputs
    assert not problem(swings(), mean=0 * SIDE).batches.remarks


def test_what_nothing_tells() -> None:
    """Of a policy that keeps no statistics; poses would show it by a wide gap, a normaliser by its means."""
    torques = POSE.replace('outputs: [{layout: "b j d"}]', "outputs: [{fields: [{signs: [-1, 1], name: torque}]}]")
    plain = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).double()
    kept = Net(lambda net, x: net.plain((x - net.mean) / net.spread), plain=plain, mean=SIDE, spread=SPREAD)
    poses = nn.Sequential(nn.Flatten(), nn.Linear(12, 12), nn.Unflatten(1, (6, 2))).double()
    flat = nn.Sequential(nn.Flatten(), nn.Linear(12, 12)).double()
    joints = POSE.replace('outputs: [{layout: "b j d"}]', "outputs: [{fields: [{joints: pose}]}]")
    scores = POSE.replace('outputs: [{layout: "b j d"}]', "outputs: [{invariant: true}]")
    cases = (
        (plain, torques, True),
        (kept, torques, False),
        (poses, POSE, False),
        (flat, joints, False),
        (plain, scores, False),
    )
    for net, spec, unknown in cases:
        found = prepare(net.eval(), parse_spec(spec), (normal(3, 6, 2),))
        assert are_sides_unknown(found, recalled(found)) is unknown
    evidence = joined(Evidence(are_sides_unknown=True), Evidence())
    assert evidence.are_sides_unknown and not joined(Evidence(), Evidence()).are_sides_unknown
