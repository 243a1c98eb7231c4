"""Inputs beside those that are at hand: their covariance, what stays as it is, and the range."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chiralize.graph.running import Arguments, Call
from chiralize.problem.data.perturbation import SHARE, perturbed

MIXING = np.array([[1.0, 0.8, 0.0], [0.0, 0.6, 0.5], [0.0, 0.0, 2.0]])


def batches(count: int, rows: int, seed: int = 0) -> list[Call]:
    """Three correlated entries by two frames."""
    rng = np.random.default_rng(seed)
    return [((torch.from_numpy(rng.standard_normal((rows, 2, 3)) @ MIXING),), {}) for _ in range(count)]


def moves(rows: bool, count: int = 400) -> np.ndarray:
    calls, generator = batches(20, 64), torch.Generator().manual_seed(1)
    found = []
    for number in range(count):
        call = calls[number % len(calls)]
        found.append((perturbed(call, calls, rows, generator)[0][0] - call[0][0]).numpy())
    return np.concatenate(found).reshape(-1, 6)


@pytest.mark.parametrize("rows", [True, False])
def test_noise_has_the_inputs_covariance(rows: bool) -> None:
    """An oracle in numpy; what the range cuts off is little where rows are pooled, more where three are."""
    noise = moves(rows)
    expected = SHARE**2 * np.kron(np.eye(2), MIXING.T @ MIXING)
    found = noise.T @ noise / len(noise)
    scale = np.trace(found) / np.trace(expected)
    assert 0.9 < scale < 1 if rows else 0.5 < scale < 1
    assert np.abs(noise.mean(0)).max() < 0.02
    np.testing.assert_allclose(found / scale, expected, atol=0.1 * np.abs(expected).max())


@given(st.booleans(), st.integers(1, 5), st.integers(1, 4), st.integers(0, 99))
def test_no_entry_leaves_the_range(rows: bool, count: int, samples: int, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    calls: list[Call] = [((torch.rand(samples, 3, generator=rng),), {}) for _ in range(count)]
    together = torch.cat([call[0][0] for call in calls])
    ((found,), _) = perturbed(calls[0], calls, rows, rng)
    assert (found >= together.amin(0)).all() and (found <= together.amax(0)).all()


def test_what_does_not_vary_stays_and_inputs_move_together() -> None:
    """A constant, integers and booleans; two tensors of a call get the same rows; the call that was given is kept."""
    rng = torch.Generator().manual_seed(2)

    def call() -> Call:
        base = torch.randn(32, 4, generator=rng, dtype=torch.float64)
        flags, labels = torch.rand(32, generator=rng) < 0.5, torch.randint(9, (32,), generator=rng)
        return (base, 3 * base, torch.eye(4), flags), {"labels": labels, "scale": 2.0}

    calls = [call() for _ in range(6)]
    before = [own.clone() for own in Arguments.of(*calls[0]).tensors]
    args, kwargs = perturbed(calls[0], calls, True, torch.Generator().manual_seed(3))
    assert not torch.equal(args[0], before[0])
    torch.testing.assert_close(args[1], 3 * args[0])
    assert torch.equal(args[2], torch.eye(4)) and torch.equal(args[3], before[3])
    assert torch.equal(kwargs["labels"], before[4]) and kwargs["scale"] == 2.0
    assert all(torch.equal(own, kept) for own, kept in zip(Arguments.of(*calls[0]).tensors, before, strict=True))


def test_batches_of_other_sizes() -> None:
    """Rows are drawn from any batch; whole batches only from those of the same shape."""
    calls: list[Call] = [((torch.randn(rows, 3),), {}) for rows in (8, 5)]
    generator = torch.Generator().manual_seed(0)
    assert all(perturbed(calls[0], calls, True, generator)[0][0].shape == (8, 3) for _ in range(20))
    found = [perturbed(calls[0], calls, False, generator)[0][0] for _ in range(20)]
    assert all(torch.equal(own, calls[0][0][0]) for own in found)


@given(st.integers(0, 99))
def test_same_generator_same_noise(seed: int) -> None:
    calls = batches(3, 7)
    first, second = (perturbed(calls[0], calls, True, torch.Generator().manual_seed(seed))[0][0] for _ in range(2))
    assert torch.equal(first, second)
