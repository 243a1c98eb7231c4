"""What is fitted at one place of a network: samples are taken in batch by batch, then weights come out.

`fitting` makes a task for every weight, or cell of a recurrent op, calls `add` for every batch while it runs the
network, and `solve` once. A task knows what the features and the targets of its op are, and `ridge` does the rest:

    SiteTask   W, b of z = W x + b      features: x of the smaller network     targets: z of the original, lifted
    CellTask   W_ih, W_hh and biases    features: [x, h]                       targets: the gates before activation
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from chiralize.graph import processes
from chiralize.graph.model import CapturedModel, Node
from chiralize.infer.records import RepMap
from chiralize.methods.reduce import recurrent
from chiralize.methods.reduce.hidden_maps import Lifting
from chiralize.methods.reduce.recurrent import Cell
from chiralize.methods.reduce.ridge import Fit, Moments, fit
from chiralize.methods.reduce.sites import Site
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.symbolic import Axis, SymbolicRepresentation, trivial

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Views:
    """Values by name: of the original on x and on T x, and of the smaller network, where it has come as far."""

    plain: Mapping[str, Any]
    turned: Mapping[str, Any]
    new: Mapping[str, Any]  # empty for weights of several places, which are fitted before it is run


class Task(Protocol):
    """One fit. nodes: the ops that the weights work in.  source: the value that each of them reads."""

    nodes: tuple[Node, ...]
    name: str

    def source(self, node: Node) -> str:
        """The value that an op reads."""
        ...

    def add(self, node: Node, held: bool, views: Views, given: Tensor, rows: int) -> None:
        """Take samples in, at most `rows` of a batch. held: for choosing the ridge.  given: what the op reads now."""
        ...

    def solve(self, weights: Weights) -> float:
        """Write the fitted weights into `weights`; the share of the targets' energy that is left over."""
        ...


class _Samples:
    """Moments for fitting, and for choosing how strongly to hold back: from the first sample on to the fit."""

    def __init__(self, features: SignedPermutation, targets: SignedPermutation, bias: bool) -> None:
        self.fresh = partial(Moments, features, targets, bias)
        self.sums: dict[bool, Moments] = {}

    def add(self, held: bool, features: Tensor, targets: Tensor) -> None:
        """Take samples in: rows of features, and rows of targets."""
        if held not in self.sums:
            self.sums[held] = self.fresh()
        self.sums[held].add(features, targets)

    def fit(self, prior: Tensor | None = None, trained: Tensor | None = None) -> Fit:
        """As `ridge.fit`, on the samples of all processes."""
        seen, held = (self.sums.pop(kind, None) or self.fresh() for kind in (False, True))
        processes.add_up([*seen.tensors(), *held.tensors()])
        return fit(seen, held, prior, trained)


