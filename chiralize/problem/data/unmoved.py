"""Entries of an observation that never move in the samples, of a network that keeps nothing of its training.

A robot that was only told to go straight ahead has a command whose turn is 0 in all samples. What the network answers
where it is not 0 is in no sample, and a fit makes of it what it likes. A normaliser would remember how far such an
entry moved (`remembered`). Without one, there are two guesses: as far as others do, or as far as gives it the same part
in the answers, since what answers react to strongly moved little. It is drawn from N(m, s), m being its value in the
samples, with the geometric mean of both (decision 0110):

    s = sqrt(S P / g),   S: median spread of what moves, P: median of g times spread, g: how much answers change with it

An entry that moves, but by a thirtieth of S and with a thirtieth of P, is held still and measured: what moves is noise.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from chiralize.body.tensors import ResolvedTensor
from chiralize.errors import ModelRunError
from chiralize.graph import processes
from chiralize.graph.reactions import random_gradients
from chiralize.graph.running import Arguments, Call, Runner, results
from chiralize.problem.data.moments.pooled import pooled_moments
from chiralize.problem.data.spreading import Spreading
from chiralize.problem.network import Network
from chiralize.symmetry.representation import TensorRepresentation

_FEWEST = 50
"""Samples below which it tells little that an entry is the same in all of them."""
_SAMPLES, _DRAWS = 256, 4
"""Samples on which the reactions are taken, and random combinations of the answers."""
_ROUNDING = 1e-6
"""Of its size, and of the spread of others: an entry that varies less never moves."""
_STILL = 0.03
"""Of what others have, spread and part in the answers: an entry that has less is held still."""
_NEAR_ONE = 0.05
"""How far from 1 the mean of a cosine of small angles may be."""
_WIDEST = 10.0
"""How far an entry is drawn at most, in spreads of those that move: answers that hardly react tell nothing."""


def of_unmoved(network: Network, calls: Sequence[Call], indices: Sequence[int]) -> dict[int, Spreading]:
    """How entries that never move in these calls are drawn, by the index of their input.

    indices: of inputs of which the network keeps no moments.  Only entries that have names of their own are looked at:
    the root of a pose stands at 0 in training as well.
    """
    still = dict[int, tuple[Tensor, Tensor]]()
    for index in indices:
        if _has_named_entries(network.resolved.input_tensors[index]):
            mean, spread = _moments(network, index, calls)
            moves = _moves(mean, spread)
            if bool(moves.any()) and bool((spread < _STILL * spread[moves].median()).any()):
                still[index] = mean, spread
    if not still or processes.total(sum(map(network.samples_in, calls))) < _FEWEST:
        return {}
    reactions = _reactions(network, calls, still)
    by_input = dict[int, Spreading]()
    for index, (mean, spread) in still.items():
        if index in reactions:
            drawn = _drawn(reactions[index], mean, spread)
            by_input[index] = Spreading(mean, mean, torch.ones_like(mean), drawn, is_guessed=True)
    return by_input


def _has_named_entries(tensor: ResolvedTensor) -> bool:
    """Whether it is an observation with samples, which the mirror moves: fields, not joints with coordinates."""
    moved = tensor.representation is not None and not tensor.representation.is_trivial
    return moved and tensor.has_rows and tensor.pose is None and bool(tensor.names)


def _drawn(reaction: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    """The spread of every entry that is drawn, 0 of the others."""
    moves, part = _moves(mean, spread), reaction * spread
    counts = moves & (reaction > 0)
    if not bool(counts.any()):  # nothing that moves has a part in the answers
        return torch.zeros_like(part)
    typical, usual = part[counts].median(), spread[moves].median()
    # A cosine of small angles stays near 1 in training as well: of a robot's upright, a quaternion, a rotation.
    is_cosine = moves & ((mean.abs() - 1).abs() < _NEAR_ONE)
    is_still = ~moves | ((part < _STILL * typical) & (spread < _STILL * usual) & ~is_cosine)
    drawn = (usual * typical / reaction).sqrt().clamp(max=_WIDEST * usual)
    return torch.where(is_still & (reaction > 0), drawn, 0.0)


def _moves(mean: Tensor, spread: Tensor) -> Tensor:
    """Which entries vary, by more than rounding."""
    return spread > _ROUNDING * (mean.abs() + spread.amax())


def _moments(network: Network, index: int, calls: Sequence[Call]) -> tuple[Tensor, Tensor]:
    """Mean and spread of the entries of an input in the calls of all processes, of the shape of one sample.

    Axes that T leaves alone (frames) are taken together, and have one entry.
    """
    values = (Arguments.of(*call).tensors[index] for call in calls)
    return pooled_moments(values, _representation(network, index).moved_sizes[1:], _pooled(network, index))


def _representation(network: Network, index: int) -> TensorRepresentation:
    """How T acts on an input that it acts on."""
    representation = network.resolved.input_tensors[index].representation
    assert representation is not None
    return representation


def _pooled(network: Network, index: int) -> list[int]:
    """The axes of an input that its samples, and what T leaves alone, lie along."""
    return sorted({0, *_representation(network, index).still_axes})


def _reactions(network: Network, calls: Sequence[Call], indices: Collection[int]) -> dict[int, Tensor]:
    """How much the answers change with each entry, RMS over samples and combinations of the answers, by input.

    Empty where the network has no gradient. An entry is meant to move in all frames of a sample alike.
    """
    squares = dict[int, Tensor]()
    for index in indices:
        squares[index] = torch.zeros(_representation(network, index).moved_sizes[1:], dtype=torch.float64)
    failed = torch.zeros(1, dtype=torch.float64)
    try:
        with Runner(network.module) as runner:
            _add_reactions(squares, runner, network, calls)
    except (RuntimeError, ModelRunError, NotImplementedError):
        failed += 1
    # Also of a process that failed, or has no calls: the others wait for its sums.
    processes.add_up([failed, *squares.values()])
    return {} if bool(failed) else {index: square.sqrt() for index, square in squares.items()}


def _add_reactions(squares: dict[int, Tensor], runner: Runner, network: Network, calls: Sequence[Call]) -> None:
    """Add the squared gradients of random combinations of the answers, summed over samples, by input."""
    generator, samples = torch.Generator().manual_seed(0), 0
    for call in calls:
        for gradients in random_gradients(runner, call, squares, _numbers, _DRAWS, generator):
            for index, gradient in gradients.items():
                frames = _pooled(network, index)[1:]
                moved = gradient.double().cpu()
                squares[index] += (moved.sum(frames, keepdim=True) if frames else moved).square().sum(0)
        samples += network.samples_in(call)
        if samples >= _SAMPLES:
            return


def _numbers(result: Any) -> list[Tensor]:
    """The floating-point answers."""
    return [output for output in results(result)[0] if output.is_floating_point()]
