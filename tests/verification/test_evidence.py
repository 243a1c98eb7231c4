"""A wrong mirror is noticed by names, by bones and by the trained network."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest
import torch
from torch import nn

from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors import load_spec
from chiralize.body.tensors import resolve as resolve_spec
from chiralize.body.tensors.entries import BodyOverride, TensorEntry
from chiralize.errors import ChiralizeError
from chiralize.graph.mirror import MirrorFit, NetworkMirror, plain_label
from chiralize.graph.running import Call, Runner
from chiralize.problem.preparation import prepare
from chiralize.symmetry.action import act
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation
from chiralize.verification.evidence import joined
from chiralize.verification.evidence.answers import of_calls
from chiralize.verification.evidence.fitting import compare
from chiralize.verification.evidence.judging import Basis, judged, recalled
from chiralize.verification.evidence.mirrors import moves_less, undoes_a_part
from chiralize.verification.evidence.names import (
    by_names,
    name_findings,
    names_of_entries,
    symmetric_pose,
)
from chiralize.verification.evidence.records import Candidate, Comparison, MirrorGap
from chiralize.verification.evidence.reflection import reflection_findings
from chiralize.verification.evidence.skeleton_changes import changes
from chiralize.verification.mirror_evidence import ask_network, compare_mirrors
from chiralize.verification.verdicts import Evidence
from tests.support.small_body import Net

NAMES = ("hip", "left_knee", "right_knee", "left_elbow", "right_elbow", "left_ear", "right_ear")
PAIRS = ((1, 2), (3, 4), (5, 6))
EDGES = ((0, 1), (2, 0), (0, 3), (0, 4), (3, 5), (4, 6))
BODY = Skeleton("body", NAMES, PAIRS, edges=EDGES)
X = torch.zeros(16, 7, 3)
of_many = partial(MirrorGap, numbers=1000)


def resolve(skeleton: Skeleton) -> NetworkMirror:
    pose = TensorRepresentation(
        (
            Representation.trivial(16),
            Representation.of(skeleton.joint_action()),
            Representation.of(skeleton.coord_action()),
        )
    )
    return NetworkMirror((pose,), (pose,), label=lambda io, index, entry: f"{NAMES[entry[1]]}.{'xyz'[entry[2]]}")


MIRROR = resolve(BODY)
CROSSED = resolve(replace(BODY, pairs=((1, 4), (3, 2), (5, 6))))


class Trained(nn.Module):
    """Nearly equivariant under the true mirror, as a network trained with flips."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner = nn.Sequential(nn.Flatten(), nn.Linear(21, 32), nn.Tanh(), nn.Linear(32, 21))
        self.lean = 0.05

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.inner(x).view(x.shape)
        there = act(self.inner(act(x, MIRROR.inputs[0])).view(x.shape), MIRROR.outputs[0])
        return (0.5 + self.lean) * y + (0.5 - self.lean) * there


CALLS: list[Call] = [((torch.randn(16, 7, 3, generator=torch.Generator().manual_seed(seed)),), {}) for seed in range(4)]
REAL = Basis(real=True, trained=True, rows=64)


def asked(network: nn.Module, mirror: NetworkMirror, others: dict[str, NetworkMirror], basis: Basis = REAL) -> Evidence:
    """What a network says about a mirror, beside others."""
    with Runner(network) as runner:
        answers = of_calls(runner, mirror, CALLS)
        found = compare(answers, mirror, [Candidate(name, other) for name, other in others.items()], 100)
    return judged(found, basis)


@cache
def neighbours(skeleton: Skeleton) -> dict[str, Skeleton]:
    """Skeletons with one thing about the mirror changed, by a name for it."""
    changed: dict[str, Skeleton] = {}
    for name, change in changes(skeleton):
        with suppress(ChiralizeError):  # partners with different signs are no mirror
            other = change(skeleton)
            if other != skeleton:
                changed[name] = other
    return changed


def others_of(skeleton: Skeleton) -> dict[str, NetworkMirror]:
    return {name: resolve(other) for name, other in neighbours(skeleton).items()}


