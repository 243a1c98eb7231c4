"""What is T on the tensors of a network, and what is every entry called? The records that `resolve` makes.

T on a tensor is affine, T x = c + R (x - c), with its `representation` R and its `center` c, None for 0. From here on
files and layouts are not looked at any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from chiralize.body.fitting import Pose
from chiralize.body.layout import CLASSES, parse_layout
from chiralize.body.schema import Tensor
from chiralize.body.spec import Spec
from chiralize.errors.words import when
from chiralize.symmetry.representation import TensorRepresentation

Shape = tuple[int, ...]
Array = npt.NDArray[np.float64]
TensorKey = tuple[str, int]
"""`input` or `output`, and the position among those tensors."""
Joined = tuple[TensorKey, TensorKey]
"""Two tensors that carry one representation."""


@dataclass(frozen=True)
class Handed:
    """A result of one call that is an argument of the next. output, input: positions among the tensors.

    axis: of the frames, where the input has its last ones and the result comes behind them, a single frame without
    that axis, too; None where it takes the input's position.  is_state: it starts at zero; else the first calls of a
    sequence read what is observed.
    """

    output: int
    input: int
    axis: int | None = None
    is_state: bool = False


@dataclass(frozen=True)
class OnTensor:
    """One tensor: its shape, its entry and how the mirror acts on it, T x = c + R (x - c).

    representation: R; None where inference has to find it (`state`, `like` of such a one) and where nothing is claimed.
    center: c, broadcastable to the tensor, None for 0.  spread: how far values lie apart where c is not 0.
    layout: the layout as text.  free_axes: (word, position) of the axes that the mirror leaves alone.
    pose: of joints and coordinates.  parts: (name, positions) of the blocks along their axis.  unclaimed: positions
    along the last axis of which nothing is claimed.  names, name_axis: the name of every entry along one axis.
    """

    io: str
    index: int
    shape: Shape
    entry: Tensor
    representation: TensorRepresentation | None = None
    center: Array | None = field(default=None, compare=False)
    spread: Array | None = field(default=None, compare=False)
    layout: str = ""
    free_axes: tuple[tuple[str, int], ...] = ()
    pose: Pose | None = None
    parts: tuple[tuple[str, slice], ...] = field(default=(), compare=False)
    unclaimed: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    name_axis: int | None = None

    @property
    def kind(self) -> str:
        """`pose`, `fields`, `classes`, `free`, `invariant`, `unclaimed`, `like` or `state`."""
        return self.entry.kind

    @property
    def number(self) -> TensorKey:
        """`input` or `output`, and the position among those."""
        return self.io, self.index

    @property
    def has_rows(self) -> bool:
        """Whether its first axis is the batch."""
        return ("b", 0) in self.free_axes

    @property
    def is_free(self) -> bool:
        """The mirror leaves it as it is, whatever its axes mean."""
        return self.kind in ("free", "invariant")

    @property
    def starts_with_body(self) -> bool:
        """Whether its first axis holds joints, coordinates or fields: neither samples nor frames lie along it."""
        return bool(self.shape) and all(axis for _, axis in self.free_axes)

    @property
    def where(self) -> str:
        """The tensor as messages name it: `input 0 'poses'`."""
        return f"{self.io} {self.index}" + when(self.entry.name, f" '{self.entry.name}'")

    @property
    def spot(self) -> str:
        """The tensor with its file and line, where it has them."""
        return self.where + when(self.entry.where, f" ({self.entry.where})")

    @property
    def class_axis(self) -> int | None:
        """The axis of its scores of classes; None for a tensor of another kind."""
        return parse_layout(self.layout).axis_of(CLASSES) if self.kind == "classes" else None

    def label(self, index: Sequence[int]) -> str:
        """The entry at `index` in the words of the skeleton: `right_elbow.x`, `gravity.z`, or `[0, 3]`."""
        if self.name_axis is not None:
            return self.names[index[self.name_axis]]
        # Free axes, samples and frames, are left out: all of their entries have the same name.
        words: list[str] = []
        if self.pose is not None:
            positions = self.pose.positions(index)
            words += [self.pose.body.joints[position] for word, position in positions if word == "j"]
            words += [self.pose.body.dims[position] for word, position in positions if word == "d"]
        return ".".join(words) or str(list(map(int, index)))

    def part(self, index: Sequence[int]) -> str:
        """The joint, or the quantity, that the entry at `index` belongs to: `right_elbow`, `gravity`."""
        label = self.label(index)
        # The last word is a coordinate, and not a part of a name such as `knee.left`.
        joint, _, dim = label.rpartition(".")
        dims = self.pose.body.dims if self.pose is not None else ()
        return joint if joint and dim in {*"xyz", *dims} else label


@dataclass(frozen=True)
class Resolved:
    """A specification fitted to a model.

    joined: ((io, index), (io, index)) of tensors that must carry the same representation: states, and `like`.
    handed: what one call hands to the next.
    """

    spec: Spec
    inputs: tuple[OnTensor, ...]
    outputs: tuple[OnTensor, ...]
    joined: tuple[Joined, ...] = ()
    handed: tuple[Handed, ...] = ()

    @property
    def has_rows(self) -> bool:
        """Whether samples lie along the first axis of every input; free ones beside them may be without."""
        rows = [tensor.has_rows for tensor in self.inputs]
        return any(rows) and all(tensor.has_rows or tensor.is_free for tensor in self.inputs)

    @property
    def is_single(self) -> bool:
        """Whether a call is one sample: the first axis of every described input is an axis of the body.

        A robot's policy that takes `(36,)` and returns `(12,)` is one.
        """
        described = [tensor for tensor in self.inputs if not tensor.is_free and tensor.kind != "state"]
        return bool(described) and all(tensor.starts_with_body for tensor in described)

    @property
    def is_affine(self) -> bool:
        """Whether some tensor is mirrored at a point other than 0."""
        return any(tensor.center is not None for tensor in (*self.inputs, *self.outputs))

    @property
    def is_trivial(self) -> bool:
        """Whether T leaves every input and every output as it is."""
        actions = (tensor.representation for tensor in (*self.inputs, *self.outputs))
        return all(action is None or action.is_trivial for action in actions)

    def tensors(self, io: str) -> tuple[OnTensor, ...]:
        """The inputs or the outputs."""
        return self.inputs if io == "input" else self.outputs

    def representations(self, io: str) -> tuple[TensorRepresentation | None, ...]:
        """T on every `input` or `output`; None where inference has to find it."""
        return tuple(tensor.representation for tensor in self.tensors(io))

    def centers(self, io: str) -> tuple[Array | None, ...]:
        """The point at which every tensor is mirrored; None where that is 0."""
        return tuple(tensor.center for tensor in self.tensors(io))

    @property
    def spreads(self) -> tuple[Array | None, ...]:
        """How far values of every input lie apart; None where it is mirrored at 0."""
        return tuple(tensor.spread for tensor in self.inputs)

    def label(self, io: str, index: int, entry: Sequence[int]) -> str:
        """Words for one entry of a tensor, such as `right_elbow.x`."""
        return self.tensors(io)[index].label(entry)
