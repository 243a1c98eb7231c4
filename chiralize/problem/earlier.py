"""Mirrors that a network commutes with already, and that the conversion for another mirror must not disturb.

Let a network commute with A. Where the mirror B does to every weight something that commutes with what A does to it,
the projection for B takes weights that A leaves alone to weights that A leaves alone: P_A P_B = P_B P_A, bit for bit,
since both are gathers, changes of sign and one mean. So B costs A nothing if every choice for a hidden space commutes
with what A does there.

P_A = (1 + A) / 2 and P_B = (1 + B) / 2 are the projections on what A and B leave alone. `check_commuting` looks at the
actions on every weight, axis by axis; `keeping` hands A's action on a hidden space to those who choose B's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from chiralize.body.tensors import ResolvedSpec
from chiralize.errors import MethodUnavailableError
from chiralize.graph.model import CapturedModel, Leaf
from chiralize.infer.hidden.quotient import Keep
from chiralize.infer.records import RepMap, Space
from chiralize.symmetry import reynolds
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.orbits import entry_apart
from chiralize.symmetry.representation import TensorRepresentation
from chiralize.symmetry.symbolic import Var

Representations = Mapping[str, TensorRepresentation]
"""How a mirror acts on the weights of a network, by name."""
_INSTEAD = "use --method average, which runs every view"


@dataclass(frozen=True)
class EarlierMirror:
    """A mirror that a network commutes with. resolved: on what it reads and answers.  hidden: on its weights."""

    name: str
    resolved: ResolvedSpec
    hidden: Representations

    def of(self, leaf: Leaf) -> TensorRepresentation:
        """What the mirror does to a weight, by any of its names. Raises MethodUnavailableError where nobody knows."""
        for name in leaf.names:
            if name in self.hidden:
                return self.hidden[name]
        facts = f"what the mirror {self.name} does to {leaf.names[0]} is not known"
        raise MethodUnavailableError(str(leaf.where), facts, _INSTEAD)


def keeping(captured: CapturedModel, earlier: Sequence[EarlierMirror]) -> Keep:
    """What the mirrors do on a hidden space, for those who choose."""
    return partial(_actions, captured, earlier)


def _actions(
    captured: CapturedModel, earlier: Sequence[EarlierMirror], space: Space, repmap: RepMap
) -> tuple[SignedPermutation, ...]:
    """Raises MethodUnavailableError where no weight has the space as an axis of its own."""
    return tuple(_action(captured, mirror, space, repmap) for mirror in earlier)


def _action(captured: CapturedModel, mirror: EarlierMirror, space: Space, repmap: RepMap) -> SignedPermutation:
    """What a mirror does to the units of a space, read off the first weight that has it as an axis."""
    for leaf, axis in _axes_of(captured, space, repmap):
        return mirror.of(leaf).axes[axis].action
    facts = f"{space.label}: no weight has these {space.size} units as an axis of its own, so that what the mirror "
    raise MethodUnavailableError(str(space.where), f"{facts}{mirror.name} does to them is not known", _INSTEAD)


def _axes_of(captured: CapturedModel, space: Space, repmap: RepMap) -> Iterator[tuple[Leaf, int]]:
    """Weights, and the axis that is the space and nothing else."""
    for leaf in captured.weights:
        for position, axis in enumerate(repmap.leaves[leaf.name].axes):
            # An axis that is the space twice, or the space beside another one, does not show its action alone.
            if len(axis) == 1 and isinstance(axis[0], Var) and axis[0].id == space.key:
                yield leaf, position


def earlier_by_leaf(leaves: Sequence[Leaf], earlier: Sequence[EarlierMirror]) -> list[dict[str, TensorRepresentation]]:
    """What every mirror that is to be kept does to weights, by leaf. Raises MethodUnavailableError."""
    by_leaf: list[dict[str, TensorRepresentation]] = []
    for mirror in earlier:
        by_leaf.append({leaf.name: mirror.of(leaf) for leaf in leaves})
    return by_leaf


def check_commuting(
    captured: CapturedModel, representations: Representations, earlier: Sequence[Mapping[str, TensorRepresentation]]
) -> None:
    """Raises MethodUnavailableError where another mirror does something to a weight that does not commute.

    representations: of the new mirror, by leaf.  earlier: of the others, by leaf.
    """
    for name, rep in representations.items():
        for other in earlier:
            pairs = zip(rep.axes, other[name].axes, strict=True)
            if any(entry_apart(one.action, another.action) is not None for one, another in pairs):
                leaf = captured.leaves[name]
                facts = f"{leaf.names[0]}: what two mirrors do to it does not commute"
                raise MethodUnavailableError(str(leaf.where), facts, _INSTEAD)


def symmetric_under(value: Tensor, representations: Sequence[TensorRepresentation]) -> Tensor:
    """The nearest tensor that every one of some commuting mirrors leaves alone, bit for bit."""
    for representation in representations:
        value = reynolds.project(value, representation)
    return value
