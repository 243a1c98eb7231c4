"""What a module holds: the tables, lists and objects within its reach, and what has values in them.

Forward may write anywhere there: into a buffer, a plain attribute, a list of past frames, an object of the user's
own, or an attribute of TorchScript. Whoever has to know what a module holds walks over it here: `snapshot` to put it
back, `copies` and `tracing` to find tensors. Of a module with `self.past = [x0, x1]` the walk gives

    holders    _parameters, _buffers, _modules, its attributes, the list at `past`
    values     (past[0], x0), (past[1], x1)
"""

from __future__ import annotations

import argparse
import operator
import random
import sys
import types
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping, MutableSet
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

Kind = Literal["parameter", "buffer", "attribute"]
_TABLES: Mapping[str, Kind] = {"_parameters": "parameter", "_buffers": "buffer", "_modules": "attribute"}
_WITH_VALUES = (Tensor, np.ndarray, torch.Generator, random.Random, np.random.Generator, np.random.RandomState)
_NUMBERS_AND_TEXTS = (bool, int, float, complex, str, bytes)
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)
_ONE_PIECE = (*_NUMBERS_AND_TEXTS, *_FUNCTIONS, type, torch.dtype, torch.device, types.ModuleType)
_PLAIN_TABLES = (dict, OrderedDict)
_NAMESPACES = (types.SimpleNamespace, argparse.Namespace)
_LIBRARIES = (*sys.stdlib_module_names, "numpy", "sympy")
_UTILS = ("torch.utils._pytree", "torch.utils._sympy", "torch.utils.data")
_OF_TORCH = ("torch._", "torch.fx", "torch.export", "torch.jit", *_UTILS)


@dataclass(frozen=True)
class Location:
    """Where a module holds something, such as `encoder.history[2]`.

    module: path of the submodule, `encoder`, "" for the outermost.  name: of its attribute, `history`.  rest: the way
    on from there, `[2]` or `['hidden']`, "" for the attribute itself.
    """

    module: str
    name: str = ""
    rest: str = ""
    kind: Kind = "attribute"

    def __str__(self) -> str:
        if self.module:
            return f"{self.module}.{self.name}{self.rest}"
        return f"{self.name}{self.rest}"

    @property
    def attribute(self) -> str:
        """The path of the attribute that it is in, `encoder.history`."""
        if self.module:
            return f"{self.module}.{self.name}"
        return self.name

    @property
    def is_attribute(self) -> bool:
        """Whether it is an attribute itself, of a module that is reached through attributes alone."""
        return not self.rest and "[" not in self.module

    def owner(self, module: nn.Module) -> Any:
        """The submodule, of the outermost module given, whose attribute it is."""
        if self.module:
            return operator.attrgetter(self.module)(module)
        return module


# ---- things with slots --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Holder:
    """Something with slots that can be filled again in place: here a dictionary, in the subclasses a list or an object.

    owner: the dictionary itself.  location: where the module holds it; of a module's own tables it has no name.
    """

    owner: Any
    location: Location

    def slots(self) -> dict[Any, Any]:
        """The content of every slot now, in order, by key (by index for a list, by name for attributes)."""
        return dict(self.owner.items())

    def holds(self, slots: Mapping[Any, Any]) -> bool:
        """Whether its slots hold the very same objects as `slots`, in this order."""
        return _are_the_same(self.owner, slots)

    def refill(self, slots: Mapping[Any, Any]) -> None:
        """Put the content of `slots` into its slots, in this order, and nothing else."""
        # By the base's methods: classes made from these may refuse it, or do more.
        kind = OrderedDict if isinstance(self.owner, OrderedDict) else dict
        kind.clear(self.owner)
        kind.update(self.owner, slots)

    def location_of(self, slot: Any) -> Location:
        """Where the module holds the content of a slot."""
        here = self.location
        if not here.name:
            return Location(here.module, str(slot), "", here.kind)
        return Location(here.module, here.name, here.rest + self._step(slot), here.kind)

    def _step(self, slot: Any) -> str:
        """How Python writes the way from the holder to a slot: an index or a key, `[0]`, `['h']`."""
        return f"[{slot!r}]"


