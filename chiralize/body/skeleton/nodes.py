"""A parsed document whose every value knows its file and line, and the typed readings of such a value.

Reading is parsing: `node.name("joint")` gives a str or raises an error that names file, line, value and the nearest
right one. Numbers are read exactly: `1/3` and `0.25` become fractions.

`yaml_source` makes Nodes of YAML, `from_python` of dictionaries, the importers of Python and JSON files; `schema`,
`pairing` and `tensors/` read them. A scalar stays the text that the user wrote until somebody reads it as something,
so that `on` can be a name in quotes, a boolean, or a mistake that is named as such. Two lines of a file,

    name: dog                Node(line 1, entries=((name, dog), (pairs, ...)))
    pairs: [[l_ear, r_ear]]  where pairs has items, and each of its items has items
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Concatenate, NoReturn, ParamSpec, TypeVar

from chiralize.errors import UnknownKeyError, UnknownNameError, WrongValueError
from chiralize.errors.words import when

_BOOLEANS = {"yes": True, "no": False, "on": True, "off": False, "true": True, "false": False}
_NULLS = ("", "~", "null")
_INTEGER = re.compile(r"[-+]?\d{1,18}")
_DIGITS = re.compile(r"[-+]?\d+")
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d{1,2})?|[-+]?\d+/\d+")
_NUMBER_LIMIT = 320
"""Characters of a number, so that nobody has to compute with a fraction of a million digits."""
_DEPTH_LIMIT = 100
P = ParamSpec("P")
T = TypeVar("T")


def nearest(value: str, options: Iterable[str], alike: float = 0.5) -> str | None:
    """The option most like `value` (case does not count), or None where nothing is like it.

    alike: how like it has to be, from 0 to 1 (`difflib.SequenceMatcher.ratio`).

    >>> nearest("left_hipp", ["left_knee", "left_hip"])
    'left_hip'
    """
    folded = {option.lower(): option for option in reversed(list(options))}  # of equal ones the first is offered
    close = difflib.get_close_matches(value.lower(), list(folded), n=1, cutoff=alike)
    if not close:
        return None
    return folded[close[0]]


def did_you_mean(value: str, options: Iterable[str]) -> str:
    """Remedy text: the nearest option, or all of them where there are few."""
    options = list(options)
    option = nearest(value, options)
    if option:
        return f"did you mean {option!r}?"
    if not options:
        return "remove it"
    return "use one of " + ", ".join(options[:12]) + when(len(options) > 12, ", ...")


@dataclass(frozen=True)
class Node:
    """One value of a document: a scalar (`text`), a list (`items`) or a map (`entries`).

    source: the file as the user wrote it.  line: 1-based, 0 where the value came from Python.
    quoted: the scalar stood in quotes, so it is text whatever it looks like.
    """

    source: str
    line: int
    text: str | None = None
    quoted: bool = False
    items: tuple[Node, ...] | None = None
    entries: tuple[tuple[Node, Node], ...] | None = None

    @property
    def where(self) -> str:
        """File and line, as messages begin; the file alone where the value has no line."""
        if self.line:
            return f"{self.source}:{self.line}"
        return self.source

    @property
    def is_null(self) -> bool:
        """Whether YAML reads it as no value: nothing, `~` or `null`, not in quotes."""
        return self.text is not None and not self.quoted and self.text.lower() in _NULLS

    @property
    def is_boolean(self) -> bool:
        """Whether some YAML reader takes it for true or false: `yes`, `off`, ..., not in quotes."""
        return self.text is not None and not self.quoted and self.text.lower() in _BOOLEANS

    @property
    def is_integer(self) -> bool:
        """Whether it is a whole number of at most 18 digits."""
        return self.text is not None and not self.quoted and _INTEGER.fullmatch(self.text) is not None

    @property
    def is_number(self) -> bool:
        """Whether it is a whole number, a decimal or a fraction such as 1/3, not in quotes."""
        return self.text is not None and not self.quoted and _NUMBER.fullmatch(self.text) is not None

    @property
    def is_text(self) -> bool:
        """Whether it is a scalar that nobody takes for a boolean, null or number."""
        return self.text is not None and not (self.is_null or self.is_boolean or self.is_number)

    def show(self) -> str:
        """The value as a message quotes it."""
        if self.text is not None:
            return repr(_short(self.text))
        if self.items is not None:
            return f"a list of {len(self.items)}"
        return f"a map with {len(self.entries or ())} keys"

    def wrong(self, facts: str, remedy: str) -> NoReturn:
        """Raise WrongValueError at this value's file and line."""
        raise WrongValueError(self.where, facts, remedy)

    # ---- typed readings -----------------------------------------------------------------------------------
    def mapping(self, what: str, keys: Sequence[str] | None = None) -> dict[str, Node]:
        """The entries by key.  keys: the keys allowed, None for any. Raises UnknownKeyError on another."""
        if self.entries is None:
            self.wrong(f"{what} must be a map (key: value), not {self.show()}", "write it as `key: value` lines")
        fields: dict[str, Node] = {}
        for key, value in self.entries:
            name = key.text or ""
            if keys is not None and name not in keys:
                raise UnknownKeyError(key.where, f"{what} has no key {name!r}", did_you_mean(name, keys))
            fields[name] = value
        return fields

    def named_entries(self, what: str) -> list[tuple[Node, Node]]:
        """The (key, value) nodes, for maps whose keys are names."""
        if self.entries is None:
            self.wrong(f"{what} must be a map (name: value), not {self.show()}", "write it as `name: value`")
        return list(self.entries)

    def sequence(self, what: str, length: int | None = None) -> tuple[Node, ...]:
        """The values of a list.  length: how many there must be. Raises WrongValueError."""
        if self.items is None:
            self.wrong(f"{what} must be a list, not {self.show()}", "write it as [a, b, ...]")
        if length is not None and len(self.items) != length:
            self.wrong(f"{what} must have {length} entries, not {len(self.items)}", f"give {length} entries")
        return self.items

    def name(self, what: str) -> str:
        """A non-empty text. Raises WrongValueError on what other YAML readers take for a boolean, null or number.

        A joint called `on` or `1` without quotes would be another one for other tools; quoted ones are names.
        what: the value in words, for the message, here as in all readings.
        """
        if self.text is None:
            self.wrong(f"{what} must be a name, not {self.show()}", "give one name")
        if self.is_boolean:
            self.wrong(f"{what} {self.text} is read as a boolean by YAML", f'quote it: "{self.text}"')
        if self.is_number:
            text = _short(self.text)
            self.wrong(f"{what} {text} is a number, not a name", f'quote it: "{text}"')
        if self.is_null or not self.text.strip():
            self.wrong(f"{what} is empty", "give a name")
        return self._encodable(what)

    def prose(self, what: str) -> str:
        """Any text, numbers and booleans as written; empty for null."""
        if self.text is None:
            self.wrong(f"{what} must be text, not {self.show()}", "write one line of text, in quotes if need be")
        if self.is_null:
            return ""
        return self._encodable(what)

    def _encodable(self, what: str) -> str:
        """The text. Raises WrongValueError on half a surrogate pair, which JSON can hold and UTF-8 cannot write."""
        text = self.text or ""
        try:
            text.encode()
        except UnicodeEncodeError as error:
            self.wrong(
                f"{what} {self.show()} holds half a character ({text[error.start]!a}), which UTF-8 cannot write",
                "write whole characters, or plain letters",
            )
        return text

    def choice(self, what: str, options: Sequence[str]) -> str:
        """A text that is one of `options`. Raises WrongValueError."""
        text = self.prose(what)
        if text not in options:
            self.wrong(f"{what} is {text!r}, not one of {', '.join(options)}", did_you_mean(text, options))
        return text

    def boolean(self, what: str) -> bool:
        """True or false, in any of YAML's spellings. Raises WrongValueError."""
        if not self.is_boolean:
            self.wrong(f"{what} must be true or false, not {self.show()}", "write true or false")
        return _BOOLEANS[(self.text or "").lower()]

    def integer(self, what: str) -> int:
        """A whole number of at most 18 digits. Raises WrongValueError."""
        if not self.is_integer:
            self._refuse_digits(what)
            self.wrong(f"{what} must be a whole number, not {self.show()}", "write digits only")
        return int(self.text or "0")

    def _refuse_digits(self, what: str) -> None:
        """Refuse a whole number of more digits than `is_integer` takes."""
        if self.text is not None and not self.quoted and _DIGITS.fullmatch(self.text) and not self.is_integer:
            self.wrong(
                f"{what} {self.show()} is a number of {len(self.text.lstrip('+-'))} digits, more than 18",
                "write a smaller number",
            )

    def fraction(self, what: str) -> Fraction:
        """An exact number; `1/3` is allowed (in quotes too)."""
        text = (self.text or "").strip()
        if self.text is None or not _NUMBER.fullmatch(text):
            self.wrong(f"{what} must be a number such as 0.25 or 1/3, not {self.show()}", "write a number")
        # The pattern allows any number of digits before the exponent.
        if len(text) > _NUMBER_LIMIT:
            self.wrong(f"{what} {self.show()} has {len(text)} characters, more than {_NUMBER_LIMIT}", "round it")
        try:
            return Fraction(text)
        except ZeroDivisionError:
            self.wrong(f"{what} {text} divides by zero", "write a number")

    def sign(self, what: str) -> int:
        """1 or -1. Raises WrongValueError."""
        if not self.is_integer or int(self.text or "0") not in (-1, 1):
            self.wrong(f"{what} must be 1 or -1, not {self.show()}", "write 1 (kept) or -1 (negated)")
        return int(self.text or "1")

    def index_in(self, names: Sequence[str], what: str) -> int:
        """Position of a name, or an index within the list. Raises UnknownNameError, WrongValueError."""
        # A bare number is an index. Quoted it is a name, since `is_integer` looks at the quotes.
        if self.is_integer:
            index = int(self.text or "0")
            if not 0 <= index < len(names):
                self.wrong(f"{what} index {index} lies outside 0..{len(names) - 1}", "count from 0")
            return index
        self._refuse_digits(f"{what} index")  # too long for `is_integer`: a wrong number, and not an unknown name
        name = self.name(what)
        try:
            return names.index(name)
        except ValueError:
            raise UnknownNameError(self.where, f"no {what} is called {name!r}", did_you_mean(name, names)) from None


