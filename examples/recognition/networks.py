"""Recognisers of skeleton clips and of single poses: ordinary, chiral without signs, chiral in the paper's layout.

Yeh, Hu, Schwing, "Chirality Nets for Human Pose Regression", NeurIPS 2019: ten blocks, each a spatial and then a
temporal convolution. A spatial convolution mixes all joints and channels of a frame, a temporal one those of
neighbouring frames, too. Every layer is made from two spaces, how the mirror acts on what comes in and on what goes
out. Where it leaves both alone the layer is torch's own: a plain network is one whose spaces are all of that kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from chiralize import nn as chiral
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.symmetry.representation import Representation
from examples.study.task import Layout

NEGATED = (1 / 6, 1 / 12, 0.0)
"""Shares of negated channels after blocks 1 to 3 in the paper's layout; the input's is 1/3, x of (x, y, confidence)."""


# ---- spaces ---------------------------------------------------------------------------------------------------------
def pose_space(body: Skeleton, dims: Sequence[str]) -> Representation:
    """How the mirror acts on `(joint coord)`. A coordinate that the skeleton does not know keeps its sign."""
    return Representation.of(body.merged_action(list(dims)))


def plain_space(size: int) -> Representation:
    """Channels that the mirror leaves alone, or that nobody asked how it acts on."""
    return Representation.trivial(size)


def joint_space(body: Skeleton, channels: int, share: float) -> Representation:
    """The paper's hidden axis: `channels` for every joint, left, right and centre ones, a share of each negated."""
    left, centre = len(body.pairs), len(body.center)
    return chiral.negated_share((left, left, centre), channels * len(body.joints), share)


