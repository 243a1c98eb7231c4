"""The entries of the answers on which two mirrors disagree, and how far each of them is off there.

Two mirrors that treat an input otherwise predict all answers otherwise, if most of them by little. So one number with
a wrong sign among hundreds is hidden where all of them count alike. Where it is an answer as well, the two mirrors give
that answer opposite signs, and there alone they can be told apart:

    yaw rate of 263 numbers a frame, its sign kept in input and output      gap of T    of the other sign
    all entries                                                             0.163       0.154
    the yaw rate alone                                                      1.76        0.47
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite, sqrt

import torch

from chiralize.symmetry.involution import shape_along
from chiralize.symmetry.representation import TensorRepresentation
from chiralize.verification.evidence.answers import FEWEST_ROWS, Answers

_EQUAL = 1e-9
"""Of the largest answer: two predictions that are no further apart are the same."""
NOT_WORSE = 1.05
"""The largest ratio of an output up to which a mirror counts as no worse there."""
_HIDDEN = 0.25
"""The share of all entries on which two mirrors disagree, up to which those with other signs are hidden by the rest."""


@dataclass(frozen=True)
class Sums:
    """Sums of squares over the entries that two mirrors predict differently.

    given, here: how far f(x) is from the prediction of the given mirror, and of the other.  spread: how far it is from
    its mean, or a forecast's displacement from the mean of that.  numbers: how many entries, in all samples together.
    """

    given: float = 0.0
    here: float = 0.0
    spread: float = 0.0
    numbers: int = 0

    @property
    def ratio(self) -> float:
        """RMS of what the other mirror misses over that of the given one; infinite where that has no number."""
        ratio = sqrt(self.here / self.given) if self.given else inf
        return ratio if isfinite(ratio) else inf


def disputed(
    answers: Answers,
    index: int,
    mirrors: tuple[TensorRepresentation, TensorRepresentation],
    predicted: tuple[Sequence[torch.Tensor], Sequence[torch.Tensor]],
) -> Sums:
    """The sums by which one output tells two mirrors apart.

    mirrors: the given one and the other, on this output.  predicted: T f(T x) by either, stack by stack.
    Of entries that get other signs alone, where these are few and the other mirror fits no worse on all.
    """
    of_all = _sums(answers, index, predicted)
    signs = _with_other_signs(*mirrors)
    if signs is None or of_all.ratio > NOT_WORSE:
        return of_all
    of_few = _sums(answers, index, predicted, signs)
    return of_few if 0 < of_few.numbers <= _HIDDEN * of_all.numbers else of_all


def _sums(
    answers: Answers,
    index: int,
    predicted: tuple[Sequence[torch.Tensor], Sequence[torch.Tensor]],
    entries: torch.Tensor | None = None,
) -> Sums:
    """The sums of one output.

    entries: those that count, to be broadcast to an answer; None for all. What both miss is then taken about its mean:
    a network that leans to one side has a mean there that neither sign explains.
    """
    sums = Sums()
    columns = (answers.plain(index), *predicted, answers.moved(index))
    for plain, one, two, moved in zip(*columns, strict=True):  # "call ..." of one stack
        differ = (one - two).abs() > _EQUAL * plain.abs().max()
        missed, missed_by_other = plain - one, plain - two
        if entries is not None:
            differ &= entries
            missed, missed_by_other = _about_mean(missed), _about_mean(missed_by_other)
        sums = Sums(
            sums.given + float(missed.square()[differ].sum()),
            sums.here + float(missed_by_other.square()[differ].sum()),
            sums.spread + float(moved.square()[differ].sum()),
            sums.numbers + int(differ.sum()),
        )
    return sums


def _about_mean(stack: torch.Tensor) -> torch.Tensor:
    """A stack "call sample ..." about its mean over all samples, where there are enough to have one."""
    if stack.ndim < 2 or len(stack) * stack.shape[1] < FEWEST_ROWS:
        return stack
    return stack - stack.mean((0, 1), keepdim=True)


def _with_other_signs(one: TensorRepresentation, other: TensorRepresentation) -> torch.Tensor | None:
    """The entries of an answer to which two mirrors give other signs, where both take all entries from the same places.

    Returns true for these, with one entry along every axis that neither negates; None where there are none, and where
    the mirrors exchange different entries.
    """
    for along, beside in zip(one.axes, other.axes, strict=True):
        places, places_beside = abs(along), abs(beside)
        if places != places_beside and not (places.is_trivial and places_beside.is_trivial):
            return None
    differ = _signs(one) != _signs(other)
    return differ if differ.any() else None


def _signs(representation: TensorRepresentation) -> torch.Tensor:
    """The sign that every entry gets, with one entry along axes that have none."""
    axes = representation.axes
    signs = torch.full([1] * len(axes), representation.sign)
    for axis, along in enumerate(axes):
        if not along.is_sign_free:
            signs = signs * torch.tensor(along.action.sign.tolist()).reshape(shape_along(axis, len(axes)))
    return signs
