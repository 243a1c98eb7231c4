"""The motion capture that CHIRALIZE_DATA names, as pairs of 2D and 3D pose sequences."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from chiralize.body.skeleton.catalog import load_skeleton
from chiralize.storage.pretrained.evaluation import CAMERA_SEED, load_motion
from examples.lifting.poses import Clip, Dataset

TRAINING_SEED = 1
"""Of the training cameras; those of the test subjects have another one."""


@lru_cache(maxsize=2)
def load_mocap(folder: Path, with_training: bool = True) -> Dataset:
    """17 joints of Human3.6M, 50 frames a second, pin-hole cameras, no detector noise.

    Training subjects: four cameras around every stretch.  Test subjects (TEST_SUBJECTS of `motion.py`): every frame
    once, by cameras that take turns.  Actions are the capture's labels.  with_training: the clips to learn from, too,
    which takes a while.  Raises FileNotFoundError.
    """
    motion = load_motion(folder)
    capture = motion.load(folder / "cmu17.npz")
    others = sorted(set(capture["subject"].tolist()) - set(motion.TEST_SUBJECTS)) if with_training else ()

    def clips(subjects: Iterable[str], seed: int) -> list[Clip]:
        return [
            Clip(seen["pose2d"], seen["pose3d"], seen["subject"], str(capture["label"][seen["clip"]]))
            for seen in motion.lifting(capture, subjects, seed=seed, min_len=1)
        ]

    tested = clips(motion.TEST_SUBJECTS, CAMERA_SEED)
    turns = [clip for place, clip in enumerate(tested) if place % 4 == place // 4 % 4]
    body = load_skeleton("h36m")
    return Dataset("mocap", tuple(clips(others, TRAINING_SEED)), tuple(turns), body, body)
