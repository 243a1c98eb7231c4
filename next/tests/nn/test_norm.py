"""Normalisation: batches with their mirror images, and whole axes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from chiralize.errors import NegatedChannelsError, UsageError
from chiralize.nn import BatchNorm1d, BatchNorm2d, LayerNorm, hidden
from chiralize.symmetry.representation import Representation
from tests.support.chiral_oracle import apart, noise, on_both, rounding, scrambled, turn
from tests.support.strategies import representations

REPS = representations(max_factors=2)
SPACES = [hidden(8), hidden(8, negated=0.5), Representation.parse("7: (0 3) -(1 2) -5"), hidden(6, fixed=2)]
MOMENTA = [0.1, 0.01, None]


def batches(rep: Representation, frames: int | None, count: int = 3) -> list[Tensor]:
    """Batches whose channels have means and spreads of their own."""
    shape = (5, rep.size) if frames is None else (5, rep.size, frames)
    offset = noise(rep.size, seed=99).view(1, -1, *([1] * (len(shape) - 2)))
    return [noise(*shape, seed=seed) * (1 + offset.abs()) + 3 * offset for seed in range(count)]


def pair(rep: Representation, **options: Any) -> tuple[BatchNorm1d, Any]:
    """A layer with random parameters and statistics, and torch's with the same."""
    layer = (
        scrambled(BatchNorm1d(rep, **options).double()) if options.get("affine", True) else BatchNorm1d(rep, **options)
    )
    return layer.double(), layer.folded().double()  # type: ignore[union-attr, return-value, operator]


# ---- batch normalisation --------------------------------------------------------------------------------------------
@given(rep=REPS, momentum=st.sampled_from(MOMENTA), frames=st.sampled_from([None, 1, 6]), affine=st.booleans())
def test_statistics_of_the_batch_and_its_image(
    rep: Representation, momentum: float | None, frames: int | None, affine: bool
) -> None:
    """As torch's layer on {x, T x}: outputs, running mean, running variance (unbiased, n - 1), count, several steps."""
    layer, theirs = pair(rep, momentum=momentum, affine=affine)
    for x in batches(rep, frames):
        torch.testing.assert_close(layer(x), on_both(theirs, x, rep.action), rtol=0, atol=1e-9)
        result = {**layer.dense(), "num_batches_tracked": layer.num_batches_tracked}
        for name, value in theirs.state_dict().items():
            torch.testing.assert_close(result[name], value, rtol=0, atol=1e-9)
    layer.eval()
    x = batches(rep, frames)[0]
    torch.testing.assert_close(layer(x), theirs.eval()(x), rtol=0, atol=1e-9)


@pytest.mark.parametrize("rep", SPACES, ids=str)
@pytest.mark.parametrize("options", [{"track_running_stats": False}, {"affine": False}, {"eps": 0.1}], ids=str)
def test_batch_norm_settings(rep: Representation, options: dict[str, Any]) -> None:
    layer, theirs = pair(rep, **options)
    for training in (True, False):
        layer.train(training), theirs.train(training)
        x = batches(rep, 4)[0]
        expected = on_both(theirs, x, rep.action) if training or "track_running_stats" in options else theirs(x)
        torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("rep", SPACES, ids=str)
def test_gradients_of_batch_norm(rep: Representation) -> None:
    """In training, with respect to the input: those of torch's layer on the doubled batch."""
    layer, theirs = pair(rep)
    x = batches(rep, 4)[0]
    weights = noise(*x.shape, seed=5)
    (ours,) = torch.autograd.grad((layer(y := x.clone().requires_grad_()) * weights).sum(), y)
    (expected,) = torch.autograd.grad((on_both(theirs, z := x.clone().requires_grad_(), rep.action) * weights).sum(), z)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-9)


