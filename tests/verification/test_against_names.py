"""Mirrors against names that T follows mend no specification: one actor's habits, joints in another order, pairs left
out of some skeletons.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import ResolvedSpec, parse_spec, resolve
from chiralize.errors import MirrorError
from chiralize.graph.mirror import Around, NetworkMirror
from chiralize.problem.mirror import mirror_from
from chiralize.report.cautions import mirror_cautions
from chiralize.symmetry.action import act
from chiralize.verification.evidence.against_names import against_names, places_against_names
from chiralize.verification.evidence.judging import Basis, judged
from chiralize.verification.evidence.names import unpaired_by_names
from chiralize.verification.evidence.records import AgainstNames, Comparison, MirrorGap
from tests.support.cases import mainly
from tests.verification.test_other_fields import Symmetric

FACE = [f"{part}{side}" for part in ("blink", "brow", "smile", "squint") for side in ("Left", "Right")]
LEGS = ("FL", "FR", "RL", "RR")
REAL = Basis(real=True, trained=True, rows=2000)


# ---- habits ---------------------------------------------------------------------------------------------------
def face(*unpaired: str) -> str:
    """A specification of weights of a face. unpaired: parts of which the answers have no pair."""

    def pairs(parts: Sequence[str]) -> str:
        return ", ".join(f"[{part}Left, {part}Right]" for part in parts)

    parts = ["blink", "brow", "smile", "squint"]
    paired = [part for part in parts if part not in unpaired]
    center = ", ".join(f"{part}{side}" for part in unpaired for side in ("Left", "Right"))
    body = f"joints: [{', '.join(FACE)}], dims: [w], negate: []"
    return f"""
