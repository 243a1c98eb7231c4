"""pyskl and MMAction: a Python config with `left_kp` and `right_kp`, or with a graph layout known by name.

    left_kp = [1, 3, 5]                                  two parallel lists of indices
    right_kp = [2, 4, 6]
    model = dict(backbone=dict(graph_cfg=dict(layout='coco')))

The lists are those of the augmentation that flips keypoints, so they count before the layout, which only names joints.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from chiralize.body.skeleton.catalog import load_skeleton
from chiralize.body.skeleton.dialects.building import build, numbered, without_names
from chiralize.body.skeleton.dialects.literals import Literals, read_python, readable
from chiralize.body.skeleton.dialects.values import find
from chiralize.body.skeleton.nodes import Node
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.errors import ImportFormatError

_LAYOUTS = {"coco": "coco-17", "nturgb+d": "ntu-25", "openpose": "openpose-18"}


def read(path: Path, notices: list[str]) -> Skeleton:
    """The keypoints that a config flips, with the names of its graph layout where it has one."""
    literals = read_python(path)
    root = literals.root()
    left, right = _argument(literals, "left_kp"), _argument(literals, "right_kp")
    layout = find(root, "layout")
    shipped = _LAYOUTS.get(layout.text or "") if layout is not None else None
    known = load_skeleton(shipped) if shipped else None
    if left is None or right is None:
        if known is None:
            facts = "neither `left_kp` and `right_kp` nor a graph layout"
            raise ImportFormatError(str(path), facts, "give a config that flips keypoints")
        notices.append(f"{path}: no left_kp and right_kp; graph layout {(layout or root).text!r} is {known.name}")
        return replace(known, name=path.stem, aliases=(), source=f"pyskl file {path.name}, as {known.name}")
    size = _size(root, left, right, known, notices)
    if known is not None and len(known.joints) == size:
        joints = list(known.joints)
    else:
        joints = numbered(size, left)
    skeleton = build(path, "pyskl", left, path.stem, notices, joints=joints, left=left, right=right)
    if isinstance(joints, list):
        return skeleton
    return without_names(skeleton, notices)


def _argument(literals: Literals, key: str) -> Node | None:
    """A list that is assigned to a name, or else is an argument of a call: `dict(type='Flip', left_kp=[1, 3])`."""
    node = literals.names.get(key) or next((call.named[key] for call in literals.calls if key in call.named), None)
    if node is None:
        return None
    return readable(node, key)


def _size(root: Node, left: Node, right: Node, known: Skeleton | None, notices: list[str]) -> int:
    """The number of joints: that of the layout, of the input's channels, or the least that has all indices.

    Pictures of joints (PoseC3D) have a channel a joint. Raises ImportFormatError where both lists are empty.
    """
    indices = [item.integer("a keypoint") for side in (left, right) for item in side.sequence("keypoints")]
    if not indices:
        raise ImportFormatError(left.where, "`left_kp` and `right_kp` are empty", "give a config that flips keypoints")
    least = 1 + max(indices)
    if known is not None and len(known.joints) >= least:
        return len(known.joints)
    # Joints behind the last pair are few; many more channels than that are something else.
    channels = find(root, "in_channels")
    if channels is not None and channels.is_integer and least <= channels.integer("in_channels") <= least + 8:
        notices.append(f"{channels.where}: in_channels {channels.text} taken as the number of joints")
        return channels.integer("in_channels")
    notices.append(f"the number of joints is not stated: {least}, from the largest index")
    return least