class SiteTask:
    """A linear layer or a convolution; several where they share their weight.

    rep: how the mirror acts on the new weight.  added: how often samples were taken in.

    trunks: what the results of sites are added to and nothing else is done with them, by site.  both_views: what is
    aimed at where the mirror is known.
    """

    def __init__(
        self, sites: Sequence[Site], trunks: Mapping[str, str], repmap: RepMap, lifting: Lifting, both_views: bool
    ) -> None:
        self.trunks, self.both_views = trunks, both_views
        self.sites = {site.node.name: site for site in sites}
        self.nodes = tuple(site.node for site in sites)
        self.first, self.name = sites[0], sites[0].weight
        self.repmap, self.lifting = repmap, lifting
        self.rep = lifting.representation(repmap.leaves[self.name])
        self.samples = _Samples(*self.first.actions(self.rep), self.first.bias is not None)
        self.added = 0

    def source(self, node: Node) -> str:
        """The value that an op reads."""
        return self.sites[node.name].source

    def add(self, node: Node, held: bool, views: Views, given: Tensor, rows: int) -> None:
        """Aim at what the kept units do, and at what the layers before have got wrong on a trunk."""
        # 1. the target: what the original gives, in the new spaces
        site, rep = self.sites[node.name], self.repmap.nodes[node.name][0]
        assert rep is not None
        plain, turned = views.plain[node.name], views.turned[node.name]
        if self.both_views:
            plain, turned = self.lifting.coupled(plain, turned, rep)
        value = self.lifting.value(plain, turned, rep)
        trunk = self.trunks.get(node.name)
        # What the layers before have got wrong on the trunk is made up for, where the trunk is computed before this op.
        if trunk is not None and trunk in views.new:
            value = value + self.lifting.value(views.plain[trunk], views.turned[trunk], rep) - views.new[trunk]
        # 2. the same samples of features and targets, at most `rows` of them
        chosen = _drawn(site.count(value), rows, self.added, len(self.nodes))
        self.added += 1
        self.samples.add(held, site.features(given, self.rep.shape, chosen), site.targets(value, chosen))

    def solve(self, weights: Weights) -> float:
        """The weight and its bias. The ridge pulls towards the original's weight, lifted to the new spaces."""
        site, old = self.first, weights[self.name]
        solution = self.samples.fit(site.matrix(old))
        weights[self.name] = self._symmetric(self.name, site.tensor(solution.weight, self.rep.shape), old)
        if site.bias is not None:
            assert solution.bias is not None
            weights[site.bias] = self._symmetric(site.bias, solution.bias, weights[site.bias])
        return solution.error

    def _symmetric(self, name: str, value: Tensor, old: Tensor) -> Tensor:
        """A fit is symmetric but for rounding; the projection makes it exactly so, for other mirrors as well."""
        return self.lifting.symmetric(value.to(old.dtype), name, self.repmap.leaves[name])


