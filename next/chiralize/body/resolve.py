"""What is T on every input and output?

From a specification and the shapes of a model's tensors to the representation of every one of them. `problem/` calls
`resolve` once a network's shapes are known, and inference begins with what comes out. The steps:

1. a picture and its maps are recognised by their sizes, where no layout is given;
2. every tensor is fitted by itself: `free` and `invariant` (T leaves every entry alone), `classes` (T permutes one axis
   of scores), `fields` (one axis of blocks, T is their direct sum), else joints and coordinates (`fitting`);
3. what is `like` another tensor takes over its representation, and states of inputs are joined with those of outputs,
   whose representation inference finds;
4. which outputs one call hands to the next.

For the network of a walker, inputs (observation, state) and outputs (action, state), the second and the fourth tensor
come out without a representation, joined to each other, and handed from call to call.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from chiralize.body.fields import Block, Listed, Run, chained, run_of
from chiralize.body.fitting import Pose, centers, fit, fitting_poses, infer_pose, over_dims, represent, reversals
from chiralize.body.layout import CLASSES, Layout, free_names, parse_layout
from chiralize.body.resolved import Handed, Joined, OnTensor, Resolved, TensorKey
from chiralize.body.schema import Tensor
from chiralize.body.skeleton import Skeleton
from chiralize.body.spec import Spec
from chiralize.body.values import Wrong, did_you_mean, position_in
from chiralize.errors import LayoutSizeError, SpecError, UnknownNameError, WrongValueError
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation

_CHANNELS = (1, 3)
"""Channels of a picture that is recognised by its sizes: grey, or red, green and blue."""
_SMALLEST = 16
"""Pixels along the shorter side of such a picture; below it, an axis could be anything."""


def resolve(spec: Spec, inputs: Sequence[Sequence[int]], outputs: Sequence[Sequence[int]]) -> Resolved:
    """Fit every entry to its tensor; infer the layouts that the specification leaves out.

    inputs, outputs: shapes of the flattened tensors.
    Raises WrongValueError (another number of tensors), LayoutSizeError, AmbiguousLayoutError, SpecError.
    """
    spec = _as_pictures(spec, inputs, outputs)
    _check_pictures(spec.tensors)
    scores = spec.invariant and spec.outputs is None
    into = _tensors(spec, "input", spec.inputs, inputs)
    out = _tensors(spec, "output", (Tensor(invariant=True),) * len(outputs) if scores else spec.outputs, outputs)
    # A free tensor has the batch in front only where it is as long: a table or a number has none.
    sizes = {tensor.shape[0] for tensor in into if tensor.has_rows and not tensor.is_free}
    for position, tensor in enumerate(into):
        if tensor.is_free and sizes and tensor.shape and tensor.shape[0] not in sizes:
            into[position] = replace(tensor, free_axes=())
    resolved = _together(spec, into, out)
    _check_inputs_move(resolved)
    return resolved


def _tensors(
    spec: Spec, io: str, entries: tuple[Tensor, ...] | None, shapes: Sequence[Sequence[int]]
) -> list[OnTensor]:
    """The inputs or the outputs, each by itself.  entries: None where all layouts are inferred. Raises SpecError."""
    entries = (Tensor(),) * len(shapes) if entries is None else entries
    if len(entries) != len(shapes):
        listed = ", ".join(str(tuple(shape)) for shape in shapes)
        where = entries[0].where if entries and entries[0].where else f"{io}s"
        facts = f"{len(entries)} {io}s are described, the model has {len(shapes)}: {listed}"
        raise WrongValueError(where, facts, f"describe each {io} in order; `free` for one without a body, or `state`")
    if io == "output" and entries and all(entry.unclaimed for entry in entries):
        facts = "all outputs are `unclaimed`: nothing would be claimed of the network"
        raise SpecError(entries[0].where or "outputs", facts, "say how one of them is mirrored")
    tensors = [
        OnTensor(io, index, tuple(map(int, shape)), entry, entry.kind, layout=entry.kind)
        for index, (entry, shape) in enumerate(zip(entries, shapes, strict=True))
    ]
    return [_on_one(tensor, spec.skeleton) for tensor in tensors]


# ---- one tensor ---------------------------------------------------------------------------------------------------
def _on_one(tensor: OnTensor, skeleton: Skeleton) -> OnTensor:
    """The tensor with the representation that its entry describes; states and likes wait for other tensors."""
    try:
        if tensor.kind in ("state", "like", "unclaimed"):
            return tensor
        # Whatever the axes mean: their names only serve to tell samples and frames apart.
        if tensor.is_free:
            axes = tuple((name, axis) for axis, name in enumerate(free_names(len(tensor.shape))))
            return replace(tensor, representation=TensorRepresentation.trivial(tensor.shape), free_axes=axes)
        if tensor.kind == "classes":
            return _of_classes(tensor)
        body = tensor.entry.body(skeleton)
        return _of_fields(tensor, body) if tensor.kind == "fields" else _of_joints(tensor, body, skeleton)
    except Wrong as wrong:
        raise wrong.error(tensor.spot) from None


def _of_joints(tensor: OnTensor, body: Skeleton, skeleton: Skeleton) -> OnTensor:
    """A tensor of poses.  body: with the entry's joints and dims.  skeleton: of the specification."""
    entry, where = tensor.entry, tensor.spot
    fixed_dims = entry.dims is not None or entry.quantity is not None  # else n coordinates are the first n dims
    if entry.layout is None:
        pose = infer_pose(tensor.shape, body, fixed_dims, where)
    else:
        layout, turned = entry.plain_layout, tuple(entry.turned.items())
        # Where the mirror reverses the width of a heat map, no coordinate is left to be negated.
        if turned and "j" in layout and "d" not in layout and not fixed_dims:
            body = body.with_dims(())
        pose = replace(fit(layout, tensor.shape, body, fixed_dims, where), turned=turned)
    _check_reflect(entry, pose, where)
    tensor = replace(
        tensor,
        representation=represent(pose, where),
        layout=str(pose.layout),
        pose=pose,
        free_axes=pose.layout.free_axes(dict(pose.turned)),
    )
    center = centers(pose, entry.reflect)
    if center is None:
        return tensor
    # Pixels of a picture 640 wide, mirrored at 320, lie up to 320 to both sides: 160 is about their spread. Dims that
    # the skeleton does not have are confidences.
    known = (entry.skeleton or skeleton).dims
    largest = max(abs(float(c)) for c in entry.reflect.values())
    spread = np.array([largest / 2 if dim in known else 1.0 for dim in pose.body.dims])
    return replace(tensor, center=center, spread=over_dims(pose, spread))


