"""The private calls of torch that our layers can make, all of them here, each beside a public one that does the same.

The public ones are taken unless CHIRALIZE_PRIVATE_OPS=1 or `set_private_ops(True)` asks for the others. Those are
compared with the public ones before they are used for the first time; where they are gone or say something else, a
warning tells so, and the public ones stay.

    product by oneDNN            a convolution of one tap, or `torch.nn.functional.linear`
    whether a transform is on    whether torch lets a function of the old kind run, which it does not within one
    whether a dual level is on   whether one of the tensors has a tangent
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad

VARIABLE = "CHIRALIZE_PRIVATE_OPS"
_SAME = 1e-5  # of numbers near one: what two orders of summation differ by


class _Probe(torch.autograd.Function):
    """A function of the old kind, which torch refuses to run within its transforms."""

    @staticmethod
    def forward(ctx: Any, nothing: None) -> None:
        """Nothing."""
        return nothing

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> None:
        """Nothing."""


# ---- public ---------------------------------------------------------------------------------------------------------
def product_by_convolution(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x W^T + b by oneDNN, which convolves for torch: rows are frames of one picture. x: "rows in", weight: "out in".

    -x gives exactly -(x W^T), as by torch's own product. On one thread torch convolves one tap without oneDNN, unless
    the stride is larger than 1: along the single line of the picture every stride gives the same.
    """
    picture = x.contiguous()[None, None].permute(0, 3, 1, 2)  # "1 in 1 rows", as it lies in memory
    # Stride 2 along the axis of size 1 changes no answer, and takes torch to oneDNN (decision 0099).
    y = F.conv2d(picture, weight.contiguous()[:, :, None, None], bias, stride=(2, 1))
    return y.permute(0, 2, 3, 1).reshape(len(x), len(weight))


def _is_refused() -> bool:
    """Whether torch refuses to run a function of the old kind now, as it does within a transform of `torch.func`."""
    try:
        _Probe.apply(None)
    except RuntimeError:
        return True
    return False


def _have_tangents(tensors: Sequence[Tensor]) -> bool:
    """Whether some tensor has a tangent, so that derivatives go forward through it."""
    return any(forward_ad.unpack_dual(tensor).tangent is not None for tensor in tensors)


# ---- private --------------------------------------------------------------------------------------------------------
def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x W^T + bias by oneDNN's own product."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


def _product_and(x: Tensor, weight: Tensor, added: Tensor) -> Tensor:
    """x W^T + added, in one pass over the answer."""
    return torch.ops.mkldnn._linear_pointwise.binary(x, added, weight, None, "add")


def packed(weight: Tensor, rows: int) -> Tensor:
    """The weight in oneDNN's own order, for products with so many rows; only where `are_on`."""
    return torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), rows)


def _has_interpreter() -> bool:
    """Whether a transform of `torch.func` is on: its interpreters lie on a stack."""
    from torch._C._functorch import peek_interpreter_stack

    return peek_interpreter_stack() is not None


def _has_level() -> bool:
    """Whether derivatives go forward anywhere: a dual level is open."""
    return forward_ad._current_level >= 0


# ---- which ----------------------------------------------------------------------------------------------------------
_on: bool | None = None  # not asked yet


def are_on() -> bool:
    """Whether the private calls are taken. The first time it looks at the environment, and compares them."""
    global _on
    if _on is None:
        set_private_ops(os.environ.get(VARIABLE, "0").strip().lower() in ("1", "on", "true", "yes"))
    return bool(_on)


def set_private_ops(on: bool) -> None:
    """Take torch's private operators where they are faster, or (the default) public ones alone.

    With them, layers of `chiralize.nn` multiply large matrices by oneDNN directly, also where torch itself takes MKL.
    Not while another thread runs such a layer. CHIRALIZE_PRIVATE_OPS=1 does the same for a process.
    """
    global _on
    # The operators may change with any release of torch; a product that is not the same must not be taken silently.
    if on and (difference := _difference()):
        warnings.warn(f"chiralize: private operators stay off: {difference}", RuntimeWarning, stacklevel=2)
        on = False
    _on = on


@contextmanager
def private_ops(on: bool) -> Iterator[None]:
    """`set_private_ops` for as long as the context lasts."""
    before = are_on()
    set_private_ops(on)
    try:
        yield
    finally:
        set_private_ops(before)


def is_transformed() -> bool:
    """Whether one of `torch.func`'s transforms is on."""
    if are_on():
        return _has_interpreter()
    return _is_refused()


def goes_forward(*tensors: Tensor | None) -> bool:
    """Whether derivatives go forward through these tensors; the private way: through any."""
    if are_on():
        return _has_level()
    return _have_tangents([tensor for tensor in tensors if tensor is not None])


def product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x W^T + b by oneDNN. x: "rows in", weight: "out in", bias: "out"."""
    return (_product if are_on() else product_by_convolution)(x, weight, bias)


def product_and(x: Tensor, weight: Tensor, added: Tensor) -> Tensor:
    """x W^T + added by oneDNN. added: "rows out"."""
    if are_on():
        return _product_and(x, weight, added)
    return product_by_convolution(x, weight, None).add_(added)


# ---- the comparison -------------------------------------------------------------------------------------------------
def _difference() -> str:
    """How the private calls differ from the public ones; "" where they do not."""
    try:
        with torch.inference_mode(False), torch.no_grad():
            return _difference_of_products() or _difference_of_answers()
    except Exception as error:  # removed, or with other arguments: torch may raise anything
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def _difference_of_products() -> str:
    """How the private products differ from torch's own ones, to rounding; "" where they do not."""
    if not torch.backends.mkldnn.is_available():
        return "this torch comes without oneDNN"
    # Small products whose sums are near one, all entries different: a swapped or transposed operand shows.
    numbers = torch.arange(-60.0, 60.0, device="cpu", dtype=torch.float32)
    x, weight = (0.01 * numbers).view(6, 20), (0.02 * numbers.flip(0)).view(6, 20)
    bias, added = x[0, :6], x[:, :6] + 1.0
    expected = F.linear(x, weight, bias)
    pairs = {
        "the product": (_product(x, weight, bias), expected),
        "the product without a bias": (_product(x, weight, None), expected - bias),
        "the product with a packed weight": (_product(x, packed(weight, 6), bias), expected),
        "the sum of a product": (_product_and(x, weight, added), expected - bias + added),
        "the public product": (product_by_convolution(x, weight, bias), expected),
    }
    for name, (ours, theirs) in pairs.items():
        if ours.shape != theirs.shape or not torch.allclose(ours, theirs, rtol=0, atol=_SAME):
            return f"{name} is another"
    return ""


def _difference_of_answers() -> str:
    """Asked within a transform and a dual level, and outside of both."""
    answers: list[tuple[bool, bool]] = []

    def ask(x: Tensor) -> Tensor:
        """Ask both ways, and hand x on."""
        answers.append((_has_interpreter(), _is_refused()))
        return x

    ask(torch.ones(()))
    torch.vmap(ask)(torch.ones(2))
    with forward_ad.dual_level():
        # There is no tensor to ask the public way about here, so the level itself is what is right.
        answers.append((_has_level(), True))
    answers.append((_has_level(), False))
    if all(private == public for private, public in answers):
        return ""
    return "torch tells its transforms in another way"
