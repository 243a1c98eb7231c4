"""Lifters that are convolutions over frames, perceptrons over joints, or convolutions over a graph of joints.

Needed beside torch: numpy, scipy, einops.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch

from benchmarks.public_models.importing import importable, without_gpu
from benchmarks.public_models.recipe import Recipe

FRAMES = {"skeleton": "h36m-17", "inputs": [{"layout": "b t j d", "dims": ["x", "y"]}], "outputs": ["b t j d"]}

# Indices of joints of Human3.6M. Detectors have no Neck/Nose (9); targets relative to the hip (0) leave it out.
DETECTED = [joint for joint in range(17) if joint != 9]
RELATIVE = list(range(1, 17))
FLAT = {
    "skeleton": "h36m-17",
    "inputs": [{"layout": "b (j d)", "joints": DETECTED, "dims": ["x", "y"]}],
    "outputs": [{"layout": "b (j d)", "joints": RELATIVE}],
}
GRAPH = {"skeleton": "h36m-16", "inputs": [{"layout": "b j d", "dims": ["x", "y"]}], "outputs": ["b j d"]}

# What SemGCN and GraFormer connect, and which pairs of joints SemGCN's non-local layers pool.
BONES = [(0, 1), (1, 2), (2, 3), (0, 4), (4, 5), (5, 6), (0, 7), (7, 8), (8, 9)]
BONES += [(8, 10), (10, 11), (11, 12), (8, 13), (13, 14), (14, 15)]
POOLED = [[2, 3], [5, 6], [1, 4], [0, 7], [8, 9], [14, 15], [11, 12], [10, 13]]


def drawn(*sizes: int) -> Callable[[], tuple[torch.Tensor, ...]]:
    """Example inputs: one tensor of normal numbers."""
    return lambda: (torch.randn(sizes, generator=torch.Generator().manual_seed(7)),)


# ---- convolutions over frames --------------------------------------------------------------------------------------
def videopose3d(checkout: Path, name: str) -> torch.nn.Module:
    """243 frames by five layers of 1024 channels; `name` is the class: dilated, or strided for a single answer."""
    with importable(checkout):
        models = importlib.import_module("common.model")
        return getattr(models, name)(17, 2, 17, [3, 3, 3, 3, 3], channels=1024)


# ---- perceptrons ---------------------------------------------------------------------------------------------------
def baseline(checkout: Path) -> torch.nn.Module:
    """The baseline of Martinez et al."""
    with importable(checkout / "src"):
        return importlib.import_module("model").LinearModel()


class Cascade(torch.nn.Module):
    """The sum of what the stages answer, as the authors' script for inference adds them up."""

    def __init__(self, stages: torch.nn.ModuleList) -> None:
        super().__init__()
        self.stages = stages

    def forward(self, pose: torch.Tensor) -> torch.Tensor:
        """The 3D pose."""
        total = self.stages[0](pose)
        for stage in list(self.stages)[1:]:
            total = total + stage(pose)
        return total


def evoskeleton(checkout: Path) -> torch.nn.Module:
    """Two stages of 16 joints."""
    with importable(checkout):
        models = importlib.import_module("libs.model.model")
        stages = [models.get_model(stage, input_size=32, output_size=48) for stage in (1, 2)]
        return Cascade(torch.nn.ModuleList(stages))


def posenet(checkout: Path) -> torch.nn.Module:
    """The lifter of Pose2Mesh, for the joints of Human3.6M. Only its checkpoints need a configuration."""
    stubs = {"core.config": {"cfg": None}, "funcs_utils": {"load_checkpoint": None}}
    with importable(checkout / "lib" / "models", stubs=stubs):
        return importlib.import_module("posenet").get_model(17, 4096, 2, 0.5)


# ---- graphs of joints ----------------------------------------------------------------------------------------------
def for_python_3(path: Path, name: str) -> ModuleType:
    """A module that was written for Python 2: `nonlocal` is a keyword now, and `reduce` is no builtin any more."""
    source = path.read_text(encoding="utf-8").replace("self.nonlocal", "self.nonlocal_")
    module = sys.modules[name] = ModuleType(name)
    module.__dict__["reduce"] = functools.reduce
    exec(compile(source, str(path), "exec"), module.__dict__)
    return module


