"""The start of a propagation: the network, what is known of its tensors, which repairs it may try, what rules saw.

`Known` is the same for all attempts on one network; `Repair` is what one attempt differs by. Both are frozen, so that
an attempt leaves nothing behind but its result: the next one starts from them anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from chiralize.graph.model import CapturedModel
from chiralize.infer.one_number import weights_of_one_number
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import TensorRepresentation
from chiralize.symmetry.symbolic import Axis

Tensor = tuple[str, int]
"""An argument or a result of the network: `input` or `output`, and its position."""
Spec = Sequence[TensorRepresentation | None]
"""How T acts on every argument, or on every result; None where it is to be found."""


@dataclass(frozen=True)
class Known:
    """A network and the representations that are known before its rules run.

    inputs, outputs: representation of every tensor argument and result, None where it is to be found.
    joined: pairs of (`input` or `output`, position) that transform alike.  given: what is known of weights, by name.
    """

    captured: CapturedModel
    inputs: Spec
    outputs: Spec
    joined: Sequence[tuple[Tensor, Tensor]]
    given: Mapping[str, TensorRepresentation]

    @cached_property
    def of_one_number(self) -> frozenset[str]:
        """Weights that have an open sign of their own, and biases beside them."""
        return weights_of_one_number(self.captured)

    def actions(self) -> list[SignedPermutation]:
        """How the mirror acts on axes of the inputs and outputs, where it does anything."""
        reps = [rep for rep in (*self.inputs, *self.outputs) if rep is not None]
        return list(dict.fromkeys(axis.action for rep in reps for axis in rep.axes if not axis.is_trivial))


@dataclass(frozen=True)
class Repair:
    """Steps that a propagation may take where it would refuse.

    zero: weights that can only be zero, a bias along an axis with signs.  selections: concatenations of parts of one
    tensor, taken as one list of its entries.  joints: concatenations that leave it to their readers which of their
    branches the mirror exchanges.  wholes: what the axes of some of those are taken to be.  singles:
    what unknown axes are taken to be of which single entries or parts are read, by label.  one_by_one: signs that
    nothing decides are taken to be 1 one after the other, since one may decide on others.
    """

    zero: frozenset[str] = frozenset()
    selections: frozenset[str] = frozenset()
    joints: tuple[str, ...] = ()
    wholes: Mapping[str, Axis] = field(default_factory=dict)
    singles: Mapping[str, Axis] = field(default_factory=dict)
    one_by_one: bool = False


class Rest(NamedTuple):
    """The unknowns that a rule looked at which had nothing new to say.

    seen: unknowns without a value.  signed: those of them that might carry signs.  decided: how much had been decided
    of partners.  guesses: whether it would have guessed.  waits: what it waits for, if it gave no answer.
    """

    seen: tuple[int, ...]
    signed: tuple[int, ...]
    decided: int
    guesses: bool
    waits: str
