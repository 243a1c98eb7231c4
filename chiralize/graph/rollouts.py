"""Running a network along sequences: every call is handed what the one before has left.

A network keeps a state in itself (buffers that forward writes), takes one as an argument and returns it, or reads its
own answers. All three make a small difference of one call grow over many, which single calls never show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from chiralize.body.tensors import Handed
from chiralize.graph.running import Arguments, Call, Runner, apart, results, state_of

Steps = Sequence[Call]
"""One sequence: consecutive calls, each with what is observed at its time."""
HORIZONS = (50, 200)
"""Lengths of the sequences that a network is judged along: at 50 steps a second, one and four seconds."""
LONGEST = HORIZONS[-1]


@dataclass(frozen=True)
class Carried:
    """What a network carries from one call to the next.

    inside: in itself, in buffers that forward writes.  handed: results that are arguments of the next call.
    """

    inside: bool
    handed: tuple[Handed, ...] = ()

    def __bool__(self) -> bool:
        return self.inside or bool(self.handed)

    @property
    def has_feedback(self) -> bool:
        """Whether it reads its own answers."""
        return any(not own.is_state for own in self.handed)

    def observed(self, steps: int) -> int:
        """How many calls of a sequence read what was observed: all, or the first half where answers are read."""
        return (steps + 1) // 2 if self.has_feedback else steps


@dataclass(frozen=True)
class Made:
    """A call of a sequence. answers: the tensors that came of it.  states: buffers before it, by name."""

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
) -> Iterator[Made]:
    """Every call of a sequence.

    The network starts in the state that it was handed over in, states that are arguments start at zero.
    turned: what is done to the calls, such as T; None leaves them as they are. States and answers are the network's
    own, and are handed on untouched.  state_sizes: of a state that is an argument, from those of the example.
    watched: buffers to be remembered.  Raises ModelRunError.
    """
    runner.stateful = runner.stateful or carried.inside
    module = runner.start()
    observed = carried.observed(len(steps))
    answers: list[torch.Tensor] = []
    before: tuple[torch.Tensor, ...] = ()
    for number, step in enumerate(steps):
        arguments = Arguments.of(*(turned(step) if turned else step))
        tensors = list(arguments.tensors)
        for own in carried.handed:
            if not number and own.is_state:
                tensors[own.input] = tensors[own.input].new_zeros(tuple(state_sizes(tensors[own.input].shape)))
            elif number and (own.is_state or number >= observed):
                tensors[own.input] = _next(own, before[own.input], answers[own.output])
        call = arguments.filled(tensors)
        states = {name: state_of(module, name).detach().clone() for name in watched}
        with torch.no_grad():
            answers = results(apart(runner.call(module, call)))[0]
        before = tuple(tensors)
        yield Made(call, answers, states)


def _next(own: Handed, read: torch.Tensor, answer: torch.Tensor) -> torch.Tensor:
    """What an input is next: the answer, or its own last frames with those of the answer behind them."""
    if own.axis is None:
        return answer
    frames = read.shape[own.axis]
    return torch.cat([read, answer], own.axis).narrow(own.axis, answer.shape[own.axis], frames)
