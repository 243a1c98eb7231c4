"""`plan` says what `convert` would do: blocked where it refuses, and only there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.commands.convert import Request, convert
from chiralize.commands.plan import plan
from chiralize.errors import UnsupportedError, UsageError
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from tests.support.command import Shell, network, save_program, working_shell
from tests.support.small_body import POSE, ROUNDING, Net, normal, residual, trained

SPEC, ARGS = parse_spec(POSE), (normal(3, 6, 2),)


def _norm_over_signs() -> nn.Module:
    return trained(Net(lambda net, x: net.last(net.norm(x)), norm=nn.LayerNorm(2), last=nn.Linear(2, 2)))


def _noisy() -> nn.Module:
    return trained(Net(lambda net, x: net.last(x) + torch.rand_like(x), last=nn.Linear(2, 2)))


def _plain() -> nn.Module:
    return trained(Net(lambda net, x: net.last(net.first(x).relu()), first=nn.Linear(2, 8), last=nn.Linear(8, 2)))


class WithoutGraph(nn.Module):
    """Neither torch.export nor a trace goes through numpy."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        if torch.jit.is_tracing():  # pyright: ignore[reportPrivateImportUsage]
            raise RuntimeError("not here")
        return self.last(torch.from_numpy(x.detach().numpy()))


def _without_graph() -> nn.Module:
    return trained(WithoutGraph())


@cache
def ready(build: Callable[[], nn.Module]) -> Network:
    return prepare(build(), SPEC, ARGS)


@pytest.mark.one_in(12)
@pytest.mark.parametrize("method", ["auto", "average", "reduce", "match", "project"])
@pytest.mark.parametrize("build", [_norm_over_signs, _noisy, _plain, _without_graph])
def test_blocked_where_the_conversion_is_refused(build: Callable[[], nn.Module], method: str) -> None:
    report = plan(ready(build), "net", method)
    calls = [((part,), {}) for part in normal(48, 6, 2).split(3)]
    try:
        found = convert(ready(build), "net", Request(method, calibration=calls, samples=1, rounds=0)).module
    except UnsupportedError as error:
        assert report.blocked and error.facts in report.blocked[0]
    else:
        assert not report.blocked and residual(found, (3, 6, 2)) <= ROUNDING


def test_what_runs_on_both_views_says_why() -> None:
    report = chiralize.plan(_norm_over_signs(), SPEC, ARGS, method="auto")
    note = next(
        note for note in report.notes if note.startswith("one pass cannot do it, so that both views run: norm (")
    )
    assert "entries are negated" in note and not any("on-blocked" in own for own in report.notes)
    assert {row.action for row in report.rows} == {"keep, run on both views"}
    assert report.cost.macs_after == 2 * report.cost.macs_before


def test_reduce_is_planned_before_it_chooses() -> None:
    report = chiralize.plan(_plain(), SPEC, ARGS, method="reduce")
    assert any(note.startswith("planned at width 0.5") for note in report.notes)
    assert [row.action for row in report.rows if row.op == "linear.default"] == ["refit weights"] * 2
    assert not any(row.distance for row in report.rows)


def test_reduce_and_a_part_that_cannot_be_equivariant() -> None:
    """It averages if that is asked for; it cannot average, and says so before any work."""
    net, data = _norm_over_signs(), normal(50, 6, 2)
    found = chiralize.chiralize(net, SPEC, ARGS, method="reduce", calibration=data, on_blocked="average-all")
    assert found.chirality.report.form == "two-view"  # type: ignore[union-attr]
    assert any(note.startswith("averaged as a whole: norm (") for note in found.chirality.report.notes)  # type: ignore
    with pytest.raises(UsageError, match="reduce cannot average a part"):
        chiralize.chiralize(net, SPEC, ARGS, method="reduce", calibration=data, on_blocked="average")


@pytest.mark.parametrize("method", ["match", "auto"])
def test_units_are_paired_by_the_inputs_that_there_are(method: str) -> None:
    """As `convert` pairs them; by weights alone others are partners."""
    inputs = normal(400, 6, 2)
    found: Any = chiralize.chiralize(_plain(), SPEC, ARGS, method="match", calibration=inputs, force=True)
    chosen = found.chirality.report.changes.choices
    planned = chiralize.plan(_plain(), SPEC, ARGS, method=method, calibration=inputs)
    assert [choice.reason for choice in planned.choices] == ["matched by activations"]
    assert [choice.action for choice in planned.choices] == [choice.action for choice in chosen]
    without = chiralize.plan(_plain(), SPEC, ARGS, method=method)
    assert [choice.reason for choice in without.choices] == ["matched by weights"]
    assert without.choices[0].action != planned.choices[0].action and without.rows != planned.rows


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    yield from working_shell(tmp_path, capsys, monkeypatch)


def test_inputs_in_a_file(shell: Shell) -> None:
    """Pairs are those of the inputs; a file that does not fit is refused as by `convert`."""
    save_program(network(hidden=8), shell.folder / "net.pt2")
    rng = np.random.default_rng(0)
    np.save("poses.npy", rng.normal(size=(200, 5, 2)).astype(np.float32))
    np.save("wrong.npy", rng.normal(size=(200, 7, 2)).astype(np.float32))
    words = ("plan", "net.pt2", "--skeleton", "lifter.yaml")
    assert "matched by weights" in shell(*words).out
    done = shell(*words, "--calibration", "poses.npy")
    assert done.status == 0 and "matched by activations" in done.out, done.err
    refused = shell(*words, "--calibration", "wrong.npy")
    converted = shell("convert", *words[1:], "--calibration", "wrong.npy")
    lines = [line for line in refused.err.splitlines() if "wrong.npy" in line]
    assert refused.status == converted.status == 2 and lines and lines[0] in converted.err
