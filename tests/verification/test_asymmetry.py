"""What `audit` measures: planted asymmetries are named, symmetric things are not; and what it advises."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiralize import audit, chiralize
from chiralize.body.tensors import parse_spec
from chiralize.errors import ChiralizeError, UsageError
from chiralize.graph.mirror import AgainstNames, MirrorFit
from chiralize.graph.running import Call
from chiralize.report import AuditReport
from chiralize.verification.asymmetry import advise
from chiralize.verification.asymmetry.layers import involution_gap
from chiralize.verification.asymmetry.records import Asymmetry, DataGap, LayerGap, Leaning, OutputGap, Spread
from chiralize.verification.asymmetry.spreads import Spreads
from chiralize.verification.evidence.noise import looks_real
from chiralize.verification.verdicts import Evidence
from tests.support.reduce_nets import Recurrent, Residual, Temporal
from tests.support.small_body import BODY, CLIP, IMAGE, POSE, Net, normal, trained, turned

ROUNDING = 1e-5  # activations are kept in float32


def equivariant(net: nn.Module, spec: str, x: Tensor) -> nn.Module:
    return chiralize(trained(net), parse_spec(spec), (x[:8],), method="match", force=True, max_drift=1e9)


def audited(net: nn.Module, spec: str, x: Tensor, **more: Any) -> AuditReport:
    return audit(net, parse_spec(spec), (x[:8],), calibration=x, **more)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("layout", ["b j d d", "b j (d d)"])
def test_rotation_matrices(layout: str) -> None:
    """Networks that answer by one matrix for each joint convert, and are audited by their joints."""
    shape = (6, 2, 2) if layout.endswith("d d") else (6, 4)
    parts = {"up": nn.Linear(12, 32), "down": nn.Linear(32, 24)}
    net = Net(lambda own, x: own.down(own.up(x.flatten(1)).relu()).view(-1, *shape), **parts)
    spec = f"{BODY}inputs: [{{layout: 'b j d'}}]\noutputs: [{{layout: '{layout}'}}]\n"
    own, x = equivariant(net, spec, normal(48, 6, 2)), normal(48, 6, 2)
    sign = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=x.dtype).view(shape[1:])
    with torch.no_grad():
        assert torch.allclose(own(turned(x)), own(x)[:, list(IMAGE)] * sign, rtol=0, atol=1e-9)
        lengths = (net(x) - net(turned(x))[:, list(IMAGE)] * sign).reshape(48, 6, 4).norm(dim=-1)
    found = audited(net, spec, x).network.outputs[0]
    assert float(lengths.mean()) == pytest.approx(found.apart, rel=1e-4)


@pytest.mark.parametrize("output", ["{invariant: true}", "{free: true}", '{layout: "b", invariant: true}'])
def test_one_number_for_each_sample(output: str) -> None:
    """Samples are no entries of it, whatever sizes the batches have: a score beside a pose."""
    down, score = nn.Linear(12, 12), nn.Linear(12, 1)
    net = trained(
        Net(lambda own, x: (own.score(x.flatten(1))[:, 0], own.down(x.flatten(1)).view_as(x)), down=down, score=score)
    )
    spec = parse_spec(BODY + f'inputs: [{{layout: "b j d"}}]\noutputs: [{output}, {{layout: "b j d"}}]\n')
    x = normal(45, 6, 2)
    calls = [x[:30], x[30:]]
    found = audit(net, spec, (x[:8],), calibration=calls).network
    with torch.no_grad():
        apart = (net(x)[0] - net(turned(x))[0]).abs()
        spread = net(x)[0].std(correction=0)
    of_score = [pair for pair in found.pairs if pair.output == 0]
    assert [pair.label for pair in of_score] == ["output 0 [0]"]
    assert of_score[0].apart == pytest.approx(float(apart.mean()), rel=1e-5)
    assert found.outputs[0].gap == pytest.approx(float(apart.square().mean().sqrt() / spread), rel=1e-5)
    assert {entry.label for entry in found.entries if not entry.label.count(".")} <= {"[0]"}


class Changed(nn.Module):
    """A network whose answers are changed at one entry."""

    def __init__(self, inner: nn.Module, entry: tuple[int, ...], by: float) -> None:
        super().__init__()
        self.inner, self.mask = inner, torch.zeros(6, 2)
        self.mask[entry] = by

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + self.mask.to(x.dtype)


LAYERED = {
    "residual": (Residual, POSE, (256, 6, 2), ("first", "up", "down", "last")),
    "temporal": (Temporal, CLIP, (64, 9, 6, 2), ("first", "wide", "far", "last")),
}


@cache
def symmetric(kind: str) -> nn.Module:
    """An equivariant network, in which no layer is lopsided; to be copied before it is changed."""
    build, spec, sizes, _ = LAYERED[kind]
    net = equivariant(build(), spec, normal(*sizes))
    assert all(own.after < ROUNDING for own in audited(net, spec, normal(*sizes)).layers)
    return net


# ---- outputs --------------------------------------------------------------------------------------------------------
@pytest.mark.one_in(4)
@pytest.mark.parametrize(
    ("entry", "name"), [((3, 1), "l_arm/r_arm"), ((2, 0), "l_leg/r_leg"), ((0, 0), "hip"), ((5, 0), "head")]
)
def test_the_lopsided_pair_is_named_in_units_of_the_output(entry: tuple[int, int], name: str) -> None:
    """An arm that is 0.5 too high is 0.5 from T of the other arm, in every sample."""
    found = audited(Changed(symmetric("residual"), entry, 0.5), POSE, normal(60, 6, 2))
    first, *others = found.network.pairs
    centre = name in ("hip", "head")  # x of a centre joint against itself: both copies of the change count
    assert first.label == name and first.apart == pytest.approx(1.0 if centre else 0.5, abs=1e-9)
    assert all(own.gap < 1e-9 for own in others)
    assert found.network.outputs[0].apart == pytest.approx(first.apart * (1 if centre else 2) / 6, abs=1e-9)


def test_the_lopsided_class_pair_is_named_and_changed_answers_are_counted() -> None:
    spec = BODY + (
        'inputs: [{layout: "b j d"}]\noutputs: [{classes: {swap: [[wave_l, wave_r]], names: [sit, wave_l, wave_r]}}]\n'
    )

    class Scores(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            arms = x[:, 1, 1], x[:, 3, 1]
            return torch.stack([0 * arms[0] - 9, arms[0], arms[1] + 0.25], 1)

    x = normal(400, 6, 2)
    found = audited(Scores(), spec, x).network
    assert [own.label for own in found.pairs] == ["wave_l/wave_r", "sit"]
    scores = Scores()(x)
    back = Scores()(turned(x))[:, [0, 2, 1]]
    apart = (scores.softmax(1) - back.softmax(1)).abs().mean(0)  # as probabilities
    assert found.pairs[0].apart == pytest.approx(float(apart[1:].mean()), rel=1e-5)
    assert found.pairs[1].apart == pytest.approx(float(apart[0]), rel=1e-5)
    assert found.outputs[0].changed == pytest.approx(float((scores.argmax(1) != back.argmax(1)).double().mean()))


def test_several_outputs_are_told_apart() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x + torch.tensor([0.0, 1.0]) * (torch.arange(6) == 1)[:, None]

    spec = BODY + 'inputs: [{layout: "b j d"}]\noutputs: [{layout: "b j d"}, {layout: "b j d"}]\n'
    found = audited(Two(), spec, normal(64, 6, 2)).network
    assert found.pairs[0].label == "output 1 l_arm/r_arm" and all(own.gap == 0 for own in found.pairs[1:])


# ---- layers ---------------------------------------------------------------------------------------------------------
@pytest.mark.one_in(4)
@pytest.mark.parametrize(("kind", "layer"), [(kind, layer) for kind in LAYERED for layer in LAYERED[kind][3]])
def test_the_lopsided_layer_is_named(kind: str, layer: str) -> None:
    """Noise on one weight of an equivariant network: it begins there, and nothing before is lopsided."""
    _, spec, sizes, _ = LAYERED[kind]
    net = copy.deepcopy(symmetric(kind))
    with torch.no_grad():
        weight = net.get_parameter(f"{layer}.weight")
        weight += 0.3 * weight.std() * normal(*weight.shape, seed=1)
    report = audited(net, spec, normal(*sizes))
    found, begins = report.layers, report.begins
    assert begins is not None and begins.module == layer
    place = found.index(begins)
    assert all(max(own.before, own.after) < ROUNDING for own in found[:place])
    assert begins.before < ROUNDING and begins.after > 0.02


def test_a_recurrent_layer_is_one_line() -> None:
    x = normal(128, 5, 6, 2)
    found = audited(trained(Recurrent(nn.GRU)), CLIP, x).layers
    assert len({(own.module, own.op) for own in found}) == len(found) and found[0].after > 0.01


def test_any_involution_explains_its_own_image() -> None:
    """a O for a random orthogonal involution is explained to rounding; what has nothing to do with a is not."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(12, 12, generator=generator, dtype=torch.float64))[0]
    involution = basis * torch.tensor([1.0] * 7 + [-1.0] * 5) @ basis.T
    a = torch.randn(400, 12, generator=generator, dtype=torch.float64) @ torch.diag(torch.linspace(0.1, 3, 12).double())
    assert involution_gap(a + 0.5, (a + 0.5) @ involution) < 1e-7
    other = torch.randn(400, 12, generator=generator, dtype=torch.float64)
    assert involution_gap(torch.randn(400, 12, generator=generator, dtype=torch.float64), other) > 1.2
    assert involution_gap(torch.ones(64, 3), torch.ones(64, 3)) == 0