# ---- the network ----------------------------------------------------------------------------------------------
def test_the_right_mirror_is_confirmed() -> None:
    found = asked(Trained(), MIRROR, others_of(BODY))
    assert found.warnings == () and found.fit is not None and found.fit.is_confirmed
    assert found.checks[0].startswith("the network fits T: its gap is 0.197 (in units of the spread of its answers; ")
    assert "; of 12 other mirrors the nearest, with left_ear and right_ear unswapped, has 0.885" in found.checks[0]


@pytest.mark.parametrize(("mirror", "share"), [(MIRROR, 0.5), (CROSSED, 0.85)], ids=["right", "crossed"])
def test_far_worse_mirrors_are_dropped_after_the_first_inputs(mirror: NetworkMirror, share: float) -> None:
    """A costly network is run on few inputs for most mirrors, and is judged as if it had been run on all of them."""
    seen: list[int] = []

    class Counted(Trained):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(len(x))
            return super().forward(x)

    network, others = Counted(), [Candidate(name, other) for name, other in others_of(BODY).items()]
    if mirror is CROSSED:
        others.append(Candidate("the true one", MIRROR))
    told: list[int] = []
    with Runner(network) as runner:
        whole = compare(of_calls(runner, mirror, CALLS), mirror, others, 100)
        on_all = len(seen)
        found = compare(of_calls(runner, mirror, CALLS, first=1), mirror, others, 100, told.append)
    assert len(seen) - on_all < share * on_all
    assert len(told) >= 12 and told == list(range(1, len(told) + 1))
    assert found.gap == whole.gap
    near = {other.name: other for other in whole.others if other.ratio <= 1.0}
    assert ("the true one" in near) == (mirror is CROSSED)
    assert near == {other.name: other for other in found.others if other.name in near}
    assert judged(found, REAL).warnings == judged(whole, REAL).warnings


@pytest.mark.parametrize("wrong", list(neighbours(BODY)))
def test_every_neighbouring_mirror_is_found_out(wrong: str) -> None:
    found = asked(Trained(), resolve(neighbours(BODY)[wrong]), {"the true one": MIRROR})
    assert found.fit is not None and found.fit.is_refuted and found.fit.better == ("the true one",)
    assert any(
        "another mirror fits the network better: its gap is 0.197 with the true one" in own for own in found.warnings
    )


