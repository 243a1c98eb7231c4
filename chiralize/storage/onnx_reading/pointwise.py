"""Operators that act on every number by itself, as functions of torch; with them casts and the softmax of one axis.

`module.run` looks a node's operator up in OPERATORS and calls it with the node and the values of its inputs. A value is
a tensor, an array of Python numbers (`sizes`), or None for an input that is left out. Where all inputs are numbers,
`sizes.ARITHMETIC` answers if it has the operator; this file then is not asked.

In ONNX all operands of a sum or product have one type: a factor of a float64 tensor is float64. Here single numbers
are Python's, so that they take the type of the tensor they meet, as `2 * x` does in torch:

    Mul(x, [2.0])       x a float64 tensor, one Python number    ->    x * 2.0, float64
    Mul(x, [2.0, 3.0])  two Python numbers                       ->    x * tensor([2.0, 3.0]), float64 like x
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from chiralize.storage.onnx_reading.call import NodeCall, Operator
from chiralize.storage.onnx_reading.sizes import Value, as_tensor, cast, is_numbers, listed, single

_KINDS = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
    16: torch.bfloat16,
}
"""Kinds of numbers by their numbers in ONNX."""


def _plain(function: Callable[[Tensor], Tensor]) -> Operator:
    """A function of one tensor as an operator."""
    return lambda call, values: function(as_tensor(values[0]))


def _operand(value: Value, other: Value) -> Any:
    """An operand of two, made ready for torch: a tensor as it is, a single number as Python's, more as a tensor.

    other: the operand beside it, whose type a number takes.
    """
    if is_numbers(value):
        # Only beside a tensor: two numbers are no tensor for torch's functions.
        assert isinstance(value, np.ndarray)
        if value.size == 1 and isinstance(other, Tensor):
            return single(value)
        return as_tensor(value, other if isinstance(other, Tensor) else None)
    return value


def _of_two(function: Callable[[Any, Any], Tensor]) -> Operator:
    """A function of two operands as an operator."""

    def apply(call: NodeCall, values: Sequence[Any]) -> Tensor:
        """The function of two operands; Min and Max take more, one after the other."""
        # Each number takes its type from what stands beside it, which from the second round on is the result so far.
        result = values[0]
        for value in values[1:]:
            result = function(_operand(result, value), _operand(value, result))
        return result

    return apply


def _extreme(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    """Min or Max, by torch's function of two tensors."""

    def apply(one: Any, other: Any) -> Tensor:
        """The larger or smaller of two, broadcast. One of them may be a Python number."""
        # torch.minimum takes tensors only, so that a number becomes one in the type of the tensor beside it.
        like = one if isinstance(one, Tensor) else other
        one, other = (torch.as_tensor(value, dtype=like.dtype) for value in (one, other))
        return function(one, other)

    return _of_two(apply)


def _quotient(one: Any, other: Any) -> Tensor:
    """Division as ONNX does it: of whole numbers towards zero, -7 / 2 = -3, where Python's // has -4."""
    # Without a floating-point tensor among the two, `/` of torch would turn whole numbers into float32.
    whole = not any(isinstance(value, Tensor) and value.is_floating_point() for value in (one, other))
    if whole:
        return torch.div(one, other, rounding_mode="trunc")
    return one / other


def _power(call: NodeCall, values: Sequence[Any]) -> Tensor:
    """base ** exponent in the type of the base, a single exponent as a number and not as a tensor.

    The two may be of different types: 2.5 ** 3 is 15.625, and of whole numbers 3 ** 1.5 is 5, cut off from 5.196.
    """
    base, exponent = as_tensor(values[0], _real(values[1])), values[1]
    if is_numbers(exponent) and exponent.size == 1:
        exponent = single(exponent)
    else:
        exponent = as_tensor(exponent, _real(base))
    if not base.is_floating_point() and _leaves_whole_numbers(exponent):
        return torch.pow(base.double(), exponent).to(base.dtype)
    result = torch.pow(base, exponent)
    return result if result.dtype == base.dtype else result.to(base.dtype)


def _real(value: Any) -> Tensor | None:
    """The value where it is a floating-point tensor, whose type numbers beside it take."""
    return value if isinstance(value, Tensor) and value.is_floating_point() else None


def _leaves_whole_numbers(exponent: Any) -> bool:
    """Whether powers of whole numbers may be fractions: the exponent has some, or may be negative."""
    if isinstance(exponent, Tensor):
        return True
    return isinstance(exponent, float) or exponent < 0


def _clip(call: NodeCall, values: Sequence[Any]) -> Tensor:
    """Between two bounds: attributes up to operator set 10, then inputs, of which each may be left out.

    Raises CaptureError for a bound that is a tensor of more than one number.
    """
    # Attributes first; inputs replace them. A file has one or the other, by its operator set.
    bounds = [call.get("min"), call.get("max")]
    for position, value in enumerate(values[1:3]):
        if value is not None:
            call.require(is_numbers(value) or value.numel() == 1, "its bounds are computed")
            (bounds[position],) = listed(value)
    if bounds == [0, None]:  # a ReLU by another name
        return torch.relu(values[0])
    return torch.clamp(values[0], *bounds)