def texts(nodes: Sequence[Node]) -> list[str]:
    """The text of every node, empty for lists and maps."""
    return [node.text or "" for node in nodes]


def read_optional(
    fields: Mapping[str, Node], key: str, read: Callable[Concatenate[Node, P], T], *args: P.args, **kwargs: P.kwargs
) -> T | None:
    """The value of a key as `read` reads it, or None where the file does not give the key.

    >>> fields = {"name": Node("body.yaml", 1, text="dog")}
    >>> read_optional(fields, "name", Node.name, "name"), read_optional(fields, "note", Node.prose, "note")
    ('dog', None)
    """
    if key not in fields:
        return None
    return read(fields[key], *args, **kwargs)


def only_key(fields: Mapping[str, Node], keys: Sequence[str], what: str) -> str | None:
    """The one of `keys` that a file gives, None where it gives none. Raises UnknownKeyError where it gives two.

    what: that all of them give, for the message.
    """
    used = [key for key in keys if key in fields]
    if len(used) > 1:
        first, second = fields[used[0]], fields[used[1]]
        facts = f"{used[1]!r} and {used[0]!r} (line {first.line}) both give {what}"
        raise UnknownKeyError(second.where, facts, "keep one of them")
    if not used:
        return None
    return used[0]


def _short(text: str) -> str:
    """A text of at most 60 characters, for a message."""
    if len(text) <= 60:
        return text
    return text[:57] + "..."


