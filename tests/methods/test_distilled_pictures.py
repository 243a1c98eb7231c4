"""`--distill` on pictures: small steps on pictures that are moved as a camera moves."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.commands.convert import Conversion, Request, convert
from chiralize.graph.running import Call
from chiralize.methods.refine import refine
from chiralize.methods.refine.lessons import MovedAnew
from chiralize.problem.data.cutting import rows_of
from chiralize.problem.preparation import prepare

SPEC = parse_spec("{joints: [head, l, r], pairs: [[l, r]], inputs: ['b c h ~w'], outputs: ['b j h ~w']}")
SWAPPED = [0, 2, 1]


def spots(count: int, seed: int) -> Tensor:
    """Pictures "sample 2 16 17" of a bright spot, and of a dark one."""
    draw = torch.Generator().manual_seed(seed)
    at = 4 + 8 * torch.rand(count, 2, 2, 1, generator=draw)
    down, across = ((-(torch.arange(size) - at[:, :, dim]).square() / 4).exp() for dim, size in enumerate((16, 17)))
    return down[..., :, None] * across[..., None, :]


class Maps(nn.Module):
    """Maps of three joints, as large as the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(2, 8, 3, 1, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU())
        self.head = nn.Conv2d(8, 3, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Maps "sample 3 16 17"."""
        return self.head(self.trunk(pictures))


@cache
def teacher() -> nn.Module:
    torch.manual_seed(1)
    return Maps().eval()


def converted(**options: Any) -> Conversion:
    pictures = spots(200, 0)
    request = Request("reduce", width=0.5, force=True, rounds=0, calibration=[((pictures,), {})], **options)
    return convert(prepare(teacher(), SPEC, (pictures[:2],)), "maps", request)


@pytest.mark.parametrize("is_held", [True, False])
def test_distilling_on_pictures(is_held: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearer to the flip average on pictures of its kind, and as equivariant; it learnt from pictures that were moved,
    few at a time, drawn from all that are given, but in their order where memory does not hold them."""
    if not is_held:
        monkeypatch.setattr(refine, "_HELD", 0)
        monkeypatch.delattr(refine, "shuffled")
    taken: list[Call] = []
    take = MovedAnew.take

    def noted(self: MovedAnew, number: int, generator: torch.Generator) -> tuple[Call, Tensor]:
        lesson = take(self, number, generator)
        taken.append(lesson[0])
        return lesson

    monkeypatch.setattr(MovedAnew, "take", noted)
    monkeypatch.setattr(refine, "rows_for", lambda network: 8)
    before, after = converted(), converted(distill=60)
    others, original = spots(50, 9), teacher()
    with torch.no_grad():
        wanted = (original(others) + original(others.flip(-1)).flip(-1)[:, SWAPPED]) / 2
        errors = [float((found.module(others) - wanted).square().mean()) for found in (before, after)]
        turned = after.module(others.flip(-1)).flip(-1)[:, SWAPPED]
        assert torch.allclose(after.module(others), turned, atol=1e-5)
    assert errors[1] < 0.8 * errors[0] and after.report.passed
    given = spots(200, 0)
    assert {rows_of(call) for call in taken} == {8 if is_held else 20}
    assert all((call[0][0][:, None] - given).abs().amax((2, 3, 4)).min() > 0 for call in taken)
