"""A strict reader for plain YAML: text in, `Node`s with lines out; nothing is ever constructed or run.

Plain means: one document, maps, lists and scalars. Tags, anchors and aliases are refused (an alias can blow a small
file up to gigabytes), as are duplicate keys, deep nesting and files above a size that no skeleton reaches.

Only PyYAML's parser is used, which gives events: of `pairs: [a, b]`

    MappingStart, Scalar pairs, SequenceStart, Scalar a, Scalar b, SequenceEnd, MappingEnd

`_Builder` puts Nodes together from them. What a scalar means is left to whoever reads the Node.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from chiralize.body.skeleton.nodes import Node
from chiralize.errors import UnknownKeyError, YamlSyntaxError
from chiralize.errors.words import first_line

SIZE_LIMIT = 1 << 20
"""Bytes."""
DEPTH_LIMIT = 24
"""Lists and maps within one another."""
_WRITTEN_OUT = (
    "write the value out where it is needed; where a program writes the file, PyYAML makes anchors of a list that is "
    "used twice: set `yaml.SafeDumper.ignore_aliases = lambda *_: True` before yaml.safe_dump (yaml.Dumper for "
    "yaml.dump), or write it with json.dump, since JSON is read, too"
)
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_text(path: Path, limit: int = SIZE_LIMIT) -> str:
    """A text file as str; a byte order mark is dropped. Raises YamlSyntaxError unless it is UTF-8 of moderate size."""
    where = str(path)
    try:
        with path.open("rb") as stream:
            raw = stream.read(limit + 1)  # one byte more than allowed tells that there are too many
    except OSError as error:
        raise YamlSyntaxError(where, f"cannot be read ({error.strerror or error})", "check the path") from None
    if len(raw) > limit:
        raise YamlSyntaxError(where, f"larger than {limit} bytes", "give the description file, not data")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise YamlSyntaxError(where, f"not UTF-8 text (byte {error.start})", "save the file as UTF-8 text") from None
    if "\0" in text:
        raise YamlSyntaxError(where, "not text: it holds NUL bytes", "save the file as UTF-8 text")
    return text


def read_yaml(path: Path) -> Node:
    """The document of a YAML file. Raises YamlSyntaxError, UnknownKeyError (duplicate keys)."""
    return parse_yaml(read_text(path), str(path))


def parse_yaml(text: str, source: str) -> Node:
    """The one document of `text`.  source: the name that messages use. Raises YamlSyntaxError, UnknownKeyError."""
    # Errors of YAML itself are caught below; those of `_Builder` are the house's own already, and pass.
    builder = _Builder(source)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # The end of the text may lie a line behind its last one.
        where = f"{source}:{min(mark.line, text.count(chr(10))) + 1}" if mark else source
        if "\t" in _line(text, mark):
            remedy = "indent with spaces, not tabs"
        else:
            remedy = "mend the YAML syntax there"
        raise YamlSyntaxError(where, str(error.problem or error.context or "not YAML"), remedy) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise YamlSyntaxError(source, first_line(error), "save it as plain UTF-8 YAML") from None
    if builder.root is None:
        raise YamlSyntaxError(source, "the file is empty", "write at least `joints` and `pairs`, or `skeleton: NAME`")
    return builder.root


def _line(text: str, mark: Any) -> str:
    """The line of the text that a mark is in; "" where there is none."""
    lines = text.splitlines()
    if mark is not None and mark.line < len(lines):
        return lines[mark.line]
    return ""


class _Builder:
    """Turns parser events into Nodes with an explicit stack (no recursion, so depth is ours to limit).

    open: lists and maps that have begun: kind, line, and what they hold so far; of a map keys and values in turn.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.root: Node | None = None
        self.documents = 0
        self.open: list[tuple[str, int, list[Node]]] = []

    def _refuse(self, event: Any, facts: str, remedy: str) -> None:
        raise YamlSyntaxError(f"{self.source}:{event.start_mark.line + 1}", facts, remedy)

    def take(self, event: Any) -> None:
        """Build on with the next event of the parser. Raises YamlSyntaxError, UnknownKeyError."""
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                self._refuse(event, "a second document begins here", "keep one document per file")
        elif isinstance(event, yaml.AliasEvent):
            self._refuse(event, f"alias *{event.anchor} is not read", _WRITTEN_OUT)
        # Scalars and beginnings of lists and maps: the events that may carry a tag or an anchor. An alias is refused
        # above, since it is a NodeEvent, too.
        elif isinstance(event, yaml.NodeEvent):
            self._check_plain(event)
            line = event.start_mark.line + 1
            if isinstance(event, yaml.ScalarEvent):
                self._put(Node(self.source, line, text=event.value, quoted=bool(event.style)))
            else:
                self._push("map" if isinstance(event, yaml.MappingStartEvent) else "list", line, event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._pop()

    def _check_plain(self, event: Any) -> None:
        """Raise YamlSyntaxError on a tag, which could ask for any object, and on an anchor."""
        if getattr(event, "tag", None) is not None:
            self._refuse(event, f"tag {event.tag} is not read", "write plain values without tags")
        if event.anchor is not None:
            self._refuse(event, f"anchor &{event.anchor} is not read", _WRITTEN_OUT)

    def _push(self, kind: str, line: int, event: Any) -> None:
        """A list or a map begins. Raises YamlSyntaxError where it lies too deep."""
        if len(self.open) >= DEPTH_LIMIT:
            self._refuse(event, f"nested deeper than {DEPTH_LIMIT}", "a skeleton needs three levels or so")
        self.open.append((kind, line, []))

    def _pop(self) -> None:
        """The innermost list or map ends: what was read since then belongs to it."""
        kind, line, parts = self.open.pop()
        if kind == "list":
            self._put(Node(self.source, line, items=tuple(parts)))
        else:
            entries = tuple(zip(parts[::2], parts[1::2], strict=True))
            self._check_keys(entries)
            self._put(Node(self.source, line, entries=entries))

    def _check_keys(self, entries: tuple[tuple[Node, Node], ...]) -> None:
        """Raise on keys that are no words, and on one that comes twice, of which other readers keep the last."""
        seen: dict[str, int] = {}
        for key, _ in entries:
            if key.text is None:
                raise YamlSyntaxError(key.where, f"a key must be a word, not {key.show()}", "write `key: value`")
            if key.text in seen:
                facts = f"key {key.text!r} appears twice (first in line {seen[key.text]})"
                raise UnknownKeyError(key.where, facts, "keep one of them")
            seen[key.text] = key.line

    def _put(self, node: Node) -> None:
        """Hand a finished value to the list or map around it, or make it the document."""
        if self.open:
            self.open[-1][2].append(node)
        else:
            self.root = node
