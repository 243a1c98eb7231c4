"""Joints that were not seen, stored as one number for all: T takes it for a point, and puts it where no joint is.

Detectors store 0 for them, normalised -1 or the like. Such a number stands in many places now and then, and its
mirror image in next to none.

In pixels of a width of 640 the mirror takes x to 640 - x: a missing joint at (0, 0) comes to (640, 0). That is neither
missing nor anywhere on the body, so that gaps measured with it say nothing of the network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from chiralize.body.tensors import ResolvedSpec, ResolvedTensor
from chiralize.errors.words import percent, when
from chiralize.graph.running import Call
from chiralize.problem.data.cutting import tensors
from chiralize.problem.data.joints import by_joint, has_coordinates
from chiralize.symmetry.action import act

_ZEROS, _OTHERS = 1e-3, 1e-2
"""Share of exact zeros, where coordinates are mirrored at another point, and of any other number, that is no chance."""
_ALWAYS, _FEWEST = 0.99, 3
"""A place that holds it so often is constant; so many other ones have to hold it at times."""
_IMAGES = 0.1
"""Of how often a number is there: from so many of its mirror images on it is a point like others."""
_WHOLE = 0.5
"""The share of missing joints, at least, whose other coordinates are stored as one number, too."""
_MOST = 1_000_000
"""Numbers that are looked at."""
_ROUNDING = 4 * float(torch.finfo(torch.float32).eps)
"""Of the numbers involved: files keep single precision, whatever they are read as."""
_BORDERS, _APART = 0.25, 0.05
"""Where values were clipped to a range: the rarer of two borders beside the other, at least, and how far from a border
the next value lies at most, in shares of the range.
"""


@dataclass(frozen=True)
class Stored:
    """value: what stands for a joint that is missing.  image: what T makes of it.  share: of negated coordinates."""

    value: float
    image: float
    share: float


def missing_remarks(resolved: ResolvedSpec, calls: Sequence[Call]) -> Iterator[str]:
    """A warning for every input that stores missing joints as a number."""
    for tensor in resolved.input_tensors:
        stored = stored_for_missing(tensor, calls)
        if stored is None:
            continue
        is_known = tensor.entry.missing == "zero"
        meaning = "These joints are missing, and" if is_known else "Where it stands for joints that are missing,"
        hint = when(stored.value == 0 and not is_known, "; `missing: zero` says what they are")
        yield (
            f"warning: the calibration inputs hold exactly {stored.value:.6g} in {percent(stored.share)} of the "
            f"coordinates of {tensor.where} that T negates, and hardly ever {stored.image:.6g}, its mirror image. "
            f"{meaning} T takes them for points: gaps, drift and rho are measured with them, may call a right mirror "
            f"wrong, and an average answers to them, too. Fill them in before the network, or {_wrapped(stored)}{hint}"
        )


def fill_in_first(resolved: ResolvedSpec, calls: Sequence[Call]) -> str:
    """What to do first where missing joints are stored as a number; ends in `; then `. "" elsewhere."""
    for tensor in resolved.input_tensors:
        stored = stored_for_missing(tensor, calls)
        if stored is not None:
            return (
                f"fill in the joints of {tensor.where} that are stored as {stored.value:.6g} ({percent(stored.share)} "
                f"of its coordinates), or {_wrapped(stored)}; T puts them at {stored.image:.6g}, where no joint is; "
                "then "
            )
    return ""


def _wrapped(stored: Stored) -> str:
    """What mends a network that was trained with missing joints stored so: there the centre is a place like others."""
    return (
        f"convert a class around it that reads coordinates less their centre, {(stored.value + stored.image) / 2:.6g}, "
        f"and 0 for missing joints, which it stores as {stored.value:.6g} again (with T linear, no `reflect`)"
    )


def stored_for_missing(tensor: ResolvedTensor, calls: Sequence[Call]) -> Stored | None:
    """The number that stands for missing joints in an input of coordinates; None where none does."""
    if tensor.representation is None or (tensor.pose is None and tensor.center is None) or not calls:
        return None
    # Only what T negates can tell: other coordinates of a missing joint keep their number.
    negated = (act(torch.ones(tensor.shape, dtype=torch.float64), tensor.representation) < 0)[0].flatten()
    center = torch.zeros(tensor.shape, dtype=torch.float64)
    if tensor.center is not None:
        center = torch.from_numpy(np.broadcast_to(tensor.center, tensor.shape).copy())
    seen = [tensors(call)[tensor.index] for call in calls]
    if not bool(negated.any()) or any(values.shape[1:] != center.shape[1:] for values in seen):
        return None
    middle = center[0].flatten()[negated]
    every = max(1, sum(map(len, seen)) * len(middle) // _MOST)
    seen = [part.detach()[::every].cpu() for part in seen]
    values = torch.cat([part.flatten(1)[:, negated].double() for part in seen])
    # 1. Exact zeros, where the mirror is at another point: 0 in pixels is the corner of the picture.
    is_off_zero = middle != 0
    if bool(is_off_zero.any()):
        off_zero = values[:, is_off_zero]
        zeros = _as_missing(off_zero == 0, _ZEROS)
        if zeros and not _are_points(tensor, seen, off_zero, 0.0):
            return Stored(0.0, 2 * float(middle[is_off_zero][0]), zeros)
    # 2. Any other number: the commonest distance from the centre. A real position is as common as its mirror image in
    #    some joint, a stored number is not.
    about = values - middle
    numbers, counts = about[about != 0].unique(return_counts=True)
    if not len(numbers):
        return None
    commonest = numbers[counts.argmax()]
    # The image of a stored 0.99 at 0.5 is 0.00999999, and clipping stores 0.01: as near as rounding leaves them.
    rounding = _ROUNDING * (middle.abs() + commonest.abs())
    holds = (about - commonest).abs() <= rounding
    share = _as_missing(holds, _OTHERS)
    if not share or float(((about + commonest).abs() <= rounding).double().mean()) >= _IMAGES * share:
        return None
    at = middle[holds.any(0)][0]
    if _are_points(tensor, seen, values[:, middle == at], float(commonest + at)):
        return None
    return Stored(float(commonest + at), float(at - commonest), share)


def _are_points(tensor: ResolvedTensor, seen: Sequence[Tensor], values: Tensor, number: float) -> bool:
    """Whether coordinates that are this number are points like others: on a line, or where clipping puts them.

    Of missing joints all coordinates are stored, each as a number: 0 and 0, or -1 and -H / W. Where other coordinates
    that T keeps are known, these decide. Where none are, a number is a border if nothing lies beyond it, and
    then the other border is held as well: clipping works at both. values: "sample place", of those that T negates.
    """
    others = _kept_beside(tensor, seen, number)
    if others is not None:
        return all(float(column.unique(return_counts=True)[1].max()) < _WHOLE * len(column) for column in others.T)
    has_it = _is_near(values, number).any(0)
    if not bool(has_it.any()):  # rounding hides it: nothing speaks for points
        return False
    values = values[:, has_it]
    first, last = values.aminmax()
    if not bool(_is_near(torch.stack([first, last]), number).any()):
        return False
    # What is missing stands apart from all positions: -1, where these begin at 0.02. What is clipped does not.
    others = values[~_is_near(values, number)]
    is_apart = bool(len(others)) and float((others - number).abs().min()) > _APART * float(last - first)
    counts = [int(_is_near(values, float(end)).sum()) for end in (first, last)]
    return not is_apart and min(counts) >= max(_FEWEST, _BORDERS * max(counts))


def _is_near(values: Tensor, number: float) -> Tensor:
    """Which values are a number, as near as rounding to single precision leaves them."""
    return (values - number).abs() <= _ROUNDING * abs(number)


def _kept_beside(tensor: ResolvedTensor, seen: Sequence[Tensor], number: float) -> Tensor | None:
    """Coordinates that T keeps of every joint with a negated one that is a number, "joint coordinate"; None if unknown.

    Coordinates that hardly move in any joint tell nothing, and are left out.
    """
    if has_coordinates(tensor):
        body = tensor.pose.body if tensor.pose is not None else None
        assert body is not None
        joints = torch.cat([by_joint(tensor, values) for values in seen]).flatten(0, -2)
        is_negated = torch.tensor([dim in body.negate for dim in body.dims])
    else:
        joints, is_negated = _joints_of_fields(tensor, seen)
    having = _is_near(joints[:, is_negated], number).any(-1)
    telling = [column for column in joints[:, ~is_negated].T if bool(having.any()) and _varies(column[~having])]
    return torch.stack([column[having] for column in telling], dim=-1) if telling else None


def _varies(column: Tensor) -> bool:
    """Whether a coordinate is no single number for most joints."""
    return bool(len(column)) and float(column.unique(return_counts=True)[1].max()) < _WHOLE * len(column)


def _joints_of_fields(tensor: ResolvedTensor, seen: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The joints of fields as "joint coordinate", and which of the coordinates T negates; without columns if unknown.

    Names tell them apart: `fixation.x` and `fixation.y` are one joint. Only joints with the commonest coordinates
    are read.
    """
    nothing = torch.zeros(0, 0), torch.zeros(0, dtype=torch.bool)
    if tensor.name_axis is None or tensor.representation is None:
        return nothing
    action = tensor.representation.axes[tensor.name_axis].action
    places = dict[str, dict[str, int]]()  # of every joint, where its coordinates stand
    for index, name in enumerate(tensor.names):
        joint, _, dim = name.rpartition(".")
        if joint and dim in tuple("xyz"):
            places.setdefault(joint, {})[dim] = index
    groups = dict[tuple[tuple[str, int], ...], list[list[int]]]()
    for coordinates in places.values():
        signs = tuple((dim, int(action.sign[index])) for dim, index in coordinates.items())
        groups.setdefault(signs, []).append(list(coordinates.values()))
    if not groups:
        return nothing
    signs, chosen = max(groups.items(), key=lambda group: len(group[1]))
    values = torch.cat([part.movedim(tensor.name_axis, -1).flatten(0, -2) for part in seen])
    return values[:, torch.tensor(chosen)].flatten(0, 1), torch.tensor([sign < 0 for _, sign in signs])


def _as_missing(holds: Tensor, least: float) -> float:
    """The share of values that are a number at times, in several places; 0 below the least. holds: "sample place"."""
    shares = holds.double().mean(0)
    shares = shares.where(shares < _ALWAYS, 0.0)  # a coordinate that is always 0, as of a root, is not missing
    share = float(shares.mean())
    if share <= least or int((shares > 0).sum()) < min(_FEWEST, len(shares)):
        return 0.0
    return share
