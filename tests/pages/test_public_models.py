"""The page of public models says what was measured."""

from __future__ import annotations

import copy
import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.public_models.judge import _in_float64, _zeroed, judge
from benchmarks.public_models.page import page
from benchmarks.public_models.recipe import all_recipes
from benchmarks.public_models.run import RECIPES
from benchmarks.public_models.trial import _together

ROOT = Path(__file__).parents[2]


def test_page_is_in_step() -> None:
    with (ROOT / "benchmarks" / "public_models" / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert (ROOT / "docs" / "public-models.md").read_text(encoding="utf-8") == page(rows), (
        "run: python -m benchmarks.public_models.page benchmarks/public_models/results.csv docs/public-models.md"
    )
    assert not [row["model"] for row in rows if float(row["match_residual"] or 0) > 1e-10]


def test_every_row_has_a_recipe() -> None:
    """Which loads without any checkout, and names the same repository and commit."""
    with (ROOT / "benchmarks" / "public_models" / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["model"]: (row["repository"], row["commit"]) for row in csv.DictReader(file)}
    recipes = all_recipes(RECIPES)
    assert {recipe.name: (recipe.repository, recipe.commit) for recipe in recipes} == rows and len(recipes) == len(rows)
    assert all(recipe.inputs() and callable(recipe.build) and recipe.spec for recipe in recipes)


def _draw(residual: float, *odd: tuple[float, float], problems: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"residual": residual, "odd": odd, "problems": [*problems]}


def test_draws_count_together() -> None:
    """The largest residual, all problems, and of the odd shares the median: one draw alone may keep too little."""
    draws = [_draw(1e-16, (0.4, 0.1)), _draw(3e-16, (0.5, 0.3), problems=("dead",)), _draw(2e-16, (0.5, 0.5))]
    found = _together(draws)
    assert (found["residual"], found["problems"], found["kept"]) == (3e-16, ["dead"], [[0.25, 0.6, 1.0]])
    assert _together(draws[:1])["problems"] == ["odd share of output 0: 0.400 -> 0.100"]
    few = _together([draws[0], draws[0], draws[2]])
    assert few["problems"] == ["odd share of output 0: median of 3 draws is too little"]
    nothing = _together([_draw(0.0, (0.005, 0.0))])
    assert nothing["problems"] == [] and nothing["kept"] == [[]]
    assert _together([draws[0], {"refusal": "CH303"}]) == {"refusal": "CH303"}


def test_opposite_weights_may_cancel() -> None:
    """Two drawn weights that are exactly opposite average to zero. A row or a bias that is emptied is reported."""
    before, cancelled, emptied = (nn.Linear(64, 64) for _ in range(3))
    with torch.no_grad():
        before.weight[3, 5] = -before.weight[7, 9]
        cancelled.load_state_dict(before.state_dict())
        cancelled.weight[3, 5] = cancelled.weight[7, 9] = 0
        emptied.load_state_dict(before.state_dict())
        emptied.weight[3] = 0
        emptied.bias[:1] = 0
    assert _zeroed(before, cancelled) == ()
    assert _zeroed(before, emptied) == ("weight", "bias")


class _Net(nn.Module):
    """Left and right, in pairs of (x, y), by a linear map; `hear` of the four entries get through. seen: "b j"."""

    def __init__(self, hear: list[float], flat: bool = False) -> None:
        super().__init__()
        self.map = nn.Linear(4, 4, bias=False)
        self.map.weight.data = torch.diag(torch.tensor(hear))
        self.flat = flat

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        return self.map(torch.round(x * 10) if self.flat else x) * seen.repeat_interleave(2, -1)


@pytest.mark.thorough
@pytest.mark.parametrize("flat", [False, True])
def test_judge_finds_dead_inputs(flat: bool) -> None:
    """A joint that only the original reacts to is a problem, one that neither hears is none; steps have no slope."""
    spec = {
        "joints": ["l", "r"],
        "pairs": [["l", "r"]],
        "dims": ["x", "y"],
        "inputs": ["... (j d)", {"layout": "... j", "dims": []}],
        "outputs": ["... (j d)"],
    }
    x = [torch.randn(3, 4), torch.ones(3, 2, dtype=torch.bool)]  # a mask of all: to add noise to it changes nothing
    whole, half, none = _Net([1.0] * 4, flat), _Net([1.0, 1.0, 0.0, 0.0], flat), _Net([0.0] * 4, flat)
    found = {name: judge(whole, net, spec, x, named=["map.weight"]) for name, net in (("half", half), ("whole", whole))}
    assert found["whole"].dead == () and found["whole"].passed
    assert found["half"].dead == ("input 0 r",)
    assert "no longer depends on input 0 r" in found["half"].problems
    both = judge(half, none, spec, x, named=["map.weight"])
    assert (both.dead, both.ignored) == (("input 0 l",), ("input 0 r", "input 1 l", "input 1 r"))


def test_copies_do_not_walk_through_what_was_copied() -> None:
    """A copy is given everything copied before it: to look through that for each buffer takes minutes for an LSTM."""
    before = torch.zeros(1)
    with _in_float64():
        assert copy.deepcopy(torch.zeros(2), {0: before}).dtype == torch.float64
    assert before.dtype == torch.float32
