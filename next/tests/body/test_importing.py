"""Small files in every tool's real format, hostile ones, and files of other kinds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chiralize.body.importing import import_skeleton
from chiralize.body.skeleton import Skeleton
from chiralize.body.spec import parse_spec
from chiralize.errors import SpecError

MMPOSE = """
dataset_info = dict(
    dataset_name='face3',
    paper_info=dict(title='Some ' 'title', year='2014'),
    keypoint_info={
        0:
        dict(name='nose', id=0, color=[51, 153, 255], type='upper', swap=''),
        1:
        dict(
            name='left_eye',
            id=1, color=[51, 153, 255], type='upper', swap='right_eye'),
        2: dict(name='right_eye', id=2, color=[0] * 3, type='upper', swap='left_eye'),
    },
    skeleton_info={0: dict(link=('nose', 'left_eye'), id=0), 1: dict(link=('nose', 'right_eye'), id=1)},
    joint_weights=[1.] * 3,
    sigmas=[0.026, 0.025, 0.025])
data_root = 'data'
data = dict(train=dict(ann_file=f'{data_root}/x.json', pipeline=print('never run')))
"""
COCO = {
    "images": [],
    "annotations": [{"id": 1, "keypoints": [1, 2, 2]}],
    "categories": [
        {"id": 2, "name": "car"},
        {"id": 1, "name": "person", "keypoints": ["nose", "left_eye", "right_eye"], "skeleton": [[1, 2], [1, 3]]},
    ],
}
ULTRALYTICS = """
# Ultralytics
path: ../datasets/face
train: train.txt
kpt_shape: [3, 3] # number of keypoints, number of dims
flip_idx: [0, 2, 1]
names:
  0: person
download: |
  from ultralytics.utils.downloads import download
  download(['http://example.org/a.zip'], threads=3)
"""
DETECTRON2 = """
from detectron2.data import MetadataCatalog
# fmt: off
FACE_KEYPOINT_NAMES = ("nose", "left_eye", "right_eye")
FACE_KEYPOINT_FLIP_MAP = (
    ("left_eye", "right_eye"),
)
KEYPOINT_CONNECTION_RULES = [("nose", "left_eye", (102, 204, 255)), ("nose", "right_eye", (51, 153, 255))]
"""
DETECTRON2_SET = """
names = ["nose", "left_eye", "right_eye"]
MetadataCatalog.get("face_train").set(keypoint_names=names, keypoint_flip_map=[("left_eye", "right_eye")],
    evaluator_type="coco", image_root=os.path.join(root, "images"))
"""
DETECTRON2_ATTRIBUTES = """
for split in ["train"]:
    MetadataCatalog.get("face_" + split).keypoint_names = ["nose", "left_eye", "right_eye"]
    MetadataCatalog.get("face_" + split).keypoint_flip_map = [("left_eye", "right_eye")]
"""
DLC = """
Task: face
scorer: me
date: Oct30
multianimalproject: false
identity:
video_sets:
  C:/videos/m4s1.mp4:
    crop: 0, 640, 0, 480
bodyparts:
- nose
- left_eye
- right_eye
start: 0
stop: 1
skeleton:
- - nose
  - left_eye
- - nose
  - right_eye
skeleton_color: black
x1: 0
"""
DLC_TORCH = """
data:
  colormode: RGB
  train:
    affine: {p: 0.5, scaling: [1.0, 1.0]}
    hflip:
      p: 0.5
      symmetries: [[2, 1]]
metadata:
  project_path:
  bodyparts: [nose, left_eye, right_eye]
  unique_bodyparts: []
"""
DLC_MULTI = "bodyparts: MULTI!\nmultianimalbodyparts:\n- nose\n- left_eye\n- right_eye\nskeleton: []\n"


VIDEOPOSE3D = """
import numpy as np
from common.skeleton import Skeleton
face_skeleton = Skeleton(parents=[-1, 0, 0],
       joints_left=[1],
       joints_right=[2])
class FaceDataset(MocapDataset):
    def __init__(self, path):
        super().__init__(fps=50, skeleton=face_skeleton)
