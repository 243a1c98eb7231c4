"""The benchmark's networks and teachers: right shapes, one mirror per task, files that come back as they were."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.accuracy import plots, summary, table, teachers
from benchmarks.accuracy.networks import Forecaster
from benchmarks.accuracy.tasks import OneSidedLifting, load_task
from chiralize import audit, chiralize

INPUTS = {"forecasting": (8, 13, 2), "recognition": (64, 18, 3), "lifting-1": (17, 2), "lifting-1-left": (17, 2)}
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


def test_the_page_has_the_tables_that_the_results_make() -> None:
    """`python -m benchmarks.accuracy.table --write docs/results.md` mends it."""
    page = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")
    assert table.embedded(page, table.DEFAULTS_START, table.DEFAULTS_END) == table.defaults()
    assert table.embedded(page, table.PLAIN_START, table.PLAIN_END) == table.plain()
    assert table.embedded(page) == table.tables()
    assert table.embedded(page.replace(" mm | 0", " cm | 0")) != table.tables()
    front = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert table.embedded(front, table.FRONT_START, table.FRONT_END) == table.front()


def test_steps_are_those_of_the_page() -> None:
    page = " ".join((Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8").split())
    assert "1,800 steps for lifters of single frames with up to 512 units, 1,000 for transformers over frames" in page
    assert "400 for the graph recogniser, 600 for the others." in page
    small = ("frame-128", "frame-256", "layer-256", "frame-512", "mlp-512", "tanh-128", "one-sided-512")
    said = dict.fromkeys(small, 1800) | {"frames-128": 1000, "frames-post-128": 1000, "recogniser-gcn-32": 400}
    assert {name: own.distill for name, own in teachers.RECIPES.items()} == {
        name: said.get(name, 600) for name in teachers.RECIPES
    }


def test_the_page_says_what_goes_without_inputs() -> None:
    page = " ".join((Path(__file__).parents[2] / "docs" / "methods.md").read_text(encoding="utf-8").split())
    found = summary.lines(summary.read())
    half, whole = (found[f"frame-{width}", True, "reduce 0.5 without inputs"].change for width in (512, 1024))
    assert f"{half:.3f} of the original's error at width ½ for 512 channels, {whole:.3f} for 1024" in page


def test_medians_over_seeds(tmp_path: Path) -> None:
    """Ratios are to the teacher of the same seed, points of accuracy differences; refused conversions are left out."""
    head = "network,flips,seed,way,metric,error,ratio,rho,gap,parameters,macs,seconds,note\n"
    rows = "".join(
        f"frame-128,True,{seed},{way},mpjpe_mm,{error},{error / own},1,0.1,{count},{macs},5,\n"
        for seed, own in ((0, 50.0), (1, 60.0), (2, 70.0))
        for way, error, count, macs in (("teacher", own, 100, 1.0), ("reduce 0.5", own + 3 * seed, 80, 1.2))
    )
    scores = "".join(
        f"recogniser-gru-128,False,0,{way},top1_percent,{error},{error / 60},1,0.1,100,2,5,\n"
        for way, error in (("teacher", 60.0), ("average", 59.5), ("match", math.nan))
    )
    (tmp_path / "rows.csv").write_text(head + rows + scores)
    found = summary.lines(summary.read(tmp_path / "rows.csv"))
    half = found["frame-128", True, "reduce 0.5"]
    assert (half.seeds, half.error, half.parameters) == (3, 63.0, 0.8)
    assert half.change == pytest.approx(63 / 60) and half.macs == 1.2
    lift = found["recogniser-gru-128", False, "average"]
    assert lift.is_score and lift.change == pytest.approx(-0.5) and lift.macs == 2
    assert ("recogniser-gru-128", False, "match") not in found


def test_two_passes_and_what_was_not_measured_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of `auto`, on how many seeds it is an average; a column without a figure is left out."""
    head = "network,flips,seed,way,metric,error,ratio,rho,gap,parameters,macs,seconds,note,products,worst_joint\n"
    rows = "".join(
        f"mlp-512,True,{seed},{way},mpjpe_mm,50,{ratio},1,0.1,100,1,5,{note},{products},\n"
        for seed, taken in ((0, "average"), (1, "reduce at width 0.5"))
        for way, ratio, note, products in (
            ("teacher", 1, "", 1),
            ("auto", 0.98, taken, 2),
            ("reduce 0.5", 1.01, "", 0.5),
        )
    )
    (tmp_path / "rows.csv").write_text(head + rows)
    monkeypatch.setattr(table, "DEFAULTS", tmp_path / "rows.csv")
    first, cost = table.defaults().split("What that costs:")
    assert "| MLP, 4 × 512, no norm | 2 | 50.0 mm | 0.980 (1 of 2: 2 passes) | 1.010 |" in first
    assert "| network | products, ½ | seconds, `auto` |" in cost and "| 0.50 | 5 |" in cost and "joint" not in cost


