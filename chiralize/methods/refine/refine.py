"""What follows a fit: rounds of Gauss-Newton over all layers at once, or steps of gradient descent, both towards the
original's answers on the calibration inputs. How much of which a network gets unasked is in `budget.py`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from chiralize.body.tensors.resolved import ResolvedTensor
from chiralize.errors import MethodUnavailableError
from chiralize.graph import rewrite
from chiralize.graph.devices import CPU, lent, on, with_doubles
from chiralize.graph.other_sizes import is_open
from chiralize.graph.running import Call, fresh, results
from chiralize.graph.staying import staying
from chiralize.methods.refine.arithmetic import Arithmetic, quickest
from chiralize.methods.refine.budget import Extra, rows_for, unasked
from chiralize.methods.refine.checkpoint import Checkpoint
from chiralize.methods.refine.distillation import distill, distill_at_once, fingerprint, train
from chiralize.methods.refine.gauss_newton import refine
from chiralize.methods.refine.imitation import Aim, Distance, Weights
from chiralize.methods.refine.lessons import MovedAnew, Stored, move_of
from chiralize.methods.refine.training import Distilled, Training
from chiralize.problem.data.cutting import in_rows, rows_of, shuffled, tensors
from chiralize.problem.data.feeds import mapped
from chiralize.problem.data.warping import pictures_of
from chiralize.problem.mirror import mirror_if_known
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem
from chiralize.problem.result import Converted, Draft

_ROWS, _MANY = 128, 512  # samples that are run at a time
_ROOM = 128_000_000  # bytes, for the values of one batch
_HELD = 2_000_000_000  # bytes, of pictures that are drawn from


@dataclass(frozen=True)
class _Ready:
    """distance: from the original.  weights: of the result.  seen, held: batches of inputs."""

    distance: Distance
    weights: Weights
    seen: Sequence[Call]
    held: Sequence[Call]


def refined(problem: Problem, draft: Draft, rho: float) -> Draft:
    """The result after rounds of Gauss-Newton, where they were asked for; else after what is worth its time.

    rho: of the result as it is.  Raises MethodUnavailableError where rounds that were asked for are not possible.
    """
    request = problem.request
    if request.rounds:
        return _fitted(problem, draft, request.rounds)
    if request.rounds is not None or not _is_trainable(problem.network, draft.converted):
        return draft
    extra = unasked(problem.network, rho)
    try:
        if extra.rounds:
            return _fitted(problem, draft, extra.rounds)
        return _trained(problem, draft, extra) if extra.steps else draft
    except MethodUnavailableError:
        return draft


def _fitted(problem: Problem, draft: Draft, rounds: int) -> Draft:
    """The result after rounds of Gauss-Newton.

    Raises MethodUnavailableError where they are not possible.
    """
    network, request = problem.network, problem.request
    ready = _ready(problem, draft.converted, "--rounds", _MANY)

    def report_round(done: int, rounds: int, loss: float) -> None:
        """Say how far it is."""
        request.progress(f"fitting all layers at once, loss {loss:.3g}", done / rounds)

    request.progress("fitting all layers at once")
    with ready.weights:
        losses = refine(ready.distance, ready.weights, ready.seen, ready.held, rounds, network.has_rows, report_round)
    note = f"all layers fitted at once: held-out loss {losses[0]:.3g} -> {losses[-1]:.3g} (rounds: {len(losses) - 1})"
    return _taken_over(network, draft, note)


def _trained(problem: Problem, draft: Draft, extra: Extra) -> Draft:
    """The result after steps of gradient descent that nobody asked for.

    Raises MethodUnavailableError where they are not possible.
    """
    network, batches = problem.network, problem.batches
    ready = _ready(problem, draft.converted, "--rounds", extra.rows)
    batch = _batch(network, ready, extra.rows)
    steps = max(min(extra.steps, extra.steps * extra.rows // batch), 1)  # fewer of larger batches

    def in_random_order(calls: Sequence[Call], generator: torch.Generator) -> Sequence[Call]:
        """Neighbours among the inputs are often frames of one motion, which teach the same."""
        return shuffled(network, calls, batch, generator) or ready.seen

    def report_step(step: int, of: int, loss: float) -> None:
        """Say how far it is."""
        problem.request.progress(f"training all layers at once, loss {loss:.3g}", step / of)

    problem.request.progress("training all layers at once")
    lessons = Stored(ready.distance, batches.fitted, in_random_order, move_of(network))
    with ready.weights:
        training = Training(ready.distance, ready.weights, lessons, ready.held)
        outcome = train(training, steps, extra.rate, report_step)
    return _taken_over(network, draft, f"all layers trained at once, without labels: {_facts(outcome, steps)}")


def distilled(problem: Problem, draft: Draft) -> Draft:
    """The result after `request.distill` steps. Raises MethodUnavailableError where that is not possible."""
    network, request = problem.network, problem.request

    def report_step(step: int, steps: int, loss: float) -> None:
        """Say how far it is."""
        request.progress(f"distilling, loss {loss:.3g}", step / steps)

    device = with_doubles(request.device)
    with lent(device, network.module, draft.converted.module):
        rows = rows_for(network) if pictures_of(network.resolved) else _ROWS
        ready = _ready(problem, draft.converted, "--distill", rows, device=device)
        with ready.weights:
            distance = _sped_up(problem, ready) if device == CPU else ready.distance
            lessons = MovedAnew(distance, _in_lessons(problem, ready, rows, device), move_of(network))
            training = Training(distance, ready.weights, lessons, ready.held)
            descend = distill_at_once if pictures_of(network.resolved) else distill
            outcome = descend(training, request.distill, report_step, keeper(problem))
    return _taken_over(network, draft, f"distilled on {_facts(outcome, request.distill)}")


def _sped_up(problem: Problem, ready: _Ready) -> Distance:
    """The distance in the arithmetic that is quickest for pictures; of other inputs, as it is."""
    pictures = pictures_of(problem.network.resolved)

    def answer(way: Arithmetic) -> torch.Tensor:
        """What a step computes, in some arithmetic."""
        distance = ready.distance.computed_by(way, _aim(problem, way))
        answers, targets = distance.answers(ready.seen[0]), distance.targets(ready.seen[0])
        (answers - targets).square().sum().backward()
        ready.weights.forget_gradients()
        return torch.cat([answers.detach(), targets])

    if not pictures:
        return ready.distance
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    way = quickest(answer, pictures, clock)
    return ready.distance.computed_by(way, _aim(problem, way))


def _facts(outcome: Distilled, steps: int) -> str:
    """What became of the loss in so many steps."""
    first, best = outcome.losses[0][1], min(loss for _, loss in outcome.losses)
    return f"held-out loss {first:.3g} -> {best:.3g} (step {outcome.best} of {steps})"


def _batch(network: Network, ready: _Ready, rows: int) -> int:
    """Samples of a step: so many where the network takes any number, else those of a batch."""
    batch = rows_of(ready.seen[0])
    if network.program is not None and is_open(network.program):
        return min(batch, rows)
    return batch


def _in_lessons(problem: Problem, ready: _Ready, rows: int, device: torch.device) -> Sequence[Call]:
    """The inputs in batches to distil on. Pictures are drawn at random from all of them, where memory holds these."""
    network, calls = problem.network, problem.batches.fitted
    size = sum(tensor.nbytes for tensor in tensors(calls[0])) * len(calls)
    if not pictures_of(network.resolved) or size > _HELD:
        return ready.seen
    generator = torch.Generator().manual_seed(0)
    drawn = shuffled(network, calls, _batch(network, ready, rows), generator)
    return mapped(partial(on, device), drawn) if drawn else ready.seen


def keeper(problem: Problem) -> Checkpoint | None:
    """The file that keeps the state of distilling. Raises UsageError where it is another one's."""
    request = problem.request
    if request.checkpoint is None or not problem.batches.inputs:
        return None
    return Checkpoint(request.checkpoint, _owner(problem))