@given(rep=REPS, dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16]))
def test_batch_norm_is_equivariant(rep: Representation, dtype: torch.dtype) -> None:
    """Bit for bit in eval; in training within rounding, the sums run in another order."""
    layer = scrambled(BatchNorm1d(rep)).to(dtype)
    x = noise(16, rep.size, 3, dtype=dtype)
    image, back = layer(turn(x, rep.action, 1)), turn(layer(x), rep.action, 1)
    assert apart(image, back) <= rounding(dtype, back)
    layer.eval()
    assert torch.equal(layer(turn(x, rep.action, 1)), turn(layer(x), rep.action, 1))


@pytest.mark.parametrize("rep", SPACES, ids=str)
def test_batch_norm_2d(rep: Representation) -> None:
    layer = scrambled(BatchNorm2d(rep).double())
    theirs = layer.folded()  # type: ignore[operator]
    x = noise(3, rep.size, 4, 2).to(memory_format=torch.channels_last)
    torch.testing.assert_close(layer(x), on_both(theirs, x, rep.action), rtol=0, atol=1e-9)
    torch.testing.assert_close(layer.eval()(x), theirs.eval()(x), rtol=0, atol=1e-9)


@pytest.mark.parametrize("rep", SPACES, ids=str)
def test_batch_norm_keeps_the_dtype(rep: Representation) -> None:
    """bfloat16 inputs and float32 parameters, as autocast makes them: the result is bfloat16, as torch's."""
    layer = BatchNorm1d(rep)
    for training in (True, False):
        result = layer.train(training)(noise(4, rep.size, 3, dtype=torch.bfloat16))
        assert result.dtype == torch.bfloat16 and layer.running_mean_even is not None
        assert layer.running_mean_even.dtype == torch.float32


def test_batch_norm_refuses_other_shapes() -> None:
    with pytest.raises(UsageError):
        BatchNorm1d(hidden(8))(torch.ones(3, 4))
    with pytest.raises(UsageError):
        BatchNorm2d(hidden(8))(torch.ones(3, 8, 4))


# ---- layer normalisation --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("bias", [True, False])
@given(rep=representations(max_factors=2, signed=False), dtype=st.sampled_from([torch.float64, torch.float32]))
def test_layer_norm(bias: bool, rep: Representation, dtype: torch.dtype) -> None:
    layer = scrambled(LayerNorm(rep, bias=bias).double())
    x = 1 + noise(6, 3, rep.size)
    theirs = layer.folded()  # type: ignore[operator]
    torch.testing.assert_close(layer(x), theirs(x), rtol=0, atol=1e-9)
    layer, x = layer.to(dtype), x.to(dtype)
    y = layer(x)
    cancelled = 1 / float(x.std(-1, correction=0).clamp(min=layer.eps**0.5).min())  # type: ignore[operator]
    assert apart(layer(turn(x, rep.action)), turn(y, rep.action)) <= rounding(dtype, y) * max(cancelled, 1.0)


def test_layer_norm_refuses_signs() -> None:
    with pytest.raises(NegatedChannelsError):
        LayerNorm(hidden(8, negated=0.5))


def test_planted_faults_of_batch_norm() -> None:
    """Statistics of x alone, or biased ones, are told from those of {x, T x}."""
    rep = hidden(8, negated=0.5)
    x = batches(rep, 4)[0]
    _, theirs = pair(rep)
    _, single = pair(rep)
    on_both(theirs, x, rep.action), single(x)
    assert float((theirs.running_mean - single.running_mean).abs().max()) > 1e-3
    both = torch.cat([x, turn(x, rep.action, 1)])
    biased = both.var((0, 2), correction=0)
    unbiased = both.var((0, 2))
    _, fresh = pair(rep)
    expected = fresh.running_var * 0.9 + 0.1 * unbiased
    torch.testing.assert_close(theirs.running_var, expected, rtol=0, atol=1e-9)
    assert float((0.1 * (biased - unbiased)).abs().max()) > 1e-4
    assert isinstance(theirs, nn.BatchNorm1d)
