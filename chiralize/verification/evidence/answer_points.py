"""The point that coordinates of answers are mirrored at, where the specification says 0 or another one.

A network that reads pictures answers with numbers between 0 and 1, or with pixels. Their mirror is 1 - x, or W - x,
which `reflect` says. Without it no answer is near its mirror image, and one that T leaves as it is comes nearer. Half a
pixel beside it, W - x for W - 1 - x, hardly changes the gap, but all joints are off by the same.

Two ways to a point are used. By the values alone: answers between 0 and 1 about 0.5 are likely mirrored at 1/2. By the
network: T mirrors at c, the network at c'. Then f(T x) is c' + R (f(x) - c') for inputs mirrored rightly, and

    f(x) - T f(T x)  =  2 (c' - c)     in every negated coordinate

Example: c = 0, and the network answers in a picture of 64 columns, mirrored at c' = 63/2. Half of the difference is
31.5 for every joint and sample: the point that the specification should name.

`mirror_evidence` tries mirrors about the points, and warns of those beside the one that is given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import torch

from chiralize.body.tensors import ResolvedSpec
from chiralize.body.tensors.entries import TensorEntry
from chiralize.body.tensors.layout import parse_layout
from chiralize.body.tensors.resolved import ResolvedTensor
from chiralize.errors.words import when
from chiralize.graph.mirror import NetworkMirror
from chiralize.symmetry.action import act
from chiralize.verification.evidence.answers import Answers
from chiralize.verification.evidence.blocks import is_angle
from chiralize.verification.evidence.misread import Entries
from chiralize.verification.evidence.off_center import is_away, negated, values_of
from chiralize.verification.evidence.records import AT_A_POINT, LIE_ABOUT, UNLESS_FOREIGN

Points = Mapping[tuple[int, str], Fraction]
"""Points by output and coordinate."""
_BESIDE = 0.2
"""How far answers may leave the picture, in its widths: a joint may lie outside of it."""
_FEWEST = 32
"""Samples that tell what all numbers are off by."""
_SURE, _FAR = 3.0, 0.5
"""What they are off by, in what numbers are apart in it and in its error. In the spread of their values: what those
mirrored at 0 are off by, and how much all are off by differs from sample to sample, at most.
"""
_HALF, _NEAR, _ROUNDING = 0.5, 0.4, 1e-6
"""A cell's half, and how near to it, in it, what is measured lies."""


@dataclass(frozen=True)
class Measured:
    """A point that answers lie about, and the standard error of that."""

    point: float
    error: float


def points_of_answers(resolved: ResolvedSpec, answers: Mapping[int, Sequence[torch.Tensor]]) -> Points:
    """Points that negated coordinates of answers could be mirrored at: of those away from 0, with no point given.

    answers: of some outputs, by position, call by call, each in the shape of the output.
    A point is the middle of what they lie in: of 0 to 1, or of a picture's width; their mean where they fill neither.
    """
    points = dict[tuple[int, str], Fraction]()
    for index, calls in answers.items():
        tensor = resolved.output_tensors[index]
        for dim in negated(tensor):
            if tensor.entry.mirror or dim in dict(tensor.entry.reflect):
                continue
            values = torch.cat([values_of(tensor, call, dim).double().flatten() for call in calls])
            if is_away(values, 0.0):
                points[index, dim] = _middle(values, _widths(resolved))
    return points


def _widths(resolved: ResolvedSpec) -> list[int]:
    """1, and how many entries the axes of inputs have that T reverses, the fewest first."""
    widths = {1}
    for tensor in resolved.input_tensors:
        for word, _ in tensor.entry.mirror:
            axis = parse_layout(tensor.layout).axis_of(word)
            if axis is not None:
                widths.add(tensor.shape[axis])
    return sorted(widths)


def _middle(values: torch.Tensor, widths: Sequence[int]) -> Fraction:
    """Half of the width that the values lie in and about the middle of, or their mean."""
    low, high, mean = float(values.min()), float(values.max()), float(values.mean())
    # The smallest width that holds them: numbers between 0 and 1 lie in every picture, too.
    for width in widths:
        is_inside = -_BESIDE * width <= low and high <= (1 + _BESIDE) * width
        if is_inside and width / 4 <= mean <= 3 * width / 4:
            return Fraction(width, 2)
    return Fraction(f"{mean:.3g}")


