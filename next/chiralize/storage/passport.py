"""The record that travels with a converted network: its mirror, how that acts on every weight, figures, and a call.

With it `verify` needs no skeleton, and the certificate needs no search. Nothing in it is believed: both verdicts are
found anew. Every file of ours has its text inside. Representations of axes are long and few, so that the text has each
of them once. Of a network with two weights "out in" over one hidden axis, abbreviated:

    "representations": ["<axis of joints>", "<axis of hidden units>"],
    "hidden": {"first.weight": [1, 1, 0], "second.weight": [1, 0, 1]}     sign, then positions of the axes

Of a call net(poses, mask=None) with poses (2, 17, 2) the text has sizes and kinds, and values that are not random:

    [{"tuple": [{"sizes": [2, 17, 2], "kind": "float32"}]}, {"dict": {"mask": {"value": null}}}]
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, prod
from typing import Any

import torch

from chiralize.body.spec import Spec
from chiralize.errors import ModelFileError, SpecError
from chiralize.symmetry.representation import Representation, TensorRepresentation

FORMAT = 2
"""Of the text; files of other formats are refused."""
_MOST_VALUES = 4096
"""Whole numbers of one tensor that are written: 64 samples of 64 frames; larger tables are data, not an example."""
_MOST_ENTRIES = 2**28
"""Entries of all tensors of a call that is read, 1 GB in float32: a record of a few bytes could ask for any number."""
_DEEPEST = 16
"""Levels of nested arguments: Python's own limit is far above, and no network of the field has more than three."""
_PLAIN = (bool, int, str, type(None))
_KINDS: Mapping[str, torch.dtype] = {
    str(kind).removeprefix("torch."): kind
    for kind in (
        *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128),
        *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool),
    )
}
Call = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True)
class Passport:
    """The record of a conversion.

    spec: the mirror.  method, form: how the network was made.  hidden: representation of every weight and state by
    name.  exchanged: weights that the mirror takes to another one, and that one's name.  entry: the method that is
    called.  figures: gap, rho, residuals and the like as JSON values, for people and tools.  inputs: of the call that
    was verified, as `call_record` writes it.  mirrors: where there are several, the representations under each by its
    name; `hidden` has those of the first.
    """

    spec: Spec
    method: str
    form: str
    hidden: Mapping[str, TensorRepresentation] = field(default_factory=dict)
    exchanged: Mapping[str, str] = field(default_factory=dict)
    entry: str = "forward"
    figures: Mapping[str, Any] = field(default_factory=dict)
    inputs: Any = None
    mirrors: Mapping[str, Mapping[str, TensorRepresentation]] = field(default_factory=dict)

    @property
    def is_average(self) -> bool:
        """Whether both views run through the whole of the original."""
        return self.form == "two-view"

    @property
    def example(self) -> Call | None:
        """(args, kwargs) of a call of the network; None where the record names none. Raises ValueError for no call."""
        return None if self.inputs is None else recorded_call(self.inputs)

    def to_json(self) -> str:
        """The passport as text. Equal axis representations are written once, and referred to by their positions."""
        table: dict[str, int] = {}
        record = {
            "chirality": FORMAT,
            "method": self.method,
            "form": self.form,
            "entry": self.entry,
            "spec": self.spec.to_dict(),
            "hidden": _in_table(self.hidden, table),
            "exchanged": dict(self.exchanged),
            "mirrors": {name: _in_table(rows, table) for name, rows in self.mirrors.items()},
            "figures": _finite(self.figures),
            "inputs": self.inputs,
        }
        return json.dumps({**record, "representations": list(table)}, allow_nan=False)

    @staticmethod
    def from_json(text: str, where: str) -> Passport:
        """The inverse of `to_json`. Raises ModelFileError for text that is no passport."""
        try:
            return _from_table(json.loads(text))
        except (SpecError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
            fault = f"it has no {error}" if isinstance(error, KeyError) else error
            remedy = "convert the network again, or give --skeleton"
            raise ModelFileError(where, f"the record of its conversion cannot be read ({fault})", remedy) from error


def _from_table(record: Any) -> Passport:
    """The passport of a JSON table, which may be anybody's: every entry gets the type that it should have.

    Raises ValueError, and KeyError and the like where entries are missing.
    """
    if not isinstance(record, dict) or record["chirality"] != FORMAT:
        raise ValueError(f"its format is not {FORMAT}")
    axes = list(map(Representation.parse, record["representations"]))
    spec = Spec.from_dict(record["spec"])
    mirrors = {str(name): _of_table(rows, axes) for name, rows in record["mirrors"].items()}
    if mirrors and set(mirrors) != set(spec.named()):
        raise ValueError("mirrors: other names than those of the specification")
    passport = Passport(
        spec,
        str(record["method"]),
        str(record["form"]),
        _of_table(record["hidden"], axes),
        {str(name): str(other) for name, other in record["exchanged"].items()},
        str(record["entry"]),
        dict(record["figures"].items()),
        record["inputs"],
        mirrors,
    )
    _ = passport.example  # raises now if it is no example
    return passport


def _in_table(representations: Mapping[str, TensorRepresentation], table: dict[str, int]) -> dict[str, list[int]]:
    """Representations as signs and positions in a table of axes, which grows."""
    rows: dict[str, list[int]] = {}
    for name, representation in representations.items():
        # The table keeps the order of its first entries: the position of an axis is how many were there before it.
        positions = [table.setdefault(str(axis), len(table)) for axis in representation.axes]
        rows[name] = [representation.sign, *positions]
    return rows


def _of_table(rows: Mapping[str, Any], axes: Sequence[Representation]) -> dict[str, TensorRepresentation]:
    """The inverse of `_in_table`. Raises ValueError."""
    hidden: dict[str, TensorRepresentation] = {}
    for name, (sign, *positions) in rows.items():  # a row that is none raises TypeError or ValueError here
        if sign not in (1, -1):
            raise ValueError(f"hidden: {name!r} has a sign that is neither 1 nor -1")
        hidden[str(name)] = TensorRepresentation(tuple(axes[position] for position in positions), sign)
    return hidden


def _finite(value: Any) -> Any:
    """JSON values, in which numbers that are not finite are texts."""
    if isinstance(value, Mapping):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return list(map(_finite, value))
    return str(value) if isinstance(value, float) and not isfinite(value) else value


# ---- a call ----------------------------------------------------------------------------------------------------
def call_record(args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any] | None:
    """Arguments as JSON values; None for those that hold what JSON does not (objects, large tables of numbers)."""
    try:
        return [_record(tuple(args)), _record(dict(kwargs))]
    except TypeError:
        return None


def recorded_call(record: Any) -> Call:
    """The inverse of `call_record`, random numbers in place of floating ones. Raises ValueError for what is none."""
    # First how much memory it asks for, then the values: the text may be anybody's.
    if not isinstance(record, list) or len(record) != 2:
        raise ValueError("inputs: it is no pair")
    entries = sum(_entries(part, 0) for part in record)
    if entries > _MOST_ENTRIES:
        raise ValueError(f"inputs: tensors of {entries:,} entries together")
    generator = torch.Generator().manual_seed(0)
    args, kwargs = (_value(part, generator, 0) for part in record)
    if not isinstance(args, tuple) or not isinstance(kwargs, dict):
        raise ValueError("inputs: it is no call")
    return args, kwargs


def _record(value: Any) -> Any:
    """One value. Raises TypeError for what cannot be written."""
    # Exact types: a named tuple would come back as a plain one, which some networks refuse.
    if type(value) in (torch.Tensor, torch.nn.Parameter):
        return _tensor_record(value)
    if type(value) in (tuple, list):
        return {type(value).__name__: [_record(part) for part in value]}
    # In a table of its own, so that an argument called "sizes" or "value" is not taken for another kind of record.
    if type(value) is dict and all(type(key) is str for key in value):
        return {"dict": {key: _record(part) for key, part in value.items()}}
    if type(value) in _PLAIN or (type(value) is float and isfinite(value)):
        return {"value": value}
    raise TypeError(type(value).__name__)


def _tensor_record(tensor: torch.Tensor) -> dict[str, Any]:
    """A tensor's sizes and kind, and its values where they are no random floats. Raises TypeError."""
    kind = str(tensor.dtype).removeprefix("torch.")
    record: dict[str, Any] = {"sizes": list(tensor.shape), "kind": kind}
    if kind not in _KINDS:
        raise TypeError(kind)
    if tensor.is_floating_point() or tensor.is_complex():
        if tensor.numel() and not bool(tensor.any()):
            record["values"] = 0  # a state at rest
        return record
    if tensor.numel() > _MOST_VALUES:
        raise TypeError("a large table of whole numbers")
    record["values"] = tensor.reshape(-1).tolist()
    return record


def _entries(record: Any, depth: int) -> int:
    """Entries of all tensors in a record, before any of them is made. Raises ValueError for sizes that are none.

    An axis without entries counts as one: its strides, too, have to be numbers that torch can hold.
    """
    if not isinstance(record, dict) or depth > _DEEPEST:
        return 0  # `_value` refuses it
    if "sizes" in record:
        return prod(max(size, 1) for size in _sizes(record))
    return sum(_entries(part, depth + 1) for part in _parts(record))


def _parts(record: Mapping[str, Any]) -> Iterable[Any]:
    """The records within that of a tuple, a list or a table."""
    for kind in ("tuple", "list"):
        if isinstance(record.get(kind), list):
            return record[kind]
    table = record.get("dict")
    return table.values() if isinstance(table, dict) else ()


def _sizes(record: Mapping[str, Any]) -> list[int]:
    """The sizes of a tensor, True being none. Raises ValueError."""
    sizes = record["sizes"]
    if not isinstance(sizes, list) or len(sizes) > _DEEPEST or any(type(size) is not int or size < 0 for size in sizes):
        raise ValueError("inputs: the sizes of a tensor are none")
    return sizes


def _value(record: Any, generator: torch.Generator, depth: int) -> Any:
    """The inverse of `_record`. Raises ValueError."""
    if not isinstance(record, dict) or depth > _DEEPEST:
        raise ValueError("inputs: an entry is no table, or lies too deep")
    # The kind of a record is the key that it has.
    if "sizes" in record:
        return _tensor(record, generator)
    if isinstance(record.get("tuple"), list):
        return tuple(_value(part, generator, depth + 1) for part in record["tuple"])
    if isinstance(record.get("list"), list):
        return [_value(part, generator, depth + 1) for part in record["list"]]
    if isinstance(record.get("dict"), dict):
        return {str(key): _value(part, generator, depth + 1) for key, part in record["dict"].items()}
    if isinstance(record.get("value", ()), (*_PLAIN, float)):
        return record["value"]
    raise ValueError("inputs: an entry is nothing that a call can hold")


def _tensor(record: Mapping[str, Any], generator: torch.Generator) -> torch.Tensor:
    """A tensor: of the values that are written, of zeros, or N(0, 1). Raises ValueError for what is none."""
    sizes, kind = _sizes(record), _KINDS.get(str(record.get("kind")))
    if kind is None:
        raise ValueError("inputs: the kind of a tensor is none")
    # values: all of them in one row, 0 for zeros; nothing for random numbers.
    values = record.get("values")
    if isinstance(values, list):
        try:
            return torch.tensor(values, dtype=kind).reshape(sizes)
        except (RuntimeError, TypeError, ValueError, OverflowError) as error:
            raise ValueError("inputs: the values of a tensor do not fit it") from error
    if values == 0 or not (kind.is_floating_point or kind.is_complex):
        return torch.zeros(sizes, dtype=kind)
    return torch.randn(sizes, generator=generator, dtype=torch.float64).to(kind)