@pytest.mark.thorough
def test_the_last_layer_is_no_more_lopsided_than_the_output() -> None:
    """The best involution explains at least what T does."""
    x = normal(1024, 6, 2)
    net = copy.deepcopy(symmetric("residual"))
    with torch.no_grad():
        for weight in net.parameters():
            weight += (
                0.03 * weight.std() * torch.randn(weight.shape, generator=torch.Generator().manual_seed(2)).to(weight)
            )
    found = audited(net, POSE, x)
    assert 0.3 * found.network.gap < found.layers[-1].after < 1.1 * found.network.gap


def test_few_samples_give_no_figures_of_layers() -> None:
    x = normal(32, 6, 2)
    found = audited(trained(Residual()), POSE, x)
    assert found.layers == () and "64 samples" in "".join(found.notes)


# ---- data -----------------------------------------------------------------------------------------------------------
def leaning(x: Tensor, labels: Sequence[str] = ()) -> tuple[Leaning, ...]:
    return audited(nn.Identity(), POSE, x, labels=labels).leanings


def test_symmetric_data_lean_to_no_side_and_lopsided_ones_do_by_label() -> None:
    x = normal(400, 6, 2)
    labels = ["both", "one"] * 200
    assert leaning(x)[0].side == pytest.approx(0.5, abs=0.1)
    x[1::2, 3, 1] += 3.0  # the right arm is up
    everything, first, second = leaning(x, labels)
    assert (everything.label, everything.samples) == (None, 400)
    assert (first.label, first.samples) == ("one", 200) and first.side is not None and first.side > 0.95
    assert second.label == "both" and second.side == pytest.approx(0.5, abs=0.12)
    # the means of both arms are 3 from each other, in 2 of 6 joints
    assert first.apart == pytest.approx(1.0, abs=0.2) and second.apart < 0.25 and first.gap > 4 * second.gap


