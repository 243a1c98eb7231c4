"""A wrong mirror is noticed by names, by bones and by the trained network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from chiralize.errors import SpecError
from chiralize.evidence import alternatives, bone_findings, by_names, evidence, joined, name_findings, neighbours
from chiralize.representation import Representation, TensorRepresentation
from chiralize.running import act
from chiralize.skeleton.skeleton import Skeleton
from chiralize.verdicts import Evidence, Mirror, plain_label

NAMES = ("hip", "left_knee", "right_knee", "left_elbow", "right_elbow", "left_ear", "right_ear")
PAIRS = ((1, 2), (3, 4), (5, 6))
EDGES = ((0, 1), (2, 0), (0, 3), (0, 4), (3, 5), (4, 6))
BODY = Skeleton("body", NAMES, PAIRS, edges=EDGES)
X = torch.zeros(16, 7, 3)


def resolve(skeleton: Skeleton) -> Mirror:
    pose = TensorRepresentation(
        (
            Representation.trivial(16),
            Representation.of(skeleton.joint_action()),
            Representation.of(skeleton.coord_action()),
        )
    )
    return Mirror((pose,), (pose,), label=lambda io, index, entry: f"{NAMES[entry[1]]}.{'xyz'[entry[2]]}")


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
        there = act(MIRROR.outputs[0], self.inner(act(MIRROR.inputs[0], x)).view(x.shape))
        return (0.5 + self.lean) * y + (0.5 - self.lean) * there


def test_the_right_mirror_is_confirmed() -> None:
    found = evidence(Trained(), MIRROR, alternatives(BODY, resolve), (X,))
    assert found.warnings == ()
    assert found.checks[0].startswith("of 6 neighbouring mirrors none fits the original clearly better")
    assert found.checks[1] == "the swaps of T agree with left and right in the names of the entries"


@pytest.mark.parametrize("wrong", list(neighbours(BODY)))
def test_every_neighbouring_mirror_is_found_out(wrong: str) -> None:
    others = {"the true one": MIRROR}
    found = evidence(Trained(), resolve(neighbours(BODY)[wrong]), others, (X,))
    assert any("fits another mirror better" in text and "the true one" in text for text in found.warnings)


def test_crossed_pairs_contradict_the_names() -> None:
    found = evidence(Trained(), CROSSED, {}, (X,))
    assert found.warnings == (
        "input 0: T takes left_knee.x to right_elbow.x, by its name it belongs to right_knee.x (4 such entries)",
        "output 0: T takes left_knee.x to right_elbow.x, by its name it belongs to right_knee.x (4 such entries)",
    )


def test_a_pose_symmetric_by_names_must_stay_so() -> None:
    class Under(nn.Module):
        """Exactly equivariant under the mirror that it is given."""

        def __init__(self, mirror: Mirror) -> None:
            super().__init__()
            self.own, self.inner = mirror, Trained()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (self.inner(x) + act(self.own.outputs[0], self.inner(act(self.own.inputs[0], x)))) / 2

    good = evidence(Trained(), MIRROR, {}, (X,), converted=Under(MIRROR))
    assert good.warnings == () and "comes out symmetric by names" in good.checks[-1]
    bad = evidence(Trained(), CROSSED, {}, (X,), converted=Under(CROSSED))
    assert "comes out asymmetric by names" in bad.warnings[-1]


def test_names_rebuild_the_mirror_without_the_pairs() -> None:
    bare = resolve(replace(BODY, pairs=()))
    named = by_names(bare)
    assert named is not None and named.outputs == MIRROR.outputs
    assert by_names(replace(MIRROR, label=plain_label)) is None


def test_names_are_read_on_a_merged_axis() -> None:
    flat = TensorRepresentation((Representation.trivial(2), Representation.of(BODY.merged_action())))
    bare = TensorRepresentation((Representation.trivial(2), Representation.of(replace(BODY, pairs=()).merged_action())))
    mirror = Mirror((bare,), (bare,), label=lambda io, i, at: f"{NAMES[at[1] // 3]}.{'xyz'[at[1] % 3]}")
    named = by_names(mirror)
    assert named is not None and named.inputs == (flat,)


def test_signs_that_contradict_the_names_are_told() -> None:
    robot = Skeleton(
        "robot", ("left_hip", "right_hip"), (), dims=("q",), negate=(), signs=((0, (-1,)), (1, (1,))), lateral="y"
    )
    own = TensorRepresentation((Representation.of(robot.merged_action()),))
    mirror = Mirror((own,), (own,), label=lambda io, index, at: robot.joints[at[0]])
    found = evidence(nn.Identity(), mirror, {}, (torch.zeros(2),))
    assert "contradict the signs" in found.warnings[0]


def test_no_warning_without_anything_to_compare() -> None:
    still = Mirror((TensorRepresentation.trivial((16, 7, 3)),), (TensorRepresentation.trivial((16, 7, 3)),))
    assert evidence(Trained(), MIRROR, {"nothing": still}, (X,)).warnings == ()
    assert evidence(nn.Identity(), still, {"true": MIRROR}, (X,)) == Evidence()


# ---- names and bones ------------------------------------------------------------------------------------------
def test_names_and_bones_in_order() -> None:
    found = name_findings(NAMES, PAIRS, EDGES)
    assert found == Evidence(
        ("3 of 3 pairs are told by the joint names", "all 6 bones have their mirror image"), warnings=()
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


def test_bone_lengths() -> None:
    rng = np.random.default_rng(0)
    poses = rng.normal(size=(50, 7, 3))
    even = np.concatenate([poses, poses[:, [0, 2, 1, 4, 3, 6, 5]] * [-1, 1, 1]])
    assert bone_findings(NAMES, PAIRS, EDGES, even).checks == ("3 pairs of bones have equal mean lengths within 10 %",)
    even[:, 5] += 3
    assert "left_elbow - left_ear has mean length" in bone_findings(NAMES, PAIRS, EDGES, even).warnings[0]


# ---- neighbours -----------------------------------------------------------------------------------------------
def test_neighbours_of_a_body() -> None:
    assert list(neighbours(BODY)) == [
        "no swap at all",
        "left_knee and right_knee unswapped",
        "left_elbow and right_elbow unswapped",
        "left_ear and right_ear unswapped",
        "y negated instead of x",
        "z negated instead of x",
    ]
    robot = Skeleton("robot", ("L_hip", "R_hip"), ((0, 1),), ("q",), (), ((0, (-1,)), (1, (-1,))), "y")
    assert list(neighbours(robot))[-1] == "no signs of single joints"


def test_refused_neighbours_are_left_out() -> None:
    def picky(skeleton: Skeleton) -> Mirror:
        if not skeleton.pairs:
            raise SpecError("here", "no pairs", "add some")
        return resolve(skeleton)

    assert "no swap at all" not in alternatives(BODY, picky) and len(alternatives(BODY, picky)) == 5


def test_joined() -> None:
    assert joined(Evidence(("a",)), Evidence(("b",), ("c",))) == Evidence(("a", "b"), ("c",))
