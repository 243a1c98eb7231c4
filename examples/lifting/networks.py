"""Temporal convolution networks that lift 2D poses to 3D (Pavllo et al., 2019), ordinary and chiral.

Joints times coordinates are the channels of a 1D convolution over time. Every residual block looks as many times
further as its filter is wide: widths 3, 3, 3, 3, 3 see 243 frames, 1, 1, 1, 1 see a single one. No padding: the output
is shorter than the input by the receptive field less one.

Parameters have the names and shapes of VideoPose3D's checkpoints: expand_conv.weight, expand_bn.*,
layers_conv.{0..}.weight, layers_bn.{0..}.*, shrink.{weight,bias}. Block i owns layers 2i (wide) and 2i + 1 (width 1);
a strided network has the same ones as a dilated network, and on one window gives the same answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import prod
from operator import mul
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

import chiralize.nn as chiral
from chiralize.body.skeleton.catalog import load_skeleton
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.symmetry.representation import Representation

WIDTHS = {1: (1, 1, 1, 1), 9: (3, 3), 27: (3, 3, 3), 81: (3, 3, 3, 3), 243: (3, 3, 3, 3, 3)}
"""Filter widths of the published networks by the frames that they see."""
Widths = Sequence[int] | int


class _Lifter(nn.Module):
    """The architecture over layers and spaces of either kind: sizes for torch's, representations for chiralize's."""

    convolution: ClassVar[Any] = nn.Conv1d
    normalisation: ClassVar[Any] = nn.BatchNorm1d

    def __init__(
        self,
        spaces: tuple[Any, Any, Any],
        activation: nn.Module,
        joints_out: int,
        filter_widths: Widths,
        dropout: float,
        causal: bool,
        strided: bool,
        dense: bool = False,
    ) -> None:
        """spaces: of the channels that come in, of the hidden ones and of those that go out.  The rest as below."""
        super().__init__()
        widths = (filter_widths,) if isinstance(filter_widths, int) else tuple(filter_widths)
        if not widths or any(width < 1 or width % 2 == 0 for width in widths):
            raise ValueError(f"filter_widths is {widths}; each width must be odd and positive.")
        self.joints_out, self.filter_widths, self.causal, self.strided = joints_out, widths, causal, strided
        # A block's dilation is the number of frames that its input already sees: 3, 9, ... for widths of 3.
        self.dilations = tuple(accumulate(widths, mul))[:-1]

        pose, hidden, lifted = spaces
        first = self.convolution(pose, hidden, widths[0], stride=widths[0] if strided else 1, bias=False)
        self.expand_conv, self.expand_bn = first, self.normalisation(hidden)
        self.layers_conv, self.layers_bn = nn.ModuleList(), nn.ModuleList()
        for width, dilation in zip(widths[1:], self.dilations, strict=True):
            size, settings = width, {"dilation": dilation}
            if strided:
                settings = {"stride": width}
            elif dense:
                size, settings = dilation * (width - 1) + 1, {}
            self.layers_conv.append(self.convolution(hidden, hidden, size, bias=False, **settings))
            self.layers_conv.append(self.convolution(hidden, hidden, 1, bias=False))
            self.layers_bn.extend(self.normalisation(hidden) for _ in range(2))
        self.shrink = self.convolution(hidden, lifted, 1)
        self.activation, self.dropout = activation, nn.Dropout(dropout)

    @property
    def receptive_field(self) -> int:
        """Input frames that one output frame depends on (27 for widths 3, 3, 3)."""
        return prod(self.filter_widths)

    @property
    def target_frame(self) -> int:
        """Which frame of a window of receptive_field frames the answer belongs to."""
        return self.receptive_field - 1 if self.causal else self.receptive_field // 2

    def set_bn_momentum(self, momentum: float) -> None:
        """Weight of the newest batch in the running statistics of every batch norm."""
        for norm in [self.expand_bn, *self.layers_bn]:
            norm.momentum = momentum

    def forward(self, poses: Tensor) -> Tensor:
        """poses: `batch frame joint coord`, at least receptive_field frames. Returns `batch frame_out joint 3`."""
        hidden = poses.flatten(2).transpose(1, 2)  # batch (joint coord) frame
        hidden = self._activated(self.expand_bn(self.expand_conv(hidden)))  # batch channel frame
        for block in range(len(self.dilations)):
            kept = self._kept(block, hidden)
            for layer in (2 * block, 2 * block + 1):
                hidden = self._activated(self.layers_bn[layer](self.layers_conv[layer](hidden)))
            hidden = kept + hidden
        lifted = self.shrink(hidden).transpose(1, 2)  # batch frame_out (joint 3)
        return lifted.unflatten(2, (self.joints_out, 3))

    def _activated(self, hidden: Tensor) -> Tensor:
        return self.dropout(self.activation(hidden))

    def _kept(self, block: int, hidden: Tensor) -> Tensor:
        """The frames of a block's input that its output frames belong to. hidden: `batch channel frame`."""
        width, dilation = self.filter_widths[block + 1], self.dilations[block]
        if self.strided:
            return hidden[:, :, width - 1 if self.causal else width // 2 :: width]
        lost = dilation * (width - 1)  # frames that the wide convolution costs
        late = 0 if self.causal else lost // 2
        return hidden[:, :, lost - late : -late if late else None]


class TemporalLifter(_Lifter):
    """2D pose sequence to 3D pose sequence, by dilated convolutions.

    Input:  `batch frame joint coord`, image coordinates over half the width, centre 0.
    Output: `batch frame_out joint 3`, metres, relative to the hip, camera frame;
            frame_out = frame - receptive_field + 1.
    Output frame t belongs to input frame t + target_frame: the middle of what it sees, the last one if causal.

    filter_widths: odd; one of WIDTHS for the published networks.  dense: filters without holes that see as far
    (VideoPose3D's ablation; the weights have other shapes).
    """

    def __init__(
        self,
        joints_in: int = 17,
        coords_in: int = 2,
        joints_out: int = 17,
        filter_widths: Widths = (3, 3, 3),
        channels: int = 256,
        dropout: float = 0.25,
        causal: bool = False,
        dense: bool = False,
    ) -> None:
        spaces = (joints_in * coords_in, channels, joints_out * 3)
        super().__init__(spaces, nn.ReLU(), joints_out, filter_widths, dropout, causal, strided=False, dense=dense)


class StridedLifter(_Lifter):
    """The same function with the same weights for windows of receptive_field frames, one answer a window.

    Every convolution moves by its own width (243 frames become 81, 27, 9, 3, 1), so that training on independent
    windows does not compute what nobody reads; batch statistics are those of the frames that are read.
    Input: `batch (window receptive_field) joint coord`. Output: `batch window joint 3`.
    """

    def __init__(
        self,
        joints_in: int = 17,
        coords_in: int = 2,
        joints_out: int = 17,
        filter_widths: Widths = (3, 3, 3),
        channels: int = 256,
        dropout: float = 0.25,
        causal: bool = False,
    ) -> None:
        spaces = (joints_in * coords_in, channels, joints_out * 3)
        super().__init__(spaces, nn.ReLU(), joints_out, filter_widths, dropout, causal, strided=True)


class ChiralLifter(_Lifter):
    """The same architecture of layers that commute with the mirror, to be trained from scratch.

    layout free: hidden channels are plain pairs, the activation is ReLU.  layout paper (Yeh et al., 2019): hidden
    channels are joints times channels, a third of each joint's negated, the activation is tanh; `channels` must be a
    multiple of the joints (1020 = 17 x 60).
    body_in, body_out: skeletons of the poses, or their names.  Raises RepresentationSizeError.
    """

    convolution = chiral.Conv1d
    normalisation = chiral.BatchNorm1d

    def __init__(
        self,
        layout: Literal["free", "paper"] = "free",
        body_in: Skeleton | str = "h36m",
        body_out: Skeleton | str = "h36m",
        filter_widths: Widths = (3, 3, 3),
        channels: int = 256,
        dropout: float = 0.25,
        causal: bool = False,
        strided: bool = False,
        negated: float = 1 / 3,
    ) -> None:
        body_in, body_out = (load_skeleton(body) if isinstance(body, str) else body for body in (body_in, body_out))
        if layout == "paper":
            sides = len(body_out.pairs), len(body_out.pairs), len(body_out.center)
            hidden = chiral.negated_share(sides, channels, negated)
        else:
            hidden = chiral.hidden(channels)
        activation = chiral.Pointwise(nn.Tanh() if layout == "paper" else nn.ReLU(), hidden)
        spaces = (_features(body_in, ["x", "y"]), hidden, _features(body_out, ["x", "y", "z"]))
        super().__init__(spaces, activation, len(body_out.joints), filter_widths, dropout, causal, strided)


def _features(body: Skeleton, dims: Sequence[str]) -> Representation:
    """How the mirror acts on `(joint coord)`."""
    return Representation.of(body.merged_action(dims))
