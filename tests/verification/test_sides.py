"""Joints of one side in the place of those of the other: told off the inputs, where the body turns as it likes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from chiralize.body.tensors import parse_spec, resolve
from chiralize.verification.evidence.sides import side_findings
from tests.support.small_body import normal

BODY = """\
joints: [l_hip, r_hip, l_shoulder, r_shoulder, l_hand, r_hand]
pairs: [[l_hip, r_hip], [l_shoulder, r_shoulder], [l_hand, r_hand]]
dims: [x, y, z]
"""
SPEC = BODY + 'inputs: [{layout: "b (j d)"}]\noutputs: [{layout: "b (j d)"}]\n'


def bodies(count: int = 200) -> Tensor:
    """Bodies that face any way and twist by up to 60 degrees, hands anywhere: "body joint coordinate"."""
    heading = 6.3 * torch.rand(count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    twist = (torch.rand(count, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 0.5) * 2.1
    joints = list[Tensor]()
    for angle, half, height in ((heading, 0.13, 1.0), (heading + twist, 0.2, 1.4)):
        across = half * torch.stack([angle.cos(), angle.sin(), torch.zeros(count)], -1)
        joints += [across + torch.tensor([0.0, 0.0, height]), -across + torch.tensor([0.0, 0.0, height])]
    hands = [normal(count, 3, seed=seed) for seed in (2, 3)]
    return torch.stack([*joints, *hands], 1) + 0.01 * normal(count, 6, 3, seed=4)


def warnings_of(poses: Tensor, spec: str = SPEC) -> tuple[str, ...]:
    flat = poses.flatten(1)
    resolved = resolve(parse_spec(spec), [tuple(flat[:2].shape)], [(2, 18)])
    return side_findings(resolved, [((part,), {}) for part in flat.split(25)]).warnings


def test_pairs_that_are_written_the_other_way_round() -> None:
    """The order within a pair changes no T; where no name tells a side, nothing is said."""
    other = SPEC.replace("[l_hip, r_hip]", "[r_hip, l_hip]")
    assert warnings_of(bodies(), other) == ()
    assert warnings_of(exchanged(bodies()), other) == warnings_of(exchanged(bodies()))
    unnamed = SPEC
    for number, name in enumerate(("l_hip", "r_hip", "l_shoulder", "r_shoulder", "l_hand", "r_hand")):
        unnamed = unnamed.replace(name, f"joint{number}")
    assert warnings_of(exchanged(bodies()), unnamed) == ()


def exchanged(poses: Tensor) -> Tensor:
    """Both hips in each other's place."""
    return poses[:, [1, 0, 2, 3, 4, 5]]


def test_hips_of_the_other_side() -> None:
    (warning,) = warnings_of(exchanged(bodies()))
    assert warning.startswith("l_hip and l_shoulder lie on opposite sides of the body in 100.0 % of the calibration ")


@pytest.mark.parametrize(
    "poses",
    [
        bodies(),
        bodies()[:, [1, 0, 3, 2, 5, 4]],  # all sides exchanged: who faces the other way
        exchanged(bodies().diff(dim=0)),  # speeds point anywhere
        exchanged(bodies(20)),
    ],
    ids=["right", "mirrored names", "speeds", "few"],
)
def test_what_is_right_or_cannot_be_told(poses: Tensor) -> None:
    assert warnings_of(poses) == ()
