"""Every error class has a code of its own, an exit status by family, and a section in the documentation."""

from __future__ import annotations

import inspect
import pickle
import re
from pathlib import Path

import pytest

from chiralize import errors
from chiralize.errors import ChiralizeError

CLASSES = [own for _, own in inspect.getmembers(errors, inspect.isclass) if issubclass(own, ChiralizeError)]
STATUS = {"1": 2, "2": 2, "3": 3, "4": 1, "5": 1, "9": 101}
PAGE = Path(__file__).parents[1] / "docs" / "errors.md"


def test_codes_are_unique() -> None:
    codes = [own.code for own in CLASSES]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("own", CLASSES, ids=lambda own: own.__name__)
def test_status_follows_the_family(own: type[ChiralizeError]) -> None:
    assert own.exit_status == STATUS[own.code[2]]
    assert own.__name__.endswith("Error")


def test_every_class_is_documented() -> None:
    sections = dict(re.findall(r"^### (CH\d+) (\w+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert sections == {own.code: own.__name__ for own in CLASSES}


@pytest.mark.parametrize("own", CLASSES, ids=lambda own: own.__name__)
def test_message_and_copies(own: type[ChiralizeError]) -> None:
    """Where, what and how to mend; the message survives pickling (worker processes)."""
    error = own("spec.yaml:3", "left joint 'a' has no right partner", "correct the name")
    assert str(error) == (
        f"{own.__name__} {own.code}  spec.yaml:3: left joint 'a' has no right partner\n    Fix: correct the name"
    )
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
