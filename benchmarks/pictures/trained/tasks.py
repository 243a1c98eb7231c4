"""What each network is trained on, how its answers are read, and how they are specified."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.pictures.trained.networks import (
    BINS_PER_PIXEL,
    ORGANS,
    SIZE,
    STRIDE,
    Bins,
    HighResolution,
    Organs,
    Tokens,
)
from benchmarks.pictures.trained.volumes import volumes
from examples.pixels.networks import Heatmaps, flipped, targets
from examples.pixels.poses import Array, bodies
from examples.pixels.rendering import render
from examples.pixels.study import read_off

Error = Callable[[Any, Tensor, float], float]
_PICTURE = {"layout": "b c h w", "mirror": "w"}
_SWAPS = [["kidney_left", "kidney_right"], ["lung_left", "lung_right"]]
ORGANS_SWAPPED = (0, 2, 1, 4, 3, 5)


@dataclass(frozen=True)
class Task:
    """One network and what it is for.

    loss: of answers and truth.  error: of answers, truth, and by how many pixels cells lie further to the right.
    mirrored: pictures and truth, mirrored where a mask says so.  outputs: of the specification, as the maps are;
    shifted, as toolboxes shift them.  sees_one_side: it is trained on people who look to the right, without flips.
    """

    name: str
    build: Callable[[], nn.Module]
    loss: Callable[[Any, Tensor], Tensor]
    error: Error
    mirrored: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
    outputs: tuple[Mapping[str, Any], ...]
    shifted: tuple[Mapping[str, Any], ...] = ()
    batch: int = 128
    inputs: Mapping[str, Any] = field(default_factory=lambda: dict(_PICTURE))
    pixels_per_cell: float = STRIDE
    sees_one_side: bool = False

    @property
    def spec(self) -> dict[str, Any]:
        """The specification with the plain reversal of everything."""
        return {"skeleton": "h36m", "inputs": [dict(self.inputs)], "outputs": [dict(one) for one in self.outputs]}

    @property
    def spec_shifted(self) -> dict[str, Any]:
        """The specification with the maps shifted by one whole cell."""
        return {**self.spec, "outputs": [dict(one) for one in self.shifted]}

    @property
    def is_voxels(self) -> bool:
        """Whether it labels voxels, where nothing is off and errors are 1 - Dice."""
        return not self.shifted


def _heatmap_loss(maps: Tensor, joints: Tensor) -> Tensor:
    return 100 * (maps - targets(joints, maps.shape[-1])).square().mean()


def _heatmap_error(maps: Tensor, joints: Tensor, offset: float) -> float:
    return float((read_off(maps.float().cpu(), offset) - joints.cpu()).norm(dim=-1).mean())


def _bins_loss(scores: tuple[Tensor, Tensor], joints: Tensor) -> Tensor:
    total = torch.zeros((), device=joints.device)
    for dim, logits in enumerate(scores):
        bins = torch.arange(logits.shape[-1], device=logits.device) / BINS_PER_PIXEL
        wanted = torch.softmax(-((bins - joints[..., dim, None]) / 2.0).square() / 2, -1)
        total = total - (wanted * logits.log_softmax(-1)).sum(-1).mean()
    return total


def _bins_error(scores: tuple[Tensor, Tensor], joints: Tensor, offset: float) -> float:
    """Joints read off as the mean over the bins around the best one."""
    places: list[Tensor] = []
    for logits in scores:
        shares = logits.float().cpu().softmax(-1)
        bins = torch.arange(shares.shape[-1], dtype=torch.float32)
        near = (bins - shares.argmax(-1, keepdim=True)).abs() <= 8
        near_shares = shares * near
        places.append((near_shares * bins).sum(-1) / near_shares.sum(-1) / BINS_PER_PIXEL)
    found = torch.stack(places, -1) + torch.tensor([offset, 0.0])
    return float((found - joints.cpu()).norm(dim=-1).mean())


def _organs_loss(scores: Tensor, organs: Tensor) -> Tensor:
    shares = scores.softmax(1)
    truth = functional.one_hot(organs, len(ORGANS)).movedim(-1, 1).to(shares.dtype)
    overlap, sizes = (shares * truth).sum((0, 2, 3, 4)), (shares + truth).sum((0, 2, 3, 4))
    return functional.cross_entropy(scores, organs) + 1 - (2 * overlap / sizes.clamp(min=1))[1:].mean()


def _organs_error(scores: Tensor, organs: Tensor, _: float) -> float:
    """1 - Dice, the mean over all organs but the background."""
    labels, organs = scores.argmax(1).cpu(), organs.cpu()
    dices: list[Tensor] = []
    for organ in range(1, len(ORGANS)):
        given, true = (labels == organ).flatten(1), (organs == organ).flatten(1)
        sizes = (given.sum(1) + true.sum(1)).clamp(min=1)
        dices.append((2 * (given & true).sum(1) / sizes).mean())
    return float(1 - torch.stack(dices).mean())


def _flipped_voxels(pixels: Tensor, organs: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
    """Volumes mirrored, left and right organs exchanged."""
    order = torch.tensor(ORGANS_SWAPPED, device=organs.device)
    chosen = which[:, None, None, None]
    return (
        torch.where(chosen[:, None], pixels.flip(-1), pixels),
        torch.where(chosen, order[organs.flip(-1)], organs),
    )


_MAPS: dict[str, Any] = {
    "loss": _heatmap_loss,
    "error": _heatmap_error,
    "mirrored": flipped,
    "outputs": ({"layout": "b j h w", "mirror": "w"},),
    "shifted": ({"layout": "b j h w", "mirror": {"w": SIZE / STRIDE / 2}},),
}
TASKS = (
    Task("residual", lambda: Heatmaps(32), **_MAPS),
    Task("one side", lambda: Heatmaps(32), **_MAPS, sees_one_side=True),
    Task("HRNet", HighResolution, **_MAPS),
    Task("ViTPose", Tokens, **_MAPS),
    Task(
        "SimCC",
        Bins,
        _bins_loss,
        _bins_error,
        flipped,
        ({"layout": "b j x", "mirror": "x", "dims": []}, {"layout": "b j y", "dims": []}),
        ({"layout": "b j x", "mirror": {"x": SIZE - 1}, "dims": []}, {"layout": "b j y", "dims": []}),
        pixels_per_cell=1 / BINS_PER_PIXEL,
    ),
    Task(
        "voxels",
        Organs,
        _organs_loss,
        _organs_error,
        _flipped_voxels,
        (
            {
                "layout": "b classes z y x",
                "mirror": "x",
                "classes": {"swap": _SWAPS, "names": list(ORGANS)},
            },
        ),
        batch=8,
        inputs={"layout": "b c z y x", "mirror": "x"},
    ),
)
BY_NAME = {task.name: task for task in TASKS}


def data(task: Task, count: int, test: bool, device: str) -> tuple[Tensor, Tensor]:
    """Inputs and truth on a device: of test subjects, or of those to train on."""
    if task.is_voxels:
        drawn = volumes(count, 5 if test else 4, device)
        return drawn.pixels, drawn.joints
    people = bodies(2 * count if task.sees_one_side else count, test)
    if task.sees_one_side:
        people = people[_look_to_the_right(people)][:count]
    pictures = render(people, 1 if test else 0, SIZE, device)
    return pictures.pixels, pictures.joints


def _look_to_the_right(people: Array) -> npt.NDArray[np.bool_]:
    """Of people "person joint 3" before the camera, those whose chest points to the right in the picture."""
    up, left = people[:, 10] - people[:, 8], people[:, 11] - people[:, 14]
    return np.cross(up, left)[:, 0] > 0
