"""A heatmap network as they are usual: a stem and a pool with strides, residual blocks, a deconvolution, a head."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from examples.pixels.poses import JOINTS, SWAPPED
from examples.pixels.rendering import Pictures

STRIDE = 4
_SPREAD = 1.0
"""Of a spot on a map, in cells."""


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, channels: int, wider: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(channels, wider, 3, stride, 1, bias=False), nn.BatchNorm2d(wider), nn.ReLU()
        )
        self.second = nn.Sequential(nn.Conv2d(wider, wider, 3, 1, 1, bias=False), nn.BatchNorm2d(wider))
        self.shortcut = nn.Sequential(nn.Conv2d(channels, wider, 1, stride, bias=False), nn.BatchNorm2d(wider))

    def forward(self, maps: Tensor) -> Tensor:
        """Maps "b channels h w" to "b wider h/stride w/stride"."""
        return torch.relu(self.second(self.first(maps)) + self.shortcut(maps))


class Heatmaps(nn.Module):
    """Pictures "b 3 h w" to a map of each joint, "b 17 h/4 w/4"."""

    def __init__(self, channels: int = 24) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, channels, 3, 2, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU())
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.body = nn.Sequential(
            Block(channels, 2 * channels, 1), Block(2 * channels, 4 * channels, 2), Block(4 * channels, 4 * channels, 1)
        )
        self.up = nn.Sequential(
            nn.ConvTranspose2d(4 * channels, 2 * channels, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * channels), nn.ReLU()
        )
        self.head = nn.Conv2d(2 * channels, JOINTS, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures to maps."""
        return self.head(self.up(self.body(self.pool(self.stem(pictures)))))


def targets(joints: Tensor, cells: int) -> Tensor:
    """Maps with a spot at every joint "sample joint 2", cell i at pixel 4 i, as the field's toolboxes label them."""
    at = torch.arange(cells, device=joints.device) * float(STRIDE)
    across, down = (torch.exp(-((at - joints[..., dim, None]) / STRIDE / _SPREAD).square() / 2) for dim in (0, 1))
    return down[..., :, None] * across[..., None, :]


def flipped(pixels: Tensor, joints: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
    """The pictures with some of them mirrored, left and right joints exchanged."""
    signs, last = joints.new_tensor([-1.0, 1.0]), joints.new_tensor([pixels.shape[-1] - 1.0, 0.0])
    turned = joints[:, list(SWAPPED)] * signs + last
    chosen = which[:, None, None]
    return torch.where(chosen[..., None], pixels.flip(-1), pixels), torch.where(chosen, turned, joints)


def train(
    net: nn.Module, pictures: Pictures, seconds: float, seed: int = 0, say: Callable[[str], None] = print
) -> nn.Module:
    """Train with flips for so many seconds of this process; returns the network itself, in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-4)
    start, step, spent = time.process_time(), 0, 0.0
    net.train()
    while spent < seconds:
        chosen = torch.randint(len(pictures.pixels), (48,), generator=generator)
        which = torch.rand(48, generator=generator) < 0.5
        pixels, joints = flipped(pictures.pixels[chosen], pictures.joints[chosen], which)
        answer = net(pixels)
        loss = 100 * (answer - targets(joints, answer.shape[-1])).square().mean()
        optimizer.param_groups[0]["lr"] = 2e-3 * min(1.0, (step + 1) / 100, 4 * (1.001 - spent / seconds))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step, spent = step + 1, time.process_time() - start
        if step % 250 == 0:
            say(f"step {step}, {spent:.0f} s, loss {float(loss):.3f}")
    return net.eval()
