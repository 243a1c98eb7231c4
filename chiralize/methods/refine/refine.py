"""What follows a fit: some rounds of Gauss-Newton over all layers at once, and steps of gradient descent (`--distill`),
both towards the original's answers on the calibration inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from chiralize.errors import MethodUnavailableError
from chiralize.graph import rewrite
from chiralize.graph.devices import CPU, lent, on, with_doubles
from chiralize.graph.running import Call, fresh, results
from chiralize.graph.staying import staying
from chiralize.methods.refine.checkpoint import Checkpoint
from chiralize.methods.refine.distillation import distill, fingerprint
from chiralize.methods.refine.gauss_newton import SAMPLES, refine
from chiralize.methods.refine.imitation import Aim, Distance, Weights
from chiralize.problem.data.cutting import in_rows, rows_of, tensors
from chiralize.problem.data.feeds import mapped
from chiralize.problem.mirror import mirror_if_known
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem
from chiralize.problem.result import Converted, Draft
from chiralize.problem.stateful import carried_of

_ROWS, _MANY = 128, 512  # samples that are run at a time
_ROOM = 128_000_000  # bytes, for the values of one batch
_ROUNDS = 12
_QUICK = 250_000
"""Multiplications of a sample up to which a network gets these rounds by default: they take seconds."""
_LEFT_OVER = 0.6
"""rho above which a fit layer by layer leaves enough for larger networks to get rounds as well, while `_WORK` lasts."""
_HOPELESS = 5.0
"""rho above which a result stays too far from the flip average, even after all rounds."""
_WORK = 8e11  # multiplications: about a minute of one core
_RUNS = 46  # of the network on every sample of a round, derivatives counted by what they cost
_FEWEST_ROUNDS, _SAMPLES, _FEWEST_SAMPLES = 4, 1000, 200


@dataclass(frozen=True)
class _Ready:
    """distance: from the original.  weights: of the result.  seen, held: batches of inputs."""

    distance: Distance
    weights: Weights
    seen: Sequence[Call]
    held: Sequence[Call]


def refined(problem: Problem, draft: Draft, rho: float) -> Draft:
    """The result after rounds of Gauss-Newton: as many as were asked for; else some, where they are worth their time.

    rho: of the result as it is.  Raises MethodUnavailableError where rounds that were asked for are not possible.
    """
    network, request = problem.network, problem.request
    rounds, samples = request.rounds or 0, SAMPLES
    if request.rounds is None:
        rounds, samples = _unasked(network, draft.converted, rho)
    if not rounds:
        return draft
    try:
        ready = _ready(problem, draft.converted, "--rounds", min(_MANY, samples))
    except MethodUnavailableError:
        if request.rounds is None:
            return draft
        raise

    def report_round(done: int, rounds: int, loss: float) -> None:
        """Say how far it is."""
        request.progress(f"fitting all layers at once, loss {loss:.3g}", done / rounds)

    request.progress("fitting all layers at once")
    with ready.weights:
        losses = refine(
            ready.distance, ready.weights, ready.seen, ready.held, rounds, network.has_rows, report_round, samples
        )
    note = f"all layers fitted at once: held-out loss {losses[0]:.3g} -> {losses[-1]:.3g} (rounds: {len(losses) - 1})"
    return _taken_over(network, draft, note)


def distilled(problem: Problem, draft: Draft) -> Draft:
    """The result after `request.distill` steps. Raises MethodUnavailableError where that is not possible."""
    network, request = problem.network, problem.request

    def report_step(step: int, steps: int, loss: float) -> None:
        """Say how far it is."""
        request.progress(f"distilling, loss {loss:.3g}", step / steps)

    device = with_doubles(request.device)
    with lent(device, network.module, draft.converted.module):
        ready = _ready(problem, draft.converted, "--distill", _ROWS, device=device)
        with ready.weights:
            outcome = distill(
                ready.distance,
                ready.weights,
                ready.seen,
                ready.held,
                request.distill,
                network.has_rows,
                report_step,
                keeper(problem),
            )
    first, best = outcome.losses[0][1], min(loss for _, loss in outcome.losses)
    note = f"distilled on held-out loss {first:.3g} -> {best:.3g} (step {outcome.best} of {request.distill})"
    return _taken_over(network, draft, note)


def keeper(problem: Problem) -> Checkpoint | None:
    """The file that keeps the state of distilling. Raises UsageError where it is another one's."""
    request = problem.request
    if request.checkpoint is None or not problem.batches.inputs:
        return None
    return Checkpoint(request.checkpoint, _owner(problem))


def _unasked(network: Network, result: Converted, rho: float) -> tuple[int, int]:
    """The rounds to run by default, and the samples of a round.

    None for a result that was not fitted, or that cannot be trained well.
    """
    precise = all(parameter.dtype in (torch.float32, torch.float64) for parameter in network.module.parameters())
    if not result.fitted or network.captured is None or not network.has_rows or not precise:
        return 0, 0
    return affordable(network.macs / rows_of((network.args, dict(network.kwargs))), rho)


