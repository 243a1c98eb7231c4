"""mmpose: a Python file with `dataset_info = dict(keypoint_info={0: dict(name=..., swap=...)}, skeleton_info=...)`.

`swap` is the name of the partner, '' for none, and both partners give it. The file is parsed and never run.
`chiralize skeleton import` calls `read` (by the table in `dialects`), and gets a Skeleton checked as any other.

    keypoint_info={0: dict(name="nose", id=0, swap=""),          joints: [nose, l_eye, r_eye]
                   1: dict(name="l_eye", id=1, swap="r_eye"),     swap:   ["", r_eye, l_eye]
                   2: dict(name="r_eye", id=2, swap="l_eye")}
    skeleton_info={0: dict(link=("nose", "l_eye"), ...)}          edges:  [[nose, l_eye]]
"""

from __future__ import annotations

from pathlib import Path

from chiralize.body.skeleton.dialects.building import build, name_of
from chiralize.body.skeleton.dialects.literals import read_python, readable
from chiralize.body.skeleton.dialects.values import entries_of, get, items_of, list_node, optional_list, text_node
from chiralize.body.skeleton.nodes import Node
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.errors import ImportFormatError


def read(path: Path, notices: list[str]) -> Skeleton:
    """The skeleton of an mmpose dataset file; weights and sigmas that differ within a pair are noticed.

    notices: what is noticed is added to it.  Raises ImportFormatError where the file has no keypoints, or where only
    running it would tell them; SpecError where they make no skeleton.
    """
    info = read_python(path).names.get("dataset_info")
    points = get(info, "keypoint_info")
    if info is None or points is None or points.entries is None:
        facts = "no `dataset_info = dict(keypoint_info={...})`"
        raise ImportFormatError(str(path), facts, "give a file of configs/_base_/datasets")
    # Joints by number; partners and bones by name, which `build` checks as those of any skeleton file.
    ordered = _ordered(points, notices)
    names = [_part(point, "name") for point in ordered]
    # Without the key a keypoint has no partner, as with ''.
    swaps = [readable(get(point, "swap") or text_node("", point), "swap") for point in ordered]
    name = name_of(get(info, "dataset_name"), path)
    keys = {"joints": list_node(names, points), "swap": list_node(swaps, points), "edges": _edges(info)}
    skeleton = build(path, "mmpose", info, name, notices, **keys)
    _compare_pairs(info, skeleton, notices)
    return skeleton


def _ordered(points: Node, notices: list[str]) -> list[Node]:
    """The keypoints by their numbers 0, 1, 2, ... Raises ImportFormatError where one comes twice or is missing."""
    by_index: dict[int, Node] = {}
    for key, value in entries_of(points):
        index = key.integer("keypoint index")
        if index in by_index:
            raise ImportFormatError(key.where, f"keypoint {index} appears twice", "keep one")
        by_index[index] = value
        # The key counts, and an `id` that differs from it is noticed.
        number = get(value, "id")
        if number is not None and number.is_integer and number.integer("id") != index:
            notices.append(f"{value.where}: keypoint {index} has id {number.text}; the key {index} counts")
    # n keypoints are numbered 0 to n - 1: where one of them lies outside, one inside is missing.
    missing = sorted(set(range(len(by_index))) - set(by_index))
    if missing:
        raise ImportFormatError(points.where, f"keypoint {missing[0]} is missing of {len(by_index)}", "number from 0")
    return [by_index[index] for index in range(len(by_index))]


def _part(point: Node, key: str) -> Node:
    """The value of a key that every keypoint has. Raises ImportFormatError."""
    value = get(point, key)
    if value is None:
        raise ImportFormatError(point.where, f"a keypoint without {key!r}", f"add {key}=...")
    return readable(value, key)


def _edges(info: Node) -> Node | None:
    """The bones between two different keypoints, as pairs of names; others are left out without a word."""
    edges = []
    for _, bone in entries_of(get(info, "skeleton_info")):
        link = get(bone, "link")
        if link is not None and len(items_of(link)) == 2:
            first, second = items_of(readable(link, "link"))
            if first.text != second.text:
                edges.append(link)
    return optional_list(edges, info)


def _compare_pairs(info: Node, skeleton: Skeleton, notices: list[str]) -> None:
    """Notice weights of the loss and of the metric that partners do not share, by which training prefers a side."""
    for key in ("joint_weights", "sigmas"):
        values = get(info, key)
        items = items_of(values)
        if not items:
            continue
        # Entries go by position: with another number of them nothing says which is whose.
        if len(items) != len(skeleton.joints):
            notices.append(f"{items[0].where}: {key} has {len(items)} entries for {len(skeleton.joints)} joints")
            continue
        # Compared as texts, as they stand in the file, so that 1 and 1.0 count as unequal too.
        unequal = [skeleton.joints[i] for i, j in skeleton.pairs if items[i].text != items[j].text]
        if unequal:
            notices.append(
                f"{items[0].where}: {key} differ within {len(unequal)} pairs (first: {unequal[0]}), so networks "
                "trained with them treat the sides differently"
            )
