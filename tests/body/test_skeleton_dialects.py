"""Importers: small files in every tool's real format, hostile ones, and files of other kinds."""

import json
import shlex
from pathlib import Path

import pytest

from chiralize import errors
from chiralize.body.skeleton.catalog import skeleton_from_yaml
from chiralize.body.skeleton.dialects import TOOLS, import_skeleton
from chiralize.body.tensors import load_spec
from chiralize.errors import SpecError

FACE = {(1, 2)}
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
PYSKL = """
dataset_type = 'PoseDataset'
left_kp = [1, 3, 5, 7, 9, 11, 13, 15]
right_kp = [2, 4, 6, 8, 10, 12, 14, 16]
model = dict(type='Recognizer3D', backbone=dict(type='ResNet3dSlowOnly', in_channels=17, out_indices=(2, )))
train_pipeline = [dict(type='Flip', flip_ratio=0.5, left_kp=left_kp, right_kp=right_kp)]
"""
PYSKL_GRAPH = "model = dict(backbone=dict(type='STGCN', graph_cfg=dict(layout='nturgb+d', mode='spatial')))\n"
MORPHOSYMM = """
defaults:
  - base_robot
name: a1
hip_height: 0.35
init_q: [0.0, 0.0, 0.35, 0, 0, 0 , 1,]
group_label: C2
permutation_Q_js: [[2, 3, 0, 1]]
# Reflections are determined by joint frame predefined orientation.
reflection_Q_js: [[-1, 1, -1, 1]]
"""

FILES = {
    "mmpose": ("mmpose", "face.py", MMPOSE),
    "coco": ("coco", "face.json", json.dumps(COCO)),
    "coco category": ("coco", "face.json", json.dumps(COCO["categories"][1])),
    "ultralytics": ("ultralytics", "face.yaml", ULTRALYTICS),
    "ultralytics pairs": ("ultralytics", "face.yaml", ULTRALYTICS.replace("[0, 2, 1]", "[[1, 2]]")),
    "detectron2 constants": ("detectron2", "face.py", DETECTRON2),
    "detectron2 set": ("detectron2", "face.py", DETECTRON2_SET),
    "detectron2 attributes": ("detectron2", "face.py", DETECTRON2_ATTRIBUTES),
    "detectron2 json": (
        "detectron2",
        "face.json",
        json.dumps(
            {
                "thing": {
                    "keypoint_names": ["nose", "left_eye", "right_eye"],
                    "keypoint_flip_map": [["left_eye", "right_eye"]],
                }
            }
        ),
    ),
    "deeplabcut": ("deeplabcut", "config.yaml", DLC),
    "deeplabcut torch": ("deeplabcut", "pytorch_config.yaml", DLC_TORCH),
    "deeplabcut multi": ("deeplabcut", "config.yaml", DLC_MULTI),
    "videopose3d": ("videopose3d", "face_dataset.py", VIDEOPOSE3D),
    "videopose3d json": ("videopose3d", "meta.json", json.dumps(METADATA)),
}


