"""Partners among bodies, feet or sites: as the joints of the skeleton are paired, or as the names say.

The skeleton decides. Where it pairs FL_hip with FR_hip, FL and FR are partners; where it pairs FL_hip with RL_hip, as
the mirror between front and back does, FL and RL are. Names speak where the skeleton is silent, and only if they agree
with its pairs.

Four questions are asked of an item, in this order: is it a joint; is it made of joints (`left_hip-right_knee`); has it
a word that partners of the skeleton exchange (`FL_foot`, where joints are FL_hip, FR_hip); does its name tell a side by
itself? An item to which all say no is its own partner.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from chiralize.body.skeleton.between import Words, divided, from_the_other_end
from chiralize.body.skeleton.naming import infer_pairs, partner_name, readings
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.errors import UnpairedJointError

_WORDS = re.compile(r"[A-Za-z0-9]+|[^A-Za-z0-9]+")
_BETWEEN = "-"
Pairs = tuple[tuple[int, int], ...]


def partners_of(items: Sequence[str], body: Skeleton, where: str, has_ends: bool = False) -> Pairs:
    """Pairs of positions in `items`; what is in none is its own partner.

    Names of two or three joints, `left_hip-right_knee`, are of what lies between them: its partner has the partners of
    the joints.  has_ends: it is another thing from the other end, as the vector from one joint to the other is.
    Raises UnpairedJointError where a name has a side, and its partner is not listed.

    >>> body = Skeleton("dog", ("FL_hip", "FR_hip"), ((0, 1),))
    >>> partners_of(["base", "FR", "FL"], body, "feet")
    ((1, 2),)
    """
    position = {item: number for number, item in enumerate(items)}
    words = _swapped_words(body)
    partner: dict[int, int] = {}
    for number, item in enumerate(items):
        other = _partner(item, body, words)
        if other is None or other == item:
            continue  # nothing is known by the skeleton, or it is its own partner
        # The distance left_hip-right_knee may be listed as left_knee-right_hip on the other side.
        if other not in position and not has_ends:
            turned = _from_the_other_end(other, body)
            other = turned if turned in position else other
        if other not in position:
            raise _without_partner(where, item, other)
        partner[number] = position[other]
    silent = [number for number in range(len(items)) if number not in partner]
    pairs = {(min(pair), max(pair)) for pair in partner.items() if pair[0] != pair[1]}
    return tuple(sorted(pairs | _told_by_names(items, silent, body, where)))


def sides_of(body: Skeleton) -> list[str]:
    """The words that name sides in the joints of a skeleton, in their order: `l`, `r`, or `FL`, `FR`, `RL`, `RR`.

    >>> sides_of(Skeleton("biped", ("torso", "l_hip", "r_hip"), ((1, 2),)))
    ['l', 'r']
    """
    swapped = _swapped_words(body)
    words = [word for joint in body.joints for word in _WORDS.findall(joint)]
    return [word for word in dict.fromkeys(words) if word in swapped]


def _partner(item: str, body: Skeleton, words: Mapping[str, str]) -> str | None:
    """The partner of an item as the skeleton has it: of the joint of that name, else of the words in the name."""
    if item in body.joints:
        return body.joints[body.partner(body.index(item))]
    joints = _joints_in(item, body)
    if joints is not None:
        return _BETWEEN.join(body.joints[body.partner(body.index(joint))] for joint in map(_BETWEEN.join, joints))
    split = _WORDS.findall(item)
    if not any(word in words for word in split):
        return None
    return "".join(words.get(word, word) for word in split)


def _joints_in(item: str, body: Skeleton) -> tuple[Words, ...] | None:
    """The joints in a name, None where it is not made of two or three; each as what stands between its hyphens."""
    for joints in divided(item.split(_BETWEEN)):
        if all(_BETWEEN.join(joint) in body.joints for joint in joints):
            return joints
    return None


def _from_the_other_end(item: str, body: Skeleton) -> str:
    """The name with its joints in the other order; one that is not made of joints as it is."""
    joints = _joints_in(item, body)
    return item if joints is None else _BETWEEN.join(from_the_other_end(joints))


def _swapped_words(body: Skeleton) -> dict[str, str]:
    """Words of joint names that partners exchange: left and right, or FL and FR; none that goes to several others."""
    swapped: dict[str, str] = {}
    ambiguous: set[str] = set()
    for i, j in body.pairs:
        # FL_hip and FR_hip differ in one word: FL and FR are exchanged.
        first, second = _WORDS.findall(body.joints[i]), _WORDS.findall(body.joints[j])
        apart = [pair for pair in zip(first, second, strict=False) if pair[0] != pair[1]]
        if len(first) != len(second) or len(apart) != 1:
            continue
        for word, other in (apart[0], apart[0][::-1]):
            if swapped.setdefault(word, other) != other:
                ambiguous.add(word)
    # A word of a joint in the middle tells no side, whatever pairs exchange.
    unmoved = {word for index in body.center for word in _WORDS.findall(body.joints[index])}
    dropped = ambiguous | unmoved
    return {word: other for word, other in swapped.items() if word not in dropped and other not in dropped}


def _told_by_names(items: Sequence[str], silent: Sequence[int], body: Skeleton, where: str) -> set[tuple[int, int]]:
    """Pairs by names, of the items of which the skeleton says nothing.

    silent: their positions. Raises UnpairedJointError where a name tells a side, and the skeleton's pairs are others
    than those of its names, as those of a mirror between front and back; or where a partner is missing.
    """
    names = [items[number] for number in silent]
    against = _against_names(body)
    if against:
        sided = [name for name in names if tells_side(name, names)]
        if sided:
            facts = f"{sided[0]!r} names a side, but {body.name} does not pair its joints by left and right: {against}"
            remedy = "mend the skeleton's pairs, or give those of the items: swap: [[A, B], ...] (`swap: []` for none)"
            raise UnpairedJointError(where, facts, remedy)
        return set()
    proposal = infer_pairs(names)
    if proposal.sided:
        name = names[proposal.sided[0]]
        raise _without_partner(where, name, partner_name(name) or "")
    return {(min(silent[i], silent[j]), max(silent[i], silent[j])) for i, j in proposal.pairs}


def tells_side(name: str, names: Sequence[str]) -> bool:
    """Whether a name speaks of left or right: for certain, or because its partner is among the names."""
    return any(reading.certain or reading.partner in names for reading in readings(name))


def _against_names(body: Skeleton) -> str:
    """The first two joints that names say are partners, and pairs do not; "" where there are none."""
    partner = dict(body.pairs) | {j: i for i, j in body.pairs}
    for i, j in infer_pairs(body.joints).pairs:
        if partner.get(i) != j:
            return f"{body.joints[i]!r} and {body.joints[j]!r} are no pair"
    return ""


def _without_partner(where: str, item: str, other: str) -> UnpairedJointError:
    """The error for an item whose partner is not listed."""
    facts = f"{item!r} without its partner {other!r}"
    remedy = f"add {other!r}, or give the pairs: swap: [[A, B], ...] (`swap: []` for none)"
    return UnpairedJointError(where, facts, remedy)
