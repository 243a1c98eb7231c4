"""The weights of recurrent layers as blocks, run step by step, or as dense ones that are made once a call.

A gate that is squashed by the logistic function, which is not odd, must not change its sign: T moves its units and
negates none, |H|. The candidate goes through tanh and carries the signs of the state, H. So the rows of a weight
transform as |H| + |H| + H + |H| for an LSTM, and each weight is a `ChiralMap`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from chiralize.errors import RepresentationSizeError, UsageError
from chiralize.nn._eager import Kept, is_eager, is_traced
from chiralize.nn._module import ChiralModule, prefixed
from chiralize.nn.maps import ChiralMap
from chiralize.symmetry.representation import Representation, TensorRepresentation

Kind = str
WIDE, WIDE_GATHERED = 512, 1024
"""Hidden units from which the blocks' own steps are faster than the fused kernel with twice the multiplications: of
plain pairs in halves, and of spaces whose entries have to be gathered."""
WIDE_FOR_ANY, MANY = 768, 32
"""Hidden units from which these steps are faster for every batch, and samples from which they are with fewer units.
Below both only in training: without gradients the kernel's dense weights are kept."""
_GATES = {"LSTM": "||.|", "GRU": "||."}  # | for |H|, . for H
_SETTINGS = ("num_layers", "bias", "batch_first", "dropout", "bidirectional")


def gate_rows(kind: Kind, hidden: Representation) -> Representation:
    """How T acts on the rows of a weight: |H| + |H| + H + |H| for i, f, g, o; |H| + |H| + H for r, z, n."""
    actions = {"|": abs(hidden.action), ".": hidden.action}
    # Rows of all gates, one behind the other: the direct sum of how T acts on each.
    first, *others = (actions[gate] for gate in _GATES[kind])
    return Representation.of(first.direct_sum(*others))


class Gates(ChiralMap):
    """One weight of a recurrent layer with its bias; it has no forward of its own."""

    def __init__(self, rep_in: Representation, rows: Representation, hidden: int, bias: bool, factory: dict[str, Any]):
        self.hidden = hidden
        super().__init__(rep_in, rows, (), bias, factory)

    def reset_parameters(self) -> None:
        """Draw weights with the variance of torch's U(-1/sqrt H, 1/sqrt H).

        The base takes its bound from the inputs, as a linear layer does; recurrent layers take it from the hidden
        units.
        """
        super().reset_parameters()
        with torch.no_grad():
            # From 1/sqrt in to 1/sqrt H.
            ratio = (self.rep_in.size / self.hidden) ** 0.5
            for parameter in self.parameters():
                parameter *= ratio


