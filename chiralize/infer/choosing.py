"""Constants that decide how their open axes transform: by whatever leaves them invariant.

A graph layer `A @ x` has a constant A of joints x joints. The rule of the product ties its second axis to the joints of
x, and nothing ties the first one to anything. The numbers of A do: if it is symmetric about the mirror, the first axis
has to be the joints as well. `Propagation.settle` asks for one such choice whenever all rules have come to rest.

Some constants are a hindrance instead: a table of positions that is added to the channels leaves these nothing but to
be even. They are noted (`tables`), for methods that can treat them as weights (decision 0023).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

from torch import Tensor

from chiralize.graph.model import CapturedModel, Leaf
from chiralize.infer.constants import invariant, uniform
from chiralize.infer.partners import Partners
from chiralize.infer.solver.terms import unknowns_in
from chiralize.infer.solver.unify import Solver
from chiralize.symmetry.symbolic import Axis, SymbolicRepresentation, action_of, axis_size, is_known, trivial, variables

Representations = Mapping[str, SymbolicRepresentation]
"""Of all leaves, by name."""
Values = Sequence[tuple[Axis, Axis]]
"""Unknowns, each with its value."""


class Constants:
    """The constants of a graph while its representations are being found.

    uniform: the one number that each holds, None where it holds several.
    tables: those that make a hidden axis trivial, though weights tie it to an axis on which the mirror acts: positions
    that are added to channels. (The trivial value is tried first, so another one might fit such a constant as well.)
    """

    def __init__(self, captured: CapturedModel, partners: Partners) -> None:
        self.captured, self.partners = captured, partners
        self.leaves = [leaf for leaf in captured.leaves.values() if leaf.kind == "constant"]
        self.uniform = {leaf.name: uniform(leaf.tensor) for leaf in self.leaves}
        self.tables: dict[str, None] = {}

    def partner_of(self, leaf: Leaf) -> Tensor | None:
        """The tensor that the mirror takes a leaf's to, None where that is its own."""
        other = self.partners.of(leaf.name)
        if other == leaf.name:
            return None
        return self.captured.leaves[other].tensor

    def number(self, name: str) -> float | None:
        """The one number that a constant and its partner hold, None where there is no such number."""
        held = self.uniform.get(name)
        if held != self.uniform.get(self.partners.of(name)):
            return None
        return held

    def open(self, reps: Representations, solver: Solver) -> list[Leaf]:
        """Those with an axis that nothing has decided."""
        several = [leaf for leaf in self.leaves if self.uniform[leaf.name] is None]
        return [leaf for leaf in several if not all(map(is_known, _resolved(reps[leaf.name], solver)))]

    def unknowns(self, reps: Representations, solver: Solver) -> set[int]:
        """The unknowns of open constants."""
        keys: set[int] = set()
        for leaf in self.open(reps, solver):
            keys |= unknowns_in(_resolved(reps[leaf.name], solver))
        return keys

    def choose(self, reps: Representations, solver: Solver) -> bool:
        """Give one open constant the first representation that leaves it invariant; True if something moved.

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
            before = solver.changes
            for unknown, value in values:
                solver.positive(solver.same(unknown, value))
            if solver.changes > before:
                return True
        return False

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
