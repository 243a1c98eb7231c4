"""What follows a fit: rounds of Gauss-Newton over all layers at once, or steps of gradient descent, both towards the
original's answers on the calibration inputs. How much of which a network gets unasked is in `budget.py`.

`best` calls `refined` on every result of one pass, and then `distilled` where `--distill` asks for it:

    --rounds N      rounds of Gauss-Newton                      `_fitted`
    --rounds 0      nothing (so does --fast)
    neither         what `budget` says: rounds for a small network, and training where these leave enough, training for
                    a larger one, or nothing
    --distill N     N steps of descent, on top of that          `distilled`
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf

import torch

from chiralize.errors import MethodUnavailableError
from chiralize.errors.words import when
from chiralize.graph import rewrite
from chiralize.graph.devices import CPU, lent, with_doubles
from chiralize.graph.running import Call
from chiralize.methods.refine.along import length_of
from chiralize.methods.refine.arithmetic import Arithmetic, quickest
from chiralize.methods.refine.budget import (
    FEWEST_IN_TIME,
    SECONDS,
    Extra,
    rows_for,
    unasked,
    unasked_after_rounds,
    unasked_along,
)
from chiralize.methods.refine.checkpoint import Checkpoint
from chiralize.methods.refine.distillation import TRIALS, distill, distill_at_once, fingerprint, train
from chiralize.methods.refine.gauss_newton import refine
from chiralize.methods.refine.imitation import Distance
from chiralize.methods.refine.lessons import MovedAnew, Stored, move_of, moved_pictures
from chiralize.methods.refine.ready import Ready, aim_of, ready_for
from chiralize.methods.refine.together import silent_vmap
from chiralize.methods.refine.training import Distilled, Training
from chiralize.methods.refine.within_time import Descent, descent_within
from chiralize.problem.data.cutting import rows_of, tensors
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem
from chiralize.problem.result import Converted, Draft

_ROWS, _MANY = 128, 512  # samples that are run at a time
_ROOM = 128_000_000  # bytes, for the values of one batch
_USES = 2
"""Steps taken with every moved picture: the original takes two passes for each, which is half of what a step takes."""
_LOOKED_AT = 160  # held-out pictures, at each of a dozen looks
_HELD = 2_000_000_000  # bytes, of pictures that are drawn from


def refined(problem: Problem, draft: Draft, rho_of: Callable[[Draft], float]) -> Draft:
    """The result after rounds of Gauss-Newton, where they were asked for; else after what is worth its time.

    rho_of: measures how far a result is from the original.
    Raises MethodUnavailableError where rounds that were asked for are not possible.
    """
    request = problem.request
    if request.rounds:
        return _fitted(problem, draft, request.rounds)
    if request.rounds is not None or not _is_trainable(problem.network, draft.converted):
        return draft
    extra = _extra(problem, rho_of(draft))
    try:
        if extra.rounds:
            draft = _fitted(problem, draft, extra.rounds, SECONDS)
            extra = unasked_after_rounds(problem.network, rho_of(draft))
        return _trained(problem, draft, extra) if extra.steps else draft
    except MethodUnavailableError as error:  # nobody asked: the result stays as it is
        return draft.with_notes(f"not trained along sequences: {error.facts}") if problem.network.carried else draft


def _extra(problem: Problem, rho: float) -> Extra:
    """What the network gets unasked.  rho: after its fit."""
    network = problem.network
    if not network.carried:
        return unasked(network, rho)
    length = length_of(problem.batches, network)
    return unasked_along(network, length, rho) if length else Extra()


def _fitted(problem: Problem, draft: Draft, rounds: int, seconds: float = inf) -> Draft:
    """The result after rounds of Gauss-Newton, as many as so many seconds hold.

    Raises MethodUnavailableError where they are not possible.
    """
    request = problem.request
    ready = ready_for(problem, draft, "--rounds", _MANY)

    def report_round(done: int, rounds: int, loss: float) -> None:
        """Say how far it is."""
        request.progress(f"fitting all layers at once, loss {loss:.3g}", done / rounds)

    request.progress("fitting all layers at once")
    with ready.weights:
        losses = refine(
            ready.distance, ready.weights, ready.seen, ready.held, rounds, ready.has_rows, report_round, seconds
        )
    note = f"all layers fitted at once: held-out loss {losses[0]:.3g} -> {losses[-1]:.3g} (rounds: {len(losses) - 1})"
    return _taken_over(ready, draft, note)


def _trained(problem: Problem, draft: Draft, extra: Extra) -> Draft:
    """The result after steps of gradient descent that nobody asked for.

    Raises MethodUnavailableError where they are not possible.
    """
    network = problem.network
    # A network that takes one size alone has batches of that size: as many samples in all, in fewer steps.
    ready = ready_for(problem, draft, "--rounds", extra.rows)
    batch = ready.batch(extra.rows)
    steps = max(min(extra.steps, extra.steps * extra.rows // batch), 1)

    def in_random_order(calls: Sequence[Call], generator: torch.Generator) -> Sequence[Call]:
        """Neighbours among the inputs are often frames of one motion, which teach the same."""
        return ready.in_random_order(calls, extra.rows, generator)

    def report_step(step: int, of: int, loss: float) -> None:
        """Say how far it is."""
        problem.request.progress(f"training all layers at once, loss {loss:.3g}", step / of)

    problem.request.progress("training all layers at once")
    with ready.weights, silent_vmap():
        # As many calls as hold a batch, if each is one sample.
        first = in_random_order(ready.calls[: extra.rows], torch.Generator().manual_seed(0))
        plan = _in_time(ready, steps, first[0], extra.seconds)
    limit = f"{steps:,} would take more than {extra.seconds:.0f} s"
    if plan.steps < min(steps, FEWEST_IN_TIME):
        return draft.with_notes(f"not trained: {limit}, and {plan.steps:,} are too few; --distill N takes N steps")
    # Of fewer steps than planned each needs a lesson; others would be prepared in vain.
    needed = inf if plan.steps == steps else plan.steps
    lessons = Stored(ready.distance, ready.calls, in_random_order, move_of(network, ready.has_rows), needed)
    with ready.weights, silent_vmap():
        training = Training(ready.distance, ready.weights, lessons, plan.held)
        if network.carried:  # how far an error reaches along a sequence decides the rate, which is tried out
            outcome = distill(training, plan.steps, report_step, is_late=plan.is_late)
        else:
            outcome = train(training, plan.steps, extra.rate, report_step, plan.is_late)
    along = when(network.carried, f" along sequences of {ready.length} steps")
    facts = _facts(outcome, plan.steps) + when(plan.steps < steps, f"; {limit}")
    return _taken_over(ready, draft, f"all layers trained at once{along}, without labels: {facts}")


def _in_time(ready: Ready, steps: int, call: Call, seconds: float) -> Descent:
    """How many of these steps so many seconds hold.  call: a batch of inputs, as steps have them."""
    nothing = MovedAnew(ready.distance, (), move_of(ready.network, ready.has_rows))
    rehearsal = Training(ready.distance, ready.weights, nothing, ())
    seconds /= TRIALS if ready.network.carried else 1.0

    def rehearse() -> None:
        """Take one step."""
        rehearsal.rehearse(call)

    return descent_within(seconds, steps, ready.held, ready.has_rows, ready.distance.on, rehearse)


def distilled(problem: Problem, draft: Draft) -> Draft:
    """The result after `request.distill` steps. Raises MethodUnavailableError where that is not possible."""
    network, request = problem.network, problem.request

    def report_step(step: int, steps: int, loss: float) -> None:
        """Say how far it is."""
        request.progress(f"distilling, loss {loss:.3g}", step / steps)

    device, pictures = with_doubles(request.device), moved_pictures(network)
    if network.carried:  # its graph lies on the CPU
        device = CPU
    with lent(device, network.module, draft.converted.module):
        rows = rows_for(network) if pictures else _ROWS
        ready = ready_for(problem, draft, "--distill", rows, device=device)
        with ready.weights, silent_vmap():
            distance = _sped_up(problem, ready) if device == CPU else ready.distance
            move = move_of(network, ready.has_rows)
            lessons = MovedAnew(distance, _in_lessons(ready, rows), move)
            held = _looked_at(ready.held) if pictures else ready.held
            training = Training(distance, ready.weights, lessons, held, _USES if pictures else 1)
            descend = distill_at_once if pictures else distill
            request.progress("distilling, trying how far steps may go", 0.0)
            outcome = descend(training, request.distill, report_step, keeper(problem))
    return _taken_over(ready, draft, f"distilled on {_facts(outcome, request.distill)}")


def _sped_up(problem: Problem, ready: Ready) -> Distance:
    """The distance in the arithmetic that is quickest for pictures; of other inputs, as it is."""
    pictures = moved_pictures(problem.network)

    def answer(way: Arithmetic) -> torch.Tensor:
        """What a step computes, in some arithmetic."""
        distance = ready.distance.computed_by(way, aim_of(problem, way))
        answers, targets = distance.answers(ready.seen[0]), distance.targets(ready.seen[0])
        (answers - targets).square().sum().backward()  # a step has a backward pass, too
        ready.weights.forget_gradients()
        return torch.cat([answers.detach(), targets])

    if not pictures:
        return ready.distance
    # on one thread processor time, which other programs on the machine do not lengthen; of several it is their sum
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    way = quickest(answer, pictures, clock)
    return ready.distance.computed_by(way, aim_of(problem, way))


def _facts(outcome: Distilled, steps: int) -> str:
    """What became of the loss in so many steps."""
    first, best = outcome.losses[0][1], min(loss for _, loss in outcome.losses)
    return f"held-out loss {first:.3g} -> {best:.3g} (step {outcome.best} of {steps})"


def _in_lessons(ready: Ready, rows: int) -> Sequence[Call]:
    """The inputs in batches to distil on. Pictures are drawn at random from all of them, where memory holds these."""
    size = sum(tensor.nbytes for tensor in tensors(ready.calls[0])) * len(ready.calls)
    if not moved_pictures(ready.network) or size > _HELD:
        return ready.seen
    return ready.in_random_order(ready.calls, rows, torch.Generator().manual_seed(0))


def _looked_at(held: Sequence[Call]) -> Sequence[Call]:
    """As many of the held-out pictures as it takes to see how training goes, evenly spread."""
    most = max(_LOOKED_AT // max(rows_of(held[0]), 1), 1)
    return held[:: max(-(-len(held) // most), 1)]


def keeper(problem: Problem) -> Checkpoint | None:
    """The file that keeps the state of distilling. Raises UsageError where it is another one's."""
    request = problem.request
    if request.checkpoint is None or not problem.batches.inputs:
        return None
    return Checkpoint(request.checkpoint, _owner(problem))


def _is_trainable(network: Network, result: Converted) -> bool:
    """Whether a result was fitted, and can be trained well."""
    precise = all(parameter.dtype in (torch.float32, torch.float64) for parameter in network.module.parameters())
    has_samples = network.has_rows or bool(network.carried)  # of sequences, each is one
    return bool(result.fitted) and network.captured is not None and has_samples and precise


def _taken_over(ready: Ready, draft: Draft, note: str) -> Draft:
    """The result with the weights that it has after training."""
    # The module was trained in place. A program, where there is one, has weights of its own; and of pixels h was
    # trained, from whose weights those of the network are computed.
    network, module, program = ready.network, draft.converted.module, draft.program or ready.program
    if ready.pixels is not None:
        module, program = network.holding(ready.pixels.weights())
    elif program is not None and network.origin.from_program:
        values = {name: parameter.detach() for name, parameter in module.named_parameters()}
        program = rewrite.program_with_weights(program, values)
        module = program.module()
    elif program is not None:
        program = rewrite.program_of(module, program)
    changed = replace(draft, program=program, graph=None)
    return changed.with_record(module=module).with_notes(note)


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
