"""What does every hidden unit do on x and on T x, and what do its readers make of it?

For every place where a weight reads a hidden space: second moments of the units, even (a(x) + a(T x)) / sqrt 2 and odd
(a(x) - a(T x)) / sqrt 2, and what the reader does with them, A = W' W: an error e in the units changes what is read by
e' A e. `choosing` chooses units by these sums, and `match` pairs them by their correlations.

Three runs go through the network side by side: on x, on T x, and one in which both views are averaged behind every
weight. That last one says what a unit loses that is kept as its own partner, since that one is averaged before its
activation:   bend = (a(x) + a(T x)) / sqrt 2 - sqrt 2 act(½ (z(x) + z(T x)))

Of relu with z(x) = 1 and z(T x) = -1 the even unit is 1 / sqrt 2, and act(0) = 0 is what the average makes of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from chiralize.graph import execution
from chiralize.graph.model import CapturedModel
from chiralize.infer.hidden.match import Block, blocks
from chiralize.infer.records import RepMap
from chiralize.infer.symbolic import is_known
from chiralize.methods.reduce.layers import readings
from chiralize.methods.reduce.lifting import Lifting
from chiralize.methods.reduce.views import Batch, Reading, Views
from chiralize.symmetry.action import act

_ROOT = 0.5**0.5
_ROWS = 512
"""Samples of a batch at one place: a convolution over 243 frames has 243 of every input."""
_LEAST = 1e-6
"""Share of the largest spread below which a unit is taken to be constant."""


@dataclass
class Units:
    """Sums over samples at one reading place.

    even, odd: of products of units, "unit unit".  metric: A, what the reader makes of them.  total: of even units.
    bend, bend_square: of how far even units are off where the views are averaged before they are activated.
    """

    metric: Tensor
    even: Tensor = field(init=False)
    odd: Tensor = field(init=False)
    total: Tensor = field(init=False)
    bend: Tensor = field(init=False)
    bend_square: Tensor = field(init=False)
    count: int = 0

    def __post_init__(self) -> None:
        self.even, self.odd = torch.zeros_like(self.metric), torch.zeros_like(self.metric)
        self.total, self.bend, self.bend_square = torch.zeros(3, len(self.metric), dtype=torch.float64)

    def add(self, plain: Tensor, turned: Tensor, averaged: Tensor) -> None:
        """Take samples in: on x and, mirrored back, on T x; of views averaged beforehand; "sample unit" each."""
        # orthonormal: the sum of even and odd energies is that of both views
        even, odd = (plain + turned) * _ROOT, (plain - turned) * _ROOT
        self.even += even.T @ even
        self.odd += odd.T @ odd
        self.total += even.double().sum(0)
        off = (even - averaged / _ROOT).double()  # the even unit less what a fixed one would be
        self.bend += off.sum(0)
        self.bend_square += off.square().sum(0)
        self.count += len(plain)

    @property
    def bending(self) -> Tensor:
        """What even units of their own lose by the averaging: sums of squares about the mean, "unit".

        A constant bend costs nothing: the bias of what reads the unit takes it up.
        """
        return (self.bend_square - self.bend.square() / max(self.count, 1)).clamp_min(0)

    def correlation(self) -> Tensor:
        """Of unit i on x with unit j on T x, "unit unit", symmetric."""
        # With a = a(x), b = a(T x), summed over samples: even + odd = aa' + bb' and even - odd = ab' + ba'.
        # Both views are taken to have the mean of both, m: their means make 2 n m m' of either sum.
        mean = torch.outer(self.total, self.total) / max(self.count, 1)
        spread = ((self.even + self.odd - mean).diagonal() / 2).clamp_min(0).sqrt()
        # a unit that hardly moves correlates with nothing: over its spread, rounding would look like a match
        scale = torch.where(spread > _LEAST * spread.max(), 1 / spread, torch.zeros_like(spread))
        return scale[:, None] * (self.even - self.odd - mean) / 2 * scale


@dataclass(frozen=True, eq=False)
class _Place:
    """A stretch of what is read that carries one hidden space. Of [h, skip], joined, a reader has two places.

    key: of the space.  reading: which op reads what, and along which axis.  block: where on that axis.
    """

    key: int
    reading: Reading
    block: Block
    units: Units

    @property
    def is_known(self) -> bool:
        """Whether the mirror is known there, the units apart; else values on T x cannot be mirrored back."""
        rep, axis = self.reading.rep, self.reading.axis
        return all(is_known(other) for position, other in enumerate(rep.axes) if position != axis)

    def rows(self, value: Tensor, turned: bool) -> Tensor:
        """A value on x as rows, or on T x, mirrored back."""
        if not turned:
            return self.block.rows(value, self.reading.axis)
        back = self.block.turned(value, self.reading.rep, self.reading.axis)
        assert back is not None
        return back


def measured(captured: CapturedModel, repmap: RepMap, batches: Iterable[Batch]) -> dict[int, list[Units]]:
    """By hidden space, one for every place that it is read at. batches: in the captured sizes.

    Places where something beside the units has an unknown mirror are left with no samples.
    """
    by_key: dict[int, list[Units]] = {}
    by_node: dict[str, list[_Place]] = {}
    for carrier in _places(captured, repmap):
        by_key.setdefault(carrier.key, []).append(carrier.units)
        if carrier.is_known:
            by_node.setdefault(carrier.reading.node.name, []).append(carrier)
    with torch.no_grad():
        for number, batch in enumerate(batches):
            generator = torch.Generator().manual_seed(number)
            for name, runs in _runs(captured, repmap, batch, set(by_node)):
                for carrier in by_node[name]:
                    _take(carrier, runs, generator)
    return by_key


def _places(captured: CapturedModel, repmap: RepMap) -> Iterator[_Place]:
    """Every place, reading by reading in the order of the graph."""
    for reading in readings(captured, repmap):
        for space in repmap.spaces:
            for block in blocks(reading.rep.axes[reading.axis], space.key, {}) or []:
                columns = block.grid(reading.weight.double(), 1).movedim(1, 0).flatten(1)  # "unit rest"
                yield _Place(space.key, reading, block, Units(columns @ columns.T))


def _take(place: _Place, runs: Views, generator: torch.Generator) -> None:
    """Add some of the samples of a batch at one place."""
    values = place.reading.values(runs)
    plain, turned, averaged = (place.rows(value, number == 1) for number, value in enumerate(values))
    chosen = torch.randperm(len(plain), generator=generator)[:_ROWS]
    place.units.add(plain[chosen], turned[chosen], averaged[chosen])


def _runs(captured: CapturedModel, repmap: RepMap, batch: Batch, wanted: set[str]) -> Iterator[tuple[str, Views]]:
    """The three runs, halted before every op of those that are wanted, with all values that it reads."""
    still = Lifting([])  # hidden units stay where they are
    runs = [execution.start(captured, (), dict(read)) for read in (batch.plain, batch.turned, batch.plain)]
    behind = {reading.node.name for reading in readings(captured, repmap) if reading.is_layer}
    freed = execution.last_readers(captured.nodes, ())
    for node in captured.nodes:
        if node.name in wanted:
            yield node.name, Views(*runs)
        plain, turned = (execution.evaluate(node, run) for run in runs[:2])
        # Behind a weight the mean of both views' own answers goes on, not this run's: the bend of one activation is
        # measured, not that of all before it.
        rep = next(iter(repmap.nodes.get(node.name, ())), None)
        if node.name in behind and rep is not None:
            averaged = (plain + act(turned, still.representation(rep))) / 2
        else:
            averaged = execution.evaluate(node, runs[2])
        for run, value in zip(runs, (plain, turned, averaged), strict=True):
            run[node.name] = value
            for name in freed.get(node.name, ()):
                run.pop(name, None)
