"""What do other tools' files say? Of mmpose, COCO, ultralytics, detectron2, DeepLabCut, pyskl, VideoPose3D and SLEAP.

Three things are looked for: names of joints, who is whose partner, bones. A partner is written as a pair, as a
permutation, by name at each joint, or in two parallel lists; the tables below have the keys of each. No file is ever
run: of Python the literals are read. What had to be assumed, such as pairs read from names, is said in `notices`.

    kpt_shape: [3, 2]                      three joints, called joint0 to joint2
    flip_idx: [0, 2, 1]                    the partner of each, itself in the middle: the pair (1, 2)
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chiralize.body.document import Items, parse_yaml, read_text
from chiralize.body.naming import infer_pairs
from chiralize.body.skeleton import Skeleton
from chiralize.body.values import Map, Plain, Wrong, positions_of, shown
from chiralize.errors import ImportFormatError, SpecError

_NAMES = (
    *("keypoint_names", "keypoints", "bodyparts", "multianimalbodyparts", "all_joints_names", "kpt_names"),
    *("nodes", "joints"),
)
_PAIRS = ("keypoint_flip_map", "flip_pairs", "symmetric_pairs", "symmetries", "keypoint_pairs", "keypoint_flip_pairs")
_SIDES = (("left_kp", "right_kp"), ("joints_left", "joints_right"), ("kps_left", "kps_right"))
_MOST_JOINTS = 10_000
"""Joints that are made up for a file without names: whole bodies with hands and faces have 133 to 553."""
_LONGEST_JSON = 1 << 28
"""Bytes: COCO's annotations, beside which the few keypoints stand, have 150 MB."""
_BONE, _SYMMETRY = 1, 2
"""SLEAP's types of links."""
_OPEN: Any = object()
"""What only running the file would tell."""


_REMEDY = "write `joints: [...]` and `pairs: [...]` (or `pairs: infer`) by hand: a file of ten lines"


@dataclass(frozen=True)
class Said:
    """What a file says.  names: None where it has none.  pairs: by name or position, a pair once or both ways."""

    name: Any
    names: Sequence[Any] | None
    pairs: Sequence[Any]
    edges: Sequence[Any]


def import_skeleton(path: Path, notices: list[str]) -> Skeleton:
    """The skeleton that another tool's file describes.

    Raises ImportFormatError where it names neither joints nor partners, SpecError where these contradict each other.
    """
    content = _content(path)
    try:
        return _built(path, _said(content), content, notices)
    except Wrong as wrong:
        raise wrong.error(str(path)) from None
    except SpecError as error:
        raise type(error)(str(path), error.facts, error.remedy) from None
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError) as error:
        facts = f"its joints are not written as any known tool does ({type(error).__name__}: {shown(error)})"
        raise ImportFormatError(str(path), facts, _REMEDY) from None


def _built(path: Path, said: Said, content: Any, notices: list[str]) -> Skeleton:
    """The skeleton, with names made up and pairs read from names where the file has none. Raises Wrong."""
    names, pairs = said.names, said.pairs
    if names is None and pairs:
        shape, flip = _first(content, "kpt_shape") or [0], _first(content, "flip_idx") or []
        count = max(1 + max(map(max, pairs)), len(flip), shape[0], _first(content, "num_joints") or 0)
        names = [f"joint{index}" for index in range(count)] if count <= _MOST_JOINTS else []
        notices.append(f"{path}: the file names no joints: they are called joint0 to joint{len(names) - 1}")
    joints = [joint for joint in names or () if isinstance(joint, str) and joint]
    if not joints or len(joints) != len(names or ()):
        facts = (
            f"neither names nor partners, or those of more than {_MOST_JOINTS} joints, or only running it would tell"
        )
        raise Wrong(facts, _REMEDY, kind=ImportFormatError)
    if not pairs:
        pairs = infer_pairs(joints).pairs
        told = ", ".join(f"{joints[left]}/{joints[right]}" for left, right in pairs)
        notices.append(f"{path}: no pairs are in it: {len(pairs)} are read from the names, check them: {told}")
    if not pairs:
        raise Wrong("the file has no pairs, and no two joints' names are a left and a right one", _REMEDY)
    known = {*joints, *range(len(joints))}  # a file may hold stale bones
    bones = positions_of([edge[:2] for edge in said.edges if {*edge[:2]} <= known], joints, "joint", "edges")
    listed: list[tuple[int, int]] = []
    for i, j in dict.fromkeys((min(pair), max(pair)) for pair in positions_of(pairs, joints, "joint", "pairs")):
        listed.append((j, i) if infer_pairs([joints[i], joints[j]]).pairs == ((1, 0),) else (i, j))
    edges = tuple(bone for bone in bones if bone[0] != bone[1])
    name = said.name if isinstance(said.name, str) and said.name else path.stem
    return Skeleton(name, tuple(joints), tuple(listed), edges=edges, source=f"imported from {path.name}")


