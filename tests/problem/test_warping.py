"""Pictures that are moved: turned, scaled and shifted as a camera does, in pixels, and nothing else of a call."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from chiralize.body.tensors import parse_spec, resolve
from chiralize.problem.data.scattered import has_joints
from chiralize.problem.data.warping import ASIDE, LARGER, TURN, pictures_of, warped

HEIGHT, WIDTH = 40, 64


def ramps(count: int) -> Tensor:
    """Pictures whose two channels say where a pixel is, counted from the middle: to the right, and down."""
    down, across = torch.meshgrid(
        torch.arange(HEIGHT, dtype=torch.float64) - (HEIGHT - 1) / 2,
        torch.arange(WIDTH, dtype=torch.float64) - (WIDTH - 1) / 2,
        indexing="ij",
    )
    return torch.stack([across, down]).expand(count, 2, HEIGHT, WIDTH).clone()


@given(st.integers(0, 999))
def test_a_move_is_what_a_camera_does(seed: int) -> None:
    """Read off the middle, where nothing is reflected: no shear although the picture is no square."""
    ((moved,), _) = warped(((ramps(4),), {}), {0}, torch.Generator().manual_seed(seed))
    middle = moved[..., HEIGHT // 2 - 4 : HEIGHT // 2 + 4, WIDTH // 2 - 4 : WIDTH // 2 + 4]
    for where in middle:
        across, down = where.diff(dim=-1).mean((1, 2)), where.diff(dim=-2).mean((1, 2))
        size, turn = float(across.norm()), math.atan2(float(across[1]), float(across[0]))
        assert torch.allclose(down, torch.stack([-across[1], across[0]]), atol=1e-4)
        assert 1 / LARGER - 1e-4 <= size <= LARGER + 1e-4 and abs(turn) <= TURN + 1e-4
        aside = where.mean((1, 2)).abs()
        assert aside[0] <= ASIDE * WIDTH + 1e-3 and aside[1] <= ASIDE * HEIGHT + 1e-3


def test_samples_move_apart_and_their_pictures_together() -> None:
    """What is no picture, or of integers, stays; so does the call that was given."""
    images, before = ramps(3), ramps(3)
    rest = (torch.randn(3, 5), torch.randint(9, (3, 1, HEIGHT, WIDTH)))
    args, _ = warped(((images, images.float(), *rest), {}), {0, 1, 3}, torch.Generator().manual_seed(1))
    assert torch.equal(images, before) and not torch.allclose(args[0][0], args[0][1], atol=0.5)
    assert args[1].dtype == torch.float32 and torch.allclose(args[0], args[1].double(), atol=1e-3)
    assert args[2] is rest[0] and args[3] is rest[1]


@given(st.integers(0, 99), st.floats(0, 1))
def test_pictures_are_moved_less(seed: int, amount: float) -> None:
    """By a share of where the same draw takes them: not at all for none, further for more."""
    before = ramps(2)
    apart = [
        warped(((before,), {}), {0}, torch.Generator().manual_seed(seed), share)[0][0] - before
        for share in (0.0, amount / 2, amount)
    ]
    none, half, whole = (float(part.abs().mean()) for part in apart)
    assert none < 1e-9 and half <= whole + 1e-6


@given(st.integers(0, 99))
def test_same_generator_same_move(seed: int) -> None:
    first, second = (warped(((ramps(2),), {}), {0}, torch.Generator().manual_seed(seed))[0][0] for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("inputs", "shapes", "expected"),
    [
        ("['b c h ~w']", [(2, 3, 8, 8)], {0}),
        ("['b c ~h w']", [(2, 3, 8, 8)], set()),
        ("['b h ~w c']", [(2, 8, 8, 3)], set()),
        ("['b j h ~w']", [(2, 17, 8, 8)], {0}),
        ("['b t j d']", [(2, 9, 17, 2)], set()),
        ("['b t j d', 'b c h ~w']", [(2, 9, 17, 2), (2, 3, 8, 8)], {1}),
    ],
)
def test_which_inputs_are_pictures(inputs: str, shapes: list[Any], expected: set[int]) -> None:
    spec = parse_spec(f"skeleton: coco\ninputs: {inputs}\noutputs: ['b j d']")
    resolved = resolve(spec, shapes, [(2, 17, 2)])
    assert pictures_of(resolved) == expected
    assert not any(has_joints(resolved.input_tensors[position]) for position in expected)  # though they are small
