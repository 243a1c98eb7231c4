"""Answers along a ring of directions that T reverses at a wrong cell: advice in the words of the specification."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.errors import MirrorError
from chiralize.graph.running import Call
from chiralize.methods.registry import method_of
from chiralize.problem.preparation import prepare
from chiralize.problem.problem import Problem
from chiralize.problem.request import Request
from chiralize.verification.mirror_evidence import ask_network
from chiralize.verification.wrong_mirror import refuse_wrong_mirror

BODY = "joints: [nose, left_eye, right_eye, left_ear, right_ear]\npairs: [[1, 2], [3, 4]]\ndims: [x, y]\n"
PARTNER = [0, 2, 1, 4, 3]
AHEAD = (0, 7, 6, 5, 4, 3, 2, 1)
"""Of eight directions the first ahead: what each becomes."""
FROM_RIGHT = tuple(range(7, -1, -1))
FROM_A_CORNER = (2, 1, 0, 7, 6, 5, 4, 3)


class Directions(nn.Module):
    """Scores of eight directions from points of a face; nearly symmetric."""

    def __init__(self, becomes: Sequence[int]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner = nn.Sequential(nn.Flatten(), nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 8))
        with torch.no_grad():
            for weights in self.inner.parameters():
                weights += 0.2 * torch.randn(weights.shape[0], *[1] * (weights.ndim - 1))  # whole directions move
        self.becomes = list(becomes)

    def forward(self, x: Tensor) -> Tensor:
        turned = x[:, PARTNER] * torch.tensor([-1.0, 1.0])
        return 0.55 * self.inner(x) + 0.45 * self.inner(turned)[:, self.becomes]


def faces(count: int) -> Tensor:
    """Points of faces about 0."""
    generator = torch.Generator().manual_seed(1)
    face = torch.tensor([[0, 0], [-0.5, 0.5], [0.5, 0.5], [-1, 0], [1, 0]])
    size = 0.5 + torch.rand(count, 1, 1, generator=generator)
    middle = 1.5 * torch.randn(count, 1, 2, generator=generator)
    return middle + size * face + 0.2 * torch.randn(count, 5, 2, generator=generator)


def refused(becomes: Sequence[int], output: str) -> str:
    """The remedy for a wrong output, "" where T is let through."""
    calls: list[Call] = [((part,), {}) for part in faces(1024).split(64)]
    network = prepare(
        Directions(becomes), parse_spec(f"{BODY}inputs: [{{layout: b j d}}]\noutputs: [{output}]\n"), calls[0][0]
    )
    try:
        refuse_wrong_mirror(Problem.of(network, Request(), method_of("auto")), "net", ask_network(network, calls))
    except MirrorError as error:
        return error.remedy
    return ""


@pytest.mark.parametrize(
    ("becomes", "output", "advice"),
    [
        (AHEAD, "{layout: b dirs, mirror: dirs}", "reversed at another cell (`mirror: {dirs: 4}`)"),
        (AHEAD, "{layout: b dirs, mirror: {dirs: 3}}", "reversed at another cell (`mirror: {dirs: 4}`)"),
        (FROM_RIGHT, "{layout: b dirs, mirror: {dirs: 4}}", "reversed at another cell (`mirror: {dirs: 3.5}`)"),
        (
            FROM_A_CORNER,
            "{layout: b dirs, mirror: {dirs: 4}}",
            "swapped (`classes: {swap: [[0, 2], [3, 7], [4, 6]]}` in place of `mirror: dirs`)",
        ),
        (
            AHEAD,
            "{classes: {swap: [[0, 7], [1, 6], [2, 5], [3, 4]]}}",
            "swapped (`classes: {swap: [[1, 7], [2, 6], [3, 5]]}`, and no others)",
        ),
        (
            AHEAD,
            "{classes: {swap: [[a, h], [b, g]], names: [a, b, c, d, e, f, g, h]}}",
            "swapped (`classes: {swap: [[b, h], [c, g], [d, f]]}`, and no others)",
        ),
    ],
)
def test_a_ring_is_mended_in_the_words_of_the_specification(becomes: Sequence[int], output: str, advice: str) -> None:
    remedy = refused(becomes, output)
    assert remedy.startswith("try ") and advice in remedy and "paired with" not in remedy


def test_the_right_ring_is_let_through() -> None:
    assert refused(AHEAD, "{layout: b dirs, mirror: {dirs: 4}}") == ""
    assert refused(FROM_A_CORNER, "{classes: {swap: [[0, 2], [3, 7], [4, 6]]}}") == ""
