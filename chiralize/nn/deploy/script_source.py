"""The text of a TorchScript method that calls both views of a network.

TorchScript has no pytrees: how arguments and results are nested is said by the types of the network's own `forward`,
and what is in dictionaries and lists by one call. For an argument `pair: Tuple[Tensor, int]` the one view gets
`(pair[0], pair[1],)` and the other `(self.mirror_inputs[0](pair[0]), pair[1],)`. Lists and dictionaries are written
out entry by entry, so a method also asserts that they are as long as in the conversion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from chiralize.errors import ExportError
from chiralize.nn.two_view import is_real

INSTEAD = "write a .pt2, or use --method match or reduce, which change the weights alone"
_WHERE = "TorchScript"
_PLAIN = frozenset({"IntType", "FloatType", "BoolType", "StringType", "NoneType", "DeviceObjType", "NumberType"})


class Lines:
    """The body of a method: statements that give values names."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._count = 0

    def hold(self, expression: str) -> str:
        """The name that an expression's value gets."""
        name = f"value_{self._count}"
        self._count += 1
        self._lines.append(f"    {name} = {expression}")
        return name

    def require(self, condition: str, message: str) -> None:
        """A statement that stops the call unless the condition holds."""
        self._lines.append(f"    assert {condition}, {message!r}")

    def do(self, statement: str) -> None:
        """Any other statement."""
        self._lines.append(f"    {statement}")

    def text(self) -> str:
        """All statements."""
        return "\n".join(self._lines or ["    pass"])


def is_plain(kind: Any) -> bool:
    """Whether values of a type hold no tensor, so that both views get the same."""
    if kind.kind() in ("OptionalType", "ListType"):
        return is_plain(kind.getElementType())
    if kind.kind() == "TupleType":
        # A named tuple is a class of the user's own, which cannot be put together again here.
        return "__torch__" not in kind.annotation_str and all(map(is_plain, kind.elements()))
    return kind.kind() in _PLAIN


def signature(name: str, schema: Any) -> str:
    """The first line of a method with the arguments of another one. Raises ExportError for defaults without a text."""
    arguments = ["self"]
    for argument in schema.arguments[1:]:
        if argument.has_default_value():
            default = f"={_literal(argument.default_value)}"
        else:
            default = ""
        arguments.append(f"{argument.name}: {annotation(argument.type)}{default}")
    (returned,) = schema.returns
    return f"def {name}({', '.join(arguments)}) -> {annotation(returned.type)}:"


def annotation(kind: Any) -> str:
    """A type as text. Raises ExportError for classes of the user's own, named tuples among them."""
    text = kind.annotation_str
    if "__torch__" in text:
        facts = f"{text} is a class of its own, which a module around it cannot name"
        raise ExportError(_WHERE, facts, INSTEAD)
    return text


