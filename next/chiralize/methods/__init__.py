"""How hidden units become partners, and how weights are filled in.

    reduce    a share of the units, each with its mirror image; what reads them refitted to inputs           one pass
    match     partners among the units; the nearest weights that commute with the mirror, or refitted ones   one pass
    project   partners as the specification says, or a guess; the nearest weights                            one pass
    average   both views, (f(x) + T f(T x)) / 2: exact, no weight changes                                     two passes
    auto      the first of its candidates that stays near the original

`method_of` imports a method when it is asked for, so that the names alone cost no import of torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from chiralize.errors import UsageError

if TYPE_CHECKING:
    from chiralize.problem.problem import Method


def _reduce() -> Method:
    from chiralize.methods.reduce import REDUCE

    return REDUCE


def _match() -> Method:
    from chiralize.methods.match import MATCH

    return MATCH


def _project() -> Method:
    from chiralize.methods.match import PROJECT

    return PROJECT


def _average() -> Method:
    from chiralize.methods.average import AVERAGE

    return AVERAGE


METHODS: Mapping[str, Callable[[], Method]] = {
    "reduce": _reduce,
    "match": _match,
    "project": _project,
    "average": _average,
}


def method_of(name: str) -> Method:
    """The method of that name. Raises UsageError where there is none."""
    if name not in METHODS:
        raise UsageError("--method", f"{name!r} is no method", f"use auto or one of {', '.join(METHODS)}")
    return METHODS[name]()
