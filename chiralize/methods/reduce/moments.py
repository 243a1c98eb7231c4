"""The values of hidden units on x and on T x, and the gradients of the outputs there.

For every place where a weight reads a hidden space: second moments of the lifted units, even (a(x) + a(T x)) / sqrt 2
and odd (a(x) - a(T x)) / sqrt 2, and likewise E[g g'], even and odd, g the gradient of a random combination of the
outputs with respect to the value as this reader sees it. An error e in either then changes the mean of both views'
answers by about e' E[g g'] e; what only their difference depends on costs nothing.

`elimination` chooses units by these sums, `trunk` directions, and `design` pairs by their correlations. One batch goes
through the network three times: on x and on T x with a backward pass each, and once with both views averaged behind
every weight. That last run says what a unit loses that is kept as its own partner, since that one is averaged before
its activation:   bend = (a(x) + a(T x)) / sqrt 2 - sqrt 2 act(½ (z(x) + z(T x)))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from chiralize.errors import MethodUnavailableError
from chiralize.graph import execution, processes
from chiralize.graph.model import CapturedModel
from chiralize.infer.hidden.units import Block, blocks
from chiralize.infer.records import RepMap
from chiralize.methods.reduce import recurrent
from chiralize.methods.reduce.gram import Gram
from chiralize.methods.reduce.sites import Site, sites_of
from chiralize.methods.stepping import unrolled
from chiralize.problem.data.both_views import Batch
from chiralize.symmetry import reynolds
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import TensorRepresentation
from chiralize.symmetry.symbolic import SymbolicRepresentation, evaluate, is_known, trivial, variables

_ROOT = 0.5**0.5
_ROWS = 512
"""Samples of a batch at one place: a convolution over 243 frames has 243 of every input."""
_LEAST = 1e-6
"""Share of the largest spread below which a unit is taken to be constant."""


@dataclass
class Sensitivity:
    """Sums over samples at one reading place.

    even, odd: of products of units.  even_metric, odd_metric: of gradients.  sum: of even units.  count: of samples.
    bend, bend_square: of how far even units are off where the views are averaged before they are activated.
    """

    even: Gram
    odd: Gram
    even_metric: Gram
    odd_metric: Gram
    sum: Tensor
    bend: Tensor
    bend_square: Tensor
    count: int = 0

    @staticmethod
    def zero(size: int) -> Sensitivity:
        """Of no samples, for so many units."""
        even, odd, even_metric, odd_metric = (Gram(size) for _ in range(4))  # "unit unit", a half of each is held
        sum_, bend, bend_square = torch.zeros(3, size, dtype=torch.float64)
        return Sensitivity(even, odd, even_metric, odd_metric, sum_, bend, bend_square)

    def add(self, values: Views, gradients: Views, averaged: Tensor) -> None:
        """Take samples in: on x and, mirrored back, on T x; of views averaged beforehand; "sample unit" each."""
        # orthonormal: the sum of even and odd energies is that of both views
        for pair, (even, odd) in ((values, (self.even, self.odd)), (gradients, (self.even_metric, self.odd_metric))):
            for sum_, sign in ((even, 1), (odd, -1)):
                sum_.add((pair[0] + sign * pair[1]) * _ROOT)
        self.sum += ((values[0] + values[1]).double() * _ROOT).sum(0)
        off = (values[0] + values[1] - 2 * averaged).double() * _ROOT  # the even unit less what a fixed one would be
        self.bend += off.sum(0)
        self.bend_square += off.square().sum(0)
        self.count += len(values[0])

    def share(self) -> None:
        """Take the sums of all processes."""
        squares = (self.even, self.odd, self.even_metric, self.odd_metric)
        processes.add_up([*(part for gram in squares for part in gram.parts), self.sum, self.bend, self.bend_square])
        self.count = round(processes.total(self.count))

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
        even, odd = self.even.whole(), self.odd.whole()
        mean = torch.outer(self.sum, self.sum) / max(self.count, 1)
        spread = ((even + odd - mean).diagonal() / 2).clamp_min(0).sqrt()
        # a unit that hardly moves correlates with nothing: over its spread, rounding would look like a match
        scale = torch.where(spread > _LEAST * spread.max(), 1 / spread, torch.zeros_like(spread))
        return scale[:, None] * (even - odd - mean) / 2 * scale


Views = tuple[Tensor, Tensor]
Reading = tuple[str, str]  # the op that reads, and what it reads: a value, or `h3`, `x3` of its cell 3


@dataclass(frozen=True, eq=False)
class _Place:
    """A stretch of what is read that carries one hidden space. Of [h, skip], joined, a reader has two places.

    key: of the space.  axis: of the value, where the units lie.  block: where on that axis.  rep: of the whole value.
    """

    key: int
    reading: Reading
    axis: int
    block: Block
    rep: SymbolicRepresentation

    @property
    def is_known(self) -> bool:
        """Whether the mirror is known there, the units apart."""
        return all(is_known(axis) for position, axis in enumerate(self.rep.axes) if position != self.axis)

    def rows(self, value: Tensor, turned: bool) -> Tensor:
        """A value on x as rows, or on T x, mirrored back."""
        if not turned:
            return self.block.rows(value, self.axis)
        back = self.block.turned(value, self.rep, self.axis)
        assert back is not None
        return back


def sensitivities(
    captured: CapturedModel,
    repmap: RepMap,
    batches: Iterable[Batch],
) -> dict[int, list[Sensitivity]]:
    """By hidden space, one for every place that it is read at. batches: in the captured sizes.

    Places where something beside the units has an unknown mirror get sums of no samples: there values on T x cannot be
    mirrored back.
    """
    sites = sites_of(captured)
    places = list(_places(captured, repmap, sites))
    sums = [Sensitivity.zero(reading_place.block.units) for reading_place in places]
    known = {
        reading_place: sum_at_place
        for reading_place, sum_at_place in zip(places, sums, strict=True)
        if reading_place.is_known
    }
    for number, batch in enumerate(batches):
        # random numbers of the batch alone: the same units are chosen however many processes share the work
        samples = _Samples(tuple(known), processes.generator(number))
        weights = _Combination(captured, repmap, samples.generator)  # drawn on x, and used again on T x
        results = (
            _seen(captured, batch.plain, sites, weights, samples, turned=False),
            _seen(captured, batch.turned, sites, weights, samples, turned=True),
        )
        _average(captured, repmap, sites, batch.plain, results, samples)
        for reading_place, sum_at_place in known.items():
            sum_at_place.add(*samples.at(reading_place))
    for sum_at_place in sums:
        sum_at_place.share()
    by_key: dict[int, list[Sensitivity]] = {}
    for reading_place, sum_at_place in zip(places, sums, strict=True):
        by_key.setdefault(reading_place.key, []).append(sum_at_place)
    return by_key


def _places(captured: CapturedModel, repmap: RepMap, sites: Mapping[str, Site]) -> Iterator[_Place]:
    """Every place, reading by reading in the order of the graph."""
    for reading, rep, axis in _readings(captured, repmap, sites):
        for space in repmap.spaces:
            for block in blocks(rep.axes[axis], space.key, {}) or []:
                yield _Place(space.key, reading, axis, block, rep)


def _readings(
    captured: CapturedModel, repmap: RepMap, sites: Mapping[str, Site]
) -> Iterator[tuple[Reading, SymbolicRepresentation, int]]:
    """For every reading: which it is, how the value that is read transforms, and the axis that the weight reads."""
    # A layer reads one axis of one value. Cells read an input and a state at every step, "batch time feature", which
    # are no values of the graph: how they transform follows from the weights that read them.
    for node in captured.nodes:
        if node.name in sites:
            site = sites[node.name]
            outputs = repmap.nodes.get(site.source) or (repmap.leaves.get(site.source),)
            if outputs[0] is not None:
                yield (node.name, site.source), outputs[0], site.out % len(outputs[0].axes)
        for number, cell in enumerate(recurrent.cells(node, captured)):
            batch, time = (node.shapes[0] or (0, 0))[:2]  # of the answer, as the input lies
            if not node.arguments["batch_first"]:
                batch, time = time, batch
            for letter, axis in zip("xh", cell.axes(repmap)[1:], strict=True):
                rep = SymbolicRepresentation((trivial(batch), trivial(time), axis))
                yield (node.name, f"{letter}{number}"), rep, 2


class _Samples:
    """Some of the samples of a batch at every place. chosen: which ones, by place.

    generator: of the batch.  values, gradients: on x and, mirrored back, on T x; "sample unit" each.  averages: what
    the units do where views are averaged beforehand.
    """

    def __init__(self, places: Sequence[_Place], generator: torch.Generator) -> None:
        self.generator = generator
        self.chosen: dict[_Place, Tensor] = {}
        self.values: dict[_Place, list[Tensor]] = {reading_place: [] for reading_place in places}
        self.gradients: dict[_Place, list[Tensor]] = {reading_place: [] for reading_place in places}
        self.averages: dict[_Place, Tensor] = {}

    def take(self, seen: Mapping[Reading, Tensor], turned: bool) -> None:
        """Values that were read."""
        for reading_place, taken in self.values.items():
            rows = reading_place.rows(seen[reading_place.reading], turned)
            if reading_place not in self.chosen:  # on x; the same samples then on T x, of gradients and of averages
                self.chosen[reading_place] = torch.randperm(len(rows), generator=self.generator)[:_ROWS]
            taken.append(rows[self.chosen[reading_place]])

    def take_gradients(self, seen: Mapping[Reading, Tensor], turned: bool) -> None:
        """Gradients behind them."""
        for reading_place, taken in self.gradients.items():
            taken.append(reading_place.rows(seen[reading_place.reading], turned)[self.chosen[reading_place]])

    def take_average(self, reading: Reading, value: Tensor) -> None:
        """A value that is read in the run where views are averaged."""
        for reading_place in self.values:
            if reading_place.reading == reading:
                self.averages[reading_place] = reading_place.rows(value, False)[self.chosen[reading_place]]

    def at(self, reading_place: _Place) -> tuple[Views, Views, Tensor]:
        """Values, gradients and averages. Inside recurrent layers nothing is averaged: the mean of both views there."""
        (plain, turned), (gradient, turned_gradient) = self.values[reading_place], self.gradients[reading_place]
        average = self.averages.get(reading_place)
        return (plain, turned), (gradient, turned_gradient), (plain + turned) / 2 if average is None else average


def _seen(
    captured: CapturedModel,
    read: Mapping[str, Tensor],
    sites: Mapping[str, Site],
    sum_of: _Combination,
    samples: _Samples,
    turned: bool,
) -> dict[str, Any]:
    """The results of the ops that read, by name.

    The values that they read are sampled, and at these the gradients of a random sum of the outputs. A value is dropped
    after its last reader.
    """
    # Inputs need gradients, or nothing would have any: parameters of the graph are detached.
    inputs = {name: x.detach().clone().requires_grad_(x.is_floating_point()) for name, x in read.items()}
    # seen: what was read, by reading; of a cell a list of its steps.  results: for the run with averaged views.
    values = execution.start(captured, (), inputs)
    freed = execution.last_readers(captured.nodes, sum_of.names)
    seen: dict[Reading, Tensor | list[Tensor]] = {}
    results: dict[str, Any] = {}
    with torch.enable_grad():
        for node in captured.nodes:
            # Each reader gets a view of its own, whose gradient is that of this reader, not of all readers together.
            view = dict(values)
            if node.name in sites:
                source = sites[node.name].source
                view[source] = watched(values[source])
                seen[node.name, source] = view[source]
            if recurrent.cells(node, captured):  # in plain steps: torch's one op does not show what its cells read
                values[node.name], reads = unrolled(node, view, watched)
                for number, (given, recalled) in enumerate(reads):
                    seen[node.name, f"x{number}"], seen[node.name, f"h{number}"] = given, recalled
            else:
                values[node.name] = execution.evaluate(node, view)
            if node.name in sites or recurrent.cells(node, captured):
                results[node.name] = pytree.tree_map_only(Tensor, Tensor.detach, values[node.name])
            del view
            for name in freed.get(node.name, ()):
                del values[name]
        # values and gradients are sampled in two steps, since values may go before the backward pass begins
        sum_ = sum_of(values, turned)
        samples.take({reading: _stacked(items, Tensor.detach) for reading, items in seen.items()}, turned)
        del values  # backward frees what it is through with, unless something else holds it
        sum_.backward()
    samples.take_gradients({reading: _stacked(items, _gradient) for reading, items in seen.items()}, turned)
    return results


def _average(
    captured: CapturedModel,
    repmap: RepMap,
    sites: Mapping[str, Site],
    read: Mapping[str, Tensor],
    results: tuple[dict[str, Any], dict[str, Any]],
    samples: _Samples,
) -> None:
    """Sample a run where what every weight gives is averaged over both views, before anything else is done with it.

    results: of the ops that read, in both views; emptied.
    """
    values = execution.start(captured, (), read)
    freed = execution.last_readers(captured.nodes, ())
    with torch.no_grad():
        for node in captured.nodes:
            plain, turned = (results_of_view.pop(node.name, None) for results_of_view in results)
            # Behind a weight the mean of both views' own answers goes on, not this run's: the bend of one activation is
            # measured, not that of all before it. Cells give their answer to x, and so does what no weight precedes.
            if node.name in sites:
                source = sites[node.name].source
                samples.take_average((node.name, source), values[source])
                plain = (plain + reynolds.act(turned, _left_alone(repmap, node.name))) / 2
            values[node.name] = execution.evaluate(node, values) if plain is None else plain
            for name in freed.get(node.name, ()):
                del values[name]


def _left_alone(repmap: RepMap, name: str) -> TensorRepresentation:
    """T on a value, except that hidden units stay where they are."""
    rep = (repmap.nodes.get(name) or (None,))[0] or repmap.leaves[name]
    return evaluate(rep, {var.id: SignedPermutation.identity(var.size) for var in variables(rep.axes)})


def _stacked(items: Tensor | Sequence[Tensor], of: Callable[[Tensor], Tensor]) -> Tensor:
    """Something of one value; of a cell's steps, "batch feature" each, along time."""
    if isinstance(items, Tensor):
        return of(items)
    return torch.stack([of(item) for item in items], 1)


