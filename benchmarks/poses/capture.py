"""The motion capture that the model is fitted to and measured on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from chiralize.storage.pretrained.evaluation import data_folder, load_motion


def training_clips(folder: Path | None = None) -> list[np.ndarray]:
    """Clips "frame joint 3" of the training subjects: metres, y up, 50 frames a second. folder: else CHIRALIZE_DATA."""
    folder = folder or data_folder()
    motion = load_motion(folder)
    capture = motion.load(folder / "cmu17.npz")
    subjects = sorted(set(capture["subject"].tolist()) - set(motion.TEST_SUBJECTS))
    return [joints for _, joints, _ in motion.clips(capture, subjects)]
