"""State that forward keeps in plain attributes from one call to the next.

torch.export follows one call. What that writes to a buffer is in its graph, what it writes to a plain attribute is
not (`self.h = self.cell(x, self.h)`): the exported network would forget. So a tensor that exists before the first
call, and keeps its size, becomes a buffer. No graph can show what the first call creates, nor numbers, lists and
objects that change.
`first_answer_and_state` finds what matters, `as_buffers` turns it into buffers where that is possible.
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
from chiralize.graph.running import same
from chiralize.graph.snapshot import Change, Snapshot
from chiralize.graph.tensors import tensors_in

Run = Callable[[float], Any]
_CALLS = 8
"""Calls in a row, to see whether an attribute that changes also changes answers: it may be read every few calls only.
LONGEST where single numbers change, which may count up to something.
"""


def first_answer_and_state(module: torch.nn.Module, run: Run) -> tuple[Any, tuple[Change, ...]]:
    """The answer of a first call, and the changes outside of buffers that make later answers differ.

    A buffer that changes its size counts as well. Buffers are restored before every call.
    run: calls the module, with its examples times a number. The module is left as the last call left it.
    """
    start = Snapshot.of(module)
    answer = _seeded(run, 1.0)
    changes = tuple(
        change for change in start.changes() if change.location.kind != "buffer" or not change.is_of_same_size
    )
    # A network without such a state ends here, after a single call.
    if not changes:
        return answer, ()
    # Attributes change in many networks without any effect: a counter, the last attention. Only repeated calls show
    # whether answers depend on them; buffers are put back, since the graph has those.
    calls = _CALLS
    if is_large(module):
        calls = 1
    elif any(map(_may_count, changes)):
        calls = LONGEST
    first = _tensors(answer)
    if all(_alike(first, later) for later in _later(run, start, calls)):
        return answer, ()
    return answer, changes


def _may_count(change: Change) -> bool:
    """Whether a single number became another one."""
    before, now = change.before, change.now
    if isinstance(now, Tensor) and isinstance(before, Tensor):
        return now.numel() == before.numel() == 1
    return isinstance(now, (int, float)) and isinstance(before, (int, float))


def _later(run: Run, start: Snapshot, calls: int) -> Iterator[list[Tensor]]:
    """Answers to the examples: of further calls, then of one after a call on other inputs."""
    for _ in range(calls):
        # Attributes stay as the calls before left them.
        start.restore("buffer")
        yield _tensors(_seeded(run, 1.0))
    start.restore()
    # Of equal inputs a state may settle at one value; other inputs in between would leave another.
    with suppress(Exception):  # it need not take others
        _seeded(run, 0.5)
        start.restore("buffer")
        yield _tensors(_seeded(run, 1.0))


def as_buffers(module: torch.nn.Module, changes: Sequence[Change]) -> tuple[str, ...]:
    """Turn attributes that are tensors into buffers that `state_dict` leaves out. Returns the attributes that cannot.

    Attributes of TorchScript stay what they are: a trace writes them as if they were buffers.
    """
    impossible: dict[str, None] = {}
    for change in changes:
        location = change.location
        if not location.is_attribute or not change.is_of_same_size:
            impossible[location.attribute] = None
            continue
        owner = location.owner(module)
        if not isinstance(owner, torch.jit.ScriptModule) and location.name in vars(owner):
            value = vars(owner)[location.name]
            delattr(owner, location.name)
            owner.register_buffer(location.name, value.detach(), persistent=False)
    return tuple(impossible)


def _tensors(answer: Any) -> list[Tensor]:
    """Copies of its tensors: an answer may be the very state that the next call writes."""
    return [tensor.clone() for tensor in tensors_in(answer)]


def _alike(first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
    """Whether two answers have as many tensors, equal bit for bit."""
    return len(first) == len(second) and all(map(same, first, second))


def _seeded(run: Run, scale: float) -> Any:
    """Run with the same random numbers each time, and without gradients."""
    with Isolated(), torch.no_grad():
        return run(scale)
