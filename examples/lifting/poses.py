"""Pairs of 2D and 3D pose sequences, and windows of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from chiralize.body.skeleton.skeleton import Skeleton


@dataclass(frozen=True)
class Clip:
    """What one camera saw of one person.

    poses: `frame joint 2`, image coordinates over half the width, centre 0.  targets: `frame joint 3`, metres, camera
    frame, relative to the first joint.  Both float32.
    """

    poses: np.ndarray
    targets: np.ndarray
    subject: str
    action: str


@dataclass(frozen=True)
class Dataset:
    """Clips to learn from and clips of people (or takes) that nobody learns from. body_in, body_out: their joints."""

    name: str
    training: tuple[Clip, ...]
    test: tuple[Clip, ...]
    body_in: Skeleton
    body_out: Skeleton


class Windows:
    """Windows of `frames` frames around every frame of some clips; beyond the ends the outermost pose is repeated.

    This is how VideoPose3D pads, so that every frame has an answer, however much a network sees.
    """

    def __init__(self, clips: Sequence[Clip], frames: int, causal: bool = False) -> None:
        """causal: the answer belongs to the last frame of a window. Raises ValueError where there are no clips."""
        if not clips:
            raise ValueError("there are no clips: no subject or action of that name.")
        before = frames - 1 if causal else frames // 2
        self.frames, self.before = frames, before
        self.poses = torch.from_numpy(np.concatenate([clip.poses for clip in clips]))
        self.targets = torch.from_numpy(np.concatenate([clip.targets for clip in clips]))
        """`frame joint 3`, of all clips in a row."""
        self.actions = np.repeat([clip.action for clip in clips], [len(clip.poses) for clip in clips])
        """Of every frame."""
        self.lengths = np.array([len(clip.poses) for clip in clips])
        last = np.cumsum(self.lengths) - 1
        self._first = torch.from_numpy(np.repeat(last - self.lengths + 1, self.lengths))
        self._last = torch.from_numpy(np.repeat(last, self.lengths))
        self._around = torch.arange(frames) - before

    def __len__(self) -> int:
        return len(self.poses)

    def inputs(self, places: Tensor) -> Tensor:
        """`sample frame joint 2`. places: frames of the row that the answers belong to."""
        frames = places[:, None] + self._around
        return self.poses[frames.clamp(self._first[places, None], self._last[places, None])]

    def padded(self) -> Iterator[Tensor]:
        """Every clip with its ends repeated, `frame + frames - 1 joint 2`: what a dilated network reads in one go."""
        after = self.frames - 1 - self.before
        for clip in self.poses.split(self.lengths.tolist()):
            ends = clip[:1].expand(self.before, -1, -1), clip[-1:].expand(after, -1, -1)
            yield torch.cat([ends[0], clip, ends[1]])

    @cached_property
    def everything(self) -> Tensor:
        """`inputs` of all frames."""
        return self.inputs(torch.arange(len(self)))
