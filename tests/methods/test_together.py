"""Single samples that run together: the same answers, the same training, and networks of which that cannot be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.graph.running import Call, results
from chiralize.methods.refine import ready
from chiralize.methods.refine.together import at_once, gathered, in_random_order, runs_together, with_axis
from tests.methods.test_reduce_trained import learnt, poses
from tests.support.small_body import POSE, normal


class TwoSizes(nn.Module):
    """Two arguments, one of them without a batch, and two results, one of them of whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 4)

    def forward(self, x: Tensor, *, speed: Tensor) -> dict[str, Tensor]:
        x += 1.0  # as some write into what they are given
        return {"way": self.layer(x) * speed, "best": self.layer(x).argmax(-1)}


class Drawing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x)


class Mixing(nn.Module):
    """Its answer to a sample depends on how many there are."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        return x * self.seen


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LSTM(3, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)[0]


def calls(count: int) -> list[Call]:
    return [((normal(1, 3, seed=seed),), {"speed": normal(seed=seed + 99)}) for seed in range(count)]


def run(function: Callable[..., Any], call: Call) -> list[Tensor]:
    args, kwargs = call
    return results(function(*[argument.clone() for argument in args], **kwargs))[0]


def test_the_same_answers_as_one_by_one() -> None:
    net, given = TwoSizes().double(), calls(7)
    assert runs_together(net, given, list(net.parameters()))
    groups = gathered(list(map(with_axis, given)), 3)
    assert [len(group[0][0]) for group in groups] == [2, 2, 2]
    for number, group in enumerate(groups):
        alone = [run(net, call) for call in given[2 * number : 2 * number + 2]]
        for answer, *parts in zip(run(at_once(net), group), *alone, strict=True):
            torch.testing.assert_close(answer, torch.stack(parts), rtol=1e-12, atol=1e-12)


def test_all_are_drawn_once() -> None:
    given = [((torch.tensor([float(number)]),), {}) for number in range(9)]
    drawn = in_random_order(list(map(with_axis, given)), 4, torch.Generator().manual_seed(0))
    values = torch.cat([call[0][0] for call in drawn]).flatten().tolist()
    assert sorted(values) == list(range(9)) != values


@pytest.mark.parametrize("net", [Drawing(), Mixing(), Recurrent()], ids=lambda net: type(net).__name__)
def test_networks_of_which_that_cannot_be(net: nn.Module) -> None:
    """Draws at random differ by sample, a state outside of all tensors by run, and vmap does not know LSTMs."""
    given: list[Call] = [((normal(1, 2, 3, seed=seed).float(),), {}) for seed in range(3)]
    assert not runs_together(net, given, list(net.parameters()))


# ---- in a conversion ------------------------------------------------------------------------------------------
def test_a_fixed_batch_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fitted and trained on many samples at once, as equivariant, and nearer to the original for it."""
    seen, numbers = list[ready.Ready](), list[float]()

    def noted(*args: Any, **more: Any) -> ready.Ready:
        """Take down what training works on."""
        seen.append(made(*args, **more))
        return seen[-1]

    made = ready.ready_for
    monkeypatch.setattr("chiralize.methods.refine.refine.ready_for", noted)
    monkeypatch.setattr("chiralize.verification.beyond.SAMPLES", 24)  # each is a run of its own
    given = poses(60, 21).double()
    program = torch.export.export(learnt(), (given[:1],))
    for options in ({"rounds": 0}, {"rounds": 2}, {"rounds": 0, "distill": 60}):
        more = {"method": "reduce", "width": 0.5, "samples": 1, **options}
        found = chiralize.chiralize(program, parse_spec(POSE), calibration=given, **more)
        report = chiralize.chirality(found).report
        assert report is not None and report.passed and report.drift is not None
        numbers.append(report.drift.rho)
    assert [part.is_together for part in seen] == [True, True] and max(numbers[1:]) < numbers[0]
    for part in seen:
        assert part.calls[0][0][0].shape == (1, 1, 6, 2) and len(part.seen[0][0][0]) > 1
