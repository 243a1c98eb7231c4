"""Arguments of a class, found from the sizes of the weights that it is to hold.

A checkpoint seldom says with which arguments its network was built, but names and sizes of its weights depend on them.
An argument counts as found where the network then has exactly the weights of the file and no other value does that.
What the weights do not tell (how many heads share the channels) is left to the user.

`weights` asks where the class cannot be built with what the user gave, or where its weights are not the file's.  The
class is built on trial, without numbers (`trial_builds`), and its *distance* is how many names and sizes of its weights
differ from the file's.  For `Lifter(joints, width, layers=2)` and a file with `first.weight` (256, 34) and four layers:

    start     joints=17 (of the skeleton), width=1        it can be built: distance 9, say
    descend   width=2, 3, ..., 256 is nearer: distance 4; then layers=4: distance 0
    judged    does another width, another number of layers fit as well?  Then the user is asked for it.

Decision 0059 has the reasons and what was measured.
"""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from chiralize.graph.time_limit import TimeLimit
from chiralize.storage.settings import NAMES
from chiralize.storage.tables import Weights
from chiralize.storage.trial_builds import FAILED, TrialBuilds

SECONDS = 20.0
"""Processor time after which the search ends."""
_STARTS = 40
"""Steps of looking for values under which the class can be built at all."""
# Names of arguments: of a number of joints (`num_joints`), of numbers per joint (`joint_dim`, `kpt_channels`), of
# numbers of coordinates (`in_chans`, `input_size`).  A name that fits the second is none of the first.
_JOINTS = re.compile(r"joint|point|keypoint|kpt|node|vert", re.I)
_OF_ONE_JOINT = re.compile(r"(joint|point|kpt|node|vert)\w*?_?(d|dims?|coords?|chan\w*|feat\w*)$", re.I)
_DIMS = re.compile(r"(in|input|coord).*(chan|feat|dim|size)|(dim|chan|feat)\w*_in$|^in_|coord", re.I)
_DROP = re.compile(r"drop", re.I)
_SWEEPS = 6
"""Rounds over all arguments."""
_MOST = 48
"""Half of it: how many of the file's sizes are tried; a sixth of it: of how many of those halves and quarters are."""
_LENGTHS = range(1, 9)
"""Lengths of lists that are tried, as one entry per layer has it."""


@dataclass(frozen=True)
class Found:
    """What the weights tell of the arguments of a class.

    arguments: by name, as text for `--arg`; `args.frames` is the attribute of an object.  undecided: arguments that
    the class wants and of which the weights do not tell the value.  fits: whether the network has the file's weights.
    nearest: where it does not, those that come nearest.  joints: other numbers of joints than the skeleton's with which
    it has the file's weights too, with 2 or 3 coordinates each.
    """

    arguments: Mapping[str, str]
    undecided: tuple[str, ...]
    fits: bool
    nearest: Mapping[str, str] = field(default_factory=dict)
    joints: tuple[int, ...] = ()


