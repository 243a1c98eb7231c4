"""The parts of a tensor that people name: joints with their coordinates, classes, fields; and which belong together."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from chiralize.body.tensors.resolution import ResolvedTensor
from chiralize.symmetry.representation import TensorRepresentation


@dataclass(frozen=True)
class Parts:
    """labels: of the pairs and of what is its own partner.  owner: the label of every part, as positions.

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
        partner = [body.partner(place) for place in range(len(names))] if "j" in sizes else [0]
        first = {place for place in range(len(names)) if partner[place] == place or body.side(place) == "left"}
        return _parts(names, partner, first, sizes.get("d", 1) ** max(tensor.pose.layout.words.count("d"), 1))
    if not tensor.shape:
        return Parts((tensor.where,), (0,), 1)
    place = _axis(tensor, representation)
    names = list(tensor.names) or [f"[{at}]" for at in range(tensor.shape[place])]
    partner = [int(other) for other in representation.axes[place].action.partner]
    return _parts(names, partner, {at for at, other in enumerate(partner) if at <= other}, 1)


def distances(difference: torch.Tensor, tensor: ResolvedTensor, representation: TensorRepresentation) -> torch.Tensor:
    """Length of every part of a difference: "row part", the rows are samples and all positions on free axes."""
    if tensor.pose is None:
        place = _axis(tensor, representation)
        flat = difference.movedim(place, -1) if difference.ndim else difference[None]
        return flat.abs().reshape(-1, flat.shape[-1])
    sizes, words, shape = tensor.pose.word_sizes(), [], []
    for axis, own in zip(tensor.pose.layout.axes, difference.shape, strict=True):
        inner = [sizes[word] for word in axis]
        words += axis
        shape += [own] if len(axis) == 1 else inner
    split = difference.reshape(shape)
    for letter in ("j", "d"):
        split = _last(split, [place for place, word in enumerate(words) if word == letter])
        words = [word for word in words if word != letter] + [letter]
    return split.norm(dim=-1).reshape(-1, split.shape[-2])


def _last(tensor: torch.Tensor, places: list[int]) -> torch.Tensor:
    """With those axes joined at the end; a new one of size 1 where there are none."""
    if not places:
        return tensor[..., None]
    return tensor.movedim(places, list(range(-len(places), 0))).flatten(-len(places))


def _axis(tensor: ResolvedTensor, representation: TensorRepresentation) -> int:
    acted = [place for place, axis in enumerate(representation.axes) if not axis.is_trivial]
    return tensor.name_axis if tensor.name_axis is not None else acted[-1] if acted else len(tensor.shape) - 1


def _parts(names: list[str], partner: list[int], first: set[int], numbers: int) -> Parts:
    labels = {at: names[at] if partner[at] == at else f"{names[at]}/{names[partner[at]]}" for at in sorted(first)}
    order = list(labels)
    owner = tuple(order.index(at if at in labels else partner[at]) for at in range(len(names)))
    return Parts(tuple(labels.values()), owner, numbers)


def summed(tensor: torch.Tensor, representation: TensorRepresentation) -> torch.Tensor:
    """Sum over the axes that the mirror leaves alone, kept with size 1."""
    alone = [place for place, axis in enumerate(representation.axes) if axis.is_trivial]
    return tensor.sum(alone, keepdim=True).cpu() if alone else tensor.cpu()


def folded(representation: TensorRepresentation) -> TensorRepresentation:
    """T on what `summed` returns."""
    one = TensorRepresentation.trivial((1,)).axes[0]
    axes = tuple(one if axis.is_trivial else axis for axis in representation.axes)
    return TensorRepresentation(axes, representation.sign)
