"""Answers of saturating ops may be tiny on random inputs; runtimes are then as near as such an op ever is."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from chiralize.storage.onnx_network import OnnxNetwork
from chiralize.storage.parity import PARITY, share_apart

OPS: dict[str, tuple[Callable[[Tensor], Tensor], bool]] = {
    "a sigmoid": (lambda x: x.sigmoid(), True),
    "moved and scaled": (lambda x: (x.sigmoid() + x.tanh()).reshape(2, 2, 2).transpose(1, 2)[:, :1] * 0.5, True),
    "two views averaged": (lambda x: (x.softmax(-1) + x.flip(0).softmax(-1)) / 2, True),
    "put together": (lambda x: torch.cat([x.sigmoid(), x.tanh()], 1), True),
    "put together with another": (lambda x: torch.cat([x.sigmoid(), x], 1), False),
    "added to another": (lambda x: x.sigmoid() + x, False),
    "times another": (lambda x: x.sigmoid() * x, False),
    "behind a layer": (lambda x: x.sigmoid().exp(), False),
}


class AllOps(nn.Module):
    """The answers of all of them, and a score that is nearly zero."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return (*(op(x) for op, _ in OPS.values()), (x - 14).sigmoid())


@cache
def network() -> OnnxNetwork:
    """In onnxruntime, of inputs "2 4"."""
    model = torch.onnx.export(AllOps().eval(), (torch.zeros(2, 4),), dynamo=True, verbose=False)
    assert model is not None
    return OnnxNetwork(model.model_proto, "net")


@pytest.mark.parametrize("case", OPS)
def test_which_outputs_are_answers_of_a_saturating_op(case: str) -> None:
    """Also where such answers are added, scaled, moved or put together, and nothing else."""
    port = network().outputs[list(OPS).index(case)]
    assert (port.name in network().of_size_one) == OPS[case][1]


def test_a_score_that_is_nearly_zero_is_judged_by_the_size_of_scores() -> None:
    """Its own size would ask for more digits than a runtime's sigmoid has."""
    x = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    answer, expected = network().run((x,))[-1], (x - 14).sigmoid()
    assert network().outputs[-1].name in network().of_size_one and float(expected.max()) < 1e-4
    bound = PARITY[torch.float32]
    assert share_apart(answer + 9e-8, expected) > bound > share_apart(answer + 9e-8, expected, True)
    for fault in (torch.zeros_like(expected), expected + 1e-6):  # more than the last digits of 1
        assert share_apart(fault, expected, True) > bound
