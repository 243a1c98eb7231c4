"""Training data: windows of motion capture, seen by new cameras in every epoch, half of them mirrored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from chiralize.storage.pretrained.evaluation import load_motion


@dataclass(frozen=True)
class Epoch:
    """Every window of the training subjects once, in random order.

    Iterating gives inputs `window receptive_field joint 2` (image coordinates over half the width) and targets
    `window 1 joint 3` (metres, relative to the hip). A window is mirrored, inputs and targets, with probability 1/2.
    """

    motion: ModuleType
    poses: np.ndarray
    """`frame joint 2`, all sequences one after the other."""
    targets: np.ndarray
    """`frame joint 3`"""
    starts: np.ndarray
    """First frames of the windows, `batch window`."""
    flipped: np.ndarray
    """Which windows are mirrored, `batch window`."""
    receptive_field: int

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for start, flipped in zip(self.starts, self.flipped, strict=True):
            inputs = self.poses[start[:, None] + np.arange(self.receptive_field)]
            wanted = self.targets[start[:, None] + self.receptive_field // 2]
            inputs[flipped] = self._mirror(inputs[flipped])
            wanted[flipped] = self._mirror(wanted[flipped])
            yield torch.from_numpy(inputs), torch.from_numpy(wanted)

    def _mirror(self, values: np.ndarray) -> np.ndarray:
        """T on `... joint coord`: left and right joints change places, x changes its sign."""
        return self.motion.mirror(values, self.motion.H36M17_LEFT, self.motion.H36M17_RIGHT)


class TrainingWindows:
    """Windows from the subjects that are not `TEST_SUBJECTS`, four cameras each.

    Epoch e depends on (seed, e) alone: its cameras, its order and which windows are mirrored.
    noise: size of the 2D detector noise, in half image widths (0.006 is 3 pixels of 1000).
    """

    def __init__(self, data_folder: Path, receptive_field: int, batch: int, noise: float = 0.0, seed: int = 0) -> None:
        self.motion = load_motion(data_folder)
        self.capture = self.motion.load(data_folder / "cmu17.npz")
        self.subjects = sorted(set(self.capture["subject"].tolist()) - set(self.motion.TEST_SUBJECTS))
        self.receptive_field = receptive_field
        self.batch = batch
        self.noise = noise
        self.seed = seed

    def epoch(self, epoch: int) -> Epoch:
        """The windows of epoch `epoch`; the last incomplete batch is left out."""
        rng = np.random.default_rng([self.seed, epoch])
        poses, targets, starts = self._sequences(rng, self.noise)
        rng.shuffle(starts)
        starts = starts[: len(starts) - len(starts) % self.batch].reshape(-1, self.batch)
        return Epoch(self.motion, poses, targets, starts, rng.random(starts.shape) < 0.5, self.receptive_field)

    def calibration(self, count: int) -> np.ndarray:
        """`count` random windows without noise or mirror: `sample frame joint 2`, float32."""
        rng = np.random.default_rng(self.seed)
        poses, _, starts = self._sequences(rng, noise=0.0)
        return poses[rng.choice(starts, count, replace=False)[:, None] + np.arange(self.receptive_field)]

    def _sequences(self, rng: np.random.Generator, noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """New cameras: inputs `frame joint 2`, targets `frame joint 3`, and the first frame of every window."""
        cameras = int(rng.integers(2**31))
        poses, targets, starts, first = [], [], [], 0
        for sequence in self.motion.lifting(
            self.capture, self.subjects, seed=cameras, noise=noise, min_len=self.receptive_field
        ):
            frames = len(sequence["pose2d"])
            starts.append(np.arange(first, first + frames - self.receptive_field + 1))
            poses.append(sequence["pose2d"])
            targets.append(sequence["pose3d"])
            first += frames
        return np.concatenate(poses), np.concatenate(targets), np.concatenate(starts)
