"""Built-in poses that are fitted on beside the user's inputs: what they make up for, and where there are none."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.commands.convert import Request, convert
from chiralize.problem.data import posed, scattered
from chiralize.problem.data.batches import Batches
from chiralize.problem.data.posed import with_poses
from chiralize.problem.network import Network
from chiralize.problem.poses import builtin
from chiralize.problem.preparation import prepare
from tests.support.lifters import error, lifter, pairs
from tests.support.problems import posed as problem_of

SPEC = parse_spec("skeleton: h36m\ninputs: [{layout: b j d, dims: [x, y]}]\noutputs: [{layout: b j d}]\n")


@cache
def ready(network: nn.Module) -> Network:
    return prepare(network, SPEC, (pairs(64, 5)[0][:2],))


def batches(inputs: Tensor) -> list[tuple[tuple[Tensor], dict]]:
    return [((part,), {}) for part in inputs.split(40)]


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builtin, "SAMPLES", 1200)
    monkeypatch.setattr(scattered, "SAMPLES", 1000)


def people_of_one_kind() -> Tensor:
    """Poses near one another."""
    poses = pairs(640, 21)[0]
    return poses[:1] + 0.3 * (poses - poses[:1])


@pytest.mark.thorough
def test_they_make_up_for_narrow_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half the width, judged on poses of all kinds; without them the same fit is much worse."""
    request = Request("reduce", width=0.5, calibration=batches(people_of_one_kind()), rounds=0, samples=1, force=True)
    made = convert(ready(lifter()), "net", request)
    base = error(lifter())
    assert error(made.module) < 1.06 * base
    assert any("built-in poses, too: image coordinates over half the width; " in note for note in made.report.notes)
    monkeypatch.setattr("chiralize.commands.convert.with_poses", lambda problem: problem)
    assert error(convert(ready(lifter()), "net", request).module) > 1.2 * base


def test_figures_are_of_the_given_inputs_alone() -> None:
    calls = batches(people_of_one_kind())
    made = with_poses(problem_of(ready(lifter()), Request("reduce", calibration=calls))).batches
    assert len(made.posed) == 29 and {len(call[0][0]) for call in made.posed} == {40}
    assert [*made.held_out] == [*Batches(calls).held_out] and made.source == "held-out calibration inputs"
    assert [*made.fitted] == [*made.seen, *made.posed[:24]]
    assert [*made.fitted_held_out] == [*made.held_out, *made.posed[24:]]


def none_for(network: nn.Module, method: str, calls: Sequence) -> bool:
    return not with_poses(problem_of(ready(network), Request(method, calibration=calls))).batches.posed


def test_none_where_nothing_is_fitted_or_nothing_bears_them_out() -> None:
    calls = batches(people_of_one_kind())
    assert none_for(lifter(), "average", calls) and none_for(lifter(), "reduce", ())
    untrained = nn.Sequential(nn.Flatten(), nn.Linear(34, 64), nn.ReLU(), nn.Linear(64, 51), nn.Unflatten(1, (17, 3)))
    assert none_for(untrained, "reduce", calls)


def test_processes_share_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Together they have what one process has, every batch once."""
    like, calls = ((torch.zeros(10, 17, 2),), {}), batches(pairs(400, 3)[0])
    whole = torch.cat([call[0][0] for call in posed._as_given(calls, like)])
    shares = list[Tensor]()
    monkeypatch.setattr(posed.processes, "count", lambda: 2)
    for rank in range(2):
        monkeypatch.setattr(posed.processes, "number_of", lambda batch, rank=rank: 2 * batch + rank)
        shares += [call[0][0] for call in posed._as_given(calls, like)]
    assert len(shares) == 40
    order = sorted(range(40), key=lambda own: 2 * (own % 20) + own // 20)
    assert torch.equal(torch.cat([shares[own] for own in order]), whole)
