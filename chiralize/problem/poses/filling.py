"""Poses in the layout of a tensor, and tensors back as poses "sample frame joint dim".

Poses are drawn as "sample frame joint 2". A network with the layout `b (d j) t` and a confidence takes them as
(sample, 3 x 17, frame): axes are transposed, merged, and the confidence is filled in with 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from chiralize.body.skeleton.anatomy import Landmark, landmarks
from chiralize.body.tensors.resolved import ResolvedTensor

Array = npt.NDArray[np.float64]
AXES = ("x", "y", "z")
SCORES = ("c", "s", "v", "conf", "confidence", "score", "visibility", "presence")


class UnfitError(Exception):
    """Built-in poses cannot stand for a network's inputs; the text says why."""


@dataclass(frozen=True)
class Form:
    """How poses lie in a tensor.

    points: of every joint.  dims: names of the coordinates.  words: of all axes in order, without others of size 1.
    frames: how many there are; 1 where no axis is time.  time: the word of that axis.  sizes: of the tensor.
    """

    points: tuple[Landmark, ...]
    dims: tuple[str, ...]
    words: tuple[str, ...]
    frames: int
    time: str | None
    sizes: tuple[int, ...]

    @staticmethod
    def of(tensor: ResolvedTensor) -> Form:
        """The form of a tensor. Raises UnfitError where its entries are no positions of a human body's joints."""
        pose = tensor.pose
        if pose is None or tensor.kind != "pose":
            raise UnfitError(f"{tensor.where} is no pose")
        points = landmarks(pose.body)
        if isinstance(points, str):
            raise UnfitError(points)
        # Each check leaves tensors out in which a drawn position would mean something else.
        _check_dims(tensor, pose.body.dims, pose.body.negate)
        if pose.body.has_joint_signs or pose.layout.has_matrices or "d" not in pose.layout or "j" not in pose.layout:
            raise UnfitError(f"{tensor.where} does not hold the positions of joints")
        if not tensor.has_rows:
            raise UnfitError(f"{tensor.where} has no samples along its first axis")
        # At most one axis beside samples, joints and coordinates: it is time, unless its word says people.
        sizes = pose.word_sizes()
        others = [word for word in pose.layout.words if word not in ("b", "j", "d") and sizes[word] > 1]
        if len(others) > 1 or any(word in ("m", "person", "persons", "people") for word in others):
            raise UnfitError(f"layout '{pose.layout}' has axes other than samples, frames, joints and coordinates")
        time = others[0] if others else None
        frames = sizes[time] if time is not None else 1
        words = tuple(word for word in pose.layout.words if word in ("b", "j", "d", time))
        return Form(points, pose.body.dims, words, frames, time, tensor.shape[1:])

    @property
    def coordinates(self) -> int:
        """How many dims are coordinates: 2 or 3."""
        return sum(dim in AXES for dim in self.dims)

    def filled(self, values: Array, scores: float = 1.0) -> Array:
        """The tensor, "sample ...", of coordinates "sample frame joint 2" or 3; other dims are scores."""
        whole = np.full((*values.shape[:3], len(self.dims)), scores)
        for column, dim in enumerate(self.dims):
            if dim in AXES and AXES.index(dim) < values.shape[-1]:
                whole[..., column] = values[..., AXES.index(dim)]
        # An axis that the tensor does not have, such as frames, has one entry: it is taken out, from the last on, so
        # that the numbers of the others stay.
        for axis, word in reversed(list(enumerate(self._axes()))):
            if word not in self.words:
                whole = whole.take(0, axis)
        present = [word for word in self._axes() if word in self.words]
        whole = whole.transpose([present.index(word) for word in self.words])
        return np.ascontiguousarray(whole).reshape(len(values), *self.sizes)

    def read(self, tensor: Tensor) -> Array:
        """The inverse of `filled`, with all dims: "sample frame joint dim"."""
        axes = self._axes()
        sizes = dict(zip(axes, (len(tensor), self.frames, len(self.points), len(self.dims)), strict=True))
        whole = tensor.detach().double().cpu().numpy().reshape([sizes[word] for word in self.words])
        present = [word for word in axes if word in self.words]
        whole = whole.transpose([self.words.index(word) for word in present])
        return whole.reshape([sizes[word] for word in axes])

    def _axes(self) -> tuple[str, ...]:
        """The words of samples, frames, joints and coordinates."""
        return ("b", self.time or "", "j", "d")


def _check_dims(tensor: ResolvedTensor, dims: Sequence[str], negate: Sequence[str]) -> None:
    """Raises UnfitError unless the dims are x y or x y z, with scores beside them, and the mirror negates x alone."""
    coordinates = tuple(dim for dim in dims if dim in AXES)
    others = [dim for dim in dims if dim not in AXES and dim.lower() not in SCORES]
    if others or coordinates not in (AXES[:2], AXES):
        raise UnfitError(f"{tensor.where} has the dims {', '.join(dims)}, and poses have x y or x y z")
    if tuple(negate) != ("x",):
        raise UnfitError(f"the mirror of {tensor.where} negates {', '.join(negate) or 'nothing'}, and not x alone")


def as_tensor(values: Array, like: Tensor) -> Tensor:
    """An array in the dtype and on the device of a tensor."""
    return torch.from_numpy(values).to(like.device, like.dtype)
