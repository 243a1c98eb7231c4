"""Left and right in joint names: which side a name tells, and which other name is its partner.

Understood: the words left/right anywhere, single letters l/r between separators, capital L/R before a capital or
after a small letter, l/r before one more letter (rk and lk; with x, y, z they are coordinates), l/r behind one letter
that stands alone (the corners TL, TR, BL, BR), l/r before a number (L1A) or at the end (hipl), and the leg codes of
robots (FL/FR, LF/RF, HL/HR, LM/RM, LR/RR).
Partners may be written large and small, `r.hip` and `L.hip`. Where all names are electrodes of the 10-20 system, odd
numbers are left and even ones right. What else tells sides is seen where pairs are given: `_0`
and `_1`, as in most of them. Of several sides in one name, as in a distance between two joints,
`left_hip_right_knee`, the mirror image has all exchanged.

`infer_pairs` reads the pairs of a whole list of names: for `pairs: infer` in a skeleton file, for importers, and where
a robot's places leave a choice. `readings` is below all: every way to read a side out of one name, with the name that
its partner then has. Whether a joint of that name exists decides between doubtful readings: `lock` could be the left
one of `rock`, and is not, since nothing is called `rock`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations
from os.path import commonprefix

from chiralize.body.skeleton.electrodes import are_electrodes, electrode_partner, electrode_side

# (pattern, certain): `certain` patterns tell the side by themselves; the others only where the partner exists too.
# Group 1 is the word or letter that is exchanged. The order is that of `readings`: the first pair that exists counts.
_PATTERNS: tuple[tuple[re.Pattern[str], bool], ...] = (
    (re.compile(r"(?:(?<=^)|(?<=[^A-Za-z]))((?i:left|right))(?=$|[^a-z])"), True),  # left_hip, LeftHip, hip_LEFT
    (re.compile(r"(?:(?<=^)|(?<=[^A-Za-z]))((?i:left|right))(?=[a-z])"), False),  # lefthip
    (re.compile(r"(?<=[a-z])(Left|Right)(?=$|[^a-z])"), True),  # hipLeft
    (re.compile(r"(?<=[a-z])(left|right)(?=$|[^a-z])"), False),  # hipleft
    (re.compile(r"(?<![A-Za-z0-9])([lr])(?![A-Za-z0-9])", re.I), True),  # l_hip, hip.L
    (re.compile(r"^([LR])(?=[A-Z][a-z])"), True),  # LHip
    (re.compile(r"^([lr])(?=[A-Z])"), True),  # lHip
    (re.compile(r"(?<=[a-z])([LR])(?=\d*$)"), True),  # hipL, hipR2
    (re.compile(r"^([lr])(?=[a-z]{2}|[a-w]$)"), False),  # lknee, rk; not rx, a coordinate
    (re.compile(r"^([LR])(?=[A-W]$|[A-Z]{2})"), False),  # LKNE, LK
    (re.compile(r"(?<=[^A-Za-z])([LR])(?=[A-W]\d*$|[A-Z]{2})"), False),  # arm_LKNE, arm_LK2
    (re.compile(r"(?<![A-Za-z])([LR])(?=[A-W](?![A-Za-z]))"), False),  # LR_hip, left rear, whose partner is RR_hip
    (re.compile(r"(?<![A-Za-z])([lr])(?=[a-w](?![A-Za-z]))"), False),  # lr_hip
    (re.compile(r"(?<![A-Za-z0-9])([lr])(?=\d)", re.I), False),  # L1A, the first segment of an insect's leg
    (re.compile(r"(?<=[a-z]{2})([lr])$"), False),  # hipl
    (re.compile(r"(?<=(?<![A-Za-z0-9])[A-Z])([LR])(?![A-Za-z])"), False),  # TL, corner_BR
    (re.compile(r"(?<=(?<![A-Za-z0-9])[a-z])([lr])(?![A-Za-z])"), False),  # tl, corner_br
)
_MANY, _REPEATED = 3, 2
"""So many pairs at least whose names differ as those of another pair do are a rule."""
OPPOSITE = {"left": "right", "right": "left"}
# Front, rear, hind or back, and left or right, in either order; the letter of the side alone is exchanged.
_LEG_CODES = re.compile(r"(?<![A-Za-z])(FL|FR|RL|RR|LF|RF|LH|RH|HL|HR|BL|BR|LB|RB)(?![a-z])", re.I)
_LEG_PARTNER = {"FL": "FR", "RL": "RR", "HL": "HR", "BL": "BR", "LF": "RF", "LH": "RH", "LB": "RB"}
_PARTNER = {"left": "right", "l": "r", **{code.lower(): other.lower() for code, other in _LEG_PARTNER.items()}}
_PARTNER |= {right: left for left, right in _PARTNER.items()}
_LEFT = {"left", "l"} | {code.lower() for code in _LEG_PARTNER}


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
    return iter(_all_readings(name))


@lru_cache(maxsize=4096)
def _all_readings(name: str) -> tuple[Reading, ...]:
    """What `readings` returns. Whoever looks through mirrors asks of the same names for each of them."""
    return tuple(_read(name))


def _read(name: str) -> Iterator[Reading]:
    """The readings of a name, one after the other."""
    certain_words = [match for pattern, certain in _PATTERNS if certain for match in pattern.finditer(name)]
    # One match for each place: two patterns may see the same letter.
    words = sorted({match.start(1): match for match in certain_words}.values(), key=lambda match: match.start(1))
    if len(words) > 1:
        yield from _all_exchanged(name, words)
        return
    # Before the patterns: in `FL_hip` these would find nothing certain. Mixed letters, `Fl`, are no code.
    for match in _LEG_CODES.finditer(name):
        if match.group(1).isupper() or match.group(1).islower():
            yield _reading(name, match, certain=False)
    for pattern, certain in _PATTERNS:
        for match in pattern.finditer(name):
            yield _reading(name, match, certain)


def side(name: str) -> str | None:
    """`left` or `right` where the name alone tells it for certain, else None.

    >>> side("MOUTH_LEFT"), side("ring_finger1")
    ('left', None)
    """
    sides = {reading.side for reading in readings(name) if reading.certain}
    if len(sides) != 1:
        return None
    return sides.pop()


def partner_name(name: str) -> str | None:
    """The name on the other side, where the name alone tells its side; else None.

    >>> partner_name("hipL"), partner_name("neck")
    ('hipR', None)
    """
    if side(name) is None:
        return None
    return next(reading.partner for reading in readings(name) if reading.certain)


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
    return _paired(tuple(names))


@lru_cache(maxsize=256)
def _paired(names: tuple[str, ...]) -> PairProposal:
    """What `infer_pairs` returns. Whoever looks through mirrors asks of the same joints for each of them."""
    return _electrode_pairs(names) if are_electrodes(names) else _pairs_of_words(names)


def _pairs_of_words(names: Sequence[str]) -> PairProposal:
    """The pairs by what `readings` finds in names."""
    options = _existing_partners(names)
    partner: dict[int, tuple[int, str]] = {}  # joint to its partner and its own side

    def pair(index: int, candidates: Iterable[tuple[int, str]]) -> None:
        """Pair a joint with the first candidate that is free, unless it has a partner already."""
        for other, index_side in candidates:
            if index not in partner and other not in partner:
                partner[index] = (other, index_side)
                partner[other] = (index, OPPOSITE[index_side])

    # Joints that name each other first, then what is left: of LR, RR and RL the pair is RR and RL in every order.
    for index, candidates in options.items():
        first, _ = candidates[0]
        if first in options and options[first][0][0] == index:
            pair(index, candidates[:1])
    for index, candidates in options.items():
        pair(index, candidates)
    pairs: set[tuple[int, int]] = set()
    for index, (other, index_side) in partner.items():
        pairs.add((index, other) if index_side == "left" else (other, index))
    center, sided = list[int](), list[int]()
    for index, name in enumerate(names):
        if index not in partner:
            group = center if side(name) is None else sided
            group.append(index)
    return PairProposal(tuple(sorted(pairs, key=min)), tuple(center), tuple(sided))


def _electrode_pairs(names: Sequence[str]) -> PairProposal:
    """The pairs of electrodes, C3 and C4; those of the midline have none.

    >>> _electrode_pairs(["Cz", "C4", "C3", "Fp1"])
    PairProposal(pairs=((2, 1),), center=(0,), sided=(3,))
    """
    position = _in_small_letters(names)
    pairs, center, sided = list[tuple[int, int]](), list[int](), list[int]()
    for index, name in enumerate(names):
        partner = electrode_partner(name)
        if partner is None:
            center.append(index)
        elif partner.casefold() not in position or name.casefold() not in position:
            sided.append(index)
        elif electrode_side(name) == "left":
            pairs.append((index, position[partner.casefold()]))
    return PairProposal(tuple(sorted(pairs, key=min)), tuple(center), tuple(sided))


def _existing_partners(names: Sequence[str]) -> dict[int, list[tuple[int, str]]]:
    """By name, the names that its readings give its partner, with its own side, the most telling first; without those
    that have none.
    """
    position = {name: index for index, name in enumerate(names)}
    in_small = _in_small_letters(names)
    options = dict[int, list[tuple[int, str]]]()
    for index, name in enumerate(names):
        # Of `L` and `l` neither may look among small letters, or both would be the left one of `R`.
        others = in_small if name.casefold() in in_small else {}
        candidates = list[tuple[int, str]]()
        for reading in readings(name):
            other = position.get(reading.partner, others.get(reading.partner.casefold()))
            if other is not None and other != index:
                candidates.append((other, reading.side))
        if candidates:
            options[index] = candidates
    return options


def _in_small_letters(names: Sequence[str]) -> dict[str, int]:
    """Where the names are, written small, that differ from all others by more than large and small letters."""
    small = Counter(map(str.casefold, names))
    return {name.casefold(): index for index, name in enumerate(names) if small[name.casefold()] == 1}


def unpaired_like_others(names: Sequence[str], pairs: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """Joints without partners whose names differ as those of given pairs do; none where each pair differs otherwise.

    Sides may have several marks: electrodes are odd on the left and even on the right, C1 and C2, C3 and C4.

    >>> unpaired_like_others(["a_0", "a_1", "b_0", "b_1", "c_0", "c_1", "d_0", "d_1"], [(0, 1), (2, 3), (4, 5)])
    [(6, 7)]
    """
    usual = Counter(_difference(names[first], names[second]) for first, second in pairs)
    # The difference of most pairs; of numbers, such as (1, 2) and (3, 4), all that come more than once.
    repeated = dict(usual.most_common(1))
    if repeated and all(mark.isdigit() for difference in repeated for mark in difference):
        for difference, count in usual.items():
            if count >= _REPEATED and difference[0].isdigit() and difference[1].isdigit():
                repeated[difference] = count
    if sum(repeated.values()) < max(_MANY, len(pairs) / 2):
        return []
    paired = {joint for pair in pairs for joint in pair}
    partnerless = [joint for joint in range(len(names)) if joint not in paired]
    alike = list[tuple[int, int]]()
    # Both orders, since the difference has one: (_0, _1) is the usual one, (_1, _0) is not.
    for first, second in permutations(partnerless, 2):
        if _difference(names[first], names[second]) in repeated:
            alike.append((first, second))
    return alike


def sided_like_others(names: Sequence[str], pairs: Sequence[Sequence[int]]) -> list[int]:
    """Joints without partners that begin with the one letter in which the names of all pairs differ.

    The next letter is a large one, as in every name of a pair, so that L5 and Rump are none of them.

    >>> sided_like_others(["LTOE", "RTOE", "LHEE", "RHEE", "LKNE", "RKNE", "CLAV", "RBAK"], [(0, 1), (2, 3), (4, 5)])
    [7]
    """
    # {L, R} as a set, since markers may be listed right first.
    sides, paired = set[frozenset[str]](), set[int]()
    for first, second in pairs:
        # One pair of another form is enough to say that the first letter is no rule here.
        if names[first][1:] != names[second][1:] or not (names[first].isupper() and names[second].isupper()):
            return []
        sides.add(frozenset((names[first][0], names[second][0])))
        paired |= {first, second}
    if len(pairs) < _MANY or len(sides) > 1:
        return []
    (letters,) = sides
    alike = list[int]()
    for joint, name in enumerate(names):
        if joint not in paired and name[0] in letters and name.isupper() and name[1:2].isalpha():
            alike.append(joint)
    return alike


def _difference(one: str, other: str) -> tuple[str, str]:
    """What is left of two names without what they begin and end with alike.

    >>> _difference("left_hip", "right_hip"), _difference("C3", "C4")
    (('lef', 'righ'), ('3', '4'))
    """
    one, other = one.casefold(), other.casefold()
    start = len(commonprefix([one, other]))
    one, other = one[start:], other[start:]
    end = len(commonprefix([one[::-1], other[::-1]]))
    return one[: len(one) - end], other[: len(other) - end]


def as_sets(pairs: Iterable[Sequence[int]]) -> set[frozenset[int]]:
    """Pairs whatever is listed first.

    >>> as_sets([(0, 1)]) == as_sets([(1, 0)])
    True
    """
    return set(map(frozenset, pairs))


def orient(pair: tuple[int, int], names: Sequence[str]) -> tuple[int, int]:
    """(left, right) by the names where they tell, else as given."""
    first, second = side_in_pair(names[pair[0]], names[pair[1]]), side_in_pair(names[pair[1]], names[pair[0]])
    if are_electrodes(names):
        first, second = electrode_side(names[pair[0]]), electrode_side(names[pair[1]])
    if first == "right" and second == "left":
        return pair[1], pair[0]
    return pair


def side_in_pair(name: str, other: str) -> str | None:
    """The side of `name` given that `other` is its partner (leg codes and bare prefixes are told apart by it)."""
    for reading in readings(name):
        if reading.partner.casefold() == other.casefold():
            return reading.side
    return side(name)


def _all_exchanged(name: str, words: Sequence[re.Match[str]]) -> Iterator[Reading]:
    """The readings of a name with several sides, one for each of them: so that a name with both tells neither.

    words: matches that do not overlap, in their order.
    """
    partner, end = "", 0  # of the partner's name what stands for name[:end]
    sides: dict[str, None] = {}
    for match in words:
        reading = _reading(name, match, certain=True)
        # The reading exchanges this word alone: what stands between what comes before it and what comes behind it.
        rest = len(name) - match.end(1)
        partner += name[end : match.start(1)] + reading.partner[match.start(1) : len(reading.partner) - rest]
        end = match.end(1)
        sides[reading.side] = None
    for word_side in sides:
        yield Reading(word_side, partner + name[end:], certain=True)


def _reading(name: str, match: re.Match[str], certain: bool) -> Reading:
    """The reading of one word or letter of a name, large and small letters kept: RIGHT, Right, right."""
    word = match.group(1)
    other = _PARTNER[word.lower()]
    if word.isupper():
        other = other.upper()
    elif word[0].isupper():
        other = other.capitalize()
    word_side = "left" if word.lower() in _LEFT else "right"
    return Reading(word_side, name[: match.start(1)] + other + name[match.end(1) :], certain)
