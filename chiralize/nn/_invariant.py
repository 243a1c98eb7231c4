"""Tensors that the mirror leaves alone, by one number per orbit: biases, norms, embeddings, learned adjacencies."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from chiralize.nn._module import ChiralModule
from chiralize.representation import Representation, TensorRepresentation


class InvariantSpace(nn.Module):
    """Coordinates of {W : T W = W}: the entry that comes first of every orbit. Holds no parameters.

    A pair of entries that T exchanges is one number, a fixed entry one, an entry that T negates none.
    """

    index: Tensor
    sign: Tensor
    first: Tensor

    def __init__(self, representation: TensorRepresentation) -> None:
        super().__init__()
        self.representation, self.shape = representation, representation.shape
        count = int(np.prod(self.shape, dtype=np.int64))
        here = np.arange(count)
        numbered = representation.act(here.reshape(self.shape).astype(np.float64) + 1).reshape(-1)
        partner, sign = (np.abs(numbered) - 1).astype(np.int64), np.sign(numbered)
        first = np.flatnonzero((here < partner) | ((here == partner) & (sign > 0)))
        place = np.zeros(count, np.int64)
        place[first] = place[partner[first]] = np.arange(len(first))
        signs = np.zeros(count)
        signs[partner[first]] = sign[first]
        signs[first] = 1.0
        self.size = len(first)
        self.plain = bool((signs > 0).all())
        for name, values in (("index", place), ("sign", signs.astype(np.float32)), ("first", first)):
            self.register_buffer(name, torch.from_numpy(values), persistent=False)

    def full(self, coordinates: Tensor) -> Tensor:
        """The tensor. coordinates: "orbit"."""
        if not self.size:
            return coordinates.new_zeros(self.shape)
        full = coordinates.index_select(0, self.index)
        return (full if self.plain else full * self.sign.to(full.dtype)).view(self.shape)

    def coordinates(self, full: Tensor) -> Tensor:
        """One number per orbit of a tensor that T leaves alone (beyond rounding)."""
        return full.reshape(-1).index_select(0, self.first)


class InvariantParameter(ChiralModule):
    """A learned tensor that T leaves alone: positional embedding, class token, adjacency, query.

    representation: how T acts on its axes.  value: what it starts from (projected by nobody: it has to be invariant;
    default standard normal).  Calling the module gives the tensor. Raises AsymmetricWeightError.

    >>> table = InvariantParameter(TensorRepresentation((Representation.parse("3: (0 1)"), Representation.trivial(4))))
    >>> full = table()
    >>> torch.equal(full[0], full[1]), table.weight_even.shape
    (True, torch.Size([8]))
    """

    def __init__(self, representation: TensorRepresentation, value: Tensor | None = None) -> None:
        super().__init__()
        self.space = InvariantSpace(representation)
        like = {} if value is None else {"dtype": value.dtype, "device": value.device}
        self.weight_even = nn.Parameter(torch.randn(self.space.size, **like))
        if value is not None:
            self.load_dense({"weight": value})

    def forward(self) -> Tensor:
        return self.space.full(self.weight_even)

    def dense(self) -> dict[str, Tensor]:
        return {"weight": self()}

    def dense_representations(self) -> Mapping[str, TensorRepresentation]:
        return {"weight": self.space.representation}

    def _from_dense(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"weight_even": self.space.coordinates(values["weight"])}


def along(representation: Representation) -> InvariantSpace:
    """The invariant vectors of one axis."""
    return InvariantSpace(TensorRepresentation((representation,)))
