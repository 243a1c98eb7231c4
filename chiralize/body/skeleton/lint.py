"""Lint: what is wrong with a skeleton or specification file (errors), and what is probably not meant (warnings).

`chiralize skeleton lint` prints the findings; `tensors/linting.py` adds those of a specification. An error is what
reading refuses anyway, one at a time. Warnings are about files that read well: pairs that contradict names, edges
without a mirror image, signs that leave left where it is. T is an involution all the same, and perhaps not the mirror.

    joints: [hip, l_knee, r_knee, l_foot]
    center: [hip, l_foot]                    a warning: l_foot names a side but has no partner
    pairs: [[r_knee, l_knee]]                a warning: written right first
    lateral: y                               no warning; without the line, one that vector fields cannot be described,
                                             unless the file describes its tensors, none of which has such fields
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chiralize.body.skeleton.catalog import skeleton_of
from chiralize.body.skeleton.naming import (
    infer_pairs,
    partner_name,
    side,
    side_in_pair,
    sided_like_others,
    unpaired_like_others,
)
from chiralize.body.skeleton.nodes import Node
from chiralize.body.skeleton.schema import JOINT_KEYS
from chiralize.body.skeleton.skeleton import AXES, Skeleton
from chiralize.body.skeleton.yaml_source import read_yaml
from chiralize.errors import ChiralizeError, SpecError

NEGATE_ONE = "negate the one that points sideways, or name them otherwise where they are no coordinates"


@dataclass(frozen=True)
class Finding:
    """One finding.  level: `error` or `warning`.  where: file and line.  remedy: what to do."""

    level: str
    where: str
    message: str
    remedy: str = ""

    def to_dict(self) -> dict[str, str]:
        """The finding as the JSON output has it."""
        return {"level": self.level, "where": self.where, "message": self.message, "remedy": self.remedy}


def lint_file(path: Path) -> tuple[list[Finding], Skeleton | None]:
    """Findings of one file, and its skeleton where that can be read at all, else None and the one error.

    Notices of the reading come first, as warnings; then those of `lint_skeleton`, in its order.
    """
    notices: list[str] = []
    try:
        root = read_yaml(path)
        skeleton = skeleton_of(root, path, notices)
    except SpecError as error:
        return [error_finding(error)], None
    findings = [warning(*_split(notice, path)) for notice in notices]
    return findings + list(lint_skeleton(skeleton, Lines(root, str(path)))), skeleton


def warning(where: str, message: str, remedy: str = "") -> Finding:
    """A finding about what is formally right and probably not meant."""
    return Finding("warning", where, message, remedy)


def error_finding(error: ChiralizeError) -> Finding:
    """An error as a finding, with its class and its code."""
    return Finding("error", error.where, f"{type(error).__name__} {error.code}: {error.facts}", error.remedy)


def _split(notice: str, path: Path) -> tuple[str, str]:
    """A notice as (where, text): some begin with file and line, others with neither.

    "FILE:3: text" is split. Any other text is kept whole, since what stands before its first colon is no file.
    """
    where, _, rest = notice.partition(": ")
    if rest and where.startswith(str(path)):
        return where, rest
    return str(path), notice


class Lines:
    """Where the joints and keys of a skeleton stand in its file.

    root: the file's map, None for a skeleton that has no file.  source: what is answered where no line is known.
    """

    def __init__(self, root: Node | None, source: str) -> None:
        self.source = source
        self.joints: dict[str, str] = {}
        self.keys: dict[str, Node] = {}
        for key, value in (root.entries or ()) if root is not None else ():
            self.keys[key.text or ""] = value
            if key.text in JOINT_KEYS:
                self.joints |= {item.text or "": item.where for item in value.items or ()}

    def joint(self, name: str) -> str:
        """File and line of a joint's name."""
        return self.joints.get(name, self.source)

    def item(self, key: str, index: int) -> str:
        """File and line of one item of a key's list; of the key's value where that has no such item."""
        node = self.keys.get(key)
        if node is None:
            return self.source
        if node.items is not None and index < len(node.items):
            return node.items[index].where
        return node.where


def lint_skeleton(skeleton: Skeleton, lines: Lines | None = None) -> Iterator[Finding]:
    """Warnings about a skeleton that is formally right: joints of the middle, pairs, edges, signs, in this order.

    lines: where things stand; without it all findings are at "skeleton NAME".
    """
    lines = lines or Lines(None, f"skeleton {skeleton.name}")
    yield from _sided_centers(skeleton, lines)
    yield from _pair_names(skeleton, lines)
    yield from _open_edges(skeleton, lines)
    yield from _signs(skeleton, lines)


def _sided_centers(skeleton: Skeleton, lines: Lines) -> Iterator[Finding]:
    """Joints that stay in the middle though their names, or the names of the other pairs, say that they have a side."""
    names = skeleton.joints
    inferred = infer_pairs(names).pairs
    if not skeleton.pairs and inferred:
        # One finding in place of one for each joint.
        left, right = inferred[0]
        message = f"no pairs, but the names tell {len(inferred)}, such as {names[left]} and {names[right]}"
        yield warning(lines.item("pairs", 0), message, "use `pairs: infer`, or list them")
        return
    for index in skeleton.center:
        if side(names[index]):
            message = f"joint {names[index]!r} names a side but has no partner"
            remedy = f"pair it with {partner_name(names[index])!r}, or leave it under `center`"
            yield warning(lines.joint(names[index]), message, remedy)
    yield from _sided_like_pairs(skeleton, lines)


