"""What is said about a network: figures on the test set, how it treats the mirror, and what it costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from chiralize.commands.timing import interleaved
from chiralize.errors import ChiralizeError
from chiralize.infer import macs_of
from chiralize.problem.preparation import prepare
from examples.study.task import Task
from examples.study.ways import Made

BATCH = 256
LATENCY_BATCHES = (1, 64)


def answers(network: nn.Module, inputs: Tensor) -> Tensor:
    """To many inputs."""
    with torch.inference_mode():
        return torch.cat([network(part) for part in inputs.split(BATCH)])


def measure(task: Task, made: Made) -> dict[str, float]:
    """Figures of the task, equivariance, parameters, multiplications of one answer, seconds to make.

    residual: largest |F(T x) − T F(x)| over the largest |F(x)|, float32.
    """
    tested = task.test_samples()
    direct = answers(made.network, tested.inputs)
    seen = task.mirror_answers(answers(made.network, task.mirror_inputs(tested.inputs)))
    if made.averaged:
        direct = seen = (direct + seen) / 2
    found = dict(task.figures(direct)) | task.trials(made.network, made.averaged) | task.agreement(direct, seen)
    found["residual"] = float((direct - seen).abs().max() / direct.abs().max())
    found["parameters"] = sum(own.numel() for own in made.network.parameters())
    found["macs"] = (2 if made.averaged else 1) * _macs(task, made.network, tested.inputs[:1])
    found["seconds"] = made.seconds
    return found


def latencies(task: Task, made: Mapping[str, Made], rounds: int) -> Iterator[tuple[str, str, float]]:
    """(way, figure, value): milliseconds of the first way, and every way's time over the first one's.

    One thread, processor time, interleaved medians.
    """
    inputs = task.test_samples().inputs
    for size in LATENCY_BATCHES:
        part = inputs[torch.arange(size) % len(inputs)]
        runs = {name: _run(task, own, part) for name, own in made.items()}
        for place, timing in enumerate(interleaved(runs, rounds=rounds, clock=time.process_time)):
            yield timing.name, f"latency_{size}", timing.ratio
            if not place:
                yield timing.name, f"latency_{size}_ms", 1000 * timing.seconds


def _run(task: Task, made: Made, inputs: Tensor) -> Callable[[], object]:
    """A call as a user would write it; TTA mirrors, runs twice and averages."""
    network = made.network

    def once() -> object:
        with torch.inference_mode():
            return network(inputs)

    def twice() -> object:
        with torch.inference_mode():
            return (network(inputs) + task.mirror_answers(network(task.mirror_inputs(inputs)))) / 2

    return twice if made.averaged else once


def _macs(task: Task, network: nn.Module, inputs: Tensor) -> float:
    try:
        prepared = prepare(network, task.spec, (inputs,))
    except ChiralizeError:
        return float("nan")
    return float("nan") if prepared.captured is None else float(macs_of(prepared.captured))
