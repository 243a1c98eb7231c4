"""Which arguments had a class when these weights were trained? Whole numbers, and lists of them, from the sizes.

A checkpoint seldom says with which arguments its network was built, but names and shapes of its weights depend on them.
The class is built on trial on torch's meta device, where a tensor has a size and no numbers, and arguments count only
where the network then has *all* of the file's weights, by name and shape. For `Lifter(joints, width, layers=2)` and a
file with first.weight (256, 34) and four layers:

    start     joints=2, width=2              it can be built; distance 9, say, from the file
    descend   width=256 is nearer: 4; then layers=4, joints=17: distance 0

What weights do not tell, as how many heads share the channels, is asked for. What was chosen is printed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from itertools import chain
from time import process_time
from typing import Any

import torch
from torch.nn.modules.module import register_module_parameter_registration_hook

from chiralize.errors import FactoryError, Finding
from chiralize.errors.words import listed
from chiralize.graph.devices import Staying
from chiralize.graph.quiet import quiet
from chiralize.storage import factory
from chiralize.storage.tables import Shapes, Table, nearest, shapes_of

_SECONDS = 40.0
"""Processor time of the search: a build on the meta device takes 2 to 70 ms, and public classes need 30 to 600."""
_MOST = 24
"""Sizes of the file that are tried, the commonest first: the width of a network stands on most of its weights."""
_OTHER_RANK = 4
"""How many differing sizes a weight counts for that is missing, left over, or of another rank: most have two."""
_MORE_WEIGHTS = 4
"""A build is given up at so many times the weights of the file, and 64: 256 layers are never the answer for 4."""
_FAILED = float("inf")
Values = dict[str, Any]


@dataclass(frozen=True)
class _Candidates:
    """Values to try for an argument: whole numbers, and lists of those that may be sizes of kernels."""

    numbers: tuple[int, ...]
    lists: tuple[list[int], ...]

    @staticmethod
    def of(tables: Sequence[Table], saved: Values) -> _Candidates:
        """Numbers that the file saved, its sizes and their parts, counts of its layers, and small numbers."""
        tensors = list(chain.from_iterable(table.tensors.items() for table in tables))
        sizes = Counter(chain.from_iterable(tensor.shape for _, tensor in tensors))
        common = [size for size, _ in sizes.most_common(_MOST)]
        counts = _layer_counts([name for name, _ in tensors])
        written = [value for value in saved.values() if type(value) is int]
        # 34 and 51 are 17 joints times 2 or 3; 256 may be 4 heads of 64, or twice an argument of 128.
        parts = [size // part for part in (2, 3, 4) for size in common if size % part == 0]
        numbers = [*written, *common, *counts, *range(1, 17), *parts]
        kernels = [size for size in sorted(sizes) if 1 < size <= 9][:4] or [1]
        lists = [[size] * count for count in range(1, 9) for size in dict.fromkeys([*kernels, *common[:4]])]
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
    """Builds of a class, each compared with the weights of a file.

    wanted: what the last one asked an object for.  built: how many parameters it had when it ended.  is_over: whether
    the time is used up.
    """

    def __init__(self, build: Callable[..., Any], fixed: Values, tables: Sequence[Table]) -> None:
        self._build, self._fixed = build, fixed
        self._ways = [shapes_of(table.under(prefix)) for table in tables for prefix in _prefixes(table)]
        self._most = 64 + _MORE_WEIGHTS * max(len(way) for way in self._ways)
        self._known: dict[str, float] = {}
        self._device = "meta"
        self._end = process_time() + _SECONDS
        self.wanted, self.built, self.is_over = "", 0, False

    def distance(self, values: Values) -> float:
        """How far the weights of a build are from those of the file: 0 where all names and shapes are the same."""
        key = repr(sorted(values.items()))
        if key not in self._known:
            if process_time() > self._end:
                self.is_over = True
                return _FAILED
            shapes = self._shapes({**self._fixed, **values})
            self._known[key] = _FAILED if shapes is None else min(_apart(shapes, way) for way in self._ways)
        return self._known[key]

    def _count(self, module: Any, name: str, parameter: Any) -> None:
        """What torch calls with every parameter of every module."""
        self.built += 1
        if self.built > self._most:
            raise RuntimeError("many more weights than the file has")

    def _shapes(self, values: Values) -> Shapes | None:
        """Shapes of the weights of a build, by name; None where it failed."""
        self.wanted, self.built = "", 0
        counting = register_module_parameter_registration_hook(self._count)
        try:
            with quiet(), redirect_stdout(StringIO()), Staying(), torch.device(self._device):
                return shapes_of(self._build(**factory.nested(values)).state_dict())
        except factory.MissingSettingError as error:
            self.wanted = error.wanted
        except (Exception, SystemExit) as error:  # the user's own code
            # A class that computes while it is built asks for numbers; torch's error names the device.
            if self._device == "meta" and "meta" in str(error):
                self._device = "cpu"
                return self._shapes(values)
        finally:
            counting.remove()
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
    build: Callable[..., Any], name: str, fixed: Values, tables: Sequence[Table], saved: Values
) -> dict[str, Any] | None:
    """Arguments beyond `fixed` under which the network has the weights of one of the tables; None where none do.

    name: of the class.  fixed: those that the user or the file gives.  saved: what the file saved of its trainer's
    options.  Raises FactoryError where weights don't tell an argument that has no default.
    """
    trials, candidates = _Trials(build, fixed, tables), _Candidates.of(tables, saved)
    parameters = [each for each in factory.parameters_of(build) if each.name not in fixed]
    sized = {each.name: each.default for each in parameters if _is_size(each.default)}
    with factory.importable():
        values = _start(trials, candidates, factory.without_value(build, fixed), list(sized))
        if values is None:
            return None
        values = _descend(trials, candidates, {**sized, **values}, sized)
        if trials.distance(values) > 0:
            return None
        untold = [each for each in values if each not in sized and _may_be_other(trials, values, each)]
    if untold:
        facts = f"{name} fits with {_shown(values)}, but its weights don't tell {', '.join(untold)}"
        options = " ".join(f"--arg {each}=VALUE" for each in untold)
        raise FactoryError("--model", facts, f"give them as the network was trained: {options}")
    return values


def _is_size(default: Any) -> bool:
    """Whether a default is a whole number or a list of them; True and False are none."""
    entries = default if isinstance(default, (list, tuple)) else [default]
    return bool(entries) and all(type(entry) is int for entry in entries)


def _may_be_other(trials: _Trials, values: Values, name: str) -> bool:
    """Whether the file's weights fit another value of one argument, too; or there is no time to see."""
    value, others = values[name], list[Any]()
    if type(value) is int:
        others = [value + 1, value - 1, 2 * value, value // 2, 1]
    elif isinstance(value, list):
        changed = ([*value[:at], value[at] + 2, *value[at + 1 :]] for at in range(len(value)))
        others = [value[:-1], [*value, value[-1]], *changed]
    return trials.is_over or any(trials.distance({**values, name: other}) == 0 for other in others if other != value)


def _start(trials: _Trials, candidates: _Candidates, needed: list[str], sized: list[str]) -> Values | None:
    """Values under which the network can be built at all; None where none were met.

    An argument called `args` is an object, whose entries are learnt from what the class asks it for.
    """
    objects = [name for name in needed if name in factory.OBJECTS]
    values: Values = {name: 0.0 if "drop" in name else 2 for name in needed if name not in objects}
    for name in objects:
        values[f"{name}.none_of_these"] = None  # an entry makes the object
    while trials.distance(values) == _FAILED:
        if trials.wanted and len(objects) == 1:
            values[f"{objects[0]}.{trials.wanted}"] = 0.0 if "drop" in trials.wanted else 2
            continue
        # It failed with these: one argument gets another value, with which it is built, asks for one more entry, or
        # gets further. One with a default only becomes another number.
        before = trials.built
        kinds = {name: [*candidates.numbers[:16], *candidates.lists] for name in reversed(values)}
        kinds |= {name: list(candidates.numbers[:16]) for name in sized if name not in values}
        options = [{**values, name: value} for name, others in kinds.items() for value in others]
        better = next((option for option in options if _is_better(trials, option, before)), None)
        if better is None:
            return None
        values = better
    return values


def _is_better(trials: _Trials, values: Values, before: int) -> bool:
    """Whether a class can be built so, asks its object for an entry, or gets further than a number of parameters."""
    return not trials.is_over and (trials.distance(values) < _FAILED or bool(trials.wanted) or trials.built > before)


def _descend(trials: _Trials, candidates: _Candidates, values: Values, sized: Values) -> Values:
    """Set each argument in turn to the value that brings the weights nearest to the file's, while that helps."""
    best, before = trials.distance(values), _FAILED
    while 0 < best < before:
        before = best
        for name in list(values):
            if _is_right(trials, values, name, best):
                continue
            for value in candidates.near(values[name], name in sized):
                distance = trials.distance({**values, name: value}) if best else _FAILED
                if distance < best:
                    best, values = distance, {**values, name: value}
    return values


def _is_right(trials: _Trials, values: Values, name: str, best: float) -> bool:
    """Whether one more and one less are both further from the file: a wrong size is as wrong as its neighbours."""
    if type(values[name]) is not int:
        return False
    distances = [trials.distance({**values, name: values[name] + step}) for step in (1, -1)]
    return best < min(distances) < _FAILED


def _shown(values: Values) -> str:
    """Arguments as they are typed."""
    return listed([f"{key}={value}" for key, value in values.items() if not key.endswith(".none_of_these")], 12)


def finding_of(name: str, values: Values) -> Finding:
    """What is said of arguments that the sizes gave."""
    facts = f"{name} was built with {_shown(values)}, by names and sizes of the weights"
    return Finding("files", "note", facts, "--arg NAME=VALUE says otherwise")


def unexplained(build: Callable[..., Any], name: str, fixed: Values, tables: Sequence[Table]) -> FactoryError:
    """The error for a class whose arguments were not found: what is missing, beside the layers of the file."""
    missing = factory.without_value(build, fixed)
    wanted = f"its arguments without value: {', '.join(missing)}; " if missing else ""
    layers = factory.layers_of(shapes_of(nearest(tables, {}).weights))
    options = " ".join(f"--arg {each}=VALUE" for each in missing) or "--arg NAME=VALUE"
    facts = f"no whole numbers make {name} a network with the weights of the file; {wanted}the file has {layers}"
    return FactoryError("--model", facts, f"give them as the network was trained: {options}")
