"""Checkpoints as trainers write them, built by hand: none of their packages is needed.

What they keep beside the weights are objects of classes of their own; here the classes live in modules that exist
while a file is written, or read back by somebody who trusts it, and at no other time.
"""

from __future__ import annotations

import base64
import io
import json
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import safetensors.torch
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


class Overlapping(nn.Module):
    """A layer and a number, of which a file may hold two in one memory."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(10, 4)
        self.last = nn.Parameter(torch.ones(1))


FACTORY = f"{__name__}:Net"


def weights(prefix: str = "", seed: int = 0) -> State:
    """Weights of Net under a prefix."""
    generator = torch.Generator().manual_seed(seed)
    state: State = OrderedDict()
    for name, tensor in Net().state_dict().items():
        is_count = not tensor.is_floating_point()
        state[prefix + name] = torch.tensor(7) if is_count else torch.rand(tensor.shape, generator=generator) + 0.1
    return state


@contextmanager
def trainers_classes() -> Iterator[Mapping[str, type]]:
    """Classes of a trainer, importable meanwhile."""
    module = ModuleType("a_trainer")
    classes: dict[str, type] = {}
    for name in ("History", "Config"):
        base = dict if name == "Config" else object
        classes[name] = type(name, (base,), {"__module__": "a_trainer"})
        setattr(module, name, classes[name])
    sys.modules["a_trainer"] = module
    try:
        yield classes
    finally:
        del sys.modules["a_trainer"]


def optimizer_state() -> dict[str, Any]:
    """As of Adam, for two weights."""
    moments = {"step": torch.tensor(3.0), "exp_avg": torch.ones(4, 10), "exp_avg_sq": torch.full((4, 10), 2.0)}
    return {"state": {0: moments, 1: dict(moments)}, "param_groups": [{"lr": 0.1, "params": [0, 1]}]}


def objects() -> dict[str, Any]:
    """Objects of the trainer's own; to be called where its classes can be imported."""
    trainer: Any = sys.modules["a_trainer"]
    history, config = trainer.History(), trainer.Config(depth=3)
    history.values, history.tensor = [1.0, 2.0], torch.arange(3)
    return {"history": history, "cfg": config}


def lightning(more: Mapping[str, Any] | None = None, hidden: int = 4) -> dict[str, Any]:
    """A `.ckpt`, whose network is an attribute `model` of the LightningModule."""
    return {
        "epoch": 3,
        "global_step": 30,
        "pytorch-lightning_version": "2.6.0",
        "state_dict": weights("model."),
        "loops": {},
        "callbacks": objects(),
        "optimizer_states": [optimizer_state()],
        "hyper_parameters": {"hidden": hidden, "lr": 0.1},
        **(more or {}),
    }


def rsl_rl_old() -> dict[str, Any]:
    """A `model_*.pt` of rsl_rl 1 to 3."""
    table = {"std": torch.ones(10), **weights("actor."), **weights("critic.", seed=1)}
    table["critic.last.weight"], table["critic.last.bias"] = torch.ones(1, 4), torch.ones(1)
    return {"model_state_dict": table, "optimizer_state_dict": optimizer_state(), "iter": 9, "infos": None}


def rsl_rl_new() -> dict[str, Any]:
    """A `model_*.pt` of rsl_rl 4 and later."""
    actor = {**weights(), "distribution.std_param": torch.ones(10)}
    critic = {"first.weight": torch.ones(1, 10), "first.bias": torch.ones(1)}
    tables = {"actor_state_dict": actor, "critic_state_dict": critic, "optimizer_state_dict": optimizer_state()}
    return {**tables, "iter": 9, "infos": None}


def mmengine() -> dict[str, Any]:
    """An `epoch_*.pth`."""
    return {
        "meta": {"epoch": 1, "cfg": "model = dict()"},
        "state_dict": weights("backbone."),
        "message_hub": objects(),
        "optimizer": optimizer_state(),
    }


def torch_bytes(value: Any) -> bytes:
    """A file of torch.save."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def save_sb3(path: Path, blob: bytes = b"not a pickle", state: State | None = None) -> Path:
    """A `.zip` of Stable-Baselines3; `blob` is every pickle in its JSON."""
    text = base64.b64encode(blob).decode()
    space = {":type:": "<class 'gymnasium.spaces.box.Box'>", ":serialized:": text, "_shape": [10]}
    table = {"policy_class": {":type:": "<class 'abc.ABCMeta'>", ":serialized:": text}, "observation_space": space}
    policy = state or {"log_std": torch.ones(10), **weights("actor."), "value_net.weight": torch.ones(1, 4)}
    members = {
        "data": json.dumps({**table, "action_space": space}).encode(),
        "pytorch_variables.pth": torch_bytes(None),
        "policy.pth": torch_bytes(policy),
        "policy.optimizer.pth": torch_bytes(optimizer_state()),
        "_stable_baselines3_version": b"2.9.2",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def save_folder(
    path: Path, shards: int = 1, config: Mapping[str, Any] | None = None, prefix: str = "", suffix: str = "safetensors"
) -> Path:
    """A folder of Hugging Face with its weights in one file, or in several; of torch where the suffix is `bin`."""
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"model_type": "ours", "architectures": ["Ours"], **(config or {})}))
    (path / "README.md").write_text("a model")
    stem = "model" if suffix == "safetensors" else "pytorch_model"
    names = list(weights(prefix))
    index: dict[str, str] = {}
    for shard in range(shards):
        part = {name: weights(prefix)[name] for name in names[shard::shards]}
        file = f"{stem}.{suffix}" if shards == 1 else f"{stem}-{shard + 1:05d}-of-{shards:05d}.{suffix}"
        if suffix == "safetensors":
            safetensors.torch.save_file(part, path / file, metadata={"format": "pt"})
        else:
            torch.save(part, path / file)
        index |= dict.fromkeys(part, file)
    if shards > 1:
        (path / f"{stem}.{suffix}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    return path


def save(name: str, folder: Path) -> Path:
    """The checkpoint of this name, in a file of the suffix that its trainer gives it."""
    if name == "sb3":
        return save_sb3(folder / "policy.zip")
    if name.startswith("huggingface"):
        suffix = "bin" if "bin" in name else "safetensors"
        return save_folder(folder / "hub", 3 if name.endswith("sharded") else 1, suffix=suffix)
    with trainers_classes():
        value: Any = CHECKPOINTS[name][1]()
        path = folder / CHECKPOINTS[name][0]
        torch.save(value, path, _use_new_zipfile_serialization=not name.endswith("before 1.6"))
    return path


CHECKPOINTS: Mapping[str, tuple[str, Any]] = {
    "lightning": ("last.ckpt", lightning),
    "rsl_rl until 3": ("model_9.pt", rsl_rl_old),
    "rsl_rl since 4": ("model_9.pt", rsl_rl_new),
    "mmengine": ("epoch_1.pth", mmengine),
    "mmengine before 1.6": ("epoch_1.pth", mmengine),
}
FOLDERS = ("huggingface", "huggingface sharded", "huggingface bin", "huggingface bin sharded")
NAMES = (*CHECKPOINTS, "sb3", *FOLDERS)