def arguments_from_weights(
    build: Callable[..., Any],
    fixed: Mapping[str, Any],
    tables: Sequence[Weights],
    joints: int = 0,
    tell: Callable[[int], None] = lambda tried: None,
) -> Found | None:
    """Arguments beyond `fixed` under which the network has the weights of one of the tables.

    fixed: those that the user or the file gives.  joints: of the skeleton, 0 where it is not known; it decides only
    where the weights determine a product of joints and something else.  tell: called with the number of builds.
    None where the class has no signature, or cannot be built with any values that were tried.  Where no argument is
    open the answer has none, and says whether the network fits as it is.
    """
    try:
        parameters = inspect.signature(build).parameters.values()
    except (TypeError, ValueError):
        return None
    named = [each for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    needed = [each.name for each in named if each.default is each.empty and each.name not in fixed]
    # Defaults that are sizes may be changed as well, where the weights fit no other way; texts and switches stay.
    sized = [each.name for each in named if _is_size(each.default) and each.name not in fixed]
    builds = TrialBuilds(build, tables, TimeLimit(SECONDS), tell)
    if not needed and builds.distance(fixed) == FAILED:  # `args=None`, of which the class reads all the same
        needed = [each.name for each in named if each.name in NAMES and each.default is None]
    search = _Search(builds, dict(fixed), _Candidates(tables, joints))
    values = search.start(needed, sized)
    if values is None:
        return None
    values = search.descend(values, sized, {each.name: each.default for each in named})
    return search.judged(values)


def _is_joints(name: str) -> bool:
    """Whether an argument of this name is a number of joints."""
    return bool(_JOINTS.search(name)) and not _OF_ONE_JOINT.search(name)


def _is_dims(name: str) -> bool:
    """Whether it is a number of coordinates, of a joint (`joint_d`) or of all."""
    return bool(_OF_ONE_JOINT.search(name) or _DIMS.search(name))


def _is_size(default: Any) -> bool:
    """Whether a default is a whole number or a list of them; True and False are none."""
    if isinstance(default, (list, tuple)):
        return bool(default) and all(type(entry) is int for entry in default)
    return type(default) is int


class _Candidates:
    """Values to try for an argument: sizes in the file, counts of its layers, and what skeletons have."""

    def __init__(self, tables: Sequence[Weights], joints: int) -> None:
        self.joints = joints
        sizes: Counter[int] = Counter()
        for weights in tables:
            for tensor in weights.tensors.values():
                sizes.update(size for size in tensor.shape if type(size) is int)  # nested tensors have others
        counts = _layer_counts(name for weights in tables for name in weights.tensors)
        # The commonest sizes first: the width of a network stands on most of its weights.
        common = [size for size, _ in sizes.most_common(_MOST // 2)]
        # A size of 34 or 51 is 17 joints times 2 or 3; one of 256 may be 4 heads of 64, or twice an argument of 128.
        parts = [size // joints for size in common if joints and size % joints == 0]
        multiples = [factor * joints for factor in (2, 3) if joints]
        halves = [size // part for size in common[: _MOST // 6] for part in (2, 4) if size % part == 0]
        self._numbers = list(dict.fromkeys([*common, *counts, *multiples, *parts, *range(1, 17), *halves]))
        # Lists are mostly kernels, one per layer: [3, 3, 3].  Their entries are changed one by one afterwards (`near`).
        kernels = [size for size in sorted(sizes) if 1 < size <= 9]
        self._lists = [[size] * count for count in _LENGTHS for size in (kernels[:4] or [1])]

    def numbers(self, name: str) -> list[int]:
        """Whole numbers for an argument of this name, the likeliest first."""
        likely: list[int] = []
        if self.joints and _is_joints(name):
            likely += [self.joints, 2 * self.joints, 3 * self.joints]
        elif _OF_ONE_JOINT.search(name):
            likely += [2, 3]
        elif _DIMS.search(name):
            likely += [2, 3, 2 * self.joints, 3 * self.joints] if self.joints else [2, 3]
        return [value for value in dict.fromkeys([*likely, *self._numbers]) if value > 0]

    def all(self, name: str) -> list[Any]:
        """Values of every kind for an argument of this name, the likeliest first."""
        if _DROP.search(name):
            return [0.0]
        return [*self.numbers(name), *self._lists, True, False, None]

    def first(self, name: str) -> Any:
        """The value to begin with: what the name suggests, else 1, which divides whatever has to be divided."""
        suggested = _is_joints(name) and self.joints or _is_dims(name) or _DROP.search(name)
        return self.all(name)[0] if suggested else 1

    def near(self, name: str, value: Any) -> list[Any]:
        """Values of the kind that an argument has now: of [3, 3] other lengths, and lists with one entry changed."""
        if isinstance(value, bool) or value is None:
            return [True, False, None]
        if isinstance(value, float):  # a rate, which changes no size
            return []
        if not isinstance(value, (list, tuple)):
            return list(self.numbers(name))
        others: list[Any] = [kind for kind in self._lists if len(kind) != len(value)]
        for position in range(len(value)):
            for size in self._numbers:
                changed = list(value)
                changed[position] = size
                others.append(changed)
        return others

    def is_known(self, name: str, value: Any) -> bool:
        """Whether the skeleton gives this value, or no answer depends on it."""
        return bool(_DROP.search(name)) or bool(self.joints and _is_joints(name) and value == self.joints)


def _layer_counts(names: Iterable[str]) -> list[int]:
    """How many layers are numbered under a name, 4 of `layers.0.weight` to `layers.3.weight`; and one more or less."""
    last: dict[str, int] = {}  # the largest number under each head
    for name in names:
        parts = name.split(".")
        for depth, part in enumerate(parts):
            if part.isdigit():
                head = ".".join(parts[:depth])
                last[head] = max(last.get(head, 0), int(part))
    counts = Counter(number + 1 for number in last.values())
    return [count + more for count, _ in counts.most_common(8) for more in (0, 1, -1)]


class _Search:
    """Looks for the values of arguments, one argument at a time.

    Values are by name, without those that are fixed; `args.frames` is an entry of an object `args`.
    """

    def __init__(self, builds: TrialBuilds, fixed: dict[str, Any], candidates: _Candidates) -> None:
        self._builds, self._fixed, self._candidates = builds, fixed, candidates

    def _distance(self, values: Mapping[str, Any]) -> float:
        return self._builds.distance({**self._fixed, **values})

    def start(self, needed: Sequence[str], sized: Sequence[str]) -> dict[str, Any] | None:
        """Values under which the network can be built at all; None where none were found.

        An argument called `args` is an object, whose entries are found out by what the class asks it for.
        sized: arguments that have a default, for classes that refuse their own.
        """
        objects = [name for name in needed if name in NAMES]
        values: dict[str, Any] = {name: self._candidates.first(name) for name in needed if name not in objects}
        # Each round ends in one of three ways: it can be built; its object was asked for one more name, which gets a
        # value; it failed otherwise, and one value is changed.
        for _ in range(_STARTS):
            if self._distance(self._with_objects(values, objects)) < FAILED:
                return values
            if self._builds.wanted and len(objects) == 1:
                name = f"{objects[0]}.{self._builds.wanted}"
                values[name] = self._candidates.first(name)
                continue
            if self._builds.limit.is_over or not self._moved(values, objects, sized):
                return None
        return None

    def _with_objects(self, values: Mapping[str, Any], objects: Sequence[str]) -> dict[str, Any]:
        """The values, with an empty object for each that no value is of yet.

        An entry under a name that no class asks for (`_NOTHING`) makes the object.
        """
        filled = {name.partition(".")[0] for name in values if "." in name}
        return {**values, **{f"{name}.{_NOTHING}": None for name in objects if name not in filled}}

    def _moved(self, values: dict[str, Any], objects: Sequence[str], sized: Sequence[str]) -> bool:
        """Give one argument another value with which the class gets further; whether there is one.

        Further is a build that ends, that asks its object for one more name, or that makes more weights until it fails.
        """
        weights_before = self._builds.made
        for name in (*reversed(list(values)), *sized):
            # Values that a class wants may be of any kind; a default is a size, and is only changed to another one.
            for value in self._candidates.all(name) if name in values else self._candidates.numbers(name):
                distance = self._distance(self._with_objects({**values, name: value}, objects))
                if distance < FAILED or self._builds.wanted or self._builds.made > weights_before:
                    values[name] = value
                    return True
                if self._builds.limit.is_over:
                    return False
        return False

    def descend(self, values: dict[str, Any], sized: Sequence[str], defaults: Mapping[str, Any]) -> dict[str, Any]:
        """Change one argument after another while that brings the weights nearer to the file's.

        sized: arguments that have a default, which is left as it is unless another value is nearer.
        """
        # Coordinate descent: a sweep sets each argument to the value with the smallest distance, the others unchanged.
        best = self._distance(values)
        names = [*values, *(name for name in sized if name not in values)]
        names.sort(key=lambda name: self._candidates.is_known(name, values.get(name)))  # those move last
        for _ in range(_SWEEPS):
            before = best
            for name in names:
                current = values.get(name, defaults.get(name))
                for value in self._tried(name, current, name in sized):
                    if best == 0 or self._builds.limit.is_over:
                        return values
                    distance = self._distance({**values, name: value})
                    if distance < best:
                        best, values = distance, {**values, name: value}
            if best == before:
                break
        return values

    def _tried(self, name: str, current: Any, has_default: bool) -> list[Any]:
        """Values for an argument: of every kind where the first that ran is True, False or a number, which classes
        often take in place of a list; else of the kind that it has.

        has_default: what is a number by default only becomes another number.
        """
        if isinstance(current, bool) or (type(current) is int and not has_default):
            return self._candidates.all(name)
        return self._candidates.near(name, current)

    def judged(self, values: Mapping[str, Any]) -> Found:
        """Which of the values the weights determine. A value that there was no time to check does not count as
        determined.

        Without a fit: no arguments, but the nearest ones.  With a fit every value is questioned in three rounds, the
        likeliest alternatives first: near ones of each argument, pairs of arguments that trade, all others.
        """
        fits = self._distance(values) == 0
        undecided: set[str] = set()
        if fits:
            self._builds.limit.restart()  # the search may have used its time up: the questions have as much again
            open_names = [name for name, value in values.items() if not self._candidates.is_known(name, value)]
            undecided |= {name for name in open_names if self._may_be_other(values, name, _others(values[name]))}
            undecided |= self._shared(values)
            if self._builds.limit.is_over:  # the first two rounds did not end: no value is sure
                undecided |= set(open_names)
            for name in open_names:  # for as long as there is time: others were tried for each
                if name not in undecided and self._may_be_other(
                    values, name, self._candidates.near(name, values[name])
                ):
                    undecided.add(name)
        known = {name for name, value in values.items() if self._candidates.is_known(name, value)}
        undecided -= known
        texts: dict[str, str] = {}
        for name, value in values.items():
            # As `--arg` takes it: `[3, 3]`, since `(3, 3)` would be two texts.
            texts[name] = str(list(value)) if isinstance(value, tuple) else str(value)
        if not fits:
            return Found({}, (), False, texts)
        decided = {name: text for name, text in texts.items() if name not in undecided}
        open_names = [name for name in values if name in undecided]
        return Found(decided, tuple(open_names), True, joints=self._joint_counts(values, open_names))

    def _joint_counts(self, values: Mapping[str, Any], open_names: Sequence[str]) -> tuple[int, ...]:
        """Numbers of joints that fit with 2 or 3 coordinates each, where the weights leave both open.

        Weights of 30 inputs fit joints=30 and dims=1, and so 15 joints of 2 and 10 of 3.
        """
        counts: dict[int, None] = {}
        numbers = [name for name in open_names if type(values[name]) is int]
        # The product of the two is what the weights tell: it is split into a count of joints and 2 or 3.
        for name, other, dims in product(filter(_is_joints, numbers), filter(_is_dims, numbers), (2, 3)):
            count, rest = divmod(values[name] * values[other], dims)
            if not rest and self._distance({**values, name: count, other: dims}) == 0:
                counts[count] = None
        return tuple(counts)

    def _may_be_other(self, values: Mapping[str, Any], name: str, others: Iterable[Any]) -> bool:
        """Whether the network has the file's weights with another of these values, too."""
        return any(self._distance({**values, name: other}) == 0 for other in others if other != values[name])

    def _shared(self, values: Mapping[str, Any]) -> set[str]:
        """Arguments of which the weights determine only a product or sum, unless the skeleton gives one of the two."""
        shared: set[str] = set()
        # Of each pair: would 2 * one and other / 2 fit, or one + 1 and other - 1?
        names = [name for name, value in values.items() if type(value) is int]
        for position, one in enumerate(names):
            for other in names[position + 1 :]:
                if self._candidates.is_known(one, values[one]) or self._candidates.is_known(other, values[other]):
                    continue
                if any(self._distance({**values, **change}) == 0 for change in _trades(one, other, values)):
                    shared |= {one, other}
        return shared


_NOTHING = "none_of_these"
"""A name that no class asks its object of arguments for."""


def _others(value: Any) -> list[Any]:
    """Values to try instead of one that fits: near ones, its multiples and parts, and small numbers."""
    if isinstance(value, bool) or value is None:
        return [True, False, None]
    if isinstance(value, (list, tuple)):
        # Of [3, 5]: one entry less, one more, and each entry replaced by a small number.
        kind = list(value)
        changed = [kind[:at] + [size] + kind[at + 1 :] for at in range(len(kind)) for size in (1, 2, 3, 5, 7)]
        return [kind[:-1], [*kind, *kind[-1:]], *changed]
    if type(value) is not int:
        return []
    return [value + 1, value - 1, 2 * value, 3 * value, value // 2, *range(1, 9)]


def _trades(one: str, other: str, values: Mapping[str, Any]) -> list[dict[str, int]]:
    """Other values of two arguments with the same product, or the same sum: of 4 and 6 5 and 5, 8 and 3, 6 and 4."""
    left, right = values[one], values[other]
    trades = [{one: left + 1, other: right - 1}, {one: left - 1, other: right + 1}]
    for factor in (2, 3, 5):
        if right % factor == 0:
            trades.append({one: left * factor, other: right // factor})
        if left % factor == 0:
            trades.append({one: left // factor, other: right * factor})
    trades.append({one: right, other: left})
    return [trade for trade in trades if min(trade.values()) > 0 and trade[one] != left]
