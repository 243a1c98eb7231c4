"""How far the average of both views is from the flip test, for public networks on pictures with random weights.

    python -m benchmarks.pictures.exactness --hrnet deep-high-resolution-net.pytorch --unet pytorch-3dunet

The folders are checkouts of the networks' own code (leoxiaobin's HRNet with `yacs`, wolny's 3-D U-Net); ViTPose is
that of `transformers`. What is absent is left out. Weights and normaliser statistics are random: what is compared is
arithmetic, in float64.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from chiralize import chiralize

SWAPPED = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
PICTURE, VOXELS = (2, 3, 256, 192), (2, 1, 16, 16, 24)
CLASSES = {"swap": [["left", "right"]], "names": ["none", "left", "right"]}
ORGANS = {
    "skeleton": "coco",
    "inputs": [{"layout": "b c z y ~x"}],
    "outputs": [{"layout": "b classes z y ~x", "classes": CLASSES}],
}


class Settings(dict[str, Any]):
    """A table whose entries are attributes, too, as the configurations of HRNet's authors are."""

    def __getattr__(self, name: str) -> Any:
        try:
            value = self[name]
        except KeyError as error:
            raise AttributeError(name) from error
        return Settings(value) if isinstance(value, dict) else value


class Bins(nn.Module):
    """Scores over bins of columns and of rows, on a convolutional trunk."""

    def __init__(self) -> None:
        super().__init__()
        widths = [3, 8, 16, 16, 32, 32]
        stages = []
        for width, wider in zip(widths[:-1], widths[1:], strict=True):
            stages.append(nn.Sequential(nn.Conv2d(width, wider, 3, 2, 1), nn.BatchNorm2d(wider), nn.SiLU()))
        self.trunk, self.maps = nn.Sequential(*stages), nn.Conv2d(32, 17, 7, 1, 3)
        self.shared = nn.Sequential(nn.LayerNorm(48), nn.Linear(48, 32, bias=False))
        self.columns, self.rows = nn.Linear(32, 384, bias=False), nn.Linear(32, 512, bias=False)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures "b 3 256 192" to scores "b 17 384" and "b 17 512"."""
        features = self.shared(self.maps(self.trunk(pictures)).flatten(2))
        return self.columns(features), self.rows(features)


def _hrnet() -> nn.Module:
    module = importlib.import_module("models.pose_hrnet")

    def stage(branches: int) -> dict[str, Any]:
        """A stage with so many resolutions, one block each."""
        channels = [8 * 2**branch for branch in range(branches)]
        return {
            "NUM_MODULES": 1,
            "NUM_BRANCHES": branches,
            "BLOCK": "BASIC",
            "NUM_BLOCKS": [1] * branches,
            "NUM_CHANNELS": channels,
            "FUSE_METHOD": "SUM",
        }

    extra = {"PRETRAINED_LAYERS": ["*"], "FINAL_CONV_KERNEL": 1}
    extra |= {"STAGE2": stage(2), "STAGE3": stage(3), "STAGE4": stage(4)}
    return module.PoseHighResolutionNet(Settings({"MODEL": {"EXTRA": extra, "NUM_JOINTS": 17}}))


def _baseline() -> nn.Module:
    module = importlib.import_module("models.pose_resnet")
    extra = {"NUM_DECONV_LAYERS": 3, "NUM_DECONV_FILTERS": [16] * 3, "NUM_DECONV_KERNELS": [4] * 3}
    extra |= {"FINAL_CONV_KERNEL": 1, "DECONV_WITH_BIAS": False}
    settings = Settings({"MODEL": {"EXTRA": extra, "NUM_JOINTS": 17}})
    return module.PoseResNet(module.BasicBlock, [1, 1, 1, 1], settings)


def _vitpose(simple: bool) -> nn.Module:
    package: Any = importlib.import_module("transformers")
    backbone = package.VitPoseBackboneConfig(
        image_size=[256, 192],
        patch_size=[16, 16],
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        mlp_ratio=2,
        out_indices=[2],
        out_features=["stage2"],
    )
    config = package.VitPoseConfig(backbone_config=backbone, use_simple_decoder=simple, num_labels=17)
    return package.VitPoseForPoseEstimation(config)


def _unet() -> nn.Module:
    module = importlib.import_module("pytorch3dunet.unet3d.model")
    return module.UNet3D(1, 3, f_maps=4, num_levels=3, layer_order="cgr", num_groups=2, final_sigmoid=False)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "SimpleBaseline": _baseline,
    "HRNet": _hrnet,
    "ViTPose, deconvolution head": lambda: _vitpose(False),
    "ViTPose, simple head": lambda: _vitpose(True),
    "bins of columns and rows": Bins,
    "3-D U-Net": _unet,
}


def _scrambled(net: nn.Module) -> nn.Module:
    for module in net.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return net.eval().double()


def _answers(net: nn.Module, pictures: Tensor) -> list[Tensor]:
    answer = net(pictures)
    if isinstance(answer, Tensor):
        return [answer]
    return list(answer) if isinstance(answer, tuple) else [answer.heatmaps]


def _flip_test(net: nn.Module, pictures: Tensor) -> Iterator[Tensor]:
    """The mean of both views of every output, as toolboxes compute it."""
    plain, flipped = _answers(net, pictures), _answers(net, pictures.flip(-1))
    order = [0, 2, 1] if pictures.ndim == 5 else SWAPPED
    for number, (one, other) in enumerate(zip(plain, flipped, strict=True)):
        is_rows = number == 1
        yield (one + (other if is_rows else other.flip(-1))[:, order]) / 2


def measure(name: str) -> tuple[float, float]:
    """Largest difference of the average of both views from the flip test, and the largest answer."""
    torch.manual_seed(0)
    net = _scrambled(NETWORKS[name]())
    is_voxels = name == "3-D U-Net"
    pictures = torch.randn(VOXELS if is_voxels else PICTURE, dtype=torch.float64)
    chiral = chiralize(net, ORGANS if is_voxels else "coco", example_inputs=(pictures,), method="average")
    with torch.no_grad():
        pairs = list(zip(_answers(chiral, pictures), _flip_test(net, pictures), strict=True))
    return (
        max(float((answer - wanted).abs().max()) for answer, wanted in pairs),
        max(float(wanted.abs().max()) for _, wanted in pairs),
    )


def main() -> None:
    """Print a line for every network whose code is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hrnet", type=Path)
    parser.add_argument("--unet", type=Path)
    given = parser.parse_args()
    sys.path += [str(given.hrnet / "lib")] if given.hrnet else []
    sys.path += [str(given.unet)] if given.unet else []
    for name in NETWORKS:
        try:
            difference, scale = measure(name)
        except ImportError as error:
            print(f"{name}: left out, {error}")
            continue
        print(f"{name}: {difference:.1e} of {scale:.2f}", flush=True)


if __name__ == "__main__":
    main()
