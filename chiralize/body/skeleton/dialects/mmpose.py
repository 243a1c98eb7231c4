"""mmpose: a Python file with `dataset_info = dict(keypoint_info={0: dict(name=..., swap=...)}, skeleton_info=...)`."""

from __future__ import annotations

from pathlib import Path

from chiralize.body.skeleton.dialects.building import build, get, list_node, text_node
from chiralize.body.skeleton.dialects.literals import read_python, readable
from chiralize.body.skeleton.nodes import Node
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.errors import ImportFormatError


def read(path: Path, notices: list[str]) -> Skeleton:
    """The skeleton of an mmpose dataset file; weights and sigmas that differ within a pair are noticed."""
    info = read_python(path).names.get("dataset_info")
    points = get(info, "keypoint_info") if info is not None else None
    if info is None or points is None or points.entries is None:
        raise ImportFormatError(
            str(path), "no `dataset_info = dict(keypoint_info={...})`", "give a file of configs/_base_/datasets"
        )
    ordered = _ordered(points, notices)
    names = [_part(point, "name") for point in ordered]
    swaps = [readable(get(point, "swap") or text_node("", point), "swap") for point in ordered]
    links = []
    for _, bone in (get(info, "skeleton_info") or list_node([], info)).entries or ():
        link = get(bone, "link")
        if link is not None and len(link.items or ()) == 2:
            links.append(readable(link, "link"))
    label = get(info, "dataset_name")
    name = label.text if label is not None and label.text else path.stem
    skeleton = build(
        *(path, "mmpose", info, name, notices),
        joints=list_node(names, points),
        swap=list_node(swaps, points),
        edges=_distinct(links, info),
    )
    _compare_pairs(info, skeleton, notices)
    return skeleton


def _ordered(points: Node, notices: list[str]) -> list[Node]:
    found: dict[int, Node] = {}
    for key, value in points.entries or ():
        index = key.integer("keypoint index")
        if index in found:
            raise ImportFormatError(key.where, f"keypoint {index} appears twice", "keep one")
        found[index] = value
        own = get(value, "id")
        if own is not None and own.is_integer and own.integer("id") != index:
            notices.append(f"{value.where}: keypoint {index} has id {own.text}; the key {index} counts")
    missing = sorted(set(range(len(found))) - set(found))
    if missing:
        raise ImportFormatError(points.where, f"keypoint {missing[0]} is missing of {len(found)}", "number from 0")
    return [found[index] for index in range(len(found))]


def _part(point: Node, key: str) -> Node:
    value = get(point, key)
    if value is None:
        raise ImportFormatError(point.where, f"a keypoint without {key!r}", f"add {key}=...")
    return readable(value, key)


def _distinct(links: list[Node], info: Node) -> Node | None:
    kept = [link for link in links if link.items and link.items[0].text != link.items[1].text]
    return list_node(kept, info) if kept else None


def _compare_pairs(info: Node, skeleton: Skeleton, notices: list[str]) -> None:
    for key in ("joint_weights", "sigmas"):
        values = get(info, key)
        items = values.items if values is not None else None
        if not items:
            continue
        if len(items) != len(skeleton.joints):
            notices.append(f"{items[0].where}: {key} has {len(items)} entries for {len(skeleton.joints)} joints")
            continue
        unequal = [skeleton.joints[i] for i, j in skeleton.pairs if items[i].text != items[j].text]
        if unequal:
            notices.append(
                f"{items[0].where}: {key} differ within {len(unequal)} pairs (first: {unequal[0]}), so networks "
                "trained with them treat the sides differently"
            )
