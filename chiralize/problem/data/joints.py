"""Poses of any layout as joints and their coordinates."""

from __future__ import annotations

import torch

from chiralize.body.tensors.resolved import ResolvedTensor


def has_joints(tensor: ResolvedTensor) -> bool:
    """Whether a tensor holds joints with coordinates, merged or not."""
    return tensor.pose is not None and {"j", "d"} <= {word for axis in tensor.pose.layout.axes for word in axis}


def by_joint(tensor: ResolvedTensor, values: torch.Tensor) -> torch.Tensor:
    """A pose, whatever its layout, as "answer joint dim"; of a tensor with `has_joints`.

    values: of the tensor, whose free axes may have other sizes.
    """
    pose = tensor.pose
    assert pose is not None
    words = [word for axis in pose.layout.axes for word in axis]
    for axis in reversed(range(len(pose.layout.axes))):
        if len(pose.layout.axes[axis]) > 1:
            values = values.unflatten(axis, pose.sizes_of(pose.layout.axes[axis]))
    apart = values.movedim((words.index("j"), words.index("d")), (-2, -1))
    return apart.reshape(-1, *apart.shape[-2:])