def test_symmetric_sequences_lean_to_no_side() -> None:
    """Means over frames; a sample and its mirror image side by side are exactly symmetric on the whole."""
    x = normal(100, 7, 6, 2)
    found = audited(nn.Identity(), CLIP, torch.stack([x, turned(x)], 1).flatten(0, 1)).leanings[0]
    assert found.samples == 200 and found.apart < 1e-12 and found.gap < 1e-12


def test_a_pose_for_a_whole_batch() -> None:
    """An input without a batch axis is that of every sample of its call."""
    spec = BODY + 'inputs: [{layout: "b j d"}, {layout: "j d"}]\noutputs: [{layout: "b j d"}]\n'

    class Beside(nn.Module):
        def forward(self, x: Tensor, rest: Tensor) -> Tensor:
            return x + rest

    data = [(normal(4, 6, 2, seed=seed), normal(6, 2, seed=100 + seed)) for seed in range(30)]
    found = audit(Beside(), parse_spec(spec), data[0], calibration=data)
    assert found.leanings[0].samples == 120
    alone = audit(nn.Identity(), parse_spec(BODY + 'inputs: [{layout: "j d"}]\noutputs: [{layout: "j d"}]\n'),
                  (data[0][1],), calibration=[own[1:] for own in data])  # fmt: skip
    assert alone.leanings[0].samples == 30