def _check_reflect(entry: Tensor, pose: Pose, where: str) -> None:
    """Raises SpecError where `reflect` gives a centre of what is no coordinate, or is not negated for every joint."""
    table = pose.body.sign_table()
    if entry.reflect and pose.layout.has_matrices:
        raise SpecError(where, f"layout '{pose.layout}' has matrices, which have no centre", "leave reflect out")
    for dim in entry.reflect:
        if (table[:, position_in(pose.body.dims, dim, "dim")] > 0).any():
            raise SpecError(where, f"reflect gives a centre of {dim!r}, which is not negated", f"add {dim} to negate")


def _of_classes(tensor: OnTensor) -> OnTensor:
    """Scores of classes, along the last axis unless a layout says along which."""
    entry, shape, where, classes = tensor.entry, tensor.shape, tensor.spot, tensor.entry.classes
    assert classes is not None
    plain = entry.plain_layout if entry.layout else parse_layout(f"... {CLASSES}")
    layout = plain.expanded(len(shape), where)
    axis = layout.axes.index((CLASSES,))
    count = len(classes.names) or shape[axis]
    if count != shape[axis] or len(classes.labels) > count:
        facts = f"{len(classes.labels)} classes, but axis {axis} has size {shape[axis]}"
        raise LayoutSizeError(where, facts, f'list every class once, or mark another axis: layout: "b {CLASSES} t"')
    axes = [Representation.trivial(length) for length in shape]
    axes[axis] = Representation.of(SignedPermutation.of(classes.pairs, size=shape[axis]))
    for number, action in _turned_axes(layout, tensor).items():
        axes[number] = Representation.of(action)
    return replace(
        tensor,
        representation=TensorRepresentation(tuple(axes)),
        layout=str(layout),
        free_axes=layout.free_axes((CLASSES, *entry.turned)),
        names=classes.names,
        name_axis=axis if classes.names else None,
    )


