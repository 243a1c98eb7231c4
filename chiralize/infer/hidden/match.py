"""`match`: pair the units of a trained network by what they do.

A unit i of a hidden space is a good mirror image of unit j if it answers to T x as j answers to x. With inputs this is
measured on activations; without, on weights: a writer W (unit, input) maps T x to W T_in x, so the row of unit i,
mirrored, should be the row of unit j, and likewise for the columns of readers. Spaces that a residual connection
couples are one space, so all their writers and readers vote. Projection follows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from chiralize.graph.model import CapturedModel
from chiralize.infer.hidden.pairing import Score, add_products
from chiralize.infer.hidden.quotient import Keep, best_commuting, nothing
from chiralize.infer.hidden.units import Block, blocks
from chiralize.infer.records import RepMap, Space
from chiralize.infer.solver.terms import unknowns_in
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.isotypic import IsotypicBasis
from chiralize.symmetry.symbolic import SymbolicRepresentation, action_of

Chosen = Mapping[int, tuple[SignedPermutation, str]]
"""By the key of a space, the involution of its units and the reason for it."""
_LEAST = torch.finfo(torch.float32).tiny ** 2  # mean square of numbers that float32 can just hold


class FromWeights:
    """Chooses by the weights alone, space by space outwards from the inputs and outputs.

    Only tensors whose other axes are settled vote. (Letting all vote and sweeping until nothing changes is a trap: to
    leave every hidden unit alone fits all inner weights perfectly, and loses everything that is odd.)
    keep: what other mirrors do on a space, which the choice must not disturb.
    """

    def __init__(self, captured: CapturedModel, fixed_points: bool = True, keep: Keep = nothing) -> None:
        self.fixed_points, self.keep = fixed_points, keep
        self.tensors = {leaf.name: _real(leaf.tensor.detach()) for leaf in captured.weights if leaf.tensor.ndim}

    def __call__(self, spaces: Sequence[Space], repmap: RepMap) -> Chosen:
        listed: list[_Voter] = []
        for name, tensor in self.tensors.items():
            partner = self.tensors[repmap.partners.get(name, name)]
            listed.append(_Voter(tensor, partner, repmap.leaves[name]))
        voters = _Voters(listed)
        queue = list(spaces)
        # The first space is one beside axes that are known (inputs, outputs); each choice gives others evidence.
        while queue:
            space = max(queue, key=lambda candidate: voters.evidence.get(candidate.key, 0))
            queue.remove(space)
            # Scores are as large as the square of a space: one at a time.
            earlier = self.keep(space, repmap)
            involution = best_commuting(voters.score(space), space.sign_free, self.fixed_points, earlier)
            voters.settle(space.key, involution)
        return {space.key: (voters.known[space.key], "matched by weights") for space in spaces}


@dataclass(frozen=True)
class _Voter:
    """A weight, the one that the mirror takes it to (itself but for exchanged branches), and its representation.

    A weight (64, 34) of representation [H | joints x coords] votes on H once T on joints and coordinates is known.
    """

    tensor: Tensor
    partner: Tensor
    rep: SymbolicRepresentation

    @cached_property
    def unknowns(self) -> frozenset[int]:
        """The spaces that the weight carries, whether they are known by now or not."""
        return frozenset(unknowns_in(self.rep.axes))

    def carrier(self, key: int) -> int | None:
        """The one axis that carries a space; None if there are several."""
        carrying = [dim for dim, axis in enumerate(self.rep.axes) if key in unknowns_in((axis,))]
        if len(carrying) != 1:
            return None
        return carrying[0]


class _Voters:
    """All weights, and what is known of the spaces.

    evidence: how many numbers can vote on a space. They are those of weights whose other axes are all known.
    """

    def __init__(self, voters: Sequence[_Voter]) -> None:
        self.known: dict[int, SignedPermutation] = {}
        self.evidence: dict[int, int] = {}
        self.by_key: dict[int, list[_Voter]] = {}
        for voter in voters:
            for key in voter.unknowns:
                self.by_key.setdefault(key, []).append(voter)
            self._count(voter)

    def _count(self, voter: _Voter) -> None:
        """A weight with one unknown left votes on that one."""
        rest = voter.unknowns - self.known.keys()
        if len(rest) == 1:
            (key,) = rest
            if voter.carrier(key) is not None:
                self.evidence[key] = self.evidence.get(key, 0) + voter.tensor.numel()

    def settle(self, key: int, action: SignedPermutation) -> None:
        """Give a space its involution."""
        self.known[key] = action
        for voter in self.by_key.get(key, ()):
            self._count(voter)

    def score(self, space: Space) -> Score:
        """Sum over all weights of <w_i, T w_j>, each weight at unit mean square; those with open axes have no vote."""
        total = Score.zero(space.size)
        for voter in self.by_key.get(space.key, ()):
            dim = voter.carrier(space.key)
            if dim is not None and voter.unknowns <= self.known.keys() | {space.key}:
                _vote(total, voter, dim, space.key, self.known)
        return total


def _vote(total: Score, voter: _Voter, dim: int, key: int, known: Mapping[int, SignedPermutation]) -> None:
    """Add <w_i, T_rest w_j> along axis `dim` to the score, T_rest acting on all but the space.

    With w = (even, odd) in the isotypic basis of T_rest this is <even_i, even_j> - <odd_i, odd_j>.
    """
    stretches = blocks(voter.rep.axes[dim], key, known)
    # How large the numbers of a weight are is arbitrary, as the next layer may undo it: all vote at unit mean square.
    scale = _mean_square(voter.tensor)
    if stretches is None or not scale > _LEAST:
        return  # as good as zero: an untrained or decayed weight says nothing
    rest = [action_of(axis, known) for position, axis in enumerate(voter.rep.axes) if position != dim]
    rest += [SignedPermutation.identity(size) for size in voter.tensor.shape[len(voter.rep.axes) :]]
    # Gates of a recurrent cell, or concatenated parts, are several stretches of one axis; each of them votes.
    for block in stretches:
        action = block.before.kronecker(block.after, *rest)
        rows = _rows(voter.tensor, dim, block)  # "unit rest"; `action` is T on rest
        # Where only |T| acts, a unit that is negated has the same row as one that is not.
        target = total.plain if block.absolute else total.signed
        # Rows of the left branch's weight against those of the right one: `add_products` multiplies rows of one weight.
        if voter.partner is not voter.tensor:
            theirs = action.act(_rows(voter.partner, dim, block).numpy(), 1)
            target += (rows.numpy() @ theirs.T) * np.float32(voter.rep.parity / scale)
            continue
        for sign, side in zip((voter.rep.parity, -voter.rep.parity), IsotypicBasis(action).split(rows), strict=True):
            side *= scale**-0.5
            add_products(target, side if total.is_exact else side.to(voter.tensor.dtype), sign)


def _real(tensor: Tensor) -> Tensor:
    """Complex numbers as two, along another axis."""
    if tensor.is_complex():
        return torch.view_as_real(tensor.resolve_conj())
    return tensor


def _mean_square(tensor: Tensor) -> float:
    """Mean of the squares of all entries, summed in double precision; 0.0 of a tensor without entries."""
    return float(torch.linalg.vector_norm(tensor, dtype=torch.float64)) ** 2 / max(tensor.numel(), 1)


def _rows(tensor: Tensor, dim: int, block: Block) -> Tensor:
    """The block as "unit rest"."""
    grid = block.grid(tensor.cpu(), dim).float()
    return grid.movedim(1, 0).reshape(block.units, -1).contiguous()


class FromActivations:
    """Chooses by answers to x and T x, summed up beforehand by the caller; other spaces fall back on weights.

    scores: for every space key the accumulated Score.
    """

    def __init__(self, scores: Mapping[int, Score], weights: FromWeights, fixed_points: bool = True) -> None:
        self.scores = scores
        self.fixed_points = fixed_points
        self.weights = weights

    def __call__(self, spaces: Sequence[Space], repmap: RepMap) -> Chosen:
        chosen: dict[int, tuple[SignedPermutation, str]] = {}
        for space in spaces:
            # A space that no op reads as its input, or not with all else known, has no answers to go by.
            if space.key in self.scores:
                earlier = self.weights.keep(space, repmap)
                involution = best_commuting(self.scores[space.key], space.sign_free, self.fixed_points, earlier)
                chosen[space.key] = involution, "matched by activations"
        if len(chosen) == len(spaces):
            return chosen
        return {**self.weights(spaces, repmap), **chosen}
