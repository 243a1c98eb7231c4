"""Geometry on numbers that a network predicts: the signs of single hidden entries follow from what is made of them.

Rotations as six numbers, as quaternions or as axis and angle, directions as angles, vectors put together by entries,
inner products. The mirror of a rotation matrix R is M R M with M = diag(-1, 1, 1).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiralize.errors import UnsupportedError
from chiralize.symmetry.involution import SignedPermutation
from tests.infer.nets import JOINTS, ROUNDING, SPACE, Net, finished, normal, rep, residual, trained, turn_of

VECTOR, FACTORS, MATRIX = (-1, 1, 1), (1, 1, -1, -1), (1, -1, -1, -1, 1, 1, -1, 1, 1)
SOURCE = rep(2, JOINTS, SPACE)
Layer = Callable[[Net, Tensor], Tensor]


def signs(entries: tuple[int, ...]) -> SignedPermutation:
    return SignedPermutation.of(negated=[k for k, sign in enumerate(entries) if sign < 0], size=len(entries))


def net_of(layer: Layer, entries: int) -> nn.Module:
    layers = {"first": nn.Linear(18, 32), "second": nn.Linear(32, 32), "last": nn.Linear(32, 6 * entries)}
    return trained(Net(layer, **layers, weight=nn.Parameter(torch.zeros(16, 6, 3)), out=nn.Linear(16, 18)))


def features(net: Net, x: Tensor, *shape: int) -> Tensor:
    hidden = torch.relu(net.second(torch.relu(net.first(x.flatten(1)))))
    return net.last(hidden).view(-1, *shape)


def frame(first: Tensor, second: Tensor, dot: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Gram-Schmidt."""
    one = F.normalize(first, dim=-1)
    two = F.normalize(second - dot(one, second) * one, dim=-1)
    return one, two, torch.cross(one, two, dim=-1)


def by_sum(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1, keepdim=True)


def by_einsum(a: Tensor, b: Tensor) -> Tensor:
    return torch.einsum("...i,...i->...", a, b).unsqueeze(-1)


def by_matrix(a: Tensor, b: Tensor) -> Tensor:
    return (a.unsqueeze(-2) @ b.unsqueeze(-1)).squeeze(-1)


def of_columns(net: Net, x: Tensor) -> Tensor:
    six = features(net, x, 3, 2)
    return torch.stack(frame(six[:, :, 0], six[:, :, 1], by_einsum), -1).view(-1, 6, 9)


def of_rows(net: Net, x: Tensor) -> Tensor:
    six = features(net, x, 6, 6)
    return torch.stack(frame(six[..., :3], six[..., 3:], by_sum), -2).flatten(2)


def of_permuted(net: Net, x: Tensor) -> Tensor:
    six = features(net, x, 2, 3).permute(0, 2, 1).contiguous()
    return torch.stack(frame(six[:, :, 0], six[:, :, 1], by_matrix), -1).view(-1, 6, 9)


def across(u: Tensor, v: Tensor) -> Tensor:
    x = u[:, 1] * v[:, 2] - u[:, 2] * v[:, 1]
    y = u[:, 2] * v[:, 0] - u[:, 0] * v[:, 2]
    z = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    return torch.cat([entry.view(-1, 1) for entry in (x, y, z)], 1)


def entry_by_entry(net: Net, x: Tensor) -> Tensor:
    six = features(net, x, 6).view(-1, 6)
    first = F.normalize(six[:, :3])
    third = F.normalize(across(first, six[:, 3:]))
    return torch.cat([axis.view(-1, 3, 1) for axis in (first, across(third, first), third)], 2).view(-1, 6, 9)


def of_quaternions(net: Net, x: Tensor) -> Tensor:
    """Every product once, so that each stands in a sum and in a difference with another one."""
    w, i, j, k = F.normalize(features(net, x, 6, 4), dim=-1).unbind(-1)
    ii, jj, kk, ij, ik, jk, iw, jw, kw = i * i, j * j, k * k, i * j, i * k, j * k, i * w, j * w, k * w
    rows = [1 - 2 * (jj + kk), 2 * (ij - kw), 2 * (ik + jw)]
    rows += [2 * (ij + kw), 1 - 2 * (ii + kk), 2 * (jk - iw)]
    return torch.stack([*rows, 2 * (ik - jw), 2 * (jk + iw), 1 - 2 * (ii + jj)], -1)


