"""What is kept of every hidden space."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from copy import copy

from chiralize.infer.records import Choice, Space
from chiralize.methods.reduce.elimination import Features, Mix, eliminate, eliminate_features
from chiralize.methods.reduce.lifting import Kept, matched, pairs_and_fixed
from chiralize.methods.reduce.moments import Sensitivity
from chiralize.symmetry.involution import SignedPermutation

MULTIPLICATIONS, UNITS = 2, 1  # what a mix may cost as much of as pairs do
_PROMISE = 2 / 3
Chosen = tuple[list[Kept], tuple[Choice, ...]]


def choose(
    spaces: Sequence[Space],
    sensitivities: MutableMapping[int, list[Sensitivity]],
    width: float,
    matching: Mapping[int, SignedPermutation],
    made: Sequence[Kept],
    mixing: Mapping[int, int],
) -> list[Chosen]:
    """`width` of the units of each space, every one with its mirror image; and, where that promises clearly less loss
    in some space, more of its units for the same cost, some of them kept for their even part alone.

    sensitivities: emptied, since no two copies of them need to fit into memory.  matching: spaces that keep all their
    units, matched into pairs.  made: what is settled already: heads with their dimensions, trunks.  mixing: spaces
    whose units may be kept for their even part alone, and which cost counts there.
    """
    settled = {key: own for own in made for key in own.key}
    kept: tuple[list[Kept], list[Kept]] = list(made), list(made)
    choices: tuple[list[Choice], list[Choice]] = [], []
    for space in spaces:
        places = sensitivities.pop(space.key, [])
        action = matching.get(space.key)
        if space.key in settled:
            action = settled[space.key].actions[space.key]
            found = [(None, Choice(space, action, _reason(settled[space.key], space)))]
        elif action is not None:
            found = [(matched(space.key, action), Choice(space, action, "matched: it cannot be reduced"))]
        else:
            found = [_of_mix(space, mix) for mix in _mixes(space, places, width, mixing.get(space.key))]
        for own, choice, (new, reason) in zip(kept, choices, (found[0], found[-1]), strict=True):
            own.extend([new] if new is not None else [])
            choice.append(reason)
    ways = [(own, tuple(choice)) for own, choice in zip(kept, choices, strict=True)]
    return ways if [own.action for own in choices[0]] != [own.action for own in choices[1]] else ways[:1]


def _of_mix(space: Space, mix: Mix) -> tuple[Kept, Choice]:
    kept = pairs_and_fixed(space.key, space.size, mix.pairs, mix.fixed)
    alone = f", and {len(mix.fixed)} as their own" if mix.fixed else ""
    reason = f"{len(mix.pairs)} of {space.size} units kept, each with its mirror image{alone}"
    return kept, Choice(space, kept.actions[space.key], reason)


def _mixes(space: Space, places: list[Sensitivity], width: float, mixing: int | None) -> list[Mix]:
    """The units whose loss the readers would feel most, in pairs, and mixed if that promises clearly less loss. An odd
    number of new units has one fixed point.

    places: emptied.
    """
    new = max(round(2 * width * space.size), 2)
    features = _features(places)
    even, odd = ([copy(own) for own in side] for side in features)
    pairs = eliminate(even, odd, new // 2)
    del even, odd
    fixed = sorted(set(range(space.size)) - set(pairs.pairs))[: new % 2]
    ways = [Mix(pairs.pairs, fixed, pairs.loss)]
    if mixing is not None:
        mix = eliminate_features(*features, 2 * (new / 2) ** mixing, mixing)
        ways += [mix] if mix.fixed and mix.loss < _PROMISE * pairs.loss else []
    return ways


def _features(places: list[Sensitivity]) -> tuple[list[Features], list[Features]]:
    even: list[Features] = []
    odd: list[Features] = []
    while places:
        own = places.pop(0)
        even.append(Features(own.even.whole(), own.even_metric.whole(), own.bending))
        odd.append(Features(own.odd.whole(), own.odd_metric.whole()))
    return even, odd


def _reason(kept: Kept, space: Space) -> str:
    action = kept.actions[space.key]
    if len(kept.key) == 1:
        return f"{action.even - 1} even and {action.odd} odd principal directions kept"
    return "every head kept with its mirror image" if action.pairs else f"{action.size} dimensions of every head kept"
