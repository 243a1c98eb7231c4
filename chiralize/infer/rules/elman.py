"""Plain (Elman) recurrent networks: one gate, which moves with the hidden space; with ReLU it carries no signs."""

from __future__ import annotations

from chiralize.infer.registry import Call, Results, Sample, normal
from chiralize.infer.rules._families import rule
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


_RNN = ["aten.rnn_tanh.input", "aten.rnn_relu.input"]


@rule("RNN", *_RNN, statement="`b 1t i, H i, H H -> b 1t H`, a layer and direction each; `+H` with ReLU",
      samples=dict.fromkeys(_RNN, layer_samples(1)), macs=layer_macs)  # fmt: skip
def rnn(call: Call) -> Results:
    """torch.nn.RNN."""
    return recurrent_layer(call, [call["hx"]], plain_gate if "tanh" in call.target else _without_signs)


def _without_signs(hidden: Axis, solver: Solver) -> Axis:
    solver.sign_free(hidden)
    return hidden


_STEPS = ["aten.rnn_tanh_cell.default", "aten.rnn_relu_cell.default"]


@rule("RNN step", *_STEPS, statement="`b i, b H, H i, H H -> b H`; `+H` with ReLU",
      samples=dict.fromkeys(_STEPS, [Sample((normal(2, 3), normal(2, 4), *drawn_weights(1)), {},
          frozenset({2, 3, 4, 5}))]), macs=step_macs)  # fmt: skip
def rnn_cell(call: Call) -> Results:
    """torch.nn.RNNCell."""
    return recurrent_step(call, [call["hx"]], plain_gate if "tanh" in call.target else _without_signs)