# ---- layers ---------------------------------------------------------------------------------------------------------
def convolution(into: Representation, out: Representation, kernel: int = 1, stride: int = 1) -> nn.Module:
    """Over frames, padded so that a stride of 1 keeps their number. Without bias: a batch norm follows."""
    settings = {"stride": stride, "padding": kernel // 2, "bias": False}
    if into.is_trivial and out.is_trivial:
        return nn.Conv1d(into.size, out.size, kernel, **settings)
    return chiral.Conv1d(into, out, kernel, **settings)


def batch_norm(space: Representation) -> nn.Module:
    return nn.BatchNorm1d(space.size) if space.is_trivial else chiral.BatchNorm1d(space)


def linear(into: Representation, out: Representation) -> nn.Module:
    trivial = into.is_trivial and out.is_trivial
    return nn.Linear(into.size, out.size) if trivial else chiral.Linear(into, out)


class Block(nn.Module):
    """Spatial convolution, then temporal convolution, each with batch norm and activation; added to what came in.

    What came in is first mapped (by a convolution of one frame and a batch norm) where its space or the number of
    frames changes, as in ST-GCN (Yan et al., 2018).
    """

    def __init__(
        self, into: Representation, out: Representation, activation: type[nn.Module], kernel: int, stride: int,
        dropout: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.spatial, self.spatial_norm = convolution(into, out), batch_norm(out)
        self.temporal, self.temporal_norm = convolution(out, out, kernel, stride), batch_norm(out)
        self.activation = chiral.Pointwise(activation(), out)
        self.dropout = nn.Dropout(dropout)
        same = into == out and stride == 1
        self.skip = nn.Identity() if same else nn.Sequential(convolution(into, out, stride=stride), batch_norm(out))

    def forward(self, x: Tensor) -> Tensor:
        """x: `batch channel frame`."""
        y = self.activation(self.spatial_norm(self.spatial(x)))
        y = self.dropout(self.activation(self.temporal_norm(self.temporal(y))))
        return self.skip(x) + y


# ---- clips ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Sizes:
    """Of a recogniser.

    channels: for every joint, in blocks 1 to 3.  width: after them.  kernel: frames of a temporal convolution.
    strides: of the temporal convolutions, one a block: ten in the paper, four at least.  dropout: after every block's
    two convolutions.
    """

    channels: int = 24
    width: int = 256
    kernel: int = 9
    strides: tuple[int, ...] = (1, 1, 1, 2, 1, 1, 2, 1, 1, 1)
    dropout: float = 0.25


SMOKE_SIZES = Sizes(channels=2, width=8, kernel=3, strides=(2, 2, 2, 2, 2), dropout=0.0)
"""To see that everything runs: three blocks of joints, the invariance layer, one block after it."""


class Recogniser(nn.Module):
    """Ten spatio-temporal blocks, the mean over frames and people, a linear layer.

    plain: the mirror is nobody's business, ReLU.  free: pairs of channels in all blocks, ReLU, an invariant (or
    class-swapping) head.  paper: blocks 1 to 3 in its joint layout with tanh, block 4 the invariance layer, then
    ordinary blocks with ReLU; its answers are invariant, so there `scores` must be trivial (ValueError).
    scores: how the mirror acts on the classes.
    """

    def __init__(
        self, body: Skeleton, dims: Sequence[str], scores: Representation, layout: Layout, sizes: Sizes
    ) -> None:
        super().__init__()
        if layout == "paper" and not scores.is_trivial:
            raise ValueError("The paper's recogniser has an invariance layer: it cannot swap classes.")
        if layout == "plain":
            scores = plain_space(scores.size)
        pose, spaces = _clip_spaces(body, dims, layout, sizes)
        self.norm = batch_norm(pose)
        self.blocks = nn.Sequential(
            *(
                Block(into, out, _activation(out, layout, place < 3), sizes.kernel, stride, sizes.dropout)
                for place, ((into, out), stride) in enumerate(
                    zip(pairwise((pose, *spaces)), sizes.strides, strict=True)
                )
            )
        )
        self.head = linear(spaces[-1], scores)

    def forward(self, clips: Tensor) -> Tensor:
        """clips: `batch frame joint coord`, or `batch person frame joint coord`.  Returns `batch class`."""
        people = clips.flatten(0, 1) if clips.ndim == 5 else clips
        hidden = self.norm(people.flatten(2).transpose(1, 2))  # person (joint coord) frame
        hidden = self.blocks(hidden).mean(2)  # person channel
        if clips.ndim == 5:
            hidden = hidden.unflatten(0, clips.shape[:2]).mean(1)
        return self.head(hidden)


def _clip_spaces(
    body: Skeleton, dims: Sequence[str], layout: Layout, sizes: Sizes
) -> tuple[Representation, list[Representation]]:
    """Of the pose, and after each of the blocks."""
    pose, wide = pose_space(body, dims), sizes.channels * len(body.joints)
    behind = len(sizes.strides) - 3
    if layout == "plain":
        return plain_space(pose.size), [plain_space(wide)] * 3 + [plain_space(sizes.width)] * behind
    if layout == "free":
        return pose, [chiral.hidden(wide)] * 3 + [chiral.hidden(sizes.width)] * behind
    chosen = [joint_space(body, sizes.channels, share) for share in NEGATED]
    return pose, [*chosen, *[plain_space(sizes.width)] * behind]


def _activation(space: Representation, layout: Layout, early: bool) -> type[nn.Module]:
    """tanh before the invariance layer of the paper's layout, ReLU everywhere else."""
    return nn.Tanh if layout == "paper" and early else nn.ReLU


# ---- single poses ---------------------------------------------------------------------------------------------------
class PoseClassifier(nn.Module):
    """A linear layer, residual layers, and a head that swaps classes as the mirror does. One pose.

    plain, free, paper: as of `Recogniser`; in the paper's layout all hidden spaces are chiral, with tanh, and their
    shares fall as there.
    """

    def __init__(
        self, body: Skeleton, dims: Sequence[str], scores: Representation, layout: Layout, channels: int = 8,
        dropout: float = 0.25,
    ) -> None:  # fmt: skip
        super().__init__()
        pose, wide = pose_space(body, dims), channels * len(body.joints)
        if layout == "plain":
            pose, scores = plain_space(pose.size), plain_space(scores.size)
            spaces = [plain_space(wide)] * 3
        elif layout == "free":
            spaces = [chiral.hidden(wide)] * 3
        else:
            spaces = [joint_space(body, channels, share) for share in NEGATED]
        function = nn.Tanh if layout == "paper" else nn.ReLU
        self.layers = nn.Sequential(
            *(
                nn.Sequential(
                    linear(into, out), batch_norm(out), chiral.Pointwise(function(), out), nn.Dropout(dropout)
                )
                for into, out in pairwise((pose, *spaces))
            )
        )
        self.head = linear(spaces[-1], scores)

    def forward(self, poses: Tensor) -> Tensor:
        """poses: `batch joint coord`.  Returns `batch class`."""
        return self.head(self.layers(poses.flatten(1)))
