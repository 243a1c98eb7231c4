"""The layout of the paper's layers.

Yeh, Hu, Schwing, "Chirality Nets for Human Pose Regression", NeurIPS 2019: features are [left, right, centre] joints,
the first channels of every joint are negated.
"""

from __future__ import annotations

from collections.abc import Sequence

from chiralize.errors import RepresentationSizeError
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation

Joints = Sequence[int]


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