def _gradient(item: Tensor) -> Tensor:
    """The gradient at a value, zeros where no output depends on it."""
    if item.grad is None:
        return torch.zeros_like(item)
    return item.grad


class _Combination:
    """A random sum of the outputs and the states that are left, the same one of both views: of those on T x, what T
    takes it to.

    With weights w the two sums are w . f(x) + (T w) . f(T x) = w . (f(x) + T f(T x)), the mean of both views but for
    the factor 2. E[w w'] = 1, so that one backward pass stands for all outputs on average.
    """

    def __init__(self, captured: CapturedModel, repmap: RepMap, generator: torch.Generator) -> None:
        self.names = captured.results
        self.repmap, self.generator = repmap, generator
        self.weights: dict[str, Tensor] = {}

    def __call__(self, values: Mapping[str, Tensor], turned: bool) -> Tensor:
        parts: list[Tensor] = []
        for name in self.names:
            out = values[name]
            if not out.is_floating_point():
                continue
            if name not in self.weights:
                # over the spread, so that an output in millimetres does not outweigh one in radians
                weights = torch.randn(out.shape, generator=self.generator, dtype=out.dtype)
                spread = out.detach().std().clamp_min(1e-30) if out.numel() > 1 else 1.0  # of one there is none
                self.weights[name] = weights / spread
            weights = self.weights[name]
            if turned:
                weights = reynolds.act(weights, _left_alone(self.repmap, name))
            parts.append((out * weights).sum())
        if not parts:
            facts = "none of them is a floating-point number, so that nothing tells which units matter"
            remedy = "give the network that answers with scores, or use --method average"
            raise MethodUnavailableError("the outputs", facts, remedy)
        return torch.stack(parts).sum()


def watched(tensor: Tensor) -> Tensor:
    """A view of a tensor that keeps its own gradient."""
    view = tensor.view_as(tensor)
    if view.requires_grad:
        view.retain_grad()
    return view
