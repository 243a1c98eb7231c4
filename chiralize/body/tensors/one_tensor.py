"""One tensor of a specification, fitted to its shape: how the mirror acts on it.

`resolution.resolve` calls `resolve_one` for every input and output. Four kinds of tensors need no other tensor to be
understood; states and likes come back as they are:

    free, invariant     T leaves every entry alone
    classes             T permutes one axis of scores
    fields              one axis of blocks, T is their direct sum (`fields/`)
    pose                joints and coordinates on axes of their own or merged (`axes`), the layout given or inferred

Of joints (nose, l_ear, r_ear) with dims x, y a tensor "b j d" of shape (8, 3, 2) gets the representation 1 x P x S:
nothing along b, the swap of 1 and 2 along j, the signs (-1, 1) along d.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import chain
from typing import NoReturn

import numpy as np

from chiralize.body.skeleton.nodes import did_you_mean
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors.axes import Pose, centers, fit, represent, spreads
from chiralize.body.tensors.entries import TensorEntry
from chiralize.body.tensors.fields import Field, joined_action, joined_centers, joined_labels, with_parts
from chiralize.body.tensors.fields.joints import Joints
from chiralize.body.tensors.guess import infer_pose
from chiralize.body.tensors.layout import CLASSES, Layout, free_names, parse_layout
from chiralize.body.tensors.resolved import ResolvedTensor
from chiralize.body.tensors.reversal import Reversed, reversals
from chiralize.errors import LayoutSizeError, SpecError, UnknownNameError
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation


def resolve_one(tensor: ResolvedTensor, skeleton: Skeleton, where: str) -> ResolvedTensor:
    """The tensor with the representation that its entry describes; states and likes wait for other tensors.

    tensor: with its shape and its entry alone.  skeleton: of the specification.  where: for messages. Raises SpecError
    of every kind.
    """
    if tensor.kind in ("state", "like"):
        return tensor
    if tensor.kind == "unclaimed":
        _refuse_unclaimed(tensor, where)
    # Whatever the axes mean: their names only serve to tell samples and frames apart.
    if tensor.is_free:
        axes = _numbered(free_names(len(tensor.shape)))
        return replace(tensor, representation=TensorRepresentation.trivial(tensor.shape), free_axes=axes)
    if tensor.kind == "classes":
        return _classes(tensor, where)
    if tensor.kind == "fields":
        return _fields(tensor, tensor.entry.body(skeleton), where)
    return replace(_pose(tensor, skeleton, where), entry=tensor.entry)  # equal entries may come from other lines


def _refuse_unclaimed(tensor: ResolvedTensor, where: str) -> NoReturn:
    """Raises SpecError: whoever works with T has left out before what nothing is claimed of."""
    if tensor.io == "input":
        facts = "`unclaimed`: what is claimed of a network is claimed for all inputs, mirrored as the file says"
        raise SpecError(where, facts, "an input that the mirror leaves as it is: {free: true}")
    remedy = "claim it, or leave it out here: this takes networks that are equivariant in all outputs"
    raise SpecError(where, "nothing is claimed of it, so that there is no mirror of it", remedy)


def _numbered(names: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """The words of axes, each with the number of its axis."""
    return tuple((name, axis) for axis, name in enumerate(names))


@lru_cache(1024)
def _pose(tensor: ResolvedTensor, skeleton: Skeleton, where: str) -> ResolvedTensor:
    """A tensor of poses. Kept: dozens of mirrors near the given one are read with most tensors alike."""
    entry, body = tensor.entry, tensor.entry.body(skeleton)
    fixed_dims = entry.override.dims is not None  # else an axis of n coordinates is the first n dims
    if entry.layout is None:
        pose = infer_pose(tensor.shape, body, fixed_dims, where)
    else:
        layout = parse_layout(entry.layout, where)
        # Where the mirror reverses the width of a heat map, no coordinate is left to be negated.
        if entry.mirror and "j" in layout and "d" not in layout and not fixed_dims:
            body = body.with_dims(())  # a map of each joint, whose coordinates are its axes
        pose = replace(fit(layout, tensor.shape, body, fixed_dims, where), mirror=entry.mirror)
    # T x = c + R (x - c): R is the representation, c the centre, 0 unless `reflect` gives one.
    _check_reflect(entry, pose, where)
    reflect = [(dim, float(center)) for dim, center in entry.reflect]
    tensor = replace(tensor, representation=represent(pose, where), layout=str(pose.layout), pose=pose)
    tensor = replace(tensor, free_axes=_not_reversed(pose.layout, entry.mirror))
    center = centers(pose, reflect)
    if center is None:
        return tensor
    return replace(tensor, center=center, spread=spreads(pose, reflect, (entry.override.skeleton or skeleton).dims))


def _not_reversed(layout: Layout, mirror: Reversed) -> tuple[tuple[str, int], ...]:
    """The free axes that the mirror leaves as they are."""
    words = {word for word, _ in mirror}
    return tuple((word, axis) for word, axis in layout.free_axes if word not in words)


def _check_reflect(entry: TensorEntry, pose: Pose, where: str) -> None:
    """Raise SpecError where `reflect` gives a centre of what is no coordinate, or is not negated for every joint."""
    table = pose.body.sign_table()
    if entry.reflect and pose.layout.has_matrices:
        raise SpecError(where, f"layout '{pose.layout}' has matrices, which have no centre", "leave reflect out")
    for dim, _ in entry.reflect:
        if dim not in pose.body.dims:
            raise UnknownNameError(where, f"reflect: the tensor has no dim {dim!r}", did_you_mean(dim, pose.body.dims))
        if (table[:, pose.body.dims.index(dim)] > 0).any():
            raise SpecError(where, f"reflect gives a centre of {dim!r}, which is not negated", f"add {dim} to negate")


def _classes(tensor: ResolvedTensor, where: str) -> ResolvedTensor:
    """Scores of classes, along the last axis unless a layout says along which."""
    entry, shape = tensor.entry, tensor.shape
    classes = entry.classes
    assert classes is not None
    layout = parse_layout(entry.layout or f"... {CLASSES}", where).expanded(len(shape), where)
    axis = layout.axis_of(CLASSES)
    assert axis is not None
    size = shape[axis]
    if classes.names and len(classes.names) != size:
        facts = f"{len(classes.names)} class names, but axis {axis} has size {size}"
        raise LayoutSizeError(where, facts, _layout_with_classes(shape, len(classes.names)) or "list every class once")
    # Without names the swap alone says how many classes there are at least.
    highest = max(map(max, classes.swap), default=-1)
    if highest >= size:
        raise LayoutSizeError(where, f"class {highest}, but axis {axis} has size {size}", "count classes from 0")
    axes = [Representation.trivial(length) for length in shape]
    axes[axis] = Representation.of(SignedPermutation.of(classes.swap, size=size))
    for number, turned in _turned_axes(layout, shape, entry.mirror, where).items():
        axes[number] = Representation.of(turned)
    free = tuple((word, number) for word, number in _not_reversed(layout, entry.mirror) if word != CLASSES)
    return replace(
        tensor,
        representation=TensorRepresentation(tuple(axes)),
        layout=str(layout),
        free_axes=free,
        names=classes.names,
        name_axis=axis if classes.names else None,
    )


def _turned_axes(layout: Layout, shape: Sequence[int], mirror: Reversed, where: str) -> dict[int, SignedPermutation]:
    """The axes of a picture of scores that the mirror reverses, each with its reversal.

    Raises LayoutSizeError where such an axis is merged with others: then it cannot be reversed by itself.
    """
    sizes = {word: shape[number] for word, number in layout.free_axes}
    for word, _ in mirror:
        if word not in sizes:
            facts = f"axis {word!r} is reversed, and layout '{layout}' merges it with others"
            raise LayoutSizeError(where, facts, "give it an axis of its own beside `classes`")
    turned = reversals(mirror, sizes, where)
    return {layout.axes.index((word,)): action for word, action in turned.items()}


def _layout_with_classes(shape: Sequence[int], count: int) -> str:
    """The layout of an output one other axis of which has as many entries as there are names; "" where none has."""
    axes = [axis for axis, size in enumerate(shape[:-1]) if size == count]
    if len(axes) != 1:
        return ""
    words = ["b", *(f"a{axis}" for axis in range(1, len(shape)))]
    words[axes[0]] = CLASSES
    return f'say along which axis they are: layout: "{" ".join(words)}"'


def _completed(missing: int, body: Skeleton) -> str:
    """What to do about a list of blocks that is too short by so many numbers, or too long (negative)."""
    joints = len(body.joints)
    if missing > 0 and joints and missing % joints == 0:
        count = f"{missing} are" if missing == joints else f"{missing} ({missing // joints} times {joints}) are"
        one = "{joints: NAME}" if len(body.dims) == 1 else "{joints: NAME, kind: scalar}"
        return (
            f"{count} missing, as many as the body has joints: {one} for what each joint has, such as its "
            "angle, its velocity, or the last action; {scalar: N, name: ...} for what the mirror leaves alone"
        )
    listed = "{joints: NAME}, {vector: NAME}, {axial: NAME}, {command: [vx, vy, yaw_rate]}"
    return f"correct the list: {listed}; {{scalar: N, name: ...}} is for entries that the mirror leaves alone"


def _as_plain(blocks: Sequence[Field], body: Skeleton, missing: int) -> str:
    """What to do where a block of joints has one number a joint, and is too long for that reason; "" elsewhere.

    Of several that could be meant it is the last: what has no sign stands behind the coordinates.
    """
    for block in reversed(blocks):
        # Would the sizes fit if this block had one number a joint? 17 joints x, y and a confidence each are 51 numbers:
        # {joints: p}, {joints: c} would make 68, and -17 are missing, as many as a plain `c` has less.
        plain = replace(block, is_plain=True) if isinstance(block, Joints) and len(body.dims) > 1 else block
        if missing < 0 and plain.size(body) - block.size(body) == missing:
            return (
                f"{{joints: {block.name}}} is {len(body.dims)} numbers for each joint ({', '.join(body.dims)}): for "
                f"one that has no sign, such as a confidence, write {{joints: {block.name}, kind: scalar}}"
            )
    return ""


# ---- fields ---------------------------------------------------------------------------------------------------
def _fields(tensor: ResolvedTensor, body: Skeleton, where: str) -> ResolvedTensor:
    """A tensor one axis of which is blocks one after the other, the last unless a layout says which.

    Raises LayoutSizeError where the blocks are not as long as the axis, SpecError of every kind.
    """
    shape = tensor.shape
    layout = parse_layout(tensor.entry.layout or "... f", where).expanded(len(shape), where)
    axis = layout.axis_of("f")
    if axis is None or not shape:
        raise LayoutSizeError(where, f"fields need an axis, shape {shape} and layout '{layout}'", "mark it with f")
    blocks = tensor.entry.fields or ()
    _check_blocks(blocks, body, axis, shape[axis], where)
    # T is the direct sum of the blocks along their axis, and leaves all other axes alone.
    action = joined_action(blocks, body)
    axes = [Representation.trivial(size) for size in shape]
    axes[axis] = Representation.of(action)
    tensor = replace(
        tensor,
        representation=TensorRepresentation(tuple(axes)),
        layout=str(layout),
        free_axes=layout.free_axes,
        names=tuple(joined_labels(blocks, body)),
        name_axis=axis,
    )
    center = np.array(joined_centers(blocks, body))
    if not center.any():
        return tensor
    # One number an entry of the axis, broadcast along all others.
    along = [1] * len(shape)
    along[axis] = shape[axis]
    spread = np.array(list(chain.from_iterable(_spreads_of(block, body) for block in blocks)))
    return replace(tensor, center=center.reshape(along), spread=spread.reshape(along))


def _check_blocks(blocks: Sequence[Field], body: Skeleton, axis: int, size: int, where: str) -> None:
    """Raise where a centre is given that has no meaning, or blocks are not as long together as their axis.

    size: of the axis. Raises SpecError, UnknownNameError, LayoutSizeError.
    """
    # At their own lines first: what a block says is wrong whatever the tensor is like.
    for block in with_parts(blocks):
        if block.reflect:
            _check_reflect_of(block, body)
    total = fields_width(blocks, body)
    if total != size:
        listed = " + ".join(f"{block.name or block.kind} {block.size(body)}" for block in blocks)
        facts = f"the fields make {total} entries ({listed}), but axis {axis} has size {size}"
        raise LayoutSizeError(where, facts, _as_plain(blocks, body, size - total) or _completed(size - total, body))


def _spreads_of(block: Field, body: Skeleton) -> list[float]:
    """How far values of a block lie apart: half the largest centre, 1 where none is given."""
    return [max(map(abs, block.centers(body)), default=0.0) / 2 or 1.0] * block.size(body)


def _check_reflect_of(block: Field, body: Skeleton) -> None:
    """Refuse a centre of a coordinate that the block has not, or that the mirror keeps. Raises SpecError."""
    coordinates, signs = block.coordinates(body), block.action(body).sign
    for dim, _ in block.reflect:
        negated = [int(sign) < 0 for name, sign in zip(coordinates, signs, strict=True) if name == dim]
        where = block.where or f"field {block.name!r}"
        if not negated:
            known = list(dict.fromkeys(filter(None, coordinates)))
            raise UnknownNameError(where, f"reflect: the block has no dim {dim!r}", did_you_mean(dim, known))
        if not all(negated):
            facts = f"reflect gives a centre of {dim!r}, which is not negated"
            raise SpecError(where, facts, f"add {dim} to the skeleton's negate, or say `lateral: {dim}`")


def fields_width(blocks: Sequence[Field], body: Skeleton) -> int:
    """How many entries of their axis blocks take."""
    return sum(block.size(body) for block in blocks)
