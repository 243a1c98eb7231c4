"""Other mirrors that the world of the inputs has beside T: no doubt comes of them while T itself fits well.

`turned_worlds` finds them; `judging` leaves them out of its judgement, and says so in a note.

Example: of people on a square, with y negated, T has a gap of 0.11, and a turn by 180 degrees one of 0.06.
"""

from __future__ import annotations

from collections.abc import Sequence

from chiralize.verification.evidence.records import Comparison, MirrorGap

_LEARNED, _LEARNED_FORECASTS = 0.25, 0.4
"""Gaps of T, of forecasts in units of what they add, up to which networks mostly know both sides. There another mirror
of the same world, which has no preferred direction, is no reason to doubt T.
"""
_NO_DIRECTION = (
    "no reason to doubt T, since the two differ by the signs of whole coordinates of all positions, and the inputs "
    "look the same either way: they have no preferred direction"
)


def as_right(others: Sequence[MirrorGap], comparison: Comparison, real: bool, are_forecasts: bool) -> list[MirrorGap]:
    """Those of the mirrors that the world of the inputs has, the nearest first; none where T does not fit well itself.

    others: with finite gaps.  real: measured on real inputs.
    """
    if not real or comparison.gap > (_LEARNED_FORECASTS if are_forecasts else _LEARNED):
        return []
    return sorted((other for other in others if other.name in comparison.as_right), key=lambda other: other.gap)


def as_right_in_words(others: Sequence[MirrorGap]) -> tuple[str, ...]:
    """The note of the nearest of them, if there is one."""
    return tuple(f"{other.words}: {_NO_DIRECTION}" for other in others[:1])
