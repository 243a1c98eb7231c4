"""Branches that look as if left and right mirrored each other, and do not (or do, against appearances).

All take `b t j c`; what they give is `b t j c` again, so that a head follows as after any other block.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tests.support.random_blocks import At, Maker, Of, block_of, learned

LOOKALIKES: dict[str, Maker] = {}
Branches = Callable[[Any, Tensor, Tensor, Tensor], Tensor]


def _sides(run: Branches) -> Maker:
    """Left joints, right joints and the first centre joint, through layers of their own; added to all joints."""

    def make(at: At) -> nn.Module:
        lefts, rights, center = at.body.lefts, at.body.rights, at.body.centers[0]

        def forward(s: Any, h: Tensor) -> Tensor:
            rows = h[:, :, lefts].flatten(2), h[:, :, rights].flatten(2), h[:, :, center]
            return s.out(run(s, *rows)).unsqueeze(2) + h

        size = len(lefts) * at.width
        each = {name: nn.Linear(size, at.width) for name in ("a", "b")}
        more = {name: nn.Linear(at.width, at.width) for name in ("c", "d", "e", "out")}
        return Of(forward, **each, **more, act=at.act(), gain=learned(at.width), wide=nn.Linear(2 * at.width, at.width),
                  mask=torch.arange(at.width) * 0.25)  # fmt: skip

    return make


SIDES: dict[str, Branches] = {
    "other constant": lambda s, u, v, c: s.a(u) * 2.0 + s.b(v) * 2.5,
    "other added constant": lambda s, u, v, c: s.act(s.a(u) + 1.0) + s.act(s.b(v) + 0.5),
    "missing op": lambda s, u, v, c: s.act(s.a(u)) + s.b(v),
    "other op": lambda s, u, v, c: torch.sin(s.a(u)) + torch.tanh(s.b(v)),
    "left read twice": lambda s, u, v, c: s.a(u) + s.b(u),
    "right unused": lambda s, u, v, c: s.a(u) + s.c(c),
    "right times zero": lambda s, u, v, c: s.a(u) + 0.0 * s.b(v),
    "a layer shared on one side": lambda s, u, v, c: s.c(s.act(s.c(s.a(u)))) + s.e(s.act(s.d(s.b(v)))),
    "layers crossed": lambda s, u, v, c: s.d(s.c(s.a(u))) + s.c(s.d(s.b(v))),
    "centre's layer used by one side": lambda s, u, v, c: s.c(s.a(u)) + s.d(s.b(v)) + s.c(c),
    "weighted sum": lambda s, u, v, c: torch.add(s.a(u), s.b(v), alpha=2),
    "weighted difference": lambda s, u, v, c: torch.sub(s.a(u), s.b(v), alpha=2),
    "difference": lambda s, u, v, c: s.act(s.a(u) - s.b(v)),
    "difference the other way too": lambda s, u, v, c: s.act(s.a(u) - s.b(v)) + s.act(s.b(v) - s.a(u)),
    "differences of one way": lambda s, u, v, c: torch.exp(s.a(u) - s.b(v)),
    "quotient": lambda s, u, v, c: s.a(u) / (1 + s.b(v).abs()),
    "larger": lambda s, u, v, c: torch.maximum(s.a(u), s.b(v)) - torch.minimum(s.a(u), s.b(v)),
    "larger than the centre": lambda s, u, v, c: torch.maximum(s.a(u), s.c(c)) + torch.minimum(s.b(v), s.c(c)),
    "choice": lambda s, u, v, c: torch.where(s.a(u) > 0, s.a(u), s.b(v)),
    "choice, both ways": lambda s, u, v, c: torch.where(s.a(u) > s.b(v), s.a(u), s.b(v)),
    "sum in a chain": lambda s, u, v, c: s.act((s.a(u) + s.c(c)) + s.b(v)),
    "sum in a chain, twice the left": lambda s, u, v, c: s.act((s.a(u) + s.a(u)) + s.b(v)),
    "sum in a chain, partial sum used": lambda s, u, v, c: _partial(s, s.a(u), s.b(v), s.c(c)),
    "product in a chain": lambda s, u, v, c: (s.a(u) * s.c(c)) * s.b(v),
    "pair": lambda s, u, v, c: s.wide(torch.cat([s.a(u), s.b(v)], -1)),
    "pair, one side bent": lambda s, u, v, c: s.wide(torch.cat([s.a(u), s.act(s.b(v))], -1)),
    "pair of unequal parts": lambda s, u, v, c: s.wide(torch.cat([s.a(u)[..., 1:], s.b(v), s.c(c)[..., :1]], -1)),
    "pair with the centre": lambda s, u, v, c: s.wide(torch.cat([s.a(u) + s.c(c), s.b(v)], -1)),
    "masked alike": lambda s, u, v, c: s.a(u) * s.mask + s.b(v) * s.mask,
    "masked by another mask": lambda s, u, v, c: s.a(u) * s.mask + s.b(v) * (1 - s.mask),
    "gain on one side": lambda s, u, v, c: s.a(u) * s.gain + s.b(v),
    "shared gain": lambda s, u, v, c: s.act(s.a(u) * s.gain) + s.act(s.b(v) * s.gain),
    "one layer for both": lambda s, u, v, c: s.act(s.a(u)) * s.act(s.a(v)),
    "one layer, other input": lambda s, u, v, c: s.act(s.a(u)) * s.act(s.a(u.flip(-1))) + s.b(v),
    "frames shifted": lambda s, u, v, c: s.a(u).roll(1, 1) + s.b(v),
    "frames reversed": lambda s, u, v, c: s.a(u).flip(1) * s.b(v),
    "one frame only": lambda s, u, v, c: s.a(u)[:, :1] + s.b(v)[:, 1:2] + s.c(c),
    "attention, left asks": lambda s, u, v, c: torch.softmax(s.a(u) @ s.b(v).transpose(1, 2), -1) @ s.c(c),
    "attention, both ask": lambda s, u, v, c: _ask(s.a(u), s.b(v)) + _ask(s.b(v), s.a(u)),
    "attention to itself": lambda s, u, v, c: _ask(s.a(u), s.a(u)) + _ask(s.b(v), s.b(v)),
    "added later": lambda s, u, v, c: s.e(s.d(s.a(u)) + s.c(c)) + s.b(v),
    "the centre added from either side": lambda s, u, v, c: s.act(s.a(u) + s.c(c)) + s.act(s.c(c) + s.b(v)),
    "written by halves": lambda s, u, v, c: _written(s, s.a(u), s.b(v)),
}


def _partial(s: Any, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    part = a + c
    return (part + b) * torch.sigmoid(part.sum(-1, keepdim=True))


def _ask(q: Tensor, k: Tensor) -> Tensor:
    return torch.softmax(q @ k.transpose(1, 2), -1) @ k


def _written(s: Any, a: Tensor, b: Tensor) -> Tensor:
    out = torch.zeros_like(a)
    out[:, 0] = a[:, 0]
    out[:, 1:] = b[:, 1:]
    return out


for _name, _run in SIDES.items():
    LOOKALIKES[_name] = _sides(_run)


def _limb(at: At, joints: int) -> nn.Module:
    return nn.Linear(joints * at.width, joints * at.width)


@block_of(LOOKALIKES)
def half_of_a_split(at: At) -> nn.Module:
    """Joints apart by a split, of which one side is dropped."""

    def run(s: Any, h: Tensor) -> Tensor:
        place = s.lefts[0]
        return h + s.a(h.unbind(2)[place]).unsqueeze(2)

    return Of(run, a=at.linear(), lefts=at.body.lefts)


@block_of(LOOKALIKES)
def some_of_a_split(at: At) -> nn.Module:
    sizes = [1] * at.body.joints
    keep = at.rng.sample(range(at.body.joints), at.body.joints - 1)
    return Of(lambda s, h: h + sum(s.a(h.split(sizes, 2)[i]) for i in keep), a=at.linear())


@block_of(LOOKALIKES)
def two_joint_axes(at: At) -> nn.Module:
    """Products of joints with joints: entries are taken out of one axis, then out of the other."""
    lefts, rights = at.body.lefts, at.body.rights
    kind = at.either("same", "crossed", "sum", "mixed")

    def run(s: Any, h: Tensor) -> Tensor:
        products = h @ h.transpose(2, 3)
        rows = [side.unbind(3) for side in (products[:, :, lefts], products[:, :, rights])]
        a, b = rows[0][lefts[0]], rows[0][rights[0]]
        c, d = rows[1][lefts[0]], rows[1][rights[0]]
        found = {"same": s.a(a) + s.b(d), "crossed": s.a(a) + s.b(b), "sum": s.a(a) + s.a(b) + s.b(c) + s.b(d),
                 "mixed": s.a(a) * s.a(b) + (s.b(c) + s.b(d))}[kind]  # fmt: skip
        return h + found.unsqueeze(2)

    return Of(run, a=nn.Linear(len(lefts), at.width), b=nn.Linear(len(lefts), at.width))


@block_of(LOOKALIKES)
def joints_in_another_order(at: At) -> nn.Module:
    """One layer per joint, handed out to the joints in some order."""
    order = list(range(at.body.joints))
    at.rng.shuffle(order)
    layers = nn.ModuleList([at.linear() for _ in range(at.body.joints)])
    if at.either(True, False):  # the same kind of layer everywhere
        layers = nn.ModuleList([nn.Linear(at.width, at.width) for _ in layers])
    return Of(lambda s, h: torch.stack([f(h[:, :, j]) for f, j in zip(s.each, order, strict=True)], 2), each=layers)


@block_of(LOOKALIKES)
def layers_shared_by_some(at: At) -> nn.Module:
    """Joints that share layers with whom they like."""
    made = [nn.Linear(at.width, at.width) for _ in range(at.body.joints)]
    used = [at.rng.randrange(at.body.joints) for _ in made]
    return Of(lambda s, h: torch.stack([s.each[used[j]](h[:, :, j]) for j in range(len(used))], 2),
              each=nn.ModuleList(made))  # fmt: skip


@block_of(LOOKALIKES)
def limbs_listed_in_any_order(at: At) -> nn.Module:
    """Entries of the right limb in another order than those of the left one; some of them twice."""
    lefts, rights = list(at.body.lefts), list(at.body.rights)
    at.rng.shuffle(rights)
    if at.either(True, False):
        lefts, rights = lefts + lefts[:1], rights + rights[:1]
    size = len(lefts) * at.width

    def run(s: Any, h: Tensor) -> Tensor:
        a, b = s.a(h[:, :, lefts].flatten(2)), s.b(h[:, :, rights].flatten(2))
        return h + s.out(torch.cat([a, b], -1)).unsqueeze(2)

    return Of(run, a=nn.Linear(size, at.width), b=nn.Linear(size, at.width), out=nn.Linear(2 * at.width, at.width))


@block_of(LOOKALIKES)
def limbs_over_signs(at: At) -> nn.Module:
    """Layers over frames with a bias of their own per side, added along whatever signs the channels carry."""
    first, second = at.body.lefts[0], at.body.rights[0]

    def run(s: Any, h: Tensor) -> Tensor:
        a = s.a(h[:, :, first].transpose(1, 2)).transpose(1, 2)
        b = s.b(h[:, :, second].transpose(1, 2)).transpose(1, 2)
        return h + (a + b).unsqueeze(2)

    return Of(run, a=nn.Linear(at.frames, at.frames), b=nn.Linear(at.frames, at.frames))


@block_of(LOOKALIKES)
def sides_exchanged_back(at: At) -> nn.Module:
    """What the left layer gives is put where the right joints are."""
    order = at.body.lefts + at.body.rights + at.body.centers
    back = [order.index(i) for i in range(len(order))]
    count = len(at.body.lefts)

    def run(s: Any, h: Tensor) -> Tensor:
        a, b = h[:, :, at.body.lefts], h[:, :, at.body.rights]
        rows = [s.a(a.flatten(2)).view_as(a), s.b(b.flatten(2)).view_as(b), h[:, :, at.body.centers]]
        rows = [rows[1], rows[0], rows[2]] if s.crossed else rows
        return torch.cat(rows, 2)[:, :, back]

    return Of(run, a=_limb(at, count), b=_limb(at, count), crossed=at.either(True, False))
