"""Which representations leave the constants of a graph alone, and which does a constant decide?

A graph layer `A @ x` has a constant A of joints x joints. The rule of the product ties its second axis to the joints of
x, and nothing ties the first one to anything. The numbers of A do: if it is symmetric about the mirror, the first axis
has to be the joints as well. `run.Run` asks for one such choice whenever all rules have come to rest. In the end every
constant is checked against the representation that it got, in all of its entries: constants are never changed unasked.

Some constants are a hindrance instead: a table of positions that is added to the channels leaves these nothing but to
be even. They are noted (`tables`), for methods that can treat them as weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, product
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from chiralize.graph.model import CapturedModel, Leaf
from chiralize.infer.exchange import Exchange
from chiralize.infer.solver.unify import Solver
from chiralize.infer.symbolic import (
    Axis,
    SymbolicRepresentation,
    action_of,
    axis_size,
    evaluate,
    is_known,
    signed,
    trivial,
    unknowns_in,
    variables,
)
from chiralize.symmetry.action import rounding_scale
from chiralize.symmetry.representation import TensorRepresentation

Representations = Mapping[str, SymbolicRepresentation]
"""Of all leaves, by name."""
Values = Sequence[tuple[Axis, Axis]]
"""Unknowns, each with its value."""
_MOST_TRIALS = 200
"""Combinations of values that are tried for the unknown axes of one constant: three axes with six candidates each."""
_ROUNDINGS = 4
"""Roundings by which an entry and its image may differ: both were computed, in two or three operations each."""


def deviation(tensor: Tensor, rep: TensorRepresentation, partner: Tensor | None = None) -> float:
    """Largest |c - T c| of a constant; values that differ by rounding only count as equal.

    partner: the constant that the mirror takes it to, where that is another one. Infinities, as masks hold them, and
    nan equal themselves alone; beside anything else they are infinitely far.
    """
    array = _wide(tensor)
    image = rep.act(array if partner is None else _wide(partner))
    apart = ~((array == image) | (np.isnan(array) & np.isnan(image)))
    # A constant that is symmetric to the bit needs no scale.
    if not apart.any():
        return 0.0
    left, right = array[apart], image[apart]
    if not (np.isfinite(left) & np.isfinite(right)).all():
        return float("inf")
    difference = np.abs(left - right)
    eps = torch.finfo(tensor.dtype).eps if tensor.is_floating_point() or tensor.is_complex() else 0.0
    # Rounding is judged against the entry itself or, for those near 0, against its row: a cosine of 90 degrees is
    # 6e-17.
    row = np.broadcast_to(rounding_scale(tensor.detach()).numpy(), array.shape)[apart]
    scale = np.maximum(np.maximum(np.abs(left), np.abs(right)), row)
    return float(difference.max()) if (difference > _ROUNDINGS * eps * scale).any() else 0.0


def _wide(tensor: Tensor) -> npt.NDArray[Any]:
    """The numbers in double precision; truth values as 0 and 1, since numpy does not subtract them."""
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bool:
        return tensor.numpy().astype(float)
    return (tensor.to(torch.complex128) if tensor.is_complex() else tensor.double()).numpy()


def uniform(tensor: Tensor) -> float | None:
    """The one number that a constant holds everywhere, or None."""
    if not tensor.numel() or tensor.is_complex():
        return None
    first = tensor.reshape(-1)[0]
    return float(first) if bool((tensor == first).all()) else None


def invariant(tensor: Tensor, rep: SymbolicRepresentation, partner: Tensor | None, known: Iterable[Axis]) -> Values:
    """A value for every unknown, the first that together leave the constant alone; empty where there are none.

    known: axes that occur in the network; the trivial one is tried first. A constant of which nothing is known is left
    to the hidden spaces: to leave all its axes alone would always fit.
    """
    # The sign of the constant as a whole may be unknown as well.
    unknowns = list(dict.fromkeys((*variables(rep.axes), *variables((signed((), rep.sign),)))))
    settled = any(not unknowns_in(((term,),)) and term.size > 1 for axis in rep.axes for term in axis)
    if not unknowns or (sum(not is_known(axis) for axis in rep.axes) > 1 and not settled):
        return []
    known = [axis for axis in known if is_known(axis)]
    for values in islice(product(*(_candidates(var.size, known) for var in unknowns)), _MOST_TRIALS):
        chosen = {var.id: action_of(value, {}) for var, value in zip(unknowns, values, strict=True)}
        if deviation(tensor, evaluate(rep, chosen), partner) == 0:
            return [((var,), value) for var, value in zip(unknowns, values, strict=True)]
    return []


def _candidates(size: int, known: Iterable[Axis]) -> list[Axis]:
    """Representations of a size, the trivial one first."""
    if size == 1:
        return [(), signed((), -1)]
    seen: list[Axis] = [trivial(size)]
    for other in known:
        if other not in seen and axis_size(other) == size:
            seen.append(other)
    return seen


class Constants:
    """The constants of a graph while its representations are being found.

    uniform: the one number that each holds, None where it holds several.
    tables: those that make a hidden axis trivial, though weights tie it to an axis on which the mirror acts: positions
    that are added to channels. (The trivial value is tried first, so another one might fit such a constant as well.)
    """

    def __init__(self, captured: CapturedModel, exchange: Exchange) -> None:
        self.captured, self.exchange = captured, exchange
        leaves = [leaf for leaf in captured.leaves.values() if leaf.kind == "constant"]
        self.uniform = {leaf.name: uniform(leaf.tensor) for leaf in leaves}
        self.leaves = [leaf for leaf in leaves if self.uniform[leaf.name] is None]
        self.tables: dict[str, None] = {}

    def partner_of(self, leaf: Leaf) -> Tensor | None:
        """The tensor that the mirror takes a leaf's to, None where that is its own."""
        if not self.exchange.is_exchanged(leaf.name):
            return None
        return self.captured.leaves[self.exchange.of(leaf.name)].tensor

    def number(self, name: str) -> float | None:
        """The one number that a constant and its partner hold, None where there is no such number."""
        held = self.uniform.get(name)
        return held if held == self.uniform.get(self.exchange.of(name)) else None

    def open(self, reps: Representations, solver: Solver) -> list[Leaf]:
        """Those of several numbers with an axis that nothing has decided."""
        return [leaf for leaf in self.leaves if not all(map(is_known, _resolved(reps[leaf.name], solver)))]

    def unknowns(self, reps: Representations, solver: Solver) -> set[int]:
        """The unknowns of open constants."""
        axes = (_resolved(reps[leaf.name], solver) for leaf in self.open(reps, solver))
        return unknowns_in(chain.from_iterable(axes))

    def choose(self, reps: Representations, solver: Solver) -> None:
        """Give one open constant the first representation that leaves it invariant.

        Only one: what follows from it may decide others, for which a guess would be worse.
        """
        for leaf in self.open(reps, solver):
            rep = solver.representation(reps[leaf.name])
            # An open axis is compared with the axes of all leaves: the joints among them, and hidden ones that are
            # known.
            known = chain.from_iterable(_resolved(other, solver) for other in reps.values())
            values = invariant(leaf.tensor, rep, self.partner_of(leaf), known)
            if self._is_table(leaf.tensor, rep, values, reps, solver):
                self.tables[leaf.name] = None
            for unknown, value in values:
                solver.positive(solver.same(unknown, value))
            if values:
                return

    def changes(self, reps: Representations, solver: Solver) -> Iterator[tuple[Leaf, float]]:
        """Constants that the mirror changes, and by how much; those that are still open are passed over."""
        for leaf in self.captured.leaves.values():
            # One number everywhere is the same under every mirror.
            if leaf.kind != "constant" or self.number(leaf.name) is not None:
                continue
            rep = solver.representation(reps[leaf.name])
            if all(map(is_known, rep.axes)):
                change = deviation(leaf.tensor, evaluate(rep, {}), self.partner_of(leaf))
                if change > 0:
                    yield leaf, change

    def _is_table(
        self, tensor: Tensor, rep: SymbolicRepresentation, values: Values, reps: Representations, solver: Solver
    ) -> bool:
        """Whether a constant is a table: it forces an axis to stay as it is, and weights tie that axis to one that the
        mirror moves.

        values: what the constant decides. rep: how it transforms, before that.
        """
        # Unknowns that the constant leaves as they are, and of those the ones along which its numbers differ.
        closed = {unknown for unknown, value in values if axis_size(value) > 1 and value == trivial(axis_size(value))}
        decided: set[Axis] = set()
        for dim, axis in enumerate(rep.axes):
            # A constant that is the same all along an axis fits whatever the axis is, and so does one without entries.
            if tensor.numel() and bool((tensor != tensor.narrow(dim, 0, 1)).any()):
                decided |= {(var,) for var in variables((axis,))}
        closed &= decided
        return tensor.is_floating_point() and bool(closed) and self._on_the_way(closed, reps, solver)

    def _on_the_way(self, unknowns: Iterable[Axis], reps: Representations, solver: Solver) -> bool:
        """Whether weights tie unknown axes to one on which the mirror acts, directly or through other open axes.

        Weights with exactly two open axes count, one of which may be known. A weight of more axes (orders of a graph,
        inputs, outputs) can keep left and right apart by its other axes. An axis of several unknowns, as heads times
        channels, is tied as a whole: orders times channels ties neither of them to anything by itself.
        """
        weights = [solver.representation(reps[leaf.name]).axes for leaf in self.captured.weights]
        ties = [axes for axes in map(_open, weights) if len(axes) == 2]
        more, reached = set(map(_unknowns, unknowns)), set[frozenset[int]]()
        # From these axes through weights to the axes on the other side, and on from there, until one is moved by T.
        while not more <= reached:
            reached |= more
            met = [axis for axes in ties if not reached.isdisjoint(map(_unknowns, axes)) for axis in axes]
            if any(map(_acts, met)):
                return True
            more = set(map(_unknowns, met))
        return False


def _resolved(rep: SymbolicRepresentation, solver: Solver) -> Iterator[Axis]:
    """The axes of a representation, each resolved when it is asked for."""
    return map(solver.resolve, rep.axes)


def _open(axes: Iterable[Axis]) -> list[Axis]:
    """Axes that the mirror acts on, or may act on."""
    return [axis for axis in axes if unknowns_in((axis,)) or _acts(axis)]


def _unknowns(axis: Axis) -> frozenset[int]:
    """What an axis is tied by: all that is unknown of it."""
    return frozenset(unknowns_in((axis,)))


def _acts(axis: Axis) -> bool:
    """Whether the mirror is known to act on an axis."""
    return not unknowns_in((axis,)) and not action_of(axis, {}).is_identity
