"""What is kept of every hidden space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chiralize.elimination import Features, Mix, eliminate, eliminate_features
from chiralize.involution import SignedPermutation
from chiralize.records import Choice, Space
from chiralize.reduction.lifting import Kept, matched, pairs_and_fixed
from chiralize.reduction.moments import Sensitivity

MULTIPLICATIONS, UNITS = 2, 1  # what a mix may cost as much of as pairs do
_PROMISE = 2 / 3


def choose(
    spaces: Sequence[Space],
    sensitivities: Mapping[int, Sequence[Sensitivity]],
    width: float,
    matching: Mapping[int, SignedPermutation],
    made: Sequence[Kept],
    mixing: Mapping[int, int],
) -> tuple[list[Kept], tuple[Choice, ...]]:
    """`width` of the units of each space, every one with its mirror image.

    matching: spaces that keep all their units, matched into pairs.  made: what is settled already: heads with their
    dimensions, trunks.  mixing: spaces whose units may be kept for their even part alone, more of them for the same
    cost, where that promises clearly less loss; and which cost.
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
            mix = _mix(space, sensitivities[space.key], width, mixing.get(space.key))
            kept.append(pairs_and_fixed(space.key, space.size, mix.pairs, mix.fixed))
            action = kept[-1].actions[space.key]
            alone = f", and {len(mix.fixed)} as their own" if mix.fixed else ""
            reason = f"{len(mix.pairs)} of {space.size} units kept, each with its mirror image{alone}"
        choices.append(Choice(space, action, reason))
    return kept, tuple(choices)


def _mix(space: Space, places: Sequence[Sensitivity], width: float, mixing: int | None) -> Mix:
    """The units whose loss the readers would feel most. An odd number of new units has one fixed point."""
    new = max(round(2 * width * space.size), 2)
    pairs = eliminate(*_features(places), new // 2)
    if mixing is not None:
        mix = eliminate_features(*_features(places), 2 * (new / 2) ** mixing, mixing)
        if mix.fixed and mix.loss < _PROMISE * pairs.loss:
            return mix
    fixed = sorted(set(range(space.size)) - set(pairs.pairs))[: new % 2]
    return Mix(pairs.pairs, fixed, pairs.loss)


def _features(places: Sequence[Sensitivity]) -> tuple[list[Features], list[Features]]:
    even = [Features(own.even, own.even_metric, own.bending) for own in places]
    return even, [Features(own.odd, own.odd_metric) for own in places]


def _reason(kept: Kept, space: Space) -> str:
    action = kept.actions[space.key]
    if len(kept.key) == 1:
        return f"{action.even - 1} even and {action.odd} odd principal directions kept"
    return "every head kept with its mirror image" if action.pairs else f"{action.size} dimensions of every head kept"
