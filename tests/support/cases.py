"""Which of a test's cases run by default."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest


def mainly(cases: Iterable[Sequence[Any]], by_default: Sequence[Sequence[Any]]) -> list[Any]:
    """The cases as parameters of a test; those that are not named run with `--thorough`.

    Raises AssertionError where a named one is no case.
    """
    cases = [tuple(case) for case in cases]
    named = {tuple(case) for case in by_default}
    assert named <= set(cases), named - set(cases)
    return [pytest.param(*case, marks=() if case in named else pytest.mark.thorough) for case in cases]