skeleton: {{{body}, pairs: [{pairs(parts)}]}}
inputs: [{{layout: "b j", name: past}}]
outputs: [{{layout: "b j", skeleton: {{{body}, pairs: [{pairs(paired)}], center: [{center}]}}, name: next}}]
"""


class Actor(nn.Module):
    """The next face of somebody who smiles on the left and raises one brow; squints hardly, and always alike.

    Apart from these pairs it is equivariant under the right mirror, whatever the past.
    """

    def __init__(self, habit: float = 0.2) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.net = nn.Sequential(nn.Linear(8, 24), nn.Tanh(), nn.Linear(24, 8))
        for weight in self.net.parameters():
            weight.data = torch.randn_like(weight) ** 3 / 3
        right = resolve(parse_spec(face()), [(1, 8)], [(1, 8)])
        assert right.inputs[0] is not None and right.outputs[0] is not None
        self.on_inputs, self.on_outputs, self.habit = right.inputs[0], right.outputs[0], habit

    def forward(self, x: Tensor) -> Tensor:
        """The next weights, "b 8"."""
        y = (self.net(x) + act(self.net(act(x, self.on_inputs)), self.on_outputs)) / 2
        brow, smile, squint = (y[:, two : two + 2].sum(1, keepdim=True) for two in (2, 4, 6))  # those of T x as well
        habits = [brow, brow * self.habit, smile * self.habit, smile, squint * 1e-3, squint * -1e-3]
        return torch.cat([y[:, :2], *habits], 1)


def past() -> Tensor:
    """Past faces, "64 8"."""
    return torch.rand(64, 8, generator=torch.Generator().manual_seed(1)) ** 3 * 2 - 0.5


def convert(text: str, method: str = "auto", force: bool = False) -> nn.Module:
    x = past()
    return chiralize.chiralize(Actor(), parse_spec(text), (x[:2],), calibration=x, method=method, force=force)


@pytest.mark.parametrize("method", mainly([["auto"], ["average"]], [["average"]]))
def test_habits_are_no_mistakes_of_the_pairs(method: str) -> None:
    with pytest.raises(MirrorError) as caught:
        convert(face(), method)
    error = caught.value
    assert "the network answers the two sides of " in error.facts
    assert "smileLeft and smileRight" in error.facts and "browLeft and browRight" in error.facts
    assert "No pair is wrong for that: it is the habit of one actor, or data of one side" in error.facts
    assert "squint" not in error.facts  # they hardly move
    assert error.remedy.startswith(
        "leave the pairs as they are, and see that the joints are in the order of the network"
    )
    assert (
        "train it with mirrored copies; or take on purpose what knows no side: --method average --force" in error.remedy
    )
    assert "unswapped" not in str(error) and "changes" not in str(error)


def test_habits_are_averaged_on_purpose() -> None:
    report = chiralize.chirality(convert(face(), "average", force=True)).report
    assert report is not None and report.is_average
    fit = report.evidence.fit
    assert fit is not None and fit.unlike[:2] == ("browLeft and browRight", "smileLeft and smileRight")
    brief = mirror_cautions(report.evidence)[0].brief
    assert brief.startswith(
        "the original answers the two sides of browLeft and browRight, smileLeft and smileRight unlike"
    )


def test_without_a_habit_nothing_is_said_of_what_hardly_moves() -> None:
    x = past()
    result = chiralize.chiralize(Actor(1.0), parse_spec(face()), (x[:2],), calibration=x, method="average")
    report = chiralize.chirality(result).report
    assert report is not None and report.evidence.fit is not None and report.evidence.fit.is_confirmed
    assert not report.evidence.warnings


@pytest.mark.parametrize(("share", "is_refuted"), [(0.011, False), (0.3, True)])
@pytest.mark.parametrize("against", [AgainstNames(), AgainstNames(unswapped=("squintLeft and squintRight",))])
def test_entries_that_hardly_move_refute_nothing(share: float, is_refuted: bool, against: AgainstNames) -> None:
    """T is off there by a hundredth of what the output varies by (blendshapes: 0.001 beside 0.22)."""
    name = "squintLeft and squintRight unswapped in the outputs alone"
    other = MirrorGap(name, 0.4, 0.27, 0.25, 0.94, (), False, "same", numbers=4000, share=share)
    fit = judged(Comparison(0.41, (other,), against={name: against} if against else {}), REAL).fit
    assert fit is not None and fit.is_refuted == is_refuted and bool(fit.unlike) == (is_refuted and bool(against))
    assert not fit.doubt or not against


def test_another_mistake_comes_before_habits() -> None:
    habit = MirrorGap("a unswapped", 0.5, 0.1, 0.1, 1.0, numbers=4000)
    sign = MirrorGap("y negated instead of x", 0.3, 0.3, 0.3, 1.0, numbers=4000)
    against = {habit.name: AgainstNames(unswapped=("l_a and r_a",))}
    fit = judged(Comparison(0.9, (habit, sign), against=against), REAL).fit
    assert fit is not None and fit.better == (sign.name,) and not fit.unlike


# ---- what goes against names ------------------------------------------------------------------------------------
def of_points(pairs: str) -> ResolvedSpec:
    """Five points of which those without a pair are in the middle."""
    joints = ["hip", "l_1", "l_4", "r_1", "r_4"]
    center = ", ".join(joint for joint in joints if joint not in pairs)
    text = f"joints: [{', '.join(joints)}]\npairs: {pairs}\ncenter: [{center}]\ndims: [x, y]\n"
    return resolve(parse_spec(text), [(1, 5, 2)], [(1, 5, 2)])


def mirror_of(pairs: str) -> NetworkMirror:
    resolved = of_points(pairs)
    return mirror_from(resolved, resolved.inputs, resolved.outputs, {}, Around())


NAMED = "[[l_1, r_1], [l_4, r_4]]"


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        (NAMED, AgainstNames()),
        ("[[l_1, r_4], [l_4, r_1]]", AgainstNames()),  # left with right: numbers may go round
        ("[[l_1, r_1]]", AgainstNames(unswapped=("l_4 and r_4",))),
        ("[[l_1, l_4], [r_1, r_4]]", AgainstNames(misplaced=("l_1 with l_4", "r_1 with r_4"))),
        ("[[l_1, r_1], [hip, l_4]]", AgainstNames(unswapped=("l_4 and r_4",), misplaced=("hip with l_4",))),
    ],
)
def test_what_goes_against_names(pairs: str, expected: AgainstNames) -> None:
    known = places_against_names(mirror_of(NAMED))
    assert against_names(mirror_of(pairs), known) == expected
    assert not against_names(mirror_of(pairs), places_against_names(mirror_of(pairs)))


# ---- pairs that are left out ------------------------------------------------------------------------------------
@pytest.mark.parametrize("method", mainly([["auto"], ["average"], ["reduce"], ["match"]], [["average"]]))
def test_pairs_that_are_left_out_against_their_names_are_refused(method: str) -> None:
    """The network fits that mirror, and clearly worse the one that its names tell."""
    with pytest.raises(MirrorError) as caught:
        convert(face("smile", "brow", "squint"), method)
    assert caught.value.facts == (
        "T leaves browLeft and browRight, smileLeft and smileRight, squintLeft and squintRight in their places, whose "
        "names say that they are left and right partners, and swaps others by their names"
    )
    assert caught.value.remedy == (
        "pair them wherever a skeleton leaves them out, or give other names to joints that are no partners; --force "
        "converts all the same"
    )


def test_forced_they_are_a_warning() -> None:
    report = chiralize.chirality(convert(face("smile", "brow", "squint"), "average", force=True)).report
    assert report is not None
    assert any("by its name it belongs to" in warning for warning in report.evidence.warnings)
    assert not any("left aside" in note for note in report.evidence.notes)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        (NAMED, []),
        ("[[l_1, r_1]]", ["l_4 and r_4"]),
        ("[[l_1, r_4], [l_4, r_1]]", []),
        ("[[l_1, l_4], [r_1, r_4]]", []),  # between front and back
        ("[]", []),
    ],
)
def test_which_pairs_are_left_out(pairs: str, expected: list[str]) -> None:
    assert unpaired_by_names(of_points(pairs)) == expected


# ---- joints in another order ------------------------------------------------------------------------------------
BY_JOINT = [f"{leg}_{part}" for part in ("hip", "thigh") for leg in LEGS]
BY_LEG = [f"{leg}_{part}" for leg in LEGS for part in ("hip", "thigh")]


def robot(answered: Sequence[str]) -> str:
    """A policy's specification. answered: the joints in the order of the actions."""

    def body(joints: Sequence[str]) -> str:
        return f"joints: [{', '.join(joints)}], pairs: infer, dims: [q], negate: [], lateral: y"

    return f"""
skeleton: {{{body(BY_JOINT)}}}
inputs: [{{fields: [{{joints: q}}, {{joints: dq}}]}}]
outputs: [{{skeleton: {{{body(answered)}}}, fields: [{{joints: action}}]}}]
"""


def test_joints_in_another_order_are_named_as_such() -> None:
    """Joint by joint in the network, leg by leg in the specification."""
    x = torch.randn(64, 16, generator=torch.Generator().manual_seed(1)) ** 3 / 2
    with pytest.raises(MirrorError) as caught:
        network = Symmetric(robot(BY_JOINT), (16, 8))
        chiralize.chiralize(network, parse_spec(robot(BY_LEG)), (x[:2],), calibration=x, method="average")
    error = caught.value
    assert "the network does not answer as the names of the joints say, which may be in another order" in error.facts
    assert error.remedy.startswith("check the order of the joints first, which has to be that of the network's columns")
    assert "paired with" not in error.remedy
