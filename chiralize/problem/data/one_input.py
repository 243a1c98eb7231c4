"""An input that answers hardly depend on in the samples: it may be in another unit there than in training.

A network that reads landmarks and the turn of a head in degrees answers as if the head looked ahead if it is given
radians: the turn is a fiftieth of what it was, and a fit sees no more of it. Nothing else of the inputs shows that.

Where this input alone is exchanged among the samples, answers change by a share of what they change by if whole samples
are. With right inputs that share was 0.13 and more, with radians for degrees it was 0.005 (decision 0110).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from chiralize.errors import ModelRunError
from chiralize.errors.words import percent
from chiralize.graph.running import Arguments, Call, Runner
from chiralize.problem.cost import affordable_samples
from chiralize.problem.data.answer_rows import answer_rows, rms
from chiralize.problem.data.cutting import in_one, thinned
from chiralize.problem.network import Network

_LEAST_SHARE = 0.02
"""Of what answers change by if all inputs are exchanged: an input with less is questioned."""
_EVEN = 0.01
"""Of the spread of all answers: numbers that vary less count as if they varied so much."""
_WORK, _MOST, _LEAST = 1e10, 256, 50


def hardly_read(network: Network, calls: Sequence[Call]) -> str:
    """Which input the answers hardly depend on though it varies, in words; "" where there is none, or nothing tells.

    Not asked of networks that carry a state, whose answers depend on the calls before.
    """
    asked = [tensor for tensor in network.resolved.input_tensors if tensor.has_rows]
    if not network.has_rows or len(asked) < 2 or network.carried:
        return ""
    given = thinned(network, calls, affordable_samples(network, _WORK, _LEAST, _MOST))
    looked_at = [Arguments.of(*call) for call in in_one(network, given)]
    varying = [tensor for tensor in asked if _has_a_unit(looked_at, tensor.index)]
    try:
        with Runner(network.module) as runner:
            changes = _Changes(runner, network, looked_at)
            whole = changes.of([tensor.index for tensor in asked])
            for tensor in varying if whole else ():
                share = changes.of([tensor.index]) / whole
                if share < _LEAST_SHARE:
                    return f"answers hardly depend on {tensor.where} ({percent(share)} as much as on all inputs)"
    except ModelRunError:
        return ""
    return ""


class _Changes:
    """By how much answers change where inputs are exchanged among samples, RMS, each number in its own spread."""

    def __init__(self, runner: Runner, network: Network, calls: Sequence[Arguments]) -> None:
        self.runner, self.network, self.calls = runner, network, calls
        self.answers = self._answers(())
        spread = self.answers.std(0, correction=0)
        self.spread = spread.clamp_min(_EVEN * rms(spread))

    def of(self, indices: Sequence[int]) -> float:
        """The change where these inputs are exchanged; 0 where no answer varies.  Raises ModelRunError."""
        if not self.spread.numel() or not float(self.spread.max()):
            return 0.0
        return rms((self._answers(indices) - self.answers) / self.spread)

    def _answers(self, indices: Sequence[int]) -> Tensor:
        """All floating-point answers, "sample number"; those that have no samples are left out."""
        rows = list[Tensor]()
        for call in self.calls:
            tensors = list(call.tensors)
            for index in indices:
                tensors[index] = tensors[index].roll(len(tensors[index]) // 2, 0)
            rows.append(answer_rows(self.network, self.runner, call.filled(tensors)))
        return torch.cat(rows)


def _has_a_unit(calls: Sequence[Arguments], index: int) -> bool:
    """Whether an input varies, in more than flags, classes or counts, which are whole numbers."""
    values = [call.tensors[index] for call in calls]
    if not values[0].is_floating_point():
        return False
    varies = any(bool((value != values[0][:1]).any()) for value in values)
    return varies and any(bool((value != value.round()).any()) for value in values)