class CellTask:
    """A recurrent cell, fitted on the original's states.

    axes: of gates, input and hidden state.  count: how many gates are fitted on [x, h] together: all of an LSTM, r and
    z of a GRU, whose candidate n has an input part and a hidden part apart (`recurrent` says why).
    """

    def __init__(self, cells: Sequence[Cell], captured: CapturedModel, repmap: RepMap, lifting: Lifting) -> None:
        self.cell = cell = cells[0]
        self.captured, self.repmap, self.lifting = captured, repmap, lifting
        self.nodes, self.name = tuple(other.node for other in cells), cell.weights[0]
        self.axes = cell.axes(repmap)
        gates, x, h = (self._action(axis) for axis in self.axes)
        both, bias = x.direct_sum(h), len(cell.weights) > 2
        # gates lie behind each other, [r, z, n] of `size` units each
        size = gates.size // cell.gates
        self.count = 2 * size if cell.gates == 3 else gates.size
        first = _restricted(gates, 0, self.count)
        self.samples = [_Samples(both, first, bias)]
        if cell.gates == 3:
            last = _restricted(gates, self.count, gates.size)
            self.samples += [_Samples(x, last, bias), _Samples(h, last, bias)]
        self.added = 0

    def _action(self, axis: Axis) -> SignedPermutation:
        """T on one axis of the new weights."""
        return self.lifting.representation(SymbolicRepresentation((axis,))).axes[0].action

    def source(self, node: Node) -> str:
        """The value that an op reads."""
        return node.arguments["input"].name

    def add(self, node: Node, held: bool, views: Views, given: Tensor, rows: int) -> None:
        """Gates of every step, on inputs and states."""
        # "batch time feature": what the cell read on x and on T x, and both lifted to the new spaces
        every = recurrent.cells(node, self.captured)
        position = next(at for at, other in enumerate(every) if other.weights == self.cell.weights)
        steps = [recurrent.steps(node, every, values)[position] for values in (views.plain, views.turned)]
        h = self._lifted([step.h for step in steps], self.axes[2])
        x = self._lifted([step.x for step in steps], self.axes[1])
        if self.cell.layer == 0:  # what deeper layers read is inside the op, which is run when all of it is fitted
            x = given if node.arguments["batch_first"] else given.transpose(0, 1)
        # what input and state add to the gates, in both views; lifted, that is what the new cell should have
        parts = [self._gates(step, views.plain) for step in steps]
        z_x = self._lifted([of_input for of_input, _ in parts], self.axes[0])
        z_h = self._lifted([of_state for _, of_state in parts], self.axes[0])
        x, h, z_x, z_h = (value.flatten(0, 1) for value in (x, h, z_x, z_h))  # "sample feature", "sample gate"
        chosen = _drawn(len(x), rows, self.added, len(self.nodes))
        self.added += 1
        x, h, z_x, z_h = (value[chosen] for value in (x, h, z_x, z_h))
        self.samples[0].add(held, torch.cat([x, h], 1), (z_x + z_h)[:, : self.count])
        if len(self.samples) > 1:
            self.samples[1].add(held, x, z_x[:, self.count :])
            self.samples[2].add(held, h, z_h[:, self.count :])

    def _gates(self, step: recurrent.Step, values: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """W_ih x + b_ih and W_hh h + b_hh of the original, "batch time gate"."""
        w_ih, w_hh, *biases = (values[name] for name in self.cell.weights)
        b_ih, b_hh = biases or (None, None)
        return torch.nn.functional.linear(step.x, w_ih, b_ih), torch.nn.functional.linear(step.h, w_hh, b_hh)

    def _lifted(self, views: Sequence[Tensor], axis: Axis) -> Tensor:
        """Values of both views, "batch time feature", in the new spaces. axis: how features transform."""
        batch, time = views[0].shape[:2]
        return self.lifting.value(views[0], views[1], SymbolicRepresentation((trivial(batch), trivial(time), axis)))

    def solve(self, weights: Weights) -> float:
        """Both weights and both biases; the error is that of the gates that are fitted on [x, h] together.

        Of two biases only the sum counts, so that of the states is 0. A GRU's candidate has one for each of its parts.
        """
        # The weights that were lifted only say how far rounding may be enlarged; the ridge pulls to 0.
        names, old = self.cell.weights, [weights[name] for name in self.cell.weights]
        width = old[0].shape[1]  # of the input: the features are [x, h]
        trained = [torch.cat(old[:2], 1)[: self.count], old[0][self.count :], old[1][self.count :]]
        fits = [samples.fit(trained=weight) for samples, weight in zip(self.samples, trained, strict=False)]
        w_ih, w_hh = fits[0].weight[:, :width], fits[0].weight[:, width:]
        biases: list[Tensor] = []
        if fits[0].bias is not None:
            biases = [fits[0].bias, torch.zeros_like(fits[0].bias)]  # b_ih and b_hh are only ever added
        if len(fits) > 1:  # a GRU's candidate, its input part and its hidden part
            w_ih, w_hh = torch.cat([w_ih, fits[1].weight]), torch.cat([w_hh, fits[2].weight])
            for index, candidate in enumerate(fits[1:]):
                if candidate.bias is not None:
                    biases[index] = torch.cat([biases[index], candidate.bias])
        for name, value in zip(names, [w_ih, w_hh, *biases], strict=False):
            weights[name] = self.lifting.symmetric(value.to(weights[name].dtype), name, self.repmap.leaves[name])
        return fits[0].error


def _drawn(count: int, rows: int, added: int, places: int) -> Tensor:
    """Which samples of a batch are taken at one of the places where a weight works, one place after the other.

    added: how often samples were taken in before, batch by batch and in each place by place.
    """
    batch, position = divmod(added, places)
    return torch.randperm(count, generator=processes.generator(batch, 1 + position))[:rows]


def representation(repmap: RepMap, name: str) -> SymbolicRepresentation:
    """How a value or a leaf transforms."""
    rep = repmap.of(name)
    assert rep is not None
    return rep


def _restricted(action: SignedPermutation, start: int, stop: int) -> SignedPermutation:
    """T on a stretch of gates. It takes no gate to another one, so the stretch is closed under T."""
    part = action.restrict(range(start, stop))
    assert part is not None
    return part
