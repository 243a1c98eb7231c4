"""siMLPe, which forecasts 22 joints of Human3.6M from 50 frames of cosine coefficients.

Needed beside torch: einops, easydict.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import torch

from benchmarks.public_models.importing import importable
from benchmarks.public_models.recipe import Recipe

# The joints that move, by their places among the 32 of the data set.
MOVING = [2, 3, 4, 5, 7, 8, 9, 10, 12, 13, 14, 15, 17, 18, 19, 21, 22, 25, 26, 27, 29, 30]
FORECAST = {
    "skeleton": "h36m-32",
    "inputs": [{"layout": "b t (j d)", "joints": MOVING}],
    "outputs": [{"layout": "b t (j d)", "joints": MOVING}],
}
SIMLPE = ("dulucas/siMLPe", "c92c537e833443aa55554e4f7956838746550187")


def simlpe(checkout: Path) -> torch.nn.Module:
    """48 layers, of the configuration that comes with the code."""
    with importable(checkout / "exps" / "baseline_h36m"):
        options = importlib.import_module("config").config
        return importlib.import_module("model").siMLPe(options)


def load(model: torch.nn.Module, path: Path) -> None:
    """Read the checkpoint, by the names that its layers have had since."""
    weights = torch.load(path, map_location="cpu", weights_only=True)
    layers = "motion_transformer.transformer.", "motion_mlp.mlps."
    model.load_state_dict({name.replace(*layers): tensor for name, tensor in weights.items()})


def frames() -> tuple[torch.Tensor, ...]:
    """Coefficients as normal numbers."""
    return (torch.randn(1, 50, 66, generator=torch.Generator().manual_seed(7)),)


RECIPES = [
    Recipe("siMLPe", *SIMLPE, simlpe, frames, FORECAST),
    Recipe(
        "siMLPe, its checkpoint",
        *SIMLPE,
        simlpe,
        frames,
        FORECAST,
        checkpoint="checkpoints/h36m_model_40000.pth",
        load=load,
    ),
]
