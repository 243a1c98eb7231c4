"""Networks that know one side only: `auto` stops at them, for single calls and sequences; whoever asks is served."""

from __future__ import annotations

import re
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.commands.one_sided import may_act, refuse_by_answers, refuse_one_sided
from chiralize.errors import MirrorError, OneSidedError
from chiralize.graph.mirror import MirrorFit
from chiralize.methods.registry import method_of
from chiralize.problem.preparation import prepare
from chiralize.problem.problem import Problem
from chiralize.problem.request import Request
from chiralize.verification.asymmetry.memory import Memory
from chiralize.verification.asymmetry.records import DataGap
from chiralize.verification.verdicts import Evidence
from tests.support.small_body import POSE, Net, converted, turned

JOINTS, ROWS = 6, 400
WEIGHT = torch.randn(12, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def walk(rows: int = ROWS) -> Tensor:
    """Poses that swing, all joints at their own pace: no noise."""
    time = torch.linspace(0, 60, rows, dtype=torch.float64).reshape(-1, 1, 1)
    pace = torch.linspace(1, 3, 2 * JOINTS, dtype=torch.float64).reshape(JOINTS, 2)
    return (time * pace).sin()


def lopsided(amount: float) -> nn.Module:
    """The pose, and beside it a share that has no symmetry."""
    mixed = nn.Linear(12, 12, bias=False).double()
    with torch.no_grad():
        mixed.weight.copy_(amount * WEIGHT)
    return Net(lambda net, x: x + net.mixed(x.flatten(1)).unflatten(1, (JOINTS, 2)), mixed=mixed).eval()


class Remembering(nn.Module):
    """A pose that follows its input slowly; the state is a buffer."""

    def __init__(self, amount: float) -> None:
        super().__init__()
        self.mixed = lopsided(amount)
        self.register_buffer("pose", torch.zeros(1, JOINTS, 2, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        self.pose.copy_(0.5 * self.pose + 0.5 * x)
        return self.mixed(self.pose)


def auto(amount: float, **options: Any) -> nn.Module:
    return converted(lopsided(amount), method="auto", calibration=walk().split(20), **options)


def along(amount: float, **options: Any) -> nn.Module:
    sequences = [walk()[start : start + 50] for start in (0, 100, 200, 300)]
    return converted(Remembering(amount), shape=(1, JOINTS, 2), method="auto", calibration=sequences, **options)


@pytest.mark.one_in(2)
@pytest.mark.parametrize(
    ("convert", "amount", "bound"), [(auto, 0.15, 0.3), (along, 0.15, 0.5)], ids=["calls", "sequences"]
)
def test_auto_stops_at_a_network_that_knows_one_side(convert: Any, amount: float, bound: float) -> None:
    with pytest.raises(OneSidedError, match=f"auto stops above {bound}") as caught:
        convert(amount)
    assert "--force" in caught.value.remedy and caught.value.exit_status == 1
    assert convert(amount, force=True).chirality.report.drift.gap > bound
    assert convert(0.04).chirality.report.drift.gap < bound


def test_noise_of_training_is_told_from_a_side_and_sent_to_an_average() -> None:
    """The pose and, beside it, ripples that have no symmetry, no mean and no side."""
    ripples = nn.Linear(12, 12, bias=False).double()
    with torch.no_grad():
        ripples.weight.copy_(5 * WEIGHT)
    net = Net(lambda net, x: x + 0.25 * net.ripples(x.flatten(1)).sin().unflatten(1, (JOINTS, 2)), ripples=ripples)
    with pytest.raises(OneSidedError) as caught:
        converted(net.eval(), method="auto", calibration=walk().split(20))
    average = converted(net.eval(), method="average", calibration=walk().split(20))
    assert average.chirality.report.passed and average.chirality.report.drift.gap > 0.3
    pattern = r"auto stops above 0.3, but it leans to no side \(lean 0; a side shows from 0.12 on\): .* removes it"
    assert re.search(pattern, caught.value.facts)
    first = "with --method average, which needs no --force, convert, and compare the error on labelled samples"
    assert caught.value.remedy.startswith(first) and "reduce" not in caught.value.remedy


def test_an_output_that_alone_stops_it_is_asked_about() -> None:
    """The first of two poses is equivariant."""
    net = Net(lambda net, x: (net.plain(x), net.mixed(x)), plain=lopsided(0.0), mixed=lopsided(0.15)).eval()
    spec = POSE.replace("outputs: [", 'outputs: [{layout: "b j d"}, ')
    with pytest.raises(OneSidedError) as caught:
        converted(net, spec, method="auto", calibration=walk().split(20))
    assert "; output 1 alone is " in caught.value.facts
    assert caught.value.remedy.startswith("if output 1 is not used, or was not trained in all entries, leave it out")


def test_no_output_is_blamed_where_the_data_are_one_sided() -> None:
    net = Net(lambda net, x: (net.plain(x), net.mixed(x)), plain=lopsided(0.0), mixed=lopsided(0.12)).eval()
    spec = POSE.replace("outputs: [", 'outputs: [{layout: "b j d"}, ')
    one_side = walk()
    one_side[:, :2, 1] += torch.tensor([1.5, -1.5])
    with pytest.raises(OneSidedError, match="the data themselves are one-sided") as caught:
        converted(net, spec, method="auto", calibration=one_side.split(20))
    assert "is not used" not in caught.value.remedy


def test_methods_that_the_graph_rules_out_are_not_advised() -> None:
    """Powers of coordinates that the mirror negates have no one pass."""
    net = lopsided(0.15)
    bent = Net(lambda net, x: net.plain(x) + 0.1 * x.exp(), plain=net).eval()
    with pytest.raises(OneSidedError) as caught:
        converted(bent, method="auto", calibration=walk().split(20))
    assert "one pass is ruled out at small_body.py:" in caught.value.remedy
    assert "reduce, match" not in caught.value.remedy


@pytest.mark.one_in(3)
@pytest.mark.parametrize("method", ["average", "match", "project"])
def test_whoever_asks_for_a_method_is_served_and_told(method: str) -> None:
    made = converted(lopsided(0.15), method=method, calibration=walk().split(20), force=True)
    assert "the original's gap is " in made.chirality.report.verdict


def test_noise_stops_nothing() -> None:
    """Noise shows nothing of a network: gaps are large on it whatever it has learned."""
    noise = torch.randn(ROWS, JOINTS, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    made = converted(lopsided(0.15), method="auto", calibration=noise.split(20))
    assert made.chirality.report.drift.gap > 0.3


def normalised(lean: float) -> nn.Module:
    """The pose in units of its spread in training, ten times that of `walk`, and a lean that is the same everywhere.

    The first layer keeps mean and spread.
    """
    norm = nn.BatchNorm1d(12, affine=False, eps=0.0).double()
    norm.running_mean.zero_()
    norm.running_var.fill_(50.0)
    leaning = torch.zeros(JOINTS, 2, dtype=torch.float64)
    leaning[1:3] = lean
    return Net(
        lambda net, x: net.norm(x.flatten(1)).unflatten(1, (JOINTS, 2)) + net.leaning, norm=norm, leaning=leaning
    ).eval()


def gap_on(net: nn.Module, x: Tensor) -> float:
    """RMS(f(x) - T f(T x)) over the spread of f(x), by torch alone."""
    answers = net(x)
    apart = answers - turned(net(turned(x)))
    return float(apart.square().mean().sqrt() / (answers - answers.mean(0)).square().mean().sqrt())


@pytest.mark.parametrize(("lean", "is_refused"), [(0.08, False), (0.8, True)])
def test_narrow_inputs_stop_nothing_where_the_sides_are_near_further_out(lean: float, is_refused: bool) -> None:
    """The same difference is much of the spread of these inputs, and little of that which the network remembers.

    0.8 is much of either.
    """
    net = normalised(lean)
    calls = [((x,), {}) for x in walk().split(20)]
    problem = Problem.of(
        prepare(net, parse_spec(POSE), (walk(3),)), Request("auto", calibration=calls), method_of("auto")
    )
    assert gap_on(net, walk()) > 0.3 and (gap_on(net, 10 * walk()) > 0.3) == is_refused
    with pytest.raises(OneSidedError) if is_refused else nullcontext():
        refuse_one_sided(problem, "net", Evidence(fit=MirrorFit(0.4, real=True)))


def test_the_message_says_what_narrow_inputs_do() -> None:
    """Nothing else tells frontal faces: what a network keeps of every entry is spread alike by where the face is."""
    leaning = torch.zeros(JOINTS, 2, dtype=torch.float64)
    leaning[1:3] = 0.4
    net = Net(lambda net, x: x + net.leaning, leaning=leaning).eval()
    with pytest.raises(OneSidedError) as caught:
        converted(net, method="auto", calibration=walk().split(20))
    assert re.search(r"of its spread apart \(off by 0\.\d+ in the output's unit\), and auto stops", caught.value.facts)
    narrow = "where these inputs are narrower than those in use (frontal faces, straight walks), give wider ones, since"
    assert caught.value.remedy.startswith(narrow)


def test_the_message_has_one_gap_that_of_all_inputs() -> None:
    """Few inputs are looked at first. Where they differ from the rest, two figures would stand in one sentence."""
    rows = walk(1000)
    rows[:, 0] += 1.5 * (torch.arange(1000) % 4 == 1).double()[:, None]  # every fourth is another: few come among 256
    with pytest.raises(OneSidedError) as caught:
        converted(lopsided(0.12), method="auto", calibration=rows.split(20))
    sides = re.findall(r"sides are ([0-9.]+) of its spread apart", caught.value.facts)
    gaps = re.findall(r"gap ([0-9.]+);", caught.value.facts)
    assert len(gaps) == 1 and sides == gaps


def test_numbers_of_another_unit_are_named_before_other_mirrors() -> None:
    """Of a network without any symmetry."""
    remedies: list[str] = []
    for unit in (1, 1000):
        with pytest.raises(MirrorError) as caught:
            converted(lopsided(3.0), method="auto", calibration=(unit * walk()).split(20))
        remedies.append(caught.value.remedy)
    unit = "check the unit of the inputs first, which reach 1e+03 (pixels, millimetres, degrees?); then "
    assert remedies[1] == unit + remedies[0]


@pytest.mark.parametrize(
    ("body", "outputs", "is_policy"),
    [
        ("dims: [q]\nnegate: []", "[{fields: [{joints: action}]}]", True),
        ("dims: [q]\nnegate: []", "[{fields: [{scalar: 6, name: action}]}]", True),
        (
            "dims: [x, y]\nnegate: x",
            "[{fields: [{scalar: [speed, area]}, {signs: {turn: -1, bend: -1, a: 1, b: 1}}]}]",
            False,
        ),
        ("dims: [x, y]\nnegate: x", "[{fields: [{joints: torque, kind: scalar}]}]", True),
        ("dims: [x, y]\nnegate: x", "[{invariant: true}]", False),
    ],
)
def test_an_environment_is_asked_of_policies_alone(body: str, outputs: str, is_policy: bool) -> None:
    """A forecaster of named features has none."""
    joints = "joints: [hip, l_arm, l_leg, r_arm, r_leg, head]\npairs: [[l_arm, r_arm], [l_leg, r_leg]]\n"
    size = 6 if "q" in body else 12
    spec = parse_spec(f"{joints}{body}\ninputs: [{{fields: [{{joints: q}}]}}]\noutputs: {outputs}\n")
    network = prepare(nn.Linear(size, 6).double(), spec, (torch.randn(3, size).double(),))
    assert may_act(network) == is_policy


def test_inputs_that_are_not_centred_are_named_before_the_side() -> None:
    """Pixels without `reflect`: all poses lie to one side of 0, where T mirrors them."""
    pixels = walk().mul(0.1).add(torch.tensor([3.0, 0.0]))
    with pytest.raises((OneSidedError, MirrorError)) as caught:
        converted(lopsided(0.15), method="auto", calibration=pixels.split(20))
    assert caught.value.remedy.startswith("x of input 0 is 3 in the mean, and T mirrors it at 0: where its mirror is ")


def test_a_point_in_doubt_comes_before_an_output_that_alone_stops_it() -> None:
    """Joints from the middle of their pose, which no point changes, and where in a picture of 640 columns it is."""
    generator = torch.Generator().manual_seed(0)
    places = 100 * torch.randn(ROWS, 1, 2, generator=generator).double()
    poses = 320 + places - places.mean(0) + 30 * torch.randn(ROWS, JOINTS, 2, generator=generator).double()
    side = nn.Linear(1, 1).double()
    nn.init.constant_(side.weight, 1.3)
    nn.init.constant_(side.bias, 0.01)

    def parts(net: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        """Both outputs."""
        return x - x.mean(1, keepdim=True), net.side(x[..., 0].mean(1, keepdim=True) / 100 - 3.2).tanh()

    outputs = 'outputs: [{layout: "b j d"}, {fields: [{signs: {turn: -1}, name: turn}]}]'
    spec = POSE.partition("inputs:")[0] + f'inputs: [{{layout: "b j d", reflect: {{x: 290}}}}]\n{outputs}\n'
    with pytest.raises(OneSidedError) as caught:
        converted(Net(parts, side=side).eval(), spec, method="auto", calibration=poses.split(20))
    assert caught.value.remedy.startswith(
        "look at the nearest mirror first (the gap is 0.00555 with x mirrored at 319 (about the mean of the inputs) "
        "instead of 290, 0.673 with T); "
    )


class Normalised(nn.Module):
    """A nearly symmetric answer to poses that a normaliser of its own has scaled, by what both sides share."""

    def __init__(self) -> None:
        super().__init__()
        self.mixed = lopsided(0.04)
        self.register_buffer("mean", torch.tensor([0.0, 0.1], dtype=torch.float64).expand(JOINTS, 2).clone())
        self.register_buffer("std", torch.tensor([0.7, 0.9], dtype=torch.float64).expand(JOINTS, 2).clone())

    def forward(self, x: Tensor) -> Tensor:
        return self.mixed((x - self.mean) / self.std)


@pytest.mark.parametrize(("net", "is_left_alone"), [(Normalised, False), (lambda: lopsided(0.04), True)])
def test_inputs_of_one_side_where_both_are_remembered(net: Any, is_left_alone: bool) -> None:
    """One person can be told from the mirror image; that says nothing of a network that was trained on both sides."""
    person = walk()
    person[:, 1, 1] += 1.5
    result = converted(net(), method="match", calibration=person.split(20), rounds=0, force=True)
    alone = "fitted to the answers to unmirrored inputs alone"
    assert any(note.startswith(alone) for note in result.chirality.report.notes) == is_left_alone


@pytest.mark.parametrize(("mirrored", "first"), [(-9.0, True), (-3.0, False)])
def test_a_mean_in_training_that_no_side_explains_is_checked_first(mirrored: float, first: bool) -> None:
    """Of a network that T is wrong for, and that nothing else fits."""
    gap = DataGap("hip.x", 1.0, mirrored, 1.0)
    evidence = Evidence(fit=MirrorFit(2.0, real=True))
    network = prepare(lopsided(0.04), parse_spec(POSE), (torch.zeros(3, JOINTS, 2, dtype=torch.float64),))
    problem = Problem.of(network, Request("auto"), method_of("auto"))
    with pytest.raises(MirrorError) as caught:
        refuse_by_answers(problem, "net", evidence, Memory(gaps=(gap,), keeper="norm"), is_tried=False)
    told = "check the order, the pairs and the signs at hip.x first, whose mean in training is 10 spreads from"
    assert caught.value.remedy.startswith(told) == first
