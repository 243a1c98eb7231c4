"""What a module holds at one moment, and how to bring it back to that: no run of ours may leave anything behind.

A snapshot has two layers. Slots: which object each attribute, table or list entry held; they are put back as
objects. Values: the bytes of every tensor, array and generator, which forward may have written to in place; they are
copied back. `changes` compares both, by which `state` and `tracing` find what forward keeps.
"""

from __future__ import annotations

import ctypes
import random
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from chiralize.graph.copies import is_large
from chiralize.graph.holdings import Holder, Holdings, Kind, Location, equal

_TABLES = (dict, OrderedDict)
NOTHING = object()
"""Stands for the content of a slot that does not exist."""


@dataclass(frozen=True)
class Change:
    """The content of one location before and now: the same object where it was written to, NOTHING for a slot that did
    not exist.
    """

    location: Location
    before: Any
    now: Any

    @property
    def is_of_same_size(self) -> bool:
        """Whether both are tensors of one shape, type and device, so that one buffer has room for both."""
        if not isinstance(self.before, Tensor) or not isinstance(self.now, Tensor):
            return False
        before, now = self.before, self.now
        return (before.shape, before.dtype, before.device) == (now.shape, now.dtype, now.device)


class Snapshot:
    """A module as it was, to be restored in place: the same objects in the same slots, with the same values, bit by
    bit.

    It takes parameters (of large networks without their values, which nothing here writes), buffers, plain attributes,
    the content of lists, dictionaries and objects of the user's own classes, and attributes of TorchScript; of all
    submodules. What lies elsewhere, in globals or on the class, is not seen.
    """

    def __init__(self, holdings: Holdings, parameters: bool) -> None:
        self._slots = [(holder, holder.slots()) for holder in holdings.holders]
        # Two lists, so that a restore can ask of all empty tables at once whether any is filled now.
        self._empty = [holder.owner for holder, slots in self._slots if not slots and type(holder.owner) in _TABLES]
        self._filled = [(holder, slots) for holder, slots in self._slots if slots or type(holder.owner) not in _TABLES]
        self._tensors: list[_Values] = []
        self._arrays: list[_Array] = []
        self._generators: list[_Generator] = []
        # Copies by memory: a weight and its views, or tied weights, are copied once.
        memory: dict[int, Any] = {}
        for location, value in holdings.values if parameters else _without_parameters(holdings.values):
            if isinstance(value, Tensor):
                self._tensors.append(_Values.of(location, value, memory))
            elif isinstance(value, np.ndarray):
                self._arrays.append(_Array(location, value, value.copy()))
            else:
                self._generators.append(_Generator(location, value, _state_of(value)))

    @staticmethod
    def of(module: nn.Module, *, parameters: bool = True) -> Snapshot:
        """Take a snapshot of a module as it is now. parameters: False leaves their values, which are trained, out."""
        with torch._C.DisableTorchFunction(), torch.no_grad():  # as it is, regardless of active modes
            return Snapshot(Holdings.of(module), parameters and not is_large(module))

    def restore(self, kind: Kind | None = None) -> None:
        """Bring the module back to the snapshot, any number of times. kind: only parameters, buffers or attributes."""
        with torch._C.DisableTorchFunction(), torch.no_grad():
            # Most tables of a module are empty, those of its hooks: every run asks whether all of them still are.
            for holder, slots in self._filled if kind is None and not any(self._empty) else self._slots:
                # All slots as they were, or only those of one kind, all others as they are now.
                if kind is None:
                    wanted = slots
                else:
                    wanted = _with_those_of(kind, holder, slots)
                # Mostly they still hold the same objects; looking is cheaper than filling.
                if not holder.holds(wanted):
                    holder.refill(wanted)
            for copy in (*self._tensors, *self._arrays, *self._generators):
                if kind in (None, copy.location.kind):
                    copy.restore()

    def changes(self) -> tuple[Change, ...]:
        """Every location that holds another object now, or whose tensor, array or generator was written to."""
        changes: dict[str, Change] = {}
        with torch._C.DisableTorchFunction(), torch.no_grad():
            for holder, slots in self._slots:
                now = holder.slots()
                # In order: the slots of the snapshot, then those that came since.
                for slot in {**slots, **now}:
                    before, after = slots.get(slot, NOTHING), now.get(slot, NOTHING)
                    if not equal(before, after):
                        location = holder.location_of(slot)
                        changes[str(location)] = Change(location, before, after)
            for copy in (*self._tensors, *self._arrays, *self._generators):
                if copy.changed:
                    # A slot with another object has an entry already; what became of the old object matters less.
                    changes.setdefault(str(copy.location), Change(copy.location, copy.before, copy.now))
        return tuple(changes.values())


