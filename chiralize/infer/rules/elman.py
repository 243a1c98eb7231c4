"""Plain (Elman) recurrent networks: one gate, which moves with the hidden space; with ReLU it carries no signs.

h' = tanh(W x + V h + b): rows of all weights move with H, columns of V with H, columns of W with the inputs. The walk
through layers and directions is that of LSTM and GRU (`recurrent`).

tanh is odd, so T h' = tanh(T (W x + V h + b)) for any signed T. relu is not: the hidden units may only be permuted.
"""

from __future__ import annotations

from chiralize.graph.traits import Recurrence
from chiralize.infer.registry import Call, Results, normal, sample
from chiralize.infer.rules._families import op, rule
from chiralize.infer.rules.recurrent import (
    drawn_weights,
    layer_macs,
    layer_samples,
    recurrent_layer,
    recurrent_step,
    step_macs,
)
from chiralize.infer.solver.unify import Solver
from chiralize.symmetry.symbolic import Axis


def plain_gate(hidden: Axis, solver: Solver) -> Axis:
    """H"""
    return hidden


@rule("RNN", "`b 1t i, H i, H H -> b 1t H`, a layer and direction each; `+H` with ReLU", macs=layer_macs)
@op("rnn_tanh.input", *layer_samples(1), trait=Recurrence("tanh"))
@op("rnn_relu.input", *layer_samples(1), trait=Recurrence("relu"))
def rnn(call: Call) -> Results:
    """torch.nn.RNN."""
    return recurrent_layer(call, [call["hx"]], plain_gate if "tanh" in call.target else _without_signs)


def _without_signs(hidden: Axis, solver: Solver) -> Axis:
    """H, without signs: ReLU is not odd."""
    solver.sign_free(hidden)
    return hidden


@rule("RNN step", "`b i, b H, H i, H H -> b H`; `+H` with ReLU", macs=step_macs)
@op("rnn_tanh_cell", trait=Recurrence("tanh", is_single=True))
@op("rnn_relu_cell", trait=Recurrence("relu", is_single=True))
@op("rnn_tanh_cell rnn_relu_cell", sample(normal(2, 3), normal(2, 4), *drawn_weights(1), weights={2, 3, 4, 5}))
def rnn_cell(call: Call) -> Results:
    """torch.nn.RNNCell."""
    return recurrent_step(call, [call["hx"]], plain_gate if "tanh" in call.target else _without_signs)
