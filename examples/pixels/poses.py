"""Bodies before cameras: 17 joints of Human3.6M in metres, x right, y down, z forward."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from chiralize.problem.poses.camera import scene
from chiralize.problem.poses.motion import draw
from chiralize.storage.pretrained.evaluation import CAMERA_SEED, load_motion

Array = npt.NDArray[np.float64]
Bodies = Callable[[int, bool], Array]
TRAINING_SEED = 1
JOINTS = 17
PARENTS = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15)
SWAPPED = (0, 4, 5, 6, 1, 2, 3, 7, 8, 9, 10, 14, 15, 16, 11, 12, 13)


def bodies(count: int, test: bool) -> Array:
    """Bodies "sample joint 3": of the motion capture that CHIRALIZE_DATA names, else drawn ones.

    test: of subjects that are not trained on; of drawn ones, other draws.
    """
    folder = os.environ.get("CHIRALIZE_DATA")
    return captured(Path(folder), count, test) if folder else drawn(count, test)


def captured(folder: Path, count: int, test: bool) -> Array:
    """Frames that are evenly spread over the clips of the training or the test subjects, by four cameras."""
    motion = load_motion(folder)
    capture = motion.load(folder / "cmu17.npz")
    others = sorted(set(capture["subject"].tolist()) - set(motion.TEST_SUBJECTS))
    subjects, seed = (motion.TEST_SUBJECTS, CAMERA_SEED) if test else (others, TRAINING_SEED)
    sequences = [
        seen["pose3d"] + seen["root"][:, None] for seen in motion.lifting(capture, subjects, seed=seed, min_len=1)
    ]
    frames = np.concatenate(sequences).astype(np.float64)
    return frames[np.linspace(0, len(frames) - 1, count).round().astype(int)]


def drawn(count: int, test: bool) -> Array:
    """Built-in poses, each of another motion before another camera."""
    seed = 2 if test else 3
    return scene(draw(count, 1, seed), seed).camera[:, 0]
