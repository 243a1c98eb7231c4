"""Ordinary networks on bodies, in the styles that are usual in the field. None of them knows of the mirror.

Lifters map `batch joint coord` (one frame) or `batch frame joint coord` to `batch joint 3`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

JOINTS = 17
"""Of Human3.6M; the lifters' inputs and outputs."""
FORECAST = 16
"""Frames that the forecaster adds."""
OPENPOSE_BONES = (
    (1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13), (1, 0),
    (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip


# ---- one frame ------------------------------------------------------------------------------------------------------
class Dense(nn.Sequential):
    """Linear, BatchNorm, ReLU, dropout."""

    def __init__(self, width_in: int, width_out: int, dropout: float) -> None:
        super().__init__(nn.Linear(width_in, width_out), nn.BatchNorm1d(width_out), nn.ReLU(), nn.Dropout(dropout))


class LayerNormed(nn.Sequential):
    """Linear, LayerNorm, ReLU, dropout."""

    def __init__(self, width_in: int, width_out: int, dropout: float) -> None:
        super().__init__(nn.Linear(width_in, width_out), nn.LayerNorm(width_out), nn.ReLU(), nn.Dropout(dropout))


Layer = Callable[[int, int, float], nn.Module]
"""Makes a layer: units that it reads, units that it has, dropout."""


class FrameLifter(nn.Module):
    """Two residual blocks of two dense layers (as Martinez et al., 2017)."""

    def __init__(self, width: int, dropout: float = 0.25, layer: Layer = Dense) -> None:
        super().__init__()
        self.first = layer(2 * JOINTS, width, dropout)
        self.blocks = nn.ModuleList(
            nn.Sequential(layer(width, width, dropout), layer(width, width, dropout)) for _ in range(2)
        )
        self.head = nn.Linear(width, 3 * JOINTS)

    def forward(self, poses: Tensor) -> Tensor:
        hidden = self.first(poses.flatten(1))  # batch channel
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return self.head(hidden).unflatten(1, (JOINTS, 3))


class PlainLifter(nn.Module):
    """Linear layers with an activation between them, nothing else."""

    def __init__(self, width: int, depth: int, activation: type[nn.Module]) -> None:
        super().__init__()
        widths = [2 * JOINTS] + [width] * depth
        layers: list[nn.Module] = []
        for before, after in zip(widths, widths[1:], strict=False):
            layers += [nn.Linear(before, after), activation()]
        self.layers = nn.Sequential(*layers, nn.Linear(width, 3 * JOINTS))

    def forward(self, poses: Tensor) -> Tensor:
        return self.layers(poses.flatten(1)).unflatten(1, (JOINTS, 3))


class Block(nn.Module):
    """Attention, then a feed-forward part, normalised before each; one packed layer makes q, k and v."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """x: `batch token channel`."""
        batch, tokens, width = x.shape
        q, k, v = self.qkv(self.norm_1(x)).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v)  # batch head token channel
        x = x + self.proj(mixed.transpose(1, 2).reshape(batch, tokens, width))
        return x + self.down(functional.gelu(self.up(self.norm_2(x))))


class JointTransformer(nn.Module):
    """A token per joint."""

    def __init__(self, width: int = 64, heads: int = 4, hidden: int = 128, depth: int = 4) -> None:
        super().__init__()
        self.embed = nn.Linear(2, width)
        self.joint = nn.Parameter(0.5 * torch.randn(JOINTS, width))
        self.blocks = nn.Sequential(*(Block(width, heads, hidden) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 3)

    def forward(self, poses: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks(self.embed(poses) + self.joint)))


class MixerBlock(nn.Module):
    """A perceptron over the joints of every channel, then one over the channels of every joint."""

    def __init__(self, width: int, joint_units: int, channel_units: int) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.joints = nn.Sequential(nn.Linear(JOINTS, joint_units), nn.GELU(), nn.Linear(joint_units, JOINTS))
        self.channels = nn.Sequential(nn.Linear(width, channel_units), nn.GELU(), nn.Linear(channel_units, width))

    def forward(self, x: Tensor) -> Tensor:
        """x: `batch joint channel`."""
        x = x + self.joints(self.norm_1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norm_2(x))


class JointMixer(nn.Module):
    """A token per joint, mixed by layers along the joints (as Tolstikhin et al., 2021, mix patches)."""

    def __init__(self, width: int = 64, joint_units: int = 64, channel_units: int = 128, depth: int = 4) -> None:
        super().__init__()
        self.embed = nn.Linear(2, width)
        self.blocks = nn.Sequential(*(MixerBlock(width, joint_units, channel_units) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 3)

    def forward(self, poses: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks(self.embed(poses))))


# ---- several frames -------------------------------------------------------------------------------------------------
class TemporalLifter(nn.Module):
    """Residual convolutions over time (as Pavllo et al., 2019); each moves by its own width of three frames."""

    def __init__(self, blocks: int, width: int = 256, dropout: float = 0.25) -> None:
        super().__init__()
        self.expand = nn.Conv1d(2 * JOINTS, width, 3, stride=3, bias=False)
        self.expand_norm = nn.BatchNorm1d(width)
        self.wide = nn.ModuleList(nn.Conv1d(width, width, 3, stride=3, bias=False) for _ in range(blocks))
        self.wide_norm = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(blocks))
        self.narrow = nn.ModuleList(nn.Conv1d(width, width, 1, bias=False) for _ in range(blocks))
        self.narrow_norm = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(blocks))
        self.dropout = nn.Dropout(dropout)
        self.shrink = nn.Conv1d(width, 3 * JOINTS, 1)

    def forward(self, poses: Tensor) -> Tensor:
        """poses: `batch 3^(blocks + 1) joint 2`."""
        hidden = poses.flatten(2).transpose(1, 2)  # batch (joint coord) frame
        hidden = self.dropout(functional.relu(self.expand_norm(self.expand(hidden))))
        for wide, wide_norm, narrow, narrow_norm in zip(
            self.wide, self.wide_norm, self.narrow, self.narrow_norm, strict=True
        ):
            skip = hidden[:, :, 1::3]
            hidden = self.dropout(functional.relu(wide_norm(wide(hidden))))
            hidden = skip + self.dropout(functional.relu(narrow_norm(narrow(hidden))))
        return self.shrink(hidden).squeeze(2).unflatten(1, (JOINTS, 3))


class RecurrentLifter(nn.Module):
    """GRU over the frames; its last state says the pose."""

    def __init__(self, width: int, layers: int = 2) -> None:
        super().__init__()
        self.gru = nn.GRU(2 * JOINTS, width, layers, batch_first=True)
        self.head = nn.Linear(width, 3 * JOINTS)

    def forward(self, poses: Tensor) -> Tensor:
        states, _ = self.gru(poses.flatten(2))  # batch frame channel
        return self.head(states[:, -1]).unflatten(1, (JOINTS, 3))


class FrameTransformer(nn.Module):
    """A token per frame; the middle one says the pose. norm_first: normalised before each part, or after it."""

    def __init__(self, frames: int, norm_first: bool, width: int = 128, heads: int = 4, depth: int = 3) -> None:
        super().__init__()
        self.middle = frames // 2
        self.embed = nn.Linear(2 * JOINTS, width)
        self.position = nn.Parameter(0.1 * torch.randn(frames, width))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, heads, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=norm_first
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width) if norm_first else nn.Identity()
        self.head = nn.Linear(width, 3 * JOINTS)

    def forward(self, poses: Tensor) -> Tensor:
        hidden = self.embed(poses.flatten(2)) + self.position  # batch frame channel
        for layer in self.layers:
            hidden = layer(hidden)
        return self.head(self.norm(hidden[:, self.middle])).unflatten(1, (JOINTS, 3))


# ---- forecasting and recognition ------------------------------------------------------------------------------------
class Forecaster(nn.Module):
    """LSTM that says how far the next frame is from this one, and then reads its own answer."""

    def __init__(self, width: int = 256, layers: int = 2, joints: int = 13) -> None:
        super().__init__()
        self.lstm = nn.LSTM(2 * joints, width, layers, batch_first=True)
        self.head = nn.Linear(width, 2 * joints)
        self.joints = joints

    def following(self, poses: Tensor) -> Tensor:
        """The next frame for every frame, for training. `batch frame joint 2` both ways."""
        states, _ = self.lstm(poses.flatten(2))
        return poses + self.head(states).unflatten(2, (self.joints, 2))

    def forward(self, poses: Tensor) -> Tensor:
        """`batch frame joint 2` to `batch 16 joint 2`."""
        frames = poses.flatten(2)  # batch frame (joint coord)
        states, memory = self.lstm(frames)
        frame = frames[:, -1:]
        forecast = []
        for step in range(FORECAST):
            frame = frame + self.head(states[:, -1:])
            forecast.append(frame)
            if step + 1 < FORECAST:
                states, memory = self.lstm(frame, memory)
        return torch.cat(forecast, 1).unflatten(2, (self.joints, 2))


class RecurrentRecogniser(nn.Module):
    """GRU over the frames, mean over time. `batch frame joint 3` to `batch class`."""

    def __init__(self, width: int = 128, layers: int = 2, classes: int = 12, joints: int = 18) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3 * joints)
        self.gru = nn.GRU(3 * joints, width, layers, batch_first=True, dropout=0.3)
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(width, classes)

    def forward(self, poses: Tensor) -> Tensor:
        hidden = self.norm(poses.flatten(2).transpose(1, 2)).transpose(1, 2)  # batch frame (joint coord)
        states, _ = self.gru(hidden)  # batch frame channel
        return self.head(self.dropout(states.mean(1)))


class GraphBlock(nn.Module):
    """Graph convolution over joints with learned weights of the bones, then a convolution over time."""

    def __init__(self, width_in: int, width_out: int, graph: Tensor, stride: int, dropout: float) -> None:
        super().__init__()
        self.parts = len(graph)
        self.graph: Tensor
        self.register_buffer("graph", graph)  # part joint joint
        self.importance = nn.Parameter(torch.ones_like(graph))
        self.mix = nn.Conv2d(width_in, width_out * self.parts, 1)
        self.mix_norm = nn.BatchNorm2d(width_out)
        self.time = nn.Conv2d(width_out, width_out, (9, 1), stride=(stride, 1), padding=(4, 0))
        self.time_norm = nn.BatchNorm2d(width_out)
        self.skip = (
            nn.Identity()
            if stride == 1 and width_in == width_out
            else nn.Sequential(nn.Conv2d(width_in, width_out, 1, stride=(stride, 1)), nn.BatchNorm2d(width_out))
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """x: `batch channel frame joint`."""
        parts = self.mix(x).unflatten(1, (self.parts, -1))  # batch part channel frame joint
        mixed = torch.einsum("bpctj,pjk->bctk", parts, self.graph * self.importance)
        mixed = functional.relu(self.mix_norm(mixed))
        return functional.relu(self.dropout(self.time_norm(self.time(mixed))) + self.skip(x))


class GraphRecogniser(nn.Module):
    """Four blocks of graph convolutions (as Yan et al., 2018). `batch frame joint 3` to `batch class`."""

    def __init__(self, width: int = 32, classes: int = 12, joints: int = 18, dropout: float = 0.1) -> None:
        super().__init__()
        graph = _graph(joints)
        self.norm = nn.BatchNorm1d(3 * joints)
        self.blocks = nn.ModuleList(
            GraphBlock(width_in, width, graph, stride, dropout)
            for width_in, stride in ((3, 2), (width, 1), (width, 2), (width, 1))
        )
        self.head = nn.Linear(width, classes)

    def forward(self, poses: Tensor) -> Tensor:
        hidden = self.norm(poses.flatten(2).transpose(1, 2))  # batch (joint coord) frame
        hidden = hidden.unflatten(1, (-1, 3)).permute(0, 2, 3, 1)  # batch coord frame joint
        for block in self.blocks:
            hidden = block(hidden)
        return self.head(hidden.mean((2, 3)))


def _graph(joints: int) -> Tensor:
    """`part joint joint`: every joint itself, and its neighbours with rows and columns normalised."""
    neighbours = torch.zeros(joints, joints)
    for a, b in OPENPOSE_BONES:
        neighbours[a, b] = neighbours[b, a] = 1
    scale = neighbours.sum(1).rsqrt()
    return torch.stack([torch.eye(joints), scale[:, None] * neighbours * scale])
