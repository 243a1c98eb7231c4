"""Metrics of the lifting example against definitions computed in another way."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar
from scipy.spatial import procrustes
from scipy.spatial.transform import Rotation

from examples.lifting import metrics

FRAMES, JOINTS = 6, 17


@pytest.fixture
def poses() -> tuple[np.ndarray, np.ndarray]:
    """Answers and targets, mm."""
    rng = np.random.default_rng(0)
    targets = 300 * rng.normal(size=(FRAMES, JOINTS, 3))
    return targets + 80 * rng.normal(size=targets.shape), targets


def test_mpjpe(poses: tuple[np.ndarray, np.ndarray]) -> None:
    wanted = [
        np.mean([np.sqrt(((a - t) ** 2).sum()) for a, t in zip(answer, target, strict=True)])
        for answer, target in zip(*poses, strict=True)
    ]
    np.testing.assert_allclose(metrics.mpjpe(*poses), wanted, rtol=1e-12)


def test_p_mpjpe_is_procrustes(poses: tuple[np.ndarray, np.ndarray]) -> None:
    """scipy's Procrustes analysis, in the units of the target, where no reflection is in play."""
    for answer, target, found in zip(*poses, metrics.p_mpjpe(*poses), strict=True):
        standard, moved, _ = procrustes(target, answer)
        size = np.linalg.norm(target - target.mean(0))
        assert found == pytest.approx(size * np.linalg.norm(standard - moved, axis=-1).mean(), rel=1e-9)


def test_p_mpjpe_is_blind_to_similarities(poses: tuple[np.ndarray, np.ndarray]) -> None:
    _, targets = poses
    turn = Rotation.random(rng=np.random.default_rng(1)).as_matrix()
    assert metrics.p_mpjpe(0.3 * targets @ turn + [10, 20, 30], targets).max() < 1e-9


def test_p_mpjpe_does_not_reflect() -> None:
    """A mirrored pose is not the pose: the best rotation, found by a search over all of them, leaves the same error."""
    rng = np.random.default_rng(2)
    target = rng.normal(size=(JOINTS, 3))
    answer = target * [-1, 1, 1]
    a, b = answer - answer.mean(0), target - target.mean(0)

    def moved(vector: np.ndarray) -> np.ndarray:
        turned = a @ Rotation.from_rotvec(vector).as_matrix()
        return max((turned * b).sum(), 0) / (turned**2).sum() * turned - b

    starts = Rotation.random(12, rng=rng).as_rotvec()
    best = min((minimize(lambda v: (moved(v) ** 2).sum(), start) for start in starts), key=lambda own: own.fun)
    found = metrics.p_mpjpe(answer[None], target[None])[0]
    assert found == pytest.approx(np.linalg.norm(moved(best.x), axis=-1).mean(), rel=1e-4)
    assert found > 0.1


def test_n_mpjpe(poses: tuple[np.ndarray, np.ndarray]) -> None:
    """The scale of least squares, by a search."""
    for answer, target, found in zip(*poses, metrics.n_mpjpe(*poses), strict=True):
        scale = minimize_scalar(lambda s, a=answer, t=target: ((s * a - t) ** 2).sum()).x  # type: ignore[union-attr]
        assert found == pytest.approx(np.linalg.norm(scale * answer - target, axis=-1).mean(), rel=1e-6)
    assert metrics.n_mpjpe(0.2 * poses[1], poses[1]).max() < 1e-9


def test_mpjve_stays_within_clips(poses: tuple[np.ndarray, np.ndarray]) -> None:
    """Differences of consecutive frames of one clip, none between two."""
    answers, targets = poses
    found = metrics.mpjve(answers, targets, [2, 4])
    wanted = [
        np.linalg.norm((answers[t + 1] - answers[t]) - (targets[t + 1] - targets[t]), axis=-1).mean()
        for t in (0, 2, 3, 4)
    ]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    assert len(metrics.mpjve(answers, targets)) == FRAMES - 1
    assert metrics.mpjve(answers + 5, answers).max() < 1e-9, "a constant offset has no velocity"


def test_actions_count_alike() -> None:
    errors, actions = np.array([1.0, 1.0, 1.0, 5.0]), np.array(["walk", "walk", "walk", "box"])
    assert metrics.by_action(errors, actions) == {"box": 5.0, "walk": 1.0}
    assert metrics.mean_of_actions(errors, actions) == 3.0
