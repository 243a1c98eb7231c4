"""The lifting tasks of the study: two sizes of network on all training data, and a small one on parts of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from chiralize.body.tensors import ConversionSpec
from chiralize.errors import DataFileError
from chiralize.storage.pretrained.evaluation import data_folder
from examples.lifting.checkpoint import judged, lifting_spec
from examples.lifting.mocap import load_mocap
from examples.lifting.networks import WIDTHS, ChiralLifter, StridedLifter
from examples.lifting.poses import Dataset, Windows
from examples.lifting.published import H36M_TRAINING, load_h36m, load_humaneva
from examples.study.task import Layout, Recipe, Reflection, Samples, Task, rate_factor

FRACTIONS = {"0.1 %": 0.001, "1 %": 0.01, "10 %": 0.1, "50 %": 0.5, "100 %": 1.0}
"""Of the training frames, evenly spread, in the limited-data study."""
LIMITED_WAYS = ("baseline", "baseline, TTA", "flips", "flips, TTA", "from scratch, free", "from scratch, paper")


@dataclass(frozen=True)
class Training:
    """How long; steps: 0 for `epochs` passes over the training frames.  rate: of Adam, for ordinary networks."""

    steps: int = 0
    epochs: float = 0.0
    batch: int = 256
    dropout: float = 0.1
    rate: float = 1e-3


SMOKE = Training(steps=4, batch=16)
SMOKE_WAYS = "flips", "from scratch, paper"


class Lifting(Task):
    """2D poses of `frames` frames to the 3D pose of the middle one. The figure that counts is the MPJPE.

    Further figures: the mean over actions, P-MPJPE, N-MPJPE, and MPJVE, in mm from one frame to the next.

    channels: of the ordinary network and of the chiral one in the free layout; the paper's layout takes the nearest
    multiple of the joints below.  fraction: of the training frames that is used.
    """

    figure = "MPJPE mm"
    better = -1

    def __init__(
        self,
        dataset: Callable[[], Dataset],
        name: str,
        frames: int,
        channels: int,
        training: Training,
        fraction: float = 1.0,
        ways: Sequence[str] | None = None,
        tested: int = 1,
    ) -> None:
        """dataset: called when it is needed.  tested: every how manieth test clip is used."""
        self.name, self.ways, self.frames, self.channels = name, ways, frames, channels
        self._load, self._tested, self._sizes, self._fraction = dataset, tested, training, fraction

    # ---- the mirror ---------------------------------------------------------------------------------------
    @property
    def spec(self) -> ConversionSpec:
        return lifting_spec(self._dataset)

    def mirror_inputs(self, inputs: Tensor) -> Tensor:
        return _reflection(self._dataset.body_in.pairs)(inputs)

    def mirror_targets(self, targets: Tensor) -> Tensor:
        return _reflection(self._dataset.body_out.pairs)(targets)

    def mirror_answers(self, answers: Tensor) -> Tensor:
        return self.mirror_targets(answers)

    # ---- network and training -----------------------------------------------------------------------------
    def build(self, layout: Layout) -> nn.Module:
        data, widths = self._dataset, WIDTHS[self.frames]
        if layout == "plain":
            joints = len(data.body_in.joints), 2, len(data.body_out.joints)
            return StridedLifter(*joints, widths, self.channels, self._sizes.dropout)
        joints_out = len(data.body_out.joints)
        channels = self.channels if layout == "free" else self.channels // joints_out * joints_out
        return ChiralLifter(layout, data.body_in, data.body_out, widths, channels, self._sizes.dropout, strided=True)

    def recipe(self, layout: Layout) -> Recipe:
        adam = partial(torch.optim.Adam, lr=self._sizes.rate * rate_factor(layout), amsgrad=True, fused=True)
        return Recipe(self._steps, self._sizes.batch, adam, decay=_falling, momentum=_momentum)

    def fine_tuning(self) -> Recipe:
        adam = partial(torch.optim.Adam, lr=3e-4, amsgrad=True, fused=True)
        steps = max(2, self._steps // 4)
        return Recipe(steps, self._sizes.batch, adam, decay=_falling, momentum=_momentum)

    def loss(self, network: nn.Module, samples: Samples) -> Tensor:
        return (network(samples.inputs) - samples.targets).norm(dim=-1).mean()

    @property
    def _steps(self) -> int:
        sizes = self._sizes
        return sizes.steps or max(1, round(sizes.epochs * len(self._training[1]) / sizes.batch))

    # ---- data ---------------------------------------------------------------------------------------------
    def draw(self, rng: np.random.Generator, count: int) -> Samples:
        windows, places = self._training
        chosen = places[torch.from_numpy(rng.integers(len(places), size=count))]
        return Samples(windows.inputs(chosen), windows.targets[chosen, None])

    def test_samples(self) -> Samples:
        return Samples(self._test.everything, self._test.targets[:, None])

    def figures(self, answers: Tensor) -> dict[str, float]:
        figures, actions = judged(answers[:, 0].numpy(), self._test)
        return figures | {f"MPJPE mm/{action}": error for action, error in actions.items()}

    @cached_property
    def _dataset(self) -> Dataset:
        return self._load()

    @cached_property
    def _training(self) -> tuple[Windows, Tensor]:
        """And the frames of it that may be drawn."""
        windows = Windows(self._dataset.training, self.frames)
        count = max(1, round(self._fraction * len(windows)))
        return windows, torch.from_numpy(np.linspace(0, len(windows) - 1, count).round().astype(int))

    @cached_property
    def _test(self) -> Windows:
        return Windows(self._dataset.test[:: self._tested], self.frames)


def _falling(share: float) -> float:
    """From 1 to 0 along a cosine: the published exponential needs many more steps to be as good."""
    return 0.5 + 0.5 * math.cos(math.pi * share)


def _momentum(share: float) -> float:
    """From 0.1 to 0.01: the published trainings, 50 times as long, end at 0.001, which would lag behind here."""
    return 0.1 * 0.1**share


def _reflection(pairs: Sequence[tuple[int, int]]) -> Reflection:
    left, right = zip(*pairs, strict=True)
    return Reflection(left, right)


# ---- the studies ----------------------------------------------------------------------------------------------------
def mocap() -> Dataset:
    """The motion capture that CHIRALIZE_DATA names."""
    return load_mocap(data_folder())


def limited_name(part: str) -> str:
    """Of the network that learns from a part of the training frames."""
    return f"1 frame, 256, {part} of the frames"


def tasks(smoke: bool) -> Sequence[Task]:
    """Of the study on motion capture. smoke: tiny networks, few steps, one of the parts. Raises FileNotFoundError."""
    data_folder()
    wide, long, small = (34, 34, 34) if smoke else (512, 256, 256)
    frame = SMOKE if smoke else Training(1200, rate=4e-3)
    frames = SMOKE if smoke else Training(900, batch=64, rate=2e-3)
    parts = SMOKE if smoke else Training(700, batch=128, rate=4e-3)
    every = 8 if smoke else 1
    few = SMOKE_WAYS if smoke else None  # the first network goes through all of them
    return [
        Lifting(mocap, "1 frame, 512", 1, wide, frame, tested=every),
        Lifting(mocap, "243 frames, 256", 243, long, frames, ways=few, tested=2 * every),
        *(
            Lifting(mocap, limited_name(part), 1, small, parts, fraction, few or LIMITED_WAYS, every)
            for part, fraction in list(FRACTIONS.items())[: 1 if smoke else None]
        ),
    ]


@dataclass(frozen=True)
class OwnFiles:
    """The study on the published files of a data set: a function that other processes can import.

    dataset: h36m or humaneva.  epochs: passes over the training frames.  fractions: of the training frames, each a
    network of its own.  subjects: to learn from, each group a network of its own; () is the published split.
    Raises DataFileError, UnsafeFileError.
    """

    dataset: str
    data_3d: Path
    data_2d: Path | None
    frames: int
    channels: int
    epochs: float
    batch: int
    fractions: tuple[float, ...] = (1.0,)
    subjects: tuple[tuple[str, ...], ...] = ((),)

    def load(self, subjects: tuple[str, ...] = ()) -> Dataset:
        """The data.  subjects: of Human3.6M, to learn from; () are those of the published split."""
        if self.dataset == "h36m":
            return load_h36m(self.data_3d, self.data_2d, subjects or H36M_TRAINING)
        if self.data_2d is None:
            raise DataFileError("--data-2d", "is needed: the lenses of HumanEva are not published", "give a file.")
        return load_humaneva(self.data_3d, self.data_2d)

    def __call__(self, smoke: bool) -> Sequence[Task]:
        training = SMOKE if smoke else Training(epochs=self.epochs, batch=self.batch, dropout=0.25)
        channels = 34 if smoke else self.channels
        sizes = f"{self.dataset}, {self.frames} frame{'s'[: self.frames - 1]}, {self.channels}"
        found = list[Task]()
        for subjects in self.subjects:
            load = cache(partial(self.load, subjects))
            for fraction in self.fractions:
                words = [sizes, "+".join(subjects), "" if fraction == 1 else f"{100 * fraction:g} %"]
                name = ", ".join(word for word in words if word)
                found.append(Lifting(load, name, self.frames, channels, training, fraction))
        return found
