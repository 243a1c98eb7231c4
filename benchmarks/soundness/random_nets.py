"""Random networks on random bodies, each made from one number."""

from __future__ import annotations

import random

import torch
from torch import Tensor, nn

from benchmarks.soundness.blocks import Residual, on_flat, on_joints, on_sequences
from benchmarks.soundness.bodies import Body, random_body


class RandomNet(nn.Module):
    """An embedding of each joint, blocks over joints, then over all of it, then a head.

    Takes and gives `b j d` or `b t j d`.  What the blocks are is drawn; each keeps the shape of its tensor.
    """

    def __init__(self, body: Body, draw: random.Random) -> None:
        super().__init__()
        self.joints, self.dims = len(body.joints), len(body.dims)
        channels, hidden = draw.choice([2, 4, 6]), draw.choice([8, 12, 14])
        self.embed = nn.Linear(self.dims, channels)
        self.over_joints = nn.ModuleList(
            _residual(on_joints(self.joints, channels, draw), draw) for _ in range(draw.randint(0, 3))
        )
        self.flatten = nn.Linear(self.joints * channels, hidden)
        block = on_sequences if body.frames else on_flat
        self.over_all = nn.ModuleList(_residual(block(hidden, draw), draw) for _ in range(draw.randint(0, 3)))
        self.head = nn.Linear(hidden, self.joints * self.dims)
        self.skips = draw.random() < 0.3

    def forward(self, x: Tensor) -> Tensor:
        y = self.embed(x)
        for block in self.over_joints:
            y = block(y)
        y = self.flatten(y.flatten(-2))
        for block in self.over_all:
            y = block(y)
        y = self.head(y).unflatten(-1, (self.joints, self.dims))
        return x + y if self.skips else y


def _residual(block: nn.Module, draw: random.Random) -> nn.Module:
    choice = draw.random()
    return Residual(block, choice < 0.2) if choice < 0.6 else block


def random_net(seed: int) -> tuple[RandomNet, Body]:
    """The network of this number, its weights and the statistics of its norms drawn, in eval mode; and its body."""
    draw = random.Random(seed)
    body = random_body(draw)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = RandomNet(body, draw)
        for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
            if tensor.is_floating_point():
                noise = torch.randn_like(tensor)
                tensor.data = tensor.data + 0.2 * noise if "var" not in name else tensor.data * noise.exp()
    return net.eval(), body
