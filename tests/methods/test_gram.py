"""Sums of products: the same whether samples come one by one or together, and few products either way."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from chiralize.methods.reduce.gram import Gram


class Counting(TorchDispatchMode):
    """Counts products of matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.products = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.products += func is torch.ops.aten.mm.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("size", [5, 300])
@pytest.mark.parametrize("rows", [1, 3, 200])
def test_sums_are_those_of_all_samples(size: int, rows: int) -> None:
    samples = torch.randn(200, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gram, counting = Gram(size), Counting()
    with counting:
        for part in samples.split(rows):
            gram.add(part)
        whole = gram.whole()
    assert torch.allclose(whole, samples.T @ samples, rtol=1e-12, atol=1e-10)
    assert torch.equal(gram.whole(), whole), "what waited is taken in once"
    blocks = len(gram.parts)
    assert counting.products <= 4 * blocks
