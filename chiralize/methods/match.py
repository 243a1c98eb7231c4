"""`match`: pair the units of a trained network by what they do.

A unit i of a hidden space is a good mirror image of unit j if it answers to T x as j answers to x. With inputs this is
measured on activations; without, on weights: a writer W (unit, input) maps T x to W T_in x, so the row of unit i,
mirrored, should be the row of unit j, and likewise for the columns of readers. Spaces that a residual connection
couples are one space, so all their writers and readers vote. Projection follows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from chiralize.involution import SignedPermutation
from chiralize.methods._pairing import Array, Block, Score, best_involution, blocks
from chiralize.records import CapturedModel, RepMap, Space
from chiralize.symbolic import Axis, SymbolicRepresentation, action_of, variables

Chosen = Mapping[int, tuple[SignedPermutation, str]]


class FromWeights:
    """Chooses by the weights alone, space by space outwards from the inputs and outputs.

    Only tensors whose other axes are settled vote. (Letting all vote and sweeping until nothing changes is a trap: to
    leave every hidden unit alone fits all inner weights perfectly, and loses everything that is odd.)
    """

    def __init__(self, captured: CapturedModel, fixed_points: bool = True) -> None:
        self.fixed_points = fixed_points
        self.tensors = {
            leaf.name: leaf.tensor.detach().cpu().float().numpy() for leaf in captured.weights if leaf.tensor.ndim
        }

    def __call__(self, spaces: Sequence[Space], repmap: RepMap) -> Chosen:
        known: dict[int, SignedPermutation] = {}
        weights = [(self.tensors[name], rep) for name, rep in repmap.leaves.items() if name in self.tensors]
        queue = list(spaces)
        while queue:
            space = max(queue, key=lambda item: _evidence(item, weights, known))
            queue.remove(space)
            known[space.key] = best_involution(_weight_score(space, weights, known), space.sign_free, self.fixed_points)
        return {key: (action, "matched by weights") for key, action in known.items()}


Weighted = Sequence[tuple[Array, SymbolicRepresentation]]


def _evidence(space: Space, weights: Weighted, known: Mapping[int, SignedPermutation]) -> float:
    """How many numbers can vote on the space while the others in `known` are."""
    return sum(
        array.size
        for array, rep in weights
        if any(_is_carrier(axis, space.key) for axis in rep.axes) and _others_known(rep, space.key, known)
    )


def _is_carrier(axis: Axis, key: int) -> bool:
    return any(var.id == key for var in variables((axis,)))


def _others_known(rep: SymbolicRepresentation, key: int, known: Mapping[int, SignedPermutation]) -> bool:
    carriers = [axis for axis in rep.axes if _is_carrier(axis, key)]
    rest = {var.id for var in variables(rep.axes)} - {key}
    return rest <= set(known) and len(carriers) == 1


def _weight_score(space: Space, weights: Weighted, known: Mapping[int, SignedPermutation]) -> Score:
    """Sum over all tensors of <w_i, T w_j>, each tensor at unit mean square."""
    total = Score.zero(space.size)
    for array, rep in weights:
        carriers = [place for place, axis in enumerate(rep.axes) if _is_carrier(axis, space.key)]
        scale = float(np.mean(array**2)) if len(carriers) == 1 else 0.0
        if scale > 0.0:
            _vote(total, array, rep, carriers[0], space, known, 1 / scale)
    return total


def _vote(
    total: Score,
    array: Array,
    rep: SymbolicRepresentation,
    place: int,
    space: Space,
    known: Mapping[int, SignedPermutation],
    weight: float,
) -> None:
    """Add weight * <w_i, T_rest w_j> along axis `place` to the score, T_rest acting on all but the space.

    A tensor whose other axes are not known has no vote.
    """
    found = blocks(rep.axes[place], space.key, {key: value for key, value in known.items() if key != space.key})
    rest = [axis for other, axis in enumerate(rep.axes) if other != place]
    if found is None or any(var.id not in known for var in variables(rest)):
        return
    mirrored: npt.NDArray[np.generic] = array
    for other, axis in enumerate(rep.axes):
        action = action_of(axis, known) if other != place else None
        if action is not None and not action.is_identity:
            mirrored = action.act(mirrored, other)
    for block in found:
        left = _rows(array, place, block, None)
        right = _rows(mirrored, place, block, (block.before, block.after))
        target = total.plain if block.absolute else total.signed
        target += (left @ right.T) * np.float32(rep.sign * weight)


def _rows(
    array: npt.NDArray[Any], place: int, block: Block, sides: tuple[SignedPermutation, SignedPermutation] | None
) -> Array:
    """The block as "unit rest", its other factors mirrored if `sides` are given."""
    moved = np.moveaxis(array, place, 0)[block.start : block.stop]
    grid = moved.reshape(block.before.size, block.units, block.after.size, -1)
    if sides is not None:
        for axis, action in zip((0, 2), sides, strict=True):
            if not action.is_identity:
                grid = action.act(grid, axis)
    return np.ascontiguousarray(np.moveaxis(grid, 1, 0).reshape(block.units, -1))


class FromActivations:
    """Chooses by answers to x and T x, summed up beforehand by the caller; other spaces fall back on weights.

    scores: for every space key the accumulated Score.
    """

    def __init__(self, scores: Mapping[int, Score], weights: FromWeights, fixed_points: bool = True) -> None:
        self.scores = scores
        self.fixed_points = fixed_points
        self.weights = weights

    def __call__(self, spaces: Sequence[Space], repmap: RepMap) -> Chosen:
        chosen = {
            space.key: (
                best_involution(self.scores[space.key], space.sign_free, self.fixed_points),
                "matched by activations",
            )
            for space in spaces
            if space.key in self.scores
        }
        if len(chosen) == len(spaces):
            return chosen
        return {**self.weights(spaces, repmap), **chosen}
