"""Every free hidden space is given a representation, by a method that knows which.

The search goes on while spaces are free: a choice can settle what waited for it and bring new ones to light.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from chiralize.involution import SignedPermutation
from chiralize.records import Choice, RepMap, Space

Chooser = Callable[[Sequence[Space], RepMap], Mapping[int, tuple[SignedPermutation, str]]]


class Propagation(Protocol):
    """What this step needs of inference."""

    def spaces(self) -> tuple[Space, ...]: ...
    def is_free(self, space: Space) -> bool: ...
    def choose(self, space: Space, action: SignedPermutation) -> None: ...
    def result(self) -> RepMap: ...


def assign(propagation: Propagation, chooser: Chooser) -> tuple[Choice, ...]:
    """Choose for all free spaces; returns the choices in the order in which the network writes the spaces."""
    made: list[Choice] = []
    while spaces := propagation.spaces():
        chosen = chooser(spaces, propagation.result())
        for space in spaces:
            if not propagation.is_free(space):
                continue  # decided by an earlier choice
            action, reason = chosen[space.key]
            propagation.choose(space, action)
            made.append(Choice(space, action, reason))
    return tuple(made)