class Score(Trained):
    """Answers that T leaves as they are: of a network, and of one that swaps no joints, the same."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).square().sum(-1).sum(-1, keepdim=True)


def test_scores_fit_without_confirming_the_mirror() -> None:
    of_scores = replace(MIRROR, outputs=(TensorRepresentation((Representation.trivial(1), Representation.trivial(1))),))
    found = asked(Score(), of_scores, {})
    assert found.checks == found.warnings == () and found.fit is not None and found.fit.answers_stay
    assert found.notes[0].startswith(
        "the mirror is not confirmed: no measurement contradicts T, but T leaves (nearly) all "
    )
    again = recalled(found.fit)
    assert again.checks == () and again.notes[0].startswith(
        "the mirror was not confirmed: no measurement contradicts T"
    )


@pytest.mark.parametrize("moved, stays", [(0, True), (2, True), (4, False)])
def test_a_few_answers_that_swap_hardly_tell_more(moved: int, stays: bool) -> None:
    classes = Representation.of(
        SignedPermutation.of(pairs=[(one, moved - 1 - one) for one in range(moved // 2)], negated=[], size=8)
    )
    mirror = replace(MIRROR, outputs=(TensorRepresentation((Representation.trivial(1), classes)),))

    class Classes(Trained):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x).flatten(1)[:, :8].square()

    fit = asked(Classes(), mirror, {}).fit
    assert fit is not None and fit.answers_stay is stays


def test_a_mirror_that_is_wrong_in_the_outputs_alone_is_found_out_without_another_run() -> None:
    wrong = replace(MIRROR, outputs=resolve(neighbours(BODY)["z negated instead of x"]).outputs)
    with Runner(Trained()) as runner:
        answers = of_calls(runner, wrong, CALLS)
        found = judged(compare(answers, wrong, [Candidate("the true one", MIRROR)], most_runs=0), REAL)
    assert found.fit is not None and found.fit.better == ("the true one",)


def test_no_swap_is_named_only_where_nothing_that_swaps_fits_about_as_well() -> None:
    """A network that nearly repeats its input fits it whatever else is wrong with T."""
    without = of_many("no swap at all", 0.05, 0.05, 0.05, 1.2, inputs="less", swaps_nothing=True)
    other = of_many("y negated instead of x", 0.06, 0.06, 0.06, 1.2)
    fit = judged(Comparison(1.2, (without, other)), REAL).fit
    assert fit is not None and fit.better == ("y negated instead of x",) == (fit.nearest,)
    far = replace(other, gap=0.3, ratio=0.3, here=0.3)
    fit = judged(Comparison(1.2, (without, far)), REAL).fit
    assert fit is not None and fit.better == ("no swap at all",)


def test_a_gap_near_one_refutes_without_any_neighbour() -> None:
    found = asked(Trained(), CROSSED, {})
    assert found.fit is not None and found.fit.is_refuted and found.fit.better == ()
    assert found.warnings[0].startswith("the network has nothing of this symmetry: its answer to T x is ")


def test_noise_confirms_nothing_and_is_no_check() -> None:
    found = asked(Trained(), MIRROR, others_of(BODY), replace(REAL, real=False))
    assert found.checks == found.warnings == () and found.fit is not None
    assert not found.fit.is_confirmed and not found.fit.is_refuted
    assert found.notes[0].startswith(
        "the mirror is not confirmed: that takes real inputs; on random ones the gap (0.197 "
    )


def test_an_untrained_network_cannot_tell() -> None:
    found = asked(Trained(), CROSSED, {"the true one": MIRROR}, replace(REAL, trained=False))
    assert found.warnings == found.checks == () and found.fit is not None and not found.fit.is_refuted
    assert found.notes[0].startswith(
        "the network is untrained (all of its weights are as an initialisation leaves them)"
    )


def test_a_little_better_is_a_doubt_and_no_stop() -> None:
    other = of_many("no swap at all", gap=0.32, ratio=0.8, here=0.32, given=0.4)
    found = judged(Comparison(0.4, (other,)), REAL)
    assert found.warnings == (
        "T is in doubt: its gap is 0.32 with no swap at all, 0.4 with T, not clearly enough to tell which is right",
    )
    assert found.fit is not None and not found.fit.is_refuted and found.checks == ()


@pytest.mark.parametrize(("ratio", "refuted"), [(0.69, False), (0.45, True)])
def test_two_small_gaps_are_a_doubt_and_no_stop(ratio: float, refuted: bool) -> None:
    """A network that nearly repeats its input has a small gap with every mirror; the right one must not stop."""
    other = of_many("x not negated", gap=0.16 * ratio, ratio=ratio, here=0.16 * ratio, given=0.16)
    found = judged(Comparison(0.16, (other,)), REAL)
    assert found.fit is not None and found.fit.is_refuted == refuted
    assert ("T is in doubt" in found.warnings[0]) != refuted


def test_a_mirror_that_moves_inputs_less_stops_no_network_that_repeats_them() -> None:
    """It fits such a network better the less it moves; where gaps are large, a part that is too much stops as ever."""
    other = of_many("x not negated", gap=0.1, ratio=0.43, here=0.1, given=0.23, inputs="less")
    found = judged(Comparison(0.23, (other,)), REAL)
    assert found.fit is not None and not found.fit.is_refuted and "T is in doubt" in found.warnings[0]
    far = judged(Comparison(0.8, (replace(other, here=0.3, given=0.8, ratio=0.375),)), REAL)
    assert far.fit is not None and far.fit.is_refuted


def test_what_moves_inputs_less() -> None:
    unpaired, other_sign = resolve(replace(BODY, pairs=BODY.pairs[:2])), resolve(replace(BODY, negate=("y",)))
    assert moves_less(unpaired, MIRROR) and not moves_less(MIRROR, unpaired)
    assert not moves_less(other_sign, MIRROR) and not moves_less(CROSSED, MIRROR)


def test_a_part_of_the_mirror_is_evidence_unless_answers_are_scores() -> None:
    """Where half of the answers are negated a part is told from the whole; else most of them hardly change anyhow."""
    unpaired = resolve(replace(BODY, pairs=BODY.pairs[:2]))
    sign = SignedPermutation(np.arange(2), np.array([1, -1]))
    negated = TensorRepresentation((Representation.trivial(1), Representation.of(sign)))
    still = TensorRepresentation.trivial((1, 2))
    sign_of_one = SignedPermutation(np.arange(3), np.array([1, -1, 1]))
    seldom = TensorRepresentation((Representation.trivial(1), Representation.of(sign_of_one)))
    for output, is_part in ((negated, False), (still, True), (seldom, True)):
        whole, part = (replace(mirror, outputs=(output,)) for mirror in (MIRROR, unpaired))
        assert undoes_a_part(part, whole) == is_part


@pytest.mark.parametrize(("gap", "is_confirmed"), [(0.49, True), (0.51, False), (0.8, False)])
def test_a_wide_gap_confirms_nothing(gap: float, is_confirmed: bool) -> None:
    """Whether or not other mirrors do as well: T may be right, of a network that knows one side."""
    for share in (1.0, 1.6):
        found = judged(Comparison(gap, (of_many("one", share * gap, share),)), REAL)
        assert bool(found.checks) == is_confirmed and bool(found.notes) != is_confirmed and not found.warnings
        if not is_confirmed:
            assert found.notes[0].startswith(
                "the network does not confirm T, which may be right: a mirror that fits has a gap of"
            )
            assert ("it cannot tell T from the mirror with one" in found.notes[0]) == (share == 1.0)


def test_mirrors_that_cannot_be_told_apart_are_named() -> None:
    """A tick beside another mirror that fits as well says so: recognisers hardly tell one pair more or less."""
    others = tuple(of_many(name, gap, gap / 0.22) for name, gap in (("one", 0.225), ("two", 0.218), ("far", 0.6)))
    (check,) = judged(Comparison(0.22, others), REAL).checks
    assert check.startswith("the network fits T, and other mirrors as well as T: its gap is ")
    assert check.endswith("; it cannot tell T from the mirror with two, one")
    assert "cannot tell" not in judged(Comparison(0.22, others[2:]), REAL).checks[0]


def test_what_fits_badly_itself_stops_nothing() -> None:
    """As with a network that knows one side only: another mirror fits it better, and not well."""
    other = of_many("z negated instead of x", gap=0.55, ratio=0.68, here=0.55, given=0.81)
    found = judged(Comparison(0.81, (other,)), REAL)
    assert found.fit is not None and not found.fit.is_refuted and "T is in doubt" in found.warnings[0]


def test_what_fits_several_times_better_stops_though_it_fits_badly() -> None:
    """The hip, which hardly moves, swapped with the spine: in units of its own spread every gap of the hip is large."""
    other = of_many("hip and spine unswapped", gap=0.27, ratio=0.1, here=0.6, given=6.0, is_of_all=False)
    found = judged(Comparison(0.27, (other,)), REAL)
    assert found.fit is not None and found.fit.is_refuted and found.fit.better == ("hip and spine unswapped",)
    noise = judged(Comparison(0.27, (other,)), replace(REAL, real=False))
    assert noise.fit is not None and not noise.fit.better


def test_a_doubt_about_a_few_entries_is_no_tick() -> None:
    other = of_many("hip and spine unswapped", gap=0.27, ratio=0.6, here=0.6, given=1.0, is_of_all=False)
    found = judged(Comparison(0.27, (other,)), REAL)
    assert found.checks == () and found.warnings == (
        "T is in doubt: its gap is 0.6 with hip and spine unswapped, 1 with T, on the entries that the two predict "
        "differently, not clearly enough to tell which is right",
    )


@pytest.mark.parametrize("level", [0.0, 3.0])
def test_constant_answers_cannot_tell(level: float) -> None:
    """Their gap would be 0, as if T fitted."""

    class Constant(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.full_like(x, level)

    with Runner(Constant()) as runner:
        answers = of_calls(runner, MIRROR, CALLS)
    assert answers.indices == [] and answers.hardly_vary == [0]


def test_answers_that_are_not_finite_blame_no_mirror() -> None:
    """Their gap would be infinite, and the message would ask for another mirror."""

    class Log(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.log()

    x = torch.rand(4, 7, 3, generator=torch.Generator().manual_seed(0)).double() + 0.1
    network = prepare(Log(), load_spec(BODY), (x,))
    found = ask_network(network, [((x.cumsum(0) - 1,), {})])
    assert found.fit is None and found.notes == (
        "the network could not tell whether T is its mirror: not all of its answers to these inputs are finite",
    )


def test_inputs_in_small_batches_are_asked_all() -> None:
    """As a file's example of two rows has them: batch by batch only the first 16 would be."""
    network = prepare(Trained().eval(), load_spec(BODY), (X[:2],))
    rows = torch.cat([call[0][0] for call in CALLS]).cumsum(0)  # no noise
    found = compare_mirrors(network, [((two,), {}) for two in rows.split(2)])
    assert not isinstance(found, Evidence) and found[1].rows == len(rows) == 64


