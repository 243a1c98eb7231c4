"""Which side does a name tell, and what is its partner called?

Understood: the words left/right, single letters l/r between separators, l/r before a capital or behind a small letter,
codes of two letters (FL/FR, LF/RF, LR/RR, TL/TR; with x, y, z they are coordinates), l/r before more letters (LKNE,
lknee), and l/r before a number or at the end (L1A, hipl). Of several sides in one name all are exchanged.

`readings` lists every way to read a side out of one name, with the name that its partner then has. Some are certain
by themselves (`left_hip`); the others count where a joint of the partner's name exists: `lock` could be the left one of
`rock`, and is not, since nothing is called `rock`. `infer_pairs` reads the pairs of a whole list, for `pairs: infer`
and for importers.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from typing import TYPE_CHECKING, NoReturn

from chiralize.body.values import Wrong
from chiralize.errors import UnpairedJointError

if TYPE_CHECKING:
    from chiralize.body.skeleton import Skeleton

# (pattern, certain): the group is the word or letter that is exchanged. Certain ones tell the side by themselves. The
# order is that of `readings`: the first whose partner exists counts.
_PATTERNS: tuple[tuple[re.Pattern[str], bool], ...] = (
    (re.compile(r"(?:(?<![A-Za-z])|(?<=[a-z])(?=[LR]))((?i:left|right))(?![a-z])"), True),  # left_hip, LeftHip, hipLeft
    (re.compile(r"(?<![A-Za-z0-9])([lrLR])(?![A-Za-z0-9])"), True),  # l_hip, hip.L
    (re.compile(r"^([LR](?=[A-Z][a-z])|[lr](?=[A-Z]))"), True),  # LHip, lHip
    (re.compile(r"(?<=[a-z])([LR])(?=\d*$)"), True),  # hipL, hipR2
    (re.compile(r"(?<![A-Za-z])((?i:left|right))|((?i:left|right))(?![a-z])"), False),  # lefthip, eyeleft
    (re.compile(r"(?<=(?<![A-Za-z])[A-Z])([LR])(?![A-Za-z])|(?<=(?<![A-Za-z])[a-z])([lr])(?![A-Za-z])"), False),  # FL
    (re.compile(r"(?<![A-Za-z])([LR])(?=[A-W](?![A-Za-z]))|(?<![A-Za-z])([lr])(?=[a-w](?![A-Za-z]))"), False),  # LF, lk
    (re.compile(r"(?<![A-Za-z])([LR])(?=[A-Z]{2})|^([lr])(?=[a-z]{2})"), False),  # LKNE, arm_LKNE, lknee
    (re.compile(r"(?<![A-Za-z0-9])([lrLR])(?=\d)|(?<=[a-z]{2})([lr])$"), False),  # L1A, hipl
)
_WORDS = re.compile(r"[A-Za-z0-9]+|[^A-Za-z0-9]+")
_BETWEEN = "-"
_OTHER = {"left": "right", "right": "left", "l": "r", "r": "l"}


@dataclass(frozen=True)
class Reading:
    """One way to read a side out of a name.  certain: the name tells it without looking at other names."""

    side: str
    partner: str
    certain: bool


def readings(name: str) -> Iterator[Reading]:
    """Every way to read a side out of `name`, the most telling first.

    >>> next(readings("RShoulder"))
    Reading(side='right', partner='LShoulder', certain=True)
    >>> next(readings("left_hip-right_knee")).partner
    'right_hip-left_knee'
    """
    for pattern, certain in _PATTERNS:
        words = [match.group(match.lastindex or 1) for match in pattern.finditer(name)]
        if words:
            sides = ["left" if word.lower() in ("left", "l") else "right" for word in words]
            yield Reading(sides[0], pattern.sub(_exchanged, name), certain and len(set(sides)) == 1)


def _exchanged(match: re.Match[str]) -> str:
    """The other word in the same letters: RIGHT, Right, right."""
    word = match.group(match.lastindex or 1)
    other = _OTHER[word.lower()]
    if word.isupper():
        return other.upper()
    return other.capitalize() if word[0].isupper() else other


def side(name: str) -> str | None:
    """`left` or `right` where the name alone tells it for certain, else None.

    >>> side("MOUTH_LEFT"), side("ring_finger1")
    ('left', None)
    """
    sides = {reading.side for reading in readings(name) if reading.certain}
    return sides.pop() if len(sides) == 1 else None


def partner_name(name: str) -> str | None:
    """The name on the other side, where the name alone tells its side; else None.

    >>> partner_name("hipL"), partner_name("neck")
    ('hipR', None)
    """
    return next((reading.partner for reading in readings(name) if reading.certain), None) if side(name) else None


@dataclass(frozen=True)
class PairProposal:
    """Pairs read from names.

    pairs: (left, right) indices.  center: joints that name no side.  sided: those that name one and have no partner.
    """

    pairs: tuple[tuple[int, int], ...]
    center: tuple[int, ...]
    sided: tuple[int, ...]


def infer_pairs(names: Sequence[str]) -> PairProposal:
    """Pair joints by their names; a joint whose partner's name does not exist is listed under `sided`.

    >>> infer_pairs(["nose", "left_eye", "right_eye"]).pairs
    ((1, 2),)
    """
    options = _existing_partners(names)
    # Joints that name each other first, then what is left: of LR, RR and RL the pair is RR and RL in every order.
    mutual: list[tuple[int, int, str]] = []
    others: list[tuple[int, int, str]] = []
    for index, candidates in options.items():
        first = candidates[0][0]
        is_mutual = first in options and options[first][0][0] == index
        mutual += [(index, *candidates[0])] if is_mutual else []
        others += [(index, *candidate) for candidate in candidates]
    partner: dict[int, int] = {}
    pairs: list[tuple[int, int]] = []
    for index, other, index_side in (*mutual, *others):
        if index not in partner and other not in partner:
            partner[index], partner[other] = other, index
            pairs.append((index, other) if index_side == "left" else (other, index))
    rest = [index for index in range(len(names)) if index not in partner]
    sided = tuple(index for index in rest if side(names[index]))
    center = tuple(index for index in rest if not side(names[index]))
    return PairProposal(tuple(sorted(pairs, key=min)), center, sided)


def _existing_partners(names: Sequence[str]) -> dict[int, list[tuple[int, str]]]:
    """Of every name the joints that its readings call its partner, with its side, the most telling first."""
    position = {name: index for index, name in enumerate(names)}
    # `r.hip` and `L.hip` are partners; of `L` and `l` neither is looked up so, or both would be the left one of `R`.
    small = Counter(map(str.casefold, names))
    in_small = {name.casefold(): index for index, name in enumerate(names) if small[name.casefold()] == 1}
    options: dict[int, list[tuple[int, str]]] = {}
    for index, name in enumerate(names):
        for reading in readings(name):
            other = position.get(reading.partner)
            if other is None and small[name.casefold()] == 1:
                other = in_small.get(reading.partner.casefold())
            if other is not None and other != index:
                options.setdefault(index, []).append((other, reading.side))
    return options


# ---- partners of things -------------------------------------------------------------------------------------------
def partners_of(items: Sequence[str], body: Skeleton, has_ends: bool = False) -> tuple[tuple[int, int], ...]:
    """Pairs of positions in `items`; what is in none is its own partner.

    Four questions are asked of an item, in this order: is it a joint; is it made of joints (`left_hip-right_knee`: what
    lies between them); has it a word that partners of the skeleton exchange (`FL_foot`, where joints are FL_hip,
    FR_hip); does its name tell a side by itself? The skeleton decides: where it pairs FL_hip with RL_hip, as the mirror
    between front and back does, FL and RL are partners, too.
    has_ends: it is another thing from the other end, as the vector from one joint to the other is.
    Raises Wrong where a name has a side and its partner is not listed.
    """
    image = {joint: body.joints[body.partner(index)] for index, joint in enumerate(body.joints)}
    words, partner, silent = _exchanged_words(body), dict[str, str](), list[str]()
    for item in items:
        joints, split = _joints_in(item, image), list[str](_WORDS.findall(item))
        named = [_BETWEEN.join([image[joint] for joint in joints])] if joints else []
        if joints and not has_ends:  # the distance left_hip-right_knee may be listed as left_knee-right_hip
            named.append(_BETWEEN.join(image[joint] for joint in reversed(joints)))
        if not joints and any(word in words for word in split):
            named = ["".join([words.get(word, word) for word in split])]
        silent += [] if named else [item]
        listed = item if item in named else next((name for name in named if name in items), None)
        if named and listed is None:
            _refuse(f"{item!r} without its partner {named[0]!r}")
        partner[item] = listed or item
    for one, other in _by_names(silent, body):
        partner[one], partner[other] = other, one
    pairs = {tuple(sorted((items.index(one), items.index(other)))) for one, other in partner.items() if one != other}
    return tuple(sorted((one, other) for one, other in pairs))


def _refuse(facts: str) -> NoReturn:
    remedy = "list both, mend the skeleton's pairs, or give those of the items: swap: [[A, B], ...] (`swap: []`: none)"
    raise Wrong(facts, remedy, kind=UnpairedJointError)


def _joints_in(item: str, joints: Iterable[str]) -> list[str]:
    """The joint of that name, or the two or three that a name is made of; empty where it is made of none."""
    if item in joints:
        return [item]
    parts = item.split(_BETWEEN)
    cuts = [*combinations(range(1, len(parts)), 1), *combinations(range(1, len(parts)), 2)]
    for cut in cuts:
        bounds = [0, *cut, len(parts)]
        names = [_BETWEEN.join(parts[start:stop]) for start, stop in zip(bounds, bounds[1:], strict=False)]
        if all(name in joints for name in names):
            return names
    return []


def _exchanged_words(body: Skeleton) -> dict[str, str]:
    """Words of joint names that partners exchange: left and right, or FL and FR; none that goes to several others."""
    words: dict[str, str] = {}
    dropped: set[str] = set()
    for i, j in body.pairs:
        # FL_hip and FR_hip differ in one word: FL and FR are exchanged.
        first, second = _WORDS.findall(body.joints[i]), _WORDS.findall(body.joints[j])
        apart = [pair for pair in zip(first, second, strict=False) if pair[0] != pair[1]]
        if len(first) != len(second) or len(apart) != 1:
            continue
        for word, other in (apart[0], apart[0][::-1]):
            if words.setdefault(word, other) != other:
                dropped.add(word)
    # A word of a joint in the middle tells no side, whatever pairs exchange.
    for index in body.center:
        dropped.update(_WORDS.findall(body.joints[index]))
    return {word: other for word, other in words.items() if word not in dropped and other not in dropped}


def _by_names(names: Sequence[str], body: Skeleton) -> list[tuple[str, str]]:
    """Pairs by names alone, of items of which the skeleton says nothing. Raises Wrong.

    Names count where the skeleton pairs its own joints by name, too, which a mirror between front and back does not.
    """
    proposal, of_body = infer_pairs(names), infer_pairs(body.joints).pairs
    sided = [*proposal.sided, *chain.from_iterable(proposal.pairs)]
    if proposal.sided or (sided and any(body.partner(i) != j for i, j in of_body)):
        _refuse(f"{names[sided[0]]!r} names a side, and its partner is not listed, or {body.name} pairs other sides")
    return [(names[i], names[j]) for i, j in proposal.pairs]
