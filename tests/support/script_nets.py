"""Small networks as people script them: policies with a state and a way to reset it, nested arguments and results."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any, Dict, Optional, Tuple  # noqa: UP035 - TorchScript of older torch reads these

import torch
from torch import Tensor, nn

from tests.support.command import BODY, scrambled

FLAT = BODY + 'inputs: [{layout: "b (j d)"}]\noutputs: [{layout: "b (j d)"}]\n'


class Policy(nn.Module):
    """An LSTM policy as rsl_rl exports it: states in buffers, which `reset_memory` clears."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = nn.LSTM(10, 6)
        self.actor = nn.Sequential(nn.Linear(6, 8), nn.ELU(), nn.Linear(8, 10))
        self.register_buffer("hidden_state", torch.zeros(1, 1, 6))
        self.register_buffer("cell_state", torch.zeros(1, 1, 6))
        self.gain = 0.5
        self.robot = "walker"

    def forward(self, x: Tensor) -> Tensor:
        out, (h, c) = self.memory(x.unsqueeze(0), (self.hidden_state, self.cell_state))
        self.hidden_state[:] = h
        self.cell_state[:] = c
        return self.scaled(self.actor(out.squeeze(0)))

    def scaled(self, action: Tensor) -> Tensor:
        return action * self.gain

    @torch.jit.export
    def reset_memory(self) -> None:
        self.hidden_state[:] = 0.0
        self.cell_state[:] = 0.0

    @torch.jit.export
    def clear(self, value: float) -> None:
        self.hidden_state[:] = value
        self.cell_state[:] = value

    @torch.jit.export
    def joints(self) -> int:
        return 5


class Remembers(nn.Module):
    """A policy of few ops with one state, where it is the methods that matter."""

    def __init__(self) -> None:
        super().__init__()
        self.seen, self.kept, self.actor = nn.Linear(10, 6), nn.Linear(6, 6), nn.Linear(6, 10)
        self.register_buffer("hidden_state", torch.zeros(1, 6))
        self.gain = 0.5
        self.robot = "walker"

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.seen(x) + self.kept(self.hidden_state))
        self.hidden_state[:] = hidden
        return self.actor(hidden) * self.gain

    @torch.jit.export
    def reset_memory(self) -> None:
        self.hidden_state[:] = 0.0

    @torch.jit.export
    def clear(self, value: float) -> None:
        self.hidden_state[:] = value

    @torch.jit.export
    def joints(self) -> int:
        return 5


class LopsidedReset(Remembers):
    """Its reset puts the state where the mirror does not leave it alone."""

    def __init__(self) -> None:
        super().__init__()
        self.rest = nn.Parameter(torch.linspace(-1.0, 1.0, 6).reshape(1, 6))

    @torch.jit.export
    def reset_memory(self) -> None:
        self.hidden_state[:] = self.rest


class TakesGoal(Remembers):
    """A method takes a tensor, of which nobody says how it is mirrored."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("goal", torch.zeros(10))

    @torch.jit.export
    def set_goal(self, goal: Tensor) -> None:
        self.goal[:] = goal


class Nested(nn.Module):
    """A dictionary and an optional argument go in, a tuple with a dictionary comes out."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(10, 8)
        self.last = nn.Linear(8, 10)
        self.register_buffer("offset", torch.full((10,), 0.25))
        self.version = 3

    def forward(
        self,
        obs: Dict[str, Tensor],  # noqa: UP006
        noise: Optional[Tensor] = None,  # noqa: UP045
        scale: float = 1.0,
    ) -> Tuple[Tensor, Dict[str, Tensor]]:  # noqa: UP006
        hidden = torch.tanh(self.first(obs["pose"].flatten(1) + self.offset))
        if noise is not None:
            hidden = hidden + noise.sum()
        pose = self.last(hidden).reshape(-1, 5, 2) * scale
        return pose, {"pose": 2.0 * pose, "speed": obs["speed"] * hidden[:, :1]}


class HandsState(nn.Module):
    """A state is an argument and a result."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(10, 6)
        self.head = nn.Linear(6, 10)

    def forward(self, x: Tensor, h: Tensor) -> Tuple[Tensor, Tensor]:  # noqa: UP006
        h = self.cell(x, h)
        return self.head(h), h


class Mlp(nn.Sequential):
    """Nothing but layers."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(10, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.Linear(8, 10))


def script_of(net: nn.Module, *example: Any) -> Any:
    """The network with scrambled weights as TorchScript: traced on an example where there is one, else scripted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if example:
            return torch.jit.trace(scrambled(net), example)
        states = {name: buffer.clone() for name, buffer in net.named_buffers() if name.endswith("_state")}
        scrambled(net).load_state_dict(states, strict=False)
        return torch.jit.script(net.eval())


def save(script: Any, path: Path, **extra: bytes) -> Path:
    """A file of it with further texts, by name."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(script, stream, _extra_files=dict(extra))
    path.write_bytes(stream.getvalue())
    return path


def load(path: Path, *names: str) -> tuple[Any, dict[str, bytes]]:
    """The file in plain torch, and further texts in it."""
    texts: dict[str, Any] = dict.fromkeys(names, "")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.load(path, _extra_files=texts), texts
