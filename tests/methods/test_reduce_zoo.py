"""Reduction of networks of the zoo whose sizes stand in their graphs, or that write in place, in any gradient mode."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.commands.convert import Conversion, Request, convert
from chiralize.problem.preparation import prepare
from tests.support.small_body import CLIP, POSE, ROUNDING, Net, converted, normal, residual, trained
from tests.support.zoo import CASES


def reduced(name: str, width: float) -> Conversion:
    case = CASES[name]
    args, kwargs = case.steps(1)[0]
    calls = [case.steps(1, seed=seed)[0] for seed in range(6)]
    network = prepare(case.model(), parse_spec(case.spec), args, kwargs)
    return convert(network, name, Request("reduce", calibration=calls, samples=1, rounds=0, width=width, force=True))


@pytest.mark.thorough
@pytest.mark.parametrize(
    "name", ["lstm, both ways, two layers", "lstm cell loop", "gru cell by hand", "writes in place"]
)
def test_states_start_from_zeros_of_any_size(name: str) -> None:
    """What holds one number has no representation of its own: it takes the size that its readers want."""
    found = reduced(name, 0.75)
    assert found.report.method == "reduce" and found.report.form == "dense"
    assert found.report.judgement.numeric is not None and found.report.judgement.numeric.worst.residual < ROUNDING
    assert found.report.judgement.certificate is not None and found.report.judgement.certificate.passed


@pytest.mark.thorough
def test_a_buffer_of_zeros_grows() -> None:
    """The first state of a layer, kept by the network: it has other sizes in the result, and in its file."""

    def compute(s: Net, x: Tensor) -> Tensor:
        first = s.state.expand(1, x.shape[0], 16).contiguous()
        return s.outlet(s.cells(x.flatten(2), first)[0]).unflatten(2, (6, 2))

    state = torch.zeros(1, 1, 16, dtype=torch.float64)
    net = Net(compute, cells=nn.GRU(12, 16, batch_first=True), outlet=nn.Linear(16, 12), state=state)
    seen = normal(40, 7, 6, 2, seed=2)
    found = converted(trained(net), CLIP, (4, 7, 6, 2), method="reduce", width=0.75, calibration=seen, rounds=0)
    assert found.state.shape == (1, 1, 24) and residual(found, (9, 7, 6, 2)) < ROUNDING  # type: ignore[union-attr]


def test_zeros_beside_a_mask_that_is_computed() -> None:
    """Which sizes the zeros may have is tried out with a mask, and not with numbers in its place."""

    def compute(s: Net, x: Tensor) -> Tensor:
        hidden = s.inlet(x.flatten(1)).relu()
        is_far = x.flatten(1).square().mean(1, keepdim=True) > 0.5
        return s.outlet(torch.where(is_far, hidden, x.new_zeros(x.shape[0], 16))).view(x.shape)

    net = trained(Net(compute, inlet=nn.Linear(12, 16), outlet=nn.Linear(16, 12)))
    seen = normal(200, 6, 2, seed=2)
    found = converted(net, POSE, (4, 6, 2), method="reduce", width=0.75, calibration=seen, rounds=0, force=True)
    assert found.chirality.form == "dense" and residual(found, (9, 6, 2)) < ROUNDING


def fitted(method: str) -> nn.Module:
    """A transformer over joints, fitted on poses."""
    encoder = nn.TransformerEncoderLayer(8, 2, 8, 0.0, batch_first=True)
    net = trained(nn.Sequential(nn.Linear(2, 8), encoder, nn.Linear(8, 2)))
    seen = normal(40, 6, 2, seed=2)
    return converted(net, POSE, (4, 6, 2), method=method, calibration=seen, rounds=1)


in_gradient_mode = cache(fitted)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("method", "mode"), [("reduce", torch.no_grad), ("reduce", torch.inference_mode), ("match", torch.inference_mode)]
)
def test_called_where_gradients_are_off(method: str, mode: Callable[[], AbstractContextManager[object]]) -> None:
    """The importances of units are gradients, and so are the rounds; who calls has often switched them off."""
    x = normal(4, 6, 2)
    plain = in_gradient_mode(method)
    with mode():
        found = fitted(method)
    assert residual(found, (4, 6, 2)) < ROUNDING
    torch.testing.assert_close(found(x), plain(x), rtol=0, atol=1e-9)
    degeneracy: Any = found.chirality.report.judgement.degeneracy  # type: ignore[union-attr]
    assert 0.5 <= degeneracy.free_share < 0.62  # half of the weights, and more of the biases
