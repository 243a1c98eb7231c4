"""The files of the tests: a user's module and skeleton, networks in every kind of file, and files that are broken."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from judge import Case, pose, scrambled
from torch import Tensor, nn

PAIRS = [(1, 2), (3, 4)]
BODY = """\
joints: [head, left_hand, right_hand, left_foot, right_foot]
pairs: [[left_hand, right_hand], [left_foot, right_foot]]
dims: [x, y]
negate: [x]
"""
LIFTER = BODY + 'inputs: [{layout: "b j d"}]\noutputs: [{layout: "b j d"}]\n'
NETS = """\
import torch
from torch import nn


class Lifter(nn.Module):
    def __init__(self, hidden: int = 8):
        super().__init__()
        self.first = nn.Linear(10, hidden)
        self.norm = nn.BatchNorm1d(hidden)
        self.last = nn.Linear(hidden, 10)

    def forward(self, poses):
        hidden = self.norm(self.first(poses.flatten(1))).relu()
        return self.last(hidden).unflatten(1, (5, 2))


class UnknownOp(Lifter):
    def forward(self, poses):
        y = super().forward(poses)
        return torch.linalg.matrix_exp(y @ y.transpose(1, 2)) @ y


class DataDependent(Lifter):
    def forward(self, poses):
        y = super().forward(poses)
        return y if y.sum() > 0 else 3 * y + 1


class Lopsided(Lifter):
    def __init__(self):
        super().__init__()
        self.register_buffer("adjacency", torch.arange(25.0).reshape(5, 5))

    def forward(self, poses):
        return super().forward(self.adjacency @ poses)


class Fails(Lifter):
    def forward(self, poses):
        raise ValueError("this network never runs")
"""
SPECS = {
    "body": BODY,
    "lifter": LIFTER,
    "tag": BODY + "note: !!python/object/apply:os.mkdir [was_run]\n",
    "anchor": "joints: &a [left_x, right_x]\ncenter: *a\n",
    "unclosed": "joints: [a, b\npairs: []\n",
    "twice": BODY + "negate: [y]\n",
    "unpaired": BODY.replace(", [left_foot, right_foot]", ""),
    "chain": BODY.replace("[left_foot, right_foot]", "[right_hand, left_foot]"),
    "misspelt": BODY.replace("[left_hand, right_hand]", "[left_hand, right_hnd]"),
    "key": BODY + "pears: []\n",
    "rank": BODY + 'inputs: [{layout: "b t j d"}]\n',
}
_T = (pose(PAIRS),)
CASE = Case("kitchen", lambda: network("Lifter"), {}, ((3, 5, 2),), _T, _T, dtype=torch.float32)


class Touch:
    """Makes a folder when it is unpickled in the ordinary way."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("was_run",)


def network(name: str = "Lifter", seed: int = 0, **arguments: Any) -> nn.Module:
    """A network of the user's module, with weights as after training."""
    space: dict[str, Any] = {"__name__": "nets"}
    exec(compile(NETS, "nets.py", "exec"), space)
    return scrambled(space[name](**arguments), seed)


def poses(count: int = 3, seed: int = 1) -> Tensor:
    """Inputs "sample joint coord"."""
    return torch.randn(count, 5, 2, generator=torch.Generator().manual_seed(seed))


def program(net: nn.Module, path: Path, *inputs: Tensor) -> None:
    """An exported program with an open batch."""
    given = inputs or (poses(),)
    shapes = tuple({0: torch.export.Dim.AUTO} for _ in given)
    torch.export.save(torch.export.export(net.eval(), given, dynamic_shapes=shapes, strict=False), path)


def stored(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def with_member(source: Path, target: Path, end: str, data: bytes) -> None:
    """A copy of an archive in which the member with that end holds something else."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        names = [name for name in old.namelist() if name.endswith(end)]
        assert names, end
        for name in old.namelist():
            new.writestr(name, data if name in names else old.read(name))


def fill(folder: Path) -> None:
    """Write all of them."""
    (folder / "nets.py").write_text(NETS)
    for name, text in SPECS.items():
        (folder / f"{name}.yaml").write_text(text)
    net = network()
    state = net.state_dict()
    program(net, folder / "good.pt2")
    torch.save(state, folder / "weights.pt")
    torch.save({"epoch": 3, "state_dict": state}, folder / "epoch.pth")
    safetensors.torch.save_file(state, folder / "weights.safetensors")
    for name in ("UnknownOp", "DataDependent", "Lopsided", "Fails"):
        torch.save(network(name).state_dict(), folder / f"{name}.pt")
    _broken(folder, state)
    np.save(folder / "poses.npy", poses(64).numpy())
    np.save(folder / "nan.npy", np.full((20, 5, 2), np.nan, np.float32))
    np.save(folder / "wrong.npy", poses(20).numpy()[:, :4])
    np.save(folder / "hostile.npy", np.array([Touch()], dtype=object), allow_pickle=True)
    np.savez(folder / "hostile.npz", poses=np.array([Touch()], dtype=object))


def _broken(folder: Path, state: dict[str, Tensor]) -> None:
    good = (folder / "good.pt2").read_bytes()
    (folder / "empty.pt2").write_bytes(b"")
    (folder / "truncated.pt2").write_bytes(good[: len(good) // 2])
    (folder / "notes.pt2").write_text("no model at all\n")
    torch.save({**state, "norm.running_var": torch.full((8,), float("inf"))}, folder / "inf.pt")
    torch.save({name: state[name] for name in state if name != "last.bias"}, folder / "short.pt")
    (folder / "hostile.pt").write_bytes(stored({"first.weight": Touch()}))
    (folder / "hostile_old.pth").write_bytes(pickle.dumps({"first.weight": Touch()}))
    with_member(folder / "good.pt2", folder / "hostile.pt2", "sample_inputs/model.pt", stored(((Touch(),), {})))
