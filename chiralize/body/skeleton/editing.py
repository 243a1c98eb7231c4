"""A skeleton file with other pairs: its text as it was, comments and all, but for the value of `pairs`.

`chiralize skeleton infer FILE` reads pairs from the names of the joints and puts them into the file with this. The text
is cut at the places that YAML's marks give, and not written anew: comments and the layout stay. The result is parsed
again, and handed out only where nothing but `pairs` has changed.

    joints: [nose, l_ear, r_ear]  # of the head          joints: [nose, l_ear, r_ear]  # of the head
                                                  ->     pairs:
    dims: [x, y]                                           - [l_ear, r_ear]
                                                         dims: [x, y]
"""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from chiralize.body.skeleton.catalog import skeleton_of
from chiralize.body.skeleton.nodes import Node
from chiralize.body.skeleton.pairing import PAIR_KEYS
from chiralize.body.skeleton.schema import JOINT_KEYS
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.skeleton.writing import names_in_brackets, wrapped
from chiralize.body.skeleton.yaml_source import parse_yaml, read_text
from chiralize.errors import UnknownKeyError, WrongValueError

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class _Value:
    """Where the value of a key stands in the text.

    column: of the key.  start, end: of the value, comments behind it left out.  is_block: a list with dashes.
    """

    column: int
    start: int
    end: int
    is_block: bool


def file_with_pairs(path: Path, pairs: Pairs) -> tuple[str, Skeleton]:
    """`with_pairs` of what a file holds, its byte order mark kept.  Raises SpecError."""
    text, skeleton = with_pairs(read_text(path), pairs, path)
    with path.open("rb") as file:
        mark = "\ufeff" if file.read(3) == BOM_UTF8 else ""
    return mark + text, skeleton


def with_pairs(text: str, pairs: Pairs, path: Path) -> tuple[str, Skeleton]:
    """The text of a skeleton file with these pairs of joint names, left first, and the skeleton that it describes.

    path: the file that the text is from.  Raises UnknownKeyError where another key gives the pairs, SpecError where
    what else the file says does not go with them, WrongValueError where the text cannot be changed in this one place.
    """
    before = parse_yaml(text, str(path))
    fields = before.mapping("a skeleton file")
    for key in (*PAIR_KEYS, "skeleton"):
        if key in fields and key != "pairs":
            facts = f"{key!r} gives the pairs already, and perhaps more than pairs"
            raise UnknownKeyError(
                fields[key].where, facts, "write pairs by hand in its place, or list the joints alone"
            )
    # Cutting text can go wrong in ways that nobody has thought of: what was written is read again and compared.
    edited = _edited(text, pairs)
    after = parse_yaml(edited, str(path))
    wanted = [list(pair) for pair in pairs]
    if _others(after) != _others(before) or _plain(after.mapping("a skeleton file").get("pairs")) != wanted:
        facts = "`pairs` cannot be written into it without a change of something else"
        raise WrongValueError(str(path), facts, "write `pairs: infer` into it, or lay it out in lines of `key: value`")
    return edited, skeleton_of(after, path, [])


def _others(root: Node) -> list[tuple[Any, Any]]:
    """All keys but `pairs` with their values, in their order."""
    return [(key.text, _plain(value)) for key, value in root.entries or () if key.text != "pairs"]


def _plain(node: Node | None) -> Any:
    """The content of a node, without its lines."""
    if node is None:
        return None
    if node.items is not None:
        return [_plain(item) for item in node.items]
    if node.entries is not None:
        return {key.text: _plain(value) for key, value in node.entries}
    return node.text


def _values(text: str) -> tuple[dict[str, _Value], bool]:
    """Where the values of a document's map stand, and whether the map is in braces."""
    root: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    values: dict[str, _Value] = {}
    for key, value in root.value:
        is_block = isinstance(value, yaml.SequenceNode) and not value.flow_style
        values[key.value] = _Value(key.start_mark.column, value.start_mark.index, _end(value), is_block)
    return values, bool(root.flow_style)


def _end(node: Any) -> int:
    """Where a value ends. Lists and maps without brackets end for YAML where the next value begins, comments between
    the two included; here they end with the last value in them.
    """
    while isinstance(node, yaml.CollectionNode) and not node.flow_style:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    return node.end_mark.index


def _edited(text: str, pairs: Pairs) -> str:
    """The text with other pairs: in the place of the old ones, else behind the joints."""
    values, in_braces = _values(text)
    newline = "\r\n" if "\r\n" in text else "\n"
    old = values.get("pairs")
    if old is not None:
        # `pairs:` without a value ends right behind the colon, where a value needs a blank.
        gap = "" if text[: old.start].endswith((" ", "\n")) else " "
        indent = old.start - (text.rfind("\n", 0, old.start) + 1)
        if old.is_block:
            new = _dashes(pairs, indent)
        else:
            new = gap + _brackets(pairs, in_braces, old.column)
        return text[: old.start] + new.replace("\n", newline) + text[old.end :]
    joints = next(value for key, value in values.items() if key in JOINT_KEYS)
    # No pairs yet: behind the joints, in the layout of the file. JSON, and YAML in braces, has its keys in a row.
    if in_braces:
        return text[: joints.end] + f', "pairs": {_brackets(pairs, True, 0)}' + text[joints.end :]
    # Behind the whole line, so that a comment behind the joints stays with them.
    line_end = text.find("\n", joints.end)
    next_line = line_end + 1
    if line_end < 0:  # the joints end with the file, and its last line may have no newline
        text, next_line = text + newline, len(text + newline)
    margin = " " * joints.column  # the keys of the file may be indented
    if pairs:
        lines = f"{margin}pairs:\n{margin}  {_dashes(pairs, joints.column + 2)}\n"
    else:
        lines = f"{margin}pairs: []\n"
    return text[:next_line] + lines.replace("\n", newline) + text[next_line:]


def _dashes(pairs: Pairs, indent: int) -> str:
    """A block list, its first line without the indent."""
    if not pairs:
        return "  []"
    return f"\n{' ' * indent}".join(f"- {names_in_brackets(pair)}" for pair in pairs)


def _brackets(pairs: Pairs, as_json: bool, column: int) -> str:
    """Pairs in brackets, on more lines where the width asks for it.  column: of the key."""
    if as_json:
        return json.dumps([list(pair) for pair in pairs], ensure_ascii=False)
    lines = wrapped("pairs", [names_in_brackets(pair) for pair in pairs])
    return f"\n{' ' * (column + 2)}".join(line.strip() for line in lines).removeprefix("pairs: ")
