"""detectron2: `keypoint_names`, `keypoint_flip_map`, `keypoint_connection_rules` in Python, JSON or YAML.

In Python they are constants (`COCO_PERSON_KEYPOINT_NAMES`), attributes of `MetadataCatalog.get(...)`, or arguments of
its `.set(...)`.
"""

from __future__ import annotations

from pathlib import Path

from chiralize.body.skeleton.dialects.building import build, find, list_node, pairs_of, read_document
from chiralize.body.skeleton.dialects.literals import read_python, readable
from chiralize.body.skeleton.nodes import Node
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.errors import ImportFormatError

_KEYS = {"names": "keypoint_names", "flips": "keypoint_flip_map", "rules": "keypoint_connection_rules"}


def read(path: Path, notices: list[str]) -> Skeleton:
    """The keypoint metadata of one data set. Raises ImportFormatError where there are no keypoint names."""
    found = _from_python(path) if path.suffix.lower() == ".py" else _from_document(path)
    names = found.get("names")
    if names is None:
        raise ImportFormatError(str(path), "no `keypoint_names`", "give the file that registers the metadata")
    for part, node in found.items():
        readable(node, _KEYS[part])
    rules = [
        list_node(rule.sequence("a rule")[:2], rule)
        for rule in (found["rules"].sequence("rules") if "rules" in found else ())
    ]
    return build(
        *(path, "detectron2", names, path.stem, notices),
        joints=names,
        pairs=None if _given(found) else pairs_of(names, None, notices),
        keypoint_flip_map=found["flips"] if _given(found) else None,
        dims=["x", "y"],
        edges=list_node(rules, names) if rules else None,
    )


def _given(found: dict[str, Node]) -> bool:
    return "flips" in found and bool(found["flips"].items)


def _from_python(path: Path) -> dict[str, Node]:
    literals = read_python(path)
    found: dict[str, Node] = {}
    for call in literals.calls:
        for part, key in _KEYS.items():
            if key in call.named:
                found.setdefault(part, call.named[key])
    for part, key in _KEYS.items():
        for name, node in literals.names.items():
            if name.lower().endswith(key) and node.items is not None:
                found.setdefault(part, node)
    return found


def _from_document(path: Path) -> dict[str, Node]:
    root = read_document(path)
    found = {part: find(root, key, key.upper()) for part, key in _KEYS.items()}
    return {part: node for part, node in found.items() if node is not None}
