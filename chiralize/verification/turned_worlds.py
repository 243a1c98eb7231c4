"""Other mirrors that a world without a preferred direction has beside T: they raise no doubt about it.

Where people walk any way across a square, y negated is a mirror, x negated is one, and both at once are a turn by 180
degrees. A network that learned there fits all three, one of them a little better by chance, or by a habit of people:
whoever names x instead of y is told to name y. Two things set such a rival apart from a mistake:

    R = rival after T     changes the signs of whole coordinates, the same ones of all positions in inputs and outputs
    inputs                look the same after R: no mean moves, and no sample can be told from its image

People upright fail the second for y, and people who face a camera for z: there the rival stays what it was, a doubt.
T has to reverse left and right itself. Where joints change places R has to be a turn: a body whose left arm has become
its right one is no world's symmetry.

`mirror_evidence` asks this of mirrors that come nearer than T. `judging` heeds it while T fits as networks do that know
both sides.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from math import sqrt

import numpy as np

from chiralize.body.tensors import ResolvedSpec
from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.running import Call
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation
from chiralize.verification.asymmetry.data import data_asymmetry, leanings
from chiralize.verification.evidence.names import labelled_axes

_SIDE, _MEAN = 0.65, 0.35
"""The share of samples that may be told from their images after R, and how far a mean may move, in its spread."""
_CHANCE = 3.0
"""Standard errors that the two may be beyond those by chance."""
_FEWEST = 64
"""Samples that tell whether inputs look the same."""


def is_symmetry_beside(
    other: NetworkMirror, mirror: NetworkMirror, resolved: ResolvedSpec, calls: Sequence[Call]
) -> bool:
    """Whether what takes T to another mirror is a symmetry of the world that the inputs show.

    mirror: T.  resolved: the specification that T is of.  calls: real inputs.
    """
    between = _between(mirror, other)
    if between is None:
        return False
    of_t, of_r = _signs_by_dim(mirror, mirror, resolved), _signs_by_dim(between, mirror, resolved)
    if of_t is None or of_r is None or set(of_t) != set(of_r):
        return False
    reverses, turns = _is_odd(of_t.values()), not _is_odd(of_r.values())
    if not reverses or -1 not in of_r.values() or not (turns or _keeps_places(mirror)):
        return False
    return _looks_the_same(between, resolved, calls)


def _between(mirror: NetworkMirror, other: NetworkMirror) -> NetworkMirror | None:
    """R, with other = R T, where the two take every entry to the same one, about the same points; else None."""
    sides = list[tuple[TensorRepresentation, ...]]()
    for one, two in ((mirror.inputs, other.inputs), (mirror.outputs, other.outputs)):
        tensors = list[TensorRepresentation]()
        for first, second in zip(one, two, strict=True):
            axes = _axes_between(first, second)
            if axes is None:
                return None
            tensors.append(TensorRepresentation(axes))
        sides.append(tuple(tensors))
    if mirror.is_affine or other.is_affine:
        return None
    return replace(mirror, inputs=sides[0], outputs=sides[1])


def _axes_between(one: TensorRepresentation, other: TensorRepresentation) -> tuple[Representation, ...] | None:
    """What takes one action to another on every axis of a tensor, where that moves no entry; else None."""
    axes = list[Representation]()
    if one.sign != other.sign or len(one.axes) != len(other.axes):
        return None
    for first, second in zip(one.axes, other.axes, strict=True):
        if not np.array_equal(first.action.partner, second.action.partner):
            return None
        sign = first.action.sign * second.action.sign
        axes.append(Representation.of(SignedPermutation(np.arange(first.size), sign)))
    return tuple(axes)


def _signs_by_dim(action: NetworkMirror, mirror: NetworkMirror, resolved: ResolvedSpec) -> dict[str, int] | None:
    """The sign that every coordinate of positions has, by its word; None where it is not the same everywhere, or where
    anything else changes its sign.

    action: T, or what is between it and another mirror.  mirror: T, whose labels count.
    """
    dims = resolved.spec.skeleton.dims
    signs = dict[str, int]()
    axes = [axis for *_, axis in labelled_axes(action)]
    for (*_, labels, _), axis in zip(labelled_axes(mirror), axes, strict=True):
        words = [label.rpartition(".")[2] for label in labels]
        # Along joints all labels end with the first coordinate: those of coordinates differ.
        is_of_dims = len(set(words) & set(dims)) > 1
        for word, sign in zip(words, axis.action.sign.tolist(), strict=True):
            if is_of_dims and word in dims:
                if signs.setdefault(word, sign) != sign:
                    return None
            elif sign < 0:
                return None
    return signs


def _is_odd(signs: Collection[int]) -> bool:
    """Whether an odd number of coordinates is negated, so that left becomes right."""
    return sum(sign < 0 for sign in signs) % 2 == 1


def _keeps_places(mirror: NetworkMirror) -> bool:
    """Whether no entry of any input or output goes to another one."""
    return all((axis.action.fixed).all() for *_, axis in labelled_axes(mirror))


def _looks_the_same(between: NetworkMirror, resolved: ResolvedSpec, calls: Sequence[Call]) -> bool:
    """Whether the inputs look the same after R: by the means of their entries, and by sample."""
    lean = leanings(between, calls, resolved.input_tensors)
    if not lean or lean[0].side is None or lean[0].samples < _FEWEST:
        return False
    chance = _CHANCE / sqrt(lean[0].samples)
    moved = max((entry.gap for entry in data_asymmetry(between, calls)), default=0.0)
    # Of a share of one half the standard error is 1 / (2 sqrt n), and of the distance of two opposite means 2 / sqrt n.
    return lean[0].side <= max(_SIDE, 0.5 + chance / 2) and moved <= max(_MEAN, 2 * chance)
