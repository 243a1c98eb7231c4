"""LSTM and GRU, whole layers and single steps.

Sigmoid gates move with |H| (a gate multiplies, its sign must not change), the candidate and the state with H:

    LSTM gates  |H| + |H| + H + |H|   (i, f, g, o)          GRU gates  |H| + |H| + H   (r, z, n)

H may carry signs, since tanh is odd. An LSTM with a projection returns P, its cell keeps H. Every layer and direction
has an H of its own unless the state is read or returned: it is stacked over layers and directions, so that they then
share one.

With c' = f c + i g and h' = o tanh(c'), h and c can move with H only if g does, too, and if the gates i, f, o are
permuted alike without signs. A row of w_ih belongs to one gate of one unit, so its rows move with |H| + |H| + H + |H|
and its columns with the inputs; w_hh has the same rows, and its columns move with H.

Two hidden units that the mirror exchanges and negates, H (a, b) = (-b, -a): the gates of unit 0 and of unit 1 change
places, and tanh of the candidate is exchanged and negated. For a GRU of these two units the rows of w_ih are

    r0 r1 z0 z1 n0 n1    which T takes to    r1 r0 z1 z0 -n1 -n0

Weights come as torch has them: w_ih "(gates hidden) input", w_hh "(gates hidden) hidden", both biases "(gates hidden)".
With a projection w_hh reads "projection" in place of "hidden", and w_hr is "projection hidden". States are
"(layers directions) batch hidden", of a single step "batch hidden".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from chiralize.graph.traits import Recurrence
from chiralize.infer.registry import Call, Drawn, Operand, Results, Sample, normal, sample, zeros
from chiralize.infer.rules._families import first_outputs, op, rule
from chiralize.infer.solver.terms import Conflict
from chiralize.infer.solver.unify import Solver, times
from chiralize.symmetry.symbolic import Axis, OpenSign, SymbolicRepresentation, trivial

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


def _weights_of_cell(
    x: Axis, hidden: Axis, weights: Sequence[Operand], gates: Gates, solver: Solver, cell: Axis | None = None
) -> None:
    """w_ih "gates input", w_hh "gates hidden", b_ih "gates", b_hh "gates"; gates are those of `cell` if it is given.

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
        sign = solver.same(gates(hidden if cell is None else cell, solver), rep.axes[0], sign)
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


def recurrent_layer(call: Call, states: Sequence[Operand], gates: Gates) -> Results:
    """Layers and directions of a whole recurrent module.

    Returns the sequence, then the final states where anybody reads them or the first ones are given.
    """
    solver = call.solver
    x = _inputs(solver.representation(call.operands[0].rep), solver)
    # "frame batch feature", or "batch frame feature". A mirror that reverses time would run the cells backwards.
    time = int(call["batch_first"])
    solver.trivial(x.axes[time])
    layers = _layers(call)
    # A cell has two matrices, or these and two biases; a third matrix is a projection.
    if len(layers[0][0]) in (3, 5):
        return _projected(call, states, x)
    if call["train"] and call["dropout"]:
        raise Conflict("dropout between the layers stays on in eval mode")
    batch = x.axes[1 - time]
    shared = None
    # h_0 and h_n are "layers batch hidden": one axis for the hidden units of all layers, so they have one space.
    if _states_matter(call, states):
        shared = _hidden(layers[0][0][1], solver)
        for state in states:
            _state(state, (batch,), shared, solver)
    features = _through(layers, x.axes[-1], shared, gates, solver)
    out = SymbolicRepresentation((*x.axes[:-1], features))
    if shared is None:
        return first_outputs(call, out)
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


def _projected(call: Call, states: Sequence[Operand], x: SymbolicRepresentation) -> Results:
    """An LSTM with proj_size: w_hr "projection hidden" after the other weights, h a projection of o tanh(c)."""
    solver = call.solver
    if _states_matter(call, states):
        raise Conflict("the state of a recurrent layer with a projection is given or returned")
    if call["train"] and call["dropout"]:
        raise Conflict("dropout between the layers stays on in eval mode")
    # w_hh reads P, the projection, and its rows are gates of H, the cell: two spaces a cell, tied by w_hr alone.
    features = x.axes[-1]
    for cells in _layers(call):
        outputs: list[Axis] = []
        for *others, last in cells:
            out = solver.representation(last.rep)
            # `hidden` is P, the axis that w_hh reads; the sign by which w_hr has it otherwise is the cell's.
            hidden, cell = _hidden(others[1], solver), out.axes[1]
            cell = times(cell, solver.same(hidden, out.axes[0], out.sign))
            _weights_of_cell(features, hidden, others, gates=lstm_gates, solver=solver, cell=cell)
            outputs.append(hidden)
        features = solver.concatenate(outputs)
    return first_outputs(call, SymbolicRepresentation((*x.axes[:-1], features)))


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


def _states_matter(call: Call, states: Sequence[Operand]) -> bool:
    """A state that is computed or given, not just filled with zeros, or that something reads afterwards."""
    returned = call.read is None or bool(call.read - {0})  # output 0 is the sequence, the others are states
    return returned or any(not state.zero for state in states)


