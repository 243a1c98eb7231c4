"""The benchmark's networks and teachers: right shapes, one mirror per task, files that come back as they were."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.accuracy import teachers
from benchmarks.accuracy.networks import Forecaster
from benchmarks.accuracy.tasks import load_task
from chiralize import chiralize

INPUTS = {"forecasting": (8, 13, 2), "recognition": (64, 18, 3), "lifting-1": (17, 2)}
OUTPUTS = {"forecasting": (16, 13, 2), "recognition": (12,)}
needs_data = pytest.mark.skipif("CHIRALIZE_DATA" not in os.environ, reason="CHIRALIZE_DATA is not set")


@pytest.mark.parametrize("name", list(teachers.RECIPES))
def test_networks_answer_in_the_shape_of_their_task(name: str) -> None:
    recipe = teachers.RECIPES[name]
    sizes = INPUTS.get(recipe.task) or (int(recipe.task.removeprefix("lifting-")), 17, 2)
    network = recipe.build().eval()
    assert network(torch.randn(3, *sizes)).shape == (3, *OUTPUTS.get(recipe.task, (17, 3)))


def test_the_forecast_starts_where_teacher_forcing_does() -> None:
    """The first frame of the roll-out is what training saw."""
    network, poses = Forecaster(8).eval(), torch.randn(2, 8, 13, 2)
    torch.testing.assert_close(network(poses)[:, 0], network.following(poses)[:, -1])


@needs_data
def test_a_teacher_comes_back_as_it_was_and_is_not_trained_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(teachers.RECIPES, "tanh-128", replace(teachers.RECIPES["tanh-128"], steps=3))
    command = ["--cache", str(tmp_path), "--names", "tanh-128", "--seeds", "4", "--plain"]
    assert teachers.main(command) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["tanh-128-plain-4.pt"]
    teacher = teachers.load_teacher(tmp_path, "tanh-128", flips=False, seed=4)
    found = teachers.evaluate(teacher.network, teacher.task)
    assert found["figures"] == pytest.approx(teacher.figures) and found["gap"] == pytest.approx(teacher.gap)
    capsys.readouterr()
    assert teachers.main(command) == 0
    assert "mpjpe" not in capsys.readouterr().out


@needs_data
@pytest.mark.parametrize("name", ["tanh-128", "temporal-27", "recogniser-gcn-32"])
def test_the_mirror_of_the_data_is_the_mirror_of_the_specification(name: str) -> None:
    """`lift` is equivariant to the specification's mirror: so it must be to the task's."""
    recipe = teachers.RECIPES[name]
    task = load_task(recipe.task)
    network, inputs = recipe.build().eval(), task.calibration(5)
    direct, twin = teachers.both_views(chiralize(network, task.spec, (task.example(),), method="lift"), task, inputs)
    torch.testing.assert_close(direct, twin)
    torch.testing.assert_close(direct, sum(teachers.both_views(network, task, inputs)) / 2)
