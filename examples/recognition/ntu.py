"""NTU RGB+D (Shahroudy et al., 2016): 25 joints of Kinect v2 in metres, camera frame, at most two people.

Two published forms are read:

    SsssCcccPpppRrrrAaaa.skeleton                       text, one file a clip: setup, camera, person, repeat, action
    train_data.npy (N, 3, 300, 25, 2), train_label.pkl  arrays that are made from them, and (names, classes); `val` for
                                                        the test; also train_data_joint.npy

The splits are the published ones: by subject (`xsub`) or by camera (`xview`). x is 0 in the middle of the picture, so
that the mirror negates it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chiralize.errors import DataFileError
from examples.recognition.clips import ArrayClips, Clips, Effort, OwnClips
from examples.recognition.networks import Sizes

JOINTS, PEOPLE = 25, 2
TRAINING_SUBJECTS = frozenset({1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38})
TRAINING_CAMERAS = frozenset({2, 3})
_NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})")
_PARTS = {"train": "train", "test": "val"}


def ntu_tasks(smoke: bool, folder: Path, split: str, effort: Effort, sizes: Sizes) -> list[OwnClips]:
    """split: `xsub` or `xview`.  Raises DataFileError."""
    clips = open_ntu(folder, split, "train"), open_ntu(folder, split, "test")
    return [OwnClips(f"NTU {split}", "ntu", ("x", "y", "z"), clips, effort, sizes, smoke)]


def open_ntu(folder: Path, split: str, part: str) -> Clips:
    """The clips of a folder, arrays also in a folder `split` of it. part: `train` or `test`.  Raises DataFileError."""
    name = _PARTS[part]
    for place in (folder / split, folder):
        for data in (place / f"{name}_data.npy", place / f"{name}_data_joint.npy"):
            if data.is_file():
                return ArrayClips.open(data, place / f"{name}_label.pkl", (3, JOINTS))
    paths = [path for path in sorted(folder.glob("*.skeleton")) if _NAME.fullmatch(path.stem)]
    if not paths:
        facts = f"has neither SsssCcccPpppRrrrAaaa.skeleton nor {split}/{name}_data.npy"
        raise DataFileError(str(folder), facts, "unpack the skeletons of NTU RGB+D there.")
    chosen = [path for path in paths if is_training(path.stem, split) == (part == "train")]
    return TextClips(chosen, np.array([_numbers(path.stem)[4] - 1 for path in chosen], np.int64))


def is_training(name: str, split: str) -> bool:
    """Whether a clip is in the training part. split: `xsub` or `xview` (ValueError).

    >>> is_training("S001C001P003R001A007", "xsub"), is_training("S001C002P003R001A007", "xview")
    (False, True)
    """
    if split not in ("xsub", "xview"):
        raise ValueError(f"split {split!r}: there are xsub and xview")
    _, camera, subject, _, _ = _numbers(name)
    return subject in TRAINING_SUBJECTS if split == "xsub" else camera in TRAINING_CAMERAS


def _numbers(name: str) -> tuple[int, ...]:
    found = _NAME.fullmatch(name)
    if found is None:
        raise ValueError(f"{name!r} is no name of NTU RGB+D")
    return tuple(int(number) for number in found.groups())


@dataclass(frozen=True)
class TextClips:
    """One .skeleton file a clip, read when it is asked for."""

    paths: Sequence[Path]
    labels: np.ndarray

    @property
    def classes(self) -> Sequence[str]:
        """A001, A002, ..., as many as the highest."""
        return [f"A{index + 1:03d}" for index in range(int(self.labels.max(initial=-1)) + 1)]

    def clip(self, index: int) -> np.ndarray:
        """`person frame joint 3`. Raises DataFileError."""
        return read_skeleton(self.paths[index])


def read_skeleton(path: Path) -> np.ndarray:
    """`2 frame joint 3`, metres: the two people who move most over the clip. Raises DataFileError.

    The text: number of frames; for each the number of bodies; for each of these a line that starts with the body's
    number, the number of joints, and a line for each that starts with x y z.
    """
    try:
        bodies = _bodies(iter(path.read_text(encoding="ascii").splitlines()))
    except (OSError, ValueError, StopIteration) as error:
        facts = f"is no skeleton file ({type(error).__name__}: {error})"
        raise DataFileError(str(path), facts, "unpack it again.") from error
    bodies.sort(key=lambda body: -_motion(body))
    while len(bodies) < PEOPLE:
        bodies.append(np.zeros_like(bodies[0]))
    return np.stack(bodies[:PEOPLE])


def _bodies(lines: Iterator[str]) -> list[np.ndarray]:
    """`frame joint 3` of everybody, in the order of appearance; at least one, who may be 0 throughout."""
    frames = int(next(lines))
    found: dict[str, np.ndarray] = {}
    for frame in range(frames):
        for _ in range(int(next(lines))):
            body = found.setdefault(next(lines).split()[0], np.zeros((frames, JOINTS, 3), np.float32))
            count = int(next(lines))
            if count != JOINTS:
                raise ValueError(f"{count} joints")
            for joint in range(count):
                body[frame, joint] = [float(number) for number in next(lines).split()[:3]]
    return list(found.values()) or [np.zeros((frames, JOINTS, 3), np.float32)]


def _motion(body: np.ndarray) -> float:
    """Spread of the joints over the frames in which the body is there: people before furniture."""
    there = body[body.any((1, 2))]
    return float(there.var(0).sum()) if len(there) else 0.0