def test_few_samples_have_no_side() -> None:
    assert leaning(normal(32, 6, 2))[0].side is None


def test_labels_must_fit() -> None:
    x = normal(64, 6, 2)
    with pytest.raises(UsageError, match="--labels: 3 labels, the data hold 64 samples"):
        audited(nn.Identity(), POSE, x, labels=["a", "b", "c"])
    with pytest.raises(UsageError, match="no data that they could belong to"):
        audit(nn.Identity(), parse_spec(POSE), (x[:8],), labels=["a"])
    found = audit(nn.Identity(), parse_spec(POSE), (x[:5],), calibration=x, labels=[place % 2 for place in range(64)])
    assert [own.samples for own in found.leanings] == [60, 30, 30], "four fill no batch, and their labels go with them"


# ---- spread ---------------------------------------------------------------------------------------------------------
class Shrinks(nn.Module):
    """Answers by so much less where the right arm is the higher one."""

    def __init__(self, less: float) -> None:
        super().__init__()
        self.less = less

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.where(x[:, 1:2, 1:] > x[:, 3:4, 1:], 1.0, 1.0 - self.less)


def one_armed(count: int) -> Tensor:
    x = normal(count, 6, 2)
    return torch.where(x[:, 1:2, 1:] > x[:, 3:4, 1:], x, turned(x))


@pytest.mark.one_in(24)
@pytest.mark.parametrize(("less", "differs"), [(0.0, False), (0.005, False), (0.1, True), (-0.1, True)])
def test_spread(less: float, differs: bool) -> None:
    found = audited(Shrinks(less), POSE, one_armed(2000))
    (output,) = found.network.outputs
    assert output.spread is not None and output.spread.differs == differs and output.spread is found.network.spread
    assert output.spread.ratio == pytest.approx(1 - less, abs=4 * output.spread.error + 1e-6)


@pytest.mark.one_in(8)
@pytest.mark.parametrize("sizes", [[2000], [1] * 2000, [7] * 200 + [600], [1000, 1000]])
def test_standard_error(sizes: list[int]) -> None:
    """Of independent samples it is what their number says, however they come in blocks."""
    draw = torch.Generator().manual_seed(1)
    errors, ratios = [], []
    for _ in range(12):
        sums = Spreads()
        for part in torch.randn(2000, 2, generator=draw, dtype=torch.float64).split(sizes):
            sums.add(5 + part[:, :1], 3 - 2 * part[:, 1:])
        found = sums.result()
        assert found is not None
        errors.append(found.error)
        ratios.append(math.log(found.ratio))
    assert len(sums.rows) <= 64 and sum(sums.rows) == 2000
    assert torch.tensor(ratios).mean() == pytest.approx(math.log(2), abs=0.02)
    assert sum(errors) / 12 == pytest.approx(1 / math.sqrt(2000), rel=0.2)
    assert torch.tensor(ratios).std() == pytest.approx(1 / math.sqrt(2000), rel=0.4)


