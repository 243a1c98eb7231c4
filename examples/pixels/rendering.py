"""People drawn as striped capsules before a patchwork, 64 pixels wide, and where their joints are in the picture.

Everything is drawn in one go for many pictures. The clothes of both sides look alike; which side is the left one shows
by the face alone. Pictures and mirrored pictures are equally likely, given bodies that are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from examples.pixels.poses import PARENTS, Array

SIZE = 64
_BONES = tuple((parent, joint) for joint, parent in enumerate(PARENTS) if parent >= 0)
_RADII = {10: 0.1, 9: 0.06, 8: 0.13, 7: 0.13, 1: 0.1, 4: 0.1, 11: 0.07, 14: 0.07}
"""Metres; of bones by the joint where they end, all others 0.055."""
_CLOTHES = (0, 0, 1, 1, 0, 1, 1, 2, 2, 3, 4, 2, 5, 5, 2, 5, 5)
"""Which of the colours a bone has, by the joint where it ends: both sides alike."""
_BATCH = 250
_PATCHES = 6


@dataclass(frozen=True)
class Pictures:
    """pixels: "sample 3 64 64", about -0.5 to 0.5.  joints: "sample joint 2", x and y in pixels."""

    pixels: Tensor
    joints: Tensor


@dataclass(frozen=True)
class _Dice:
    """Random numbers that depend on the seed alone, whatever device they are used on."""

    generator: torch.Generator
    device: torch.device

    def rand(self, *shape: int) -> Tensor:
        """Uniform, 0 to 1."""
        return torch.rand(*shape, generator=self.generator).to(self.device)

    def randn(self, *shape: int) -> Tensor:
        """Normal, spread 1."""
        return torch.randn(*shape, generator=self.generator).to(self.device)


def render(bodies: Array, seed: int, size: int = SIZE, device: str = "cpu") -> Pictures:
    """Pictures of bodies "sample joint 3", each in a square that holds it, its place and size drawn.

    device: where they are painted, and lie afterwards.  The same seed gives the same pictures everywhere, to rounding.
    """
    dice = _Dice(torch.Generator().manual_seed(seed), torch.device(device))
    pixels, joints = list[Tensor](), list[Tensor]()
    for part in np.array_split(bodies, max(len(bodies) // _BATCH, 1)):
        points = torch.tensor(part, dtype=torch.float32, device=device)
        crop = _cropped(points, size, dice)
        pixels.append(_painted(points, crop, size, dice))
        joints.append(crop.joints)
    return Pictures(torch.cat(pixels), torch.cat(joints))


@dataclass(frozen=True)
class _Crop:
    """joints: "sample joint 2" in pixels.  scale: pixels of a metre at each joint."""

    joints: Tensor
    scale: Tensor


def _cropped(points: Tensor, size: int, dice: _Dice) -> _Crop:
    """A square round every body: 1.1 to 1.5 times as large, and up to a tenth aside."""
    depth = points[..., 2:].clamp(min=0.5)
    image = points[..., :2] / depth
    low, high = image.amin(1), image.amax(1)
    side = (high - low).amax(1, keepdim=True) * (1.1 + 0.4 * dice.rand(len(points), 1))
    aside = (dice.rand(len(points), 2) - 0.5) * 0.2 * side
    corner = (low + high) / 2 + aside - side / 2
    scale = size / side
    joints = (image - corner[:, None]) * scale[:, None] - 0.5
    return _Crop(joints, scale / depth[..., 0])


def _painted(points: Tensor, crop: _Crop, size: int, dice: _Dice) -> Tensor:
    """Far bones first, the face last of its depth."""
    count, device = len(points), dice.device
    pixels = _background(count, size, dice)
    at = torch.arange(size, dtype=torch.float32, device=device)
    grid = torch.stack(torch.meshgrid(at, at, indexing="xy"), -1)[None]
    colours = dice.rand(count, 6, 3)
    colours[:, 3] = torch.tensor([0.85, 0.65, 0.5], device=device) * (0.4 + 0.7 * colours[:, 3, :1])
    colours[:, 5] = torch.where(colours[:, 5, :1] > 0.5, colours[:, 3], colours[:, 2])
    stripes = dice.rand(count, 6, 2)
    parts = [(start, end, _CLOTHES[end], _RADII.get(end, 0.055)) for start, end in _BONES]
    depths = torch.stack([(points[:, start, 2] + points[:, end, 2]) / 2 for start, end, _, _ in parts], 1)
    order, rows = depths.argsort(1, descending=True), torch.arange(count, device=device)
    starts, ends, clothes, radii = (torch.tensor(values, device=device) for values in zip(*parts, strict=True))
    for bone in order.T:
        first, last = crop.joints[rows, starts[bone]], crop.joints[rows, ends[bone]]
        radius = (radii[bone] * crop.scale[rows, ends[bone]])[:, None, None]
        along, distance = _along(grid, first, last)
        cover = ((radius - distance) + 0.5).clamp(0, 1)
        wave = 1 + 0.35 * torch.sin(along * 25 * stripes[rows, clothes[bone], :1, None])
        shade = (1 - 0.5 * (distance / radius.clamp(min=0.5)).clamp(0, 1).square()) * wave
        paint = colours[rows, clothes[bone]][:, :, None, None] * shade[:, None]
        pixels = torch.lerp(pixels, paint, cover[:, None])
    pixels = _with_face(pixels, points, crop, grid, colours[:, 3])
    noise = 0.03 * dice.randn(*pixels.shape)
    return (pixels.clamp(0, 1.2) + noise - 0.5).contiguous()


def _along(grid: Tensor, first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """How far along a segment the nearest point of it lies (0 to 1), and its distance: "sample row column"."""
    direction = (last - first)[:, None, None]
    away = grid - first[:, None, None]
    along = ((away * direction).sum(-1) / direction.square().sum(-1).clamp(min=1e-3)).clamp(0, 1)
    return along, (away - along[..., None] * direction).norm(dim=-1)


def _with_face(pixels: Tensor, points: Tensor, crop: _Crop, grid: Tensor, skin: Tensor) -> Tensor:
    """A disc of skin with a dark mark on the front of the head, where it looks towards the camera."""
    up = points[:, 10] - points[:, 8]
    left = points[:, 11] - points[:, 14]
    ahead = torch.nn.functional.normalize(torch.linalg.cross(up, left), dim=-1)
    middle = (crop.joints[:, 9] + crop.joints[:, 10]) / 2
    scale = crop.scale[:, 10]
    seen = (-ahead[:, 2] * 3 + 0.5).clamp(0, 1)
    for forward, size, tint in ((0.05, 0.085, 1.0), (0.1, 0.03, 0.3)):
        center = middle + ahead[:, :2] * (forward * scale)[:, None]
        distance = (grid - center[:, None, None]).norm(dim=-1)
        cover = ((size * scale)[:, None, None] - distance + 0.5).clamp(0, 1) * seen[:, None, None]
        pixels = torch.lerp(pixels, (tint * skin)[:, :, None, None].expand_as(pixels), cover[:, None])
    return pixels


def _background(count: int, size: int, dice: _Dice) -> Tensor:
    """Soft clouds, and some slanted patches before them."""
    coarse = dice.rand(count, 3, 5, 5)
    pixels = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic", align_corners=True)
    at = torch.linspace(-1, 1, size, device=dice.device)
    for _ in range(_PATCHES):
        center, half = (dice.rand(count, 2, 1, 1) for _ in range(2))
        turn = 3.14 * dice.rand(count, 1, 1)
        x, y = at[None, None] - 2 * center[:, 0] + 1, at[None, :, None] - 2 * center[:, 1] + 1
        inside = (x * turn.cos() + y * turn.sin()).abs() < 0.5 * half[:, 0]
        inside &= (y * turn.cos() - x * turn.sin()).abs() < 0.5 * half[:, 1]
        paint = dice.rand(count, 3, 1, 1)
        pixels = torch.where(inside[:, None], paint, pixels)
    return pixels.clamp(0, 1)
