"""Pairs that are a shipped skeleton's but for a few, where the network itself cannot tell."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from chiralize.body.skeleton.catalog import find_shipped
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors import load_spec
from chiralize.problem.preparation import prepare
from chiralize.symmetry.action import act
from chiralize.symmetry.representation import Representation, TensorRepresentation
from chiralize.verification.evidence.near_shipped import near_shipped
from chiralize.verification.evidence.records import Comparison, MirrorGap
from chiralize.verification.mirror_evidence import ask_network


def coco() -> Skeleton:
    body = find_shipped("coco-17")
    assert body is not None
    return body


NUMBERED = replace(coco(), name="mine", joints=tuple(f"k{at}" for at in range(17)), dims=("x", "y"))
CROSSED = replace(NUMBERED, pairs=((1, 4), (3, 2), *NUMBERED.pairs[2:]))
"""The ears and the eyes, each with a joint of the other pair."""


def fits(ratio: float, name: str = "coco-17") -> Comparison:
    return Comparison(
        0.2, (MirrorGap(f"the skeleton {name}", 0.2 * ratio, ratio, 0.2 * ratio, 0.2, (name,), numbers=1000),)
    )


class Lifter(nn.Module):
    """Nearly equivariant under the pairs of a body; its eyes and ears matter little, and are answered with 0."""

    def __init__(self, body: Skeleton) -> None:
        super().__init__()
        torch.manual_seed(0)
        first, last = nn.Linear(34, 64), nn.Linear(64, 34)
        self.net = nn.Sequential(nn.Flatten(), first, nn.Tanh(), last)
        for weight in self.net.parameters():
            weight.data = torch.randn_like(weight) ** 3 / 3
        with torch.no_grad():
            first.weight[:, 2:10] *= 0.02
            last.weight[2:10] = 0
            last.bias[2:10] = 0
        axes = (
            Representation.trivial(1),
            Representation.of(body.joint_action()),
            Representation.of(body.coord_action()),
        )
        self.T = TensorRepresentation(axes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        other = act(self.net(act(x, self.T)).view(x.shape), self.T)
        return 0.57 * self.net(x).view(x.shape) + 0.43 * other


POSES = torch.randn(256, 17, 2, generator=torch.Generator().manual_seed(0)).double() ** 3 + torch.arange(34).view(17, 2)


def asked(trained_under: Skeleton, given: Skeleton) -> tuple[str, ...]:
    network = prepare(Lifter(trained_under).double(), load_spec(given), (POSES[:2],))
    evidence = ask_network(network, [((POSES,), {})])
    assert evidence.fit is not None and evidence.fit.is_confirmed
    return evidence.warnings


def test_a_crossed_pair_of_numbered_joints_is_named() -> None:
    (warning,) = asked(NUMBERED, CROSSED)
    assert warning.startswith(
        "nearly all pairs are those of the skeleton coco-17, which fits the network no worse (its gap is "
    )
    assert warning.endswith("it pairs k1 with k2, k3 with k4, and T k1 with k4, k2 with k3: check these pairs")


def test_another_order_in_which_the_network_was_trained_raises_no_doubt() -> None:
    assert asked(CROSSED, CROSSED) == () and asked(NUMBERED, NUMBERED) == ()


@pytest.mark.parametrize(("ratio", "warns"), [(0.98, True), (1.0, True), (1.02, False), (2.0, False)])
def test_a_shipped_skeleton_that_fits_worse_says_nothing(ratio: float, warns: bool) -> None:
    few = replace(NUMBERED, pairs=NUMBERED.pairs[:-1])
    assert bool(near_shipped(few, fits(ratio)).warnings) == warns


def test_one_joint_too_few_in_the_pairs_is_named() -> None:
    (warning,) = near_shipped(replace(NUMBERED, pairs=NUMBERED.pairs[1:]), fits(0.9)).warnings
    assert "it pairs k1 with k2, and T none of them" in warning


def test_names_that_speak_for_T_are_heard() -> None:
    joints = list(NUMBERED.joints)
    joints[1], joints[4], joints[2], joints[3] = "left_a", "right_a", "right_b", "left_b"
    crossed = replace(CROSSED, joints=tuple(joints), pairs=((1, 4), (3, 2), *CROSSED.pairs[2:]))
    assert near_shipped(crossed, fits(0.9)) == near_shipped(coco(), fits(0.9, "posetrack18-17"))
    assert near_shipped(replace(crossed, joints=NUMBERED.joints), fits(0.9)).warnings


def test_a_skeleton_in_another_order_is_not_near() -> None:
    for name in ("ap10k-17", "h36m-17", "mpi-inf-3dhp-17"):
        assert near_shipped(NUMBERED, fits(0.9, name)).warnings == ()
    assert near_shipped(CROSSED, replace(fits(0.9), same=("mine",))).warnings == ()
