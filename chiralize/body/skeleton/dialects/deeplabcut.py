"""DeepLabCut: a project's config.yaml (`bodyparts`, `skeleton`), pytorch_config.yaml or pose_cfg.yaml.

Pairs: `symmetric_pairs` (TensorFlow) or `data.train.hflip.symmetries` (PyTorch), indices into the body parts.
"""

from __future__ import annotations

from pathlib import Path

from chiralize.body.skeleton.dialects.building import build, find, get, list_node, pairs_of
from chiralize.body.skeleton.nodes import Node
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.skeleton.yaml_source import read_yaml
from chiralize.errors import ImportFormatError


def read(path: Path, notices: list[str]) -> Skeleton:
    """The body parts of a project or of a trained model; without symmetries the pairs are inferred from the names."""
    root = read_yaml(path)
    parts = _parts(root)
    if parts is None:
        raise ImportFormatError(
            str(path), "no `bodyparts`", "give config.yaml, pytorch_config.yaml or pose_cfg.yaml of a project"
        )
    augment = find(root, "hflip")
    pairs = find(root, "symmetric_pairs") or (get(augment, "symmetries") if augment is not None else None)
    label = get(root, "Task")
    name = label.text if label is not None and label.is_text and label.text else path.stem
    return build(
        *(path, "DeepLabCut", root, name, notices),
        joints=parts,
        **_pair_key(parts, pairs, notices),
        dims=["x", "y"],
        edges=_edges(get(root, "skeleton"), parts),
    )


def _pair_key(parts: Node, pairs: Node | None, notices: list[str]) -> dict[str, Node]:
    read = pairs_of(parts, pairs, notices)
    return {"pairs" if read.text else "symmetric_pairs": read}


def _parts(root: Node) -> Node | None:
    own = find(root, "bodyparts", "all_joints_names")
    if own is not None and own.items is None:
        own = find(root, "multianimalbodyparts")
    if own is None or not own.items:
        return None
    unique = find(root, "uniquebodyparts", "unique_bodyparts")
    return list_node([*own.items, *((unique.items or ()) if unique is not None else ())], own)


def _edges(node: Node | None, parts: Node) -> Node | None:
    """Bones between known parts; a config may hold longer chains and stale names."""
    known = {part.text for part in parts.items or ()}
    edges = []
    for chain in (node.items or ()) if node is not None else ():
        names = chain.items or ()
        for first, second in zip(names, names[1:], strict=False):
            if first.text in known and second.text in known and first.text != second.text:
                edges.append(list_node([first, second], chain))
    return list_node(edges, parts) if edges else None
