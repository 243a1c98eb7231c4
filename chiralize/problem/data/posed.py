"""Built-in poses to fit on beside the user's inputs, where what the network remembers or answers bears them out.

Calibration inputs may be of one action, of one person, or in another unit. Built-in poses are of many people and
actions, and in the units in which the network itself knows poses: what the given inputs leave open is fitted on these.
A lifter calibrated on running alone erred 1.035 times as much as the original on all motions, and 0.994 with built-in
poses beside; on varied inputs nothing changes (decision 0065).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from chiralize.errors import ChiralizeError
from chiralize.graph import processes
from chiralize.graph.running import Arguments, Call
from chiralize.problem.data.cutting import rows_of, tensors
from chiralize.problem.poses.builtin import built_in
from chiralize.problem.poses.filling import UnfitError
from chiralize.problem.problem import Problem


def with_poses(problem: Problem) -> Problem:
    """The problem with built-in poses to fit on beside the user's inputs, of which no figures are taken.

    As it is where nothing is fitted, where the network carries states from call to call, and where no poses fit.
    """
    network, batches = problem.network, problem.batches
    if not (batches.given and problem.is_fitted and network.has_rows) or network.carried:
        return problem
    problem.request.progress("checking whether built-in poses fit the network")
    try:
        poses = built_in(network, beside=True)
    except (UnfitError, ChiralizeError):
        return problem
    return problem.with_batches(posed=_as_given(poses.calls, batches.given[0]), bearing=poses.origin)


def _as_given(calls: Sequence[Call], like: Call) -> list[Call]:
    """The poses in batches of as many samples as those given; what fills no batch is left out.

    Processes that share the inputs share the poses as well.
    """
    example, rows = Arguments.of(*like), rows_of(like)
    (given,) = example.tensors  # built-in poses fill one input alone
    together = torch.cat([tensors(call)[0] for call in calls]).to(given)
    batches = [example.filled([part]) for part in together.split(rows) if len(part) == rows]
    return [batches[processes.number_of(number)] for number in range(len(batches) // processes.count())]


def remark_on(problem: Problem) -> str:
    """What the report says of them, those of all processes."""
    count = round(processes.total(sum(map(rows_of, problem.batches.posed))))
    return f"fitted on {count:,} built-in poses, too: {problem.batches.bearing}"
