"""Whether a forecast goes on as the frames before it moved: in another unit, or at another rate of frames, it does not.

Bodies are inertial. The first frame of a forecast lies beyond the last one given about as that lies beyond the one
before, in direction and in size. Three forecasters that add to the last frame, trained on motion capture, and inputs of
theirs (decision 0113): `along` is the correlation of what the first frame adds with the last step.

    as in training, other axes, shifted, few      along 0.65 to 0.92    added over step 0.6 to 1.3
    5, 10 or 20 times as large                          0.60 to 0.39                    0.7 to 0.6
    centimetres, pixels, metres for millimetres        -0.03 to 0.18                  0.07 to 90
    a fifth of the size                                 0.55                          7

Frames that never move are named as such. Nothing is said of inputs whose own steps are not alike: noise of a detector
is to be taken back, not gone on with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from chiralize.errors import ModelRunError
from chiralize.graph.running import Arguments, Call, Runner, results
from chiralize.problem.cost import affordable_samples
from chiralize.problem.data.answer_rows import rms
from chiralize.problem.data.cutting import thinned
from chiralize.problem.data.forecasts import LastFrame, last_frames
from chiralize.problem.network import Network

_LEAST_ALONG, _MOST_ADDED = 0.45, 3.0
"""The correlation of what the first frame adds with the last step, at least; and how much larger it may be."""
_STEADY = 0.6
"""How much steps that follow each other have to be alike, for the last one to foretell the next."""
_STARTS_THERE = 0.6
"""A forecast adds less than this share of its spread to the last frame; what adds more does not start there."""
_WORK, _MOST, _LEAST = 1e10, 256, 50


@dataclass(frozen=True)
class Moves:
    """Of all samples, one after the other: the last two steps of the frames, the first frame of the forecast about its
    mean, and what it adds to the last frame.
    """

    before: Tensor
    step: Tensor
    first: Tensor
    added: Tensor

    def symptom(self) -> str:
        """What is wrong, in words; "" where nothing is, or nothing tells."""
        if rms(self.added) > _STARTS_THERE * rms(self.first):
            return ""
        if not rms(self.step):
            return "the frames of every sample are all the same, so that nothing moves"
        if _correlation(self.before, self.step) < _STEADY:
            return ""
        along, added = _correlation(self.step, self.added), rms(self.added) / rms(self.step)
        if along < _LEAST_ALONG:
            return f"forecasts do not go on as the frames moved (correlated by {along:.2f} with the last step)"
        if added > _MOST_ADDED:
            return f"forecasts go on {added:.2g} times as far as the last step of the frames"
        return ""


def discontinued(network: Network, calls: Sequence[Call]) -> str:
    """What forecasts show of frames in another unit or at another rate, in words; "" where they show nothing."""
    starts = list[tuple[int, LastFrame]]()
    for index, frames in last_frames(network.resolved).items():
        starts += [(index, start) for start in frames]
    if not network.has_rows or network.carried or not starts:
        return ""
    looked_at = thinned(network, calls, affordable_samples(network, _WORK, _LEAST, _MOST))
    try:
        with Runner(network.module) as runner:
            answers = [results(runner.run([call]).steps[0])[0] for call in looked_at]
    except ModelRunError:
        return ""
    for index, start in starts:
        moves = _moves(start, looked_at, [answer[index] for answer in answers])
        symptom = moves.symptom() if moves is not None else ""
        if symptom:
            return symptom
    return ""


def _moves(start: LastFrame, calls: Sequence[Call], forecasts: Sequence[Tensor]) -> Moves | None:
    """How the frames moved and the forecasts go on; None of fewer than three frames, and of one frame that is foretold:
    how far ahead that lies is not known.
    """
    if start.is_one:
        return None
    parts: list[list[Tensor]] = [[], [], [], []]
    for call, forecast in zip(calls, forecasts, strict=True):
        frames = Arguments.of(*call).tensors[start.input].double()
        if frames.shape[start.axis] < 3 or not frames.numel():
            return None
        *_, earlier, before, last = frames.unbind(start.axis)
        first = forecast.double().select(start.axis, 0)
        for kind, values in zip(parts, (before - earlier, last - before, first, first - last), strict=True):
            kind.append(values)
    before, step, first, added = map(torch.cat, parts)
    return Moves(before, step, first - first.mean(0), added)


def _correlation(one: Tensor, other: Tensor) -> float:
    """Of two displacements, about 0; 0 where nothing moves."""
    size = rms(one) * rms(other)
    return float((one * other).mean()) / size if size else 0.0
