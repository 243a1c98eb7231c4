"""What may a value of a file be, and what is wrong with it? Scalars, names, pairs, and the records that hold them.

A scalar stays the text that the user wrote until a type of this module reads it: of `joints: [on, "on"]` the first is
`Plain`, which a `Name` refuses ("quote it"), and the second is a name. `1/3` is read exactly, as `Exact`. A record
(`Keys`) is the format of a map: it refuses keys that it does not have, checks itself, and writes itself back. What is
wrong is raised as a `Wrong`, with a path of keys that the document turns into a line. Nothing but this module knows
pydantic's errors.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Annotated, Any, ClassVar, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.functional_validators import AfterValidator, BeforeValidator, PlainValidator, WrapValidator

from chiralize.errors import MissingKeyError, SpecError, UnknownKeyError, UnknownNameError, WrongValueError
from chiralize.errors.words import listed

KeyPath = tuple[str | int, ...]
"""Keys of maps and positions in lists, from the top of a document down."""
MOST_ENTRIES = 1_000_000
"""Entries of one axis: a short line of a file could ask for any number, and each gets a partner and a sign in T."""
_LONGEST_NUMBER = 320
"""Characters of a number: float64 has 309 digits before the point."""
_BOOLEANS = {"yes": True, "no": False, "on": True, "off": False, "true": True, "false": False}
_NULLS = ("", "~", "null")
_INTEGER = re.compile(r"[-+]?\d{1,18}")
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d{1,2})?|[-+]?\d+/0*[1-9]\d*")
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


class Plain(str):
    """A scalar without quotes that YAML readers take for a boolean, a number or nothing: `on`, `1/3`, `~`."""


def is_plain(text: str) -> bool:
    """Whether YAML readers take a text without quotes for something else."""
    return text.lower() in _BOOLEANS or text.lower() in _NULLS or _NUMBER.fullmatch(text) is not None


class Map(dict[str, Any]):
    """A map.  line: where it begins, 0 without a file.  lines: of its keys.  where: file and line."""

    def __init__(self, entries: Mapping[str, Any], lines: Mapping[str, int], line: int = 0, where: str = "") -> None:
        super().__init__(entries)
        self.line, self.lines, self.where = line, lines, where


def shown(value: object) -> str:
    """A value as a message quotes it, in at most 60 characters."""
    if isinstance(value, Mapping):
        return f"a map with {len(value)} keys"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"a list of {len(value)}"
    text = str(value)
    return repr(text if len(text) <= 60 else text[:57] + "...")


def nearest(value: str, options: Iterable[str]) -> str | None:
    """The option most like `value` (case does not count), or None where none has half of its letters right.

    >>> nearest("left_hipp", ["left_knee", "left_hip"])
    'left_hip'
    """
    folded = {option.lower(): option for option in reversed(list(options))}  # of equal ones the first is offered
    close = difflib.get_close_matches(value.lower(), list(folded), n=1, cutoff=0.5)
    return folded[close[0]] if close else None


def did_you_mean(value: str, options: Iterable[str]) -> str:
    """Remedy text: the nearest option, or all of them where there are few."""
    options = list(options)
    option = nearest(value, options)
    if option:
        return f"did you mean {option!r}?"
    return f"use one of {listed(options, 12)}" if options else "remove it"


# ---- what a scalar is read as ---------------------------------------------------------------------------------------
def _refuse(facts: str, remedy: str) -> NoReturn:
    raise Wrong(facts, remedy, continues=True)


def _reader(expected: str, read: Callable[[Any], T | None]) -> Callable[[Any], T]:
    """A validator that refuses what `read` answers None to."""

    def checked(value: Any) -> T:
        result = read(value)
        return result if result is not None else _refuse(f"must be {expected}, not {shown(value)}", f"write {expected}")

    return checked


def read_name(value: object) -> str:
    """A text that no YAML reader takes for anything else: a joint called `on` would be another one for other tools."""
    if isinstance(value, Plain) and value.lower() not in _NULLS:
        _refuse(f"{shown(value)} is a number or a boolean for YAML, not a name", f'quote it: "{value}"')
    if not isinstance(value, str) or isinstance(value, Plain) or not value.strip():
        _refuse(f"must be a name, not {shown(value)}", "give one name")
    return str(value)


def _text(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    return "" if isinstance(value, Plain) and value.lower() in _NULLS else str(value)


def _integer(value: Any) -> int | None:
    if isinstance(value, Plain) and _INTEGER.fullmatch(value):
        return int(value)
    return value if type(value) is int else None


def _fraction(value: Any) -> Fraction | None:
    """1/3 and 0.25 become fractions, in quotes too, as JSON writes them."""
    text = str(value).strip()
    is_number = _NUMBER.fullmatch(text) and len(text) <= _LONGEST_NUMBER and not isinstance(value, bool)
    return Fraction(text) if is_number else None


def _boolean(value: Any) -> bool | None:
    return value if isinstance(value, bool) else _BOOLEANS.get(value.lower()) if isinstance(value, Plain) else None


read_whole = _reader("a whole number of at most 18 digits", _integer)
read_sign = _reader(
    "1 (stays) or -1 (negated)",
    lambda value: int(value) if isinstance(value, (Plain, int)) and str(value) in ("1", "+1", "-1") else None,
)


def _count(value: object) -> int:
    """How many there are."""
    count = read_whole(value)
    return count if 1 <= count <= MOST_ENTRIES else _refuse(f"is {count}", f"give 1 to {MOST_ENTRIES}")


def _reference(value: object) -> str | int:
    """The position in a list of names where it is a number without quotes, else one of the names."""
    position = _integer(value)
    return read_name(value) if position is None else position


def as_list(value: object) -> object:
    """A list as it is, and anything else as a list of one: `flip: 1`, `negate: x`."""
    return value if isinstance(value, (list, tuple)) or value is None else [value]


def not_empty(items: T) -> T:
    """Raises Wrong for an empty list."""
    return items or _refuse("is empty", "list one or more")


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    refuse_twice(names, "name")
    return names


def _entries(value: object) -> int | tuple[str, ...]:
    """How many entries, or their names."""
    if isinstance(value, (list, tuple)):
        return not_empty(_distinct(tuple(map(read_name, value))))
    return _count(value)


def _signs(value: object) -> tuple[int, ...] | dict[str, tuple[int, ...]]:
    """One list of signs, or a list for each of several names; a single sign stands for a list of one."""
    if isinstance(value, Mapping):
        rows = {str(name): row if isinstance(row, (list, tuple)) else [row] for name, row in value.items()}
        return {name: tuple(map(read_sign, row)) for name, row in rows.items()}
    return tuple(map(read_sign, value if isinstance(value, (list, tuple)) else [value]))


Name = Annotated[str, BeforeValidator(read_name)]
Prose = Annotated[str, BeforeValidator(_reader("text in one line", _text))]
Whole = Annotated[int, BeforeValidator(read_whole)]
Count = Annotated[int, BeforeValidator(_count)]
Flag = Annotated[bool, BeforeValidator(_reader("true or false", _boolean))]
Exact = Annotated[Fraction, BeforeValidator(_reader("a number such as 0.25 or 1/3", _fraction))]
Reference = Annotated[str | int, PlainValidator(_reference)]
Names = Annotated[tuple[Name, ...], AfterValidator(not_empty), AfterValidator(_distinct)]
"""One name or more, none of them twice."""
Entries = Annotated[int | tuple[str, ...], PlainValidator(_entries)]
SignRows = Annotated[tuple[int, ...] | dict[str, tuple[int, ...]], PlainValidator(_signs)]
Pairs = tuple[tuple[Reference, Reference], ...]
PairsOrInfer = Annotated[Pairs, WrapValidator(lambda value, read: value if value == "infer" else read(value))]
"""Pairs, or the word `infer`."""


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


def positions_of(
    pairs: Sequence[Sequence[str | int]], names: Sequence[str], noun: str, key: str
) -> tuple[tuple[int, int], ...]:
    """Pairs by name or position as positions. Raises Wrong at the pair below the key."""
    positions: list[tuple[int, int]] = []
    for at, (one, other) in enumerate(pairs):
        positions.append((position_in(names, one, noun, (key, at, 0)), position_in(names, other, noun, (key, at, 1))))
    return tuple(positions)


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
        if not isinstance(data, Map):
            return data
        keys, known = cls.spelled(dict(data)), cls._attributes()
        for key in keys:
            if key not in known:
                remedy = cls.ELSEWHERE.get(key) or did_you_mean(key, known)
                raise Wrong(f"there is no key {key!r} here", remedy, (key,), kind=UnknownKeyError)
        return {**keys, "where": data.where}

    @classmethod
    def spelled(cls, keys: dict[str, Any]) -> dict[str, Any]:
        """The keys as the record has them, of a file that may spell them otherwise."""
        return keys

    @model_validator(mode="after")
    def _checked(self: M) -> M:
        self.checked()
        return self

    def checked(self) -> None:
        """Raises Wrong where the keys contradict each other."""

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


def read_record(model: type[M], data: object, context: object = None) -> M:
    """A map as a record. Raises Wrong, with the first complaint of pydantic in the words of the house."""
    try:
        return model.model_validate(data, context=context)
    except ValidationError as errors:
        error = errors.errors(include_url=False)[0]
    path, value, details = error["loc"], shown(error["input"]), error.get("ctx", {})
    wrong = details.get("error")
    if isinstance(wrong, Wrong):
        raise Wrong(wrong.facts, wrong.remedy, (*path, *wrong.at), kind=wrong.kind, continues=wrong.continues)
    if error["type"] == "missing" and isinstance(path[-1], str):
        raise Wrong(f"`{path[-1]}` is missing", f"add `{path[-1]}: ...`", path[:-1], kind=MissingKeyError)
    expected = details.get("expected") or _EXPECTED.get(error["type"], "a map of `key: value` lines")
    raise Wrong(f"must be {expected}, not {value}", f"write {expected}", path, continues=True)


_EXPECTED = {
    **dict.fromkeys(("tuple_type", "list_type"), "a list, [a, b, ...]"),
    **dict.fromkeys(("too_long", "missing"), "a pair of two, [left, right]"),
}
"""What pydantic misses, by the type of its complaint."""


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