def from_python(value: object, source: str, depth: int = 0) -> Node:
    """The Node of a JSON-like Python value, so that one reader serves files and dictionaries alike.

    Raises WrongValueError on values nested without end and on numbers too long to write.
    """
    # x = []; x.append(x) would be read for ever.
    if depth > _DEPTH_LIMIT:
        facts = f"nested deeper than {_DEPTH_LIMIT}, or a value that holds itself"
        raise WrongValueError(source, facts, "give plain, flat values")
    if isinstance(value, Mapping):
        entries = tuple(
            (Node(source, 0, text=_text(key, source), quoted=True), from_python(item, source, depth + 1))
            for key, item in value.items()
        )
        return Node(source, 0, entries=entries)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return Node(source, 0, items=tuple(from_python(item, source, depth + 1) for item in value))
    if value is None:
        return Node(source, 0, text="null")
    if isinstance(value, bool):
        return Node(source, 0, text="true" if value else "false")
    if isinstance(value, str):
        return Node(source, 0, text=value, quoted=True)  # in Python "on" is a text, and no boolean
    return Node(source, 0, text=_text(value, source))


def _text(value: object, source: str) -> str:
    """A value as text. Raises WrongValueError where Python refuses to write it."""
    try:
        return str(value)
    except ValueError:
        raise WrongValueError(source, "a number of thousands of digits", "write a smaller number") from None
    except RecursionError:
        raise WrongValueError(source, "a value that holds itself", "give plain, flat values") from None
