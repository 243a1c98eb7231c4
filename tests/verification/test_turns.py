"""Rotations taken for positions: what the network says, and what is said of answers that are rotations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec, resolve
from chiralize.body.tensors.fields import other_fields
from chiralize.errors import MirrorError
from chiralize.symmetry.action import act
from chiralize.verification.evidence.reflection import reflection_findings
from chiralize.verification.evidence.turns import as_rotations, rotation_findings

BODY = """
joints: [neck, left_hip, right_hip, left_knee, right_knee, left_foot, right_foot]
pairs: [[left_hip, right_hip], [left_knee, right_knee], [left_foot, right_foot]]
"""
POSITIONS = BODY + "inputs: [b j d]\noutputs: [b j d]\n"
ROTATIONS = (
    BODY
    + """
inputs: [{layout: b j d, kind: rotation, order: axis_angle}]
outputs: [{layout: b j d, kind: rotation, order: axis_angle}]
"""
)


class Symmetric(nn.Module):
    """A network on axes times angles that knows both sides."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(21, 32), nn.Tanh(), nn.Linear(32, 21), nn.Unflatten(1, (7, 3)))
        for weight in self.net.parameters():
            weight.data = torch.randn_like(weight) ** 3 / 3
        (on_poses,) = resolve(parse_spec(ROTATIONS), [(1, 7, 3)], [(1, 7, 3)]).inputs
        assert on_poses is not None
        self.on_poses = on_poses

    def forward(self, x: Tensor) -> Tensor:
        """(t(x) + T t(T x)) / 2."""
        return (self.net(x) + act(self.net(act(x, self.on_poses)), self.on_poses)) / 2


def test_rotations_taken_for_positions_are_named() -> None:
    """The negated x of positions is no mirror of rotations; real inputs tell."""
    x = torch.rand(300, 7, 3, generator=torch.Generator().manual_seed(1)) ** 3 * torch.linspace(0.5, 2, 3) - 0.2
    with pytest.raises(MirrorError) as caught:
        chiralize.chiralize(Symmetric(), parse_spec(POSITIONS), (x[:2],), calibration=x, method="average")
    assert "`kind: rotation, order: axis_angle` of input 0, output 0" in str(caught.value)


def test_every_order_is_tried_alone_and_all_tensors_together() -> None:
    outputs = "outputs: [b j d, {layout: b j d, dims: [a, b, c, d], negate: [d]}]"
    spec = parse_spec(BODY + "inputs: [b j d]\n" + outputs)
    resolved = resolve(spec, [(2, 7, 3)], [(2, 7, 3), (2, 7, 4)])
    names = [name for name, _ in as_rotations(resolved)]
    positions = "`kind: rotation, order: axis_angle` of input 0, output 0"
    together = f"{positions} and `kind: quaternion, order: wxyz` of output 1"
    assert names[0] == together and len(names) == 5
    turned = [name for name, _ in as_rotations(resolve(parse_spec(ROTATIONS), [(2, 7, 3)], [(2, 7, 3)]))]
    assert turned == ["`kind: vector` of input 0, output 0", "`kind: vector` of input 0", "`kind: vector` of output 0"]
    by_row = BODY + "outputs: [{layout: b j d, kind: rotation, order: 6d_by_row}]"
    ((name, _),) = as_rotations(resolve(parse_spec(by_row), [], [(2, 7, 6)]))
    assert name == "`kind: rotation, order: 6d_by_column` of output 0"


def test_blocks_of_rotations_are_tried_in_their_other_order() -> None:
    spec = parse_spec(
        BODY
        + "outputs: [{fields: [{bodies: [neck, left_foot, right_foot], kind: rotation, order: 6d_by_row, name: r}]}]"
    )
    assert spec.outputs is not None and spec.outputs[0].fields is not None
    assert "r in the order 6d_by_column" in [words for words, _ in other_fields(spec.outputs[0].fields)]


def test_signs_of_turns_are_no_wrong_mirror_where_they_are_called_so() -> None:
    """In `signs` they are questioned, with the words that settle it."""
    given = BODY + "inputs: [{layout: b j d, signs: [1, -1, -1]}]\n"
    (warning,) = reflection_findings(resolve(parse_spec(given), [(2, 7, 3)], [])).warnings
    assert (
        "no reflection of space" in warning and "write kind: rotation, order: axis_angle in place of signs" in warning
    )
    assert not reflection_findings(resolve(parse_spec(ROTATIONS), [(2, 7, 3)], [(2, 7, 3)])).warnings


def test_means_of_rotations_are_none() -> None:
    of_joints = resolve(parse_spec(ROTATIONS), [(2, 7, 3)], [(2, 7, 3)])
    fields = "outputs: [{fields: [{vector: v}, {feet: [left, right], kind: quaternion, order: wxyz, name: q}]}]"
    of_fields = resolve(parse_spec(BODY + fields), [], [(2, 11)])
    for resolved in (of_joints, of_fields):
        (note,) = rotation_findings(resolved).notes
        assert note.startswith("output 0: rotations. The mean of two is none")
    assert not rotation_findings(resolve(parse_spec(POSITIONS), [(2, 7, 3)], [(2, 7, 3)])).notes
