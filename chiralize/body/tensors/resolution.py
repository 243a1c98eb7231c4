"""From a specification and the shapes of a model's tensors to the representation of every one of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np
import numpy.typing as npt

from chiralize.body.skeleton.nodes import did_you_mean
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors.axes import Pose, centers, fit, represent, spreads
from chiralize.body.tensors.conversion import ConversionSpec
from chiralize.body.tensors.entries import Field, TensorEntry, vector_signs
from chiralize.body.tensors.guess import infer_pose
from chiralize.body.tensors.layout import Layout, free_names, parse_layout
from chiralize.errors import LayoutSizeError, MissingKeyError, SpecError, UnknownNameError, WrongValueError
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation

_FREE = ("free", "invariant")
Shape = tuple[int, ...]
Center = npt.NDArray[np.float64] | None


@dataclass(frozen=True)
class Handed:
    """A result of one call that is an argument of the next. output, input: positions among the tensors.

    axis: of the frames, where the input keeps its last ones and the result comes behind them; None where it takes the
    input's place.  is_state: it starts at zero; else the first calls of a sequence read what is observed.
    """

    output: int
    input: int
    axis: int | None = None
    is_state: bool = False


@dataclass(frozen=True)
class ResolvedTensor:
    """One tensor: its shape, its entry and how the mirror acts on it.

    representation: None where inference has to find it (`state`, `like` of such a one).
    layout: the layout as text, or the word free, invariant or state.  free_axes: (word, position) of the free axes.
    center: c of the affine mirror x -> 2 c - x, broadcastable to the tensor, or None where it is linear.
    spread: how far values are apart where there is a centre, in the same shape.
    """

    io: str
    index: int
    shape: Shape
    entry: TensorEntry
    representation: TensorRepresentation | None
    layout: str
    free_axes: tuple[tuple[str, int], ...] = ()
    center: npt.NDArray[np.float64] | None = field(default=None, compare=False)
    pose: Pose | None = None
    names: tuple[str, ...] = ()
    name_axis: int | None = None
    spread: npt.NDArray[np.float64] | None = field(default=None, compare=False)

    @property
    def kind(self) -> str:
        return self.entry.kind

    @property
    def is_free(self) -> bool:
        """The mirror leaves it as it is, whatever its axes mean."""
        return self.kind in _FREE

    @property
    def has_rows(self) -> bool:
        """Whether its first axis is the batch."""
        return ("b", 0) in self.free_axes

    @property
    def where(self) -> str:
        return f"{self.io} {self.index}" + (f" '{self.entry.name}'" if self.entry.name else "")

    def label(self, index: Sequence[int]) -> str:
        """The entry at `index` in the words of the skeleton: `right_elbow.x`, `gravity.z`, or `[0, 3]`."""
        if self.name_axis is not None:
            return self.names[index[self.name_axis]]
        parts: list[str] = []
        if self.pose is not None:
            sizes, found = self.pose.word_sizes(), list[tuple[str, int]]()
            for words, place in zip(self.pose.layout.axes, index, strict=True):
                split = np.unravel_index(int(place), [sizes[word] for word in words])
                found += [(word, int(at)) for word, at in zip(words, split, strict=True)]
            parts += [self.pose.body.joints[at] for word, at in found if word == "j"]
            parts += [self.pose.body.dims[at] for word, at in found if word == "d"]
        return ".".join(parts) or str([int(i) for i in index])

    def part(self, index: Sequence[int]) -> str:
        """The joint, or the quantity, that the entry at `index` belongs to: `right_elbow`, `gravity`."""
        label = self.label(index)
        whole, _, last = label.rpartition(".")
        return whole if whole and last in {*"xyz", *(self.pose.body.dims if self.pose is not None else ())} else label


@dataclass(frozen=True)
class ResolvedSpec:
    """A specification fitted to a model.

    joined: ((io, index), (io, index)) of tensors that must carry the same representation: states, and `like`.
    handed: what one call hands to the next.
    """

    spec: ConversionSpec
    input_tensors: tuple[ResolvedTensor, ...]
    output_tensors: tuple[ResolvedTensor, ...]
    joined: tuple[tuple[tuple[str, int], tuple[str, int]], ...] = ()
    handed: tuple[Handed, ...] = ()

    @property
    def has_rows(self) -> bool:
        """Whether samples lie along the first axis of every input; free ones beside them may be without."""
        found = [own.has_rows for own in self.input_tensors if own.has_rows or not own.is_free]
        return bool(found) and all(found)

    @property
    def inputs(self) -> tuple[TensorRepresentation | None, ...]:
        return tuple(tensor.representation for tensor in self.input_tensors)

    @property
    def outputs(self) -> tuple[TensorRepresentation | None, ...]:
        return tuple(tensor.representation for tensor in self.output_tensors)

    @property
    def input_centers(self) -> tuple[Center, ...]:
        return tuple(tensor.center for tensor in self.input_tensors)

    @property
    def output_centers(self) -> tuple[Center, ...]:
        return tuple(tensor.center for tensor in self.output_tensors)

    @property
    def spreads(self) -> tuple[Center, ...]:
        return tuple(tensor.spread for tensor in self.input_tensors)

    @property
    def is_affine(self) -> bool:
        """Whether some tensor is mirrored at a point other than 0."""
        return any(center is not None for center in (*self.input_centers, *self.output_centers))

    @property
    def is_trivial(self) -> bool:
        """Whether T leaves every input and every output as it is."""
        return all(own is None or own.is_trivial for own in (*self.inputs, *self.outputs))

    def tensor(self, io: str, index: int) -> ResolvedTensor:
        """The tensor of `input` or `output` and index."""
        return (self.input_tensors if io == "input" else self.output_tensors)[index]

    def label(self, io: str, index: int, place: Sequence[int]) -> str:
        """Words for one entry of a tensor, such as `right_elbow.x`."""
        return self.tensor(io, index).label(place)


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
    inputs = _tensors(spec, "input", spec.inputs, input_shapes, input_names)
    if spec.invariant and spec.outputs is None:
        scores = tuple(TensorEntry(invariant=True) for _ in output_shapes)
        outputs = _tensors(spec, "output", scores, output_shapes, output_names)
    else:
        outputs = _tensors(spec, "output", spec.outputs, output_shapes, output_names)
    sizes = {own.shape[0] for own in inputs if own.has_rows and not own.is_free}
    return _joined(spec, [_without_batch(own, sizes) for own in inputs], outputs)


def _without_batch(tensor: ResolvedTensor, sizes: Collection[int]) -> ResolvedTensor:
    """A free tensor has the batch in front only where it is as long: a table or a number has none."""
    is_table = tensor.is_free and sizes and tensor.shape and tensor.shape[0] not in sizes
    return replace(tensor, free_axes=()) if is_table else tensor


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
        raise WrongValueError(
            entries[0].where if entries else f"{io}s",
            f"{len(entries)} {io}s are described, the model has {len(shapes)}: {listed}",
            f"describe each {io} in order; {{free: true}} for one without a body, {{state: true}} for a hidden state",
        )
    found = []
    for index, (entry, shape) in enumerate(zip(entries, shapes, strict=True)):
        name = entry.name or (names[index] if names else None)
        where = f"{io} {index}" + (f" '{name}'" if name else "") + (f" ({entry.where})" if entry.where else "")
        found.append(_resolve_one(spec.skeleton, entry, io, index, tuple(int(n) for n in shape), where))
    return found


def _resolve_one(
    skeleton: Skeleton, entry: TensorEntry, io: str, index: int, shape: Shape, where: str
) -> ResolvedTensor:
    kind = entry.kind
    if kind in ("state", "like"):
        return ResolvedTensor(io, index, shape, entry, None, kind)
    if kind in _FREE:
        names = free_names(len(shape))
        axes = tuple((names[place], place) for place in range(len(shape)))
        return ResolvedTensor(io, index, shape, entry, TensorRepresentation.trivial(shape), kind, axes)
    if kind == "classes":
        return _classes(entry, io, index, shape, where)
    body = entry.body(skeleton)
    if kind == "fields":
        return _fields(entry, body, io, index, shape, where)
    fixed = entry.dims is not None
    if entry.layout is None:
        pose = infer_pose(shape, body, fixed, where)
    else:
        pose = fit(parse_layout(entry.layout, where), shape, body, fixed, where)
    _check_reflect(entry, pose, where)
    reflect = [(dim, float(center)) for dim, center in entry.reflect]
    center = centers(pose, reflect)
    return ResolvedTensor(
        io,
        index,
        shape,
        entry,
        represent(pose, where),
        str(pose.layout),
        _free_axes(pose.layout),
        center,
        pose,
        spread=None if center is None else spreads(pose, reflect, (entry.skeleton or skeleton).dims),
    )


def _free_axes(layout: Layout) -> tuple[tuple[str, int], ...]:
    return tuple(
        (axis[0], place) for place, axis in enumerate(layout.axes) if len(axis) == 1 and axis[0] not in ("j", "d", "f")
    )


def _check_reflect(entry: TensorEntry, pose: Pose, where: str) -> None:
    table = pose.body.sign_table()
    if entry.reflect and pose.layout.has_matrices:
        raise SpecError(where, f"layout '{pose.layout}' has matrices, which have no centre", "leave reflect out")
    for dim, _ in entry.reflect:
        if dim not in pose.body.dims:
            raise UnknownNameError(where, f"reflect: the tensor has no dim {dim!r}", did_you_mean(dim, pose.body.dims))
        if (table[:, pose.body.dims.index(dim)] > 0).any():
            raise SpecError(where, f"reflect gives a centre of {dim!r}, which is not negated", f"add {dim} to negate")


def _classes(entry: TensorEntry, io: str, index: int, shape: Shape, where: str) -> ResolvedTensor:
    classes = entry.classes
    assert classes is not None
    size = shape[-1] if shape else 0
    if classes.names and len(classes.names) != size:
        raise LayoutSizeError(
            where, f"{len(classes.names)} class names, but the last axis has size {size}", "list every class once"
        )
    highest = max((max(pair) for pair in classes.swap), default=-1)
    if highest >= size:
        raise LayoutSizeError(where, f"class {highest}, but the last axis has size {size}", "count classes from 0")
    action = Representation.of(SignedPermutation.of(classes.swap, size=size))
    axes = (*(Representation.trivial(n) for n in shape[:-1]), action)
    free = tuple((name, place) for place, name in enumerate(free_names(len(shape) - 1)))
    place = len(shape) - 1 if classes.names else None
    return ResolvedTensor(
        *(io, index, shape, entry, TensorRepresentation(axes), "... classes", free),
        names=classes.names,
        name_axis=place,
    )


# ---- fields ---------------------------------------------------------------------------------------------------
def _fields(entry: TensorEntry, body: Skeleton, io: str, index: int, shape: Shape, where: str) -> ResolvedTensor:
    layout = parse_layout(entry.layout or "... f", where).expanded(len(shape), where)
    place = layout.place("f")
    if place is None or not shape:
        raise LayoutSizeError(where, f"fields need an axis, shape {shape} and layout '{layout}'", "mark it with f")
    blocks = [(item, _field_action(item, body, where)) for item in entry.fields or ()]
    total = sum(action.size for _, action in blocks)
    if total != shape[place]:
        listed = " + ".join(f"{item.name} {action.size}" for item, action in blocks)
        raise LayoutSizeError(
            where,
            f"the fields make {total} entries ({listed}), but axis {place} has size {shape[place]}",
            "correct the list; {scalar: N, name: ...} stands for entries that the mirror leaves alone",
        )
    action = blocks[0][1].direct_sum(*(other for _, other in blocks[1:]))
    axes = []
    for at, words in enumerate(layout.axes):
        axes.append(Representation.of(action) if words == ("f",) else Representation.trivial(shape[at]))
    names = tuple(name for item, act in blocks for name in _field_names(item, body, act.size))
    return ResolvedTensor(
        *(io, index, shape, entry, TensorRepresentation(tuple(axes)), str(layout), _free_axes(layout)),
        names=names,
        name_axis=place,
    )


def _field_action(item: Field, body: Skeleton, where: str) -> SignedPermutation:
    if item.kind == "joints":
        return body.merged_action()
    if item.kind == "scalar":
        return SignedPermutation.identity(item.size)
    signs = item.signs
    if item.kind in ("vector", "axial"):
        if body.lateral is None:
            raise MissingKeyError(
                where, f"field {item.name!r} is a {item.kind}, but no `lateral` axis is given", "add `lateral: y`"
            )
        signs = vector_signs(item.kind, body.lateral)
    return SignedPermutation(np.arange(len(signs)), np.array(signs))


def _field_names(item: Field, body: Skeleton, size: int) -> list[str]:
    if item.kind == "joints":
        many = len(body.dims) > 1
        return [f"{item.name}.{joint}" + (f".{dim}" if many else "") for joint in body.joints for dim in body.dims]
    if item.kind in ("vector", "axial"):
        return [f"{item.name}.{axis}" for axis in "xyz"]
    return [item.name if size == 1 else f"{item.name}[{i}]" for i in range(size)]


# ---- states and likes -----------------------------------------------------------------------------------------
def _joined(spec: ConversionSpec, inputs: list[ResolvedTensor], outputs: list[ResolvedTensor]) -> ResolvedSpec:
    groups = {"input": inputs, "output": outputs}
    joined = []
    for group in (inputs, outputs):
        for place, tensor in enumerate(group):
            if tensor.kind == "like":
                target = _target(tensor, groups)
                joined.append(((target.io, target.index), (tensor.io, tensor.index)))
                group[place] = _copied(tensor, target)
    named = {first for first, _ in joined}
    states = [[t for t in group if t.kind == "state" and (t.io, t.index) not in named] for group in (inputs, outputs)]
    joined += [((a.io, a.index), (b.io, b.index)) for a, b in zip(*states, strict=False)]
    handed = _handed(inputs, outputs, joined)
    return ResolvedSpec(spec, tuple(inputs), tuple(outputs), tuple(joined), handed)


def _handed(
    inputs: Sequence[ResolvedTensor],
    outputs: Sequence[ResolvedTensor],
    joined: Sequence[tuple[tuple[str, int], tuple[str, int]]],
) -> tuple[Handed, ...]:
    """What calls hand on: outputs that feed an input, and states, which go in their order where nothing is said."""
    found = [_fed(tensor, inputs) for tensor in outputs if tensor.entry.feeds is not None]
    fed = {own.output for own in found} | {~own.input for own in found}
    for (_, first), (io, second) in sorted(pair for pair in joined if (pair[0][0], pair[1][0]) == ("input", "output")):
        is_state = inputs[first].kind == "state" and inputs[first].shape == outputs[second].shape
        if io == "output" and is_state and not {second, ~first} & fed:
            found.append(Handed(second, first, None, True))
            fed |= {second, ~first}
    return tuple(found)


def _fed(tensor: ResolvedTensor, inputs: Sequence[ResolvedTensor]) -> Handed:
    """An output that feeds an input. Raises SpecError where there is no such input, or it has other sizes."""
    text = " ".join((tensor.entry.feeds or "").split())
    where = tensor.entry.where or tensor.where
    named = {f"input {own.index}": own for own in inputs}
    named |= {own.entry.name: own for own in inputs if own.entry.name}
    target = named.get(text)
    if target is None:
        raise UnknownNameError(where, f"feeds: no input is called {text!r}", did_you_mean(text, list(named)))
    if tensor.shape == target.shape:
        return Handed(tensor.index, target.index, None, target.kind == "state")
    frames = [place for word, place in target.free_axes if word == "t" and ("t", place) in tensor.free_axes]
    if frames and len(tensor.shape) == len(target.shape):
        (axis,) = frames
        rest = [own.shape[:axis] + own.shape[axis + 1 :] for own in (tensor, target)]
        if rest[0] == rest[1] and tensor.shape[axis] < target.shape[axis]:
            return Handed(tensor.index, target.index, axis)
    raise LayoutSizeError(
        where,
        f"feeds {text!r}: shape {tensor.shape}, but that input has shape {target.shape}",
        "an output feeds an input of its own sizes, or of more frames (`t` in both layouts)",
    )


def _target(tensor: ResolvedTensor, groups: dict[str, list[ResolvedTensor]]) -> ResolvedTensor:
    text = (tensor.entry.like or "").strip()
    where = tensor.entry.where or tensor.where
    every = {f"{io} {other.index}": other for io, group in groups.items() for other in group}
    named = {other.entry.name: other for group in groups.values() for other in group if other.entry.name}
    target = every.get(" ".join(text.split())) or named.get(text)
    if target is None:
        options = [*every, *(name for name in named if name)]
        raise UnknownNameError(where, f"like: no tensor is called {text!r}", did_you_mean(text, options))
    if target.kind == "like":
        raise WrongValueError(where, f"like: {text!r} is itself like another tensor", "name that tensor")
    return target


def _copied(tensor: ResolvedTensor, target: ResolvedTensor) -> ResolvedTensor:
    if target.representation is None:
        return tensor
    if prod(tensor.shape) != prod(target.shape) or tensor.shape != target.shape:
        raise LayoutSizeError(
            tensor.entry.where or tensor.where,
            f"like {tensor.entry.like!r}: shape {tensor.shape}, but that tensor has shape {target.shape}",
            "give the layout instead of `like`",
        )
    return ResolvedTensor(
        *(tensor.io, tensor.index, tensor.shape, tensor.entry, target.representation, target.layout),
        *(target.free_axes, target.center, target.pose, target.names, target.name_axis, target.spread),
    )