def _with_those_of(kind: Kind, holder: Holder, slots: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """The content that a holder's slots shall have: as now, but for slots of one kind as in the snapshot, `slots`.

    So with kind "buffer" new attributes stay, new buffers go, and old buffers come back.
    """
    # In the order of now; a slot of that kind which the snapshot lacks is left out.
    wanted: dict[Any, Any] = {}
    for slot, value in holder.slots().items():
        if holder.location_of(slot).kind != kind or slot in slots:
            wanted[slot] = value
    for slot, value in slots.items():
        if holder.location_of(slot).kind == kind:
            wanted[slot] = value
    return wanted


def _without_parameters(values: Sequence[tuple[Location, Any]]) -> list[tuple[Location, Any]]:
    """All values but tensors in the memory of a parameter."""
    tensors = [(location, value) for location, value in values if isinstance(value, Tensor)]
    # A view of a parameter that is held as an attribute shares its values, and is left out as well.
    taken = {_memory(tensor) for location, tensor in tensors if location.kind == "parameter"} - {None}
    return [
        (location, value) for location, value in values if not isinstance(value, Tensor) or _memory(value) not in taken
    ]


@contextmanager
def untouched(*modules: nn.Module, parameters: bool = True) -> Iterator[None]:
    """Within, modules may be run; afterwards, also after an error, they hold what they held before.

    parameters: False where they are trained within.
    """
    snapshots = [Snapshot.of(module, parameters=parameters) for module in modules]
    try:
        yield
    finally:
        for snapshot in snapshots:
            snapshot.restore()


# ---- values -------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Values:
    """A tensor, the memory that it lay in, and a copy of that memory; `copy` is None where it has none to look at.

    now: the tensor itself.  view: the memory as the tensor saw it.  layout: how the view lies in that memory.
    bytes, copy_bytes: the memory and its copy, byte by byte.
    """

    location: Location
    now: Tensor
    view: Tensor
    layout: tuple[Any, ...]
    bytes: Tensor
    copy: torch.UntypedStorage | None
    copy_bytes: Tensor
    is_leaf: bool
    needs_grad: bool

    @staticmethod
    def of(location: Location, tensor: Tensor, memory: dict[int, Any]) -> _Values:
        """Copy a tensor's memory. memory: copies by address, so that tensors that share memory share its copy."""
        view, copy = tensor.detach(), None
        layout, present, copied = (), torch.empty(0), torch.empty(0)
        with suppress(Exception):  # without values (meta, fake), or kept in a way of their own (sparse, mkldnn)
            # The whole memory, not the tensor's numbers alone: forward may write through another view of it.
            storage = tensor.untyped_storage()
            if storage.device.type != "meta":
                if storage._cdata not in memory:
                    memory[storage._cdata] = storage.clone()
                shared = memory[storage._cdata]
                layout, present, copied = _layout(view), _bytes(storage), _bytes(shared)
                copy = shared
        return _Values(location, tensor, view, layout, present, copy, copied, tensor.is_leaf, tensor.requires_grad)

    @property
    def before(self) -> Tensor:
        """The memory of the snapshot where the tensor lies in other memory now; else the tensor itself."""
        if self._is_elsewhere:
            return self.view
        return self.now

    @property
    def changed(self) -> bool:
        """Whether it lies in other memory, or its memory holds other bytes."""
        return self.copy is not None and (self._is_elsewhere or not self._holds_the_same)

    def restore(self) -> None:
        """Give the tensor its memory, its history and its bytes back."""
        if self.copy is None:
            return
        # Which memory it sees first, then its place in autograd's history, then the bytes.
        if self._is_elsewhere:
            self.now.data = self.view  # forward assigned `.data`, or resized it
        if self.is_leaf and not self.now.is_leaf:
            self.now.detach_()  # forward wrote into it with gradients on
        if self.now.is_leaf and self.now.requires_grad != self.needs_grad:
            self.now.requires_grad_(self.needs_grad)
        if not self._holds_the_same:
            storage = self.view.untyped_storage()
            # Its memory may have been freed or grown in place.
            if storage.nbytes() != self.copy.nbytes():
                storage.resize_(self.copy.nbytes())
            storage.copy_(self.copy)

    @property
    def _is_elsewhere(self) -> bool:
        """Whether the tensor sees other memory now, or the same otherwise."""
        return _layout(self.now) != self.layout

    @property
    def _holds_the_same(self) -> bool:
        """Whether the memory of the snapshot holds the bytes that it held."""
        size = self.view.untyped_storage().nbytes()
        return size == self.copy_bytes.numel() and _are_equal(self.bytes, self.copy_bytes)


def _memory(tensor: Tensor) -> int | None:
    """The address of a tensor's memory, equal for tensors that share it; None for a tensor that has none."""
    with suppress(Exception):
        return tensor.untyped_storage()._cdata
    return None


def _layout(tensor: Tensor) -> tuple[Any, ...]:
    """Where a tensor lies and how: equal for as long as it is the same view of the same memory."""
    storage = tensor.untyped_storage()._cdata
    return storage, tensor.dtype, tensor.storage_offset(), tuple(tensor.shape), tensor.stride()


def _bytes(storage: torch.UntypedStorage) -> Tensor:
    """A memory as a tensor of bytes, on its own device, without a copy."""
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)