def semgcn(checkout: Path, groups: list[list[int]] | None) -> torch.nn.Module:
    """Four residual blocks of 128 channels, by `groups` with a non-local layer after each."""
    with importable(checkout):
        adjacency = importlib.import_module("common.graph_utils").adj_mx_from_edges(16, BONES, sparse=False)
        module = for_python_3(checkout / "models" / "sem_gcn.py", "models.sem_gcn")
        return module.SemGCN(adjacency, 128, num_layers=4, nodes_group=groups)


def graformer(checkout: Path) -> torch.nn.Module:
    """Five layers of 96 channels and four heads."""
    with importable(checkout):
        network = importlib.import_module("network.GraFormer")
        adjacency = network.adj_mx_from_edges(16, torch.tensor(BONES), sparse=False)
        return network.GraFormer(adjacency, hid_dim=96, n_pts=16, num_layers=5, n_head=4, dropout=0.25)


def masked(batch: int) -> tuple[torch.Tensor, ...]:
    """Poses, and a mask that shows every joint."""
    return (*drawn(batch, 16, 2)(), torch.ones(1, 1, 16, dtype=torch.bool))


def gla_gcn(checkout: Path) -> torch.nn.Module:
    """27 frames; the published size has 243. It asks for a GPU in `forward`."""
    without_gpu()
    with importable(checkout):
        return importlib.import_module("common.s_agcn").S_AGCN(17, 2, 17, [3, 3, 3], dropout=0.1, channels=96)


VIDEOPOSE = ("facebookresearch/VideoPose3D", "1afb1ca0f1237776518469876342fc8669d3f6a9")
SEMGCN = ("garyzhao/SemGCN", "916aabd183066a0fadb3bb4e0a068df63c062d90")
MASKED = {**GRAPH, "inputs": [*GRAPH["inputs"], {"layout": "1 1 j", "dims": []}]}

RECIPES = [
    Recipe(
        "videopose3d", *VIDEOPOSE, lambda checkout: videopose3d(checkout, "TemporalModel"), drawn(2, 243, 17, 2), FRAMES
    ),
    Recipe(
        "videopose3d-1f",
        *VIDEOPOSE,
        lambda checkout: videopose3d(checkout, "TemporalModelOptimized1f"),
        drawn(2, 243, 17, 2),
        FRAMES,
    ),
    Recipe(
        "3d-pose-baseline",
        "weigq/3d_pose_baseline_pytorch",
        "a03094bb479770abc43dc5b87ad394b85bb6dcab",
        baseline,
        drawn(8, 32),
        FLAT,
    ),
    Recipe(
        "evoskeleton",
        "Nicholasli1995/EvoSkeleton",
        "b2b355f4c1fa842709f100d931189ce80008f6ef",
        evoskeleton,
        drawn(8, 32),
        FLAT,
    ),
    Recipe(
        "pose2mesh-posenet",
        "hongsukchoi/Pose2Mesh_RELEASE",
        "202ce98fce2bac74ff3787c7e30352a64d027950",
        posenet,
        drawn(8, 34),
        {
            "skeleton": "h36m-17",
            "inputs": [{"layout": "b (j d)", "dims": ["x", "y"]}],
            "outputs": ["b (j d)"],
        },
    ),
    Recipe("semgcn", *SEMGCN, lambda checkout: semgcn(checkout, None), drawn(4, 16, 2), GRAPH),
    Recipe("semgcn-nonlocal", *SEMGCN, lambda checkout: semgcn(checkout, POOLED), drawn(4, 16, 2), GRAPH),
    Recipe(
        "graformer",
        "Graformer/GraFormer",
        "af2152e0b7f65b4d0dcc34a9931bc0d66b31fe40",
        graformer,
        lambda: masked(4),
        MASKED,
        positive=("*A_hat",),
    ),
    Recipe(
        "gla-gcn",
        "bruceyo/GLA-GCN",
        "fd72990cb0983a753af6c1f9759ee29765a5409b",
        gla_gcn,
        drawn(1, 27, 17, 2),
        FRAMES,
    ),
]
