"""Two processes train chiral networks with DDP and with FSDP2.

Run as `python -m tests.support.chiral_ranks FOLDER KIND-NAME...`, such as `ddp-lstm`.
"""

from __future__ import annotations

import os
import sys
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from chiralize.nn import LSTM, InvariantHead, Linear
from tests.support.chiral_nets import BODY, MIXED, PAIRS, Perceptron, Recurrent, Transformer, relu, tanh, turned
from tests.support.chiral_oracle import apart, noise, scrambled

RANKS, STEPS = 2, 3


class Scored(nn.Module):
    """A network with a head that T leaves alone: its odd block has no entries."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body, InvariantHead(BODY, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).flatten(-2)).sum()


NETS: dict[str, Any] = {
    "perceptron": (lambda: Perceptron(PAIRS, relu), (8, 6, 2)),
    "paper": (lambda: Perceptron(MIXED, tanh), (8, 6, 2)),
    "lstm": (lambda: Recurrent(MIXED, LSTM), (8, 4, 6, 2)),
    "transformer": (lambda: Transformer(PAIRS, 2), (8, 4, 6, 2)),
}


def made(name: str) -> tuple[nn.Module, Tensor]:
    build, shape = NETS[name]
    return scrambled(Scored(build()).double()), noise(*shape)


def train(net: Any, x: Tensor) -> None:
    """On the mean over the ranks, as both wrappers average gradients."""
    optimizer = torch.optim.AdamW(net.parameters(), 1e-2)
    for _ in range(STEPS):
        optimizer.zero_grad()
        (net(x) / len(x)).square().backward()
        optimizer.step()


@cache
def reference(name: str) -> dict[str, Tensor]:
    """The same by one process: the mean of both halves' losses."""
    net, x = made(name)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-2)
    for _ in range(STEPS):
        optimizer.zero_grad()
        sum((net(half) / len(half)).square() / RANKS for half in x.chunk(RANKS)).backward()  # type: ignore[union-attr]
        optimizer.step()
    return net.state_dict()


def wrapped(kind: str, net: nn.Module) -> nn.Module:
    if kind == "ddp":
        return nn.parallel.DistributedDataParallel(net)
    from torch.distributed.fsdp import fully_shard

    for module in reversed(list(net.modules())):  # the innermost first
        if type(module).__name__ in ("Linear", "LSTM", "MultiheadAttention", "LayerNorm"):
            fully_shard(module)
    fully_shard(net)
    return net


def full_state(kind: str, net: Any) -> dict[str, Tensor]:
    if kind == "ddp":
        return net.module.state_dict()
    return {key: own.full_tensor() if hasattr(own, "full_tensor") else own for key, own in net.state_dict().items()}


def rank(place: int, folder: str, *cases: str) -> None:
    """Both ranks train; the first says what it found."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=place, world_size=RANKS)
    found = {}
    for kind, name in (case.split("-") for case in cases):
        net, x = made(name)
        outer: Any = wrapped(kind, net)
        train(outer, x.chunk(RANKS)[place])
        state = full_state(kind, outer)
        outer.eval()
        with torch.no_grad():
            residual = apart(outer(turned(x)), outer(x)) / float(outer(x).abs())
        if place:
            continue
        far = max(apart(own, state[key]) for key, own in reference(name).items() if own.numel())
        found[kind, name] = (far, residual)
        plain = made(name)[0]
        plain.load_state_dict(state)
        assert all(own.is_contiguous() for own in plain.state_dict().values()) and isinstance(plain.head, Linear)
    if not place:
        torch.save(found, Path(folder, "found.pt"))
    dist.barrier()
    os._exit(0)  # all is said: the library's own threads do not always survive their destructors


if __name__ == "__main__":
    way = "fork" if sys.platform == "linux" else "spawn"  # a fork need not import everything once more
    mp.start_processes(rank, tuple(sys.argv[1:]), nprocs=RANKS, start_method=way)  # type: ignore[attr-defined]