def layer_macs(call: Call) -> int:
    """Every weight matrix once per sample and frame."""
    steps = prod(call.operands[0].shape[:-1])
    return steps * sum(prod(weight.shape) for weight in call["params"] if weight.ndim == 2)


def step_macs(call: Call) -> int:
    """Both weight matrices once per sample."""
    return prod(call.shape[:-1]) * (prod(call["w_ih"].shape) + prod(call["w_hh"].shape))


def drawn_weights(gates: int, size: int = 4, features: int = 3, biases: bool = True) -> tuple[Drawn, ...]:
    """Weights of `size` hidden units on some features, and biases: rows for one gate after the other."""
    weights = normal(gates * size, features), normal(gates * size, size)
    if biases:
        return (*weights, normal(gates * size), normal(gates * size))
    return weights


def _projecting() -> Sample:
    """An LSTM of 4 hidden units that returns 2."""
    weights = (normal(16, 3), normal(16, 2), normal(16), normal(16), normal(2, 4))
    args = (normal(2, 5, 3), [zeros(1, 2, 2), zeros(1, 2, 4)], weights, True, 1, 0.0, False, False, True)
    return sample(*args, weights={2}, read={0})


def _sample(
    gates: int, layers: int = 1, ways: int = 1, biases: bool = True, fresh: bool = False, first: bool = True
) -> Sample:
    """A layer on 5 frames of 4 features. fresh: it starts from zeros and only its sequence is read."""
    weights: list[Drawn] = []
    for layer in range(layers):
        for _ in range(ways):
            weights.extend(drawn_weights(gates, 4, 4 if layer == 0 else 4 * ways, biases))
    state = zeros(layers * ways, 2, 4) if fresh else normal(layers * ways, 2, 4)
    x = normal(2, 5, 4) if first else normal(5, 2, 4)
    hx = [state, state] if gates == 4 else state
    args = (x, hx, weights, biases, layers, 0.0, False, ways == 2, first)
    return sample(*args, weights={2}, read={0} if fresh else None)


def layer_samples(gates: int) -> list[Sample]:
    """Layers whose cells have that many gates: a plain one, both directions, two layers, frames first."""
    plain, by_frames_first = _sample(gates), _sample(gates, first=False)
    return [plain, _sample(gates, 1, 2, biases=False), _sample(gates, 2, 2, fresh=True), by_frames_first]


@rule("LSTM", "`b 1t i, |H|+|H|+H+|H| i, |H|+|H|+H+|H| H -> b 1t H`, a layer and direction each", macs=layer_macs)
@op("lstm.input", *layer_samples(4), _projecting(), trait=Recurrence("lstm"))
def lstm(call: Call) -> Results:
    """torch.nn.LSTM."""
    return recurrent_layer(call, call["hx"], lstm_gates)


@rule("GRU", "`b 1t i, |H|+|H|+H i, |H|+|H|+H H -> b 1t H`, a layer and direction each", macs=layer_macs)
@op("gru.input", *layer_samples(3), trait=Recurrence("gru"))
def gru(call: Call) -> Results:
    """torch.nn.GRU."""
    return recurrent_layer(call, [call["hx"]], gru_gates)


def recurrent_step(call: Call, states: Sequence[Operand], gates: Gates) -> Results:
    """One step of a cell: the new state moves with the old one. Returns h, of an LSTM h and c, which move alike."""
    solver = call.solver
    x = _inputs(solver.representation(call.operands[0].rep), solver)
    weights = [call.get(name) for name in ("w_ih", "w_hh", "b_ih", "b_hh")]
    hidden = _hidden(weights[1], solver)
    for state in states:
        _state(state, x.axes[:-1], hidden, solver)
    _weights_of_cell(x.axes[-1], hidden, [weight for weight in weights if weight is not None], gates, solver)
    out = SymbolicRepresentation((*x.axes[:-1], solver.resolve(hidden)))
    if len(call.shapes) == 1:
        return out
    return out, out


@rule("LSTM step", "`b i, b H, b H, |H|+|H|+H+|H| i, |H|+|H|+H+|H| H -> b H, b H`", macs=step_macs)
@op("lstm_cell", trait=Recurrence("lstm", is_single=True))
@op("lstm_cell", sample(normal(2, 3), [normal(2, 4), normal(2, 4)], *drawn_weights(4), weights={2, 3, 4, 5}))
def lstm_cell(call: Call) -> Results:
    """torch.nn.LSTMCell."""
    return recurrent_step(call, call["hx"], lstm_gates)


@rule("GRU step", "`b i, b H, |H|+|H|+H i, |H|+|H|+H H -> b H`", macs=step_macs)
@op("gru_cell", trait=Recurrence("gru", is_single=True))
@op("gru_cell", sample(normal(2, 3), normal(2, 4), *drawn_weights(3), weights={2, 3, 4, 5}))
def gru_cell(call: Call) -> Results:
    """torch.nn.GRUCell."""
    return recurrent_step(call, [call["hx"]], gru_gates)
