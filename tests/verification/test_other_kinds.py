"""Scores that the mirror moves, declared as such that it leaves alone: they are told from invariant ones, and named."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec, resolve
from chiralize.errors import MirrorError
from chiralize.graph.running import Call
from chiralize.problem.mirror import mirror_if_known
from chiralize.problem.preparation import prepare
from chiralize.verification.evidence.blocks import block_to_check
from chiralize.verification.evidence.judging import Basis, by_chance, judged
from chiralize.verification.evidence.names import pairs_by_names
from chiralize.verification.evidence.one_class import one_class_first
from chiralize.verification.evidence.other_kinds import outputs_of_another_kind
from chiralize.verification.evidence.records import Comparison, MirrorGap
from chiralize.verification.mirror_evidence import ask_network, outside_evidence
from tests.support.cases import mainly
from tests.support.small_body import BODY, IMAGE, Net, normal

INVARIANT = BODY + 'negate: x\ninputs: [{layout: "b j d"}]\noutputs: [{invariant: true}]\n'
FLIP = torch.tensor([-1.0, 1.0], dtype=torch.float64)
SHARE = 0.1  # of the network itself, which knows no mirror


def mirrored(x: Tensor) -> Tensor:
    return x[:, list(IMAGE)] * FLIP


def scorer(size: int, partner: list[int], sign: list[int]) -> nn.Module:
    """Scores of which the mirror moves some: score i becomes score partner[i], times sign[i]."""
    torch.manual_seed(1)
    body = nn.Sequential(nn.Flatten(), nn.Linear(12, 48), nn.Tanh(), nn.Linear(48, size))
    for weight in body.parameters():
        weight.data = torch.randn_like(weight) ** 3 / 2

    def compute(net: Net, x: Tensor) -> Tensor:
        plain, image = net.body(x), net.body(mirrored(x))[:, partner] * torch.tensor(sign)
        return (plain + image) / 2 + SHARE * (plain - image) / 2

    return Net(compute, body=body).double().eval()


def refusal(net: nn.Module, **options: str) -> str:
    x = normal(240, 6, 2, seed=5).abs() ** 2 * FLIP.abs() - 0.4
    spec = parse_spec(INVARIANT)
    with pytest.raises(MirrorError) as caught:
        chiralize.chiralize(net, spec, (x[:2],), calibration=list(x.split(40)), method="average", **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("size", "partner", "sign", "words"),
    [
        (
            2,
            [1, 0],
            [1, 1],
            "entries 0 and 1 of output 0 swapped (`classes: {swap: [[0, 1]]}`) in the specification",
        ),
        (3, [2, 1, 0], [1, 1, 1], "entries 0 and 2 of output 0 swapped (`classes: {swap: [[0, 2]]}`) in the spec"),
        (
            4,
            [1, 0, 3, 2],
            [1] * 4,
            "entries 0 and 1, 2 and 3 of output 0 swapped (`classes: {swap: [[0, 1], [2, 3]]}`)",
        ),
        (
            4,
            [2, 3, 0, 1],
            [1] * 4,
            "entries 0 and 2, 1 and 3 of output 0 swapped (`classes: {swap: [[0, 2], [1, 3]]}`)",
        ),
        (1, [0], [-1], "the other sign of output 0 (`fields: [{signs: [-1]}]`) in the specification"),
        (3, [0, 1, 2], [1, -1, 1], "the other sign of output 0[1] (`fields: [{signs: [1, -1, 1]}]`) in the spec"),
    ],
)
def test_what_moves_is_named(size: int, partner: list[int], sign: list[int], words: str) -> None:
    assert f"Fix: try {words}" in refusal(scorer(size, partner, sign))


def test_a_layout_of_samples_and_numbers_keeps_no_sign_from_being_tried() -> None:
    """A position that is said to stay, `layout: b s`, is one whose x is negated; three axes tell of something else."""
    for layout, size, is_tried in (("b s", (2, 3), True), ("b t s", (2, 5, 3), False)):
        spec = parse_spec(INVARIANT.replace("{invariant: true}", f"{{layout: {layout}, invariant: true}}"))
        resolved = resolve(spec, [(2, 6, 2)], [size])
        others = dict(outputs_of_another_kind(resolved))
        words = "the other sign of output 0[0] (`fields: [{signs: [-1, 1, 1]}]`)"
        assert (words in others) == is_tried
        assert not is_tried or others[words]["output", 0].layout is None


def test_of_many_scores_those_that_swap_are_read_off_the_answers() -> None:
    """All others stay, so that the gap is in two of twenty: no noise of training is like that."""
    said = refusal(scorer(20, [*range(18), 19, 18], [1] * 20))
    assert "Fix: try entries 18 and 19 of output 0 swapped (`classes: {swap: [[18, 19]]}`) in the specification" in said


@pytest.mark.parametrize("frames", mainly([[0], [5], [7]], [[0], [7]]))
def test_scores_along_samples_and_frames_have_no_partners(frames: int) -> None:
    """One score a sample, "b", or one a frame, of which calibration inputs have 5, or more than the example."""

    def compute(net: Net, x: Tensor) -> Tensor:
        scores = (net.body(x) + net.body(x[..., list(IMAGE), :] * FLIP))[..., 0]
        return scores if frames else scores.mean(1)

    body = nn.Sequential(nn.Flatten(2), nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 1))
    net, x = Net(compute, body=body).double().eval(), normal(240, frames or 5, 6, 2, seed=5)
    spec = parse_spec(INVARIANT.replace("b j d", "b t j d"))
    network = prepare(net, spec, (x[:2, :5],))
    asked = ask_network(network, [((part,), {}) for part in x.split(40)])
    assert asked.fit is None or not asked.fit.is_refuted
    result = chiralize.chiralize(net, spec, (x[:2, :5],), calibration=x, method="average")
    torch.testing.assert_close(result(x[:3]), net(x[:3]), atol=1e-9, rtol=0)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 8])
def test_scores_that_stay_are_not_doubted(size: int) -> None:
    net = scorer(size, list(range(size)), [1] * size)
    x = normal(240, 6, 2, seed=5)
    network = prepare(net, parse_spec(INVARIANT), (x[:2],))
    calls: list[Call] = [((part,), {}) for part in x.split(40)]
    asked = ask_network(network, calls)
    assert asked.fit is not None and not asked.fit.is_refuted and not asked.warnings


@pytest.mark.parametrize("size", mainly([[12], [13]], [[13]]))
def test_of_many_scores_no_pairs_are_tried(size: int) -> None:
    network = prepare(scorer(size, list(range(size)), [1] * size), parse_spec(INVARIANT), (normal(2, 6, 2),))
    others = [words for words, _ in outputs_of_another_kind(network.resolved)]
    assert ("entries 0 and 1 of output 0 swapped (`classes: {swap: [[0, 1]]}`)" in others) == (size == 12)


CLASSES = BODY + (
    "negate: x\ninputs: [{layout: b j d}]\noutputs: [{classes: {swap: SWAP, names: [attack_left_hand_left, "
    "attack_left_hand_right, attack_right_hand_left, attack_right_hand_right, none]}}]\n"
)


def test_classes_are_swapped_as_their_names_tell() -> None:
    """Where a name has two sides, both change: a left hand on the left becomes a right hand on the right."""
    net, x = scorer(5, [3, 2, 1, 0, 4], [1] * 5), normal(240, 6, 2, seed=5).abs() ** 2 * FLIP.abs() - 0.4
    spec = parse_spec(CLASSES.replace("SWAP", "[[0, 1], [2, 3]]"))
    with pytest.raises(MirrorError) as caught:
        chiralize.chiralize(net, spec, (x[:2],), calibration=x, method="match")
    assert "T takes attack_left_hand_left to attack_left_hand_right, by its name it belongs to" in caught.value.facts
    pairs = "[[attack_left_hand_left, attack_right_hand_right], [attack_left_hand_right, attack_right_hand_left]]"
    assert f"swapped (`classes: {{swap: {pairs}}}`, and no others)" in caught.value.remedy


def test_what_names_tell_comes_first_where_nothing_else_fits() -> None:
    net, x = scorer(5, [3, 2, 1, 0, 4], [1] * 5), normal(240, 6, 2, seed=5).abs() ** 2 * FLIP.abs() - 0.4
    spec = parse_spec(CLASSES.replace("SWAP", "[[0, 1], [2, 3]]").replace("negate: x", "negate: y"))
    with pytest.raises(MirrorError) as caught:
        chiralize.chiralize(net, spec, (x[:2],), calibration=x, method="match")
    assert caught.value.remedy.startswith("swap first what the names tell, or rename it; then ")


@pytest.mark.parametrize("swap", ["[[0, 3], [1, 2]]", "[[3, 0]]"])
def test_classes_by_names_are_tried_where_they_are_others(swap: str) -> None:
    spec = parse_spec(CLASSES.replace("SWAP", swap))
    mirror = mirror_if_known(prepare(scorer(5, [3, 2, 1, 0, 4], [1] * 5), spec, (normal(2, 6, 2),)), None)
    assert mirror is not None
    said = " (attack_left_hand_right with attack_right_hand_left)"
    assert pairs_by_names(mirror) == (said if swap == "[[3, 0]]" else "")


def test_inputs_of_one_class_are_named_first() -> None:
    net = scorer(5, [3, 2, 1, 0, 4], [1] * 5)
    x = normal(240, 6, 2, seed=5).abs() ** 2 * FLIP.abs() - 0.4
    network = prepare(net, parse_spec(CLASSES.replace("SWAP", "[[0, 3], [1, 2]]")), (x[:2],))
    most = int(net(x).argmax(1).mode().values)
    of_one = x[net(x).argmax(1) == most]
    assert 16 <= len(of_one) < 200 and one_class_first(network, [((x,), {})]) == ""
    name = network.resolved.output_tensors[0].names[most]
    assert one_class_first(network, [((of_one,), {})]) == (
        f"give inputs of all classes first, since 100.0 % of these are answered {name}; then "
    )


# ---- what chance does -----------------------------------------------------------------------------------------
@settings(max_examples=20, deadline=None)
@given(st.integers(1, 60), st.sampled_from([0.05, 0.01]), st.integers(0, 2**32 - 1))
def test_chance_falls_below_the_bound_as_often_as_it_says(numbers: int, how_often: float, seed: int) -> None:
    """Two gaps of independent errors of one size; 4,000 draws, at most five standard errors away."""
    drawn = np.random.default_rng(seed).normal(size=(2, 4000, numbers))
    one, other = np.sqrt((drawn**2).mean(2))
    seen = float((one / other < by_chance(numbers, how_often)).mean())
    assert abs(seen - how_often) < 5 * (how_often * (1 - how_often) / 4000) ** 0.5


@pytest.mark.parametrize(("numbers", "is_refuted"), [(2, False), (8, False), (40, True), (0, False)])
def test_two_scores_refute_nothing(numbers: int, is_refuted: bool) -> None:
    """A clip in the file of a scorer whose answers happened to be near each other with two joints swapped."""
    other = MirrorGap("neck and head swapped", 0.4, 0.36, 0.033, 0.091, numbers=numbers)
    seen = judged(Comparison(0.49, (other,)), Basis(real=True, trained=True, rows=2))
    assert seen.fit is not None and seen.fit.is_refuted == is_refuted
    if numbers == 2:
        assert not seen.warnings  # no doubt either


@pytest.mark.parametrize(("gap", "is_refuted"), [(0.4, False), (1.2, True)])
def test_widths_refute_heights_that_do_not_fit_alone(gap: float, is_refuted: bool) -> None:
    """Pictures without a top and a bottom may commute with both, and better with one of them."""
    name = "pictures reversed along w instead of h (`~w` in the layout)"
    widths = MirrorGap(name, 0.01, 0.01 / gap, 0.01, gap, numbers=6000)
    seen = judged(Comparison(gap, (widths,)), Basis(real=True, trained=True, rows=2000))
    assert seen.fit is not None and seen.fit.is_refuted == is_refuted and bool(seen.warnings) == is_refuted


@pytest.mark.parametrize(("by_names", "mislead"), [(0.12, True), (0.07, False)])
def test_names_that_tell_other_pairs_than_the_network(by_names: float, mislead: bool) -> None:
    """Points of eyes are numbered around each, so that 1 of one side belongs to 4 of the other."""
    other = MirrorGap("the swaps that the names tell (l_1.x)", by_names, by_names / 0.05, by_names, 0.05, numbers=6000)
    asked = judged(Comparison(0.05, (other,)), Basis(real=True, trained=True, rows=2000))
    assert asked.names_mislead == mislead
    body = "joints: [l_1, l_4, r_1, r_4]\npairs: [[l_1, r_4], [l_4, r_1]]\ndims: [x, y]\n"
    spec = parse_spec(f"{body}inputs: ['b j d']\noutputs: ['b j d']\n")
    network = prepare(nn.Identity(), spec, (torch.zeros(2, 4, 2),))
    said = outside_evidence(network, mirror_if_known(network, None), asked=asked)
    assert any("by its name it belongs to" in warning for warning in said.warnings) != mislead
    assert any(note.endswith("the mirror that names tell, which are left aside") for note in said.notes) == mislead


@pytest.mark.parametrize(("inputs", "ratio", "doubts"), [("less", 0.88, 0), ("less", 0.75, 1), ("more", 0.88, 1)])
def test_a_mirror_that_moves_less_raises_doubt_later(inputs: str, ratio: float, doubts: int) -> None:
    """One pair unswapped leaves out what the network does not do quite alike on both sides of it."""
    other = MirrorGap("two corners unswapped", 0.2 * ratio, ratio, 0.2 * ratio, 0.2, inputs=inputs, numbers=6000)
    seen = judged(Comparison(0.2, (other,)), Basis(real=True, trained=True, rows=2000))
    assert len(seen.warnings) == doubts


@pytest.mark.parametrize("rows", mainly([[1], [2]], [[1]]))
def test_the_sample_in_a_file_does_not_make_a_network_one_sided(rows: int) -> None:
    """Of one or two samples there is no spread that a gap could be a share of."""
    x = normal(rows, 6, 2, seed=5) ** 3
    chiral = chiralize.chiralize(scorer(3, [0, 1, 2], [1, 1, 1]), parse_spec(INVARIANT), (x,))
    torch.testing.assert_close(chiral(mirrored(x)), chiral(x), atol=1e-9, rtol=0)


# ---- which of those that fit better ---------------------------------------------------------------------------
def test_of_two_that_fit_the_one_that_leaves_least_is_named() -> None:
    """x and z negated: with x alone all answers are near; two joints exchanged in z mend a part, and refute T."""
    alone = MirrorGap("x negated instead of x, z", 0.079, 0.32, 0.079, 0.25, inputs="less", numbers=1000)
    part = MirrorGap("ankle.z paired with foot.z", 0.225, 0.42, 0.16, 0.38, is_of_all=False, numbers=1000)
    basis = Basis(real=True, trained=True, rows=64)
    seen = judged(Comparison(0.25, (alone, part)), basis).fit
    assert seen is not None and seen.better == ("x negated instead of x, z",)
    still = MirrorGap("no swap at all", 0.05, 0.2, 0.05, 0.25, inputs="less", swaps_nothing=True, numbers=1000)
    seen = judged(Comparison(0.25, (still, part)), basis).fit
    assert seen is not None and seen.better == ("ankle.z paired with foot.z",)
    alone_seen = judged(Comparison(0.25, (alone,)), basis).fit
    assert alone_seen is not None and not alone_seen.is_refuted


# ---- blocks of inputs -----------------------------------------------------------------------------------------
BLOCKS = BODY + (
    "negate: x\ninputs: [{fields: [{joints: position}, {joints: confidence, kind: scalar}]}]\n"
    "outputs: [{fields: [{joints: position}]}]\n"
)


@pytest.mark.parametrize(("scale", "is_named"), [(1.0, False), (10.0, False), (100.0, True)])
def test_a_block_of_another_unit_is_named(scale: float, is_named: bool) -> None:
    network = prepare(nn.Linear(18, 12).double(), parse_spec(BLOCKS), (normal(2, 18),))
    x = torch.cat([2 * torch.rand(64, 12) - 1, scale * torch.rand(64, 6)], 1).double()
    text = block_to_check(network.resolved, [((x,), {})])
    assert text.startswith("check the unit of confidence in input 0 first, which reaches ") == is_named
    assert bool(text) == is_named


HEAD = BODY + (
    "negate: x\ninputs:\n  - {layout: b j d}\n  - {fields: [{signs: {yaw: -1, pitch: 1}, name: head}]}\n"
    "outputs: [{fields: [{joints: position}]}]\n"
)


class WithHead(nn.Module):
    """Landmarks, and how a head is turned."""

    def forward(self, points: torch.Tensor, head: torch.Tensor) -> torch.Tensor:
        return points.flatten(1) + head.sum(1, keepdim=True)


@pytest.mark.parametrize(("name", "reach", "is_named"), [("yaw", 38.0, False), ("yaw", 900.0, True), ("v", 38.0, True)])
def test_angles_of_an_input_of_its_own_are_of_their_own_unit(name: str, reach: float, is_named: bool) -> None:
    """A head in degrees beside landmarks in shares of a picture is no mistake; 900 is no angle."""
    spec = parse_spec(HEAD.replace("yaw", name))
    network = prepare(WithHead(), spec, (normal(2, 6, 2), normal(2, 2)))
    calls = [((torch.rand(64, 6, 2), reach * (2 * torch.rand(64, 2) - 1)), {})]
    assert bool(block_to_check(network.resolved, calls)) == is_named


def test_one_block_alone_has_nothing_beside_it() -> None:
    network = prepare(nn.Linear(2, 2).double(), parse_spec(BODY + "negate: x\n"), (normal(2, 6, 2),))
    assert block_to_check(network.resolved, [((100 * normal(8, 6, 2),), {})]) == ""
