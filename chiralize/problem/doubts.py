"""Which of the defaults that nobody gave change the answers: the network is run with another value for each.

Weights do not tell such arguments, and modules seldom show what becomes of one: a constant, a closure, nothing at all
in use. Answers do.

`heads=8` of an attention layer leaves no trace in the sizes of its weights. With `heads=4` the network answers
otherwise, so that a wrong default converts another network than the user's (decision 0059).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from chiralize.errors import ChiralizeError
from chiralize.graph.isolation import exclusive
from chiralize.graph.running import Arguments, Call, Runner, placed, random_calls, results
from chiralize.graph.silence import quiet
from chiralize.problem.constant import Cause
from chiralize.problem.constant_answers import differ, with_cause
from chiralize.problem.network import Network
from chiralize.problem.preparation import entered, fresh_copy
from chiralize.problem.progress import Progress, silent
from chiralize.storage.assumed import Doubtful, assumed_note
from chiralize.storage.format import LoadedModel

SECONDS = 5.0
"""Processor time after which no more are tried."""
_SEED = 6


@exclusive
@torch.inference_mode(False)
def with_assumed(
    network: Network, loaded: LoadedModel, call: Call, entry: str = "forward", progress: Progress = silent
) -> Network:
    """The network with a warning of the defaults that change its answers, and the cause of constant ones where known.

    loaded: what it was made of.  call: with which that can be called.  entry: the method.
    Those that could not be run are warned of where modules hold other numbers or constants with another value.
    """
    if not loaded.doubtful:
        return network
    progress("trying other arguments")
    end = time.process_time() + SECONDS
    calls = [placed(each, network.around) for each in random_calls(Arguments.of(*call), 2, _SEED)]
    answers = _answers(entered(fresh_copy(loaded.module)[0], entry), calls)
    assumed: list[Doubtful] = []
    is_sure, cause = True, None
    for each in loaded.doubtful:
        others = None
        if answers is not None and time.process_time() < end:
            others = _answers_with(each, calls, entry)
        # Not run (no time, no network, no answer): what modules show counts, and the note says that it is not sure.
        if answers is None or others is None:
            is_sure = is_sure and not each.shows
            assumed += [each] if each.shows else []
        elif _are_different(answers, others):
            assumed.append(each)
            # Constant answers that move with the other value are explained by it: the first such argument is named.
            if network.behaviour.constant.outputs and cause is None and _moves(network, others):
                cause = Cause(each.name, each.default, each.other)
    if cause is not None:
        network = with_cause(network, cause)
    return replace(network, notes=(*assumed_note(tuple(assumed), is_sure), *network.notes))


def _answers_with(doubtful: Doubtful, calls: Sequence[Call], entry: str) -> list[list[Tensor]] | None:
    """The answers of the network that is built with the other value; None where it cannot be built, or fails."""
    module = doubtful.build()
    if module is None:
        return None
    return _answers(entered(module, entry), calls)


def _answers(module: nn.Module, calls: Sequence[Call]) -> list[list[Tensor]] | None:
    """The tensors of every answer, each call for itself; None where it fails."""
    try:
        with Runner(module) as runner, quiet():
            return [results(runner.run([call]).steps[0])[0] for call in calls]
    except ChiralizeError:
        return None


def _are_different(answers: Sequence[Sequence[Tensor]], others: Sequence[Sequence[Tensor]]) -> bool:
    """Whether some answer to the same inputs is another one."""
    for mine, theirs in zip(answers, others, strict=True):
        if len(mine) != len(theirs) or any(map(differ, mine, theirs)):
            return True
    return False


def _moves(network: Network, others: Sequence[Sequence[Tensor]]) -> bool:
    """Whether an output that is constant in the network changes with the inputs here."""
    for index, (first, second) in enumerate(zip(*others, strict=False)):
        if f"output {index}" in network.behaviour.constant.outputs and differ(first, second):
            return True
    return False
