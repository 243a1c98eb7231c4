"""Fit the model of human motion that the built-in poses are drawn from, on real motion capture:

    CHIRALIZE_DATA=FOLDER python -m benchmarks.poses.fit -o chiralize/storage/pretrained/motion.npz

The subjects of the test split are left out. `chiralize/problem/poses/motion.py` says what the model is. The mixture is
fitted by expectation and maximisation from a start of random rows; covariances are shrunk towards their mean, so that
components of few rows stay broad.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.poses.capture import training_clips
from chiralize.problem.poses.motion import BONES, JOINTS, PARENTS, STEP

CODE, COMPONENTS = 30, 64
ROUNDS, STRIDE, SEED = 25, 2, 0
SHRINK = 200.0
"""Rows of the mean covariance that every component has beside its own."""
FLOOR = 1e-4
"""Least variance of a number, in units of its variance over all rows."""


def headings(joints: np.ndarray) -> np.ndarray:
    """Where the body faces, "frame", radians about the vertical axis, 0 along z: by hips and shoulders."""
    index = JOINTS.index
    across = (joints[:, index("left_hip")] - joints[:, index("right_hip")]) + (
        joints[:, index("left_shoulder")] - joints[:, index("right_shoulder")]
    )
    # across = (cos, 0, -sin) for a body that is turned by an angle from x to the left
    return np.unwrap(np.arctan2(-across[:, 2], across[:, 0]))


def key_poses(joints: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bones' directions and the hip's height "frame 49", headings "frame", places of the hip "frame 2" (x, z)."""
    turn = headings(joints)
    bones = joints[:, 1:] - joints[:, list(PARENTS[1:])]
    sine, cosine = np.sin(-turn)[:, None], np.cos(-turn)[:, None]
    x, y, z = bones[..., 0], bones[..., 1], bones[..., 2]
    local = np.stack([cosine * x + sine * z, y, -sine * x + cosine * z], -1)
    directions = local / np.linalg.norm(local, axis=-1, keepdims=True)
    return np.concatenate([directions.reshape(len(joints), -1), joints[:, 0, 1:2]], 1), turn, joints[:, 0][:, [0, 2]]


def steps_of(turn: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Steps from every frame to the one a key pose later, "frame 3": turn, sideways and forward in the body's frame."""
    angle = turn[STEP:] - turn[:-STEP]
    moved = place[STEP:] - place[:-STEP]
    sine, cosine = np.sin(turn[:-STEP]), np.cos(turn[:-STEP])
    aside = cosine * moved[:, 0] - sine * moved[:, 1]
    ahead = sine * moved[:, 0] + cosine * moved[:, 1]
    return np.stack([angle, aside, ahead], 1)


def triples(clips: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Three key poses "row 3 49" and the two steps between them "row 2 3", clip by clip."""
    for joints in clips:
        pose, turn, place = key_poses(joints)
        steps = steps_of(turn, place)
        starts = np.arange(0, len(joints) - 2 * STEP, STRIDE)
        if len(starts):
            yield pose[starts[:, None] + STEP * np.arange(3)], steps[starts[:, None] + STEP * np.arange(2)]


def fitted(rows: Tensor, components: int) -> tuple[Tensor, Tensor, Tensor]:
    """Weights "k", means "k d" and factors "k d d" of a mixture of Gaussians.  rows: "row d"."""
    share = grouped(rows, components)
    weight, mean, factor = parts(rows, share)
    for number in range(1, ROUNDS):
        likely = torch.stack(
            [_likely(rows - mean[k], factor[k]) + (weight[k] / len(rows)).log() for k in range(components)], 1
        )
        print(f"round {number}: log likelihood {float(likely.logsumexp(1).mean()):.3f}", flush=True)
        weight, mean, factor = parts(rows, likely.softmax(1))
    return weight / len(rows), mean, factor


def grouped(rows: Tensor, components: int) -> Tensor:
    """A start: every row is of the nearest of some means, by nine rounds of k-means.  "row k", 0 or 1."""
    generator = torch.Generator().manual_seed(SEED)
    mean = rows[torch.randperm(len(rows), generator=generator)[:components]].clone()
    nearest = torch.cdist(rows, mean).argmin(1)
    for _ in range(9):
        for number in nearest.unique().tolist():
            mean[number] = rows[nearest == number].mean(0)
        nearest = torch.cdist(rows, mean).argmin(1)
    return torch.nn.functional.one_hot(nearest, components).to(rows)


def parts(rows: Tensor, share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, means and factors of the covariances of every component.  share: of rows, "row k"."""
    weight = share.sum(0)
    mean = share.T @ rows / weight[:, None].clamp_min(1e-9)
    covariance = torch.stack(
        [(rows - mean[k]).T @ ((rows - mean[k]) * share[:, k : k + 1]) for k in range(len(weight))]
    )
    common = covariance.sum(0) / len(rows)
    covariance = (covariance + SHRINK * common) / (weight + SHRINK)[:, None, None]
    return weight, mean, torch.linalg.cholesky(covariance + FLOOR * torch.eye(rows.shape[1], dtype=rows.dtype))


def _likely(rows: Tensor, factor: Tensor) -> Tensor:
    """The logarithm of a Gaussian's density at every row, but for a constant.  rows: from its mean."""
    units = torch.linalg.solve_triangular(factor, rows.T, upper=False)
    return -0.5 * units.square().sum(0) - factor.diagonal().log().sum()


def main() -> None:
    """Fit and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", dest="path", type=Path, required=True)
    parser.add_argument("--components", type=int, default=COMPONENTS)
    parser.add_argument("--code", type=int, default=CODE)
    parser.add_argument("--data", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    np.savez_compressed(arguments.path, **weights(training_clips(arguments.data), arguments.components, arguments.code))
    print(f"{arguments.path}: {arguments.path.stat().st_size:,} bytes")


def weights(clips: Sequence[np.ndarray], components: int, code: int) -> dict[str, Any]:
    """The arrays of the file, float16, float32 where they are few.  clips: "frame joint 3", metres, y up, 50 Hz."""
    poses, steps = (np.concatenate(part) for part in zip(*triples(clips), strict=True))
    center = poses.reshape(-1, poses.shape[-1]).mean(0)
    flat = poses[:, 1] - center
    values, vectors = np.linalg.eigh(flat.T @ flat / len(flat))
    order = np.argsort(values)[::-1][:code]
    print(f"{len(poses):,} rows; {values[order].sum() / values.sum():.4f} of the variance in {code} numbers")
    spread = np.sqrt(values[order])
    basis = vectors[:, order] * spread
    codes = (poses - center) @ (vectors[:, order] / spread)
    scale = np.sqrt(np.square(steps).mean((0, 1)))
    rows = np.concatenate([codes[:, 0], steps[:, 0] / scale, codes[:, 1], steps[:, 1] / scale, codes[:, 2]], 1)
    weight, mean, factor = fitted(torch.from_numpy(rows), components)
    lower, upper = np.tril_indices(rows.shape[1])
    bones = np.concatenate([joints[::50, 1:] - joints[::50, list(PARENTS[1:])] for joints in clips])
    return {
        "weight": weight.numpy().astype(np.float32),
        "mean": mean.numpy().astype(np.float16),
        "triangle": factor.numpy()[:, lower, upper].astype(np.float16),
        "center": center.astype(np.float32),
        "basis": basis.astype(np.float32),
        "scale": scale.astype(np.float32),
        "lengths": np.linalg.norm(bones, axis=-1).reshape(-1, BONES).mean(0).astype(np.float32),
    }


if __name__ == "__main__":
    main()
