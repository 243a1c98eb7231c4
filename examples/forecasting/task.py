"""Forecasting as a task of the study: windows of 2D motion, teacher-forced loss, PCK@0.05 of every forecast step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from chiralize.pretrained.evaluation import load_motion
from chiralize.spec import ConversionSpec, load_spec
from examples.forecasting.networks import FORECAST, Forecaster, forecaster
from examples.study.task import Layout, Recipe, Reflection, Samples, Task

OBSERVED = 8
"""Frames that the network sees."""
THRESHOLD = 0.05
"""A joint counts as found at this distance from where it is, or nearer; normalised coordinates."""
LEFT, RIGHT = (1, 3, 5, 7, 9, 11), (2, 4, 6, 8, 10, 12)
"""Joints of Penn Action."""
PAPER_RATE, PAPER_DECAY, PAPER_EPOCHS, PAPER_BATCH, PAPER_CLIP = 0.005, 0.95, 30, 256, 5.0
WIDTH = 208
"""Hidden units in the study, 16 a joint."""
TEST_WINDOWS = 4000
TRAINING_CAMERAS, TRAINING_SEED = 4, 1


def pck(distances: Tensor, counted: Tensor) -> float:
    """Share in percent of the joints that count whose distance is at most `THRESHOLD`; nan where none counts."""
    return (
        100 * ((distances <= THRESHOLD) & counted).sum().item() / max(int(counted.sum()), 1)
        if counted.any()
        else float("nan")
    )


class Forecasting(Task):
    """`OBSERVED` frames of 2D poses in, the `FORECAST` next ones out, Penn Action's 13 joints.

    Inputs are `batch frame joint 2`, x to the right of the image's centre and y below it, over half of its longer side.
    Targets are `batch step joint 3`: x, y, and 1 where the joint counts (is visible), else 0.

    training, testing: sequences of either split, `frame joint 3`, of `OBSERVED` + `FORECAST` frames at least; shorter
    ones are left out.  width: hidden units, a multiple of 13 for the paper's layout.  steps, batch: of a training.
    """

    figure = "pck_5"
    better = 1

    def __init__(
        self,
        training: Sequence[np.ndarray],
        testing: Sequence[np.ndarray],
        width: int = WIDTH,
        steps: int = 800,
        batch: int = PAPER_BATCH,
        name: str = "forecasting",
        test_windows: int | None = TEST_WINDOWS,
    ) -> None:
        self.name = f"{name}, {width}"
        self.width, self.steps, self.batch, self.test_windows = width, steps, batch, test_windows
        self._training, self._testing = training, testing
        self._reflection = Reflection(LEFT, RIGHT)

    @property
    def spec(self) -> ConversionSpec:
        return load_spec("penn-action", input_layouts=["b t j d"], output_layouts=["b t j d"])

    def build(self, layout: Layout) -> Forecaster:
        return forecaster(layout, self.width)

    def recipe(self, layout: Layout) -> Recipe:
        """As in the paper: Adam, 0.005 x 0.95 every 2 of 30 epochs, gradient norm at most 5."""
        return Recipe(self.steps, self.batch, partial(torch.optim.Adam, lr=PAPER_RATE), paper_decay, PAPER_CLIP)

    def fine_tuning(self) -> Recipe:
        """A tenth of the steps, from the rate that the training ended with."""
        optimizer = partial(torch.optim.Adam, lr=PAPER_RATE * paper_decay(1.0))
        return Recipe(self.steps // 10, self.batch, optimizer, lambda share: 1 - share, PAPER_CLIP)

    def draw(self, rng: np.random.Generator, count: int) -> Samples:
        frames, starts = self._pool
        return _samples(frames, rng.choice(starts, count))

    def mirror(self, samples: Samples) -> Samples:
        return Samples(self._reflection(samples.inputs), self._reflection(samples.targets))

    def mirror_answers(self, answers: Tensor) -> Tensor:
        return self._reflection(answers)

    def loss(self, network: nn.Module, samples: Samples) -> Tensor:
        """Mean distance of the visible joints, teacher-forced where the network can be (a converted graph cannot)."""
        future = samples.targets[..., :2]
        following = getattr(network, "following", None)
        answers = network(samples.inputs) if following is None else following(samples.inputs, future)
        seen = samples.targets[..., 2]
        return ((answers - future).norm(dim=-1) * seen).sum() / seen.sum().clamp(min=1)

    def test_samples(self) -> Samples:
        return self._test

    def figures(self, answers: Tensor) -> dict[str, float]:
        """pck_5, in percent: mean of the steps; pck_5/1 to pck_5/16: of every step.  l2_x1000: mean distance x 1000."""
        targets = self.test_samples().targets
        distances = (answers.double() - targets[..., :2].double()).norm(dim=-1)  # sample step joint
        counted = targets[..., 2] > 0
        steps = [pck(distances[:, step], counted[:, step]) for step in range(distances.shape[1])]
        return {
            "pck_5": float(np.mean(steps)),
            **{f"pck_5/{step}": value for step, value in enumerate(steps, 1)},
            "l2_x1000": 1000 * distances[counted].mean().item(),
        }

    @cached_property
    def _pool(self) -> tuple[Tensor, np.ndarray]:
        return _windows(self._training, "training")

    @cached_property
    def _test(self) -> Samples:
        frames, starts = _windows(self._testing, "test")
        if self.test_windows is not None and len(starts) > self.test_windows:
            starts = starts[np.linspace(0, len(starts) - 1, self.test_windows).round().astype(int)]
        return _samples(frames, starts)


def mocap(folder: Path, **settings: object) -> Forecasting:
    """Forecasting on the motion capture of `folder`, 25 frames a second, all joints visible.

    Raises FileNotFoundError where the folder lacks `cmu17.npz` or `motion.py`.
    """
    return Forecasting(*_mocap(folder), **settings)  # type: ignore[arg-type]


@lru_cache(maxsize=1)
def _mocap(folder: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Training subjects from `TRAINING_CAMERAS` sides; test subjects from one, the sequences of `penn13_cmu.npz`."""
    motion = load_motion(folder)
    capture = motion.load(folder / "cmu17.npz")
    training = sorted(set(capture["subject"].tolist()) - set(motion.TEST_SUBJECTS))
    splits = (
        motion.penn13(capture, training, TRAINING_SEED, TRAINING_CAMERAS),
        motion.penn13(capture, motion.TEST_SUBJECTS),
    )
    first, second = ([_visible(sequence["pose2d"]) for sequence in split] for split in splits)
    return first, second


