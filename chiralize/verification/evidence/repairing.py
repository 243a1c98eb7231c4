"""Other partners of the entries of an answer, read off the answers themselves.

Under T an answer y is predicted by z = T f(T x), entry by entry. Where z_k predicts y_i far better than z_i does, entry
i has the partner that T gives to k. So crossed pairs, and an order of joints that differs from side to side, are found
among any number of pairs without trying one after the other.

Example: T pairs (0 1) and (2 3), and right are (0 3) and (2 1). T hands z_0 the answer at entry 1, which is the mirror
image of entry 2. So z_0 predicts y_2, z_2 predicts y_0, and likewise 1 and 3: entry 0 gets T's partner of 2, so 3.

`mirror_evidence` compares the mirror with these partners with T, as any other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import torch

from chiralize.body.tensors.layout import parse_layout
from chiralize.body.tensors.resolved import ResolvedTensor
from chiralize.body.tensors.reversal import reversal
from chiralize.errors import NotAnInvolutionError
from chiralize.errors.words import listed, when
from chiralize.graph.mirror import NetworkMirror
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation
from chiralize.verification.evidence.answers import Answers
from chiralize.verification.evidence.records import AS_CLASSES, AT_ANOTHER_CELL, PAIRED, Candidate

_BETTER = 0.5
"""The share of an entry's squared error that another partner may leave, to be taken for its own."""
_WORTH = 0.1
"""The share of all squared error that new partners have to take away: entries that hardly move fit any."""
_LEAST = 0.05
"""How far T is off at an entry, in shares of what all of them vary by, for it to need another partner."""
_MOST_ENTRIES = 512
"""Entries of an axis beyond which the table of all errors, "n n", is not made."""
_NAMED = 2
_FEW = 5
"""Up to so many scores are named one by one, even if all of them are reversed."""


def with_other_partners(
    answers: Answers,
    mirror: NetworkMirror,
    indices: Collection[int],
    scores: Collection[int] = (),
    tensors: Sequence[ResolvedTensor] = (),
) -> Iterator[Candidate]:
    """T with the partners that predict the entries of one output best; nothing where T has these.

    indices: of the outputs that are looked at.  scores: those that T leaves as they are, of which the last axis is
    looked at, unless it is that of the samples.  tensors: all outputs as the specification has them, for words that it
    uses itself.  Raises ModelRunError.
    """
    for index in (*indices, *scores):
        representation = mirror.outputs[index]
        for position, axis in enumerate(representation.axes):
            is_of_scores = index in scores and 0 < position == len(representation.axes) - 1
            if (axis.is_trivial and not is_of_scores) or axis.size > _MOST_ENTRIES:
                continue
            if any(stack.shape[position + 1] != axis.size for stack in answers.plain(index)):
                continue  # of frames, whose number differs from the example's
            # The action of T with other partners and its own signs, if that is an involution.
            least = _LEAST**2 * answers.unit(index) / axis.size
            changed = _partners(_errors(answers, mirror, index, position), axis.action, least)
            partner = axis.action.partner.copy()
            partner[list(changed)] = list(changed.values())
            try:
                action = SignedPermutation(partner, axis.action.sign)
            except NotAnInvolutionError:
                continue
            if changed:
                words = _in_words(mirror, index, position, changed)
                if is_of_scores:
                    words = _of_scores(index, axis.size, changed)
                if tensors:
                    words = _as_written(tensors[index], position, action) or words
                yield Candidate(words, with_action(mirror, index, position, action))


def with_action(mirror: NetworkMirror, index: int, position: int, action: SignedPermutation) -> NetworkMirror:
    """T with another action on one axis of one output."""
    axes = list(mirror.outputs[index].axes)
    axes[position] = Representation.of(action)
    outputs = list(mirror.outputs)
    outputs[index] = replace(outputs[index], axes=tuple(axes))
    return replace(mirror, outputs=tuple(outputs))


def _errors(answers: Answers, mirror: NetworkMirror, index: int, position: int) -> np.ndarray:
    """Squares of y_i - z_k over all answers, of all entries along one axis, "n n"; infinite where signs differ."""
    squares = products = predicted = torch.zeros(())
    # |y_i - z_k|² = |y_i|² - 2 y_i z_k + |z_k|², over all answers at once. The stack has the axis of calls in front.
    for plain, mirrored in zip(answers.plain(index), answers.turned_back(mirror, index), strict=True):
        y, z = (stack.movedim(position + 1, -1).flatten(0, -2) for stack in (plain, mirrored))
        squares = squares + y.square().sum(0)
        products = products + y.T @ z
        predicted = predicted + z.square().sum(0)
    errors = (squares[:, None] - 2 * products + predicted).clamp(min=0).numpy()
    sign = mirror.outputs[index].axes[position].action.sign
    return np.where(sign[:, None] == sign, errors, np.inf)


