"""Which arguments had a class when these weights were trained? Whole numbers, and lists of them, from the sizes.

A checkpoint seldom says with which arguments its network was built, but names and shapes of its weights depend on them.
The class is built on trial on torch's meta device, where a tensor has a size and no numbers, and arguments count only
where the network then has *all* of the file's weights, by name and shape. For `Lifter(joints, width, layers=2)` and a
file with first.weight (256, 34) and four layers:

    start     joints=2, width=2              it can be built; distance 9, say, from the file
    descend   width=256 is nearer: 4; then layers=4, joints=17: distance 0

What weights do not tell (how many heads share the channels) is no reason to refuse: what was chosen is printed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from itertools import chain
from time import process_time
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from chiralize.errors import FactoryError, Finding
from chiralize.errors.words import listed
from chiralize.graph.devices import Staying
from chiralize.graph.quiet import quiet
from chiralize.storage.factory import (
    OBJECTS,
    MissingSettingError,
    importable,
    layers_of,
    nested,
    parameters_of,
    without_value,
)
from chiralize.storage.tables import Shapes, Table, nearest, shapes_of

_SECONDS = 20.0
"""Processor time of the search: a build on the meta device takes 2 to 20 ms, and public classes need 300 to 2,000."""
_SWEEPS = 6
"""Rounds over all arguments: the eight public classes with the most arguments needed at most four."""
_STARTS = 40
"""Arguments that an object is asked for until the class can be built: MixSTE asks for 11."""
_MOST = 24
"""Sizes of the file that are tried, the commonest first: the width of a network stands on most of its weights."""
_LENGTHS = range(1, 9)
"""Lengths of lists that are tried, as one entry per layer has it."""
_OTHER_RANK = 4
"""How many differing sizes a weight counts for that is missing, left over, or of another rank: most have two."""
_FAILED = float("inf")
_DRAWS = tuple(getattr(torch.Tensor, f"{name}_") for name in ("uniform", "normal", "exponential", "bernoulli"))


class _WithoutDraws(TorchFunctionMode):
    """Random numbers are not drawn: they cost most where numbers are needed, and no size depends on them."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0] if func in _DRAWS and args else func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class _Candidates:
    """Values to try for an argument: whole numbers, and lists of those that may be sizes of kernels."""

    numbers: tuple[int, ...]
    lists: tuple[list[int], ...]

    @staticmethod
    def of(tables: Sequence[Table], saved: Mapping[str, Any]) -> _Candidates:
        """Numbers that the file saved, its sizes and their parts, counts of its layers, and small numbers."""
        tensors = list(chain.from_iterable(table.tensors.items() for table in tables))
        sizes = Counter(chain.from_iterable(tensor.shape for _, tensor in tensors))
        common = [size for size, _ in sizes.most_common(_MOST)]
        counts = _layer_counts([name for name, _ in tensors])
        told_by_file = [value for value in saved.values() if type(value) is int]
        # 34 and 51 are 17 joints times 2 or 3; 256 may be 4 heads of 64, or twice an argument of 128.
        parts = [size // part for part in (2, 3, 4) for size in common if size % part == 0]
        numbers = [*told_by_file, *common, *counts, *range(1, 17), *parts]
        kernels = [size for size in sorted(sizes) if 1 < size <= 9][:4] or [1]
        lists = [[size] * count for count in _LENGTHS for size in dict.fromkeys([*kernels, *common[:4]])]
        return _Candidates(tuple(dict.fromkeys(number for number in numbers if number > 0)), tuple(lists))

    def near(self, value: Any, has_default: bool) -> list[Any]:
        """Values of the kind that an argument has now: of [3, 3] other lengths, and lists with one entry changed."""
        if isinstance(value, bool) or value is None or isinstance(value, (float, str)):
            return []
        if isinstance(value, int):
            return [*self.numbers, *(() if has_default else self.lists)]
        changed = [[*value[:at], size, *value[at + 1 :]] for at in range(len(value)) for size in self.numbers]
        return [*(each for each in self.lists if len(each) != len(value)), *changed]


def _layer_counts(names: Sequence[str]) -> list[int]:
    """How many layers are numbered under a name, 4 of `layers.0.weight` to `layers.3.weight`; and one more or less."""
    last: dict[str, int] = {}
    for name in names:
        parts = name.split(".")
        for depth, part in enumerate(parts):
            if part.isdigit():
                head = ".".join(parts[:depth])
                last[head] = max(last.get(head, 0), int(part))
    counts = Counter(number + 1 for number in last.values())
    return [count + more for count, _ in counts.most_common(8) for more in (0, 1, -1)]


class _Trials:
    """Builds of a class, each compared with the weights of a file. wanted: what the last one asked an object for."""

    def __init__(self, build: Callable[..., Any], fixed: Mapping[str, Any], tables: Sequence[Table]) -> None:
        self._build, self._fixed, self._tables = build, fixed, tables
        self._ways = [shapes_of(table.under(prefix)) for table in tables for prefix in _prefixes(table)]
        self._known: dict[str, float] = {}
        self._device = "meta"
        self._end = process_time() + _SECONDS
        self.wanted = ""

    @property
    def is_over(self) -> bool:
        """Whether the time is used up."""
        return process_time() > self._end

    def distance(self, values: Mapping[str, Any]) -> float:
        """How far the weights of a build are from those of the file: 0 where all names and shapes are the same."""
        key = repr(sorted(values.items()))
        if key not in self._known:
            if self.is_over:
                return _FAILED
            shapes = self._shapes({**self._fixed, **values})
            self._known[key] = _FAILED if shapes is None else min(_apart(shapes, way) for way in self._ways)
        return self._known[key]

    def _shapes(self, values: Mapping[str, Any]) -> Shapes | None:
        """Shapes of the weights of a build, by name; None where it failed."""
        self.wanted = ""
        try:
            with quiet(), redirect_stdout(StringIO()), Staying(), torch.device(self._device), _WithoutDraws():
                return shapes_of(self._build(**nested(values)).state_dict())
        except MissingSettingError as error:
            self.wanted = error.wanted
        except NotImplementedError:  # numbers are asked of a meta tensor: the class computes while it is built
            if self._device == "meta":
                self._device = "cpu"
                return self._shapes(values)
        except (Exception, SystemExit) as error:  # the user's own code
            if self._device == "meta" and "meta" in str(error):  # torch says `RuntimeError` for `.item()` there
                self._device = "cpu"
                return self._shapes(values)
        return None


def _prefixes(table: Table) -> list[str]:
    """Prefixes behind which a network may stand: all that the table's names begin with, up to two parts."""
    parts = [name.split(".")[:-1] for name in table.plain]
    return list(dict.fromkeys(["", *(".".join(part[:n]) + "." for n in (1, 2) for part in parts if len(part) >= n)]))


def _apart(one: Shapes, other: Shapes) -> float:
    """Names that only one has, and sizes that differ."""
    apart = len(one.keys() ^ other.keys()) * _OTHER_RANK
    for name in one.keys() & other.keys():
        left, right = one[name], other[name]
        apart += sum(map(int.__ne__, left, right)) if len(left) == len(right) else _OTHER_RANK
    return apart


def arguments_from(
    build: Callable[..., Any], fixed: Mapping[str, Any], tables: Sequence[Table], saved: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Arguments beyond `fixed` under which the network has the weights of one of the tables; None where none do.

    fixed: those that the user or the file gives.  saved: what the file saved of its trainer's options.
    """
    trials, candidates = _Trials(build, fixed, tables), _Candidates.of(tables, saved)
    sized = {each.name: each.default for each in parameters_of(build) if _is_size(each.default)}
    sized = {name: default for name, default in sized.items() if name not in fixed}
    with importable():
        values = _start(trials, candidates, without_value(build, fixed), list(sized))
        if values is None:
            return None
        values = _descend(trials, candidates, values, sized)
    return values if trials.distance(values) == 0 else None


def _is_size(default: Any) -> bool:
    """Whether a default is a whole number or a list of them; True and False are none."""
    if isinstance(default, (list, tuple)):
        return bool(default) and all(type(entry) is int for entry in default)
    return type(default) is int


def _start(
    trials: _Trials, candidates: _Candidates, needed: Sequence[str], sized: Sequence[str]
) -> dict[str, Any] | None:
    """Values under which the network can be built at all; None where none were met.

    An argument called `args` is an object, whose entries are learnt from what the class asks it for.
    """
    objects = [name for name in needed if name in OBJECTS]
    values: dict[str, Any] = {name: 0.0 if "drop" in name else 2 for name in needed if name not in objects}
    for name in objects:
        values[f"{name}.none_of_these"] = None  # an entry makes the object
    for _ in range(_STARTS):
        if trials.distance(values) < _FAILED:
            return values
        if trials.wanted and len(objects) == 1:
            values[f"{objects[0]}.{trials.wanted}"] = 0.0 if "drop" in trials.wanted else 2
            continue
        # It failed with these: one argument gets another value, with which it is built or asks for one more.
        options = [{name: value} for name in (*reversed(values), *sized) for value in _kinds(candidates, name, values)]
        better = next((each for each in options if _is_better(trials, {**values, **each})), None)
        if better is None:
            return None
        values |= better
    return None


def _kinds(candidates: _Candidates, name: str, values: Mapping[str, Any]) -> list[Any]:
    """Values for an argument of a class that could not be built; one with a default only becomes another number."""
    return [*candidates.numbers[:16], *(candidates.lists if name in values else ())]


def _is_better(trials: _Trials, values: Mapping[str, Any]) -> bool:
    """Whether a class can be built so, or gets as far as asking its object for an entry."""
    return not trials.is_over and (trials.distance(values) < _FAILED or bool(trials.wanted))


def _descend(
    trials: _Trials, candidates: _Candidates, values: dict[str, Any], sized: Mapping[str, Any]
) -> dict[str, Any]:
    """Set each argument in turn to the value that brings the weights nearest to the file's, while that helps."""
    best = trials.distance(values)
    for _ in range(_SWEEPS):
        before = best
        for name in dict.fromkeys([*values, *sized]):
            for value in candidates.near(values.get(name, sized.get(name)), name in sized):
                if best == 0 or trials.is_over:
                    return values
                distance = trials.distance({**values, name: value})
                if distance < best:
                    best, values = distance, {**values, name: value}
        if best == before:
            break
    return values


def finding_of(name: str, values: Mapping[str, Any]) -> Finding:
    """What is said of arguments that the sizes gave."""
    shown = listed([f"{key}={value}" for key, value in values.items() if not key.endswith(".none_of_these")], 12)
    facts = f"{name} was built with {shown}, by names and sizes of the weights"
    return Finding("files", "note", facts, "--arg NAME=VALUE says otherwise")


def unexplained(
    build: Callable[..., Any], name: str, fixed: Mapping[str, Any], tables: Sequence[Table]
) -> FactoryError:
    """The error for a class whose arguments were not found: what is missing, beside the layers of the file."""
    missing = without_value(build, fixed)
    wanted = f"its arguments without value: {', '.join(missing)}; " if missing else ""
    layers = layers_of(shapes_of(nearest(tables, {}).weights))
    options = " ".join(f"--arg {each}=VALUE" for each in missing) or "--arg NAME=VALUE"
    facts = f"no whole numbers make {name} a network with the weights of the file; {wanted}the file has {layers}"
    return FactoryError("--model", facts, f"give them as the network was trained: {options}")
