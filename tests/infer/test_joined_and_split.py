"""Channels that are joined from branches of one size and split into heads of another: one pairing has to fit both."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiralize.errors import NegatedChannelsError, NeverEquivariantError
from tests.support.small_body import ROUNDING, Net, converted, residual, trained, verdicts


def network(channels: int, branches: int, heads: int) -> Net:
    """Attention with heads, then branches whose channels lie one behind the other, both added to the trunk."""
    size = channels // branches

    def split(x: Tensor) -> Tensor:
        return x.unflatten(-1, (heads, channels // heads)).transpose(1, 2)

    def compute(s: Net, x: Tensor) -> Tensor:
        trunk = s.first(x)
        q, k, v = (split(part(s.norm(trunk))) for part in (s.q, s.k, s.v))
        trunk = trunk + ((q @ k.transpose(-2, -1)).softmax(-1) @ v).transpose(1, 2).flatten(2)
        return s.last(trunk + torch.cat([branch(trunk).relu() for branch in s.branches], -1))

    layers: dict[str, nn.Module] = {name: nn.Linear(channels, channels) for name in "qkv"}
    parts = nn.ModuleList(nn.Linear(channels, size) for _ in range(branches))
    ends = {"first": nn.Linear(2, channels), "norm": nn.LayerNorm(channels), "last": nn.Linear(channels, 2)}
    return trained(Net(compute, **layers, **ends, branches=parts))


@pytest.mark.one_in(6)
@pytest.mark.parametrize(
    ("sizes", "method"), [((24, 4, 6), "project"), ((24, 2, 3), "match"), ((36, 3, 2), "project")], ids=str
)
def test_a_pairing_that_fits_both(sizes: tuple[int, int, int], method: str) -> None:
    own = converted(network(*sizes), method=method)
    assert own.chirality.report.judgement.certificate.passed and residual(own, (3, 6, 2)) < ROUNDING
    assert not own.chirality.hidden["first.bias"].is_trivial
    with torch.no_grad():
        own.branches[1].weight[0] *= 1 + 1e-3
    runs, proved, broken = verdicts(own)
    assert (runs, proved) == (False, False) and "branches.1" in broken


def test_sizes_without_a_common_part_are_refused() -> None:
    """Branches of 3 and heads of 4: nothing but single entries fits both, and they could not be told apart."""
    with pytest.raises(NeverEquivariantError, match=r"not closed under the mirror"):
        converted(network(12, 4, 3))


def padded(value: float) -> Net:
    """What is read of the head alone is added to the answer, with numbers in the places of the other joints."""

    def compute(s: Net, x: Tensor) -> Tensor:
        answer = s.last(torch.tanh(s.first(x.flatten(1))))
        return (answer + F.pad(x[:, 5], (10, 0), value=value)).view(-1, 6, 2)

    return trained(Net(compute, first=nn.Linear(12, 8), last=nn.Linear(8, 12)))


@pytest.mark.parametrize("method", ["match", "project"])
def test_zeros_beside_a_part_swap_as_what_they_are_added_to(method: str) -> None:
    own = converted(padded(0.0), method=method)
    assert own.chirality.report.judgement.certificate.passed and residual(own, (3, 6, 2)) < ROUNDING
    with torch.no_grad():
        own.last.weight[2] *= 1 + 1e-3  # of an arm
    runs, proved, broken = verdicts(own)
    assert (runs, proved) == (False, False) and "last" in broken


def test_ones_beside_a_part_do_not() -> None:
    """They would be negated where x is."""
    with pytest.raises(NegatedChannelsError, match=r"pad.default: 1 of 2 entries are negated"):
        converted(padded(1.0))
