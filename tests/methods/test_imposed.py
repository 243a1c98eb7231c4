"""`project` imposes the pairs that a specification names; where it names none, it and `match` try others' before they
lose what is odd.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from chiralize.body.tensors import parse_spec
from chiralize.commands.convert import Request, convert
from chiralize.errors import DegenerateError
from chiralize.problem.preparation import prepare
from chiralize.verification.figures import affordable
from tests.support.small_body import POSE, normal, residual, trained, turned

TWINS = 8  # units, each beside its mirror image, and all of them once more


def twins() -> nn.Module:
    """Units 2 i and 2 i + 1 nearly are mirror images, unit i + H / 2 nearly does what unit i does."""
    first, last = nn.Linear(12, 2 * TWINS), nn.Linear(2 * TWINS, 12)
    net = trained(nn.Sequential(nn.Flatten(), first, nn.Tanh(), last, nn.Unflatten(1, (6, 2))))
    with torch.no_grad():
        for i in range(0, TWINS, 2):
            for k in (i, i + TWINS):
                first.weight[k], last.weight[:, k] = first.weight[i], last.weight[:, i]
                first.weight[k + 1], last.weight[:, k + 1] = flipped(first.weight[i]), flipped(last.weight[:, i])
        first.bias.zero_()
        for own in net.parameters():
            own += 1e-3 * normal(*own.shape)
    return net


def flipped(vector: torch.Tensor) -> torch.Tensor:
    return turned(vector.reshape(1, 6, 2)).flatten()


def projected(hidden: str) -> tuple[nn.Module, list[str], float]:
    network = prepare(twins(), parse_spec(POSE + hidden), (normal(3, 6, 2),))
    found = convert(network, "twins", Request("project", samples=1, form="folded"))
    assert found.report.judgement.degeneracy is not None
    return (
        found.module,
        [own.reason for own in found.report.changes.choices],
        found.report.judgement.degeneracy.odd_kept,
    )


@pytest.mark.one_in(2)
@pytest.mark.parametrize("hidden", ["", "hidden: {pairing: adjacent}\n"])
def test_other_pairs_where_the_halves_lose_what_is_odd(hidden: str) -> None:
    module, reasons, kept = projected(hidden)
    assert reasons == ["imposed: adjacent"]
    assert kept > 0.99 and residual(module, (5, 6, 2)) < 1e-12


def test_pairs_that_are_named_are_taken() -> None:
    with pytest.raises(DegenerateError, match="the left/right .odd. share fell"):
        projected("hidden: {pairing: half}\n")


def test_halves_are_taken_where_they_keep_it() -> None:
    net = trained(nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 12), nn.Unflatten(1, (6, 2))))
    found = convert(prepare(net, parse_spec(POSE), (normal(3, 6, 2),)), "net", Request("project", samples=1))
    assert [own.reason for own in found.report.changes.choices] == ["imposed: half"]


def test_shares_are_measured_on_as_many_samples_as_the_arithmetic_allows() -> None:
    """Not on as many as the parameters do: a frame runs through 5 million of them in no time."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2200), nn.Linear(2200, 2200), nn.Linear(2200, 12))
    net.append(nn.Unflatten(1, (6, 2)))
    small, large = (prepare(net, parse_spec(POSE), (torch.randn(rows, 6, 2),)) for rows in (1, 500))
    assert affordable(small, 16) == 16 and affordable(large, 16) == 8


def drawn(seed: int) -> nn.Module:
    """Nobody trained it: similar units are so by chance."""
    torch.manual_seed(seed)
    layers = nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 12)
    net = nn.Sequential(nn.Flatten(), *layers, nn.Unflatten(1, (6, 2))).double()
    with torch.no_grad():
        for own in net.parameters():
            own.copy_(torch.randn(own.shape))
    return net


LOST = "lose much of what tells left from right"
IMPOSED = f"pairs of similar units {LOST}: imposed ones, as of project, were taken"
MATCHED = f"imposed pairs {LOST}: pairs of similar units, as of match, were taken"


@pytest.mark.one_in(8)
@pytest.mark.parametrize(
    ("method", "seed", "title", "reason", "told"),
    [
        ("match", 5, "match", "matched by weights", ""),
        (
            "match",
            1,
            "match, with imposed pairs",
            "imposed: half",
            f"pairs of similar units {LOST}: imposed ones, as of project, were taken",
        ),
        (
            "match",
            35,
            "match, with imposed pairs",
            "imposed: adjacent",
            f"pairs of similar units {LOST}: imposed ones, as of project, were taken",
        ),
        (
            "project",
            29,
            "project, with matched pairs",
            "matched by weights",
            f"imposed pairs {LOST}: pairs of similar units, as of match, were taken",
        ),
    ],
)
def test_pairs_of_the_other_method_where_its_own_lose_what_is_odd(
    method: str, seed: int, title: str, reason: str, told: str
) -> None:
    network = prepare(drawn(seed), parse_spec(POSE), (normal(3, 6, 2),))
    found = convert(network, "net", Request(method, samples=1, form="folded"))
    report = found.report
    assert {own.reason for own in report.changes.choices} == {reason} and report.method == title
    assert found.passport.method == title
    assert report.notes == ((told,) if told else ())
    assert report.judgement.degeneracy is not None and report.judgement.degeneracy.odd_kept >= 0.6
    assert residual(found.module, (5, 6, 2)) < 1e-12
