"""What a specification says of a model's tensors once it is fitted to them: records, frozen.

`resolution.resolve` makes a `ResolvedSpec`; from here on T on inputs and outputs is known, and files are not. T on a
tensor is affine: T x = c + R (x - c), with its `representation` R and its `center` c, None for 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from chiralize.body.tensors.axes import Pose
from chiralize.body.tensors.conversion import ConversionSpec
from chiralize.body.tensors.entries import TensorEntry
from chiralize.body.tensors.layout import CLASSES, parse_layout
from chiralize.errors.words import when
from chiralize.symmetry.representation import TensorRepresentation

_FREE = ("free", "invariant")
Shape = tuple[int, ...]
Center = npt.NDArray[np.float64] | None
TensorKey = tuple[str, int]
"""`input` or `output`, and the position among those tensors."""
Joined = tuple[TensorKey, TensorKey]
"""Two tensors that carry one representation."""


@dataclass(frozen=True)
class Handed:
    """A result of one call that is an argument of the next. output, input: positions among the tensors.

    axis: of the frames, where the input keeps its last ones and the result comes behind them, a single frame without
    that axis, too; None where it takes the input's place.  is_state: it starts at zero; else the first calls of a
    sequence read what is observed.
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
    pose: of joints and coordinates.  names, name_axis: of fields and classes, the name of every entry along that axis.
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
        """The kind of its entry: `pose`, `fields`, `classes`, `free`, `invariant`, `like` or `state`."""
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
    def starts_with_body(self) -> bool:
        """Whether its first axis holds joints, coordinates or fields: neither samples nor frames lie along it."""
        return bool(self.shape) and all(axis for _, axis in self.free_axes)

    @property
    def class_axis(self) -> int | None:
        """The axis of its scores of classes; None for a tensor of another kind."""
        if self.entry.classes is None:
            return None
        return parse_layout(self.layout).axis_of(CLASSES)

    @property
    def is_map(self) -> bool:
        """Whether it holds a map, or bins, for every joint and nothing else, by its layout: `b j h w`, `b j x`."""
        # A batch, joints, and at least one axis behind them that is no coordinate.
        axes = parse_layout(self.layout).axes
        if len(axes) <= 2 or axes[1] != ("j",):
            return False
        return all(len(words) == 1 and words[0] not in ("d", "j") for words in axes[2:])

    @property
    def where(self) -> str:
        """The tensor as messages name it: `input 0 'poses'`."""
        return f"{self.io} {self.index}" + when(self.entry.name, f" '{self.entry.name}'")

    def label(self, index: Sequence[int]) -> str:
        """The entry at `index` in the words of the skeleton: `right_elbow.x`, `gravity.z`, or `[0, 3]`."""
        if self.name_axis is not None:
            return self.names[index[self.name_axis]]
        # Free axes, samples and frames, are left out: all of their entries have the same name.
        parts: list[str] = []
        if self.pose is not None:
            positions = self.pose.positions(index)
            parts += [self.pose.body.joints[position] for word, position in positions if word == "j"]
            parts += [self.pose.body.dims[position] for word, position in positions if word == "d"]
        return ".".join(parts) or str(list(map(int, index)))

    def part(self, index: Sequence[int]) -> str:
        """The joint, or the quantity, that the entry at `index` belongs to: `right_elbow`, `gravity`."""
        label = self.label(index)
        # The last word is a coordinate, and not a part of a name such as `knee.left`.
        joint, _, dim = label.rpartition(".")
        dims = self.pose.body.dims if self.pose is not None else ()
        if joint and dim in {*"xyz", *dims}:
            return joint
        return label


@dataclass(frozen=True)
class ResolvedSpec:
    """A specification fitted to a model.

    joined: ((io, index), (io, index)) of tensors that must carry the same representation: states, and `like`.
    handed: what one call hands to the next.
    """

    spec: ConversionSpec
    input_tensors: tuple[ResolvedTensor, ...]
    output_tensors: tuple[ResolvedTensor, ...]
    joined: tuple[Joined, ...] = ()
    handed: tuple[Handed, ...] = ()

    @property
    def has_rows(self) -> bool:
        """Whether samples lie along the first axis of every input; free ones beside them may be without."""
        return all_have_rows(self.input_tensors)

    @property
    def is_single(self) -> bool:
        """Whether a call is one sample: the first axis of every described input is an axis of the body.

        A robot's policy that takes `(36,)` and returns `(12,)` is one.
        """
        described = [tensor for tensor in self.input_tensors if not tensor.is_free and tensor.kind != "state"]
        return bool(described) and all(tensor.starts_with_body for tensor in described)

    @property
    def inputs(self) -> tuple[TensorRepresentation | None, ...]:
        """T on every input; None where inference has to find it."""
        return tuple(tensor.representation for tensor in self.input_tensors)

    @property
    def outputs(self) -> tuple[TensorRepresentation | None, ...]:
        """T on every output; None where inference has to find it."""
        return tuple(tensor.representation for tensor in self.output_tensors)

    @property
    def input_centers(self) -> tuple[Center, ...]:
        """The point at which every input is mirrored; None where that is 0."""
        return tuple(tensor.center for tensor in self.input_tensors)

    @property
    def output_centers(self) -> tuple[Center, ...]:
        """The point at which every output is mirrored; None where that is 0."""
        return tuple(tensor.center for tensor in self.output_tensors)

    @property
    def spreads(self) -> tuple[Center, ...]:
        """How far values of every input lie apart; None where it is mirrored at 0."""
        return tuple(tensor.spread for tensor in self.input_tensors)

    @property
    def is_affine(self) -> bool:
        """Whether some tensor is mirrored at a point other than 0."""
        return any(center is not None for center in (*self.input_centers, *self.output_centers))

    @property
    def is_trivial(self) -> bool:
        """Whether T leaves every input and every output as it is."""
        return all(action is None or action.is_trivial for action in (*self.inputs, *self.outputs))

    def tensor(self, io: str, index: int) -> ResolvedTensor:
        """The tensor of `input` or `output` and index."""
        return (self.input_tensors if io == "input" else self.output_tensors)[index]

    def label(self, io: str, index: int, entry: Sequence[int]) -> str:
        """Words for one entry of a tensor, such as `right_elbow.x`."""
        return self.tensor(io, index).label(entry)


def all_have_rows(tensors: Sequence[ResolvedTensor]) -> bool:
    """Whether samples lie along the first axis of every one of these; free ones beside them may be without."""
    return any(tensor.has_rows for tensor in tensors) and all(tensor.has_rows or tensor.is_free for tensor in tensors)
