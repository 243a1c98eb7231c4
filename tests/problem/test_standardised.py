"""Inputs that were standardised outside the network are remarked on; others are not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from chiralize.body.tensors import parse_spec, resolve
from chiralize.graph.running import Call
from chiralize.problem.data.standardised import standardised_remarks

SPEC = "joints: [hip, left, right, nose]\npairs: [[1, 2]]\ndims: [x, y]\nnegate: [x]\ninputs: [{layout: LAYOUT}]\n"


def poses(count: int, seed: int = 0) -> Tensor:
    """A body that moves as a whole, and its joints a little, "count 4 2", in units and about a point of their own."""
    drawn = torch.Generator().manual_seed(seed)
    whole = torch.randn(count, 1, 2, generator=drawn)
    about = 3 * torch.randn(4, 2, generator=drawn)
    return 0.3 * (whole + 0.7 * torch.randn(count, 4, 2, generator=drawn)) + about


def standardised(x: Tensor) -> Tensor:
    return (x - x.mean(0)) / x.std(0)


def said(layout: str, *values: Tensor) -> list[str]:
    calls: list[Call] = [((value,), {}) for value in values]
    resolved = resolve(parse_spec(SPEC.replace("LAYOUT", layout)), [tuple(values[0].shape)], [(1, 4, 2)])
    return list(standardised_remarks(resolved, calls))


def test_standardised_poses_are_remarked_on() -> None:
    (remark,) = said("b j d", standardised(poses(400)))
    assert (
        remark.startswith("warning: input 0 may have been scaled number by number outside the network: means of 0")
        and "--normalizer" in remark
    )
    windows = standardised(poses(4000)).reshape(200, 20, 4, 2)
    assert len(said("b t j d", *windows.split(50))) == 1
    assert len(said("b (j d) t", windows.flatten(2).transpose(1, 2))) == 1


@pytest.mark.parametrize(
    "values",
    [
        poses(400),  # as they are
        torch.randn(400, 4, 2),  # noise
        standardised(poses(400)) * torch.linspace(0.2, 2, 4)[:, None],  # spreads of their own
        standardised(poses(400)) + torch.linspace(-4, 4, 4)[:, None],  # means of their own
        standardised(poses(60)),  # few
    ],
)
def test_other_inputs_are_not(values: Tensor) -> None:
    assert said("b j d", values) == []


def test_symmetric_statistics_leave_other_means() -> None:
    """As T wants them: one spread for partners, and means that it leaves alone."""
    x = poses(400)
    image = x[:, [0, 2, 1, 3]] * torch.tensor([-1.0, 1.0])
    both = torch.cat([x, image])
    assert said("b j d", (x - both.mean(0)) / both.std(0)) == []


def test_poses_scaled_by_the_statistics_of_others_are_remarked_on() -> None:
    """As test subjects are: neither their means are 0 nor their spreads 1, but no metres or pixels look like that."""
    x, centre = poses(2000), torch.tensor([0.0, 2.0, 2.0, 0.0])[:, None]
    others = torch.tensor([[0.8, 0.9], [0.7, 1.0], [1.0, 0.8], [0.9, 1.1]])
    scaled = (standardised(x) + 0.4 * torch.randn(4, 2, generator=torch.Generator().manual_seed(1))) * others
    (remark,) = said("b j d", scaled)
    assert (
        "network: spreads about 1 that partners do not share, means about 0 that are not each other's mirror images"
        in remark
    )
    image = scaled[:, [0, 2, 1, 3]] * torch.tensor([-1.0, 1.0])
    assert said("b j d", torch.cat([scaled, image])) == [], "T leaves these means alone"
    leaning = standardised(x) + torch.tensor([0.3, 0.0])
    assert said("b j d", leaning) == [], "all a little to one side"
    assert said("b j d", scaled + 5 * centre) == [], "heights above the ground are far from 0"
    assert said("b j d", 0.2 * scaled) == said("b j d", 10 * scaled) == [], "metres, pixels"


def ranged(x: Tensor) -> Tensor:
    low, high = x.amin(0), x.amax(0)
    return 2 * (x - low) / (high - low) - 1


def test_poses_scaled_to_a_range_are_remarked_on() -> None:
    """As diffusion policies do, and where only a part of the training data is looked at."""
    scaled = ranged(poses(1000))
    (remark,) = said("b j d", scaled[:800])
    assert "number by number outside the network: each from -1 to 1" in remark
    assert said("b j d", 1.1 * scaled) == said("b j d", 0.5 * scaled) == []
    assert said("b j d", 2 * torch.rand(400, 4, 2) - 1) == []  # noise


def test_directions_reach_so_far_by_themselves() -> None:
    drawn = poses(400)
    unit = drawn / drawn.norm(dim=-1, keepdim=True)
    turned = torch.stack([drawn[..., 0].sin(), drawn[..., 0].cos()], -1)
    assert said("b j d", unit) == said("b j d", turned) == []


ROBOT = """\
joints: [base]
pairs: []
negate: [y]
lateral: y
inputs:
  - fields:
      - {vector: place}
      - {vector: speed}
      - {axial: turning}
      - {signs: [-1], name: lean}
      - {signs: [-1, -1], name: rest}
"""


@pytest.mark.parametrize(("high", "factor", "is_remarked_on"), [(0.9, 1.0, True), (1.1, 1.0, False), (0.9, 0.3, False)])
def test_quantities_of_several_units_that_reach_as_far_are_remarked_on(
    high: float, factor: float, is_remarked_on: bool
) -> None:
    """By limits of other data, where what T negates has a middle elsewhere. Of units of their own some end nearer 0."""
    drawn = torch.rand(150, 13, generator=torch.Generator().manual_seed(2))
    numbers = drawn[:, :12] + drawn[:, 12:] - 1
    numbers = torch.cat([numbers, -numbers]) / numbers.abs().amax(0)  # from -1 to 1
    numbers = (numbers + 1) * (1.1 + high) / 2 - 1.1
    numbers[:, :6] *= factor
    calls: list[Call] = [((numbers,), {})]
    remarks = list(standardised_remarks(resolve(parse_spec(ROBOT), [(300, 12)], [(1, 3)]), calls))
    assert bool(remarks) == is_remarked_on
    assert not is_remarked_on or "each about from -1 to 1, whatever their units, and partners unlike" in remarks[0]


@pytest.mark.parametrize(("factor", "is_remarked_on"), [(1.0, True), (0.25, False)])
def test_quantities_of_several_units_that_vary_alike_are_remarked_on(factor: float, is_remarked_on: bool) -> None:
    """Whether or not means are exactly 0, as where a policy sees other places now: units of their own differ more."""
    drawn = torch.Generator().manual_seed(2)
    whole = torch.randn(300, 1, generator=drawn)
    numbers = 0.6 * whole + 0.7 * torch.randn(300, 12, generator=drawn) + 0.1
    numbers[:, 3:6] *= factor
    calls: list[Call] = [((numbers,), {})]
    remarks = list(standardised_remarks(resolve(parse_spec(ROBOT), [(300, 12)], [(1, 3)]), calls))
    assert bool(remarks) == is_remarked_on
    assert not is_remarked_on or "network: spreads about 1 of all of them, whatever their units" in remarks[0]
