"""Two tasks on data that CHIRALIZE_DATA names: actions of motion capture, and poses that OpenPose really detected."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from chiralize.storage.pretrained.evaluation import data_folder, load_motion
from examples.recognition.classification import Classification, adam, balanced, top_percent
from examples.recognition.networks import SMOKE_SIZES, PoseClassifier, Recogniser, Sizes
from examples.study.task import Layout, Recipe, Samples, rate_factor

FRAMES = 64
TRAINING_WINDOWS, TEST_WINDOWS = 750, 1000
"""Windows of every class, about."""
TESTED_SHARE = 0.3
"""The last part of every class of poses, in the order of recording."""
SMOKE_WAYS = "flips", "chiralized 0.5", "from scratch, paper"
SIZES = Sizes(channels=12, width=128, kernel=5, strides=(2, 1, 1, 2, 1, 1, 2, 1, 1, 1))
"""Small, for two processor cores: 216 channels in blocks 1 to 3, 128 after them."""


class Actions(Classification):
    """One of twelve actions, none of which the mirror changes, in 64 frames (50 a second).

    Input:  `batch frame joint 3`, OpenPose's 18 joints: x, y over half the width of the picture, confidence; projected
            motion capture with the noise of a detector; joints that were missed are 0.
    Output: `batch class`, scores.
    """

    name = "actions, 64 frames, 216"
    samples = 500  # of 64 frames each
    input_layout = "b t j d"

    def __init__(self, data_folder: Path, smoke: bool = False) -> None:
        self.data_folder, self.smoke = data_folder, smoke
        self.ways = SMOKE_WAYS if smoke else None  # the small task goes through all of them
        self.classes = load_motion(data_folder).ACTIONS

    def build(self, layout: Layout) -> nn.Module:
        sizes = SMOKE_SIZES if self.smoke else SIZES
        return Recogniser(self.spec.skeleton, self.dims, self.scores, layout, sizes)

    def recipe(self, layout: Layout) -> Recipe:
        return adam(3, 8, 1e-3) if self.smoke else adam(600, 64, 2e-3 * rate_factor(layout))

    def fine_tuning(self) -> Recipe:
        return adam(2, 8, 1e-4) if self.smoke else adam(100, 64, 5e-4)

    def draw(self, rng: np.random.Generator, count: int) -> Samples:
        samples, by_class = _training_windows(self.data_folder, self.smoke)
        chosen = torch.from_numpy(balanced(rng, by_class, count))
        return Samples(samples.inputs[chosen], samples.targets[chosen])

    def read_test(self) -> Samples:
        return _windows(self.data_folder, 4 if self.smoke else TEST_WINDOWS, "test")


class DetectedPoses(Classification):
    """One of twenty held poses (salutes, signals of traffic police, yoga) from one frame; the mirror swaps classes.

    Input:  `batch joint 3`, OpenPose's 18 joints: x, y relative to the picture, confidence; 0 where it found none.
    Output: `batch class`, scores of 24 classes.

    Four pairs of classes are each other's mirror images (left and right arm raised, left and right turn, two yoga
    poses). Four classes, done with one hand only, have a mirror image that is none of the twenty: each gets one more
    class for it, `mirrored NAME`, so that the mirror is a permutation of 24 classes. No pose in the data has one of
    these labels; mirrored training samples do. Training on the first 70 % of every class, tests on the rest.
    """

    name = "detected poses, 144"
    input_layout = "b j d"

    def __init__(self, data_folder: Path, smoke: bool = False) -> None:
        self.data_folder, self.smoke = data_folder, smoke
        names, mirrored = _pose_classes(data_folder)
        self.classes, self.swap = completed(names, mirrored)

    def build(self, layout: Layout) -> nn.Module:
        return PoseClassifier(self.spec.skeleton, self.dims, self.scores, layout, 1 if self.smoke else 12)

    def recipe(self, layout: Layout) -> Recipe:
        return adam(3, 16, 1e-3) if self.smoke else adam(2000, 128, 2e-3 * rate_factor(layout))

    def fine_tuning(self) -> Recipe:
        return adam(2, 16, 1e-4) if self.smoke else adam(300, 128, 5e-4)

    def draw(self, rng: np.random.Generator, count: int) -> Samples:
        samples, _ = _poses(self.data_folder)
        chosen = torch.from_numpy(rng.integers(len(samples.targets), size=count))
        return Samples(samples.inputs[chosen], samples.targets[chosen])

    def figures(self, answers: Tensor) -> dict[str, float]:
        labels = self.test_samples().targets
        parts = {
            f"top1_percent/{self.classes[own]}": top_percent(answers[labels == own], labels[labels == own], 1)
            for own in labels.unique().tolist()
        }
        return super().figures(answers) | parts

    def read_test(self) -> Samples:
        samples = _poses(self.data_folder)[1]
        return Samples(samples.inputs[::40], samples.targets[::40]) if self.smoke else samples


def tasks(smoke: bool) -> list[Classification]:
    """What the study compares. Raises FileNotFoundError where CHIRALIZE_DATA names no data."""
    folder = data_folder()
    return [Actions(folder, smoke), DetectedPoses(folder, smoke)]


def completed(names: list[str], mirrored: list[int]) -> tuple[list[str], list[tuple[int, int]]]:
    """Class names with those of the missing mirror images, and the pairs that the mirror exchanges.

    mirrored: the class that each class becomes, −1 for none of them.

    >>> completed(["stand", "left", "right", "salute"], [0, 2, 1, -1])
    (['stand', 'left', 'right', 'salute', 'mirrored salute'], [(1, 2), (3, 4)])
    """
    swap = [(own, other) for own, other in enumerate(mirrored) if other > own]
    alone = [own for own, other in enumerate(mirrored) if other < 0]
    swap += [(own, len(names) + place) for place, own in enumerate(alone)]
    return [*names, *(f"mirrored {names[own]}" for own in alone)], swap


# ---- reading --------------------------------------------------------------------------------------------------------
@lru_cache(maxsize=2)
def _windows(folder: Path, per_class: int, split: str) -> Samples:
    motion = load_motion(folder)
    found = motion.actions18(motion.load(folder / "cmu17.npz"), T=FRAMES, per_class=per_class)
    own = found["split"] == split
    return Samples(torch.from_numpy(found["x"][own]), torch.from_numpy(found["y"][own]))


@lru_cache(maxsize=2)
def _training_windows(folder: Path, smoke: bool) -> tuple[Samples, list[np.ndarray]]:
    """Windows, and which belong to each class."""
    samples = _windows(folder, 4 if smoke else TRAINING_WINDOWS, "train")
    labels = samples.targets.numpy()
    return samples, [np.flatnonzero(labels == own) for own in np.unique(labels)]


def _pose_classes(folder: Path) -> tuple[list[str], list[int]]:
    """Names, and the class that each becomes in the mirror."""
    with np.load(_pose_file(folder)) as found:
        return found["static_classes"].tolist(), found["static_mirror_class"].tolist()


@lru_cache(maxsize=1)
def _poses(folder: Path) -> tuple[Samples, Samples]:
    """Training and test samples."""
    with np.load(_pose_file(folder)) as found:
        poses, labels = found["static_x"], found["static_y"].astype(np.int64)
    late = np.zeros(len(labels), bool)
    for own in np.unique(labels):
        places = np.flatnonzero(labels == own)
        late[places[round((1 - TESTED_SHARE) * len(places)) :]] = True
    train, test = (Samples(torch.from_numpy(poses[part]), torch.from_numpy(labels[part])) for part in (~late, late))
    return train, test


def _pose_file(folder: Path) -> Path:
    path = folder / "openpose18_actions.npz"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: missing. CHIRALIZE_DATA must name the folder that has it.")
    return path