def _visible(poses: np.ndarray) -> np.ndarray:
    return np.concatenate([poses, np.ones_like(poses[..., :1])], -1).astype(np.float32)


def paper_decay(share: float) -> float:
    """0.95 every 2 of 30 epochs."""
    return PAPER_DECAY ** int(share * PAPER_EPOCHS / 2)


def _windows(sequences: Sequence[np.ndarray], split: str) -> tuple[Tensor, np.ndarray]:
    """All frames in a row, and the first frames of all windows that lie within one sequence. Raises ValueError."""
    length = OBSERVED + FORECAST
    kept = [sequence for sequence in sequences if len(sequence) >= length]
    if not kept:
        raise ValueError(f"none of the {len(sequences)} {split} sequences has {length} frames.")
    first = np.cumsum([0] + [len(sequence) for sequence in kept])
    starts = [np.arange(a, b - length + 1) for a, b in zip(first, first[1:], strict=False)]
    return torch.from_numpy(np.concatenate(kept).astype(np.float32)), np.concatenate(starts)


def _samples(frames: Tensor, starts: np.ndarray) -> Samples:
    windows = frames[torch.from_numpy(starts[:, None] + np.arange(OBSERVED + FORECAST))]
    return Samples(windows[:, :OBSERVED, :, :2].contiguous(), windows[:, OBSERVED:].contiguous())
