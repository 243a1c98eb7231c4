"""Inputs of a conversion, in batches of one size: to fit on, to decide by, and to take figures from.

Of ten batches the last two are held out: fits look at the first eight, figures are taken from the last two. Before
that `held_last` moves one batch from the middle of each half of the file behind the others, so that a file sorted by
person or kind is represented in both parts. Several processes hold every so many-th batch each; the parts are then cut
so that all of them together hold out what one process would.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from chiralize.errors.words import when
from chiralize.graph import processes
from chiralize.graph.rollouts import Steps
from chiralize.graph.running import Call
from chiralize.problem.data.feeds import Feed, joined

ONE_IN = 5
"""One batch of so many is held out."""
_PARTS = (8, 4, 2)
"""Numbers of processes that are to hold out as many batches each, together what one process does."""
_MOST_HELD = 16
"""Sequences that figures are taken from; each is run three times for every candidate."""
_STRETCHES = 4
"""What is held out lies in so many stretches: a file is mostly in order of time, or sorted by kind or by person."""


@dataclass(frozen=True)
class Batches:
    """Inputs as calls of the network, the last fifth of which is held out (of a file, after `held_last`).

    given: the user's calibration inputs, of whose order see `held_last`.  sequences: the same as sequences, for
    networks that carry something from call to call.  drawn: what takes their place: samples alone where the user gives
    none, or both mixed.  origin: of the samples, or why there are none.  scattered, posed: inputs to fit on beside the
    others, of which no figures are taken: made of those given, and built-in poses; bearing: what confirms these.
    remarks: what the report is to say of all of them.  are_built_in: drawn inputs are built-in poses, not samples of a
    Gaussian.  spread_how: how given ones among the scattered inputs are spread, in words; "" where none are.
    are_guessed: how far some entries move is a guess, since they never move in those given.
    """

    given: Sequence[Call] = ()
    sequences: Sequence[Steps] = ()
    drawn: Sequence[Call] = ()
    origin: str = ""
    scattered: Sequence[Call] = ()
    remarks: tuple[str, ...] = ()
    are_built_in: bool = False
    posed: Sequence[Call] = ()
    bearing: str = ""
    spread_how: str = ""
    are_guessed: bool = False

    @property
    def inputs(self) -> Sequence[Call]:
        """The calls to fit on and to measure with: drawn samples where there are any, else the user's inputs."""
        return self.drawn or self.given

    @property
    def lifelike(self) -> Sequence[Call]:
        """The inputs that look like those in use: the user's, or built-in poses."""
        if self.are_built_in:
            return self.drawn
        return self.given

    @property
    def source(self) -> str:
        """The inputs that figures are taken from, in words for the report: `held-out calibration inputs`."""
        if self.sequences:
            if len(self.sequences) > 1:
                return "held-out sequences"
            return "the same sequence"
        held = "held-out" if len(self.inputs) > 1 else "the same"
        if self.given:
            return f"{held} calibration inputs" + when(self.drawn, f" and {self.samples}")
        return f"{held} {self.samples}"

    @property
    def samples(self) -> str:
        """What was drawn, in words for the report."""
        if self.are_built_in:
            return f"built-in poses, not yours: {self.origin}"
        return f"samples of a Gaussian, {self.origin}"

    @property
    def seen(self) -> Sequence[Call]:
        """Inputs that a method may look at; the last fifth is held out."""
        return self.inputs[: max(1, len(self.inputs) - self._held)]

    @property
    def held_out(self) -> Sequence[Call]:
        """Inputs that figures are taken from: others than those seen, unless there is one batch alone.

        A fit learns nothing from them, but rounds of Gauss-Newton and distilling stop where they do best on them.
        """
        return self.inputs[-self._held :]

    @property
    def fitted(self) -> Sequence[Call]:
        """Inputs that a fit looks at: those seen, then others beside them."""
        beside = [calls[: _first_held(calls)] for calls in (self.scattered, self.posed) if calls]
        if beside:
            return joined(self.seen, *beside)
        return self.seen

    @property
    def posed_held_out(self) -> Sequence[Call]:
        """Built-in poses beside the user's inputs that no fit learns from."""
        return self.posed[_first_held(self.posed) :]

    @property
    def fitted_held_out(self) -> Sequence[Call]:
        """Inputs by which a fit decides how far to go: those that figures are taken from, and others beside them."""
        held = [calls[_first_held(calls) :] for calls in (self.scattered, self.posed)]
        beside = [calls for calls in held if calls]
        if beside:
            return joined(self.held_out, *beside)
        return self.held_out

    @property
    def seen_sequences(self) -> Sequence[Steps]:
        """Sequences that a method may look at; the last fifth is held out."""
        return self.sequences[: max(1, len(self.sequences) - max(1, len(self.sequences) // ONE_IN))]

    @property
    def held_sequences(self) -> Sequence[Steps]:
        """Sequences that figures are taken from: others than those seen, unless there is one alone."""
        return self.sequences[-max(1, len(self.sequences) // ONE_IN) :][:_MOST_HELD]

    @property
    def _held(self) -> int:
        """How many batches are held out; one at least, even where that is all there is."""
        return max(1, len(self.inputs) - _first_held(self.inputs))


def held_last(calls: Sequence[Call]) -> Sequence[Call]:
    """The batches of a file with those that are to be held out behind the others: stretches from all over the file.

    Neighbours are mostly alike, so that stretches stay together; a file that is sorted is represented all the same.
    There are two to four, one where one batch is held out. Processes that share the batches move together what one
    does, where stretches are multiples of their number.
    """
    every = len(calls) * processes.count()
    share = _share_held(every)  # batches to move, of all processes
    # Stretches in units of 8, 4 or 2 batches belong to as many processes in equal parts.
    unit = next((parts for parts in _PARTS if share % parts == 0 and share >= 2 * parts), 1)
    stretches = min(_STRETCHES, share // unit)
    moved = set[int]()
    for number in range(stretches):
        # The units divided among the stretches; the first ones take what is left over.
        units = share // unit // stretches + (number < share // unit % stretches)
        middle = (number + 0.5) * every / stretches
        start = int(middle - units * unit / 2) // unit * unit
        moved.update(range(start, start + units * unit))
    # Stable: False before True, each part in its own order. `number_of` counts a batch over all processes.
    order = sorted(range(len(calls)), key=lambda batch: processes.number_of(batch) in moved)
    return Feed(lambda number: calls[number], order)


def _first_held(calls: Sequence[Call]) -> int:
    """The first of this process's batches that is among the last fifth of all, which are dealt out in turns."""
    every = len(calls) * processes.count()
    return bisect_left(range(len(calls)), every - _share_held(every), key=processes.number_of)


def _share_held(every: int) -> int:
    """A fifth of the batches, or less: where 2, 4 or 8 processes could have as many each, of either part too.

    Then each of these has seen as many as the others, and draws the random numbers that one process draws.
    """
    held = every // ONE_IN
    for parts in _PARTS:
        if every % parts == 0 and 2 * parts <= held:
            return held - held % parts
    return held
