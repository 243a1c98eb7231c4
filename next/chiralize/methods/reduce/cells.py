"""Recurrent layers: what their cells read, step by step, and how their weights are fitted.

A cell's gates are z = W_ih x + b_ih + W_hh h + b_hh, h the state before the step. Given the states, which the original
knows, that is a linear layer on [x, h], and its weights are fitted as one. In a GRU the candidate multiplies its
hidden part by a gate before it is added, n = tanh(W_in x + b_in + r * (W_hn h + b_hn)): its parts are fitted apart.

    LSTM, RNN   all gates on [x, h]            GRU   r, z on [x, h];  n's input part on x;  n's hidden part on h

A layer and direction of an op is a cell. An op of two layers has one state tensor, "layer batch unit", and inference
one unknown for the units of both: `separate` gives each layer its own, so that each keeps units of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from chiralize.graph import execution
from chiralize.graph.model import CapturedModel, Node, overload
from chiralize.graph.traits import Recurrence
from chiralize.infer.records import RepMap
from chiralize.infer.rule import traits
from chiralize.infer.symbolic import Abs, Axis, Sum, SymbolicRepresentation, Term, Var, trivial, variables
from chiralize.methods.reduce.lifting import Lifting
from chiralize.methods.reduce.ridge import Fit
from chiralize.methods.reduce.views import Reading, Regression, Views, Weights

_WEIGHTS_OF_A_CELL = (2, 4)
"""w_ih, w_hh, and their biases; one that projects its state has another."""


@dataclass(frozen=True)
class Cell:
    """One layer and direction of a recurrent op.

    position: among the cells of its op.  weights: leaves w_ih, w_hh and, where there are biases, b_ih, b_hh.
    gates: how many lie in one of them.
    """

    node: Node
    position: int
    layer: int
    weights: tuple[str, ...]
    gates: int

    def axes(self, repmap: RepMap) -> tuple[Axis, Axis, Axis]:
        """Gates, input and hidden: w_ih is "gate input", w_hh "gate hidden"."""
        w_ih, w_hh = (repmap.leaves[name] for name in self.weights[:2])
        return w_ih.axes[0], w_ih.axes[1], w_hh.axes[1]


@dataclass(frozen=True)
class Step:
    """What a cell read: `x` and `h` (before each step) are "batch time feature", in the input's order."""

    x: Tensor
    h: Tensor


