"""Pairs that follow from the order of the joints: side by side, one side after the other, mirrored at the middle.

Corners of a box, rings of markers and rows of sensors have names that tell no side, and their pairs are written by a
rule. A rule that is off by one axis pairs every joint wrongly, so that no change of one pair mends it.
"""

from __future__ import annotations

from collections.abc import Iterator

from chiralize.errors.words import when

Pairs = tuple[tuple[int, int], ...]
FEWEST_JOINTS = 4
"""Of fewer, every set of pairs is one or two changes of a pair away."""


def regular_pairs(joints: tuple[str, ...]) -> Iterator[tuple[str, Pairs]]:
    """Every set of pairs that the order of the joints gives, with words for it.

    With 8 joints: 0-1 2-3 4-5 6-7, 0-2 1-3 4-6 5-7, and 0-4 1-5 2-6 3-7, which are the three axes of a box whose
    corners are numbered as three bits; then mirrored at the middle, 0-7 1-6 2-5 3-4, and so in each half, 0-3 1-2 4-7
    5-6.
    """
    count = len(joints)
    if count < FEWEST_JOINTS:
        return
    for apart in range(1, count // 2 + 1):
        if count % (2 * apart) == 0:
            first = [joint for joint in range(count) if joint % (2 * apart) < apart]
            yield _named(joints, tuple((joint, joint + apart) for joint in first))
    for size in range(count, 2, -1):
        if count % size == 0:
            ends: Pairs = ()
            for start in range(0, count, size):
                ends += mirrored_at_the_middle(size, start)
            yield _named(joints, ends)


def mirrored_at_the_middle(size: int, start: int = 0) -> Pairs:
    """The first and the last of `size` numbers in a row, the second and the last but one, and so on."""
    return tuple((start + at, start + size - 1 - at) for at in range(size // 2))


def _named(joints: tuple[str, ...], pairs: Pairs) -> tuple[str, Pairs]:
    """The pairs, with words that show the first two of them."""
    shown = ", ".join(f"{joints[one]} with {joints[other]}" for one, other in pairs[:2])
    return f"the pairs {shown}{when(len(pairs) > 2, ' and so on')}", pairs
