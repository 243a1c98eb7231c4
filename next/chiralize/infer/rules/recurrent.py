"""How do recurrent networks transform, whole layers and single steps?

Sigmoid gates move with |H| (a gate multiplies, its sign must not change), the candidate and the state with H:

    LSTM  |H| + |H| + H + |H|   (i, f, g, o)     GRU  |H| + |H| + H   (r, z, n)     plain  H, with ReLU without signs

H may carry signs, since tanh is odd. Every layer and direction has an H of its own unless the state is read or
returned: it is stacked over layers and directions, so that they then share one.

With c' = f c + i g and h' = o tanh(c'), h and c can move with H only if g does, too, and if the gates i, f, o are
permuted alike without signs. A row of w_ih belongs to one gate of one unit, so its rows move with |H| + |H| + H + |H|
and its columns with the inputs; w_hh has the same rows, and its columns move with H.

Two hidden units that the mirror exchanges and negates, H (a, b) = (-b, -a): the gates of unit 0 and of unit 1 change
places, and tanh of the candidate is exchanged and negated. For a GRU of these two units the rows of w_ih are

    r0 r1 z0 z1 n0 n1    which T takes to    r1 r0 z1 z0 -n1 -n0

Weights come as torch has them: w_ih "(gates hidden) input", w_hh "(gates hidden) hidden", both biases "(gates hidden)".
States are "(layers directions) batch hidden", of a single step "batch hidden".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from chiralize.graph.traits import Cell, Recurrence
from chiralize.infer.rule import Answer, Call, Operand, rule
from chiralize.infer.rules.declare import demand_eval
from chiralize.infer.solver.unify import Solver, times
from chiralize.infer.symbolic import Axis, Conflict, OpenSign, SymbolicRepresentation, trivial

Gates = Callable[[Axis, Solver], Axis]
"""From the hidden space to the axis of all gates of a cell, stacked."""


def lstm_gates(hidden: Axis, solver: Solver) -> Axis:
    """|H| + |H| + H + |H|"""
    gate = solver.absolute(hidden)
    return solver.concatenate([gate, gate, hidden, gate])


def gru_gates(hidden: Axis, solver: Solver) -> Axis:
    """|H| + |H| + H"""
    gate = solver.absolute(hidden)
    return solver.concatenate([gate, gate, hidden])


def tanh_gate(hidden: Axis, solver: Solver) -> Axis:
    """H"""
    return hidden


def relu_gate(hidden: Axis, solver: Solver) -> Axis:
    """H, without signs: ReLU is not odd."""
    solver.sign_free(hidden)
    return hidden


def _weights_of_cell(x: Axis, hidden: Axis, weights: Sequence[Operand], gates: Gates, solver: Solver) -> None:
    """w_ih "gates input", w_hh "gates hidden", b_ih "gates", b_hh "gates".

    weights: in this order, without biases that the layer does not have. Raises Conflict where one cannot move so.
    """
    for position, weight in enumerate(weights):
        rep = solver.representation(weight.rep)
        sign = rep.sign
        # Matrices have columns, too; biases, behind them, only the gates.
        if position < 2:
            sign = solver.same((x, hidden)[position], rep.axes[1], sign)
        if isinstance(sign, OpenSign):  # of a weight that one feature goes into: its gates have none
            solver.positive(sign)
            sign = 1
        # The gates are built anew each time: what is known of H may have grown with the last weight.
        sign = solver.same(gates(hidden, solver), rep.axes[0], sign)
        if not solver.positive(sign):
            raise Conflict("recurrent weights differ by a sign", negated=True)


def _hidden(w_hh: Operand, solver: Solver) -> Axis:
    """The hidden space of a cell. A sign of the whole weight is this axis's: gates without signs cannot carry it."""
    rep = solver.representation(w_hh.rep)
    return times(rep.axes[1], rep.sign)


def _inputs(rep: SymbolicRepresentation, solver: Solver) -> SymbolicRepresentation:
    """Everything but the features must be free of signs: biases and gates are added.

    Returns the representation with a sign of the whole tensor written into the features, its last axis.
    """
    for axis in rep.axes[:-1]:
        solver.sign_free(axis)
    return SymbolicRepresentation((*rep.axes[:-1], times(solver.resolve(rep.axes[-1]), rep.sign)))


def _states(call: Call) -> list[Operand]:
    """The states that a layer or a step starts from: h, of an LSTM h and c."""
    return list(call["hx"]) if isinstance(call["hx"], (list, tuple)) else [call["hx"]]


def _state(state: Operand, batch: tuple[Axis, ...], hidden: Axis, solver: Solver) -> None:
    """A state "[layers] batch hidden" that is given: its features are the hidden space. Zeros fit any.

    Raises Conflict where the mirror moves layers, or treats the batch otherwise than that of the inputs.
    """
    if state.zero:
        return
    rep = solver.representation(state.rep)
    for axis in rep.axes[: -1 - len(batch)]:
        solver.trivial(axis)
    for ours, theirs in zip(rep.axes[-1 - len(batch) : -1], batch, strict=True):
        solver.equal(ours, theirs)
    if not solver.positive(solver.same(hidden, rep.axes[-1], rep.sign)):
        raise Conflict("the whole state is negated", negated=True)