def affordable(work: float, rho: float) -> tuple[int, int]:
    """Rounds that are worth their time, and samples of a round. work: multiplications of a sample.  rho: before them.

    A small network gets all of them: they take seconds. A larger one gets what a minute holds, where its fit has left
    much over: many rounds on few samples go further than few on many (decision 0020).
    """
    if work <= _QUICK:
        return _ROUNDS, SAMPLES
    samples = _WORK / (_RUNS * work)  # of all rounds together
    if not _LEFT_OVER < rho <= _HOPELESS or samples < _FEWEST_ROUNDS * _FEWEST_SAMPLES:
        return 0, 0
    rounds = min(max(int(samples / _SAMPLES), _FEWEST_ROUNDS), _ROUNDS)
    return rounds, min(int(samples / rounds), _SAMPLES)


def _obstacle(problem: Problem) -> tuple[str, str] | None:
    """Why there is nothing to train on, and what the user can do."""
    network, batches = problem.network, problem.batches
    if not batches.inputs:
        facts = f"there are no inputs to train on, and none can be drawn: {batches.origin}"
        return facts, "give --calibration inputs.npz"
    if network.resolved.is_affine:
        return "the mirror is affine (`reflect`)", "centre the coordinates before the network"
    if carried_of(network):
        return "the network carries states from call to call", "leave {option} out"
    return None


def _ready(
    problem: Problem,
    result: Converted,
    option: str,
    rows: int,
    device: torch.device = CPU,
) -> _Ready:
    """rows: of a batch, as in `in_rows`.  device: where the networks lie."""
    network, batches = problem.network, problem.batches
    obstacle = _obstacle(problem)
    if obstacle is not None:
        raise MethodUnavailableError(option, obstacle[0], obstacle[1].format(option=option))
    seen, held = (in_rows(network, calls, rows, _ROOM) for calls in (batches.fitted, batches.fitted_held_out))
    if device != CPU:
        seen, held = (mapped(partial(on, device), calls) for calls in (seen, held))
    aim = _aim(problem)
    kinds = zip(network.resolved.output_tensors, aim(held[0]), strict=True)
    outputs = [
        position
        for position, (tensor, value) in enumerate(kinds)
        if tensor.kind != "state" and value.is_floating_point()
    ]
    if not outputs:
        facts = "no output is a floating-point number that could be imitated"
        raise MethodUnavailableError(option, facts, f"leave {option} out")
    distance = Distance(aim, result.module, held, outputs)
    weights = Weights(result.module, result.hidden, result.exchanged, result.earlier)
    with weights, torch.enable_grad():
        if not distance.answers(held[0]).requires_grad:
            facts = "its answers have no gradients: forward switches them off, or nothing that it reads can be trained"
            raise MethodUnavailableError(option, facts, f"leave {option} out, or torch.no_grad out of forward")
    return _Ready(distance, weights, seen, held)


def _taken_over(network: Network, draft: Draft, note: str) -> Draft:
    """The result with the weights that its module has now."""
    module, program = draft.converted.module, draft.program
    if program is not None and network.from_program:
        values = {name: parameter.detach() for name, parameter in module.named_parameters()}
        program = rewrite.program_with_weights(program, values)
        module = program.module()
    elif program is not None:
        program = rewrite.program_of(module, program)
    changed = replace(draft, program=program, graph=None)
    return changed.with_record(module=module).with_notes(note)


def _aim(problem: Problem) -> Aim:
    """The original's answers, or the mean of both of its views."""
    network = problem.network
    mirror = mirror_if_known(network, None) if problem.both_views else None

    def answers(call: Call) -> Sequence[torch.Tensor]:
        """f(x), all results."""
        args, kwargs = fresh(call)
        with staying(network.module):
            return results(network.module(*args, **kwargs))[0]

    def both(call: Call) -> Sequence[torch.Tensor]:
        """(f(x) + T f(T x)) / 2, all results."""
        assert mirror is not None
        turned = answers(mirror.turned(call))
        means = list(answers(call))
        for position, answer in enumerate(means):
            if answer.is_floating_point():
                means[position] = (answer + mirror.turned_output(position, turned[position])) / 2
        return means

    return answers if mirror is None else both


def _owner(problem: Problem) -> str:
    """The name of a run, so that a checkpoint is continued by the same run only: the original, the inputs (some of them
    and their number) and the steps.
    """
    batches = problem.batches
    looked_at = [
        tensor for position in (0, len(batches.inputs) // 2, -1) for tensor in tensors(batches.inputs[position])
    ]
    count = torch.tensor([len(batches.inputs)])
    return fingerprint([*problem.network.module.state_dict().values(), *looked_at, count], problem.request.distill)
