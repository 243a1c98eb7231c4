"""The tasks of the studies, made where other processes can import them."""

from __future__ import annotations

from pathlib import Path

from chiralize.storage.pretrained.evaluation import data_folder
from examples.forecasting.networks import JOINTS, PAPER_WIDTH
from examples.forecasting.penn import read_labels
from examples.forecasting.task import PAPER_BATCH, Forecasting, mocap
from examples.study.task import Task

WIDTH, UPDATES, BATCH, TEST_WINDOWS = 208, 1430, 64, 4000
"""Of the study on the motion capture: what two processor cores can do; 16 hidden units a joint."""
EVERY = 1
"""Frames of the motion capture that one of the study stands for: 25 a second."""
SMALL = {"width": 2 * JOINTS, "updates": 4, "batch": 8, "test_windows": 32, "forecast": 2}
SMOKE_WAYS = "flips", "flips, TTA", "chiralized 0.5", "chiralized 0.5, fine-tuned", "from scratch, paper"
"""Of a smoke run."""


def motion_capture(smoke: bool, width: int = WIDTH, updates: int | None = UPDATES, batch: int = BATCH) -> list[Task]:
    """The task on the folder that CHIRALIZE_DATA names. Raises FileNotFoundError."""
    own = SMALL if smoke else {"width": width, "updates": updates, "batch": batch, "test_windows": TEST_WINDOWS}
    task = Forecasting("forecasting", *mocap(data_folder(), EVERY), **own)
    if smoke:
        task.ways = SMOKE_WAYS
    return [task]


def penn_action(
    smoke: bool, labels: Path, width: int = PAPER_WIDTH, updates: int | None = None, batch: int = PAPER_BATCH
) -> list[Task]:
    """The task on Penn Action's label files, as published. Raises FileNotFoundError, DataFileError, ValueError."""
    videos = read_labels(labels)
    training, testing = ([own.poses for own in videos if own.training is split] for split in (True, False))
    own = SMALL if smoke else {"width": width, "updates": updates, "batch": batch}
    return [Forecasting("Penn Action", training, testing, **own)]
