"""What gradient descent learns from: inputs, and what the network should answer to each.

Inputs are moved by noise of their own covariance (`perturbation.py`), pictures as a camera moves (`warping.py`): the
original can be asked about points that nobody recorded, and a few thousand inputs are soon learnt by heart. `MovedAnew`
does so in every step, which costs a call of the original each time. `Stored` does it once, for a few copies of the
inputs. Pictures are moved less and less, so that the last steps see what the network will see.

`training` draws from a `Course`, which draws lessons by their numbers. With uses = 2 and a look after 6 steps:

    lessons   7 2 5 7 2 5 | 1 9 4 1 9 4 |        each is kept from its first use to its second, none beyond a look
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from chiralize.graph.running import Call
from chiralize.methods.refine.imitation import Distance
from chiralize.problem.data.cutting import tensors
from chiralize.problem.data.perturbation import perturbed
from chiralize.problem.data.warping import pictures_of, warped
from chiralize.problem.network import Network

_LESS = 0.7  # of the most by which pictures are moved: what is taken off towards the end
_BLOCK = 256_000_000  # bytes, of lessons that are used again
_COPIES, _STORED = 4, 256_000_000  # of the inputs, moved but for the first; bytes of them and of what is aimed at

Lesson = tuple[Call, Tensor]
Shuffle = Callable[[Sequence[Call], torch.Generator], Sequence[Call]]
Move = Callable[[Call, Sequence[Call], torch.Generator, float], Call]
"""A call moved to a point beside it. The calls are those that are at hand. The number: by how much of the most, where
pictures are moved."""


def moved_pictures(network: Network) -> frozenset[int]:
    """The inputs that are moved as a camera moves, by position; along sequences, one motion for all frames, none."""
    return frozenset() if network.carried else pictures_of(network.resolved)


def move_of(network: Network, has_rows: bool) -> Move:
    """How inputs of this network are moved.  has_rows: the leading axis of a call holds independent samples."""
    pictures = moved_pictures(network)

    def move(call: Call, calls: Sequence[Call], generator: torch.Generator, amount: float) -> Call:
        """See `Move`."""
        if pictures:
            return warped(call, pictures, generator, amount)
        return perturbed(call, calls, has_rows, generator)

    return move


class Lessons(Protocol):
    """So many lessons, by number."""

    def __len__(self) -> int: ...

    def take(self, number: int, generator: torch.Generator, over: float) -> Lesson:
        """Inputs, and what `Distance.answers` should be for them.  over: the share of training that is over."""
        ...


class Course:
    """Lessons one after the other, drawn at random, each used several times.

    All of a block are used once, then all again. A block ends before the next look at held-out inputs: a run that goes
    on from there does not need what was used before.
    order: numbers of the lessons that come next, the last first; changed in place.  uses: of each.
    """

    def __init__(self, lessons: Lessons, generator: torch.Generator, order: list[int], uses: int = 1) -> None:
        self.lessons, self.generator, self.order, self.uses = lessons, generator, order, uses
        self.block: list[Lesson] = []
        self.size = self.length = self.position = 0

    def next(self, left: int, over: float) -> Lesson:
        """The next one.  left: steps until a look, this one included.  over: the share of training that is over."""
        if self.uses == 1:
            return self._taken(over)
        if self.position == self.length:
            self.block = [self._taken(over)]
            # different lessons of this block: so many that it ends at the look, rounded up, and as many as memory holds
            self.size = min(-(-left // self.uses), max(_BLOCK // _bytes_of(self.block[0]), 1))
            self.length, self.position = min(self.size * self.uses, left), 0
        elif self.position < self.size:
            self.block.append(self._taken(over))
        lesson = self.block[self.position % self.size]
        self.position += 1
        return lesson

    def _taken(self, over: float) -> Lesson:
        """The next lesson of the order; where that is at its end, all are shuffled anew."""
        if not self.order:
            self.order += torch.randperm(len(self.lessons), generator=self.generator).tolist()
        return self.lessons.take(self.order.pop(), self.generator, over)


class MovedAnew:
    """Inputs that are moved whenever they are taken."""

    def __init__(self, distance: Distance, seen: Sequence[Call], move: Move) -> None:
        self.distance, self.seen, self.move = distance, seen, move

    def __len__(self) -> int:
        return len(self.seen)

    def take(self, number: int, generator: torch.Generator, over: float) -> Lesson:
        """See `Lessons`."""
        call = self.move(self.seen[number], self.seen, generator, 1 - _LESS * over)
        return call, self.distance.targets(call)


class Stored:
    """Inputs as they are and some moved copies, with what is aimed at for each, as many as there is room for.

    calls: the inputs; each is read once, since it may come from a disk.  in_order: the inputs in batches, and in a
    random order, anew for every copy.  needed: so many lessons will do.
    """

    def __init__(
        self, distance: Distance, calls: Sequence[Call], in_order: Shuffle, move: Move, needed: float = math.inf
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        # inputs that there is room for, evenly spread; then copies of them, the first as they are, until it is full
        most = max(_STORED // max(_bytes(calls[0]), 1), 1)
        pool = list(calls[:: -(-len(calls) // most)])
        self.lessons: list[Lesson] = []
        room = _STORED
        for copy in range(_COPIES):
            batches = in_order(pool, generator)
            for call in batches:
                if room <= 0 or len(self.lessons) >= needed:
                    return
                moved = move(call, pool, generator, 1.0) if copy else call
                wanted = distance.targets(moved)
                self.lessons.append((moved, wanted))
                room -= _bytes_of((moved, wanted))

    def __len__(self) -> int:
        return len(self.lessons)

    def take(self, number: int, generator: torch.Generator, over: float) -> Lesson:
        """See `Lessons`."""
        return self.lessons[number]


def _bytes(call: Call) -> int:
    """Of the tensors of a call."""
    return sum(tensor.nbytes for tensor in tensors(call))


def _bytes_of(lesson: Lesson) -> int:
    """At least 1."""
    return max(_bytes(lesson[0]) + lesson[1].nbytes, 1)
