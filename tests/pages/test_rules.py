"""The page of supported operations is the registry's."""

from __future__ import annotations

from pathlib import Path

import pytest

from chiralize.errors import InternalError
from chiralize.infer.registry import OpRule, Sample, normal, register, registry
from chiralize.infer.rules._families import odd
from chiralize.infer.rules._table import markdown

DOCS = Path(__file__).parents[2] / "docs"


def test_page_is_in_step() -> None:
    assert (DOCS / "rules.md").read_text(encoding="utf-8") == markdown(), (
        "run: python -m chiralize.infer.rules._table > docs/rules.md"
    )


def test_every_operation_is_on_the_page() -> None:
    page = markdown()
    assert all(f"`{target.removeprefix('aten.')}`" in page for target in registry())


def test_two_rules_for_one_operation_are_refused() -> None:
    registry()
    with pytest.raises(InternalError, match="two rules: tanh-like and again"):
        register(OpRule("again", ("aten.tanh.default",), "", odd, {"aten.tanh.default": [Sample((normal(3),))]}))


def test_a_rule_without_samples_is_refused() -> None:
    with pytest.raises(InternalError, match="no oracle samples"):
        register(OpRule("mute", ("aten.polygamma.default",), "", odd, {}))
