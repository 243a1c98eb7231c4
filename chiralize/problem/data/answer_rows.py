"""The floating-point answers of a call as rows, one for each sample, to be compared in float64."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor

from chiralize.graph.running import Call, Runner, results
from chiralize.problem.network import Network


def answer_rows(network: Network, runner: Runner, call: Call) -> Tensor:
    """The answers to one call, "sample number"; those that have no samples are left out.  Raises ModelRunError."""
    count = network.samples_in(call)
    (step,) = runner.run([call]).steps
    numbers = [torch.zeros(count, 0, dtype=torch.float64)]
    for answer in results(step)[0]:
        if answer.is_floating_point() and answer.numel() % count == 0:
            numbers.append(answer.double().reshape(count, -1))
    return torch.cat(numbers, 1)


def rms(values: Tensor) -> float:
    """The root of the mean square; 0 of no numbers."""
    if not values.numel():
        return 0.0
    return sqrt(float(values.square().mean()))
