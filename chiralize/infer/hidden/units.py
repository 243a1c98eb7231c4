"""Where the units of a hidden space sit in a tensor, and their answers as rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

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
        return self.start + self.before.size * self.units * self.after.size

    def rows(self, value: Tensor, place: int) -> Tensor:
        """The block's units along an axis of a value, "sample unit"."""
        moved = value.movedim(place, 0)[self.start : self.stop]
        grid = moved.reshape(self.before.size, self.units, self.after.size, -1)
        return grid.movedim(1, -1).reshape(-1, self.units)

    def turned(self, value: Tensor, rep: SymbolicRepresentation, place: int) -> Tensor | None:
        """T on everything but the units, as `rows`; None where the other axes are not known."""
        if not all(is_known(axis) for other, axis in enumerate(rep.axes) if other != place):
            return None
        axes = [
            Representation.trivial(axis_size(axis)) if other == place else Representation.of(action_of(axis, {}))
            for other, axis in enumerate(rep.axes)
        ]
        value = reynolds.act(value, TensorRepresentation(tuple(axes), rep.parity))
        moved = value.movedim(place, 0)[self.start : self.stop]
        grid = moved.reshape(self.before.size, self.units, self.after.size, -1)
        sides = (Representation.of(self.before), Representation.trivial(self.units), Representation.of(self.after))
        grid = reynolds.act(grid, TensorRepresentation((*sides, Representation.trivial(grid.shape[-1]))))
        return grid.movedim(1, -1).reshape(-1, self.units)


def blocks(axis: Axis, key: int, known: Assignment, start: int = 0) -> list[Block] | None:
    """Every stretch of an axis that carries the space; None where something else there is not known yet."""
    if len(axis) == 1 and isinstance(axis[0], Sum):
        found: list[Block] = []
        for part in axis[0].parts:
            inner = blocks(part, key, known, start)
            if inner is None:
                return None
            found += inner
            start += axis_size(part)
        return found
    places = [place for place, term in enumerate(axis) if isinstance(term, (Var, Abs)) and _key(term) == key]
    if not places:
        return []
    if len(places) > 1:
        return None
    place = places[0]
    sides = [_known_product(axis[:place], known), _known_product(axis[place + 1 :], known)]
    before, after = sides
    if before is None or after is None:
        return None
    return [Block(start, before, axis[place].size, after, isinstance(axis[place], Abs))]


def _key(term: Var | Abs) -> int:
    return term.id if isinstance(term, Var) else term.var.id


def _known_product(terms: Sequence[Term], known: Assignment) -> SignedPermutation | None:
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