def test_entries_that_tell_nothing_raise_no_doubt() -> None:
    """Those that hardly move are as far apart under any mirror."""
    for here, told in ((0.8, 1), (1.4, 0)):
        other = of_many("the other sign of wrist", gap=0.34, ratio=0.8, here=here, given=here / 0.8, is_of_all=False)
        found = judged(Comparison(0.35, (other,)), Basis(real=True, trained=True, rows=200))
        assert len(found.warnings) == told and len(found.checks) == 1 - told
        faint = judged(Comparison(0.35, (replace(other, share=0.04),)), Basis(real=True, trained=True, rows=200))
        assert not faint.warnings  # of so small a spread rounding is a share


def test_how_far_entries_vary_beside_the_others() -> None:
    """Of a pair that varies by a hundredth, and of one that varies as all others."""
    network = prepare(Trained().eval(), load_spec(BODY), (X,))
    scaled = torch.ones(7, 1)
    scaled[3:5] = 0.01
    seen: dict[str, float] = {}
    for name, faint in (("elbow", True), ("ear", False)):
        unpaired = resolve(neighbours(BODY)[f"left_{name} and right_{name} unswapped"])
        other = replace(MIRROR, outputs=unpaired.outputs)
        with Runner(Net(lambda net, x: net.inner(x) * scaled, inner=network.module)) as runner:
            answers = of_calls(runner, MIRROR, CALLS)
            (gap,) = compare(answers, MIRROR, [Candidate(name, other)], 4).others
        seen[name] = gap.share
        assert (gap.share < 0.02) == faint and gap.numbers == 64 * 6
    assert 0.5 < seen["ear"] < 2


