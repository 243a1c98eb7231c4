"""The published data files of the lifting example: tiny ones of the same structure, written here."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from chiralize.errors import DataFileError, UnsafeFileError
from chiralize.symmetry.involution import SignedPermutation
from examples.lifting.cameras import load_cameras
from examples.lifting.poses import Windows
from examples.lifting.published import H36M_STATIC, load_h36m, load_humaneva
from tests.support.lifting_files import world, write_h36m, write_humaneva


def test_h36m(tmp_path: Path) -> None:
    """Published split, 17 of 32 joints, camera frame relative to the hip, pixels over half the width."""
    data = load_h36m(*write_h36m(tmp_path, longer=2))
    assert {clip.subject for clip in data.training} == {"S1", "S5", "S6", "S7", "S8"}
    assert {clip.subject for clip in data.test} == {"S9", "S11"}
    assert {clip.action for clip in data.test} == {"Walking", "WalkDog"}
    assert (len(data.training), len(data.test)) == (5 * 2 * 4, 2 * 2 * 4)
    assert data.body_in == data.body_out and data.body_in.name == "h36m-17"
    clip = data.training[1]  # S1, Walking, second camera: 1000 x 1000 pixels
    assert clip.poses.shape == (5, 17, 2) and clip.targets.shape == (5, 17, 3)
    np.testing.assert_allclose(clip.poses, np.full((5, 17, 2), 100 / 500 - 1), atol=1e-6)
    first = data.training[0]  # 1000 x 1002: y is over half the width, too
    np.testing.assert_allclose(first.poses[0, 0], [-1, -1.002], atol=1e-6)
    camera = load_cameras("h36m")["S1"][1]
    w, *axis = camera.orientation
    turned = Rotation.from_quat([*axis, w]).inv()
    kept = [joint for joint in range(32) if joint not in H36M_STATIC]
    seen = turned.apply((world(5, 32, 0)[0] - camera.position)[kept])
    np.testing.assert_allclose(clip.targets[0], seen - seen[:1], atol=1e-5)


def test_h36m_projected(tmp_path: Path) -> None:
    """Without detections: the camera model's own projection, as an independent formula has it."""
    path, _ = write_h36m(tmp_path)
    clip = load_h36m(path).training[3]
    camera = load_cameras("h36m")["S1"][3]
    w, *axis = camera.orientation
    kept = [joint for joint in range(32) if joint not in H36M_STATIC]
    x, y, z = Rotation.from_quat([*axis, w]).inv().apply(world(5, 32, 0)[0][kept] - camera.position).T
    assert (z > 1).all(), "the camera looks at the room"
    u, v = x / z, y / z
    r2, (k1, k2, k3), (p1, p2) = u * u + v * v, camera.radial, camera.tangential
    bend = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3 + p1 * u + p2 * v
    assert camera.focal is not None and camera.center is not None
    pixels = np.stack([(u * bend + p1 * r2) * camera.focal[0] + camera.center[0],
                       (v * bend + p2 * r2) * camera.focal[1] + camera.center[1]], -1)  # fmt: skip
    np.testing.assert_allclose(clip.poses[0], (pixels - [500, 501]) / 500, atol=1e-5)


def test_cameras_look_at_the_room() -> None:
    """Every calibrated camera sees the middle of the room, a metre up, in front of it and near its image's centre."""
    for dataset, subjects in (("h36m", 7), ("humaneva", 3)):
        cameras = load_cameras(dataset)
        assert len(cameras) == subjects
        for camera in (own for row in cameras.values() for own in row):
            np.testing.assert_allclose(camera.rotation @ camera.rotation.T, np.eye(3), atol=1e-12)
            x, y, z = camera.seen(np.array([0.0, 0.0, 1.0]))
            assert z > 1 and abs(x / z) < 0.5 and abs(y / z) < 0.5


