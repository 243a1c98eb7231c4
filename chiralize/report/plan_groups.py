"""A plan in few rows: its ops by the modules that they are in, layers that differ in a number alone together.

`brief` shows it in place of a row for every op. blocks.0.conv, blocks.0.norm, blocks.1.conv, ... and head begin as
`blocks` and `head`. The largest, `blocks`, is taken apart to `blocks.*`, and that to `blocks.*.conv` and
`blocks.*.norm`, as long as all of it has at most so many rows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from chiralize.errors.words import listed, percent
from chiralize.report.document import Block, Line, Section, if_known, plural, table
from chiralize.report.particulars import PlanRow
from chiralize.report.records import PlanReport

MOST, FEWER = 12, 7
"""Rows that the modules of a network are put into, and on the smallest terminals."""
_DEEPEST = 5
"""Names of a module's path that a group has at most."""
_KINDS = 3
"""Kinds of ops that a row lists."""
_NUMBER = re.compile(r"\d+")
_KEEP = "keep"


def group_blocks(report: PlanReport, most: int = MOST) -> list[Block]:
    """The ops by module, what becomes of them, and how far the weights are from symmetric ones; then the choices.

    most: how many rows there may be.
    """
    groups = _groups(report.rows, most)
    rows: list[tuple[str, ...]] = []
    for module, members in list(groups.items())[:most]:
        furthest = max((row.distance for row in members if row.distance is not None), default=None)
        kinds = _counted(row.op.partition(".")[0] for row in members)
        actions = _counted(row.action for row in members if row.action != _KEEP) or _KEEP
        rows.append((module, str(len(members)), kinds, actions, if_known(furthest, percent)))
    blocks: list[Block] = []
    if rows:
        blocks.append(Section(f"{plural(len(report.rows), 'op')}, by module"))
        blocks.append(table(("module", "ops", "kinds", "action", "furthest"), rows, (1, 4)))
    if len(groups) > most:
        blocks.append(Line(f"and {plural(len(groups) - most, 'module')} more"))
    if report.choices:
        reasons = _counted(choice.reason for choice in report.choices)
        blocks.append(Line(f"{plural(len(report.choices), 'hidden space')}: {reasons}"))
    return blocks


def _groups(rows: Sequence[PlanRow], most: int) -> dict[str, list[PlanRow]]:
    """The rows by module; `layers.*.conv` stands for all of the layers.

    The largest group is taken apart again and again, as far as few groups allow.
    """
    groups, depths, settled = _by_depth(rows, 1), dict[str, int](), set[str]()
    while open_groups := [name for name in groups if name not in settled]:
        largest = max(open_groups, key=lambda name: len(groups[name]))
        depth = depths.get(largest, 1) + 1
        parts = _by_depth(groups[largest], depth)
        # what cannot be parted within the limit stays as it is, and the next largest is tried
        if depth > _DEEPEST or len(groups) - 1 + len(parts) > most:
            settled.add(largest)
            continue
        depths |= dict.fromkeys(parts, depth)
        apart: dict[str, list[PlanRow]] = {}  # parts in the place of the whole: rows stay in the order of the network
        for name, members in groups.items():
            apart |= parts if name == largest else {name: members}
        groups = apart
    return groups


def _by_depth(rows: Sequence[PlanRow], depth: int) -> dict[str, list[PlanRow]]:
    """Rows by the first `depth` names of their module, `*` for numbers."""
    groups: dict[str, list[PlanRow]] = {}
    for row in rows:
        name = ".".join(_NUMBER.sub("*", row.module).split(".")[:depth])
        groups.setdefault(name or "(the network itself)", []).append(row)
    return groups


def _counted(words: Iterable[str]) -> str:
    """`conv2d (12), add (3) and 2 more`: the commonest first."""
    counts = Counter(words).most_common()
    return listed([f"{word} ({count})" for word, count in counts], _KINDS)
