"""Tensors of a network as tensors of its symmetric counterpart.

A hidden space of H units is replaced by one of n: what the new units stand for is a matrix K "new unit" and a
representation T of theirs,

    a'(x) = K a(x) + T K a(T x)

so that T a'(x) = a'(T x) for every network. Kept units and their mirror images: K picks units for the first half of
the new space, T swaps the halves. Units matched into pairs: K = 1, T the matching, and half of the sum, once for a
tensor however many of its spaces are matched. Tensors that no hidden space touches are left as they are.

Of three units, unit 2 kept in a pair and unit 0 as its own, with a(x) = (1, 2, 3) and a(T x) = (10, 20, 30):

    K = [[0, 0, 1], [0, 0, 0], [½, 0, 0]]    T swaps 0 and 1    a'(x) = (3, 30, 5.5)    a'(T x) = (30, 3, 5.5)

`choosing` makes the maps. `Lifting` then takes any tensor to the new spaces: a value in both views to what the smaller
network should have there (`fitting`), a weight to the start of its fit, a representation to the new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce

import torch
from torch import Tensor

from chiralize.infer.symbolic import (
    Abs,
    Axis,
    Sum,
    SymbolicRepresentation,
    Term,
    Var,
    axis_size,
    evaluate,
    unknowns_in,
    variables,
)
from chiralize.symmetry.action import act, project
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import TensorRepresentation

Key = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class HiddenMap:
    """What becomes of one hidden space.

    key: the unknowns that make it up, slowest first.  actions: their new values.  keep: K, "new unit" (float64; float16
    where that holds its few numbers exactly).  back: "unit new", how the old units are read off the new ones.
    averaged: both views are, and no unit is doubled.
    """

    key: Key
    actions: Mapping[int, SignedPermutation]
    keep: Tensor
    back: Tensor
    averaged: bool = False

    @cached_property
    def picking(self) -> _Matrix:
        """K as it is applied."""
        return _Matrix(self.keep)

    @cached_property
    def reading(self) -> _Matrix:
        """The transpose of `back` as it is applied."""
        return _Matrix(self.back.T)


class _Matrix:
    """A matrix "new unit". Where every new unit is of one old one alone, these are picked, which is quick.

    Rows of zeros, as those of mirror images are, are no such picks: then it is a product.
    """

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix
        reads = matrix.ne(0)
        self.unit = reads.long().argmax(1) if bool(reads.sum(1).eq(1).all()) else None

    def applied(self, tensor: Tensor, axis: int) -> Tensor:
        """The tensor with new units along an axis."""
        if self.unit is None:
            return (tensor.movedim(axis, -1) @ self.matrix.to(tensor.dtype).T).movedim(-1, axis)
        factors = self.matrix.gather(1, self.unit[:, None]).to(tensor.dtype)
        return tensor.index_select(axis, self.unit) * factors.reshape(-1, *[1] * (tensor.ndim - axis - 1))


def pairs_and_fixed(key: int, size: int, pairs: Sequence[int], fixed: Sequence[int]) -> HiddenMap:
    """Units `pairs`, each with its mirror image, then units `fixed`, each averaged with it: [pairs, images, fixed]."""
    count = len(pairs)
    action = halves(2 * count).direct_sum(SignedPermutation.identity(len(fixed)))
    keep = torch.zeros(action.size, size, dtype=torch.float16)
    keep[range(count), list(pairs)] = 1.0  # rows of images stay 0: T K a(T x) fills them
    keep[range(2 * count, action.size), list(fixed)] = 0.5  # T leaves them, so the sum of both views is the mean
    return HiddenMap((key,), {key: action}, keep, keep.ne(0).to(keep.dtype).T)


def matched(key: int, action: SignedPermutation) -> HiddenMap:
    """All units as they are, averaged with the units that they are matched with."""
    identity = torch.eye(action.size, dtype=torch.float16)
    return HiddenMap((key,), {key: action}, identity, identity, averaged=True)


def halves(size: int) -> SignedPermutation:
    """The first half of the entries exchanged with the second: of 4, (0 2) (1 3)."""
    half = size // 2
    return SignedPermutation.of([(unit, half + unit) for unit in range(half)], size=size)


class Lifting:
    """Replaces hidden spaces in tensors whose representations are known up to those spaces."""

    def __init__(self, spaces: Iterable[HiddenMap]) -> None:
        self.by_key = {space.key: space for space in spaces}
        self.actions = {key: action for space in self.by_key.values() for key, action in space.actions.items()}

    # ---- how T acts ------------------------------------------------------------------------------------------------
    def representation(self, rep: SymbolicRepresentation) -> TensorRepresentation:
        """How the mirror acts on the new tensor; what no space says anything of is left alone."""
        unmapped = {var.id: SignedPermutation.identity(var.size) for var in variables(rep.axes)}
        return evaluate(rep, {**unmapped, **self.actions})

    def action(self, axis: Axis) -> SignedPermutation:
        """T on one axis of a new tensor."""
        return self.representation(SymbolicRepresentation((axis,))).axes[0].action

    def symmetric(self, value: Tensor, rep: SymbolicRepresentation) -> Tensor:
        """The nearest new tensor that the mirror leaves alone."""
        return project(value.contiguous(), self.representation(rep))

    def holds(self, rep: SymbolicRepresentation) -> bool:
        """Whether a hidden space occurs."""
        return any(var.id in self.actions for var in variables(rep.axes))

    # ---- values and weights ----------------------------------------------------------------------------------------
    def value(self, plain: Tensor, turned: Tensor, rep: SymbolicRepresentation) -> Tensor:
        """a'(x) from a(x) and a(T x); a(x) itself where no hidden space occurs."""
        if not self.holds(rep):
            return plain
        both = self.mapped(plain, rep) + act(self.mapped(turned, rep), self.representation(rep))
        # In a doubled space each new unit is of one view, so the sum is its value; elsewhere both views are in every
        # entry, and half of the sum is their mean.
        return both * (0.5 + 0.5 * self._doubled(rep.axes)).to(both.dtype)

    def coupled(self, plain: Tensor, turned: Tensor, rep: SymbolicRepresentation) -> tuple[Tensor, Tensor]:
        """What both views go on with: their average where the mirror is known, each its own in hidden spaces.

        Returns (a, T a) with a = (plain + T turned) / 2. Integers and booleans, which have no mean, stay as they are.
        """
        if self.holds(rep) or not plain.is_floating_point():
            return plain, turned
        new = self.representation(rep)
        average = (plain + act(turned, new)) / 2
        return average, act(average, new)

    def weight(self, tensor: Tensor, rep: SymbolicRepresentation, readers: frozenset[int] = frozenset()) -> Tensor:
        """A weight for the new spaces that does to kept units what the old one did, as far as it can.

        readers: axes that take values in (the others give them).  Weights of known axes are projected.
        """
        new = self.representation(rep)
        given = [() if position in readers else axis for position, axis in enumerate(rep.axes)]
        # K W back fills the block from view 1 to view 1 alone. The projection halves it and puts the other half where
        # view 2 goes to view 2. So what is doubled along an axis that is given is taken twice; behind known axes
        # [W, 0] becomes [W, T W] / 2, the mean of both views, as it should.
        views = 1 + self._doubled(given).to(tensor.dtype)
        return project((views * self.mapped(tensor, rep, readers)).contiguous(), new)

    def mapped(self, tensor: Tensor, rep: SymbolicRepresentation, readers: frozenset[int] = frozenset()) -> Tensor:
        """K along every axis (along `readers`, the other way round)."""
        for position, axis in enumerate(rep.axes):
            tensor = self._along(tensor, position, axis, position in readers)
        return tensor

    def _doubled(self, axes: Sequence[Axis]) -> Tensor:
        """1 for entries of the new tensor that are of one view, in spaces that are doubled; else 0. Broadcastable."""
        factors = [self._doubled_along(axis) for axis in axes]
        # An entry is of one view as soon as one of its axes is doubled: 1 - (1 - d_0) (1 - d_1) ...
        shaped = (factor.reshape(-1, *[1] * (len(factors) - position - 1)) for position, factor in enumerate(factors))
        return 1 - reduce(torch.mul, (1 - factor for factor in shaped), torch.ones(()))

    def _doubled_along(self, axis: Axis) -> Tensor:
        """The same along one axis: a single number for the whole of it, or one for each entry of joined axes."""
        if len(axis) == 1 and isinstance(axis[0], Sum):
            parts = [self._doubled_along(part).expand(self.action(part).size) for part in axis[0].parts]
            return torch.cat(parts)
        keys = unknowns_in([axis])
        doubled = (space for space in self.by_key.values() if not space.averaged)
        return torch.tensor([float(any(keys & set(space.key) for space in doubled))])

    def _along(self, tensor: Tensor, position: int, axis: Axis, reads: bool) -> Tensor:
        """K (or, where it `reads`, the transpose of `back`) along the one axis at a position."""
        if not self.holds(SymbolicRepresentation((axis,))):
            return tensor
        # concatenated axes, part by part: [h1 | skip] of two spaces, or the gates of a cell
        if len(axis) == 1 and isinstance(axis[0], Sum):
            parts = zip(tensor.split(list(map(axis_size, axis[0].parts)), position), axis[0].parts, strict=True)
            return torch.cat([self._along(part, position, part_axis, reads) for part, part_axis in parts], position)
        # A merged axis such as joints x units: an axis for every term, those of a space replaced, and merged again.
        # at: terms read so far.  count: axes that they are now; the terms of one space become a single axis.
        tensor = tensor.unflatten(position, [term.size for term in axis])
        at, count = 0, 0
        while at < len(axis):
            width = self._width(axis[at:])
            if width:
                space, axes = self.by_key[tuple(map(_number, axis[at : at + width]))], position + count
                tensor = tensor.flatten(axes, axes + width - 1)
                tensor = (space.reading if reads else space.picking).applied(tensor, axes)
            at, count = at + max(width, 1), count + 1
        return tensor.flatten(position, position + count - 1)

    def _width(self, axis: Axis) -> int:
        """How many leading terms make up one hidden space; 0 where they begin none."""
        # the longest key first, so that heads x dimensions are taken as the one space that they are
        for width in range(len(axis), 0, -1):
            if tuple(map(_number, axis[:width])) in self.by_key:
                return width
        return 0


def _number(term: Term) -> int:
    """The id of the unknown that a term is; -1 of others, which no space has."""
    if isinstance(term, Var):
        return term.id
    return term.var.id if isinstance(term, Abs) else -1