def of_axis_and_angle(net: Net, x: Tensor) -> Tensor:
    turn = features(net, x, 3)
    angle = turn.norm(dim=1, keepdim=True) + 1e-9
    i, j, k = torch.split(turn / angle, 1, dim=1)
    none = torch.zeros_like(i)
    cross = torch.cat([none, -k, j, k, none, -i, -j, i, none], 1).view(-1, 3, 3)
    angle = angle.unsqueeze(-1)
    whole = torch.eye(3, dtype=x.dtype) + angle.sin() * cross + (1 - angle.cos()) * (cross @ cross)
    return whole.view(-1, 6, 9)


def of_angles(net: Net, x: Tensor) -> Tensor:
    angles = features(net, x, 6, 2)
    a, e = angles[..., 0], angles[..., 1]
    return torch.stack([a.sin() * e.cos(), e.sin(), a.cos() * e.cos()], -1)


def moved(net: Net, x: Tensor) -> Tensor:
    camera = features(net, x, 18)[:, :3]
    position = torch.stack([camera[:, 1], camera[:, 2], 2 / (camera[:, 0].abs() + 1)], -1)
    return x + position[:, None]


def of_inner_products(net: Net, x: Tensor) -> Tensor:
    return net.out((x[:, None] * net.weight).sum((-1, -2))).view(-1, 6, 3)


NETS: dict[str, tuple[Layer, int, tuple[int, ...]]] = {
    "columns": (of_columns, 6, MATRIX),
    "rows": (of_rows, 6, MATRIX),
    "permuted": (of_permuted, 6, MATRIX),
    "cross products by entries": (entry_by_entry, 6, MATRIX),
    "quaternions": (of_quaternions, 4, MATRIX),
    "axis and angle": (of_axis_and_angle, 3, MATRIX),
    "quaternions themselves": (lambda net, x: F.normalize(features(net, x, 6, 4), dim=-1), 4, FACTORS),
    "angles": (of_angles, 2, VECTOR),
    "translation": (moved, 3, VECTOR),
    "inner products": (of_inner_products, 1, VECTOR),
}


@pytest.mark.parametrize("name", NETS)
def test_converts(name: str) -> None:
    compute, entries, negated = NETS[name]
    result = rep(2, JOINTS, signs(negated))
    changed, _ = finished(net_of(compute, entries), normal(2, 6, 3), SOURCE, result)
    x = normal(4, 6, 3, seed=5)
    assert residual(changed, x, turn_of(SOURCE), turn_of(result)) <= ROUNDING
    with torch.no_grad():
        assert (changed(x) - changed(normal(4, 6, 3, seed=1))).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["rows", "quaternions", "axis and angle"])
def test_no_signs_that_no_rotation_has(name: str) -> None:
    """Of one entry of the matrix the sign is turned round: nothing that the heads could predict mirrors like that."""
    compute, entries, _ = NETS[name]
    wrong = rep(2, JOINTS, signs((1, -1, -1, -1, 1, 1, -1, 1, -1)))
    with pytest.raises(UnsupportedError):
        finished(net_of(compute, entries), normal(2, 6, 3), SOURCE, wrong)


# ---- chains of bones -------------------------------------------------------------------------------------------------
PARENTS = (-1, 0, 1, 0, 3, 0, 5, 5)
CHAIN = rep(2, SignedPermutation.of([(1, 3), (2, 4), (6, 7)], size=8), SPACE)


def directions(net: Net, x: Tensor) -> Tensor:
    bones = F.normalize(net.last(torch.tanh(net.first(x.flatten(1)))).view(-1, 8, 3), dim=-1) * net.length[:, None]
    places = [x[:, 0]]
    for joint, parent in enumerate(PARENTS[1:], 1):
        places.append(places[parent] + bones[:, joint])
    return torch.stack(places, 1)


def test_bones_one_after_the_other() -> None:
    """Joints are taken out of a hidden axis one by one; nothing but the answer says that they are joints."""
    layers = {"first": nn.Linear(24, 32), "last": nn.Linear(32, 24)}
    net = trained(Net(directions, **layers, length=nn.Parameter(torch.rand(8))))
    changed, _ = finished(net, normal(2, 8, 3), CHAIN, CHAIN)
    assert residual(changed, normal(5, 8, 3, seed=5), turn_of(CHAIN), turn_of(CHAIN)) <= ROUNDING
