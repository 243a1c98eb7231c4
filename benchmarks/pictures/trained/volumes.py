"""Bodies in voxels: two kidneys, two lungs and a spine, blurred by noise, 32 voxels a side.

Organs of both sides have the same texture, so only their place tells left from right; bodies are turned and moved, so
that the middle of the volume is no border between the sides.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SIDE = 32
_BATCH = 250
# Of every organ: where it is, and its half axes (x, y, z; the body is from -1 to 1, x to its left), and how bright.
_SHAPES = {
    1: ((0.42, 0.25, -0.45), (0.17, 0.17, 0.26), 0.75),
    2: ((-0.42, 0.25, -0.45), (0.17, 0.17, 0.26), 0.75),
    3: ((0.42, 0.0, 0.4), (0.27, 0.42, 0.42), -0.6),
    4: ((-0.42, 0.0, 0.4), (0.27, 0.42, 0.42), -0.6),
    5: ((0.0, 0.55, 0.0), (0.12, 0.12, 0.95), 1.0),
}
_DISTRACTIONS = 4


@dataclass(frozen=True)
class Volumes:
    """pixels: "sample 1 z y x".  joints: the organ of every voxel, "sample z y x"."""

    pixels: Tensor
    joints: Tensor


def volumes(count: int, seed: int, device: str = "cpu") -> Volumes:
    """Random bodies; the same seed gives the same ones on every device, to rounding."""
    generator = torch.Generator().manual_seed(seed)
    parts = [_drawn(min(_BATCH, count - start), generator, device) for start in range(0, count, _BATCH)]
    pixels, organs = zip(*parts, strict=True)
    return Volumes(torch.cat(pixels), torch.cat(organs))


def _drawn(count: int, generator: torch.Generator, device: str) -> tuple[Tensor, Tensor]:
    def uniform(*shape: int) -> Tensor:
        """From -1 to 1, one for each body."""
        return (2 * torch.rand(count, *shape, generator=generator) - 1).to(device)

    at = torch.linspace(-1.1, 1.1, SIDE, device=device)
    z, y, x = torch.meshgrid(at, at, at, indexing="ij")
    turn, moved = 0.35 * uniform(1, 1, 1), 0.15 * uniform(3, 1, 1, 1)
    x, y, z = x + moved[:, 0], y + moved[:, 1], z + moved[:, 2]
    x, y = x * turn.cos() + y * turn.sin(), y * turn.cos() - x * turn.sin()
    organs = torch.zeros(count, SIDE, SIDE, SIDE, dtype=torch.long, device=device)
    body = (x / 0.95).square() + (y / 0.8).square() < 1
    pixels = 0.2 * body
    for organ, (middle, half, brightness) in _SHAPES.items():
        inside = _within((x, y, z), middle, half, uniform(6, 1, 1, 1))
        organs = torch.where(inside, organ, organs)
        pixels = torch.where(inside, brightness + 0.15 * uniform(1, 1, 1), pixels)
    for _ in range(_DISTRACTIONS):  # as bright as kidneys, and none
        middle = (0.9 * uniform(3, 1, 1, 1)).unbind(1)
        away = sum(((along - other) / 0.1).square() for along, other in zip((x, y, z), middle, strict=True))
        free = (away < 1) & (organs == 0)
        pixels = torch.where(free, 0.75 + 0.15 * uniform(1, 1, 1), pixels)
    noise = torch.randn(pixels.shape, generator=generator).to(device)
    return (pixels + 0.45 * noise)[:, None], organs


def _within(places: tuple[Tensor, ...], middle: tuple[float, ...], half: tuple[float, ...], drawn: Tensor) -> Tensor:
    """An ellipsoid that is a little elsewhere, larger or smaller than usual."""
    away = torch.zeros(())
    for axis, (along, usual, reach) in enumerate(zip(places, middle, half, strict=True)):
        off, larger = 0.08 * drawn[:, axis], 1 + 0.25 * drawn[:, 3 + axis]
        away = away + ((along - usual - off) / (reach * larger)).square()
    return away < 1
