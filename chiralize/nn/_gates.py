"""The weights of recurrent layers as blocks, and the dense ones made from them once a call."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from chiralize.errors import RepresentationSizeError, UsageError
from chiralize.nn._maps import ChiralMap
from chiralize.nn._module import ChiralModule
from chiralize.representation import Representation, TensorRepresentation

Kind = str
_GATES = {"LSTM": "||.|", "GRU": "||."}  # | for |H|, . for H


def gate_rows(kind: Kind, hidden: Representation) -> Representation:
    """How T acts on the rows of a weight: |H| + |H| + H + |H| for i, f, g, o; |H| + |H| + H for r, z, n."""
    parts = [abs(hidden) if gate == "|" else hidden for gate in _GATES[kind]]
    return Representation.of(parts[0].action.direct_sum(*(part.action for part in parts[1:])))


class Gates(ChiralMap):
    """One weight of a recurrent layer with its bias; it has no forward of its own."""

    def __init__(self, rep_in: Representation, rows: Representation, hidden: int, bias: bool, factory: dict[str, Any]):
        self.hidden = hidden
        super().__init__(rep_in, rows, (), bias, factory)

    def reset_parameters(self) -> None:
        """U(-1/sqrt H, 1/sqrt H) as torch draws it, in variance."""
        super().reset_parameters()
        with torch.no_grad():
            ratio = (self.rep_in.size / self.hidden) ** 0.5
            for parameter in self.parameters():
                parameter *= ratio


class Recurrent(ChiralModule):
    """What LSTM and GRU have in common: blocks for every layer and direction, one fused kernel on dense weights.

    The dense weights are made once a call, never once a step. Without gradients, on the CPU, they are kept beside a
    copy of the blocks, and made again where a block is no longer that copy, whatever has written to it.
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
        for layer in range(num_layers):
            entering = rep_in if layer == 0 else state + state if bidirectional else state
            for direction in ("", "_reverse")[: 1 + bidirectional]:
                suffix = f"l{layer}{direction}"
                self.suffixes.append(suffix)
                self.add_module(f"ih_{suffix}", Gates(entering, rows, size, bias, factory))
                self.add_module(f"hh_{suffix}", Gates(state, rows, size, bias, factory))
                if rep_proj is not None:
                    self.add_module(f"hr_{suffix}", Gates(rep_hidden, rep_proj, size, False, factory))
        self._kept: tuple[list[Tensor], list[Tensor]] | None = None

    @property
    def rep_out(self) -> Representation:
        """How T acts on the features of the output."""
        state = self.rep_proj or self.rep_hidden
        return state + state if self.bidirectional else state

    def _weights(self) -> list[Tensor]:
        """The dense weights in the order of the fused kernel."""
        if torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:
            return list(self.dense().values())
        own, kept = list(self.parameters()), self._kept
        if torch.is_grad_enabled() or own[0].device.type != "cpu":  # to look at them would wait for another device
            self._kept = None
            return list(self.dense().values())
        if kept is None or not _equal(kept[0], own):
            kept = self._kept = [block.detach().clone() for block in own], list(self.dense().values())
        return kept[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}

    # ---- dense weights ------------------------------------------------------------------------------------------
    def _parts(self) -> dict[str, Gates]:
        return {name: part for name, part in self.named_children() if isinstance(part, Gates)}

    def _names(self) -> list[tuple[str, str, str]]:
        """(dense name, part, `weight` or `bias`) in torch's order."""
        parts = self._parts()
        kinds = [(own, name) for name in ("weight", "bias") for own in ("ih", "hh")]
        kinds = [pair for pair in kinds if self.bias or pair[1] == "weight"] + [("hr", "weight")]
        return [
            (f"{name}_{own}_{suffix}", f"{own}_{suffix}", name)
            for suffix in self.suffixes
            for own, name in kinds
            if f"{own}_{suffix}" in parts
        ]

    def dense(self) -> dict[str, Tensor]:
        made = {name: part.dense() for name, part in self._parts().items()}
        return {dense: made[part][name] for dense, part, name in self._names()}

    def dense_representations(self) -> Mapping[str, TensorRepresentation]:
        reps = {name: part.dense_representations() for name, part in self._parts().items()}
        return {dense: reps[part][name] for dense, part, name in self._names()}

    def _from_dense(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        parts, found = self._parts(), {}
        for dense, part, name in self._names():
            if dense in values:
                own = parts[part]._from_dense({name: values[dense]})
                found |= {f"{part}.{key}": value for key, value in own.items()}
        return found

    def _settings(self) -> dict[str, Any]:
        own = next(self.parameters())
        return {
            "num_layers": self.num_layers, "bias": self.bias, "batch_first": self.batch_first, "dropout": self.dropout,
            "bidirectional": self.bidirectional, "device": own.device, "dtype": own.dtype,
        }  # fmt: skip

    def _states(self, x: Tensor, batch: int, given: Sequence[Tensor]) -> list[Tensor]:
        """The states to start from: those given, or zeros. Raises RepresentationSizeError for other shapes.

        The fused kernel looks at no size; it would read what is not there.
        """
        shapes = [(len(self.suffixes), batch, size) for size in self.sizes[1 : 2 + (self.kind == "LSTM")]]
        if x.shape[-1] != self.sizes[0] or [tuple(own.shape) for own in given] not in ([], shapes):
            facts = f"input {tuple(x.shape)}, states {[tuple(own.shape) for own in given]}"
            remedy = f"give an input of {self.sizes[0]} features, and states {shapes} or none"
            raise RepresentationSizeError(f"chiralize.nn.{self.kind}", facts, remedy)
        return list(given) or [x.new_zeros(shape) for shape in shapes]

    def _in_batches(self, x: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, list[Tensor], bool]:
        """An input without a batch as a batch of one; whether it had none."""
        if x.ndim not in (2, 3):
            facts = f"input {tuple(x.shape)}"
            raise UsageError(f"chiralize.nn.{self.kind}", facts, "give a tensor of 3 axes, or of 2 without a batch")
        alone, first = x.ndim == 2, 0 if self.batch_first else 1
        if alone:
            x, states = x.unsqueeze(first), [own.unsqueeze(1) for own in states]
        return x, self._states(x, x.shape[first], states), alone


def _equal(kept: Sequence[Tensor], own: Sequence[Tensor]) -> bool:
    return len(kept) == len(own) and all(
        before.dtype == now.dtype and before.shape == now.shape and _same_numbers(before, now)
        for before, now in zip(kept, own, strict=True)
    )


def _same_numbers(before: Tensor, now: Tensor) -> bool:
    """Bit for bit where the memory can be compared as it lies, which takes a fifth of the time."""
    if type(now) not in (Tensor, nn.Parameter) or not (before.is_contiguous() and now.is_contiguous()):
        return torch.equal(before, now)
    return bool((_words(before) == _words(now)).all())


def _words(tensor: Tensor) -> npt.NDArray[Any]:
    """The memory of a tensor; `Tensor.numpy` would keep the storage from ever being resized, as FSDP does."""
    size = tensor.numel() * tensor.element_size()
    memory: Any = (ctypes.c_char * size).from_address(tensor.data_ptr())
    return np.frombuffer(memory, np.int64 if size % 8 == 0 else np.uint8)
