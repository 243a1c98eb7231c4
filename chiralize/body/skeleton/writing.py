"""Skeletons as text: the YAML of a skeleton file, laid out for people, that reads back to an equal skeleton."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from chiralize.body.skeleton.naming import side

if TYPE_CHECKING:
    from chiralize.body.skeleton.skeleton import Skeleton

_WIDTH = 110
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./+-]*(?: [A-Za-z0-9_./+-]+)*")
_SPECIAL = {"yes", "no", "on", "off", "true", "false", "null", "y", "n"}
_PROSE = re.compile(r"[A-Za-z][^:#'\"\[\]{}\\\n,&*!|>%@`]*[^:#'\"\[\]{}\\\n,&*!|>%@` ]")


def scalar(text: str, *, coordinate: bool = False) -> str:
    """`text` as YAML, in quotes where any YAML reader could take it for something else.

    coordinate: `y` and `n` may stand bare, as dims are written.
    """
    safe = _PLAIN.fullmatch(text) and (text.lower() not in _SPECIAL or (coordinate and text in ("y", "n")))
    return text if safe else json.dumps(text, ensure_ascii=False)


def prose(text: str) -> str:
    return text if _PROSE.fullmatch(text) and text.lower() not in _SPECIAL else json.dumps(text, ensure_ascii=False)


def flow(items: Iterable[str]) -> str:
    return "[" + ", ".join(items) + "]"


def wrapped(key: str, items: Sequence[str]) -> list[str]:
    """`key: [a, b, ...]` over as many lines as the width asks for."""
    one = f"{key}: {flow(items)}"
    if len(one) <= _WIDTH:
        return [one]
    lines, current = [f"{key}: ["], "  "
    for item in items:
        if len(current) + len(item) + 1 > _WIDTH:
            lines.append(current.rstrip())
            current = "  "
        current += f"{item}, "
    return [*lines, current.rstrip().rstrip(","), "]"]


def skeleton_to_dict(skeleton: Skeleton) -> dict[str, object]:
    """The keys of a skeleton file, joints by name. Empty optional keys are left out."""
    joints = skeleton.joints
    found: dict[str, object] = {"name": skeleton.name}
    if skeleton.aliases:
        found["aliases"] = list(skeleton.aliases)
    found["joints"] = list(joints)
    found["pairs"] = [[joints[i], joints[j]] for i, j in skeleton.pairs]
    if any(side(joints[index]) for index in skeleton.center):
        found["center"] = [joints[index] for index in skeleton.center]
    found["dims"] = list(skeleton.dims)
    found["negate"] = list(skeleton.negate)
    if skeleton.signs:
        found["signs"] = {joints[index]: list(row) for index, row in skeleton.signs}
    if skeleton.lateral is not None:
        found["lateral"] = skeleton.lateral
    if skeleton.edges:
        found["edges"] = [[joints[i], joints[j]] for i, j in skeleton.edges]
    for key, text in (("source", skeleton.source), ("note", skeleton.note)):
        if text:
            found[key] = text
    return found


def skeleton_to_yaml(skeleton: Skeleton) -> str:
    """The text of a skeleton file."""
    names = [scalar(joint) for joint in skeleton.joints]
    lines = [f"name: {scalar(skeleton.name)}"]
    if skeleton.aliases:
        lines += wrapped("aliases", [scalar(alias) for alias in skeleton.aliases])
    lines += wrapped("joints", names)
    lines += ["pairs:"] if skeleton.pairs else ["pairs: []"]
    lines += [f"  - {flow((names[i], names[j]))}" for i, j in skeleton.pairs]
    if any(side(skeleton.joints[index]) for index in skeleton.center):
        lines += wrapped("center", [names[index] for index in skeleton.center])
    for key, dims in (("dims", skeleton.dims), ("negate", skeleton.negate)):
        lines += wrapped(key, [scalar(dim, coordinate=True) for dim in dims])
    if skeleton.signs:
        lines += ["signs:"]
        lines += [f"  {names[index]}: {flow(str(sign) for sign in row)}" for index, row in skeleton.signs]
    if skeleton.lateral is not None:
        lines += [f"lateral: {scalar(skeleton.lateral, coordinate=True)}"]
    if skeleton.edges:
        lines += wrapped("edges", [flow((names[i], names[j])) for i, j in skeleton.edges])
    for key, text in (("source", skeleton.source), ("note", skeleton.note)):
        lines += [f"{key}: {prose(text)}"] if text else []
    return "\n".join(lines) + "\n"
