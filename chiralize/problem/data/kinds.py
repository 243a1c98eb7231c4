"""Arrays and tensors of the user in the kinds of numbers that a network takes.

A cast that keeps the values is made (float64 to float32, int64 to float32, 3.0 to 3), one that would lose fractions or
imaginary parts is an error. numpy has kinds that torch has not: other byte orders, long doubles, texts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from chiralize.errors import DataFileError, NonFiniteError


def fitting_kind(array: np.ndarray, dtype: torch.dtype, name: str, where: str) -> torch.dtype:
    """The dtype that an array becomes: floating ones take the network's precision, others keep their kind."""
    if array.dtype.kind == "f":
        return dtype
    return native(array[:0], name, where).dtype


def native(array: np.ndarray, name: str, where: str) -> torch.Tensor:
    """A copy as a tensor: in this machine's byte order, of 64 bits at most.  Raises DataFileError."""
    wide = {"f": np.dtype(np.float64), "c": np.dtype(np.complex128)}.get(array.dtype.kind, array.dtype)
    if array.dtype.itemsize > wide.itemsize:
        kind = wide
    else:
        kind = array.dtype.newbyteorder("=")
    try:
        with np.errstate(over="ignore"):
            return torch.from_numpy(np.array(array, dtype=kind, order="C"))
    except TypeError as error:
        facts = f"{array_name(name)} holds {array.dtype}, which is no kind of numbers that torch has"
        raise DataFileError(where, facts, "store plain numbers, for example array.astype('float32')") from error


def as_tensor(array: np.ndarray, dtype: torch.dtype, name: str, where: str) -> torch.Tensor:
    """An array as a tensor of the input's kind. Raises DataFileError and NonFiniteError as `checked_cast` does."""
    return checked_cast(native(array, name, where), dtype, name, where)


def checked_cast(tensor: torch.Tensor, dtype: torch.dtype, name: str, where: str) -> torch.Tensor:
    """A tensor in the input's kind.

    Raises DataFileError where that would change its values, NonFiniteError where they do not fit its range.
    """
    if tensor.is_complex() and not dtype.is_complex:
        facts = f"{array_name(name)} holds {kind_name(tensor.dtype)}, the model's input is {kind_name(dtype)}"
        raise DataFileError(where, facts, "store it in the kind that the model takes")
    cast = tensor.to(dtype)
    if not is_real(dtype):
        _refuse_changed(tensor, cast, name, where)
    broken = 0  # a mask may hold infinities of its own
    if cast.dtype != tensor.dtype and (cast.is_floating_point() or cast.is_complex()):
        broken = int((torch.isfinite(tensor) & ~torch.isfinite(cast)).sum())
    if broken:
        facts = f"{array_name(name)} has {broken} of {cast.numel()} entries that are infinite as {kind_name(dtype)}"
        raise NonFiniteError(where, facts, "remove those samples, or scale them into its range")
    return cast


def is_real(dtype: torch.dtype) -> bool:
    """Whether a kind holds fractions, other than whole numbers and masks."""
    return dtype.is_floating_point or dtype.is_complex


def is_of_one_kind(one: torch.dtype, other: torch.dtype) -> bool:
    """Whether both are real numbers, whole numbers, or masks, of whatever precision."""
    return (is_real(one), one == torch.bool) == (is_real(other), other == torch.bool)


def is_exact(tensor: torch.Tensor, cast: torch.Tensor) -> bool:
    """Whether whole numbers, or a mask, have the values that they were cast from."""
    return bool((cast.to(tensor.dtype) == tensor).all())


def _refuse_changed(tensor: torch.Tensor, cast: torch.Tensor, name: str, where: str) -> None:
    """Raise DataFileError where a cast to whole numbers, or to a mask, has changed a value."""
    if cast.dtype == tensor.dtype or is_exact(tensor, cast):
        return
    other = float(tensor[cast.to(tensor.dtype) != tensor][0])
    facts = (
        f"{array_name(name)} holds {kind_name(tensor.dtype)}, the model's input is {kind_name(cast.dtype)}, and "
        f"{other:g} is none"
    )
    if cast.dtype == torch.bool:
        raise DataFileError(where, facts, "store a mask of 0 and 1, or of False and True")
    raise DataFileError(where, facts, "store the whole numbers that the model takes, such as indices and time steps")


def remark_on_kind(name: str, given: np.dtype | torch.dtype, dtype: torch.dtype, where: str) -> str:
    """A note on an array that is taken as another kind of numbers than it holds; "" where it stays of its kind.

    Another precision of the same kind is not worth a note.
    """
    of_given = native(np.empty(0, given), name, where).dtype if isinstance(given, np.dtype) else given
    if is_of_one_kind(of_given, dtype):
        return ""
    return f"{array_name(name)} of {where} holds {kind_name(of_given)}: taken as {kind_name(dtype)}, as the network is"


def in_kind(value: torch.Tensor | np.ndarray, dtype: torch.dtype, where: str) -> torch.Tensor:
    """An array or a tensor in an input's kind. Raises DataFileError, NonFiniteError where its values do not fit."""
    if isinstance(value, np.ndarray):
        return as_tensor(value, dtype, "", where)
    return checked_cast(with_values(value, where), dtype, "", where)


def kind_name(kind: torch.dtype | torch.layout) -> str:
    """A kind of numbers, or of layout, as messages name it: `float32`."""
    return str(kind).removeprefix("torch.")


def array_name(name: str) -> str:
    """An array of a file as messages name it; the only one of a file has no name."""
    if name:
        return f"array {name!r}"
    return "the array"


def with_values(value: Any, where: str) -> Any:
    """The tensor or array itself. Raises DataFileError for one without values, or with some of them alone."""
    if isinstance(value, torch.Tensor) and (value.is_meta or value.layout != torch.strided):
        if value.is_meta:
            kind = "without values (meta)"
        else:
            kind = f"of layout {kind_name(value.layout)}"
        raise DataFileError(where, f"a tensor {kind} is given", "give dense tensors with values (to_dense())")
    return value
