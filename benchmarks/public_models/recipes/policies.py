"""Policies of walking robots: recipes of public models.

The actor of rsl_rl with the observation that Isaac Lab gives an ANYmal on flat ground, 48 numbers for 12 actions. It is
taken in the three forms that rsl_rl has of it: for TorchScript, for ONNX, and as it is trained.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.public_models.importing import importable
from benchmarks.public_models.recipe import Recipe

REPOSITORY, COMMIT = "leggedrobotics/rsl_rl", "c281c32e5746e75570c1a29bfa78bca0200cc5ff"
OBSERVATIONS, ACTIONS, HIDDEN = 48, 12, 256
_LEGS, _MOTORS = ("LF", "LH", "RF", "RH"), ("HAA", "HFE", "KFE")
_JOINTS = [f"{leg}_{motor}" for motor in _MOTORS for leg in _LEGS]
_OBSERVATION: dict[str, Any] = {
    "fields": [
        {"vector": "linear velocity"}, {"axial": "angular velocity"}, {"vector": "gravity"},
        {"name": "command", "signs": [1, -1, -1]}, {"joints": "positions"}, {"joints": "velocities"},
        {"joints": "last actions"},
    ]
}  # fmt: skip


def _spec(states: int = 0) -> dict[str, Any]:
    """Legs of a robot move outwards about the axis that points forwards. states: how many the net takes and gives."""
    kept = [{"state": True}] * states
    return {
        "joints": _JOINTS, "pairs": [[name, name.replace("L", "R", 1)] for name in _JOINTS if name[0] == "L"],
        "dims": ["angle"], "negate": [], "signs": {name: [-1] for name in _JOINTS if name.endswith("HAA")},
        "lateral": "y", "inputs": [_OBSERVATION, *kept], "outputs": [{"fields": [{"joints": "actions"}]}, *kept],
    }  # fmt: skip


class _Policy(nn.Module):
    """The model as it is trained takes a dictionary; this one takes what stands in it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        """The actions."""
        return self.model({"policy": observation})


def _actor(form: str, recurrent: str = "") -> Callable[[Path], nn.Module]:
    def build(checkout: Path) -> nn.Module:
        """An actor with three hidden layers and normalised observations, in one of its forms."""
        stubs = {"tensordict": {"TensorDict": dict}}
        with importable(checkout, missing=("git", "torch.utils.tensorboard", "neptune", "wandb"), stubs=stubs):
            from rsl_rl.models.mlp_model import MLPModel  # type: ignore[import-not-found]
            from rsl_rl.models.rnn_model import RNNModel  # type: ignore[import-not-found]

            kind = RNNModel if recurrent else MLPModel
            options = {"rnn_type": recurrent, "rnn_hidden_dim": HIDDEN} if recurrent else {}
            model = kind(
                {"policy": torch.zeros(1, OBSERVATIONS)}, {"actor": ["policy"]}, "actor", ACTIONS,
                hidden_dims=[HIDDEN] * 3, obs_normalization=True, **options,
            )  # fmt: skip
            return _Policy(model) if form == "trained" else getattr(model, form)()

    return build


def _observed(states: int = 0) -> Callable[[], tuple[torch.Tensor, ...]]:
    """One drawn observation, and states of zeros."""

    def inputs() -> tuple[torch.Tensor, ...]:
        drawn = torch.randn(1, OBSERVATIONS, generator=torch.Generator().manual_seed(0))
        return (drawn, *(torch.zeros(1, 1, HIDDEN) for _ in range(states)))

    return inputs


def _recipe(name: str, form: str, recurrent: str = "", states: int = 0) -> Recipe:
    return Recipe(
        name, REPOSITORY, COMMIT, build=_actor(form, recurrent), inputs=_observed(states), spec=_spec(states),
        steps=3 if recurrent else 1,
    )  # fmt: skip


RECIPES = [
    _recipe("rsl_rl MLP", "as_jit"),
    _recipe("rsl_rl LSTM", "as_jit", "lstm"),
    _recipe("rsl_rl GRU", "as_jit", "gru"),
    _recipe("rsl_rl LSTM, states as arguments", "as_onnx", "lstm", 2),
    _recipe("rsl_rl GRU, state as an argument", "as_onnx", "gru", 1),
    _recipe("rsl_rl LSTM, state in an attribute", "trained", "lstm"),
    _recipe("rsl_rl GRU, state in an attribute", "trained", "gru"),
]
