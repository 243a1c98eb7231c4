"""Muon in even and odd blocks: the same steps as on whole matrices, and symmetric to the last bit."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from chiralize.methods.refine.blocks import Blocks, MuonInBlocks, orthogonal
from chiralize.methods.refine.steps import Steps
from chiralize.symmetry import reynolds
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation
from tests.support.strategies import involutions

PAIRS = Representation.of(SignedPermutation.halves(12))
TAPS = Representation.of(SignedPermutation(np.arange(3)[::-1], np.ones(3, np.int64)))
KERNEL = TensorRepresentation((PAIRS, Representation.of(SignedPermutation.halves(7)), Representation.trivial(2), TAPS))


def symmetric(representation: TensorRepresentation, seed: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return reynolds.project(torch.randn(representation.shape, generator=draw), representation)


@given(involutions(), involutions(), st.sampled_from([1, -1]), st.integers(0, 99))
def test_blocks_are_the_matrix_in_another_basis(
    out: SignedPermutation, read: SignedPermutation, sign: int, seed: int
) -> None:
    """With its norm and its singular values, and the way back; whatever the blocks are, what they join to is symmetric
    bit for bit.
    """
    representation = TensorRepresentation((Representation.of(out), Representation.of(read)), sign)
    matrix, blocks = symmetric(representation, seed), Blocks(representation)
    parts = blocks.split(matrix)
    assert torch.allclose(blocks.joined(*parts), matrix, atol=1e-5)
    assert sum(float(part.square().sum()) for part in parts) == pytest.approx(float(matrix.square().sum()), rel=1e-4)
    drawn = blocks.joined(*(torch.randn(part.shape) for part in parts))
    assert torch.equal(reynolds.project(drawn, representation), drawn)


def test_singular_values_become_equal() -> None:
    for shapes in (((4, 9), (4, 9)), ((9, 4), (5, 3))):
        parts = orthogonal([torch.randn(shape, generator=torch.Generator().manual_seed(1)) for shape in shapes])
        values = torch.cat([torch.linalg.svdvals(part) for part in parts])
        assert 0.5 < float(values.min()) <= float(values.max()) < 1.4


def test_steps_are_those_of_whole_matrices() -> None:
    """But for how far five iterations bring singular values, and for rounding."""
    start, moved = symmetric(KERNEL, 0), list[torch.Tensor]()
    for options in ({}, {0: KERNEL}):
        weight = nn.Parameter(start.clone())
        steps = Steps([weight], options)
        for seed in (1, 2, 3):
            weight.grad = symmetric(KERNEL, seed)
            steps.take(0.01)
        moved.append((weight - start).detach())
    whole, by_blocks = moved
    assert float((whole - by_blocks).norm() / whole.norm()) < 0.25
    assert torch.equal(reynolds.project(start + by_blocks, KERNEL), start + by_blocks)


def test_weights_without_gradients_stay_and_states_are_taken_up() -> None:
    first, second = nn.Parameter(symmetric(KERNEL, 0)), nn.Parameter(symmetric(KERNEL, 0))
    optimizers = [MuonInBlocks([(weight, KERNEL, 1.0)]) for weight in (first, second)]
    optimizers[0].step()
    assert torch.equal(first, second)
    for group in (*optimizers[0].param_groups, *optimizers[1].param_groups):
        group["lr"] = 0.1
    first.grad = symmetric(KERNEL, 1)
    optimizers[0].step()
    with torch.no_grad():
        second.copy_(first)
    optimizers[1].load_state_dict(deepcopy(optimizers[0].state_dict()))
    first.grad = second.grad = symmetric(KERNEL, 2)
    for optimizer in optimizers:
        optimizer.step()
    assert torch.equal(first, second)
