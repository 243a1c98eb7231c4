"""Every error class has a code of its own, an exit status by family, and a section in the documentation."""

from __future__ import annotations

import inspect
import pickle
import re
from pathlib import Path

import pytest
import torch

from chiralize import errors
from chiralize.body.tensors import parse_spec
from chiralize.errors import ChiralizeError, DriftError, ModelRunError
from chiralize.errors.words import first_line
from chiralize.problem.preparation import prepare

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


def test_names_of_any_length_are_cut_in_messages() -> None:
    """A file names its entries as it likes."""
    one, other = "a" * 60_000 + "end", "b c" * 20_000
    error = ChiralizeError("net.npz", f"{one!r} is not in the file, nor {other!r}", "pick another --key")
    assert len(str(error)) < 600 and str(error).count("…") == 2
    assert "aa…aa" in str(error) and "end' is not in the file, nor 'b cb c" in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error) and one in error.facts


@pytest.mark.parametrize("own", CLASSES, ids=lambda own: own.__name__)
def test_message_and_copies(own: type[ChiralizeError]) -> None:
    """Where, what and how to mend; the message survives pickling (worker processes)."""
    error = own("spec.yaml:3", "left joint 'a' has no right partner", "correct the name")
    assert str(error) == (
        f"{own.__name__} {own.code}  spec.yaml:3: left joint 'a' has no right partner\n    Fix: correct the name"
    )
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_figures_go_along_with_copies() -> None:
    """What `auto` reads off an error is in a copy of it, too."""
    error = DriftError("lifter", "rho = 3", "use --method average")
    error.rho, error.of_narrow_inputs = 3.0, True
    again = pickle.loads(pickle.dumps(error))
    assert (again.rho, again.bound, again.of_narrow_inputs) == (3.0, float("inf"), True)


def test_first_line_of_what_others_say() -> None:
    said = (ValueError("\n  one \ntwo"), ValueError(), AssertionError(" \n"), RuntimeError("x" * 400))
    assert [first_line(own) for own in said] == ["one", "ValueError", "AssertionError", "x" * 300]


def test_an_error_of_a_script_says_something() -> None:
    """Its reason stands last; on tensors without values it is empty, and the line of code that failed says more."""
    begin = "The following operation failed in the TorchScript interpreter.\nTraceback of TorchScript:\n"
    code = "  File 'linear.py', line 14\n    return torch.linear(input, weight)\n           ~~~~ <--- HERE\n"
    assert first_line(RuntimeError(f"{begin}{code}RuntimeError: 12 and 47\n")) == "RuntimeError: 12 and 47"
    assert first_line(RuntimeError(f"{begin}{code}RuntimeError: \n")) == (
        "RuntimeError at `return torch.linear(input, weight)`"
    )


def test_a_network_that_fails_without_a_word() -> None:
    class Silent(torch.nn.Linear):
        def __deepcopy__(self, memo: object) -> Silent:
            raise AssertionError

    with pytest.raises(ModelRunError, match="the module cannot be copied: AssertionError"):
        prepare(Silent(34, 34), parse_spec("skeleton: h36m"), (torch.zeros(2, 17, 2),))
