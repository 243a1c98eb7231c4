"""The layout of the paper's layers, and their trained weights.

Yeh, Hu, Schwing, "Chirality Nets for Human Pose Regression", NeurIPS 2019: features are [left, right, centre] joints,
the first channels of every joint are negated. Dense weight = [[w1, w2, w3], [w2, w1, w3], [w4, w4, w5]] * mask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from chiralize.errors import RepresentationSizeError, UsageError
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation

Joints = Sequence[int]
_GATED = {4: (False, False, True, False), 3: (False, False, True)}  # which gates carry signs: i f g o, r z n


def paper_layout(joints: Joints, channels: int, negated: int = 0) -> Representation:
    """[left, right, centre] joints of `channels` each, the first `negated` of which change sign.

    joints: (left, right, centre) counts.  Raises RepresentationSizeError.

    >>> print(paper_layout((1, 1, 1), 2, negated=1))
    6: -(0 2) (1 3) -4
    """
    left, right, centre = joints
    if left != right or not 0 <= negated <= channels:
        facts = f"joints {tuple(joints)}, {negated} of {channels} channels negated"
        raise RepresentationSizeError(
            "paper layout", facts, "give as many left as right joints, and negated <= channels"
        )
    swap = SignedPermutation.of([(i, i + left) for i in range(left)], size=left + right + centre)
    signs = SignedPermutation.of(negated=range(negated), size=channels)
    return Representation.of(swap.kronecker(signs))


def negated_share(joints: Joints, size: int, share: float) -> Representation:
    """The paper's constructor for a hidden axis: `size` = joints x channels, a share of every joint's channels negated.

    Raises RepresentationSizeError where the joints do not divide the size.
    """
    channels, over = divmod(size, sum(joints))
    if over:
        facts = f"{size} channels for {sum(joints)} joints"
        raise RepresentationSizeError("paper layout", facts, f"use a multiple of {sum(joints)}")
    return paper_layout(joints, channels, round(share * channels))


def official_weights(
    state: Mapping[str, Tensor], joints: tuple[Joints, Joints], negated: tuple[int, int], gates: int = 1
) -> dict[str, Tensor]:
    """Dense `weight` and `bias` of a layer of the paper's published code, for `load_state_dict` of ours.

    state: w1 (left to left), w2 (right to left), w3 (centre to left), w4 (left to centre), w5 (centre to centre),
    b1 (left), b2 (centre): "(joint channel) (joint channel) kernel...".  joints: of input and output.  negated: how
    many channels of every joint change sign there.  gates: 4 for an LSTM's stacked weights, 3 for a GRU's; the
    candidate alone carries signs.  Entries that the paper sets to zero are zero.  Raises UsageError.
    """
    missing = [name for name in ("w1", "w2", "w3", "w4", "w5") if name not in state]
    if missing or gates not in (1, *_GATED):
        raise UsageError("official weights", f"missing {', '.join(missing) or 'gates'}", "pass one layer's state_dict")
    names = [name for name in ("w1", "w2", "w3", "w4", "w5", "b1", "b2") if name in state]
    parts: dict[str, list[Tensor]] = {}
    for gate, is_signed in enumerate(_GATED.get(gates, (True,))):
        weights = {name: state[name].chunk(gates)[gate] for name in names}
        for name, part in _gate(weights, joints, (negated[0], negated[1] if is_signed else 0)).items():
            parts.setdefault(name, []).append(part)
    return {name: torch.cat(of_gates) for name, of_gates in parts.items()}


def _gate(w: Mapping[str, Tensor], joints: tuple[Joints, Joints], negated: tuple[int, int]) -> dict[str, Tensor]:
    """Dense weight and bias of one gate. w: its w1 to w5, and b1 and b2 where it has them."""
    rows = [[w["w1"], w["w2"], w["w3"]], [w["w2"], w["w1"], w["w3"]], [w["w4"], w["w4"], w["w5"]]]
    weight = torch.cat([torch.cat(row, 1) for row in rows])
    into = _signs(joints[0], _channels(weight.shape[1], joints[0]), negated[0])
    out = _signs(joints[1], _channels(weight.shape[0], joints[1]), negated[1])
    mask = torch.from_numpy(_mask(into, out)).to(weight)
    dense = {"weight": weight * mask.view(*mask.shape, *([1] * (weight.ndim - 2)))}
    if "b1" in w:
        right, centre = out[1], out[2]
        signs = np.concatenate([np.ones_like(right), right, (centre + 1) / 2])
        dense["bias"] = torch.cat([w["b1"], w["b1"], w["b2"]]) * torch.from_numpy(signs).to(weight)
    return dense


def _channels(size: int, joints: Joints) -> int:
    count, over = divmod(size, sum(joints))
    if over:
        raise UsageError("official weights", f"{size} features for {sum(joints)} joints", "check the joint counts")
    return count


def _signs(joints: Joints, channels: int, negated: int) -> list[np.ndarray]:
    """+1 or -1 of every feature, for left, right and centre."""
    one = np.where(np.arange(channels) < negated, -1.0, 1.0)
    return [np.tile(one, count) for count in joints]


def _mask(into: list[np.ndarray], out: list[np.ndarray]) -> np.ndarray:
    """The signs that make [[w1, w2, w3], ...] equivariant, and the paper's zeros in the centre's rows."""
    left = np.ones((len(out[0]), sum(map(len, into))))
    right = np.outer(out[1], np.concatenate(into))
    plain = (1 + np.concatenate(into)) / 2  # a row that the mirror leaves alone reads features that it leaves alone
    turned = np.concatenate([np.ones(len(into[0])), -into[1], (1 - into[2]) / 2])
    centre = np.where(out[2][:, None] > 0, plain, turned)
    return np.concatenate([left, right, centre])
