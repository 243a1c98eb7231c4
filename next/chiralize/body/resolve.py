"""What is T on every input and output?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from chiralize.body.layout import CLASSES, parse_layout
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

    kind: `pose`, `fields`, `classes`, `free`, `invariant`, `unclaimed`, `like` or `state`.
    representation: R; None where inference has to find it (`state`, `like` of such a one) and where nothing is claimed.
    center: c, broadcastable to the tensor, None for 0.  spread: how far values lie apart where c is not 0.
    layout: the layout as text.  free_axes: (word, position) of the axes that the mirror leaves alone.
    parts: (name, positions) of the blocks along their axis.  unclaimed: positions along the last axis of which nothing
    is claimed.  names, name_axis: the name of every entry along one axis, of fields and classes.
    """

    io: str
    index: int
    shape: Shape
    entry: Any
    kind: str
    representation: TensorRepresentation | None = None
    center: Array | None = field(default=None, compare=False)
    spread: Array | None = field(default=None, compare=False)
    layout: str = ""
    free_axes: tuple[tuple[str, int], ...] = ()
    parts: tuple[tuple[str, slice], ...] = field(default=(), compare=False)
    unclaimed: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    name_axis: int | None = None

    @property
    def has_rows(self) -> bool:
        """Whether its first axis is the batch."""
        return ("b", 0) in self.free_axes

    @property
    def is_free(self) -> bool:
        """The mirror leaves it as it is, whatever its axes mean."""
        return self.kind in ("free", "invariant")

    @property
    def where(self) -> str:
        """The tensor as messages name it: `input 0 'poses'`."""
        return f"{self.io} {self.index}" + when(self.entry.name, f" '{self.entry.name}'")

    @property
    def class_axis(self) -> int | None:
        """The axis of its scores of classes; None for a tensor of another kind."""
        return parse_layout(self.layout).axis_of(CLASSES) if self.kind == "classes" else None

    def label(self, index: Sequence[int]) -> str:
        """The entry at `index` in the words of the skeleton: `right_elbow.x`, `gravity.z`, or `[0, 3]`."""
        raise NotImplementedError

    def part(self, index: Sequence[int]) -> str:
        """The joint, or the quantity, that the entry at `index` belongs to: `right_elbow`, `gravity`."""
        raise NotImplementedError


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
        raise NotImplementedError

    @property
    def is_single(self) -> bool:
        """Whether a call is one sample: the first axis of every described input is an axis of the body."""
        raise NotImplementedError

    @property
    def is_affine(self) -> bool:
        """Whether some tensor is mirrored at a point other than 0."""
        raise NotImplementedError

    @property
    def is_trivial(self) -> bool:
        """Whether T leaves every input and every output as it is."""
        raise NotImplementedError

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


def resolve(spec: Spec, inputs: Sequence[Sequence[int]], outputs: Sequence[Sequence[int]]) -> Resolved:
    """Fit every entry to its tensor; infer the layouts that the specification leaves out."""
    raise NotImplementedError
