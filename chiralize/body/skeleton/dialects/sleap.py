"""SLEAP: a skeleton JSON (jsonpickle of a graph): nodes, links of type 1 (bones) and of type 2 (symmetries).

Objects are numbered from 1 in the order in which they first appear, and `{"py/id": n}` refers to number n. Nothing is
unpickled: only names and the type numbers are read.
"""

from __future__ import annotations

from pathlib import Path

from chiralize.body.skeleton.dialects.building import build, get, list_node, pairs_of, read_json, text_node
from chiralize.body.skeleton.nodes import Node
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.errors import ImportFormatError

_BONE, _SYMMETRY = 1, 2


def read(path: Path, notices: list[str]) -> Skeleton:
    """The nodes, bones and symmetries of a skeleton file; without symmetries pairs are inferred from the names."""
    if path.suffix.lower() in (".slp", ".h5", ".hdf5"):
        raise ImportFormatError(
            str(path), "an HDF5 labels file", "export the skeleton from SLEAP (Labels > Skeleton > Save) as JSON"
        )
    root = read_json(path)
    labels = _label_names(root)
    graph = root
    for key in ("skeletons", "nx_graph"):
        inner = get(graph, key)
        graph = graph if inner is None else (inner.items[0] if inner.items else inner)
    nodes, links = get(graph, "nodes"), get(graph, "links")
    if nodes is None or links is None or nodes.items is None:
        raise ImportFormatError(str(path), "no `nodes` and `links`", "give a skeleton JSON saved by SLEAP")
    objects = _Objects(labels)
    objects.collect(graph)
    joints = [text_node(objects.name(get(item, "id") or item), item) for item in nodes.items]
    bones, symmetries = [], []
    for link in links.sequence("links"):
        ends = list_node([text_node(objects.name(_end(link, end)), link) for end in ("source", "target")], link)
        (bones if objects.link_type(get(link, "type")) == _BONE else symmetries).append(ends)
    label = get(get(graph, "graph") or graph, "name")
    joint_list = list_node(joints, nodes)
    pairs = pairs_of(joint_list, list_node(symmetries, links), notices)
    return build(
        *(path, "SLEAP", root, label.text if label and label.text else path.stem, notices),
        joints=joint_list,
        **{"pairs" if pairs.text else "symmetries": pairs},
        dims=["x", "y"],
        edges=list_node(bones, links) if bones else None,
    )


def _label_names(root: Node) -> list[str]:
    """Names of a labels JSON, whose skeletons refer to nodes by number."""
    if get(root, "skeletons") is None:
        return []
    nodes = get(root, "nodes")
    found = [get(node, "name") for node in ((nodes.items or ()) if nodes is not None else ())]
    return [(name.text or "") if name is not None else "" for name in found]


def _end(link: Node, key: str) -> Node:
    end = get(link, key)
    if end is None:
        raise ImportFormatError(link.where, f"a link without {key!r}", "give a skeleton JSON saved by SLEAP")
    return end


class _Objects:
    """The numbered objects of a jsonpickle document: node names and link types."""

    def __init__(self, labels: list[str]) -> None:
        self.labels = labels
        self.found: list[str | int] = []

    def collect(self, node: Node) -> None:
        stack = [node]
        while stack:
            current = stack.pop()
            value = _value(current)
            if value is not None:
                self.found.append(value)
                continue
            children = [*(current.items or ()), *(child for _, child in current.entries or ())]
            stack += reversed(children)

    def name(self, node: Node) -> str:
        if node.is_integer and self.labels:
            index = node.integer("node")
            if 0 <= index < len(self.labels):
                return self.labels[index]
        value = self._resolve(node)
        if not isinstance(value, str):
            raise ImportFormatError(node.where, f"{node.show()} refers to no node", "give a JSON saved by SLEAP")
        return value

    def link_type(self, node: Node | None) -> int:
        if node is None:
            return _BONE
        value = self._resolve(node)
        if value not in (_BONE, _SYMMETRY):
            raise ImportFormatError(node.where, f"link type {value!r}", "give a JSON saved by SLEAP")
        return int(value)

    def _resolve(self, node: Node) -> str | int | None:
        reference = get(node, "py/id")
        if reference is None or not reference.is_integer:
            return _value(node)
        index = reference.integer("py/id") - 1
        return self.found[index] if 0 <= index < len(self.found) else None


def _value(node: Node) -> str | int | None:
    """What an object in place holds: a node's name, or a link's type number."""
    if get(node, "py/object") is not None:
        state = get(node, "py/state")
        parts = get(state, "py/tuple") if state is not None else None
        name = parts.items[0] if parts is not None and parts.items else get(state or node, "name")
        return name.text if name is not None else None
    reduced = get(node, "py/reduce")
    arguments = list(reduced.items or ()) if reduced is not None else []
    number = get(arguments[1], "py/tuple") if len(arguments) > 1 else None
    return number.items[0].integer("link type") if number is not None and number.items else None