def mirrored_at_points(resolved: ResolvedSpec, points: Points) -> Iterator[tuple[str, Entries]]:
    """The outputs mirrored at their points: all of them, then each; with the words that say so in a specification."""
    entries = {}
    for (index, dim), point in points.items():
        tensor = resolved.output_tensors[index]
        entries["output", index] = _mirrored(tensor, entries.get(("output", index), tensor.entry), dim, point)
    if len(points) > 1:
        words = ", ".join(dict.fromkeys(_words(dim, point) for (_, dim), point in points.items()))
        yield f"coordinates of {len(entries)} outputs {AT_A_POINT} a point instead of 0 ({words})", entries
    for (index, dim), point in points.items():
        tensor = resolved.output_tensors[index]
        name = f"{dim} of {tensor.where} {AT_A_POINT} {float(point):g} instead of 0 ({_words(dim, point)})"
        yield name, {("output", index): _mirrored(tensor, tensor.entry, dim, point)}


def points_beside(resolved: ResolvedSpec, mirror: NetworkMirror, answers: Answers) -> dict[str, bool]:
    """Warnings of points beside the one that f(x) and T f(T x) lie about; and whether the specification gives these.

    Where T mirrors at c, and the network at c', f(x) - T f(T x) is 2 (c' - c) in the mean, for all numbers the same.
    So it is where a network leans, or shrinks towards the mean of its training. Two cases tell: c' is the other one of
    (W - 1)/2 and W/2, W the width of a picture; or c is 0, and all answers are far from it.  mirror: T, which has run.
    """
    warnings = dict[str, bool]()
    for index in answers.indices:
        for point, entries in _by_point(resolved.output_tensors[index], mirror, index).items():
            measured = _measured(answers, mirror, index, entries, point)
            # No point given: any that is sure. A point given: only the other way to count cells, half a cell beside it.
            right = _likely(measured, _widths(resolved)) if point == 0 else _other_middle(measured, point, resolved)
            if measured is not None and right is not None:
                name = mirror.label("output", index, entries[0])
                text = (
                    f"{name} of output {index} is mirrored at {point:g}, {LIE_ABOUT} {measured.point:.4g}"
                    f"{when(len(entries) > 1, ', as all such numbers do')}; {_words(name.rpartition('.')[2], right)} "
                    "is the mirror then" + when(point != 0, ": of cells counted from 0 the middle is (W - 1)/2")
                )
                # Pixels have a middle of their own; an angle that answers lie about may come of inputs turned over.
                warnings[text + when(is_angle(name), UNLESS_FOREIGN)] = point != 0
    return warnings


def as_measured(resolved: ResolvedSpec, mirror: NetworkMirror, answers: Answers, points: Points) -> Points:
    """The points of `points_of_answers`, where f(x) and T f(T x) tell: those that they lie about.

    Of coordinates that have a point in another tensor, that is tried, and these stay.
    """
    better = dict(points)
    given = set[str]()  # coordinates that have a point somewhere
    for tensor in (*resolved.input_tensors, *resolved.output_tensors):
        given.update(dim for dim, _ in tensor.entry.reflect)
    for index, dim in points:
        if dim in given:
            continue
        at_zero = _by_point(resolved.output_tensors[index], mirror, index).get(0.0, [])
        entries = [entry for entry in at_zero if mirror.label("output", index, entry).endswith(f".{dim}")]
        right = _likely(_measured(answers, mirror, index, entries, 0.0), _widths(resolved)) if entries else None
        if right is not None:
            better[index, dim] = right
    return better


