"""Names made of joints, of what lies between them: `left_hip-right_knee`, a distance; `left_hip-left_knee-left_ankle`,
the angle at the joint in the middle.

Both are the same from either end, so that the partner of `left_hip-right_knee` may be written `left_knee-right_hip`.
Four joints are not read: the angle of a bond turns its sign under the mirror. `verification/evidence/labels.py` looks
for partners among the names of a data set in this way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, combinations, pairwise

JOINTS = (2, 3)
"""Of how many joints such names are made."""
Words = tuple[str, ...]


def divided(words: Sequence[str]) -> Iterator[tuple[Words, ...]]:
    """Every way to divide the words of a name into those of two joints, then of three, one after the other.

    >>> list(divided(["left", "hip", "neck"]))
    [(('left',), ('hip', 'neck')), (('left', 'hip'), ('neck',)), (('left',), ('hip',), ('neck',))]
    """
    for count in JOINTS:
        for cuts in combinations(range(1, len(words)), count - 1):
            yield tuple(tuple(words[start:end]) for start, end in pairwise((0, *cuts, len(words))))


def from_the_other_end(joints: Sequence[Words]) -> Words:
    """The words of the same name, read from its last joint to its first.

    >>> from_the_other_end([("left", "hip"), ("neck",)])
    ('neck', 'left', 'hip')
    """
    return tuple(chain.from_iterable(reversed(joints)))
