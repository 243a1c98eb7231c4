"""A wide convolution between pairs in halves, as one step, against the same layer op by op."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import forward_ad

import chiralize.nn._convolution as convolution
import chiralize.nn.conv as conv
from chiralize.nn import Conv1d, Conv2d, hidden
from tests.support.chiral_oracle import noise, scrambled

SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "strides, zeros around": {"stride": 2, "padding": 1},
    "no zeros": {"padding": "valid", "dilation": 2},
    "frames around": {"padding": 1, "padding_mode": "replicate"},
}
FEW, MANY = 1 << 40, 0
"""Of x for one of the weight: never in the order of oneDNN, always."""


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every layer is wide enough."""
    monkeypatch.setattr(conv, "_MANY", 0)


def layer(axes: int, bias: bool = True, own: int = 8, out: int = 6, **settings: Any) -> Any:
    kind, kernel = (Conv1d, 3) if axes == 1 else (Conv2d, (3, 2))
    return scrambled(kind(hidden(own), hidden(out), kernel, bias=bias, **settings).double(), 1)


def inputs(axes: int, batch: int = 3, own: int = 8, seed: int = 2) -> Tensor:
    return noise(batch, own, *(7, 5)[:axes], seed=seed)


def by_ops(own: Any, x: Tensor) -> Tensor:
    padding = 0 if own.around or own.padding == "valid" else own.padding
    x = torch.nn.functional.pad(x, own.around, own.settings["padding_mode"]) if own.around else x
    apply = partial(own.convolution, stride=own.stride, padding=padding, dilation=own.dilation)
    return own.map(x, -1 - own.axes, apply)


def gradients(own: Any, x: Tensor, y: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(y.sin().sum(), [each for each in (x, *own.parameters()) if each.requires_grad]))


def is_one_step(y: Tensor) -> bool:
    return y.grad_fn is not None and "Convolved" in y.grad_fn.name()


@pytest.mark.parametrize("order", [FEW, MANY])
@given(
    axes=st.sampled_from([1, 2]), name=st.sampled_from(list(SETTINGS)), bias=st.booleans(), of_x=st.booleans(),
    of_even=st.booleans(), of_odd=st.booleans(), turned=st.booleans(),
)  # fmt: skip
def test_same_gradients(
    order: int, axes: int, name: str, bias: bool, of_x: bool, of_even: bool, of_odd: bool, turned: bool
) -> None:
    own, x = layer(axes, bias, **SETTINGS[name]), inputs(axes)
    x = x.movedim(1, -1).contiguous().movedim(-1, 1) if turned else x
    x.requires_grad_(of_x)
    own.weight_even.requires_grad_(of_even)
    own.weight_odd.requires_grad_(of_odd)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution, "_OUTWEIGH", order)
        patch.setattr(convolution, "_BY_ONEDNN", (torch.float64,))
        y, expected = own(x), by_ops(own, x)
        torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
        with torch.no_grad():
            torch.testing.assert_close(own(x), expected, rtol=1e-12, atol=1e-12)
        if not y.requires_grad:
            return
        assert is_one_step(y) == (of_x or of_even or of_odd)
        for found, wanted in zip(gradients(own, x, y), gradients(own, x, expected), strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.one_in(6)
@pytest.mark.parametrize("order", [FEW, MANY])
@pytest.mark.parametrize("taken", [False, True])
@pytest.mark.parametrize("axes", [1, 2])
def test_differentiable_twice(axes: int, taken: bool, order: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution, "_OUTWEIGH", order)
    monkeypatch.setattr(convolution, "_BY_ONEDNN", (torch.float64,))
    own, x = layer(axes, own=4, out=4), inputs(axes, 1, 4)[..., :4].clone().requires_grad_()
    if taken:
        own.take_scale()

    def run(x: Tensor, even: Tensor, odd: Tensor, bias: Tensor) -> Tensor:
        y = torch.func.functional_call(own, {"weight_even": even, "weight_odd": odd, "bias_even": bias}, (x,))
        assert is_one_step(y)
        return y

    values = (x, own.weight_even, own.weight_odd, own.bias_even)
    assert torch.autograd.gradcheck(run, values) and torch.autograd.gradgradcheck(run, values)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("batch", [1, 3, 512])
def test_exact_in_training(dtype: torch.dtype, batch: int) -> None:
    """The answers for T x and its gradients are those for x, turned, bit for bit, trained or not."""
    own, x = layer(1, own=64, out=64).to(dtype), inputs(1, batch, 64).to(dtype).requires_grad_()
    turned = x.detach().roll(32, 1).requires_grad_()
    y, mirrored = own(x), own(turned)
    assert is_one_step(y) and torch.equal(mirrored, y.roll(32, 1))
    (y * y).sum().backward()
    (mirrored * mirrored).sum().backward()
    assert x.grad is not None and turned.grad is not None
    assert torch.equal(turned.grad, x.grad.roll(32, 1))
    with torch.no_grad():
        assert torch.equal(own(turned), own(x).roll(32, 1)) and torch.equal(own(x), y)


def test_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many frames are convolved, answered and differentiated with their channels last in memory, few as they lie."""
    own = layer(1, own=8, out=6).float()
    many, few = inputs(1, 200).float(), inputs(1, 1).float()
    assert own(many).stride(1) == 1 and own(few).is_contiguous()
    for lies in (many, many.transpose(1, 2).contiguous().transpose(1, 2)):
        (d_x,) = torch.autograd.grad(own(lies.requires_grad_()).sin().sum(), lies)
        assert d_x.stride() == lies.stride()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch derives forward by scripts of its own
def test_left_to_ops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Narrow layers, single samples, other orders of channels, derivatives forward and transforms."""
    own, x, tangent = layer(1), inputs(1), inputs(1, seed=6)
    with forward_ad.dual_level():
        moved = forward_ad.unpack_dual(own(forward_ad.make_dual(x, tangent))).tangent
    torch.testing.assert_close(moved, torch.nn.functional.conv1d(tangent, own.weight), rtol=1e-12, atol=1e-12)
    assert torch.func.vmap(torch.func.jacrev(own))(x).shape == (3, 6, 5, 8, 7)
    assert not is_one_step(own(x[0]))
    assert not is_one_step(layer(1, padding="same")(x))
    uneven = Conv1d(hidden(9, fixed=1), hidden(6), 3).double()
    assert not is_one_step(uneven(inputs(1, own=9)))
    monkeypatch.undo()
    assert not is_one_step(own(x))
