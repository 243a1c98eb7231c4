"""Spreads of actions and second forms of variances, which forward does not read, go with the weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiralize import chiralize
from chiralize.errors import NoRuleError, WrongValueError

BODY = {
    "joints": ["left", "right", "neck"],
    "pairs": [["left", "right"]],
    "dims": ["q"],
    "negate": [],
    "signs": {"neck": [-1]},
}
SPEC = {
    "name": "small",
    **BODY,
    "inputs": [{"name": "policy", "layout": "b (j d)"}],
    "outputs": [{"layout": "b (j d)"}],
}
pytestmark = pytest.mark.filterwarnings("ignore")


class Policy(nn.Module):
    """A normaliser as rsl_rl has it, and a mean; spreads beside it."""

    _mean: Tensor
    _std: Tensor
    _var: Tensor

    def __init__(self, **spreads: Tensor) -> None:
        super().__init__()
        for name, value in (("_mean", torch.randn(3)), ("_std", torch.rand(3) + 0.5)):
            self.register_buffer(name, value)
        self.register_buffer("_var", self._std.square())
        self.head = nn.Linear(3, 3)
        for name, spread in spreads.items():
            self.register_parameter(name, nn.Parameter(spread))

    def forward(self, x: Tensor) -> Tensor:
        """Means of actions."""
        return self.head((x - self._mean) / (self._std + 0.01)).tanh()


def converted(model: nn.Module, **options: Any) -> Any:
    return chiralize(model, SPEC, (torch.randn(4, 3),), **{"method": "match", "force": True, **options})


def test_spreads_and_variances() -> None:
    """The variance that partners share is the mean of theirs; the original keeps what it had."""
    torch.manual_seed(0)
    std = torch.tensor([0.3, 0.4, 2.0])
    model = Policy(std=std.clone(), log_std=std.log()[None])
    chiral = converted(model)
    expected = torch.tensor([0.125, 0.125, 4.0])
    assert torch.allclose(chiral.std.square(), expected) and torch.allclose(chiral.log_std.exp().square()[0], expected)
    assert torch.equal(model.std, std) and not torch.equal(model._var, chiral._var)
    assert torch.allclose(chiral._var, chiral._std.square())
    notes = " ".join(chiral.chirality.report.notes)
    assert "std, a spread of the actions" in notes and "by a factor of up to 1.18" in notes
    assert "_var was set to the square of _std" in notes


class Feet(nn.Module):
    """Divides three inputs by a spread called `std`, which is no spread of its three answers."""

    std: Tensor

    def __init__(self, by_product: bool) -> None:
        super().__init__()
        std = torch.tensor([0.2, 4.0, 1.5])
        self.register_buffer("std", 1 / std if by_product else std)
        self.by_product = by_product
        self.hidden, self.head = nn.Linear(3, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Positions from accelerations."""
        x = x * self.std if self.by_product else x / self.std
        return self.head(self.hidden(x).tanh())


@pytest.mark.parametrize("by_product", [False, True])
def test_a_spread_that_forward_reads_stays(by_product: bool) -> None:
    """The mirror of the inputs leaves it as it is, and answers have other partners: it was averaged over these."""
    torch.manual_seed(0)
    spec = {**SPEC, "inputs": [{"layout": "b f", "fields": [{"signs": [1, -1, 1]}]}]}
    spec["outputs"] = [{"layout": "b f", "fields": [{"items": ["left", "right", "neck"], "kind": "scalar"}]}]
    model = Feet(by_product)
    chiral: Any = chiralize(model, spec, (torch.randn(4, 3),), method="match", force=True)
    assert bool((chiral.std == model.std).all())
    assert "std" not in " ".join(chiral.chirality.report.notes)


def test_what_is_no_spread_of_actions_stays() -> None:
    """One that is symmetric already, one of another size (named), a variance that is no square; none of an average."""
    torch.manual_seed(0)
    model = Policy(std=torch.tensor([0.5, 0.5, 2.0]), log_std=torch.randn(8, 3))
    model._var.mul_(2)
    chiral = converted(model)
    notes = " ".join(chiral.chirality.report.notes)
    assert torch.equal(chiral.log_std, model.log_std) and torch.equal(chiral._var, model._var)
    assert "log_std of shape (8, 3)" in notes and "std, a spread" not in notes
    lopsided = Policy(std=torch.tensor([0.3, 0.4, 2.0]))
    assert "spread of the actions" not in " ".join(converted(lopsided, method="average").chirality.report.notes)


class Drawing(Policy):
    """Draws, unless it is asked not to."""

    def forward(self, x: Tensor, deterministic: bool = False) -> Tensor:
        """Actions."""
        mean = super().forward(x)
        return mean if deterministic else mean + torch.randn_like(mean)


class Whole(nn.Module):
    """An agent with a head for the mean, which answers with more."""

    def __init__(self) -> None:
        super().__init__()
        self.actor_mean = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Actions and a value."""
        mean = self.actor_mean(x)
        return mean, mean.sum(1)


def test_what_draws_is_named_with_its_remedy() -> None:
    with pytest.raises(NoRuleError, match=r"example_kwargs=\{'deterministic': True\}"):
        converted(Drawing())
    assert converted(Drawing(), example_kwargs={"deterministic": True}) is not None
    with pytest.raises(WrongValueError, match=r"head for the mean of the actions, model\.actor_mean"):
        converted(Whole())


class Table:
    """What a TensorDict is to those who do not import it."""

    def __init__(self, values: dict[str, Tensor]) -> None:
        self.values, self.batch_size = values, [len(next(iter(values.values())))]

    def keys(self) -> Any:
        return self.values.keys()

    def __getitem__(self, name: str) -> Tensor:
        return self.values[name]


class OfTable(nn.Module):
    """Reads one group of a table."""

    obs_groups = ["policy"]

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 3)

    def forward(self, obs: "TensorDict") -> Tensor:  # type: ignore[name-defined]  # noqa: F821, UP037
        """Actions."""
        return self.head(obs["policy"]).tanh()


def test_tables() -> None:
    """A table with more groups than are named, as example and as calibration; to a tensor it is said what to give."""
    torch.manual_seed(0)
    table = Table({"critic": torch.randn(40, 7), "policy": torch.randn(40, 3)})
    options: Any = {"method": "match", "force": True}
    chiral = chiralize(OfTable(), SPEC, (table,), calibration=table, **options)  # type: ignore[arg-type]
    assert chiral({"policy": torch.randn(2, 3)}).shape == (2, 3)
    fitted = chiralize(OfTable(), SPEC, (table,), calibration=torch.randn(40, 3), **options)
    assert fitted({"policy": torch.randn(2, 3)}).shape == (2, 3)
    with pytest.raises(Exception, match=r"example_inputs=\(\{'policy': x\},\)"):
        chiralize(OfTable(), SPEC, (torch.randn(2, 3),), **options)
