"""Lifters from joints in pictures to joints in space, that mix joints by a graph or body parts: recipes."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.public_models.importing import importable, without_gpu
from benchmarks.public_models.recipe import Recipe

IN_PICTURES = {"layout": "b t j d", "dims": ["x", "y"]}
TIMM: dict[str, Any] = {"missing": ("timm", "matplotlib"), "stubs": {"timm.models.layers": {"DropPath": nn.Identity}}}
"""timm, of which only the dropping of paths is needed, which does nothing after training."""
PARENTS = [-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15]
"""Of the 17 joints of Human3.6M; those of 16 have no joint 9."""


def _drawn(*shape: int) -> Callable[[], tuple[torch.Tensor, ...]]:
    """One example argument."""
    return lambda: (torch.randn(*shape, generator=torch.Generator().manual_seed(0)),)


def _graph_mlp(checkout: Path) -> nn.Module:
    """As common/arguments.py has it by default, for single frames."""
    options = Namespace(frames=1, channel=512, layers=3, d_hid=1024, token_dim=256, n_joints=17)
    with importable(checkout, **TIMM):
        from model.graphmlp import Model  # type: ignore[import-not-found]

        return Model(options)


def _ktp_former(checkout: Path) -> nn.Module:
    """As run_ktpformer.py has it, with 9 frames, 2 blocks and 32 channels."""
    with importable(checkout, **TIMM):
        from common.graph_utils import (  # type: ignore[import-not-found]
            adj_mx_from_skeleton_3dhp,
            adj_mx_from_skeleton_temporal,
        )
        from common.model_ktpformer import KTPFormer  # type: ignore[import-not-found]

        joints = adj_mx_from_skeleton_3dhp(17, PARENTS)
        frames = adj_mx_from_skeleton_temporal(9, list(range(-1, 8)))
        return KTPFormer(joints, frames, num_frame=9, num_joints=17, embed_dim_ratio=32, depth=2)


# ---- Modulated GCN, of 16 joints ------------------------------------------------------------------------------------
def _modulated_gcn(non_local: bool) -> Callable[[Path], nn.Module]:
    """As main_gcn.py has it by default, without or with non-local layers."""

    def build(checkout: Path) -> nn.Module:
        """An import of `reduce` is missing."""
        with importable(checkout / "Modulated_GCN" / "Modulated_GCN_gt"):
            from common.graph_utils import adj_mx_from_edges  # type: ignore[import-not-found]
            from common.h36m_dataset import h36m_skeleton_joints_group  # type: ignore[import-not-found]
            from models import modulated_gcn  # type: ignore[import-not-found]

            vars(modulated_gcn)["reduce"] = reduce
            parents = [-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 8, 10, 11, 8, 13, 14]
            edges = list(enumerate(parents))[1:]
            groups = h36m_skeleton_joints_group if non_local else None
            adjacency = adj_mx_from_edges(16, edges, sparse=False)
            return modulated_gcn.ModulatedGCN(adjacency, 128, num_layers=4, nodes_group=groups)

    return build


# ---- RIE: five parts of the body ------------------------------------------------------------------------------------
def _rie(stage: int, widths: list[int], channels: int, latent: int) -> Callable[[Path], nn.Module]:
    """As run.py has the network for evaluation."""

    def build(checkout: Path) -> nn.Module:
        """forward asks for a GPU in later stages."""
        without_gpu()
        with importable(checkout):
            from common.model import RIEModel  # type: ignore[import-not-found]

            return RIEModel(
                17, 2, 17, widths, channels=channels, latten_features=latent, is_train=False, stage=stage
            )  # fmt: skip

    return build


H36M = {"skeleton": "h36m-17", "inputs": [IN_PICTURES], "outputs": ["b t j d"]}
SIXTEEN = {"skeleton": "h36m-16", "inputs": [{"layout": "b j d", "dims": ["x", "y"]}], "outputs": ["b j d"]}

RECIPES = [
    Recipe(
        name="GraphMLP", repository="Vegetebird/GraphMLP", commit="4b08600a96f8b18d91ab94b3a61a304d4304f6dc",
        build=_graph_mlp, inputs=_drawn(1, 1, 17, 2), spec=H36M,
    ),
    Recipe(
        name="KTPFormer", repository="JihuaPeng/KTPFormer", commit="b961951a2856dfa631b71bb1058ebebb7fc9acee",
        build=_ktp_former, inputs=_drawn(1, 9, 17, 2), spec=H36M,
    ),
    Recipe(
        name="Modulated-GCN", repository="ZhimingZo/Modulated-GCN", commit="fd15af1b0105479e03d56a479d6ed6e592cab292",
        build=_modulated_gcn(non_local=False), inputs=_drawn(2, 16, 2), spec=SIXTEEN,
    ),
    Recipe(
        name="Modulated-GCN, non-local", repository="ZhimingZo/Modulated-GCN",
        commit="fd15af1b0105479e03d56a479d6ed6e592cab292", build=_modulated_gcn(non_local=True),
        inputs=_drawn(2, 16, 2), spec=SIXTEEN,
    ),
    Recipe(
        name="RIE, stage 1", repository="paTRICK-swk/Pose3D-RIE", commit="bd3f488b2ed0b30c9f3a02b777f741dae7750e4e",
        build=_rie(1, [3, 3], 32, 32), inputs=_drawn(2, 9, 17, 2), spec=H36M,
    ),
    Recipe(
        name="RIE, stage 3", repository="paTRICK-swk/Pose3D-RIE", commit="bd3f488b2ed0b30c9f3a02b777f741dae7750e4e",
        build=_rie(3, [3, 3, 3, 3, 3], 256, 256), inputs=_drawn(2, 243, 17, 2), spec=H36M,
    ),
]  # fmt: skip
