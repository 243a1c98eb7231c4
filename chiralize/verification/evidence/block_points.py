"""Blocks of an observation that count their lateral coordinate from another point than T negates it at.

A position whose y counts from the edge of a table lies about the middle of that table, and its mirror image is 1 - y in
place of -y. Without `reflect: {y: 1/2}` in the entry of the block, T x lies where no input ever was.

What the network remembers of its inputs, in a normaliser, lies about the right point where both sides were shown;
without that, the mean of the samples does. Of y_L and y_R, which T exchanges with a sign, it is the half-sum of both
means. Where that is further from 0 than the numbers spread, T about that point is compared with T: first all such
blocks together, then each. One side of the task may lie there as well, so that by itself it is no more than a doubt.

Example: goal.y lies between 0.2 and 0.8, about 0.52 in the mean. The gap is 0.76, and 0.14 with `reflect: {y: 0.5}`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain

import numpy as np
import torch

from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors import ConversionSpec, ResolvedSpec
from chiralize.body.tensors.fields import Field, joined_centers, single_blocks, with_block, with_parts
from chiralize.body.tensors.resolved import ResolvedTensor
from chiralize.errors import ChiralizeError
from chiralize.errors.words import listed, when
from chiralize.graph.running import Call
from chiralize.problem.data.cutting import tensors
from chiralize.problem.data.moments.normalisers import input_moments
from chiralize.problem.mirror import resolved_as
from chiralize.problem.network import Network
from chiralize.verification.evidence.off_center import rounded
from chiralize.verification.evidence.records import ABOUT_THE_MEAN, AT_A_POINT, IN_AN_ENTRY, Candidate

_AXES = "xyz"
_FEWEST = 32
"""Samples that a mean is taken of."""
_NEAR = 0.25
"""How far a mean may be from a simple number that it stands for, in spreads."""
_STEPS = (Fraction(1), Fraction(1, 2), Fraction(1, 10))
"""Simple numbers are multiples of these, the first that is near enough."""
_MOST = 8
"""Blocks that are tried one by one."""


@dataclass(frozen=True)
class _Block:
    """Blocks that T takes to each other, or one that it takes to itself, with a coordinate that it negates.

    ways: to each in the fields of the tensor.  dim: the coordinate.  entries: of it, along the axis of names.
    """

    tensor: ResolvedTensor
    ways: tuple[tuple[int, ...], ...]
    dim: str
    entries: tuple[int, ...]


@dataclass(frozen=True)
class _Point:
    """What a block lies about: the mean of its entries, their spread, and whose mean it is."""

    block: _Block
    mean: float
    spread: float
    where: str


def blocks_about_means(network: Network, inputs: Sequence[Call]) -> Iterator[Candidate]:
    """T about the points that blocks of the inputs lie about, away from 0: all of these blocks together, then each.

    Blocks whose entry gives a point are left as they are.  inputs: all real ones that there are.
    """
    away = list(_points_away(network, inputs))
    given = _given_points(network.resolved)
    # All of one coordinate share a point where that is within the spread of each; else each has its own.
    shared = _shared(away, given)
    groups = [away] if len(away) > 1 else []
    for group in (*groups, *([one] for one in away[:_MOST])):
        points = [_simple(one, given) for one in group]
        if len(group) > 1 and shared is not None:
            points = [shared] * len(group)
        spec = network.resolved.spec
        for one, point in zip(group, points, strict=True):
            spec = _recentered(spec, one.block, point)
        try:
            mirror = resolved_as(network, spec)[1]
        except ChiralizeError:  # a block that cannot have a point there
            continue
        yield Candidate(_words(group, points), mirror)


def _points_away(network: Network, inputs: Sequence[Call]) -> Iterator[_Point]:
    """What blocks lie about that have no point of their own, where it is further from 0 than they spread."""
    blocks = list(chain.from_iterable(_blocks(network.resolved, each) for each in network.resolved.input_tensors))
    if not blocks:
        return
    remembered = _remembered(network)
    for block in blocks:
        index, chosen = block.tensor.index, list(block.entries)
        moments = [*remembered.get(index, ()), *_of_samples(block.tensor, inputs)]
        for mean, spread, where in moments:
            about, apart = mean[chosen], spread[chosen]
            if about.isfinite().all() and apart.isfinite().all():
                if abs(float(about.mean())) > float(apart.mean()):
                    yield _Point(block, float(about.mean()), float(apart.mean()), where)
                break  # the samples count where nothing is remembered


def _blocks(resolved: ResolvedSpec, tensor: ResolvedTensor) -> Iterator[_Block]:
    """The blocks of a tensor with a coordinate that T negates, and that may have a point and has none."""
    if tensor.kind != "fields" or tensor.name_axis is None or tensor.representation is None:
        return
    fields, body = tensor.entry.fields or (), tensor.entry.body(resolved.spec.skeleton)
    action = tensor.representation.axes[tensor.name_axis].action
    owners, blocks = dict[int, tuple[int, ...]](), list[tuple[tuple[int, ...], str, tuple[int, ...]]]()
    for way, block in single_blocks(fields):
        for dim in _AXES:
            entries = _coordinates(fields, way, block, dim, body)
            negated = tuple(entry for entry in entries if action.sign[entry] < 0)
            if negated and len(negated) == len(entries):
                blocks.append((way, dim, negated))
                owners.update(dict.fromkeys(negated, way))
    seen = set[tuple[tuple[int, ...], ...]]()
    by_way = {way: (dim, entries) for way, dim, entries in blocks}
    for way, (dim, entries) in by_way.items():
        partners = [owners.get(int(action.partner[entry]), ()) for entry in entries]
        ways = tuple(sorted({way, *partners}))
        if () in ways or ways in seen:
            continue  # its partners can have no point
        seen.add(ways)
        yield _Block(tensor, ways, dim, tuple(chain.from_iterable(by_way[each][1] for each in ways)))


def _coordinates(fields: Sequence[Field], way: tuple[int, ...], block: Field, dim: str, body: Skeleton) -> list[int]:
    """The entries of one coordinate of a block, along the whole axis; none where the block gives its point."""
    if dim in dict(block.reflect) or dim not in block.coordinates(body):
        return []
    probe = replace(block, reflect=(*block.reflect, (dim, Fraction(1))))
    before = np.array(joined_centers(fields, body))
    after = np.array(joined_centers(with_block(fields, way, probe), body))
    return list(map(int, np.flatnonzero(before != after)))


def _remembered(network: Network) -> Mapping[int, list[tuple[torch.Tensor, torch.Tensor, str]]]:
    """Means and spreads by name that a network remembers of its inputs, and by what, by position."""
    if network.captured is None:
        return {}
    known = dict[int, list[tuple[torch.Tensor, torch.Tensor, str]]]()
    for moments in input_moments(network.captured):
        axis = network.resolved.input_tensors[moments.index].name_axis
        if axis is not None:
            mean, spread = (_rows(part, axis) for part in (moments.mean, moments.spread))
            where = f"that {moments.name.partition(' (')[0]} remembers"
            known[moments.index] = [(mean.nanmean(0), spread.nanmean(0), where)]
    return known


def _of_samples(tensor: ResolvedTensor, inputs: Sequence[Call]) -> Iterator[tuple[torch.Tensor, torch.Tensor, str]]:
    """The same of the samples, where there are enough of them."""
    assert tensor.name_axis is not None
    rows = [_rows(tensors(call)[tensor.index].detach().double().cpu(), tensor.name_axis) for call in inputs]
    values = torch.cat(rows) if rows else torch.zeros(0)
    if len(values) >= _FEWEST:
        mean = values.nanmean(0)
        yield mean, (values - mean).square().nanmean(0).sqrt(), "of the inputs"


def _rows(values: torch.Tensor, axis: int) -> torch.Tensor:
    """Numbers with one axis of names as "row number"."""
    return values.movedim(axis, -1).reshape(-1, values.shape[axis])


def _given_points(resolved: ResolvedSpec) -> list[Fraction]:
    """The points that other blocks of the inputs give, each once."""
    blocks = chain.from_iterable(with_parts(tensor.entry.fields or ()) for tensor in resolved.input_tensors)
    return list(dict.fromkeys(point for block in blocks for _, point in block.reflect))


def _shared(away: Sequence[_Point], given: Collection[Fraction]) -> Fraction | None:
    """The one point that several lie about, each within its spread; None where they lie about different ones."""
    if len(away) < 2 or len({one.block.dim for one in away}) > 1:
        return None
    nearest = min(away, key=lambda one: one.spread)
    weights = [max(one.spread, 1e-9) ** -2 for one in away]
    mean = sum(weight * one.mean for weight, one in zip(weights, away, strict=True)) / sum(weights)
    point = _simple(replace(nearest, mean=mean), given)
    return point if all(abs(one.mean - float(point)) <= one.spread for one in away) else None


def _simple(one: _Point, given: Collection[Fraction]) -> Fraction:
    """The number that a mean stands for: one that another block gives, a simple one, or the mean itself, rounded."""
    steps = (round(Fraction(one.mean) / step) * step for step in _STEPS)
    for simple in (*given, *steps):
        if abs(float(simple) - one.mean) <= _NEAR * one.spread:
            return simple
    return rounded(one.mean)


def _recentered(spec: ConversionSpec, block: _Block, point: Fraction) -> ConversionSpec:
    """The specification with a point in the entry of a block, and of its partners."""
    entries = list(spec.inputs or ())
    fields = entries[block.tensor.index].fields or ()
    for way, one in list(single_blocks(fields)):
        if way in block.ways:
            fields = with_block(fields, way, replace(one, reflect=(*one.reflect, (block.dim, point))))
    entries[block.tensor.index] = replace(entries[block.tensor.index], fields=fields)
    return replace(spec, inputs=tuple(entries))


def _words(group: Sequence[_Point], points: Sequence[Fraction]) -> str:
    """What is different, and the words of the specification that say so, on one line.

    `y of goal of input 0 mirrored at 0.5 (about the mean of the inputs) instead of 0 (`reflect: {y: 0.5}` in its
    entry)`; where blocks have different points, each stands behind its block.
    """
    is_one = len(set(points)) == 1
    by_tensor, keys, count = dict[str, list[str]](), list[str](), 0
    for one, point in zip(group, points, strict=True):
        names = _names(one.block)
        behind = when(not is_one, f" ({float(point):g})")
        by_tensor.setdefault(one.block.tensor.where, []).extend(name + behind for name in names)
        keys.append(f"{one.block.dim}: {float(point):g}")
        count += len(names)
    blocks = listed([f"{listed(names)} of {where}" for where, names in by_tensor.items()])
    dims = listed([*dict.fromkeys(one.block.dim for one in group)])
    where = listed([*dict.fromkeys(one.where for one in group)])
    number = f"{float(points[0]):g}" if is_one else "these points"
    reflect = "}`, `reflect: {".join(dict.fromkeys(keys))
    entries = "its entry" if count == 1 else "each of their entries"
    about = f"{AT_A_POINT} {number} {ABOUT_THE_MEAN}{where}) instead of 0"
    return f"{dims} of {blocks} {about} (`reflect: {{{reflect}{IN_AN_ENTRY}{entries})"


def _names(block: _Block) -> list[str]:
    """The names of the blocks on the way to each, joined by dots; where they have none, that of the first entry."""
    names = list[str]()
    for way in block.ways:
        parts, fields = list[str](), block.tensor.entry.fields or ()
        for at in way:
            parts.append(fields[at].name)
            fields = fields[at].parts
        first = block.tensor.names[block.entries[0]].rpartition(".")[0]
        names.append(".".join(filter(None, parts)) or first)
    return names
