"""Every error class has a code of its own and an exit status by family; findings become warnings, one a topic."""

from __future__ import annotations

import inspect
import pickle

import pytest

from chiralize import errors
from chiralize.errors import ChiralizeError, DriftWarning, Finding, MirrorWarning, warn_of
from chiralize.errors.words import first_line, listed, percent

CLASSES = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, ChiralizeError)]
STATUS = {"1": 2, "2": 2, "3": 3, "4": 1, "5": 1, "9": 101}


def test_codes_are_unique() -> None:
    codes = [each.code for each in CLASSES]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("error_class", CLASSES, ids=lambda each: each.__name__)
def test_message_status_and_copies(error_class: type[ChiralizeError]) -> None:
    error = error_class("spec.yaml:3", "left joint 'a' has no right partner", "correct the name")
    name, code = error_class.__name__, error_class.code
    assert str(error) == f"{name} {code}  spec.yaml:3: left joint 'a' has no right partner\n    Fix: correct the name"
    assert error.exit_status == STATUS[code[2]]
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_names_of_any_length_are_cut_in_messages() -> None:
    one, other = "a" * 60_000 + "end", "b c" * 20_000
    error = ChiralizeError("net.npz", f"{one!r} is not in the file, nor {other!r}", "pick another --key")
    assert len(str(error)) < 600 and str(error).count("…") == 2
    assert one in error.facts


def test_doubts_warn_once_a_topic_and_notes_do_not() -> None:
    findings = [
        Finding("mirror", "doubt", "pairs are crossed"),
        Finding("mirror", "refusal", "nothing in common"),
        Finding("drift", "doubt", "far away"),
        Finding("inputs", "note", "32 inputs"),
    ]
    with pytest.warns() as caught:
        warn_of(findings, 1)
    assert [(warning.category, str(warning.message)) for warning in caught] == [
        (MirrorWarning, "pairs are crossed; nothing in common"),
        (DriftWarning, "far away"),
    ]


def test_words() -> None:
    assert first_line(ValueError("\n  one\ntwo")) == "one" and first_line(KeyError()) == "KeyError"
    assert listed(["a", "b", "c"], 2) == "a, b and 1 more"
    assert percent(0.0001) == "< 0.1 %" and percent(0.123) == "12.3 %"
