"""What does a pickle hold? It is read without running anything: arrays and tensors are built, other names are inert.

One reader for all that is pickled: the `data.pkl` of torch, files of torch before 1.6, objects in `.npy`, statistics of
trainers. A name that the pickle imports is looked up in a table here, never imported. A pickle of

    {"args": argparse.Namespace(frames=27), "weight": tensor}

gives {"args": Foreign, "weight": tensor}, and Foreign.state is {"frames": 27}.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


class Foreign:
    """Stands in for an object of a class that is not ours to import.

    name: of the class or function, dotted.  args: it was called with.  state: what the pickle put into it.  entries: of
    one that is a kind of dict.
    """

    name = ""
    args: tuple[Any, ...]
    state: Any
    entries: dict[Any, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Foreign:
        blank = object.__new__(cls)
        blank.args, blank.state, blank.entries = args, None, {}
        return blank

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __call__(self, *args: Any, **kwargs: Any) -> Foreign:
        return Foreign()

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.entries[key] = value

    def append(self, value: Any) -> None:
        """What a pickle does with a kind of list or set: the values are not needed."""

    add = extend = append

    @property
    def fields(self) -> Mapping[str, Any]:
        """Its attributes, where its state is a table of them, and entries of a kind of dict."""
        state = self.state[0] if isinstance(self.state, tuple) and self.state else self.state
        return {**(state if isinstance(state, dict) else {}), **self.entries}


class _Table(dict):
    """An OrderedDict without the attributes that torch hangs on it (`_metadata`)."""

    def __setstate__(self, state: Any) -> None: ...


# ---- arrays of numpy ------------------------------------------------------------------------------------------------
class _Kind:
    """`numpy.dtype`: a plain number or text. A pickled one with fields could claim that raw bytes are references."""

    def __init__(self, text: str, *flags: Any) -> None:
        self.dtype = np.dtype(text)
        if self.dtype.fields or self.dtype.kind not in "biufcSUO":
            raise pickle.UnpicklingError(f"an array of {text!r}")

    def __setstate__(self, state: Any) -> None:
        if any(part is not None for part in state[2:5]):
            raise pickle.UnpicklingError("an array with fields")
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """`numpy._reconstruct`: filled by its state. `value` is the array, or the list of its objects."""

    def __init__(self, *args: Any) -> None:
        self.value: Any = np.zeros(0)

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, data = state
        if kind.dtype.hasobject:
            self.value = list(data) if shape else data[0]
        else:
            self.value = _from_buffer(data, kind, shape, "F" if fortran else "C")


def _from_buffer(data: Any, kind: _Kind, shape: Any, order: str, *rest: Any) -> np.ndarray:
    """The numbers of an array, apart from the pickle's memory. Raises ValueError where they don't fill it."""
    raw = data.encode("latin1") if isinstance(data, str) else bytes(data)
    if kind.dtype.hasobject:
        raise pickle.UnpicklingError("an array of references")
    return np.frombuffer(raw, kind.dtype).reshape(shape, order="F" if order == "F" else "C").copy()


def _scalar(kind: _Kind, data: Any = b"") -> Any:
    """One number of numpy."""
    return _from_buffer(data, kind, (1,), "C")[0]


def _encoded(text: str, encoding: str = "latin1") -> bytes:
    """Bytes as protocol 2 writes them."""
    return text.encode("latin1")


# ---- tensors of torch -----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Storage:
    """The bytes that tensors are views of, and of what numbers they are."""

    dtype: torch.dtype
    room: bytearray | memoryview


def _tensor(storage: Storage, offset: int, shape: Any, strides: Any, *rest: Any) -> torch.Tensor:
    """A view of a storage; torch refuses one that reaches beyond its end. rest: of version 3, ends with the dtype."""
    dtype = next((part for part in rest if isinstance(part, torch.dtype)), storage.dtype)
    if not len(storage.room):
        return torch.empty(0, dtype=dtype).as_strided(shape, strides, offset)
    return torch.frombuffer(storage.room, dtype=dtype).as_strided(shape, strides, offset)


def _parameter(data: Any, *rest: Any) -> Any:
    """The tensor of a parameter."""
    return data


_STORAGES: Mapping[str, torch.dtype] = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "UntypedStorage": torch.uint8,
}
_KNOWN: Mapping[str, Callable[..., Any]] = {
    "collections.OrderedDict": _Table,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch.Size": tuple,
    "builtins.set": set,
    "__builtin__.set": set,
    "_codecs.encode": _encoded,
    "numpy.dtype": _Kind,
    "numpy.ndarray": _Array,
    **{f"numpy.{core}.multiarray._reconstruct": _Array for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": _from_buffer for core in ("core", "_core")},
}


class _Call:
    """A function of ours that a pickle may call, and cannot change: a plain one has attributes, for BUILD to set."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("a state for a function")


class Unpickler(pickle.Unpickler):
    """Builds containers, numbers, texts, arrays and tensors.

    storage_of: gives the `Storage` for a persistent id of torch.  foreign: names of the pickle that are not ours.
    """

    def __init__(self, stream: io.BufferedIOBase, storage_of: Callable[[Any], Any] | None = None) -> None:
        super().__init__(stream, encoding="latin1")  # texts of Python 2
        self.foreign: dict[str, type[Foreign]] = {}
        self._storage_of = storage_of

    def find_class(self, module: str, name: str) -> Any:
        """Our class or function of that name, else a stand-in. Nothing is imported."""
        full = f"{module}.{name}"
        if full in _KNOWN:
            known = _KNOWN[full]
            return known if isinstance(known, type) else _Call(known)
        if module in ("torch", "torch.storage") and name in _STORAGES:
            return _STORAGES[name]
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        if full not in self.foreign:
            self.foreign[full] = type("Foreign", (Foreign,), {"name": full})
        return self.foreign[full]

    def persistent_load(self, pid: Any) -> Any:
        """The object outside of the pickle that goes by this id."""
        if self._storage_of is None:
            raise pickle.UnpicklingError("an object outside of the pickle")
        return self._storage_of(pid)


def built(value: Any) -> Any:
    """The value with arrays in place of their recipes and plain dicts, through dicts, lists and tuples.

    Raises RecursionError for a value that contains itself.
    """
    if isinstance(value, _Array):
        return built(value.value)
    if isinstance(value, _Kind):
        return value.dtype
    if isinstance(value, dict):
        return {key: built(entry) for key, entry in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(built, value))
    return value


def read_pickle(data: bytes | memoryview, allow_foreign: bool = False) -> Any:
    """What a plain pickle holds.

    Raises ForeignError where it names more than arrays and that is not allowed; whatever a damaged pickle raises.
    """
    reader = Unpickler(io.BytesIO(data))
    value = built(reader.load())
    if reader.foreign and not allow_foreign:
        raise ForeignError(", ".join(reader.foreign))
    return value


class ForeignError(Exception):
    """A pickle names classes or functions that only its own code could restore."""
