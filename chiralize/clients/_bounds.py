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


def image_of_bounds(space: Any, turn: Callable[[Any], Any]) -> tuple[Any, Any]:
    """Bounds of the mirror image of a Box: those of the partners, exchanged where a sign changes."""
    # T of both ends; a sign turns the upper one into the lower one.
    ends = np.stack([turn(space.low.astype(np.float64)), turn(space.high.astype(np.float64))])
    return ends.min(0), ends.max(0)
