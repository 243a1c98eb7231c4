"""The page on layers: its example runs, its tables are the code's."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import torch

import chiralize.nn as layers
from chiralize.nn import Linear, _pattern, paper_layout

PAGE = (Path(__file__).parents[2] / "docs/layers.md").read_text(encoding="utf-8")


def test_example_runs() -> None:
    block = re.search(r"<!-- runs -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    assert block is not None
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("error")
        exec(compile(block[1], "docs/layers.md", "exec"), {"__name__": "page"})


def test_pattern_is_in_step() -> None:
    shown = re.search(r"<!-- pattern -->\n(.*?)<!-- end -->", PAGE, re.DOTALL)
    assert shown is not None and shown[1] == _pattern.markdown(), "run: python -m chiralize.nn._pattern"


def test_pattern_differs_where_the_paper_says_zero() -> None:
    theirs, own = _pattern.labels(*_pattern.paper()), _pattern.labels(*_pattern.ours())
    apart = {
        (row, column): (a, b)
        for row, line, ours in zip(_pattern.NAMES, theirs, own, strict=True)
        for column, a, b in zip((*_pattern.NAMES, "bias"), line, ours, strict=True)
        if a != b
    }
    assert apart == {("cp", "ln"): ("0", "E3"), ("cp", "rn"): ("0", "−E3")}


def test_formulas_make_the_weight() -> None:
    """Every entry of a random layer is the sum that the page says."""
    layer = Linear(paper_layout((1, 1, 1), 2, 1), paper_layout((1, 1, 1), 2, 1)).double()
    weight = layer.dense()["weight"].detach()
    named = dict(_pattern.formulas())
    blocks = {"even": (layer.weight_even, ["p", "n", "cp"]), "odd": (layer.weight_odd, ["p", "n", "cn"])}
    for i, line in enumerate(_pattern.labels(*_pattern.ours())):
        for j, name in enumerate(line[:-1]):
            value = 0.0
            terms = re.findall(r"(− )?(½ |√½ )?(even|odd)\[(\w+), (\w+)\]", named.get(name.lstrip("−"), ""))
            for minus, share, parity, row, column in terms:
                own, names = blocks[parity]
                factor = {"½ ": 0.5, "√½ ": 0.5**0.5, "": 1.0}[share] * (-1 if minus else 1)
                value += factor * float(own[names.index(row), names.index(column)].detach())
            torch.testing.assert_close(float(weight[i, j]), -value if name[0] == "−" else value, rtol=0, atol=1e-12)


def test_every_layer_is_on_the_page() -> None:
    named = [name for name in layers.__all__ if name not in ("Butterfly", "ChiralModule", "paper_layout")]
    assert [name for name in named if name not in PAGE] == []
