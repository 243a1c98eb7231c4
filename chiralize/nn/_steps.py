"""The recurrence of LSTM and GRU in even and odd blocks, step by step, with its backward pass.

A step takes the state h apart into even and odd coordinates, S h = (h_even, h_odd), multiplies each by its block, and
joins the gates again by the butterfly of the weight's rows, J = S^-1:

    gates = J (h_even E^T + x_even, h_odd O^T + x_odd)

What the input adds, x, is known for all frames beforehand (a GRU's is joined already: its new gate reads x and h
apart); the gradients of E and O are one product over all frames.
Both butterflies are sqrt 2 from orthonormal, so that S^T = J / 2 and J^T = 2 S.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from chiralize.nn._product import Product, of_weight
from chiralize.nn.butterfly import Butterfly

_sigmoid_backward, _tanh_backward = torch.ops.aten.sigmoid_backward.default, torch.ops.aten.tanh_backward.default


class LSTMSteps(torch.autograd.Function):
    """(X, Y, h, c, E, O, butterfly of the state, that of the rows, keep) to the states h of all frames and the last
    c.

    X, Y: even and odd coordinates of x, "frame batch gate*coordinate", gates i, f, g, o.  h, c: "batch unit".
    E, O: "gate*coordinate coordinate".  keep: whether there will be a backward pass.
    Returns "frame batch unit", "batch unit". With s the logistic function, a step computes

        i, f, o = s(gates),  g = tanh(gate)          c' = f c + i g,  h' = o tanh(c')
    """

    @staticmethod
    def forward(
        ctx: Any,
        x_even: Tensor,
        x_odd: Tensor,
        h: Tensor,
        c: Tensor,
        even: Tensor,
        odd: Tensor,
        state: Butterfly,
        rows: Butterfly,
        keep: bool,
    ) -> tuple[Tensor, Tensor]:
        """The states of all frames and the last c; all states, gates and cells are saved if `keep`."""
        n, states, gates, cells = h.shape[-1], [h], list[Tensor](), [c]
        by_even, by_odd = Product(even, len(h), len(x_even)), Product(odd, len(h), len(x_even))
        for from_even, from_odd in zip(x_even, x_odd, strict=True):
            h_even, h_odd = state.split(states[-1])
            # "batch gate*unit", all four gates in one tensor, squashed in place.
            gate = rows.join(by_even(h_even, from_even), by_odd(h_odd, from_odd))
            gate[:, : 2 * n].sigmoid_()
            gate[:, 2 * n : 3 * n].tanh_()
            gate[:, 3 * n :].sigmoid_()
            i, f, g, o = gate.chunk(4, -1)
            c = torch.addcmul(f * c, i, g)
            states.append(o * c.tanh())
            if keep:
                gates.append(gate)
                cells.append(c)
        if keep:
            ctx.save_for_backward(even, odd, *states[:-1], *gates, *cells)
            ctx.state, ctx.rows = state, rows
            ctx.set_materialize_grads(False)
        return torch.stack(states[1:]), c

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor | None) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        """Gradients of X, Y, h, c, E and O, from the last frame to the first."""
        d_states, d_last = grad_outputs
        even, odd, *saved = ctx.saved_tensors
        # Saved: a state and gates for each frame, and one cell more, that before the first.
        frames = (len(saved) - 1) // 3
        states, gates, cells = saved[:frames], saved[frames : 2 * frames], saved[2 * frames :]
        # d_h, d_c: gradients of what the frame hands on. d_gates and its four parts are written anew each frame.
        d_h, d_c = torch.zeros_like(states[0]), torch.zeros_like(cells[0]) if d_last is None else d_last
        d_gates = torch.empty_like(gates[0])
        d_i, d_f, d_g, d_o = d_gates.chunk(4, -1)
        steps = _Backward(even, odd, ctx.state, ctx.rows, len(d_h), frames)
        for t in reversed(range(frames)):
            i, f, g, o = gates[t].chunk(4, -1)
            squashed = cells[t + 1].tanh()
            # A state is an answer of its frame and goes into the next one.
            if d_states is not None:
                d_h = d_h + d_states[t]
            # h = o tanh(c)
            d_c = d_c + _tanh_backward(d_h * o, squashed)
            # c' = f c + i g; the squashed values are all that the derivatives of tanh and the logistic function need.
            d_i.copy_(_sigmoid_backward(d_c * g, i))
            d_f.copy_(_sigmoid_backward(d_c * cells[t], f))
            d_g.copy_(_tanh_backward(d_c * i, g))
            d_o.copy_(_sigmoid_backward(d_h * squashed, o))
            d_h, d_c = steps.through(t, d_gates), d_c * f
        d_even, d_odd = steps.of_coordinates
        d_x = d_even.unflatten(0, (frames, -1)), d_odd.unflatten(0, (frames, -1))
        return *d_x, d_h, d_c, *steps.of_weights(states), None, None, None


class GRUSteps(torch.autograd.Function):
    """(x, h, b, E, O, butterfly of the state, that of the rows, keep) to the states h of all frames; gates r, z, n.

    x: "frame batch gate*unit", joined already.  b: "gate*unit", the bias beside the state.  All else as for
    `LSTMSteps`. With s the logistic function and q the part of the state in the new gate, a step computes

        r, z = s(gates),  n = tanh(x_n + r q)          h' = (1 - z) n + z h
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        h: Tensor,
        bias: Tensor,
        even: Tensor,
        odd: Tensor,
        state: Butterfly,
        rows: Butterfly,
        keep: bool,
    ) -> Tensor:
        """The states of all frames; all states, gates and candidates are saved if `keep`."""
        n, states, gates, candidates = h.shape[-1], [h], list[Tensor](), list[Tensor]()
        by_even, by_odd = Product(even, len(h), len(x)), Product(odd, len(h), len(x))
        for entering in x:
            h_even, h_odd = state.split(states[-1])
            gate = rows.join(by_even(h_even), by_odd(h_odd)).add_(bias)
            candidate = gate[:, 2 * n :].clone() if keep else gate[:, 2 * n :]  # of the state alone, before r
            gate[:, : 2 * n].add_(entering[:, : 2 * n]).sigmoid_()
            r, z, new = gate.chunk(3, -1)
            # `new` is a view of the gates: the candidate's place is overwritten, hence the copy above.
            torch.addcmul(entering[:, 2 * n :], r, candidate, out=new).tanh_()
            states.append(torch.lerp(new, states[-1], z))
            if keep:
                gates.append(gate)
                candidates.append(candidate)
        if keep:
            ctx.save_for_backward(even, odd, *states[:-1], *gates, *candidates)
            ctx.state, ctx.rows = state, rows
        return torch.stack(states[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        """Gradients of x, h, b, E and O, from the last frame to the first."""
        (d_states,) = grad_outputs
        even, odd, *saved = ctx.saved_tensors
        frames, n = len(saved) // 3, saved[0].shape[-1]
        states, gates, candidates = saved[:frames], saved[frames : 2 * frames], saved[2 * frames :]
        d_h, d_x = torch.zeros_like(states[0]), states[0].new_empty(frames, *gates[0].shape)
        d_bias, steps = torch.zeros_like(gates[0]), _Backward(even, odd, ctx.state, ctx.rows, len(d_h), frames)
        for t in reversed(range(frames)):
            r, z, new = gates[t].chunk(3, -1)
            d_r, d_z, d_new = d_x[t].chunk(3, -1)
            d_h = d_h + d_states[t]
            d_new.copy_(_tanh_backward(d_h * (1 - z), new))
            d_r.copy_(_sigmoid_backward(d_new * candidates[t], r))
            d_z.copy_(_sigmoid_backward(d_h * (states[t] - new), z))
            # The state enters the new gate through r, the input does not: there the two gradients differ.
            d_gates = torch.cat([d_x[t, :, : 2 * n], d_new * r], -1)
            d_h, d_bias = d_h * z + steps.through(t, d_gates), d_bias + d_gates
        return d_x, d_h, d_bias.sum(0), *steps.of_weights(states), None, None, None


class _Backward:
    """From the gates' gradients to that of the state before, frame by frame, and to those of the blocks.

    gates = J (E (S h)_even, O (S h)_odd) backwards: J^T = 2 S, then the transposed blocks, then S^T = J / 2.
    """

    def __init__(self, even: Tensor, odd: Tensor, state: Butterfly, rows: Butterfly, batch: int, frames: int) -> None:
        self.by_even, self.by_odd = Product(even.t(), batch, frames), Product(odd.t(), batch, frames)
        self.state, self.rows = state, rows
        self.coordinates: list[tuple[Tensor, Tensor] | None] = [None] * frames

    def through(self, frame: int, d_gates: Tensor) -> Tensor:
        """The gradient of the state that the frame starts with."""
        d_even, d_odd = self.rows.split(d_gates)
        self.coordinates[frame] = d_even.mul_(2), d_odd.mul_(2)
        return self.state.join(self.by_even(d_even), self.by_odd(d_odd)).mul_(0.5)

    @cached_property
    def of_coordinates(self) -> tuple[Tensor, Tensor]:
        """The gradients of the gates' coordinates, "frame*batch gate*coordinate"."""
        even, odd = zip(*filter(None, self.coordinates), strict=True)
        return torch.cat(even), torch.cat(odd)

    def of_weights(self, states: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The gradients of E and O. states: before every frame."""
        d_even, d_odd = self.of_coordinates
        h_even, h_odd = self.state.split(torch.cat(list(states)))
        return of_weight(d_even, h_even), of_weight(d_odd, h_odd)
