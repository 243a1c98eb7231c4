"""How near two runs have to be: what a network enlarges of rounding is measured on the network itself."""

from __future__ import annotations

import pytest
import torch

from chiralize.storage.parity import PARITY, moved_by_rounding, widened

X = torch.linspace(-1, 1, 12).reshape(2, 6)


def test_a_network_is_nudged_by_its_last_digits() -> None:
    """The identity moves as much as its inputs, and nothing moves what takes whole numbers."""
    eps = torch.finfo(torch.float32).eps
    assert moved_by_rounding(lambda x: x, ((X,), {}), [X]) == [pytest.approx(eps, rel=0.5)]
    whole = torch.arange(6)
    assert moved_by_rounding(lambda x: x.float() / 3, ((whole,), {}), [whole.float() / 3]) == [0.0]


def test_a_steep_function_moves_more() -> None:
    """sin(1000 x) moves by up to 1000 |x| eps."""

    def network(x: torch.Tensor) -> torch.Tensor:
        return torch.sin(1000 * x)

    (found,) = moved_by_rounding(network, ((X,), {}), [network(X)])
    eps = torch.finfo(torch.float32).eps
    assert 100 * eps < found < 2000 * eps


def test_the_bound_grows_with_it_and_ends() -> None:
    for dtype, bound in PARITY.items():
        assert widened(bound, 0.0) == bound == widened(bound, bound / 100)
        assert bound <= widened(bound, 1.0) <= max(bound, min(100 * bound, 1e-3)), dtype
    assert widened(1e-5, 4e-5) == pytest.approx(6.4e-4)
