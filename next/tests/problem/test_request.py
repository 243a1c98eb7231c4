"""Options: each is declared once, and what no option takes is refused with its flag."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chiralize.errors import UsageError
from chiralize.problem.request import PANELS, Checked, Request, Source, options_of

RECORDS: tuple[type[Checked], ...] = (Source, Request)


def test_options_have_names_of_their_own_a_text_and_a_panel() -> None:
    options = [each for record in RECORDS for each in options_of(record)]
    assert len({each.flag for each in options}) == len(options) <= 26
    assert all(each.text.endswith(".") and each.panel in PANELS for each in options)
    assert all(each.checked(each.default) == each.default for each in options)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_drift": "1e-5"},
        {"max_drift": -1},
        {"max_drift": float("nan")},
        {"max_drift": True},
        {"max_shift": float("inf")},
        {"samples": 0},
        {"samples": 2.5},
        {"samples": 10**6},
        {"force": "no"},
        {"force": 1},
        {"force": None},
        {"symmetrize_constants": np.ones(2, bool)},
        {"method": "fold"},
        {"method": 3},
        {"method": None},
    ],
)
def test_values_that_no_option_takes(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        Request(**wrong)
    assert caught.value.where == f"--{next(iter(wrong)).replace('_', '-')}"


@pytest.mark.parametrize("wrong", [{"input_layouts": 3}, {"output_layouts": ["b j d", 1]}, {"example": 1}])
def test_layouts_and_paths(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Source(**wrong)


def test_values_are_brought_to_their_types() -> None:
    request = Request(max_drift=np.float32(2), samples=np.int64(3), force=np.bool_(True))
    assert [type(value) for value in (request.max_drift, request.samples, request.force)] == [float, int, bool]
    source = Source(input_layouts="b j d", output_layouts=["b j d", "free"], example="x.npz")  # type: ignore[arg-type]
    assert source.input_layouts == ("b j d",) and source.output_layouts == ("b j d", "free")
    assert source.example == Path("x.npz")


def test_the_command_line_does_not_wait_for_torch() -> None:
    code = "import sys, chiralize.problem.request; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
