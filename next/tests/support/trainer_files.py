"""Checkpoints as trainers write them, built by hand: none of their packages is needed.

What they keep beside the weights are objects of classes of their own; here the classes live in a module that exists
while a file is written, or read back by somebody who trusts it, and at no other time.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

State = dict[str, Tensor]


class Net(nn.Module):
    """What is trained: "batch 10" in, "batch 10" out."""

    def __init__(self, hidden: int = 4) -> None:
        super().__init__()
        self.first = nn.Linear(10, hidden)
        self.norm = nn.BatchNorm1d(hidden)
        self.last = nn.Linear(hidden, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.norm(self.first(x)).relu())


class Touch:
    """Makes a folder when it is unpickled in the ordinary way."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def weights(prefix: str = "", seed: int = 0) -> State:
    """Weights of Net under a prefix."""
    generator = torch.Generator().manual_seed(seed)
    state: State = {}
    for name, tensor in Net().state_dict().items():
        is_count = not tensor.is_floating_point()
        state[prefix + name] = torch.tensor(7) if is_count else torch.rand(tensor.shape, generator=generator) + 0.1
    return state


@contextmanager
def trainers_classes() -> Iterator[None]:
    """Classes of a trainer, importable meanwhile."""
    module = ModuleType("a_trainer")
    for name, base in (("History", object), ("Config", dict)):
        setattr(module, name, type(name, (base,), {"__module__": "a_trainer"}))
    sys.modules["a_trainer"] = module
    try:
        yield
    finally:
        del sys.modules["a_trainer"]


def _optimizer() -> dict[str, Any]:
    """As of Adam, for one weight."""
    moments = {"step": torch.tensor(3.0), "exp_avg": torch.ones(4, 10), "exp_avg_sq": torch.full((4, 10), 2.0)}
    return {"state": {0: moments}, "param_groups": [{"lr": 0.1, "params": [0]}]}


def _objects() -> dict[str, Any]:
    """Objects of the trainer's own; to be called where its classes can be imported."""
    trainer: Any = sys.modules["a_trainer"]
    history, config = trainer.History(), trainer.Config(depth=3)
    history.values, history.tensor = [1.0, 2.0], torch.arange(3)
    return {"history": history, "cfg": config}


def lightning() -> dict[str, Any]:
    """A `.ckpt`, whose network is an attribute `model` of the LightningModule."""
    return {
        "epoch": 3,
        "pytorch-lightning_version": "2.6.0",
        "state_dict": weights("model."),
        "callbacks": _objects(),
        "optimizer_states": [_optimizer()],
        "hyper_parameters": {"hidden": 4, "lr": 0.1},
    }


def rsl_rl_old() -> dict[str, Any]:
    """A `model_*.pt` of rsl_rl 1 to 3."""
    table = {"std": torch.ones(10), **weights("actor."), **weights("critic.", seed=1)}
    table["critic.last.weight"], table["critic.last.bias"] = torch.ones(1, 4), torch.ones(1)
    return {"model_state_dict": table, "optimizer_state_dict": _optimizer(), "iter": 9, "infos": None}


def rsl_rl_new() -> dict[str, Any]:
    """A `model_*.pt` of rsl_rl 4 and later."""
    actor = {**weights(), "distribution.std_param": torch.ones(10)}
    tables = {"actor_state_dict": actor, "critic_state_dict": {"first.weight": torch.ones(1, 10)}}
    return {**tables, "optimizer_state_dict": _optimizer(), "iter": 9, "infos": None}


def mmengine() -> dict[str, Any]:
    """An `epoch_*.pth`."""
    parts = {"meta": {"epoch": 1}, "state_dict": weights("backbone."), "message_hub": _objects()}
    return {**parts, "optimizer": _optimizer()}


CHECKPOINTS: Mapping[str, tuple[str, Any]] = {
    "lightning": ("last.ckpt", lightning),
    "rsl_rl until 3": ("model_9.pt", rsl_rl_old),
    "rsl_rl since 4": ("model_9.pt", rsl_rl_new),
    "mmengine": ("epoch_1.pth", mmengine),
}


def torch_bytes(value: Any) -> bytes:
    """A file of torch.save."""
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def save(name: str, folder: Path, more: Mapping[str, Any] | None = None, *, old: bool = False) -> Path:
    """The checkpoint of this name, under the suffix that its trainer gives it. old: as torch wrote it before 1.6."""
    with trainers_classes():
        file, build = CHECKPOINTS[name]
        torch.save({**build(), **(more or {})}, folder / file, _use_new_zipfile_serialization=not old)
    return folder / file
