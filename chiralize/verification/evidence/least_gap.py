"""Mirrors about the point at which the gap of T is least, beside the point that the specification gives.

A point that is a few percent wrong, 0.48 for 1/2 or 31 for 32 columns, hides in the gap of a network that learned from
noise, and the inputs may well lie about it. But the gap as a function of the point has one minimum, at the point that
the network itself mirrors at, and a parabola through three of its values finds that:

    f(x) - T f(T x)  at 0.46, 0.48 and 0.50: squares of 0.30, 0.16 and 0.10   ->   least at 0.52

A network of which answers move with its inputs has every point for its own: there the parabola is flat, and nothing is
said. One that was trained without mirrored copies, on what lay to one side, has its least gap there. Hence a point that
a picture may well have (1/2 of shares, half of a usual width) is never doubted for one that none has; and no more
than a doubt comes of any (`judging`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

import numpy as np
import torch

from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.running import Call
from chiralize.problem.cost import multiplications_a_sample
from chiralize.problem.data.cutting import tensors
from chiralize.problem.network import Network
from chiralize.symmetry.action import Center
from chiralize.verification.evidence.answers import Answers
from chiralize.verification.evidence.input_points import about, coordinate_at, points_about_means, points_of
from chiralize.verification.evidence.off_center import rounded
from chiralize.verification.evidence.records import AT_A_POINT, AT_THE_LEAST, AT_THE_MIDDLE, Candidate

_FEWEST, _BLOCKS = 64, 16
"""Samples that a parabola is taken of, and the parts of them, in order, that its error is: frames beside each other are
alike."""
_STEPS, _FURTHEST = (0.2, 0.1), 0.6
"""How far beside a point the gap is taken, first and then nearer, and how far from the given point its minimum may lie;
in spreads of what is mirrored at it. What lies further off shows without."""
_SURE, _NEAR = 4.0, 2.0
"""How far from the given point the minimum lies, and how far from a middle it may lie, in its standard errors."""
_PART, _MOST = 0.25, 1000
"""How far from a middle it may lie, in its distance from the given point; and how many halves are looked at."""
_BESIDE = 0.2
"""How far coordinates may leave a picture, in its widths."""
_WIDTHS = (16, 100)
"""Usual widths of pictures are multiples of these."""
_COSTLY = 4e9
"""Multiplications a sample of networks that the few runs would take minutes of."""


@dataclass(frozen=True)
class Least:
    """Where the gap is least, and the standard error of that."""

    point: float
    error: float


def mirrors_about_the_least(
    network: Network, answers: Answers, mirror: NetworkMirror, calls: Sequence[Call], inputs: Sequence[Call]
) -> Iterator[Candidate]:
    """T about other points: those at which its gap is least, where that is another one beyond chance.

    The point takes the place of the given one in all inputs and answers that are mirrored there. Not where it is about
    the mean of the inputs, which is tried as it is.  mirror: T, which has run.  calls: what was answered.
    inputs: all that there are. Raises ModelRunError.
    """
    if multiplications_a_sample(network) > _COSTLY:
        return
    means = [(given, point) for _, given, point, _ in points_about_means(network, inputs)]
    for given, values in _values_by_point(network, answers, mirror, calls).items():
        least = least_gap(answers, mirror, given, float(values.std())) if len(values) > 1 else None
        if least is None or abs(least.point - given) <= _SURE * least.error:
            continue
        widths = _widths(network)
        middle, is_usual = _middle_near(least, given, values, widths), _is_middle(Fraction(given), values, widths)
        if middle is None and is_usual:
            continue
        # A middle in the place of a number that is none is likelier than the other way round.
        point = float(rounded(least.point)) if middle is None else float(middle)
        where = AT_THE_LEAST if middle is None or is_usual else AT_THE_MIDDLE
        is_a_mean = any(before == given and abs(point - mean) < _PART * abs(mean - given) for before, mean in means)
        if point != given and not (is_a_mean and where == AT_THE_LEAST):
            name = f"{_coordinate(network, given)} {AT_A_POINT} {point:g} {where} instead of {given:g}"
            yield Candidate(name, about(mirror, given, point))


def least_gap(answers: Answers, mirror: NetworkMirror, given: float, spread: float) -> Least | None:
    """The point at which the gap of T is least; None where nothing shows one.

    given: the point of T.  spread: of what is mirrored there. Raises ModelRunError.
    """
    if len(_squares(answers, mirror)) < _FEWEST:
        return None
    point, squares = given, torch.zeros(0)
    middle, step = given, 0.0
    for share in _STEPS:
        middle, step = point, share * spread
        mirrors = (about(mirror, given, middle + side * step) for side in (-1, 0, 1))
        squares = torch.stack([_squares(answers, other) for other in mirrors])
        vertex = _vertex(squares.sum(1).tolist(), step)
        if vertex is None or abs(middle + vertex - given) > _FURTHEST * spread:
            return None
        point = middle + vertex
    # Its error by leaving out one block of samples after another.
    without = list[float]()
    for block in squares.tensor_split(_BLOCKS, 1):
        vertex = _vertex((squares.sum(1) - block.sum(1)).tolist(), step)
        if vertex is None:
            return None
        without.append(middle + vertex)
    moved = torch.tensor(without, dtype=torch.float64)
    error = float((moved - moved.mean()).square().sum() * (_BLOCKS - 1) / _BLOCKS) ** 0.5
    return Least(point, error)


def _vertex(values: Sequence[float], step: float) -> float | None:
    """Where a parabola through three values, a step apart, is least, from the middle one; None where it has no least.

    >>> _vertex([4.0, 1.0, 0.0], 1.0)
    1.0
    """
    before, here, after = values
    curvature = before - 2 * here + after
    return step / 2 * (before - after) / curvature if curvature > 0 else None


def _squares(answers: Answers, mirror: NetworkMirror) -> torch.Tensor:
    """|f(x) - T f(T x)|² of every sample, all outputs in their units: "sample"."""
    total = torch.zeros(1, dtype=torch.float64)
    for index in answers.indices:
        stacks = zip(answers.plain(index), answers.turned_back(mirror, index), strict=True)
        rows = [_by_sample((one - other).square()) for one, other in stacks]
        total = total + torch.cat(rows) / (answers.unit(index) or 1.0)
    return total


def _by_sample(squares: torch.Tensor) -> torch.Tensor:
    """The sums of a stack, "call sample ...", by sample."""
    return squares.flatten(0, 1).flatten(1).sum(1) if squares.ndim > 2 else squares.flatten()


def _values_by_point(
    network: Network, answers: Answers, mirror: NetworkMirror, calls: Sequence[Call]
) -> dict[float, torch.Tensor]:
    """What T mirrors at each point other than 0: values of inputs, of answers where no input has the point."""
    values = dict[float, list[torch.Tensor]]()
    for tensor in network.resolved.input_tensors:
        for point in points_of(tensor):
            given = [_at(point, tensor.center, tensors(call)[tensor.index]) for call in calls]
            values.setdefault(point, []).extend(given)
    of_inputs = frozenset(values)
    for index in answers.indices:
        tensor = network.resolved.output_tensors[index]
        for point in points_of(tensor):
            if point not in of_inputs:
                given = [_at(point, tensor.center, answer) for answer in answers.pairs(mirror, index)[0]]
                values.setdefault(point, []).extend(given)
    return {point: torch.cat(parts) for point, parts in values.items()}


def _coordinate(network: Network, given: float) -> str:
    """What T mirrors at a point, of the first tensor that has it."""
    both = (*network.resolved.input_tensors, *network.resolved.output_tensors)
    return coordinate_at(next(tensor for tensor in both if given in points_of(tensor)), given)


def _at(point: float, center: Center, values: torch.Tensor) -> torch.Tensor:
    """The entries of a tensor that T mirrors at a point, without missing joints (0): a vector."""
    assert center is not None
    values = values.detach().double().cpu()
    chosen = values[torch.from_numpy(np.asarray(center)).broadcast_to(values.shape) == point]
    return chosen[chosen.isfinite() & (chosen != 0)]


def _widths(network: Network) -> list[int]:
    """The lengths of axes of inputs, one of which may be the width of a picture."""
    return sorted({size for tensor in network.resolved.input_tensors for size in tensor.shape if tensor.entry.mirror})


def _middle_near(least: Least, given: float, values: torch.Tensor, widths: Sequence[int]) -> Fraction | None:
    """The middle of a picture that the measured point may stand for, the nearest; None where there is none.

    A habit moves the least gap a little, too: it may lie a part of the way short of the middle, or beyond it.
    """
    near = max(_NEAR * least.error, _PART * abs(least.point - given))
    first, last = ceil(2 * (least.point - near)), floor(2 * (least.point + near))
    halves = (Fraction(count, 2) for count in range(first, min(last, first + _MOST) + 1))
    middles = [half for half in halves if _is_middle(half, values, widths)]
    return min(middles, key=lambda half: abs(float(half) - least.point), default=None)


def _is_middle(point: Fraction, values: torch.Tensor, widths: Sequence[int]) -> bool:
    """Whether a point is half of a width that a picture may have, of cells counted from 0 as well.

    values: that are mirrored there, which lie in the picture.
    """
    for width in (2 * point, 2 * point + 1):
        is_usual = width in (1, *widths) or (width >= min(_WIDTHS) and any(width % each == 0 for each in _WIDTHS))
        low, high = -_BESIDE * float(width), (1 + _BESIDE) * float(width)
        if is_usual and point > 0 and bool(((values >= low) & (values <= high)).all()):
            return True
    return False
