"""Joints that are the same in all inputs, as the root of root-relative poses, which is 0.

A mirror that swaps the root with a joint beside it shows the network poses whose root is not at 0. It fits nearly as
well as T where that joint hardly moves, and yet no such pose is in the data: it is no mirror of theirs.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch

from chiralize.body.skeleton.naming import readings, side
from chiralize.body.tensors import ResolvedSpec
from chiralize.body.tensors.resolved import ResolvedTensor
from chiralize.graph.running import Call
from chiralize.problem.data.cutting import tensors
from chiralize.problem.data.joints import by_joint, has_coordinates

_FEWEST = 16
"""Poses below which it tells little that a joint is the same in all of them."""
_ROUNDING = 1e-5
"""Of the usual spread of joints: one that varies by less never moves."""


def still_joints(resolved: ResolvedSpec, calls: Sequence[Call]) -> frozenset[str]:
    """The joints without a side in their names that never move in any of the inputs, where most others do.

    A left hand that is 0 in all samples may be one that nobody saw: it can have a partner that moves.
    """
    still, moving = set[str](), set[str]()
    for tensor in resolved.input_tensors:
        if tensor.pose is None or not has_coordinates(tensor) or not calls:
            continue
        for joint, moves in zip(tensor.pose.body.joints, _move(tensor, calls), strict=True):
            (moving if moves else still).add(joint)
    return frozenset(joint for joint in still - moving if not _has_side(joint, still | moving))


def _has_side(joint: str, joints: Collection[str]) -> bool:
    """Whether a name tells a side, for certain or since the joint of the other side is among these."""
    names = {name.casefold() for name in joints}
    return side(joint) is not None or any(reading.partner.casefold() in names for reading in readings(joint))


def _move(tensor: ResolvedTensor, calls: Sequence[Call]) -> list[bool]:
    """Whether each joint moves; all of them do where most are still, or where poses are few."""
    poses = torch.cat([by_joint(tensor, tensors(call)[tensor.index]).detach().cpu().double() for call in calls])
    spreads = (poses - poses[0]).abs().amax((0, 2))
    moves = spreads > _ROUNDING * spreads.median()
    if len(poses) < _FEWEST or not bool(moves.double().mean() > 0.5):
        moves = torch.ones_like(moves)
    return moves.tolist()