def _sided_like_pairs(skeleton: Skeleton, lines: Lines) -> Iterator[Finding]:
    """Joints without partners whose names tell no side by themselves, and differ from others as those of pairs do."""
    names = skeleton.joints
    # a_0 and a_1 where most pairs are of _0 and _1.
    for left, right in unpaired_like_others(names, skeleton.pairs):
        if not side(names[left]):
            message = (
                f"{names[left]!r} and {names[right]!r} are not paired; their names differ as those of most pairs do"
            )
            yield warning(lines.joint(names[left]), message, "pair them, or leave them under `center`")
    # RBAK where all pairs are of L... and R...: a marker on one side alone.
    for index in sided_like_others(names, skeleton.pairs):
        if not side(names[index]):
            message = (
                f"joint {names[index]!r} begins as the names of one side do, and has no partner: T takes it for one of "
                "the middle"
            )
            remedy = "leave a marker that is on one side alone out of the network, or keep it where it is in the middle"
            yield warning(lines.joint(names[index]), message, remedy)


def _pair_names(skeleton: Skeleton, lines: Lines) -> Iterator[Finding]:
    """Pairs that names contradict: written right first, both of one side, or another partner exists."""
    names = skeleton.joints
    for number, (left, right) in enumerate(skeleton.pairs):
        # Each is asked with the other beside it: a bare `RF` is a side only where its partner is `LF`.
        first, second = side_in_pair(names[left], names[right]), side_in_pair(names[right], names[left])
        where = lines.item("pairs", number)
        if first == "right" and second == "left":
            yield warning(where, f"pair [{names[left]}, {names[right]}] is written right first", "write [left, right]")
        elif first is not None and first == second:
            # Both left: a slip of the pen in one of the two.
            yield warning(where, f"both joints of pair [{names[left]}, {names[right]}] are {first}", "check the pair")
        else:  # left and right as written, or no sides told: the partner by the name may be another joint
            expected = partner_name(names[left])
            if expected in names and expected != names[right]:
                message = f"{names[left]!r} is paired with {names[right]!r}, though {expected!r} exists"
                yield warning(where, message, "check the pair")


def _open_edges(skeleton: Skeleton, lines: Lines) -> Iterator[Finding]:
    """Edges (i, j) without (p(i), p(j)): the adjacency A of such a graph does not commute with T.

    With P the matrix that swaps partners, P A P = A holds just where every edge has its mirror image among the edges.
    """
    edges = set(map(frozenset, skeleton.edges))  # without directions
    partner = skeleton.joint_action().partner
    for number, (i, j) in enumerate(skeleton.edges):
        mirrored = (int(partner[i]), int(partner[j]))
        if frozenset(mirrored) not in edges:
            names = skeleton.joints
            message = f"edge {names[i]} - {names[j]} has no mirror image {names[mirrored[0]]} - {names[mirrored[1]]}"
            remedy = "add it, or check the pairs: a graph network with these edges is not symmetric"
            yield warning(lines.item("edges", number), message, remedy)


def unmirrored_space(skeleton: Skeleton) -> str:
    """A doubt about coordinates of space of which the mirror negates none; "" where one is negated, or none sideways.

    A reflection of space negates the coordinate across its plane. With only pairs of joints exchanged, a left hand is
    put where the right one is. Where dims do not hold the lateral axis, as of a body seen from the side, that is right.
    """
    axes = [dim for dim in skeleton.dims if dim in AXES]
    table = skeleton.sign_table()  # (joints, dims), entries 1 and -1
    if skeleton.lateral in axes:
        column = skeleton.dims.index(skeleton.lateral)
        if (table[:, column] > 0).all():
            return f"nothing is negated, though dims have the lateral axis {skeleton.lateral}: left stays left"
    # Where nobody said which axis is lateral, two axes of space or more may well hold it; one alone need not be it.
    elif skeleton.lateral is None and len(axes) > 1 and (table > 0).all():
        return f"nothing is negated, though dims are coordinates of space ({', '.join(axes)}): left stays left"
    return ""


def _signs(skeleton: Skeleton, lines: Lines) -> Iterator[Finding]:
    """Signs that are probably not meant, and a missing lateral axis."""
    if not skeleton.pairs and not skeleton.negate and not skeleton.signs:
        yield warning(
            lines.source,
            "no pairs, nothing negated: the mirror leaves all joints as they are",
            "check pairs and negate",
        )
    # One of the two: where nothing at all is mirrored, that no coordinate is negated says nothing new.
    elif doubt := unmirrored_space(skeleton):
        yield warning(lines.item("negate", 0), doubt, NEGATE_ONE)
    # Of rotations others are negated than the lateral one; of positions that one is.
    are_positions = bool(set(skeleton.dims) & set(AXES))
    if are_positions and skeleton.lateral is not None and skeleton.negate and skeleton.lateral not in skeleton.negate:
        message = f"lateral is {skeleton.lateral}, but {', '.join(skeleton.negate)} is negated"
        yield warning(lines.item("lateral", 0), message, "positions are negated along the lateral axis")
    # A file that describes its tensors without a vector needs none; with one it is refused.
    if skeleton.lateral is None and not {"inputs", "outputs"} & lines.keys.keys():
        yield warning(lines.source, "no `lateral` axis: vector fields cannot be described", "add `lateral: y`, or x, z")