def _turned_axes(layout: Layout, tensor: OnTensor) -> dict[int, SignedPermutation]:
    """The axes of a picture of scores that the mirror reverses. Raises LayoutSizeError where one is merged."""
    sizes = {word: tensor.shape[number] for word, number in layout.free_axes()}
    merged = [word for word in tensor.entry.turned if word not in sizes]
    if merged:
        facts = f"axis {merged[0]!r} is reversed, and layout '{layout}' merges it with others"
        raise LayoutSizeError(tensor.spot, facts, "give it an axis of its own beside `classes`")
    turned = reversals(tuple(tensor.entry.turned.items()), sizes, tensor.spot)
    return {layout.axes.index((word,)): action for word, action in turned.items()}


def _of_fields(tensor: OnTensor, body: Skeleton) -> OnTensor:
    """A tensor one axis of which is blocks one after the other, the last unless a layout says which."""
    shape, where, blocks = tensor.shape, tensor.spot, tensor.entry.fields or ()
    plain = tensor.entry.plain_layout if tensor.entry.layout else parse_layout("... f")
    layout = plain.expanded(len(shape), where)
    axis = layout.axis_of("f")
    if axis is None or not shape:
        raise LayoutSizeError(where, f"fields need an axis, shape {shape} and layout '{layout}'", "mark it with f")
    runs = [run_of(block, body) for block in blocks]
    whole, parts = chained(runs), _parts(blocks, runs)
    if len(whole.labels) != shape[axis]:
        raise _of_another_width(parts, body, axis, shape[axis], where)
    unclaimed: list[int] = []
    for block, (_, part) in zip(blocks, parts, strict=True):
        unclaimed += range(part.start, part.stop) if isinstance(block, Listed) and not block.claimed else ()
    if unclaimed and axis != len(shape) - 1:
        facts = f"entries are `unclaimed` along an axis that is not the last ({layout})"
        raise SpecError(where, facts, "only the last axis of an output can be claimed in part")
    axes = [Representation.trivial(size) for size in shape]
    axes[axis] = Representation.of(whole.action)
    tensor = replace(
        tensor,
        representation=TensorRepresentation(tuple(axes)),
        layout=str(layout),
        free_axes=layout.free_axes(),
        names=whole.labels,
        name_axis=axis,
        parts=parts,
        unclaimed=tuple(unclaimed),
    )
    center = np.array(whole.centers)
    if not center.any():
        return tensor
    # One number an entry of the axis, broadcast along all others; a block's values lie half its largest centre apart.
    along = [1] * len(shape)
    along[axis] = shape[axis]
    spread = np.ones(len(center))
    for _, part in parts:
        spread[part] = np.abs(center[part]).max(initial=0) / 2 or 1.0
    return replace(tensor, center=center.reshape(along), spread=spread.reshape(along))


def _parts(blocks: Sequence[Block], runs: Sequence[Run]) -> tuple[tuple[str, slice], ...]:
    """(name, positions) of every block along their axis."""
    parts, start = list[tuple[str, slice]](), 0
    for block, run in zip(blocks, runs, strict=True):
        parts.append((block.title or block.KEYS[0], slice(start, start + len(run.labels))))
        start += len(run.labels)
    return tuple(parts)


