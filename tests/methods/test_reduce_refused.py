"""What `reduce` cannot take along is refused with its place, and `auto` averages; norms without a mean it can."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.errors import AsymmetricConstantError
from tests.support.cases import mainly
from tests.support.small_body import POSE, Net, normal, residual, trained


def reduced(net: nn.Module, method: str, **options: Any) -> Any:
    return chiralize.chiralize(
        net, parse_spec(POSE), (normal(4, 6, 2),), calibration=normal(320, 6, 2, seed=2), method=method, samples=1,
        rounds=0, force=True, **options,
    )  # fmt: skip


def fixed_rotation(net: Any, x: Tensor) -> Tensor:
    return net.last(torch.relu(torch.relu(net.first(x.flatten(1))) @ net.rotation)).unflatten(1, (6, 2))


def fixed_projection(net: Any, x: Tensor) -> Tensor:
    return net.last(torch.relu(x.flatten(1) @ net.projection)).unflatten(1, (6, 2))


CONSTANTS = {
    "rotation": lambda: Net(
        fixed_rotation, first=nn.Linear(12, 16), last=nn.Linear(16, 12), rotation=torch.linalg.qr(normal(16, 16))[0]
    ),
    "projection": lambda: Net(fixed_projection, last=nn.Linear(16, 12), projection=normal(12, 16)),
}


@pytest.mark.one_in(2)
@pytest.mark.parametrize("name", list(CONSTANTS))
def test_constants_between_units(name: str) -> None:
    """One that ties the units to each other, or to the inputs: no choice of units leaves it as it is."""
    net = CONSTANTS[name]()
    with pytest.raises(AsymmetricConstantError) as caught:
        reduced(net.double(), "reduce", width=0.5)
    assert caught.value.facts.startswith(f"constant {name} ") and "under the mirror of the units" in caught.value.facts
    assert ".py:" in caught.value.where and "--method average" in str(caught.value)
    found = reduced(net, "auto")
    report = found.chirality.report
    assert report.method == "average" and any(f"constant {name}" in note for note in report.notes)
    assert residual(found, (5, 6, 2)) < 1e-9


def normed(net: Any, x: Tensor) -> Tensor:
    return net.last(net.norm(torch.relu(net.first(x.flatten(1))))).unflatten(1, (6, 2))


WIDTHS = itertools.product((0.25, 0.5, 0.75), (nn.RMSNorm, nn.LayerNorm))


@pytest.mark.parametrize(("width", "norm"), mainly(WIDTHS, [(0.25, nn.LayerNorm), (0.5, nn.RMSNorm)]))
def test_norms_of_other_sizes(norm: type[nn.Module], width: float) -> None:
    net = trained(Net(normed, first=nn.Linear(12, 16), norm=norm(16), last=nn.Linear(16, 12)))
    found = reduced(net, "reduce", width=width)
    assert found.chirality.report.method == "reduce" and residual(found, (5, 6, 2)) < 1e-9


def rolled(net: Any, x: Tensor) -> Tensor:
    """Features of the joints two places further, by slices, so that no space of the features follows one of the ops."""
    y = net.first(x)
    return net.last(torch.cat([y[:, 2:], y[:, :2]], 1).flatten(1)).unflatten(1, (6, 2))


def test_slices_of_joints() -> None:
    """They are looked at in the search for a trunk; nothing of it may turn on them."""
    found = reduced(Net(rolled, first=nn.Linear(2, 8), last=nn.Linear(48, 12)).double(), "reduce")
    assert found.chirality.report.method == "reduce" and residual(found, (5, 6, 2)) < 1e-9
