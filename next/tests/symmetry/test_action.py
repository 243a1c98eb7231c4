"""The Reynolds operator against dense matrices: a projection, exact in every dtype, and the nearest one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from chiralize.errors import RepresentationSizeError
from chiralize.symmetry import action
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation
from tests.support.oracle import act, entries, project, random_involution

SHAPES = [(6,), (5, 4), (4, 3, 5)]
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def drawn(shape: tuple[int, ...], seed: int) -> tuple[TensorRepresentation, list[np.ndarray], np.ndarray]:
    """A random representation, its matrices and a weight."""
    rng = np.random.default_rng(seed)
    matrices = [random_involution(size, rng) for size in shape]
    axes = [Representation.of(SignedPermutation(*map(np.array, entries(matrix)))) for matrix in matrices]
    return TensorRepresentation(tuple(axes)), matrices, rng.normal(size=shape)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_projection_is_idempotent_and_symmetric_bit_for_bit(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    for seed in range(20):
        rep, _, weight = drawn(shape, seed)
        once = action.project(torch.from_numpy(weight).to(dtype), rep)
        assert once.dtype == dtype
        assert torch.equal(action.project(once, rep), once)
        assert torch.equal(action.act(once, rep), once)


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_the_average_over_both_views(shape: tuple[int, ...]) -> None:
    for seed in range(20):
        rep, matrices, weight = drawn(shape, seed)
        tensor = torch.from_numpy(weight)
        assert np.allclose(action.act(tensor, rep).numpy(), act(matrices, weight), atol=1e-15)
        assert np.allclose(action.project(tensor, rep).numpy(), project(weight, matrices), atol=1e-15)


def test_no_symmetric_weight_lies_nearer() -> None:
    rep, matrices, weight = drawn((5, 4), 3)
    near = action.project(torch.from_numpy(weight), rep).numpy()
    rng = np.random.default_rng(0)
    for _ in range(50):
        other = project(near + 0.1 * rng.normal(size=near.shape), matrices)
        assert np.linalg.norm(weight - other) >= np.linalg.norm(weight - near)
    expected = np.linalg.norm(weight - near) / np.linalg.norm(weight)
    assert abs(action.distance(torch.from_numpy(weight), rep) - expected) < 1e-14


def test_half_precision_is_rounded_once() -> None:
    rep = TensorRepresentation((Representation.of(SignedPermutation.of([(0, 1)], size=2)),))
    for dtype in (torch.float16, torch.bfloat16):
        weight = torch.tensor([1.0, 1.0 + 3 * torch.finfo(dtype).eps], dtype=dtype)
        expected = ((weight[0].double() + weight[1].double()) / 2).to(dtype)
        assert torch.equal(action.project(weight, rep), torch.stack([expected, expected]))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sign", [1, -1])
def test_entries_that_can_only_be_zero(shape: tuple[int, ...], sign: int) -> None:
    for seed in range(10):
        rep, _, _ = drawn(shape, seed)
        rep = TensorRepresentation(rep.axes, sign)
        generator = torch.Generator().manual_seed(seed)
        always = torch.ones(shape, dtype=torch.bool)
        for _ in range(3):
            always &= action.project(torch.randn(shape, generator=generator, dtype=torch.float64), rep) == 0
        assert torch.equal(action.forced_zero(rep), always)


def test_zero_has_no_distance_and_sizes_must_fit() -> None:
    rep, _, _ = drawn((5, 4), 1)
    assert action.distance(torch.zeros(5, 4), rep) == 0.0
    with pytest.raises(RepresentationSizeError, match="CH110"):
        action.project(torch.zeros(4, 5), rep)
