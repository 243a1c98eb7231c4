"""A class or function built on trial, without numbers, to see how far its weights are from those of a file."""

from __future__ import annotations

import contextlib
import io
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from chiralize.storage.settings import MissingSettingError, nested
from chiralize.storage.tables import Weights, plain_names, prefixes_of

FAILED = float("inf")
"""The distance where nothing could be built."""
_OTHER_RANK = 4  # as many sizes as a weight of another rank counts for


class TrialBuilds:
    """Builds of one class, each compared with the tables of a file, within a time.

    wanted: the name that the last build asked an object of arguments for, "" for none.
    tell: hears before each build how many were tried.
    """

    def __init__(
        self,
        build: Callable[..., Any],
        tables: Sequence[Weights],
        seconds: float,
        tell: Callable[[int], None] = lambda tried: None,
    ) -> None:
        self._build, self._tell = build, tell
        self._tables = [_shapes(weights) for weights in tables]
        self._known: dict[str, float] = {}
        self._end = time.process_time() + seconds
        self._device = "meta"
        self.wanted = ""

    @property
    def is_over(self) -> bool:
        """Whether the time is used up."""
        return time.process_time() > self._end

    def distance(self, values: Mapping[str, Any]) -> float:
        """How far the weights of a build are from those of the file: 0 where all names and sizes are the same."""
        key = repr(sorted(values.items(), key=lambda item: item[0]))
        if key not in self._known:
            if self.is_over:
                return FAILED
            self._tell(len(self._known))
            shapes = self._sizes(values)
            self._known[key] = FAILED if shapes is None else min(_distance(shapes, table) for table in self._tables)
        return self._known[key]

    def _sizes(self, values: Mapping[str, Any]) -> dict[str, tuple[int, ...]] | None:
        """Sizes of the weights of a build, by name; None where it failed."""
        self.wanted = ""
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                with warnings.catch_warnings(), torch.device(self._device):
                    warnings.simplefilter("ignore")
                    module = self._build(**nested(values))
            state = module.state_dict()
        except MissingSettingError as error:
            self.wanted = error.wanted
            return None
        except (Exception, SystemExit) as error:  # the user's own code
            if self._device == "meta" and "meta" in str(error):  # it computes while it is built
                self._device = "cpu"
                return self._sizes(values)
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
        behind = {name.removeprefix(prefix): sizes for name, sizes in table.items() if name.startswith(prefix)}
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
    if len(one) != len(other):
        return _OTHER_RANK
    return sum(left != right for left, right in zip(one, other, strict=True))
