"""LSTM and GRU layers: ONNX has the gates of one layer in another order than torch, and the axes of its answer.

`reading` asks for the weights in torch's order (`weights_of`) once; the step then runs torch's own layer (`_layer`).
The rows of a weight are one block per gate.  Of an LSTM with 5 units they are, in blocks of 5:

    ONNX    i o f c     rows 0-4 input, 5-9 output, 10-14 forget, 15-19 cell
    torch   i f g o     so the blocks 0, 2, 3, 1 of ONNX

torch's `y` is "frame batch (direction unit)", that of ONNX "frame direction batch unit".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from chiralize.storage.onnx_reading.call import NodeCall, Operator

GATES = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2)}
"""Where torch's gates (i f g o; r z n) are among those of ONNX (i o f c; z r h)."""
_ACTIVATIONS = {"LSTM": ["sigmoid", "tanh", "tanh"], "GRU": ["sigmoid", "tanh"]}


def weights_of(call: NodeCall, w: Tensor, r: Tensor, b: Tensor | None) -> Mapping[str, Tensor]:
    """The weights under torch's names, for every direction. Raises CaptureError for a layer that torch does not have.

    In the order in which torch's function takes them: both weights, then both biases, of one direction after the other.

    w, r: "direction (gate unit) input".  b: "direction (both, gate unit)", None where there is none.
    """
    _check(call)
    gates = GATES[call.kind]
    weights: dict[str, Tensor] = {}
    for direction in range(w.shape[0]):
        suffix = "_reverse" if direction else ""
        weights[f"weight_ih_l0{suffix}"] = _ordered(w[direction], gates)
        weights[f"weight_hh_l0{suffix}"] = _ordered(r[direction], gates)
        if b is not None:
            of_input, of_state = b[direction].chunk(2)
            weights[f"bias_ih_l0{suffix}"] = _ordered(of_input, gates)
            weights[f"bias_hh_l0{suffix}"] = _ordered(of_state, gates)
    return weights


def _ordered(weight: Tensor, gates: Sequence[int]) -> Tensor:
    """The rows of every gate in torch's order."""
    parts = weight.chunk(len(gates))
    return torch.cat([parts[gate] for gate in gates])


def _check(call: NodeCall) -> None:
    """Raise CaptureError for what torch's layers cannot be set to."""
    count = 2 if call.get("direction", "forward") == "bidirectional" else 1
    activations = [name.lower() for name in call.get("activations") or _ACTIVATIONS[call.kind] * count]
    call.require(activations == _ACTIVATIONS[call.kind] * count, f"its activations are {', '.join(activations)}")
    call.require(call.get("clip") is None, "its gates are clipped")
    call.require(not call.get("input_forget", 0), "its input and forget gates are coupled")
    call.require(not call.get("layout", 0), "its batch comes first")
    if call.kind == "GRU":
        call.require(
            bool(call.get("linear_before_reset", 0)), "it resets before its product, which torch's GRU does not"
        )


def _check_sizes(call: NodeCall, x: Tensor, states: Sequence[Tensor], channels: int, zeros: Tensor) -> None:
    """Raise CaptureError where an input has other channels than the weights take, or a state other sizes than zeros.

    torch's kernels look at no size; they would read past the end. Exported, this ties the states' batch to the input's.
    """
    call.require(x.shape[-1] == channels, f"its input has {x.shape[-1]} channels, its weights take {channels}")
    for state in states:
        facts = f"a state has sizes {tuple(state.shape)}, its input asks for {tuple(zeros.shape)}"
        call.require(state.shape == zeros.shape, facts)


def _layer(call: NodeCall, values: Sequence[Any]) -> tuple[Tensor, ...]:
    """(Y, Y_h, Y_c). values: x "frame batch channel", the states or None, then the weights in torch's order.

    Raises CaptureError for an input or a state of other sizes.
    """
    x, *rest = values
    states = rest[: 1 + (call.kind == "LSTM")]  # h, and c of an LSTM
    weights = rest[len(states) :]
    direction = call.get("direction", "forward")
    count = 2 if direction == "bidirectional" else 1
    size = weights[1].shape[-1]
    zeros = x.new_zeros(count, x.shape[1], size)
    for position, state in enumerate(states):  # a state that is left out begins at zero
        states[position] = zeros if state is None else state
    _check_sizes(call, x, states, weights[0].shape[-1], zeros)
    # A layer that runs backwards alone is one on the reversed frames, whose answers are reversed again.
    if direction == "reverse":
        x = x.flip(0)
    has_bias = len(weights) > 2 * count
    # has_biases, num_layers, dropout, train, bidirectional, batch_first
    settings = (has_bias, 1, 0.0, False, count == 2, False)
    if call.kind == "LSTM":
        y, *last = torch.lstm(x, states, weights, *settings)
    else:
        y, *last = torch.gru(x, states[0], weights, *settings)
    if direction == "reverse":
        y = y.flip(0)
    y = y.unsqueeze(1) if count == 1 else y.unflatten(-1, (count, size)).permute(0, 2, 1, 3)
    return y, *last


OPERATORS: dict[str, Operator] = {"LSTM": _layer, "GRU": _layer}
