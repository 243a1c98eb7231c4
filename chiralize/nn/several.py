"""Linear layers that commute with several mirrors: a block for every way in which these can act on a coordinate.

The even and the odd coordinates of the first mirror (`nn.butterfly`) are axes of their own, on which the others act
as signed permutations again. So the layer is two layers for the others, one on either, and k mirrors give 2^k
blocks: of units that all of them move a quarter of the products for two, an eighth for three. Four legs (fl fr hl
hr), mirrored left/right and front/back:

    left/right    even (fl + fr, hl + hr), odd (fl - fr, hl - hr)
    front/back    exchanges the two numbers of either, so both split again: four blocks of one number

`methods/several` finds weights for these, `deploy/several` puts the layers into a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from chiralize.errors import RepresentationSizeError
from chiralize.nn._module import checked
from chiralize.nn._tables import Tables
from chiralize.nn.butterfly import HALF, ROOT, Butterfly
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
        self.into, self.out = SharedAxis(reps_in, device), SharedAxis(reps_out, device)
        self.in_features, self.out_features = reps_in[0].size, reps_out[0].size
        # How the other mirrors act on the even axis, and on the odd one.
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
        rep_in, rep_out = self.into.representation, self.out.representation
        reps = {"weight": TensorRepresentation((rep_out, rep_in)), "bias": TensorRepresentation((rep_out,))}
        values = {"weight": weight} if bias is None else {"weight": weight, "bias": bias.detach()}
        checked(values, reps)
        even, odd = self.out.coordinates(weight, 0)
        # W in the coordinates of the first mirror is [[E, 0], [0, O]]; each block is loaded into the layer for the
        # other mirrors.
        _load(self.even, self.into.coordinates(even, 1)[0], None if bias is None else self.out.split(bias, 0)[0])
        _load(self.odd, self.into.coordinates(odd, 1)[1], None)

    def extra_repr(self) -> str:
        """How the first mirror acts; the layers inside say how the others do."""
        return f"{self.into.representation.summary()} -> {self.out.representation.summary()}"


class SharedAxis(Tables):
    """To the even and odd coordinates of an axis for one mirror, on which others act as well; and back.

        pair (u, v)       even (u + v) / 2, odd (u - v) / 2
        pair (u, -v)      even (u - v) / 2, odd (u + v) / 2
        fixed entry f     f / sqrt 2

    representations: how each mirror acts on the axis, the one that is taken apart first. Pairs lie as [firsts, seconds]
    in groups. An other mirror takes the firsts of a group to firsts, or all of them to seconds, so that it moves either
    slice as a whole; unless it takes plain pairs to pairs with a sign, which has no proof.
    """

    order: Tensor | None
    places: Tensor | None

    def __init__(self, representations: Sequence[Representation], device: Any = None) -> None:
        super().__init__()
        self.representation, *others = representations
        action = self.representation.action
        self.size, self.even, self.odd = action.size, action.even, action.odd
        groups: dict[tuple[int, ...], list[tuple[int, int]]] = {}
        # Pairs are grouped by what every other mirror does to them, so that it moves the slice of firsts, and that of
        # seconds, as a whole.
        pairs = _turned(action, [other.action for other in others])
        firsts = {first for first, _ in pairs}
        for first, second in pairs:
            turned = (int(other.action.partner[first] not in firsts) for other in others)
            # Key: the pair's sign, and for every other mirror whether it takes the first to a second.
            groups.setdefault((int(action.sign[first]), *turned), []).append((first, second))
        fixed = [np.flatnonzero(action.fixed & (action.sign == sign)) for sign in (1, -1)]
        order = np.concatenate([*(np.array(group).T.reshape(-1) for group in groups.values()), *fixed]).astype(np.int64)
        self.groups = [(len(group), sign) for (sign, *_), group in groups.items()]
        is_straight = bool((order == np.arange(action.size)).all())
        self._table("order", None if is_straight else order, device)
        self._table("places", None if is_straight else np.argsort(order), device)

    def split(self, x: Tensor, dim: int = -1) -> tuple[Tensor, Tensor]:
        """(even, odd) coordinates, for weights of the orthonormal basis."""
        # In order: [firsts, seconds] of each group, even fixed entries, odd ones.
        x = _read(x, self.order, dim) * HALF
        # Of a pair (u, -v) u + v is the odd number, so the lists change roles by the sign of a group.
        even, odd, start = list[Tensor](), list[Tensor](), 0
        for pairs, sign in self.groups:
            u, v = x.narrow(dim, start, pairs), x.narrow(dim, start + pairs, pairs)
            plain, signed = (even, odd) if sign > 0 else (odd, even)
            plain.append(u + v)
            signed.append(u - v)
            start += 2 * pairs
        paired = start // 2
        for parts, fixed in ((even, self.even - paired), (odd, self.odd - paired)):
            if fixed or not parts:
                parts.append(x.narrow(dim, start, fixed) * ROOT)
            start += fixed
        return torch.cat(even, dim), torch.cat(odd, dim)

    forward = split

    def join(self, even: Tensor, odd: Tensor, dim: int = -1) -> Tensor:
        """The axis again, from coordinates that weights of the orthonormal basis made."""
        parts, start = list[Tensor](), 0
        for pairs, sign in self.groups:
            e, o = even.narrow(dim, start, pairs), odd.narrow(dim, start, pairs)
            parts += [e + o, e - o if sign > 0 else o - e]
            start += pairs
        for coordinates, size in ((even, self.even), (odd, self.odd)):
            if size > start:
                parts.append(coordinates.narrow(dim, start, size - start) * ROOT)
        return _read(torch.cat(parts, dim), self.places, dim)

    def coordinates(self, tensor: Tensor, dim: int = 0) -> tuple[Tensor, Tensor]:
        """(even, odd) coordinates in the orthonormal basis."""
        even, odd = self.split(tensor, dim)
        return even * ROOT, odd * ROOT

    def extra_repr(self) -> str:
        """How the mirror that is taken apart acts on the axis."""
        return self.representation.summary()


def _read(x: Tensor, table: Tensor | None, dim: int) -> Tensor:
    """The entries of an axis in the order of a table; in their own without one."""
    return x if table is None else x.index_select(dim, table)


def _turned(action: SignedPermutation, others: Sequence[SignedPermutation]) -> list[tuple[int, int]]:
    """The pairs of a mirror, each with that entry first to which the others take the first of another pair.

    From a first entry the others are followed to all entries that they reach, and each of these is the first of its
    pair, unless its partner is one already. Of (fl fr)(hl hr) and the front/back mirror fl -> hl, so hl is a first
    too.
    """
    firsts: dict[int, None] = {}
    for start, _ in action.pairs:
        waiting = [start]
        while waiting:
            entry = waiting.pop()
            if entry in firsts or int(action.partner[entry]) in firsts:
                continue
            firsts[entry] = None
            waiting += [int(other.partner[entry]) for other in others if not other.fixed[entry]]
    return [(first, int(action.partner[first])) for first in firsts]


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
    """Put a weight and a bias into a layer for one mirror or several."""
    if isinstance(layer, LinearOfSeveral):
        layer.load_dense(weight, bias)
    else:
        assert isinstance(layer, Linear)
        layer.load_dense({"weight": weight} if bias is None else {"weight": weight, "bias": bias.detach()})


def induced(butterfly: Butterfly | SharedAxis, representation: Representation) -> tuple[Representation, Representation]:
    """How another mirror acts on the even and on the odd coordinates of the first.

    Raises RepresentationSizeError where the two do not commute, so that it mixes them.
    """
    # The other mirror as a matrix, its rows and columns in the coordinates of the first: B M B^T.
    identity = torch.eye(butterfly.size, dtype=torch.float64)
    rep = TensorRepresentation((representation, Representation.trivial(butterfly.size)))
    moved = butterfly.coordinates(act(identity, rep), 0)
    parts: list[Representation] = []
    for number, rows in enumerate(moved):
        matrix = butterfly.coordinates(rows, 1)[number]
        if len(matrix):
            # A signed permutation has one entry of 1 or -1 a row; whether this is one is checked below.
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
    """The fewest coordinates of any block, on either axis; 0 where one is empty, so that the layer stays dense."""
    return min(*_block_sizes(reps_in), *_block_sizes(reps_out))


def _block_sizes(reps: Sequence[Representation]) -> list[int]:
    """Coordinates of an axis in every block, mirror by mirror."""
    first, *others = reps
    if not others:
        return [first.even, first.odd]
    butterfly = Butterfly(first)
    parts = list(zip(*(induced(butterfly, other) for other in others), strict=True))
    return [*_block_sizes(parts[0]), *_block_sizes(parts[1])]