# ---- by tool ----------------------------------------------------------------------------------------------------
def _said(content: Any) -> Said:
    """What the file says, by the tool that wrote it."""
    points, category = _first(content, "keypoint_info"), _category(content)
    if isinstance(points, Mapping):  # mmpose: keypoint_info={0: dict(name="nose", id=0, swap=""), ...}
        ordered, bones = [points[index] for index in range(len(points))], _first(content, "skeleton_info")
        pairs = [(point["name"], point["swap"]) for point in ordered if point.get("swap")]
        edges = [bone["link"] for bone in bones.values()] if isinstance(bones, Mapping) else []
        return Said(_first(content, "dataset_name"), [point["name"] for point in ordered], pairs, edges)
    if isinstance(_first(content, "links"), list):
        return _of_sleap(content)
    if category is not None:  # COCO: bones count from 1, as a rule, and nothing says partners
        bones = category.get("skeleton") or []
        first = 0 if any(0 in bone for bone in bones) else 1
        edges = [[end - first for end in bone] for bone in bones]
        return Said(category.get("name"), category["keypoints"], [], edges)
    parents, bones = _first(content, "parents"), _first(content, "skeleton") or ()
    edges = [(parent, child) for child, parent in enumerate(parents or []) if parent >= 0]
    edges += [bone for bone in bones if isinstance(bone, list) and len(bone) > 1]
    return Said(_first(content, "Task"), _names(content), _pairs(content), edges)


def _category(content: Any) -> Mapping[str, Any] | None:
    """The first category of COCO that has keypoints; the file may be one category alone."""
    categories = _first(content, "categories")
    listed = categories if isinstance(categories, list) else [content]
    with_points = (each for each in listed if isinstance(each, Mapping) and isinstance(each.get("keypoints"), list))
    return next(with_points, None)


def _pairs(content: Any) -> list[Any]:
    """Partners as pairs, as a permutation, or in two parallel lists; empty where none are written."""
    flip = _first(content, "flip_idx")
    if isinstance(flip, list) and all(isinstance(other, int) for other in flip):
        return [pair for pair in enumerate(flip) if pair[0] != pair[1]]
    sides: list[Any] = list(_first(content, "keypoints_symmetry") or ())
    for keys in _SIDES:
        lists = [_first(content, key) for key in keys]
        sides = lists if all(isinstance(side, list) for side in lists) else sides
    return flip or list(zip(*sides, strict=True)) or _first(content, *_PAIRS) or []


def _names(content: Any) -> list[Any] | None:
    """The names of joints: a list, or ultralytics' lists by class, of which the first counts."""
    for key in _NAMES:
        value = _first(content, key)
        if isinstance(value, Mapping):
            value = next(iter(value.values()), None)
        if isinstance(value, list) and value:
            return [*value, *(_first(content, "uniquebodyparts", "unique_bodyparts") or [])]
    return None


# ---- SLEAP: jsonpickle of a graph, never unpickled ---------------------------------------------------------------
def _of_sleap(content: Any) -> Said:
    """Objects are numbered from 1 in the order in which they first appear, and `{"py/id": n}` refers to number n.

    In a labels file nodes stand in a list of their own, to which skeletons refer by number, from 0.
    """
    graphs = content.get("skeletons")
    graph = graphs[0] if isinstance(graphs, list) else content.get("nx_graph", content)
    labels = [node["name"] for node in content["nodes"]] if isinstance(graphs, list) else []
    objects = list(_objects(graph))

    def resolved(node: Any) -> Any:
        """The name or the type that an object holds, also where it is a reference."""
        if isinstance(node, int):
            return labels[node]
        return objects[node["py/id"] - 1] if "py/id" in node else next(_objects(node))

    links: dict[int, list[tuple[Any, Any]]] = {_BONE: [], _SYMMETRY: []}
    for link in graph["links"]:
        links[resolved(link["type"])].append((resolved(link["source"]), resolved(link["target"])))
    names = [resolved(node["id"]) for node in graph["nodes"]]
    return Said((graph.get("graph") or {}).get("name"), names, links[_SYMMETRY], links[_BONE])


