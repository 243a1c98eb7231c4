"""Kinetics-400 skeletons (Yan et al., 2018): 300 frames, 18 joints of OpenPose, the two surest people of every frame.

Two published forms are read:

    kinetics_train/ID.json, kinetics_train_label.json          one file a clip, and {ID: {label, label_index, ...}}
    train_data.npy (N, 3, 300, 18, 2), train_label.pkl         the arrays that are made from them, and (names, classes)

and the same with `val` for the test. In the first x and y are in units of the picture, 0 to 1; in the second, and in
what comes out, they are relative to its middle, so that the mirror negates x.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chiralize.errors import DataFileError
from examples.recognition.clips import ArrayClips, Clips, Effort, OwnClips, read_json
from examples.recognition.networks import Sizes

FRAMES, JOINTS, PEOPLE = 300, 18, 2
PARTS = {"train": "train", "test": "val"}


def kinetics_tasks(smoke: bool, folder: Path, effort: Effort, sizes: Sizes) -> list[OwnClips]:
    """Raises DataFileError."""
    clips = open_kinetics(folder, "train"), open_kinetics(folder, "test")
    return [OwnClips("Kinetics", "openpose", ("x", "y", "c"), clips, effort, sizes, smoke)]


def open_kinetics(folder: Path, part: str) -> Clips:
    """The clips of a folder. part: `train` or `test`.  Raises DataFileError where neither form is there."""
    name = PARTS[part]
    arrays = (folder / f"{name}_data.npy", folder / f"{name}_label.pkl")
    if all(path.is_file() for path in arrays):
        return ArrayClips.open(*arrays, (3, JOINTS))
    files, labels = folder / f"kinetics_{name}", folder / f"kinetics_{name}_label.json"
    if files.is_dir() and labels.is_file():
        return JsonClips.open(files, labels)
    raise DataFileError(
        str(folder),
        f"has neither {arrays[0].name} and {arrays[1].name} nor {files.name}/ and {labels.name}",
        "unpack the Kinetics skeletons of ST-GCN there (https://github.com/yysijie/st-gcn).",
    )


@dataclass(frozen=True)
class JsonClips:
    """One file a clip, read when it is asked for. labels: the class of every one of `names`."""

    folder: Path
    names: Sequence[str]
    labels: np.ndarray
    classes: Sequence[str]

    @staticmethod
    def open(folder: Path, label_file: Path) -> JsonClips:
        """Clips in which nobody was found are left out. Raises DataFileError."""
        table = read_json(label_file)
        try:
            names = [name for name in sorted(table) if table[name].get("has_skeleton", True)]
            labels = np.array([int(table[name]["label_index"]) for name in names], np.int64)
            found = {int(own["label_index"]): str(own["label"]) for own in table.values()}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            facts = f"is no table {{ID: {{label, label_index}}}} ({type(error).__name__}: {error})"
            raise DataFileError(str(label_file), facts, "download it again.") from error
        classes = [found.get(index, str(index)) for index in range(max(found, default=-1) + 1)]
        return JsonClips(folder, names, labels, classes)

    def clip(self, index: int) -> np.ndarray:
        """`person frame joint 3`. Raises DataFileError."""
        path = self.folder / f"{self.names[index]}.json"
        content = read_json(path)
        try:
            return _clip(content["data"])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            facts = f"is no Kinetics skeleton ({type(error).__name__}: {error})"
            raise DataFileError(str(path), facts, "download it again.") from error


def _clip(frames: Sequence[Any]) -> np.ndarray:
    clip = np.zeros((PEOPLE, FRAMES, JOINTS, 3), np.float32)
    for frame in frames:
        place = int(frame["frame_index"]) % FRAMES  # counted from 1; a whole clip ends with 300
        people = sorted((_person(own) for own in frame["skeleton"]), key=lambda pose: -pose[:, 2].sum())
        for person, pose in enumerate(people[:PEOPLE]):
            clip[person, place] = pose
    return clip


def _person(skeleton: Any) -> np.ndarray:
    """`joint 3`, relative to the middle of the picture; joints that were missed are 0."""
    places = np.asarray(skeleton["pose"], np.float32).reshape(JOINTS, 2)
    sure = np.asarray(skeleton["score"], np.float32).reshape(JOINTS, 1)
    return np.where(sure > 0, np.concatenate([places - 0.5, sure], 1), np.float32(0))
