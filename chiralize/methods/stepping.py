"""Recurrent ops step by step, in plain ops: what their cells read can be watched, and derivatives and vmap go through.

torch runs a whole sequence in one op, which vmap does not know. `reduce.moments` watches what cells read, and
`refine.along` trains along sequences. Layers and directions of an op are cells, in the order of its states, "cell batch
unit": layer 0 forward, layer 0 backward, layer 1 forward, ...
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from chiralize.graph import execution
from chiralize.graph.model import Node
from chiralize.graph.traits import Recurrence
from chiralize.infer.registry import traits

Reads = list[tuple[list[Tensor], list[Tensor]]]
"""By cell, its inputs and its states before every step, in the input's order."""
_WEIGHTS_OF_A_CELL = (2, 4)
"""w_ih, w_hh, and their biases; one that projects its state has another."""


def is_one_step(node: Node) -> bool:
    """Whether it is an op that `stepped` takes: one step of one cell."""
    trait = traits().get(node.target)
    return isinstance(trait, Recurrence) and trait.is_single


def stepped(node: Node, values: Mapping[str, Any]) -> Tensor | tuple[Tensor, ...]:
    """The results of one step of one cell: its new state, of an LSTM two."""
    trait = traits()[node.target]
    assert isinstance(trait, Recurrence)
    arguments = execution.arguments(node, values)
    weights = [arguments["w_ih"], arguments["w_hh"]]
    if arguments.get("b_ih") is not None:
        weights += [arguments["b_ih"], arguments["b_hh"]]
    states = _step(trait.cell, arguments["input"], states_read(arguments), weights)
    return states[0] if len(states) == 1 else tuple(states)


def runs_in_steps(node: Node) -> bool:
    """Whether it is an op that `unrolled` takes: a recurrent one over a sequence, whose states are not projected."""
    trait = traits().get(node.target)
    if not isinstance(trait, Recurrence) or trait.is_single:
        return False
    return len(node.arguments["params"]) // cells_of(node.arguments) in _WEIGHTS_OF_A_CELL


def unrolled(
    node: Node, values: Mapping[str, Any], look: Callable[[Tensor], Tensor] = lambda seen: seen
) -> tuple[tuple[Tensor, ...], Reads]:
    """The op's results step by step, and what every cell read.

    look: what a cell reads passes through it, as through a view that keeps its gradient.
    """
    trait = traits()[node.target]
    assert isinstance(trait, Recurrence)
    # x: "batch time feature"; of deeper layers what both directions of the one below gave
    arguments = execution.arguments(node, values)
    x, states = arguments["input"], states_read(arguments)
    if not arguments["batch_first"]:
        x = x.transpose(0, 1)
    directions = directions_of(arguments)
    each = len(arguments["params"]) // cells_of(arguments)
    last: list[list[Tensor]] = [[] for _ in states]
    reads: Reads = []
    for layer in range(arguments["num_layers"]):
        outs: list[Tensor] = []
        for direction in range(directions):
            position = layer * directions + direction
            weights = arguments["params"][position * each : (position + 1) * each]
            state = [of_all_cells[position] for of_all_cells in states]
            sequence = list(x.unbind(1))
            given: tuple[list[Tensor], list[Tensor]] = [], []
            results: list[Tensor] = []
            for item in sequence if direction == 0 else sequence[::-1]:
                seen = [look(item), look(state[0])]
                for column, value in zip(given, seen, strict=True):
                    column.append(value)
                state = _step(trait.cell, seen[0], [seen[1], *state[1:]], weights)
                results.append(state[0])
            # results and reads of a cell that runs backwards are put into the order of time again
            back = 1 if direction == 0 else -1
            outs.append(torch.stack(results[::back], 1))
            reads.append((given[0][::back], given[1][::back]))
            for column, value in zip(last, state, strict=True):
                column.append(value)
        x = torch.cat(outs, -1)
    out = x if arguments["batch_first"] else x.transpose(0, 1)
    return (out, *(torch.stack(column) for column in last)), reads


def _step(cell: str, x: Tensor, state: Sequence[Tensor], weights: Sequence[Tensor]) -> list[Tensor]:
    """One step of one cell: its states after it, h first. state: h, and c of an LSTM.  x, h: "batch feature".

    Gates lie in torch's order: i, f, g, o of an LSTM; r, z, n of a GRU, whose r multiplies n's hidden part.
    """
    h = state[0]
    biases = list(weights[2:]) or [None, None]
    given = torch.nn.functional.linear(x, weights[0], biases[0])
    recalled = torch.nn.functional.linear(h, weights[1], biases[1])
    if cell == "lstm":
        i, f, g, o = (given + recalled).chunk(4, -1)
        c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
        return [o.sigmoid() * c.tanh(), c]
    if cell == "gru":
        (r, z, n), (r_h, z_h, n_h) = given.chunk(3, -1), recalled.chunk(3, -1)
        z = (z + z_h).sigmoid()
        return [(1 - z) * (n + (r + r_h).sigmoid() * n_h).tanh() + z * h]
    return [(given + recalled).tanh() if cell == "tanh" else (given + recalled).relu()]


def cells_of(arguments: Mapping[str, Any]) -> int:
    """How many cells an op has: of all layers and directions."""
    return arguments["num_layers"] * directions_of(arguments)


def directions_of(arguments: Mapping[str, Any]) -> int:
    """In how many directions a recurrent op runs."""
    return 1 + bool(arguments["bidirectional"])


def states_read(arguments: Mapping[str, Any]) -> list[Tensor]:
    """The states that a recurrent op starts from: of an LSTM two, of others one."""
    hx = arguments["hx"]
    if isinstance(hx, (list, tuple)):
        return list(hx)
    return [hx]
