"""Chiral linear layers and convolutions: exact, half as large, and the same as torch's on symmetric weights."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from chiralize.errors import AsymmetricWeightError, NegatedChannelsError, RepresentationSizeError, UsageError
from chiralize.nn import (
    BatchNorm1d,
    Butterfly,
    ChiralModule,
    Conv1d,
    Conv2d,
    InvariantHead,
    InvariantParameter,
    Linear,
    Pointwise,
    hidden,
)
from chiralize.symmetry.representation import Representation, TensorRepresentation
from tests.support.chiral_oracle import noise, projected, scrambled, turn
from tests.support.oracle import action_matrix
from tests.support.strategies import representations

MIXED = Representation.parse("7: (0 3) -(1 2) -5"), Representation.parse("6: (0 5) -(1 2) -3")
DTYPES = [torch.float64, torch.float32, torch.bfloat16]
REPS = representations(max_factors=2)
Make = Callable[[Representation, Representation], ChiralModule]
MAKERS: dict[str, tuple[Make, int, tuple[int, ...]]] = {  # how, channel axis, the axes after it
    "linear": (Linear, -1, ()),
    "linear without bias": (lambda a, b: Linear(a, b, bias=False), -1, ()),
    "conv1d": (lambda a, b: Conv1d(a, b, 3, padding=1), 1, (5,)),
    "conv2d": (lambda a, b: Conv2d(a, b, (3, 2), padding=1), 1, (4, 3)),
}


def built(kind: str, rep_in: Representation, rep_out: Representation, seed: int = 0) -> Any:
    return scrambled(MAKERS[kind][0](rep_in, rep_out).double(), seed)


def inputs(kind: str, rep: Representation, batch: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return noise(batch, rep.size, *MAKERS[kind][2], seed=batch, dtype=dtype)


# ---- laws -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", MAKERS)
@given(rep_in=REPS, rep_out=REPS, dtype=st.sampled_from(DTYPES), batch=st.sampled_from([1, 2, 7, 64]))
def test_equivariant_bit_for_bit(
    kind: str, rep_in: Representation, rep_out: Representation, dtype: torch.dtype, batch: int
) -> None:
    layer, dim = built(kind, rep_in, rep_out).to(dtype), MAKERS[kind][1]
    x = inputs(kind, rep_in, batch, dtype)
    assert torch.equal(layer(turn(x, rep_in.action, dim)), turn(layer(x), rep_out.action, dim))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", [1, 3, 256, 4096])
def test_whole_stack_bit_for_bit(dtype: torch.dtype, batch: int) -> None:
    """Widths at which kernels block and vectorise, with normalisation, a residual and a nonlinearity."""
    pose, wide, paper = Representation.parse("17: (1 4) (2 5) (3 6) x 2: -0"), hidden(96), hidden(90, negated=0.4)
    for middle, function in ((wide, nn.GELU()), (wide, nn.LeakyReLU()), (paper, nn.Tanh())):
        first, norm, last = Linear(pose, middle), BatchNorm1d(middle), Linear(middle, pose)
        again, f = Linear(middle, middle), Pointwise(function, middle)
        parts = nn.ModuleList([first, norm, again, last])
        scrambled(parts).to(dtype).eval()

        def net(x: Tensor) -> Tensor:
            y = f(norm(first(x)))  # noqa: B023
            return last(y + f(again(y)))  # noqa: B023

        x = noise(batch, 34, dtype=dtype)
        y = net(x)
        assert torch.equal(net(turn(x, pose.action)), turn(y, pose.action))
        with torch.no_grad():  # large answers are then written half by half
            assert torch.equal(net(x), y)


@pytest.mark.parametrize("kind", MAKERS)
@given(rep_in=REPS, rep_out=REPS)
def test_dense_weights(kind: str, rep_in: Representation, rep_out: Representation) -> None:
    """Left alone by T exactly, with as many free numbers as the layer has, and torch computes the same with them."""
    layer = built(kind, rep_in, rep_out)
    dense, folded = layer.dense(), layer.folded()
    assert torch.equal(turn(turn(dense["weight"], rep_out.action, 0), rep_in.action, 1), dense["weight"])
    taps = prod(dense["weight"].shape[2:])
    free = (rep_out.even * rep_in.even + rep_out.odd * rep_in.odd) * taps
    if "bias" in dense:
        assert torch.equal(turn(dense["bias"], rep_out.action), dense["bias"])
        free += rep_out.even
    assert sum(item.numel() for item in layer.parameters()) == free
    x = inputs(kind, rep_in, 3)
    torch.testing.assert_close(layer(x), folded(x), rtol=0, atol=1e-9)
    assert type(folded) in (nn.Linear, nn.Conv1d, nn.Conv2d)


@pytest.mark.parametrize("kind", MAKERS)
@settings(max_examples=15)
@given(rep_in=REPS, rep_out=REPS)
def test_takes_projected_layers(kind: str, rep_in: Representation, rep_out: Representation) -> None:
    """A dense layer that was projected by the definition, loaded strictly, computes the same; its norm is kept."""
    layer = built(kind, rep_in, rep_out)
    matrices = [action_matrix(rep_out.action), action_matrix(rep_in.action)]
    theirs = projected(scrambled(layer.folded(), 7), {"weight": matrices, "bias": matrices[:1]})
    layer.load_state_dict(theirs.state_dict(), strict=True)
    x = inputs(kind, rep_in, 3)
    torch.testing.assert_close(layer(x), theirs(x), rtol=0, atol=1e-9)
    blocks = layer.weight_even.square().sum() + layer.weight_odd.square().sum()
    torch.testing.assert_close(blocks, theirs.weight.square().sum(), rtol=1e-12, atol=1e-12)  # type: ignore[operator]


@given(rep=REPS)
def test_butterfly_is_orthonormal(rep: Representation) -> None:
    """Even entries stay and odd ones change sign, to the bit; going there and back is the identity."""
    butterfly, x = Butterfly(rep), noise(4, rep.size)
    even, odd = (part * 2**0.5 for part in butterfly.split(x))
    image = [part * 2**0.5 for part in butterfly.split(turn(x, rep.action))]
    assert torch.equal(image[0], even) and torch.equal(image[1], -odd)
    assert (even.shape[-1], odd.shape[-1]) == (rep.even, rep.odd)
    torch.testing.assert_close(even.square().sum() + odd.square().sum(), x.square().sum(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(butterfly.join(*butterfly.split(x)), x, rtol=0, atol=1e-12)
    wide = butterfly.spread(noise(3, rep.even, seed=1), noise(3, rep.odd, seed=2), 1)
    split = butterfly.split(x)
    for item, block, part in zip(wide, (noise(3, rep.even, seed=1), noise(3, rep.odd, seed=2)), split, strict=True):
        torch.testing.assert_close(x @ item.T, part @ block.T, rtol=0, atol=1e-12)


# ---- settings of the torch layers -----------------------------------------------------------------------------------
CONV1D = [
    {"stride": 2}, {"padding": 2}, {"padding": "same"}, {"padding": "valid"}, {"dilation": 2}, {"bias": False},
    *({"padding": 2, "padding_mode": mode} for mode in ("zeros", "reflect", "replicate", "circular")),
    {"padding": "same", "padding_mode": "reflect", "dilation": 2}, {"stride": 3, "dilation": 2, "padding": 1},
]  # fmt: skip
CONV2D = [
    {"kernel_size": (1, 3)}, {"stride": (2, 1)}, {"padding": (1, 0)}, {"padding": "same"}, {"dilation": (1, 2)},
    {"padding": (1, 2), "padding_mode": "circular"}, {"padding": "same", "padding_mode": "replicate"},
]  # fmt: skip


@pytest.mark.parametrize("kind", [*((Conv1d, item) for item in CONV1D), *((Conv2d, item) for item in CONV2D)], ids=str)
@pytest.mark.parametrize("reps", [MIXED, (hidden(6), hidden(8))], ids=["mixed", "halves"])
def test_convolution_settings(kind: Any, reps: tuple[Representation, Representation]) -> None:
    make, options = kind
    layer: Any = scrambled(make(*reps, **{"kernel_size": 3, **options}).double())
    folded = layer.folded()
    x = noise(2, reps[0].size, *((9,) if make is Conv1d else (7, 6)))
    torch.testing.assert_close(layer(x), folded(x), rtol=0, atol=1e-9)
    torch.testing.assert_close(layer(x[0]), folded(x[0]), rtol=0, atol=1e-9)  # without a batch
    assert torch.equal(layer(turn(x, reps[0].action, 1)), turn(layer(x), reps[1].action, 1))
    item = {name: getattr(folded, name) for name in ("stride", "padding", "dilation", "padding_mode")}
    assert item.items() >= {name: value for name, value in options.items() if isinstance(value, (str, tuple)) and
                           name != "kernel_size"}.items()  # fmt: skip


# ---- initialisation -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("reps", [(hidden(64), hidden(48)), MIXED, (hidden(40, fixed=20, negated=0.5),) * 2], ids=str)
def test_initial_variance(reps: tuple[Representation, Representation]) -> None:
    """Of every entry that is not forced to zero: that of torch's default, U(-1/sqrt n, 1/sqrt n).

    The mean of N squares of a bounded variable, |w| <= 1/sqrt n as for torch (a sum of two such halves here), is off by
    at most 6 standard errors; the kurtosis is at most that of two values, so one standard error is below var sqrt(2/N).
    """
    torch.manual_seed(0)
    draws = 300 if reps[0].size < 10 else 60
    dense = [Linear(*reps).double().dense() for _ in range(draws)]
    expected = 1 / (3 * reps[0].size)
    for name in ("weight", "bias"):
        stacked = torch.stack([item[name].detach() for item in dense])
        free = stacked[0] != 0
        assert bool((stacked[:, ~free] == 0).all()) and bool(free.any())
        kinds = stacked.square().mean(0)[free]
        assert abs(float(kinds.mean()) / expected - 1) < 6 * (2 / (kinds.numel() / 4 * draws)) ** 0.5
        assert float((kinds / expected - 1).abs().max()) < 8 * (2 / draws) ** 0.5  # of every entry alone
        assert float(stacked.mean().abs()) < 6 * (expected / stacked.numel()) ** 0.5 * 2


# ---- what is refused ------------------------------------------------------------------------------------------------
def test_asymmetric_weights_by_name() -> None:
    net = nn.Sequential(Linear(hidden(4), hidden(6)), nn.ReLU(), Linear(hidden(6), hidden(4)))
    dense = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 4)).state_dict()
    with pytest.raises(AsymmetricWeightError):
        net.load_state_dict(dense)
    layer = net[2]
    assert isinstance(layer, Linear)
    with pytest.raises(AsymmetricWeightError):
        layer.load_dense({**layer.dense(), "bias": torch.arange(4.0)})


def test_wrong_sizes_and_functions() -> None:
    with pytest.raises(RepresentationSizeError):
        Linear(hidden(4), hidden(4))(torch.ones(2, 5))
    with pytest.raises(RepresentationSizeError):
        hidden(5)
    signed = hidden(4, negated=0.5)
    with pytest.raises(NegatedChannelsError):
        Pointwise(nn.ReLU(), signed)
    with pytest.raises(NegatedChannelsError):
        Pointwise(nn.Hardtanh(-1.0, 2.0), signed)
    with pytest.raises(UsageError):
        Pointwise(nn.PReLU(4), hidden(4))
    Pointwise(nn.PReLU(), hidden(4))


@pytest.mark.parametrize("function", [nn.Tanh(), nn.Hardtanh(-2, 2), nn.Softsign(), nn.Tanhshrink(), nn.Softshrink(),
                                      nn.Hardshrink(), nn.Identity()], ids=str)  # fmt: skip
def test_odd_functions(function: nn.Module) -> None:
    x, rep = noise(64, 8), hidden(8, negated=0.5)
    assert torch.equal(Pointwise(function, rep)(turn(x, rep.action)), turn(function(x), rep.action))


# ---- heads and parameters -------------------------------------------------------------------------------------------
@given(rep=REPS)
def test_invariant_head(rep: Representation) -> None:
    head, x = scrambled(InvariantHead(rep, 5).double()), noise(6, rep.size)
    assert torch.equal(head(turn(x, rep.action)), head(x))
    torch.testing.assert_close(head(x), head.folded()(x), rtol=0, atol=1e-9)  # type: ignore[operator]


@given(first=REPS, second=REPS)
def test_invariant_parameter(first: Representation, second: Representation) -> None:
    rep = TensorRepresentation((first, second))
    table = InvariantParameter(rep).double()
    full = table()
    assert torch.equal(turn(turn(full, first.action, 0), second.action, 1), full)
    assert table.weight_even.numel() == rep.dimensions()[0]
    assert torch.equal(InvariantParameter(rep, full.detach())(), full)
    with pytest.raises(AsymmetricWeightError):
        InvariantParameter(TensorRepresentation((hidden(4),)), torch.arange(4.0))


def test_parameters_without_entries_are_none() -> None:
    """DDP waits for a gradient of every parameter."""
    head = InvariantHead(hidden(8), 3)
    head(torch.ones(2, 8)).sum().backward()
    assert all(item.grad is not None for item in head.parameters())
    assert list(head.state_dict()) == ["weight_even", "bias_even", "weight_odd"]
