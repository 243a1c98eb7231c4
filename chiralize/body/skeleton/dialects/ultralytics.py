"""ultralytics: a data YAML with `kpt_shape: [17, 3]`, `flip_idx` and, in newer files, `kpt_names`.

    kpt_shape: [3, 2]                      three keypoints, x and y
    flip_idx: [0, 2, 1]                    the partner of each, itself in the middle
    kpt_names: {0: [nose, l_ear, r_ear]}   by class

Without `flip_idx` pairs are inferred from the names; without either, nothing says what the mirror is.
"""

from __future__ import annotations

from pathlib import Path

from chiralize.body.skeleton.dialects.building import MOST_JOINTS, build, numbered, pairs_of, without_names
from chiralize.body.skeleton.dialects.values import get
from chiralize.body.skeleton.nodes import Node
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.skeleton.yaml_source import read_yaml
from chiralize.errors import ImportFormatError


def read(path: Path, notices: list[str]) -> Skeleton:
    """The keypoints of a data YAML; `flip_idx` may be a flat permutation or a list of pairs, and it is said which."""
    root = read_yaml(path)
    shape, flips = get(root, "kpt_shape"), get(root, "flip_idx")
    if shape is None:
        raise ImportFormatError(str(path), "no `kpt_shape`", "give the data YAML of a pose data set")
    count = shape.sequence("kpt_shape", 2)[0].integer("number of keypoints")
    if not 1 <= count <= MOST_JOINTS:
        shape.wrong(f"{count} keypoints", "give the number of keypoints")
    names = _names(get(root, "kpt_names"))
    if flips is None and names is None:
        facts = "neither `flip_idx` nor `kpt_names`: which keypoints are partners is not stated"
        raise ImportFormatError(str(path), facts, "add flip_idx")
    if names is not None and len(names.items or ()) != count:
        names.wrong(f"{len(names.items or ())} kpt_names, but kpt_shape says {count}", "give one name per keypoint")
    joints = names or numbered(count, shape)
    if flips is not None:
        keys = {"flip_idx": flips}
    else:
        keys = {"pairs": pairs_of(joints, None, notices)}
    skeleton = build(path, "ultralytics", root, path.stem, notices, joints=joints, dims=["x", "y"], **keys)
    if names is not None:
        return skeleton
    return without_names(skeleton, notices)


def _names(node: Node | None) -> Node | None:
    """`kpt_names: {0: [nose, ...]}` (by class, of which the first is taken) or a plain list; None for anything else."""
    if node is not None and node.entries:
        node = node.entries[0][1]
    if node is not None and node.items:
        return node
    return None
