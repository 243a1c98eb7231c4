"""Where the units of a hidden space sit in a tensor, and their answers as rows.

Units need not fill an axis by themselves. Of an LSTM weight the axis is |H| + |H| + H + |H|: four stretches of the same
units. Of a layer on flattened joints it is joints x H. A `Block` is one such stretch, before x units x after; `grid`
brings it into that shape, and `rows` makes one row of it for every sample, with a column for every unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from torch import Tensor

from chiralize.infer.solver.terms import var_of
from chiralize.symmetry import reynolds
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation
from chiralize.symmetry.symbolic import (
    Abs,
    Assignment,
    Axis,
    Known,
    Sum,
    SymbolicRepresentation,
    Term,
    Var,
    action_of,
    axis_size,
    is_known,
)


@dataclass(frozen=True)
class Block:
    """A stretch of an axis that is (before x units x after); absolute where signs are dropped there."""

    start: int
    before: SignedPermutation
    units: int
    after: SignedPermutation
    absolute: bool

    @property
    def stop(self) -> int:
        """Where the stretch ends."""
        return self.start + self.before.size * self.units * self.after.size

    def grid(self, value: Tensor, dim: int) -> Tensor:
        """The stretch of an axis of a value, "before unit after rest"."""
        moved = value.movedim(dim, 0)[self.start : self.stop]
        return moved.reshape(self.before.size, self.units, self.after.size, -1)

    def rows(self, value: Tensor, dim: int) -> Tensor:
        """The block's units along an axis of a value, "sample unit"."""
        return self.grid(value, dim).movedim(1, -1).reshape(-1, self.units)

    def turned(self, value: Tensor, rep: SymbolicRepresentation, dim: int) -> Tensor | None:
        """T on everything but the units, as `rows`; None where the other axes are not known."""
        # First T on the other axes of the value, then on what stands beside the units on their own axis.
        beside = _beside(rep, dim)
        if beside is None:
            return None
        grid = self.grid(reynolds.act(value, beside), dim)
        if not (self.before.is_identity and self.after.is_identity):
            sides = (Representation.of(self.before), Representation.trivial(self.units), Representation.of(self.after))
            grid = reynolds.act(grid, TensorRepresentation((*sides, Representation.trivial(grid.shape[-1]))))
        return grid.movedim(1, -1).reshape(-1, self.units)


@lru_cache(256)
def _beside(rep: SymbolicRepresentation, dim: int) -> TensorRepresentation | None:
    """T on all axes but one; None where another one is not known. Cached, since every batch needs the same few."""
    if not all(is_known(axis) for position, axis in enumerate(rep.axes) if position != dim):
        return None
    axes = [Representation.trivial(axis_size(axis)) for axis in rep.axes]
    for position, axis in enumerate(rep.axes):
        if position != dim:
            axes[position] = Representation.of(action_of(axis, {}))
    return TensorRepresentation(tuple(axes), rep.parity)


def blocks(axis: Axis, key: int, known: Assignment, start: int = 0) -> list[Block] | None:
    """Every stretch of an axis that carries the space; None where something else there is not known yet.

    key: of the space.  known: what other spaces have been given.  start: where the axis begins in a longer one.
    None as well where the space is a factor twice, H x H: no row would belong to one unit.
    """
    if len(axis) == 1 and isinstance(axis[0], Sum):
        stretches: list[Block] = []
        for part in axis[0].parts:
            inner = blocks(part, key, known, start)
            if inner is None:
                return None
            stretches += inner
            start += axis_size(part)
        return stretches
    # Of a product, the one factor that is the space; the others have to be known.
    carriers = {position: term for position, term in enumerate(axis) if isinstance(term, (Var, Abs))}
    positions = [position for position, term in carriers.items() if var_of(term).id == key]
    if not positions:
        return []
    if len(positions) > 1:
        return None
    position = positions[0]
    before, after = _known_product(axis[:position], known), _known_product(axis[position + 1 :], known)
    if before is None or after is None:
        return None
    return [Block(start, before, axis[position].size, after, isinstance(axis[position], Abs))]


def _known_product(terms: Sequence[Term], known: Assignment) -> SignedPermutation | None:
    """The action of factors beside a space, None where one is not known."""
    result = SignedPermutation.identity(1)
    for term in terms:
        match term:
            case Known(action):
                result = result.kronecker(action)
            case Var(id=key) if key in known:
                result = result.kronecker(known[key])
            case Abs(var) if var.id in known:
                result = result.kronecker(abs(known[var.id]))
            case _:
                return None
    return result
