"""COCO: a JSON annotation file whose `categories` list keypoints and a 1-based skeleton; it has no pairs.

    {"categories": [{"name": "dog", "keypoints": ["nose", "l_ear", "r_ear"], "skeleton": [[1, 2], [1, 3]]}]}

has the edges (0, 1) and (0, 2), and its pair (1, 2) is inferred from the names.
"""

from __future__ import annotations

from pathlib import Path

from chiralize.body.skeleton.dialects.building import build, name_of, pairs_of, read_json
from chiralize.body.skeleton.dialects.values import get, items_of, list_node, optional_list
from chiralize.body.skeleton.nodes import Node
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.errors import ImportFormatError


def read(path: Path, notices: list[str]) -> Skeleton:
    """The first category that has keypoints; the pairs are inferred from the names, which is said."""
    root = read_json(path, only="categories")
    categories = get(root, "categories")
    listed = items_of(categories) if categories is not None else (root,)  # the file may be one category alone
    with_points = list[tuple[Node, Node]]()
    for category in listed:
        points = get(category, "keypoints")
        if points is not None and points.items:
            with_points.append((category, points))
    if not with_points:
        raise ImportFormatError(str(path), "no category with `keypoints`", "give a keypoint annotation file")
    category, points = with_points[0]
    name = name_of(get(category, "name"), path)
    if len(with_points) > 1:
        notices.append(f"{path}: {len(with_points)} categories have keypoints, the first, {name!r}, is taken")
    keys = {"joints": points, "pairs": pairs_of(points, None, notices), "dims": ["x", "y"]}
    return build(path, "COCO", root, name, notices, **keys, edges=_edges(get(category, "skeleton"), points))


def _edges(node: Node | None, points: Node) -> Node | None:
    """1-based index pairs, counted from 0."""
    edges = []
    for item in node.sequence("skeleton") if node is not None else ():
        ends = [end.integer("a skeleton index") for end in item.sequence("a bone", 2)]
        if min(ends) < 1:
            raise ImportFormatError(item.where, f"bone {ends}: COCO counts keypoints from 1", "add 1 to every index")
        edges.append(list_node([Node(item.source, item.line, text=str(end - 1)) for end in ends], item))
    return optional_list(edges, points)