def _partners(errors: np.ndarray, action: SignedPermutation, least: float) -> dict[int, int]:
    """The new partners of entries, both ways round; none where they take too little of the error away.

    least: the squared error under T up to which an entry hardly moves.
    """
    before = np.diagonal(errors)
    best = errors.argmin(1)
    after = errors[np.arange(len(errors)), best]
    clear = (after < _BETTER * before) & (before > least)
    # Partners are mutual: the new partner has to be as clear about this entry.
    changed = dict[int, int]()
    for entry in map(int, np.flatnonzero(clear)):
        other = int(action.partner[best[entry]])
        if clear[other] and action.partner[best[other]] == entry:
            changed[entry] = other
    gained = sum(float(before[entry] - after[entry]) for entry in changed)
    return changed if gained >= _WORTH * before.sum() else {}


def _of_scores(index: int, size: int, changed: Mapping[int, int]) -> str:
    """``entries 18 and 19 of output 0 swapped (`classes: {swap: [[18, 19]]}`)``, or that all of them are reversed."""
    if size > _FEW and len(changed) >= size - 1 and all(one + other == size - 1 for one, other in changed.items()):
        return f"the last axis of output {index} reversed (`~` before its word in the layout)"
    pairs = [[one, other] for one, other in sorted(changed.items()) if one < other]
    names = ", ".join(f"{one} and {other}" for one, other in pairs[:_NAMED]) + when(len(pairs) > _NAMED, ", ...")
    return f"entries {names} of output {index} {AS_CLASSES}{pairs}}}`)"


def _as_written(tensor: ResolvedTensor, position: int, action: SignedPermutation) -> str:
    """The action on an axis as the specification has it: another cell where it reverses the axis, other classes where
    it swaps these; "" where it says neither.

    A ring that is reversed at a cell has no partners beyond its ends; one that begins elsewhere is a list of classes.
    """
    layout = parse_layout(tensor.layout)
    words = [word for word, _ in tensor.entry.mirror if layout.axis_of(word) == position]
    is_last = position == len(tensor.shape) - 1
    if not words and not (tensor.kind == "classes" and is_last):
        return ""
    for word in words:
        if (cell := _cell_of(action)) is not None:
            return f"axis {word} of {tensor.where} {AT_ANOTHER_CELL} (`mirror: {{{word}: {float(cell):g}}}`)"
    names = tensor.names if tensor.kind == "classes" and tensor.name_axis == position else ()
    pairs = list[str]()
    for one, other in enumerate(action.partner.tolist()):
        if one < other:
            pairs.append(f"[{names[one]}, {names[other]}]" if names else f"[{one}, {other}]")
    shown = ", ".join(pair[1:-1].replace(", ", " and ") for pair in pairs[:_NAMED]) + when(len(pairs) > _NAMED, ", ...")
    swapped = f"entries {shown} of {tensor.where} {AS_CLASSES}[{', '.join(pairs)}]}}`"
    return swapped + (f" in place of `mirror: {words[0]}`)" if words else ", and no others)")


def _cell_of(action: SignedPermutation) -> Fraction | None:
    """The cell at which an axis is reversed, None for another action; of several the one nearest to the middle."""
    size = len(action.partner)
    for twice in sorted(range(2 * size - 1), key=lambda ends: abs(ends - (size - 1))):
        cell = Fraction(twice, 2)
        if reversal(size, cell, "").partner.tolist() == action.partner.tolist():
            return cell
    return None


def _in_words(mirror: NetworkMirror, index: int, position: int, changed: Mapping[int, int]) -> str:
    """`toe_r paired with toe_l and 5 more in output 0`: joints where all their coordinates go with them."""
    entry = [0] * len(mirror.outputs[index].axes)
    labels = dict[int, str]()
    for entry[position] in sorted(changed):
        labels[entry[position]] = mirror.label("output", index, tuple(entry))
    # Labels are `joint.coordinate`: pairs of entries are collected by the joints that they belong to.
    coordinates: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for one, other in changed.items():
        if one <= other:
            pair = labels[one], labels[other]
            joints = pair[0].rpartition(".")[0] or pair[0], pair[1].rpartition(".")[0] or pair[1]
            coordinates.setdefault(joints, []).append(pair)
    pairs = list[str]()
    for joints, single in coordinates.items():
        named = [joints] if len(single) > 1 and joints[0] != joints[1] else single
        pairs += [f"{one} {PAIRED} {other}" for one, other in named]
    return f"{listed(pairs, _NAMED)} in output {index}"
