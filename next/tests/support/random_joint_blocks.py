"""Blocks of random networks with joints as an axis of their own, and branches: layers per joint and per limb.

All take `b t j c` and give the same.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tests.support.random_blocks import At, Body, Maker, Of, block_of, heads, learned

JOINTS: dict[str, Maker] = {}
BRANCHES: dict[str, Maker] = {}


@block_of(JOINTS)
def joint_dense(at: At) -> nn.Module:
    return Of(lambda s, h: s.act(s.a(h)), a=at.linear(), act=at.act())


@block_of(JOINTS)
def joint_mlp(at: At) -> nn.Module:
    return Of(lambda s, h: h + s.b(s.act(s.a(s.norm(h)))), a=at.linear(), b=at.linear(), act=at.act(),
              norm=nn.LayerNorm(at.width))  # fmt: skip


def _adjacency(body: Body) -> Tensor:
    mix = torch.eye(body.joints)
    for place, parent in enumerate(body.parents):
        mix[place, parent] = mix[parent, place] = 0.5
    return mix / mix.sum(1, keepdim=True)


@block_of(JOINTS)
def graph(at: At) -> nn.Module:
    def run(s: Any, h: Tensor) -> Tensor:
        return s.act(torch.einsum("ij,btjc->btic", s.mix, s.a(h)) + s.b(h))

    return Of(run, mix=_adjacency(at.body), a=at.linear(), b=at.linear(), act=at.act())


@block_of(JOINTS)
def learned_graph(at: At) -> nn.Module:
    own = _adjacency(at.body)
    run = at.either(
        lambda s, h: h + (s.own + s.mix) @ s.a(h), lambda s, h: h + s.a(s.own * torch.softmax(s.mix, 1) @ h)
    )
    return Of(run, own=own, mix=learned(at.body.joints, at.body.joints), a=at.linear())


@block_of(JOINTS)
def several_graphs(at: At) -> nn.Module:
    """As spatial graph convolutions write it: one 1x1 convolution for all of them."""

    def run(s: Any, h: Tensor) -> Tensor:
        rows = s.conv(h.permute(0, 3, 1, 2)).unflatten(1, (2, -1))
        return s.act(torch.einsum("bkctj,kji->bcti", rows, s.mix).permute(0, 2, 3, 1))

    mix = torch.stack([torch.eye(at.body.joints), _adjacency(at.body)])
    return Of(run, mix=mix, conv=nn.Conv2d(at.width, 2 * at.width, 1), act=at.act())


@block_of(JOINTS)
def planes(at: At) -> nn.Module:
    conv = nn.Conv2d(at.width, at.width, at.either(1, (3, 1)), padding="same", bias=at.either(True, False))
    return Of(lambda s, h: s.act(s.norm(s.conv(h.permute(0, 3, 1, 2)))).permute(0, 2, 3, 1), conv=conv,
              norm=nn.BatchNorm2d(at.width), act=at.act())  # fmt: skip


@block_of(JOINTS)
def merged_norm(at: At) -> nn.Module:
    def run(s: Any, h: Tensor) -> Tensor:
        return s.norm(h.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, h.shape[2:])

    return Of(run, norm=nn.BatchNorm1d(at.body.joints * at.width))


@block_of(JOINTS)
def joint_places(at: At) -> nn.Module:
    shape = at.either((at.body.joints, at.width), (1, 1, at.body.joints, at.width), (at.frames, at.body.joints, 1))
    return Of(lambda s, h: h + s.place, place=learned(*shape))


@block_of(JOINTS)
def joint_table(at: At) -> nn.Module:
    return Of(lambda s, h: s.act(h + s.table(torch.arange(h.shape[2]))), act=at.act(),
              table=nn.Embedding(at.body.joints, at.width))  # fmt: skip


@block_of(JOINTS)
def joint_attention(at: At) -> nn.Module:
    return Of(lambda s, h: h + heads(s, h), qkv=at.linear(o=3 * at.width), out=at.linear(), heads=at.either(1, 2))


@block_of(JOINTS)
def joint_multihead(at: At) -> nn.Module:
    def run(s: Any, h: Tensor) -> Tensor:
        rows = h.flatten(0, 1)
        return h + s.att(rows, rows, rows, need_weights=False)[0].view_as(h)

    return Of(run, att=nn.MultiheadAttention(at.width, at.either(1, 2), batch_first=True))


@block_of(JOINTS)
def bones(at: At) -> nn.Module:
    parents = at.body.parents
    return Of(lambda s, h: s.a(torch.cat([h, h - h[:, :, parents]], -1)), a=at.linear(2 * at.width))


@block_of(JOINTS)
def reordered(at: At) -> nn.Module:
    order = at.body.lefts + at.body.rights + at.body.centers
    back = [order.index(i) for i in range(len(order))]
    return Of(lambda s, h: s.act(s.a(h[:, :, order].transpose(2, 3))).transpose(2, 3)[:, :, back], act=at.act(),
              a=at.linear(at.body.joints, at.body.joints))  # fmt: skip


@block_of(JOINTS)
def subset(at: At) -> nn.Module:
    sides = [i for pair in zip(at.body.rights, at.body.lefts, strict=True) for i in pair]
    return Of(
        lambda s, h: h + s.a(h[:, :, sides].flatten(2)).unsqueeze(2), a=at.linear(len(sides) * at.width, at.width)
    )


@block_of(JOINTS)
def rooted(at: At) -> nn.Module:
    root = at.body.centers[0]
    return Of(lambda s, h: s.a(h - h[:, :, root : root + 1]) + s.b(h[:, :, root]).unsqueeze(2), a=at.linear(),
              b=at.linear())  # fmt: skip


@block_of(JOINTS)
def written_root(at: At) -> nn.Module:
    root = at.body.centers[-1]

    def run(s: Any, h: Tensor) -> Tensor:
        h = s.a(h).clone()
        h[:, :, root] *= 0.5
        h[..., root, :] += s.shift
        return h

    return Of(run, a=at.linear(), shift=learned(at.width))


@block_of(JOINTS)
def mixer(at: At) -> nn.Module:
    j = at.body.joints
    return Of(lambda s, h: h + s.b(s.act(s.a(h.transpose(2, 3)))).transpose(2, 3), a=at.linear(j, 2 * j),
              b=at.linear(2 * j, j), act=at.act())  # fmt: skip


@block_of(JOINTS)
def pooled(at: At) -> nn.Module:
    pool = at.either(lambda h: h.mean(2), lambda h: h.amax(2), lambda h: h.sum(2), lambda h: h.std(2))
    return Of(lambda s, h: h + s.a(pool(h)).unsqueeze(2), a=at.linear())


@block_of(JOINTS)
def weighted_pool(at: At) -> nn.Module:
    return Of(
        lambda s, h: h * s.b((torch.softmax(s.a(h), 2) * h).sum(2, keepdim=True)), a=at.linear(o=1), b=at.linear()
    )


@block_of(JOINTS)
def class_token(at: At) -> nn.Module:
    def run(s: Any, h: Tensor) -> Tensor:
        rows = torch.cat([s.token.expand(*h.shape[:2], -1, -1), h], 2)
        rows = rows + heads(s, rows)
        return rows[:, :, 1:] * torch.sigmoid(rows[:, :, :1])

    return Of(run, qkv=at.linear(o=3 * at.width), out=at.linear(), heads=1, token=learned(1, 1, 1, at.width))


@block_of(JOINTS)
def joint_tracks(at: At) -> nn.Module:
    """One recurrent layer over the frames of every joint."""

    def run(s: Any, h: Tensor) -> Tensor:
        rows = h.transpose(1, 2).flatten(0, 1)
        return s.rnn(rows)[0].unflatten(0, (h.shape[0], h.shape[2])).transpose(1, 2)

    return Of(run, rnn=at.either(nn.GRU, nn.LSTM)(at.width, at.width, batch_first=True))


@block_of(JOINTS)
def distances(at: At) -> nn.Module:
    return Of(lambda s, h: h + s.a((h.unsqueeze(3) - h.unsqueeze(2)).norm(dim=-1) @ h), a=at.linear())


# ---- branches: layers of their own per joint or per limb ---------------------------------------------------------
def _layers(at: At, i: int, o: int) -> nn.Module:
    return (
        nn.Sequential(at.linear(i, at.width), at.act(), at.linear(at.width, o)) if at.either(0, 1) else at.linear(i, o)
    )


def _per_joint(at: At) -> nn.ModuleList:
    """One network per joint, all alike."""
    state = at.rng.getstate()
    made = []
    for _ in range(at.body.joints):
        at.rng.setstate(state)
        made.append(_layers(at, at.width, at.width))
    return nn.ModuleList(made)


@block_of(BRANCHES)
def layer_per_joint(at: At) -> nn.Module:
    return Of(lambda s, h: torch.stack([f(h[:, :, j]) for j, f in enumerate(s.each)], 2), each=_per_joint(at))


@block_of(BRANCHES)
def layer_per_slice(at: At) -> nn.Module:
    return Of(lambda s, h: h + torch.cat([f(h[:, :, j : j + 1]) for j, f in enumerate(s.each)], 2), each=_per_joint(at))


@block_of(BRANCHES)
def layer_per_unbound(at: At) -> nn.Module:
    return Of(
        lambda s, h: torch.stack([f(x) for f, x in zip(s.each, h.unbind(2), strict=True)], 2), each=_per_joint(at)
    )


@block_of(BRANCHES)
def summed_joints(at: At) -> nn.Module:
    def run(s: Any, h: Tensor) -> Tensor:
        total: Any = sum(f(h[:, :, j]) for j, f in enumerate(s.each))
        return h + total.unsqueeze(2)

    return Of(run, each=_per_joint(at))


@block_of(BRANCHES)
def chained_joints(at: At) -> nn.Module:
    """From the root outwards: what a joint gives goes into its children."""

    def run(s: Any, h: Tensor) -> Tensor:
        done: dict[int, Tensor] = {}
        for joint in sorted(range(len(s.parents)), key=s.depth.__getitem__):
            own = s.each[joint](h[:, :, joint])
            done[joint] = own if s.depth[joint] == 0 else own + done[s.parents[joint]]
        return torch.stack([done[joint] for joint in range(len(s.parents))], 2)

    parents = at.body.parents
    depth = [0] * len(parents)
    for joint in range(len(parents)):
        place = joint
        while parents[place] != place:
            place, depth[joint] = parents[place], depth[joint] + 1
    return Of(run, each=_per_joint(at), parents=parents, depth=depth)


def _limbs(at: At) -> tuple[list[list[int]], list[int]]:
    """Left side, right side and centre, and where every joint is found in their concatenation."""
    parts = [at.body.lefts, at.body.rights, at.body.centers]
    at.rng.shuffle(parts)
    order = [i for part in parts for i in part]
    return parts, [order.index(i) for i in range(len(order))]


def _per_limb(at: At, parts: list[list[int]], axis: int) -> nn.ModuleList:
    """One network per part; alike where parts are of the same size."""
    made, state = [], at.rng.getstate()
    for part in parts:
        at.rng.setstate(state)
        size = len(part) * axis
        made.append(_layers(at, size, size))
    return nn.ModuleList(made)


@block_of(BRANCHES)
def layer_per_limb(at: At) -> nn.Module:
    def run(s: Any, h: Tensor) -> Tensor:
        out = [
            f(h[:, :, part].flatten(2)).unflatten(2, (len(part), -1)) for f, part in zip(s.each, s.parts, strict=True)
        ]
        return torch.cat(out, 2)[:, :, s.back]

    parts, back = _limbs(at)
    return Of(run, each=_per_limb(at, parts, at.width), parts=parts, back=back)


@block_of(BRANCHES)
def limbs_over_joints(at: At) -> nn.Module:
    def run(s: Any, h: Tensor) -> Tensor:
        out = [f(h[:, :, part].transpose(2, 3)).transpose(2, 3) for f, part in zip(s.each, s.parts, strict=True)]
        return h + torch.cat(out, 2)[:, :, s.back]

    parts, back = _limbs(at)
    return Of(run, each=_per_limb(at, parts, 1), parts=parts, back=back)


@block_of(BRANCHES)
def shared_sides(at: At) -> nn.Module:
    """One network for both sides, another for the centre."""
    parts, back = [at.body.lefts, at.body.rights, at.body.centers], []
    order = sum(parts, [])
    back = [order.index(i) for i in range(len(order))]

    def run(s: Any, h: Tensor) -> Tensor:
        rows = [h[:, :, part].flatten(2) for part in parts]
        out = [s.side(rows[0]), s.side(rows[1]), s.center(rows[2])]
        return torch.cat([own.unflatten(2, (-1, h.shape[3])) for own in out], 2)[:, :, back]

    sizes = [len(part) * at.width for part in parts]
    return Of(run, side=_layers(at, sizes[0], sizes[0]), center=_layers(at, sizes[2], sizes[2]))


@block_of(BRANCHES)
def sides_compared(at: At) -> nn.Module:
    """Both sides apart through recurrent layers, brought together by an exchange of left and right."""
    lefts, rights = at.body.lefts, at.body.rights
    kind = at.either("sum", "product", "larger", "pair")

    def run(s: Any, h: Tensor) -> Tensor:
        a, b = s.left(h[:, :, lefts].flatten(2))[0], s.right(h[:, :, rights].flatten(2))[0]
        both = {"sum": a + b, "product": a * b, "larger": torch.maximum(a, b), "pair": torch.cat([a, b], -1)}[kind]
        return h + s.out(both).unsqueeze(2)

    size = len(lefts) * at.width
    return Of(run, left=nn.GRU(size, at.width, batch_first=True), right=nn.GRU(size, at.width, batch_first=True),
              out=at.linear(2 * at.width if kind == "pair" else at.width))  # fmt: skip


@block_of(BRANCHES)
def token_per_limb(at: At) -> nn.Module:
    """A token per part of the body, attention over the tokens, and back."""

    def run(s: Any, h: Tensor) -> Tensor:
        rows = torch.stack([f(h[:, :, part].flatten(2)) for f, part in zip(s.each, s.parts, strict=True)], 2)
        rows = rows + heads(s, rows)
        out = [
            f(rows[:, :, i]).unflatten(2, (len(part), -1))
            for i, (f, part) in enumerate(zip(s.backs, s.parts, strict=True))
        ]
        return torch.cat(out, 2)[:, :, s.back]

    parts, back = _limbs(at)
    sizes = [len(part) * at.width for part in parts]
    return Of(run, each=nn.ModuleList([nn.Linear(size, at.width) for size in sizes]), qkv=at.linear(o=3 * at.width),
              backs=nn.ModuleList([nn.Linear(at.width, size) for size in sizes]), out=at.linear(), heads=1,
              parts=parts, back=back)  # fmt: skip
