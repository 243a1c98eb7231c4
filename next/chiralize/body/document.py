"""What does a text say, and in which line? Plain YAML or JSON in, and YAML out.

Plain: one document of maps, lists and scalars, without tags, anchors or aliases (an alias can blow a small file up to
gigabytes) and with no key twice. Every map and list knows its lines; `Document.where` has the line of every path: in

    joints: [nose, l_ear]        line 1
    dims: [x]                    line 2

("joints", 1) is file:1. Scalars without quotes that YAML readers take for something else are `Plain`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from chiralize.body.values import KeyPath, M, Map, Plain, Wrong, as_json, is_plain, read_record, shown
from chiralize.errors import SpecError, UnknownKeyError, WrongValueError, YamlSyntaxError
from chiralize.errors.words import first_line

SIZE_LIMIT = 1 << 20
"""Bytes of a file: the largest shipped one has 12 KB."""
DEPTH_LIMIT = 24
"""Lists and maps within one another: a specification has five levels or so."""
_LOADER: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


class Items(list[Any]):
    """A list.  lines: of its values."""

    def __init__(self, items: Sequence[Any], lines: Sequence[int]) -> None:
        super().__init__(items)
        self.lines, self.line = lines, min(lines, default=0)


@dataclass(frozen=True)
class Document:
    """data: `Map`, `Items` and texts.  source: the file as the user wrote it.  path: of the file, if it is one."""

    data: Any
    source: str
    path: Path | None = None

    @property
    def keys(self) -> Map:
        """The map on the top level. Raises WrongValueError where the document is none."""
        if not isinstance(self.data, Map):
            facts = f"the file must be a map (key: value), not {shown(self.data)}"
            raise WrongValueError(self.where(()), facts, "write lines such as `joints: [...]` and `pairs: [...]`")
        return self.data

    @property
    def stem(self) -> str:
        """The name of its file without the suffix."""
        return self.path.stem if self.path is not None else "unnamed"

    def where(self, path: Iterable[str | int]) -> str:
        """File and line of the deepest part of a path that the document has."""
        line = self._followed(path)[0]
        return f"{self.source}:{line}" if line else self.source

    def _followed(self, path: Iterable[str | int]) -> tuple[int, str]:
        """The line that a path leads to, and the last key on the way; what the document has not is skipped."""
        at, line, last = self.data, getattr(self.data, "line", 0), ""
        for key in path:  # pydantic puts names of kinds among the keys, which are no part of the path
            if isinstance(at, Map) and isinstance(key, str) and key in at:
                line, at, last = at.lines.get(key, line), at[key], key
            elif isinstance(at, Items) and isinstance(key, int) and key < len(at):
                line, at = at.lines[key], at[key]
        return line, last

    def read(self, model: type[M], **context: object) -> M:
        """The document as a record.  context: for validators that look beyond the document. Raises SpecError."""
        try:
            return read_record(model, self.keys, context)
        except Wrong as wrong:
            raise wrong.error(self.where(wrong.at), self._followed(wrong.at)[1]) from None

    @contextmanager
    def within(self, path: KeyPath = ()) -> Iterator[None]:
        """Whatever a record that is built inside says of itself is said of this path's file and line."""
        try:
            yield
        except (Wrong, SpecError) as error:
            wrong = error if isinstance(error, Wrong) else error.__cause__
            if not isinstance(wrong, Wrong):
                raise
            raise wrong.error(self.where((*path, *wrong.at))) from None


# ---- text and Python values in --------------------------------------------------------------------------------------
def read_text(path: Path, limit: int = SIZE_LIMIT) -> str:
    """A text file as str; a byte order mark is dropped. Raises YamlSyntaxError unless it is UTF-8 of moderate size."""
    text, facts = "", ""
    try:
        with path.open("rb") as stream:
            raw = stream.read(limit + 1)  # one byte more than allowed tells that there are too many
        text = raw[:limit].decode("utf-8-sig") if len(raw) <= limit else "\0"
        facts = f"is larger than {limit} bytes, or holds NUL bytes" if "\0" in text else ""
    except OSError as error:
        facts = f"cannot be read ({error.strerror or error})"
    except UnicodeDecodeError as error:
        facts = f"is no UTF-8 text (byte {error.start})"
    if facts:
        raise YamlSyntaxError(str(path), facts, "give the path of a description file, saved as UTF-8 text")
    return text


