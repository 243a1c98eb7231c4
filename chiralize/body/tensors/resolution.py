"""From a specification and the shapes of a model's tensors to the representation of every one of them."""

from __future__ import annotations

from collections.abc import Collection, Container, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from itertools import chain
from typing import NoReturn

import numpy as np

from chiralize.body.skeleton.nodes import did_you_mean
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors.axes import Pose, centers, fit, represent, spreads
from chiralize.body.tensors.conversion import ConversionSpec
from chiralize.body.tensors.entries import TensorEntry
from chiralize.body.tensors.fields import Field, joined_action, joined_centers, joined_labels, with_parts
from chiralize.body.tensors.fields.joints import Joints
from chiralize.body.tensors.guess import infer_pose
from chiralize.body.tensors.layout import CLASSES, Layout, free_names, parse_layout
from chiralize.body.tensors.pictures import check_pictures, read_pictures
from chiralize.body.tensors.resolved import Handed, Joined, ResolvedSpec, ResolvedTensor, TensorKey
from chiralize.body.tensors.reversal import Reversed, reversals
from chiralize.errors import LayoutSizeError, SpecError, UnknownNameError, WrongValueError
from chiralize.errors.words import when
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation

_STILL = TensorRepresentation(())
_UNKNOWN = TensorRepresentation((), -1)
_UNCLAIMED = ", {unclaimed: true} for one of which nothing is claimed"


