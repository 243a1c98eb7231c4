"""Joints by name on a human body: every shipped human skeleton, and none of the others."""

from __future__ import annotations

import numpy as np
import pytest

from chiralize.body.skeleton.anatomy import Landmark, landmarks, stem
from chiralize.body.skeleton.catalog import load_skeleton, shipped
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.problem.poses.figure import placed
from chiralize.problem.poses.motion import JOINTS, draw, mirrored

NO_BODY = {
    "ap10k-17": "joint 'Root of tail' of skeleton ap10k-17 is no known part of a human body",
    "atlas-30": "joint 'back_bkz' of skeleton atlas-30 is no known part of a human body",
    "cassie-16": "joint 'joint0' of skeleton cassie-16 is no known part of a human body",
    "face-68": "joint 'kpt-0' of skeleton face-68 is no known part of a human body",
    "hand-21": "skeleton hand-21 has no shoulders and elbows, and is no whole body",
    "hand-21x2": "skeleton hand-21x2 has no shoulders and elbows, and is no whole body",
    "macaque-17": "skeleton macaque-17 is no human body",
    "quadruped-12": "skeleton quadruped-12 is no human body",
}
HUMAN = [name for name in shipped() if name not in NO_BODY]


def points_of(name: str) -> tuple[Landmark, ...]:
    points = landmarks(load_skeleton(name))
    assert not isinstance(points, str), points
    return points


@pytest.mark.parametrize("name", HUMAN)
def test_human_skeletons_have_plausible_bones(name: str) -> None:
    skeleton = load_skeleton(name)
    poses = placed(points_of(name), draw(200, 1, 0)[:, 0])
    assert poses.shape == (200, len(skeleton.joints), 3) and np.isfinite(poses).all()
    for first, last in skeleton.edges:
        lengths = np.linalg.norm(poses[:, first] - poses[:, last], axis=-1)
        assert 0.005 < lengths.mean() < 0.65, (skeleton.joints[first], skeleton.joints[last], lengths.mean())
    size = np.ptp(poses.reshape(200, -1, 3), axis=1).max(-1)
    assert 0.9 < np.median(size) < 1.9


@pytest.mark.parametrize("name", HUMAN)
def test_partners_are_partners(name: str) -> None:
    """A mirrored body has the mirrored joints, each where its partner was."""
    skeleton, joints = load_skeleton(name), draw(50, 1, 1)
    points = points_of(name)
    expected = placed(points, joints)[..., skeleton.joint_action().partner, :] * [-1, 1, 1]
    assert np.abs(placed(points, mirrored(joints)) - expected).max() < 1e-9
    for left, right in skeleton.pairs:
        sides = points[left].side, points[right].side
        assert sides == ("left", "right"), (skeleton.joints[left], sides)


@pytest.mark.parametrize("name", HUMAN)
def test_left_is_left(name: str) -> None:
    """Of people who face the viewer of z, those joints lie on the left that are called left."""
    skeleton = load_skeleton(name)
    poses = placed(points_of(name), draw(400, 1, 2)[:, 0])
    hips = draw(400, 1, 2)[:, 0][:, [JOINTS.index("left_hip"), JOINTS.index("right_hip")]]
    across = hips[:, 0] - hips[:, 1]
    for left, right in skeleton.pairs:
        apart = ((poses[:, left] - poses[:, right]) * across).sum(-1)
        assert np.mean(apart >= -1e-9) > 0.6, skeleton.joints[left]


@pytest.mark.parametrize("name", NO_BODY)
def test_others_have_none(name: str) -> None:
    assert landmarks(load_skeleton(name)) == NO_BODY[name]


def test_the_seventeen_are_themselves() -> None:
    joints = draw(3, 2, 0)
    assert np.array_equal(placed(points_of("h36m-17"), joints), joints)


def test_a_foot_is_an_ankle_unless_there_is_one() -> None:
    joints = draw(20, 1, 0)[:, 0]
    ours, theirs = load_skeleton("ntu-25"), placed(points_of("ntu-25"), joints)
    foot, ankle = theirs[:, ours.index("left_foot")], theirs[:, ours.index("left_ankle")]
    assert (np.linalg.norm(foot - ankle, axis=-1) > 0.1).all()
    h36m = placed(points_of("h36m-17"), joints)[:, load_skeleton("h36m-17").index("left_foot")]
    assert np.allclose(h36m, ankle)


def test_face_points_are_in_front_of_the_ears() -> None:
    skeleton, joints = load_skeleton("coco-17"), draw(50, 1, 3)[:, 0]
    poses = placed(points_of("coco-17"), joints)
    named = {joint: poses[:, skeleton.index(joint)] for joint in ("nose", "left_ear", "right_ear")}
    middle = (named["left_ear"] + named["right_ear"]) / 2
    forward = np.cross(named["left_ear"] - named["right_ear"], joints[:, 10] - joints[:, 8])
    assert (((named["nose"] - middle) * forward).sum(-1) > 0).all()


def test_names_of_other_people_are_understood() -> None:
    names = "Hips LeftUpLeg RightUpLeg".split()
    assert isinstance(landmarks(Skeleton("mine", tuple(names), ((1, 2),))), str)
    limbs = [f"{side}{part}" for part in ("Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle") for side in "LR"]
    mine = Skeleton("mine", ("Pelvis", *limbs), tuple((1 + 2 * pair, 2 + 2 * pair) for pair in range(6)))
    points = landmarks(mine)
    assert not isinstance(points, str) and points[1].weights == (("left_shoulder", 1.0),)


@pytest.mark.parametrize(
    ("joint", "short"), [("r_hip", "hip"), ("MidHip", "midhip"), ("Neck/Nose", "necknose"), ("left_thumb3", "thumb3")]
)
def test_stems(joint: str, short: str) -> None:
    assert stem(joint) == short
