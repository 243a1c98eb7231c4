"""What does a text say, in which line, and what is wrong with it in words? Plain YAML or JSON, and records made of it.

Plain: one document of maps, lists and scalars, without tags, anchors or aliases (an alias can blow a small file up to
gigabytes) and with no key twice. A scalar stays the text that the user wrote until a type below reads it: in

    joints: [on, "on", l_ear]        line 1
    dims: [x]                        line 2

the first `on` is `Plain`, which a `Name` refuses in line 1 ("quote it"), and the second is a name. `Document.where`
has the line of every path: ("joints", 0) is file:1. A record says what is wrong with it as a `Wrong`, whose path the
document turns into a line. Nothing but this file knows pydantic's errors.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NoReturn, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.functional_validators import AfterValidator, BeforeValidator, PlainValidator

from chiralize.errors import (
    MissingKeyError,
    SpecError,
    UnknownKeyError,
    UnknownNameError,
    WrongValueError,
    YamlSyntaxError,
)
from chiralize.errors.words import first_line, when

KeyPath = tuple["str | int", ...]
"""Keys of maps and positions in lists, from the top of a document down."""
SIZE_LIMIT = 1 << 20
"""Bytes of a file: the largest shipped one has 12 KB."""
DEPTH_LIMIT = 24
"""Lists and maps within one another: a specification has five levels or so."""
MOST_ENTRIES = 1_000_000
"""Entries of one axis: a short line of a file could ask for any number, and each gets a partner and a sign in T."""
_LONGEST_NUMBER = 320
"""Characters of a number: float64 has 309 digits before the point."""
_LOADER: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_BOOLEANS = {"yes": True, "no": False, "on": True, "off": False, "true": True, "false": False}
_NULLS = ("", "~", "null")
_INTEGER = re.compile(r"[-+]?\d{1,18}")
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d{1,2})?|[-+]?\d+/\d+")
M = TypeVar("M", bound="Keys")
T = TypeVar("T")


class Wrong(ValueError):  # noqa: N818 (it is raised as "wrong", and never reaches users)
    """What a record finds wrong with itself.  kind: of the error.  at: the path within the record; it becomes the line.

    continues: the facts are a predicate, and begin with the name of the key: "dims" + "must be a list, not 'x'".
    """

    def __init__(
        self,
        facts: str,
        remedy: str,
        at: KeyPath = (),
        *,
        kind: type[SpecError] = WrongValueError,
        continues: bool = False,
    ) -> None:
        super().__init__(facts)
        self.kind, self.facts, self.remedy, self.at, self.continues = kind, facts, remedy, at, continues

    def error(self, where: str, key: str = "") -> SpecError:
        """The error for users.  key: of the file, for facts that continue its name."""
        return self.kind(where, f"{key or 'the value'} {self.facts}" if self.continues else self.facts, self.remedy)


# ---- plain data that knows its lines ---------------------------------------------------------------------------
class Plain(str):
    """A scalar without quotes that YAML readers take for a boolean, a number or nothing: `on`, `1/3`, `~`."""


class Map(dict[str, Any]):
    """A map.  line: where it begins, 0 without a file.  lines: of its keys.  where: file and line."""

    def __init__(self, entries: Mapping[str, Any], lines: Mapping[str, int], line: int = 0, where: str = "") -> None:
        super().__init__(entries)
        self.line, self.lines, self.where = line, lines, where


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
            remedy = "write `key: value` lines, such as `joints: [...]` and `pairs: [...]`"
            raise WrongValueError(
                self.where(()), f"the file must be a map (key: value), not {shown(self.data)}", remedy
            )
        return self.data

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
        except Wrong as wrong:
            raise wrong.error(self.where((*path, *wrong.at))) from None
        except SpecError as error:
            wrong = error.__cause__
            if isinstance(wrong, Wrong):
                raise wrong.error(self.where((*path, *wrong.at))) from None
            raise


def read_record(model: type[M], data: object, context: object = None) -> M:
    """A map as a record. Raises Wrong, with the first complaint of pydantic in the words of the house."""
    try:
        return model.model_validate(data, context=context)
    except ValidationError as errors:
        error = errors.errors(include_url=False)[0]
    path, kind, value = error["loc"], error["type"], shown(error["input"])
    wrong = error.get("ctx", {}).get("error")
    if isinstance(wrong, Wrong):
        raise Wrong(wrong.facts, wrong.remedy, (*path, *wrong.at), kind=wrong.kind, continues=wrong.continues)
    if kind == "missing":
        raise Wrong(f"`{path[-1]}` is missing", f"add `{path[-1]}: ...`", path[:-1], kind=MissingKeyError)
    if kind == "literal_error":
        expected = error.get("ctx", {})["expected"]
        raise Wrong(f"is {value}, not one of {expected}", f"write {expected}", path, continues=True)
    if kind in ("tuple_type", "list_type"):
        raise Wrong(f"must be a list, not {value}", "write it as [a, b, ...]", path, continues=True)
    raise Wrong(f"must be a map, not {value}", "write it as `key: value` lines", path, continues=True)


def shown(value: object) -> str:
    """A value as a message quotes it, in at most 60 characters."""
    if isinstance(value, Mapping):
        return f"a map with {len(value)} keys"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"a list of {len(value)}"
    text = str(value)
    return repr(text if len(text) <= 60 else text[:57] + "...")


def nearest(value: str, options: Iterable[str], alike: float = 0.5) -> str | None:
    """The option most like `value` (case does not count), or None where none is.

    alike: how like it has to be, from 0 to 1; at one half, a name with half of its letters right is offered.

    >>> nearest("left_hipp", ["left_knee", "left_hip"])
    'left_hip'
    """
    folded = {option.lower(): option for option in reversed(list(options))}  # of equal ones the first is offered
    close = difflib.get_close_matches(value.lower(), list(folded), n=1, cutoff=alike)
    return folded[close[0]] if close else None


def did_you_mean(value: str, options: Iterable[str]) -> str:
    """Remedy text: the nearest option, or all of them where there are few."""
    options = list(options)
    option = nearest(value, options)
    if option:
        return f"did you mean {option!r}?"
    if not options:
        return "remove it"
    return "use one of " + ", ".join(options[:12]) + when(len(options) > 12, ", ...")


# ---- what a scalar is read as ----------------------------------------------------------------------------------
def _refuse(facts: str, remedy: str) -> NoReturn:
    raise Wrong(facts, remedy, continues=True)


def _pairs_or_infer(value: object) -> Literal["infer"] | PairList:
    """Pairs, or the word `infer`."""
    return "infer" if value == "infer" else _pairs(value)


def _pairs(value: object) -> PairList:
    """Pairs of names or positions."""
    if not isinstance(value, (list, tuple)):
        _refuse(f"must be a list of pairs, not {shown(value)}", "write [[left_hip, right_hip], ...]")
    pairs: list[tuple[str | int, str | int]] = []
    for number, pair in enumerate(value):
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            facts = f"lists {shown(pair)} where a pair should be"
            raise Wrong(facts, "write [[left_hip, right_hip], ...], two names each", (number,), continues=True)
        pairs.append((_reference(pair[0]), _reference(pair[1])))
    return tuple(pairs)


def read_name(value: object) -> str:
    """A text that no YAML reader takes for anything else: a joint called `on` would be another one for other tools."""
    if isinstance(value, Plain) and value.lower() in _NULLS:
        _refuse("is empty", "give a name")
    if isinstance(value, Plain):
        _refuse(f"{shown(value)} is a number or a boolean for YAML, not a name", f'quote it: "{value}"')
    if not isinstance(value, str):
        _refuse(f"must be a name, not {shown(value)}", "give one name")
    if not value.strip():
        _refuse("is empty", "give a name")
    return str(value)


def _prose(value: object) -> str:
    if not isinstance(value, str):
        _refuse(f"must be text, not {shown(value)}", "write one line of text, in quotes if need be")
    return "" if isinstance(value, Plain) and value.lower() in _NULLS else str(value)


def _whole(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, Plain) or not _INTEGER.fullmatch(value):
        _refuse(f"must be a whole number of at most 18 digits, not {shown(value)}", "write digits only")
    return int(value)


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if not isinstance(value, Plain) or value.lower() not in _BOOLEANS:
        _refuse(f"must be true or false, not {shown(value)}", "write true or false")
    return _BOOLEANS[value.lower()]


def read_sign(value: object) -> int:
    if str(value) not in ("1", "+1", "-1") or not isinstance(value, (Plain, int)):
        _refuse(f"must be 1 or -1, not {shown(value)}", "write 1 (stays) or -1 (negated)")
    return int(value)


def _exact(value: object) -> Fraction:
    """1/3 and 0.25 become fractions, in quotes too, as JSON writes them."""
    text = str(value).strip()
    if isinstance(value, bool) or not _NUMBER.fullmatch(text) or len(text) > _LONGEST_NUMBER:
        _refuse(f"must be a number such as 0.25 or 1/3, not {shown(value)}", "write a number")
    try:
        return Fraction(text)
    except ZeroDivisionError:
        _refuse(f"{text} divides by zero", "write a number")


def _reference(value: object) -> str | int:
    """The position in a list of names where it is a number without quotes, else one of the names."""
    is_position = isinstance(value, int) or (isinstance(value, Plain) and _INTEGER.fullmatch(value))
    return _whole(value) if is_position else read_name(value)


def as_list(value: object) -> object:
    """A list as it is, and anything else as a list of one: `flip: 1`, `negate: x`."""
    return value if isinstance(value, (list, tuple)) or value is None else [value]


def not_empty(items: T) -> T:
    """Raises Wrong for an empty list."""
    if not items:
        _refuse("is empty", "list one or more")
    return items


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    refuse_twice(names, "name")
    return names


def _entries(value: object) -> int | tuple[str, ...]:
    """How many entries, or their names."""
    if isinstance(value, (list, tuple)):
        return _distinct(tuple(map(read_name, value)))
    count = _whole(value)
    if not 1 <= count <= MOST_ENTRIES:
        _refuse(f"has {count} entries", f"give 1 to {MOST_ENTRIES}")
    return count


def _signs(value: object) -> tuple[int, ...] | dict[str, tuple[int, ...]]:
    """One list of signs, or a list for each of several names; a single sign stands for a list of one."""
    if isinstance(value, Mapping):
        rows = {str(name): row if isinstance(row, (list, tuple)) else [row] for name, row in value.items()}
        return {name: tuple(map(read_sign, row)) for name, row in rows.items()}
    if not isinstance(value, (list, tuple)):
        _refuse(f"must be a list or a map, not {shown(value)}", "write [1, -1] or {name: -1}")
    return tuple(map(read_sign, value))


Name = Annotated[str, BeforeValidator(read_name)]
Prose = Annotated[str, BeforeValidator(_prose)]
Whole = Annotated[int, BeforeValidator(_whole)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Sign = Annotated[int, BeforeValidator(read_sign)]
Exact = Annotated[Fraction, BeforeValidator(_exact)]
Reference = Annotated["str | int", BeforeValidator(_reference)]
Names = Annotated[tuple[Name, ...], AfterValidator(not_empty), AfterValidator(_distinct)]
"""One name or more, none of them twice."""
Entries = Annotated["int | tuple[str, ...]", PlainValidator(_entries)]
SignRows = Annotated["tuple[int, ...] | dict[str, tuple[int, ...]]", PlainValidator(_signs)]
PairList = tuple[tuple["str | int", "str | int"], ...]
Pairs = Annotated[PairList, PlainValidator(_pairs)]
PairsOrInfer = Annotated["Literal['infer'] | PairList", PlainValidator(_pairs_or_infer)]


def position_in(names: Sequence[str], reference: str | int, what: str, at: KeyPath = ()) -> int:
    """The position that a `Reference` means. Raises Wrong with `at`.  what: the noun, `joint`."""
    if isinstance(reference, str):
        if reference not in names:
            facts = f"no {what} is called {reference!r}"
            raise Wrong(facts, did_you_mean(reference, names), at, kind=UnknownNameError)
        return names.index(reference)
    if not 0 <= reference < len(names):
        raise Wrong(f"{what} {reference} lies outside 0..{len(names) - 1}", "count from 0", at)
    return reference


def refuse_twice(names: Sequence[str | int], what: str, at: KeyPath = ()) -> None:
    """Raises Wrong at the second of two equal names."""
    for number, name in enumerate(names):
        if name in names[:number]:
            facts = f"{what} {name!r} is listed twice"
            raise Wrong(facts, f"list each {what} once", (*at, number))


class Keys(BaseModel):
    """A map of a file: unknown keys are refused.  where: file and line, which are not compared."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, populate_by_name=True)
    ELSEWHERE: ClassVar[Mapping[str, str]] = {}
    """What to do about keys that belong to something else."""
    where: str = Field(default="", exclude=True, repr=False)

    @model_validator(mode="before")
    @classmethod
    def _known(cls, data: Any) -> Any:
        if isinstance(data, Map):
            known = cls._attributes()
            for key in data:
                if key not in known:
                    remedy = cls.ELSEWHERE.get(key) or did_you_mean(key, known)
                    raise Wrong(f"there is no key {key!r} here", remedy, (key,), kind=UnknownKeyError)
            return {**data, "where": data.where}
        return data

    @classmethod
    def _attributes(cls) -> dict[str, str]:
        """The attribute of every key of a file."""
        return {info.alias or name: name for name, info in cls.model_fields.items() if name != "where"}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and repr(self) == repr(other)  # maps are compared in their order, too

    def __hash__(self) -> int:
        return hash(repr(self))

    def to_dict(self) -> dict[str, object]:
        """The record as a file writes it, without what goes without saying; reading it again gives an equal record."""
        written: dict[str, object] = {}
        for key, name in self._attributes().items():
            value = getattr(self, name)
            if value != type(self).model_fields[name].default:
                written[key] = as_json(value)
        return written


