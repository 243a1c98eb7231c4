"""What scores decide, and for how many samples the mirror changes it: the task of a recogniser, where its gap is not.

    one of several classes      the highest score       walking, or waving with the left hand
    each by itself              above a threshold       left foot on the ground, right foot on the ground

Logits that are far from deciding may differ by much of their spread, and nobody reads by how much. So the gap of scores
is no measure of their task. Its errors are decisions. With a = f(x) and b = T f(T x):

    changed = share of decisions in which a and b differ
    worst   = the same among those of one class, or of one answer of one entry; 1 where one hardly occurs

`worst` is what a forgotten pair of classes shows, however rare they are: all of their decisions change.

How far scores are apart is asked of the probabilities that they stand for, not of the scores: those of 0.001 and of
0.00001 are 4.6 apart as logarithms, and nobody reads the difference (`as_shares`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from chiralize.body.tensors.resolved import ResolvedTensor
from chiralize.graph.mirror import NetworkMirror
from chiralize.verification.asymmetry.records import Decided, Shown

_SURE = 0.5
"""Scores that nobody called classes are some where the highest has so much of a sample in the mean, beyond an even
share of the rest, read as logits or as probabilities. Ten numbers about 0 with a spread of 1 have 0.35.
"""
_ROUNDING = 1e-4
_FEWEST_CLASSES = 3
"""Of two, neither is one that never occurs."""
_FEWEST_DECIDED = 4
"""Times that each class has to be decided for. Of one that the inputs do not show, nothing is known."""
_UNSEEN = 2
"""Decisions that count as unchanged, of every class: of three that change by chance, a class is not yet unlike."""
_MOST_OF_ONE, _SHOWN_CLASSES = 0.7, 0.5
"""Numbers that only stay are logits where no class has more of the decisions, and so many classes have some. Numbers of
several quantities have their largest in the same place mostly."""


class Decisions:
    """Running counts of one output.

    axis: of the classes; None where none are known, and where every entry is decided by itself.
    are_probable: whether all answers so far were probabilities, or their logarithms, whatever anybody called them.
    counts, lost: how often each class was decided for, and how often the mirror decides for another one.
    are_supposed: nobody called the entries decisions, and they are compared with 0.  sure: the shares that the highest
    of them have, summed up, where numbers are only said to stay: coefficients of a shape stay as well.
    """

    def __init__(self, tensor: ResolvedTensor | None) -> None:
        self.tensor = tensor
        classes = tensor.entry.classes if tensor is not None else None
        self.threshold = None if classes is None or classes.threshold is None else float(classes.threshold)
        self.are_supposed = tensor is not None and _may_be_yes_or_no(tensor)
        self.are_of_entries = self.threshold is not None or self.are_supposed
        self.axis: int | None = None
        if tensor is not None and not self.are_of_entries and tensor.kind in ("invariant", "classes"):
            self.axis = -1 if tensor.class_axis is None else tensor.class_axis
        self.are_probable = True
        self.counts: Tensor | None = None
        self.lost: Tensor | None = None
        self.sure = 0.0

    def add(self, plain: Tensor, back: Tensor) -> None:
        """Take f(x) and T f(T x) of one call in."""
        if self.tensor is None or not plain.ndim:
            return
        if self.are_of_entries:
            self._add_entries(plain, back, self.tensor)
            return
        if self.axis is not None and self.counts is None:
            self.axis = self._axis_of(plain, self.axis)
        if self.axis is not None and plain.shape[self.axis] > 1:
            self.sure += float(as_shares(plain, self.axis).max(self.axis).values.sum())
            self.are_probable = self.are_probable and _are_probabilities(plain, self.axis)
            best, other = plain.argmax(self.axis), back.argmax(self.axis)
            self._add(best.flatten(), other.flatten(), plain.shape[self.axis])

    def _axis_of(self, plain: Tensor, stated: int) -> int:
        """The axis of the classes in the answer of a call: where probabilities add up to 1, and the stated one else."""
        assert self.tensor is not None
        others = list[int]()
        if self.tensor.kind == "invariant":
            others = list(range(plain.ndim - 2, 0, -1))
        return next((axis for axis in (stated, *others) if _are_probabilities(plain, axis)), stated)

    def _add_entries(self, plain: Tensor, back: Tensor, tensor: ResolvedTensor) -> None:
        """Decisions of entry k are the classes 2 k, no, and 2 k + 1, yes."""
        axis = tensor.name_axis if tensor.class_axis is None else tensor.class_axis
        assert axis is not None
        size, level = plain.shape[axis], self.threshold or 0.0
        first = 2 * torch.arange(size, device=plain.device)
        decided, other = (first + (view.movedim(axis, -1) > level) for view in (plain, back))
        self._add(decided.flatten(), other.flatten(), 2 * size)

    def _add(self, decided: Tensor, other: Tensor, classes: int) -> None:
        """Count decisions. decided, other: the classes of both views, one for each decision."""
        counts = torch.bincount(decided, minlength=classes).cpu()
        lost = torch.bincount(decided[decided != other], minlength=classes).cpu()
        self.counts = counts if self.counts is None else self.counts + counts
        self.lost = lost if self.lost is None else self.lost + lost

    def result(self) -> Decided | None:
        """The shares; None where nothing was decided, or where numbers that nobody called decisions may be none."""
        if self.counts is None or self.lost is None or not int(self.counts.sum()):
            return None
        total = int(self.counts.sum())
        is_known = self.threshold is not None or self.tensor is None or self.tensor.kind == "classes"
        if not (is_known or self.are_of_entries) and self.sure < (_SURE + _SURE / len(self.counts)) * total:
            return None
        worst = float((self.lost / self.counts.clamp(min=1)).max())
        # Of scores that only stay, nobody knows whether the highest is a decision; and see `_FEWEST_DECIDED`.
        if not is_known or int(self.counts.min()) < _FEWEST_DECIDED:
            worst = 1.0
        if self.are_of_entries:
            # One sign in all inputs: a force or a probability.
            if self.are_supposed and int(self.counts.min()) < _FEWEST_DECIDED:
                return None
            others = 2 * int(self.counts.view(-1, 2).min(1).values.sum()) / total
        else:
            others = 1 - int(self.counts.max()) / total if len(self.counts) >= _FEWEST_CLASSES else 0.0
        return Decided(int(self.lost.sum()) / total, others, worst)

    def shown(self) -> Shown | None:
        """What the decisions say of classes that occur; None of numbers that may be no scores, and of yes and no."""
        if self.axis is None or self.counts is None or self.lost is None or not int(self.counts.sum()):
            return None
        total, commonest = int(self.counts.sum()), int(self.counts.max())
        is_known = self.are_probable or (self.tensor is not None and self.tensor.kind == "classes")
        if not (is_known or self._look_like_logits(total)):
            return None
        worst = float((self.lost / (self.counts + _UNSEEN)).max())
        shown = Shown(int(self.lost.sum()) / total, 1 - commonest / total, worst)
        # Where they may be numbers of another kind, only decisions that stay speak for scores.
        return shown if is_known or shown.stay else None

    def _look_like_logits(self, total: int) -> bool:
        """Whether numbers that only stay decide between classes surely, and between many of them.  total: decisions."""
        assert self.counts is not None
        classes = len(self.counts)
        if classes < _FEWEST_CLASSES or self.sure < (_SURE + _SURE / classes) * total:
            return False
        is_spread = int(self.counts.max()) <= _MOST_OF_ONE * total
        return is_spread and int((self.counts > 0).sum()) >= _SHOWN_CLASSES * classes


def may_be_scores(mirror: NetworkMirror, index: int, tensor: ResolvedTensor) -> bool:
    """Whether an output, beside its samples, may hold scores of classes, as far as the specification says."""
    has_entries = mirror.is_single or len(mirror.outputs[index].axes) > 1
    return has_entries and mirror.center_of(index) is None and Decisions(tensor).axis is not None


def as_shares(scores: Tensor, axis: int) -> Tensor:
    """What every class has of a sample: probabilities as they are, other scores (logarithms, too) as logits."""
    return scores if _are_shares(scores, axis) else scores.softmax(axis)


def _are_shares(scores: Tensor, axis: int) -> bool:
    """Whether scores are probabilities of classes."""
    return bool((scores >= 0).all()) and bool(((scores.sum(axis) - 1).abs() < _ROUNDING).all())


def _are_probabilities(scores: Tensor, axis: int) -> bool:
    """Whether scores are probabilities of classes, or logarithms of these."""
    return _are_shares(scores, axis) or bool((scores.logsumexp(axis).abs() < _ROUNDING).all())


def _may_be_yes_or_no(tensor: ResolvedTensor) -> bool:
    """Whether entries may be logits of yes and no, as far as a specification tells: numbers that T never negates."""
    if tensor.kind != "fields" or tensor.name_axis is None or tensor.representation is None:
        return False
    return bool((tensor.representation.axes[tensor.name_axis].action.sign > 0).all())
