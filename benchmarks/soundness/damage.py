"""Damaged copies of files: bytes that changed, archives whose members changed, values of another type."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Callable
from typing import Any

import yaml

Damage = Callable[[bytes, random.Random], bytes]
HUGE = (
    b"9" * 30,
    b"-1",
    b"0",
    b"1e400",
    b"NaN",
    b"99999999999",
    b'"x"',
    b"[]",
    b"{}",
    b"null",
    b"9**9**9",
    b"1<<(1<<36)",
)
VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    10**30,
    1e308,
    float("nan"),
    "",
    "x",
    "left_0",
    [],
    {},
    [[]],
    {"a": {}},
    [None] * 3,
)


def damaged(data: bytes, name: str, draw: random.Random, payload: bytes) -> bytes:
    """A copy of a file that is hardly ever what it was.

    name: the file's; its ending says what is inside.  payload: a pickle that runs code when it is loaded.
    """
    kinds: list[Damage] = [_flipped, _cut, _repeated, _without_a_piece, _numbers]
    if zipfile.is_zipfile(io.BytesIO(data)):
        kinds += [
            _in_a_member,
            _in_a_member,
            _in_a_member,
            _other_members,
            lambda data, draw: _loaded(data, draw, payload),
        ]
    if name.endswith((".json", ".yaml")):
        kinds += [_other_values] * 4
    if not name.endswith((".json", ".yaml")):
        kinds.append(lambda data, draw: payload + data)
    return draw.choice(kinds)(data, draw)


def _flipped(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice([1, 3, 30])):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def _cut(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data))]


def _repeated(data: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(data))
    return data[:start] + data[start : start + draw.randrange(1, 2000)] * 2 + data[start:]


def _without_a_piece(data: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(data))
    return data[:start] + data[start + draw.randrange(1, 2000) :]


def _numbers(data: bytes, draw: random.Random) -> bytes:
    """One run of digits becomes something that no reader expects."""
    starts = [i for i in range(1, len(data)) if data[i : i + 1].isdigit() and not data[i - 1 : i].isdigit()]
    if not starts:
        return _flipped(data, draw)
    start = end = draw.choice(starts)
    while end < len(data) and data[end : end + 1].isdigit():
        end += 1
    return data[:start] + draw.choice(HUGE) + data[end:]


def _members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _archive(members: dict[str, bytes]) -> bytes:
    """An archive with right checksums, so that the reader gets to what is inside."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _in_a_member(data: bytes, draw: random.Random) -> bytes:
    members = _members(data)
    name = draw.choice([name for name, content in members.items() if content])
    kinds = [_flipped, _cut, _without_a_piece, _numbers]
    if name.endswith(".json"):
        kinds += [_other_values] * 4
    members[name] = draw.choice(kinds)(members[name], draw)
    return _archive(members)


def _other_members(data: bytes, draw: random.Random) -> bytes:
    members = _members(data)
    name, other = draw.choice(list(members)), draw.choice(list(members))
    choice = draw.randrange(3)
    if choice == 0:
        del members[name]
    elif choice == 1:
        members[name] = members[other]
    else:
        members["../" + name.rsplit("/", 1)[-1]] = members[name]
    return _archive(members)


def _loaded(data: bytes, draw: random.Random, payload: bytes) -> bytes:
    """One member is a pickle that runs code."""
    members = _members(data)
    members[draw.choice(list(members))] = payload
    return _archive(members)


def _other_values(data: bytes, draw: random.Random) -> bytes:
    """One value, somewhere in a tree of JSON or YAML, is replaced, doubled or dropped."""
    try:
        tree = yaml.safe_load(data) if b"{" not in data[:1] else json.loads(data)
    except ValueError:
        return _flipped(data, draw)
    places: list[tuple[Any, Any]] = []
    _walk(tree, places)
    if not places:
        return _flipped(data, draw)
    holder, key = draw.choice(places)
    choice = draw.randrange(4)
    if choice == 0:
        del holder[key]
    elif choice == 1 and isinstance(holder, dict):
        holder[draw.choice(["x", "joints", "dims", 3])] = holder[key]
    elif choice == 2:
        other, name = draw.choice(places)
        holder[key] = json.loads(json.dumps(other[name], default=str))
    else:
        holder[key] = draw.choice(VALUES)
    return json.dumps(tree, default=str).encode() if data[:1] == b"{" else yaml.safe_dump(tree).encode()


def _walk(tree: Any, places: list[tuple[Any, Any]]) -> None:
    keys = list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else []
    for key in keys:
        places.append((tree, key))
        _walk(tree[key], places)
