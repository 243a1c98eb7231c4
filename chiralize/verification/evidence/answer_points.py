"""The point that coordinates of answers are mirrored at, where the specification says 0 or another one.

A network that reads pictures answers with numbers between 0 and 1, or with pixels. Their mirror is 1 - x, or W - x,
which `reflect` says. Without it no answer is near its mirror image, and one that T leaves as it is comes nearer. Half a
pixel beside it, W - x for W - 1 - x, hardly changes the gap, but all joints are off by the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial

import torch
from torch import Tensor

from chiralize.body.tensors import ResolvedSpec
from chiralize.body.tensors.entries import TensorEntry
from chiralize.body.tensors.layout import parse_layout
from chiralize.body.tensors.resolved import ResolvedTensor
from chiralize.graph.mirror import NetworkMirror
from chiralize.problem.data.joints import by_joint, has_coordinates
from chiralize.verification.evidence.fitting import Answers
from chiralize.verification.evidence.misread import Entries
from chiralize.verification.evidence.off_center import is_away, negated, values_of
from chiralize.verification.evidence.records import AT_A_POINT

Points = Mapping[tuple[int, str], Fraction]
"""Points by output and coordinate."""
_BESIDE = 0.2
"""How far answers may leave the picture, in its widths: a joint may lie outside of it."""
_FEWEST, _JOINTS = 32, 5
"""Samples, and joints, that tell what all joints are off by."""
_SURE, _SEEN = 3.0, 0.02
"""What they are off by, in what joints are apart in it and samples leave open; and in the spread of the coordinate."""
_NEAR = 0.2


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


def points_beside(resolved: ResolvedSpec, mirror: NetworkMirror, answers: Answers) -> tuple[str, ...]:
    """Warnings of points given beside the one that f(x) and T f(T x) lie about: the same one for all joints.

    Where T mirrors at c, and the network at c', f(x) - T f(T x) is 2 (c' - c) in the mean.  mirror: T, which has been
    run.
    """
    warnings = list[str]()
    for index in answers.indices:
        tensor = resolved.output_tensors[index]
        if not has_coordinates(tensor):
            continue
        given = dict(tensor.entry.reflect)
        for dim in filter(given.__contains__, negated(tensor)):
            point = float(given[dim])
            beside = _beside(*answers.pairs(mirror, index), partial(_of_joints, tensor, dim=dim))
            if beside:
                right = _nearest_half(point + beside, abs(beside))
                warnings.append(
                    f"{dim} of {tensor.where} is mirrored at {point:g}, while its answers lie about "
                    f"{point + beside:.4g}, all joints alike; {_words(dim, right)} is the mirror then: of cells that "
                    "are counted from 0 the middle is (W - 1)/2"
                )
    return tuple(warnings)


def _beside(plain: Sequence[Tensor], turned_back: Sequence[Tensor], of_dim: Callable[[Tensor], Tensor]) -> float:
    """How far the answers lie from the point of T, if all joints do so by the same; else 0.

    plain, turned_back: f(x) and T f(T x), call by call.  of_dim: one coordinate of them, "sample joint".
    """
    values = torch.cat(list(map(of_dim, plain)))
    off = torch.cat([of_dim(one - other) for one, other in zip(plain, turned_back, strict=True)]) / 2
    samples, joints = off.shape
    if samples < _FEWEST or joints < _JOINTS:
        return 0.0
    mean, by_joint = float(off.mean()), off.mean(0)
    apart, error = float(by_joint.std()), float(off.mean(1).std()) / samples**0.5
    is_shared = abs(mean) > _SURE * max(apart, error) and bool((by_joint * mean > 0).all())
    return mean if is_shared and abs(mean) > _SEEN * float(values.std()) else 0.0


def _of_joints(tensor: ResolvedTensor, values: Tensor, dim: str) -> Tensor:
    """One coordinate, "sample joint"."""
    assert tensor.pose is not None
    return by_joint(tensor, values)[..., tensor.pose.body.dims.index(dim)]


def _nearest_half(point: float, beside: float) -> Fraction:
    """A point, as a multiple of 1/2 where that is near in what it was beside."""
    half = Fraction(round(2 * point), 2)
    return half if abs(float(half) - point) < _NEAR * beside else Fraction(f"{point:.4g}")


def _mirrored(tensor: ResolvedTensor, entry: TensorEntry, dim: str, point: Fraction) -> TensorEntry:
    return replace(entry, layout=tensor.layout, reflect=(*entry.reflect, (dim, point)))


def _words(dim: str, point: Fraction) -> str:
    """The point as a specification has it: `reflect: {x: 1/2}`."""
    written = str(point) if point.denominator in (1, 2) else f"{float(point):g}"
    return f"`reflect: {{{dim}: {written}}}`"
