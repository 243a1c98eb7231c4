"""Functions within copies of networks.

Python copies no functions: a lambda that a network keeps in an attribute (`self.embed = lambda x: self.layer(x)`) goes
on reading the network that was copied. The copy would then hold weights that it doesn't compute with, and torch.export
would take the others for constants.
"""

from __future__ import annotations

import types
from collections.abc import Mapping, MutableMapping
from typing import Any

import torch
from torch import nn


def rebind(module: nn.Module, copies: Mapping[int, Any]) -> None:
    """Let the functions in attributes of a copied network, and in lists and dicts there, reach the copy. In place.

    copies: what each object became, by its id, as `copy.deepcopy` notes it. What it has no copy of is left as it is.
    """
    rebinding = _Rebinding(copies)
    copied = set(map(id, copies.values()))  # the lists and dicts of others may be those of the original
    for part in module.modules():
        # Parts that the copy shares with the original stay as they are.
        if id(part) not in copied or isinstance(part, torch.jit.ScriptModule):
            continue
        table = vars(part)
        _rebind_in(table, rebinding)
        for holder in [value for value in table.values() if id(value) in copied]:
            _rebind_in(holder, rebinding)


def _rebind_in(holder: Any, rebinding: _Rebinding) -> None:
    """Put the rebuilt functions in the place of those in a list or dict. In place."""
    if isinstance(holder, MutableMapping):
        entries = list(holder.items())
    elif isinstance(holder, list):
        entries = list(enumerate(holder))
    else:
        return
    for key, value in entries:
        if isinstance(value, types.FunctionType):
            holder[key] = rebinding.of(value)


class _Rebinding:
    """Functions rebuilt on copies of what they reach; each once, so that functions which share a state go on so."""

    def __init__(self, copies: Mapping[int, Any]) -> None:
        self.copies = copies
        self.cells: dict[int, types.CellType] = {}
        self.functions: dict[int, types.FunctionType] = {}

    def of(self, value: Any) -> Any:
        """The object's copy; a function or method that reaches one is rebuilt, anything else is itself."""
        if id(value) in self.copies:
            return self.copies[id(value)]
        if isinstance(value, types.MethodType) and id(value.__self__) in self.copies:
            return types.MethodType(value.__func__, self.copies[id(value.__self__)])
        if isinstance(value, types.FunctionType) and self._reaches(value, set()):
            return self.functions.get(id(value)) or self._rebuilt(value)
        return value

    def _reaches(self, function: types.FunctionType, seen: set[int]) -> bool:
        """Whether a function holds something that was copied, or another function that does."""
        seen.add(id(function))
        for value in _held(function):
            if id(value) in self.copies:
                return True
            if isinstance(value, types.MethodType) and id(value.__self__) in self.copies:
                return True
            if isinstance(value, types.FunctionType) and id(value) not in seen and self._reaches(value, seen):
                return True
        return False

    def _rebuilt(self, function: types.FunctionType) -> types.FunctionType:
        """The function anew, on copies of what it reaches: code and globals are shared, closure and defaults are the
        copy's.

        A cell that two functions share (a counter that both write) becomes one new cell, which both get.
        """
        # Empty cells first, one for each old cell; they are filled below.
        closure = tuple(self.cells.setdefault(id(cell), types.CellType()) for cell in function.__closure__ or ())
        new = types.FunctionType(function.__code__, function.__globals__, function.__name__, None, closure or None)
        self.functions[id(function)] = new  # before its cells are filled: it may hold itself
        new.__dict__.update(function.__dict__)
        new.__qualname__, new.__doc__, new.__module__ = function.__qualname__, function.__doc__, function.__module__
        new.__annotations__ = function.__annotations__
        if function.__defaults__:
            new.__defaults__ = tuple(map(self.of, function.__defaults__))
        if function.__kwdefaults__:
            new.__kwdefaults__ = {name: self.of(value) for name, value in function.__kwdefaults__.items()}
        for old, cell in zip(function.__closure__ or (), closure, strict=True):
            # Once, also where two functions share it; what has no content in the original gets none.
            if not _is_empty(old) and _is_empty(cell):
                cell.cell_contents = self.of(old.cell_contents)
        return new


def _held(function: types.FunctionType) -> list[Any]:
    """What a function holds: the contents of its closure, and its defaults."""
    contents = [cell.cell_contents for cell in function.__closure__ or () if not _is_empty(cell)]
    return [*contents, *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]


def _is_empty(cell: types.CellType) -> bool:
    """Whether a cell has no content yet, as of a function that refers to a later definition."""
    try:
        _ = cell.cell_contents
    except ValueError:
        return True
    return False
