"""Partners of answers that T gives wrongly are read off the answers, among any number of pairs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec, resolve
from chiralize.errors import MirrorError
from chiralize.symmetry.action import act

PARTS = [f"part{number}" for number in range(12)]
INPUTS = [f"{side}_{part}" for part in ("hip", "knee", "foot") for side in "lr"]


def markers(last: str) -> str:
    """A skeleton of 24 markers, twelve on each side. last: the pairs of parts 10 and 11."""
    joints = [f"{side}_{part}" for side in "lr" for part in PARTS]
    pairs = [f"[l_{part}, r_{part}]" for part in PARTS[:10]]
    listed = ", ".join([*pairs, last])
    return f"{{joints: [{', '.join(joints)}], pairs: [{listed}], dims: [x, y, z], lateral: x}}"


RIGHT = "[l_part10, r_part10], [l_part11, r_part11]"
CROSSED = "[l_part10, r_part11], [l_part11, r_part10]"


def spec(last: str) -> str:
    return f"""
joints: [{", ".join(INPUTS)}]
pairs: [[l_hip, r_hip], [l_knee, r_knee], [l_foot, r_foot]]
dims: [x, y, z]
lateral: x
inputs: [{{layout: "b f", fields: [{{joints: keypoints}}, {{scalar: [height]}}]}}]
outputs: [{{layout: "b f", skeleton: {markers(last)}, fields: [{{joints: markers}}]}}]
"""


class Markers(nn.Module):
    """From six keypoints and a height to 24 markers, nearly equivariant under the right pairs."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.net = nn.Sequential(nn.Linear(19, 32), nn.Tanh(), nn.Linear(32, 72))
        for weight in self.net.parameters():
            weight.data = torch.randn_like(weight) ** 3 / 3
        self.lean = nn.Linear(19, 72)
        self.lean.weight.data *= 0.3
        right = resolve(parse_spec(spec(RIGHT)), [(1, 19)], [(1, 72)])
        assert right.inputs[0] is not None and right.outputs[0] is not None
        self.on_inputs, self.on_outputs = right.inputs[0], right.outputs[0]

    def forward(self, x: Tensor) -> Tensor:
        """Markers of every sample, "b 72"."""
        both = (self.net(x) + act(self.net(act(x, self.on_inputs)), self.on_outputs)) / 2
        return both + self.lean(x)


def convert(last: str) -> nn.Module:
    given = inputs()
    return chiralize.chiralize(Markers(), parse_spec(spec(last)), (given[:2],), calibration=given, method="average")


def inputs() -> Tensor:
    return torch.randn(200, 19, generator=torch.Generator().manual_seed(1)) ** 3 / 2


def test_crossed_pairs_are_named_by_their_joints() -> None:
    with pytest.raises(MirrorError) as caught:
        convert(CROSSED)
    assert caught.value.remedy.startswith(
        "try markers.l_part10 paired with markers.r_part10, markers.l_part11 paired with markers.r_part11 in output 0"
    )


def test_right_pairs_are_left_alone() -> None:
    report = chiralize.chirality(convert(RIGHT)).report
    assert report is not None and report.evidence.fit is not None and report.evidence.fit.is_confirmed
    assert "paired with" not in str(report.evidence)
