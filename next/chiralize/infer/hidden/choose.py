"""Which representation does every free hidden space get?

Inference leaves the axes of hidden units open. `assign` asks a chooser for every free space and hands its choice back
to inference, which may settle what waited for it and bring new spaces to light. Choosers are `Imposed`, by the layout
that the specification names, and `match.FromWeights`, by what the units of a trained network do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from chiralize.body.hidden import HiddenPolicy, impose
from chiralize.body.skeleton import Skeleton
from chiralize.errors import NegatedChannelsError
from chiralize.errors.words import when
from chiralize.infer.inference import Inference
from chiralize.infer.records import Choice, RepMap, Space
from chiralize.symmetry.involution import SignedPermutation

Chosen = Mapping[int, tuple[SignedPermutation, str]]
"""By the key of a space, the involution of its units and the reason for it."""
Chooser = Callable[[Sequence[Space], RepMap], Chosen]
"""Chooses for free spaces, by what is known by now."""


def assign(inference: Inference, chooser: Chooser, plain: set[int]) -> tuple[Choice, ...]:
    """Choose for all free spaces; returns the choices in the order in which the network writes the spaces.

    plain: spaces without signs. Raises NegatedChannelsError where an op refuses signs that it learns of only now, the
    space that was given signs last then being in `plain`: the caller starts anew with it, until none is refused.
    """
    choices: list[Choice] = []
    while spaces := inference.spaces():
        spaces = tuple(replace(space, sign_free=space.sign_free or space.key in plain) for space in spaces)
        chosen = chooser(spaces, inference.result())
        for space in spaces:
            if not inference.is_free(space):
                continue  # decided by an earlier choice
            choices.append(Choice(space, *chosen[space.key]))
            try:
                inference.choose(space, choices[-1].action)
            except NegatedChannelsError:
                signed = [choice.space.key for choice in choices if not choice.action.is_sign_free]
                plain.update(signed[-1:])
                raise
    return tuple(choices)


class Imposed:
    """Chooses what the `hidden` of a specification says; spaces with `pairing: match` are handed to `matcher`.

    This is what a network with chiral layers from scratch looks like: left, right and centre channels in the proportion
    of the joints, a share of them negated. On a trained network the imposed pairing has nothing to do with what its
    units do, and the error usually more than doubles.
    """

    def __init__(self, policy: HiddenPolicy, skeleton: Skeleton, matcher: Chooser) -> None:
        self.policy, self.skeleton, self.matcher = policy, skeleton, matcher
        self.depths: dict[int, int] = {}

    def __call__(self, spaces: Sequence[Space], repmap: RepMap) -> Chosen:
        # Later calls bring new spaces; those that were seen keep their depth, by which a specification may name them.
        for space in spaces:
            self.depths.setdefault(space.key, len(self.depths))
        wanted = {space.key: self.policy.pairing_for(self.depths[space.key], space.module) for space in spaces}
        chosen = dict(self.matcher(spaces, repmap) if "match" in wanted.values() else {})
        for space in spaces:
            if wanted[space.key] != "match":
                chosen[space.key] = self._impose(space, wanted[space.key])
        return chosen

    def _impose(self, space: Space, pairing: str) -> tuple[SignedPermutation, str]:
        """The layout of one space and the reason for it, in words for the report."""
        # The larger factor of an axis, heads x channels, is paired and the other left alone.
        if space.cofactor:
            return SignedPermutation.identity(space.size), "trivial: another factor of the axis is paired"
        share = self.policy.negated_for(self.depths[space.key], space.module)
        reason = f"imposed: {pairing}" + when(share, f", {share} negated")
        if share and space.sign_free:
            share, reason = Fraction(0), f"imposed: {pairing}; sign-free, since an operation on it is not odd"
        return impose(space.size, pairing, share, self.skeleton), reason