def as_json(value: Any) -> Any:
    """A value of a record as JSON has it: fractions as text, records as maps."""
    if isinstance(value, Fraction):
        return str(value)
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    return value


# ---- text and Python values in ---------------------------------------------------------------------------------
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


def read_yaml(path: Path) -> Document:
    """The document of a YAML or JSON file. Raises YamlSyntaxError, UnknownKeyError (a key twice)."""
    return parse_yaml(read_text(path), str(path), path)


def parse_yaml(text: str, source: str, path: Path | None = None) -> Document:
    """The one document of `text`.  source: the name that messages use. Raises YamlSyntaxError, UnknownKeyError."""
    try:
        _check_plain(text, source)
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # The end of the text may lie a line behind its last one.
        where = f"{source}:{min(mark.line, text.count(chr(10))) + 1}" if mark else source
        line = "".join(text.splitlines()[mark.line : mark.line + 1]) if mark else ""
        remedy = "indent with spaces, not tabs" if "\t" in line else "mend the YAML syntax there"
        raise YamlSyntaxError(where, str(error.problem or error.context or "not YAML"), remedy) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise YamlSyntaxError(source, first_line(error), "save it as plain UTF-8 YAML") from None
    if root is None:
        raise YamlSyntaxError(source, "the file is empty", "write at least `joints` and `pairs`, or `skeleton: NAME`")
    return Document(_value_of(root, source), source, path)


