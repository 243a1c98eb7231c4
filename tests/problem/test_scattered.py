"""Scattered inputs: what is put beside calibration inputs that leave directions open."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.graph import processes
from chiralize.problem.data.batches import Batches
from chiralize.problem.data.scattered import SAMPLES, changed, scattered, with_scattered
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from chiralize.problem.request import Request
from tests.support.problems import posed
from tests.support.small_body import CLIP, POSE, Net, normal, trained

ROWS = 4000


@cache
def subject_of(shape: tuple[int, ...], spec: str = POSE) -> Network:
    net = Net(lambda net, x: net.layer(x), layer=nn.Linear(2, 2))
    return prepare(trained(net), parse_spec(spec), (normal(*shape),))


def scatter(inputs: Tensor, spec: str = POSE) -> Tensor:
    """What becomes of every other input, as one tensor; the others stay as they are."""
    network = subject_of((3, *inputs.shape[1:]), spec)
    calls = [((part,), {}) for part in inputs.split(20)]
    generator = torch.Generator().manual_seed(0)
    made = changed(network.resolved.input_tensors, calls, scattered, generator)
    found = torch.cat([call[0][0] for call in made])
    assert torch.equal(found[1::2], inputs[1::2])
    return found[::2]


def walking(rows: int = ROWS) -> Tensor:
    """Poses of one phase alone: every joint tells all others."""
    return normal(rows, 1, 1, seed=1) * normal(1, 6, 2, seed=2)


def test_joints_no_longer_tell_each_other() -> None:
    """All of the given inputs vary in one direction, of scattered ones every joint in one of its own."""
    given, made = walking()[::2], scatter(walking())
    before, after = (torch.linalg.eigvalsh(torch.cov(own.flatten(1).T)) for own in (given, made))
    assert int((before > 1e-9 * before[-1]).sum()) == 1
    assert int((after > 1e-3 * after[-1]).sum()) >= 6


def test_all_there_is_of_a_joint_moves_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its coordinates and frames, by the difference of two other samples; other ones for other joints."""
    monkeypatch.setattr("chiralize.problem.data.scattered._resize", lambda *rest: None)
    step = normal(1, 5, 6, 2, seed=2)
    phase = normal(400, 1, 1, 1, seed=1)
    moved = scatter(phase * step - 100, CLIP) - (phase * step - 100)[::2]
    amounts = (moved / step)[:, 0, :, 0]  # sample joint
    assert torch.allclose(moved, amounts[:, None, :, None] * step, atol=1e-9)
    assert 0.35 < float(amounts.std() / phase.std()) < 0.45
    together = torch.corrcoef(amounts.T) - torch.eye(6, dtype=torch.float64)
    assert float(together.abs().max()) < 0.2


def test_what_has_one_sign_keeps_it_and_shares_stay_shares() -> None:
    shares = torch.rand(ROWS, 6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    made = scatter(shares)
    assert made.min() == 0.0 and made.max() == 1.0
    assert scatter(-100 - shares).max() <= 0.0 and scatter(100 + shares).min() >= 0.0


def test_bodies_of_other_sizes() -> None:
    """Every size from half to twice, about the mean of the joints, which stays: nothing else differs here."""
    given = normal(1, 6, 2, seed=3).expand(ROWS, 6, 2).clone() - 10
    made = scatter(given)
    center = given.mean(1, keepdim=True)
    assert torch.allclose(made.mean(1, keepdim=True), center[::2])
    sizes = (made - made.mean(1, keepdim=True)).flatten(1).norm(dim=1) / (given - center)[0].norm()
    assert 0.5 <= sizes.min() < 0.52 and 1.95 < sizes.max() <= 2.0


@pytest.mark.parametrize(("method", "count"), [("reduce", 600), ("auto", 600), ("match", 600), ("average", 0)])
def test_only_for_fits(method: str, count: int) -> None:
    network = subject_of((3, 6, 2))
    calls = [((part,), {}) for part in normal(600, 6, 2).split(20)]
    made = with_scattered(posed(network, Request(method, calibration=calls))).batches
    assert sum(len(call[0][0]) for call in made.scattered) == count
    assert [*made.held_out] == [*Batches(calls).held_out]
    assert len(made.fitted) == len(made.seen) + len(made.scattered) * 4 // 5 or not count


def test_no_more_than_are_needed() -> None:
    calls = [((part,), {}) for part in normal(9 * SAMPLES, 6, 2).split(20)]
    made = with_scattered(posed(subject_of((3, 6, 2)), Request("reduce", calibration=calls))).batches
    assert sum(len(call[0][0]) for call in made.scattered) == SAMPLES


def test_a_batch_is_scattered_alike_wherever_it_is() -> None:
    """What it becomes follows from its numbers, so that processes which share the inputs agree."""
    calls = [((part,), {}) for part in normal(512, 6, 2).split(64)]
    network = subject_of((3, 6, 2))
    made = [
        with_scattered(posed(network, Request("reduce", calibration=own))).batches.scattered
        for own in (calls, calls[4:])
    ]
    assert [len(own) for own in made] == [8, 4]
    assert all(torch.equal(one[0][0], two[0][0]) for one, two in zip(made[0][4:], made[1], strict=True))
    changes = [own[0][0] - part for own, ((part,), _) in zip(made[0], calls, strict=True)]
    assert not torch.equal(changes[0], changes[1])


def test_processes_choose_the_batches_that_one_would(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only some batches are scattered, which ones does not depend on how many processes share them."""
    calls = [((part,), {}) for part in normal(3 * SAMPLES, 6, 2).split(80)]
    network = subject_of((3, 6, 2))

    def made(rank: int, count: int) -> list[Tensor]:
        """What one of so many processes scatters of the batches that it was dealt in turns."""
        monkeypatch.setattr(processes, "count", lambda: count)
        monkeypatch.setattr(processes, "number_of", lambda batch: batch * count + rank)
        monkeypatch.setattr(processes, "total", lambda number: number * count)
        problem = posed(network, Request("reduce", calibration=calls[rank::count]))
        return [call[0][0] for call in with_scattered(problem).batches.scattered]

    wanted = made(0, 1)
    shared = made(0, 2) + made(1, 2)
    assert len(wanted) * 80 == SAMPLES and len(shared) == len(wanted)
    assert all(any(torch.equal(one, two) for two in shared) for one in wanted)