"""
METADATA = {"layout_name": "face", "num_joints": 3, "keypoints_symmetry": [[1], [2]]}
PYSKL = (
    "left_kp = [1]\nright_kp = [2]\nmodel = dict(type='Recognizer3D', pipeline=[dict(type='Flip', left_kp=left_kp)])\n"
)


def _node(name: str) -> dict[str, Any]:
    return {"py/object": "sleap.skeleton.Node", "py/state": {"py/tuple": [name, 1.0]}}


def _type(number: int) -> dict[str, Any]:
    return {"py/reduce": [{"py/type": "sleap.skeleton.EdgeType"}, {"py/tuple": [number]}]}


SLEAP_LINKS = [
    {"edge_insert_idx": 0, "key": 0, "source": _node("nose"), "target": _node("eyeL"), "type": _type(1)},
    {"edge_insert_idx": 1, "key": 0, "source": {"py/id": 1}, "target": _node("eyeR"), "type": {"py/id": 3}},
]
SLEAP_SYMMETRY = [
    {"key": 0, "source": {"py/id": 2}, "target": {"py/id": 4}, "type": _type(2)},
    {"key": 0, "source": {"py/id": 4}, "target": {"py/id": 2}, "type": {"py/id": 5}},
]
SLEAP_NODES = [{"id": {"py/id": 1}}, {"id": {"py/id": 2}}, {"id": {"py/id": 4}}]
SLEAP = {
    "description": "x",
    "nx_graph": {
        "directed": True,
        "graph": {"name": "face", "num_edges_inserted": 2},
        "links": SLEAP_LINKS + SLEAP_SYMMETRY,
        "multigraph": True,
        "nodes": SLEAP_NODES,
    },
    "preview_image": {"py/b64": "AA"},
}
SLEAP_BARE = {"graph": {"name": "face"}, "links": SLEAP_LINKS, "nodes": SLEAP_NODES}
SLEAP_LABELS = {
    "nodes": [{"name": "nose", "weight": 1.0}, {"name": "eyeL", "weight": 1.0}, {"name": "eyeR", "weight": 1.0}],
    "skeletons": [
        {
            "graph": {"name": "face"},
            "links": [
                {"source": 0, "target": 1, "type": _type(1)},
                {"source": 1, "target": 2, "type": _type(2)},
                {"source": 0, "target": 2, "type": {"py/id": 1}},
            ],
            "nodes": [{"id": 0}, {"id": 1}, {"id": 2}],
        }
    ],
}
DETECTRON2_JSON = {
    "thing": {"keypoint_names": ["nose", "left_eye", "right_eye"], "keypoint_flip_map": [["left_eye", "right_eye"]]}
}
FILES = {
    "mmpose.py": MMPOSE,
    "coco.json": json.dumps(COCO),
    "coco_category.json": json.dumps(COCO["categories"][1]),
    "ultralytics.yaml": ULTRALYTICS,
    "ultralytics_pairs.yaml": ULTRALYTICS.replace("[0, 2, 1]", "[[1, 2]]"),
    "detectron2.py": DETECTRON2,
    "detectron2_set.py": DETECTRON2_SET,
    "detectron2_attributes.py": DETECTRON2_ATTRIBUTES,
    "detectron2.json": json.dumps(DETECTRON2_JSON),
    "deeplabcut.yaml": DLC,
    "deeplabcut_torch.yaml": DLC_TORCH,
    "deeplabcut_multi.yaml": DLC_MULTI,
    "videopose3d.py": VIDEOPOSE3D,
    "videopose3d.json": json.dumps(METADATA),
    "pyskl.py": PYSKL,
    "sleap.json": json.dumps(SLEAP),
    "sleap_bare.json": json.dumps(SLEAP_BARE),
    "sleap_labels.json": json.dumps(SLEAP_LABELS),
}


def imported(path: Path, text: str) -> tuple[Skeleton, list[str]]:
    path.write_text(text, encoding="utf-8")
    notices: list[str] = []
    return import_skeleton(path, notices), notices


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_same_face(tmp_path: Path, name: str) -> None:
    skeleton, notices = imported(tmp_path / name, FILES[name])
    assert (len(skeleton.joints), skeleton.pairs, skeleton.negate) == (3, ((1, 2),), ("x",))
    assert parse_spec(skeleton.to_yaml()).skeleton == skeleton and name in skeleton.source
    if skeleton.edges:
        assert {frozenset(edge) for edge in skeleton.edges} == {frozenset({0, 1}), frozenset({0, 2})}
    # Pairs that were read from names are listed; names that are made up are said.
    assert all("joint0" in notice or "/" in notice for notice in notices)
    assert bool(notices) == any(word in name for word in ("coco", "ultra", "cut.", "multi", "video", "pyskl", "bare"))


def test_names_and_bones_come_along(tmp_path: Path) -> None:
    skeleton, _ = imported(tmp_path / "face.py", MMPOSE)
    assert (skeleton.name, skeleton.joints, len(skeleton.edges)) == ("face3", ("nose", "left_eye", "right_eye"), 2)
    text = ULTRALYTICS + "kpt_names:\n  0:\n    - nose\n    - left_eye\n    - right_eye\n"
    named, _ = imported(tmp_path / "face.yaml", text)
    assert named.joints == skeleton.joints
    assert imported(tmp_path / "face.yaml", text.replace("flip_idx: [0, 2, 1]\n", ""))[0].pairs == named.pairs


def test_python_files_are_never_run(tmp_path: Path) -> None:
    target = tmp_path / "touched"
    text = f"import os\nos.system('touch {target}')\n" + MMPOSE
    assert len(imported(tmp_path / "face.py", text)[0].joints) == 3 and not target.exists()


BAD = {
    "no joints.py": ("x = 1\n", "CH111"),
    "no python.py": ("def (:\n", "CH111"),
    "computed.py": ("dataset_info = dict(keypoint_info={0: dict(name=NAMES[0], swap='')})", "CH111"),
    "chain.py": (MMPOSE.replace("swap='left_eye'", "swap='nose'"), "CH102"),
    "gap.py": (MMPOSE.replace("2: dict(name", "5: dict(name"), "CH111"),
    "unknown swap.py": (MMPOSE.replace("swap='left_eye'", "swap='left_eya'"), "CH104"),
    "no name.py": (MMPOSE.replace("name='nose', ", ""), "CH111"),
    "no json.json": ("{", "CH111"),
    "no keypoints.json": ('{"categories": [{"name": "car"}]}', "CH111"),
    "no sides.json": ('{"keypoints": ["a", "b"]}', "CH106"),
    "no cycle.yaml": ("kpt_shape: [3, 2]\nflip_idx: [1, 2, 0]\n", "CH102"),
    "huge.yaml": ("kpt_shape: [99999999, 2]\nflip_idx: [1, 0]\n", "CH111"),
    "tag.yaml": ("kpt_shape: !!python/name:os.system x\n", "CH105"),
    "stranger.py": (DETECTRON2.replace('("left_eye", "right_eye"),', '("left_eye", "right_ear"),'), "CH104"),
    "index.yaml": (DLC_TORCH.replace("[[2, 1]]", "[[2, 9]]"), "CH106"),
    "lengths.py": (VIDEOPOSE3D.replace("joints_right=[2]", "joints_right=[]"), "CH111"),
    "far.py": ("left_kp = [1]\nright_kp = [3000000000]\n", "CH111"),
    "far.json": (json.dumps({"keypoints_symmetry": [[1], [10**40]]}), "CH111"),
    "dangling.json": (json.dumps(SLEAP_BARE | {"nodes": [{"id": {"py/id": 99}}]}), "CH111"),
    "half a link.json": (json.dumps({"nodes": [], "links": [{"source": _node("a")}]}), "CH111"),
    "deep.json": ("[" * 100_000, "CH111"),
    "digits.json": ('{"num_joints": %s}' % ("9" * 5000), "CH111"),
    "other.slp": ("\x89HDF", "CH111"),
}


@pytest.mark.parametrize("name", BAD)
def test_files_that_cannot_be_imported(tmp_path: Path, name: str) -> None:
    text, code = BAD[name]
    with pytest.raises(SpecError) as caught:
        imported(tmp_path / name, text)
    assert caught.value.code == code and str(tmp_path / name) in caught.value.where and caught.value.remedy


@pytest.mark.parametrize("suffix", [".py", ".json", ".yaml", ".npz"])
@pytest.mark.parametrize("text", ["", "[" * 3000, "x" * 10, "\x01\x02", "{]", "a: 1", "[1, 2]", '"text"'])
def test_rubbish_is_refused(tmp_path: Path, suffix: str, text: str) -> None:
    with pytest.raises(SpecError):
        imported(tmp_path / f"a{suffix}", text)
