"""VideoPose3D and its relatives: `Skeleton(parents=..., joints_left=..., joints_right=...)` in Python, or the
`metadata` of a 2D keypoint archive (`keypoints_symmetry: [[left], [right]]`), as .npz or JSON.

Both hold two parallel lists of indices: joints_left=[4, 5, 6], joints_right=[1, 2, 3] pairs 4 with 1, 5 with 2, 6 with
3. `metadata` is a pickled dict within the archive; it is read by an unpickler that knows plain data alone.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from functools import partial
from pathlib import Path

import numpy as np

from chiralize.body.skeleton.catalog import find_shipped
from chiralize.body.skeleton.dialects.building import build, numbered, read_json, without_names
from chiralize.body.skeleton.dialects.literals import read_python, readable
from chiralize.body.skeleton.dialects.values import find, items_of, list_node
from chiralize.body.skeleton.nodes import Node, from_python
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.errors import ImportFormatError

_METADATA_LIMIT = 1 << 20
# What numpy pickles an array of numbers or texts with, by its old and its new name.
_ALLOWED = {
    *(("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct")),
    *(("numpy", "ndarray"), ("numpy", "dtype")),
}


def read(path: Path, notices: list[str]) -> Skeleton:
    """The skeleton of a data set file, or of a keypoint archive's metadata.

    Joints of an archive get the names of a shipped skeleton where `layout_name` is one's and the numbers of joints
    agree. Raises ImportFormatError, SpecError.
    """
    suffix = path.suffix.lower()
    if suffix == ".py":
        return _from_python(path, notices)
    root = from_python(_metadata(path), str(path)) if suffix == ".npz" else read_json(path)
    sides = find(root, "keypoints_symmetry")
    if sides is None:
        raise ImportFormatError(str(path), "no `keypoints_symmetry`", "give a 2D keypoint file with `metadata`")
    left, right = sides.sequence("keypoints_symmetry", 2)
    count = find(root, "num_joints")
    if count is not None:
        size = count.integer("num_joints")
    else:
        size = _size_of([left, right], notices)
    # Names of joints are in no archive; `layout_name` may be that of a shipped skeleton.
    layout = find(root, "layout_name")
    known = find_shipped(layout.text or "") if layout is not None else None
    build_of = partial(build, path, "VideoPose3D", root, path.stem, notices, left=left, right=right)
    if known is None or len(known.joints) != size:
        return without_names(build_of(joints=numbered(size, root)), notices)
    skeleton = build_of(joints=list_node([from_python(name, str(path)) for name in known.joints], root))
    notices.append(f"the joint names are those of the shipped {known.name} (layout_name {(layout or root).text})")
    return skeleton


def _from_python(path: Path, notices: list[str]) -> Skeleton:
    """The skeleton of the first call with `joints_left` and `joints_right`. Raises ImportFormatError where none is."""
    for call in read_python(path).calls:
        if "joints_left" in call.named and "joints_right" in call.named:
            left, right = (readable(call.named[key], key) for key in ("joints_left", "joints_right"))
            # The tree says how many joints there are; without it the largest index does.
            parents = call.named.get("parents") or (call.positional[0] if call.positional else None)
            if parents is not None:
                size = len(items_of(readable(parents, "parents")))
            else:
                size = _size_of([left, right], notices)
            keys = {"edges": _edges(parents), "joints": numbered(size, left), "left": left, "right": right}
            skeleton = build(path, "VideoPose3D", left, path.stem, notices, **keys)
            notices.append(f"{path}: all {size} joints of the file, before any `remove_joints`")
            return without_names(skeleton, notices)
    facts = "no `Skeleton(parents=..., joints_left=..., joints_right=...)`"
    raise ImportFormatError(str(path), facts, "give common/*_dataset.py")


def _edges(parents: Node | None) -> list[list[int]] | None:
    """Bones from the parent of every joint, -1 for the root; None where the file does not say parents."""
    if parents is None:
        return None
    edges = list[list[int]]()
    for child, item in enumerate(parents.sequence("parents")):
        parent = item.integer("a parent")
        if parent >= 0:
            edges.append([parent, child])
    return edges


def _size_of(sides: list[Node], notices: list[str]) -> int:
    """The least number of joints that has all indices of both sides, which is noticed: there may be more."""
    size = 1 + max((item.integer("a joint") for side in sides for item in side.sequence("joints")), default=0)
    notices.append(f"the number of joints is not stated: {size}, from the largest index")
    return size


class _Restricted(pickle.Unpickler):
    """Knows dicts, lists, texts, numbers and numpy arrays of them; anything else is refused."""

    def find_class(self, module: str, name: str) -> object:
        """The class of that name. Raises UnpicklingError for any but those of plain arrays."""
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is not plain data")
        return super().find_class(module, name)


def _metadata(path: Path) -> object:
    """The dict under `metadata` in the archive, read without running anything that the file carries."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open("metadata.npy") as member:
            raw = member.read(_METADATA_LIMIT + 1)
        # The header of the .npy member says whether a pickle follows; it is unpickled here and not by numpy.
        stream = io.BytesIO(raw)
        # Version 2 has a longer length of the header, and no other difference that counts here.
        version = np.lib.format.read_magic(stream)
        if version[0] == 1:
            read_header = np.lib.format.read_array_header_1_0
        else:
            read_header = np.lib.format.read_array_header_2_0
        dtype = read_header(stream)[2]
        if len(raw) > _METADATA_LIMIT or not dtype.hasobject:
            raise ValueError("metadata is no dictionary")
        value = _Restricted(stream).load()
    except Exception as error:  # a damaged archive or pickle may fail with any of them
        reason = str(error)[:120] or type(error).__name__
        raise ImportFormatError(str(path), f"no readable `metadata` ({reason})", "give a 2D keypoint archive") from None
    if isinstance(value, np.ndarray) and value.ndim == 0:
        return value.item()
    return value