def cells(node: Node, captured: CapturedModel) -> list[Cell]:
    """The cells of a recurrent op; none for other ops, and for LSTMs that project their state."""
    trait = traits().get(node.target)
    if not isinstance(trait, Recurrence) or trait.is_single or "batch_first" not in node.arguments:
        return []
    # params: of layer 0 forward, layer 0 backward, layer 1 forward, ..., two or four tensors each
    names, directions = [ref.name for ref in node.arguments["params"]], _directions(node.arguments)
    cells_of_op = node.arguments["num_layers"] * directions
    each = len(names) // cells_of_op
    if each not in _WEIGHTS_OF_A_CELL or not all(_is_trained(name, captured) for name in names):
        return []  # weights that are computed (weight norm), or constants of the graph, are not fitted
    return [
        Cell(node, at, at // directions, tuple(names[at * each : (at + 1) * each]), trait.gates)
        for at in range(cells_of_op)
    ]


def _is_trained(name: str, captured: CapturedModel) -> bool:
    """Whether a value is a parameter of the network."""
    return name in captured.leaves and captured.leaves[name].kind == "parameter"


def _directions(arguments: Mapping[str, Any]) -> int:
    """In how many directions a recurrent op runs."""
    return 1 + bool(arguments["bidirectional"])


def steps(node: Node, each: int, values: Mapping[str, Any]) -> list[Step]:
    """What every cell of an op reads, from the op's arguments: layer by layer through torch's own kernel.

    each: weights of a cell.
    """
    arguments = execution.with_values(node.arguments, values.__getitem__)
    x, hx, op = arguments["input"], arguments["hx"], overload(node.target)
    states = hx if isinstance(hx, list) else [hx]
    if not arguments["batch_first"]:
        x = x.transpose(0, 1)
    directions, read = _directions(arguments), list[Step]()
    for layer in range(arguments["num_layers"]):  # one at a time: the op gives the answers of its last layer alone
        cut = slice(layer * directions, (layer + 1) * directions)
        first = [state[cut].contiguous() for state in states]
        params = arguments["params"][cut.start * each : cut.stop * each]
        given = first if len(first) > 1 else first[0]
        # has_biases, num_layers, dropout, train, bidirectional, batch_first
        out = op(x, given, params, each == 4, 1, 0.0, False, directions == 2, True)[0]
        for direction, part in enumerate(out.chunk(directions, -1)):
            # the state before step t is the answer to step t - 1; to t + 1 in the cell that runs backwards
            start = first[0][direction][:, None]
            before = [start, part[:, :-1]] if direction == 0 else [part[:, 1:], start]
            read.append(Step(x, torch.cat(before, 1)))
        x = out
    return read


def _steps_of(cell: Cell, views: Views) -> list[Step]:
    """What a cell reads on x and on T x; an op is run once for all of its cells."""
    each = len(cell.weights)

    def both() -> list[list[Step]]:
        """The steps of all cells of the op, in both views."""
        return [steps(cell.node, each, values) for values in (views.plain, views.turned)]

    return [of_cells[cell.position] for of_cells in views.once(cell.node.name, both)]


def readings_of(cell: Cell, captured: CapturedModel, repmap: RepMap) -> list[Reading]:
    """What a cell reads: its input and its state.  In the third run, where views are averaged, that is their mean."""
    gates = [captured.leaves[name].tensor.detach() for name in cell.weights[:2]]
    read: list[Reading] = []
    for position, (axis, matrix) in enumerate(zip(cell.axes(repmap)[1:], gates, strict=True)):
        batch, time = (cell.node.shapes[0] or (0, 0))[:2]
        if not cell.node.arguments["batch_first"]:
            batch, time = time, batch

        def values(views: Views, position: int = position) -> list[Tensor]:
            """The input or the state in both views, and their mean."""
            plain, turned = ((step.x, step.h)[position] for step in _steps_of(cell, views))
            return [plain, turned, (plain + turned) / 2]

        rep = SymbolicRepresentation((trivial(batch), trivial(time), axis))
        read.append(Reading(cell.node, rep, 2, matrix, values, is_layer=False))
    return read


# ---- fits ----------------------------------------------------------------------------------------------------------
class CellRegression:
    """A stretch of a cell's gates, fitted on the original's states.

    gates: which, from and to.  reads: what they are fitted on, "xh", "x" or "h".
    """

    def __init__(
        self, cell: Cell, nodes: Sequence[Node], gates: tuple[int, int], reads: str, repmap: RepMap, lifting: Lifting
    ) -> None:
        self.cell, self.nodes, self.gates, self.reads = cell, tuple(nodes), slice(*gates), reads
        self.name, self.has_bias = cell.weights[0], len(cell.weights) > 2
        self.repmap, self.lifting, self.axes = repmap, lifting, cell.axes(repmap)
        of_gates, x, h = map(lifting.action, self.axes)
        targets = of_gates.restrict(range(*gates))
        assert targets is not None  # T takes no gate to another one
        self.actions = {"xh": x.direct_sum(h), "x": x, "h": h}[reads], targets

    def source(self, node: Node) -> str:
        """The value that an op reads."""
        return node.arguments["input"].name

    def rows(self, node: Node, views: Views, given: Tensor, draw: Callable[[int], Tensor]) -> tuple[Tensor, Tensor]:
        """Gates of every step, on inputs and states."""
        cell = replace(self.cell, node=node)
        read = _steps_of(cell, views)
        w_ih, w_hh, *biases = (views.plain[name] for name in cell.weights)
        b_ih, b_hh = biases or (None, None)
        x = self._lifted([step.x for step in read], self.axes[1])
        h = self._lifted([step.h for step in read], self.axes[2])
        if cell.layer == 0:  # what deeper layers read is inside the op, which is run when all of it is fitted
            x = given if node.arguments["batch_first"] else given.transpose(0, 1)
        of_input = [linear(step.x, w_ih, b_ih) for step in read]
        of_state = [linear(step.h, w_hh, b_hh) for step in read]
        sums = {"x": of_input, "h": of_state, "xh": [a + b for a, b in zip(of_input, of_state, strict=True)]}
        targets = self._lifted(sums[self.reads], self.axes[0])[..., self.gates]
        features = {"xh": torch.cat([x, h], -1), "x": x, "h": h}[self.reads]
        chosen = draw(targets.shape[0] * targets.shape[1])
        return features.flatten(0, 1)[chosen], targets.flatten(0, 1)[chosen]

    def _lifted(self, views: Sequence[Tensor], axis: Axis) -> Tensor:
        """Values of both views, "batch time feature", in the new spaces. axis: how features transform."""
        batch, time = views[0].shape[:2]
        return self.lifting.value(views[0], views[1], SymbolicRepresentation((trivial(batch), trivial(time), axis)))

    def starts(self, weights: Mapping[str, Tensor]) -> tuple[Tensor | None, Tensor]:
        """The ridge pulls to 0; the lifted weight tells levels alone."""
        w_ih, w_hh = (weights[name][self.gates] for name in self.cell.weights[:2])
        return None, {"xh": torch.cat([w_ih, w_hh], 1), "x": w_ih, "h": w_hh}[self.reads]

    def write(self, fit: Fit, weights: Weights) -> None:
        """Both weights and both biases, as far as these gates go. Of two biases the sum counts: the second is 0."""
        width = weights[self.cell.weights[0]].shape[1] if "x" in self.reads else 0
        values: list[Tensor | None] = [None] * 4
        if "x" in self.reads:
            values[0], values[2] = fit.weight[:, :width], fit.bias
        if "h" in self.reads:
            values[1] = fit.weight[:, width:]
            values[3] = fit.bias if self.reads == "h" or fit.bias is None else torch.zeros_like(fit.bias)
        for name, value in zip(self.cell.weights, values, strict=False):
            if value is not None:
                new = weights[name].clone()
                new[self.gates] = value.to(new.dtype)
                weights[name] = self.lifting.symmetric(new, self.repmap.leaves[name])


def cell_regressions(cell: Cell, nodes: Sequence[Node], repmap: RepMap, lifting: Lifting) -> list[Regression]:
    """One for an LSTM or a plain cell, three for a GRU."""
    size = lifting.action(cell.axes(repmap)[0]).size
    parts = [((0, size), "xh")]
    if cell.gates == 3:  # r and z, then both parts of n
        first = 2 * size // 3
        parts = [((0, first), "xh"), ((first, size), "x"), ((first, size), "h")]
    return [CellRegression(cell, nodes, gates, reads, repmap, lifting) for gates, reads in parts]


# ---- layers that share one state tensor ----------------------------------------------------------------------------
def separate(captured: CapturedModel, repmap: RepMap) -> RepMap:
    """Layers whose states lie in one tensor, "layer batch unit", share one involution. Their units are different ones
    all the same: every layer but the last gets an unknown of its own, of the same size.
    """
    # The last layer keeps the unknown that it had: its units are what leaves the op and others read.
    leaves, spaces = dict(repmap.leaves), list(repmap.spaces)
    fresh = count(1 + max((var.id for rep in leaves.values() for var in variables(rep.axes)), default=0))
    unknowns: dict[tuple[int, int], int] = {}
    for node in captured.nodes:
        cells_of_op = cells(node, captured)
        last = cells_of_op[-1].layer if cells_of_op else 0
        shared = {unknown_of(cell, repmap) for cell in cells_of_op if cell.layer == last}
        for cell in cells_of_op:
            key = unknown_of(cell, repmap)
            # Which axes of w_ih, w_hh, b_ih, b_hh hold units of this layer (as gates, or as the state), and which those
            # of the layer below, which this one reads: the input axis of w_ih.
            for layer, axes in ((cell.layer, ((0,), (0, 1), (0,), (0,))), (cell.layer - 1, ((1,), (), (), ()))):
                if key is None or key not in shared or not 0 <= layer < last:
                    continue
                if (key, layer) not in unknowns:
                    unknowns[key, layer] = next(fresh)
                    space = next(space for space in spaces if space.key == key)
                    spaces.append(replace(space, key=unknowns[key, layer], label=f"{space.label}, layer {layer}"))
                for name, positions in zip(cell.weights, axes, strict=False):
                    for axis in positions:
                        renamed = _renamed(leaves[name].axes[axis], key, unknowns[key, layer])
                        leaves[name] = leaves[name].with_axis(axis, renamed)
    return replace(repmap, leaves=leaves, spaces=tuple(spaces))


def of_one_size(captured: CapturedModel, repmap: RepMap) -> set[int]:
    """Unknowns of recurrent ops with several layers or directions: the op has one size for all of them.

    repmap: as `separate` gives it.
    """
    by_op = [cells(node, captured) for node in captured.nodes]
    unknowns = (unknown_of(cell, repmap) for several in by_op if len(several) > 1 for cell in several)
    return {key for key in unknowns if key is not None}


def unknown_of(cell: Cell, repmap: RepMap) -> int | None:
    """The unknown of a cell's units, if they are a hidden space of their own."""
    axis = repmap.leaves[cell.weights[1]].axes[1]
    if len(axis) == 1 and isinstance(axis[0], Var):
        return axis[0].id
    return None


def _renamed(axis: Axis, old: int, new: int) -> Axis:
    """An axis with another unknown in the place of one."""
    return tuple(_term(term, old, new) for term in axis)


def _term(term: Term, old: int, new: int) -> Term:
    """One factor, renamed wherever it is or holds the unknown."""
    match term:
        case Var(id=key) if key == old:
            return Var(new, term.size)
        case Abs(var) if var.id == old:
            return Abs(Var(new, var.size))
        case Sum(parts):
            return Sum(tuple(_renamed(part, old, new) for part in parts))
    return term
