"""Drawn motion: of plausible bodies, as likely as its mirror image, and always the same."""

from __future__ import annotations

import numpy as np
import pytest

from chiralize.problem.poses import motion
from chiralize.problem.poses.motion import JOINTS, PARENTS, PARTNERS, draw, mirrored, motion_model

LENGTHS = {
    "knee": (0.34, 0.5),
    "ankle": (0.34, 0.5),
    "elbow": (0.22, 0.35),
    "wrist": (0.22, 0.36),
    "spine": (0.09, 0.15),
}


def bones(joints: np.ndarray) -> np.ndarray:
    return np.linalg.norm(joints[..., 1:, :] - joints[..., list(PARENTS[1:]), :], axis=-1)


@pytest.mark.parametrize("frames", [1, 2, 9, 27, 243])
def test_bones_keep_plausible_lengths_equal_on_both_sides(frames: int) -> None:
    lengths = bones(draw(30, frames, 3))
    assert lengths.shape == (30, frames, 16)
    assert np.ptp(lengths, axis=1).max() < 1e-9
    assert np.allclose(lengths, lengths[..., [partner - 1 for partner in PARTNERS[1:]]])
    for name, (low, high) in LENGTHS.items():
        of_kind = [index - 1 for index, joint in enumerate(JOINTS) if joint.endswith(name)]
        assert low < lengths[..., of_kind].min() and lengths[..., of_kind].max() < high
    assert lengths.mean((1, 2)).std() > 0.003  # bodies of several sizes


def test_the_same_seed_draws_the_same() -> None:
    assert np.array_equal(draw(5, 20, 7), draw(5, 20, 7))
    assert not np.allclose(draw(5, 20, 7), draw(5, 20, 8))


def test_left_and_right_are_equally_likely() -> None:
    """Means, covariances and third moments of a large draw are those of its mirror image, within the noise."""
    joints = draw(20000, 1, 1)[:, 0]
    joints[:, :, [0, 2]] -= joints[:, :1, [0, 2]]
    for power in (1, 3):
        ours, theirs = (np.power(poses, power) for poses in (joints, mirrored(joints)))
        noise = np.sqrt((ours.var(0) + theirs.var(0)) / len(ours)) + 1e-9
        assert np.abs((ours.mean(0) - theirs.mean(0)) / noise).max() < 5
    one = np.cov(joints.reshape(len(joints), -1).T)
    other = np.cov(mirrored(joints).reshape(len(joints), -1).T)
    assert np.abs(one - other).max() < 0.03 * np.abs(one).max()


def test_every_motion_may_be_mirrored(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the coin turned round, the same seed draws exactly the mirror images."""
    ours = draw(20, 5, 2)
    monkeypatch.setattr(motion, "_either_side", lambda joints, generator: mirrored(_both(joints, generator)))
    assert np.allclose(draw(20, 5, 2), mirrored(ours))


_both = motion._either_side


def test_bodies_face_every_direction() -> None:
    joints = draw(2000, 1, 4)[:, 0]
    across = joints[:, JOINTS.index("left_hip")] - joints[:, JOINTS.index("right_hip")]
    angles = np.arctan2(across[:, 2], across[:, 0])
    assert np.histogram(angles, 8, (-np.pi, np.pi))[0].min() > 150


def test_people_stand_on_the_floor_and_do_not_fly() -> None:
    joints = draw(500, 27, 5)
    lowest, hip = joints[..., 1].min(-1), joints[:, :, 0, 1]
    assert np.median(hip) == pytest.approx(1.0, abs=0.15)
    assert np.abs(np.median(lowest)) < 0.25
    speed = 50 * np.linalg.norm(np.diff(joints, axis=1), axis=-1)
    assert 0.3 < np.median(speed) < 1.2 and np.percentile(speed, 99) < 8


def test_a_slower_camera_sees_longer_motions() -> None:
    fast, slow = (np.linalg.norm(np.diff(draw(300, 9, 6, rate), axis=1), axis=-1).mean() for rate in (50, 25))
    assert 1.5 < slow / fast < 2.5


def test_motion_goes_on_for_long() -> None:
    """Chains stay where the model was fitted: no drift to odd poses, no end."""
    joints = draw(40, 1000, 8)
    relative = joints - joints[:, :, :1]
    first, last = (np.abs(part).mean() for part in (relative[:, :200], relative[:, -200:]))
    assert np.isfinite(joints).all() and abs(last / first - 1) < 0.15


def test_the_weights_are_small_and_of_a_mixture() -> None:
    model = motion_model()
    assert model.mean.shape == (len(model.weight), 3 * model.code + 6)
    assert model.weight.sum() == pytest.approx(1, abs=1e-3)
    assert (np.diagonal(model.factor, axis1=1, axis2=2) > 0).all()
