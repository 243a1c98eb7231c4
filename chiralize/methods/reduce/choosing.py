"""What is kept of every hidden space.

`design` gives what units do and what readers make of it (`moments`), `elimination` drops units one batch after the
other, and here their answers become maps and choices with a reason for the report. A space of 512 units at ½ has 512
units again: 256 of them and 256 images, which are 256 even and 256 odd features. For the same e^2 + o^2 there could be
299 even and 204 odd ones: 204 pairs, and 95 units kept as their own.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from copy import copy

from chiralize.errors.words import when
from chiralize.infer.records import Choice, Space
from chiralize.methods.reduce.elimination import Features, Mix, eliminate, eliminate_features
from chiralize.methods.reduce.hidden_maps import HiddenMap, matched, pairs_and_fixed
from chiralize.methods.reduce.moments import Sensitivity
from chiralize.symmetry.involution import SignedPermutation

MULTIPLICATIONS, UNITS = 2, 1  # the cost in which a mix of pairs and fixed points may equal pairs
_PROMISE = 2 / 3
_ROW, _LEAST, _MOST = 8, 0.97, 1.005
"""Pairs that processors multiply at once: a product with 176 pairs takes 0.80 to 0.95 of the time of one with 181, not
0.95 (decision 0112). And the shares of a width within which such a number is looked for."""
Chosen = tuple[list[HiddenMap], tuple[Choice, ...]]


def choose(
    spaces: Sequence[Space],
    sensitivities: MutableMapping[int, list[Sensitivity]],
    width: float,
    matching: Mapping[int, SignedPermutation],
    settled_maps: Sequence[HiddenMap],
    mixing: Mapping[int, int],
) -> list[Chosen]:
    """`width` of the units of each space, every one with its mirror image; and, where that promises clearly less loss
    in some space, more of its units for the same cost, some of them kept for their even part alone.

    sensitivities: emptied, since no two copies of them need to fit into memory.  matching: spaces that keep all their
    units, matched into pairs.  settled_maps: of heads with their dimensions, and of trunks.  mixing: spaces whose
    units may be kept for their even part alone, and which cost counts there.
    """
    # Two ways side by side, pairs alone and mixed: a space with one option takes it in both.
    settled = {key: hidden_map for hidden_map in settled_maps for key in hidden_map.key}
    maps: tuple[list[HiddenMap], list[HiddenMap]] = list(settled_maps), list(settled_maps)
    choices: tuple[list[Choice], list[Choice]] = [], []
    for space in spaces:
        places = sensitivities.pop(space.key, [])
        action = matching.get(space.key)
        if space.key in settled:
            action = settled[space.key].actions[space.key]
            options = [(None, Choice(space, action, _reason(settled[space.key], space)))]
        elif action is not None:
            options = [(matched(space.key, action), Choice(space, action, "matched: it cannot be reduced"))]
        else:
            options = [_of_mix(space, mix) for mix in _mixes(space, places, width, mixing.get(space.key))]
        for maps_so_far, choices_so_far, (new, choice) in zip(maps, choices, (options[0], options[-1]), strict=True):
            if new is not None:
                maps_so_far.append(new)
            choices_so_far.append(choice)
    # the second way only where a space differs: without one it would be the same network again
    ways = [(maps[way], tuple(choices[way])) for way in (0, 1)]
    in_pairs = [choice.action for choice in choices[0]]
    mixed = [choice.action for choice in choices[1]]
    return ways if in_pairs != mixed else ways[:1]


def new_size(size: int, width: float) -> int:
    """How many units take the place of so many at a width, which counts pairs; in whole rows, where some are near.

    Of 256 units at 0.707 there are 352 (176 pairs), not 362. As many as the original has, and all of both views, stay.
    """
    new = max(round(2 * width * size), 2)
    in_rows = 2 * _ROW * int(_MOST * new / 2 / _ROW)
    is_near = _LEAST * new <= in_rows < 2 * size
    return in_rows if is_near and new not in (size, 2 * size) else new


def _of_mix(space: Space, mix: Mix) -> tuple[HiddenMap, Choice]:
    """The map of the units that are kept, and the choice with its reason for the report."""
    hidden_map = pairs_and_fixed(space.key, space.size, mix.pairs, mix.fixed)
    as_their_own = when(mix.fixed, f", and {len(mix.fixed)} as their own")
    reason = f"{len(mix.pairs)} of {space.size} units kept, each with its mirror image{as_their_own}"
    return hidden_map, Choice(space, hidden_map.actions[space.key], reason)


def _mixes(space: Space, places: list[Sensitivity], width: float, mixing: int | None) -> list[Mix]:
    """The units whose removal changes most what reads them: in pairs, and mixed where that promises clearly less loss.

    An odd number of new units has one fixed point. places: emptied, to save memory.
    """
    new = new_size(space.size, width)
    features = _features(places)
    even, odd = list(map(copy, features[0])), list(map(copy, features[1]))  # eliminating changes them
    pairs = eliminate(even, odd, new // 2)
    del even, odd
    fixed = sorted(set(range(space.size)) - set(pairs.pairs))[: new % 2]
    ways = [Mix(pairs.pairs, fixed, pairs.loss)]
    if mixing is not None:  # pairs cost e^m + o^m with e = o = new / 2
        mix = eliminate_features(*features, 2 * (new / 2) ** mixing, mixing)
        ways += [mix] if mix.fixed and mix.loss < _PROMISE * pairs.loss else []
    return ways


def _features(places: list[Sensitivity]) -> tuple[list[Features], list[Features]]:
    """The even and the odd features at every place. places: emptied as they are read, to save memory."""
    even: list[Features] = []
    odd: list[Features] = []
    while places:
        sensitivity = places.pop(0)
        even.append(Features(sensitivity.even.whole(), sensitivity.even_metric.whole(), sensitivity.bending))
        odd.append(Features(sensitivity.odd.whole(), sensitivity.odd_metric.whole()))
    return even, odd


def _reason(hidden_map: HiddenMap, space: Space) -> str:
    """What the report says of a space that was settled: a trunk (one unknown), or heads with their dimensions (two)."""
    action = hidden_map.actions[space.key]
    if hidden_map.reason:
        return hidden_map.reason
    if len(hidden_map.key) == 1:
        # one even direction is the vector of ones, which no norm lets through
        return f"{action.even - 1} even and {action.odd} odd principal directions kept"
    if action.pairs:
        return "every head kept with its mirror image"
    return f"{action.size} dimensions of every head kept"