@pytest.mark.thorough
def test_figures_are_the_same_for_the_same_results(tmp_path: Path) -> None:
    """A newer matplotlib may draw them otherwise, so that the files are not compared with those of the repository."""
    for draw, words in ((plots.dial, "frame lifter, 128"), (plots.rho, "bound of auto: 1.25")):
        for name in ("first", "second"):
            draw(tmp_path / f"{name}.svg")
        first, second = ((tmp_path / f"{name}.svg").read_text(encoding="utf-8") for name in ("first", "second"))
        assert first == second and words in first


@pytest.mark.thorough
@needs_data
def test_people_who_face_left_are_one_side() -> None:
    """Nobody faces left in the mirror; `audit` tells such data from those of both sides."""
    task, both = load_task("lifting-1-left"), load_task("lifting-1")
    assert isinstance(task, OneSidedLifting)
    targets = task.draw(np.random.default_rng(0), 500).targets
    assert task.faces_left(targets).all() and not task.faces_left(task.mirror_targets(targets)).any()
    network = teachers.RECIPES["tanh-128"].build().eval()
    inputs = [own.calibration(600) for own in (task, both)]
    sides = [audit(network, task.spec, (own[:50],), data=own).leanings[0].side for own in inputs]
    assert sides[0] is not None and sides[1] is not None and sides[0] > 0.9 > 0.7 > sides[1]


@pytest.mark.thorough
@needs_data
def test_from_scratch_is_equivariant_from_the_first_step_to_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = replace(teachers.RECIPES["frame-128"], steps=5)
    task = load_task(recipe.task)
    network = teachers.train(recipe, False, 0, task, chiral=True)
    assert teachers.gap(*teachers.both_views(network, task, task.calibration(200))) < 1e-5
    assert teachers.gap(*teachers.both_views(teachers.train(recipe, False, 0, task), task, task.calibration(200))) > 0.1


@pytest.mark.thorough
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


@pytest.mark.thorough
@needs_data
@pytest.mark.parametrize("name", ["lifting-1", "lifting-27", "recognition"])
def test_the_mirror_of_the_data_is_the_mirror_of_the_specification(name: str) -> None:
    """`average` is equivariant to the specification's mirror: so it must be to the task's. Inputs move answers."""
    task = load_task(name)
    inputs, answer = task.calibration(5), OUTPUTS.get(name, (17, 3))
    linear = nn.Linear(inputs[0].numel(), math.prod(answer))
    network = nn.Sequential(nn.Flatten(), linear, nn.Tanh(), nn.Unflatten(1, answer)).eval()
    lifted = chiralize(network, task.spec, (task.example(),), method="average", samples=1)
    direct, twin = teachers.both_views(lifted, task, inputs)
    torch.testing.assert_close(direct, twin)
    torch.testing.assert_close(direct, sum(teachers.both_views(network, task, inputs)) / 2)
