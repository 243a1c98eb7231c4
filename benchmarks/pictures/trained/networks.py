"""Small networks of the four usual kinds on pictures of 96 pixels, whose maps have 24 cells; and one on voxels.

The residual network is that of `examples.pixels`. All strides meet even widths, as those of published networks do.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from examples.pixels.poses import JOINTS

SIZE, STRIDE = 96, 4
"""Pixels of a picture; pixels from cell to cell."""
BINS_PER_PIXEL = 2
ORGANS = ("none", "kidney_left", "kidney_right", "lung_left", "lung_right", "spine")


def convolution(channels: int, wider: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """A convolution that keeps the size but for its stride, a batch norm and a ReLU."""
    layer = nn.Conv2d(channels, wider, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(wider), nn.ReLU())


class Basic(nn.Module):
    """Two convolutions beside an identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = convolution(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, maps: Tensor) -> Tensor:
        """Maps of the same shape."""
        return torch.relu(maps + self.second(self.first(maps)))


class HighResolution(nn.Module):
    """Maps of 24, 12 and 6 cells side by side, which exchange what they know: a small HRNet."""

    def __init__(self, channels: int = 24) -> None:
        super().__init__()
        one, two, three = channels, 2 * channels, 4 * channels
        self.stem = nn.Sequential(convolution(3, one, stride=2), convolution(one, one, stride=2), Basic(one))
        self.open_two, self.open_three = convolution(one, two, stride=2), convolution(two, three, stride=2)
        self.first = nn.ModuleList([Basic(one), Basic(two)])
        self.second = nn.ModuleList([Basic(one), Basic(two), Basic(three)])
        self.one_from_two, self.one_from_three = nn.Conv2d(two, one, 1), nn.Conv2d(three, one, 1)
        self.two_from_one, self.two_from_three = nn.Conv2d(one, two, 3, 2, 1), nn.Conv2d(three, two, 1)
        self.late_from_two = nn.Conv2d(two, one, 1)
        self.head = nn.Conv2d(one, JOINTS, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures "b 3 96 96" to maps "b 17 24 24"."""
        one = self.stem(pictures)
        two = self.first[1](self.open_two(one))
        one = self.first[0](one)
        fused = torch.relu(one + _larger(self.one_from_two(two), 2))
        two = torch.relu(two + self.two_from_one(one))
        three = self.second[2](self.open_three(two))
        one, two = self.second[0](fused), self.second[1](two)
        two = torch.relu(two + _larger(self.two_from_three(three), 2))
        one = torch.relu(one + _larger(self.late_from_two(two), 2) + _larger(self.one_from_three(three), 4))
        return self.head(one)


def _larger(maps: Tensor, factor: int) -> Tensor:
    return functional.interpolate(maps, scale_factor=factor, mode="nearest")


class Attention(nn.Module):
    """A layer of a vision transformer: attention and a perceptron, normed before, beside identities."""

    def __init__(self, features: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.norm_of_perceptron = nn.LayerNorm(features), nn.LayerNorm(features)
        self.query, self.key, self.value = (nn.Linear(features, features) for _ in range(3))
        self.out = nn.Linear(features, features)
        self.perceptron = nn.Sequential(nn.Linear(features, 2 * features), nn.GELU(), nn.Linear(2 * features, features))

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens "b token feature"."""
        normed = self.norm(tokens)
        query, key, value = (self._split(layer(normed)) for layer in (self.query, self.key, self.value))
        heads = functional.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.out(heads.transpose(1, 2).flatten(2))
        return tokens + self.perceptron(self.norm_of_perceptron(tokens))

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)


class Tokens(nn.Module):
    """Patches of 8 pixels as tokens with a learned table of places, and a deconvolution: a small ViTPose."""

    def __init__(self, features: int = 128, layers: int = 4, heads: int = 4) -> None:
        super().__init__()
        self.side = SIZE // 8
        self.patches = nn.Conv2d(3, features, 8, 8)
        self.places = nn.Parameter(0.02 * torch.randn(1, self.side**2, features))
        self.layers = nn.Sequential(*(Attention(features, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(features)
        self.up = nn.Sequential(nn.ConvTranspose2d(features, 64, 4, 2, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU())
        self.head = nn.Conv2d(64, JOINTS, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures "b 3 96 96" to maps "b 17 24 24"."""
        tokens = self.patches(pictures).flatten(2).transpose(1, 2) + self.places
        tokens = self.norm(self.layers(tokens))
        maps = tokens.transpose(1, 2).unflatten(2, (self.side, self.side))
        return self.head(self.up(maps))


class Bins(nn.Module):
    """Scores over bins of columns and of rows, half a pixel each, read off a small map of each joint (SimCC)."""

    def __init__(self, channels: int = 32) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            convolution(3, channels, stride=2), convolution(channels, 2 * channels, stride=2), Basic(2 * channels),
            convolution(2 * channels, 4 * channels, stride=2), Basic(4 * channels), Basic(4 * channels),
        )  # fmt: skip
        self.maps = nn.Conv2d(4 * channels, JOINTS, 3, 1, 1)
        cells, bins = (SIZE // 8) ** 2, SIZE * BINS_PER_PIXEL
        self.shared = nn.Sequential(nn.Linear(cells, 192), nn.ReLU())
        self.columns, self.rows = nn.Linear(192, bins), nn.Linear(192, bins)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures "b 3 96 96" to scores "b 17 192" of columns and of rows."""
        features = self.shared(self.maps(self.trunk(pictures)).flatten(2))
        return self.columns(features), self.rows(features)


class Organs(nn.Module):
    """Voxels "b 1 32 32 32" to scores of `ORGANS`: a 3-D U-Net of two levels."""

    def __init__(self, channels: int = 12) -> None:
        super().__init__()
        one, two, three = channels, 2 * channels, 4 * channels
        self.fine, self.middle, self.coarse = _voxels(1, one), _voxels(one, two), _voxels(two, three)
        self.pool = nn.MaxPool3d(2)
        self.up_middle, self.up_fine = nn.ConvTranspose3d(three, two, 2, 2), nn.ConvTranspose3d(two, one, 2, 2)
        self.late_middle, self.late_fine = _voxels(2 * two, two), _voxels(2 * one, one)
        self.head = nn.Conv3d(one, len(ORGANS), 1)

    def forward(self, voxels: Tensor) -> Tensor:
        """Scores "b 6 32 32 32"."""
        fine = self.fine(voxels)
        middle = self.middle(self.pool(fine))
        coarse = self.coarse(self.pool(middle))
        middle = self.late_middle(torch.cat([middle, self.up_middle(coarse)], 1))
        return self.head(self.late_fine(torch.cat([fine, self.up_fine(middle)], 1)))


def _voxels(channels: int, wider: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for into in (channels, wider):
        layers += [nn.Conv3d(into, wider, 3, 1, 1, bias=False), nn.BatchNorm3d(wider), nn.ReLU()]
    return nn.Sequential(*layers)
