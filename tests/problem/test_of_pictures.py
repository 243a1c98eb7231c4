"""Remarks on pictures speak of colours, those on poses of joints and units."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import ConversionSpec, parse_spec
from chiralize.errors import DataFileError
from chiralize.graph.running import Call
from chiralize.methods.registry import method_of
from chiralize.problem.data.checks import judged
from chiralize.problem.data.of_pictures import are_pictures, to_check
from chiralize.problem.preparation import prepare
from chiralize.problem.problem import Problem
from chiralize.problem.request import Request

PICTURES = "{skeleton: coco, inputs: ['b c h ~w'], outputs: ['b j h ~w']}"
POSES = "{skeleton: coco, inputs: [b j d], outputs: [b j d]}"
BESIDE = "{skeleton: coco, inputs: ['b c h ~w', b j d], outputs: ['b j h ~w']}"


class Maps(nn.Module):
    """Pictures to maps; `normed` remembers what the pictures in training were like."""

    def __init__(self, normed: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.norm = nn.BatchNorm2d(3) if normed else nn.Identity()
        self.conv = nn.Conv2d(3, 17, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.norm(x)).tanh()


class Beside(Maps):
    """The same with poses beside the pictures."""

    def forward(self, x: Tensor, poses: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x) + poses.mean((1, 2))[:, None, None, None]


def judged_by(net: nn.Module, pictures: Tensor, spec: ConversionSpec) -> Problem:
    calls: list[Call] = [((part,), {}) for part in pictures.split(8)]
    network = prepare(net.eval(), spec, calls[0][0])
    return judged(Problem.of(network, Request("match", calibration=calls), method_of("match")))


def test_a_note_where_nothing_was_remembered() -> None:
    problem = judged_by(Maps(False), torch.rand(64, 3, 5, 5), parse_spec(PICTURES))
    (note,) = [remark for remark in problem.batches.remarks if "hold the calibration inputs against" in remark]
    assert "their axes, order of colours and range of colours are not checked" in note


def test_pictures_of_another_range() -> None:
    with pytest.raises(DataFileError) as caught:
        judged_by(Maps(True), 255 * torch.rand(64, 3, 5, 5), parse_spec(PICTURES))
    assert "check axes, order of colours, range of colours and normalisation of the calibration" in caught.value.remedy


def test_poses_beside_pictures_have_units() -> None:
    pictures, poses = torch.rand(2, 3, 5, 5), torch.rand(2, 17, 3)
    alone = prepare(Maps(False).eval(), parse_spec(PICTURES), (pictures,)).resolved
    beside = prepare(Beside(False).eval(), parse_spec(BESIDE), (pictures, poses)).resolved
    without = prepare(nn.Identity(), parse_spec(POSES), (poses,)).resolved
    assert [are_pictures(each) for each in (alone, beside, without)] == [True, False, False]
    assert to_check(without) == ("joint order", "axes", "units")