def _is_trainable(network: Network, result: Converted) -> bool:
    """Whether a result was fitted, and can be trained well."""
    precise = all(parameter.dtype in (torch.float32, torch.float64) for parameter in network.module.parameters())
    return bool(result.fitted) and network.captured is not None and network.has_rows and precise


def _obstacle(problem: Problem) -> tuple[str, str] | None:
    """Why there is nothing to train on, and what the user can do."""
    network, batches = problem.network, problem.batches
    if not batches.inputs:
        facts = f"there are no inputs to train on, and none can be drawn: {batches.origin}"
        return facts, "give --calibration inputs.npz"
    if network.resolved.is_affine:
        return "the mirror is affine (`reflect`)", "centre the coordinates before the network"
    if network.carried:
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
    squared = [position for position in outputs if _is_peaked(network.resolved.output_tensors[position])]
    distance = Distance(aim, result.module, held, outputs, squared)
    weights = Weights(result.module, result.hidden, result.exchanged, result.earlier)
    with weights, torch.enable_grad():
        if not distance.answers(held[0]).requires_grad:
            facts = "its answers have no gradients: forward switches them off, or nothing that it reads can be trained"
            raise MethodUnavailableError(option, facts, f"leave {option} out, or torch.no_grad out of forward")
    return _Ready(distance, weights, seen, held)


def _is_peaked(output: ResolvedTensor) -> bool:
    """Whether few entries of an output are large, as in maps of joints and in scores of classes."""
    return bool(output.entry.mirror) or output.class_axis is not None


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


def _aim(problem: Problem, arithmetic: Arithmetic | None = None) -> Aim:
    """The original's answers, or the mean of both of its views."""
    way = arithmetic or Arithmetic()
    network = problem.network
    mirror = mirror_if_known(network, None) if problem.both_views else None

    def answers(call: Call) -> Sequence[torch.Tensor]:
        """f(x), all results."""
        args, kwargs = fresh(way.laid_out(call))
        with staying(network.module), way.precision():
            return list(map(way.whole, results(network.module(*args, **kwargs))[0]))

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
