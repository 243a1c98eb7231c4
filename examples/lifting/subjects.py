"""Errors by subject and action, of the shipped lifter and of what it was converted into: the paper's table A1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from examples.lifting import metrics
from examples.lifting.poses import Clip, Dataset, Windows
from examples.lifting.strips import RECEPTIVE
from examples.study.page import Table
from examples.study.task import Reflection

BATCH = 250
Errors = Mapping[str, Mapping[tuple[str, str], float]]
"""By network, then by subject and action: mm."""


def errors_by_subject(networks: Mapping[str, nn.Module], original: str, dataset: Dataset, every: int) -> Errors:
    """MPJPE of networks that read windows of `RECEPTIVE` frames, and of the flip average of one of them.

    every: how manieth frame of each clip is asked about.
    """
    windows, subjects = Windows(dataset.test, RECEPTIVE), _subjects(dataset.test)
    frames = torch.arange(0, len(windows), every)
    inputs, targets = windows.inputs(frames), windows.targets[frames].numpy()
    pairs = list(zip(subjects[frames], windows.actions[frames], strict=True))
    answers = dict(_answers(networks, original, dataset, inputs))
    return {name: _by_pair(metrics.mpjpe(own, targets) * 1000, pairs) for name, own in answers.items()}


def subject_table(errors: Errors) -> Table:
    """A line for each action of each subject, then the mean of the lines, in which all count alike."""
    rows = [("subject", "action", *errors)]
    for pair in next(iter(errors.values())):
        rows.append((*pair, *(f"{own[pair]:.1f}" for own in errors.values())))
    rows.append(("mean", "", *(f"{np.mean(list(own.values())):.1f}" for own in errors.values())))
    return Table("MPJPE by subject and action, mm", tuple(rows))


def _subjects(clips: Sequence[Clip]) -> np.ndarray:
    """The subject of every frame of the clips in a row."""
    return np.repeat([clip.subject for clip in clips], [len(clip.poses) for clip in clips])


def _answers(
    networks: Mapping[str, nn.Module], original: str, dataset: Dataset, inputs: Tensor
) -> Iterator[tuple[str, np.ndarray]]:
    """Answers "frame joint 3" of every network, those of the original's two views averaged after its own."""
    before, after = (_mirror(body.pairs) for body in (dataset.body_in, dataset.body_out))
    for name, network in networks.items():
        straight = _run(network, inputs)
        yield name, straight.numpy()
        if name == original:
            yield f"{name}, TTA", ((straight + after(_run(network, before(inputs)))) / 2).numpy()


def _mirror(pairs: Sequence[tuple[int, int]]) -> Reflection:
    left, right = zip(*pairs, strict=True)
    return Reflection(left, right)


def _run(network: nn.Module, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([network(part)[:, 0] for part in inputs.split(BATCH)])


def _by_pair(errors: np.ndarray, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], float]:
    by_pair = dict[tuple[str, str], list[float]]()
    for (subject, action), error in zip(pairs, errors.tolist(), strict=True):
        by_pair.setdefault((str(subject), str(action)), []).append(error)
    return {pair: float(np.mean(by_pair[pair])) for pair in sorted(by_pair)}
