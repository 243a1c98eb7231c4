"""Costly networks run in fewer rows: how many, in which checks, and that a fault of any row is seen all the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.cli import opening
from chiralize.problem import cost
from chiralize.problem.data import judged
from chiralize.problem.mirror import mirror_if_known
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from chiralize.storage.format import LoadedModel
from chiralize.verification import compared_inputs, judge
from tests.support.small_body import POSE, normal, turned

A_SAMPLE = 2 * 12 * 16
"""Multiplications: two layers."""
ROWS = 40
SAMPLES = (normal(160, 3) @ normal(3, 12, seed=1)).unflatten(1, (6, 2))
"""Which vary in three directions, as no noise does."""


class Averaged(nn.Module):
    """Both views of two layers, but for the rows from `faulty_from` on.  seen: how many rows the calls had."""

    seen: list[int] = []

    def __init__(self, faulty_from: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.faulty_from = nn.Linear(12, 16), nn.Linear(16, 12), faulty_from

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(len(x))
        both = self.one(x) + turned(self.one(turned(x)))
        late = torch.arange(len(x), device=x.device) >= self.faulty_from
        return both + late[:, None, None].to(x.dtype)

    def one(self, x: Tensor) -> Tensor:
        """One view."""
        return self.last(self.first(x.flatten(1)).tanh()).unflatten(1, (6, 2))


def plain(rows: int) -> Network:
    """Two layers, an example of so many rows."""
    layers = (nn.Flatten(), nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 12), nn.Unflatten(1, (6, 2)))
    return prepare(nn.Sequential(*layers).double(), parse_spec(POSE), (normal(rows, 6, 2),))


# ---- how many -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("work", "expected"), [(1e10, 32), (5.5 * A_SAMPLE, 5), (0, 2)])
def test_samples_of_a_batch(work: float, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two at least; whatever the size of the example is."""
    assert [cost.multiplications_a_sample(plain(rows)) for rows in (1, ROWS)] == [A_SAMPLE] * 2
    monkeypatch.setattr(cost, "_WORK", work)
    assert [cost.samples_of_a_batch(plain(rows)) for rows in (1, ROWS)] == [expected] * 2


@pytest.mark.parametrize(("work", "expected"), [(1e9, ROWS), (5.5 * A_SAMPLE, 5), (0, 2)])
def test_rows_of_a_random_call(work: float, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never more than the example has, of which the network is known to take so many."""
    monkeypatch.setattr(judge, "_LIGHT", work)
    assert [judge.light_rows(plain(rows)) for rows in (1, ROWS)] == [1, expected]


@pytest.mark.parametrize(("work", "real", "noise"), [(1e10, 160, 24), (16 * 50.5 * A_SAMPLE, 56, 24), (0, 32, 8)])
def test_samples_on_which_mirrors_are_compared(
    work: float, real: int, noise: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of real inputs, 32 at least: of fewer the gap is not known well enough to refuse a mirror.

    About 50 of 160, evenly spread, are every third of the calls.
    """
    monkeypatch.setattr(compared_inputs, "_WORK", work)
    network = plain(4)
    mirror = mirror_if_known(network, None)
    assert mirror is not None
    given = [((part,), {}) for part in SAMPLES.split(4)]
    for inputs, expected in ((given, real), ((), noise)):
        calls, _ = compared_inputs.inputs_to_compare_on(network, mirror, inputs)
        assert sum(map(network.samples_in, calls)) == expected


@pytest.mark.parametrize(("work", "expected"), [(2e10, 8), (5.5 * A_SAMPLE, 5), (0, 3)])
def test_random_inputs_of_a_verdict(work: float, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three at least, and batches of up to three or five; as many as were asked for, whatever they cost."""
    monkeypatch.setattr(cost, "_VERDICT", work)
    assert cost.draws(plain(1), None) == expected
    assert cost.draws(plain(1), 20) == 20
    assert cost.batch_sizes(plain(1)) == (1, 2, min(expected, 5))


@pytest.mark.parametrize(
    ("work", "rows"), [(2e10, [20] * 8), (64.5 * A_SAMPLE, [8] * 8), (3.5 * A_SAMPLE, [1] * 3), (0, [1])]
)
def test_inputs_that_a_verdict_is_run_on(work: float, rows: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 160 inputs that come one by one."""
    monkeypatch.setattr(judged, "_WORK", work)
    chosen = judged.judged_on(plain(2), [((sample,), {}) for sample in SAMPLES.split(1)])
    assert [len(call[0][0]) for call in chosen] == rows


# ---- in use ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("work", "rows"), [(1e10, 32), (5.5 * A_SAMPLE, 5)])
def test_calibration_is_put_together_in_such_batches(work: float, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "_WORK", work)
    network = plain(1)
    loaded = LoadedModel(network.module, "state_dict", Path("net.pt"), "")
    larger, batches = opening.in_batches(network, loaded, [((sample,), {}) for sample in SAMPLES.split(1)])
    assert larger.rows == rows and set(map(larger.samples_in, batches)) == {rows}


@pytest.mark.parametrize("faulty_from", [ROWS, 10, 0])
def test_a_verdict_in_few_rows_is_the_same(faulty_from: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first call has all rows: a fault in the late ones is seen, though the other calls have but five."""
    network = prepare(Averaged(faulty_from).double(), parse_spec(POSE), (normal(ROWS, 6, 2),))
    counts: list[int] = []
    for work in (1e9, 5.5 * A_SAMPLE):
        monkeypatch.setattr(judge, "_LIGHT", work)
        Averaged.seen.clear()
        verdict = judge.judge(network, samples=8)
        assert verdict.numeric.passed == (faulty_from == ROWS)
        counts.append(Averaged.seen.count(ROWS))
    assert counts[1] < counts[0]
    if faulty_from == ROWS:
        assert counts[1] <= counts[0] - 2 * 7  # both views of all samples but the first
