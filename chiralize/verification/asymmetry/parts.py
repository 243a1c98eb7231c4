"""The parts of a tensor that people name: joints with their coordinates, classes, fields; and which belong together.

    an output (8, 17, 3), `b j d`       17 parts of 3 numbers; labels such as hip, left_knee/right_knee
    an output (8, 60), classes          60 parts of one number

`outputs` and `data` take their figures by these parts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from chiralize.body.tensors.resolved import ResolvedTensor
from chiralize.symmetry.representation import Representation, TensorRepresentation


@dataclass(frozen=True)
class Parts:
    """The parts of a tensor by pairs. labels: of the pairs, and of parts that are their own partners.

    owner: the label that every part has, by its position in `labels`.
    numbers: entries that make one part (the coordinates of a joint).
    """

    labels: tuple[str, ...]
    owner: tuple[int, ...]
    numbers: int


def parts_of(tensor: ResolvedTensor, representation: TensorRepresentation) -> Parts:
    """Joints where the tensor has them, else the entries of the axis that T acts on (or that has names, or the last).

    >>> from chiralize.body.tensors import load_spec, resolve
    >>> output = resolve(load_spec("penn-action"), [(1, 13, 2)], [(1, 13, 2)]).output_tensors[0]
    >>> parts_of(output, output.representation).labels[:2]
    ('head', 'left_shoulder/right_shoulder')
    """
    if tensor.pose is not None:
        body, sizes = tensor.pose.body, tensor.pose.word_sizes()
        names = list(body.joints) if "j" in sizes else [tensor.where]
        if "j" in sizes:
            partner = list(map(body.partner, range(len(names))))
        else:
            partner = [0]
        first = [at for at, other in enumerate(partner) if at == other or body.side(at) == "left"]
        # With two axes of coordinates, as of rotation matrices, a part has 3 x 3 numbers; of a number of every two
        # joints it is a row, with a number of each joint.
        numbers = sizes.get("d", 1) ** max(tensor.pose.layout.words.count("d"), 1)
        if tensor.pose.layout.has_joints_twice:
            numbers = sizes["j"]
        return _parts(names, partner, first, numbers)
    if not tensor.shape:
        return Parts((tensor.where,), (0,), 1)
    axis = _axis(tensor, representation)
    names = list(tensor.names) or [f"[{at}]" for at in range(tensor.shape[axis])]
    partner: list[int] = representation.axes[axis].action.partner.tolist()
    return _parts(names, partner, [at for at, other in enumerate(partner) if at <= other], 1)


def distances(difference: torch.Tensor, tensor: ResolvedTensor, representation: TensorRepresentation) -> torch.Tensor:
    """Length of every part of a difference: "row part", the rows are samples and all positions on free axes."""
    if tensor.pose is None:
        axis = _axis(tensor, representation)
        if difference.ndim:
            flat = difference.movedim(axis, -1)
        else:
            flat = difference[None]
        return flat.abs().reshape(-1, flat.shape[-1])
    # Merged axes are taken apart, `b (j d)` to `b j d`, so that every axis has one word.
    sizes, words, shape = tensor.pose.word_sizes(), [], []
    for axis, size in zip(tensor.pose.layout.axes, difference.shape, strict=True):
        words += axis
        if len(axis) == 1:
            shape.append(size)
        else:
            shape += [sizes[word] for word in axis]
    split = difference.reshape(shape)
    if tensor.pose.layout.has_joints_twice:
        words[len(words) - 1 - words[::-1].index("j")] = "d"  # the numbers of the first joint
    # Joints, then coordinates, to the end: "... part number". The norm over the numbers is the length.
    for letter in ("j", "d"):
        split = _last(split, [axis for axis, word in enumerate(words) if word == letter])
        words = [word for word in words if word != letter] + [letter]
    return split.norm(dim=-1).reshape(-1, split.shape[-2])


def _last(tensor: torch.Tensor, axes: list[int]) -> torch.Tensor:
    """The tensor with those axes joined at the end; a new one of size 1 where there are none."""
    if not axes:
        return tensor[..., None]
    return tensor.movedim(axes, list(range(-len(axes), 0))).flatten(-len(axes))


def _axis(tensor: ResolvedTensor, representation: TensorRepresentation) -> int:
    """The axis that has names, else the last that T acts on, else the last."""
    if tensor.name_axis is not None:
        return tensor.name_axis
    moved = representation.moved_axes
    if moved:
        return moved[-1]
    return len(tensor.shape) - 1


def _parts(names: list[str], partner: list[int], first: list[int], numbers: int) -> Parts:
    """The parts by their pairs.

    names, partner: of every part.  first: those that give their names to a pair, or have no partner, in order.
    numbers: entries of a part.
    """
    labels = list[str]()
    owner = [0] * len(names)
    for at in first:
        owner[at] = owner[partner[at]] = len(labels)
        labels.append(names[at] if partner[at] == at else f"{names[at]}/{names[partner[at]]}")
    return Parts(tuple(labels), tuple(owner), numbers)


def summed(tensor: torch.Tensor, representation: TensorRepresentation) -> torch.Tensor:
    """Sum over the axes that the mirror leaves alone, which stay with size 1."""
    still = representation.still_axes
    if still:
        return tensor.sum(still, keepdim=True).cpu()
    return tensor.cpu()


def folded(representation: TensorRepresentation) -> TensorRepresentation:
    """T on the sums that `summed` returns."""
    axes = list(representation.axes)
    for axis in representation.still_axes:
        axes[axis] = Representation.trivial(1)
    return TensorRepresentation(tuple(axes), representation.sign)
