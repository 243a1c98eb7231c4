"""Recognisers of actions, gestures and signs with attention: recipes of public models.

Where a row of the table is smaller than what was published, the constructors take that: fewer and narrower blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from benchmarks.public_models.importing import importable, without_gpu
from benchmarks.public_models.recipe import Recipe

SCORES = [{"invariant": True}]
PEOPLE: dict[str, Any] = {"skeleton": "ntu-25", "inputs": [{"layout": "b d t j m"}], "outputs": SCORES}
FLAT: dict[str, Any] = {"skeleton": "ntu-25", "inputs": [{"layout": "b t (j d)"}], "outputs": SCORES}


def _drawn(*shape: int) -> Callable[[], tuple[torch.Tensor, ...]]:
    return lambda: (torch.randn(shape, generator=torch.Generator().manual_seed(0)),)


# ---- SGN ------------------------------------------------------------------------------------------------------------
def _sgn(checkout: Path) -> nn.Module:
    """For one sample: the numbers of joints and frames that it is told are kept for every sample of a batch."""
    without_gpu()
    with importable(checkout):
        from model import SGN  # type: ignore[import-not-found]

        return SGN(60, "NTU", 20, SimpleNamespace(batch_size=1, train=1))


# ---- attention over joints and frames -------------------------------------------------------------------------------
def _sttformer(kernel: list[int], positions: bool) -> Callable[[Path], nn.Module]:
    def build(checkout: Path) -> nn.Module:
        """Three of the eight blocks, a quarter as wide; tuples of 6 frames as config/ntu60_xsub_joint.yaml has them."""
        with importable(checkout):
            from model.sttformer import Model  # type: ignore[import-not-found]

            blocks = [[16, 16, 8], [16, 32, 8], [32, 32, 8]]
            return Model(6, 60, 25, 24, 3, 2, 3, kernel, use_pes=positions, config=blocks)

    return build


def _dsta_net(numbers: bool) -> Callable[[Path], nn.Module]:
    def build(checkout: Path) -> nn.Module:
        """Three of the eight blocks, a quarter as wide."""
        with importable(checkout):
            from model.dstanet import DSTANet  # type: ignore[import-not-found]

            blocks = [[16, 16, 4, 1], [16, 32, 8, 2], [32, 32, 8, 1]]
            return DSTANet(num_frame=16, config=blocks, use_pes=numbers)

    return build


# ---- SkateFormer ----------------------------------------------------------------------------------------------------
class _Mlp(nn.Module):
    """What timm has under this name: two layers."""

    def __init__(self, in_features: int, hidden_features: int, act_layer: type[nn.Module], drop: float) -> None:
        super().__init__()
        self.fc1, self.act = nn.Linear(in_features, hidden_features), act_layer()
        self.fc2, self.drop = nn.Linear(hidden_features, in_features), nn.Dropout(drop)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Both layers."""
        return self.drop(self.fc2(self.drop(self.act(self.fc1(x)))))


def _skateformer(checkout: Path) -> nn.Module:
    """Two of the eight blocks; partitions as config/train/ntu_cs/SkateFormer_j.yaml has them."""
    layers = {"trunc_normal_": nn.init.trunc_normal_, "Mlp": _Mlp}
    with importable(checkout, stubs={"timm.models.layers": layers}):
        from model.SkateFormer import SkateFormer  # type: ignore[import-not-found]

        return SkateFormer(
            depths=(1, 1), channels=(64, 64), embed_dim=64, num_frames=16, num_points=24, num_heads=16, index_t=True,
            type_1_size=(8, 8), type_2_size=(8, 12), type_3_size=(8, 8), type_4_size=(8, 12),
        )  # fmt: skip


def _in_time() -> tuple[torch.Tensor, ...]:
    """Two people without the joint between the shoulders, and when each frame was."""
    return (*_drawn(1, 3, 16, 24, 2)(), torch.linspace(-1, 1, 16)[None])


def _partitioned() -> list[int]:
    """The order that feeders/feeder_ntu.py puts the joints in: hands, legs, then the rest."""
    return [6, 7, 21, 22, 10, 11, 23, 24, 12, 13, 14, 15, 16, 17, 18, 19, 4, 8, 5, 9, 1, 2, 0, 3]


PARTITIONED: dict[str, Any] = {
    "skeleton": "ntu-25", "inputs": [{"layout": "b d t j m", "joints": _partitioned()}, {"free": True}],
    "outputs": SCORES,
}  # fmt: skip


# ---- graphs ---------------------------------------------------------------------------------------------------------
class _Scores(nn.Module):
    """The first answer of a network that has a feature map beside its scores."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The scores."""
        return self.network(x)[0]


def _resgcn(kind: str) -> Callable[[Path], nn.Module]:
    def build(checkout: Path) -> nn.Module:
        """As src/initializer.py builds it for NTU RGB+D, at the greatest reduction."""
        with importable(checkout):
            from src import model  # type: ignore[import-not-found]
            from src.dataset.graph import Graph  # type: ignore[import-not-found]

            graph = Graph("ntu-xsub")
            parts = [torch.tensor(part) for part in graph.parts]
            sizes = {"data_shape": (3, 6, 16, 25, 2), "num_class": 60, "kernel_size": [9, 2]}
            return _Scores(model.create(kind, A=torch.Tensor(graph.A), parts=parts, **sizes))

    return build


BRANCHES: dict[str, Any] = {
    "skeleton": "ntu-25", "dims": ["x", "y", "z", "x_from", "y_from", "z_from"], "negate": ["x", "x_from"],
    "inputs": [{"layout": "b i d t j m"}], "outputs": SCORES,
}  # fmt: skip
"""Positions, velocities and bones, each with a second triple of the same kind."""


