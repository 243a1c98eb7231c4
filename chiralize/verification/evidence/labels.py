"""Left and right in the labels of the entries of a tensor: which entry belongs to which, where the labels tell.

A label may name several sides, `distance.left_hip-right_knee`: its mirror image has all of them exchanged. A distance
of two joints is the same from either end, so that `right_knee-left_hip` is the same entry, and so is an angle of three.

    labels            left_hip.x   right_hip.x   head.x     d.left_hip-right_knee    d.left_knee-right_hip
    image by words    right_hip.x  left_hip.x    (silent)   d.right_hip-left_knee    d.right_knee-left_hip
    partner           1            0             as T       4, from the other end    3, from the other end

`names` compares these partners with those of T.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chiralize.body.skeleton.between import Words, divided, from_the_other_end
from chiralize.body.skeleton.naming import infer_pairs
from chiralize.symmetry.involution import SignedPermutation

_WORDS = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class NamedPartners:
    """The partner of every entry along an axis.

    partner: by its label where that tells, else as T has it.  tells: which labels do.
    """

    partner: npt.NDArray[np.int64]
    tells: npt.NDArray[np.bool_]


def partners_by_label(labels: Sequence[str], action: SignedPermutation) -> NamedPartners | None:
    """The partner of every label by the sides in it, or None where no label tells one.

    action: T on the axis. A label without a side, `face-3`, speaks neither for it nor against it; nor does one whose
    mirror image is no label. The numbers of points of a grid, `left_foot[3,7]`, name no side either.
    """
    if len(set(labels)) < len(labels):
        return None
    opposite = _opposite_words(labels)
    by_words: dict[Words, list[int]] = {}
    for index, label in enumerate(labels):
        by_words.setdefault(tuple(_WORDS.findall(label)), []).append(index)
    position = {label: index for index, label in enumerate(labels)}
    image: dict[int, int] = {}
    for index, label in enumerate(labels):
        turned = _WORDS.sub(lambda word: opposite.get(word.group(), word.group()), label)
        if turned == label:
            continue
        # A point of a grid has the partner that T gives it, if that is on the right grid; any other label the one with
        # its words exchanged, or the only one with these words from the other end.
        given = labels[int(action.partner[index])]
        if label.endswith("]") and given.partition("[")[0] == turned.partition("[")[0]:
            image[index] = position[given]
        elif turned in position:
            image[index] = position[turned]
        else:
            ends = {at for words in _from_the_other_end(turned) for at in by_words.get(words, ())}
            if len(ends) == 1:
                image[index] = ends.pop()
    return _completed(image, action)


def _opposite_words(labels: Sequence[str]) -> dict[str, str]:
    """Words of the labels by the word for the other side."""
    words = sorted({word for label in labels for word in _WORDS.findall(label)})
    opposite: dict[str, str] = {}
    for i, j in infer_pairs(words).pairs:
        opposite[words[i]], opposite[words[j]] = words[j], words[i]
    return opposite


def _from_the_other_end(label: str) -> Iterator[Words]:
    """The words of a label whose last two or three parts, wherever they begin and meet, come in the other order."""
    words = tuple(_WORDS.findall(label))
    for start in range(len(words) - 1):
        for joints in divided(words[start:]):
            yield words[:start] + from_the_other_end(joints)


def _completed(image: dict[int, int], action: SignedPermutation) -> NamedPartners | None:
    """Partners of all entries; where T takes a silent one to one that tells another partner, it is its own."""
    partner = np.arange(action.size)
    tells = np.zeros(action.size, dtype=bool)
    for index, other in image.items():
        if image.get(other) == index:  # partners are mutual: an image whose own image is another entry tells nothing
            partner[index], tells[index] = other, True
    if not tells.any():
        return None
    silent = ~tells & ~tells[action.partner]  # neither the entry nor the one that T takes it to
    partner[silent] = action.partner[silent]
    return NamedPartners(partner, tells)