def _check_plain(text: str, source: str) -> None:
    """Raises YamlSyntaxError on a tag, which could ask for any object, on anchors and aliases, and on depth."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        where = f"{source}:{event.start_mark.line + 1}"
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            remedy = "write the value out where it is needed, or write the file with json.dump"
            raise YamlSyntaxError(where, f"anchors and aliases are not read ({event.anchor})", remedy)
        if getattr(event, "tag", None) is not None:
            raise YamlSyntaxError(where, f"tag {event.tag} is not read", "write plain values without tags")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH_LIMIT:
            raise YamlSyntaxError(where, f"nested deeper than {DEPTH_LIMIT}", "a skeleton needs three levels or so")


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
    is_plain = text.lower() in _BOOLEANS or text.lower() in _NULLS or _NUMBER.fullmatch(text)
    return Plain(text) if is_plain and not is_quoted else text


def from_python(value: object, source: str) -> Document:
    """The document of a JSON-like Python value, so that one reader serves files and dictionaries alike.

    Raises WrongValueError on values nested without end and on numbers too long to write.
    """
    return Document(_from_python(value, source, 0), source)


def _from_python(value: object, source: str, depth: int) -> Any:
    if depth > DEPTH_LIMIT:  # x = []; x.append(x) would be read for ever
        facts = f"nested deeper than {DEPTH_LIMIT}, or a value that holds itself"
        raise WrongValueError(source, facts, "give plain, flat values")
    if isinstance(value, Mapping):
        return Map({_text(key, source): _from_python(item, source, depth + 1) for key, item in value.items()}, {})
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return Items([_from_python(item, source, depth + 1) for item in value], [0] * len(value))
    if isinstance(value, str):  # in Python "on" is a text, and no boolean
        return _scalar(value, not isinstance(value, Plain), source)
    return Plain("null" if value is None else _text(value, source))


def _text(value: object, source: str) -> str:
    try:
        return str(value)
    except (ValueError, RecursionError):  # thousands of digits, or an object that holds itself
        raise WrongValueError(source, "a value that cannot be written", "give plain, short values") from None


# ---- and out ---------------------------------------------------------------------------------------------------
class _Dumper(yaml.SafeDumper):
    """Writes the innermost lists on one line, and puts in quotes what this reader would take for something else."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    is_plain = isinstance(_scalar(text, False, "text"), Plain)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if is_plain else None)


_Dumper.add_representer(str, _quoted)


def to_yaml(fields: Mapping[str, object]) -> str:
    """The text of a file; reading it again gives equal values."""
    return yaml.dump(
        as_json(fields), Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=110, allow_unicode=True
    )
