"""On which side of the body joints lie in the inputs: the left hip where the left shoulder is.

Exchanged names of both hips change no T, which swaps them either way, and a network reads hips of the other side. Only
the inputs tell, and only pairs that keep their distance, as hips and shoulders do: arms and legs cross.

Example: from right to left the hips point along (0.2, 0, 0) and the shoulders along (-0.3, 0.1, 0). The product is
-0.06, below 0: the left hip lies where the right shoulder does. If so in nine of ten samples, it is warned of.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

from chiralize.body.skeleton.naming import side_in_pair
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors import ResolvedSpec
from chiralize.errors.words import percent
from chiralize.graph.running import Call
from chiralize.problem.data.cutting import tensors
from chiralize.problem.data.joints import by_joint, has_coordinates
from chiralize.verification.verdicts import Evidence

_MOST = 4096
"""Samples that are looked at."""
_RIGID = 0.25
"""How much the distance of partners varies at most, in shares of it. Others, such as arms and speeds, are left out."""
_OPPOSITE = 0.9
"""Of the samples: in so many two pairs point to opposite sides. Those that are right do so in a few, if in any."""
_FEWEST = 32
_OTHER_SIDE = (
    "{one} and {other} lie on opposite sides of the body in {share} of the calibration inputs; the joints of one side "
    "may be there in the place of those of the other, as in the order of another data set: T is the same for both, and "
    "what the network reads is not. Where only the names are exchanged, nothing is wrong"
)


def side_findings(resolved: ResolvedSpec, inputs: Sequence[Call]) -> Evidence:
    """A warning of two pairs of joints whose left ones lie on opposite sides, in the first input that has such.

    inputs: of the user.
    """
    for tensor in resolved.input_tensors:
        if tensor.pose is None or not has_coordinates(tensor) or tensor.pose.body.has_joint_signs:
            continue
        rows = list[Tensor]()
        for call in inputs:
            rows.append(by_joint(tensor, tensors(call)[tensor.index]).detach().cpu().double())
            if sum(map(len, rows)) >= _MOST:
                break
        warning = _opposite(torch.cat(rows)[:_MOST], tensor.pose.body) if rows else ""
        if warning:
            return Evidence(warnings=(warning,))
    return Evidence()


def _opposite(poses: Tensor, body: Skeleton) -> str:
    """The warning of the two pairs that are most opposite, in poses "sample joint coordinate"; "" where none are."""
    pairs = _left_first(body)
    if len(poses) < _FEWEST or len(pairs) < 2:
        return ""
    left, right = torch.tensor(pairs).T
    across = poses[:, left] - poses[:, right]  # sample pair coordinate
    length = across.norm(dim=-1)
    rigid = (length.std(0) < _RIGID * length.mean(0)).nonzero().flatten().tolist()
    worst, share = (0, 0), _OPPOSITE  # no pair is opposite to itself, so that (0, 0) stands for none
    for one, other in combinations(rigid, 2):
        opposite = float(((across[:, one] * across[:, other]).sum(-1) < 0).double().mean())
        if opposite > share:
            worst, share = (one, other), opposite
    if worst == (0, 0):
        return ""
    one, other = (body.joints[pairs[pair][0]] for pair in worst)
    return _OTHER_SIDE.format(one=one, other=other, share=percent(share))


def _left_first(body: Skeleton) -> list[tuple[int, int]]:
    """The pairs whose names tell which one is left, that one first: a specification may write them either way."""
    pairs = list[tuple[int, int]]()
    for first, second in body.pairs:
        names = body.joints[first], body.joints[second]
        match side_in_pair(*names):
            case "left":
                pairs.append((first, second))
            case "right":
                pairs.append((second, first))
    return pairs
