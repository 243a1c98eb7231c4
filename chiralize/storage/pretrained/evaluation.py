"""Error of a pose lifter on the test subjects of the motion capture set, without torch.

The motion capture is not part of the package: a folder holds `cmu17.npz` and `motion.py`, which generates cameras,
projections and the split by subject. The shipped lifter's figures come from the functions below.
"""

from __future__ import annotations

import importlib.util
import os
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import numpy as np

RECEPTIVE_FIELD = 27
"""Frames that the shipped lifter reads for one pose (50 frames a second)."""

CAMERA_SEED = 0
"""Seed of the test cameras; every figure in the README files uses it."""


def data_folder() -> Path:
    """The folder that CHIRALIZE_DATA names. Raises FileNotFoundError where it names none."""
    if "CHIRALIZE_DATA" not in os.environ:
        raise FileNotFoundError("CHIRALIZE_DATA must name the folder with cmu17.npz and motion.py.")
    return Path(os.environ["CHIRALIZE_DATA"])


@lru_cache(maxsize=4)
def load_motion(data_folder: Path) -> ModuleType:
    """The `motion.py` of `data_folder` as a module; `sys.path` stays as it is.

    Raises FileNotFoundError when the folder lacks `motion.py` or `cmu17.npz`.
    """
    source = data_folder / "motion.py"
    for needed in (source, data_folder / "cmu17.npz"):
        if not needed.is_file():
            raise FileNotFoundError(
                f"{needed}: missing. CHIRALIZE_DATA must name the folder with cmu17.npz and motion.py."
            )
    module_spec = importlib.util.spec_from_file_location("motion", source)
    if module_spec is None or module_spec.loader is None:
        raise ImportError(f"{source}: cannot be imported.")
    motion = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(motion)
    return motion


def test_sequences(data_folder: Path, min_frames: int = RECEPTIVE_FIELD) -> list[tuple[np.ndarray, np.ndarray]]:
    """All sequences of the test subjects, four cameras each, noise free.

    Returns pairs: inputs `frame joint 2` (image coordinates over half the width, x right, y down, centre 0) and
    targets `frame joint 3` (metres, camera frame, relative to the hip), float32, at least `min_frames` frames.
    """
    motion = load_motion(data_folder)
    capture = motion.load(data_folder / "cmu17.npz")
    sequences = motion.lifting(capture, motion.TEST_SUBJECTS, seed=CAMERA_SEED, min_len=min_frames)
    return [(sequence["pose2d"], sequence["pose3d"]) for sequence in sequences]


def test_windows(data_folder: Path, limit: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Windows of 27 frames from the test subjects, each with the pose of its centre frame.

    limit: keep that many windows, evenly spread over all sequences; None keeps every window (51,636).
    Returns inputs `sample frame joint coord` (image coordinates over half the width) and targets `sample joint 3`
    (metres, camera frame, relative to the hip), float32. Raises FileNotFoundError, ValueError for a limit below 1.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}; it must be at least 1, or None for every window.")
    sequences = test_sequences(data_folder)
    # One entry per window of all sequences: the number of its sequence, and its first frame.
    owner = np.concatenate([np.full(len(inputs) - RECEPTIVE_FIELD + 1, i) for i, (inputs, _) in enumerate(sequences)])
    start = np.concatenate([np.arange(len(inputs) - RECEPTIVE_FIELD + 1) for inputs, _ in sequences])
    if limit is not None and limit < len(owner):
        chosen = np.linspace(0, len(owner) - 1, limit).round().astype(int)
        owner, start = owner[chosen], start[chosen]
    pairs = list(zip(owner.tolist(), start.tolist(), strict=True))
    windows = np.stack([sequences[i][0][first : first + RECEPTIVE_FIELD] for i, first in pairs])
    centres = np.stack([sequences[i][1][first + RECEPTIVE_FIELD // 2] for i, first in pairs])
    return windows, centres


def mpjpe_mm(predictions: np.ndarray, targets: np.ndarray) -> float:
    """Mean per joint position error, mm: the mean Euclidean distance over samples and joints, the hip included.

    predictions, targets: `... joint 3`, metres. A frame axis of length 1 that only the predictions have is dropped.
    Raises ValueError when the shapes differ otherwise.
    """
    if predictions.ndim == targets.ndim + 1 and predictions.shape[-3] == 1:
        predictions = predictions.squeeze(-3)
    if predictions.shape != targets.shape:
        raise ValueError(f"predictions have shape {predictions.shape}, targets {targets.shape}; they must agree.")
    difference = predictions.astype(np.float64) - targets.astype(np.float64)
    return float(1000 * np.linalg.norm(difference, axis=-1).mean())
