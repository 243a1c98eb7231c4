"""What the importers share: reading a file to Nodes, and building the Skeleton from what was read in it.

An importer ends with `build(path, "COCO", root, name, notices, joints=..., pairs=..., dims=["x", "y"])`, whose keywords
are the keys of a skeleton file. Where the file has no names or no pairs, `numbered` and `pairs_of` stand in, with a
notice that says so.
"""

from __future__ import annotations

import json
from pathlib import Path

from chiralize.body.skeleton.catalog import load_skeleton, shipped
from chiralize.body.skeleton.dialects.values import list_node, text_node
from chiralize.body.skeleton.nodes import Node, from_python
from chiralize.body.skeleton.schema import read_skeleton
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.skeleton.yaml_source import read_text, read_yaml
from chiralize.errors import ImportFormatError
from chiralize.errors.words import when

JSON_LIMIT = 1 << 28
"""Bytes; annotation files are large, and most of it is dropped."""
MOST_JOINTS = 10_000


def read_json(path: Path, only: str | None = None) -> Node:
    """A JSON file as Nodes.  only: the one key to keep where the file has it. Raises ImportFormatError."""
    try:
        value = json.loads(read_text(path, JSON_LIMIT))
        # Before anything becomes a Node: a COCO file has millions of annotations beside its few categories.
        if only is not None and isinstance(value, dict) and only in value:
            value = {only: value[only]}
        return from_python(value, str(path))
    except (ValueError, RecursionError) as error:
        raise ImportFormatError(str(path), f"not JSON ({str(error)[:80]})", "give the tool's JSON file") from None


def read_document(path: Path) -> Node:
    """A YAML or JSON file as Nodes, by its suffix. Raises ImportFormatError, YamlSyntaxError."""
    if path.suffix.lower() == ".json":
        return read_json(path)
    return read_yaml(path)


def name_of(label: Node | None, path: Path) -> str:
    """The name that a file gives its skeleton, else the name of the file."""
    if label is not None and label.text:
        return label.text
    return path.stem


def numbered(count: int, like: Node) -> Node:
    """Names joint0, joint1, ... for a file that has none. Raises WrongValueError on more than any body has."""
    if count > MOST_JOINTS:
        like.wrong(f"{count} joints, more than {MOST_JOINTS}", "correct the number of joints, or the largest index")
    return list_node([text_node(f"joint{index}", like) for index in range(count)], like)


def build(path: Path, tool: str, root: Node, name: str, notices: list[str], **keys: Node | object) -> Skeleton:
    """A Skeleton from the keys of a skeleton file; values are Nodes (with their lines) or Python values.

    tool: for the key `source`.  root: the node whose file and line messages about the whole name.  Keys whose value is
    None are left out. Raises SpecError.
    """
    keys = {"name": text_node(name, root), "source": text_node(f"{tool} file {path.name}", root), **keys}
    entries = list[tuple[Node, Node]]()
    for key, value in keys.items():
        if value is not None:
            node = value if isinstance(value, Node) else from_python(value, root.source)
            entries.append((text_node(key, root), node))
    skeleton = read_skeleton(Node(root.source, root.line, entries=tuple(entries)), name, None, notices)
    if not skeleton.pairs:
        notices.append(f"{path}: the file pairs no joints, so the mirror swaps nothing: check that this is meant")
    return skeleton


def without_names(skeleton: Skeleton, notices: list[str]) -> Skeleton:
    """The skeleton itself, with a notice that its joints have no names, and which shipped ones have the same pairs."""
    pairs = set(map(frozenset, skeleton.pairs))
    same = []
    for name in shipped():
        other = load_skeleton(name)
        if len(other.joints) == len(skeleton.joints) and set(map(frozenset, other.pairs)) == pairs:
            same.append(name)
    hint = when(same, f"; the same pairs as the shipped {' and '.join(same)}")
    notices.append(f"the file names no joints: they are called joint0 to joint{len(skeleton.joints) - 1}{hint}")
    return skeleton


def pairs_of(infer_from: Node, pairs: Node | None, notices: list[str]) -> Node:
    """The pairs that the file gives, else the word `infer`, with a notice that says so.

    An empty list counts as none given.  infer_from: the joints.
    """
    if pairs is not None and (pairs.items or pairs.entries):
        return pairs
    notices.append(f"{infer_from.source} has no pairs: they are inferred from the names, check them")
    return Node(infer_from.source, infer_from.line, text="infer")
