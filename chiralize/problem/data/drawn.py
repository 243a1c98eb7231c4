"""Drawn inputs in the place of calibration inputs where the user gives none, or mixed with those given.

Where the statistics of batch norms determine the moments of the inputs, they are samples of a Gaussian with these. Else
they are built-in poses, where these fit what the network remembers or answers.

Figures that are taken from them are said to be of drawn inputs. Where neither can be had, `origin` holds the reason,
which a fit that needs inputs is refused with.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from chiralize.errors import ChiralizeError, UsageError
from chiralize.graph.running import Arguments, Call
from chiralize.problem.data.batches import ONE_IN
from chiralize.problem.data.cutting import in_rows, roomy, tensors, thinned
from chiralize.problem.data.feeds import joined
from chiralize.problem.data.moments.fitting import nearest
from chiralize.problem.data.moments.norms import Inputs, UndeterminedError
from chiralize.problem.data.moments.recovery import Gaussian, recover
from chiralize.problem.network import Network
from chiralize.problem.poses.builtin import built_in
from chiralize.problem.poses.filling import UnfitError
from chiralize.problem.problem import Problem

SAMPLES = 10_000
ROWS = 64
"""Samples of a batch, about."""
SEED = 0
_MEASURED = 10_000
"""Inputs of the user whose moments are measured, about."""
_NO_ORDER = "the network carries states from call to call, and samples have no order"


def supplied(problem: Problem) -> Problem:
    """The problem with drawn inputs, where they are asked for or the user gives none, or with why there are none.

    Raises UsageError where samples are to be mixed with the user's inputs and cannot be drawn.
    """
    network, request, batches = problem.network, problem.request, problem.batches
    # States follow from earlier inputs: single samples say nothing of them.
    if network.carried:
        if request.mix:
            raise UsageError("--mix-gaussian", _NO_ORDER, "leave it out, and give --calibration more sequences")
        if batches.given:
            return problem
        return problem.with_batches(origin=_NO_ORDER)
    if batches.given:
        if request.mix:
            return _mixed(problem)
        return problem
    # Nothing is given: moments first, since they are the network's own; poses where they are not determined.
    request.progress("recovering the moments of the inputs")
    try:
        moments = recover(network.graph(), network.resolved.inputs)
    except UndeterminedError as error:
        return _posed(problem, str(error))
    except ChiralizeError as error:
        return problem.with_batches(origin=f"there is no graph of the network ({error.facts})")
    calls = in_rows(network, drawn(network, moments.gaussian, moments.inputs), ROWS)
    return problem.with_batches(drawn=calls, origin=moments.source)


def _posed(problem: Problem, why_no_samples: str) -> Problem:
    """The problem with built-in poses, or with why there are none.  why_no_samples: of remembered moments."""
    problem.request.progress("checking whether built-in poses fit the network")
    try:
        poses = built_in(problem.network)
    except UnfitError as error:
        return problem.with_batches(origin=f"{why_no_samples}; no built-in poses: {error}")
    return problem.with_batches(drawn=poses.calls, origin=poses.origin, are_built_in=True)


def drawn(network: Network, gaussian: Gaussian, inputs: Inputs, count: int = SAMPLES) -> list[Call]:
    """Samples as calls of the network, in the sizes of its examples."""
    example = Arguments.of(*network.example)
    groups = gaussian.draw(count // inputs.rows * inputs.rows, SEED).split(inputs.rows)
    return [example.filled(network.uncentered(inputs.tensors(rows))) for rows in groups]


def _mixed(problem: Problem) -> Problem:
    """The user's inputs with drawn samples in the requested share, also among the held-out ones."""
    request = problem.request
    request.progress("drawing samples to mix with the calibration inputs")
    given = problem.batches.given
    try:
        large = roomy(problem.network, given)
        captured, inputs = large.graph(), Inputs(large.graph())
        rows = torch.cat([inputs.rows_of(large.centered(tensors(call))) for call in thinned(large, given, _MEASURED)])
        gaussian, origin = nearest(captured, large.resolved.inputs, rows)
    except (UndeterminedError, ChiralizeError) as error:
        facts = f"no samples can be drawn: {error.facts if isinstance(error, ChiralizeError) else error}"
        remedy = "leave --mix-gaussian out, or give more varied inputs"
        raise UsageError("--mix-gaussian", facts, remedy) from error
    count = max(1, round(len(given) * request.mix / (1 - request.mix)))  # of all batches, `mix` are drawn ones
    calls = drawn(large, gaussian, inputs, count * inputs.rows)
    return problem.with_batches(drawn=_interleaved(given, calls), origin=origin)


def _interleaved(given: Sequence[Call], samples: Sequence[Call]) -> Sequence[Call]:
    """The inputs, then the samples, each split so that the last fifth holds both kinds in their shares."""
    held = max(1, (len(given) + len(samples)) // ONE_IN)
    last = min(max(len(given) // ONE_IN, 1), held)
    first, rest = len(given) - last, len(samples) - (held - last)
    return joined(given[:first], samples[:rest], given[first:], samples[rest:])
