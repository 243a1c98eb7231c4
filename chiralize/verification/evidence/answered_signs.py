"""Other signs of the entries of an answer, read off the answers themselves.

Under T an answer y is predicted by z = T f(T x), entry by entry, so that the two go together. An entry of which -z goes
with y has the other sign: angles of a head among hundreds of coordinates, whose gap is lost in that of the whole.

Example: entry 5 answers 0.3, -0.2, 0.5 to three samples, and T predicts -0.3, 0.2, -0.5. The two go against each other
entirely (their correlation is -1), and with the sign of T turned nothing is left.

`mirror_evidence` compares the mirror with these signs with T, as any other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import torch

from chiralize.errors.words import listed, when
from chiralize.graph.mirror import NetworkMirror
from chiralize.symmetry.involution import SignedPermutation
from chiralize.verification.evidence.answers import Answers
from chiralize.verification.evidence.records import Candidate
from chiralize.verification.evidence.repairing import with_action

_AGAINST = -0.5
"""The correlation of y and z below which an entry has the other sign."""
_BETTER = 0.25
"""The share of its squared error that the other sign may leave: of an answer that is off its mirror image by a constant
nothing is known."""
_FAINT = 0.05
"""Entries whose spread is less than this share of that of their output may answer anything."""
_FEWEST = 20
"""Of fewer answers some of many entries that are noise seem to go against their images."""
_NAMED = 4


def with_other_signs(answers: Answers, mirror: NetworkMirror, indices: Collection[int]) -> Iterator[Candidate]:
    """T with the signs that the entries of one output have by their answers; nothing where T has these.

    indices: of the outputs that are looked at; those that are mirrored at a point other than 0 are not.
    Raises ModelRunError.
    """
    for index in indices:
        representation = mirror.outputs[index]
        if mirror.center_of(index) is not None:
            continue
        stacks = list(zip(answers.plain(index), answers.turned_back(mirror, index), strict=True))
        for position, axis in enumerate(representation.axes):
            # Axes that T acts on, and the last one, where numbers that it leaves alone may have a sign after all. Not
            # axes whose size differs from the example's, as of frames.
            is_last = 0 < position == len(representation.axes) - 1
            if (axis.is_trivial and not is_last) or any(plain.shape[position + 1] != axis.size for plain, _ in stacks):
                continue
            against = _answer_against(stacks, position)
            action = axis.action
            against &= against[action.partner]  # partners have one sign
            if not against.any():
                continue
            other = SignedPermutation(action.partner, np.where(against, -action.sign, action.sign))
            words = _in_words(mirror, index, position, other, against)
            yield Candidate(words, with_action(mirror, index, position, other))


def _answer_against(stacks: Sequence[tuple[torch.Tensor, torch.Tensor]], position: int) -> np.ndarray:
    """Which entries along one axis answer the mirror image with the other sign, "entry".

    stacks: y and z, calls first.  None do where there are too few answers.
    """
    rows: list[tuple[torch.Tensor, torch.Tensor]] = []
    for plain, mirrored in stacks:
        rows.append((_by_entry(plain, position), _by_entry(mirrored, position)))
    y, z = (torch.cat(column) for column in zip(*rows, strict=True))
    if len(y) < _FEWEST:
        return np.zeros(y.shape[1], bool)
    about_y, about_z = y - y.mean(0), z - z.mean(0)
    spread = about_y.square().sum(0)
    products = (about_y * about_z).sum(0)
    size = (spread * about_z.square().sum(0)).sqrt()
    is_against = products < _AGAINST * size
    is_better = (y + z).square().sum(0) < _BETTER * (y - z).square().sum(0)
    varies = spread > _FAINT**2 * spread.mean()
    return (is_against & is_better & varies).numpy()


def _by_entry(stack: torch.Tensor, position: int) -> torch.Tensor:
    """The answers of a stack of calls as "answer entry"."""
    return stack.movedim(position + 1, -1).flatten(0, -2)


def _in_words(mirror: NetworkMirror, index: int, position: int, action: SignedPermutation, against: np.ndarray) -> str:
    """`the other signs of head.pitch (kept), head.roll (negated) of output 0`, with what T then does to each.

    action: with these signs.
    """
    entry = [0] * len(mirror.outputs[index].axes)
    labels = list[str]()
    for one, other in enumerate(map(int, action.partner)):
        if not against[one] or other < one:
            continue
        entry[position] = one
        label = mirror.label("output", index, tuple(entry))
        if one == other:
            becomes = "kept" if action.sign[one] > 0 else "negated"
        else:
            becomes = "swapped" if action.sign[one] > 0 else "swapped and negated"
        labels.append(f"{label} ({becomes})")
    return f"the other sign{when(len(labels) > 1, 's')} of {listed(labels, _NAMED)} of output {index}"
