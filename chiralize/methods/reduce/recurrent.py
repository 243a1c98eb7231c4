"""Recurrent layers: what their cells read, step by step.

A cell's gates are z = W_ih x + b_ih + W_hh h + b_hh, h the state before the step. Given the states, which the original
knows, that is a linear layer on [x, h], and its weights are fitted as one. In a GRU the candidate multiplies its hidden
part by a gate before it is added, so that its two parts are fitted apart:

    LSTM, RNN   all gates on [x, h]            GRU   r, z on [x, h];  n's input part on x;  n's hidden part on h

In a GRU n = tanh(W_in x + b_in + r * (W_hn h + b_hn)), where r is a gate.

A layer and direction of an op is a cell, and a task of its own (`tasks.CellTask`). An op of two layers has one state
tensor, "layer batch unit", and inference one unknown for the units of both. `separate` gives each layer its own, so
that each keeps units of its own; `tied` and `of_one_size` say what they must still have in common.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import torch
from torch import Tensor

from chiralize.graph import execution
from chiralize.graph.model import CapturedModel, Node
from chiralize.graph.traits import Recurrence
from chiralize.infer.records import RepMap
from chiralize.infer.registry import traits
from chiralize.methods.stepping import cells_of, directions_of, runs_in_steps, states_read
from chiralize.symmetry.symbolic import Abs, Axis, Sum, SymbolicRepresentation, Term, Var, trivial, variables


@dataclass(frozen=True)
class Cell:
    """One layer and direction of a recurrent op.

    weights: leaves w_ih, w_hh and, where there are biases, b_ih, b_hh.  gates: how many lie in one of them.
    """

    node: Node
    layer: int
    direction: int
    weights: tuple[str, ...]
    gates: int

    def axes(self, repmap: RepMap) -> tuple[Axis, Axis, Axis]:
        """Gates, input and hidden: w_ih is "gate input", w_hh "gate hidden"."""
        w_ih, w_hh = (repmap.leaves[name] for name in self.weights[:2])
        return w_ih.axes[0], w_ih.axes[1], w_hh.axes[1]


@dataclass(frozen=True)
class Step:
    """What a cell read and gave: `x` and `h` (before each step) are "batch time feature", in the input's order."""

    x: Tensor
    h: Tensor