def read_yaml(path: Path) -> Document:
    """The document of a YAML or JSON file. Raises YamlSyntaxError, UnknownKeyError (a key twice)."""
    return parse_yaml(read_text(path), str(path), path)


def parse_yaml(text: str, source: str, path: Path | None = None) -> Document:
    """The one document of `text`.  source: the name that messages use. Raises YamlSyntaxError, UnknownKeyError."""
    try:
        _check_plain(text, source)
        root = yaml.compose(text, Loader=_LOADER)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        # The end of the text may lie a line behind its last one.
        where = f"{source}:{min(mark.line, text.count(chr(10))) + 1}" if mark else source
        facts = str(getattr(error, "problem", None) or first_line(error))
        raise YamlSyntaxError(where, facts, "mend the YAML syntax there; indent with spaces, not tabs") from None
    if root is None:
        raise YamlSyntaxError(source, "the file is empty", "write at least `joints` and `pairs`, or `skeleton: NAME`")
    return Document(_value_of(root, source), source, path)


def _check_plain(text: str, source: str) -> None:
    """Raises YamlSyntaxError on a tag, which could ask for any object, on anchors and aliases, and on depth."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
        if anchor is not None or tag is not None or depth > DEPTH_LIMIT:
            facts = f"an anchor or alias ({anchor}), a tag ({tag}), or more than {DEPTH_LIMIT} levels are not read"
            remedy = "write plain values where they are needed, or write the file with json.dump"
            raise YamlSyntaxError(f"{source}:{event.start_mark.line + 1}", facts, remedy)


def _value_of(node: Any, source: str) -> Any:
    """A node of PyYAML as plain data with lines. Raises YamlSyntaxError, UnknownKeyError, WrongValueError."""
    line = node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        lines = [item.start_mark.line + 1 for item in node.value]
        return Items([_value_of(item, source) for item in node.value], lines)
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node.value, bool(node.style), f"{source}:{line}")
    entries, lines = dict[str, Any](), dict[str, int]()
    for key, item in node.value:
        where = f"{source}:{key.start_mark.line + 1}"
        if not isinstance(key, yaml.ScalarNode):
            raise YamlSyntaxError(where, "a key must be a word", "write `key: value`")
        if key.value in entries:
            facts = f"key {key.value!r} appears twice (first in line {lines[key.value]})"
            raise UnknownKeyError(where, facts, "keep one of them")
        name = _scalar(key.value, True, where)
        entries[name], lines[name] = _value_of(item, source), key.start_mark.line + 1
    return Map(entries, lines, line, f"{source}:{line}")


def _scalar(text: str, is_quoted: bool, where: str) -> str:
    """A scalar: `Plain` where YAML readers take it for something else. Raises WrongValueError on half a character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        facts = f"{shown(text)} holds half a character, which UTF-8 cannot write"
        raise WrongValueError(where, facts, "write whole characters, or plain letters") from None
    return Plain(text) if is_plain(text) and not is_quoted else text


def from_python(value: object, source: str) -> Document:
    """The document of a JSON-like Python value, so that one reader serves files and dictionaries alike.

    Raises WrongValueError on values nested without end and on numbers too long to write.
    """
    try:
        return Document(_from_python(value, source), source)
    except (ValueError, RecursionError):  # thousands of digits, or an object that holds itself
        raise WrongValueError(source, "a value that cannot be written", "give plain, flat, short values") from None


def _from_python(value: object, source: str) -> Any:
    if isinstance(value, Mapping):
        return Map({str(key): _from_python(item, source) for key, item in value.items()}, {})
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return Items([_from_python(item, source) for item in value], [0] * len(value))
    if isinstance(value, str):  # in Python "on" is a text, and no boolean
        return _scalar(value, not isinstance(value, Plain), source)
    return Plain("null" if value is None else str(value))


# ---- and out --------------------------------------------------------------------------------------------------------
class _Dumper(yaml.SafeDumper):
    """Writes the innermost lists on one line, and puts in quotes what this reader would take for something else."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if is_plain(text) else None)


_Dumper.add_representer(str, _quoted)


def to_yaml(fields: Mapping[str, object]) -> str:
    """The text of a file; reading it again gives equal values."""
    return yaml.dump(
        as_json(fields), Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=110, allow_unicode=True
    )
