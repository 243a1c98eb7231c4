"""docs/groups.md runs as it stands, and its specification is read."""

from __future__ import annotations

import doctest
import re
import warnings
from pathlib import Path

from chiralize.body.tensors import parse_spec

PAGE = Path(__file__).parents[2] / "docs" / "groups.md"


def test_the_page_runs() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = doctest.testfile(str(PAGE), module_relative=False)
    assert result.attempted > 8 and not result.failed


def test_its_specification_names_both_mirrors() -> None:
    (text,) = re.findall("```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert list(parse_spec(text).mirrors()) == ["left_right", "front_back"]
