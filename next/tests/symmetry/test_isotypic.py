"""The even/odd basis: orthogonal, invertible, and T acts on it as +1 and -1, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from chiralize.errors import RepresentationSizeError
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.isotypic import IsotypicBasis
from tests.support.oracle import entries, random_involution


def bases(count: int = 25) -> list[tuple[IsotypicBasis, np.ndarray]]:
    found = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        matrix = random_involution(int(rng.integers(1, 12)), rng)
        found.append((IsotypicBasis(SignedPermutation(*map(np.array, entries(matrix)))), matrix))
    return found


def test_the_change_of_basis_is_orthogonal_and_inverted_by_join() -> None:
    for basis, _ in bases():
        size = basis.action.size
        even, odd = basis.split(torch.eye(size, dtype=torch.float64), 0)
        assert (even.shape[0], odd.shape[0]) == (basis.action.even, basis.action.odd)
        change = torch.cat([even, odd])
        assert torch.allclose(change @ change.T, torch.eye(size, dtype=torch.float64), atol=1e-15)
        x = torch.randn(3, size, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(size))
        assert torch.allclose(basis.join(*basis.split(x, 1), axis=1), x, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_mirror_keeps_even_and_negates_odd_bit_for_bit(dtype: torch.dtype) -> None:
    for basis, matrix in bases():
        x = torch.randn(4, basis.action.size, generator=torch.Generator().manual_seed(1)).to(dtype)
        even, odd = basis.split(x)
        there_even, there_odd = basis.split((x.double() @ torch.from_numpy(matrix).T).to(dtype))
        assert torch.equal(there_even, even) and torch.equal(there_odd, -odd)
        back = basis.join(even, -odd)
        assert torch.equal(back.double(), basis.join(even, odd).double() @ torch.from_numpy(matrix).T)


def test_sizes_must_fit() -> None:
    with pytest.raises(RepresentationSizeError, match="CH110"):
        IsotypicBasis(SignedPermutation.of([(0, 2), (1, 3)], size=4)).split(torch.zeros(5))
