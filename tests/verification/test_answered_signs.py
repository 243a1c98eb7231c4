"""Signs of answers that T gives wrongly are read off the answers, however many others there are beside them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec, resolve
from chiralize.errors import MirrorError
from chiralize.symmetry.action import act
from tests.support.cases import mainly

POINTS = ", ".join(f"{side}_{number}" for number in range(20) for side in "lr")
RIGHT = "{signs: {yaw: -1, pitch: 1, roll: -1}, name: head}"


def spec(head: str) -> str:
    return f"""
{{joints: [{POINTS}], pairs: infer, dims: [x, y], lateral: x,
 inputs: [{{layout: "b f", fields: [{{joints: keypoints}}]}}],
 outputs: [{{layout: "b f", fields: [{{joints: points}}, {head}]}}]}}
"""


class Face(nn.Module):
    """From forty landmarks to forty points and three angles in degrees, nearly equivariant under the right signs.

    crooked: of a camera that looks down a little: the network answers a roll that is off by so many degrees.
    """

    def __init__(self, crooked: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.net = nn.Sequential(nn.Linear(80, 32), nn.Tanh(), nn.Linear(32, 83))
        for weight in self.net.parameters():
            weight.data = torch.randn_like(weight) ** 3 / 3
        self.lean = nn.Linear(80, 83)
        self.lean.weight.data *= 0.3
        self.register_buffer("unit", torch.tensor([1.0] * 80 + [20.0, 15.0, 10.0]))
        self.register_buffer("off", torch.tensor([0.0] * 82 + [crooked]))
        right = resolve(parse_spec(spec(RIGHT)), [(1, 80)], [(1, 83)])
        assert right.inputs[0] is not None and right.outputs[0] is not None
        self.on_inputs, self.on_outputs = right.inputs[0], right.outputs[0]

    def forward(self, x: Tensor) -> Tensor:
        """Points and angles of every sample, "b 83"."""
        both = (self.net(x) + act(self.net(act(x, self.on_inputs)), self.on_outputs)) / 2
        return (both + self.lean(x)) * self.unit + self.off


def convert(head: str, crooked: float = 0.0) -> nn.Module:
    given = torch.randn(200, 80, generator=torch.Generator().manual_seed(1)) ** 3 / 2
    return chiralize.chiralize(
        Face(crooked), parse_spec(spec(head)), (given[:2],), calibration=given, method="average", force=crooked > 0
    )


@pytest.mark.one_in(3)
@pytest.mark.parametrize(
    ("head", "words"),
    [
        ("{euler: ypr, name: head}", "with y as the lateral axis, "),
        ("{command: [yaw, pitch, roll], name: head}", "with y as the lateral axis, "),
        ("{signs: [1, 1, -1], name: head}", "the other sign of head[0] of output 0"),
        ("{signs: {yaw: -1, pitch: -1, roll: -1}, name: head}", "the other sign of head.pitch of output 0"),
        ("{scalar: [yaw, pitch, roll], name: head}", "the other sign of head.yaw of output 0"),
    ],
)
def test_three_angles_among_eighty_coordinates(head: str, words: str) -> None:
    """The gap of the whole output hardly tells; the angles answer against their signs."""
    with pytest.raises(MirrorError) as caught:
        convert(head)
    assert words in caught.value.facts


@pytest.mark.parametrize("crooked", mainly([[0.0], [60.0]], [[60.0]]))
def test_right_signs_are_left_alone(crooked: float) -> None:
    """Also of an angle that is off by a constant, whose mirror image is as far off on the other side."""
    report = chiralize.chirality(convert(RIGHT, crooked)).report
    assert report is not None and "the other sign" not in " ".join(report.evidence.warnings)
