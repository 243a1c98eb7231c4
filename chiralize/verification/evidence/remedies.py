"""What to look at first in a specification whose mirror does not fit, as far as other mirrors tell.

`wrong_mirror` ends its refusal with it, and `asymmetry.advice` its advice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors import ConversionSpec, ResolvedTensor
from chiralize.errors.words import when
from chiralize.graph.mirror import FITS, MirrorFit
from chiralize.verification.evidence.judging import DOUBTFUL
from chiralize.verification.evidence.skeleton_changes import NO_SWAP

_PAIRED = 8
"""A body with so many joints in space and no pair among them is none: a spine or a face in profile has fewer."""
CHECK_ALL = "check joint order, pairs, negated coordinates and layouts"
_BEFORE_NO_SWAP = (
    "check joint order, negated coordinates, the point that they are negated at, and units, before the pairs: where "
    "nothing swaps, inputs stay as the network knows them, and one that nearly repeats them fits for that alone"
)

_ORDER_FIRST = (
    "check the order of the joints first, which has to be that of the network's columns: one program goes leg by leg, "
    "another joint by joint; then check pairs, negated coordinates and layouts"
)
_LEAVE_PAIRS = (
    "leave the pairs as they are, and see that the joints are in the order of the network; where they are, train it "
    "with mirrored copies"
)
_AVERAGE_ON_PURPOSE = (
    "or take on purpose what knows no side: --method average --force averages its two views, --force alone converts it"
)


def first_remedy(fit: MirrorFit, spec: ConversionSpec | None = None) -> str:
    """What to change in the specification, as far as other mirrors tell; `CHECK_ALL` where they tell nothing.

    spec: the one that T is of, whose layouts may be in a file.
    """
    # The first case that applies, the surest first: changes that were measured together, then a whole skeleton, then
    # one mirror that fits, one that fits a part of the answers, one that only comes nearer.
    named = (*fit.changes, *fit.better)[:1]
    if len(fit.changes) > 1:
        return f"make all {len(fit.changes)} changes in the specification at once: one alone does not make it fit"
    if fit.skeletons:
        return _with_skeleton(fit.skeletons[0], spec)
    if NO_SWAP in named or (not named and fit.nearest_is_first and fit.nearest == NO_SWAP):
        return _BEFORE_NO_SWAP
    if fit.changes:
        return f"try {fit.changes[0]} in the specification"
    if fit.better and fit.nearest_gap <= FITS:
        return f"try {fit.nearest} in the specification"
    if fit.partly:
        return f"try {fit.partly} in the specification first; then {CHECK_ALL}"
    if fit.nearest_is_first and (not named or fit.nearest in named):
        return (
            f"try {fit.nearest} in the specification first, which brings the gap from {fit.gap:.3g} to "
            f"{fit.nearest_gap:.3g} (the rest may be a side that the network knows better); then {CHECK_ALL}"
        )
    return CHECK_ALL


def sides_first(fit: MirrorFit) -> str:
    """What to do where mirrors against names fit better than T, and no other one does; "" elsewhere."""
    if fit.fits_another:
        return ""
    if fit.misplaced:
        return _ORDER_FIRST
    return when(fit.unlike, f"{_LEAVE_PAIRS}; {_AVERAGE_ON_PURPOSE}")


def pairs_first(body: Skeleton, inputs: Sequence[ResolvedTensor] = ()) -> str:
    """The advice to name pairs, where a body of many joints has none; ends in `; then `.

    inputs: where T exchanges entries of one, such as two eyes on an axis that it reverses, joints need no pairs.
    """
    if any(_exchanges(tensor) for tensor in inputs):
        return ""
    if body.pairs or len(body.joints) < _PAIRED or len(body.dims) < 2:
        return ""
    count = len(body.joints)
    return f"pair the joints that are each other's mirror images first, since T exchanges none of {count}; then "


def _exchanges(tensor: ResolvedTensor) -> bool:
    """Whether T takes entries of a tensor of joints to the places of others."""
    if tensor.representation is None or tensor.kind not in ("pose", "fields"):
        return False
    return any((axis.action.partner != np.arange(axis.size)).any() for axis in tensor.representation.axes)


def _with_skeleton(name: str, spec: ConversionSpec | None) -> str:
    """How to take another skeleton: by the option, which would drop the layouts of a file, or in that file."""
    # `where` is FILE:LINE of an entry that was read from a file, <...>:LINE of one from a string.
    for entry in spec.entries if spec is not None else ():
        file, _, line = entry.where.rpartition(":")
        if file and line.isdigit():
            file = "the specification" if file.startswith("<") else file
            return f"put `skeleton: {name}` into {file} in place of its skeleton, beside its inputs and outputs"
    return f"try --skeleton {name}"


def first_with_figures(fit: MirrorFit, spec: ConversionSpec | None = None) -> str:
    """`first_remedy`, with the gaps that are its reason where it does not have them."""
    first = first_remedy(fit, spec)
    figures = rival_in_words(fit)
    if fit.changes:
        figures = f"the gap is then {fit.corrected.gap:.3g}, {fit.gap:.3g} with T"
    elif figures and fit.nearest in first:
        figures = f"the gap is then {fit.nearest_gap:.3g}, {fit.gap:.3g} with T"
    if not figures or f"from {fit.gap:.3g} to" in first:
        return first
    return f"{first} ({figures})"


def rival_in_words(fit: MirrorFit | None) -> str:
    """`the gap is 0.807 with another mirror, 2.03 with T`; "" where the nearest leaves nine tenths of it or more."""
    if fit is None or not fit.nearest or fit.nearest_gap >= DOUBTFUL * fit.gap:
        return ""
    return f"the gap is {fit.nearest_gap:.3g} with {fit.nearest}, {fit.gap:.3g} with T"
