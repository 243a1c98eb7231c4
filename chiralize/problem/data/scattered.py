"""Inputs made of those given: to fit on beside them, and to judge on.

Inputs of few kinds leave most directions open, and what a fit does there is anything. Of people who run the arms tell
the legs, so that a weight which was fitted on running alone reads either. Scattered inputs leave what those given have
in common: every joint is moved by itself, as far as 0.4 of the spread that it has, and every body has another size.

    x'_j = x_j + 0.4 (a_j - b_j) / sqrt 2        a, b: two other samples, others for every joint j
    x''  = c + 2^u (x' - c),  u in [-1, 1]       c: the mean of the joints

A lifter calibrated on running alone erred 1.4 to 2.0 times as much as the original on all motions, and 1.04 with
scattered inputs beside, which cost nothing where inputs are varied (decision 0030). Where the network keeps the spread
of its inputs in training, others beside them are as wide as these (decision 0097).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from math import prod
from zlib import crc32

import torch
from torch import Tensor

from chiralize.body.tensors.joints import MOST_ENTRIES, Place, members
from chiralize.body.tensors.resolved import ResolvedTensor
from chiralize.errors.words import when
from chiralize.graph import processes
from chiralize.graph.copies import raw_bytes
from chiralize.graph.running import Arguments, Call
from chiralize.problem.data.batches import Batches
from chiralize.problem.data.cutting import leading, rows_of
from chiralize.problem.data.remembered import spreadings
from chiralize.problem.data.spreading import Spreading, words_of
from chiralize.problem.data.warping import is_picture
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem

SCATTER = 0.4
"""How far a joint is moved, in its own spread."""
SAMPLES = 4_000
"""At most: a few beside many decide what these leave open."""
_MOST = 2e7  # entries of all samples together
_ROWS = 64
"""Samples, at least, among which those are drawn by which a batch is scattered."""
Change = Callable[[Tensor, ResolvedTensor, torch.Generator], Tensor]
"""Makes other samples of those given, "sample entry...".  Takes what the tensor is, and a source of random numbers."""


def with_scattered(problem: Problem) -> Problem:
    """The problem with scattered inputs to fit on beside those of the user, or built-in poses; for no figures.

    As it is where nothing is fitted, where samples are no rows, or where inputs are sequences, in which one follows
    from another.
    """
    network = problem.network
    given, inputs = problem.batches.lifelike, network.resolved.input_tensors
    if not (given and problem.is_fitted and network.has_rows and any(map(has_joints, inputs))):
        return problem
    if network.carried:
        return problem
    entries = sum(prod(tensor.shape[1:]) for tensor in inputs)
    most, wide = min(SAMPLES, int(_MOST / max(entries, 1))), spreadings(network, given)
    guesses = any(spreading.is_guessed for spreading in wide.values())
    beside = _beside(inputs, given, most, wide)
    return problem.with_batches(scattered=beside, spread_how=words_of(wide), are_guessed=guesses)


def _beside(
    inputs: Sequence[ResolvedTensor], given: Sequence[Call], most: int, wide: Mapping[int, Spreading]
) -> list[Call]:
    """Scattered calls, about `most` samples of them in all processes together.

    Each is scattered by samples of its own batch, and of the next ones where it has few. The random numbers are
    seeded with the values of the batch. So with batches of `_ROWS` and more, processes that share the inputs in turns
    make what one process would have made of all of them. Every so many batches is scattered: an odd number, so that
    two, four or eight processes have as many each.
    """
    rows = rows_of(given[0])
    step = max(1, round(processes.total(len(given))) * rows // max(most, 1)) | 1  # the next odd number
    numbers = [number for number in range(len(given)) if processes.number_of(number) % step == 0]
    count = max(-(-_ROWS // rows), 1)
    beside = list[Call]()

    def change(tensor: Tensor, resolved: ResolvedTensor, generator: torch.Generator) -> Tensor:
        """Every other sample scattered, and the others spread where the network remembers more."""
        moved = scattered(tensor, resolved, generator)
        if resolved.index in wide:
            moved[1::2] = spread(tensor[1::2], resolved, wide[resolved.index], generator)
        return moved

    for start in range(0, len(numbers), count):
        calls = [given[number] for number in numbers[start : start + count]]
        seed = crc32(raw_bytes(leading(calls[0])))
        beside += changed(inputs, calls, change, torch.Generator().manual_seed(seed))
    return beside


def spread_as_remembered(network: Network, calls: Sequence[Call]) -> Sequence[Call]:
    """The calls with inputs that reach as far as those in training; none where they nearly do as they are.

    None, too, where the network keeps nothing of its training, or samples are no rows.
    """
    remembered = {index: entry for index, entry in spreadings(network, calls).items() if not entry.is_guessed}
    if not any(spreading.is_clear for spreading in remembered.values()):
        return []

    def change(tensor: Tensor, resolved: ResolvedTensor, generator: torch.Generator) -> Tensor:
        """All samples of an input that was spread further."""
        if resolved.index not in remembered:
            return tensor
        return spread(tensor, resolved, remembered[resolved.index], generator)

    return changed(network.resolved.input_tensors, calls, change, torch.Generator().manual_seed(0))


def remark_on(batches: Batches) -> str:
    """What the report says of scattered inputs, those of all processes."""
    count = -(-round(processes.total(sum(map(rows_of, batches.scattered)))) // 2)
    spread = when(batches.spread_how, f"; and on as many of yours, {batches.spread_how}")
    return f"fitted on {count:,} scattered inputs, too: every joint or quantity moved by itself, and all scaled{spread}"


def has_joints(tensor: ResolvedTensor) -> bool:
    """Whether it has samples, and entries that the mirror moves; not as many as an image, but any number of frames.

    Pictures have none, however small: their columns do not move by themselves.
    """
    if tensor.representation is None or tensor.representation.is_trivial or not tensor.has_rows:
        return False
    if is_picture(tensor):
        return False
    if tensor.pose is None:
        return prod(tensor.shape[1:]) <= MOST_ENTRIES
    return prod(axis.size for axis in tensor.representation.axes if not axis.is_trivial) <= MOST_ENTRIES


def changed(
    inputs: Sequence[ResolvedTensor], calls: Sequence[Call], change: Change, generator: torch.Generator
) -> list[Call]:
    """The calls with other numbers in the inputs that have joints."""
    given = [Arguments.of(*call) for call in calls]
    columns = list(zip(*(call.tensors for call in given), strict=True))
    for index, (resolved, column) in enumerate(zip(inputs, columns, strict=True)):
        if has_joints(resolved) and column[0].is_floating_point():
            columns[index] = change(torch.cat(column), resolved, generator).split(list(map(len, column)))
    return [call.filled(tensors) for call, tensors in zip(given, zip(*columns, strict=True), strict=True)]


def joints_of(tensor: ResolvedTensor) -> list[list[Place]]:
    """The entries of every joint, as indices of the tensor."""
    assert tensor.representation is not None
    return list(members(tensor.representation, tensor.part).values())


def scattered(tensor: Tensor, resolved: ResolvedTensor, generator: torch.Generator) -> Tensor:
    """The tensor with every other sample changed: each joint moved by itself, then the body given another size.

    As many scattered samples as given ones cost a temporal network, whose clips were varied, accuracy.
    """
    joints, count = joints_of(resolved), len(tensor)
    moved = tensor.clone()
    # 1. Every joint is moved by the difference of two samples of its own: a - b has sqrt 2 times the spread, and all
    #    coordinates of a joint move together.
    for entries in joints:
        first, second = (torch.randint(count, (count,), generator=generator) for _ in range(2))
        for entry in entries:
            step = tensor[entry][first] - tensor[entry][second]
            moved[entry] += SCATTER * step / 2**0.5
    # 2. Every body gets a size between half and twice its own.
    _resize(moved, joints, torch.exp2(2 * torch.rand(count, generator=generator) - 1))
    # 3. What is a share or has one sign stays so; then every other sample is put back.
    for entries in joints:
        for entry in entries:
            moved[entry] = _of_the_kind(moved[entry], tensor[entry])
    moved[1::2] = tensor[1::2]
    return moved


def spread(tensor: Tensor, resolved: ResolvedTensor, wide: Spreading, generator: torch.Generator) -> Tensor:
    """The tensor spread as far as the network remembers, every entry in the range of its kind.

    What is drawn keeps to no range of the samples: they hardly show one.
    """
    moved = wide.of(tensor)
    for entry in chain.from_iterable(joints_of(resolved)):
        moved[entry] = _of_the_kind(moved[entry], tensor[entry])
    return wide.with_drawn(moved, generator)


def _resize(tensor: Tensor, joints: Sequence[Sequence[Place]], sizes: Tensor) -> None:
    """Scale every sample, in place, by a factor of its own about the mean of its joints, coordinate by coordinate.

    Nothing happens where joints have different coordinates.
    """
    if len(set(map(len, joints))) != 1:
        return
    for coordinate in zip(*joints, strict=True):
        values = torch.stack([tensor[entry] for entry in coordinate])
        center = values.mean(0)
        factor = sizes.to(tensor).view(-1, *[1] * (center.ndim - 1))
        for entry, value in zip(coordinate, values, strict=True):
            tensor[entry] = center + factor * (value - center)


def _of_the_kind(moved: Tensor, given: Tensor) -> Tensor:
    """The moved entry in the range of its kind: one sign stays one sign, a share (a confidence, a mask) within 0..1."""
    low, high = float(given.amin()), float(given.amax())
    if low >= 0:
        return moved.clamp(0.0, 1.0 if high <= 1 else None)
    if high <= 0:
        return moved.clamp(max=0.0)
    return moved
