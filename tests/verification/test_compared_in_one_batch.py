"""Real inputs of a small network are run as one batch for each mirror, where it takes any: a run costs its overhead."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from chiralize.body.tensors import parse_spec
from chiralize.problem.preparation import prepare
from chiralize.verification import compared_inputs
from chiralize.verification.mirror_evidence import ask_network
from tests.verification.test_answer_points import BODY, Landmarks, pictures

SIZES: list[int] = []


class Counted(Landmarks):
    """Notes down how many pictures it is given. most: it refuses more."""

    def __init__(self, most: int = 1000) -> None:
        super().__init__()
        self.most = most

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        if not torch.compiler.is_exporting():
            SIZES.append(len(x))
            if len(x) > self.most:
                raise ValueError("too many")
        return super().forward(x)


@pytest.mark.parametrize(
    ("most", "work", "sizes"),
    [(1000, 1e10, {64}), (16, 1e10, {16, 64}), (1000, 1e3, {16})],
    ids=["any size", "no larger batch", "costly"],
)
def test_real_inputs_are_run_in_one_batch(
    most: int, work: float, sizes: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A costly network is run on the first call before the others, and one that refuses the batch call by call."""
    calls = pictures()
    network = prepare(
        Counted(most), parse_spec(f"{BODY}outputs: [{{layout: b j d, reflect: {{x: 1/2}}}}]\n"), calls[0][0]
    )
    monkeypatch.setattr(compared_inputs, "_WORK", work)
    SIZES.clear()
    fit = ask_network(network, calls).fit
    assert set(SIZES) == sizes
    assert fit is not None and fit.is_confirmed and fit.gap == pytest.approx(0.2103, abs=0.002)
