"""LSTM and GRU: the paper's pattern for every gate.

A gate that is squashed by the logistic function, which is not odd, must not change its sign: T moves its units and
negates none, |H|. The candidate goes through tanh and carries the signs of the state, H. So the rows of a weight
transform as |H| + |H| + H + |H| for an LSTM, and each weight is a `ChiralMap`.

Calls, results and names are those of torch's layers. A wide state runs by its blocks, frame by frame, with half the
multiplications, and so does a single frame, as a policy sees them; all else runs by torch's kernel on dense weights,
which are made once a call, never once a frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from chiralize.errors import RepresentationSizeError, UsageError
from chiralize.nn.maps import ChiralMap
from chiralize.nn.module import ChiralModule, prefixed
from chiralize.symmetry.representation import Representation, TensorRepresentation

WIDE = 1024
"""Hidden units from which the blocks' steps take less time than torch's kernel: an LSTM of 1,024 units takes 0.97 of it
forward and 0.66 in training with 16 samples, 0.5 and 0.74 with one (torch 2.13, AVX-512, one thread)."""
_GATES = {"LSTM": "||.|", "GRU": "||."}  # | for |H|, . for H
_SETTINGS = ("num_layers", "bias", "batch_first", "dropout", "bidirectional")


def gate_rows(kind: str, hidden: Representation) -> Representation:
    """How T acts on the rows of a weight: |H| + |H| + H + |H| for i, f, g, o; |H| + |H| + H for r, z, n."""
    actions = {"|": abs(hidden.action), ".": hidden.action}
    first, *others = (actions[gate] for gate in _GATES[kind])
    return Representation.of(first.direct_sum(*others))


class Gates(ChiralMap):
    """One weight of a recurrent layer with its bias; it has no forward of its own."""

    def __init__(
        self, rep_in: Representation, rows: Representation, units: int, bias: bool, factory: dict[str, Any]
    ) -> None:
        self.units = units
        super().__init__(rep_in, rows, (), bias, factory)

    def reset_parameters(self) -> None:
        """Draw weights with the variance of torch's U(-1/sqrt H, 1/sqrt H) for H hidden units."""
        super().reset_parameters()
        with torch.no_grad():
            for parameter in self.parameters():  # the base takes its bound from the inputs, 1/sqrt in
                parameter *= (self.rep_in.size / self.units) ** 0.5

    def of(self, x: Tensor) -> Tensor:
        """W x + b along the last axis."""
        return self.map(x, -1, F.linear)


