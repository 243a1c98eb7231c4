"""Joints that share a group read its value: how they move is said by what is put beside them, whenever that comes."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor, nn

from tests.support.cases import mainly
from tests.support.small_body import ROUNDING, Net, converted, residual, trained

GROUPS = [0, 1, 2, 1, 2, 0]  # left and right arm share one, and so do the legs
SHARE = torch.nn.functional.one_hot(torch.tensor(GROUPS)).double()
SHARE = SHARE / SHARE.sum(0)
WIDTH = 12


def heads(x: Tensor) -> Tensor:
    """ "batch joint channel" to "batch head joint inner"."""
    return x.unflatten(-1, (3, 4)).transpose(1, 2)


def attention(packed: bool) -> nn.Module:
    """Joints attend to joints and to the mean of their groups; key and value of one layer, as one tensor or as two."""

    def compute(s: Net, x: Tensor) -> Tensor:
        of_groups = s.e((x.transpose(1, 2) @ s.share)[..., GROUPS].transpose(1, 2))
        both = s.kv(x)
        if packed:
            k, v = both.unflatten(-1, (2, 3, 4)).permute(2, 0, 3, 1, 4)
        else:
            k, v = map(heads, both.chunk(2, -1))
        q, e = heads(s.q(x)), heads(of_groups)
        scores = q @ k.transpose(-2, -1) + torch.einsum("bhnc,bhmc->bhnm", q, e)
        return s.out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))

    layers = {"q": nn.Linear(2, WIDTH), "e": nn.Linear(2, WIDTH), "kv": nn.Linear(2, 2 * WIDTH)}
    return trained(Net(compute, **layers, out=nn.Linear(WIDTH, 2), share=SHARE))


@pytest.mark.parametrize(
    ("packed", "method"),
    mainly(product([False, True], ["project", "match"]), [(False, "match"), (True, "project")]),
)
def test_groups_of_joints_beside_joints(packed: bool, method: str) -> None:
    """Packed, the layer waits for its channels, so that its joints are known after all else has come to rest."""
    net = attention(packed)
    assert residual(net, (3, 6, 2)) > 1e-3
    assert residual(converted(net, method=method), (3, 6, 2)) < ROUNDING


def test_nothing_but_lists_decides_at_last() -> None:
    """A value of groups that meets nothing else: the list itself chooses, and the joints are partners."""

    def compute(s: Net, x: Tensor) -> Tensor:
        return s.out(torch.relu(s.a((x.transpose(1, 2) @ s.share)[..., GROUPS].transpose(1, 2))))

    net = trained(Net(compute, a=nn.Linear(2, WIDTH), out=nn.Linear(WIDTH, 2), share=SHARE))
    assert residual(converted(net), (3, 6, 2)) < ROUNDING