def test_few_samples_stop_at_a_larger_difference() -> None:
    other = of_many("no swap at all", gap=0.24, ratio=0.6, here=0.24, given=0.4)
    comparison = Comparison(0.4, (other,))
    many, few = judged(comparison, REAL).fit, judged(comparison, replace(REAL, rows=2)).fit
    assert many is not None and many.is_refuted and few is not None and not few.is_refuted


def test_skeletons_whose_mirror_fits_are_named() -> None:
    """Only those that fit as well as the best one; two with the same mirror are both named."""
    others = (
        of_many("the skeleton a", 0.2, 0.1, 0.2, 2.0, ("a", "b")),
        of_many("the skeleton c", 0.4, 0.2, 0.4, 2.0, ("c",)),
    )
    found = judged(Comparison(2.0, others, same=("given",)), REAL)
    assert found.fit is not None and found.fit.skeletons == ("a", "b") and found.fit.better == ("the skeleton a",)
    assert found.warnings[-1] == "shipped skeletons of this size whose mirror fits: a, b"


def test_a_skeleton_that_is_no_better_than_T_is_not_offered() -> None:
    """From one skeleton that is refused to the other, and back."""
    others = (
        of_many("no swap at all", 0.206, 0.64, 0.206, 0.321),
        of_many("the skeleton b", 0.315, 0.98, 0.315, 0.321, ("b",)),
    )
    found = judged(Comparison(0.321, others), REAL)
    assert found.fit is not None and found.fit.is_refuted and found.fit.skeletons == ()


def test_a_skeleton_that_was_refused_is_not_offered_in_its_own_place() -> None:
    """Its gap is below the bound, and yet another mirror, one of no skeleton, fits much better."""
    other = of_many("x not negated", 0.21, 0.4, 0.21, 0.49)
    found = judged(Comparison(0.49, (other,), same=("given",)), REAL)
    assert found.fit is not None and found.fit.is_refuted and found.fit.skeletons == ()
    assert found.warnings == (
        "another mirror fits the network better: its gap is 0.21 with x not negated, 0.49 with T",
    )


