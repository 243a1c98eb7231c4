"""Inputs beyond those that were given: a result that was fitted on few kinds of them is judged on others, too.

Held-out inputs are of the kinds that were fitted on, so rho on them says nothing about other kinds. A lifter calibrated
on walking alone has 1.07 to 1.09 times the error of the original on all motions, with a rho of 0.62 to 0.95. One that
was calibrated on running has up to twice the error, with 0.80 (decision 0029). The other kinds are: samples with the
moments that the first batch norm remembers, where there is one; joints of different samples put together; and samples
moved away from each other, out of their span. Where built-in poses are used beside the given inputs, some are left out
of the fit: rho on these predicts rho on unseen people within a tenth (decision 0074).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial

import torch

from chiralize.body.tensors.resolved import ResolvedTensor
from chiralize.errors import ChiralizeError, MethodUnavailableError, ModelRunError, UsageError
from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.running import Call
from chiralize.problem.cost import affordable_samples
from chiralize.problem.data.batches import Batches
from chiralize.problem.data.cutting import in_rows, thinned
from chiralize.problem.data.drawn import ROWS, drawn, supplied
from chiralize.problem.data.moments.norms import UndeterminedError
from chiralize.problem.data.moments.recovery import recover
from chiralize.problem.data.remembered import spreadings
from chiralize.problem.data.scattered import changed, has_joints, joints_of, spread
from chiralize.problem.data.spreading import Spreading, words_of
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem
from chiralize.verification.drift import measure
from chiralize.verification.verdicts import Beyond, Drift

SAMPLES = 1000  # of a kind, at most
_WORK, _LEAST = 2e11, 24
"""Multiplications of one run over the samples of a kind, and how many samples they are at least."""
REMEMBERED = "samples with the moments that its first batch norm remembers"
MIXED = "samples put together of joints of different ones"
APART = "samples moved away from each other"
POSES = "built-in poses that it was not fitted on"
_AWAY = 0.5  # of the difference to another sample
_OTHER_SEED = 1
"""What is drawn is not what was fitted on."""
Kinds = Sequence[tuple[str, Sequence[Call]]]
"""Kinds of inputs: what they are, in words, and the inputs in batches."""


def widened(problem: Problem) -> Problem:
    """The problem with samples of remembered moments beside the given inputs, in the share that they ask for.

    Raises MethodUnavailableError where none can be drawn beside these: another candidate may do.
    """
    try:
        return supplied(problem)
    except UsageError as error:
        failure = MethodUnavailableError("more than the given inputs", error.facts, error.remedy)
        failure.settled = False
        raise failure from error


def other_inputs(network: Network, batches: Batches) -> Kinds:
    """Inputs of other kinds than those that look like the ones in use, in batches; none where there are none."""
    if not batches.lifelike:
        return ()
    kinds = list(_others(network, batches.lifelike))
    if batches.posed_held_out:
        kinds.append((POSES, batches.posed_held_out))
    return kinds


def furthest(original: torch.nn.Module, result: torch.nn.Module, mirror: NetworkMirror, kinds: Kinds) -> Beyond | None:
    """How far the result is from the original on the kind of inputs that counts (`Beyond.order`).

    None where there are no other kinds, or where the result ran on none of them.
    """
    measured = list[Beyond]()
    for what, inputs in kinds:
        with suppress(ModelRunError):  # the result may take the batch that it was traced at alone
            drift, _ = measure(original, result, mirror, inputs, what, probes=0)
            measured.append(beyond_of(what, drift))
    return max(measured, key=lambda beyond: beyond.order, default=None)


def beyond_of(what: str, drift: Drift) -> Beyond:
    """How far a result is on one kind of other inputs, and whether that kind foretells rho in use."""
    return Beyond(what, drift.gap, drift.rho, foretells=what == POSES)


def _others(network: Network, given: Sequence[Call]) -> Iterator[tuple[str, Sequence[Call]]]:
    """Inputs of every kind that can be made, with words for it: remembered moments, mixed joints, samples apart.

    given: inputs that look like those in use, from which the last two kinds are made. Both begin with one seed, so that
    results are compared on the same inputs.
    """
    most = affordable_samples(network, _WORK, max(_LEAST, network.rows), SAMPLES)
    with suppress(UndeterminedError, ChiralizeError):
        moments = recover(network.graph(), network.resolved.inputs)
        yield REMEMBERED, in_rows(network, drawn(network, moments.gaussian, moments.inputs, most), ROWS)
    inputs, wide = network.resolved.input_tensors, spreadings(network, given)
    if network.has_rows and any(map(has_joints, inputs)):
        calls = in_rows(network, thinned(network, given, most), ROWS)
        yield MIXED, changed(inputs, calls, _mixed, torch.Generator().manual_seed(0))
        yield APART, changed(inputs, calls, _moved_apart, torch.Generator().manual_seed(0))
        if wide:
            yield (
                f"samples {words_of(wide)}",
                changed(inputs, calls, partial(_spread, wide=wide), torch.Generator().manual_seed(_OTHER_SEED)),
            )


def _moved_apart(tensor: torch.Tensor, entry: ResolvedTensor, generator: torch.Generator) -> torch.Tensor:
    """Every sample moved away from another one, by half of the difference."""
    return tensor + _AWAY * (tensor - tensor[torch.randperm(len(tensor), generator=generator)])


def _spread(
    tensor: torch.Tensor, entry: ResolvedTensor, generator: torch.Generator, wide: Mapping[int, Spreading]
) -> torch.Tensor:
    """Samples spread as far as the network remembers, where it remembers more than they show."""
    return spread(tensor, entry, wide[entry.index], generator) if entry.index in wide else tensor


def _mixed(tensor: torch.Tensor, entry: ResolvedTensor, generator: torch.Generator) -> torch.Tensor:
    """Samples whose joints, each with all its coordinates and frames, come from different ones."""
    mixed = tensor.clone()
    # Another permutation of the samples for every joint: each is as in some sample, beside joints of others.
    for joint in joints_of(entry):
        rows = tensor[torch.randperm(len(tensor), generator=generator)]
        for index in joint:
            mixed[index] = rows[index]
    return mixed
