"""Networks of any size, built on the fly with random weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

JOINTS, FRAMES = 17, 9


class Block(nn.Module):
    """Attention over frames and a feed-forward part, normalised before each."""

    def __init__(self, width: int, heads: int, factor: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, factor * width), nn.Linear(factor * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """x: "batch frame channel"."""
        batch, frames, width = x.shape
        q, k, v = self.qkv(self.norm_1(x)).view(batch, frames, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v)  # batch head frame channel
        x = x + self.proj(mixed.transpose(1, 2).reshape(batch, frames, width))
        return x + self.down(functional.gelu(self.up(self.norm_2(x))))


class PoseTransformer(nn.Module):
    """2D to 3D: a token per frame, blocks over frames. "batch frame joint coord" both ways."""

    def __init__(self, width: int = 2048, depth: int = 20, heads: int = 16, factor: int = 4) -> None:
        super().__init__()
        self.embed = nn.Linear(2 * JOINTS, width)
        self.position = nn.Parameter(torch.randn(1, FRAMES, width))
        self.blocks = nn.Sequential(*(Block(width, heads, factor) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 3 * JOINTS)

    def forward(self, x: Tensor) -> Tensor:
        """x: "batch frame joint coord"."""
        x = self.embed(x.flatten(2)) + self.position
        return self.head(self.norm(self.blocks(x))).unflatten(-1, (JOINTS, 3))


class Residual(nn.Module):
    """Many small ops: `depth` residual blocks, five ops each."""

    def __init__(self, width: int = 32, depth: int = 800) -> None:
        super().__init__()
        self.first = nn.Linear(2 * JOINTS, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))
        self.ups = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.downs = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.last = nn.Linear(width, 3 * JOINTS)

    def forward(self, x: Tensor) -> Tensor:
        """x: "batch joint coord"."""
        x = self.first(x.flatten(1))
        for norm, up, down in zip(self.norms, self.ups, self.downs, strict=True):
            x = x + down(functional.gelu(up(norm(x))))
        return self.last(x).unflatten(-1, (JOINTS, 3))


class TemporalLifter(nn.Module):
    """2D to 3D over 3^(blocks + 1) frames, residual convolutions over time in the shapes of VideoPose3D.

    strided: one answer per window ("batch frame joint coord" to "batch 1 joint coord"); else dilated convolutions, an
    answer for every window that fits.
    """

    def __init__(self, width: int = 1024, blocks: int = 4, strided: bool = True) -> None:
        super().__init__()
        self.strided = strided
        moves = [(3, 0, 1) if strided else (1, 0, 3**place) for place in range(blocks + 1)]  # stride, padding, dilation
        self.expand_conv = nn.Conv1d(2 * JOINTS, width, 3, *moves[0], bias=False)
        self.expand_bn = nn.BatchNorm1d(width)
        self.layers_conv = nn.ModuleList(
            layer
            for move in moves[1:]
            for layer in (nn.Conv1d(width, width, 3, *move, bias=False), nn.Conv1d(width, width, 1, bias=False))
        )
        self.layers_bn = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(2 * blocks))
        self.shrink = nn.Conv1d(width, 3 * JOINTS, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x: "batch frame joint coord"."""
        x = x.flatten(2).transpose(1, 2)  # batch (joint coord) frame
        x = functional.relu(self.expand_bn(self.expand_conv(x)))
        for place in range(0, len(self.layers_conv), 2):
            skip = x[:, :, 1::3] if self.strided else x[:, :, 3 ** (place // 2 + 1) : -(3 ** (place // 2 + 1))]
            x = functional.relu(self.layers_bn[place](self.layers_conv[place](x)))
            x = skip + functional.relu(self.layers_bn[place + 1](self.layers_conv[place + 1](x)))
        return self.shrink(x).transpose(1, 2).unflatten(2, (JOINTS, 3))


def scrambled(network: nn.Module) -> nn.Module:
    """Every parameter drawn, norms included: fresh ones commute with everything."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, own in network.named_parameters():
            spread = own.shape[-1] ** -0.5 if own.ndim == 2 else 0.1
            own.normal_(0, spread, generator=generator)
            if "norm" in name and name.endswith("weight"):
                own.add_(1)
    return network.eval()


def settled(network: nn.Module, inputs: Tensor) -> nn.Module:
    """Random batch norms with the statistics of these inputs, so that units are active as in a trained network."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.momentum = None
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(module.bias, 0, 0.3, generator=generator)
    with torch.no_grad():
        network.train()(inputs)
    return network.eval()
