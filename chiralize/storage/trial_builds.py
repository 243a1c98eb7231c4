"""A class or function built on trial, without numbers, to see how far its weights are from those of a file.

`arguments_from_weights` builds a class hundreds of times within seconds.  So weights are made on torch's meta device,
where a tensor has a size and no numbers, and initial values are not drawn.  A build is compared by names and sizes:

    built  {"a.weight": (8, 4), "b.weight": (2, 8)}
    file   {"net.a.weight": (8, 3), "net.c.weight": (2, 8)}
    distance 1 (a size of a.weight differs) + 4 (b is missing) + 4 (c is too many) = 9, under the prefix "net."
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from chiralize.graph.silence import quiet
from chiralize.graph.staying import Staying
from chiralize.graph.time_limit import TimeLimit
from chiralize.storage.settings import MissingSettingError, nested
from chiralize.storage.tables import Weights, plain_names, prefixes_of, under

FAILED = float("inf")
"""The distance where nothing could be built."""
_OTHER_RANK = 4  # as many sizes as a weight of another rank counts for


_UNFILLED = (torch.empty, torch.rand, torch.randn)
"""Functions that make weights before their numbers are drawn."""
_DRAWS = tuple(getattr(torch.Tensor, f"{name}_") for name in "uniform normal exponential bernoulli".split())
_FILLS = tuple(
    getattr(torch.Tensor, f"{name}_") for name in "erfinv fill zero copy add sub mul div clamp clamp_min".split()
)
"""Methods that change the numbers of a tensor in place, and not its sizes."""
_MORE_WEIGHTS = 4
"""A build is given up when it has made this many times the weights of the file."""


class _TooLargeError(RuntimeError):
    """A build that has many more weights than the file."""


class _Sparing(TorchFunctionMode):
    """Builds without what costs most: random numbers are not drawn, and `has_weights` says whether weights are made.

    most: how many weights may be made before `_TooLargeError`.  made: how many there were.
    """

    def __init__(self, has_weights: bool, most: int) -> None:
        super().__init__()
        self._has_weights, self._most = has_weights, most
        self.made = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        options = dict(kwargs or {})
        # In place, so that the tensor itself is the answer.  Draws are left out on any device: they cost most, and no
        # size depends on them.  Other fills are left out only where there are no numbers to fill.
        if args and (func in _DRAWS or (func in _FILLS and args[0].is_meta)):
            return args[0]
        if func in _UNFILLED:
            self.made += 1
            if self.made > self._most:
                raise _TooLargeError
            if not self._has_weights and options.get("device") is None:
                options["device"] = "meta"
        return func(*args, **options)


_MODES = (("meta", False), ("cpu", False), ("cpu", True))
"""Ways to build, cheapest first: where numbers are kept, and whether those of weights are, too.

Networks that compute while they are built need one of the others.
"""
_NEEDS_NUMBERS = re.compile(r"\bmeta\b")


class TrialBuilds:
    """Builds of one class, each compared with the tables of a file, within a time.

    limit: once it is over nothing more is built.
    wanted: the name that the last build asked an object of arguments for, "" for none.  made: how many weights it made
    until its end, which says how far a build that failed got.
    tell: called before each build with the number of earlier ones.
    """

    def __init__(
        self,
        build: Callable[..., Any],
        tables: Sequence[Weights],
        limit: TimeLimit,
        tell: Callable[[int], None] = lambda tried: None,
    ) -> None:
        self._build, self._tell = build, tell
        self._tables = [_shapes(weights) for weights in tables]
        self._known: dict[str, float] = {}
        self.limit = limit
        self._mode = 0
        self._most = 64 + _MORE_WEIGHTS * max(map(len, self._tables), default=0)
        self.wanted = ""
        self.made = 0

    def distance(self, values: Mapping[str, Any]) -> float:
        """How far the weights of a build are from those of the file: 0 where all names and sizes are the same."""
        key = repr(sorted(values.items(), key=lambda item: item[0]))  # lists among the values cannot be hashed
        if key not in self._known:
            if self.limit.is_over:
                return FAILED
            self._tell(len(self._known))
            shapes = self._sizes(values)
            if shapes is None:
                self._known[key] = FAILED
            else:
                self._known[key] = min(_distance(shapes, table) for table in self._tables)
        return self._known[key]

    def _sizes(self, values: Mapping[str, Any]) -> dict[str, tuple[int, ...]] | None:
        """Sizes of the weights of a build, by name; None where it failed."""
        self.wanted, self.made = "", 0
        device, has_weights = _MODES[self._mode]
        sparing = _Sparing(has_weights, self._most)
        try:
            with quiet(), redirect_stdout(StringIO()), Staying(), torch.device(device), sparing:
                module = self._build(**nested(values))
            state = module.state_dict()
        except MissingSettingError as error:
            self.wanted = error.wanted
            return None
        except (Exception, SystemExit) as error:  # the user's own code
            # Torch's message on a number that is wanted of a meta tensor names the device.  Later builds start here.
            if self._mode + 1 < len(_MODES) and _NEEDS_NUMBERS.search(str(error)):  # it computes while it is built
                self._mode += 1
                return self._sizes(values)
            self.made = sparing.made
            return None
        return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _shapes(weights: Weights) -> dict[str, tuple[int, ...]]:
    """Sizes of a table's entries, by their names without the marks of torch.compile."""
    plain = plain_names(weights.tensors)
    return {name: tuple(weights.tensors[full].shape) for name, full in plain.items()}  # nested ones fit nothing


def _distance(built: Mapping[str, tuple[int, ...]], table: Mapping[str, tuple[int, ...]]) -> float:
    """Names that only one has, and sizes that differ, under the prefix of which most names fit."""
    best = FAILED
    for prefix in ("", *_likely(built, table)):
        behind = under(prefix, table)
        apart = len(built.keys() ^ behind.keys()) * _OTHER_RANK
        for name in built.keys() & behind.keys():
            apart += _differing(built[name], behind[name])
        best = min(best, apart)
    return best


def _likely(built: Mapping[str, Any], table: Mapping[str, Any]) -> list[str]:
    """Prefixes of the table behind which the first name of the network is."""
    first = next(iter(built), "")
    return [prefix for prefix in prefixes_of(table) if prefix + first in table]


def _differing(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """How many sizes of a weight differ."""
    if len(one) != len(other):
        return _OTHER_RANK
    return sum(left != right for left, right in zip(one, other, strict=True))
