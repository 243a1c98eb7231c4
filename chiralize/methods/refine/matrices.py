"""A weight as the matrices that Muon moves: in one piece, or in the even and odd blocks that the mirror leaves of it.

Muon makes the singular values of a matrix equal by some thirty products of it with itself. A gradient G = T G T' is
block diagonal in the isotypic bases of its two axes, and a change of basis moves no singular value. So both blocks, of
half the rows and columns each, take the place of G for a quarter of the multiplications:

    G  =  B_out' [E 0; 0 O] B_in        U V' of G  =  B_out' [U V' of E, 0; 0, U V' of O] B_in

Of several processes each moves some of the large matrices, and all take over its steps (`Matrix.owner`): every one has
the same gradients, so that nothing is computed twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import sqrt
from operator import mul

import torch
from torch import Tensor, nn

from chiralize.graph import processes
from chiralize.symmetry.isotypic import IsotypicBasis
from chiralize.symmetry.representation import TensorRepresentation

_LEAST = 160
"""Rows and columns from which on two blocks take less time than one matrix (0.7 at 192, 0.3 at 512 on one thread)."""
_LEAST_ON_A_GPU = 2_048
"""The same where calls take longer than products of small matrices. Nobody measured it: a careful guess."""
_SHARED = 1 << 18
"""Entries from which on one of several processes moves a matrix for all: a message takes less time than the step."""


class Matrix:
    """A weight "out rest", with its own memory or as two blocks.

    parameter: of any number of axes, of which all but the first are one.  representation: how the mirror acts on it,
    None where nothing is known.  number: of the matrix among those of a network.
    owner: the process that moves it, None where every process does.
    """

    def __init__(self, parameter: Tensor, representation: TensorRepresentation | None, number: int) -> None:
        self.parameter = parameter
        self.owner = number % processes.count() if processes.count() > 1 and parameter.numel() >= _SHARED else None
        whole = parameter.detach().view(len(parameter), -1)
        self.bases = _bases(representation, whole)
        # Blocks hold a step, which is added to the weight. In one piece it is the weight itself that moves, but where
        # the step is handed on.
        pieces = self._blocks(whole)
        self.holds_step = self.bases is not None or self.owner is not None
        if self.holds_step:
            pieces = [torch.zeros_like(piece) for piece in pieces]
        self.pieces = [nn.Parameter(piece) for piece in pieces]

    @property
    def shares(self) -> list[float]:
        """By how much a step of each piece is to be longer, for Muon's to be as long as that of the whole."""
        longest = max(len(self.parameter), self.parameter.numel() // len(self.parameter))
        return [sqrt(longest / max(piece.shape)) for piece in self.pieces]

    def hand_on_gradient(self) -> None:
        """Give the pieces the gradient of the weight."""
        gradient, blocks = self.parameter.grad, list[Tensor | None]()
        if gradient is None or self.owner not in (None, processes.rank()):
            blocks += [None] * len(self.pieces)
        else:
            blocks += self._blocks(gradient.reshape(len(gradient), -1))
        for piece, block in zip(self.pieces, blocks, strict=True):
            piece.grad = block

    def take_step(self) -> None:
        """Add what Muon has written into the pieces to the weight."""
        if not self.holds_step or self.parameter.grad is None:
            return
        steps = [piece.detach() for piece in self.pieces]
        if self.owner is not None:
            processes.take_from(self.owner, steps)
        with torch.no_grad():
            self.parameter.add_(self._whole(steps).view(self.parameter.shape))
        for step in steps:
            step.zero_()

    def _blocks(self, matrix: Tensor) -> list[Tensor]:
        """The even and the odd block of a matrix that commutes with the mirror; itself where it stays in one piece."""
        if self.bases is None:
            return [matrix]
        out, rest = self.bases
        even, odd = out.split(matrix, 0)
        return [rest.split(even)[0].contiguous(), rest.split(odd)[1].contiguous()]

    def _whole(self, blocks: Sequence[Tensor]) -> Tensor:
        """The way back from `_blocks`."""
        if self.bases is None:
            return blocks[0]
        out, rest = self.bases
        even, odd = blocks
        # A row of an even output reads even entries alone: its odd coordinates are zeros.
        even_rows = rest.join(even, even.new_zeros(len(even), rest.action.odd))
        odd_rows = rest.join(odd.new_zeros(len(odd), rest.action.even), odd)
        return out.join(even_rows, odd_rows, 0)


def _bases(representation: TensorRepresentation | None, matrix: Tensor) -> tuple[IsotypicBasis, IsotypicBasis] | None:
    """The bases of both axes, None where a matrix stays in one piece."""
    least = _LEAST if matrix.device.type == "cpu" else _LEAST_ON_A_GPU
    if representation is None or representation.sign < 0 or min(matrix.shape) < least:
        return None
    out, rest = representation.axes[0].action, reduce(mul, representation.axes[1:]).action
    if not (out.even and rest.even and out.odd and rest.odd):
        return None
    return IsotypicBasis(out), IsotypicBasis(rest)
