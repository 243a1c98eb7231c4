"""DeepLabCut: a project's config.yaml (`bodyparts`, `skeleton`), pytorch_config.yaml or pose_cfg.yaml.

Pairs: `symmetric_pairs` (TensorFlow) or `data.train.hflip.symmetries` (PyTorch), indices into the body parts.
A project of several animals says `bodyparts: MULTI!` and lists the parts under `multianimalbodyparts`.
"""

from __future__ import annotations

from pathlib import Path

from chiralize.body.skeleton.dialects.building import build, name_of, pairs_of
from chiralize.body.skeleton.dialects.values import find, get, items_of, list_node, optional_list
from chiralize.body.skeleton.nodes import Node
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.skeleton.yaml_source import read_yaml
from chiralize.errors import ImportFormatError


def read(path: Path, notices: list[str]) -> Skeleton:
    """The body parts of a project or of a trained model; without symmetries the pairs are inferred from the names."""
    root = read_yaml(path)
    parts = _parts(root)
    if parts is None:
        facts = "no `bodyparts`"
        raise ImportFormatError(str(path), facts, "give config.yaml, pytorch_config.yaml or pose_cfg.yaml of a project")
    label = get(root, "Task")
    if label is not None and not label.is_text:
        label = None
    pairs = find(root, "symmetric_pairs") or get(find(root, "hflip"), "symmetries")
    pairs = pairs_of(parts, pairs, notices)
    keys = {"joints": parts, "pairs" if pairs.text else "symmetric_pairs": pairs, "dims": ["x", "y"]}
    edges = _edges(get(root, "skeleton"), parts)
    return build(path, "DeepLabCut", root, name_of(label, path), notices, **keys, edges=edges)


def _parts(root: Node) -> Node | None:
    """The body parts of an animal, then those that are unique in the project; None where there are none."""
    parts = find(root, "bodyparts", "all_joints_names")
    if parts is not None and parts.items is None:
        parts = find(root, "multianimalbodyparts")
    if parts is None or not parts.items:
        return None
    return list_node([*parts.items, *items_of(find(root, "uniquebodyparts", "unique_bodyparts"))], parts)


def _edges(node: Node | None, parts: Node) -> Node | None:
    """Bones between known parts; a config may hold longer chains and stale names."""
    known = {part.text for part in items_of(parts)}
    edges = []
    for chain in items_of(node):
        names = items_of(chain)
        for first, second in zip(names, names[1:], strict=False):
            if first.text in known and second.text in known and first.text != second.text:
                edges.append(list_node([first, second], chain))
    return optional_list(edges, parts)