def _are_equal(first: Tensor, second: Tensor) -> bool:
    """Whether as many bytes are the same. Every run asks it of all weights, and `torch.equal` looks at each byte."""
    compare = _memcmp()
    if compare is None or first.device.type != "cpu" or second.device.type != "cpu":
        return torch.equal(first, second)
    return compare(first.data_ptr(), second.data_ptr(), first.numel()) == 0


@cache
def _memcmp() -> Callable[[int, int, int], int] | None:
    """The C library's comparison of memory; None where it is not to be had (Windows)."""
    with suppress(OSError, AttributeError, TypeError):
        compare = ctypes.CDLL(None).memcmp
        compare.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
        return compare
    return None


@dataclass(frozen=True)
class _Array:
    """A NumPy array and a copy of its numbers."""

    location: Location
    now: np.ndarray
    before: np.ndarray

    @property
    def changed(self) -> bool:
        """Whether it has another shape or other numbers, bit by bit."""
        return self.now.shape != self.before.shape or self.now.tobytes() != self.before.tobytes()

    def restore(self) -> None:
        """Write its shape and its numbers back, unless it cannot be written."""
        if self.changed and self.now.flags.writeable:
            if self.now.shape != self.before.shape:
                self.now.resize(self.before.shape, refcheck=False)
            self.now[...] = self.before


@dataclass(frozen=True)
class _Generator:
    """A generator of random numbers and the state that it was in."""

    location: Location
    now: Any
    before: Any

    @property
    def changed(self) -> bool:
        """Whether numbers were drawn since."""
        state = _state_of(self.now)
        if isinstance(state, Tensor):
            return not torch.equal(state, self.before)
        return repr(state) != repr(self.before)

    def restore(self) -> None:
        """Put the generator back to the state that it was in."""
        if isinstance(self.now, (torch.Generator, np.random.RandomState)):
            self.now.set_state(self.before)
        elif isinstance(self.now, random.Random):
            self.now.setstate(self.before)
        else:
            self.now.bit_generator.state = self.before


def _state_of(generator: Any) -> Any:
    """The state of a generator of random numbers, which alone determines what it draws next."""
    if isinstance(generator, (torch.Generator, np.random.RandomState)):
        return generator.get_state()
    if isinstance(generator, random.Random):
        return generator.getstate()
    return generator.bit_generator.state