def _objects(value: Any) -> Iterator[Any]:
    """The names of nodes and the types of links in the order of the text, which is that of their numbers."""
    if isinstance(value, Mapping) and "py/object" in value and "py/state" in value:
        yield value["py/state"]["py/tuple"][0]
    elif isinstance(value, Mapping) and "py/reduce" in value:
        yield value["py/reduce"][1]["py/tuple"][0]
    elif isinstance(value, (Mapping, list)):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _objects(inner)


# ---- reading, never running ---------------------------------------------------------------------------------------
def _first(value: Any, *keys: str) -> Any:
    """The value of the first of these keys, nearest to the top first; None where none occurs."""
    level = [value]
    while level:
        for key in keys:
            for current in level:
                if isinstance(current, Mapping) and current.get(key, _OPEN) is not _OPEN:
                    return current[key]
        inner: list[Any] = []
        for current in level:
            children = current.values() if isinstance(current, Mapping) else current
            inner += [child for child in children if isinstance(child, (Mapping, list))]
        level = inner
    return None


def _content(path: Path) -> Any:
    """The maps and lists of a file. Raises ImportFormatError, YamlSyntaxError."""
    suffix, content = path.suffix.lower(), None
    if suffix in (".yaml", ".yml"):
        content = _values(parse_yaml(read_text(path), str(path)).data)
    elif suffix in (".py", ".json"):
        text = read_text(path, _LONGEST_JSON)
        try:
            content = json.loads(text) if suffix == ".json" else _python(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            content = None
    if not isinstance(content, (Mapping, list)):
        facts = "holds no map or list in Python, JSON or YAML that could be read"
        raise ImportFormatError(str(path), facts, f"export it as one of these, or {_REMEDY}")
    return content


def _values(value: Any) -> Any:
    """Plain data of YAML with its whole numbers as numbers."""
    if isinstance(value, Map):
        return {key: _values(item) for key, item in value.items()}
    if isinstance(value, Items):
        return list(map(_values, value))
    if isinstance(value, Plain):
        return int(value) if value.lstrip("-").isdecimal() and len(value) < 19 else None
    return value


def _python(text: str) -> dict[str, Any]:
    """What a file assigns to names and attributes, and the keywords of its calls, as far as they are literals."""
    values: dict[str, Any] = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                name = target.id if isinstance(target, ast.Name) else getattr(target, "attr", "")
                known = next((key for key in (*_NAMES, *_PAIRS) if name.lower().endswith(key)), name)
                values[known] = values[name] = _literal(node.value, values)
        elif isinstance(node, ast.Call):
            for keyword in node.keywords:
                values.setdefault(keyword.arg or "", _literal(keyword.value, values))
    return {key: value for key, value in values.items() if value is not _OPEN}


def _literal(node: ast.expr, values: Mapping[str, Any]) -> Any:
    """The value of an expression; `_OPEN` where only running the file would tell it."""
    if isinstance(node, ast.Name):
        return values.get(node.id, _OPEN)
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        return [_literal(item, values) for item in node.elts]
    if isinstance(node, ast.Dict):
        keys = [_literal(key, values) if key is not None else _OPEN for key in node.keys]
        entries = zip(keys, node.values, strict=True)
        return {key: _literal(value, values) for key, value in entries if isinstance(key, (str, int))}
    if isinstance(node, ast.Call):
        return _of_call(node, values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Mult)):
        return _of_operation(node, values)
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError):
        return _OPEN


def _of_operation(node: ast.BinOp, values: Mapping[str, Any]) -> Any:
    """[1] + [2], and [0.1] * 17."""
    left, right = _literal(node.left, values), _literal(node.right, values)
    if isinstance(node.op, ast.Add):
        return left + right if isinstance(left, list) and isinstance(right, list) else _OPEN
    is_repeated = isinstance(left, list) and isinstance(right, int) and len(left) * right <= _MOST_JOINTS
    return left * right if is_repeated else _OPEN


def _of_call(node: ast.Call, values: Mapping[str, Any]) -> Any:
    """dict(name="nose"), list(...), np.array(...), range(3)."""
    called = getattr(node.func, "id", getattr(node.func, "attr", ""))
    given = [_literal(argument, values) for argument in node.args]
    if called == "dict" and not given:
        return {keyword.arg: _literal(keyword.value, values) for keyword in node.keywords}
    if called in ("list", "tuple", "array", "asarray") and given:
        return given[0]
    is_range = called == "range" and given and all(isinstance(bound, int) for bound in given)
    return list(range(*given)) if is_range and len(range(*given)) <= _MOST_JOINTS else _OPEN
