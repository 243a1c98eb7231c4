"""From a specification and the shapes of a model's tensors to the representation of every one of them.

This is the last step of `body/`: `problem/` calls `resolve` once a network's shapes are known, and inference begins
with what comes out, T on every input and output. The steps:

1. pictures are recognised by their sizes, where no layout is given (`pictures`);
2. every tensor is fitted by itself (`one_tensor`);
3. what is `like` another tensor takes over its representation, and states of inputs are joined with those of outputs,
   whose representation inference finds;
4. which outputs one call hands to the next.

For the network of a walker, inputs (observation, state) and outputs (action, state), the second and the fourth tensor
come out without a representation, joined to each other, and handed from call to call.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from math import prod

import numpy as np
import numpy.typing as npt

from chiralize.body.skeleton.nodes import did_you_mean
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors.conversion import ConversionSpec
from chiralize.body.tensors.entries import TensorEntry
from chiralize.body.tensors.one_tensor import resolve_one
from chiralize.body.tensors.pictures import check_pictures, read_pictures
from chiralize.body.tensors.resolved import Handed, Joined, ResolvedSpec, ResolvedTensor, TensorKey
from chiralize.errors import LayoutSizeError, SpecError, UnknownNameError, WrongValueError
from chiralize.errors.words import when
from chiralize.symmetry.representation import TensorRepresentation

FloatArray = npt.NDArray[np.float64]
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

    shapes: of the flattened inputs and outputs.  names: of the tensors, for messages, where entries have none.
    Raises WrongValueError (another number of tensors), LayoutSizeError, AmbiguousLayoutError, SpecError.
    """
    # Before tensors are fitted one by one: a picture alone could be anything, its maps beside it tell.
    spec = read_pictures(spec, input_shapes, output_shapes)
    check_pictures(spec.inputs or (), spec.outputs or ())
    inputs = _tensors(spec, "input", spec.inputs, input_shapes, input_names)
    if spec.invariant and spec.outputs is None:
        scores = tuple(TensorEntry(flag="invariant") for _ in output_shapes)
        outputs = _tensors(spec, "output", scores, output_shapes, output_names)
    else:
        outputs = _tensors(spec, "output", spec.outputs, output_shapes, output_names)
    # The batch sizes of the inputs that are described, by which free ones are told to be samples or tables.
    sizes = {tensor.shape[0] for tensor in inputs if tensor.has_rows and not tensor.is_free}
    resolved = _joined(spec, [_without_batch(tensor, sizes) for tensor in inputs], outputs)
    _check_inputs_move(resolved)
    return resolved


def describes(spec: ConversionSpec, inputs: int, outputs: int) -> bool:
    """Whether a specification could be of a network from so many numbers to so many, such as a perceptron.

    With a batch in front or without.
    """
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
        remedy = (
            'say how it acts on the inputs: joints (j), fields, or for pictures an axis to reverse, "b c h ~w". Where '
            "they have no side, as sound has none, an equivariant network answers only what is its own mirror image: "
            "(y + T y) / 2 behind the network is that, and needs no conversion"
        )
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
    """The inputs or the outputs (io), each by itself. Raises WrongValueError where their number is not that of entries.

    entries: None where no layout is given, and all are inferred.
    """
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
        tensors.append(resolve_one(tensor, spec.skeleton, where))
    return tensors


# ---- states and likes -----------------------------------------------------------------------------------------
def _joined(spec: ConversionSpec, inputs: list[ResolvedTensor], outputs: list[ResolvedTensor]) -> ResolvedSpec:
    """The specification with likes filled in, in place, and with the tensors that must carry one representation."""
    joined = list[Joined]()
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
    fed = _all_fed(inputs, outputs)
    for step in fed:
        first, second = ("input", step.input), ("output", step.output)
        if inputs[step.input].representation is None or outputs[step.output].representation is None:
            joined.append((first, second))
            named |= {first, second}
    # A state that an output is like is taken; the others belong together in their order.
    joined += zip(_open_states(inputs, named), _open_states(outputs, named), strict=False)
    handed = _handed(inputs, outputs, joined, fed)
    return ResolvedSpec(spec, tuple(inputs), tuple(outputs), tuple(joined), handed)


def _open_states(tensors: Sequence[ResolvedTensor], named: Container[TensorKey]) -> list[TensorKey]:
    """States that no tensor is said to be like; the first among the inputs belongs to the first of the outputs, ..."""
    states = [(tensor.io, tensor.index) for tensor in tensors if tensor.kind == "state"]
    return [state for state in states if state not in named]


def _all_fed(inputs: Sequence[ResolvedTensor], outputs: Sequence[ResolvedTensor]) -> list[Handed]:
    """The outputs that feed an input. Raises SpecError."""
    fed = [_fed(tensor, inputs) for tensor in outputs if tensor.entry.feeds is not None]
    targets = dict[int, int]()  # of every input that is fed, by which output
    for step in fed:
        _check_fed(outputs[step.output], inputs[step.input], step.axis, targets)
        targets[step.input] = step.output
    return fed