def _of_another_width(
    parts: Sequence[tuple[str, slice]], body: Skeleton, axis: int, size: int, where: str
) -> LayoutSizeError:
    """The refusal of blocks that are not as long together as their axis."""
    total = parts[-1][1].stop
    listed = " + ".join(f"{name} {part.stop - part.start}" for name, part in parts)
    facts = f"the fields make {total} entries ({listed}), but axis {axis} has size {size}"
    if size > total and (size - total) % len(body.joints) == 0:
        remedy = f"{size - total} are missing, a multiple of the {len(body.joints)} joints: add {{joints: NAME}}"
    else:
        remedy = (
            "correct the list: {joints: NAME}, {vector: NAME}, {axial: NAME}; {scalar: N, name: ...} for what stays"
        )
    return LayoutSizeError(where, facts, remedy)


# ---- pictures -----------------------------------------------------------------------------------------------------
def _as_pictures(spec: Spec, inputs: Sequence[Sequence[int]], outputs: Sequence[Sequence[int]]) -> Spec:
    """The specification with layouts, where it gives none and the sizes are those of a picture and a map of each joint.

    (1, 3, 256, 192) to (1, 17, 64, 48): a picture, and a map of each of 17 joints at a quarter of its size. Sizes that
    could also be joints and coordinates are left to the user.
    """
    if spec.inputs is not None or spec.outputs is not None or spec.invariant or len(inputs) != 1 or not outputs:
        return spec
    picture, maps = tuple(inputs[0]), [tuple(shape) for shape in outputs]
    if len(picture) != 4 or picture[1] not in _CHANNELS or min(picture[2:]) < _SMALLEST:
        return spec
    for shape in maps:  # a cell of a map is a square of pixels
        if len(shape) != 4 or shape[1] != len(spec.skeleton.joints) or min(shape[2:]) < 2:
            return spec
        if Fraction(picture[2], shape[2]) != Fraction(picture[3], shape[3]):
            return spec
    if any(fitting_poses(shape, spec.skeleton, False, "a tensor") for shape in (picture, *maps)):
        return spec
    listed = " and ".join(f"b j h ~w = {shape}" for shape in maps)
    notice = (
        f"taken as pictures b c h ~w = {picture}, whose width the mirror reverses, and {listed}; if not, say layouts"
    )
    out = (Tensor(layout="b j h ~w"),) * len(maps)
    return replace(spec, inputs=(Tensor(layout="b c h ~w"),), outputs=out, notices=(*spec.notices, notice))


def _check_pictures(entries: Sequence[Tensor]) -> None:
    """Raises WrongValueError where an axis is reversed in one tensor, and another has one of that name which is not.

    Such a T is an involution like any other, and no residual would show that it is not the picture's.
    """
    described = [entry for entry in entries if entry.layout is not None]
    turned = {word: entry for entry in described for word in entry.turned}
    for entry in described:
        # Words that are reversed elsewhere and stand here without a tilde.
        for word in sorted({*entry.plain_layout.words} & turned.keys() - entry.turned.keys()):
            facts = f"axis {word!r} of '{entry.layout}' is not reversed, that of '{turned[word].layout}' is"
            remedy = f"write ~{word}, or give the axis another name where it is not the same one"
            raise WrongValueError(entry.where or "layout", facts, remedy)


# ---- likes, states, and what is handed on -------------------------------------------------------------------------
def _together(spec: Spec, inputs: list[OnTensor], outputs: list[OnTensor]) -> Resolved:
    """The specification with likes filled in, and with the tensors that must carry one representation."""
    joined: list[Joined] = []
    for group in (inputs, outputs):
        for position, tensor in enumerate(group):
            if tensor.kind == "like":
                target = _target(tensor, [*inputs, *outputs])
                # Of another shape they share axes that the mirror moves, and no representation as a whole.
                if tensor.shape == target.shape or target.representation is None:
                    joined.append(((target.io, target.index), (tensor.io, tensor.index)))
                group[position] = _copied(tensor, target, spec.skeleton)
    named = {first for first, _ in joined}
    # What an output feeds, and nobody has described, transforms as the output does; the other way round as well.
    fed = [_fed(tensor, inputs) for tensor in outputs if tensor.entry.feeds is not None]
    for number, step in enumerate(fed):
        _check_fed(outputs[step.output], inputs[step.input], step.axis, fed[:number])
        if inputs[step.input].representation is None or outputs[step.output].representation is None:
            joined.append((("input", step.input), ("output", step.output)))
            named |= {("input", step.input), ("output", step.output)}
    # A state that an output is like is taken; the others belong together in their order.
    joined += zip(_open_states(inputs, named), _open_states(outputs, named), strict=False)
    return Resolved(spec, tuple(inputs), tuple(outputs), tuple(joined), _handed(inputs, outputs, joined, fed))


