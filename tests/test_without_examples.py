"""The Python interface without example inputs: derived, brought along, or remembered."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import load_spec, parse_spec
from chiralize.errors import UsageError
from tests.support.command import BODY, LIFTER, library_warnings, network, poses

POSE = parse_spec(LIFTER)
TAKEN = "taken as b j d = 1,5,2; example_inputs says otherwise"


def test_example_inputs_are_optional_everywhere() -> None:
    for function in (chiralize.chiralize, chiralize.verify, chiralize.plan, chiralize.audit):
        assert inspect.signature(function).parameters["example_inputs"].default == ()
        assert "example_inputs" in (function.__doc__ or "")


@pytest.mark.filterwarnings("ignore::chiralize.errors.ChiralizeWarning")
def test_a_model_and_a_spec() -> None:
    chiral: Any = chiralize.chiralize(network(), POSE, method="match")
    assert chiral.chirality.report.notes[0] == TAKEN
    report = chiralize.verify(chiral)
    assert report.passed and not any(note.startswith("taken") for note in report.notes)
    assert chiralize.verify(network(), POSE).notes[0] == TAKEN
    assert chiralize.plan(network(), POSE).notes[0] == TAKEN
    assert chiralize.audit(network(), POSE).notes[0] == TAKEN


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore::chiralize.errors.ChiralizeWarning")
def test_a_result_remembers_its_inputs_and_its_entry() -> None:
    chiral: Any = chiralize.chiralize(network(), POSE, poses(4), method="match", entry="encode")
    assert chiral.chirality.passport.example[0][0].shape == (4, 5, 2)
    assert chiralize.verify(chiral).passed
    lifted = chiralize.chiralize(network(), POSE, poses(4), method="lift")
    assert chiralize.verify(lifted).passed


@pytest.mark.filterwarnings("ignore::chiralize.errors.ChiralizeWarning")
def test_a_program_brings_its_own() -> None:
    with library_warnings():
        program = torch.export.export(network(), (poses(),), strict=False)
    report = chiralize.verify(program, POSE)
    assert not report.passed and not any(note.startswith("taken") for note in report.notes)


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore::chiralize.errors.ChiralizeWarning")
def test_states_are_remembered_too() -> None:
    policy = network("Policy")
    spec = load_spec(parse_spec(BODY), input_layouts=["b j d", "free", "state"], output_layouts=["b j d", "state"])
    chiral: Any = chiralize.chiralize(policy, spec, method="match")
    remark = chiral.chirality.report.notes[0]
    assert remark == "taken as pose: b j d = 1,5,2; speed: free = 1,1; h: state = 1,6; example_inputs says otherwise"
    assert chiralize.verify(chiral).passed


def test_no_model_is_told_as_before() -> None:
    with pytest.raises(UsageError, match="give an instance"):
        chiralize.verify(nn.Linear, POSE)  # type: ignore[arg-type]


class Unrelated(nn.Module):
    """34 numbers that are no pose, for which any skeleton of 17 joints fits by size alone."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(34, 40), nn.Tanh(), nn.Linear(40, 51))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.flatten(1)).unflatten(1, (17, 3))


def test_numbers_that_are_no_pose_are_not_called_equivariant() -> None:
    torch.manual_seed(0)
    report = chiralize.verify(Unrelated().eval(), "h36m")
    assert not report.passed and report.notes[0].startswith("taken as b j d = 1,17,2;")