class Scores(nn.Module):
    """A recogniser that looks at one side of one pair."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, 1] + 0.2 * x[:, 3]


def test_scores_that_like_whatever_moves_least_say_nothing() -> None:
    invariant = TensorRepresentation.trivial((16, 3))
    mirror = replace(MIRROR, outputs=(invariant,))
    others = {
        "unswapped": replace(resolve(neighbours(BODY)["left_knee and right_knee unswapped"]), outputs=(invariant,))
    }
    found = asked(Scores(), mirror, others)
    assert found.fit is not None and found.fit.nearest == "" and found.fit.better == ()
    moving = {"y": replace(resolve(neighbours(BODY)["y negated instead of x"]), outputs=(invariant,))}
    found = asked(Scores(), mirror, moving)
    assert found.fit is not None and found.fit.nearest == "y"


def test_a_joint_axis_of_the_output_is_compared_where_two_mirrors_differ() -> None:
    """One pair of many, in the output alone: hardly to be seen in the gap of all entries."""

    class Mostly(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * torch.tensor([10.0, 10.0, 10.0, 10.0, 10.0, 0.1, 0.1])[:, None]

    wrong = replace(MIRROR, outputs=resolve(neighbours(BODY)["left_ear and right_ear unswapped"]).outputs)
    found = asked(Mostly(), wrong, {"the true one": MIRROR})
    assert found.fit is not None and found.fit.gap < 0.02 and found.fit.better == ()  # too small to stop anything
    wrong = replace(MIRROR, outputs=resolve(neighbours(BODY)["left_knee and right_knee unswapped"]).outputs)
    found = asked(Mostly(), wrong, {"the true one": MIRROR})
    assert "on the entries that the two predict differently" in found.warnings[0]


def test_what_a_file_remembers() -> None:
    fit = MirrorFit(0.2, "no swap at all", 0.9, real=True)
    assert recalled(fit).checks == (
        "T fitted the original when it was converted: the original's gap was 0.2 with T, 0.9 with no swap at all",
    )
    assert recalled(replace(fit, nearest_gap=0.1)).warnings == (
        "T was in doubt when the original was converted: the original's gap was 0.2 with T, 0.1 with no swap at all",
    )
    doubted = replace(fit, doubt="its gap is 0.7 with the classes 0 and 1 unswapped, 0.9 with T")
    assert recalled(doubted).warnings == (
        "T was in doubt when the original was converted: its gap is 0.7 with the classes 0 and 1 unswapped, 0.9 with T",
    )
    assert recalled(replace(fit, real=False)).notes == (
        "the mirror was not confirmed: it was converted without real inputs",
    )
    assert recalled(replace(fit, trained=False)).notes == (
        "it was converted untrained, which cannot tell whether T is its mirror",
    )
    assert recalled(replace(fit, gap=0.8)).notes == (
        "nothing confirmed T when the original was converted: the original's gap was 0.8 with T, 0.9 with no swap at "
        "all",
    )
    refuted = replace(fit, gap=1.6, skeletons=("h36m-17",))
    assert recalled(refuted).warnings == (
        "it was converted although T does not fit the original: the original's gap was 1.6 with T, 0.9 with no swap at "
        "all; shipped skeletons whose mirror fits: h36m-17",
    )


# ---- the names of the entries ---------------------------------------------------------------------------------
def test_crossed_pairs_contradict_the_names() -> None:
    assert names_of_entries(CROSSED).warnings == (
        "input 0: T takes left_knee.x to right_elbow.x, by its name it belongs to right_knee.x (4 such entries)",
        "output 0: T takes left_knee.x to right_elbow.x, by its name it belongs to right_knee.x (4 such entries)",
    )


def test_a_pose_symmetric_by_names_must_stay_so() -> None:
    class Under(nn.Module):
        """Exactly equivariant under the mirror that it is given."""

        def __init__(self, mirror: NetworkMirror) -> None:
            super().__init__()
            self.own, self.inner = mirror, Trained()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (self.inner(x) + act(self.inner(act(x, self.own.inputs[0])), self.own.outputs[0])) / 2

    good = symmetric_pose(Under(MIRROR), MIRROR, CALLS)
    assert good == Evidence()
    bad = symmetric_pose(Under(CROSSED), CROSSED, CALLS)
    assert "the answer to a symmetric pose is asymmetric" in bad.warnings[-1]


def test_an_answer_that_is_nothing_for_a_symmetric_pose() -> None:
    """Of a lean, which is 0 there, what is left is rounding: it is counted in the scale of other answers."""

    class Lean(nn.Module):
        """The odd part of a network, and a little that is not."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = Trained()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            image = act(self.inner(act(x, MIRROR.inputs[0])), MIRROR.outputs[0])
            return 1e-7 + self.inner(x) - image

    odd = replace(MIRROR, outputs=(replace(MIRROR.outputs[0], sign=-MIRROR.outputs[0].sign),))
    assert symmetric_pose(Lean(), odd, CALLS) == Evidence()


