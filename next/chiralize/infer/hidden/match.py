"""Which units of a trained network are partners, by its weights alone?

A unit i of a hidden space is a good mirror image of unit j if it answers to T x as j answers to x. On weights: a writer
W (unit, input) maps T x to W T_in x, so the row of unit i, mirrored, should be the row of unit j, and likewise for the
columns of readers. Spaces that a residual connection couples are one space, so all their writers and readers vote.

Units need not fill an axis by themselves. Of an LSTM weight the axis is |H| + |H| + H + |H|: four stretches of the same
units. Of a layer on flattened joints it is joints x H. A `Block` is one such stretch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor

from chiralize.graph.model import CapturedModel
from chiralize.infer.hidden.choose import Chosen
from chiralize.infer.hidden.pairing import Score, best_involution
from chiralize.infer.records import RepMap, Space
from chiralize.infer.symbolic import (
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
    unknowns_in,
    var_of,
)
from chiralize.symmetry.action import act
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.isotypic import IsotypicBasis
from chiralize.symmetry.representation import Representation, TensorRepresentation

_LEAST = torch.finfo(torch.float32).tiny ** 2
"""Mean square of numbers that float32 can just hold: below, a weight is as good as zero and says nothing."""


class FromWeights:
    """Chooses by the weights alone, space by space outwards from the inputs and outputs.

    Only tensors whose other axes are settled vote. (Letting all vote and sweeping until nothing changes is a trap: to
    leave every hidden unit alone fits all inner weights perfectly, and loses everything that is odd.)
    fixed_points: units may be their own mirror images (else an odd one out is).
    """

    def __init__(self, captured: CapturedModel, fixed_points: bool = True) -> None:
        self.fixed_points = fixed_points
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
            voters.settle(space.key, best_involution(voters.score(space), space.sign_free, self.fixed_points))
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
        return carrying[0] if len(carrying) == 1 else None


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
        return
    rest = [action_of(axis, known) for position, axis in enumerate(voter.rep.axes) if position != dim]
    rest += [SignedPermutation.identity(size) for size in voter.tensor.shape[len(voter.rep.axes) :]]
    # Gates of a recurrent cell, or concatenated parts, are several stretches of one axis; each of them votes.
    for block in stretches:
        action = block.before.kronecker(block.after, *rest)
        rows = _rows(voter.tensor, dim, block)  # "unit rest"; `action` is T on rest
        # Where only |T| acts, a unit that is negated has the same row as one that is not.
        target = total.plain if block.absolute else total.signed
        # Rows of the left branch's weight against those of the right one.
        if voter.partner is not voter.tensor:
            theirs = action.act(_rows(voter.partner, dim, block).numpy(), 1)
            target += (rows.numpy() @ theirs.T) * np.float32(voter.rep.parity / scale)
            continue
        for sign, side in zip((voter.rep.parity, -voter.rep.parity), IsotypicBasis(action).split(rows), strict=True):
            side *= scale**-0.5
            torch.from_numpy(target).add_(side @ side.T, alpha=sign)


def _real(tensor: Tensor) -> Tensor:
    """Complex numbers as two, along another axis."""
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def _mean_square(tensor: Tensor) -> float:
    """Mean of the squares of all entries, summed in double precision; 0.0 of a tensor without entries."""
    return float(torch.linalg.vector_norm(tensor, dtype=torch.float64)) ** 2 / max(tensor.numel(), 1)


def _rows(tensor: Tensor, dim: int, block: Block) -> Tensor:
    """The block as "unit rest"."""
    grid = block.grid(tensor.cpu(), dim).float()
    return grid.movedim(1, 0).reshape(block.units, -1).contiguous()


# ---- where units sit -------------------------------------------------------------------------------------------------
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
        """Where the stretch ends."""
        return self.start + self.before.size * self.units * self.after.size

    def grid(self, value: Tensor, dim: int) -> Tensor:
        """The stretch of an axis of a value, "before unit after rest"."""
        moved = value.movedim(dim, 0)[self.start : self.stop]
        return moved.reshape(self.before.size, self.units, self.after.size, -1)

    def rows(self, value: Tensor, dim: int) -> Tensor:
        """The block's units along an axis of a value, "sample unit"."""
        return self.grid(value, dim).movedim(1, -1).reshape(-1, self.units)

    def turned(self, value: Tensor, rep: SymbolicRepresentation, dim: int) -> Tensor | None:
        """T on everything but the units, as `rows`; None where the other axes are not known."""
        # First T on the other axes of the value, then on what stands beside the units on their own axis.
        beside = _beside(rep, dim)
        if beside is None:
            return None
        grid = self.grid(act(value, beside), dim)
        if not (self.before.is_identity and self.after.is_identity):
            sides = (Representation.of(self.before), Representation.trivial(self.units), Representation.of(self.after))
            grid = act(grid, TensorRepresentation((*sides, Representation.trivial(grid.shape[-1]))))
        return grid.movedim(1, -1).reshape(-1, self.units)


@lru_cache(256)
def _beside(rep: SymbolicRepresentation, dim: int) -> TensorRepresentation | None:
    """T on all axes but one; None where another one is not known. Cached, since every batch needs the same few."""
    if not all(is_known(axis) for position, axis in enumerate(rep.axes) if position != dim):
        return None
    axes = [Representation.trivial(axis_size(axis)) for axis in rep.axes]
    for position, axis in enumerate(rep.axes):
        if position != dim:
            axes[position] = Representation.of(action_of(axis, {}))
    return TensorRepresentation(tuple(axes), rep.parity)


def blocks(axis: Axis, key: int, known: Assignment, start: int = 0) -> list[Block] | None:
    """Every stretch of an axis that carries the space; None where something else there is not known yet.

    key: of the space.  known: what other spaces have been given.  start: where the axis begins in a longer one.
    None as well where the space is a factor twice, H x H: no row would belong to one unit.
    """
    if len(axis) == 1 and isinstance(axis[0], Sum):
        stretches: list[Block] = []
        for part in axis[0].parts:
            inner = blocks(part, key, known, start)
            if inner is None:
                return None
            stretches += inner
            start += axis_size(part)
        return stretches
    # Of a product, the one factor that is the space; the others have to be known.
    carriers = {position: term for position, term in enumerate(axis) if isinstance(term, Var | Abs)}
    positions = [position for position, term in carriers.items() if var_of(term).id == key]
    if len(positions) != 1:
        return None if positions else []
    position = positions[0]
    before, after = _known_product(axis[:position], known), _known_product(axis[position + 1 :], known)
    if before is None or after is None:
        return None
    return [Block(start, before, axis[position].size, after, isinstance(axis[position], Abs))]


def _known_product(terms: Sequence[Term], known: Assignment) -> SignedPermutation | None:
    """The action of factors beside a space, None where one is not known."""
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
