"""What a policy sees in its environment, as inputs that a conversion can be fitted on.

Example: 20 episodes of 100 steps from the starts 100 to 119, every second one from a mirrored start: 2,000
observations. These are fewer than 2,500, so that further starts follow.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from chiralize.graph.rollouts import LONGEST, Steps
from chiralize.graph.running import Call
from chiralize.problem.network import Network
from chiralize.verification.closed_loop.acting import Policy, Reader
from chiralize.verification.closed_loop.environment import Environment

ENOUGH = 2_500
"""Observations: 2,000 to fit on, and a fifth of all to measure with."""
_LONGER = 10
"""Times the episodes that were asked for, at most."""
Track = list[list[Tensor]]
"""One episode: for every step the tensors of a call that an observation fills, in the sizes of the example."""


def recorded(environments: Sequence[Environment], policy: Policy, first: int, count: int, steps: int) -> list[Track]:
    """What the policy sees in episodes from the starts that are numbered from `first` on.

    There are `count` of them, or more until there is enough to fit on. The views take turns: a start as it is, then the
    mirror images of the next ones, where environments can do that. Inputs should not lean because the starts do.
    environments: the same one with each of its mirrors.
    Raises ModelRunError, UsageError.
    """
    turned = [(environment, True) for environment in environments if environment.how != "view"]
    views = [(environments[0], False), *turned]
    tracks: list[Track] = []
    for number in range(_LONGER * count):
        if number >= count and sum(map(len, tracks)) >= ENOUGH:
            break
        environment, mirrored = views[number % len(views)]
        tracks.append(_episode(environment, policy, first + number, steps, mirrored))
    return tracks


def _episode(environment: Environment, policy: Policy, start: int, steps: int, mirrored: bool) -> Track:
    """What the policy sees as it acts by its plain view, until the episode ends. Raises ModelRunError, UsageError."""
    policy.start()
    observation = environment.begin(start, mirrored)
    track: Track = []
    for _ in range(steps):
        track.append(policy.reads.tensors(observation, environment.name))
        step = environment.step(policy.both(observation, environment.name)[0])
        observation = step.observation
        if step.fallen or step.over:
            break
    return track


def calls_of(network: Network, reads: Reader, tracks: Sequence[Track]) -> list[Call]:
    """All observations as calls of the network, each with as many as the example has."""
    seen = [step for track in tracks for step in track]
    rows = network.rows
    return [_call(network, reads, seen[first : first + rows]) for first in range(0, len(seen) - rows + 1, rows)]


def sequences_of(network: Network, reads: Reader, tracks: Sequence[Track]) -> list[Steps]:
    """Episodes as sequences of calls: as many side by side as the example has rows, cut to the shortest and to 200."""
    rows = network.rows
    sequences: list[Steps] = []
    for first in range(0, len(tracks) - rows + 1, rows):
        moments = list(zip(*tracks[first : first + rows], strict=False))[:LONGEST]  # step by step, all side by side
        sequences.append([_call(network, reads, moment) for moment in moments])
    return sequences


def _call(network: Network, reads: Reader, observations: Sequence[Sequence[Tensor]]) -> Call:
    """A call of one observation for every row. Those of the policy have an example's size: their first row counts."""
    filled = list(reads.example.tensors)
    for column, position in enumerate(reads.inputs):
        parts = [step[column].to(filled[position].dtype) for step in observations]
        filled[position] = torch.cat([part[:1] for part in parts]) if network.has_rows else parts[0]
    return reads.example.filled(filled)
