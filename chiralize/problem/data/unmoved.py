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

from collections.abc import Sequence

import torch
from torch import Tensor

from chiralize.body.tensors import ResolvedTensor
from chiralize.errors import ModelRunError
from chiralize.graph import processes
from chiralize.graph.running import Arguments, Call, Runner, random_tensor, results
from chiralize.problem.data.spreading import Spreading
from chiralize.problem.network import Network

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
    reactions = _reactions(network, calls)
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
    typical, usual = part[moves & (reaction > 0)].median(), spread[moves].median()
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
    sums = list[Tensor]()
    for call in calls:
        values = Arguments.of(*call).tensors[index].double().cpu()
        axes = _pooled(network, index)
        count = torch.tensor([values.numel() / values.sum(axes).numel()], dtype=torch.float64)
        now = [count, values.sum(axes, keepdim=True)[0], values.square().sum(axes, keepdim=True)[0]]
        sums = [before + more for before, more in zip(sums, now, strict=True)] if sums else now
    processes.add_up(sums)
    count, total, square = sums
    mean = total / count
    return mean, (square / count - mean.square()).clamp_min(0).sqrt()


def _pooled(network: Network, index: int) -> list[int]:
    """The axes of an input that its samples, and what T leaves alone, lie along."""
    representation = network.resolved.input_tensors[index].representation
    assert representation is not None
    return sorted({0, *representation.still_axes})


def _reactions(network: Network, calls: Sequence[Call]) -> dict[int, Tensor]:
    """How much the answers change with each entry, RMS over samples and combinations of the answers, by input.

    Empty where the network has no gradient. An entry is meant to move in all frames of a sample alike.
    """
    squares = dict[int, Tensor]()
    generator, samples = torch.Generator().manual_seed(0), 0
    try:
        with Runner(network.module) as runner:
            for call in calls:
                _add_reactions(squares, runner, network, call, generator)
                samples += network.samples_in(call)
                if samples >= _SAMPLES:
                    break
    except (RuntimeError, ModelRunError, NotImplementedError):
        return {}
    processes.add_up(list(squares.values()))
    return {index: square.sqrt() for index, square in squares.items()}


def _add_reactions(
    squares: dict[int, Tensor], runner: Runner, network: Network, call: Call, generator: torch.Generator
) -> None:
    """Add the squared gradients of random combinations of the answers, summed over samples, by input."""
    arguments = Arguments.of(*call)
    leaves, wanted = list(arguments.tensors), dict[int, Tensor]()
    for index, tensor in enumerate(leaves):
        if tensor.is_floating_point() and _has_named_entries(network.resolved.input_tensors[index]):
            leaves[index] = wanted[index] = tensor.detach().clone().requires_grad_()
    with torch.enable_grad():
        outputs = results(runner.call(runner.start(), arguments.filled(leaves)))[0]
        numbers = [output for output in outputs if output.is_floating_point() and output.requires_grad]
        for _ in range(_DRAWS if numbers else 0):
            terms = [(output * random_tensor(output.detach(), generator)).sum() for output in numbers]
            gradients = torch.autograd.grad(
                torch.stack(terms).sum(), list(wanted.values()), retain_graph=True, allow_unused=True
            )
            for (index, leaf), gradient in zip(wanted.items(), gradients, strict=True):
                reaction = torch.zeros_like(leaf) if gradient is None else gradient
                frames = _pooled(network, index)[1:]
                moved = reaction.double().cpu().sum(frames, keepdim=True) if frames else reaction.double().cpu()
                square = moved.square().sum(0)
                squares[index] = squares[index] + square if index in squares else square