def _literal(value: Any) -> str:
    """A default value as text. Raises ExportError for one without a text."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return repr(value)
    raise ExportError(_WHERE, f"an argument is {value!r} by default, which has no text", INSTEAD)


def tensors_by_path(value: Any) -> Mapping[str, int]:
    """The number of every tensor in a nested value, by its path."""
    leaves, _ = pytree.tree_flatten_with_path(value)
    # Paths as Python writes them: "[0][1]" is the second argument by position, "[1]['h']" that named h.
    paths = [pytree.keystr(path) for path, leaf in leaves if isinstance(leaf, Tensor)]
    return {path: number for number, path in enumerate(paths)}


class Inputs:
    """Splits arguments into those of the one view and those of the other.

    numbers: of the tensors among the arguments, by path.  states: by number, whether a tensor is a state, of which
    each view gets its half of the last axis.
    """

    def __init__(self, lines: Lines, numbers: Mapping[str, int], states: Sequence[bool]) -> None:
        self.lines, self.numbers, self.states = lines, numbers, states

    def split(self, kind: Any, value: Any, name: str, path: str) -> tuple[str, str]:
        """What either view gets of an argument. Raises ExportError for a type that cannot be taken apart.

        kind: the argument's type.  value: in one call.  name: an expression for it.  path: where it is in the call.
        """
        form = kind.kind()
        # Kinds in this order: what may be missing, a tensor, what holds none, and three ways to nest.
        if form == "OptionalType":
            return self._optional(kind, value, name, path)
        if form == "TensorType":
            return self._tensor(name, path)
        if is_plain(kind):
            return name, name
        if form == "TupleType":
            # The two views of each part, put together to two tuples; likewise lists and dictionaries.
            parts = [
                self.split(part, value[at], f"{name}[{at}]", f"{path}[{at}]") for at, part in enumerate(kind.elements())
            ]
            return _tuple([first for first, _ in parts]), _tuple([second for _, second in parts])
        if form == "ListType":
            self.lines.require(f"len({name}) == {len(value)}", f"{path}: {len(value)} entries, as in the conversion")
            element = kind.getElementType()
            parts = [self.split(element, entry, f"{name}[{at}]", f"{path}[{at}]") for at, entry in enumerate(value)]
            return _list([first for first, _ in parts]), _list([second for _, second in parts])
        if form == "DictType":
            self.lines.require(f"len({name}) == {len(value)}", f"{path}: the keys {list(value)}, as in the conversion")
            element = kind.getValueType()
            pairs = {
                key: self.split(element, entry, f"{name}[{key!r}]", f"{path}[{key!r}]") for key, entry in value.items()
            }
            return _dict({key: pair[0] for key, pair in pairs.items()}), _dict(
                {key: pair[1] for key, pair in pairs.items()}
            )
        raise ExportError(_WHERE, f"arguments of the type {kind.annotation_str} cannot be mirrored there", INSTEAD)

    def _optional(self, kind: Any, value: Any, name: str, path: str) -> tuple[str, str]:
        """An argument that may be missing: it is there if it was there in the conversion."""
        if is_plain(kind):
            return name, name
        # A name of its own, since TorchScript refines Optional[T] to T only for names that an assert has looked at.
        held = self.lines.hold(name)
        if value is None:
            self.lines.require(f"{held} is None", f"{path} was None in the conversion")
            return "None", "None"
        self.lines.require(f"{held} is not None", f"{path} was given in the conversion")
        return self.split(kind.getElementType(), value, held, path)

    def _tensor(self, name: str, path: str) -> tuple[str, str]:
        """Of a tensor: x and T x; of a state, which lies side by side for both views, its two halves."""
        number = self.numbers[path]
        if self.states[number]:
            halves = self.lines.hold(f"torch.chunk({name}, 2, -1)")
            return f"{halves}[0]", f"{halves}[1]"
        return name, f"self.mirror_inputs[{number}]({name})"


class Outputs:
    """Puts the answers of both views together.

    numbers: of the tensors among the results, by path.  states: by number, whether a tensor is a state.
    finer: the type in which whole numbers are averaged.  same: by number, whether both views answer the same.
    """

    def __init__(
        self,
        lines: Lines,
        numbers: Mapping[str, int],
        states: Sequence[bool],
        finer: torch.dtype = torch.float32,
        same: Sequence[bool] = (),
    ) -> None:
        self.lines, self.numbers, self.states, self.finer = lines, numbers, states, finer
        self.same = same or [False] * len(states)

    def join(self, kind: Any, value: Any, ours: str, theirs: str, path: str) -> str:
        """The average of two answers. Raises ExportError for a type that cannot be taken apart.

        kind: the answer's type.  value: in one call.  ours, theirs: expressions for what the views answer.
        """
        form = kind.kind()
        if form == "OptionalType" and not is_plain(kind):
            return self._optional(kind, value, ours, theirs, path)
        if form == "TensorType":
            number = self.numbers[path]
            if self.states[number]:
                return f"torch.cat([{ours}, {theirs}], -1)"
            if self.same[number]:
                return ours
            # Bytes wrap where they are added, and truth values saturate.
            cast = "" if is_real(value) else f".to({self.finer})"
            return f"0.5 * ({ours}{cast} + self.mirror_outputs[{number}]({theirs}{cast}))"
        if is_plain(kind):
            return ours
        # Of each part, the average of both views; a named tuple is refused.
        if form == "TupleType":
            annotation(kind)
            return _tuple(
                [
                    self.join(part, value[at], f"{ours}[{at}]", f"{theirs}[{at}]", f"{path}[{at}]")
                    for at, part in enumerate(kind.elements())
                ]
            )
        if form == "ListType":
            self.lines.require(f"len({ours}) == {len(value)}", f"{path}: {len(value)} results, as in the conversion")
            element = kind.getElementType()
            return _list(
                [
                    self.join(element, entry, f"{ours}[{at}]", f"{theirs}[{at}]", f"{path}[{at}]")
                    for at, entry in enumerate(value)
                ]
            )
        if form == "DictType":
            self.lines.require(f"len({ours}) == {len(value)}", f"{path}: the keys {list(value)}, as in the conversion")
            element = kind.getValueType()
            return _dict(
                {
                    key: self.join(element, entry, f"{ours}[{key!r}]", f"{theirs}[{key!r}]", f"{path}[{key!r}]")
                    for key, entry in value.items()
                }
            )
        raise ExportError(_WHERE, f"results of the type {kind.annotation_str} cannot be averaged there", INSTEAD)

    def _optional(self, kind: Any, value: Any, ours: str, theirs: str, path: str) -> str:
        """A result that may be missing: in both views or in none, as in the conversion."""
        one, other = self.lines.hold(ours), self.lines.hold(theirs)
        if value is None:
            self.lines.require(f"{one} is None", f"{path} was None in the conversion")
            return "None"
        for name in (one, other):
            self.lines.require(f"{name} is not None", f"{path} was there in the conversion")
        return self.join(kind.getElementType(), value, one, other, path)


def _tuple(parts: Sequence[str]) -> str:
    """The expression of a tuple: `(a, b,)`; the last comma makes one of a single part, too."""
    if parts:
        return f"({', '.join(parts)},)"
    return "()"


def _list(parts: Sequence[str]) -> str:
    """The expression of a list: `[a, b]`."""
    return f"[{', '.join(parts)}]"


def _dict(parts: Mapping[Any, str]) -> str:
    """The expression of a dictionary: `{'h': a}`.  parts: the expressions by key."""
    return "{" + ", ".join(f"{key!r}: {part}" for key, part in parts.items()) + "}"
