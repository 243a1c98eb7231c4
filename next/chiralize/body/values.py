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
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Annotated, Any, ClassVar, Literal, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.functional_validators import AfterValidator, BeforeValidator, PlainValidator

from chiralize.errors import MissingKeyError, SpecError, UnknownKeyError, UnknownNameError, WrongValueError
from chiralize.errors.words import when

KeyPath = tuple[str | int, ...]
"""Keys of maps and positions in lists, from the top of a document down."""
MOST_ENTRIES = 1_000_000
"""Entries of one axis: a short line of a file could ask for any number, and each gets a partner and a sign in T."""
_LONGEST_NUMBER = 320
"""Characters of a number: float64 has 309 digits before the point."""
_BOOLEANS = {"yes": True, "no": False, "on": True, "off": False, "true": True, "false": False}
_NULLS = ("", "~", "null")
_INTEGER = re.compile(r"[-+]?\d{1,18}")
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d{1,2})?|[-+]?\d+/\d+")
M = TypeVar("M", bound="Keys")
T = TypeVar("T")
PairList = tuple[tuple[str | int, str | int], ...]


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


# ---- what a scalar is read as ---------------------------------------------------------------------------------------
def _refuse(facts: str, remedy: str) -> NoReturn:
    raise Wrong(facts, remedy, continues=True)


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


Name = Annotated[str, BeforeValidator(read_name)]
Prose = Annotated[str, BeforeValidator(_prose)]
Whole = Annotated[int, BeforeValidator(_whole)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Sign = Annotated[int, BeforeValidator(read_sign)]
Exact = Annotated[Fraction, BeforeValidator(_exact)]
Reference = Annotated[str | int, BeforeValidator(_reference)]
Names = Annotated[tuple[Name, ...], AfterValidator(not_empty), AfterValidator(_distinct)]
"""One name or more, none of them twice."""
Entries = Annotated[int | tuple[str, ...], PlainValidator(_entries)]
SignRows = Annotated[tuple[int, ...] | dict[str, tuple[int, ...]], PlainValidator(_signs)]
Pairs = Annotated[PairList, PlainValidator(_pairs)]
PairsOrInfer = Annotated[Literal["infer"] | PairList, PlainValidator(_pairs_or_infer)]


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
    listed: list[tuple[int, int]] = []
    for at, pair in enumerate(pairs):
        one, other = (position_in(names, end, noun, (key, at, number)) for number, end in enumerate(pair))
        listed.append((one, other))
    return tuple(listed)


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
