"""Calibration inputs whose coordinates stand in another order than in training, or whose axes point elsewhere.

A network that keeps the means m and spreads s of its inputs tells. Of all orders and signs of the coordinates, and of
numbers stored coordinate by coordinate in place of joint by joint, it is the one under which the means of the inputs
are nearest to m, RMS in spreads, if that is near, and much nearer than as they are.

Three coordinates have 6 orders and 8 choices of signs, 48 arrangements in all. `y in training is -z` says that an
entry `left_knee.y` of the network is to be read from `left_knee.z` of the inputs, negated. `checks` calls
`arrangement` for the remedy where inputs are foreign, and `certain_arrangement` where nothing else speaks against them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from math import prod

import numpy as np
import torch
from torch import Tensor

from chiralize.body.tensors import ResolvedTensor
from chiralize.errors.words import when
from chiralize.graph.running import Call
from chiralize.problem.data.moments.normalisers import InputMoments, input_moments
from chiralize.problem.data.remembered import means_of
from chiralize.problem.network import Network

_NEAR = 1.0
"""Means that are further off, in spreads, are not of the order in training either."""
_NEARER = 0.5
"""Of how far they are off as they are."""
_AS_NEAR = 1.1
"""An order with fewer changes is named where it comes as near but for so much."""
_OFF, _EXPLAINED = 0.3, 0.2
"""Means so far off, in spreads, of which another arrangement leaves so small a share, are of that arrangement."""
_FEWEST = 6
"""So many of them have to be off, and mended by it."""
_MOST_DIMS, _MOST_ENTRIES = 3, 100_000
_OF_ROTATION = re.compile(r"(.*)\[(\w+),(\w+)\]")


@dataclass(frozen=True)
class Arrangement:
    """How the inputs seem to be arranged, in words, and how far their means are off when they are put in order.

    as_given: how far they are off as they are.  Both RMS, in spreads.
    mended: how many means are off as they are, and not then.
    """

    words: str
    shift: float
    as_given: float
    mended: int

    @property
    def is_certain(self) -> bool:
        """Whether it explains all that the means are off by, so that nothing else has to be wrong.

        Of a few numbers it may be chance, or another task: a robot that walks backwards.
        """
        return self.as_given >= _OFF and self.shift <= _EXPLAINED * self.as_given and self.mended >= _FEWEST


@dataclass(frozen=True)
class _Means:
    """Mean of every named entry in the inputs and in training, and its spread there, all by name."""

    given: Mapping[str, float]
    trained: Mapping[str, float]
    spread: Mapping[str, float]

    def shift(self, source: Mapping[str, tuple[str, int]]) -> float:
        """How far means are off, RMS in spreads, where an entry is read from another one, with a sign."""
        squares = sum(self._off(name, source) ** 2 for name in self.trained)
        return (squares / len(self.trained)) ** 0.5

    def mended(self, source: Mapping[str, tuple[str, int]]) -> int:
        """How many are off as they are, and not where an entry is read from another one."""
        count = 0
        for name in self.trained:
            count += abs(self._off(name, {})) > _OFF >= abs(self._off(name, source))
        return count

    def _off(self, name: str, source: Mapping[str, tuple[str, int]]) -> float:
        """How far the mean of an entry is off, in spreads, with its sign.  source: {} reads every entry as it is."""
        taken, sign = source.get(name, (name, 1))
        return (sign * self.given[taken] - self.trained[name]) / self.spread[name]


def certain_arrangement(network: Network, calls: Sequence[Call]) -> Arrangement | None:
    """The arrangement of these inputs where it explains all that their means are off by.

    Raises ChiralizeError where there is no graph.
    """
    other = arrangement(network, calls, _OFF)
    return other if other is not None and other.is_certain else None


def arrangement(network: Network, calls: Sequence[Call], least: float = 0.0) -> Arrangement | None:
    """How these inputs seem to be arranged, where their means are much nearer to those in training then.

    least: how far means have to be off, RMS in spreads, to be looked at.  Raises ChiralizeError as above.
    """
    best: Arrangement | None = None
    for moments in input_moments(network.graph(), network.resolved.input_centers):
        tensor = network.resolved.input_tensors[moments.index]
        means = _by_name(network, moments, tensor, calls, least)
        if means is None:
            continue
        as_given = means.shift({})
        limit = min(_NEAR, _NEARER * as_given)
        dims = tensor.entry.body(network.resolved.spec.skeleton).dims
        for words, source in _arrangements(tensor, list(means.trained), dims):
            shift = means.shift(source)
            # Arrangements come with few changes first: a later one has to be nearer by more than chance.
            if shift <= limit and (best is None or _AS_NEAR * shift < best.shift):
                best = Arrangement(words, shift, as_given, means.mended(source))
    return best


def _by_name(
    network: Network, moments: InputMoments, tensor: ResolvedTensor, calls: Sequence[Call], least: float
) -> _Means | None:
    """The means by the names of entries, frames taken together; None where nothing is kept that could tell.

    None, too, where entries by themselves are off by less than `least`: frames together are hardly further off.
    """
    has_names = tensor.pose is not None or tensor.names
    if not has_names or not network.has_rows or moments.mean.numel() > _MOST_ENTRIES * len(moments.mean):
        return None
    means = means_of(network, moments, calls)
    if means is None:
        return None
    # A bound that is cheap: the loop below names every entry of a clip, and means of frames are hardly further off.
    off = ((means[0] - means[1]) / means[2])[means[2] > 0]
    if least and not float(off[off.isfinite()].square().mean()) >= least**2:
        return None
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    stacked = torch.stack(means)  # 3 entry...: given, trained, spread
    for index in np.ndindex(*stacked.shape[1:]):
        name, values = tensor.label((0, *index)), stacked[(slice(None), *index)]
        if bool(values.isfinite().all()) and float(values[2]) > 0:
            sums[name] = sums.get(name, torch.zeros(3, dtype=stacked.dtype)) + values
            counts[name] = counts.get(name, 0) + 1
    if not sums:
        return None
    columns: list[dict[str, float]] = [{}, {}, {}]
    for name, total in sums.items():
        for column, value in zip(columns, (total / counts[name]).tolist(), strict=True):
            column[name] = value
    return _Means(*columns)


def _arrangements(
    tensor: ResolvedTensor, names: list[str], dims: Sequence[str]
) -> Iterator[tuple[str, dict[str, tuple[str, int]]]]:
    """Other arrangements in words, and where every entry that moves is to be read; those with few changes first."""
    if not 1 < len(dims) <= _MOST_DIMS:
        return
    changes = list(product(permutations(dims), product((1, -1), repeat=len(dims))))
    for order, signs in sorted(changes, key=lambda change: _count(dims, *change)):
        if _count(dims, order, signs):
            taken = dict(zip(dims, zip(order, signs, strict=True), strict=True))
            yield _in_words(taken), _source(names, taken)
    yield from _otherwise_stored(tensor, names, len(dims))


def _otherwise_stored(
    tensor: ResolvedTensor, names: list[str], dims: int
) -> Iterator[tuple[str, dict[str, tuple[str, int]]]]:
    """Joint by joint in place of coordinate by coordinate, or the other way round, where they share an axis."""
    if tensor.pose is None or len(names) != len(tensor.pose.body.joints) * dims:
        return
    cases = (("(j d)", dims, "(d j), coordinate by coordinate"), ("(d j)", len(names) // dims, "(j d), joint by joint"))
    for layout, rows, stored in cases:
        if layout in tensor.layout:
            # Entry i of the network is at positions[i] of the inputs: of two joints in (j d), x y x y, the inputs hold
            # x x y y, so that positions are 0 2 1 3.
            positions = np.arange(len(names)).reshape(rows, -1).T.ravel().tolist()
            source: dict[str, tuple[str, int]] = {}
            for name, position in zip(names, positions, strict=True):
                source[name] = (names[position], 1)
            yield f"they are stored {stored}, where the layout has {layout}", source


def _count(dims: Sequence[str], order: Sequence[str], signs: Sequence[int]) -> int:
    """How many coordinates are others, and how many negated."""
    return sum(one != other for one, other in zip(dims, order, strict=True)) + sum(sign < 0 for sign in signs)


def _in_words(taken: Mapping[str, tuple[str, int]]) -> str:
    """`y in training is -z`, all coordinates that differ."""
    changed = {dim: change for dim, change in taken.items() if change != (dim, 1)}
    return ", ".join(f"{dim} in training is {when(sign < 0, '-')}{other}" for dim, (other, sign) in changed.items())


def _source(names: Sequence[str], taken: Mapping[str, tuple[str, int]]) -> dict[str, tuple[str, int]]:
    """Where every entry that ends with a coordinate is read: `left_knee.y` of `left_knee.z`.

    An entry (i, j) of a rotation has the signs of both axes, as those of P R P^T have.
    """
    source: dict[str, tuple[str, int]] = {}
    known = set(names)
    for name in names:
        stem, dims, mark = _ends_with(name)
        if dims and taken.keys() >= {*dims}:
            others = [taken[dim] for dim in dims]
            read = mark.format(stem, *(other for other, _ in others))
            if read in known:
                source[name] = (read, prod(sign for _, sign in others))
    return source


def _ends_with(name: str) -> tuple[str, tuple[str, ...], str]:
    """The stem of a name, the coordinates that it ends with, and how the two are written together.

    >>> _ends_with("hand.position.x"), _ends_with("hand[x,y]"), _ends_with("speed")
    (('hand.position', ('x',), '{}.{}'), ('hand', ('x', 'y'), '{}[{},{}]'), ('speed', (), '{}'))
    """
    of_rotation = _OF_ROTATION.fullmatch(name)
    if of_rotation is not None:
        stem, *dims = of_rotation.groups()
        return stem, tuple(dims), "{}[{},{}]"
    stem, dot, dim = name.rpartition(".")
    return (stem, (dim,), "{}.{}") if dot else (name, (), "{}")
