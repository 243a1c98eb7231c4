"""Poses of any layout as joints and their coordinates."""

from __future__ import annotations

from itertools import chain

import torch

from chiralize.body.tensors.resolved import ResolvedTensor


def has_coordinates(tensor: ResolvedTensor) -> bool:
    """Whether a tensor holds joints with coordinates, merged or not."""
    if tensor.pose is None:
        return False
    return tensor.pose.layout.axis_of("j") is not None and tensor.pose.layout.axis_of("d") is not None


def by_joint(tensor: ResolvedTensor, values: torch.Tensor) -> torch.Tensor:
    """A pose, whatever its layout, as "answer joint dim"; of a tensor with `has_coordinates`.

    values: of the tensor, whose free axes may have other sizes.
    """
    pose = tensor.pose
    assert pose is not None
    words = list(chain.from_iterable(pose.layout.axes))
    for axis in reversed(range(len(pose.layout.axes))):
        if len(pose.layout.axes[axis]) > 1:
            values = values.unflatten(axis, pose.sizes_of(pose.layout.axes[axis]))
    apart = values.movedim((words.index("j"), words.index("d")), (-2, -1))
    return apart.reshape(-1, *apart.shape[-2:])
