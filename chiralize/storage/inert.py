"""Pickles of torch read without running anything: tensors as records of where they lie, all other objects as stand-ins.

Trainers pickle objects of theirs beside the weights (histories, configurations, callbacks).  Here nothing that a pickle
names is imported or called: a name becomes a class of ours that swallows whatever it is given.  So the weights beside
such objects can be read, and the objects stay what they are: bytes of the file.

A pickle is a program for a stack machine.  Of `torch.save({"w": torch.zeros(2, 3), "log": History()})` it says

    call torch._utils._rebuild_tensor_v2 with (storage "0" of floats, offset 0, shape (2, 3), strides (3, 1), ...)
    call trainer.log.History.__new__, give it the state {...}

and the result here is {"w": StoredTensor(Storage("0", "float32"), "float32", 0, (2, 3), (3, 1)), "log": Foreign}.
The numbers themselves lie beside the pickle, and `torch_file` reads them.  Callers: `content` for every file of torch,
to tell formats apart; `torch_file` for weights; `vec_normalize` for statistics.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from chiralize.errors import ModelFileError, UnsafeFileError
from chiralize.storage.bounds import MAX_DEPTH, check_claim, check_parts

_COMPILED = ".OptimizedModule"
_WRAPPERS, _WRAPPED = ("DataParallel", "DistributedDataParallel", "OptimizedModule"), ("module", "_orig_mod")
MAX_NAMES = 1_000_000
"""Parts and weights of a pickled module; what is more contains itself."""
_REMEDY = "copy or download the file again; if it was written by torch, save it again."


@dataclass(frozen=True)
class Storage:
    """Numbers beside a pickle.  key: of the storage.  dtype: of its entries, "" where only the tensor says it."""

    key: str
    dtype: str


@dataclass(frozen=True)
class StoredTensor:
    """Where the numbers of a tensor lie: offset and strides in entries of its storage."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def end(self) -> int:
        """How many entries the storage must have at least."""
        if 0 in self.shape:
            return 0
        # The last entry lies at offset + sum of (size - 1) * stride: of shape (2, 3), strides (3, 1) at offset + 5.
        steps = zip(self.shape, self.strides, strict=True)
        return self.offset + 1 + sum((size - 1) * stride for size, stride in steps)


class Foreign:
    """Stands in for an object whose class is not ours to import.

    origin: dotted name of the class or function.  entries, state: what the pickle put into it.
    """

    __slots__ = ("entries", "state")
    origin: str = ""

    def __new__(cls, *args: Any, **kwargs: Any) -> Foreign:
        """An empty stand-in: what the object would be built from is not looked at, but for the network in a wrapper."""
        del kwargs
        blank = object.__new__(cls)
        blank.entries, blank.state = {}, None
        # A compiled module pickles the network as an argument of its class, not in its state.
        if cls.origin.endswith(_COMPILED) and args and isinstance(args[0], Foreign):
            blank.state = {"_modules": {"_orig_mod": args[0]}}
        return blank

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        del args, kwargs

    def __call__(self, *args: Any, **kwargs: Any) -> Foreign:
        del args, kwargs
        return Foreign()

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.entries[key] = value

    @property
    def inside(self) -> list[Any]:
        """The parts of the object that are kept."""
        return [self.entries, self.state]

    def append(self, value: Any) -> None:
        """Forget a part of a list: subclasses of list are filled so."""

    def extend(self, values: Any) -> None:
        """Forget parts of a list."""

    def add(self, value: Any) -> None:
        """Forget a part of a set."""


class Table(dict):
    """Stands in for an OrderedDict, without the attributes that torch hangs on it."""

    def __setstate__(self, state: Any) -> None:
        del state


class _Call:
    """A function of ours that a pickle may call, and cannot change.

    A plain function has attributes, which a pickle could set (BUILD), for all files to come.
    """

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setstate__(self, state: Any) -> None:
        raise ValueError("a state for a function")


@dataclass(frozen=True)
class _Name:
    """A kind of numbers that a pickle names."""

    name: str


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> StoredTensor | Foreign:
    """The record of a tensor; a stand-in for one of a kind of numbers that is not known here.

    rest: requires_grad, hooks and, of `_rebuild_tensor_v3`, the number type.
    Raises ValueError for a shape or strides that are none.
    """
    dtype = rest[2].name if len(rest) > 2 and isinstance(rest[2], _Name) else ""
    if not isinstance(storage, Storage):
        raise ValueError("a tensor without a storage")
    # All come from the file: negative strides would reach before the storage, texts would fail somewhere later.
    sizes = (offset, *shape, *strides)
    if not all(type(size) is int and size >= 0 for size in sizes) or len(shape) != len(strides):
        raise ValueError(f"a tensor of shape {shape!r} and strides {strides!r}")
    kind = dtype or storage.dtype  # untyped storages leave it to the tensor
    if kind:
        return StoredTensor(storage, kind, offset, tuple(shape), tuple(strides))
    return Foreign()


def _parameter(data: Any, *rest: Any) -> Any:
    """The tensor of a parameter, which for us is the parameter."""
    del rest
    return data


_KNOWN: Mapping[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "builtins.set": lambda values=(): set(values),
    "__builtin__.set": lambda values=(): set(values),
}
_STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "UntypedStorage": "",
}
DTYPES = frozenset(_STORAGES.values()) | {"uint16", "uint32", "uint64"} - {""}


