"""How good a lifter is on the test subjects, and how far it is from the mirror symmetry."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from chiralize.storage.pretrained.evaluation import load_motion, mpjpe_mm, test_sequences
from examples.lifting.networks import TemporalLifter


class Figures(NamedTuple):
    """Errors on the test subjects, mm (means over poses and joints)."""

    mpjpe_mm: float
    mpjpe_flip_tta_mm: float
    gap_mm: float
    """Mean distance between f(T x) and T f(x): the network's gap."""
    poses: int


def predict(model: TemporalLifter, poses: np.ndarray) -> np.ndarray:
    """poses: `frame joint 2`, one sequence. Returns `frame_out joint 3`, metres."""
    with torch.inference_mode():
        return model(torch.from_numpy(poses[None]))[0].numpy()


def evaluate(model: TemporalLifter, data_folder: Path, max_sequences: int | None = None) -> Figures:
    """Figures of `model` (in eval mode) on the test subjects; max_sequences keeps evenly spread ones for a quick look.

    Flip-TTA is the mean of f(x) and T f(T x), the two-pass answer that a converted network gives in one pass.
    """
    motion = load_motion(data_folder)

    def mirror(values: np.ndarray) -> np.ndarray:
        return motion.mirror(values, motion.H36M17_LEFT, motion.H36M17_RIGHT)

    sequences = test_sequences(data_folder, model.receptive_field)
    if max_sequences is not None:
        sequences = sequences[:: -(-len(sequences) // max_sequences)]
    plain, unmirrored, wanted = [], [], []
    for poses, targets in sequences:
        plain.append(predict(model, poses))
        unmirrored.append(mirror(predict(model, mirror(poses))))
        wanted.append(targets[model.target_frame : model.target_frame + len(plain[-1])])
    direct, twin, target = (np.concatenate(parts) for parts in (plain, unmirrored, wanted))
    return Figures(
        mpjpe_mm=mpjpe_mm(direct, target),
        mpjpe_flip_tta_mm=mpjpe_mm((direct + twin) / 2, target),
        gap_mm=mpjpe_mm(direct, twin),
        poses=len(target),
    )