class _Row(Holder):
    """A list or a deque."""

    def slots(self) -> dict[Any, Any]:
        """The entries by index."""
        return dict(enumerate(self.owner))

    def holds(self, slots: Mapping[Any, Any]) -> bool:
        """Whether its entries are the very same objects."""
        return _are_the_same(self.slots(), slots)

    def refill(self, slots: Mapping[Any, Any]) -> None:
        """Replace all entries."""
        self.owner.clear()
        self.owner.extend(slots.values())


class _Tuple(_Row):
    """A tuple. It cannot be refilled, but its entries may."""

    def refill(self, slots: Mapping[Any, Any]) -> None:
        """Nothing to do: a tuple holds what it held."""


class _Set(_Row):
    """A set. Its members have no keys, so they are numbered in the order in which it gives them."""

    def refill(self, slots: Mapping[Any, Any]) -> None:
        """Replace all members."""
        self.owner.clear()
        for value in slots.values():
            self.owner.add(value)


class _Attributes(Holder):
    """The `__dict__` of an object."""

    def _step(self, slot: Any) -> str:
        """An attribute: `.h`."""
        return f".{slot}"


class _Slotted(_Attributes):
    """An object whose class has `__slots__`."""

    def slots(self) -> dict[Any, Any]:
        """The attributes in `__slots__` that are set, by name."""
        return {name: getattr(self.owner, name) for name in _slot_names(self.owner) if hasattr(self.owner, name)}

    def holds(self, slots: Mapping[Any, Any]) -> bool:
        """Whether its attributes are the very same objects."""
        return _are_the_same(self.slots(), slots)

    def refill(self, slots: Mapping[Any, Any]) -> None:
        """Set these attributes, past the class's own `__setattr__`, and delete all others."""
        for name in self.slots().keys() - slots.keys():
            object.__delattr__(self.owner, name)
        for name, value in slots.items():
            object.__setattr__(self.owner, name, value)


class _Script(Holder):
    """Attributes of a TorchScript module, its parameters and buffers among them. owner: the module's C++ side."""

    def slots(self) -> dict[Any, Any]:
        """The attributes by name, without those of a type that Python has nothing for."""
        attributes: dict[str, Any] = {}
        kind: Any = torch._C.ConcreteModuleType.from_jit_type(self.owner._type())
        for name in kind.get_attributes():
            with suppress(RuntimeError):
                attributes[name] = self.owner.getattr(name)
        return attributes

    def holds(self, slots: Mapping[Any, Any]) -> bool:
        """Whether its attributes are equal; lists are never the same object, since TorchScript makes new ones."""
        now = self.slots()
        return list(now) == list(slots) and all(equal(now[slot], value) for slot, value in slots.items())

    def refill(self, slots: Mapping[Any, Any]) -> None:
        """Set these attributes; TorchScript cannot gain or lose any."""
        for name, value in slots.items():
            self.owner.setattr(name, value)

    def location_of(self, slot: Any) -> Location:
        """Where an attribute is, and whether it is a parameter or a buffer."""
        tables: Mapping[Kind, Any] = {"parameter": torch._C.ParameterDict, "buffer": torch._C.BufferDict}
        # TorchScript has one list of attributes; which are parameters and buffers it says in tables of its own.
        kinds: list[Kind] = [kind for kind, table in tables.items() if slot in dict(table(self.owner).items())]
        return Location(self.location.module, slot, "", kinds[0] if kinds else "attribute")


def _are_the_same(now: Mapping[Any, Any], slots: Mapping[Any, Any]) -> bool:
    """Whether two tables hold the very same objects, in this order."""
    if len(now) != len(slots):
        return False
    if not slots:
        return True  # as most tables of a module are: those of its hooks
    if not all(map(operator.is_, now.values(), slots.values())):
        return False
    return list(now) == list(slots)  # lists look at identity first: keys may be tensors


def equal(first: Any, second: Any) -> bool:
    """Whether two are one object, or the same numbers or texts, or lists of such.

    TorchScript makes a new list for everyone who asks, of the same tensors.
    """
    if first is second:
        return True
    if type(first) is not type(second):
        return False
    if isinstance(first, _NUMBERS_AND_TEXTS):
        return repr(first) == repr(second)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(equal, first, second))
    if isinstance(first, dict):
        return list(first) == list(second) and all(equal(first[key], value) for key, value in second.items())
    return False


