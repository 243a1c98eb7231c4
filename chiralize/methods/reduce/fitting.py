"""Layer by layer: every weight is fitted by least squares on what the layers before it, already fitted, give.

Targets are the original's own answers: of a hidden space what its kept units do on x and, mirrored, on T x; of an axis
that the mirror is known on, the answer to x, or the mean of that and, mirrored back, of the answer to T x. Weights that
work in several places (a decoder's, step after step) are fitted before all others, on what the original's kept units
give.

`filling` calls `Fitting(...).run`. Three runs of every batch go through the graph side by side: of the original on x
and on T x, and of the smaller network. They halt at every weight, of linear -> relu -> linear twice:

    halt at linear_0    the originals run it, their answers are the targets; features are what the smaller one reads
                        solve: weights of linear_0
    carry on            the smaller one runs linear_0, all three run relu
    halt at linear_1    ...                                           the smaller one reads what the fit before has made
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from chiralize.errors import MethodUnavailableError
from chiralize.graph import execution, processes
from chiralize.graph.copies import give_back
from chiralize.graph.model import CapturedModel, Node
from chiralize.graph.traits import Sum
from chiralize.infer.records import RepMap
from chiralize.infer.registry import traits
from chiralize.methods.reduce import recurrent
from chiralize.methods.reduce.hidden_maps import Lifting
from chiralize.methods.reduce.sites import Site, sites_of
from chiralize.methods.reduce.tasks import CellTask, SiteTask, Task, Views, representation
from chiralize.problem.data.both_views import Batch
from chiralize.problem.data.shelf import Shelf

_ROWS = 24_000
"""Samples of all batches together that a weight is fitted on, about."""
_HELD = 5
"""One batch of so many is held out."""
Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Layer:
    """A weight that was fitted, and the share of its targets' energy that is left over on held-out samples."""

    weight: str
    error: float


def tasks(captured: CapturedModel, repmap: RepMap, lifting: Lifting, both_views: bool) -> list[Task]:
    """Everything that is fitted, in the order of the graph; what shares its weights is one task."""
    # weights, in the order of their first op: a task takes samples in at all of its ops, and is solved once
    at, sites = sites_of(captured), dict[str, list[Site]]()
    cells: dict[str, list[recurrent.Cell]] = {}
    weights: dict[str, None] = {}
    for node in captured.nodes:
        site = at.get(node.name)
        if site is not None:
            sites.setdefault(site.weight, []).append(site)
            weights[site.weight] = None
        for cell in recurrent.cells(node, captured):
            cells.setdefault(cell.weights[0], []).append(cell)
            weights[cell.weights[0]] = None
    trunks = _trunks(captured, repmap, lifting)
    all_tasks: list[Task] = []
    for name in weights:
        if name in sites:
            all_tasks.append(SiteTask(sites[name], trunks, repmap, lifting, both_views))
        else:
            all_tasks.append(CellTask(cells[name], captured, repmap, lifting))
    return all_tasks


def _trunks(captured: CapturedModel, repmap: RepMap, lifting: Lifting) -> dict[str, str]:
    """For ops whose results are hidden and read by one sum only: the other operand of that sum.

    That is a residual branch, y = trunk + branch. What layers before have got wrong in the trunk can be made up for by
    the branch, since nothing else reads it.
    """
    readers: dict[str, list[Node]] = {}
    for node in captured.nodes:
        for ref in node.reads:
            readers.setdefault(ref.name, []).append(node)
    trunks: dict[str, str] = {}
    for node in captured.nodes:
        read_by = readers.get(node.name, [])
        if len(read_by) != 1 or not _adds(read_by[0]):
            continue
        others = [ref.name for ref in read_by[0].reads if ref.name != node.name]
        # two values of one representation: x + x leaves one name, and a sum that broadcasts has two representations
        reps = [next(iter(repmap.nodes.get(name, ())), None) for name in (node.name, *others)]
        if len(reps) == 2 and reps[0] is not None and reps[0] == reps[1] and lifting.holds(reps[0]):
            trunks[node.name] = others[0]
    return trunks


def _adds(node: Node) -> bool:
    """Whether an op is a sum of two values as they are."""
    trait = traits().get(node.target)
    return isinstance(trait, Sum) and trait.is_plain and node.arguments.get("alpha", 1) == 1