def test_names_rebuild_the_mirror_without_the_pairs() -> None:
    bare = resolve(replace(BODY, pairs=()))
    named = by_names(bare)
    assert named is not None and named.outputs == MIRROR.outputs
    assert by_names(replace(MIRROR, label=plain_label)) is None


def test_names_are_read_on_a_merged_axis() -> None:
    flat = TensorRepresentation((Representation.trivial(2), Representation.of(BODY.merged_action())))
    bare = TensorRepresentation((Representation.trivial(2), Representation.of(replace(BODY, pairs=()).merged_action())))
    mirror = NetworkMirror((bare,), (bare,), label=lambda io, i, at: f"{NAMES[at[1] // 3]}.{'xyz'[at[1] % 3]}")
    named = by_names(mirror)
    assert named is not None and named.inputs == (flat,)


def test_signs_that_contradict_the_names_are_told() -> None:
    robot = Skeleton(
        "robot", ("left_hip", "right_hip"), (), dims=("q",), negate=(), signs=((0, (-1,)), (1, (1,))), lateral="y"
    )
    own = TensorRepresentation((Representation.of(robot.merged_action()),))
    mirror = NetworkMirror((own,), (own,), label=lambda io, index, at: robot.joints[at[0]])
    assert "contradict the signs" in names_of_entries(mirror).warnings[0]


# ---- names and bones ------------------------------------------------------------------------------------------
def test_names_and_bones_in_order() -> None:
    found = name_findings(NAMES, PAIRS, EDGES)
    assert found == Evidence(
        ("3 of 3 pairs agree with left and right in the joint names", "all 6 bones have their mirror image"),
        warnings=(),
    )


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (((1, 4), (3, 2), (5, 6)), "left_knee is paired with right_elbow, by its name it belongs to right_knee"),
        (((1, 2), (5, 6)), "left_elbow and right_elbow are not paired, their names say that they are partners"),
        (((1, 3), (5, 6)), "left_knee and left_elbow are paired, both names say left"),
        (((2, 1), (3, 4), (5, 6)), "pair [right_knee, left_knee] lists the right joint first"),
    ],
)
def test_wrong_pairs_are_named(pairs: tuple[tuple[int, int], ...], said: str) -> None:
    assert said in name_findings(NAMES, pairs).warnings


def test_a_bone_without_mirror_image_is_named() -> None:
    found = name_findings(NAMES, PAIRS, EDGES[:-1])
    assert found.warnings == ("bone left_elbow - left_ear has no mirror image right_elbow - right_ear",)


def test_names_that_tell_nothing_say_nothing() -> None:
    assert name_findings(("a", "b", "c"), ((0, 1),)) == Evidence()
    found = name_findings((*NAMES, "face-0", "face-1"), (*PAIRS, (7, 8)))
    assert found.warnings == () and found.checks == (
        "3 of 3 pairs agree with left and right in the joint names; 1 of 4 pairs name no side",
    )
    assert name_findings((*NAMES, "left_toe", "foot"), (*PAIRS, (7, 8))).checks == (
        "3 of 4 pairs agree with left and right in the joint names",
    )


