"""The lifting tasks of the study: two sizes of network on all training data, and a small one on parts of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor, nn

from chiralize.spec import ConversionSpec, load_spec
from examples.lifting import metrics
from examples.lifting.mocap import data_folder, load_mocap
from examples.lifting.networks import WIDTHS, ChiralLifter, StridedLifter
from examples.lifting.poses import Dataset, Windows
from examples.study.task import Layout, Recipe, Reflection, Samples, Task

FRACTIONS = {"0.1 %": 0.001, "1 %": 0.01, "10 %": 0.1, "50 %": 0.5, "100 %": 1.0}
"""Of the training frames, evenly spread, in the limited-data study."""
LIMITED_WAYS = ("baseline", "baseline, TTA", "flips", "flips, TTA", "from scratch, free", "from scratch, paper")


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
        steps: int,
        batch: int = 256,
        dropout: float = 0.25,
        fraction: float = 1.0,
        ways: Sequence[str] | None = None,
        tested: int = 1,
    ) -> None:
        """dataset: called when it is needed.  tested: every how manieth test clip is used."""
        self.name, self.ways, self.frames, self.channels = name, ways, frames, channels
        self._load, self._tested = dataset, tested
        self._steps, self._size, self._dropout, self._fraction = steps, batch, dropout, fraction

    # ---- the mirror ---------------------------------------------------------------------------------------
    @property
    def spec(self) -> ConversionSpec:
        data = self._dataset
        body_in = None if data.body_in == data.body_out else data.body_in
        spec = load_spec(data.body_out, input_layouts=["b t j d"], output_layouts=["b t j d"])
        inputs = tuple(replace(entry, skeleton=body_in) for entry in spec.inputs or ())
        return replace(spec, inputs=inputs)

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
            return StridedLifter(*joints, widths, self.channels, self._dropout)
        joints_out = len(data.body_out.joints)
        channels = self.channels if layout == "free" else self.channels // joints_out * joints_out
        return ChiralLifter(layout, data.body_in, data.body_out, widths, channels, self._dropout, strided=True)

    def recipe(self, layout: Layout) -> Recipe:
        adam = partial(torch.optim.Adam, lr=1e-3, amsgrad=True)
        return Recipe(self._steps, self._size, adam, decay=_falling, momentum=_momentum)

    def fine_tuning(self) -> Recipe:
        adam = partial(torch.optim.Adam, lr=3e-4, amsgrad=True)
        steps = max(2, self._steps // 4)
        return Recipe(steps, self._size, adam, decay=_falling, momentum=_momentum)

    def loss(self, network: nn.Module, samples: Samples) -> Tensor:
        return (network(samples.inputs) - samples.targets).norm(dim=-1).mean()

    # ---- data ---------------------------------------------------------------------------------------------
    def draw(self, rng: np.random.Generator, count: int) -> Samples:
        windows, places = self._training
        chosen = places[torch.from_numpy(rng.integers(len(places), size=count))]
        return Samples(windows.inputs(chosen), windows.targets[chosen, None])

    def test_samples(self) -> Samples:
        return Samples(self._test.everything, self._test.targets[:, None])

    def figures(self, answers: Tensor) -> dict[str, float]:
        windows = self._test
        found, wanted = 1000 * answers[:, 0].numpy().astype(float), 1000 * windows.targets.numpy().astype(float)
        errors = metrics.mpjpe(found, wanted)
        actions = metrics.by_action(errors, windows.actions)
        return {
            "MPJPE mm": float(errors.mean()),
            "mean of actions mm": float(np.mean(list(actions.values()))),
            "P-MPJPE mm": float(metrics.p_mpjpe(found, wanted).mean()),
            "N-MPJPE mm": float(metrics.n_mpjpe(found, wanted).mean()),
            "MPJVE mm": float(metrics.mpjve(found, wanted, windows.lengths).mean()),
            **{f"MPJPE mm/{action}": error for action, error in actions.items()},
        }

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
    """From 1 to 1/50, exponentially, as in the published trainings."""
    return 0.02**share


def _momentum(share: float) -> float:
    """From 0.1 to 0.01: the published trainings, 50 times as long, end at 0.001, which would lag behind here."""
    return 0.1 * 0.1**share


def _reflection(pairs: Sequence[tuple[int, int]]) -> Reflection:
    left, right = zip(*pairs, strict=True)
    return Reflection(left, right)


def mocap() -> Dataset:
    """The motion capture that CHIRALIZE_DATA names."""
    return load_mocap(data_folder())


def tasks(smoke: bool) -> list[Task]:
    """Of the study on motion capture. smoke: tiny networks and few steps. Raises FileNotFoundError."""
    data_folder()
    small = {"steps": 4, "batch": 16, "tested": 8} if smoke else {}
    long = {"steps": 1200, "batch": 64, "tested": 2, **small}
    limited = [
        Lifting(mocap, f"1 frame, 256, {part}", 1, 34 if smoke else 256, **{"steps": 1200, "batch": 128, **small},
                fraction=fraction, ways=LIMITED_WAYS)
        for part, fraction in FRACTIONS.items()
    ]  # fmt: skip
    whole = [
        Lifting(mocap, "1 frame, 512", 1, 34 if smoke else 512, **{"steps": 2000, **small}),
        Lifting(mocap, "243 frames, 256", 243, 34 if smoke else 256, **long),
    ]
    return [*whole, *(limited[:1] if smoke else limited)]
