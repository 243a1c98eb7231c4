"""What a module holds at one moment, and how to bring it back to that: no run of ours may leave anything behind."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from chiralize.graph.copies import is_large
from chiralize.graph.holdings import Holder, Holdings, Kind, Place, equal

NOTHING = object()
"""What is in a slot that is not there."""


@dataclass(frozen=True)
class Change:
    """What a place held, and holds: one object where that was written to, NOTHING for a slot that was not there."""

    place: Place
    before: Any
    now: Any

    @property
    def is_of_same_size(self) -> bool:
        """Whether there was a tensor, and is one of that shape and type, so that one buffer has room for both."""
        if not isinstance(self.before, Tensor) or not isinstance(self.now, Tensor):
            return False
        ours, theirs = ((own.shape, own.dtype, own.device) for own in (self.before, self.now))
        return ours == theirs


class Snapshot:
    """A module as it was, to be restored in place: the same objects in the same slots, with the same values, bit by
    bit.

    It takes parameters (of large networks without their values, which nothing here writes), buffers, plain attributes,
    what is in lists, dictionaries and objects of the user's own, and attributes of TorchScript; of all submodules.
    What lies elsewhere, in globals or on the class, is not seen.
    """

    def __init__(self, holdings: Holdings, parameters: bool) -> None:
        self._slots = [(holder, holder.slots()) for holder in holdings.holders]
        own = holdings.values if parameters else _without_parameters(holdings.values)
        self._arrays = [_Array(place, value, value.copy()) for place, value in own if isinstance(value, np.ndarray)]
        self._draws = [_Draws(place, value, _numbers_of(value)) for place, value in own if _draws(value)]
        memory: dict[int, Any] = {}
        self._tensors = [_Values.of(place, value, memory) for place, value in own if isinstance(value, Tensor)]

    @staticmethod
    def of(module: nn.Module, *, parameters: bool = True) -> Snapshot:
        """The module as it is now. parameters: False leaves their values, which are trained, to the caller."""
        with torch._C.DisableTorchFunction(), torch.no_grad():  # as it is, whatever modes are on
            return Snapshot(Holdings.of(module), parameters and not is_large(module))

    def restore(self, kind: Kind | None = None) -> None:
        """Bring the module back, as often as you like. kind: what is in slots of one kind alone."""
        with torch._C.DisableTorchFunction(), torch.no_grad():
            for holder, slots in self._slots:
                wanted = slots if kind is None else _with_those_of(kind, holder, slots)
                if not holder.holds(wanted):
                    holder.refill(wanted)
            for own in (*self._tensors, *self._arrays, *self._draws):
                if kind in (None, own.place.kind):
                    own.restore()

    def changes(self) -> tuple[Change, ...]:
        """What the module holds now in the place of something else, and tensors that were written."""
        found: dict[str, Change] = {}
        with torch._C.DisableTorchFunction(), torch.no_grad():
            for holder, slots in self._slots:
                now = holder.slots()
                for slot in {**slots, **now}:
                    before, after = slots.get(slot, NOTHING), now.get(slot, NOTHING)
                    if not equal(before, after):
                        place = holder.place_of(slot)
                        found[str(place)] = Change(place, before, after)
            for own in (*self._tensors, *self._arrays, *self._draws):
                if own.changed:
                    found.setdefault(str(own.place), Change(own.place, own.before, own.now))
        return tuple(found.values())


def _with_those_of(kind: Kind, holder: Holder, slots: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """What the slots of a holder hold now, in those of one kind what they held before."""
    now = {slot: own for slot, own in holder.slots().items() if holder.place_of(slot).kind != kind or slot in slots}
    return now | {slot: own for slot, own in slots.items() if holder.place_of(slot).kind == kind}


def _without_parameters(values: Sequence[tuple[Place, Any]]) -> list[tuple[Place, Any]]:
    """What does not lie in the memory of a parameter."""
    tensors = [(place, own) for place, own in values if isinstance(own, Tensor)]
    taken = {_memory(own) for place, own in tensors if place.kind == "parameter"}
    return [(place, own) for place, own in values if not isinstance(own, Tensor) or _memory(own) not in taken - {None}]


@contextmanager
def untouched(*modules: nn.Module, parameters: bool = True) -> Iterator[None]:
    """Within, modules may be run; afterwards, also after an error, they hold what they held before.

    parameters: False where they are trained within.
    """
    taken = [Snapshot.of(module, parameters=parameters) for module in modules]
    try:
        yield
    finally:
        for own in taken:
            own.restore()


# ---- values -------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Values:
    """A tensor, what it was a view of, and a copy of that memory; `kept` is None where it has none to look at.

    layout: how the view lies in that memory.  bytes, kept_bytes: the memory and its copy, byte by byte.
    """

    place: Place
    tensor: Tensor
    view: Tensor
    layout: tuple[Any, ...]
    bytes: Tensor
    kept: torch.UntypedStorage | None
    kept_bytes: Tensor
    is_leaf: bool
    needs_grad: bool

    @staticmethod
    def of(place: Place, tensor: Tensor, memory: dict[int, Any]) -> _Values:
        """memory: copies by where they lie, so that tensors that share memory share its copy."""
        view, kept = tensor.detach(), None
        layout, now, then = (), torch.empty(0), torch.empty(0)
        with suppress(Exception):  # without values (meta, fake), or kept in a way of their own (sparse, mkldnn)
            storage = tensor.untyped_storage()
            if storage.device.type != "meta":
                if storage._cdata not in memory:
                    memory[storage._cdata] = storage.clone()
                copy = memory[storage._cdata]
                layout, now, then = _layout(view), _bytes(storage), _bytes(copy)
                kept = copy
        return _Values(place, tensor, view, layout, now, kept, then, tensor.is_leaf, tensor.requires_grad)

    @property
    def before(self) -> Tensor:
        return self.view if self._is_elsewhere else self.tensor

    @property
    def now(self) -> Tensor:
        return self.tensor

    @property
    def changed(self) -> bool:
        return self.kept is not None and (self._is_elsewhere or not self._holds_the_same)

    def restore(self) -> None:
        if self.kept is None:
            return
        if self._is_elsewhere:
            self.tensor.data = self.view  # forward wrote to `.data`, or resized it
        if self.is_leaf and not self.tensor.is_leaf:
            self.tensor.detach_()  # forward wrote into it with gradients on
        if self.tensor.is_leaf and self.tensor.requires_grad != self.needs_grad:
            self.tensor.requires_grad_(self.needs_grad)
        if not self._holds_the_same:
            storage = self.view.untyped_storage()
            if storage.nbytes() != self.kept.nbytes():
                storage.resize_(self.kept.nbytes())
            storage.copy_(self.kept)

    @property
    def _is_elsewhere(self) -> bool:
        return _layout(self.tensor) != self.layout

    @property
    def _holds_the_same(self) -> bool:
        size = self.view.untyped_storage().nbytes()
        return size == self.kept_bytes.numel() and torch.equal(self.bytes, self.kept_bytes)


def _memory(tensor: Tensor) -> int | None:
    """What tensors of the same memory have in common; None for those that have none."""
    with suppress(Exception):
        return tensor.untyped_storage()._cdata
    return None


def _layout(tensor: Tensor) -> tuple[Any, ...]:
    storage = tensor.untyped_storage()._cdata
    return storage, tensor.dtype, tensor.storage_offset(), tuple(tensor.shape), tensor.stride()


def _bytes(storage: torch.UntypedStorage) -> Tensor:
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)


@dataclass(frozen=True)
class _Array:
    """An array of NumPy."""

    place: Place
    array: np.ndarray
    kept: np.ndarray

    @property
    def before(self) -> Any:
        return self.kept

    @property
    def now(self) -> Any:
        return self.array

    @property
    def changed(self) -> bool:
        return self.array.shape != self.kept.shape or self.array.tobytes() != self.kept.tobytes()

    def restore(self) -> None:
        if self.changed and self.array.flags.writeable:
            if self.array.shape != self.kept.shape:
                self.array.resize(self.kept.shape, refcheck=False)
            self.array[...] = self.kept


@dataclass(frozen=True)
class _Draws:
    """A generator of random numbers."""

    place: Place
    generator: Any
    kept: Any

    @property
    def before(self) -> Any:
        return self.kept

    @property
    def now(self) -> Any:
        return self.generator

    @property
    def changed(self) -> bool:
        now = _numbers_of(self.generator)
        return not torch.equal(now, self.kept) if isinstance(now, Tensor) else repr(now) != repr(self.kept)

    def restore(self) -> None:
        own = self.generator
        if isinstance(own, torch.Generator):
            own.set_state(self.kept)
        elif isinstance(own, random.Random):
            own.setstate(self.kept)
        elif isinstance(own, np.random.RandomState):
            own.set_state(self.kept)
        else:
            own.bit_generator.state = self.kept


def _draws(value: Any) -> bool:
    return isinstance(value, (torch.Generator, random.Random, np.random.Generator, np.random.RandomState))


def _numbers_of(own: Any) -> Any:
    """Where a generator of random numbers stands."""
    if isinstance(own, (torch.Generator, np.random.RandomState)):
        return own.get_state()
    return own.getstate() if isinstance(own, random.Random) else own.bit_generator.state
