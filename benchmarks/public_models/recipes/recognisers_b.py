"""The recognisers of pyskl, with what they need of mmcv: recipes of public models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.public_models.importing import importable
from benchmarks.public_models.recipe import Recipe

REPOSITORY, COMMIT = "kennymckormick/pyskl", "3f6795f2573953342457abdb338f8943542f13c4"
BODIES: dict[str, Any] = {
    "skeleton": "ntu-25", "inputs": [{"layout": "b m t j d"}], "outputs": [{"invariant": True}],
}  # fmt: skip
_GESTURES = (
    "Doing other things", "Drumming Fingers", "No gesture", "Pulling Hand In", "Pulling Two Fingers In",
    "Pushing Hand Away", "Pushing Two Fingers Away", "Rolling Hand Backward", "Rolling Hand Forward", "Shaking Hand",
    "Sliding Two Fingers Down", "Sliding Two Fingers Left", "Sliding Two Fingers Right", "Sliding Two Fingers Up",
    "Stop Sign", "Swiping Down", "Swiping Left", "Swiping Right", "Swiping Up", "Dislike", "Like",
    "Turning Hand Clockwise", "Turning Hand Counterclockwise", "Zooming In With Full Hand",
    "Zooming In With Two Fingers", "Zooming Out With Full Hand", "Zooming Out With Two Fingers", "Call", "Fist",
    "Four", "Mute", "OK", "One", "Palm", "Peace", "Rock", "Three-Middle", "Three-Left", "Two Up", "No Gesture",
)  # fmt: skip
HANDS: dict[str, Any] = {
    "skeleton": "hand-21", "dims": ["x", "y"], "inputs": [{"layout": "b m t j d"}],
    "outputs": [{"classes": {"names": list(_GESTURES), "swap": [
        ["Sliding Two Fingers Left", "Sliding Two Fingers Right"], ["Swiping Left", "Swiping Right"],
        ["Turning Hand Clockwise", "Turning Hand Counterclockwise"],
    ]}}],
}  # fmt: skip
"""One hand in a picture. Three pairs of gestures change places."""


class _Recogniser(nn.Module):
    """Features and scores, without the losses and numpy arrays around them in pyskl. The names are the checkpoint's."""

    def __init__(self, backbone: nn.Module, cls_head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.cls_head = backbone, cls_head

    def forward(self, keypoint: torch.Tensor) -> torch.Tensor:
        """Scores of the actions."""
        return self.cls_head(self.backbone(keypoint))


def _version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


def _norm(config: dict[str, Any], channels: int) -> tuple[str, nn.Module]:
    assert config == {"type": "BN"}
    return "bn", nn.BatchNorm2d(channels)


def _activation(config: dict[str, Any]) -> nn.Module:
    assert config["type"] == "ReLU"
    return nn.ReLU()


_MMCV: dict[str, dict[str, Any]] = {
    "mmcv": {"__version__": "1.7.0", "digit_version": _version},
    "mmcv.cnn": {"build_norm_layer": _norm, "build_activation_layer": _activation},
    "mmcv.utils": {"_BatchNorm": nn.modules.batchnorm._BatchNorm},
}
_NOT_NEEDED = ("cv2", "requests", "fvcore", "tqdm", "decord", "matplotlib", "moviepy", "mpl_toolkits", "pymemcache")


def _pyskl(network: str, channels: int, classes: int, **options: Any) -> Callable[[Path], nn.Module]:
    def build(checkout: Path) -> nn.Module:
        """As a configuration file of pyskl has it."""
        with importable(checkout, missing=_NOT_NEEDED, stubs=_MMCV):
            from pyskl.models import gcns  # type: ignore[import-not-found]
            from pyskl.models.heads.simple_head import GCNHead  # type: ignore[import-not-found]

            return _Recogniser(getattr(gcns, network)(**options), GCNHead(classes, channels))

    return build


_PLUS = {"gcn_adaptive": "init", "gcn_with_res": True, "tcn_type": "mstcn"}
_BODY = {"layout": "nturgb+d", "mode": "spatial"}
_GESTURE = _pyskl(
    "STGCN", 128, 40, in_channels=2, num_stages=6, down_stages=[6], inflate_stages=[6],
    graph_cfg={"layout": "handmp", "mode": "spatial"}, **_PLUS,
)  # fmt: skip
"""demo/stgcnpp_gesture.py."""


def _people(people: int, frames: int, joints: int, dims: int) -> Callable[[], tuple[torch.Tensor, ...]]:
    """Drawn bodies or hands."""
    return lambda: (torch.randn(1, people, frames, joints, dims, generator=torch.Generator().manual_seed(0)),)


RECIPES = [
    Recipe(
        "pyskl ST-GCN++", REPOSITORY, COMMIT,
        build=_pyskl("STGCN", 256, 60, graph_cfg=_BODY, **_PLUS), inputs=_people(2, 100, 25, 3), spec=BODIES,
    ),
    Recipe(
        "pyskl ST-GCN++, hands", REPOSITORY, COMMIT,
        build=_GESTURE, inputs=_people(1, 10, 21, 2), spec=HANDS,
    ),
    Recipe(
        "pyskl ST-GCN++, its hagrid checkpoint", REPOSITORY, COMMIT,
        build=_GESTURE, inputs=_people(1, 10, 21, 2), spec=HANDS, checkpoint="demo/hagrid.pth",
    ),
    Recipe(
        "pyskl AAGCN", REPOSITORY, COMMIT,
        build=_pyskl("AAGCN", 256, 60, graph_cfg=_BODY), inputs=_people(2, 100, 25, 3), spec=BODIES,
    ),
]  # fmt: skip