def cells(node: Node, captured: CapturedModel) -> list[Cell]:
    """The cells of a recurrent op; none for other ops, and for LSTMs that project their state."""
    trait = traits().get(node.target)
    if not isinstance(trait, Recurrence) or not runs_in_steps(node):
        return []
    # params: of layer 0 forward, layer 0 backward, layer 1 forward, ..., two or four tensors each
    names, directions = [ref.name for ref in node.arguments["params"]], directions_of(node.arguments)
    count = cells_of(node.arguments)
    each = len(names) // count
    leaves = [captured.leaves.get(name) for name in names]
    if any(leaf is None or leaf.kind != "parameter" for leaf in leaves):
        return []  # weights that are computed (weight norm), or constants of the graph, are not fitted
    cells_of_op: list[Cell] = []
    for position in range(count):
        weights = tuple(names[position * each : (position + 1) * each])
        cells_of_op.append(Cell(node, position // directions, position % directions, weights, trait.gates))
    return cells_of_op


def steps(node: Node, cells_of_op: Sequence[Cell], values: Mapping[str, Any]) -> list[Step]:
    """What every cell of an op reads, from the op's arguments: layer by layer through torch's own kernel."""
    arguments = execution.arguments(node, values)
    x, states, op = arguments["input"], states_read(arguments), execution.overload(node.target)
    if not arguments["batch_first"]:
        x = x.transpose(0, 1)
    directions = directions_of(arguments)
    read: list[Step] = []
    for layer in range(arguments["num_layers"]):  # one at a time: the op gives the answers of its last layer alone
        cut = slice(layer * directions, (layer + 1) * directions)
        hx = [state[cut].contiguous() for state in states]
        each = len(cells_of_op[0].weights) * directions
        params = arguments["params"][layer * each : (layer + 1) * each]
        given = hx if len(hx) > 1 else hx[0]
        # has_biases, num_layers, dropout, train, bidirectional, batch_first
        out = op(x, given, params, each // directions == 4, 1, 0.0, False, directions == 2, True)[0]
        for direction, part in enumerate(out.chunk(directions, -1)):
            # the state before step t is the answer to step t - 1; to t + 1 in the cell that runs backwards
            first = hx[0][direction][:, None]
            before = [first, part[:, :-1]] if direction == 0 else [part[:, 1:], first]
            read.append(Step(x, torch.cat(before, 1)))
        x = out
    return read


def separate(captured: CapturedModel, repmap: RepMap) -> RepMap:
    """Layers whose states lie in one tensor, "layer batch unit", share one involution. Their units are different ones
    all the same: every layer but the last gets an unknown of its own, of the same size.
    """
    # The last layer keeps the unknown that it had: its units are what leaves the op and others read. So does a layer
    # that does not share this unknown: it is told apart already.
    leaves, spaces = dict(repmap.leaves), list(repmap.spaces)
    fresh = count(1 + max((var.id for rep in leaves.values() for var in variables(rep.axes)), default=0))
    unknowns: dict[tuple[int, int], int] = {}
    for node in captured.nodes:
        cells_of_op = cells(node, captured)
        last = cells_of_op[-1].layer if cells_of_op else 0
        shared = {_unknown(cell, repmap) for cell in cells_of_op if cell.layer == last}
        for cell in cells_of_op:
            key = _unknown(cell, repmap)
            # Which axes of w_ih, w_hh, b_ih, b_hh hold units of this layer (as gates, or as the state), and which those
            # of the layer below, which this one reads: the input axis of w_ih.
            for layer, places in ((cell.layer, {0: (0,), 1: (0, 1), 2: (0,), 3: (0,)}), (cell.layer - 1, {0: (1,)})):
                if key is None or key not in shared or not 0 <= layer < last:
                    continue
                if (key, layer) not in unknowns:
                    unknowns[key, layer] = next(fresh)
                    space = next(space for space in spaces if space.key == key)
                    spaces.append(replace(space, key=unknowns[key, layer], label=f"{space.label}, layer {layer}"))
                for position, axes in places.items():
                    for axis in axes:
                        if position < len(cell.weights):
                            name = cell.weights[position]
                            rep = leaves[name]
                            leaves[name] = rep.with_axis(axis, _renamed(rep.axes[axis], key, unknowns[key, layer]))
    return replace(repmap, leaves=leaves, spaces=tuple(spaces))


def tied(captured: CapturedModel, repmap: RepMap, separated: RepMap) -> frozenset[int]:
    """Unknowns of layers that `separate` told apart: in the end all must move alike, as their states are one tensor."""
    unknowns: set[int | None] = set()
    for node in captured.nodes:
        cells_of_op = cells(node, captured)
        if any(_unknown(cell, repmap) != _unknown(cell, separated) for cell in cells_of_op):
            unknowns |= {_unknown(cell, separated) for cell in cells_of_op}
    return frozenset(key for key in unknowns if key is not None)


def layered(captured: CapturedModel, repmap: RepMap) -> dict[str, list[SymbolicRepresentation]]:
    """States that hold several cells of a recurrent op along their first axis, "cell batch unit": how the mirror acts
    on the "batch unit" of each.

    repmap: as `separate` gives it.
    """
    by_state: dict[str, list[SymbolicRepresentation]] = {}
    for node in captured.nodes:
        cells_of_op = cells(node, captured)
        hx = node.arguments.get("hx") if len(cells_of_op) > 1 else None
        for ref in hx if isinstance(hx, (list, tuple)) else [hx]:
            leaf = captured.leaf_of(ref)
            if leaf is not None and leaf.kind in ("state", "input"):
                batch = trivial(leaf.shape[1])
                by_state[leaf.name] = [SymbolicRepresentation((batch, cell.axes(repmap)[2])) for cell in cells_of_op]
    return by_state


def of_one_size(captured: CapturedModel, repmap: RepMap) -> set[int]:
    """Unknowns of recurrent ops with several layers or directions: the op has one size for all of them.

    repmap: as `separate` gives it.
    """
    by_op = [cells(node, captured) for node in captured.nodes]
    unknowns = (_unknown(cell, repmap) for several in by_op if len(several) > 1 for cell in several)
    return {key for key in unknowns if key is not None}


def _unknown(cell: Cell, repmap: RepMap) -> int | None:
    """The unknown of a cell's units, if they are a hidden space of their own."""
    axis = repmap.leaves[cell.weights[1]].axes[1]
    if len(axis) == 1 and isinstance(axis[0], Var):
        return axis[0].id
    return None


def _renamed(axis: Axis, old: int, new: int) -> Axis:
    """An axis with another unknown in the place of one."""

    def term(each: Term) -> Term:
        """One factor, renamed wherever it is or holds the unknown."""
        match each:
            case Var(id=key) if key == old:
                return Var(new, each.size)
            case Abs(var) if var.id == old:
                return Abs(Var(new, var.size))
            case Sum(parts):
                return Sum(tuple(_renamed(part, old, new) for part in parts))
        return each

    return tuple(map(term, axis))
