"""Whole numbers that a graph computes sizes from: kept as Python's, so that open sizes stay open.

A shape, and what is computed from one, is a numpy array of objects: of ints, or of the symbols that torch.export puts
in the place of open sizes. No tensor would hold those.

Of x.reshape(x.shape[0], -1) an exporter makes Shape, Gather, Concat and Reshape.  With x of shape (b, 17, 2) the values
are here [b, 17, 2], then b, then [b, -1]: arrays throughout, so that Reshape gets the symbol b and no number.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx.experimental.symbolic_shapes import statically_known_true

Numbers = np.ndarray
"""An array of Python numbers or symbols, dtype object."""
Value = Tensor | Numbers | None
"""A value of the graph; None for an input that is left out."""
LARGEST = 4096
"""Entries of a stored tensor of whole numbers that are still kept as Python's."""


def numbers(values: Any) -> Numbers:
    """An array of Python numbers, in the shape of nested lists."""
    array = np.empty(np.shape(values), dtype=object)
    array[...] = values
    return array


def is_numbers(value: Any) -> bool:
    """Whether a value is an array of Python numbers."""
    return isinstance(value, np.ndarray)


def listed(value: Any) -> list[Any]:
    """The numbers of an array or of a tensor in one list."""
    return value.reshape(-1).tolist()


def single(value: Numbers) -> Any:
    """The only number of an array.  Raises ValueError where there are more or none."""
    (number,) = listed(value)
    return number


def as_tensor(value: Any, like: Tensor | None = None) -> Tensor:
    """A value as a tensor: truth values as bool, whole numbers as int64, others in the type of `like`, else float32."""
    if isinstance(value, Tensor):
        return value
    given = value.tolist()
    # torch guesses a type from all numbers together; ONNX has one type for all: bool, float or int64.
    if all(isinstance(number, bool) for number in listed(value)):
        return torch.tensor(given, dtype=torch.bool)
    if any(isinstance(number, float) for number in listed(value)):
        return torch.tensor(given, dtype=torch.float32 if like is None else like.dtype)
    return torch.tensor(given, dtype=torch.int64)


def of_tensor(tensor: Tensor) -> Numbers:
    """A stored tensor as an array of numbers."""
    return numbers(tensor.tolist())


def shape_of(value: Any) -> Numbers:
    """The sizes of a value."""
    return numbers(list(value.shape))


def _quotient(one: Any, other: Any) -> Any:
    """Division as ONNX does it: of whole numbers towards zero, -7 / 2 = -3, where `//` gives -4."""
    if isinstance(one, float) or isinstance(other, float):
        return one / other
    if other < 0:
        one, other = -one, -other
    if statically_known_true(one >= 0):  # as open sizes mostly are
        return one // other
    # Of an open number the sign may be open, too: one of the two terms is 0.
    return torch.sym_max(one, 0) // other - torch.sym_max(-one, 0) // other


def _rest(one: Any, other: Any) -> Any:
    """What division towards zero leaves, with the sign of the first number: of -7 and 2 it is -1."""
    if isinstance(one, float) or isinstance(other, float):
        return math.fmod(one, other)
    return one - other * _quotient(one, other)


def _each(function: Callable[..., Any]) -> Callable[..., Numbers]:
    """A function of single numbers as one of arrays, which are broadcast.

    Those of `operator` have no `__code__`: all that are used here take two numbers.
    """
    vectorised = np.frompyfunc(function, function.__code__.co_argcount if hasattr(function, "__code__") else 2, 1)

    def apply(*arrays: Numbers) -> Numbers:
        """The function, number by number."""
        result = vectorised(*arrays)
        # Of arrays without axes numpy returns the number itself.
        if isinstance(result, np.ndarray):
            return result
        return numbers(result)

    return apply


def _choice(condition: Any, one: Any, other: Any) -> Any:
    return one if condition else other


ARITHMETIC: dict[str, Callable[..., Numbers]] = {
    "Add": _each(operator.add),
    "Sub": _each(operator.sub),
    "Mul": _each(operator.mul),
    "Div": _each(_quotient),
    "Mod": _each(operator.mod),
    "Equal": _each(operator.eq),
    "Less": _each(operator.lt),
    "Greater": _each(operator.gt),
    "Where": _each(_choice),
    "Sqrt": _each(lambda number: math.sqrt(number)),
    "Neg": _each(lambda number: -number),
    "Not": _each(lambda number: not number),
    "Abs": _each(lambda number: abs(number)),
    "Floor": _each(lambda number: math.floor(number)),
    "Ceil": _each(lambda number: math.ceil(number)),
    "Min": _each(lambda one, other: min(one, other)),
    "Max": _each(lambda one, other: max(one, other)),
    "Identity": lambda array: array,
}
"""Operators on arrays of numbers alone."""
_WITH_SIGN_OF_FIRST = _each(_rest)


def arithmetic(kind: str, fmod: int) -> Callable[..., Numbers] | None:
    """An operator on arrays of numbers alone, None where there is none. fmod: of Mod, the attribute of this name."""
    if kind == "Mod" and fmod:
        return _WITH_SIGN_OF_FIRST
    return ARITHMETIC.get(kind)


def cast(array: Numbers, is_float: bool, is_bool: bool) -> Numbers:
    """The numbers in another kind: truth values, floats, or whole numbers, cut off as ONNX does (-1.5 to -1).

    An open size stays the symbol that it is where whole numbers are wanted.
    """
    if is_bool:
        return _each(lambda number: bool(number))(array)
    if is_float:
        return _each(lambda number: float(number))(array)
    return _each(_whole)(array)


def _whole(number: Any) -> Any:
    if isinstance(number, (bool, float)):
        return int(number)
    return number


def sliced(array: Any, starts: Sequence[Any], ends: Sequence[Any], axes: Sequence[int], steps: Sequence[int]) -> Any:
    """Part of an array or a tensor, as Slice takes it: per axis of `axes` a start, an end and a positive step."""
    picks: list[slice] = [slice(None)] * array.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        picks[axis] = slice(start, _within(end), step)
    return array[tuple(picks)]


def _within(end: Any) -> Any:
    """An end, None where it is the largest number there is, of int32 or int64: all that follows."""
    if isinstance(end, int) and abs(end) >= 2**31 - 1:
        return None
    return end
