"""Layer by layer: every weight is fitted by least squares on what the layers before it, already fitted, give.

Targets are the original's own answers: of a hidden space what its kept units do on x and, mirrored, on T x; of an axis
that the mirror is known on, the answer to x, or the mean of that and, mirrored back, of the answer to T x. Weights that
work in several places (a decoder's, step after step) are fitted before all others, on what the original's kept units
give.

Three runs of every batch go through the graph side by side: of the original on x and on T x, and of the smaller
network. They halt at every weight, of linear -> relu -> linear twice:

    halt at linear_0    the originals run it, their answers are the targets; features are what the smaller one reads
                        solve: weights of linear_0
    carry on            the smaller one runs linear_0, all three run relu
    halt at linear_1    ...                                           the smaller one reads what the fit before has made
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from chiralize.errors import MethodUnavailableError
from chiralize.graph import execution
from chiralize.graph.model import CapturedModel, Node
from chiralize.infer.records import RepMap
from chiralize.methods.reduce.layers import regressions, representation, sites_of
from chiralize.methods.reduce.lifting import Lifting
from chiralize.methods.reduce.ridge import Moments, fit
from chiralize.methods.reduce.views import Batch, Regression, Views, Weights

_ROWS = 24_000
"""Samples of all batches together that a weight is fitted on, about."""
_HELD = 5
"""One batch of so many is held out."""
_ROOM = 64_000_000
"""Bytes of values between two halts that are held in memory; the others wait in files."""
Runs = list[execution.Values]


@dataclass(frozen=True)
class Layer:
    """A weight that was fitted, and the share of its targets' energy that is left over on held-out samples."""

    weight: str
    error: float


class Fitting:
    """A pass over a network and its smaller counterpart, op by op and batch by batch.

    captured, smaller: graphs with the same ops, of the original and in the new sizes.  is_mean: aim at the mean of the
    original's answers to x and, mirrored back, to T x.

    weights: by leaf, lifted at first and replaced as they are fitted.  freed: what no op after a node reads.  nodes: of
    both graphs, by name.  behind: values that depend on fitted weights.
    """

    def __init__(
        self,
        captured: CapturedModel,
        smaller: CapturedModel,
        repmap: RepMap,
        lifting: Lifting,
        batches: Sequence[Batch],
        is_mean: bool,
    ) -> None:
        self.captured, self.smaller, self.repmap, self.lifting = captured, smaller, repmap, lifting
        self.batches = batches
        self.regressions = regressions(captured, repmap, lifting, is_mean)
        self.weights = lifted_weights(captured, repmap, lifting)
        self.freed = execution.last_readers(captured.nodes, captured.answers)
        self.nodes = {node.name: (node, new) for node, new in zip(captured.nodes, smaller.nodes, strict=True)}
        self.behind = {node.name for regression in self.regressions for node in regression.nodes}
        for node in captured.nodes:
            if not self.behind.isdisjoint(node.names_read):
                self.behind.add(node.name)

    def run(self, report: Callable[[float], None]) -> tuple[Weights, list[Layer]]:
        """All weights by leaf, and what was left over of every layer.  report: the share of layers that is done."""
        layers: list[Layer] = []

        def solve(samples: _Samples) -> None:
            """Fit one weight to its samples."""
            layers.append(Layer(samples.regression.name, samples.solve(self.weights)))
            report(len(layers) / len(self.regressions))

        # Weights of several places first: a decoder's later steps read what its first one gave, which is known only
        # when its weights are. They are fitted on the original's values, and one by one after their samples are in.
        every = [_Samples(regression, len(self.batches)) for regression in self.regressions]
        shared = [samples for samples in every if len(samples.regression.nodes) > 1]
        if shared:
            self._add_everywhere(shared)
        for samples in shared:
            solve(samples)
        # All others at their one op; a recurrent op has several.
        due: dict[str, list[_Samples]] = {}
        for samples in every:
            if len(samples.regression.nodes) == 1:
                due.setdefault(samples.regression.nodes[0].name, []).append(samples)
        stretch: list[str] = []  # ops from the last halt, that op included, up to the next one
        with tempfile.TemporaryDirectory(prefix="chiralize-") as folder, torch.no_grad():
            shelf = _Shelf(Path(folder))
            for name in self.nodes:
                if name in due:
                    self._halt(name, due[name], stretch, shelf)
                    stretch = []
                    for samples in due[name]:
                        solve(samples)
                stretch.append(name)
        return self.weights, layers

    def _starts(self, batch: Batch) -> Runs:
        """The values with which the three runs begin: on x, on T x, and on x for the smaller network."""
        return [dict(batch.plain), dict(batch.turned), dict(batch.plain)]

    def _halt(self, name: str, due: Sequence[_Samples], stretch: Sequence[str], shelf: _Shelf) -> None:
        """Continue the three runs of every batch up to an op, and add its samples.

        shelf: where the runs are kept, to be continued from there.
        """
        old, new = execution.start(self.captured, (), {}), execution.start(self.smaller, (), self.weights)
        bases, node = (old, old, new), self.nodes[name][0]
        for number, batch in enumerate(self.batches):
            runs: Runs = shelf.take(number) or self._starts(batch)
            self._carry(runs, bases, stretch)
            seen = [{**base, **values} for values, base in zip(runs, bases, strict=True)]
            # the originals run the op, since its answers are the targets; the smaller one waits for its weights
            for values, run in zip(seen[:2], runs[:2], strict=True):
                run[name] = values[name] = execution.evaluate(node, values)
            views = Views(*seen)
            for samples in due:
                samples.add(node, number, views, views.new[samples.regression.source(node)])
            for run in runs[:2]:
                self._free(run, name)
            shelf.put(number, runs)

    def _carry(self, runs: Runs, bases: Sequence[execution.Values], stretch: Sequence[str]) -> None:
        """Run the ops of a stretch in all three runs. bases: weights and constants, which runs on a shelf leave out."""
        for name in stretch:
            nodes = self.nodes[name]
            for values, base, node in zip(runs, bases, (nodes[0], *nodes), strict=True):
                if name not in values:  # of the originals the first op of a stretch is there already
                    values[name] = execution.evaluate(node, {**base, **values})
            _check_shape(nodes[1], runs[2][name])
            self._couple(nodes[0], runs[0], runs[1])
            for values in runs:
                self._free(values, name)

    def _free(self, values: execution.Values, name: str) -> None:
        """Drop what nothing reads after an op."""
        for gone in self.freed.get(name, ()):
            values.pop(gone, None)

    def _couple(self, node: Node, plain: execution.Values, turned: execution.Values) -> None:
        """Let both views of the original go on with one answer where that is what the smaller network has.

        Before the first weights that are fitted each keeps its own: what the smaller network reads there is another
        thing where a normaliser had to be made symmetric, and these weights make up for it.
        """
        rep = next(iter(self.repmap.nodes.get(node.name, ())), None)
        if node.name in self.behind and rep is not None and isinstance(plain[node.name], Tensor):
            plain[node.name], turned[node.name] = self.lifting.coupled(plain[node.name], turned[node.name], rep)

    def _add_everywhere(self, shared: Sequence[_Samples]) -> None:
        """Samples for weights that work in several places, from the original alone."""
        base = execution.start(self.captured, (), {})
        with torch.no_grad():
            for number, batch in enumerate(self.batches):
                runs = [{**base, **start} for start in self._starts(batch)[:2]]
                for node in self.captured.nodes:
                    for values in runs:
                        values[node.name] = execution.evaluate(node, values)
                    views = Views(runs[0], runs[1], {})
                    # what the smaller network would read if all before were right: the original's units, lifted
                    for samples in (each for each in shared if node in each.regression.nodes):
                        source = samples.regression.source(node)
                        rep = representation(self.repmap, source)
                        given = self.lifting.value(runs[0][source], runs[1][source], rep)
                        samples.add(node, number, views, given)
                    self._couple(node, runs[0], runs[1])


