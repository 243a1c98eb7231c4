"""detectron2: `keypoint_names`, `keypoint_flip_map`, `keypoint_connection_rules` in Python, JSON or YAML.

In Python they are constants (`COCO_PERSON_KEYPOINT_NAMES`), attributes of `MetadataCatalog.get(...)`, or arguments of
its `.set(...)`. The flip map lists pairs of names; a rule is a bone and its colour, ("nose", "neck", (102, 204, 255)).
"""

from __future__ import annotations

from pathlib import Path

from chiralize.body.skeleton.dialects.building import build, pairs_of, read_document
from chiralize.body.skeleton.dialects.literals import read_python, readable
from chiralize.body.skeleton.dialects.values import find, items_of, list_node, optional_list
from chiralize.body.skeleton.nodes import Node, read_optional
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.errors import ImportFormatError

_KEYS = ("keypoint_names", "keypoint_flip_map", "keypoint_connection_rules")
_NAMES, _FLIPS, _RULES = _KEYS


def read(path: Path, notices: list[str]) -> Skeleton:
    """The keypoint metadata of one data set. Raises ImportFormatError where there are no keypoint names."""
    metadata = _from_python(path) if path.suffix.lower() == ".py" else _from_document(path)
    names, flips = metadata.get(_NAMES), metadata.get(_FLIPS)
    if names is None:
        raise ImportFormatError(str(path), "no `keypoint_names`", "give the file that registers the metadata")
    for key, node in metadata.items():
        readable(node, key)
    rules = read_optional(metadata, _RULES, Node.sequence, "rules") or ()
    edges = [list_node(rule.sequence("a rule")[:2], rule) for rule in rules]  # without the colour
    pairs = {_FLIPS: flips} if items_of(flips) else {"pairs": pairs_of(names, None, notices)}
    keys = {"joints": names, **pairs, "dims": ["x", "y"], "edges": optional_list(edges, names)}
    return build(path, "detectron2", names, path.stem, notices, **keys)


def _from_python(path: Path) -> dict[str, Node]:
    """The keys of the metadata, from arguments of calls before constants; of several the first."""
    literals = read_python(path)
    metadata: dict[str, Node] = {}
    for call in literals.calls:
        for key in _KEYS:
            if key in call.named:
                metadata.setdefault(key, call.named[key])
    for key in _KEYS:
        for name, node in literals.names.items():
            # COCO_PERSON_KEYPOINT_NAMES ends with the key, whatever the data set is called.
            if name.lower().endswith(key) and node.items is not None:
                metadata.setdefault(key, node)
    return metadata


def _from_document(path: Path) -> dict[str, Node]:
    """The keys of the metadata in a YAML or JSON file, in small or in large letters."""
    root = read_document(path)
    metadata: dict[str, Node] = {}
    for key in _KEYS:
        node = find(root, key, key.upper())
        if node is not None:
            metadata[key] = node
    return metadata
