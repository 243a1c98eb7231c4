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

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from chiralize.body.fields import chained, run_of
from chiralize.body.fitting import Pose, centers, fit, fitting_poses, infer_pose, over_dims, represent, reversal
from chiralize.body.layout import CLASSES, free_names, parse_layout
from chiralize.body.schema import Tensor
from chiralize.body.skeleton import Skeleton
from chiralize.body.spec import Handed, Joined, OnTensor, Resolved, Spec
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
        OnTensor(io, index, tuple(map(int, shape)), entry, layout=entry.kind)
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
    for dim in entry.reflect:
        if pose.layout.words.count("d") == 2 or (table[:, position_in(pose.body.dims, dim, "dim")] > 0).any():
            facts = f"reflect gives a centre of {dim!r}, which is not negated, or of a matrix in '{pose.layout}'"
            raise SpecError(where, facts, f"add {dim} to negate, or leave reflect out")


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
    actions = {axis: SignedPermutation.of(classes.pairs, size=shape[axis])}
    for word, cell in entry.turned.items():
        if (word,) not in layout.axes:
            facts = f"axis {word!r} is reversed, and layout '{layout}' merges it with others"
            raise LayoutSizeError(where, facts, "give it an axis of its own beside `classes`")
        number = layout.axes.index((word,))
        actions[number] = reversal(shape[number], cell, f"{where}: axis {word}")
    return replace(
        tensor,
        representation=_on_axes(shape, actions),
        layout=str(layout),
        free_axes=layout.free_axes((CLASSES, *entry.turned)),
        names=classes.names,
        name_axis=axis if classes.names else None,
    )


def _on_axes(shape: Sequence[int], actions: Mapping[int, SignedPermutation]) -> TensorRepresentation:
    """T with these actions by axis, and none along the others."""
    axes = [Representation.trivial(size) for size in shape]
    for axis, action in actions.items():
        axes[axis] = Representation.of(action)
    return TensorRepresentation(tuple(axes))