class _InertUnpickler(pickle.Unpickler):
    """Builds containers, numbers and text; imports nothing."""

    def __init__(self, data: bytes, known: Mapping[str, Any]) -> None:
        super().__init__(io.BytesIO(data), encoding="latin1")  # texts of Python 2, of which every byte is a letter
        self._known = known
        self._classes: dict[str, type] = {}

    def find_class(self, module: str, name: str) -> Any:
        """The object for a name: a record of ours for tensors and their parts, else a stand-in."""
        full = f"{module}.{name}"
        # The caller's stand-ins first, then tensors and their parts.  Any other name gets a class of its own, so that
        # objects of one class of the file are of one class here.
        if full in self._known:
            stand_in = self._known[full]
            if isinstance(stand_in, type):
                return stand_in
            return _Call(stand_in)
        if full in _KNOWN:
            return _Call(_KNOWN[full])
        if full == "collections.OrderedDict":
            return Table
        if module in ("torch", "torch.storage") and name in _STORAGES:
            return _Name(_STORAGES[name])
        if module == "torch" and name in DTYPES:
            return _Name(name)
        if full not in self._classes:
            self._classes[full] = type("Foreign", (Foreign,), {"__slots__": (), "origin": full})
        return self._classes[full]

    def persistent_load(self, pid: Any) -> Storage:
        """The storage that a torch file has beside its pickle.  Raises ValueError for what is none."""
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] not in ("storage", b"storage"):
            raise ValueError("an outside object that is no storage")
        if len(pid) > 5 and pid[5] is not None:  # old torch: offsets would count from somewhere else
            raise ValueError("a storage that is a view of another one")
        kind, key = pid[1], pid[2]  # ("storage", class of storage, key, device, number of entries[, view])
        if not isinstance(key, str):
            raise ValueError("a storage without a name")
        return Storage(key, kind.name if isinstance(kind, _Name) else "")


def inert_tree(pickled: bytes, where: str, known: Mapping[str, Any] = MappingProxyType({})) -> Any:
    """What a pickle of torch holds: containers, numbers, StoredTensor and Foreign.

    known: stand-ins of the caller's for further names, which must be safe to call with anything.
    Raises ValueError on damage, UnsafeFileError for what would take for ever to walk.
    """
    try:
        tree = _InertUnpickler(pickled, known).load()
        check_parts(tree, "its pickle", where)
        return tree
    except UnsafeFileError:
        raise
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except Exception as error:  # damaged pickles raise many kinds
        raise ValueError(f"{type(error).__name__}: {error}") from error


def state_of(module: Foreign, where: str) -> dict[str, Any] | None:
    """The weights of a pickled module by name, as its `state_dict` would list them; None for any other object.

    Raises ModelFileError for one that is nested without end.
    """
    names: dict[str, Any] = {}
    waiting: list[tuple[str, Any]] = [("", module)]
    steps = 0
    # A module keeps its parts in three tables of its attributes: _parameters, _buffers, and _modules for those inside.
    while waiting:
        prefix, part = waiting.pop()
        steps += 1
        if max(steps, len(names)) > MAX_NAMES or prefix.count(".") > MAX_DEPTH:
            raise ModelFileError(where, "its module is nested without end", "do not use this file.")
        fields = part.state if isinstance(part, Foreign) else None
        if not isinstance(fields, dict) or not isinstance(fields.get("_modules"), dict):
            continue
        # Buffers that `state_dict` leaves out are in the pickle all the same.
        forgotten = fields.get("_non_persistent_buffers_set")
        if not isinstance(forgotten, (set, frozenset)):
            forgotten = frozenset()
        for name, tensor in _tensors_of(fields):
            if name not in forgotten:
                names[f"{prefix}{name}"] = tensor
        inner = [(f"{prefix}{name}.", child) for name, child in fields["_modules"].items()]
        waiting += reversed(inner)  # the last one is taken first: the order is that of `state_dict`
    return names or None


def named_in(tree: Any, where: str) -> Any:
    """The weights of a pickled module by name, as of `state_of`; anything else as it is."""
    return state_of(tree, where) if isinstance(tree, Foreign) else tree


def class_of(module: Foreign) -> str:
    """The class of a pickled module, or of the one in its wrapper (DataParallel, torch.compile)."""
    # Wrappers may be nested, and a hostile one may contain itself: not more often than `MAX_DEPTH`.
    for _ in range(MAX_DEPTH):
        inner = module.state.get("_modules") if isinstance(module.state, dict) else None
        wrapped = next((inner[key] for key in _WRAPPED if isinstance(inner, dict) and key in inner), None)
        if not isinstance(wrapped, Foreign) or not module.origin.endswith(_WRAPPERS):
            break
        module = wrapped
    return module.origin


def _tensors_of(fields: Mapping[str, Any]) -> list[tuple[str, StoredTensor]]:
    """Parameters, then buffers, that a pickled module has of its own."""
    tensors: list[tuple[str, StoredTensor]] = []
    for kind in ("_parameters", "_buffers"):
        entries = fields.get(kind)
        if isinstance(entries, dict):
            tensors += [(str(name), value) for name, value in entries.items() if isinstance(value, StoredTensor)]
    return tensors


def check_stored(tensor: StoredTensor, room: int, itemsize: int, name: str, where: str) -> None:
    """Refuse a tensor that claims more than its storage holds.

    room: bytes of the storage.  Raises ModelFileError, UnsafeFileError.
    """
    check_claim(tensor.shape, room, f"tensor {name!r}", where)
    if tensor.end * itemsize > room:
        facts = f"tensor {name!r} needs {tensor.end * itemsize:,} bytes of its storage, which has {room:,}"
        raise ModelFileError(where, facts, _REMEDY)
