"""Random small networks on random skeletons, and T for them written out with plain torch.

A `Plan` says everything: `build(plan)` makes the same network every time, so a plan in a failure's message is all that
is needed to see it again. `plans()` is the hypothesis strategy that draws them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.support.random_blocks import FRAMES, At, Body, Of
from tests.support.random_joint_blocks import BRANCHES, JOINTS
from tests.support.random_lookalikes import LOOKALIKES
from tests.support.zoo.case import scrambled

BLOCKS = {**FRAMES, **JOINTS, **BRANCHES, **LOOKALIKES}
HIDDEN = ("{}", "{negated: 1/2}", "{pairing: skeleton}", "{pairing: skeleton, negated: 1/3}")
FAMILIES = {"frames": tuple(FRAMES), "joints": tuple(JOINTS), "branches": tuple(BRANCHES)}


@dataclass(frozen=True)
class Plan:
    """A network. blocks: names, in order.  seed: of everything else: skeleton, sizes, options, weights."""

    blocks: tuple[str, ...]
    seed: int

    @property
    def method(self) -> str:
        return "match" if self.seed % 3 else "project"


def plans(family: str, least: int = 2, most: int = 4) -> st.SearchStrategy[Plan]:
    """Networks most of whose blocks come from a family."""
    ours = st.sampled_from(FAMILIES[family])
    others = st.sampled_from(tuple(FRAMES) if family == "frames" else (*JOINTS, *FRAMES))
    drawn = st.lists(st.one_of(ours, ours, others), min_size=least - 1, max_size=most - 1)
    return st.builds(lambda first, rest, seed: Plan((first, *rest), seed), ours, drawn, st.integers(0, 2**31))


@dataclass(frozen=True)
class Network:
    """What a plan describes. turns: T on every output (the input's is that of the body)."""

    module: nn.Module
    spec: str
    body: Body
    shape: tuple[int, ...]
    turns: tuple[Callable[[Tensor], Tensor], ...]

    def example(self, seed: int) -> Tensor:
        return torch.randn(self.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def build(plan: Plan) -> Network:
    rng = random.Random(plan.seed)
    body = _body(rng)
    frames, width, batch = rng.choice((3, 4, 5)), rng.choice((8, 12, 16)), 2
    hidden = rng.choice(HIDDEN)
    at = At(body, frames, width, "negated" in hidden and rng.random() < 0.7, rng)
    middle, is_joints = _middle(plan.blocks, at)
    head, entry, turns = _head(at, is_joints)
    spec = f"{_skeleton(body)}hidden: {hidden}\ninputs: [{{layout: b t j d}}]\noutputs: [{', '.join(entry)}]\n"
    module = scrambled(_Network(middle, head).double(), plan.seed).eval()
    return Network(module, spec, body, (batch, frames, body.joints, body.size), tuple(turns))


class _Network(nn.Module):
    def __init__(self, blocks: list[tuple[str, nn.Module]], heads: nn.ModuleList) -> None:
        super().__init__()
        for number, (name, block) in enumerate(blocks):
            self.add_module("".join(c if c.isalnum() else "_" for c in f"{name}_{number}"), block)
        self.order = list(self._modules)
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        h = x
        for name in self.order:
            h = getattr(self, name)(h)
        out = tuple(head(h) for head in self.heads)
        return out if len(out) > 1 else next(iter(out))


# ---- skeletons ---------------------------------------------------------------------------------------------------
def _body(rng: random.Random) -> Body:
    joints = rng.choice((6, 7, 8))
    names = list(range(joints))
    rng.shuffle(names)
    partner = list(range(joints))
    for pair in range(rng.randint(1, (joints - 1) // 2)):
        a, b = names[2 * pair], names[2 * pair + 1]
        partner[a], partner[b] = b, a
    size = rng.choice((2, 3))
    return Body(tuple(partner), size, tuple(sorted(rng.sample(range(size), rng.choice((0, 1, 1, 1, 2))))))


def _skeleton(body: Body) -> str:
    dims = "xyz"[: body.size]
    pairs = [[left, right] for left, right in zip(body.lefts, body.rights, strict=True)]
    return (
        f"joints: [{', '.join(f'p{i}' for i in range(body.joints))}]\npairs: {pairs}\ndims: [{', '.join(dims)}]\n"
        f"negate: [{', '.join(dims[i] for i in body.negated)}]\nlateral: {dims[0]}\n"
    )


# ---- the way in, the blocks, the way out ---------------------------------------------------------------------------
def _middle(names: Sequence[str], at: At) -> tuple[list[tuple[str, nn.Module]], bool]:
    """The blocks, with ways between frames and joints where they are needed; whether joints are left at the end."""
    is_joints = names[0] not in FRAMES
    blocks: list[tuple[str, nn.Module]] = [("take", (_take_joints if is_joints else _take_frames)(at))]
    for name in names:
        wanted = name not in FRAMES
        if wanted != is_joints:
            blocks.append(("join", _split(at) if wanted else _merge(at)))
        blocks.append((name, BLOCKS[name](at)))
        is_joints = wanted
    return blocks, is_joints


def _take_frames(at: At) -> nn.Module:
    size = at.body.joints * at.body.size
    kind = at.either("flat", "flat", "bones", "lengths", "speed", "conv", "coordinate major")
    if kind == "bones":
        return Of(lambda s, x: s.a(torch.cat([x, x - x[:, :, at.body.parents]], -1).flatten(2)), a=at.linear(2 * size))
    if kind == "lengths":
        lengths = at.linear(size + at.body.joints)
        return Of(
            lambda s, x: s.a(torch.cat([x.flatten(2), (x - x[:, :, at.body.parents]).norm(dim=-1)], -1)), a=lengths
        )
    if kind == "speed":
        return Of(_with_speed, a=at.linear(2 * size))
    if kind == "conv":
        conv = nn.Conv1d(size, at.width, 3, padding=1, padding_mode="replicate")
        return Of(lambda s, x: s.conv(x.flatten(2).transpose(1, 2)).transpose(1, 2), conv=conv)
    if kind == "flat":
        return Of(lambda s, x: s.a(x.flatten(2)), a=at.linear(size))
    return Of(lambda s, x: s.a(x.transpose(2, 3).flatten(2)), a=at.linear(size))


def _with_speed(s: Any, x: Tensor) -> Tensor:
    speed = torch.cat([torch.zeros_like(x[:, :1]), x[:, 1:] - x[:, :-1]], 1)
    return s.a(torch.cat([x, speed], 2).flatten(2))


def _take_joints(at: At) -> nn.Module:
    if at.either(True, False):
        return Of(lambda s, x: s.a(x), a=at.linear(at.body.size))
    return Of(lambda s, x: torch.cat([s.a(x - x.mean(2, keepdim=True)), s.b(x.norm(dim=-1, keepdim=True))], -1),
              a=at.linear(at.body.size, at.width - 4), b=at.linear(1, 4))  # fmt: skip


def _merge(at: At) -> nn.Module:
    kind = at.either("flat", "mean", "largest")
    if kind == "flat":
        return Of(lambda s, h: s.a(h.flatten(2)), a=at.linear(at.body.joints * at.width))
    return Of(lambda s, h: s.a(h.mean(2) if kind == "mean" else h.amax(2)), a=at.linear())


def _split(at: At) -> nn.Module:
    return Of(lambda s, h: s.a(h).unflatten(2, (at.body.joints, -1)), a=at.linear(o=at.body.joints * at.width))


Head = tuple[nn.ModuleList, list[str], list[Callable[[Tensor], Tensor]]]


def _head(at: At, is_joints: bool) -> Head:
    body = at.body
    heads, entries, turns = [], [], []
    for kind in at.rng.sample(("pose", "pose", "classes", "invariant"), at.either(1, 1, 2)):
        if kind == "pose":
            size = body.size if is_joints else body.joints * body.size
            heads.append(Of(lambda s, h: s.a(h).unflatten(-1, s.shape), a=at.linear(o=size),
                           shape=(1, body.size) if is_joints else (body.joints, body.size)))  # fmt: skip
            if is_joints:
                heads[-1] = at.linear(o=size)
            entries.append("{layout: b t j d}")
            turns.append(body.turn)
            continue
        summed = (lambda h: h.mean((1, 2))) if is_joints else (lambda h: h.amax(1))
        heads.append(Of(lambda s, h, summed=summed: s.a(summed(h)), a=at.linear(o=5)))
        if kind == "classes":
            entries.append("{classes: {swap: [[0, 3], [1, 4]]}}")
            turns.append(lambda y: y[..., [3, 4, 2, 0, 1]])
        else:
            entries.append("{invariant: true}")
            turns.append(lambda y: y)
    return nn.ModuleList(heads), entries, turns
