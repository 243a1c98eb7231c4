"""Every free hidden space is given a representation, by a method that knows which.

The search goes on while spaces are free: a choice can settle what waited for it and bring new ones to light.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from chiralize.errors import NegatedChannelsError
from chiralize.infer.records import Choice, RepMap, Space
from chiralize.symmetry.involution import SignedPermutation

Chooser = Callable[[Sequence[Space], RepMap], Mapping[int, tuple[SignedPermutation, str]]]
"""Of free spaces, and what is known by now, the involution of each space and the reason for it, by key."""


class Propagation(Protocol):
    """The part of inference that this step needs."""

    def spaces(self) -> tuple[Space, ...]:
        """Hidden spaces that are still free."""
        ...

    def is_free(self, space: Space) -> bool:
        """Whether nothing has decided a space yet."""
        ...

    def choose(self, space: Space, action: SignedPermutation) -> None:
        """Give a space its representation."""

    def result(self) -> RepMap:
        """How tensors transform, as far as is known by now."""
        ...


def assign(propagation: Propagation, chooser: Chooser, plain: set[int]) -> tuple[Choice, ...]:
    """Choose for all free spaces; returns the choices in the order in which the network writes the spaces.

    plain: spaces without signs. Raises NegatedChannelsError where an op refuses signs that it learns of only now, the
    space that was given signs last then being in `plain`.
    """
    choices: list[Choice] = []
    while spaces := propagation.spaces():
        spaces = tuple(replace(space, sign_free=space.sign_free or space.key in plain) for space in spaces)
        chosen = chooser(spaces, propagation.result())
        for space in spaces:
            if not propagation.is_free(space):
                continue  # decided by an earlier choice
            action, reason = chosen[space.key]
            choices.append(Choice(space, action, reason))
            try:
                propagation.choose(space, action)
            except NegatedChannelsError:
                # The caller starts anew with one more space in `plain`, until none is refused.
                signed = [choice.space.key for choice in choices if not choice.action.is_sign_free]
                plain.update(signed[-1:])
                raise
    return tuple(choices)
