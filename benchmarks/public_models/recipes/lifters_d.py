"""Lifters that the mirror cannot pass through as their authors wrote them: recipes of public models."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from benchmarks.public_models.importing import importable, without_gpu
from benchmarks.public_models.recipe import Recipe

TIMM: dict[str, Any] = {"missing": ("timm",), "stubs": {"timm.models.layers": {"DropPath": nn.Identity}}}
"""timm, of which only the dropping of paths is needed, which does nothing after training."""


def _drawn(*shapes: tuple[int, ...]) -> Callable[[], tuple[torch.Tensor, ...]]:
    """Example arguments of these shapes."""

    def inputs() -> tuple[torch.Tensor, ...]:
        """Drawn anew, with the same numbers each time."""
        generator = torch.Generator().manual_seed(0)
        return tuple(torch.randn(*shape, generator=generator) for shape in shapes)

    return inputs


def _stc_former(checkout: Path) -> nn.Module:
    """As run_stc.py has it, with 2 blocks and 64 channels. Its constructor asks for a GPU."""
    without_gpu()
    with importable(checkout, **TIMM):
        from model.stcformer import Model  # type: ignore[import-not-found]

        return Model(Namespace(layers=2, d_hid=64, frames=27, n_joints=17, out_joints=17))


def _hd_former(checkout: Path) -> nn.Module:
    """As config/hdformer.yaml has it. Its constructor makes the adjacency on a GPU: here on the CPU."""
    options = yaml.safe_load((checkout / "config" / "hdformer.yaml").read_text())
    settings = Namespace(**options["DATA"], **options["NETWORK"])
    with importable(checkout, **TIMM):
        from dataset.lib.skeleton import get_skeleton  # type: ignore[import-not-found]
        from models.vertex_model import Model  # type: ignore[import-not-found]

        from chiralize.graph.staying import Staying

        with Staying():
            return Model(get_skeleton(), settings)


RECIPES = [
    Recipe(
        name="STCFormer", repository="zhenhuat/STCFormer", commit="74f660147438f762e2c6748246298c818630ab3f",
        build=_stc_former, inputs=_drawn((1, 27, 17, 2)),
        spec={
            "skeleton": "h36m-17", "inputs": [{"layout": "b t j d", "dims": ["x", "y"]}], "outputs": ["b t j d"],
        },
        asymmetric="filters of 3 x 3 run over the joints, whose order the mirror changes",
        refusal="NeverEquivariantError",
    ),
    Recipe(
        name="HDFormer", repository="hyer/HDFormer", commit="76c8f6772cefcd668e3520f24a0b7acef65ed283",
        build=_hd_former, inputs=_drawn((1, 2, 96, 17), (1, 3, 1, 17), (1, 3, 1, 17)),
        spec={
            "skeleton": "h36m-17",
            "inputs": [{"layout": "b d t j", "dims": ["x", "y"]}, "b d t j", {"layout": "b d t j", "negate": []}],
            "outputs": ["b d t j"],
        },
        asymmetric="the hip has -1 for a parent, which its graph reads as the last joint, the right wrist",
    ),
]  # fmt: skip