def _open_states(tensors: Sequence[OnTensor], named: Container[TensorKey]) -> list[TensorKey]:
    """States that no tensor is said to be like; the first among the inputs belongs to the first of the outputs, ..."""
    states = [(tensor.io, tensor.index) for tensor in tensors if tensor.kind == "state"]
    return [state for state in states if state not in named]


def _handed(
    inputs: Sequence[OnTensor], outputs: Sequence[OnTensor], joined: Sequence[Joined], fed: Sequence[Handed]
) -> tuple[Handed, ...]:
    """Outputs that the next call reads: those that feed an input, which count first, and states of one shape."""
    handed = list(fed)
    pairs = [(first, second) for (io, first), (other_io, second) in joined if (io, other_io) == ("input", "output")]
    for first, second in sorted(pairs):
        is_state = inputs[first].kind == "state" and inputs[first].shape == outputs[second].shape
        if is_state and all(step.output != second and step.input != first for step in handed):
            handed.append(Handed(second, first, None, True))
    return tuple(handed)


def _fed(tensor: OnTensor, inputs: Sequence[OnTensor]) -> Handed:
    """An output that feeds an input. Raises SpecError where no such input exists, or it has other sizes.

    Three ways, for an input "b t j d" of 10 frames: an output of its sizes takes its place; 3 frames "b t j d" are put
    behind its last 7; a single frame "b j d" behind its last 9.
    """
    target = _named(tensor.entry.feeds or "", inputs, "feeds", tensor.spot)
    if tensor.shape == target.shape:
        return Handed(tensor.index, target.index, None, target.kind == "state")
    for word, axis in target.free_axes:
        before, behind = target.shape[:axis], target.shape[axis + 1 :]
        is_single = tensor.shape == (*before, *behind)
        frames = tensor.shape[axis] if len(tensor.shape) == len(target.shape) else 0
        is_shorter = tensor.shape == (*before, frames, *behind) and 0 < frames < target.shape[axis]
        if word == "t" and (is_single or (is_shorter and (word, axis) in tensor.free_axes)):
            return Handed(tensor.index, target.index, axis)
    facts = f"feeds {tensor.entry.feeds!r}: shape {tensor.shape}, but that input has shape {target.shape}"
    remedy = (
        "an output feeds an input of its own sizes, or of more frames (`t` in both layouts, or a single one without)"
    )
    raise LayoutSizeError(tensor.spot, facts, remedy)


def _check_fed(output: OnTensor, target: OnTensor, axis: int | None, before: Sequence[Handed]) -> None:
    """Raises WrongValueError where another output feeds the same input, or T acts on the two otherwise.

    axis: of frames, see `Handed`.  before: what other outputs feed.
    """
    for step in before:
        if step.input == target.index:
            facts = f"{target.where} is fed by output {step.output} and by output {output.index}"
            raise WrongValueError(output.spot, facts, "let one of them feed it: the next call reads one value there")
    ours, theirs = output.representation, target.representation
    if ours is None or theirs is None:
        return
    # A single frame has no axis of time; along the frames T leaves everything as it is, and lengths do not count.
    frames = len(theirs.axes) if axis is None else axis
    one = [part for number, part in enumerate(ours.axes) if number != frames or len(ours.axes) < len(theirs.axes)]
    other = [part for number, part in enumerate(theirs.axes) if number != frames]
    are_alike = one == other and ours.sign == theirs.sign and _same_center(output, target, axis)
    if not are_alike:
        facts = f"the mirror acts on {output.where} otherwise than on {target.where}, which it feeds"
        raise WrongValueError(output.spot, facts, "give both one layout, or `like` the other in place of the layout")


