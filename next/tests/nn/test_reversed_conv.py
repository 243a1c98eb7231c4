"""Convolutions along an axis that the mirror reverses, in blocks: the same as torch's, exact, half of the products."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from chiralize.errors import AsymmetricWeightError, RepresentationSizeError
from chiralize.nn import ReversedConv2d, hidden
from chiralize.symmetry.representation import Representation
from tests.support.chiral_oracle import noise, scrambled, turn
from tests.support.strategies import representations

REPS = st.one_of(representations(max_factors=2), st.sampled_from([hidden(8), hidden(7, fixed=1)]))
PAIRS = hidden(16)
LAYERS: dict[str, tuple[Any, dict[str, Any], tuple[int, int]]] = {  # layer, settings, rows and columns of the input
    "3": (ReversedConv2d, {"kernel_size": 3, "padding": 1}, (4, 6)),
    "7, stride 2": (ReversedConv2d, {"kernel_size": 7, "stride": 2, "padding": 3}, (8, 9)),
    "patches": (ReversedConv2d, {"kernel_size": 4, "stride": 4, "bias": False}, (8, 12)),
    "dilated": (ReversedConv2d, {"kernel_size": (1, 3), "dilation": 2, "padding": "same"}, (3, 5)),
    "reflected": (ReversedConv2d, {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"}, (4, 5)),
}


def built(name: str, into: Representation, out: Representation, mirror: str = "w") -> Any:
    kind, chosen, _ = LAYERS[name]
    return scrambled(kind(into, out, **chosen, mirror=mirror).double(), 1)


def inputs(name: str, into: Representation, mirror: str = "w", dtype: torch.dtype = torch.float64) -> Tensor:
    rows, columns = LAYERS[name][2]
    sizes = (rows, columns) if mirror == "w" else (columns, rows)
    return noise(2, into.size, *sizes, dtype=dtype)


def off(result: Tensor, wanted: Tensor) -> float:
    """The largest difference, in units of the rounding of the largest number.

    The blocks commute exactly. But a processor's kernels may round one place of an image otherwise than the place that
    it is mirrored to, as torch's own transposed convolution does on some.
    """
    largest = max(1.0, float(wanted.detach().abs().max()))
    return float((result - wanted).detach().abs().max()) / largest / torch.finfo(result.dtype).eps


@pytest.mark.parametrize("name", LAYERS)
@settings(max_examples=6, deadline=None)
@given(into=REPS, out=REPS, graded=st.booleans())
def test_computes_what_torch_does_and_commutes_to_rounding(
    name: str, into: Representation, out: Representation, graded: bool
) -> None:
    layer, x = built(name, into, out), inputs(name, into)
    with torch.set_grad_enabled(graded):
        y, dense = layer(x), layer.folded()(x)
        assert (y - dense).abs().max() <= 1e-12 * max(1.0, float(dense.detach().abs().max()))
        layer, x = layer.float(), x.float()
        mirrored = layer(turn(x, into.action, 1).flip(-1))
        assert off(mirrored, turn(layer(x), out.action, 1).flip(-1)) <= 8


@pytest.mark.parametrize("name", LAYERS)
def test_half_of_the_products_and_of_the_numbers(name: str) -> None:
    kind, chosen, _ = LAYERS[name]
    for into in (PAIRS, Representation.trivial(3)):
        layer, x = kind(into, PAIRS, **chosen), inputs(name, into, dtype=torch.float32)
        counts: list[int] = []
        for module in (layer, layer.folded()):
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                module(x)
            counts.append(counter.get_total_flops())
        assert 2 * counts[0] == counts[1]
        numbers = layer.weight_even.numel() + layer.weight_odd.numel()
        dense = layer.folded().weight
        assert 2 * numbers == dense.numel()
        squares = layer.weight_even.square().sum() + layer.weight_odd.square().sum()
        assert torch.allclose(squares, dense.square().sum())  # a step of SGD is the dense layer's


@pytest.mark.parametrize("name", ["3", "7, stride 2"])
def test_rows_are_reversed_where_that_is_asked_for(name: str) -> None:
    layer, x = built(name, PAIRS, PAIRS, "h"), inputs(name, PAIRS, "h")
    mirrored = layer(turn(x, PAIRS.action, 1).flip(-2))
    assert off(mirrored, turn(layer(x), PAIRS.action, 1).flip(-2)) <= 8
    assert (layer(x) - layer.folded()(x)).abs().max() <= 1e-12


@pytest.mark.parametrize("name", ["3", "7, stride 2"])
def test_weights_in_and_out(name: str) -> None:
    """torch's weights load, in either direction; those that the mirror moves are refused by name."""
    layer, other, x = built(name, PAIRS, hidden(6), "w"), built(name, PAIRS, hidden(6), "w"), inputs(name, PAIRS)
    folded = layer.folded()
    other.load_state_dict(folded.state_dict())
    assert (other(x) - layer(x)).abs().max() <= 1e-12
    with torch.no_grad():
        folded.weight[..., 0] += 0.1
    with pytest.raises(AsymmetricWeightError):
        other.load_state_dict(folded.state_dict())


def test_trained_gradients_are_those_of_the_dense_layer() -> None:
    layer, x = built("7, stride 2", PAIRS, PAIRS), inputs("7, stride 2", PAIRS).requires_grad_()
    (ours,) = torch.autograd.grad(layer(x).square().sum(), x)
    (dense,) = torch.autograd.grad(layer.folded()(x).square().sum(), x)
    assert (ours - dense).abs().max() <= 1e-10


def test_sizes_that_do_not_fit_are_refused() -> None:
    layer = ReversedConv2d(PAIRS, PAIRS, 3, 2, 1)
    with pytest.raises(RepresentationSizeError):
        layer(torch.zeros(1, 16, 8, 12))
    with pytest.raises(RepresentationSizeError):
        ReversedConv2d(PAIRS, PAIRS, 4, padding="same")
    with pytest.raises(RepresentationSizeError):
        ReversedConv2d(PAIRS, PAIRS, 3, mirror="x")
