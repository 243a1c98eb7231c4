"""Forecasting as a task of the study: windows of 2D motion, teacher-forced loss, PCK@0.05 of every forecast step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property, lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from chiralize.body.tensors import ConversionSpec, load_spec
from chiralize.storage.pretrained.evaluation import load_motion
from examples.forecasting.networks import FORECAST, Forecaster, forecaster
from examples.study.task import Layout, Recipe, Reflection, Samples, Task

OBSERVED = 8
"""Frames that the network sees."""
THRESHOLD = 0.05
"""A joint counts as found at this distance from where it is, or nearer; normalised coordinates."""
LEFT, RIGHT = (1, 3, 5, 7, 9, 11), (2, 4, 6, 8, 10, 12)
"""Joints of Penn Action."""
PAPER_RATE, PAPER_DECAY, PAPER_EPOCHS, PAPER_BATCH, PAPER_CLIP = 0.005, 0.95, 30, 256, 5.0
TRAINING_CAMERAS, TRAINING_SEED = 4, 1
CAPTURE_RATE = 25
"""Frames a second of the motion capture's 2D sequences."""


def pck(distances: Tensor, counted: Tensor) -> float:
    """Share, in percent, of the joints that count whose distance is at most `THRESHOLD`; nan where none counts."""
    return 100 * (distances[counted] <= THRESHOLD).double().mean().item()


class Forecasting(Task):
    """`OBSERVED` frames of 2D poses in, the `FORECAST` next ones out, Penn Action's 13 joints.

    Inputs are `batch frame joint 2`, x to the right of the image's centre and y below it, over half of its longer side.
    Targets are `batch step joint 3`: x, y, and 1 where the joint counts (is visible), else 0.

    training, testing: sequences of either split, `frame joint 3` like the targets; those that are shorter than a window
    are left out.  width: hidden units, a multiple of 13 for the paper's layout.  updates, batch: of a training; updates
    None: `PAPER_EPOCHS` times as many windows as there are.  Raises ValueError where no sequence is long enough.
    """

    figure = "pck_5"
    better = 1

    def __init__(
        self,
        name: str,
        training: Sequence[np.ndarray],
        testing: Sequence[np.ndarray],
        width: int,
        updates: int | None = None,
        batch: int = PAPER_BATCH,
        test_windows: int | None = None,
        forecast: int = FORECAST,
    ) -> None:
        self.name, self.width, self.batch, self.forecast = f"{name}, {width}", width, batch, forecast
        self._reflection = Reflection(LEFT, RIGHT)
        self._frames, self._starts = _windows(training, OBSERVED + forecast, "training")
        self._tested = _windows(testing, OBSERVED + forecast, "test")
        self._test_windows = test_windows
        self.updates = math.ceil(PAPER_EPOCHS * len(self._starts) / batch) if updates is None else updates

    @property
    def spec(self) -> ConversionSpec:
        return load_spec("penn-action", input_layouts=["b t j d"], output_layouts=["b t j d"])

    def build(self, layout: Layout) -> Forecaster:
        return forecaster(layout, self.width, self.forecast)

    def recipe(self, layout: Layout) -> Recipe:
        """The paper's: Adam, 0.005 x 0.95 every 2 of 30 epochs, gradient norm at most 5; then the rate falls to 0."""
        return Recipe(
            self.updates, self.batch, partial(torch.optim.Adam, lr=PAPER_RATE, fused=True), cooled_decay, PAPER_CLIP
        )

    def fine_tuning(self) -> Recipe:
        """A tenth of the updates, from the rate that the training ended with."""
        optimizer = partial(torch.optim.Adam, lr=PAPER_RATE * paper_decay(1.0), fused=True)
        return Recipe(max(2, self.updates // 10), self.batch, optimizer, lambda share: 1 - share, PAPER_CLIP)

    def draw(self, rng: np.random.Generator, count: int) -> Samples:
        return self._samples(self._frames, rng.choice(self._starts, count))

    def mirror_inputs(self, inputs: Tensor) -> Tensor:
        return self._reflection(inputs)

    def mirror_targets(self, targets: Tensor) -> Tensor:
        return self._reflection(targets)

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
    def _test(self) -> Samples:
        """`test_windows` of them, evenly spread; None for all."""
        frames, starts = self._tested
        if self._test_windows is not None and len(starts) > self._test_windows:
            starts = starts[np.linspace(0, len(starts) - 1, self._test_windows).round().astype(int)]
        return self._samples(frames, starts)

    def _samples(self, frames: Tensor, starts: np.ndarray) -> Samples:
        windows = frames[torch.from_numpy(starts[:, None] + np.arange(OBSERVED + self.forecast))]
        return Samples(windows[:, :OBSERVED, :, :2].clone(), windows[:, OBSERVED:].clone())


@lru_cache(maxsize=1)
def mocap(folder: Path, every: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Training and test sequences of the motion capture, all joints visible, `CAPTURE_RATE` / every frames a second.

    Training subjects from `TRAINING_CAMERAS` sides, test subjects from one.  A sequence gives `every` ones, which
    start one frame after the other.  Raises FileNotFoundError where the folder lacks `cmu17.npz` or `motion.py`.
    """
    motion = load_motion(folder)
    capture = motion.load(folder / "cmu17.npz")
    others = sorted(set(capture["subject"].tolist()) - set(motion.TEST_SUBJECTS))
    training = motion.penn13(capture, others, TRAINING_SEED, TRAINING_CAMERAS)
    testing = motion.penn13(capture, motion.TEST_SUBJECTS)
    first, second = (
        [_visible(sequence["pose2d"][phase::every]) for sequence in split for phase in range(every)]
        for split in (training, testing)
    )
    return first, second


def _visible(poses: np.ndarray) -> np.ndarray:
    return np.concatenate([poses, np.ones_like(poses[..., :1])], -1).astype(np.float32)


COOLED = 10 / 11


def paper_decay(share: float) -> float:
    """0.95 every 2 of 30 epochs."""
    return PAPER_DECAY ** int(share * PAPER_EPOCHS / 2)


def cooled_decay(share: float) -> float:
    """The paper's in the first 10/11 of the updates, linearly to 0 in the rest.

    The paper ends at almost half of its first rate. Weights that still move as far forecast worse than their mean, and
    every average, of both views or of a fit, seems to help.
    """
    cooling = max(0.0, (share - COOLED) / (1 - COOLED))
    return paper_decay(min(1.0, share / COOLED)) * (1 - cooling)


def _windows(sequences: Sequence[np.ndarray], length: int, split: str) -> tuple[Tensor, np.ndarray]:
    """All frames in a row, and the first frames of all windows that lie within one sequence."""
    kept = [sequence for sequence in sequences if len(sequence) >= length]
    if not kept:
        raise ValueError(f"none of the {len(sequences)} {split} sequences has {length} frames.")
    first = np.cumsum([0] + [len(sequence) for sequence in kept])
    starts = [np.arange(a, b - length + 1) for a, b in zip(first, first[1:], strict=False)]
    return torch.from_numpy(np.concatenate(kept).astype(np.float32)), np.concatenate(starts)