def _td_gcn(checkout: Path) -> nn.Module:
    """The graph of NTU RGB+D, with scores of 14 gestures."""
    with importable(checkout):
        from model.tdgcn import Model  # type: ignore[import-not-found]

        return Model(num_class=14, graph="graph.ntu_rgb_d.Graph", graph_args={"labeling_mode": "spatial"})


# ---- SPOTER ---------------------------------------------------------------------------------------------------------
class _Decoder(nn.Module):
    """As torch had it when SPOTER was written: today's asks layers for the attention that SPOTER takes out."""

    def __init__(self, layers: nn.ModuleList, norm: nn.Module) -> None:
        super().__init__()
        self.layers, self.norm = layers, norm

    def forward(self, target: torch.Tensor, memory: torch.Tensor, **_: Any) -> torch.Tensor:
        """All layers, without masks."""
        for layer in self.layers:
            target = layer(target, memory)
        return self.norm(target)


def _spoter(checkout: Path) -> nn.Module:
    """As train.py builds it, for the 100 signs of WLASL."""
    with importable(checkout):
        from spoter.spoter_model import SPOTER  # type: ignore[import-not-found]

        model = SPOTER(num_classes=100, hidden_dim=108)
        decoder = model.transformer.decoder
        model.transformer.decoder = _Decoder(decoder.layers, decoder.norm)
        return model


_BONES = ("Tip", "DIP", "PIP", "MCP")
_FINGERS = [f"{finger}{bone}" for finger in ("index", "middle", "ring", "little") for bone in _BONES]
_HAND = ["wrist", *_FINGERS, "thumbTip", "thumbIP", "thumbMP", "thumbCMC"]
_BODY = [f"{side}{part}" for part in ("Eye", "Ear", "Shoulder", "Elbow", "Wrist") for side in ("right", "left")]
_HANDS = [[f"{name}_0", f"{name}_1"] for name in _HAND]
SIGNER: dict[str, Any] = {
    "joints": ["nose", "neck", *_BODY, *(f"{name}_0" for name in _HAND), *(f"{name}_1" for name in _HAND)],
    "pairs": [*([name, name.replace("left", "right")] for name in _BODY[1::2]), *_HANDS],
    "dims": ["x", "y"], "negate": ["x"], "inputs": [{"layout": "t j d"}], "outputs": SCORES,
}  # fmt: skip
"""A body in a picture with both hands, in the order of datasets/czech_slr_dataset.py: the left one is 0."""

RECIPES = [
    Recipe(
        "SGN", "microsoft/SGN", "79aa0dd89e332c3c14bb70a575905d35cbcdbd86",
        build=_sgn, inputs=_drawn(1, 20, 75), spec=FLAT,
    ),
    Recipe(
        "STTFormer", "heleiqiu/STTFormer", "b9bc6f6a26da45f7471426d3786578464d38ee51",
        build=_sttformer([3, 5], True), inputs=_drawn(1, 3, 24, 25, 2), spec=PEOPLE,
        asymmetric="it convolves over five joints in the order of their numbers", refusal="NeverEquivariantError",
    ),
    Recipe(
        "STTFormer, 3x1, no positions", "heleiqiu/STTFormer", "b9bc6f6a26da45f7471426d3786578464d38ee51",
        build=_sttformer([3, 1], False), inputs=_drawn(1, 3, 24, 25, 2), spec=PEOPLE,
    ),
    Recipe(
        "DSTA-Net", "lshiwjx/DSTA-Net", "0e8d1612edaa7e9dd1442655efd5636c29daa41e",
        build=_dsta_net(True), inputs=_drawn(1, 3, 16, 25, 2), spec=PEOPLE,
        asymmetric="sines of the joints' numbers tell left from right",
    ),
    Recipe(
        "DSTA-Net, no joint numbers", "lshiwjx/DSTA-Net", "0e8d1612edaa7e9dd1442655efd5636c29daa41e",
        build=_dsta_net(False), inputs=_drawn(1, 3, 16, 25, 2), spec=PEOPLE,
        options={"symmetrize_constants": True},  # the numbers of the frames would change under any pairs of channels
    ),
    Recipe(
        "SkateFormer", "KAIST-VICLab/SkateFormer", "1f1d9ffc2385bec0b49b6751e34b6469fad8563b",
        build=_skateformer, inputs=_in_time, spec=PARTITIONED,
        asymmetric="its partitions cut through pairs of joints", refusal="NeverEquivariantError",
    ),
    Recipe(
        "PA-ResGCN-N39", "Thomas-yx/ResGCNv1", "01140d8a036fecb8872079cc78a04a9efe05ee21",
        build=_resgcn("pa-resgcn-n39-r8"), inputs=_drawn(1, 3, 6, 16, 25, 2), spec=BRANCHES,
    ),
    Recipe(
        "PSA-ResGCN-N39", "Thomas-yx/ResGCNv1", "01140d8a036fecb8872079cc78a04a9efe05ee21",
        build=_resgcn("psa-resgcn-n39-r8"), inputs=_drawn(1, 3, 6, 16, 25, 2), spec=BRANCHES,
    ),
    Recipe(
        "TD-GCN", "liujf69/TD-GCN-Gesture", "0f909bf92690772f43f0062be41860ed85b461ad",
        build=_td_gcn, inputs=_drawn(1, 3, 16, 25, 2), spec=PEOPLE,
    ),
    Recipe(
        "SPOTER", "matyasbohacek/spoter", "e69a31d0156cc7a5d48366f9896205a1c80e4c3f",
        build=_spoter, inputs=_drawn(16, 54, 2), spec=SIGNER,
        asymmetric="LayerNorm over raw coordinates, half of which are negated", refusal="NegatedChannelsError",
    ),
]  # fmt: skip