def test_humaneva(tmp_path: Path) -> None:
    """Train and Validate parts, three actions, chunks as clips of their own, COCO's joints in and HumanEva's out."""
    data = load_humaneva(*write_humaneva(tmp_path))
    assert {clip.subject for clip in data.training} == {"Train/S1", "Train/S2", "Train/S3"}
    assert {clip.subject for clip in data.test} == {"Validate/S1", "Validate/S2", "Validate/S3"}
    assert len(data.test) == 3 * 4 * 3
    assert {clip.action for clip in data.test} == {f"{a} S{s}" for a in ("Walking", "Jog", "Box") for s in (1, 2, 3)}
    assert (data.body_in.name, data.body_out.name) == ("coco-17", "humaneva-15")
    np.testing.assert_allclose(data.test[0].poses, np.broadcast_to([0, 80 / 320], (4, 17, 2)), atol=1e-6)


def test_other_keypoints(tmp_path: Path) -> None:
    """Detections of no shipped skeleton: their own pairs count."""
    path_3d, path_2d = write_h36m(tmp_path)
    with np.load(path_2d, allow_pickle=True) as found:
        seen = found["positions_2d"].item()
    for takes in seen.values():
        takes.update({action: [own[:, :5] for own in views] for action, views in takes.items()})
    metadata = {"num_joints": 5, "keypoints_symmetry": [[1, 3], [2, 4]]}
    np.savez(path_2d, positions_2d=np.array(seen, dtype=object), metadata=np.array(metadata, dtype=object))
    body = load_h36m(path_3d, path_2d).body_in
    assert body.joint_action() == SignedPermutation.of([(1, 2), (3, 4)], size=5)


class _Bomb:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("exploded"),))


def test_hostile_file_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    array = np.empty((), object)
    array[()] = {"S1": {"Walking": _Bomb()}}
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=True)
    with zipfile.ZipFile("data_3d_h36m.npz", "w") as archive:
        archive.writestr("positions_3d.npy", stream.getvalue())
    assert pickle.PROTO in stream.getvalue()
    with pytest.raises(UnsafeFileError):
        load_h36m(Path("data_3d_h36m.npz"))
    assert not Path("exploded").exists()


def test_refusals(tmp_path: Path) -> None:
    """Files that do not belong together, or are of something else, are refused by name."""
    path_3d, path_2d = write_h36m(tmp_path)
    with pytest.raises(DataFileError, match=r"no positions_2d"):
        load_h36m(path_3d, path_3d)
    with pytest.raises(DataFileError, match=r"no positions_3d"):
        load_h36m(path_2d)
    with pytest.raises(DataFileError, match=r"no subject 'S2'"):
        load_h36m(path_3d, subjects=["S2"])
    (tmp_path / "other").mkdir()
    longer, _ = write_h36m(tmp_path / "other", joints=17)
    with np.load(longer, allow_pickle=True) as found:
        poses = found["positions_3d"].item()
    poses["S9"]["WalkDog"] = world(9, 17, 0)
    np.savez(longer, positions_3d=np.array(poses, dtype=object))
    with pytest.raises(DataFileError, match=r"'WalkDog' of S9, camera 0: 3 frames, and 9"):
        load_h36m(longer, path_2d)


def test_windows_repeat_the_ends(tmp_path: Path) -> None:
    """Every frame has a window of its own clip; beyond the ends the outermost pose is repeated."""
    clips = load_h36m(write_h36m(tmp_path)[0]).training[3:5]  # Walking of 5 frames, WalkDog of 3
    for causal, around in ((False, range(-2, 3)), (True, range(-4, 1))):
        windows = Windows(clips, 5, causal)
        wanted = [
            [clip.poses[min(max(frame + step, 0), len(clip.poses) - 1)] for step in around]
            for clip in clips
            for frame in range(len(clip.poses))
        ]
        np.testing.assert_array_equal(windows.everything.numpy(), np.array(wanted))
        assert windows.actions.tolist() == ["Walking"] * 5 + ["WalkDog"] * 3
