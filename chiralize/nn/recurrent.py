"""LSTM and GRU: the paper's pattern for every gate.

Calls, results and names are those of torch's layers. Which of the two ways to the same numbers is taken (steps in
blocks, or torch's kernel on dense weights) `gates` decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from chiralize.nn._product import linear
from chiralize.nn._steps import GRUSteps, LSTMSteps
from chiralize.nn.gates import Gates, Recurrent
from chiralize.symmetry.representation import Representation


class LSTM(Recurrent):
    """LSTM whose states carry `rep_hidden` (its output `rep_proj` where it projects).

    Sigmoid gates transform by |T|, the candidate by T. x: "batch frame channel" if batch_first, else "frame batch
    channel", "frame channel", or a PackedSequence, channels under rep_in.  Returns (output, (h, c)) as torch does;
    features of the output under `rep_out`.
    """

    kind = "LSTM"

    def __init__(
        self,
        rep_in: Representation,
        rep_hidden: Representation,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        rep_proj: Representation | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        factory = {"device": device, "dtype": dtype}
        super().__init__(rep_in, rep_hidden, num_layers, bias, batch_first, dropout, bidirectional, rep_proj, factory)

    def forward(self, x: Any, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Any, tuple[Tensor, Tensor]]:
        """(output, (h, c)) from an input and the states to start from, zeros by default."""
        settings = (self.bias, self.num_layers, self.dropout, self.training, self.bidirectional)
        if isinstance(x, PackedSequence):
            data, sizes, order, back = x
            # The samples of a packed sequence are sorted by length; states have to be in that order, and come back in
            # the caller's.
            state = self._states(data, int(sizes[0]), [_reordered(given, order) for given in hx or ()])
            y, h, c = torch.lstm(data, sizes, state, self._weights(), *settings)
            return PackedSequence(y, sizes, order, back), (_reordered(h, back), _reordered(c, back))
        x, state, has_no_batch = self._in_batches(x, hx or ())
        if self._takes_steps(x):
            y, (h, c) = self._by_steps(x, state)
        else:
            y, h, c = torch.lstm(x, state, self._weights(), *settings, self.batch_first)
        if has_no_batch:
            return y.squeeze(0 if self.batch_first else 1), (h.squeeze(1), c.squeeze(1))
        return y, (h, c)

    def _run(self, ih: Gates, hh: Gates, x: Tensor, start: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Both biases enter the gates before they are squashed, so one sum of them is added, to the even coordinates
        of x.
        """
        # Gates are sums: W x + b + U h + c needs b + c alone.
        if ih.bias_even is None or hh.bias_even is None:
            bias = None
        else:
            bias = ih.bias_even + hh.bias_even
        entering, blocks = ih.parts(x, -1, linear, bias), (hh.weight_even, hh.weight_odd, hh.into, hh.out)
        run, c = LSTMSteps.apply(*entering, *start, *blocks, torch.is_grad_enabled())  # type: ignore[misc]
        return run, run[-1], c

    def folded(self) -> nn.LSTM:
        """torch's layer with the dense weights."""
        sizes = self.rep_in.size, self.rep_hidden.size
        return self._folded_into(nn.LSTM(*sizes, proj_size=self.proj_size, **self._settings()))


class GRU(Recurrent):
    """GRU whose state carries `rep_hidden`: reset and update gates transform by |T|, the candidate by T.

    Inputs and outputs as `LSTM`, with the one state h.
    """

    kind = "GRU"

    def __init__(
        self,
        rep_in: Representation,
        rep_hidden: Representation,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        factory = {"device": device, "dtype": dtype}
        super().__init__(rep_in, rep_hidden, num_layers, bias, batch_first, dropout, bidirectional, None, factory)

    def forward(self, x: Any, hx: Tensor | None = None) -> tuple[Any, Tensor]:
        """(output, h) from an input and the state to start from, zeros by default."""
        settings = (self.bias, self.num_layers, self.dropout, self.training, self.bidirectional)
        if isinstance(x, PackedSequence):
            data, sizes, order, back = x
            (state,) = self._states(data, int(sizes[0]), [] if hx is None else [_reordered(hx, order)])
            y, h = torch.gru(data, sizes, state, self._weights(), *settings)
            return PackedSequence(y, sizes, order, back), _reordered(h, back)
        x, (state,), has_no_batch = self._in_batches(x, () if hx is None else (hx,))
        if self._takes_steps(x):
            y, (h,) = self._by_steps(x, [state])
        else:
            y, h = torch.gru(x, state, self._weights(), *settings, self.batch_first)
        if has_no_batch:
            return y.squeeze(0 if self.batch_first else 1), h.squeeze(1)
        return y, h

    def _run(self, ih: Gates, hh: Gates, x: Tensor, start: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The new gate multiplies what the state gives it by r, its bias included, so the two biases stay apart, and
        x is joined.
        """
        bias = hh.bias
        if bias is None:
            bias = x.new_zeros(hh.out.size)
        blocks = hh.weight_even, hh.weight_odd, hh.into, hh.out
        run = GRUSteps.apply(ih.map(x, -1, linear), *start, bias, *blocks, torch.is_grad_enabled())
        return run, run[-1]  # type: ignore[return-value, index]

    def folded(self) -> nn.GRU:
        """torch's layer with the dense weights."""
        return self._folded_into(nn.GRU(self.rep_in.size, self.rep_hidden.size, **self._settings()))


def _reordered(state: Tensor, order: Tensor | None) -> Tensor:
    """The samples of a state in the order of a packed sequence, or back in their own."""
    if order is None:
        return state
    return state.index_select(1, order)
