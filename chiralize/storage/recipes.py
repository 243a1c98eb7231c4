"""Stand-ins for numpy's own unpickling functions, which trust a file's word on the layout of memory.

A pickled numpy dtype can claim that raw bytes are not references when they are; numpy would then follow them.  Here
only simple number and text types are rebuilt, and every array from bytes of the right length.

A pickled array [1.0, 2.0] says

    _reconstruct(ndarray, (0,), b"b")                         ArrayRecipe
    dtype("f8"), its state (3, "<", None, None, None, ...)    DtypeRecipe: float64, little endian
    the state (1, (2,), that dtype, False, 16 bytes)          shape, type, whether in Fortran's order, numbers

`unpickle` and `checkpoint` put these recipes in the places of numpy's functions, and call `built` on what comes out.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

_SIMPLE = re.compile(r"[<>=|]?([biufcSU]\d{1,5}|O\d?|\?)")


class DtypeRecipe:
    """`numpy.dtype` of a pickle: a simple type, without fields."""

    def __init__(self, text: str, align: object = False, copy: object = False) -> None:
        del align, copy
        if not isinstance(text, str) or not _SIMPLE.fullmatch(text):
            raise ValueError(f"array type {text!r} is not a plain number or text")
        self._text = text.lstrip("<>=|")
        self._order = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        # (version, order of bytes, subtype, names, fields, ...): only a plain type has None for the last three.
        _, order, subtype, names, fields = state[:5]
        if (subtype, names, fields) != (None, None, None) or order not in ("<", ">", "=", "|"):
            raise ValueError("array type with fields")
        self._order = order

    def dtype(self) -> np.dtype:
        """The numpy type."""
        return np.dtype(self._order + self._text)


class ArrayRecipe:
    """`numpy._reconstruct` of a pickle: an array that its state fills."""

    def __init__(self, *arguments: object) -> None:
        del arguments
        self.value: Any = np.zeros(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, recipe, fortran, data = state
        self.fill(shape, recipe, "F" if fortran else "C", data)

    def fill(self, shape: Any, recipe: DtypeRecipe, order: Any, data: Any) -> None:
        """Take the numbers from bytes; of an array of objects, take the list of them."""
        dtype = recipe.dtype()
        if dtype.hasobject:
            # Shapes of objects are not kept: callers go through their entries in order.
            self.value = list(data) if shape != () else data[0]
            return
        self.value = np.frombuffer(_raw(data), dtype).reshape(shape, order=order).copy()


def _raw(data: Any) -> bytes:
    """Bytes, which protocol 2 may have written as text."""
    if isinstance(data, str):
        return data.encode("latin1")
    return bytes(data)


def _from_buffer(data: Any, recipe: DtypeRecipe, shape: Any, order: Any, axis_order: Any = None) -> ArrayRecipe:
    """`_frombuffer` of a pickle of protocol 5: an array that lies whole in one run of bytes."""
    del axis_order
    array = ArrayRecipe()
    array.fill(shape, recipe, order, data)
    return array


def _scalar(recipe: DtypeRecipe, data: Any) -> Any:
    """`numpy.core.multiarray.scalar` of a pickle: a number of numpy's.  Raises ValueError."""
    dtype = recipe.dtype()
    if dtype.hasobject:
        raise ValueError("an object scalar")
    return np.frombuffer(_raw(data), dtype)[0]


class _ArrayName:
    """`numpy.ndarray` where a pickle passes the class itself."""


NUMPY_RECIPES: dict[str, Any] = {"numpy.dtype": DtypeRecipe, "numpy.ndarray": _ArrayName}
for _core in ("numpy.core", "numpy._core"):  # before numpy 2, and since
    NUMPY_RECIPES[f"{_core}.multiarray._reconstruct"] = ArrayRecipe
    NUMPY_RECIPES[f"{_core}.multiarray.scalar"] = _scalar
    NUMPY_RECIPES[f"{_core}.numeric._frombuffer"] = _from_buffer


def built(value: Any) -> Any:
    """`value` with the arrays in place of their recipes, through nested dicts, lists and tuples.

    Dicts and lists are changed in place.
    """
    if isinstance(value, ArrayRecipe):
        if isinstance(value.value, np.ndarray):
            return value.value
        return built(value.value)
    if isinstance(value, DtypeRecipe):
        return value.dtype()
    if isinstance(value, dict):
        for key, entry in value.items():
            value[key] = built(entry)
    elif isinstance(value, list):
        value[:] = map(built, value)
    elif type(value) is tuple:
        return tuple(map(built, value))
    return value
