"""Human3.6M and HumanEva-I in the files that VideoPose3D's scripts make, with the published splits.

    data_3d_h36m.npz                positions_3d: {subject: {action: frame 32 3}}, world, metres
    data_2d_h36m_DETECTIONS.npz     positions_2d: {subject: {action: [frame 17 2, one per camera]}}, pixels; metadata
    data_3d_humaneva15.npz          positions_3d: {"Train/S1": {"Walking 1 chunk0": frame 15 3}}
    data_2d_humaneva15_DETECTIONS.npz

The dictionaries are pickled; they are read by chiralize's restricted unpickler, which runs nothing that a file names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chiralize.body.skeleton.catalog import load_skeleton
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.errors import DataFileError
from chiralize.storage.arrays import load_arrays
from examples.lifting.cameras import Camera, load_cameras
from examples.lifting.poses import Clip, Dataset

H36M_TRAINING, H36M_TEST = ("S1", "S5", "S6", "S7", "S8"), ("S9", "S11")
H36M_STATIC = (4, 5, 9, 10, 11, 16, 20, 21, 22, 23, 24, 28, 29, 30, 31)
"""Those of the 32 joints that never move, or lie where another one does."""
HUMANEVA_SUBJECTS = ("S1", "S2", "S3")
HUMANEVA_ACTIONS = ("Walking", "Jog", "Box")
LAYOUTS = ("h36m", "coco", "humaneva", "mpii")
"""Skeletons that 2D files may be of, known by their number of joints and their pairs."""


@dataclass(frozen=True)
class _Detections:
    """positions: (subject, action, camera) to `frame joint 2`, pixels."""

    positions: dict[tuple[str, str, int], np.ndarray]
    body: Skeleton


def load_h36m(data_3d: Path, data_2d: Path | None = None, subjects: Sequence[str] = H36M_TRAINING) -> Dataset:
    """17 of the 32 joints, 50 frames a second; S9 and S11 are the test subjects.

    data_2d: detections; None projects the 3D poses (the "gt" keypoints).  subjects: to learn from.
    Raises DataFileError, UnsafeFileError, NonFiniteError.
    """
    poses = _positions_3d(data_3d)
    for key, values in poses.items():
        if values.shape[1] == 32:
            poses[key] = np.delete(values, H36M_STATIC, axis=1)
    body = load_skeleton("h36m")
    detections = None if data_2d is None else _positions_2d(data_2d)
    cameras = load_cameras("h36m")

    def clips(chosen: Sequence[str]) -> Iterator[Clip]:
        for subject in chosen:
            own = {action: values for (who, action), values in poses.items() if who == subject}
            if not own:
                raise DataFileError(str(data_3d), f"has no subject {subject!r}", _remedy(poses))
            for action, world in own.items():
                name = action.split(" ")[0]
                for place, camera in enumerate(cameras[subject]):
                    yield _clip(world, camera, detections, (subject, action, place), subject, name, data_2d)

    body_in = body if detections is None else detections.body
    return Dataset("h36m", tuple(clips(subjects)), tuple(clips(H36M_TEST)), body_in, _checked(body, poses, data_3d))


def load_humaneva(
    data_3d: Path, data_2d: Path, actions: Sequence[str] = HUMANEVA_ACTIONS, subjects: Sequence[str] = HUMANEVA_SUBJECTS
) -> Dataset:
    """15 joints, 60 frames a second; learns from the parts Train/S1 to S3, is judged on Validate/S1 to S3.

    A clip's action has its subject's name, as in the published tables ("Walking S1"); a take may lie in several clips,
    where the capture failed between them.  actions: how the names of those that are used begin.
    Raises DataFileError, UnsafeFileError, NonFiniteError.
    """
    poses = _positions_3d(data_3d)
    detections, cameras = _positions_2d(data_2d), load_cameras("humaneva")

    def clips(part: str) -> Iterator[Clip]:
        for (who, action), world in poses.items():
            split, _, subject = who.rpartition("/")
            if split != part or subject not in subjects or not action.startswith(tuple(actions)):
                continue
            for place, camera in enumerate(cameras[subject]):
                name = f"{action.split(' ')[0]} {subject}"
                yield _clip(world, camera, detections, (who, action, place), who, name, data_2d)

    training, test = tuple(clips("Train")), tuple(clips("Validate"))
    if not training or not test:
        facts = f"has no {', '.join(actions)} of {', '.join(subjects)} under Train and Validate"
        raise DataFileError(str(data_3d), facts, _remedy(poses))
    return Dataset("humaneva", training, test, detections.body, _checked(load_skeleton("humaneva"), poses, data_3d))


def _clip(
    world: np.ndarray,
    camera: Camera,
    detections: _Detections | None,
    key: tuple[str, str, int],
    subject: str,
    action: str,
    source: Path | None,
) -> Clip:
    seen = camera.seen(world.astype(float))
    if detections is None:
        pixels = camera.project(seen)
    elif key not in detections.positions:
        raise DataFileError(str(source), f"has no {key[1]!r} of {key[0]}, camera {key[2]}", "give matching files.")
    else:
        pixels = detections.positions[key]
    if len(pixels) < len(seen):
        facts = f"{key[1]!r} of {key[0]}, camera {key[2]}: {len(pixels)} frames, and {len(seen)} of the 3D poses"
        raise DataFileError(str(source), facts, "give matching files.")
    poses = camera.normalised(pixels[: len(seen), :, :2])  # some videos are a few frames longer than the capture
    targets = seen - seen[:, :1]
    return Clip(poses.astype(np.float32), targets.astype(np.float32), subject, action)


def _positions_3d(path: Path) -> dict[tuple[str, str], np.ndarray]:
    """(subject, action) to `frame joint 3`, world, metres."""
    found: dict[tuple[str, str], np.ndarray] = {}
    for name, values in load_arrays(path, skip_text=True).items():
        table, _, rest = name.partition("/")
        subject, _, action = rest.rpartition("/")
        if table == "positions_3d" and subject and values.ndim == 3 and values.shape[-1] == 3:
            found[subject, action] = values
    if not found:
        facts = "holds no positions_3d: {subject: {action: frame joint 3}}"
        raise DataFileError(str(path), facts, "give data_3d_h36m.npz or data_3d_humaneva15.npz.")
    return found


def _positions_2d(path: Path) -> _Detections:
    arrays = load_arrays(path, skip_text=True)
    found: dict[tuple[str, str, int], np.ndarray] = {}
    for name, values in arrays.items():
        table, _, rest = name.partition("/")
        if table != "positions_2d":
            continue
        parts = rest.split("/")
        if values.ndim == 4:  # one array for all cameras
            subject, action = "/".join(parts[:-1]), parts[-1]
            found |= {(subject, action, camera): own for camera, own in enumerate(values)}
        elif values.ndim == 3 and len(parts) > 2:
            found["/".join(parts[:-2]), parts[-2], int(parts[-1])] = values
    sides = [arrays.get(f"metadata/keypoints_symmetry/{side}") for side in (0, 1)]
    both = arrays.get("metadata/keypoints_symmetry")
    left, right = both if both is not None and len(both) == 2 else sides
    if not found or left is None or right is None:
        facts = "holds no positions_2d: {subject: {action: [frame joint 2]}} with metadata: {keypoints_symmetry}"
        raise DataFileError(str(path), facts, "give a file such as data_2d_h36m_cpn_ft_h36m_dbb.npz.")
    joints = next(iter(found.values())).shape[1]
    pairs = tuple((int(i), int(j)) for i, j in zip(left, right, strict=True))
    return _Detections(found, _body(joints, pairs))


def _body(joints: int, pairs: tuple[tuple[int, int], ...]) -> Skeleton:
    """The shipped skeleton with these pairs, or a nameless one."""
    for name in LAYOUTS:
        body = load_skeleton(name)
        if len(body.joints) == joints and set(body.pairs) == set(pairs):
            return body
    return Skeleton("keypoints", tuple(f"keypoint_{i}" for i in range(joints)), pairs)


def _checked(body: Skeleton, poses: dict[tuple[str, str], np.ndarray], path: Path) -> Skeleton:
    """The skeleton. Raises DataFileError where the poses have another number of joints."""
    counts = {values.shape[1] for values in poses.values()}
    if counts != {len(body.joints)}:
        facts = f"poses of {', '.join(map(str, sorted(counts)))} joints, {body.name} has {len(body.joints)}"
        raise DataFileError(str(path), facts, "give the file of the other data set, or the whole capture.")
    return body


def _remedy(poses: dict[tuple[str, str], np.ndarray]) -> str:
    return f"the file has {', '.join(dict.fromkeys(subject for subject, _ in poses))}."