def test_the_output_that_differs_counts() -> None:
    """By more than chance, though another is further off by chance."""
    sure, chance = Spread(1.08, 0.005), Spread(1.1, 0.2)
    gaps = [OutputGap(place, 0.4, 0.1, spread=own) for place, own in enumerate((chance, sure))]
    assert Asymmetry(tuple(gaps), (), 100).spread is sure and Asymmetry(tuple(gaps[:1]), (), 100).spread is chance


def test_spread_of_numbers() -> None:
    """Of one number a sample it is that of a column."""
    own, turned = normal(300), normal(300, seed=1)
    numbers, column = Spreads(), Spreads()
    numbers.add(own, turned)
    column.add(own[:, None], turned[:, None])
    assert numbers.result() == column.result() is not None


def test_no_spread() -> None:
    sums = Spreads()
    sums.add(torch.ones(40, 3), torch.zeros(40, 3))
    assert sums.result() is None
    silent = Spreads()  # on one side alone
    silent.add(torch.randn(40, 3), torch.zeros(40, 3))
    found = silent.result()
    assert found is not None and found.ratio == pytest.approx(1e-6) and found.differs
    one = Spreads()
    one.add(torch.randn(1, 3), torch.randn(1, 3))
    assert one.result() is None
    two = Spreads()
    two.add(torch.randn(2, 3), torch.randn(2, 3))
    assert two.result() is not None and not two.result().differs


# ---- advice ---------------------------------------------------------------------------------------------------------
NET = Asymmetry((OutputGap(0, 0.13, 0.1, 0.02),), (), 100)
SAME = Asymmetry((OutputGap(0, 1e-9, 0.1),), (), 100)
LESS, ALIKE, CHANCE = Spread(0.9, 0.01), Spread(0.99, 0.001), Spread(0.9, 0.1)
FAIR = Asymmetry((OutputGap(0, 0.4, 0.1, 0.1, None, LESS),), (), 100)
BAD = Asymmetry((OutputGap(0, 0.7, 0.1, 0.2, None, LESS),), (), 100)
NOISY = Asymmetry((OutputGap(0, 0.7, 0.1, 0.2, None, ALIKE),), (), 100)
NOISIER = Asymmetry((OutputGap(0, 0.4, 0.1, 0.2, None, CHANCE),), (), 100)
BOTH, ONE = Leaning(None, 100, 0.01, 0.02, 0.58), Leaning(None, 100, 0.1, 0.2, 0.94)
DOUBT = Evidence((), ("the original fits another mirror better",))
GAPS = (DataGap("left_hip.x", 0.1, -0.1, 0.3),)


