"""What forward keeps from one call to the next in plain attributes.

torch.export follows one call, and what that leaves in an attribute is not in its graph; of a buffer it is. So a tensor
that is there from the start, and stays as large, becomes a buffer. Of what comes into being with the first call a graph
knows nothing, nor of numbers, lists and objects that change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from chiralize.graph.copies import is_large
from chiralize.graph.isolation import Isolated
from chiralize.graph.rollouts import LONGEST
from chiralize.graph.running import results, same
from chiralize.graph.snapshot import Change, Snapshot

Run = Callable[[float], Any]
_CALLS = 8
"""In a row, to see whether what changes changes answers too: some of it is read every few steps only. LONGEST where
numbers change, which may count up to something.
"""


def kept(module: torch.nn.Module, run: Run) -> tuple[Any, tuple[Change, ...]]:
    """The answer of a first call, and what forward keeps that changes later answers; not what a buffer has room for.

    run: calls the module, with its examples times a number. What is kept in buffers is forgotten before every call.
    The module holds what the calls have left.
    """
    start = Snapshot.of(module)
    answer = _seeded(run, 1.0)
    found = start.changes()
    changed = tuple(own for own in found if own.place.kind != "buffer" or not own.is_of_same_size)
    if not changed:
        return answer, ()
    first = _tensors(answer)
    calls = 1 if is_large(module) else LONGEST if any(map(_may_count, changed)) else _CALLS
    return answer, changed if any(not _alike(first, own) for own in _later(run, start, calls)) else ()


def _may_count(change: Change) -> bool:
    """Whether it is one number that was another."""
    before, now = change.before, change.now
    if isinstance(now, Tensor) and isinstance(before, Tensor):
        return now.numel() == before.numel() == 1
    return isinstance(now, (int, float)) and isinstance(before, (int, float))


def _later(run: Run, start: Snapshot, calls: int) -> Iterator[list[Tensor]]:
    """Answers to the examples after other calls."""
    for _ in range(calls):
        start.restore("buffer")
        yield _tensors(_seeded(run, 1.0))
    start.restore()
    with suppress(Exception):  # it need not take others
        _seeded(run, 0.5)
        start.restore("buffer")
        yield _tensors(_seeded(run, 1.0))


def as_buffers(module: torch.nn.Module, changes: Sequence[Change]) -> tuple[str, ...]:
    """Tensors become buffers that `state_dict` leaves out. The attributes that cannot, by name.

    Those of TorchScript stay what they are: a trace writes them as if they were buffers.
    """
    left: dict[str, None] = {}
    for own in changes:
        place = own.place
        if not place.is_attribute or not own.is_of_same_size:
            left[place.attribute] = None
            continue
        owner = place.owner(module)
        if not isinstance(owner, torch.jit.ScriptModule) and place.name in vars(owner):
            value = vars(owner)[place.name]
            delattr(owner, place.name)
            owner.register_buffer(place.name, value.detach(), persistent=False)
    return tuple(left)


def _tensors(answer: Any) -> list[Tensor]:
    """Copies of its tensors: an answer may be the very state that the next call writes."""
    return [own.clone() for own in results(answer)[0]]


def _alike(first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
    return len(first) == len(second) and all(map(same, first, second))


def _seeded(run: Run, scale: float) -> Any:
    with Isolated(), torch.no_grad():
        return run(scale)
