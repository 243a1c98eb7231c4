"""Further inputs to fit on, made of those given: joints moved by themselves, as wide as the training, drawn people.

Inputs of few kinds leave most directions open, and what a fit does there is anything. Of people who run the arms tell
the legs, so that a weight which was fitted on running alone reads either. Scattered inputs leave what those given have
in common: every joint is moved by itself, as far as 0.4 of the spread that it has, and every body has another size.

    x'_j = x_j + 0.4 (a_j - b_j) / sqrt 2        a, b: two other samples, others for every joint j
    x''  = c + 2^u (x' - c),  u in [-1, 1]       c: the mean of the joints

A lifter calibrated on running alone erred 1.4 to 2.0 times as much as the original on all motions, and 1.04 with
scattered inputs beside, which cost nothing where inputs are varied (decision 0030). Where the network remembers the
mean m and the spread s of its inputs, others are as wide as these: x' = m + max(1, s / s') (x - m'), and what hardly
moves is drawn from N(m, s) (decision 0097). No figures are taken of any of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod

import torch
from torch import Tensor

from chiralize.body.resolve import OnTensor
from chiralize.errors import Finding
from chiralize.graph.run import Arguments, Call
from chiralize.problem.inputs import Inputs, spread_out
from chiralize.problem.memory import Moments, memory_of, same
from chiralize.problem.network import Network
from chiralize.problem.poses import drawn_people
from chiralize.problem.problem import Problem
from chiralize.problem.table import Table

SCATTER = 0.4
"""How far a joint is moved, in its spread (decision 0030)."""
SHARE = 0.25
"""How far an input is moved by noise with the covariance of all, in their spread (decision 0085)."""
_SAMPLES, _MOST_NUMBERS = 2_000, 2e7
"""Scattered samples at most, since a few decide what many leave open, and numbers in all of them."""
_MOST_ENTRIES = 4096
"""Entries that the mirror moves: heatmaps and meshes have more, and nothing in them moves by itself."""
_WIDEST = 10.0
"""By which factor samples are spread at most: what moves less than a tenth of it is noise, and is drawn anew."""
_WIDER = 1.1
"""By which factor an entry was spread further in training, for samples to be spread at all."""
_ROUNDING = 1e-6
"""Of its size, and of the spread of others: an entry that varies less never moves."""
_DEAD = 0.02
"""Of the median of all remembered spreads: what normalisers add to a variance where an entry never moved."""
Spot = tuple[int | slice, ...]
"""An index of a tensor: one entry of all samples and frames."""


def supplied(problem: Problem) -> Problem:
    """The problem with inputs to fit on beside those given, or drawn people where there are none and they fit.

    As it is where nothing is fitted, and where states are carried from call to call.
    """
    network, inputs = problem.network, problem.inputs
    if not problem.is_fitted or network.carried or not network.has_rows:
        return problem
    problem.request.progress("checking whether drawn people fit the network")
    people = drawn_people(network, beside=inputs is not None)
    if inputs is None:
        return problem if people is None else _on_people(problem, people.table, people.words)
    findings: list[Finding] = []
    if people is not None:
        inputs = replace(inputs, posed=people.table)
        facts = f"fitted on {len(people.table):,} drawn people, too: {people.words}"
        findings.append(Finding("inputs", "note", facts))
    beside, words = _beside(network, inputs)
    if beside is not None:
        inputs = replace(inputs, beside=beside)
        findings.append(Finding("inputs", "note", f"fitted on {len(beside):,} inputs beside them, too: {words}"))
    return replace(problem, inputs=inputs).with_findings(*findings)


def _on_people(problem: Problem, table: Table, words: str) -> Problem:
    """The problem with drawn people in place of inputs, and scattered ones beside them."""
    inputs = Inputs.of_people(table)
    beside, _ = _beside(problem.network, inputs)
    facts = f"nobody gave inputs: fitted and measured on {len(table):,} drawn people, {words}"
    finding = Finding("inputs", "doubt", facts, "give --calibration inputs of yours", brief="no inputs of yours")
    return replace(problem, inputs=replace(inputs, beside=beside)).with_findings(finding)


def _beside(network: Network, inputs: Inputs) -> tuple[Table | None, str]:
    """Scattered inputs, and as many that are as wide as the training where these are not; and what they are."""
    moving = {index: network.resolved.inputs[index] for index in inputs.table.arrays}
    moving = {index: tensor for index, tensor in moving.items() if has_joints(tensor)}
    entries = sum(prod(tensor.shape[1:]) for tensor in network.resolved.inputs)
    wide = spreadings(network, inputs)
    # One of three samples that are fitted is scattered; where others are spread as well, one of four is either.
    count = min(len(inputs.seen) // (2 if wide else 3), _SAMPLES, int(_MOST_NUMBERS / max(entries, 1)))
    if not moving or not count:
        return None, ""
    rows, generator = spread_out(inputs.seen, 2 * count if wide else count), torch.Generator().manual_seed(0)

    def change(index: int, samples: Tensor) -> Tensor:
        """All samples scattered; every other one spread instead where the network remembers more."""
        if index not in moving or not samples.is_floating_point():
            return samples
        moved = scattered(samples, moving[index], generator)
        if wide:
            moved[1::2] = wide[index].of(samples[1::2], generator) if index in wide else samples[1::2]
        return moved

    words = "every joint or quantity moved by itself, and all scaled"
    if any(spreading.is_guessed for spreading in wide.values()):
        words += "; in half of them what never moves is drawn as far as the others move"
    elif wide:
        words += "; half of them as wide as it remembers of its training"
    return inputs.table.changed(change, rows), words


def has_joints(tensor: OnTensor) -> bool:
    """Whether it has samples, and entries that the mirror moves; not as many as an image. Pictures have none."""
    action = tensor.representation
    if action is None or action.is_trivial or not tensor.has_rows or tensor.entry.turned:
        return False
    return prod(axis.size for axis in action.axes if not axis.is_trivial) <= _MOST_ENTRIES


# ---- scattered ------------------------------------------------------------------------------------------------------
def joints_of(tensor: OnTensor) -> list[list[Spot]]:
    """The entries of every joint, or quantity, with all there is along axes that the mirror leaves alone.

    For "b t j d" the left ear (joint 1, dims x, y) has the spots (:, :, 1, 0) and (:, :, 1, 1).
    """
    assert tensor.representation is not None
    by_joint: dict[str, list[Spot]] = {}
    along = [(slice(None),) if axis.is_trivial else range(axis.size) for axis in tensor.representation.axes]
    for spot in product(*along):
        entry = tuple(0 if isinstance(position, slice) else position for position in spot)
        by_joint.setdefault(tensor.part(entry), []).append(spot)
    return list(by_joint.values())


def scattered(tensor: Tensor, described: OnTensor, generator: torch.Generator) -> Tensor:
    """All samples changed: each joint moved by itself, then the body given another size."""
    joints, count = joints_of(described), len(tensor)
    moved = tensor.clone()
    # 1. Every joint is moved by the difference of two samples of its own: a - b has sqrt 2 times the spread, and all
    #    coordinates of a joint move together.
    for spots in joints:
        first, second = (torch.randint(count, (count,), generator=generator) for _ in range(2))
        for spot in spots:
            moved[spot] += SCATTER * (tensor[spot][first] - tensor[spot][second]) / 2**0.5
    # 2. Every body gets a size between half and twice what it had.
    _resize(moved, joints, torch.exp2(2 * torch.rand(count, generator=generator) - 1))
    # 3. What is a share or has one sign stays so.
    for spot in (spot for spots in joints for spot in spots):
        moved[spot] = _of_the_kind(moved[spot], tensor[spot])
    return moved


def _resize(tensor: Tensor, joints: Sequence[Sequence[Spot]], sizes: Tensor) -> None:
    """Scale every sample, in place, by a factor of its own about the mean of its joints, coordinate by coordinate.

    Nothing happens where joints have different coordinates.
    """
    if len(set(map(len, joints))) != 1:
        return
    for coordinate in zip(*joints, strict=True):
        values = torch.stack([tensor[spot] for spot in coordinate])
        center = values.mean(0)
        factor = sizes.to(tensor).view(-1, *[1] * (center.ndim - 1))
        for spot, value in zip(coordinate, values, strict=True):
            tensor[spot] = center + factor * (value - center)


def _of_the_kind(moved: Tensor, given: Tensor) -> Tensor:
    """The moved entry in the range of its kind: one sign stays one sign, a share (a confidence, a mask) within 0..1."""
    low, high = float(given.amin()), float(given.amax())
    if low >= 0:
        return moved.clamp(0.0, 1.0 if high <= 1 else None)
    return moved.clamp(max=0.0) if high <= 0 else moved


# ---- as wide as the training ----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Spreading:
    """How samples of one input are spread: x' = mean + factor (x - given), or N(mean, drawn) where `drawn` is not 0.

    All have the axes of a sample, of size one along frames.  is_guessed: nobody remembers how far entries moved.
    """

    given: Tensor
    mean: Tensor
    factor: Tensor
    drawn: Tensor
    is_guessed: bool = False

    def of(self, samples: Tensor, generator: torch.Generator) -> Tensor:
        """The samples, "sample entry...", spread; every entry that is drawn by itself, shares within 0..1."""
        noise = torch.randn(len(samples), *self.drawn.shape, generator=generator, dtype=torch.float64)
        drawn = self.mean + self.drawn * noise
        is_share = (self.drawn.square() <= 1.001 * self.mean * (1 - self.mean)) & (self.given >= 0) & (self.given <= 1)
        drawn = torch.where(is_share, drawn.clamp(0, 1), drawn)  # a flag of mean m has the variance m (1 - m)
        spread = self.mean + (samples.double() - self.given) * self.factor
        return torch.where(self.drawn > 0, drawn, spread).to(samples)


def spreadings(network: Network, inputs: Inputs) -> Mapping[int, Spreading]:
    """How samples are spread, by input; none where those seen are spread as far as the network remembers."""
    memory, by_input = memory_of(network), dict[int, Spreading]()
    calls = inputs.table.batches(inputs.table.rows, spread_out(inputs.seen, _SAMPLES))
    for index in inputs.table.arrays:
        tensor = network.resolved.inputs[index]
        if not has_joints(tensor):
            continue
        samples = torch.cat([Arguments.of(*call).tensors[index].double() for call in calls])
        frames = [axis for _, axis in tensor.free_axes]
        given, here = samples.mean(frames, keepdim=True)[0], samples.std(frames, keepdim=True)[0]
        known = memory.entries.get(index)
        spreading = _as_remembered(known, given, here) if known is not None else _unmoved(tensor, given, here)
        if spreading is not None and (float(spreading.factor.max()) > _WIDER or bool(spreading.drawn.any())):
            by_input[index] = spreading
    return by_input


def _as_remembered(moments: Moments, given: Tensor, here: Tensor) -> Spreading | None:
    """Samples of mean `given` and spread `here`, spread as far as remembered; None where frames have their own."""
    frames = [axis for axis, size in enumerate(here.shape) if size < moments.mean.shape[axis + 1]]
    mean, spread = (values[0].nan_to_num(0.0) for values in (moments.mean, moments.spread))
    for values in (mean, spread):
        if frames and not same(values, values.mean(frames, keepdim=True).expand_as(values)):
            return None
    mean, spread = (values.mean(frames, keepdim=True) if frames else values for values in (mean, spread))
    # Where nothing is remembered, or an entry never varied in training either, it stays: normalisers then keep 1.
    never = (here <= _ROUNDING * (spread + given.abs())) & ((spread == 1) | (spread <= _DEAD * spread.median()))
    stays = (spread <= 0) | never
    is_drawn = ~stays & (_WIDEST * here < spread)
    factor = (spread / here).clamp(1.0, _WIDEST).masked_fill(stays | is_drawn, 1.0)
    return Spreading(given, torch.where(stays, given, mean), factor, torch.where(is_drawn, spread, 0.0))


def _unmoved(tensor: OnTensor, given: Tensor, here: Tensor) -> Spreading | None:
    """Entries of an observation that never move, drawn with the median spread of what moves (decision 0110).

    Poses are left alone: their root stands at 0 in training as well. Of a quadruped's policy at half the width, over
    three seeds, an arm held still came from 2.4 to 2.8 times the original's error to 1.15 to 1.18, where samples that
    show everything have 1.12 to 1.14.
    """
    moves = here > _ROUNDING * (given.abs() + here.amax())
    if tensor.pose is not None or not tensor.names or not bool(moves.any()) or bool(moves.all()):
        return None
    drawn = torch.where(moves, 0.0, here[moves].median())
    return Spreading(given, given, torch.ones_like(given), drawn, is_guessed=True)


# ---- beside one input -----------------------------------------------------------------------------------------------
def perturbed(table: Table, rows: Sequence[int], generator: torch.Generator) -> Call:
    """The samples of these rows moved by noise that has the covariance of all: x + 0.25 (a - b) / sqrt 2.

    a, b: two other rows. Joints move together as they do in bodies, and no entry leaves the range that x, a and b span
    over all samples. Integers and booleans keep their values.
    """
    first, second = (torch.randint(len(table), (len(rows),), generator=generator).tolist() for _ in range(2))
    calls = [Arguments.of(*table.call(chosen)) for chosen in (list(rows), first, second)]
    moved: list[Tensor] = []
    for x, a, b in zip(*(call.tensors for call in calls), strict=True):
        if x.is_floating_point():
            three = torch.stack([x, a, b])
            axes = (0,) if table.single else (0, 1)
            x = (x + SHARE * (a - b) / 2**0.5).clamp(three.amin(axes), three.amax(axes))
        moved.append(x)
    return calls[0].filled(moved)