@pytest.mark.parametrize(
    ("found", "evidence", "real", "lean", "kind", "words"),
    [
        (
            Asymmetry((OutputGap(0, 1e-9, 0.1),), (), 9),
            Evidence(),
            True,
            BOTH,
            "equivariant",
            "commutes with the mirror",
        ),
        (NET, Evidence(), True, BOTH, "convert", "converting is sensible: .*gap 0.13"),
        (NET, Evidence(), False, None, "convert", "as far as random inputs tell"),
        (NET, DOUBT, True, BOTH, "convert", "converting is sensible"),
        (
            FAIR,
            Evidence(),
            True,
            BOTH,
            "uneven",
            "left and right unequally: its flip average, .* may err more .*gap 0.4;",
        ),
        (FAIR, DOUBT, True, BOTH, "uneven", "or T is not its mirror: the original fits another"),
        (FAIR, DOUBT, False, None, "convert", "as far as random inputs tell"),
        (NET, Evidence(), True, ONE, "one-sided data", "94 % of 100 samples .*most in left_hip.x.*own gap is 0.13"),
        (
            BAD,
            Evidence(),
            True,
            ONE,
            "one-sided data",
            "knows that side only .*or order: .*average two different answers",
        ),
        (
            BAD,
            DOUBT,
            True,
            ONE,
            "one-sided data",
            "T may not be its mirror: the original fits another .* Or the",
        ),
        (BAD, DOUBT, True, BOTH, "wrong mirror", "T does not look like the mirror"),
        (
            BAD,
            Evidence(),
            True,
            BOTH,
            "one-sided network",
            "its two sides differently, though the data show both .58 % of 100",
        ),
        (BAD, Evidence(), True, BOTH, "one-sided network", "its answers to mirrored inputs spread 10.0% less"),
        (
            NOISY,
            Evidence(),
            True,
            BOTH,
            "uneven",
            "image differently .gap 0.7; .*as much on either side. That is the noise",
        ),
        (NOISIER, Evidence(), True, BOTH, "uneven", "image differently .gap 0.4; .*flip average removes it$"),
        (
            replace(NOISIER, samples=20),
            Evidence(),
            True,
            BOTH,
            "uneven",
            "gap 0.4; .* 20 samples are too few to tell noise",
        ),
        (
            replace(NOISIER, samples=1),
            Evidence(),
            True,
            BOTH,
            "uneven",
            "1 sample is too few to tell noise of training",
        ),
        (NOISIER, DOUBT, True, BOTH, "uneven", "removes it, or T is not its mirror: the original fits another"),
        (NOISY, DOUBT, True, BOTH, "wrong mirror", "T does not look like the mirror"),
        (NOISY, Evidence(), False, None, "unknown", "random inputs tell nothing of the mirror"),
        (BAD, Evidence(), False, None, "unknown", "random inputs tell nothing of the mirror"),
        (BAD, DOUBT, False, None, "wrong mirror", "T does not look like the mirror"),  # by names
    ],
)
def test_advice(found: Asymmetry, evidence: Evidence, real: bool, lean: Leaning | None, kind: str, words: str) -> None:
    advice = advise(found, evidence, real, GAPS, lean)
    assert advice.kind == kind and re.search(words, advice.text), advice
    assert advice.speaks_for == (kind in ("equivariant", "convert"))


def test_a_policy_is_asked_in_its_environment_and_then_fitted_to_both_views() -> None:
    """In three steps, the likeliest first; before them the specification, where something speaks against it."""
    remedy = advise(BAD, Evidence(), True, GAPS, ONE, is_policy=True).remedy
    assert remedy.startswith("`chiralize convert --rollout` lets a policy's environment decide, and `audit --rollout` ")
    assert "add the mirror images of the inputs (`Mirror`) to --calibration and take `--method reduce`" in remedy
    assert remedy.endswith("else train it with mirrored copies") and len(remedy.split()) < 50
    doubted = advise(BAD, DOUBT, True, GAPS, ONE, is_policy=True).remedy
    assert doubted == f"settle whether T is its mirror first; then {remedy}"


def test_labels_that_were_given_are_not_asked_for_again() -> None:
    """What leans is read off them: some labels, or all, which then have something else in common."""
    asked = advise(NET, Evidence(), True, GAPS, ONE).remedy
    assert asked.startswith("see by label (`--labels`) what leans; with data of both sides")
    labels = [Leaning("left", 500, 1.0, 0.3, 0.98), Leaning("right", 500, 1.0, 0.3, 0.97)]
    all_lean = advise(NET, Evidence(), True, GAPS, ONE, labels=labels).remedy
    assert all_lean.startswith("every label leans, so that no single one is to blame")
    some = advise(NET, Evidence(), True, GAPS, ONE, labels=[*labels, Leaning("both", 500, 1.0, 0.1, 0.6)]).remedy
    assert some.startswith("with data of both sides")


def test_of_a_policy_the_environment_decides() -> None:
    """Gaps that mark a lifter of one side were found in policies whose flip average walks as well."""
    doubted = Evidence(warnings=("another mirror fits better",))
    for found in (FAIR, BAD, NOISY, NOISIER):
        advice = advise(found, Evidence(), True, is_policy=True)
        assert advice.kind == "uneven" and not advice.is_noise and not advice.speaks_for
        assert "only its environment tells" in advice.text and "audit --rollout" in advice.remedy
    assert "another mirror fits better" in advise(FAIR, doubted, True, is_policy=True).text
    assert advise(BAD, doubted, True, is_policy=True).kind == "wrong mirror"
    for found in (NET, SAME):
        assert advise(found, Evidence(), True, is_policy=True) == advise(found, Evidence(), True)


