"""Recognisers of actions that convolve over the graph of the joints, and HCN: recipes of public models.

Scores of actions have no left and right: they are invariant. The number of frames is smaller than in training.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.public_models.importing import importable, without_gpu
from benchmarks.public_models.recipe import Recipe

PEOPLE: dict[str, Any] = {
    "skeleton": "ntu-25", "inputs": [{"layout": "b d t j m"}], "outputs": [{"invariant": True}],
}  # fmt: skip
"""What recognisers of NTU RGB+D want: coordinates, frames, joints, people."""
IN_PICTURES: dict[str, Any] = {
    "skeleton": "openpose-18", "dims": ["x", "y", "score"], "inputs": [{"layout": "b d t j m"}],
    "outputs": [{"invariant": True}],
}  # fmt: skip
"""Joints found in pictures, with how sure the detector is of each."""


def _people(frames: int, joints: int = 25) -> Callable[[], tuple[torch.Tensor, ...]]:
    """Two people, drawn."""
    return lambda: (torch.randn(1, 3, frames, joints, 2, generator=torch.Generator().manual_seed(0)),)


# ---- ST-GCN ---------------------------------------------------------------------------------------------------------
def _st_gcn(layout: str, classes: int) -> Callable[[Path], torch.nn.Module]:
    def build(checkout: Path) -> torch.nn.Module:
        """As config/st_gcn/*/train.yaml has it."""
        with importable(checkout):
            from net.st_gcn import Model  # type: ignore[import-not-found]

            graph = {"layout": layout, "strategy": "spatial"}
            return Model(3, classes, graph_args=graph, edge_importance_weighting=True)

    return build


# ---- attention and learned graphs -----------------------------------------------------------------------------------
def _agcn(checkout: Path) -> torch.nn.Module:
    """As config/nturgbd-cross-view/train_joint.yaml has it."""
    without_gpu()
    with importable(checkout):
        from model.agcn import Model  # type: ignore[import-not-found]

        return Model(num_class=60, graph="graph.ntu_rgb_d.Graph", graph_args={"labeling_mode": "spatial"})


def _ms_g3d(checkout: Path) -> torch.nn.Module:
    """As config/nturgbd-cross-view/train_joint.yaml has it."""
    with importable(checkout, missing=("tensorboardX",)):
        from model.msg3d import Model  # type: ignore[import-not-found]

        return Model(60, 25, 2, num_gcn_scales=13, num_g3d_scales=6, graph="graph.ntu_rgb_d.AdjMatrixGraph")


def _ctr_gcn(checkout: Path) -> torch.nn.Module:
    """As config/nturgbd-cross-subject/default.yaml has it."""
    with importable(checkout):
        from model.ctrgcn import Model  # type: ignore[import-not-found]

        return Model(num_class=60, graph="graph.ntu_rgb_d.Graph", graph_args={"labeling_mode": "spatial"})


def _hcn(checkout: Path) -> torch.nn.Module:
    """As experiments/NTU-RGB-D-CS/HCN01/params.json has it."""
    with importable(checkout, missing=("torchvision", "openpyxl", "tensorboardX", "matplotlib")):
        from model.HCN import HCN  # type: ignore[import-not-found]

        return HCN(window_size=32)


RECIPES = [
    Recipe(
        "ST-GCN, NTU", "yysijie/st-gcn", "221c0e152054b8da593774c0d483e59befdb9061",
        build=_st_gcn("ntu-rgb+d", 60), inputs=_people(16), spec=PEOPLE,
    ),
    Recipe(
        "ST-GCN, Kinetics", "yysijie/st-gcn", "221c0e152054b8da593774c0d483e59befdb9061",
        build=_st_gcn("openpose", 400), inputs=_people(16, 18), spec=IN_PICTURES,
    ),
    Recipe(
        "2s-AGCN", "lshiwjx/2s-AGCN", "953c14fc10883cd869646328f5d522e9e9282063",
        build=_agcn, inputs=_people(16), spec=PEOPLE,
    ),
    Recipe(
        "MS-G3D", "kenziyuliu/MS-G3D", "2f927f47143c7242e4875ddb08727bf5396aab46",
        build=_ms_g3d, inputs=_people(16), spec=PEOPLE,
    ),
    Recipe(
        "CTR-GCN", "Uason-Chen/CTR-GCN", "e13d7582e281d06711eeecb380a472b278ae1663",
        build=_ctr_gcn, inputs=_people(16), spec=PEOPLE,
    ),
    Recipe(
        "HCN", "huguyuehuhu/HCN-pytorch", "98b15c5c6128ba843231486f5e040728d265c1a7",
        build=_hcn, inputs=_people(32), spec=PEOPLE,
    ),
]  # fmt: skip
