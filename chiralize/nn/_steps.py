"""The recurrence of LSTM and GRU in even and odd blocks, step by step, with its backward pass.

States are "batch side pair": side 0 holds the units u, side 1 their mirror images v, which T exchanges. A step takes
even and odd coordinates s (u + v) and s (u - v) of the state (s: the butterfly's scale), multiplies each by its block,
and joins the gates of both sides again:

    e = x_even + s (u + v) E^T        gates of u: e + o
    o = x_odd  + s (u - v) O^T        gates of v: e - o

What the input adds is known for all frames beforehand; the gradients of E and O are one product over all frames.
T leaves e as it is and negates o, bit for bit, so that the states of the mirrored input are the mirrored states.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_sigmoid_backward, _tanh_backward = torch.ops.aten.sigmoid_backward.default, torch.ops.aten.tanh_backward.default


class LSTMSteps(torch.autograd.Function):
    """(x_even, x_odd, h, c, E, O, s, keep) to the states h of all frames, the last c, and what the gradient needs.

    x_even, x_odd: "frame batch gate*pair", gates i, f, g, o.  h, c: "batch side pair".  E, O: "gate*pair pair".
    keep: whether gates and cells of all frames are kept, for a gradient.  Returns "frame batch side pair", then
    "batch side pair".
    """

    @staticmethod
    def forward(
        x_even: Tensor, x_odd: Tensor, h: Tensor, c: Tensor, even: Tensor, odd: Tensor, scale: float, keep: bool
    ) -> tuple[Tensor, ...]:
        frames, batch, rows = x_even.shape
        n, kept = rows // 4, frames if keep else 1
        gates, cells = x_even.new_empty(kept, batch, 2, rows), c.new_empty(kept, batch, 2, n)
        states = h.new_empty(frames, batch, 2, n)
        for t in range(frames):
            own = _joined(x_even[t], x_odd[t], h, even, odd, scale, gates[t % kept])
            own[..., : 2 * n].sigmoid_()
            own[..., 2 * n : 3 * n].tanh_()
            own[..., 3 * n :].sigmoid_()
            i, f, g, o = own.chunk(4, -1)
            c = torch.mul(f, c, out=cells[t % kept]).addcmul_(i, g)
            h = torch.mul(o, c.tanh(), out=states[t])
        return states, c.clone(), cells, gates

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        _, _, h, c, even, odd, ctx.scale, _ = inputs
        states, _, cells, gates = output
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(cells, gates)
        ctx.save_for_backward(h, c, even, odd, states, cells, gates)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor | None) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        d_states, d_last, *_ = grad_outputs
        h, c, even, odd, states, cells, gates = ctx.saved_tensors
        n = h.shape[-1]
        d_even, d_odd = (gates.new_empty(*gates.shape[:2], 4 * n) for _ in range(2))
        d_gates, d_h = torch.empty_like(gates[0]), torch.zeros_like(h)
        d_c = torch.zeros_like(c) if d_last is None else d_last
        for t in reversed(range(len(states))):
            i, f, g, o = gates[t].chunk(4, -1)
            d_i, d_f, d_g, d_o = d_gates.chunk(4, -1)
            before, squashed = cells[t - 1] if t else c, cells[t].tanh()
            d_h = d_h if d_states is None else d_h + d_states[t]
            d_c = d_c + _tanh_backward(d_h * o, squashed)
            d_i.copy_(_sigmoid_backward(d_c * g, i))
            d_f.copy_(_sigmoid_backward(d_c * before, f))
            d_g.copy_(_tanh_backward(d_c * i, g))
            d_o.copy_(_sigmoid_backward(d_h * squashed, o))
            d_h, d_c = _apart(d_gates, even, odd, ctx.scale, d_even[t], d_odd[t]), d_c * f
        return d_even, d_odd, d_h, d_c, *_of_weights(h, states, d_even, d_odd, ctx.scale), None, None


class GRUSteps(torch.autograd.Function):
    """(x_even, x_odd, h, E, O, b, s, keep) to the states h of all frames, and what the gradient needs.

    Gates r, z, n.  b: "gate*pair", the even gates' bias beside the state.  All else as for `LSTMSteps`.
    """

    @staticmethod
    def forward(
        x_even: Tensor, x_odd: Tensor, h: Tensor, even: Tensor, odd: Tensor, bias: Tensor, scale: float, keep: bool
    ) -> tuple[Tensor, ...]:
        frames, batch, rows = x_even.shape
        n, kept = rows // 3, frames if keep else 1
        gates, candidates = x_even.new_empty(kept, batch, 2, rows), h.new_empty(kept, batch, 2, n)
        states, entering, nothing = h.new_empty(frames, batch, 2, n), torch.empty_like(gates[0]), x_even.new_zeros(())
        for t in range(frames):
            own, candidate = _joined(bias, nothing, h, even, odd, scale, gates[t % kept]), candidates[t % kept]
            torch.add(x_even[t], x_odd[t], out=entering[:, 0])
            torch.sub(x_even[t], x_odd[t], out=entering[:, 1])
            r, z, new = own.chunk(3, -1)
            candidate.copy_(new)
            own[..., : 2 * n].add_(entering[..., : 2 * n]).sigmoid_()
            torch.addcmul(entering[..., 2 * n :], r, candidate, out=new).tanh_()
            h = torch.lerp(new, h, z, out=states[t])
        return states, candidates, gates

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        _, _, h, even, odd, _, ctx.scale, _ = inputs
        states, candidates, gates = output
        ctx.mark_non_differentiable(candidates, gates)
        ctx.save_for_backward(h, even, odd, states, candidates, gates)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        d_states, *_ = grad_outputs
        h, even, odd, states, candidates, gates = ctx.saved_tensors
        n = h.shape[-1]
        d_even, d_odd, x_even, x_odd = (gates.new_empty(*gates.shape[:2], 3 * n) for _ in range(4))
        d_gates, d_h = torch.empty_like(gates[0]), torch.zeros_like(h)
        for t in reversed(range(len(states))):
            r, z, new = gates[t].chunk(3, -1)
            d_r, d_z, d_candidate = d_gates.chunk(3, -1)
            before = states[t - 1] if t else h
            d_h = d_h + d_states[t]
            d_new = _tanh_backward(d_h * (1 - z), new)
            d_r.copy_(_sigmoid_backward(d_new * candidates[t], r))
            d_z.copy_(_sigmoid_backward(d_h * (before - new), z))
            torch.mul(d_new, r, out=d_candidate)
            d_h = d_h * z + _apart(d_gates, even, odd, ctx.scale, d_even[t], d_odd[t])
            torch.add(d_new[:, 0], d_new[:, 1], out=x_even[t, :, 2 * n :])
            torch.sub(d_new[:, 0], d_new[:, 1], out=x_odd[t, :, 2 * n :])
        x_even[..., : 2 * n], x_odd[..., : 2 * n] = d_even[..., : 2 * n], d_odd[..., : 2 * n]
        of_weights = _of_weights(h, states, d_even, d_odd, ctx.scale)
        return x_even, x_odd, d_h, *of_weights, d_even.sum((0, 1)), None, None


def _joined(x_even: Tensor, x_odd: Tensor, h: Tensor, even: Tensor, odd: Tensor, scale: float, gates: Tensor) -> Tensor:
    """The gates before their activations, "batch side gate*pair", written into `gates`."""
    u, v = h[:, 0], h[:, 1]
    e = torch.addmm(x_even, u + v, even.t(), alpha=scale)
    o = torch.addmm(x_odd, u - v, odd.t(), alpha=scale)
    torch.add(e, o, out=gates[:, 0])
    torch.sub(e, o, out=gates[:, 1])
    return gates


def _apart(d_gates: Tensor, even: Tensor, odd: Tensor, scale: float, d_even: Tensor, d_odd: Tensor) -> Tensor:
    """The gradient of h from that of the joined gates; writes those of the even and odd gates."""
    torch.add(d_gates[:, 0], d_gates[:, 1], out=d_even)
    torch.sub(d_gates[:, 0], d_gates[:, 1], out=d_odd)
    e, o = d_even @ even, d_odd @ odd
    return torch.stack([e + o, e - o], 1).mul_(scale)


def _of_weights(h: Tensor, states: Tensor, d_even: Tensor, d_odd: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """The gradients of E and O."""
    before = torch.cat([h[None], states[:-1]])
    u, v = before[:, :, 0], before[:, :, 1]
    e, o = (u + v).mul_(scale).flatten(0, 1), (u - v).mul_(scale).flatten(0, 1)
    return d_even.flatten(0, 1).t() @ e, d_odd.flatten(0, 1).t() @ o
