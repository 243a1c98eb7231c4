"""The open axes of a call: laid out as torch.export wants them, and calls that are longer or shorter along them.

torch.export takes a copy of the arguments' nest with a dict in place of every tensor: for `net(x, {"h": h})` with
open batches ({0: AUTO}, {"h": {1: AUTO}}). Here it is flattened to one entry per leaf where axes change, and nested
again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree

from chiralize.graph.running import Call


def open_batch(args: Sequence[Any], kwargs: Mapping[str, Any], batches: Sequence[Sequence[int]] = ()) -> Any:
    """Open axes for `opened`: the leading one of every tensor, and those of its batch. batches: axes, by tensor."""
    known = iter(batches)

    def axes(leaf: Any) -> Any:
        """The open axes of one leaf, None for a tensor without axes and for a leaf that is no tensor."""
        if not isinstance(leaf, torch.Tensor):
            return None
        batch = next(known, ())
        if not leaf.ndim:
            return None
        return dict.fromkeys((0, *batch), torch.export.Dim.AUTO)

    return axes_of(axes, (tuple(args), dict(kwargs)))


def axes_of(axes: Callable[[Any], Any], call: Call) -> Any:
    """The answers of a function for every leaf of a call, nested as torch.export wants them.

    Classes that torch's pytrees know (a TensorDict) become lists: an instance of them cannot hold axes for tensors.
    """
    leaves, structure = pytree.tree_flatten(call)
    return laid_out(structure, iter([axes(leaf) for leaf in leaves]))


def laid_out(structure: pytree.TreeSpec, values: Iterator[Any]) -> Any:
    """Values of leaves nested as the leaves are; classes become lists."""
    if structure.is_leaf():
        return next(values)
    parts = [laid_out(child, values) for child in structure.children()]
    if structure.type not in pytree.BUILTIN_TYPES:
        return parts
    return pytree.SUPPORTED_NODES[structure.type].unflatten_fn(parts, structure.context)


def axes_by_leaf(structure: pytree.TreeSpec, axes: Any) -> list[Any]:
    """The inverse of `laid_out`: the axes of every leaf, in order."""
    if structure.is_leaf():
        return [axes]
    parts = axes  # of classes `laid_out` has made a list
    if structure.type in pytree.BUILTIN_TYPES:
        parts = pytree.SUPPORTED_NODES[structure.type].flatten_fn(axes)[0]
    values: list[Any] = []
    for child, part in zip(structure.children(), parts, strict=True):
        values += axes_by_leaf(child, part)
    return values


def with_chosen(
    structure: pytree.TreeSpec, axes: Any, choices: Mapping[int, Sequence[int]], chosen: Mapping[int, int]
) -> Any:
    """Open axes without those choices that were not chosen.

    choices: by leaf, axes of which one may be open.  chosen: by leaf, which one it is.  Returned as `axes_of` has them.
    """
    by_leaf = axes_by_leaf(structure, axes)
    for index, axis in chosen.items():
        closed = set(choices[index]) - {axis}
        by_leaf[index] = {other: size for other, size in by_leaf[index].items() if other not in closed}
    return laid_out(structure, iter(by_leaf))


def shortened(example: Call, axes: Any) -> Call:
    """The examples with one entry along every open axis."""
    leaves, structure = pytree.tree_flatten(example)
    for index, open_axes in enumerate(axes_by_leaf(structure, axes)):
        for axis in open_axes or ():
            leaves[index] = leaves[index].narrow(axis, 0, 1)
    return pytree.tree_unflatten(leaves, structure)


def without_single(example: Call, axes: Any) -> Any:
    """The open axes without those that have one entry in the examples."""
    leaves, structure = pytree.tree_flatten(example)
    open_axes = axes_by_leaf(structure, axes)
    for index, leaf in enumerate(leaves):
        if isinstance(open_axes[index], dict):
            open_axes[index] = {axis: size for axis, size in open_axes[index].items() if leaf.shape[axis] > 1}
    return laid_out(structure, iter(open_axes))


def lengthened(example: Call, axes: Any, room: int | None) -> Call | None:
    """The examples with their open axes longer, entries repeated; None where no axis had to grow.

    room: by how many entries every open axis grows; None to let only those of one entry have two.
    """
    leaves, structure = pytree.tree_flatten(example)
    pairs = zip(leaves, axes_by_leaf(structure, axes), strict=True)
    grown = [_grown(leaf, open_axes, room) for leaf, open_axes in pairs]
    if all(new is old for new, old in zip(grown, leaves, strict=True)):
        return None
    return pytree.tree_unflatten(grown, structure)


def _grown(leaf: Any, axes: Any, room: int | None) -> Any:
    """A tensor with its open axes longer by `room` entries, or, without room, those of one entry by one."""
    if not isinstance(leaf, torch.Tensor):
        return leaf
    for axis in axes or ():
        size = leaf.shape[axis]
        if room is not None or size == 1:
            # from the first on: of 3 entries and room 2 they are 0, 1, 2, 0, 1
            leaf = leaf.index_select(axis, torch.arange(size + (room or 1), device=leaf.device) % size)
    return leaf
