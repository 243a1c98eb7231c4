"""The metadata of a keypoint archive: a pickled dictionary, read without running anything."""

import os
import pickle
import zipfile

import numpy as np
import pytest

from chiralize import errors
from chiralize.body.skeleton.dialects import import_skeleton


def test_videopose3d_archive_with_a_pickled_dictionary(tmp_path):
    path = tmp_path / "data_2d_h36m_gt.npz"
    symmetry = [[4, 5, 6, 11, 12, 13], [1, 2, 3, 14, 15, 16]]
    metadata = {"layout_name": "h36m", "num_joints": 17, "keypoints_symmetry": symmetry}
    np.savez_compressed(path, positions_2d=np.zeros(3), metadata=np.array(metadata, dtype=object))
    notices: list[str] = []
    skeleton = import_skeleton("videopose3d", path, notices)
    assert skeleton.joints[4] == "left_hip" and len(skeleton.pairs) == 6
    assert any("h36m-17" in notice for notice in notices)


class _Payload:
    def __init__(self, target: str) -> None:
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


def test_a_hostile_archive_runs_nothing(tmp_path):
    target, path = tmp_path / "owned", tmp_path / "evil.npz"
    header = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little")
    header += b"{'descr': '|O', 'fortran_order': False, 'shape': (), }".ljust(117) + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.npy", header + pickle.dumps(_Payload(str(target))))
    with pytest.raises(errors.ImportFormatError, match="not plain data"):
        import_skeleton("videopose3d", path, [])
    assert not target.exists()
