"""`project`: hidden layouts are imposed by the specification, weights are projected onto them.

This is what a chiral network built from scratch looks like (PAPER: left, right and centre channels in the proportion
of the joints, a share of them negated). On a trained network the imposed pairing has nothing to do with what its units
do, and the error usually more than doubles; fine-tune afterwards, or use another method.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from chiralize.body.tensors import ConversionSpec, impose
from chiralize.errors.words import when
from chiralize.infer.hidden.quotient import Keep, imposed_on_orbits, nothing
from chiralize.infer.records import RepMap, Space
from chiralize.symmetry.involution import SignedPermutation

Chosen = Mapping[int, tuple[SignedPermutation, str]]
Fallback = Callable[[Sequence[Space], RepMap], Chosen]
"""What chooses for spaces that are to be matched."""


class Imposed:
    """Chooses what the specification's `hidden` says; spaces with `pairing: match` are handed to `matcher`.

    keep: what other mirrors do on a space: the layout is imposed on their orbits.
    """

    def __init__(self, spec: ConversionSpec, matcher: Fallback, keep: Keep = nothing) -> None:
        self.spec = spec
        self.matcher = matcher
        self.keep = keep
        self.depths: dict[int, int] = {}

    def __call__(self, spaces: Sequence[Space], repmap: RepMap) -> Chosen:
        # Later calls bring new spaces; those that were seen keep their depth, by which a specification may name them.
        for space in spaces:
            self.depths.setdefault(space.key, len(self.depths))
        wanted = {space.key: self._pairing(space) for space in spaces}
        matched = self.matcher(spaces, repmap) if "match" in wanted.values() else {}
        chosen = dict(matched)
        for space in spaces:
            if wanted[space.key] != "match":
                chosen[space.key] = self._impose(space, wanted[space.key], self.keep(space, repmap))
        return chosen

    def _pairing(self, space: Space) -> str:
        """The pairing that the specification names for a space."""
        return self.spec.hidden.pairing_for(self.depths[space.key], space.module)

    def _impose(
        self, space: Space, pairing: str, earlier: Sequence[SignedPermutation]
    ) -> tuple[SignedPermutation, str]:
        """The layout of one space and the reason for it, in words for the report. earlier: other mirrors there."""
        # The larger factor of an axis, heads x channels, is paired and the other left alone (decision 0010).
        if space.cofactor:
            return SignedPermutation.identity(space.size), "trivial: another factor of the axis is paired"
        share = self.spec.hidden.negated_for(self.depths[space.key], space.module)
        reason = f"imposed: {pairing}" + when(share, f", {share} negated")
        if share and space.sign_free:
            share, reason = type(share)(0), f"imposed: {pairing}; sign-free, since an operation on it is not odd"
        if earlier:
            layout = partial(impose, pairing=pairing, negated=share, skeleton=self.spec.skeleton)
            return imposed_on_orbits(space.size, earlier, layout), f"{reason}, on the orbits of other mirrors"
        return impose(space.size, pairing, share, self.spec.skeleton), reason