class Recurrent(ChiralModule):
    """The base of LSTM and GRU: blocks for every layer and direction."""

    kind: str
    kernel: Any
    layer: Any

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
        **factory: Any,
    ) -> None:
        super().__init__()
        self.rep_in, self.rep_hidden, self.rep_proj = rep_in, rep_hidden, rep_proj
        self.input_size, self.hidden_size = rep_in.size, rep_hidden.size
        self.proj_size = 0 if rep_proj is None else rep_proj.size
        self.num_layers, self.bias, self.batch_first = num_layers, bias, batch_first
        self.dropout, self.bidirectional = dropout, bidirectional
        rows, state, entering = gate_rows(self.kind, rep_hidden), rep_proj or rep_hidden, rep_in
        self.suffixes: list[str] = []
        for layer in range(num_layers):
            for direction in ("", "_reverse")[: 1 + bidirectional]:
                suffix = f"l{layer}{direction}"
                self.suffixes.append(suffix)
                # As torch: W_ih reads the input of the layer, W_hh the state, W_hr projects h.
                self.add_module(f"ih_{suffix}", Gates(entering, rows, self.hidden_size, bias, factory))
                self.add_module(f"hh_{suffix}", Gates(state, rows, self.hidden_size, bias, factory))
                if rep_proj is not None:
                    self.add_module(f"hr_{suffix}", Gates(rep_hidden, rep_proj, self.hidden_size, False, factory))
            entering = self.rep_out

    @property
    def rep_out(self) -> Representation:
        """How T acts on the features of the output."""
        state = self.rep_proj or self.rep_hidden
        return state + state if self.bidirectional else state

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """Of h, and of the cell c of an LSTM."""
        return ((self.rep_proj or self.rep_hidden).size, self.hidden_size)[: 1 + (self.kind == "LSTM")]

    def run(self, x: Any, given: Sequence[Tensor]) -> tuple[Any, list[Tensor]]:
        """Output and last states, as torch's layer gives them. given: the states to start from, none for zeros.

        Raises UsageError and RepresentationSizeError for shapes that the layer does not take.
        """
        if isinstance(x, PackedSequence):
            data, sizes, order, back = x
            # The samples of a packed sequence are sorted by length, and the states come back in the caller's order.
            starts = self._starts(data, int(sizes[0]), [_reordered(state, order) for state in given])
            y, *ends = self._by_kernel(data, starts, sizes)
            return PackedSequence(y, sizes, order, back), [_reordered(state, back) for state in ends]
        if x.ndim not in (2, 3):
            facts = f"input {tuple(x.shape)}"
            raise UsageError(f"chiralize.nn.{self.kind}", facts, "give a tensor of 3 axes, or of 2 without a batch")
        has_batch, samples = x.ndim == 3, 0 if self.batch_first else 1
        if not has_batch:
            x, given = x.unsqueeze(samples), [state.unsqueeze(1) for state in given]
        starts = self._starts(x, x.shape[samples], given)
        y, *ends = self._by_steps(x, starts) if self._takes_steps(x) else self._by_kernel(x, starts)
        return (y, ends) if has_batch else (y.squeeze(samples), [state.squeeze(1) for state in ends])

    def _starts(self, x: Tensor, samples: int, given: Sequence[Tensor]) -> list[Tensor]:
        """The states to start from: those given, or zeros. Raises RepresentationSizeError for other shapes.

        torch's kernel looks at no size; it would read what is not in memory.
        """
        shapes = [(len(self.suffixes), samples, size) for size in self.state_sizes]
        given_shapes = [tuple(state.shape) for state in given]
        if x.shape[-1] != self.input_size or given_shapes not in ([], shapes):
            facts = f"input {tuple(x.shape)}, states {given_shapes}"
            remedy = f"give an input of {self.input_size} features, and states {shapes} or none"
            raise RepresentationSizeError(f"chiralize.nn.{self.kind}", facts, remedy)
        return list(given) or [x.new_zeros(shape) for shape in shapes]

    # ---- two ways to the same numbers ---------------------------------------------------------------------------
    def _by_kernel(self, x: Tensor, starts: list[Tensor], sizes: Tensor | None = None) -> tuple[Tensor, ...]:
        """By torch's kernel, with the dense weights. sizes: samples of every frame of a packed sequence."""
        states: Any = starts if self.kind == "LSTM" else starts[0]
        weights = list(self.dense().values())
        settings = (self.bias, self.num_layers, self.dropout, self.training, self.bidirectional)
        if sizes is not None:
            return self.kernel(x, sizes, states, weights, *settings)
        return self.kernel(x, states, weights, *settings, self.batch_first)

    def _takes_steps(self, x: Tensor) -> bool:
        """Whether x is run step by step by the blocks: on the CPU, where neither a compiler nor autocast looks on."""
        is_traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[reportPrivateImportUsage]
        if x.device.type != "cpu" or is_traced or torch.is_autocast_enabled("cpu"):
            return False
        # For a single frame, dense weights would take three times as long to make as to use.
        return self.hidden_size >= WIDE or x.shape[1 if self.batch_first else 0] == 1

    def _by_steps(self, x: Tensor, starts: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """By the blocks, frame by frame."""
        if self.batch_first:
            x = x.transpose(0, 1)
        ends: list[Sequence[Tensor]] = []
        for layer in range(self.num_layers):
            if layer and self.dropout:  # as torch: between layers, not before the first
                x = F.dropout(x, self.dropout, self.training)
            runs: list[Tensor] = []
            for backwards in range(1 + self.bidirectional):
                # Layers and directions come in one order in suffixes, states and ends: `ends` counts them.
                position = len(ends)
                start = [state[position] for state in starts]
                # The backward direction reads the frames from the last to the first; then they are put in order again.
                y, end = self._along(self.suffixes[position], x.flip(0) if backwards else x, start)
                runs.append(y.flip(0) if backwards else y)
                ends.append(end)
            x = torch.cat(runs, -1) if self.bidirectional else runs[0]
        return x.transpose(0, 1) if self.batch_first else x, *map(torch.stack, zip(*ends, strict=True))

    def _along(self, suffix: str, x: Tensor, state: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        """One layer in one direction: h of all frames, "frame batch unit", and the last states."""
        parts = self._parts()
        hh, projection = parts[f"hh_{suffix}"], parts.get(f"hr_{suffix}")
        outputs: list[Tensor] = []
        # What the input adds to the gates is known for all frames beforehand.
        for from_input in parts[f"ih_{suffix}"].of(x):
            h, *cell = self.step(from_input, hh.of(state[0]), state)
            state = [h if projection is None else projection.of(h), *cell]
            outputs.append(state[0])
        return torch.stack(outputs), state

    def step(self, from_input: Tensor, from_state: Tensor, state: Sequence[Tensor]) -> list[Tensor]:
        """The next states, before h is projected. from_input, from_state: W x + b of all gates, "batch gate*unit"."""
        raise NotImplementedError

    # ---- dense weights ------------------------------------------------------------------------------------------
    def _parts(self) -> dict[str, Gates]:
        """The weights of all layers and directions, in torch's order: `ih_l0`, `hh_l0`, ..."""
        return {name: part for name, part in self.named_children() if isinstance(part, Gates)}

    def _names(self) -> Iterator[tuple[str, str, str]]:
        """(dense name, part, `weight` or `bias`) in torch's order: weight_ih, weight_hh, bias_ih, bias_hh, weight_hr"""
        kinds = [("ih", "weight"), ("hh", "weight")]
        if self.bias:
            kinds += [("ih", "bias"), ("hh", "bias")]
        if self.rep_proj is not None:
            kinds.append(("hr", "weight"))
        for suffix in self.suffixes:
            yield from ((f"{name}_{part}_{suffix}", f"{part}_{suffix}", name) for part, name in kinds)

    def dense(self) -> dict[str, Tensor]:
        """The dense weights and biases in torch's order."""
        weights = {name: part.dense() for name, part in self._parts().items()}
        return {dense: weights[part][name] for dense, part, name in self._names()}

    def dense_representations(self) -> Mapping[str, TensorRepresentation]:
        """How T acts on each of them."""
        reps = {name: part.dense_representations() for name, part in self._parts().items()}
        return {dense: reps[part][name] for dense, part, name in self._names()}

    def from_dense(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The blocks of every part, of torch's weights under their names."""
        parts = self._parts()
        blocks: dict[str, Tensor] = {}
        for dense, part, name in self._names():
            if dense in values:
                blocks |= prefixed(f"{part}.", parts[part].from_dense({name: values[dense]}))
        return blocks

    def folded(self) -> Any:
        """torch's layer with the dense weights."""
        settings = {name: getattr(self, name) for name in _SETTINGS}
        if self.rep_proj is not None:
            settings["proj_size"] = self.proj_size
        factory = next(iter(self._parts().values())).factory
        return self.folded_into(self.layer(self.input_size, self.hidden_size, **settings, **factory))


class LSTM(Recurrent):
    """LSTM whose states carry `rep_hidden` (its output `rep_proj` where it projects).

    Settings are those of torch's layer. Sigmoid gates transform by |T|, the candidate by T. x: "batch frame channel" if
    batch_first, else "frame batch channel", "frame channel", or a PackedSequence, channels under rep_in.  Returns
    (output, (h, c)) as torch does; features of the output under `rep_out`.
    """

    kind, kernel, layer = "LSTM", staticmethod(torch.lstm), nn.LSTM

    def forward(self, x: Any, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Any, tuple[Tensor, Tensor]]:
        """(output, (h, c)) from an input and the states to start from, zeros by default."""
        y, (h, c) = self.run(x, hx or ())
        return y, (h, c)

    def step(self, from_input: Tensor, from_state: Tensor, state: Sequence[Tensor]) -> list[Tensor]:
        """c' = f c + i g and h' = o tanh(c') with i, f, o squashed by the logistic function and g by tanh."""
        i, f, g, o = (from_input + from_state).chunk(4, -1)
        c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
        return [o.sigmoid() * c.tanh(), c]


class GRU(Recurrent):
    """GRU whose state carries `rep_hidden`: reset and update gates transform by |T|, the candidate by T.

    Settings, inputs and outputs as of `LSTM`, with the one state h and without `rep_proj`.
    """

    kind, kernel, layer = "GRU", staticmethod(torch.gru), nn.GRU

    def __init__(self, rep_in: Representation, rep_hidden: Representation, *settings: Any, **named: Any) -> None:
        super().__init__(rep_in, rep_hidden, *settings, **named)
        if self.rep_proj is not None:
            raise UsageError("chiralize.nn.GRU", "a GRU has no projection", "leave rep_proj out")

    def forward(self, x: Any, hx: Tensor | None = None) -> tuple[Any, Tensor]:
        """(output, h) from an input and the state to start from, zeros by default."""
        y, (h,) = self.run(x, () if hx is None else (hx,))
        return y, h

    def step(self, from_input: Tensor, from_state: Tensor, state: Sequence[Tensor]) -> list[Tensor]:
        """h' = (1 - z) n + z h with n = tanh(n_x + r n_h): r multiplies what the state gives, its bias included."""
        (r, z, n), (r_h, z_h, n_h) = from_input.chunk(3, -1), from_state.chunk(3, -1)
        candidate = torch.tanh(n + (r + r_h).sigmoid() * n_h)
        return [torch.lerp(candidate, state[0], (z + z_h).sigmoid())]


def _reordered(state: Tensor, order: Tensor | None) -> Tensor:
    """The samples of a state in the order of a packed sequence, or back in their own."""
    return state if order is None else state.index_select(1, order)