# ---- the walk -----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Holdings:
    """All that a module holds.

    holders: from the outside to the inside.  values: tensors, arrays and generators of random numbers, each once, with
    the first location at which the walk meets it.
    """

    holders: tuple[Holder, ...]
    values: tuple[tuple[Location, Any], ...]

    @staticmethod
    def of(module: nn.Module) -> Holdings:
        """Walk over a module. Objects of the standard library and of SymPy, and graphs, are taken as one piece."""
        # `waiting` grows while it is worked off: each holder's slots bring the holders of what is in them.
        holders: list[Holder] = []
        values: list[tuple[Location, Any]] = []
        seen: dict[int, Any] = {id(module): module}  # held, so that no address comes twice
        # Breadth first, so that a value gets the outermost of its locations; tables of parameters come first of all.
        waiting = deque(_of_module(module, "", seen))
        while waiting:
            holder = waiting.popleft()
            holders.append(holder)
            for slot, value in holder.slots().items():
                # Numbers and texts have no slots and no values of their own: the slot that holds them says it all.
                if value is None or isinstance(value, _ONE_PIECE) or id(value) in seen:
                    continue
                seen[id(value)] = value
                location = holder.location_of(slot)
                if type(value) in _PLAIN_TABLES:  # most of what a module holds: tables of hooks
                    waiting.append(Holder(value, location))
                # Tensors and the like end the walk: they have values, and no slots.
                elif isinstance(value, _WITH_VALUES):
                    values.append((location, value))
                elif isinstance(value, nn.Module):
                    waiting.extend(_of_module(value, str(location), seen))
                else:
                    waiting.extend(_of(value, location))
        return Holdings(tuple(holders), tuple(values))


def held_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Every tensor that a module and its submodules hold, by location, each once."""
    return {str(location): value for location, value in Holdings.of(module).values if isinstance(value, Tensor)}


def _of(value: Any, location: Location) -> Iterator[Holder]:
    """The holders that an object consists of; none for what is taken as one piece."""
    # A class made from list with attributes of its own has both: its entries, and its `__dict__`.
    container = _container(type(value))
    if container is not None:
        yield container(value, location)
    if _is_open(type(value)):
        table = getattr(value, "__dict__", None)
        if isinstance(table, dict) and table:
            yield _Attributes(table, location)
        if container is None and any(True for _ in _slot_names(value)):
            yield _Slotted(value, location)


@lru_cache(1000)
def _container(kind: type) -> type[Holder] | None:
    """What holds the entries of an object of this class, None where it has none."""
    containers = {dict: Holder, (list, deque): _Row, tuple: _Tuple, MutableSet: _Set}
    return next((holder for base, holder in containers.items() if issubclass(kind, base)), None)


def _of_module(module: nn.Module, path: str, seen: dict[int, Any]) -> list[Holder]:
    """The holders of a module and all within it. Parameters and buffers come first, and so are known by their names.

    seen: objects that were walked over, by address; the modules are added.
    """
    tables: list[Holder] = []
    attributes: list[Holder] = []
    for name, part in module.named_modules(prefix=path):
        seen[id(part)] = part
        table = vars(part)
        # Its Python side mirrors the C++ one, which alone is written.
        if isinstance(part, torch.jit.ScriptModule) and isinstance(table.get("_c"), torch._C.ScriptModule):
            tables.append(_Script(table["_c"], Location(name)))
            continue
        for key, kind in _TABLES.items():
            if isinstance(table.get(key), dict):
                tables.append(Holder(table[key], Location(name, kind=kind)))
                # Else the tables would be met again among the attributes, as plain dictionaries.
                seen[id(table[key])] = table[key]
        attributes.append(_Attributes(table, Location(name)))
    return [*tables, *attributes]


@lru_cache(1000)
def _is_open(kind: type) -> bool:
    """Whether an object is looked into: of the user's own classes, namespaces, what torch makes in forward.

    Objects of the standard library, numpy, SymPy and torch's inner machinery are taken as one piece.
    """
    module = kind.__module__
    if issubclass(kind, _NAMESPACES):
        return True
    return module.partition(".")[0] not in _LIBRARIES and not module.startswith(_OF_TORCH)


def _slot_names(value: Any) -> Iterator[str]:
    """Names in the `__slots__` of an object's class and of those that it is made from."""
    for kind in type(value).__mro__:
        names = vars(kind).get("__slots__", ())
        if isinstance(names, str):
            names = [names]
        yield from (name for name in names if not name.startswith("__"))
