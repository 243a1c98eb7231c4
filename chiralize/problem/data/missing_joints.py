"""Joints that were not seen, stored as one number for all: T takes it for a point, and puts it where no joint is.

Detectors store 0 for them, normalised -1 or the like. Such a number stands, to the last bit, in many places now and
then, and its mirror image in next to none.

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
        zeros = _as_missing(values[:, is_off_zero], torch.zeros_like(middle[is_off_zero]), _ZEROS)
        if zeros and not _lie_on_a_line(tensor, seen, 0.0):
            return Stored(0.0, 2 * float(middle[is_off_zero][0]), zeros)
    # 2. Any other number: the commonest distance from the centre. A real position is as common as its mirror image in
    #    some joint, a stored number is not.
    about = values - middle
    numbers, counts = about[about != 0].unique(return_counts=True)
    if not len(numbers):
        return None
    commonest = numbers[counts.argmax()]
    share = _as_missing(about, commonest.expand_as(middle), _OTHERS)
    if not share or float((about == -commonest).double().mean()) >= _IMAGES * share:
        return None
    at = middle[(about == commonest).any(0)][0]
    if _lie_on_a_line(tensor, seen, float(commonest + at)):
        return None
    return Stored(float(commonest + at), float(at - commonest), share)


def _lie_on_a_line(tensor: ResolvedTensor, seen: Sequence[Tensor], value: float) -> bool:
    """Whether joints whose negated coordinate is this value have no others that stay: on the edge of a court, say.

    Of missing ones all coordinates are stored, each as a number of its own: 0 and 0, or -1 and -H / W.
    """
    if tensor.pose is None or not has_coordinates(tensor):
        return False
    poses = torch.cat([by_joint(tensor, values) for values in seen])
    is_negated = torch.tensor([dim in tensor.pose.body.negate for dim in tensor.pose.body.dims])
    having = (poses[..., is_negated] == value).any(-1)
    others = poses[having][:, ~is_negated]
    if not others.numel():
        return False
    return all(float(column.unique(return_counts=True)[1].max()) < _WHOLE * len(column) for column in others.T)


def _as_missing(values: Tensor, number: Tensor, least: float) -> float:
    """The share of values that are a number at times, in several places; 0 below the least. values: "sample place"."""
    shares = (values == number).double().mean(0)
    shares = shares.where(shares < _ALWAYS, 0.0)  # a coordinate that is always 0, as of a root, is not missing
    share = float(shares.mean())
    if share <= least or int((shares > 0).sum()) < min(_FEWEST, len(shares)):
        return 0.0
    return share
