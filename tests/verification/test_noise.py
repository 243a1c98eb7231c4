"""Numbers that a random generator drew are told from what bodies do, around a mean pose too."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from chiralize.verification.evidence.noise import is_noise, looks_real

JOINTS = (17, 3)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def poses(count: int, seed: int = 0) -> Tensor:
    """Limbs that swing together around a mean pose "sample joint coordinate"; the root joint stays at 0."""
    draw = generator(seed)
    mean, modes = torch.randn(JOINTS, generator=draw), torch.randn(5, *JOINTS, generator=draw)
    swings = torch.randn(count, 5, generator=draw)
    moved = mean + 0.3 * torch.einsum("nk,kjd->njd", swings, modes)
    moved[:, 0] = 0.0
    return moved


def one_by_one(samples: Tensor) -> list[Tensor]:
    return list(samples.split(1))


@given(
    st.integers(0, 10_000), st.sampled_from([64, 100, 400]), st.sampled_from([torch.randn, torch.rand]), st.booleans(),
    st.booleans(),
)  # fmt: skip
def test_draws_around_a_mean_pose_are_noise(seed: int, count: int, draw: Any, has_mean: bool, has_root: bool) -> None:
    real = poses(count, seed)
    drawn = real.std(0) * draw(real.shape, generator=generator(seed + 1))
    if has_mean:
        drawn = drawn + real.mean(0)
    if has_root:
        drawn[:, 0] = 1.7
    assert is_noise(one_by_one(drawn)) and is_noise([drawn]) and is_noise([drawn.flatten(1)])
    assert not looks_real([((row,), {}) for row in drawn.split(1)])


@given(st.integers(0, 10_000), st.sampled_from([64, 100, 400]))
def test_poses_are_none_however_they_are_scaled(seed: int, count: int) -> None:
    real = poses(count, seed)
    standard = (real - real.mean(0)) / real.std(0).clamp_min(1e-6)
    for samples in (real, standard, real.flatten(1), standard[torch.randperm(count, generator=generator(seed))]):
        assert not is_noise(one_by_one(samples)), samples.shape


def test_few_draws_around_a_mean_pose_may_be_poses() -> None:
    drawn = poses(1) + 0.1 * torch.randn(20, *JOINTS, generator=generator(1))
    assert not is_noise(one_by_one(drawn))


def test_samples_of_several_sizes_are_looked_at_as_they_are() -> None:
    draw = generator(0)
    assert is_noise([torch.randn(size, 7, generator=draw) for size in (30, 40)])
    assert is_noise([torch.randn(40, width, generator=draw) for width in (7, 9)])
    assert not is_noise([*one_by_one(poses(40)), poses(40)[:, :9]])
