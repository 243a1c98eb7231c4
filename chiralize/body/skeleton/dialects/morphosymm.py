"""MorphoSymm: a robot YAML with `permutation_Q_js` and `reflection_Q_js`, one list per generator of the group.

    permutation_Q_js: [[1, 0]]        (T q)[0] = -q[1],  (T q)[1] = -q[0]
    reflection_Q_js: [[-1, -1]]

Files build on one another as Hydra's do, by `defaults: [base, _self_]`.
"""

from __future__ import annotations

from pathlib import Path

from chiralize.body.skeleton.catalog import is_file
from chiralize.body.skeleton.dialects.building import build, name_of, numbered, without_names
from chiralize.body.skeleton.dialects.values import get, items_of
from chiralize.body.skeleton.nodes import Node, texts
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.skeleton.yaml_source import read_yaml
from chiralize.errors import ImportFormatError

_PARENTS_LIMIT = 5
"""Files that build on one another, after which no more are opened."""


def read(path: Path, notices: list[str]) -> Skeleton:
    """The joint space of a robot: one coordinate a joint, signs per joint, y as the lateral axis.

    A file without the lists takes them from the files that it builds on (`defaults`), in the same folder. Of several
    generators (K4 and larger groups) the first, the left/right one, is taken, with a notice.
    """
    root = read_yaml(path)
    lists = _lists(root, path, notices, _PARENTS_LIMIT)
    if lists is None:
        above = _parents(root)
        if above:
            hint = f"import the file that it builds on ({', '.join(above)}.yaml)"
        else:
            hint = "give a robot's YAML"
        raise ImportFormatError(str(path), "no `permutation_Q_js` and `reflection_Q_js`", hint)
    first = _generator(lists[0], notices)
    joints = numbered(len(first.sequence("permutation_Q_js")), first)  # the file has no names of joints
    keys = {"joints": joints, "permutation": first, "reflection": _generator(lists[1], [])}
    name = name_of(get(root, "name"), path)
    skeleton = build(path, "MorphoSymm", root, name, notices, **keys, dims=["q"], negate=[], lateral="y")
    return without_names(skeleton, notices)


def _lists(root: Node, path: Path, notices: list[str], depth: int) -> tuple[Node, Node] | None:
    """The permutation and the reflection of a file, or of the nearest file that it builds on."""
    permutation, reflection = get(root, "permutation_Q_js"), get(root, "reflection_Q_js")
    if permutation is not None and reflection is not None and not (permutation.is_null or reflection.is_null):
        return permutation, reflection
    for parent in reversed(_parents(root)):  # of the files that are listed, the last one wins
        above = path.parent / f"{parent}.yaml"
        if depth and is_file(above) and above != path:
            lists = _lists(read_yaml(above), above, notices, depth - 1)
            if lists is not None:
                notices.append(f"{path}: the permutation and the reflection come from {above.name}")
                return lists
    return None


def _parents(root: Node) -> list[str]:
    """The names of the files that a file builds on; paths and what is no text are none."""
    names = texts(items_of(get(root, "defaults")))
    return [name for name in names if name and name != "_self_" and Path(name).name == name]


def _generator(node: Node, notices: list[str]) -> Node:
    """The list of the first generator; the list itself where it is not wrapped in another one."""
    rows = node.sequence("generators")
    first = next(iter(rows), None)
    if first is None or first.items is None:
        return node
    if len(rows) > 1:
        notices.append(f"{node.where}: {len(rows)} generators, the first is taken as the left/right mirror")
    return first
