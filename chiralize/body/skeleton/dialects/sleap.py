"""SLEAP: a skeleton JSON (jsonpickle of a graph): nodes, links of type 1 (bones) and of type 2 (symmetries).

Objects are numbered from 1 in the order in which they first appear, and `{"py/id": n}` refers to number n. Nothing is
unpickled: only names and the type numbers are read. Shortened, with a and b partners:

    "links": [{"source": {"py/object": "...Node", "py/state": {"py/tuple": ["a", 1.0]}},      number 1
               "target": {"py/object": "...Node", "py/state": {"py/tuple": ["b", 1.0]}},      number 2
               "type": {"py/reduce": [{"py/type": "...EdgeType"}, {"py/tuple": [2]}]}}],      number 3
    "nodes": [{"id": {"py/id": 1}}, {"id": {"py/id": 2}}]

In a labels JSON, nodes stand in a list of their own, and skeletons refer to them by their numbers, from 0.
"""

from __future__ import annotations

from pathlib import Path

from chiralize.body.skeleton.dialects.building import build, name_of, pairs_of, read_json
from chiralize.body.skeleton.dialects.values import entries_of, get, items_of, list_node, optional_list, text_node
from chiralize.body.skeleton.nodes import Node
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.errors import ImportFormatError

_BONE, _SYMMETRY = 1, 2


def read(path: Path, notices: list[str]) -> Skeleton:
    """The nodes, bones and symmetries of a skeleton file; without symmetries pairs are inferred from the names."""
    if path.suffix.lower() in (".slp", ".h5", ".hdf5"):
        facts = "an HDF5 labels file"
        raise ImportFormatError(str(path), facts, "export the skeleton from SLEAP (Labels > Skeleton > Save) as JSON")
    root = read_json(path)
    labels = _label_names(root)
    graph = root
    # The graph may lie in a labels file, and within `nx_graph`; of several skeletons the first is taken.
    for key in ("skeletons", "nx_graph"):
        inner = get(graph, key)
        if inner is not None:
            graph = next(iter(items_of(inner)), inner)
    nodes, links = get(graph, "nodes"), get(graph, "links")
    if nodes is None or links is None or nodes.items is None:
        raise ImportFormatError(str(path), "no `nodes` and `links`", "give a skeleton JSON saved by SLEAP")
    objects = _Objects(labels, graph)
    # Joints in the order of `nodes`, which may refer to objects that links have written out before.
    joints = [text_node(objects.name(get(item, "id") or item), item) for item in nodes.items]
    by_type: dict[int, list[Node]] = {_BONE: [], _SYMMETRY: []}
    for link in links.sequence("links"):
        ends = list_node([text_node(objects.name(_end(link, end)), link) for end in ("source", "target")], link)
        by_type[objects.link_type(get(link, "type"))].append(ends)
    joint_list = list_node(joints, nodes)
    pairs = pairs_of(joint_list, list_node(by_type[_SYMMETRY], links), notices)
    keys = {"joints": joint_list, "pairs" if pairs.text else "symmetries": pairs, "dims": ["x", "y"]}
    name = name_of(get(get(graph, "graph") or graph, "name"), path)
    return build(path, "SLEAP", root, name, notices, **keys, edges=optional_list(by_type[_BONE], links))


def _label_names(root: Node) -> list[str]:
    """Names of a labels JSON, whose skeletons refer to nodes by number."""
    if get(root, "skeletons") is None:
        return []
    names = list[str]()
    for node in items_of(get(root, "nodes")):
        label = get(node, "name")
        names.append((label.text or "") if label is not None else "")
    return names


def _end(link: Node, key: str) -> Node:
    """The node at an end of a link. Raises ImportFormatError where there is none."""
    end = get(link, key)
    if end is None:
        raise ImportFormatError(link.where, f"a link without {key!r}", "give a skeleton JSON saved by SLEAP")
    return end


class _Objects:
    """The numbered objects of a jsonpickle document: node names and link types.

    values: object number n at n - 1. The document is walked from its beginning to its end, in which order jsonpickle
    numbers what it writes; within an object that is read nothing is numbered.
    """

    def __init__(self, labels: list[str], graph: Node) -> None:
        self.labels = labels
        self.values: list[str | int] = []
        stack = [graph]
        # The last of the stack comes next, so children are put there in reverse: the walk is that of the text.
        while stack:
            current = stack.pop()
            value = _value(current)
            if value is not None:
                self.values.append(value)
                continue
            children = [*items_of(current), *(child for _, child in entries_of(current))]
            stack += reversed(children)

    def name(self, node: Node) -> str:
        """The name of the joint that a node is, or refers to. Raises ImportFormatError."""
        if node.is_integer and self.labels:
            index = node.integer("node")
            if 0 <= index < len(self.labels):
                return self.labels[index]
        value = self._resolve(node)
        if not isinstance(value, str):
            raise ImportFormatError(node.where, f"{node.show()} refers to no node", "give a JSON saved by SLEAP")
        return value

    def link_type(self, node: Node | None) -> int:
        """Whether a link is a bone or a symmetry; a bone where it has no type. Raises ImportFormatError."""
        if node is None:
            return _BONE
        value = self._resolve(node)
        if value not in (_BONE, _SYMMETRY):
            raise ImportFormatError(node.where, f"link type {value!r}", "give a JSON saved by SLEAP")
        return int(value)

    def _resolve(self, node: Node) -> str | int | None:
        """The name or type number that an object has, also where it is a reference; None for anything else."""
        reference = get(node, "py/id")
        if reference is None or not reference.is_integer:
            return _value(node)
        index = reference.integer("py/id") - 1
        if 0 <= index < len(self.values):
            return self.values[index]
        return None


def _value(node: Node) -> str | int | None:
    """The name of a node, or the type number of a link, from an object that is written out; None for other values."""
    if get(node, "py/object") is not None:
        state = get(node, "py/state")
        parts = items_of(get(state, "py/tuple"))
        name = parts[0] if parts else get(state or node, "name")
        if name is None:
            return None
        return name.text
    arguments = items_of(get(node, "py/reduce"))
    numbers = items_of(get(arguments[1], "py/tuple")) if len(arguments) > 1 else ()
    if not numbers:
        return None
    return numbers[0].integer("link type")
