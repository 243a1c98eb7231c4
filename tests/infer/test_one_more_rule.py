"""A rule is an entry in one file: with it a network converts that was refused without."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

import chiralize.infer.rules as rules
from chiralize.errors import NoRuleError
from chiralize.infer import registry as table
from tests.support.small_body import ROUNDING, Net, converted, residual, trained

RULE = '''
"""Polygamma functions."""

from chiralize.infer.registry import positive, sample
from chiralize.infer.rules._families import plain, pointwise

pointwise(plain, "polygamma", "polygamma", sample(1, positive(3, 4)), partial=True)
'''


@pytest.fixture
def with_polygamma(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One more file among the rules."""
    (tmp_path / "polygammas.py").write_text(RULE)
    monkeypatch.setattr(rules, "__path__", [*rules.__path__, str(tmp_path)])
    table.registry.cache_clear()
    yield
    sys.modules.pop("chiralize.infer.rules.polygammas", None)
    table._RULES.pop("aten.polygamma.default", None)
    table._TRAITS.pop("aten.polygamma.default", None)
    table.registry.cache_clear()


def network() -> nn.Module:
    def run(net: Net, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.special.polygamma(1, 1 + net.first(x.flatten(1)).square())
        return net.last(hidden).unflatten(1, (6, 2))

    return trained(Net(run, first=nn.Linear(12, 8), last=nn.Linear(8, 12)))


def test_without_it_the_network_is_refused() -> None:
    with pytest.raises(NoRuleError, match="polygamma"):
        converted(network())


def test_with_it_the_network_converts(with_polygamma: None) -> None:
    result = converted(network(), force=True)
    assert residual(result, (3, 6, 2)) <= ROUNDING
