"""A temporal convolution network that lifts 2D poses to 3D (as Pavllo et al., 2019), under the usual key names.

Joints times coordinates are the channels of a 1D convolution over time. Each residual block looks three times as far
as the one before it. No padding: the output is shorter than the input by the receptive field less one.
Nothing here knows of the mirror; making the trained network equivariant is chiralize's work.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import prod
from operator import mul

from torch import Tensor, nn
from torch.nn import functional


class TemporalLifter(nn.Module):
    """2D pose sequence to 3D pose sequence.

    Input:  `batch frame joint coord`, image coordinates over half the width, centre 0.
    Output: `batch frame_out joint 3`, metres, relative to the hip, camera frame;
            frame_out = frame - receptive_field + 1.
    Output frame t belongs to input frame t + receptive_field // 2, or, if causal, to t + receptive_field - 1.

    Keys: expand_conv.weight, expand_bn.*, layers_conv.{0..}.weight, layers_bn.{0..}.*, shrink.{weight,bias}. Residual
    block i owns layers 2i (dilated) and 2i + 1 (width 1).
    """

    def __init__(
        self,
        joints_in: int = 17,
        coords_in: int = 2,
        joints_out: int = 17,
        filter_widths: Sequence[int] = (3, 3, 3),
        channels: int = 256,
        dropout: float = 0.25,
        causal: bool = False,
    ) -> None:
        super().__init__()
        if not filter_widths or any(width < 1 or width % 2 == 0 for width in filter_widths):
            raise ValueError(f"filter_widths is {tuple(filter_widths)}; each width must be odd and positive.")
        self.joints_out = joints_out
        self.filter_widths = tuple(filter_widths)
        self.causal = causal
        first, *rest = self.filter_widths
        # A block's dilation is the number of frames that its input already sees: 3, 9, ... for widths of 3.
        self.dilations = tuple(accumulate(self.filter_widths, mul))[:-1]

        self.expand_conv = nn.Conv1d(joints_in * coords_in, channels, first, bias=False)
        self.expand_bn = nn.BatchNorm1d(channels)
        self.layers_conv = nn.ModuleList()
        self.layers_bn = nn.ModuleList()
        for width, dilation in zip(rest, self.dilations, strict=True):
            self.layers_conv.append(nn.Conv1d(channels, channels, width, dilation=dilation, bias=False))
            self.layers_conv.append(nn.Conv1d(channels, channels, 1, bias=False))
            self.layers_bn.append(nn.BatchNorm1d(channels))
            self.layers_bn.append(nn.BatchNorm1d(channels))
        self.shrink = nn.Conv1d(channels, joints_out * 3, 1)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(dropout)

    @property
    def receptive_field(self) -> int:
        """Input frames that one output frame depends on (27 for widths 3, 3, 3)."""
        return prod(self.filter_widths)

    def set_bn_momentum(self, momentum: float) -> None:
        """Weight of the newest batch in every BatchNorm's running statistics."""
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.momentum = momentum

    def forward(self, poses: Tensor) -> Tensor:
        """poses: `batch frame joint coord`. Returns `batch frame_out joint 3`, metres."""
        hidden = poses.flatten(2).transpose(1, 2)  # batch (joint coord) frame
        hidden = self.dropout(self.relu(self.expand_bn(self.expand_conv(hidden))))  # batch channel frame
        for block, dilation in enumerate(self.dilations):
            lost = dilation * (self.filter_widths[block + 1] - 1)  # frames that the dilated convolution costs
            late = 0 if self.causal else lost // 2
            skip = hidden[:, :, lost - late : -late if late else None]
            for layer in (2 * block, 2 * block + 1):
                hidden = self.layers_bn[layer](self.layers_conv[layer](hidden))
                hidden = self.dropout(self.relu(hidden))
            hidden = skip + hidden  # batch channel frame
        lifted = self.shrink(hidden).transpose(1, 2)  # batch frame_out (joint 3)
        return lifted.unflatten(2, (self.joints_out, 3))

    def lift_windows(self, windows: Tensor) -> Tensor:
        """The same function for windows of exactly receptive_field frames, without the frames that nobody reads.

        windows: `batch receptive_field joint coord`. Returns `batch 1 joint 3`, metres. Every convolution moves by its
        own width (27 frames become 9, 3, 1), so that training on independent windows costs half a chunk's arithmetic.
        In training the BatchNorm statistics are those of the frames that are read.
        """
        hidden = windows.flatten(2).flatten(0, 1)  # (batch frame) (joint coord)
        hidden = self._dense(hidden, self.expand_conv, self.expand_bn)
        for block, width in enumerate(self.filter_widths[1:]):
            middle = width - 1 if self.causal else width // 2
            skip = hidden.unflatten(0, (-1, width))[:, middle]  # (batch frame) channel
            for layer in (2 * block, 2 * block + 1):
                hidden = self._dense(hidden, self.layers_conv[layer], self.layers_bn[layer])
            hidden = skip + hidden
        lifted = functional.linear(hidden, self.shrink.weight.flatten(1), self.shrink.bias)  # batch (joint 3)
        return lifted.unflatten(1, (1, self.joints_out, 3))

    def _dense(self, hidden: Tensor, conv: nn.Module, norm: nn.Module) -> Tensor:
        """Convolution by its own width, as one matrix product. hidden: `(batch frame) channel`."""
        assert isinstance(conv, nn.Conv1d)
        weight = conv.weight.transpose(1, 2)  # out tap in
        neighbours = hidden.unflatten(0, (-1, weight.shape[1])).flatten(1)  # (batch frame) (tap in)
        return self.dropout(self.relu(norm(functional.linear(neighbours, weight.flatten(1)))))
