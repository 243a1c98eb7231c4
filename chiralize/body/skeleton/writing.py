"""Skeletons as text: the YAML of a skeleton file, laid out for people, that reads back to an equal skeleton.

`Skeleton.to_dict` and `to_yaml` are this; `editing` writes pairs with the same words. Names are put in quotes wherever
some YAML reader takes them for something else: `y` is a boolean for YAML 1.1, and a coordinate here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from chiralize.body.skeleton.naming import side

if TYPE_CHECKING:
    from chiralize.body.skeleton.skeleton import Skeleton

_WIDTH = 110
# Words that may stand bare: letters, digits and a few marks that mean nothing in YAML, single blanks between them.
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./+-]*(?: [A-Za-z0-9_./+-]+)*")
_SPECIAL = {"yes", "no", "on", "off", "true", "false", "null", "y", "n"}
# A sentence that may stand bare: it begins with a letter, has no mark of YAML and does not end with a blank.
_PROSE = re.compile(r"[A-Za-z][^:#'\"\[\]{}\\\n,&*!|>%@`]*[^:#'\"\[\]{}\\\n,&*!|>%@` ]")


def scalar(text: str, *, coordinate: bool = False) -> str:
    """`text` as YAML, in quotes where any YAML reader could take it for something else.

    coordinate: `y` and `n` may stand bare, as dims are written.
    """
    safe = _PLAIN.fullmatch(text) and (text.lower() not in _SPECIAL or (coordinate and text in ("y", "n")))
    if safe:
        return text
    return json.dumps(text, ensure_ascii=False)


def prose(text: str) -> str:
    """A sentence as YAML, in quotes where a YAML reader could take it for something else."""
    if _PROSE.fullmatch(text) and text.lower() not in _SPECIAL:
        return text
    return json.dumps(text, ensure_ascii=False)


def names_in_brackets(names: Iterable[str]) -> str:
    """Joint names as a YAML list on one line: `[left_hip, right_hip]`."""
    return "[" + ", ".join(map(scalar, names)) + "]"


def wrapped(key: str, items: Sequence[str]) -> list[str]:
    """`key: [a, b, ...]` over as many lines as the width asks for.  items: as YAML already."""
    line = f"{key}: [{', '.join(items)}]"
    if len(line) <= _WIDTH:
        return [line]
    lines, current = [f"{key}: ["], "  "
    for item in items:
        # The line is full: without the blank behind its last comma.
        if len(current) + len(item) + 1 > _WIDTH:
            lines.append(current.rstrip())
            current = "  "
        current += f"{item}, "
    return [*lines, current.rstrip().rstrip(","), "]"]


def skeleton_to_dict(skeleton: Skeleton) -> dict[str, object]:
    """The keys of a skeleton file, joints by name. Empty optional keys are left out."""
    joints = skeleton.joints
    fields: dict[str, object] = {"name": skeleton.name}
    if skeleton.aliases:
        fields["aliases"] = list(skeleton.aliases)
    fields["joints"] = list(joints)
    fields["pairs"] = [[joints[i], joints[j]] for i, j in skeleton.pairs]
    # Needed where a name has a side and the joint no partner; reading would refuse it otherwise.
    if any(side(joints[index]) for index in skeleton.center):
        fields["center"] = [joints[index] for index in skeleton.center]
    fields["dims"] = list(skeleton.dims)
    fields["negate"] = list(skeleton.negate)
    if skeleton.signs:
        fields["signs"] = {joints[index]: list(row) for index, row in skeleton.signs}
    if skeleton.lateral is not None:
        fields["lateral"] = skeleton.lateral
    if skeleton.edges:
        fields["edges"] = [[joints[i], joints[j]] for i, j in skeleton.edges]
    for key, text in (("source", skeleton.source), ("note", skeleton.note)):
        if text:
            fields[key] = text
    return fields


def skeleton_to_yaml(skeleton: Skeleton) -> str:
    """The text of a skeleton file: the keys of `skeleton_to_dict` in their order."""
    lines = list[str]()
    for key, value in skeleton_to_dict(skeleton).items():
        lines += _lines_of(key, value)
    return "\n".join(lines) + "\n"


def _lines_of(key: str, value: Any) -> list[str]:
    """A key of a skeleton file with its value, laid out for reading: a pair per line, everything else on as few as
    it needs.
    """
    if key == "pairs":
        if value:
            return ["pairs:", *(f"  - {names_in_brackets(pair)}" for pair in value)]
        return ["pairs: []"]
    if key == "signs":
        return ["signs:", *(f"  {scalar(joint)}: {row}" for joint, row in value.items())]
    if key == "edges":
        return wrapped(key, [names_in_brackets(edge) for edge in value])
    if key in ("source", "note"):
        return [f"{key}: {prose(value)}"]
    if isinstance(value, str):
        return [f"{key}: {scalar(value, coordinate=key == 'lateral')}"]
    return wrapped(key, [scalar(name, coordinate=key in ("dims", "negate")) for name in value])