def _import(tmp_path, tool, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    notices: list[str] = []
    return import_skeleton(tool, path, notices), notices


@pytest.mark.parametrize("case", FILES)
def test_every_format_gives_the_same_face(tmp_path, case):
    tool, name, text = FILES[case]
    skeleton, notices = _import(tmp_path, tool, name, text)
    assert len(skeleton.joints) == 3 and set(skeleton.pairs) == FACE
    assert skeleton.negate == ("x",)
    assert skeleton_from_yaml(skeleton.to_yaml()) == skeleton
    assert name in skeleton.source
    if skeleton.edges:
        assert {frozenset(edge) for edge in skeleton.edges} == {frozenset({0, 1}), frozenset({0, 2})}
    assert all(str(tmp_path) in notice or "the" in notice for notice in notices)


def test_names_edges_and_notices_of_each_tool(tmp_path):
    skeleton, notices = _import(tmp_path, "mmpose", "face.py", MMPOSE)
    assert (skeleton.name, skeleton.joints, len(skeleton.edges)) == ("face3", ("nose", "left_eye", "right_eye"), 2)
    assert notices == []
    _, notices = _import(tmp_path, "coco", "face.json", json.dumps(COCO))
    assert any("inferred" in notice for notice in notices)
    _, notices = _import(tmp_path, "ultralytics", "face.yaml", ULTRALYTICS)
    assert any("flat permutation" in notice for notice in notices)
    assert any("joint0 to joint2" in notice for notice in notices)


def test_mmpose_weights_that_differ_in_a_pair_and_other_ids_are_noticed(tmp_path):
    text = MMPOSE.replace("[0.026, 0.025, 0.025]", "[0.026, 0.025, 0.062]").replace("id=2", "id=7")
    _, notices = _import(tmp_path, "mmpose", "face.py", text)
    assert any("sigmas differ within 1 pairs (first: left_eye)" in notice for notice in notices)
    assert any("has id 7" in notice for notice in notices)
    _, notices = _import(tmp_path, "mmpose", "face.py", MMPOSE.replace("[1.] * 3", "[1.] * 2"))
    assert any("joint_weights has 2 entries for 3 joints" in notice for notice in notices)
    text = MMPOSE.replace("swap='left_eye'", "swap=''").replace("swap='right_eye'", "swap=''")
    _, notices = _import(tmp_path, "mmpose", "face.py", text.replace("left_eye", "a").replace("right_eye", "b"))
    assert any("pairs no joints" in notice for notice in notices)


def test_ultralytics_names_and_known_permutation(tmp_path):
    text = ULTRALYTICS + "kpt_names:\n  0:\n    - nose\n    - left_eye\n    - right_eye\n"
    skeleton, _ = _import(tmp_path, "ultralytics", "face.yaml", text)
    assert skeleton.joints == ("nose", "left_eye", "right_eye")
    named, _ = _import(tmp_path, "ultralytics", "face.yaml", text.replace("flip_idx: [0, 2, 1]\n", ""))
    assert named.pairs == skeleton.pairs
    flips = "[0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]"
    _, notices = _import(tmp_path, "ultralytics", "a.yaml", f"kpt_shape: [17, 3]\nflip_idx: {flips}\n")
    assert any("coco-17" in notice for notice in notices)


def test_pyskl_takes_names_from_the_layout(tmp_path):
    skeleton, notices = _import(tmp_path, "pyskl", "joint.py", PYSKL)
    assert (len(skeleton.joints), len(skeleton.pairs)) == (17, 8)
    assert any("in_channels 17" in notice for notice in notices)
    graph, _ = _import(tmp_path, "pyskl", "j.py", PYSKL_GRAPH)
    assert len(graph.joints) == 25 and graph.name == "j"
    both, _ = _import(tmp_path, "pyskl", "j.py", PYSKL + "graph = dict(layout='coco')\n")
    assert both.joints[1] == "left_eye"
    bare, notices = _import(tmp_path, "pyskl", "j.py", "left_kp = [1]\nright_kp = [2]\n")
    assert len(bare.joints) == 3 and any("largest index" in notice for notice in notices)


def test_morphosymm_signs_and_generators(tmp_path):
    skeleton, notices = _import(tmp_path, "morphosymm", "a1.yaml", MORPHOSYMM)
    assert (skeleton.name, skeleton.dims, skeleton.lateral) == ("a1", ("q",), "y")
    assert str(skeleton.merged_action()) == "4: -(0 2) (1 3)"
    text = MORPHOSYMM.replace("[[2, 3, 0, 1]]", "[[2, 3, 0, 1], [1, 0, 3, 2]]").replace("1]]", "1], [1, 1, 1, 1]]")
    text = text.replace("[1, 0, 3, 2], [1, 1, 1, 1]", "[1, 0, 3, 2]")
    several, notices = _import(tmp_path, "morphosymm", "k4.yaml", text)
    child, heard = _import(tmp_path, "morphosymm", "b1.yaml", "defaults:\n  - a1\n  - _self_\nname: b1\n")
    assert (child.name, child.signs) == ("b1", skeleton.signs) and any("a1.yaml" in notice for notice in heard)
    assert several.pairs == skeleton.pairs and any("generators" in notice for notice in notices)


def test_python_files_are_never_run(tmp_path):
    target = tmp_path / "owned"
    text = f"import os\nos.system('touch {target}')\n" + MMPOSE
    skeleton, _ = _import(tmp_path, "mmpose", "face.py", text)
    assert len(skeleton.joints) == 3 and not target.exists()


BAD = {
    "mmpose empty": ("mmpose", "a.py", "x = 1\n", "ImportFormatError", "dataset_info"),
    "mmpose no python": ("mmpose", "a.py", "def (:\n", "ImportFormatError", "not Python"),
    "mmpose computed": (
        "mmpose",
        "a.py",
        "dataset_info = dict(keypoint_info={0: dict(name=NAMES[0], swap='')})",
        "ImportFormatError",
        "only running the file",
    ),
    "mmpose chain": (
        "mmpose",
        "a.py",
        MMPOSE.replace("swap='left_eye'", "swap='nose'"),
        "NotAnInvolutionError",
        "'right_eye' swaps with 'nose' here",
    ),
    "mmpose gap": (
        "mmpose",
        "a.py",
        MMPOSE.replace("2: dict(name", "5: dict(name"),
        "ImportFormatError",
        "keypoint 2 is",
    ),
    "mmpose unknown swap": (
        "mmpose",
        "a.py",
        MMPOSE.replace("swap='left_eye'", "swap='left_eya'"),
        "UnknownNameError",
        "'left_eya'",
    ),
    "mmpose no name": ("mmpose", "a.py", MMPOSE.replace("name='nose', ", ""), "ImportFormatError", "without 'name'"),
    "coco no json": ("coco", "a.json", "{", "ImportFormatError", "not JSON"),
    "coco no keypoints": ("coco", "a.json", '{"categories": [{"name": "car"}]}', "ImportFormatError", "keypoints"),
    "coco 0-based": (
        "coco",
        "a.json",
        '{"keypoints": ["left_a", "right_a"], "skeleton": [[0, 1]]}',
        "ImportFormatError",
        "counts keypoints from 1",
    ),
    "coco names tell nothing": ("coco", "a.json", '{"keypoints": ["a", "b"]}', "WrongValueError", "no joint's name"),
    "ultralytics no shape": ("ultralytics", "a.yaml", "names: [a]\n", "ImportFormatError", "kpt_shape"),
    "ultralytics no flips": ("ultralytics", "a.yaml", "kpt_shape: [3, 2]\n", "ImportFormatError", "not stated"),
    "ultralytics length": (
        "ultralytics",
        "a.yaml",
        "kpt_shape: [4, 2]\nflip_idx: [1, 0]\n",
        "WrongValueError",
        "2 entries for 4",
    ),
    "ultralytics huge": (
        "ultralytics",
        "a.yaml",
        "kpt_shape: [99999999, 2]\nflip_idx: []\n",
        "WrongValueError",
        "99999999",
    ),
    "ultralytics tag": ("ultralytics", "a.yaml", "kpt_shape: !!python/name:os.system x\n", "YamlSyntaxError", "tag"),
    "detectron2 none": ("detectron2", "a.py", "x = 1\n", "ImportFormatError", "keypoint_names"),
    "detectron2 stranger": (
        "detectron2",
        "a.py",
        DETECTRON2.replace('("left_eye", "right_eye"),', '("left_eye", "right_ear"),'),
        "UnknownNameError",
        "'right_ear'",
    ),
    "deeplabcut none": ("deeplabcut", "a.yaml", "Task: x\n", "ImportFormatError", "bodyparts"),
    "deeplabcut index": (
        "deeplabcut",
        "a.yaml",
        DLC_TORCH.replace("[[2, 1]]", "[[2, 9]]"),
        "WrongValueError",
        "index 9",
    ),
    "videopose3d none": ("videopose3d", "a.py", "x = 1\n", "ImportFormatError", "joints_left"),
    "videopose3d lengths": (
        "videopose3d",
        "a.py",
        VIDEOPOSE3D.replace("joints_right=[2]", "joints_right=[]"),
        "WrongValueError",
        "left has 1 joints, right has 0",
    ),
    "videopose3d zip": ("videopose3d", "a.npz", "not a zip", "ImportFormatError", "metadata"),
    "videopose3d json": ("videopose3d", "a.json", "{}", "ImportFormatError", "keypoints_symmetry"),
    "pyskl none": ("pyskl", "a.py", "x = 1\n", "ImportFormatError", "left_kp"),
    "morphosymm none": ("morphosymm", "a.yaml", "defaults: [solo]\n", "ImportFormatError", "permutation_Q_js"),
    "morphosymm signs": (
        "morphosymm",
        "a.yaml",
        MORPHOSYMM.replace("[[-1, 1, -1, 1]]", "[[-1, 1, 1, 1]]"),
        "NotAnInvolutionError",
        "twice is not the identity",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_files_that_cannot_be_imported(tmp_path, case):
    tool, name, text, error, words = BAD[case]
    with pytest.raises(getattr(errors, error)) as caught:
        _import(tmp_path, tool, name, text)
    assert type(caught.value).__name__ == error
    assert words in caught.value.facts
    assert str(tmp_path / name) in caught.value.where
    assert caught.value.exit_status == 2


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("text", ["", "[" * 3000, "x" * 10, "\x01\x02", "{]", "a: 1", "[1, 2]", '"text"'])
def test_rubbish_is_refused_by_every_importer(tmp_path, tool, text):
    for suffix in (".py", ".json", ".yaml", ".npz"):
        path = tmp_path / f"a{suffix}"
        path.write_text(text)
        with pytest.raises(errors.SpecError):
            import_skeleton(tool, path, [])


def test_unknown_tools_and_missing_files(tmp_path):
    with pytest.raises(errors.UnknownNameError, match="did you mean 'mmpose'"):
        import_skeleton("mmpse", tmp_path / "a.py", [])
    with pytest.raises(errors.ImportFormatError, match="no such file"):
        import_skeleton("mmpose", tmp_path / "a.py", [])


@pytest.mark.parametrize(
    ("name", "text", "tool"),
    [
        ("a robot.xml", '<?xml version="1.0"?>\n<!-- of a factory -->\n<mujoco model="a">\n</mujoco>', "mujoco"),
        ("robot.urdf", '\ufeff<robot name="a">\n</robot>', "urdf"),
        ("other.xml", "<html></html>", "TOOL"),
        ("config.py", "dataset_info = {}", "TOOL"),
    ],
)
def test_the_file_of_a_tool_in_place_of_a_skeleton(name: str, text: str, tool: str, tmp_path: Path) -> None:
    """The message has the command that makes a skeleton of it; which tool's a file of XML is, its root says."""
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match="is a file of another tool") as caught:
        load_spec(path)
    words = shlex.split(caught.value.remedy.removeprefix("convert it first: "))
    assert words == ["chiralize", "skeleton", "import", "--from", tool, str(path), "-o", f"{path.stem}.yaml"]
