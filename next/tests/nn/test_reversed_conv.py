"""Convolutions along an axis that the mirror reverses, in blocks: the same as torch's, exact, half of the products."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from chiralize.errors import AsymmetricWeightError, RepresentationSizeError
from chiralize.graph.model import Node, Where
from chiralize.nn import Conv2d, ConvTranspose2d, ReversedConv2d, hidden
from chiralize.nn.deploy.speed import inputs_of, is_faster, is_faster_in_graphs
from chiralize.symmetry.representation import Representation
from tests.support.chiral_oracle import noise, scrambled, turn
from tests.support.strategies import representations

REPS = st.one_of(representations(max_factors=2), st.sampled_from([hidden(8), hidden(7, fixed=1)]))
PAIRS = hidden(16)
LAYERS: dict[str, tuple[Any, dict[str, Any], tuple[int, int]]] = {  # layer, settings, rows and columns of the input
    "3": (Conv2d, {"kernel_size": 3, "padding": 1}, (4, 6)),
    "7, stride 2": (Conv2d, {"kernel_size": 7, "stride": 2, "padding": 3}, (8, 9)),
    "patches": (Conv2d, {"kernel_size": 4, "stride": 4, "bias": False}, (8, 12)),
    "dilated": (Conv2d, {"kernel_size": (1, 3), "dilation": 2, "padding": "same"}, (3, 5)),
    "reflected": (Conv2d, {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"}, (4, 5)),
    "transposed": (ConvTranspose2d, {"kernel_size": 4, "stride": 2, "padding": 1}, (3, 5)),
    "transposed, 3 by 2": (ConvTranspose2d, {"kernel_size": (3, 2), "stride": (1, 2), "bias": False}, (3, 5)),
    "transposed, 5": (ConvTranspose2d, {"kernel_size": 5, "stride": (2, 1), "dilation": (1, 2)}, (3, 5)),
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


def test_answers_lie_in_memory_as_torchs_do() -> None:
    """Whatever the batch: code behind a layer may view them."""
    layer = ReversedConv2d(PAIRS, PAIRS, 3, 1, 1)
    for x in (torch.zeros(64, 16, 9, 9), torch.zeros(64, 16, 9, 9).contiguous(memory_format=torch.channels_last)):
        with torch.no_grad():
            assert layer(x).stride() == layer.folded()(x).stride()


@pytest.mark.parametrize("name", ["3", "transposed"])
def test_rows_are_reversed_where_that_is_asked_for(name: str) -> None:
    layer, x = built(name, PAIRS, PAIRS, "h"), inputs(name, PAIRS, "h")
    mirrored = layer(turn(x, PAIRS.action, 1).flip(-2))
    assert off(mirrored, turn(layer(x), PAIRS.action, 1).flip(-2)) <= 8
    assert (layer(x) - layer.folded()(x)).abs().max() <= 1e-12


@pytest.mark.parametrize("name", ["7, stride 2", "transposed"])
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
    layer, x = built("transposed", PAIRS, PAIRS), inputs("transposed", PAIRS).requires_grad_()
    (ours,) = torch.autograd.grad(layer(x).square().sum(), x)
    (dense,) = torch.autograd.grad(layer.folded()(x).square().sum(), x)
    assert (ours - dense).abs().max() <= 1e-10


def test_sizes_that_do_not_fit_are_refused() -> None:
    layer = ReversedConv2d(PAIRS, PAIRS, 3, 2, 1)
    with pytest.raises(RepresentationSizeError):
        layer(torch.zeros(1, 16, 8, 12))
    with pytest.raises(RepresentationSizeError):
        ConvTranspose2d(PAIRS, PAIRS, 3, 2, 1)
    with pytest.raises(RepresentationSizeError):
        Conv2d(PAIRS, PAIRS, 4, padding="same", mirror="w")
    with pytest.raises(RepresentationSizeError):
        Conv2d(PAIRS, PAIRS, 3, mirror="x")


@pytest.mark.parametrize(
    ("kind", "channels", "stride", "chosen"),
    [
        (nn.Conv2d, 512, 1, True),
        (nn.Conv2d, 128, 1, True),
        (nn.Conv2d, 160, 1, True),
        (nn.Conv2d, 96, 1, False),
        (nn.Conv2d, 160, 2, False),
        (nn.ConvTranspose2d, 160, 2, False),
        (nn.Conv2d, 512, 2, False),
        (nn.ConvTranspose2d, 512, 2, False),
    ],
)
def test_halves_that_were_slower_are_not_chosen(kind: Any, channels: int, stride: int, chosen: bool) -> None:
    layer = kind(channels, channels, 4 if stride > 1 else 3, stride, 1, device="meta")
    twin = (ConvTranspose2d if kind is nn.ConvTranspose2d else ReversedConv2d)(
        hidden(channels), hidden(channels), layer.kernel_size, stride, 1, device="meta"
    )
    target = "aten.conv2d.default" if kind is nn.Conv2d else "aten.conv_transpose2d.input"
    node = Node("op", target, {}, ((1, channels, 32, 33),), frozenset(), Where())
    assert is_faster_in_graphs(layer, [node], lambda: twin) == chosen
    assert is_faster(layer, [node], lambda: twin) == (chosen and channels > 192)  # as a layer it gains less


def test_a_timing_reads_what_such_an_answer_comes_from() -> None:
    layer = nn.ConvTranspose2d(4, 6, 4, 2, 1)
    y = layer(torch.zeros(2, 4, 5, 7))
    node = Node("up", "aten.conv_transpose2d.input", {}, (tuple(y.shape),), frozenset(), Where())
    assert inputs_of(layer, [node]) == [((2, 4, 5, 7),)]
