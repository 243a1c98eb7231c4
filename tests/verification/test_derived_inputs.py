"""Inputs that are computed from others: a mirror that is not the body's is seen in the samples themselves."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from chiralize import audit
from chiralize.body.tensors import parse_spec
from tests.support.small_body import BODY, normal

SPEC = parse_spec(BODY + 'inputs: [{layout: "b j d"}, {layout: "b j d", name: bones}]\noutputs: [{layout: "b j d"}]\n')


class Beside(nn.Module):
    """Reads joints and bones."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(24, 12)

    def forward(self, x: Tensor, bones: Tensor) -> Tensor:
        return self.fc(torch.cat([x.flatten(1), bones.flatten(1)], 1)).unflatten(1, (6, 2))


def warned(bones: Tensor, x: Tensor) -> bool:
    torch.manual_seed(0)
    data = [(x[start : start + 8], bones[start : start + 8]) for start in range(0, len(x), 8)]
    report = audit(Beside().double(), SPEC, data[0], calibration=data)
    return any("input 1 is computed from input 0" in text for text in report.evidence.warnings)


@pytest.mark.parametrize(("parent", "is_wrong"), [(0, False), (5, False), (1, True), (3, True)])
def test_bones_from_a_joint_beside_the_middle(parent: int, is_wrong: bool) -> None:
    """Joints 0 and 5 are in the middle; 1 and 2 have their partners in 3 and 4."""
    x = 0.5 + normal(400, 6, 2)
    assert warned(x - x[:, parent : parent + 1], x) == is_wrong


def test_nothing_is_said_where_the_samples_do_not_tell() -> None:
    """Of few samples, of inputs that are not computed from others, of poses that T leads out of."""
    x = normal(400, 6, 2)
    off_center = x - x[:, 1:2]
    assert not warned(off_center[:16], x[:16])
    assert not warned(off_center + 0.01 * normal(400, 6, 2, seed=5), x)
    few = normal(400, 3, seed=7) @ normal(3, 12, seed=8)
    flat = few.unflatten(1, (6, 2))
    assert not warned(flat - flat[:, 1:2], flat)
