"""Calibration inputs that a network takes for one class, nearly all: they tell little of what it learned of others.

`wrong_mirror` asks this where T is refuted, before any other mirror is named.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from chiralize.body.tensors.resolved import ResolvedTensor
from chiralize.errors.words import percent
from chiralize.graph.running import Call, Runner, results
from chiralize.problem.data.cutting import thinned
from chiralize.problem.network import Network

_NEARLY_ALL, _ONE = 0.98, 1e-3
"""The share of the inputs that counts as nearly all; how far probabilities may be from 1 in their sum."""
_FEWEST_CLASSES, _FEWEST_ROWS, _ROWS = 3, 16, 256
"""Of fewer classes or samples nothing is said; and how many samples are looked at."""


def one_class_first(network: Network, inputs: Sequence[Call]) -> str:
    """What to look at first where nearly all inputs are answered with one class, ending in `; then `; else "".

    Scores of frames are left out, of which most may well be of no event.  Raises ModelRunError.
    """
    # Outputs "sample class".
    scores = [tensor for tensor in network.resolved.output_tensors if _is_one_of_several(tensor)]
    if not scores or not inputs or network.carried:
        return ""
    with Runner(network.module) as runner:
        answers = [results(runner.run([call]).steps[0])[0] for call in thinned(network, inputs, _ROWS)]
    for tensor in scores:
        rows = torch.cat([answer[tensor.index] for answer in answers])
        if not _are_of_one_choice(rows):
            continue
        highest = rows.argmax(1)
        most = int(highest.mode().values)
        share = float((highest == most).double().mean())
        if share >= _NEARLY_ALL and len(highest) >= _FEWEST_ROWS and tensor.shape[1] >= _FEWEST_CLASSES:
            name = tensor.names[most] if tensor.names else f"class {most}"
            return f"give inputs of all classes first, since {percent(share)} of these are answered {name}; then "
    return ""


def _is_one_of_several(tensor: ResolvedTensor) -> bool:
    """Whether an output "sample class" has scores of which the highest decides."""
    classes = tensor.entry.classes
    return classes is not None and classes.threshold is None and tensor.class_axis == 1 and len(tensor.shape) == 2


def _are_of_one_choice(rows: torch.Tensor) -> bool:
    """Whether scores are of classes of which one is chosen, probabilities or their logarithms, and no forces or flags.

    rows: "sample class".
    """
    if not rows.is_floating_point():
        return False
    # Scores and logarithms have negative numbers, probabilities the sum 1. Flags and contact forces have neither.
    return bool((rows < 0).any()) or bool((rows.sum(1) - 1).abs().max() < _ONE)