def _same_center(output: OnTensor, target: OnTensor, axis: int | None) -> bool:
    """Whether both are mirrored at one point: the centre of frames has length 1 along them."""
    ours, theirs = (np.zeros(1) if tensor.center is None else tensor.center for tensor in (output, target))
    if axis is not None and theirs.ndim > ours.ndim and target.center is not None:
        theirs = np.squeeze(theirs, axis)
    one, other = np.broadcast_arrays(ours, theirs)
    return bool((one == other).all())


def _named(text: str, tensors: Sequence[OnTensor], key: str, where: str) -> OnTensor:
    """The tensor of that number, `input 1`, or name. Raises UnknownNameError.  key: that says it."""
    text = " ".join(text.split())
    numbered = {f"{tensor.io} {tensor.index}": tensor for tensor in tensors}
    named = {tensor.entry.name: tensor for tensor in tensors if tensor.entry.name}
    target = numbered.get(text) or named.get(text)
    if target is None:
        remedy = did_you_mean(text, [*numbered, *named])
        raise UnknownNameError(where, f"{key}: no tensor is called {text!r}", remedy)
    return target


def _target(tensor: OnTensor, tensors: Sequence[OnTensor]) -> OnTensor:
    """The tensor that another one is like. Raises SpecError where it is like another one itself, or not claimed."""
    target = _named(tensor.entry.like or "", tensors, "like", tensor.spot)
    if target.kind in ("like", "unclaimed"):
        facts = f"like: {tensor.entry.like!r} is itself `{target.kind}`"
        raise WrongValueError(tensor.spot, facts, "name a tensor that is described")
    return target


def _copied(tensor: OnTensor, target: OnTensor, skeleton: Skeleton) -> OnTensor:
    """The tensor with the representation of another one, and with everything that belongs to it.

    Axes that the mirror leaves as they are, such as frames, may have other lengths. Raises LayoutSizeError.
    """
    if target.representation is None:
        return tensor
    # The past of 10 frames and the future of 25 are alike, since T does nothing along the frames.
    free = {axis for _, axis in target.free_axes}
    differing = {axis for axis, pair in enumerate(zip(tensor.shape, target.shape, strict=False)) if len({*pair}) > 1}
    if len(tensor.shape) != len(target.shape) or not differing <= free:
        facts = f"like {tensor.entry.like!r}: shape {tensor.shape}, but that tensor has shape {target.shape}"
        raise LayoutSizeError(tensor.spot, facts, "give the layout instead of `like`")
    if differing and not target.is_free:  # the target's layout is fitted anew to this shape
        turned = target.entry.turned
        entry = target.entry.model_copy(update={"layout": target.layout, "mirror": turned})
        target = _on_one(replace(target, shape=tensor.shape, entry=entry), skeleton)
    elif differing:
        target = _on_one(replace(target, shape=tensor.shape), skeleton)
    return replace(target, io=tensor.io, index=tensor.index, entry=tensor.entry, kind=tensor.kind)


def _check_inputs_move(resolved: Resolved) -> None:
    """Raises WrongValueError where T moves outputs alone: only answers that are their own mirror image would pass."""
    moving = [tensor for tensor in resolved.outputs if tensor.representation and not tensor.representation.is_trivial]
    inputs = resolved.inputs
    if moving and inputs and all(tensor.representation and tensor.representation.is_trivial for tensor in inputs):
        facts = f"the mirror leaves every input as it is, but swaps or negates entries of {moving[0].where}"
        remedy = "say how it acts on the inputs: joints (j), `fields`, or for pictures an axis to reverse (~w)"
        raise WrongValueError(inputs[0].spot, facts, remedy)
