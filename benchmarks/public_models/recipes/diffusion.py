"""Denoisers of diffusion models of poses, of motion and of actions: recipes of public models.

The step of the diffusion is a number that the mirror leaves alone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.public_models.importing import importable, shipped
from benchmarks.public_models.recipe import Recipe

TIMM: dict[str, Any] = {"missing": ("timm",), "stubs": {"timm.models.layers": {"DropPath": nn.Identity}}}
"""timm, of which only the dropping of paths is needed, which does nothing after training."""
STEP = {"free": True}


def _drawn(*shapes: tuple[int, ...]) -> Callable[[], tuple[torch.Tensor, ...]]:
    """Example arguments: of no shape, the step of the diffusion; drawn, of any other."""

    def inputs() -> tuple[torch.Tensor, ...]:
        """Drawn anew, with the same numbers each time."""
        generator = torch.Generator().manual_seed(0)
        step = torch.tensor([7])
        return tuple(torch.randn(*shape, generator=generator) if shape else step for shape in shapes)

    return inputs


# ---- poses and motion -----------------------------------------------------------------------------------------------
def _d3dp(checkout: Path) -> nn.Module:
    """As common/diffusionpose.py has it in training, with 27 frames and 64 channels."""
    with importable(checkout, **TIMM):
        from common.mixste import MixSTE2  # type: ignore[import-not-found]

        return MixSTE2(
            num_frame=27, num_joints=17, in_chans=2, embed_dim_ratio=64, depth=8, num_heads=8, mlp_ratio=2.0,
            qkv_bias=True, drop_path_rate=0, is_train=True,
        )  # fmt: skip


def _human_mac(checkout: Path) -> nn.Module:
    """As cfg/h36m.yml has it: 16 joints, from which that of the hip is subtracted, and 20 coefficients of each."""
    with importable(checkout, missing=("pandas", "tensorboardX")):
        from models.transformer import MotionTransformer  # type: ignore[import-not-found]

        return MotionTransformer(48, num_frames=20, latent_dim=512, num_layers=8, num_heads=8, dropout=0.2)


# ---- actions --------------------------------------------------------------------------------------------------------
class Conditioned(nn.Module):
    """A denoiser that takes its observations by name, given them as the third argument."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, sample: torch.Tensor, step: torch.Tensor, observations: torch.Tensor) -> torch.Tensor:
        """The noise in the actions."""
        return self.model(sample, step, global_cond=observations)


def _diffusion_policy(checkout: Path) -> nn.Module:
    """As train_diffusion_unet_lowdim_workspace.yaml has it, for a robot of 12 joints.

    It observes 48 numbers at each of two steps.
    """
    with importable(checkout):
        from diffusion_policy.model.diffusion.conditional_unet1d import (  # type: ignore[import-not-found]
            ConditionalUnet1D,
        )

        return Conditioned(ConditionalUnet1D(
            12, global_cond_dim=96, diffusion_step_embed_dim=256, down_dims=[256, 512, 1024], kernel_size=5,
            n_groups=8, cond_predict_scale=True,
        ))  # fmt: skip


OBSERVED = [
    {"vector": "base_linear_velocity"}, {"axial": "base_angular_velocity"}, {"vector": "projected_gravity"},
    {"signs": [1, -1, -1], "name": "command"}, {"joints": "q"}, {"joints": "dq"}, {"joints": "last_action"},
]  # fmt: skip

RECIPES = [
    Recipe(
        name="D3DP denoiser", repository="paTRICK-swk/D3DP", commit="afcdd05df676452fa42cd3cf62ba9c7174c1f78d",
        build=_d3dp, inputs=_drawn((1, 27, 17, 2), (1, 27, 17, 3), ()),
        spec={
            "skeleton": "h36m-17", "inputs": [{"layout": "b t j d", "dims": ["x", "y"]}, "b t j d", STEP],
            "outputs": ["b t j d"],
        },
    ),
    Recipe(
        name="HumanMAC", repository="LinghaoChan/HumanMAC", commit="bca474895b466cf97eb632acce6c9c4bf20c62c1",
        build=_human_mac, inputs=_drawn((1, 20, 48), (), (1, 20, 48)),
        spec={
            **shipped("h36m-17", range(1, 17)), "inputs": ["b t (j d)", STEP, "b t (j d)"], "outputs": ["b t (j d)"],
        },
    ),
    Recipe(
        name="diffusion policy, U-Net", repository="real-stanford/diffusion_policy",
        commit="5ba07ac6661db573af695b419a7947ecb704690f", build=_diffusion_policy,
        inputs=_drawn((1, 16, 12), (), (1, 96)),
        spec={
            "skeleton": "quadruped-12", "inputs": ["b t (j d)", STEP, {"fields": OBSERVED + OBSERVED}],
            "outputs": ["b t (j d)"],
        },
        asymmetric="a Mish bends what is observed, of which 36 numbers change their sign",
        refusal="NegatedChannelsError",
    ),
]  # fmt: skip
