"""Running a network along sequences, in which every call gets the state or the answers of the call before.

A network keeps a state in itself (buffers that forward writes), takes one as an argument and returns it, or reads
its own answers. In all three a small difference of one call may grow over many, which single calls never show. Of a
forecaster of 2 frames that reads 3, four calls along a sequence with feedback read

    calls 0, 1    the observed frames
    calls 2, 3    the last frame of what the call before read, then its 2 answers
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from chiralize.body.resolve import Handed
from chiralize.graph.run import Arguments, Call, Runner, apart, results, state_of

if TYPE_CHECKING:
    from chiralize.problem.mirror import NetworkMirror

Steps = Sequence[Call]
"""One sequence: consecutive calls, each with what is observed at its time."""
HORIZONS = (50, 200)
"""Lengths of the sequences that a network is judged along: at 50 steps a second, one and four seconds."""
LONGEST = HORIZONS[-1]


@dataclass(frozen=True)
class Carried:
    """How a network carries values from one call to the next.

    inside: in itself, in buffers that forward writes.  handed: as results that are arguments of the next call.
    """

    inside: bool = False
    handed: tuple[Handed, ...] = ()

    def __bool__(self) -> bool:
        return self.inside or bool(self.handed)

    @property
    def keeps_state(self) -> bool:
        """Whether something other than its own answers is carried."""
        return self.inside or any(handed.is_state for handed in self.handed)

    @property
    def has_feedback(self) -> bool:
        """Whether the network reads its own answers."""
        return any(not handed.is_state for handed in self.handed)

    def observed(self, steps: int) -> int:
        """How many calls of a sequence read observations: all, or the first half where later ones read answers."""
        if self.has_feedback:
            return (steps + 1) // 2
        return steps


@dataclass(frozen=True)
class RolledCall:
    """A call of a sequence. answers: the tensors that it returned.  states: buffers before it, by name."""

    call: Call
    answers: list[torch.Tensor]
    states: Mapping[str, torch.Tensor]


def roll(
    runner: Runner,
    steps: Steps,
    carried: Carried,
    turned: Callable[[Call], Call] | None = None,
    state_sizes: Callable[[Sequence[int]], Sequence[int]] = tuple,
    watched: Sequence[str] = (),
) -> Iterator[RolledCall]:
    """Run a sequence and yield every call.

    The network starts in the state that it was handed over in, states that are arguments start at zero.
    turned: done to every call, such as T; None leaves them as they are. States and answers are the network's own, and
    are handed on untouched.  state_sizes: the sizes of a state that is an argument, from those of the example.
    watched: names of the buffers to copy before every call.  Raises ModelRunError.
    """
    module = runner.start()
    answers: list[torch.Tensor] = []
    before: list[torch.Tensor] = []
    for number, step in enumerate(steps):
        arguments = Arguments.of(*(turned(step) if turned else step))
        tensors = handed_over(carried, arguments.tensors, number, len(steps), before, answers, state_sizes)
        call = arguments.filled(tensors)
        states = {name: state_of(module, name).detach().clone() for name in watched}
        with torch.no_grad():
            answers = results(apart(runner.call(module, call)))[0]
        before = tensors
        yield RolledCall(call, answers, states)


def handed_over(
    carried: Carried,
    given: Sequence[torch.Tensor],
    number: int,
    steps: int,
    before: Sequence[torch.Tensor],
    answers: Sequence[torch.Tensor],
    state_sizes: Callable[[Sequence[int]], Sequence[int]] = tuple,
) -> list[torch.Tensor]:
    """What a call of a sequence reads: what is given, with states and answers of the call before in their positions.

    number: of the call, of so many steps.  before, answers: what the call before read and answered.
    state_sizes: as for `roll`.
    """
    read = list(given)
    for handed in carried.handed:
        index = handed.input
        # States begin at zero, whatever the sequence holds; later ones are those returned. Answers are read once
        # observations end.
        if not number and handed.is_state:
            read[index] = read[index].new_zeros(tuple(state_sizes(read[index].shape)))
        elif number and (handed.is_state or number >= carried.observed(steps)):
            read[index] = _next(handed, before[index], answers[handed.output])
    return read


def roll_both_views(
    runner: Runner, steps: Steps, carried: Carried, mirror: NetworkMirror, watched: Sequence[str] = ()
) -> Iterator[tuple[RolledCall, RolledCall]]:
    """Every call of a sequence beside its mirror image, as `roll` runs them; each view carries its own states."""
    # Whole sequences one after the other, each from the starting state: the runner holds one network.
    plain = list(roll(runner, steps, carried, watched=watched))
    yield from zip(plain, roll(runner, steps, carried, mirror.turned, watched=watched), strict=True)


def _next(handed: Handed, read: torch.Tensor, answer: torch.Tensor) -> torch.Tensor:
    """The next value of an input: the answer, or the last frames of the input followed by those of the answer."""
    if handed.axis is None:
        return answer
    # A window that moves on: as many frames as before, the oldest go.
    frames = read.shape[handed.axis]
    if answer.ndim < read.ndim:  # a single frame, without an axis of time
        answer = answer.unsqueeze(handed.axis)
    return torch.cat([read, answer], handed.axis).narrow(handed.axis, answer.shape[handed.axis], frames)