class _Samples:
    """The samples of one regression: those to fit on, and those that say how strongly to hold back."""

    def __init__(self, regression: Regression, batches: int) -> None:
        self.regression, self.batches = regression, batches
        self.seen, self.held = (Moments(*regression.actions, regression.has_bias) for _ in range(2))

    def add(self, node: Node, batch: int, views: Views, given: Tensor) -> None:
        """Take some samples of a batch in. given: what the op of the smaller network reads."""
        every = min(_HELD, self.batches)
        # every fifth batch, of fewer the last, never the only one
        held = every > 1 and batch % every == every - 1
        nodes = self.regression.nodes
        position = next(at for at, other in enumerate(nodes) if other.name == node.name)
        generator = torch.Generator().manual_seed(batch * len(nodes) + position)
        most = _ROWS // (self.batches * len(nodes)) + 1

        def draw(count: int) -> Tensor:
            """Which of so many samples are taken."""
            return torch.randperm(count, generator=generator)[:most]

        (self.held if held else self.seen).add(*self.regression.rows(node, views, given, draw))

    def solve(self, weights: Weights) -> float:
        """Write the fitted weight into `weights`; the share of the targets' energy that is left over."""
        prior, trained = self.regression.starts(weights)
        solution = fit(self.seen, self.held, prior, trained)
        self.regression.write(solution, weights)
        return solution.error


class _Shelf:
    """The runs of every batch between two halts, in memory while they are few, else in files."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.memory, self.room = folder, dict[int, Runs](), _ROOM

    def put(self, number: int, runs: Runs) -> None:
        """Keep the runs of a batch."""
        size = _bytes(runs)
        if size <= self.room:
            self.memory[number], self.room = runs, self.room - size
        else:
            torch.save(runs, self.folder / f"{number}.pt")

    def take(self, number: int) -> Runs | None:
        """The runs of a batch, which are the caller's then; None before there are any."""
        runs = self.memory.pop(number, None)
        path = self.folder / f"{number}.pt"
        if runs is None and path.exists():
            return torch.load(path, weights_only=True)
        if runs is not None:
            self.room += _bytes(runs)
        return runs


def _bytes(runs: Runs) -> int:
    """The memory of all values."""
    return sum(leaf.nbytes for leaf in pytree.tree_leaves(runs) if isinstance(leaf, Tensor))


def lifted_weights(captured: CapturedModel, repmap: RepMap, lifting: Lifting) -> Weights:
    """Every weight for the new spaces, by leaf, doing to kept units what the old one did: where a fit starts, and its
    end for weights that no fit reaches, such as tables and gains of norms.
    """
    readers = {site.weight: site.readers for site in sites_of(captured).values()}
    return {
        leaf.name: lifting.weight(leaf.tensor.detach(), repmap.leaves[leaf.name], readers.get(leaf.name, frozenset()))
        for leaf in captured.weights
    }


def _check_shape(node: Node, value: Any) -> None:
    """Raises MethodUnavailableError where an op gives another size than its representation: it took one for granted."""
    if isinstance(value, Tensor) and node.shapes[0] is not None and tuple(value.shape) != node.shapes[0]:
        facts = f"{node.target} gives {tuple(value.shape)} at this width, {node.shapes[0]} was expected"
        raise MethodUnavailableError(str(node.where), facts, "use --width 0.5, or --method average")
