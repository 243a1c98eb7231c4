"""Geometry on numbers that a network predicts: the signs of single hidden entries follow from what is made of them.

Rotations as six numbers, as quaternions or as axis and angle, directions as angles, vectors put together by entries,
inner products. The mirror of a rotation matrix R is M R M with M = diag(-1, 1, 1), written here with torch alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.body.tensors.fields.quantities import Quantity
from chiralize.errors import UnsupportedError
from tests.support.small_body import IMAGE, ROUNDING, Net, normal, trained

BODY = """\
joints: [hip, l_arm, l_leg, r_arm, r_leg, head]
pairs: [[l_arm, r_arm], [l_leg, r_leg]]
dims: [x, y, z]
inputs: [{layout: "b j d"}]
outputs: [{layout: "b j d", dims: NAMES, signs: SIGNS}]
"""
VECTOR, FACTORS, MATRIX = (-1, 1, 1), (1, 1, -1, -1), (1, -1, -1, -1, 1, 1, -1, 1, 1)

Layer = Callable[[Net, Tensor], Tensor]


def spec_of(signs: tuple[int, ...]) -> str:
    names = [f"n{place}" for place in range(len(signs))]
    return BODY.replace("NAMES", str(names)).replace("SIGNS", str(list(signs)))


def net_of(layer: Layer, entries: int) -> nn.Module:
    parts = {"first": nn.Linear(18, 32), "second": nn.Linear(32, 32), "last": nn.Linear(32, 6 * entries),
             "weight": nn.Parameter(torch.randn(16, 6, 3)), "out": nn.Linear(16, 18)}  # fmt: skip
    return trained(Net(layer, **parts))


def features(net: Net, x: Tensor, *shape: int) -> Tensor:
    hidden = torch.relu(net.second(torch.relu(net.first(x.flatten(1)))))
    return net.last(hidden).view(-1, *shape)


def turned(x: Tensor, signs: tuple[int, ...] = VECTOR) -> Tensor:
    return x[:, list(IMAGE)] * torch.tensor(signs, dtype=x.dtype)


def residual(net: nn.Module, signs: tuple[int, ...]) -> float:
    x = normal(5, 6, 3, seed=5)
    with torch.no_grad():
        here, there = net(x), net(turned(x))
    return float((there - turned(here, signs)).abs().max() / here.abs().max())


# ---- rotations ------------------------------------------------------------------------------------------------------
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


def of_runs(net: Net, x: Tensor) -> Tensor:
    six = features(net, x, 6, 6)
    return torch.stack(frame(six[..., :3], six[..., 3:], by_sum), -1).flatten(2)


def of_permuted(net: Net, x: Tensor) -> Tensor:
    six = features(net, x, 2, 3).permute(0, 2, 1).contiguous()
    return torch.stack(frame(six[:, :, 0], six[:, :, 1], by_sum), -1).view(-1, 6, 9)


def of_matrices(net: Net, x: Tensor) -> Tensor:
    six = features(net, x, 3, 2)
    return torch.stack(frame(six[:, :, 0], six[:, :, 1], by_matrix), -1).view(-1, 6, 9)


def across(u: Tensor, v: Tensor) -> Tensor:
    entries = (u[:, 1] * v[:, 2] - u[:, 2] * v[:, 1], u[:, 2] * v[:, 0] - u[:, 0] * v[:, 2],
               u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0])  # fmt: skip
    return torch.cat([entry.view(-1, 1) for entry in entries], 1)


def entry_by_entry(net: Net, x: Tensor) -> Tensor:
    six = features(net, x, 6).view(-1, 6)
    first = F.normalize(six[:, :3])
    third = F.normalize(across(first, six[:, 3:]))
    return torch.cat([own.view(-1, 3, 1) for own in (first, across(third, first), third)], 2).view(-1, 6, 9)


def of_quaternions(net: Net, x: Tensor) -> Tensor:
    w, i, j, k = F.normalize(features(net, x, 6, 4), dim=-1).unbind(-1)
    return torch.stack([
        1 - 2 * (j * j + k * k), 2 * (i * j - k * w), 2 * (i * k + j * w), 2 * (i * j + k * w), 1 - 2 * (i * i + k * k),
        2 * (j * k - i * w), 2 * (i * k - j * w), 2 * (j * k + i * w), 1 - 2 * (i * i + j * j),
    ], -1)  # fmt: skip


def of_quaternions_by_products(net: Net, x: Tensor) -> Tensor:
    """Every product once, so that each stands in a sum and in a difference with another one."""
    w, i, j, k = F.normalize(features(net, x, 6, 4), dim=-1).unbind(-1)
    ii, jj, kk, ij, ik, jk, iw, jw, kw = i * i, j * j, k * k, i * j, i * k, j * k, i * w, j * w, k * w
    return torch.stack([
        1 - 2 * (jj + kk), 2 * (ij - kw), 2 * (ik + jw), 2 * (ij + kw), 1 - 2 * (ii + kk),
        2 * (jk - iw), 2 * (ik - jw), 2 * (jk + iw), 1 - 2 * (ii + jj),
    ], -1)  # fmt: skip


def of_axis_and_angle(net: Net, x: Tensor) -> Tensor:
    turn = features(net, x, 3)
    angle = turn.norm(dim=1, keepdim=True) + 1e-9
    x_, y_, z_ = torch.split(turn / angle, 1, dim=1)
    none = torch.zeros_like(x_)
    cross = torch.cat([none, -z_, y_, z_, none, -x_, -y_, x_, none], 1).view(-1, 3, 3)
    angle = angle.unsqueeze(-1)
    whole = torch.eye(3, dtype=x.dtype) + angle.sin() * cross + (1 - angle.cos()) * (cross @ cross)
    return whole.view(-1, 6, 9)


# ---- vectors --------------------------------------------------------------------------------------------------------
def of_angles(net: Net, x: Tensor) -> Tensor:
    angles = features(net, x, 6, 2)
    a, e = angles[..., 0], angles[..., 1]
    return torch.stack([a.sin() * e.cos(), e.sin(), a.cos() * e.cos()], -1)


def moved(net: Net, x: Tensor) -> Tensor:
    camera = features(net, x, 18)[:, :3]
    place = torch.stack([camera[:, 1], camera[:, 2], 2 / (camera[:, 0].abs() + 1)], -1)
    return x + place[:, None]


def of_inner_products(net: Net, x: Tensor) -> Tensor:
    return net.out((x[:, None] * net.weight).sum((-1, -2))).view(-1, 6, 3)


def of_means(net: Net, x: Tensor) -> Tensor:
    return net.out((x[:, None] * net.weight).mean(-1).sum(-1)).view(-1, 6, 3)


NETS: dict[str, tuple[Layer, int, tuple[int, ...]]] = {
    "columns": (of_columns, 6, MATRIX),
    "rows": (of_rows, 6, MATRIX),
    "runs": (of_runs, 6, MATRIX),
    "permuted": (of_permuted, 6, MATRIX),
    "matrices": (of_matrices, 6, MATRIX),
    "cross products by entries": (entry_by_entry, 6, MATRIX),
    "quaternions": (of_quaternions, 4, MATRIX),
    "quaternions, products shared": (of_quaternions_by_products, 4, MATRIX),
    "axis and angle": (of_axis_and_angle, 3, MATRIX),
    "quaternions themselves": (lambda net, x: F.normalize(features(net, x, 6, 4), dim=-1), 4, FACTORS),
    "angles": (of_angles, 2, VECTOR),
    "translation": (moved, 3, VECTOR),
    "inner products": (of_inner_products, 1, VECTOR),
    "means of products": (of_means, 1, VECTOR),
}


@pytest.mark.one_in(20)
@pytest.mark.parametrize("name", NETS)
def test_converts(name: str) -> None:
    compute, entries, signs = NETS[name]
    net, spec, example = net_of(compute, entries), parse_spec(spec_of(signs)), (normal(3, 6, 3),)
    assert residual(net, signs) > 1e-3
    found = chiralize.chiralize(net, spec, example, method="project", samples=1)
    assert residual(found, signs) <= ROUNDING
    with torch.no_grad():
        apart = found(example[0]) - found(normal(3, 6, 3, seed=1))
        assert apart.abs().max() > 1e-3
        layer = found.get_submodule("out" if "products" in name and entries == 1 else "last")
        assert isinstance(layer, nn.Linear)
        layer.weight[0 if name == "translation" else len(layer.weight) // 6, 0] += 0.1  # of the left arm alone
    report = chiralize.verify(found, spec, example, samples=2)
    assert (
        report.judgement.certificate is not None
        and not report.judgement.certificate.passed
        and not report.judgement.numeric.passed
    )


def side_by_side(net: Net, x: Tensor) -> Tensor:
    six = features(net, x, 3, 2)
    columns = frame(six[:, :, 0], six[:, :, 1], by_sum)
    return torch.cat([column.unsqueeze(-1) for column in columns], -1).view(-1, 6, 3, 3)


@pytest.mark.one_in(3)
@pytest.mark.parametrize(
    ("compute", "entries"), [(lambda net, x: of_columns(net, x).unflatten(-1, (3, 3)), 6), (side_by_side, 6),
                             (lambda net, x: of_rows(net, x).unflatten(-1, (3, 3)), 36)],
    ids=["stacked columns", "columns side by side", "stacked rows"],
)  # fmt: skip
def test_matrices_as_they_are(compute: Layer, entries: int) -> None:
    """A matrix with two axes of its own: what the first column differs by from M is a sign of either axis."""
    spec = parse_spec(BODY.partition("outputs")[0] + 'outputs: [{layout: "b j d d"}]\n')
    found = chiralize.chiralize(net_of(compute, entries), spec, (normal(3, 6, 3),), method="project", samples=1)
    assert residual(nn.Sequential(found, nn.Flatten(2)), MATRIX) <= ROUNDING


@pytest.mark.one_in(3)
@pytest.mark.parametrize("name", ["rows", "quaternions", "axis and angle"])
def test_no_signs_that_no_rotation_has(name: str) -> None:
    """Of one entry of the matrix the sign is turned round: nothing that the heads could predict mirrors like that."""
    layer, entries, _ = NETS[name]
    wrong = (1, -1, -1, -1, 1, 1, -1, 1, -1)
    with pytest.raises(UnsupportedError):
        chiralize.chiralize(net_of(layer, entries), parse_spec(spec_of(wrong)), (normal(3, 6, 3),), method="project")


# ---- what the documentation says of rotations -----------------------------------------------------------------
def quaternion(turn: Tensor) -> Tensor:
    angle = turn.norm()
    return torch.cat([(angle / 2).cos()[None], turn / angle * (angle / 2).sin()])


def generator(turn: Tensor) -> Tensor:
    x, y, z = turn.tolist()
    return torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=turn.dtype)


ROTATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "3 x 3 matrix, row by row": lambda turn: torch.matrix_exp(generator(turn)).flatten(),
    "its first two columns, or its first two rows, one after the other": lambda turn: torch.matrix_exp(generator(turn))[
        :, :2
    ].T.flatten(),
    "its first two columns, row by row (`view(-1, 3, 2)`)": lambda t: torch.matrix_exp(generator(t))[:, :2].flatten(),
    "quaternion": quaternion,
    "axis times angle": lambda turn: turn,
}


def test_signs_of_rotations() -> None:
    """The table of docs/skeletons.md, against exp of the mirrored generator: M exp(A) M = exp(M A M)."""
    text = (Path(__file__).parents[2] / "docs" / "skeletons.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+) \| `kind: (\w+), order: (\w+)`[^|]* \| ([+− ]+)[^|]*\|$", text, re.MULTILINE)
    table = {name: (Quantity(kind, order), signs.split()) for name, kind, order, signs in rows}
    assert set(ROTATIONS) <= set(table)
    mirror, turn = torch.diag(torch.tensor(VECTOR, dtype=torch.float64)), normal(3)
    mirrored = mirror @ generator(turn) @ mirror
    there = torch.stack([mirrored[2, 1], mirrored[0, 2], mirrored[1, 0]])
    for name, numbers in ROTATIONS.items():
        quantity, written = table[name]
        signs = torch.tensor([1.0 if sign == "+" else -1.0 for sign in written])
        assert signs.tolist() == quantity.signs("x")
        torch.testing.assert_close(numbers(there), signs * numbers(turn), rtol=0, atol=ROUNDING, msg=name)


# ---- chains of bones ------------------------------------------------------------------------------------------------
PARENTS = (-1, 0, 1, 0, 3, 0, 5, 5)
CHAIN = """\
joints: [hip, l_leg, l_foot, r_leg, r_foot, neck, l_arm, r_arm]
pairs: [[l_leg, r_leg], [l_foot, r_foot], [l_arm, r_arm]]
dims: [x, y, z]
inputs: [{layout: "b j d"}]
outputs: [{layout: "b j d"}]
"""
SWAPPED = (0, 3, 4, 1, 2, 5, 7, 6)
OFFSETS = torch.tensor([[0.0, 0, 0], [0.1, -0.1, 0], [0.05, -0.4, 0.1], [-0.1, -0.1, 0], [-0.05, -0.4, 0.1],
                        [0, 0.5, 0.1], [0.2, 0.4, 0.1], [-0.2, 0.4, 0.1]], dtype=torch.float64)  # fmt: skip


def rotated(q: Tensor, v: Tensor) -> Tensor:
    axis = q[..., 1:]
    once = torch.cross(axis, v, dim=-1)
    return v + 2 * (q[..., :1] * once + torch.cross(axis, once, dim=-1))


def after(q: Tensor, r: Tensor) -> Tensor:
    """The product of two quaternions, from the table of products of their entries."""
    t = r.unsqueeze(2) @ q.unsqueeze(1)
    return torch.stack([
        t[:, 0, 0] - t[:, 1, 1] - t[:, 2, 2] - t[:, 3, 3], t[:, 0, 1] + t[:, 1, 0] - t[:, 2, 3] + t[:, 3, 2],
        t[:, 0, 2] + t[:, 1, 3] + t[:, 2, 0] - t[:, 3, 1], t[:, 0, 3] - t[:, 1, 2] + t[:, 2, 1] + t[:, 3, 0],
    ], 1)  # fmt: skip


def directions(net: Net, x: Tensor) -> Tensor:
    bones = F.normalize(net.last(torch.tanh(net.first(x.flatten(1)))).view(-1, 8, 3), dim=-1) * net.length[:, None]
    places = [x[:, 0]]
    for joint, parent in enumerate(PARENTS[1:], 1):
        places.append(places[parent] + bones[:, joint])
    return torch.stack(places, 1)


def quaternions(net: Net, x: Tensor) -> Tensor:
    turns = F.normalize(net.last(torch.tanh(net.first(x.flatten(1)))).view(-1, 8, 4), dim=-1)
    offsets = net.offsets.expand(len(x), 8, 3)
    places, whole = [x[:, 0]], [turns[:, 0]]
    for joint, parent in enumerate(PARENTS[1:], 1):
        places.append(rotated(whole[parent], offsets[:, joint]) + places[parent])
        whole.append(after(whole[parent], turns[:, joint]))
    return torch.stack(places, 1)


@pytest.mark.one_in(20)
@pytest.mark.parametrize(("compute", "entries"), [(directions, 3), (quaternions, 4)])
def test_bones_one_after_the_other(compute: Layer, entries: int) -> None:
    """Joints are taken out of a hidden axis one by one; nothing but the answer says that they are joints."""
    net = trained(Net(compute, first=nn.Linear(24, 32), last=nn.Linear(32, 8 * entries), offsets=OFFSETS,
                      length=nn.Parameter(torch.rand(8))))  # fmt: skip
    net.offsets.copy_(OFFSETS)  # type: ignore[operator]
    found = chiralize.chiralize(net, parse_spec(CHAIN), (normal(3, 8, 3),), method="match", samples=1)
    x, signs = normal(5, 8, 3, seed=5), torch.tensor(VECTOR)
    with torch.no_grad():
        here, there = found(x), found(x[:, list(SWAPPED)] * signs)
    assert (there - here[:, list(SWAPPED)] * signs).abs().max() <= ROUNDING and here.std(0).min() > 1e-3
