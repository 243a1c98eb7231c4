"""Axes of pictures, maps and bins that the mirror reverses: entry i swaps with entry 2 c - i.

c is the middle of the axis, (n - 1) / 2, or the cell that a specification gives. Where it is not the middle, the cells
near one border have no partner within the axis, and stay. Four cells mirrored at their middle, c = 3/2, become 3 2 1 0;
mirrored at cell 2, 0 3 2 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

from chiralize.body.tensors.layout import KNOWN, Layout
from chiralize.errors import LayoutSizeError, WrongValueError
from chiralize.symmetry.involution import SignedPermutation

Reversed = tuple[tuple[str, Fraction | None], ...]
"""Words of a layout with the cell that each is mirrored at, None for the middle."""
MIDDLE = "middle"
KEPT = ("b", "t", *KNOWN, "1", "...")
"""Samples and frames have no left and right; joints, coordinates and fields are mirrored in their own way."""


def check_reversed(layout: Layout, words: Reversed, where: str) -> None:
    """Raise WrongValueError for a word that is no axis of the layout, or one that cannot be reversed."""
    for word, _ in words:
        if word in KEPT:
            facts = f"mirror: {word!r} in layout '{layout}' is no axis of a picture"
            raise WrongValueError(where, facts, f"name the axis that runs from left to right, as in {_example(layout)}")
        if word not in layout:
            facts = f"mirror: layout '{layout}' has no axis {word!r}"
            raise WrongValueError(where, facts, f"name one of its axes, as in {_example(layout)}")


def _example(layout: Layout) -> str:
    """How to write it, with the last axis of the layout that could be reversed."""
    words = [word for word in layout.words if word not in KEPT] or ["w"]
    return f"mirror: {words[-1]}"


def reversal(size: int, center: Fraction | None, where: str) -> SignedPermutation:
    """The reversal of an axis of `size` entries at the cell `center`. Raises LayoutSizeError for a centre beyond it.

    >>> reversal(4, None, "").partner.tolist(), reversal(4, Fraction(2), "").partner.tolist()
    ([3, 2, 1, 0], [0, 3, 2, 1])
    """
    twice = Fraction(size - 1) if center is None else 2 * center  # 2 c, exact
    if twice.denominator > 1:
        facts = (
            f"mirrored at cell {center}, between a cell and the next but not half-way, so that no cell meets another"
        )
        raise LayoutSizeError(where, facts, f"give a whole or a half cell, such as {round(twice) / 2:g}")
    # Entry 0 goes to 2 c: beyond twice the last cell no cell would have its image within the axis.
    ends = int(twice)
    if not 0 <= ends <= 2 * (size - 1):
        facts = f"mirrored at cell {center}, but the axis has the cells 0 to {size - 1}"
        raise LayoutSizeError(where, facts, "count cells of this tensor, not pixels of the picture")
    cells = np.arange(size)
    partners = ends - cells
    partners = np.where((partners >= 0) & (partners < size), partners, cells)
    return SignedPermutation(partners, np.ones(size, np.int64))


def reversals(words: Reversed, sizes: Mapping[str, int], where: str) -> dict[str, SignedPermutation]:
    """The reversal along every word. Raises LayoutSizeError."""
    return {word: reversal(sizes[word], center, f"{where}: axis {word}") for word, center in words}


def written(words: Reversed) -> object:
    """The words as a specification file writes them: one, a list, or a map to cells."""
    cells = {word: str(center) for word, center in words if center is not None}
    names = [word for word, _ in words]
    if cells:
        return dict.fromkeys(names, MIDDLE) | cells
    return names[0] if len(names) == 1 else names


def joined(tildes: Sequence[str], words: Reversed) -> Reversed:
    """Words with a tilde in the layout, and those of `mirror`, which may give a cell."""
    given = {word for word, _ in words}
    return (*((word, None) for word in tildes if word not in given), *words)