def resolve(
    spec: ConversionSpec,
    input_shapes: Sequence[Sequence[int]],
    output_shapes: Sequence[Sequence[int]],
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> ResolvedSpec:
    """Fit every entry to its tensor; infer the layouts that the specification leaves out.

    Raises WrongValueError (another number of tensors), LayoutSizeError, AmbiguousLayoutError, SpecError.
    """
    spec = read_pictures(spec, input_shapes, output_shapes)
    check_pictures(spec.inputs or (), spec.outputs or ())
    inputs = _tensors(spec, "input", spec.inputs, input_shapes, input_names)
    if spec.invariant and spec.outputs is None:
        scores = tuple(TensorEntry(flag="invariant") for _ in output_shapes)
        outputs = _tensors(spec, "output", scores, output_shapes, output_names)
    else:
        outputs = _tensors(spec, "output", spec.outputs, output_shapes, output_names)
    sizes = {tensor.shape[0] for tensor in inputs if tensor.has_rows and not tensor.is_free}
    resolved = _joined(spec, [_without_batch(tensor, sizes) for tensor in inputs], outputs)
    _check_inputs_move(resolved)
    return resolved


def describes(spec: ConversionSpec, inputs: int, outputs: int) -> bool:
    """Whether a specification could be of a network from so many numbers to so many, such as a perceptron."""
    for rows in ((2,), ()):
        with suppress(SpecError):
            resolve(spec, [(*rows, inputs)], [(*rows, outputs)])
            return True
    return False


def _check_inputs_move(resolved: ResolvedSpec) -> None:
    """Raise WrongValueError where T moves outputs alone: only answers that are their own mirror image would pass."""
    moving = [tensor for tensor in resolved.output_tensors if not (tensor.representation or _STILL).is_trivial]
    inputs = resolved.input_tensors
    if moving and inputs and all((tensor.representation or _UNKNOWN).is_trivial for tensor in inputs):
        facts = f"the mirror leaves every input as it is, but swaps or negates entries of {moving[0].where}"
        remedy = 'say how it acts on the inputs: joints (j), fields, or for pictures an axis to reverse, "b c h ~w"'
        raise WrongValueError(inputs[0].entry.where or inputs[0].where, facts, remedy)


def _without_batch(tensor: ResolvedTensor, sizes: Collection[int]) -> ResolvedTensor:
    """A free tensor has the batch in front only where it is as long: a table or a number has none."""
    is_table = tensor.is_free and sizes and tensor.shape and tensor.shape[0] not in sizes
    if is_table:
        return replace(tensor, free_axes=())
    return tensor


def _tensors(
    spec: ConversionSpec,
    io: str,
    entries: tuple[TensorEntry, ...] | None,
    shapes: Sequence[Sequence[int]],
    names: Sequence[str] | None,
) -> list[ResolvedTensor]:
    if entries is None:
        entries = tuple(TensorEntry() for _ in shapes)
    if len(entries) != len(shapes):
        listed = ", ".join(str(tuple(shape)) for shape in shapes)
        where = entries[0].where if entries else f"{io}s"
        facts = f"{len(entries)} {io}s are described, the model has {len(shapes)}: {listed}"
        remedy = "{free: true} for one without a body, {state: true} for a hidden state"
        raise WrongValueError(where, facts, f"describe each {io} in order; {remedy}{when(io == 'output', _UNCLAIMED)}")
    tensors = []
    for index, (entry, shape) in enumerate(zip(entries, shapes, strict=True)):
        name = entry.name or (names[index] if names else None)
        where = f"{io} {index}" + when(name, f" '{name}'") + when(entry.where, f" ({entry.where})")
        tensor = ResolvedTensor(io, index, tuple(map(int, shape)), entry, None, entry.kind)
        tensors.append(_resolve_one(tensor, spec.skeleton, where))
    return tensors


def _resolve_one(tensor: ResolvedTensor, skeleton: Skeleton, where: str) -> ResolvedTensor:
    """The tensor with the representation that its entry describes; states and likes wait for other tensors."""
    if tensor.kind in ("state", "like"):
        return tensor
    if tensor.kind == "unclaimed":
        _refuse_unclaimed(tensor, where)
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
    fixed_dims = entry.override.dims is not None
    if entry.layout is None:
        pose = infer_pose(tensor.shape, body, fixed_dims, where)
    else:
        layout = parse_layout(entry.layout, where)
        if entry.mirror and "j" in layout and "d" not in layout and not fixed_dims:
            body = body.with_dims(())  # a map of each joint, whose coordinates are its axes
        pose = replace(fit(layout, tensor.shape, body, fixed_dims, where), mirror=entry.mirror)
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
    highest = max(map(max, classes.swap), default=-1)
    if highest >= size:
        raise LayoutSizeError(where, f"class {highest}, but axis {axis} has size {size}", "count classes from 0")
    axes = [Representation.trivial(length) for length in shape]
    axes[axis] = Representation.of(SignedPermutation.of(classes.swap, size=size))
    sizes = {word: shape[number] for word, number in layout.free_axes}
    for word, turned in reversals(entry.mirror, sizes, where).items():
        axes[layout.axes.index((word,))] = Representation.of(turned)
    free = tuple((word, number) for word, number in _not_reversed(layout, entry.mirror) if word != CLASSES)
    return replace(
        tensor,
        representation=TensorRepresentation(tuple(axes)),
        layout=str(layout),
        free_axes=free,
        names=classes.names,
        name_axis=axis if classes.names else None,
    )


def _layout_with_classes(shape: Sequence[int], count: int) -> str:
    """The layout of an output one other axis of which has as many entries as there are names; "" where none has."""
    axes = [axis for axis, size in enumerate(shape[:-1]) if size == count]
    if len(axes) != 1:
        return ""
    words = ["b", *(f"a{axis}" for axis in range(1, len(shape)))]
    words[axes[0]] = CLASSES
    return f'say along which axis they are: layout: "{" ".join(words)}"'


def _completed(missing: int, body: Skeleton) -> str:
    """What to do about a list of blocks that is too short by so many numbers, or too long."""
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
        plain = replace(block, is_plain=True) if isinstance(block, Joints) and len(body.dims) > 1 else block
        if missing < 0 and plain.size(body) - block.size(body) == missing:
            return (
                f"{{joints: {block.name}}} is {len(body.dims)} numbers for each joint ({', '.join(body.dims)}): for "
                f"one that has no sign, such as a confidence, write {{joints: {block.name}, kind: scalar}}"
            )
    return ""


# ---- fields ---------------------------------------------------------------------------------------------------
def _fields(tensor: ResolvedTensor, body: Skeleton, where: str) -> ResolvedTensor:
    shape = tensor.shape
    layout = parse_layout(tensor.entry.layout or "... f", where).expanded(len(shape), where)
    axis = layout.axis_of("f")
    if axis is None or not shape:
        raise LayoutSizeError(where, f"fields need an axis, shape {shape} and layout '{layout}'", "mark it with f")
    blocks = tensor.entry.fields or ()
    for block in with_parts(blocks):
        if block.reflect:
            _check_reflect_of(block, body)
    total = fields_width(blocks, body)
    if total != shape[axis]:
        listed = " + ".join(f"{block.name or block.kind} {block.size(body)}" for block in blocks)
        facts = f"the fields make {total} entries ({listed}), but axis {axis} has size {shape[axis]}"
        missing = shape[axis] - total
        raise LayoutSizeError(where, facts, _as_plain(blocks, body, missing) or _completed(missing, body))
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
    along = [1] * len(shape)
    along[axis] = total
    spread = np.array(list(chain.from_iterable(_spreads_of(block, body) for block in blocks)))
    return replace(tensor, center=center.reshape(along), spread=spread.reshape(along))


def _spreads_of(block: Field, body: Skeleton) -> list[float]:
    """How far values of a block lie apart: half the largest centre, 1 where none is given."""
    return [max(map(abs, block.centers(body))) / 2 or 1.0] * block.size(body)


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


# ---- states and likes -----------------------------------------------------------------------------------------
def _joined(spec: ConversionSpec, inputs: list[ResolvedTensor], outputs: list[ResolvedTensor]) -> ResolvedSpec:
    joined = list[Joined]()
    for group in (inputs, outputs):
        for position, tensor in enumerate(group):
            if tensor.kind == "like":
                target = _target(tensor, [*inputs, *outputs])
                if tensor.shape == target.shape or target.representation is None:
                    joined.append(((target.io, target.index), (tensor.io, tensor.index)))
                group[position] = _copied(tensor, target, spec.skeleton)
    named = {first for first, _ in joined}
    joined += zip(_open_states(inputs, named), _open_states(outputs, named), strict=False)
    handed = _handed(inputs, outputs, joined)
    return ResolvedSpec(spec, tuple(inputs), tuple(outputs), tuple(joined), handed)


def _open_states(tensors: Sequence[ResolvedTensor], named: Container[TensorKey]) -> list[TensorKey]:
    """States that no tensor is said to be like; the first among the inputs belongs to the first of the outputs, ..."""
    states = [(tensor.io, tensor.index) for tensor in tensors if tensor.kind == "state"]
    return [state for state in states if state not in named]


def _handed(
    inputs: Sequence[ResolvedTensor], outputs: Sequence[ResolvedTensor], joined: Sequence[Joined]
) -> tuple[Handed, ...]:
    """Outputs that the next call reads: those that feed an input, and states. They are in their order unless stated
    otherwise.
    """
    handed = [_fed(tensor, inputs) for tensor in outputs if tensor.entry.feeds is not None]
    sources, targets = {step.output for step in handed}, {step.input for step in handed}
    pairs = [(first, second) for (io, first), (other_io, second) in joined if (io, other_io) == ("input", "output")]
    for first, second in sorted(pairs):
        is_state = inputs[first].kind == "state" and inputs[first].shape == outputs[second].shape
        if is_state and second not in sources and first not in targets:
            handed.append(Handed(second, first, None, True))
            sources.add(second)
            targets.add(first)
    return tuple(handed)


def _fed(tensor: ResolvedTensor, inputs: Sequence[ResolvedTensor]) -> Handed:
    """An output that feeds an input. Raises SpecError where there is no such input, or it has other sizes."""
    text = " ".join((tensor.entry.feeds or "").split())
    where = tensor.entry.where or tensor.where
    named = {f"input {other.index}": other for other in inputs}
    named |= {other.entry.name: other for other in inputs if other.entry.name}
    target = named.get(text)
    if target is None:
        raise UnknownNameError(where, f"feeds: no input is called {text!r}", did_you_mean(text, list(named)))
    if tensor.shape == target.shape:
        return Handed(tensor.index, target.index, None, target.kind == "state")
    frames = [(word, axis) for word, axis in target.free_axes if word == "t" and (word, axis) in tensor.free_axes]
    if frames and len(tensor.shape) == len(target.shape):
        ((_, axis),) = frames
        as_long = (*target.shape[:axis], tensor.shape[axis], *target.shape[axis + 1 :])
        if tensor.shape == as_long and tensor.shape[axis] < target.shape[axis]:
            return Handed(tensor.index, target.index, axis)
    for word, axis in target.free_axes:
        if word == "t" and tensor.shape == (*target.shape[:axis], *target.shape[axis + 1 :]):
            return Handed(tensor.index, target.index, axis)
    facts = f"feeds {text!r}: shape {tensor.shape}, but that input has shape {target.shape}"
    remedy = (
        "an output feeds an input of its own sizes, or of more frames (`t` in both layouts, or a single one without it)"
    )
    raise LayoutSizeError(where, facts, remedy)


def _target(tensor: ResolvedTensor, tensors: Sequence[ResolvedTensor]) -> ResolvedTensor:
    """The tensor that another one is like, by its number or its name. Raises UnknownNameError, WrongValueError."""
    text = (tensor.entry.like or "").strip()
    where = tensor.entry.where or tensor.where
    numbered = {f"{other.io} {other.index}": other for other in tensors}
    named = {other.entry.name: other for other in tensors if other.entry.name}
    target = numbered.get(" ".join(text.split())) or named.get(text)
    if target is None:
        raise UnknownNameError(where, f"like: no tensor is called {text!r}", did_you_mean(text, [*numbered, *named]))
    if target.kind == "like":
        raise WrongValueError(where, f"like: {text!r} is itself like another tensor", "name that tensor")
    return target


def _copied(tensor: ResolvedTensor, target: ResolvedTensor, skeleton: Skeleton) -> ResolvedTensor:
    """The tensor with the representation of another one, and with everything that belongs to it.

    Axes that the mirror leaves as they are, such as frames, may have other lengths. Raises LayoutSizeError.
    """
    if target.representation is None:
        return tensor
    free = {axis for _, axis in target.free_axes}
    differing = {
        axis for axis, (one, other) in enumerate(zip(tensor.shape, target.shape, strict=False)) if one != other
    }
    if len(tensor.shape) != len(target.shape) or not differing <= free:
        facts = f"like {tensor.entry.like!r}: shape {tensor.shape}, but that tensor has shape {target.shape}"
        raise LayoutSizeError(tensor.entry.where or tensor.where, facts, "give the layout instead of `like`")
    if differing:
        entry = replace(target.entry, layout=target.layout)
        target = _resolve_one(replace(target, shape=tensor.shape, entry=entry), skeleton, tensor.where)
    return replace(target, io=tensor.io, index=tensor.index, entry=tensor.entry)
