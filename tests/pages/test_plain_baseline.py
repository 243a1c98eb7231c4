"""The accuracy benchmark's plain baseline, and the jobs that its processes share."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from benchmarks.accuracy import together
from benchmarks.accuracy.pruning import distilled, products, pruned
from benchmarks.accuracy.tasks import load_task
from benchmarks.accuracy.teachers import RECIPES, Teacher, answers, both_views

needs_data = pytest.mark.skipif("CHIRALIZE_DATA" not in os.environ, reason="CHIRALIZE_DATA is not set")


def _untrained(name: str) -> Teacher:
    torch.manual_seed(0)
    return Teacher(name, True, 0, RECIPES[name].build().eval(), load_task(RECIPES[name].task), {}, {}, 0.0, 0.0)


@needs_data
@pytest.mark.thorough
@pytest.mark.parametrize("name", ["frame-128", "mixer-32", "joints-64"])
def test_units_that_belong_together_go_together(name: str) -> None:
    """With all of them kept, the answers stay; units that the answers do not depend on go first."""
    teacher = _untrained(name)
    inputs = teacher.task.calibration(64)
    assert torch.equal(answers(pruned(teacher, inputs, 1.0), inputs), answers(teacher.network, inputs))
    half = pruned(teacher, inputs, 0.5)
    assert 0.5 <= products(half, inputs[:1]) / products(teacher.network, inputs[:1]) < 0.57


@pytest.mark.thorough
@needs_data
def test_unused_units_are_pruned_and_distilling_comes_closer_to_both_views() -> None:
    teacher = _untrained("tanh-128")
    layers = teacher.network.layers
    assert isinstance(layers, torch.nn.Sequential)
    for number in (0, 2, 4):  # every second unit of each layer is cut off from what follows
        reader = layers[number + 2]
        assert isinstance(reader, torch.nn.Linear)
        reader.weight.data[:, ::2] = 0
    inputs = teacher.task.calibration(256)
    small = pruned(teacher, inputs, 0.35)
    torch.testing.assert_close(answers(small, inputs), answers(teacher.network, inputs))
    mean = sum(both_views(teacher.network, teacher.task, inputs)) / 2
    before = float((answers(small, inputs) - mean).square().mean())
    assert float((answers(distilled(small, teacher, inputs, 1.0), inputs) - mean).square().mean()) < 0.5 * before


@dataclass
class _Sum:
    """Picklable work."""

    numbers: tuple[int, ...]

    def __call__(self) -> int:
        if not self.numbers:
            raise ValueError("nothing to add")
        return sum(self.numbers)


def test_jobs_wait_for_what_they_need_and_failures_are_told(capfd: pytest.CaptureFixture[str]) -> None:
    jobs = [
        together.Job("late", _Sum((5,)), needs=["early"]),
        together.Job("early", _Sum((1, 2))),
        together.Job("broken", _Sum(())),
        together.Job("never", _Sum((7,)), needs=["broken"]),
        together.Job("there", _Sum((9,))),
    ]
    order: list[tuple[Any, int]] = []
    done: set[Any] = {"there"}
    count = together.run(jobs, done, lambda job, result: order.append((job.key, result)), workers=2, seconds=30)
    assert count == 2 and order == [("early", 3), ("late", 5)] and done == {"there", "early", "late"}
    assert "broken" in capfd.readouterr().err


def test_no_job_begins_when_the_time_is_up() -> None:
    assert together.run([together.Job(0, _Sum((1,)))], set(), lambda job, result: None, workers=1, seconds=0) == 0