def _of_fields(tensor: OnTensor, body: Skeleton) -> OnTensor:
    """A tensor one axis of which is blocks one after the other, the last unless a layout says which."""
    shape, where, blocks = tensor.shape, tensor.spot, tensor.entry.fields or ()
    plain = tensor.entry.plain_layout if tensor.entry.layout else parse_layout("... f")
    layout = plain.expanded(len(shape), where)
    axis = layout.axes.index(("f",))
    runs = [run_of(block, body) for block in blocks]
    whole, ends = chained(runs), np.cumsum([len(run.labels) for run in runs]).tolist()
    places = [slice(end - len(run.labels), end) for run, end in zip(runs, ends, strict=True)]
    parts = tuple((block.title or block.KEYS[0], place) for block, place in zip(blocks, places, strict=True))
    if ends[-1] != shape[axis]:
        listed = " + ".join(f"{name} {place.stop - place.start}" for name, place in parts)
        facts = f"the fields make {ends[-1]} entries ({listed}), but axis {axis} has size {shape[axis]}"
        remedy = f"correct the list; a body of {len(body.joints)} joints: {{joints: NAME}}, what stays: {{scalar: N}}"
        raise LayoutSizeError(where, facts, remedy)
    unclaimed: list[int] = []
    for block, place in zip(blocks, places, strict=True):
        unclaimed += [] if getattr(block, "claimed", True) else range(place.start, place.stop)
    if unclaimed and axis != len(shape) - 1:
        facts = f"entries are `unclaimed` along an axis that is not the last ({layout})"
        raise SpecError(where, facts, "only the last axis of an output can be claimed in part")
    tensor = replace(
        tensor,
        representation=_on_axes(shape, {axis: whole.action}),
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
    spread = np.ones(len(center))
    for place in places:
        spread[place] = np.abs(center[place]).max(initial=0) / 2 or 1.0
    along = [-1 if number == axis else 1 for number in range(len(shape))]
    return replace(tensor, center=center.reshape(along), spread=spread.reshape(along))


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
        if picture[2] * shape[3] != picture[3] * shape[2]:
            return spec
    if any(fitting_poses(shape, spec.skeleton, False, "a tensor") for shape in (picture, *maps)):
        return spec
    shapes = " and ".join(f"b j h ~w = {shape}" for shape in maps)
    notice = (
        f"taken as pictures b c h ~w = {picture}, whose width the mirror reverses, and {shapes}; if not, say layouts"
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
                target = _named(tensor, "like", [*inputs, *outputs])
                # Of another shape they share axes that the mirror moves, and no representation as a whole.
                if tensor.shape == target.shape or target.representation is None:
                    joined.append((target.number, tensor.number))
                group[position] = _copied(tensor, target, spec.skeleton)
    # What an output feeds, and nobody has described, transforms as the output does; the other way round as well.
    handed: list[Handed] = []
    for tensor in outputs:
        if tensor.entry.feeds is not None:
            step = _fed(tensor, _named(tensor, "feeds", inputs), handed)
            handed.append(step)
            if tensor.representation is None or inputs[step.input].representation is None:
                joined.append((inputs[step.input].number, tensor.number))
    # A state that an output is like is taken; the others belong together in their order.
    named = {number for pair in joined for number in pair}
    first, second = (
        [t.number for t in group if t.kind == "state" and t.number not in named] for group in (inputs, outputs)
    )
    joined += zip(first, second, strict=False)
    return Resolved(
        spec, tuple(inputs), tuple(outputs), tuple(joined), tuple(_with_states(handed, inputs, outputs, joined))
    )


def _with_states(
    fed: Sequence[Handed], inputs: Sequence[OnTensor], outputs: Sequence[OnTensor], joined: Sequence[Joined]
) -> list[Handed]:
    """What outputs feed, and the states of one shape that the next call reads, where nothing else feeds them."""
    handed = list(fed)
    for (io, into), (other_io, out) in sorted(joined):
        is_state = (io, other_io) == ("input", "output") and inputs[into].kind == "state"
        is_open = all(step.output != out and step.input != into for step in handed)
        if is_state and is_open and inputs[into].shape == outputs[out].shape:
            handed.append(Handed(out, into, None, True))
    return handed


def _named(tensor: OnTensor, key: str, tensors: Sequence[OnTensor]) -> OnTensor:
    """The tensor that a key names by number, `input 1`, or by name. Raises UnknownNameError, WrongValueError."""
    text = " ".join((getattr(tensor.entry, key) or "").split())
    known = {f"{other.io} {other.index}": other for other in tensors}
    known |= {other.entry.name: other for other in tensors if other.entry.name and other.entry.name not in known}
    if text not in known:
        raise UnknownNameError(tensor.spot, f"{key}: no tensor is called {text!r}", did_you_mean(text, known))
    if known[text].kind in ("like", "unclaimed"):
        facts = f"{key}: {text!r} is itself `{known[text].kind}`"
        raise WrongValueError(tensor.spot, facts, "name a tensor that is described")
    return known[text]


def _fed(tensor: OnTensor, target: OnTensor, before: Sequence[Handed]) -> Handed:
    """An output that feeds an input. Raises SpecError where another does, its sizes are others, or T acts otherwise.

    Three ways, for an input "b t j d" of 10 frames: an output of its sizes takes its place; 3 frames "b t j d" are put
    behind its last 7; a single frame "b j d" behind its last 9.  before: what other outputs feed.
    """
    feeds = f"feeds {tensor.entry.feeds!r}"
    if any(step.input == target.index for step in before):
        remedy = "let one output feed it: the next call reads one value there"
        raise WrongValueError(tensor.spot, f"{feeds}, as another output does", remedy)
    frames = dict(target.free_axes).get("t")
    if tensor.shape == target.shape:
        frames = None
    elif frames is None or not _is_shorter(tensor, target, frames):
        facts = f"{feeds}: shape {tensor.shape}, but that input has shape {target.shape}"
        remedy = "an output feeds an input of its sizes, or of more frames (`t` in both layouts, or one without)"
        raise LayoutSizeError(tensor.spot, facts, remedy)
    is_known = tensor.representation is not None and target.representation is not None
    if is_known and not _acts_alike(tensor, target, frames):
        facts = f"the mirror acts on {tensor.where} otherwise than on {target.where}, which it feeds"
        raise WrongValueError(tensor.spot, facts, "give both one layout, or `like` the other in place of the layout")
    return Handed(tensor.index, target.index, frames, frames is None and target.kind == "state")


def _is_shorter(tensor: OnTensor, target: OnTensor, frames: int) -> bool:
    """Whether the tensor is one frame of the target, without that axis, or some of its frames."""
    if len(tensor.shape) < len(target.shape):
        return tensor.shape == (*target.shape[:frames], *target.shape[frames + 1 :])
    pairs = list(zip(tensor.shape, target.shape, strict=False))
    return ("t", frames) in tensor.free_axes and all(
        one == other for one, other in pairs[:frames] + pairs[frames + 1 :]
    )


def _acts_alike(tensor: OnTensor, target: OnTensor, frames: int | None) -> bool:
    """Whether T acts on both in one way; along the frames it leaves everything as it is, and lengths do not count."""
    mirrored: list[np.ndarray] = []
    for one in (tensor, target):
        assert one.representation is not None
        shape, axes = list(one.shape), list(enumerate(one.representation.axes))
        if frames is not None and len(shape) == len(target.shape):
            shape[frames] = 1
            del axes[frames]
        center = np.zeros(1) if one.center is None else one.center
        values = np.arange(1.0, 1 + np.prod(shape)).reshape(shape) - center
        for axis, along in axes:
            values = along.action.act(values, axis)
        mirrored.append((values * one.representation.sign + center).reshape(-1))
    return np.array_equal(mirrored[0], mirrored[1])


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
    if differing:  # the target's layout is fitted anew to this shape
        layout = {} if target.is_free else {"layout": target.layout, "mirror": target.entry.turned}
        target = _on_one(replace(target, shape=tensor.shape, entry=target.entry.model_copy(update=layout)), skeleton)
    return replace(target, io=tensor.io, index=tensor.index, entry=tensor.entry)


def _check_inputs_move(resolved: Resolved) -> None:
    """Raises WrongValueError where T moves outputs alone: only answers that are their own mirror image would pass."""
    moving = [tensor for tensor in resolved.outputs if tensor.representation and not tensor.representation.is_trivial]
    inputs = resolved.inputs
    if moving and inputs and all(tensor.representation and tensor.representation.is_trivial for tensor in inputs):
        facts = f"the mirror leaves every input as it is, but swaps or negates entries of {moving[0].where}"
        remedy = "say how it acts on the inputs: joints (j), `fields`, or for pictures an axis to reverse (~w)"
        raise WrongValueError(inputs[0].spot, facts, remedy)
