"""Penn Action's labels as they are published: `labels/0001.mat` to `labels/2326.mat`, one video each.

Fields that are read (Zhang, Zhu, Derpanis, "From Actemes to Action", ICCV 2013; README of the data set):

    x, y         frames x 13     pixels, the first is 1; head, then left and right in turn from the shoulders down
    visibility   frames x 13     1 where the joint is seen
    dimensions   1 x 3           height, width, frames
    train        1 x 1           1 in the training split, -1 in the test split
    action       text
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from chiralize.errors import DataFileError
from examples.forecasting.networks import JOINTS

FIELDS = ("x", "y", "visibility", "dimensions", "train", "action")
_REMEDY = "name the folder `labels` of Penn_Action.tar.gz, as published."


@dataclass(frozen=True)
class Video:
    """poses: `frame joint 3` as `Forecasting` takes them: x, y in normalised coordinates, and 1 where it is visible."""

    name: str
    poses: np.ndarray
    action: str
    training: bool


def read_video(path: Path) -> Video:
    """The labels of one video. Reading runs nothing. Raises DataFileError."""
    where = str(path)
    try:
        found = loadmat(where, variable_names=FIELDS)
    except (MatReadError, OSError, ValueError, TypeError, LookupError, NotImplementedError, zlib.error) as error:
        raise DataFileError(where, f"is no MATLAB file that can be read: {error}", _REMEDY) from error
    absent = [name for name in FIELDS if name not in found]
    if absent:
        raise DataFileError(where, f"has no {', '.join(absent)}", _REMEDY)
    x, y, visible = (_numbers(found, name, where) for name in ("x", "y", "visibility"))
    if x.ndim != 2 or x.shape[1] != JOINTS or x.shape != y.shape or x.shape != visible.shape:
        shapes = ", ".join(f"{name} {found[name].shape}" for name in FIELDS[:3])
        raise DataFileError(where, f"{shapes}: not frames x {JOINTS} alike", _REMEDY)
    size, split = _numbers(found, "dimensions", where).ravel(), _numbers(found, "train", where).ravel()
    if len(size) < 2 or min(size[:2]) <= 0 or len(split) != 1 or split[0] not in (1, -1):
        raise DataFileError(where, f"dimensions {size.tolist()}, train {split.tolist()}: not as published", _REMEDY)
    action = np.atleast_1d(found["action"])
    poses = normalised(np.stack([x, y], -1), width=size[1], height=size[0])
    return Video(
        path.stem, with_gaps_filled(poses, visible > 0, (x > 1) | (y > 1)), str(action.ravel()[0]), bool(split[0] == 1)
    )


@lru_cache(maxsize=2)
def read_labels(folder: Path) -> tuple[Video, ...]:
    """All videos of a folder, by name. Raises FileNotFoundError where there are none, DataFileError."""
    paths = sorted(folder.glob("*.mat"))
    if not paths:
        raise FileNotFoundError(f"{folder}: holds no .mat file; {_REMEDY}")
    return tuple(read_video(path) for path in paths)


def normalised(pixels: np.ndarray, width: float, height: float) -> np.ndarray:
    """Pixels `... 2`, counted from 1, to distances from the image's centre over half of its longer side.

    Left and right edge are at -1 and 1 in a landscape image, and negating x is the mirror image.
    """
    centre = np.array([width + 1, height + 1]) / 2
    return (pixels - centre) / (max(width, height) / 2)


def with_gaps_filled(poses: np.ndarray, visible: np.ndarray, placed: np.ndarray) -> np.ndarray:
    """`frame joint 3`, float32: x, y, and 1 where the joint is visible and placed.

    A joint that has no place in a frame (the published files hold 1, 1 there) gets one for the network to read: between
    its places before and after in time, or the nearest of them; where it has none at all, the middle of the others.
    """
    frames = np.arange(len(poses))
    filled = np.array(poses, float)
    for joint in range(poses.shape[1]):
        own = placed[:, joint]
        if own.any() and not own.all():
            for coord in range(2):
                filled[:, joint, coord] = np.interp(frames, frames[own], poses[own, joint, coord])
    never = ~placed.any(0)
    if never.any():
        filled[:, never] = filled[:, ~never].mean(1, keepdims=True) if not never.all() else 0.0
    return np.concatenate([filled, (visible & placed)[..., None]], -1).astype(np.float32)


def _numbers(found: dict[str, Any], name: str, where: str) -> np.ndarray:
    values = np.asarray(found[name])
    if values.dtype.kind not in "biuf" or not np.isfinite(values.astype(float)).all():
        raise DataFileError(where, f"{name} holds something else than finite numbers", _REMEDY)
    return values.astype(float)
