"""What is kept of every hidden space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chiralize.elimination import Features, eliminate
from chiralize.involution import SignedPermutation
from chiralize.records import Choice, Space
from chiralize.reduction.lifting import Kept, matched, pairs_and_fixed
from chiralize.reduction.moments import Sensitivity


def choose(
    spaces: Sequence[Space],
    sensitivities: Mapping[int, Sequence[Sensitivity]],
    width: float,
    matching: Mapping[int, SignedPermutation],
    made: Sequence[Kept],
) -> tuple[list[Kept], tuple[Choice, ...]]:
    """`width` of the units of each space, every one with its mirror image.

    matching: spaces that keep all their units, matched into pairs.  made: what is settled already: heads with their
    dimensions, trunks.
    """
    kept: list[Kept] = list(made)
    settled = {key: own for own in made for key in own.key}
    choices: list[Choice] = []
    for space in spaces:
        action = matching.get(space.key)
        if space.key in settled:
            action = settled[space.key].actions[space.key]
            reason = _reason(settled[space.key], space)
        elif action is not None:
            kept.append(matched(space.key, action))
            reason = "matched: it cannot be reduced"
        else:
            kept.append(_reduced(space, sensitivities[space.key], width))
            action = kept[-1].actions[space.key]
            reason = f"{len(action.pairs)} of {space.size} units kept, each with its mirror image"
        choices.append(Choice(space, action, reason))
    return kept, tuple(choices)


def _reduced(space: Space, places: Sequence[Sensitivity], width: float) -> Kept:
    """The units whose loss the readers would feel most. An odd number of new units has one fixed point."""
    new = max(round(2 * width * space.size), 2)
    features = [Features(moments, own.metric) for own in places for moments in (own.even, own.odd)]
    pairs = eliminate(features, new // 2)
    fixed = (
        [next(unit for unit in range(space.size) if unit not in pairs)] if new % 2 and len(pairs) < space.size else []
    )
    return pairs_and_fixed(space.key, space.size, pairs, fixed)


def _reason(kept: Kept, space: Space) -> str:
    action = kept.actions[space.key]
    if len(kept.key) == 1:
        return f"{action.even - 1} even and {action.odd} odd principal directions kept"
    return "every head kept with its mirror image" if action.pairs else f"{action.size} dimensions of every head kept"