def test_where_no_other_mirror_fits_the_training_is_looked_at_first() -> None:
    """A gap that is as large with every mirror is no sign of a slip in the specification."""
    refuted = Evidence(warnings=("nothing of this symmetry",), fit=MirrorFit(1.4, "no swap", 1.2, True))
    advice = advise(BAD, refuted, True)
    assert advice.kind == "wrong mirror" and advice.remedy.startswith("see whether the network is badly trained")
    assert advice.remedy.endswith("else correct the specification before anything is converted")
    assert "since no other mirror that was tried fits clearly better; else" in advice.remedy


def test_partners_by_name_that_are_answered_unlike_are_no_wrong_mirror() -> None:
    fit = MirrorFit(0.85, real=True, against=AgainstNames(("smileLeft and smileRight",)))
    advice = advise(BAD, Evidence(warnings=("the two sides of smile",), fit=fit), True)
    assert advice.kind == "uneven" and "treats left and right unequally" in advice.text
    assert advice.text.endswith(": the two sides of smile") and advice.remedy.startswith("leave the pairs as they are")
    ordered = replace(fit, against=AgainstNames(misplaced=("RL_thigh with RL_calf",)))
    advice = advise(BAD, Evidence(warnings=("no left and right",), fit=ordered), True)
    assert advice.kind == "wrong mirror" and advice.remedy.startswith("check the order of the joints first")


@pytest.mark.parametrize("lean", [None, ONE])
def test_a_rival_that_comes_clearly_nearer_is_looked_at_first(lean: Leaning | None) -> None:
    """Whether or not it fits: a policy of one side has a wide gap with its right mirror, too."""
    fit = MirrorFit(2.03, "history with the terms together", 0.807, True)
    advice = advise(BAD, Evidence(warnings=("nothing of this symmetry",), fit=fit), True, leaning=lean, is_policy=True)
    assert advice.kind == "wrong mirror" and advice.remedy.startswith(
        "try history with the terms together in the specification first, which brings the gap from 2.03 to 0.807"
    )
    assert "clearly better" not in advice.remedy and "badly trained" not in advice.remedy
    unfit = replace(fit, nearest="no signs of single joints", nearest_gap=1.2)
    advice = advise(BAD, Evidence(warnings=("nothing of this symmetry",), fit=unfit), True, leaning=lean)
    assert "tried fits (the nearest: the gap is 1.2 with no signs of single joints, 2.03 with T); else" in advice.remedy
    unswapped = replace(fit, nearest="no swap at all")
    advice = advise(BAD, Evidence(warnings=("nothing of this symmetry",), fit=unswapped), True, leaning=lean)
    assert advice.remedy.startswith("check joint order, negated coordinates, the point that they are negated at")
    assert "(the gap is 0.807 with no swap at all, 2.03 with T)" in advice.remedy, "named, though looked at last"


def test_a_rival_that_raises_a_doubt_is_named_with_its_gap() -> None:
    """Where nothing refutes T as well: who is to settle the doubt has to know what it is about."""
    doubt = Evidence(warnings=("T is in doubt",), fit=MirrorFit(0.8, "the other sign of all joints", 0.6, True))
    rival = "(the gap is 0.6 with the other sign of all joints, 0.8 with T)"
    of_policy = advise(BAD, doubt, True, GAPS, ONE, is_policy=True).remedy
    assert of_policy.startswith(f"settle whether T is its mirror {rival} first; then ")
    assert advise(NET, doubt, True).remedy == f"settle whether T is its mirror {rival}, then convert"
    handed = advise(NOISY, doubt, True).remedy
    assert handed.startswith("see first whether the task itself has sides (right-hand traffic, a handed tool), since")
    assert f"; else look at the nearest mirror first {rival}; correct the " in handed
    fitting = replace(doubt, fit=MirrorFit(0.8, "the other sign of all joints", 0.4, True))
    assert advise(NOISY, fitting, True).remedy.startswith("look at the nearest mirror first (the gap is 0.4 with")
    of_names = replace(doubt, fit=replace(doubt.fit, nearest_gap=0.79) if doubt.fit is not None else None)
    assert advise(NET, of_names, True).remedy == "settle whether T is its mirror, then convert"


