"""Samples of a Gaussian: in the place of calibration inputs where the user gives none, or mixed with those given."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from chiralize.errors import ChiralizeError, UsageError
from chiralize.graph.running import Arguments, Call
from chiralize.problem.data.batches import HELD_OUT
from chiralize.problem.data.cutting import in_rows, roomy, some, tensors
from chiralize.problem.data.feeds import joined
from chiralize.problem.data.moments.fitting import nearest
from chiralize.problem.data.moments.norms import Inputs, UndeterminedError
from chiralize.problem.data.moments.recovery import Gaussian, recover
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem
from chiralize.problem.stateful import carried_of

SAMPLES = 10_000
ROWS = 64
SEED = 0
_MEASURED = 10_000
_NO_ORDER = "the network carries states from call to call, and samples have no order"


def supplied(problem: Problem) -> Problem:
    """The problem with samples drawn, where that is asked for or the user gives no inputs; or with why there are none.

    Raises UsageError where samples are to be mixed with the user's inputs and cannot be drawn.
    """
    network, request, batches = problem.network, problem.request, problem.batches
    if carried_of(network):
        if request.mix:
            raise UsageError("--mix-gaussian", _NO_ORDER, "leave it out, and give --calibrate more sequences")
        return problem if batches.given else problem.with_batches(origin=_NO_ORDER)
    if batches.given:
        return _mixed(problem) if request.mix else problem
    request.progress("recovering the moments of the inputs")
    try:
        found = recover(network.graph(), network.resolved.inputs)
    except UndeterminedError as error:
        return problem.with_batches(origin=str(error))
    except ChiralizeError as error:
        return problem.with_batches(origin=f"there is no graph of the network ({error.facts})")
    calls = in_rows(network, drawn(network, found.gaussian, found.inputs), ROWS)
    return problem.with_batches(drawn=calls, origin=found.source)


def drawn(network: Network, gaussian: Gaussian, inputs: Inputs, count: int = SAMPLES) -> list[Call]:
    """Samples as calls of the network, in the sizes of its examples."""
    example = Arguments.of(network.args, network.kwargs)
    centers = network.resolved.input_centers
    calls: list[Call] = []
    for rows in gaussian.draw(count // inputs.rows * inputs.rows, SEED).split(inputs.rows):
        moved = [
            x if c is None else x + torch.from_numpy(c).to(x.dtype)
            for x, c in zip(inputs.tensors(rows), centers, strict=True)
        ]
        calls.append(example.filled(moved))
    return calls


def _mixed(problem: Problem) -> Problem:
    """The user's inputs with samples beside them, in the share that is asked for, both among those held out."""
    request = problem.request
    request.progress("drawing samples to mix with the calibration inputs")
    own = problem.batches.given
    try:
        large = roomy(problem.network, own)
        captured, inputs = large.graph(), Inputs(large.graph())
        rows = torch.cat([inputs.rows_of(large.centered(tensors(call))) for call in some(own, _MEASURED)])
        gaussian, origin = nearest(captured, large.resolved.inputs, rows)
    except (UndeterminedError, ChiralizeError) as error:
        facts = error.facts if isinstance(error, ChiralizeError) else str(error)
        raise UsageError(
            "--mix-gaussian",
            f"no samples can be drawn: {facts}",
            "leave --mix-gaussian out, or give more varied inputs",
        ) from error
    count = max(1, round(len(own) * request.mix / (1 - request.mix)))
    calls = drawn(large, gaussian, inputs, count * inputs.rows)
    return problem.with_batches(drawn=_interleaved(own, calls), origin=origin)


def _interleaved(own: Sequence[Call], samples: Sequence[Call]) -> Sequence[Call]:
    """Both kinds among the last fifth, in their shares."""
    held = max(1, (len(own) + len(samples)) // HELD_OUT)
    last = min(max(len(own) // HELD_OUT, 1), held)
    first, rest = len(own) - last, len(samples) - (held - last)
    return joined(own[:first], samples[:rest], own[first:], samples[rest:])
