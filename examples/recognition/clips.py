"""Clips of skeletons in the user's files, and the task that they make.

A clip is `person frame joint coord`, float32; people who are not there, frames after the end and missed joints are 0.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from chiralize.errors import DataFileError
from chiralize.storage.unpickle import restricted_load
from examples.recognition.classification import Classification, cosine
from examples.recognition.networks import SMOKE_SIZES, Recogniser, Sizes
from examples.study.task import Layout, Recipe, Samples


class Clips(Protocol):
    """Labelled clips. labels: "clip", the class of each; classes: their names."""

    @property
    def labels(self) -> np.ndarray: ...
    @property
    def classes(self) -> Sequence[str]: ...
    def clip(self, index: int) -> np.ndarray:
        """`person frame joint coord`"""
        ...


# ---- arrays ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class ArrayClips:
    """One array for all clips, which stays on the disk: "clip coord frame joint person"."""

    data: np.ndarray
    labels: np.ndarray
    classes: Sequence[str]

    @staticmethod
    def open(data_file: Path, label_file: Path, sizes: tuple[int, int]) -> ArrayClips:
        """Maps the array. sizes: coordinates and joints.  label_file: pickle of (names, class of every clip), of which
        nothing is run.  Raises DataFileError, UnsafeFileError."""
        try:
            data = np.load(data_file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataFileError(str(data_file), f"is no array file ({error})", "make it again.") from error
        if data.ndim != 5 or (data.shape[1], data.shape[3]) != sizes:
            facts = f"has shape {data.shape}, not (clips, {sizes[0]}, frames, {sizes[1]}, people)"
            raise DataFileError(str(data_file), facts, "give the joint data of the published scripts.")
        labels = read_labels(label_file)
        if len(labels) != len(data):
            facts = f"names {len(labels)} clips, {data_file.name} has {len(data)}"
            raise DataFileError(str(label_file), facts, "give files that were made together.")
        return ArrayClips(data, labels, [str(index) for index in range(int(labels.max(initial=-1)) + 1)])

    def clip(self, index: int) -> np.ndarray:
        return np.ascontiguousarray(self.data[index].transpose(3, 1, 2, 0), np.float32)


def read_labels(path: Path) -> np.ndarray:
    """Classes of a pickle (names, classes). Raises DataFileError, UnsafeFileError."""
    try:
        content = restricted_load(path.read_bytes(), str(path))
        labels = np.asarray(content[1], np.int64)
    except (OSError, TypeError, ValueError, IndexError, KeyError) as error:
        raise DataFileError(str(path), f"is no pickle of (names, classes) ({error})", "make it again.") from error
    if labels.ndim != 1 or (labels < 0).any():
        raise DataFileError(str(path), f"classes are {labels.ndim}-dimensional or negative", "make it again.")
    return labels


def read_json(path: Path) -> Any:
    """Raises DataFileError."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataFileError(str(path), f"cannot be read as JSON ({error})", "download it again.") from error


# ---- windows --------------------------------------------------------------------------------------------------------
def window(clip: np.ndarray, frames: int, start: float) -> np.ndarray:
    """`frames` frames of a clip. start: 0 to 1, from the first frame in which somebody is seen to the latest start.

    Where people are seen for fewer frames than that, zeros follow.
    """
    seen = np.flatnonzero(clip.any((0, 2, 3)))
    first, last = (int(seen[0]), int(seen[-1]) + 1) if len(seen) else (0, 0)
    begin = first + round(start * max(0, last - first - frames))
    part = clip[:, begin : min(begin + frames, last)]
    return np.pad(part, ((0, 0), (0, frames - part.shape[1]), (0, 0), (0, 0)))


@dataclass(frozen=True)
class Effort:
    """Of a training on the user's clips. tested: most test clips that are kept, evenly spread."""

    frames: int = 150
    epochs: int = 90
    batch: int = 256
    rate: float = 0.1
    tested: int = 20_000


class OwnClips(Classification):
    """Clips of the user's files: `batch person frame joint coord` to `batch class`; the mirror changes no class.

    Trained by SGD with momentum 0.9, as the paper's; the rate falls along a cosine.
    """

    input_layout = "b m t j d"
    smoothing = 0.0

    def __init__(
        self, name: str, skeleton: str, dims: Sequence[str], clips: tuple[Clips, Clips], effort: Effort, sizes: Sizes,
        smoke: bool = False,
    ) -> None:  # fmt: skip
        self.name, self.skeleton, self.dims, self.smoke = name, skeleton, dims, smoke
        self.train, self.test = clips
        self.effort, self.sizes = effort, SMOKE_SIZES if smoke else sizes
        self.frames = min(effort.frames, 16) if smoke else effort.frames
        longer = max(self.train.classes, self.test.classes, key=len)
        self.classes = list(longer)

    def build(self, layout: Layout) -> nn.Module:
        return Recogniser(self.spec.skeleton, self.dims, self.scores, layout, self.sizes)

    def recipe(self, layout: Layout) -> Recipe:
        steps = max(1, round(self.effort.epochs * len(self.train.labels) / self.effort.batch))
        optimizer = partial(torch.optim.SGD, lr=self.effort.rate, momentum=0.9, weight_decay=1e-4)
        full = Recipe(steps, self.effort.batch, optimizer, cosine)
        return Recipe(2, 4, optimizer, cosine) if self.smoke else full

    def fine_tuning(self) -> Recipe:
        shorter = self.recipe("plain").shortened(0.1)
        optimizer = partial(torch.optim.SGD, lr=0.1 * self.effort.rate, momentum=0.9, weight_decay=1e-4)
        return Recipe(shorter.steps, shorter.batch, optimizer, cosine)

    def draw(self, rng: np.random.Generator, count: int) -> Samples:
        chosen = rng.integers(len(self.train.labels), size=count)
        clips = [window(self.train.clip(int(own)), self.frames, rng.random()) for own in chosen]
        return Samples(torch.from_numpy(np.stack(clips)), torch.from_numpy(self.train.labels[chosen]))

    def read_test(self) -> Samples:
        limit = min(len(self.test.labels), 8 if self.smoke else self.effort.tested)
        chosen = np.linspace(0, len(self.test.labels) - 1, limit).round().astype(int)
        clips = [window(self.test.clip(int(own)), self.frames, 0.5) for own in chosen]
        return Samples(torch.from_numpy(np.stack(clips)), torch.from_numpy(self.test.labels[chosen]))
