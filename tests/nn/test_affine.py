"""A linear layer between pairs in halves, as one step of autograd, against the same layer op by op."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import forward_ad

from chiralize.nn import Conv1d, Linear, hidden
from tests.support.chiral_oracle import noise, scrambled

SHAPES: dict[str, tuple[int, ...]] = {"one": (8,), "rows": (5, 8), "frames": (2, 3, 8), "many rows": (1 << 16, 8)}


def layer(bias: bool = True, own: int = 8, out: int = 6) -> Any:
    return scrambled(Linear(hidden(own), hidden(out), bias=bias).double(), 1)


def by_ops(layer: Any, x: Tensor) -> Tensor:
    return layer.map(x, -1, F.linear)


def gradients(layer: Any, x: Tensor, y: Tensor) -> list[Tensor | None]:
    own = [tensor for tensor in (x, *layer.parameters()) if tensor.requires_grad]
    return list(torch.autograd.grad(y.sin().sum(), own))


def is_one_step(y: Tensor) -> bool:
    return y.grad_fn is not None and "Affine" in (y.grad_fn.name() + str(y.grad_fn.next_functions))


@given(
    shape=st.sampled_from(list(SHAPES)), bias=st.booleans(), of_x=st.booleans(), of_even=st.booleans(),
    of_odd=st.booleans(), turned=st.booleans(),
)  # fmt: skip
def test_same_gradients(shape: str, bias: bool, of_x: bool, of_even: bool, of_odd: bool, turned: bool) -> None:
    own, x = layer(bias), noise(*SHAPES[shape], seed=2)
    x = x.movedim(0, -1).contiguous().movedim(-1, 0) if turned else x
    x.requires_grad_(of_x)
    own.weight_even.requires_grad_(of_even)
    own.weight_odd.requires_grad_(of_odd)
    y, expected = own(x), by_ops(own, x)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
    if not y.requires_grad:
        return
    assert is_one_step(y) == (of_x or of_even or of_odd)
    for found, wanted in zip(gradients(own, x, y), gradients(own, x, expected), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("taken", [False, True])
def test_differentiable_twice(taken: bool) -> None:
    own, x = layer(own=4, out=4), noise(3, 4, seed=3).requires_grad_()
    if taken:
        own.take_scale()
    values = (x, own.weight_even, own.weight_odd, own.bias_even)

    def run(x: Tensor, even: Tensor, odd: Tensor, bias: Tensor) -> Tensor:
        y = torch.func.functional_call(own, {"weight_even": even, "weight_odd": odd, "bias_even": bias}, (x,))
        assert is_one_step(y)
        return y

    assert torch.autograd.gradcheck(run, values) and torch.autograd.gradgradcheck(run, values)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("leading", [(1 << 11,), (4, 1 << 9)], ids=["rows", "frames"])
@pytest.mark.parametrize("bias", [False, True])
def test_many_rows_in_inference(dtype: torch.dtype, leading: tuple[int, ...], bias: bool) -> None:
    """Products written into the answer: the numbers of op by op, and the mirror exact."""
    own, x = layer(bias, own=64, out=96).to(dtype), noise(*leading, 64, seed=4).to(dtype)
    with torch.inference_mode():
        y, turned = own(x), own(x.roll(32, -1))
        expected = by_ops(own.double(), x.double())
    assert torch.equal(turned, y.roll(48, -1)) and y.shape == (*leading, 96)
    torch.testing.assert_close(
        y.double(), expected, rtol=0, atol=float(16 * torch.finfo(dtype).eps * expected.abs().max())
    )


@pytest.mark.parametrize("order", ["frames last", "channels last"])
@pytest.mark.parametrize("kernel", [1, 3])
def test_many_windows_in_inference(order: str, kernel: int) -> None:
    """Convolutions whose windows are apart take the same way."""
    own: Any = scrambled(Conv1d(hidden(8), hidden(6), kernel, stride=kernel), 1).double()
    x = noise(5, 8, 60, seed=5)
    x = x if order == "frames last" else x.transpose(1, 2).contiguous().transpose(1, 2)
    with torch.inference_mode():
        y, turned = own(x), own(x.roll(4, 1))
    assert torch.equal(turned, y.roll(3, 1))
    torch.testing.assert_close(y, F.conv1d(x, own.weight, own.bias, stride=kernel), rtol=1e-12, atol=1e-12)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("batch", [1, 3, 4096])
def test_exact_in_training(dtype: torch.dtype, batch: int) -> None:
    """The answers for T x and its gradients are those for x, turned, bit for bit."""
    own, x = layer(own=64, out=64).to(dtype), noise(batch, 64, seed=4).to(dtype).requires_grad_()
    turned = x.detach().roll(32, -1).requires_grad_()
    y, mirrored = own(x), own(turned)
    assert is_one_step(y) and torch.equal(mirrored, y.roll(32, -1))
    (y * y).sum().backward()
    (mirrored * mirrored).sum().backward()
    assert x.grad is not None and turned.grad is not None
    assert torch.equal(turned.grad, x.grad.roll(32, -1))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch derives forward by scripts of its own
def test_left_to_autograd() -> None:
    """What one step cannot do is done op by op: derivatives forward, transforms, weights and inputs of other types."""
    own, x, tangent = layer(), noise(3, 8, seed=5), noise(3, 8, seed=6)
    with forward_ad.dual_level():
        moved = forward_ad.unpack_dual(own(forward_ad.make_dual(x, tangent))).tangent
    torch.testing.assert_close(moved, F.linear(tangent, own.weight), rtol=1e-12, atol=1e-12)
    each = torch.func.vmap(torch.func.jacrev(own))(x)
    torch.testing.assert_close(each, own.weight.expand(3, -1, -1), rtol=1e-12, atol=1e-12)
    assert not is_one_step(layer(own=6)(x[:, :6].as_subclass(type("Own", (Tensor,), {}))))
    with torch.no_grad():
        assert torch.equal(own(x), layer()(x))
    uneven = Linear(hidden(9, fixed=1), hidden(6)).double()
    assert not is_one_step(uneven(noise(2, 9, seed=7)))