def test_a_mirror_that_clearly_fits_better_is_mended_first() -> None:
    """However small the gap of T: the network nearly commutes with any mirror that is wrong in one place."""
    text = "another mirror fits the network better: its gap is 0.12 with the skeleton b, 0.23 with T"
    better = Evidence(warnings=(text,), fit=MirrorFit(0.23, "the skeleton b", 0.12, True, better=("the skeleton b",)))
    for is_policy in (False, True):
        advice = advise(FAIR, better, True, is_policy=is_policy)
        assert advice.kind == "wrong mirror" and text in advice.text
        assert advice.remedy == (
            "try the skeleton b in the specification (the gap is then 0.12, 0.23 with T); "
            "correct the specification before anything is converted"
        )
    assert better.fit is not None
    for fit in (replace(better.fit, better=()), replace(better.fit, real=False)):
        assert advise(FAIR, replace(better, fit=fit), True).kind == "uneven"


@pytest.mark.parametrize("kind", ["none", "normal", "uniform", "moments"])
def test_random_inputs_tell_nothing_of_the_mirror(kind: str) -> None:
    """Neither drawn ones nor given ones do, also where every entry has a mean and a spread of its own."""
    torch.manual_seed(0)
    drawn, means, spreads = normal(300, 6, 2), normal(6, 2, seed=1), 0.1 + normal(6, 2, seed=2).abs()
    data = {"normal": drawn, "uniform": torch.rand_like(drawn), "moments": 3 * means + drawn * spreads}
    given: dict[str, Any] = {"calibration": data[kind]} if kind in data else {}
    up = nn.Linear(12, 12)
    net = trained(Net(lambda own, x: own.up(x.flatten(1)).tanh().view(-1, 6, 2), up=up))
    with torch.no_grad():
        up.weight.add_(means.flatten()[:, None] * spreads.flatten())  # as no initialisation leaves it
    found = audit(net, parse_spec(POSE), (data.get(kind, drawn)[:8],), **given)
    assert found.network.gap > 0.5 and found.advice is not None and found.advice.kind == "unknown"
    assert "random inputs tell nothing of the mirror" in found.advice.text
    noise = "; the calibration inputs look like random numbers" if given else ""
    assert (
        found.verdict.partition(": ")[2]
        == f"unknown; the mirror is not confirmed: give --calibration real inputs{noise}"
    )


def test_inputs_whose_entries_go_together_are_not_random() -> None:
    """A wrong mirror is still told by them; a hundred of them, or fewer."""
    drawn, mixed = normal(100, 6, 2), (normal(100, 5) @ normal(5, 12, seed=1)).view(100, 6, 2)
    scales = torch.arange(12).view(6, 2)
    for count in (100, 40):
        together: Call = ((mixed[:count] + 1,), {})
        apart: Call = ((drawn[:count] * scales + 1,), {})
        assert looks_real([together]) and not looks_real([apart])
    assert looks_real([(((drawn * 2 + 1).square(),), {})])


def test_layers_add_what_they_do_not_take_away() -> None:
    assert LayerGap("a", "linear", 3, 0.3, 0.5).added == pytest.approx(0.4)
    assert LayerGap("a", "linear", 3, 0.5, 0.3).added == 0
    assert math.isclose(replace(LayerGap("a", "linear", 3, 0.0, 0.3)).added, 0.3)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "the list is empty"),
        ([torch.zeros(4, 6)], "a batch has shape (4, 6)"),
        (3, "a int is no array"),
        (torch.ones(30, 6, 2), "every sample is the same"),
    ],
)
def test_data_are_called_as_the_argument_is(given: Any, words: str) -> None:
    with pytest.raises(ChiralizeError) as found:
        audit(nn.Identity(), parse_spec(POSE), (torch.zeros(2, 6, 2),), calibration=given)
    assert found.value.where == "calibration" and words in found.value.facts