def _cast(call: NodeCall, values: Sequence[Any]) -> Value:
    """In another number type; a tensor that is of it stays itself, without an op in the graph.

    Numbers that sizes are computed from stay Python's. Raises CaptureError for a type that is not in `_KINDS`.
    """
    kind = _KINDS.get(call.get("to"))
    if kind is None:
        raise call.refuse(f"it casts to kind {call.get('to')}")
    (value,) = values
    if is_numbers(value):
        return cast(value, kind.is_floating_point, kind == torch.bool)
    if value.dtype == kind:
        return value
    return value.to(kind)


def _softmax(function: Callable[..., Tensor]) -> Operator:
    """Softmax or its logarithm, by torch's function."""

    def apply(call: NodeCall, values: Sequence[Any]) -> Tensor:
        """Along one axis; old operators flatten what follows, which is the same for the last axis alone."""
        (x,) = values
        # Before set 13, axis 1 of (b, 17, 2) meant a softmax over all 34 numbers; over 2 numbers it is axis 2.
        axis = call.get("axis", -1 if call.opset >= 13 else 1)
        call.require(call.opset >= 13 or axis in (-1, x.ndim - 1), f"operator set {call.opset} flattens axes behind it")
        return function(x, dim=axis)

    return apply


def _where(call: NodeCall, values: Sequence[Any]) -> Tensor:
    """Entries of the second input where the first holds, of the third elsewhere; all three are broadcast."""
    condition, one, other = values
    # The condition is no operand: it has a type of its own, bool, and gives none to a number.
    return torch.where(as_tensor(condition), _operand(one, other), _operand(other, one))


def _prelu(call: NodeCall, values: Sequence[Any]) -> Tensor:
    """x where it is not negative, slope * x elsewhere; the slope is broadcast from the last axis on."""
    x, slope = values
    # F.prelu takes one slope or one for each entry of axis 1; ONNX lets (4,) stand beside x of (2, 3, 4).
    return torch.where(x < 0, slope * x, x)


OPERATORS: dict[str, Operator] = {
    "Relu": _plain(torch.relu),
    "Sigmoid": _plain(torch.sigmoid),
    "Tanh": _plain(torch.tanh),
    "Softplus": _plain(F.softplus),
    "Softsign": _plain(F.softsign),
    "Selu": _plain(F.selu),
    "HardSwish": _plain(F.hardswish),
    "Mish": _plain(F.mish),
    "Erf": _plain(torch.erf),
    "Exp": _plain(torch.exp),
    "Log": _plain(torch.log),
    "Sqrt": _plain(torch.sqrt),
    "Reciprocal": _plain(torch.reciprocal),
    "Abs": _plain(torch.abs),
    "Neg": _plain(torch.neg),
    "Sin": _plain(torch.sin),
    "Cos": _plain(torch.cos),
    "Tan": _plain(torch.tan),
    "Asin": _plain(torch.asin),
    "Acos": _plain(torch.acos),
    "Atan": _plain(torch.atan),
    "Sign": _plain(torch.sign),
    "Floor": _plain(torch.floor),
    "Ceil": _plain(torch.ceil),
    "Round": _plain(torch.round),
    "Not": _plain(torch.logical_not),
    "Identity": lambda call, values: values[0],
    # In use it does nothing; a file that is read back is one to be used.
    "Dropout": lambda call, values: values[0],
    "Elu": lambda call, values: F.elu(values[0], call.get("alpha", 1.0)),
    "Celu": lambda call, values: F.celu(values[0], call.get("alpha", 1.0)),
    "LeakyRelu": lambda call, values: F.leaky_relu(values[0], call.get("alpha", 0.01)),
    "Gelu": lambda call, values: F.gelu(values[0], approximate=call.get("approximate", "none")),
    # F.hardsigmoid has the fixed slope 1/6; ONNX gives slope and offset, 0.2 and 0.5 where the file has none.
    "HardSigmoid": lambda call, values: torch.clamp(
        values[0] * call.get("alpha", 0.2) + call.get("beta", 0.5), 0.0, 1.0
    ),
    "PRelu": _prelu,
    "Clip": _clip,
    "Cast": _cast,
    "Softmax": _softmax(F.softmax),
    "LogSoftmax": _softmax(F.log_softmax),
    "Add": _of_two(lambda one, other: one + other),
    "Sub": _of_two(lambda one, other: one - other),
    "Mul": _of_two(lambda one, other: one * other),
    "Div": _of_two(_quotient),
    "Pow": _power,
    "Min": _extreme(torch.minimum),
    "Max": _extreme(torch.maximum),
    "Equal": _of_two(lambda one, other: one == other),
    "Less": _of_two(lambda one, other: one < other),
    "LessOrEqual": _of_two(lambda one, other: one <= other),
    "Greater": _of_two(lambda one, other: one > other),
    "GreaterOrEqual": _of_two(lambda one, other: one >= other),
    "And": _of_two(torch.logical_and),
    "Or": _of_two(torch.logical_or),
    "Where": _where,
}