def _handed(
    inputs: Sequence[ResolvedTensor],
    outputs: Sequence[ResolvedTensor],
    joined: Sequence[Joined],
    fed: Sequence[Handed],
) -> tuple[Handed, ...]:
    """Outputs that the next call reads: those that feed an input, and states. They are in their order unless stated
    otherwise.

    joined: pairs of tensors with one representation; of these, an input and an output of one shape are one state.
    """
    handed = list(fed)
    sources, targets = {step.output for step in fed}, {step.input for step in fed}
    pairs = [(first, second) for (io, first), (other_io, second) in joined if (io, other_io) == ("input", "output")]
    for first, second in sorted(pairs):
        is_state = inputs[first].kind == "state" and inputs[first].shape == outputs[second].shape
        # What `feeds` says counts before states that are joined.
        if is_state and second not in sources and first not in targets:
            handed.append(Handed(second, first, None, True))
            sources.add(second)
            targets.add(first)
    return tuple(handed)


def _fed(tensor: ResolvedTensor, inputs: Sequence[ResolvedTensor]) -> Handed:
    """An output that feeds an input. Raises SpecError where there is no such input, or it has other sizes.

    Three ways, for an input "b t j d" of 10 frames: an output of its sizes takes its place; 3 frames "b t j d" are put
    behind its last 7; a single frame "b j d" behind its last 9.
    """
    text = " ".join((tensor.entry.feeds or "").split())
    where = tensor.entry.where or tensor.where
    named = {f"input {other.index}": other for other in inputs}
    named |= {other.entry.name: other for other in inputs if other.entry.name}
    target = named.get(text)
    if target is None:
        raise UnknownNameError(where, f"feeds: no input is called {text!r}", did_you_mean(text, list(named)))
    if tensor.shape == target.shape:
        return Handed(tensor.index, target.index, None, target.kind == "state")
    # Several frames: `t` is the same axis of both, and the output has fewer.
    frames = [(word, axis) for word, axis in target.free_axes if word == "t" and (word, axis) in tensor.free_axes]
    if frames and len(tensor.shape) == len(target.shape):
        ((_, axis),) = frames
        as_long = (*target.shape[:axis], tensor.shape[axis], *target.shape[axis + 1 :])
        if tensor.shape == as_long and tensor.shape[axis] < target.shape[axis]:
            return Handed(tensor.index, target.index, axis)
    # A single frame: the input's shape without its `t`.
    for word, axis in target.free_axes:
        if word == "t" and tensor.shape == (*target.shape[:axis], *target.shape[axis + 1 :]):
            return Handed(tensor.index, target.index, axis)
    facts = f"feeds {text!r}: shape {tensor.shape}, but that input has shape {target.shape}"
    remedy = (
        "an output feeds an input of its own sizes, or of more frames (`t` in both layouts, or a single one without it)"
    )
    raise LayoutSizeError(where, facts, remedy)


def _check_fed(output: ResolvedTensor, target: ResolvedTensor, axis: int | None, fed: Mapping[int, int]) -> None:
    """Raise WrongValueError where another output feeds the same input, or T acts on the two otherwise.

    axis: of frames, see `Handed`.  fed: of the inputs that are fed already, by which output.
    """
    where = output.entry.where or output.where
    if target.index in fed:
        facts = f"{target.where} is fed by output {fed[target.index]} and by output {output.index}"
        raise WrongValueError(where, facts, "let one of them feed it: the next call reads one value there")
    if not _are_turned_alike(output, target, axis):
        facts = f"the mirror acts on {output.where} otherwise than on {target.where}, which it feeds"
        raise WrongValueError(where, facts, "give both one layout, or `like` the other in place of the layout")


def _are_turned_alike(output: ResolvedTensor, target: ResolvedTensor, axis: int | None) -> bool:
    """Whether T acts on an output as on the input that it feeds, or one of them is left to inference.

    axis: of the input, that of frames, along which T leaves everything as it is.
    """
    ours, theirs = output.representation, target.representation
    if ours is None or theirs is None:
        return True
    is_single = len(ours.axes) < len(theirs.axes)  # one frame, without an axis of time
    moved = {at + (is_single and at >= (axis or 0)) for at in ours.moved_axes} | set(theirs.moved_axes)
    # Different numbers, with one entry along axes that T leaves alone: what T makes of them says what T is.
    sizes = [1] * len(target.shape)
    for at in moved:
        sizes[at] = target.shape[at]
    given = np.arange(1.0, prod(sizes) + 1).reshape(sizes)
    wanted = _turned(given, theirs, target.center)
    if is_single:
        given, wanted = given.squeeze(axis), wanted.squeeze(axis)
    return np.array_equal(_turned(given, ours, output.center), wanted)


def _turned(array: FloatArray, representation: TensorRepresentation, center: FloatArray | None) -> FloatArray:
    """T x = c + R (x - c) of an array, without torch."""
    middle = np.zeros(()) if center is None else center
    return middle + representation.act(array - middle)


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
    # The past of 10 frames and the future of 25 are alike, since T does nothing along the frames.
    free = {axis for _, axis in target.free_axes}
    differing = {
        axis for axis, (one, other) in enumerate(zip(tensor.shape, target.shape, strict=False)) if one != other
    }
    if len(tensor.shape) != len(target.shape) or not differing <= free:
        facts = f"like {tensor.entry.like!r}: shape {tensor.shape}, but that tensor has shape {target.shape}"
        raise LayoutSizeError(tensor.entry.where or tensor.where, facts, "give the layout instead of `like`")
    # Of other lengths the target's layout is fitted anew to this shape.
    if differing:
        entry = replace(target.entry, layout=target.layout)
        target = resolve_one(replace(target, shape=tensor.shape, entry=entry), skeleton, tensor.where)
    return replace(target, io=tensor.io, index=tensor.index, entry=tensor.entry)
