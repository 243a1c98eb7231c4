"""Whether the mirror takes allowed actions to allowed actions.

An action that the mirror negates, with bounds -0.5 to 1, would be -1 to 0.5 on the other side: clipping or scaling it
to its bounds then does not commute with T, however symmetric the network is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chiralize.errors import UsageError
from chiralize.errors.words import when

_SHOWN = 3
"""Actions that a message lists."""
_FAR = 1e6
"""A bound as far from zero as this is none: spaces give the largest float where an action has no bound."""
_LEAST = 1e-3
"""Share of an action's range that has to be tried."""


def check_bounds(space: Any, turn: Callable[[Any], Any], where: str, refuse: bool = True) -> str:
    """Which actions of a Box the mirror takes out of it, and by how much; "" for none.

    turn: the mirror on actions.  Raises UsageError where there are any, unless they are not to be refused.
    """
    low, high = image_of_bounds(space, turn)
    off = np.flatnonzero(~(np.isclose(low, space.low) & np.isclose(high, space.high)))
    if not off.size:
        return ""
    shown = ", ".join(
        f"action {index}: {space.low[index]:.4g} to {space.high[index]:.4g}, in the mirror {low[index]:.4g} to "
        f"{high[index]:.4g}"
        for index in off[:_SHOWN].tolist()
    )
    text = shown + when(off.size > _SHOWN, f", and {off.size - _SHOWN} more")
    if refuse:
        remedy = "give an environment whose bounds the mirror keeps, or correct pairs and signs"
        raise UsageError(where, f"the mirror takes actions out of their bounds: {text}", remedy)
    return text


def tried_range(space: Any, turn: Callable[[Any], Any]) -> tuple[Any, Any]:
    """From where to where actions of a Box can be tried on both sides: least and greatest of every action.

    They are allowed, and so are their mirror images. Of an action without a bound those within 1 of zero are tried, or
    those next to the bound on its other side. Where the greatest is not above the least, none has an allowed image.
    """
    ends = image_of_bounds(space, turn)
    low, high = np.maximum(space.low, ends[0]).astype(np.float64), np.minimum(space.high, ends[1]).astype(np.float64)
    is_open_below, is_open_above = low < -_FAR, high > _FAR
    # An end that is open lies beyond zero, or, where the other end has passed that, 2 further on.
    least = np.where(is_open_above, -1.0, np.minimum(-1.0, high - 2.0))
    greatest = np.where(is_open_below, 1.0, np.maximum(1.0, low + 2.0))
    return np.where(is_open_below, least, low), np.where(is_open_above, greatest, high)


def is_untried(space: Any, low: Any, high: Any) -> Any:
    """Which actions cannot be tried on both sides, from `low` to `high`: in no more than a thousandth of their range.

    So small a part could not be told from nothing. An action that has one value is tried with that.
    """
    width = space.high.astype(np.float64) - space.low
    return (low > high) | ((width > 0) & (high - low <= _LEAST * np.where(width > _FAR, 1.0, width)))


def image_of_bounds(space: Any, turn: Callable[[Any], Any]) -> tuple[Any, Any]:
    """Bounds of the mirror image of a Box: those of the partners, exchanged where a sign changes."""
    # T of both ends; a sign turns the upper one into the lower one.
    ends = np.stack([turn(space.low.astype(np.float64)), turn(space.high.astype(np.float64))])
    # T writes 0 as -0 where it negates: nobody wants to read that, and generators of numpy take it to be less than 0.
    return ends.min(0) + 0.0, ends.max(0) + 0.0
