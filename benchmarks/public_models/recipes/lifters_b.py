"""Lifters that are transformers over joints and frames.

Needed beside torch: einops, and torch-dct for PoseFormerV2. Of timm they only use what an evaluation leaves out.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from benchmarks.public_models.importing import importable
from benchmarks.public_models.recipe import Recipe

LIFT = {"skeleton": "h36m-17", "inputs": [{"layout": "b t j d", "dims": ["x", "y"]}], "outputs": ["b t j d"]}
TWICE = {**LIFT, "outputs": ["b t j d", "b t j d"]}  # the frame in the middle, and all frames
CONFIDENT = {**LIFT, "inputs": [{"layout": "b t j d", "dims": ["x", "y", "confidence"], "negate": ["x"]}]}
PEOPLE = {  # an axis of people behind the joints
    **LIFT,
    "inputs": [{"layout": "b d t j m", "dims": ["x", "y"]}],
    "outputs": ["b d t j m", "b d t j m"],
}


def drawn(*sizes: int) -> Callable[[], tuple[torch.Tensor, ...]]:
    """Example inputs: one tensor of normal numbers."""
    return lambda: (torch.randn(sizes, generator=torch.Generator().manual_seed(7)),)


def without_timm(checkout: Path) -> AbstractContextManager[None]:
    """The checkout, with an identity for dropped paths: those are for training."""
    layers = {"DropPath": torch.nn.Identity, "trunc_normal_": torch.nn.init.trunc_normal_}
    return importable(checkout, missing=("timm", "local_attention"), stubs={"timm.models.layers": layers})


def sizes(frames: int, channels: int, hidden: int, **more: Any) -> SimpleNamespace:
    """The options that three families of transformers read, by the names of their command lines."""
    return SimpleNamespace(layers=3, channel=channels, d_hid=hidden, frames=frames, n_joints=17, out_joints=17, **more)


# ---- joints first, then frames -------------------------------------------------------------------------------------
def poseformer(checkout: Path) -> torch.nn.Module:
    """27 frames; the published size has 81."""
    with without_timm(checkout):
        network = importlib.import_module("common.model_poseformer")
        return network.PoseTransformer(num_frame=27, qkv_bias=True, drop_path_rate=0)


def poseformer_v2(checkout: Path) -> torch.nn.Module:
    """81 frames, of which 9 are looked at and 9 frequencies of all."""
    options = SimpleNamespace(embed_dim_ratio=32, depth=4, number_of_kept_frames=9, number_of_kept_coeffs=9)
    with without_timm(checkout):
        network = importlib.import_module("common.model_poseformer")
        return network.PoseTransformerV2(num_frame=81, drop_path_rate=0, args=options)


def mixste(checkout: Path) -> torch.nn.Module:
    """27 frames and 64 channels; the published size has 243 and 512."""
    with without_timm(checkout):
        network = importlib.import_module("common.model_cross")
        return network.MixSTE2(num_frame=27, embed_dim_ratio=64, depth=8, drop_path_rate=0)


# ---- joints and frames side by side --------------------------------------------------------------------------------
def motionbert(checkout: Path) -> torch.nn.Module:
    """The Lite network, with a table of 243 frames."""
    with importable(checkout):
        network = importlib.import_module("lib.model.DSTformer")
        return network.DSTformer(dim_feat=256, dim_rep=512, depth=5, num_heads=8, mlp_ratio=4, maxlen=243)


def motionagformer(checkout: Path, convolution: bool) -> torch.nn.Module:
    """XS: 12 layers for 27 frames. Its branch of graphs goes on over frames by a graph, or by a convolution."""
    with without_timm(checkout):
        network = importlib.import_module("model.MotionAGFormer")
        return network.MotionAGFormer(
            n_layers=12, dim_in=3, dim_feat=64, num_heads=8, neighbour_num=2, use_tcn=convolution, n_frames=27
        )


# ---- frames of whole poses -----------------------------------------------------------------------------------------
def strided_transformer(checkout: Path) -> torch.nn.Module:
    """27 frames; the published size has 351."""
    with importable(checkout):
        network = importlib.import_module("model.strided_transformer")
        return network.Model(sizes(27, 256, 512, stride_num=[3, 3, 3]))


def p_stmo(checkout: Path) -> torch.nn.Module:
    """243 frames."""
    with importable(checkout):
        network = importlib.import_module("model.stmo")
        return network.Model(sizes(243, 256, 512, stride_num=[3, 3, 3, 3, 3]))


def mhformer(checkout: Path) -> torch.nn.Module:
    """351 frames."""
    with without_timm(checkout):
        return importlib.import_module("model.mhformer").Model(sizes(351, 512, 1024))


AGFORMER = ("TaatiTeam/MotionAGFormer", "4756fd1eb7cc73f0e991f091ff2280e030ab85f3")
ONE_LEG = "the table of connections joins the hip to the right leg only"
OVER_FRAMES = "layer norm over the frames of one coordinate: a negated x meets scales and biases per frame"

RECIPES = [
    Recipe(
        "poseformer",
        "zczcwh/PoseFormer",
        "a908b29adca354b2e0acd36606229ca19b6a5e3c",
        poseformer,
        drawn(1, 27, 17, 2),
        LIFT,
    ),
    Recipe(
        "poseformer-v2",
        "QitaoZhao/PoseFormerV2",
        "008036a66048e2dcb6fcf8d5b05a705ad1d2f392",
        poseformer_v2,
        drawn(1, 81, 17, 2),
        LIFT,
    ),
    Recipe(
        "motionbert",
        "Walter0807/MotionBERT",
        "dccfe7b14a7f09aae2e27a16d951cb4c6f6e62f6",
        motionbert,
        drawn(1, 27, 17, 3),
        CONFIDENT,
    ),
    Recipe(
        "strided-transformer",
        "Vegetebird/StridedTransformer-Pose3D",
        "e5e62479360687a6cb42b10dc08427a6e8feb43f",
        strided_transformer,
        drawn(1, 27, 17, 2),
        TWICE,
    ),
    Recipe(
        "mhformer",
        "Vegetebird/MHFormer",
        "eba3cc3db71cae0ff8137e8b260dff348e7457b4",
        mhformer,
        drawn(1, 351, 17, 2),
        LIFT,
        asymmetric=OVER_FRAMES,
        refusal="NegatedChannelsError",
    ),
    Recipe(
        "mixste",
        "JinluZhang1126/MixSTE",
        "72a36be891a74892dd1a8611159a395ed33a7a01",
        mixste,
        drawn(1, 27, 17, 2),
        LIFT,
    ),
    Recipe(
        "p-stmo",
        "paTRICK-swk/P-STMO",
        "aea43d0131e39d8a963598d88331f3f28055afee",
        p_stmo,
        drawn(1, 2, 243, 17, 1),
        PEOPLE,
    ),
    Recipe(
        "motionagformer",
        *AGFORMER,
        lambda checkout: motionagformer(checkout, convolution=False),
        drawn(1, 27, 17, 3),
        CONFIDENT,
        asymmetric=ONE_LEG,
    ),
    Recipe(
        "motionagformer-tcn",
        *AGFORMER,
        lambda checkout: motionagformer(checkout, convolution=True),
        drawn(1, 27, 17, 3),
        CONFIDENT,
        asymmetric=ONE_LEG,
    ),
]