# ---- neighbours -----------------------------------------------------------------------------------------------
def test_neighbours_of_a_body() -> None:
    assert list(neighbours(BODY)) == [
        "no swap at all",
        "y negated instead of x",
        "z negated instead of x",
        "left_knee and right_knee unswapped",
        "left_elbow and right_elbow unswapped",
        "left_ear and right_ear unswapped",
        "left_knee paired with right_elbow and left_elbow paired with right_knee",
        "left_knee paired with left_elbow and right_knee paired with right_elbow",
        "left_knee paired with right_ear and left_ear paired with right_knee",
        "left_knee paired with left_ear and right_knee paired with right_ear",
        "left_elbow paired with right_ear and left_ear paired with right_elbow",
        "left_elbow paired with left_ear and right_elbow paired with right_ear",
    ]
    robot = Skeleton("robot", ("L_hip", "R_hip", "waist"), ((0, 1),), ("q",), (), ((0, (-1,)), (1, (-1,))), "y")
    assert list(neighbours(robot)) == [
        "no swap at all",
        "no signs of single joints",
        "x as the lateral axis",
        "z as the lateral axis",
        "L_hip and R_hip unswapped",
        "the other sign of all joints",
        "the other sign of L_hip and R_hip",
        "the other sign of waist",
    ]


def test_joined() -> None:
    fit = MirrorFit(0.1)
    assert joined(Evidence(("a",)), Evidence(("b", "a"), ("c",), fit, ("d",))) == Evidence(
        ("a", "b"), ("c",), fit, ("d",)
    )


def test_joints_that_swap_where_no_coordinate_is_negated_are_no_mirror() -> None:
    """In space; a plane may lie along the body, as of a walker from the side."""
    flat = replace(BODY, dims=("x", "y"), negate=("x",))
    assert "x not negated" in neighbours(flat)
    for negated, is_mirror in (((), False), (("x",), True), (("x", "z"), False), (("x", "y", "z"), True)):
        spec = load_spec(replace(BODY, negate=negated))
        found = reflection_findings(resolve_spec(spec, [(16, 7, 3)], [(16, 7, 3)]))
        assert (found.warnings == ()) == is_mirror, negated
        assert all("in input 0, which" in warning for warning in found.warnings)
    plane = load_spec(replace(BODY, dims=("x", "y"), negate=()))
    found = reflection_findings(resolve_spec(plane, [(16, 7, 2)], [(16, 7, 2)]))
    assert not found.warnings and found.notes[0].startswith("2 doubts about signs of the specification, in input 0: ")
    assert found.notes[0].endswith("left stays left; `chiralize skeleton lint` shows them")
    aside = replace(plane, skeleton=replace(plane.skeleton, lateral="z"))
    assert reflection_findings(resolve_spec(aside, [(16, 7, 2)], [(16, 7, 2)])) == Evidence()


def test_errors_by_coordinate_beside_a_pose_are_noted_alone() -> None:
    base = load_spec(BODY)
    errors = TensorEntry(override=BodyOverride(negate=()))
    for outputs, warned, noted in (((TensorEntry(), errors), 0, 1), ((errors,), 1, 0), ((errors, errors), 1, 0)):
        spec = replace(base, outputs=outputs)
        found = reflection_findings(resolve_spec(spec, [(16, 7, 3)], [(16, 7, 3)] * len(outputs)))
        assert (len(found.warnings), len(found.notes)) == (warned, noted)
        assert all(
            f"in output {len(outputs) - 1 if noted else 0}, which" in text for text in found.warnings + found.notes
        )


def test_a_mirror_that_comes_nearer_is_named_though_it_does_not_fit() -> None:
    found = judged(Comparison(3.0, (of_many("the other sign of all joints", 1.1, 0.37, 1.1, 3.0),)), REAL)
    assert found.warnings[1] == (
        "another mirror comes nearer, though it does not fit either: 1.1 with the other sign of all joints"
    )
    assert found.fit is not None and "1.1 with the other sign" in recalled(found.fit).warnings[0]
    much = judged(Comparison(1.17, (of_many("v as a polar vector", 0.546, 0.47, 0.546, 1.17),)), REAL)
    assert much.warnings[1] == "another mirror comes much nearer: 0.546 with v as a polar vector, 1.17 with T"
    assert much.fit is not None and much.fit.nearest_is_first and not found.fit.nearest_is_first
    as_far = judged(Comparison(3.0, (of_many("no swap at all", 2.9, 0.97, 2.9, 3.0),)), REAL)
    assert len(as_far.warnings) == 1 and as_far.fit is not None
    assert recalled(as_far.fit).warnings[0].endswith("the original's gap was 3 with T"), "to name it is to suspect it"