def _by_point(tensor: ResolvedTensor, mirror: NetworkMirror, index: int) -> dict[float, list[tuple[int, ...]]]:
    """The entries of one sample of an output that T negates, by the point that it mirrors them at."""
    by_point = dict[float, list[tuple[int, ...]]]()
    if tensor.representation is None or not tensor.has_rows:
        return by_point
    # T of ones is -1 where an entry is negated, of the first sample: "entry...".
    negated_ones = act(torch.ones(tensor.shape, dtype=torch.float64), mirror.outputs[index])[0] < 0
    center = torch.zeros(tensor.shape, dtype=torch.float64)
    if tensor.center is not None:
        center = torch.from_numpy(np.broadcast_to(tensor.center, tensor.shape).copy())
    for entry in negated_ones.nonzero().tolist():
        by_point.setdefault(float(center[(0, *entry)]), []).append((0, *entry))
    return by_point


def _measured(
    answers: Answers, mirror: NetworkMirror, index: int, entries: Sequence[tuple[int, ...]], point: float
) -> Measured | None:
    """The point that some entries of an output lie about, T mirroring at `point`; None where nothing shows one.

    All lie about the same one, sample by sample: what T negates and the network does not lies about none. Of entries
    mirrored at 0, None as well where their values are not far from it.
    """
    # f(x) and T f(T x) as "sample number", of which the entries in question are chosen: "sample chosen".
    plain, turned_back = (torch.cat(each).flatten(1) for each in answers.pairs(mirror, index))
    sizes = answers.plain(index)[0].shape[2:]
    chosen = [int(np.ravel_multi_index(entry[1:], sizes)) for entry in entries]
    values, off = plain[:, chosen], (plain - turned_back)[:, chosen] / 2
    if len(off) < _FEWEST:
        return None
    # Half of the difference is c' - c: in the mean over all, by entry, and in what samples differ by.
    mean, by_entry, spread = float(off.mean()), off.mean(0), float((values - values.mean(0)).square().mean().sqrt())
    error = float(off.mean(1).std()) / len(off) ** 0.5
    # Entries are off by the same, beyond chance; each sample is off by about that; and none is off the other way.
    is_shared = abs(mean) > _SURE * max(float(by_entry.std(correction=0)), error)
    is_one = float((off - by_entry).square().mean().sqrt()) < _FAR * spread
    if not (is_shared and is_one and bool((by_entry * mean > 0).all())):
        return None
    # At 0 a lean of the network looks the same, but for answers that lie far from 0 themselves.
    is_far = abs(float(values.mean())) > float(values.std()) and abs(mean) > _FAR * spread
    return Measured(point + mean, error) if point != 0 or is_far else None


def _likely(measured: Measured | None, widths: Sequence[int]) -> Fraction | None:
    """The point that a measured one may stand for: a picture's middle or a whole number, within the error."""
    if measured is None:
        return None
    # Of a width 64: 32 and 63/2; of the width 1: 1/2 and 0. The first that is near enough counts.
    middles = [Fraction(width, 2) for width in widths] + [Fraction(width - 1, 2) for width in widths]
    for likely in (*middles, Fraction(round(measured.point))):
        if abs(float(likely) - measured.point) < _SURE * measured.error:
            return likely
    return Fraction(f"{measured.point:.3g}")


def _other_middle(measured: Measured | None, point: float, resolved: ResolvedSpec) -> Fraction | None:
    """The middle of a picture half a cell beside the given point, where that is what was measured; else None."""
    for width in _widths(resolved)[1:]:
        for middle in (Fraction(width, 2), Fraction(width - 1, 2)):
            is_beside = abs(abs(float(middle) - point) - _HALF) < _ROUNDING
            if measured is not None and is_beside and abs(float(middle) - measured.point) < _NEAR * _HALF:
                return middle
    return None


def _mirrored(tensor: ResolvedTensor, entry: TensorEntry, dim: str, point: Fraction) -> TensorEntry:
    """The entry with a point for one more coordinate, and the layout written out."""
    return replace(entry, layout=tensor.layout, reflect=(*entry.reflect, (dim, point)))


def _words(dim: str, point: Fraction) -> str:
    """The point as a specification has it: `reflect: {x: 1/2}`."""
    written = str(point) if point.denominator in (1, 2) else f"{float(point):g}"
    return f"`reflect: {{{dim}: {written}}}`"