class Fitting:
    """A pass over a network and its smaller counterpart, op by op and batch by batch.

    captured, smaller: graphs with the same ops, of the original and in the new sizes.
    batches: what is read, in the captured sizes.  given: weights that are known already.  both_views: aim at the mean
    of the original's answers to x and, mirrored back, to T x.

    count: batches of all processes.  weights: by leaf, lifted at first and replaced as they are fitted.  freed: what no
    op after a node reads.  nodes: of both graphs, by name.  behind: values that depend on fitted weights.
    """

    def __init__(
        self,
        captured: CapturedModel,
        smaller: CapturedModel,
        repmap: RepMap,
        lifting: Lifting,
        batches: Sequence[Batch],
        given: Mapping[str, Tensor],
        both_views: bool = False,
    ) -> None:
        self.captured, self.smaller, self.repmap, self.lifting = captured, smaller, repmap, lifting
        self.batches = batches
        self.count = max(round(processes.total(len(batches))), 1)
        self.tasks = tasks(captured, repmap, lifting, both_views)
        self.layered = recurrent.layered(captured, repmap)
        readers = {site.weight: site.readers for site in sites_of(captured).values()}
        self.weights = lifted_weights(captured, repmap, lifting, readers) | dict(given)
        self.weights |= {leaf.name: self._lifted(leaf.name, leaf.tensor, leaf.tensor) for leaf in captured.states}
        self.freed = execution.last_readers(captured.nodes, captured.answers)
        self.nodes = {node.name: (node, new) for node, new in zip(captured.nodes, smaller.nodes, strict=True)}
        self.behind = _behind(captured, self.tasks)

    def run(self, report: Report) -> tuple[dict[str, Tensor], list[Layer]]:
        """All weights by leaf, and what was left over of every layer.  report: layers done, layers in all."""
        # Weights of several places first: a decoder's later steps read what its first one gave, which is known only
        # when its weights are. They are fitted on the original's values, and one by one after their samples are in.
        layers: list[Layer] = []
        shared = [task for task in self.tasks if len(task.nodes) > 1]
        if shared:
            self._add_everywhere(shared)
        for task in shared:
            layers.append(Layer(task.name, task.solve(self.weights)))
            report(len(layers), len(self.tasks))
        # All others at their one op; a recurrent op has a task for each of its cells.
        due: dict[str, list[Task]] = {}
        for task in self.tasks:
            if len(task.nodes) == 1:
                due.setdefault(task.nodes[0].name, []).append(task)
        places = [name for name in self.nodes if name in due]
        stretch: list[str] = []  # ops from the last halt, that op included, up to the next one
        with Shelf(len(self.batches)) as shelf:
            for name in self.nodes:
                if name in due:
                    # the shelf holds the runs of all batches between halts; the first halt has none to go on from,
                    # and after the last one nothing is read again
                    runs: Iterable[list[execution.Values]] = map(self._starts, self.batches)
                    if name != places[0]:
                        runs = (runs_of_batch for _, runs_of_batch in shelf)
                    self._add_at(name, due[name], runs, stretch, shelf if name != places[-1] else None)
                    stretch = []
                    for task in due[name]:
                        give_back()
                        layers.append(Layer(task.name, task.solve(self.weights)))
                        give_back()
                        report(len(layers), len(self.tasks))
                stretch.append(name)
        return self.weights, layers

    def _is_held(self, number: int) -> bool:
        """Whether a batch only tells how strong the ridge should be: every fifth, of fewer the last, never the only."""
        every = min(_HELD, self.count)
        return every > 1 and processes.number_of(number) % every == every - 1

    def _starts(self, batch: Batch) -> list[dict[str, Tensor]]:
        """The values with which the three runs begin: on x, on T x, and on x for the smaller network."""
        lifted = {name: self._lifted(name, plain, batch.turned[name]) for name, plain in batch.plain.items()}
        return [dict(batch.plain), dict(batch.turned), lifted]

    def _lifted(self, name: str, plain: Tensor, turned: Tensor) -> Tensor:
        """The value of an input or state for the smaller network, from the values that it has in both views."""
        layers, rep = self.layered.get(name), self.repmap.leaves.get(name)
        # A state of several recurrent layers, "layer batch unit": each layer keeps units of its own.
        if layers is None:
            if rep is None:
                return plain
            return self.lifting.value(plain, turned, rep)
        parts = zip(plain, turned, layers, strict=True)
        return torch.stack([self.lifting.value(*part) for part in parts])

    def _add_at(
        self,
        name: str,
        due: Sequence[Task],
        runs: Iterable[list[execution.Values]],
        stretch: Sequence[str],
        shelf: Shelf | None,
    ) -> None:
        """Continue the three runs of every batch up to an op, and add its samples.

        shelf: where the runs are kept, to be continued from there.
        """
        old, new = execution.start(self.captured, (), {}), execution.start(self.smaller, (), self.weights)
        with torch.no_grad():
            for number, runs_of_batch in enumerate(runs):
                self._carry(runs_of_batch, (old, old, new), stretch)
                self._take(name, due, number, runs_of_batch, (old, old, new))
                if shelf is not None:
                    shelf[number] = runs_of_batch
                del runs_of_batch  # before the next is fetched

    def _take(
        self,
        name: str,
        due: Sequence[Task],
        number: int,
        runs: Sequence[execution.Values],
        bases: Sequence[execution.Values],
    ) -> None:
        """The samples of one batch at an op, which both runs of the original are past then."""
        node = self.nodes[name][0]
        seen = [{**base, **values} for values, base in zip(runs, bases, strict=True)]
        # the originals run the op, since its answers are the targets; the smaller one waits for its weights
        for values, run in zip(seen[:2], runs[:2], strict=True):
            run[name] = values[name] = execution.evaluate(node, values)
        for task in due:
            given = seen[2][task.source(node)]
            task.add(node, self._is_held(number), Views(*seen), given, _ROWS // self.count + 1)
        for run in runs[:2]:
            self._free(run, name)

    def _carry(
        self, runs: Sequence[execution.Values], bases: Sequence[execution.Values], stretch: Sequence[str]
    ) -> None:
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

    def _add_everywhere(self, shared: Sequence[Task]) -> None:
        """Samples for weights that work in several places, from the original alone."""
        with torch.no_grad():
            for number, batch in enumerate(self.batches):
                runs = [{**execution.start(self.captured, (), {}), **start} for start in self._starts(batch)[:2]]
                for node in self.captured.nodes:
                    for values in runs:
                        values[node.name] = execution.evaluate(node, values)
                    # what the smaller network would read if all before were right: the original's units, lifted
                    for task in (task for task in shared if node in task.nodes):
                        source = task.source(node)
                        given = self.lifting.value(
                            runs[0][source], runs[1][source], representation(self.repmap, source)
                        )
                        rows = _ROWS // (self.count * len(task.nodes)) + 1
                        task.add(node, self._is_held(number), Views(runs[0], runs[1], {}), given, rows)
                    self._couple(node, runs[0], runs[1])


def lifted_weights(
    captured: CapturedModel, repmap: RepMap, lifting: Lifting, readers: Mapping[str, frozenset[int]]
) -> dict[str, Tensor]:
    """Every weight for the new spaces, by leaf, doing to kept units what the old one did: where a fit starts, and its
    end for weights that no fit reaches, such as tables and gains of norms.

    readers: axes that take values in, by weight.
    """
    weights: dict[str, Tensor] = {}
    for leaf in captured.weights:
        rep = repmap.leaves[leaf.name]
        value = lifting.weight(leaf.tensor.detach(), rep, readers.get(leaf.name, frozenset()))
        if lifting.earlier:  # `weight` has projected for this mirror alone
            weights[leaf.name] = lifting.symmetric(value, leaf.name, rep)
        else:
            weights[leaf.name] = value
    return weights


def _behind(captured: CapturedModel, fitted: Sequence[Task]) -> frozenset[str]:
    """The values that depend on fitted weights."""
    names = {node.name for task in fitted for node in task.nodes}
    for node in captured.nodes:
        if any(ref.name in names for ref in node.reads):
            names.add(node.name)
    return frozenset(names)


def _check_shape(node: Node, value: Any) -> None:
    """Raises MethodUnavailableError where an op gives another size than its representation: it took one for granted."""
    if isinstance(value, Tensor) and node.shapes[0] is not None and tuple(value.shape) != node.shapes[0]:
        raise MethodUnavailableError(
            str(node.where),
            f"{node.target} gives {tuple(value.shape)} at this width, {node.shapes[0]} was expected",
            "use --width 0.5, or --method average",
        )
