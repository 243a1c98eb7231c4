"""The tasks on real motion capture: data, mirror, loss and figures of each.

Training samples come from the training subjects (or clips), the figures from the test subjects, whom no network saw.
The motion capture is not part of the project: `CHIRALIZE_DATA` names the folder with `cmu17.npz` and `motion.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from chiralize.body.tensors import ConversionSpec, load_spec, parse_spec
from chiralize.storage.pretrained.evaluation import data_folder, load_motion, mpjpe_mm, test_sequences

TRAINING_CAMERAS, TRAINING_SEED = 8, 1
OBSERVED, FORECAST = 8, 16
WINDOW, TRAINING_WINDOWS_PER_CLASS = 64, 750


class Samples(NamedTuple):
    """Inputs and what is to be said about them, the first axis of both is the sample."""

    inputs: np.ndarray
    targets: np.ndarray


class Task(ABC):
    """Everything that a training and a comparison need to know about a task."""

    name: str
    figure: ClassVar[str]
    """The figure that counts, a key of `figures`."""
    better: ClassVar[int]
    """1 where a larger figure is better, −1 where a smaller one is."""
    left: Sequence[int]
    right: Sequence[int]

    def __init__(self, data_folder: Path) -> None:
        self.data_folder = data_folder
        self.motion = load_motion(data_folder)

    @property
    @abstractmethod
    def spec(self) -> ConversionSpec:
        """The mirror, as `chiralize(network, task.spec, ...)` takes it."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, count: int) -> Samples:
        """Random samples of the training set, as they were seen."""

    @abstractmethod
    def _all_test(self) -> Samples:
        """The whole test set."""

    @abstractmethod
    def loss(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """What training minimises."""

    @abstractmethod
    def figures(self, predictions: Tensor, targets: Tensor) -> dict[str, float]:
        """The errors of a network's answers; `figure` is the one that counts."""

    def mirror(self, values: np.ndarray) -> np.ndarray:
        """T on poses `... joint coord`: left and right joints change places, x changes its sign."""
        return self.motion.mirror(values, self.left, self.right)

    def mirror_targets(self, values: np.ndarray) -> np.ndarray:
        """T on targets and answers."""
        return self.mirror(values)

    def test(self, limit: int | None = None) -> tuple[Tensor, Tensor]:
        """Inputs and targets of the test set; limit: keep that many, evenly spread."""
        inputs, targets = self._tested
        if limit is not None and limit < len(inputs):
            kept = np.linspace(0, len(inputs) - 1, limit).round().astype(int)
            inputs, targets = inputs[kept], targets[kept]
        return torch.from_numpy(inputs), torch.from_numpy(targets)

    def calibration(self, count: int, seed: int = 0) -> Tensor:
        """Unlabelled inputs of the training set, not mirrored."""
        return torch.from_numpy(self.draw(np.random.default_rng([seed, 7]), count).inputs)

    def example(self) -> Tensor:
        """One input."""
        return self.calibration(1)

    @cached_property
    def _tested(self) -> Samples:
        return self._all_test()


class Lifting(Task):
    """2D poses of `frames` frames (50 a second) to the 3D pose of the middle one.

    Input:  `batch joint coord` for one frame, else `batch frame joint coord`; image coordinates over half the width.
    Output: `batch joint 3`, metres, camera frame, relative to the hip.
    """

    figure = "mpjpe_mm"
    better = -1

    def __init__(self, data_folder: Path, frames: int) -> None:
        super().__init__(data_folder)
        self.frames = frames
        self.name = f"lifting-{frames}"
        self.left, self.right = self.motion.H36M17_LEFT, self.motion.H36M17_RIGHT

    @property
    def spec(self) -> ConversionSpec:
        return load_spec("h36m", input_layouts=["b j d" if self.frames == 1 else "b t j d"], output_layouts=["b j d"])

    def draw(self, rng: np.random.Generator, count: int) -> Samples:
        poses, targets, _ = _lifting_pool(self.data_folder)
        return self._windows(poses, targets, rng.choice(self._starts, count))

    def _all_test(self) -> Samples:
        parts = [
            self._windows(poses, targets, np.arange(len(poses) - self.frames + 1))
            for poses, targets in test_sequences(self.data_folder, self.frames)
        ]
        return Samples(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    def loss(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        return (network(inputs) - targets).norm(dim=-1).mean()

    def figures(self, predictions: Tensor, targets: Tensor) -> dict[str, float]:
        return {"mpjpe_mm": mpjpe_mm(predictions.numpy(), targets.numpy())}

    def _windows(self, poses: np.ndarray, targets: np.ndarray, starts: np.ndarray) -> Samples:
        if self.frames == 1:
            return Samples(poses[starts], targets[starts])
        return Samples(poses[starts[:, None] + np.arange(self.frames)], targets[starts + self.frames // 2])

    @cached_property
    def _starts(self) -> np.ndarray:
        """First frames of all windows that lie within one sequence."""
        return _starts(_lifting_pool(self.data_folder)[2], self.frames)


class OneSidedLifting(Lifting):
    """Lifting of people who face the left of the image, in training and in the test: the mirror leaves this data.

    A person faces left where the left hip is nearer to the camera than the right one.
    """

    def __init__(self, data_folder: Path, frames: int) -> None:
        super().__init__(data_folder, frames)
        self.name = f"lifting-{frames}-left"

    def faces_left(self, targets: np.ndarray) -> np.ndarray:
        """Which of the poses `sample joint 3` do."""
        left, right = (self.motion.H36M17.index(name) for name in ("LHip", "RHip"))
        return targets[:, left, 2] < targets[:, right, 2]

    def _all_test(self) -> Samples:
        samples = super()._all_test()
        kept = self.faces_left(samples.targets)
        return Samples(samples.inputs[kept], samples.targets[kept])

    @cached_property
    def _starts(self) -> np.ndarray:
        starts = super()._starts
        return starts[self.faces_left(_lifting_pool(self.data_folder)[1][starts + self.frames // 2])]


class Forecasting(Task):
    """16 future frames (25 a second) of a 2D pose after 8 observed ones, Penn Action's 13 joints.

    Both ways: `batch frame joint 2`, image coordinates over half the width.
    """

    name = "forecasting"
    figure = "l2_x1000"
    better = -1

    def __init__(self, data_folder: Path) -> None:
        super().__init__(data_folder)
        self.left, self.right = self.motion.PENN13_LEFT, self.motion.PENN13_RIGHT

    @property
    def spec(self) -> ConversionSpec:
        return load_spec("penn-action", input_layouts=["b t j d"], output_layouts=["b t j d"])

    def draw(self, rng: np.random.Generator, count: int) -> Samples:
        poses, starts = self._pool
        return self._split(poses[rng.choice(starts, count)[:, None] + np.arange(OBSERVED + FORECAST)])

    def _all_test(self) -> Samples:
        capture = _capture(self.data_folder)
        poses, lengths = _joined(self.motion.penn13(capture, self.motion.TEST_SUBJECTS), "pose2d")
        starts = _starts(lengths, OBSERVED + FORECAST)
        return self._split(poses[starts[:, None] + np.arange(OBSERVED + FORECAST)])

    def loss(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Teacher-forced: every frame from the true ones before it."""
        frames = torch.cat([inputs, targets], 1)
        following = getattr(network, "following")  # noqa: B009 - not every network forecasts
        return (following(frames[:, :-1]) - frames[:, 1:]).norm(dim=-1).mean()

    def figures(self, predictions: Tensor, targets: Tensor) -> dict[str, float]:
        """pck_5: share of joints, in percent, within 0.05 of the longer side of the target pose's bounding box."""
        distance = (predictions.double() - targets.double()).norm(dim=-1)  # sample frame joint
        side = (targets.amax(2) - targets.amin(2)).amax(-1, keepdim=True)  # sample frame 1
        return {
            "l2_x1000": 1000 * distance.mean().item(),
            "pck_5": 100 * (distance < 0.05 * side).double().mean().item(),
        }

    @staticmethod
    def _split(windows: np.ndarray) -> Samples:
        return Samples(windows[:, :OBSERVED], windows[:, OBSERVED:])

    @property
    def sequences(self) -> list[np.ndarray]:
        """Poses `frame joint 2` of the training subjects, clip by clip."""
        subjects = _training_subjects(self.data_folder)
        found = self.motion.penn13(_capture(self.data_folder), subjects, TRAINING_SEED, TRAINING_CAMERAS)
        return [sequence["pose2d"] for sequence in found]

    @cached_property
    def _pool(self) -> tuple[np.ndarray, np.ndarray]:
        sequences = self.sequences
        lengths = np.array([len(poses) for poses in sequences])
        return np.concatenate(sequences), _starts(lengths, OBSERVED + FORECAST)


class Recognition(Task):
    """One of twelve actions, none of which the mirror changes, from 64 frames of detected poses.

    Input:  `batch frame joint 3`, 18 joints of OpenPose: x, y, confidence; joints that were missed are 0.
    Output: `batch class`, scores.
    """

    name = "recognition"
    figure = "top1_percent"
    better = 1

    def __init__(self, data_folder: Path) -> None:
        super().__init__(data_folder)
        self.left, self.right = self.motion.COCO18_LEFT, self.motion.COCO18_RIGHT

    @property
    def spec(self) -> ConversionSpec:
        return parse_spec(
            "name: openpose-xyc\n"
            "skeleton: openpose\n"
            "inputs: [{layout: b t j d, dims: [x, y, c]}]\n"
            "outputs: [{invariant: true}]\n"
        )

    def draw(self, rng: np.random.Generator, count: int) -> Samples:
        pool, by_class = self._pool
        classes = rng.integers(len(by_class), size=count)
        chosen = np.array([rng.choice(by_class[own]) for own in classes])
        return Samples(pool.inputs[chosen], pool.targets[chosen])

    def _all_test(self) -> Samples:
        return self._split(self.motion.actions18(_capture(self.data_folder), T=WINDOW), "test")

    def loss(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(network(inputs), targets, label_smoothing=0.1)

    def figures(self, predictions: Tensor, targets: Tensor) -> dict[str, float]:
        return {"top1_percent": 100 * (predictions.argmax(-1) == targets).double().mean().item()}

    def mirror_targets(self, values: np.ndarray) -> np.ndarray:
        return values

    @staticmethod
    def _split(windows: dict[str, np.ndarray], split: str) -> Samples:
        own = windows["split"] == split
        return Samples(windows["x"][own], windows["y"][own])

    @cached_property
    def _pool(self) -> tuple[Samples, list[np.ndarray]]:
        """More, overlapping windows of the training clips, and which belong to each class."""
        windows = self.motion.actions18(_capture(self.data_folder), T=WINDOW, per_class=TRAINING_WINDOWS_PER_CLASS)
        pool = self._split(windows, "train")
        return pool, [np.flatnonzero(pool.targets == own) for own in range(len(windows["classes"]))]


@lru_cache(maxsize=16)
def load_task(name: str, folder: Path | None = None) -> Task:
    """lifting-FRAMES, lifting-FRAMES-left, forecasting or recognition. folder: the motion capture (CHIRALIZE_DATA)."""
    folder = folder or data_folder()
    kind, *rest = name.split("-")
    if kind == "lifting":
        return (OneSidedLifting if rest[1:] else Lifting)(folder, int(rest[0]))
    return {"forecasting": Forecasting, "recognition": Recognition}[kind](folder)


# ---- the motion capture ---------------------------------------------------------------------------------------------
@lru_cache(maxsize=1)
def _capture(folder: Path) -> dict[str, np.ndarray]:
    return load_motion(folder).load(folder / "cmu17.npz")


def _training_subjects(folder: Path) -> list[str]:
    return sorted(set(_capture(folder)["subject"].tolist()) - set(load_motion(folder).TEST_SUBJECTS))


@lru_cache(maxsize=1)
def _lifting_pool(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Poses `frame joint 2`, targets `frame joint 3` of the training subjects, all sequences in a row, and lengths."""
    sequences = list(
        load_motion(folder).lifting(
            _capture(folder), _training_subjects(folder), TRAINING_SEED, 0.0, TRAINING_CAMERAS, min_len=1
        )
    )
    poses, lengths = _joined(sequences, "pose2d")
    return poses, _joined(sequences, "pose3d")[0], lengths


def _joined(sequences: Any, key: str) -> tuple[np.ndarray, np.ndarray]:
    """All sequences in a row, and their lengths."""
    parts = [sequence[key] for sequence in sequences]
    return np.concatenate(parts), np.array([len(part) for part in parts])


def _starts(lengths: np.ndarray, frames: int) -> np.ndarray:
    """First frames of all windows of `frames` frames that lie within one sequence of a row of sequences."""
    first = np.cumsum(lengths) - lengths
    return np.concatenate(
        [np.arange(start, start + length - frames + 1) for start, length in zip(first, lengths, strict=True)]
    )
