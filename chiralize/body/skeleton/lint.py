"""Lint: what is wrong with a skeleton or specification file (errors), and what is probably not meant (warnings)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chiralize.body.skeleton.catalog import skeleton_of
from chiralize.body.skeleton.naming import infer_pairs, partner_name, side, side_in_pair
from chiralize.body.skeleton.nodes import Node
from chiralize.body.skeleton.schema import JOINT_KEYS
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.skeleton.yaml_source import read_yaml
from chiralize.errors import ChiralizeError, SpecError


@dataclass(frozen=True)
class Finding:
    """One finding.  level: `error` or `warning`.  where: file and line.  remedy: what to do."""

    level: str
    where: str
    message: str
    remedy: str = ""

    def to_dict(self) -> dict[str, str]:
        return {"level": self.level, "where": self.where, "message": self.message, "remedy": self.remedy}


def lint_file(path: Path) -> tuple[list[Finding], Skeleton | None]:
    """Findings of one file, and its skeleton where that can be read at all."""
    notices: list[str] = []
    try:
        root = read_yaml(path)
        skeleton = skeleton_of(root, path, notices)
    except SpecError as error:
        return [error_finding(error)], None
    found = [Finding("warning", *_split(notice, path)) for notice in notices]
    return found + list(lint_skeleton(skeleton, Lines(root, str(path)))), skeleton


def error_finding(error: ChiralizeError) -> Finding:
    return Finding("error", error.where, f"{type(error).__name__} {error.code}: {error.facts}", error.remedy)


def _split(notice: str, path: Path) -> tuple[str, str]:
    where, _, rest = notice.partition(": ")
    return (where, rest) if rest and where.startswith(str(path)) else (str(path), notice)


class Lines:
    """Where the joints and keys of a skeleton stand in its file."""

    def __init__(self, root: Node | None, source: str) -> None:
        self.source = source
        self.joints: dict[str, str] = {}
        self.keys: dict[str, Node] = {}
        for key, value in (root.entries or ()) if root is not None else ():
            self.keys[key.text or ""] = value
            if key.text in JOINT_KEYS:
                self.joints |= {item.text or "": item.where for item in value.items or ()}

    def joint(self, name: str) -> str:
        return self.joints.get(name, self.source)

    def item(self, key: str, index: int) -> str:
        node = self.keys.get(key)
        if node is None:
            return self.source
        return node.items[index].where if node.items is not None and index < len(node.items) else node.where


def lint_skeleton(skeleton: Skeleton, lines: Lines | None = None) -> Iterator[Finding]:
    """Warnings about a skeleton that is formally right."""
    lines = lines or Lines(None, f"skeleton {skeleton.name}")
    yield from _sided_centers(skeleton, lines)
    yield from _pair_names(skeleton, lines)
    yield from _open_edges(skeleton, lines)
    yield from _signs(skeleton, lines)


def _sided_centers(skeleton: Skeleton, lines: Lines) -> Iterator[Finding]:
    names = skeleton.joints
    told = infer_pairs(names).pairs
    if not skeleton.pairs and told:
        yield Finding(
            "warning",
            lines.item("pairs", 0),
            f"no pairs, but the names tell {len(told)}, such as {names[told[0][0]]} and {names[told[0][1]]}",
            "use `pairs: infer`, or list them",
        )
        return
    for index in skeleton.center:
        if side(names[index]):
            yield Finding(
                "warning",
                lines.joint(names[index]),
                f"joint {names[index]!r} names a side but has no partner",
                f"pair it with {partner_name(names[index])!r}, or leave it under `center`",
            )


def _pair_names(skeleton: Skeleton, lines: Lines) -> Iterator[Finding]:
    names = skeleton.joints
    for number, (left, right) in enumerate(skeleton.pairs):
        first, second = side_in_pair(names[left], names[right]), side_in_pair(names[right], names[left])
        where = lines.item("pairs", number)
        if first == "right" and second == "left":
            yield Finding(
                "warning", where, f"pair [{names[left]}, {names[right]}] is written right first", "write [left, right]"
            )
        elif first is not None and first == second:
            yield Finding(
                "warning", where, f"both joints of pair [{names[left]}, {names[right]}] are {first}", "check the pair"
            )
        else:
            expected = partner_name(names[left])
            if expected in names and expected != names[right]:
                yield Finding(
                    "warning",
                    where,
                    f"{names[left]!r} is paired with {names[right]!r}, though {expected!r} exists",
                    "check the pair",
                )


def _open_edges(skeleton: Skeleton, lines: Lines) -> Iterator[Finding]:
    edges = {frozenset(edge) for edge in skeleton.edges}
    partner = skeleton.joint_action().partner
    for number, (i, j) in enumerate(skeleton.edges):
        mirrored = (int(partner[i]), int(partner[j]))
        if frozenset(mirrored) not in edges:
            names = skeleton.joints
            yield Finding(
                "warning",
                lines.item("edges", number),
                f"edge {names[i]} - {names[j]} has no mirror image {names[mirrored[0]]} - {names[mirrored[1]]}",
                "add it, or check the pairs: a graph network with these edges is not symmetric",
            )


def _signs(skeleton: Skeleton, lines: Lines) -> Iterator[Finding]:
    if not skeleton.pairs and not skeleton.negate and not skeleton.signs:
        yield Finding(
            "warning", lines.source, "no pairs, nothing negated: the mirror is the identity", "check pairs and negate"
        )
    if skeleton.lateral is not None and skeleton.negate and skeleton.lateral not in skeleton.negate:
        yield Finding(
            "warning",
            lines.item("lateral", 0),
            f"lateral is {skeleton.lateral}, but {', '.join(skeleton.negate)} is negated",
            "positions are negated along the lateral axis",
        )
    if skeleton.lateral is None:
        yield Finding(
            "warning", lines.source, "no `lateral` axis: vector fields cannot be described", "add `lateral: y`, or x, z"
        )
