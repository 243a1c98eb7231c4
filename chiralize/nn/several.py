"""Linear layers that commute with several mirrors: a block for every way in which these can act on a coordinate.

The even and the odd coordinates of the first mirror (`nn.butterfly`) are axes of their own, on which the others act as
signed permutations again. So the layer is two layers for the others, one on either, and k mirrors give 2^k blocks: of
units that all of them move a quarter of the products for two, an eighth for three.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from chiralize.errors import RepresentationSizeError
from chiralize.nn.butterfly import Butterfly
from chiralize.nn.linear import Linear
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation
from chiralize.symmetry.reynolds import act


class LinearOfSeveral(nn.Module):
    """y = x W' + b with T_out W T_in = W and T_out b = b for two mirrors T or more, which commute.

    reps_in, reps_out: how each of them acts on the two axes, in one order. Use `linear_of_several` to make one.
    """

    def __init__(
        self,
        reps_in: Sequence[Representation],
        reps_out: Sequence[Representation],
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        first_in, first_out = reps_in[0], reps_out[0]
        self.into, self.out = Butterfly(first_in, device), Butterfly(first_out, device)
        self.in_features, self.out_features = first_in.size, first_out.size
        parts_in = list(zip(*(induced(self.into, rep) for rep in reps_in[1:]), strict=True))
        parts_out = list(zip(*(induced(self.out, rep) for rep in reps_out[1:]), strict=True))
        self.even = layer_of(parts_in[0], parts_out[0], bias, device, dtype)
        self.odd = layer_of(parts_in[1], parts_out[1], False, device, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """x W' + b."""
        even, odd = self.into.split(x, -1)
        return self.out.join(self.even(even), self.odd(odd), -1)

    def load_dense(self, weight: Tensor, bias: Tensor | None) -> None:
        """Take over a dense weight and its bias, which every mirror leaves alone. Raises AsymmetricWeightError."""
        blocks = Linear(self.into.representation, self.out.representation, bias is not None, dtype=weight.dtype)
        blocks.load_dense({"weight": weight} if bias is None else {"weight": weight, "bias": bias})
        _load(self.even, blocks.weight_even.detach(), None if bias is None else blocks.bias_even)
        _load(self.odd, blocks.weight_odd.detach(), None)

    def extra_repr(self) -> str:
        """How the first mirror acts; the layers inside say how the others do."""
        return f"{self.into.representation.summary()} -> {self.out.representation.summary()}"


def layer_of(
    reps_in: Sequence[Representation],
    reps_out: Sequence[Representation],
    bias: bool = True,
    device: Any = None,
    dtype: Any = None,
) -> nn.Module:
    """The layer for one mirror or several."""
    if len(reps_in) == 1:
        return Linear(reps_in[0], reps_out[0], bias, device, dtype)
    return LinearOfSeveral(reps_in, reps_out, bias, device, dtype)


def _load(layer: nn.Module, weight: Tensor, bias: Tensor | None) -> None:
    if isinstance(layer, LinearOfSeveral):
        layer.load_dense(weight, bias)
    else:
        assert isinstance(layer, Linear)
        layer.load_dense({"weight": weight} if bias is None else {"weight": weight, "bias": bias.detach()})


def induced(butterfly: Butterfly, representation: Representation) -> tuple[Representation, Representation]:
    """How another mirror acts on the even and on the odd coordinates of the first.

    Raises RepresentationSizeError where the two do not commute, so that it mixes them.
    """
    identity = torch.eye(butterfly.size, dtype=torch.float64)
    rep = TensorRepresentation((representation, Representation.trivial(butterfly.size)))
    moved = butterfly.coordinates(act(identity, rep), 0)
    parts: list[Representation] = []
    for number, rows in enumerate(moved):
        matrix = butterfly.coordinates(rows, 1)[number]
        if len(matrix):
            partner = matrix.abs().argmax(1)
        else:
            partner = torch.zeros(0, dtype=torch.int64)
        sign = matrix[torch.arange(len(matrix)), partner].round().long()
        action = SignedPermutation(partner.numpy(), sign.numpy())
        if not torch.allclose(matrix, torch.from_numpy(action.matrix()), atol=1e-9):
            facts = "a mirror mixes the even and the odd coordinates of another one"
            raise RepresentationSizeError("chiralize.nn", facts, "give mirrors that commute")
        parts.append(Representation.of(action))
    return parts[0], parts[1]


def smallest_block(reps_in: Sequence[Representation], reps_out: Sequence[Representation]) -> int:
    """The fewest coordinates, of either axis, that some block would have: a layer without some of them stays dense."""
    return min(*_block_sizes(reps_in), *_block_sizes(reps_out))


def _block_sizes(reps: Sequence[Representation]) -> list[int]:
    first, *others = reps
    if not others:
        return [first.even, first.odd]
    butterfly = Butterfly(first)
    parts = list(zip(*(induced(butterfly, other) for other in others), strict=True))
    return [*_block_sizes(parts[0]), *_block_sizes(parts[1])]
