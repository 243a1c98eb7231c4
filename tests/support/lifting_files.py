"""Files as VideoPose3D publishes them, tiny: poses, detections, checkpoints."""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

H36M = {"layout_name": "h36m", "num_joints": 17,
        "keypoints_symmetry": [[4, 5, 6, 11, 12, 13], [1, 2, 3, 14, 15, 16]]}  # fmt: skip
COCO = {"layout_name": "coco", "num_joints": 17,
        "keypoints_symmetry": [[1, 3, 5, 7, 9, 11, 13, 15], [2, 4, 6, 8, 10, 12, 14, 16]]}  # fmt: skip
SUBJECTS = ("S1", "S5", "S6", "S7", "S8", "S9", "S11")


def world(frames: int, joints: int, seed: int) -> np.ndarray:
    """Points near the middle of the room, metres."""
    rng = np.random.default_rng(seed)
    return (rng.normal(0, 0.3, (frames, joints, 3)) + [0, 0, 1]).astype(np.float32)


def write_h36m(folder: Path, joints: int = 32, longer: int = 0) -> tuple[Path, Path]:
    """Two takes of each subject; the video is `longer` frames longer than the capture."""
    poses, seen = {}, {}
    for number, person in enumerate(SUBJECTS):
        takes = {"Walking 1": world(5, joints, number), "WalkDog": world(3, joints, 100 + number)}
        poses[person] = takes
        seen[person] = {
            action: [np.full((len(own) + longer, 17, 2), 100.0 * camera, np.float32) for camera in range(4)]
            for action, own in takes.items()
        }
    np.savez_compressed(folder / "data_3d_h36m.npz", positions_3d=np.array(poses, dtype=object))
    np.savez_compressed(
        folder / "data_2d_h36m_cpn.npz",
        positions_2d=np.array(seen, dtype=object),
        metadata=np.array(H36M, dtype=object),
    )
    return folder / "data_3d_h36m.npz", folder / "data_2d_h36m_cpn.npz"


def write_humaneva(folder: Path) -> tuple[Path, Path]:
    """Takes in chunks, 15 joints; detections in COCO's order, one array for all cameras of a take."""
    names = ("Walking 1 chunk0", "Walking 1 chunk2", "Jog 1 chunk0", "Box 1 chunk0", "Gestures 1 chunk0")
    parts = [f"{part}/{person}" for part in ("Train", "Validate") for person in ("S1", "S2", "S3")]
    poses = {part: {name: world(4, 15, number) for number, name in enumerate(names)} for part in parts}
    seen = {part: {name: np.full((3, 4, 17, 2), 320.0, np.float32) for name in names} for part in parts}
    np.savez(folder / "data_3d_humaneva15.npz", positions_3d=np.array(poses, dtype=object))
    np.savez(folder / "data_2d.npz", positions_2d=np.array(seen, dtype=object), metadata=np.array(COCO, dtype=object))
    return folder / "data_3d_humaneva15.npz", folder / "data_2d.npz"


def published_shapes(widths: tuple[int, ...], channels: int, dense: bool = False) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a VideoPose3D checkpoint of 17 joints."""
    norm: dict[str, tuple[int, ...]] = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (channels,))
    norm["num_batches_tracked"] = ()
    shapes: dict[str, tuple[int, ...]] = {"expand_conv.weight": (channels, 34, widths[0])}
    shapes |= {f"expand_bn.{key}": shape for key, shape in norm.items()}
    for block, width in enumerate(widths[1:]):
        size = prod(widths[: block + 1]) * (width - 1) + 1 if dense else width
        shapes[f"layers_conv.{2 * block}.weight"] = (channels, channels, size)
        shapes[f"layers_conv.{2 * block + 1}.weight"] = (channels, channels, 1)
        for layer in (2 * block, 2 * block + 1):
            shapes |= {f"layers_bn.{layer}.{key}": shape for key, shape in norm.items()}
    return shapes | {"shrink.weight": (51, channels, 1), "shrink.bias": (51,)}


def write_checkpoint(path: Path, zipped: bool = True) -> dict[str, Tensor]:
    """As VideoPose3D writes them: a generator of numpy's beside the weights, and the optimizer's state."""
    generator = torch.Generator().manual_seed(0)
    state = {
        name: torch.tensor(7) if not shape else torch.rand(shape, generator=generator)
        for name, shape in published_shapes((3, 3), 16).items()
    }
    parameters = [nn.Parameter(value) for name, value in state.items() if "running" not in name and value.ndim]
    optimizer = torch.optim.Adam(parameters, lr=1e-3, amsgrad=True)
    torch.stack([own.sum() for own in parameters]).sum().backward()
    optimizer.step()
    checkpoint = {"epoch": 80, "lr": 1.6e-5, "random_state": np.random.RandomState(1234),
                  "optimizer": optimizer.state_dict(), "model_pos": state}  # fmt: skip
    torch.save(checkpoint, path, _use_new_zipfile_serialization=zipped)
    return state
