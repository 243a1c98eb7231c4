"""What training a result works on: the distance from the original, the weights that may move, and inputs in batches.

`refine` asks for it (`ready_for`) before rounds of Gauss-Newton and before descent. Inputs come in one of three forms,
and what the network answers to must fit them:

    rows         "sample ...", many samples a call, as networks take them
    together     "sample 1 ...": networks that take one sample at a time, mapped over the first axis by torch.vmap
    sequences    "sequence time ...": networks that carry states, whole sequences at once (`along`), mapped likewise
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch.export import ExportedProgram

from chiralize.body.tensors.resolved import ResolvedSpec
from chiralize.errors import MethodUnavailableError
from chiralize.graph.devices import CPU, on
from chiralize.graph.other_sizes import is_open
from chiralize.graph.rollouts import Steps
from chiralize.graph.running import Call, fresh, results
from chiralize.graph.staying import staying
from chiralize.graph.units import Units
from chiralize.infer.capture import capture
from chiralize.methods.refine.along import at_once_in_memory, cut, length_of, original_along, result_along
from chiralize.methods.refine.arithmetic import Arithmetic
from chiralize.methods.refine.from_the_centre import FromTheCentre
from chiralize.methods.refine.imitation import Aim, Distance, Weights
from chiralize.methods.refine.together import at_once, gathered, in_random_order, runs_together, with_axis
from chiralize.problem.data.cutting import as_captured, in_rows, roomy, rows_of, samples_at_once, shuffled
from chiralize.problem.data.feeds import mapped
from chiralize.problem.data.warping import pictures_of
from chiralize.problem.mirror import mirror_if_known
from chiralize.problem.network import Network
from chiralize.problem.problem import Method, Problem
from chiralize.problem.request import Request
from chiralize.problem.result import Converted, Draft

_ROOM = 128_000_000  # bytes, for the values of one batch
_SEQUENCES = 16  # of a step
_CARRIES = "the network carries states from call to call"
_ELSE = "train the original with mirrored copies"
_NOT_TOGETHER = "sequences cannot be run together: torch.vmap lacks one of its ops, or it draws at random"


@dataclass(frozen=True)
class Ready:
    """What training works on.

    distance: from the original.  weights: of the result.  calls: inputs to fit on.  seen, held: these in batches, and
    others.  is_together: samples of one call each run together, along an axis in front.
    pixels: the result from the point that T mirrors at, where that is not 0; None elsewhere.
    program: the result's, where it was exported to be trained.  length: of the sequences that it is trained along.
    """

    network: Network
    distance: Distance
    weights: Weights
    calls: Sequence[Call]
    seen: Sequence[Call]
    held: Sequence[Call]
    is_together: bool = False
    pixels: FromTheCentre | None = None
    program: ExportedProgram | None = None
    length: int = 0

    @property
    def has_rows(self) -> bool:
        """Whether the leading axis of the batches holds independent samples."""
        return self.is_together or self.network.has_rows

    def batch(self, rows: int) -> int:
        """Samples of a step: at most so many where any number can be run, else those of a batch."""
        batch = rows_of(self.seen[0])
        if self.pixels is not None:  # whose graph has the sizes of these
            return batch
        if self.is_together or (self.network.program is not None and is_open(self.network.program)):
            return min(batch, rows)
        return batch

    def in_random_order(self, calls: Sequence[Call], rows: int, generator: torch.Generator) -> Sequence[Call]:
        """Some of `calls` in batches of at most so many samples, drawn at random; as they are where none can be cut."""
        if self.is_together:
            return in_random_order(calls, self.batch(rows), generator)
        return shuffled(self.network, calls, self.batch(rows), generator) or self.seen


def ready_for(problem: Problem, draft: Draft, option: str, rows: int, device: torch.device = CPU) -> Ready:
    """What training works on. option: the user's, which errors name.  rows: of a batch, as in `in_rows`.
    device: where the networks lie.

    Raises MethodUnavailableError, which names the option, where the result cannot be trained.
    """
    network, result, obstacle = problem.network, draft.converted, _obstacle(problem)
    if obstacle is not None:
        raise MethodUnavailableError(option, obstacle[0], f"{obstacle[1]}, or leave {option} out")
    if network.carried:
        return _ready_along(problem, draft, option, rows)
    # 1. Inputs in batches. The centred graph of pixels has one size, so that all of them have it.
    calls, others = problem.batches.fitted, problem.batches.fitted_held_out
    pixels, held = None, in_rows(network, others, rows, _ROOM)
    if network.resolved.is_affine:
        seen, held = _of_one_size(network, calls, others, held)
        pixels = _pixels(network, result, seen, option, device)
    else:
        seen = in_rows(network, calls, rows, _ROOM)
    # 2. Where `in_rows` had to leave single samples, they may run together.
    most = 1
    if seen is calls and pixels is None and not pictures_of(network.resolved):  # these are turned along counted axes
        most = samples_at_once(network, calls, rows, _ROOM)
    if device != CPU:  # not before: whether larger batches run is tried on the graph, which lies on the CPU
        calls, others, seen, held = (mapped(partial(on, device), part) for part in (calls, others, seen, held))
    # 3. What is imitated, and by which weights.
    aim, answer = aim_of(problem), pixels or result.module
    outputs = _imitated(network, aim(held[0]), option)
    squared = _squared(network, outputs)
    weights = Weights(answer, result.action)
    # vmap has to know every op of both networks; two samples together must answer as each does alone
    with weights, torch.enable_grad():
        is_together = most > 1 and _run_together(aim, weights, result, others)
    if is_together:
        calls, others = (mapped(with_axis, part) for part in (calls, others))
        seen, held = (gathered(part, most) for part in (calls, others))
        aim, answer = _aim_at_once(aim), at_once(answer)
    distance = Distance(aim, answer, held, outputs, squared, _units(network, int(is_together)))
    _refuse_without_gradients(distance, weights, held[0], option)
    return Ready(network, distance, weights, calls, seen, held, is_together, pixels)


def _ready_along(problem: Problem, draft: Draft, option: str, rows: int) -> Ready:
    """The same along sequences, each of which is one sample: they run together, along an axis in front of time."""
    network, batches = problem.network, problem.batches
    length = length_of(batches, network)
    if not length:
        facts = (
            "of the sequences, those held out among them, none has two steps, or memory has no room for eight of one"
        )
        raise MethodUnavailableError(option, facts, f"give longer sequences, or leave {option} out")
    # The result has a graph of its own, which has to be captured where it was not handed over.
    program = draft.program or network.program_of(draft.converted.module, network.example)
    captured = draft.graph or capture(program, network.args, network.kwargs)
    weights = Weights(draft.converted.module, draft.converted.action)
    # Where T on states is not known, nobody has asked whether one view is the better aim.
    is_unasked = mirror_if_known(network, None) is None and not problem.one_sided
    views = original_along(network, problem.both_views or is_unasked)
    answer = result_along(network, captured, weights.parameters)
    calls, others = (cut(part, length) for part in (batches.seen_sequences, batches.held_sequences))
    # vmap has to know every op of the original and of the result, in both directions
    functions = [*views, answer]
    with weights, torch.enable_grad():
        if not all(runs_together(one, calls, list(one.weights.values())) for one in functions):
            raise MethodUnavailableError(option, _NOT_TOGETHER, f"{_ELSE}, or leave {option} out")
    calls, others = (mapped(with_axis, part) for part in (calls, others))
    most = max(min(rows, _SEQUENCES, at_once_in_memory(network, length)), 1)
    seen, held = (gathered(part, most) for part in (calls, others))
    aim = _mean_of([_on_calls(at_once(view)) for view in views])
    outputs = _imitated(network, aim(held[0]), option)
    distance = Distance(aim, at_once(answer), held, outputs, _squared(network, outputs), _units(network, 2))
    _refuse_without_gradients(distance, weights, held[0], option)
    return Ready(network, distance, weights, calls, seen, held, is_together=True, program=program, length=length)


def _refuse_without_gradients(distance: Distance, weights: Weights, call: Call, option: str) -> None:
    """Raise MethodUnavailableError, which names the option, where nothing can be learnt from a call."""
    with weights, torch.enable_grad():
        if not distance.answers(call).requires_grad:
            facts = "its answers have no gradients: forward switches them off, or nothing that it reads can be trained"
            raise MethodUnavailableError(option, facts, f"leave {option} out, or torch.no_grad out of forward")


def _mean_of(aims: Sequence[Aim]) -> Aim:
    """The mean of what all of them answer, of those answers that are numbers."""

    def answers(call: Call) -> Sequence[torch.Tensor]:
        """All results."""
        with torch.no_grad():
            first, *others = [aim(call) for aim in aims]
        means = list(first)
        for position, answer in enumerate(first):
            if answer.is_floating_point():
                means[position] = torch.stack([answer, *(other[position] for other in others)]).mean(0)
        return means

    return answers


def _of_one_size(
    network: Network, calls: Sequence[Call], others: Sequence[Call], held: Sequence[Call]
) -> tuple[Sequence[Call], Sequence[Call]]:
    """The calls in batches of the size of `held`, and `held`; calls and others as they are where that leaves none.

    held: others in batches as large as these few allow.
    """
    if held is others:
        return calls, others
    seen = as_captured(roomy(network, held), calls)
    return (seen, held) if len(seen) else (calls, others)


def _pixels(
    network: Network, result: Converted, calls: Sequence[Call], option: str, device: torch.device
) -> FromTheCentre:
    """The result seen from the point that T mirrors at. Raises MethodUnavailableError where it cannot be trained so."""
    if device != CPU:
        facts = "pixels (`reflect`) are trained on the CPU alone"
        raise MethodUnavailableError("--device", facts, "leave --device out, or centre them before the network")
    pixels = FromTheCentre(network, result.module, calls)
    pixels.refuse_unlike(result.module, calls[0], option)
    pixels.refuse_without_derivatives(calls[0], option)
    return pixels


def _units(network: Network, more: int) -> dict[int, Units]:
    """The units of the outputs that have several; with so many axes in front, of samples and of time."""
    mirror = mirror_if_known(network, None)
    units = mirror.units if mirror is not None else {}
    return {position: each.within(more) for position, each in units.items()}


def _run_together(aim: Aim, weights: Weights, result: Converted, calls: Sequence[Call]) -> bool:
    """Whether original and result take single samples along an axis in front."""
    return runs_together(_on_arguments(aim), calls) and runs_together(
        result.module, calls, list(weights.parameters.values())
    )


def _aim_at_once(aim: Aim) -> Aim:
    """The aim for calls with an axis of samples in front."""
    return _on_calls(at_once(_on_arguments(aim)))


def _on_calls(function: Callable[..., Sequence[torch.Tensor]]) -> Aim:
    """A function of arguments as an aim."""
    return lambda call: function(*call[0], **call[1])


def _on_arguments(aim: Aim) -> Callable[..., Sequence[torch.Tensor]]:
    """An aim as a function of the arguments of a call."""
    return lambda *args, **kwargs: aim((args, kwargs))


def _imitated(network: Network, answers: Sequence[torch.Tensor], option: str) -> list[int]:
    """The outputs that training imitates, by position. Raises MethodUnavailableError where there is none."""
    kinds = zip(network.resolved.output_tensors, answers, strict=True)
    outputs = [
        position
        for position, (tensor, value) in enumerate(kinds)
        if tensor.kind != "state" and value.is_floating_point()
    ]
    if not outputs:
        facts = "no output is a floating-point number that could be imitated"
        raise MethodUnavailableError(option, facts, f"leave {option} out")
    return outputs


def refuse_untrainable(network: Network, request: Request, method: Method) -> None:
    """Raise MethodUnavailableError where training is asked for that this network rules out, whatever the inputs.

    Nothing of an average is trained, and what `auto` falls back on is one.
    """
    if method.drafts is None or method.averages == "whole":
        return
    for option, asked in (("--distill", request.distill), ("--rounds", request.rounds)):
        obstacle = _obstacle_along(network, request.sequences) if asked else None
        if obstacle is not None:
            raise MethodUnavailableError(option, obstacle[0], f"{obstacle[1]}, or leave {option} out")


def _obstacle(problem: Problem) -> tuple[str, str] | None:
    """Why there is nothing to train on, and what the user can do."""
    network, batches = problem.network, problem.batches
    if not batches.inputs:
        facts = f"there are no inputs to train on, and none can be drawn: {batches.origin}"
        return facts, "give --calibration inputs.npz"
    return _obstacle_along(network, batches.sequences)


def _obstacle_along(network: Network, sequences: Sequence[Steps]) -> tuple[str, str] | None:
    """Why a network that carries states cannot be trained, and what the user can do."""
    if not network.carried:
        return None
    if not sequences:
        return f"{_CARRIES}: it is trained along sequences", "give --calibration sequences.npz, (sequence, time, ...)"
    if network.captured is None:
        return f"{_CARRIES}, and has no graph to be followed along sequences", _ELSE
    if network.resolved.is_affine:
        return f"{_CARRIES}: it is not trained on pixels (`reflect`)", "centre them before the network"
    # two steps of two sequences suffice to see whether vmap takes the network; fewer are refused later on
    first = cut([steps[:3] for steps in sequences[:2]], 2)[:2]
    if first and not runs_together(original_along(network, both_views=False)[0], first):
        return _NOT_TOGETHER, _ELSE
    return None


def _squared(network: Network, outputs: Sequence[int]) -> list[int]:
    """Those of some outputs whose errors are squared in training, by position."""
    return [position for position in outputs if _is_peaked(network.resolved, position)]


def _is_peaked(resolved: ResolvedSpec, position: int) -> bool:
    """Whether few entries of an output are large, as in maps of joints and in scores of classes.

    Maps and bins beside a reversed axis count as well: those of heights, which the mirror leaves where they are.
    """
    output = resolved.output_tensors[position]
    # Absolute errors go to the median: of a heatmap, most of whose cells are 0, that is an empty one.
    if output.entry.mirror or output.class_axis is not None:
        return True
    tensors = (*resolved.input_tensors, *resolved.output_tensors)
    return output.is_map and any(tensor.entry.mirror for tensor in tensors)


def aim_of(problem: Problem, arithmetic: Arithmetic | None = None) -> Aim:
    """The original's answers, or the mean of both of its views. arithmetic: in which it computes; plain if None."""
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
        # integers and booleans are those of the answer to x
        turned = answers(mirror.turned(call))
        means = list(answers(call))
        for position, answer in enumerate(means):
            if answer.is_floating_point():
                means[position] = (answer + mirror.turned_output(position, turned[position])) / 2
        return means

    return answers if mirror is None else both