# ---- layers -------------------------------------------------------------------------------------------------------
def recurrent_layer(call: Call, gates: Gates) -> Answer:
    """Layers and directions of a whole recurrent module.

    Returns the sequence, then the final states where anybody reads them or the first ones are given. Raises Conflict
    for layers with a projection, whose cells have another size than what they return.
    """
    solver, states = call.solver, _states(call)
    x = _inputs(call.source, solver)
    # "frame batch feature", or "batch frame feature". A mirror that reverses time would run the cells backwards.
    time = int(call["batch_first"])
    solver.trivial(x.axes[time])
    layers = _layers(call)
    # A cell has two matrices, or these and two biases; a third matrix is a projection.
    if len(layers[0][0]) in (3, 5):
        raise Conflict("a recurrent layer with a projection (proj_size)")
    if call["dropout"]:
        demand_eval(call, "train", "dropout between the layers stays on in eval mode")
    batch = x.axes[1 - time]
    shared = None
    # h_0 and h_n are "layers batch hidden": one axis for the hidden units of all layers, so they have one space.
    returned = call.read is None or bool(call.read - {0})  # output 0 is the sequence, the others are states
    if returned or any(not state.zero for state in states):
        shared = _hidden(layers[0][0][1], solver)
        for state in states:
            _state(state, (batch,), shared, solver)
    features = _through(layers, x.axes[-1], shared, gates, solver)
    out = SymbolicRepresentation((*x.axes[:-1], features))
    if shared is None:
        return call.first(out)
    state = SymbolicRepresentation((trivial(states[0].shape[0]), batch, solver.resolve(shared)))
    return (out, *[state] * (len(call.shapes) - 1))


def _through(
    layers: Sequence[Sequence[Sequence[Operand]]], features: Axis, shared: Axis | None, gates: Gates, solver: Solver
) -> Axis:
    """The features behind the last layer; states what the mirror does to the weights of every cell.

    layers: as `_layers` has them.  features: of the inputs.  shared: the hidden space of all cells, None where each has
    one of its own.
    """
    # Both directions of a layer read the same features; the next layer reads what both return, side by side.
    for cells in layers:
        outputs: list[Axis] = []
        for cell in cells:
            hidden = shared if shared is not None else _hidden(cell[1], solver)
            _weights_of_cell(features, hidden, cell, gates, solver)
            outputs.append(hidden)
        features = solver.concatenate(outputs)
    return features


def _layers(call: Call) -> list[list[list[Operand]]]:
    """The weights of every cell, one or two (the directions) in each layer."""
    # In the order of torch: w_ih, w_hh and biases of a direction, both directions of a layer, layer by layer.
    weights, directions = call["params"], 1 + int(call["bidirectional"])
    size = len(weights) // (call["num_layers"] * directions)
    cells = [weights[start : start + size] for start in range(0, len(weights), size)]
    return [cells[first : first + directions] for first in range(0, len(cells), directions)]


# ---- single steps -------------------------------------------------------------------------------------------------
def recurrent_step(call: Call, gates: Gates) -> Answer:
    """One step of a cell: the new state moves with the old one. Returns h, of an LSTM h and c, which move alike."""
    solver, states = call.solver, _states(call)
    x = _inputs(call.source, solver)
    weights = [call.get(name) for name in ("w_ih", "w_hh", "b_ih", "b_hh")]
    hidden = _hidden(weights[1], solver)
    for state in states:
        _state(state, x.axes[:-1], hidden, solver)
    _weights_of_cell(x.axes[-1], hidden, [weight for weight in weights if weight is not None], gates, solver)
    out = SymbolicRepresentation((*x.axes[:-1], solver.resolve(hidden)))
    return out if len(call.shapes) == 1 else (out, out)


_CELLS: list[tuple[str, Gates, str, Cell]] = [
    ("lstm", lstm_gates, "|H|+|H|+H+|H|", "lstm"),
    ("gru", gru_gates, "|H|+|H|+H", "gru"),
    ("rnn_tanh", tanh_gate, "H", "tanh"),
    ("rnn_relu", relu_gate, "+H", "relu"),
]
"""(the ops' name, the axis of all gates, as it is written, what is made of them)"""

for _name, _gates, _text, _cell in _CELLS:
    _whole = f"`b 1t i, {_text} i, {_text} H -> b 1t H`, a layer and direction each"
    _step = f"`b i, b H, {_text} i, {_text} H -> b H`"
    rule(f"{_name}.input", _whole, Recurrence(_cell))(partial(recurrent_layer, gates=_gates))
    rule(f"{_name}_cell", _step, Recurrence(_cell, is_single=True))(partial(recurrent_step, gates=_gates))