class Recurrent(ChiralModule):
    """The base of LSTM and GRU: blocks for every layer and direction.

    A wide state runs by its blocks, step by step, on the CPU. All else runs by torch's fused kernel on
    dense weights, which are made once a call, never once a step, and kept where they can be.
    """

    kind: Kind

    def __init__(
        self,
        rep_in: Representation,
        rep_hidden: Representation,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        rep_proj: Representation | None,
        factory: dict[str, Any],
    ) -> None:
        super().__init__()
        self.rep_in, self.rep_hidden, self.rep_proj = rep_in, rep_hidden, rep_proj
        self.input_size, self.hidden_size = rep_in.size, rep_hidden.size
        self.proj_size = rep_proj.size if rep_proj is not None else 0
        self.num_layers, self.bias, self.batch_first = num_layers, bias, batch_first
        self.dropout, self.bidirectional = dropout, bidirectional
        rows, state = gate_rows(self.kind, rep_hidden), rep_proj or rep_hidden
        size = rep_hidden.size
        self.sizes = rep_in.size, state.size, size  # of the input, of h, of c
        self.suffixes: list[str] = []
        entering = rep_in
        for layer in range(num_layers):
            for direction in ("", "_reverse")[: 1 + bidirectional]:
                suffix = f"l{layer}{direction}"
                self.suffixes.append(suffix)
                # As torch: W_ih reads the input of the layer, W_hh the state, W_hr projects h where there is a
                # projection.
                self.add_module(f"ih_{suffix}", Gates(entering, rows, size, bias, factory))
                self.add_module(f"hh_{suffix}", Gates(state, rows, size, bias, factory))
                if rep_proj is not None:
                    self.add_module(f"hr_{suffix}", Gates(rep_hidden, rep_proj, size, False, factory))
            entering = self.rep_out
        self._kept = Kept()

    @property
    def rep_out(self) -> Representation:
        """How T acts on the features of the output."""
        state = self.rep_proj or self.rep_hidden
        if self.bidirectional:
            return state + state
        return state

    @property
    def stepwise(self) -> bool:
        """Whether the blocks can run step by step on the CPU, with half the multiplications of the fused kernel."""
        if self.rep_proj is not None or self.hidden_size < WIDE:
            return False
        first: Gates = getattr(self, f"hh_{self.suffixes[0]}")
        # A gather in every step costs more than views, so spaces that need one have to be wider.
        return first.into.in_halves or self.hidden_size >= WIDE_GATHERED

    def _takes_steps(self, x: Tensor) -> bool:
        """Whether x is run step by step by the blocks, and not by the fused kernel on dense weights."""
        if not (self.stepwise and is_eager(x) and x.dtype == next(self.parameters()).dtype):
            return False
        batch = x.shape[0 if self.batch_first else 1]
        return self.hidden_size >= WIDE_FOR_ANY or batch >= MANY or torch.is_grad_enabled()

    def _by_steps(self, x: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Output and last states, as the fused kernel gives them."""
        parts, ends = self._parts(), []
        if self.batch_first:
            x = x.transpose(0, 1)
        for layer in range(self.num_layers):
            # As torch: dropout between layers, not before the first.
            if layer and self.dropout:
                x = F.dropout(x, self.dropout, self.training)
            runs = []
            for backwards in range(1 + self.bidirectional):
                # Layers and directions come in one order in suffixes, states and ends: `ends` counts them.
                suffix = self.suffixes[len(ends)]
                start = [state[len(ends)] for state in states]
                entering = x.flip(0) if backwards else x
                # The backward direction reads the frames from the last to the first, and its states are put in order
                # again.
                run, *end = self._run(parts[f"ih_{suffix}"], parts[f"hh_{suffix}"], entering, start)
                runs.append(run.flip(0) if backwards else run)
                ends.append(end)
            x = torch.cat(runs, -1) if self.bidirectional else runs[0]
        return x.transpose(0, 1) if self.batch_first else x, list(map(torch.stack, zip(*ends, strict=True)))

    def _run(self, ih: Gates, hh: Gates, x: Tensor, start: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """One layer in one direction: the states of all frames, "frame batch unit", and the last ones."""
        raise NotImplementedError

    def _weights(self) -> list[Tensor]:
        """The dense weights in the order of the fused kernel."""
        # Weights that are kept would become constants of what is compiled or traced.
        if torch.compiler.is_compiling() or is_traced():
            return list(self.dense().values())
        # All that the dense weights are made of, in one order: by these the kept ones are found out of date.
        blocks: list[Tensor] = []
        for part in self._parts().values():
            blocks += [part.weight_even, part.weight_odd]
            if part.bias_even is not None:
                blocks.append(part.bias_even)
        return self._kept(blocks, lambda: list(self.dense().values()))

    # ---- dense weights ------------------------------------------------------------------------------------------
    def _parts(self) -> dict[str, Gates]:
        """The weights of all layers and directions, in torch's order: `ih_l0`, `hh_l0`, ..."""
        return {name: part for name, part in self.named_children() if isinstance(part, Gates)}

    def _names(self) -> list[tuple[str, str, str]]:
        """(dense name, part, `weight` or `bias`) in torch's order."""
        kinds = [("ih", "weight"), ("hh", "weight")]
        if self.bias:
            kinds += [("ih", "bias"), ("hh", "bias")]
        if self.rep_proj is not None:
            kinds.append(("hr", "weight"))
        names: list[tuple[str, str, str]] = []
        for suffix in self.suffixes:
            names += [(f"{name}_{part}_{suffix}", f"{part}_{suffix}", name) for part, name in kinds]
        return names

    def dense(self) -> dict[str, Tensor]:
        """The dense weights and biases in torch's order."""
        weights = {name: part.dense() for name, part in self._parts().items()}
        return {dense: weights[part][name] for dense, part, name in self._names()}

    def dense_representations(self) -> Mapping[str, TensorRepresentation]:
        """How T acts on each of them."""
        reps = {name: part.dense_representations() for name, part in self._parts().items()}
        return {dense: reps[part][name] for dense, part, name in self._names()}

    def _from_dense(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The blocks of every part, of torch's weights under their names."""
        parts = self._parts()
        blocks: dict[str, Tensor] = {}
        for dense, part, name in self._names():
            if dense in values:
                blocks |= prefixed(f"{part}.", parts[part]._from_dense({name: values[dense]}))
        return blocks

    def _settings(self) -> dict[str, Any]:
        """Settings of torch's layer, except the sizes."""
        like = next(self.parameters())
        settings = {name: getattr(self, name) for name in _SETTINGS}
        return {**settings, "device": like.device, "dtype": like.dtype}

    def _states(self, x: Tensor, batch: int, given: Sequence[Tensor]) -> list[Tensor]:
        """The states to start from: those given, or zeros. Raises RepresentationSizeError for other shapes.

        The fused kernel looks at no size; it would read what is not there.
        """
        shapes = [(len(self.suffixes), batch, size) for size in self.sizes[1 : 2 + (self.kind == "LSTM")]]
        given_shapes = [tuple(state.shape) for state in given]
        if x.shape[-1] != self.sizes[0] or given_shapes not in ([], shapes):
            facts = f"input {tuple(x.shape)}, states {given_shapes}"
            remedy = f"give an input of {self.sizes[0]} features, and states {shapes} or none"
            raise RepresentationSizeError(f"chiralize.nn.{self.kind}", facts, remedy)
        return list(given) or [x.new_zeros(shape) for shape in shapes]

    def _in_batches(self, x: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, list[Tensor], bool]:
        """An input without a batch as a batch of one; whether it had none."""
        if x.ndim not in (2, 3):
            facts = f"input {tuple(x.shape)}"
            raise UsageError(f"chiralize.nn.{self.kind}", facts, "give a tensor of 3 axes, or of 2 without a batch")
        has_no_batch, first = x.ndim == 2, 0 if self.batch_first else 1
        if has_no_batch:
            x, states = x.unsqueeze(first), [state.unsqueeze(1) for state in states]
        return x, self._states(x, x.shape[first], states), has_no_batch
