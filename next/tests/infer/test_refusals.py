"""Inference refuses what cannot be equivariant, at the right node and line, and comes to rest with one answer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from chiralize.errors import (
    AsymmetricConstantError,
    ChiralizeError,
    NegatedChannelsError,
    NeverEquivariantError,
    NoRuleError,
)
from chiralize.infer.run import Run
from chiralize.infer.solver.unknowns import Leave
from chiralize.symmetry.involution import SignedPermutation
from tests.infer.nets import PLANE, ROUNDING, SPACE, Net, finished, inferred, normal, rep, residual, trained, turn_of

H36M = SignedPermutation.of([(1, 4), (2, 5), (3, 6), (14, 11), (15, 12), (16, 13)], size=17)
SOURCE, RESULT = rep(2, H36M, PLANE), rep(2, H36M, SPACE)
MIX = torch.randn(17, 17, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Around(nn.Module):
    """Some function of a pose, then a linear head."""

    def __init__(self, function: Callable[[Tensor], Tensor], width: int) -> None:
        super().__init__()
        self.function, self.head = function, nn.Linear(width, 51)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.function(x).flatten(1)).view(-1, 17, 3)


class Late(Around):
    """The function at the end."""

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.head(x.flatten(1).tanh()).view(-1, 17, 3))


def nearest(x: Tensor) -> Tensor:
    """From every joint to the two that are nearest to it, added up."""
    apart = (x[:, :, None] - x[:, None]).square().sum(-1)
    places = apart.topk(3, largest=False).indices[..., None].expand(-1, -1, -1, 2)
    return (x[:, None].expand(-1, 17, -1, -1).gather(2, places) - x[:, :, None]).sum(2)


def normed(x: Tensor) -> Tensor:
    return nn.functional.layer_norm(x, (17, 2))


def averaged(x: Tensor) -> Tensor:
    return nn.functional.avg_pool1d(x.mT, 3, 1, 1).mT


REFUSED: dict[str, tuple[Callable[[Tensor], Tensor], int, type[ChiralizeError], str]] = {
    "an op without a rule": (lambda x: torch.linalg.pinv(x), 34, NoRuleError, "linalg"),
    "slice across the sides": (lambda x: x[:, :5], 10, NeverEquivariantError, "slice"),
    "relu on coordinates": (torch.relu, 34, NegatedChannelsError, "relu"),
    "layer norm on coordinates": (normed, 34, NegatedChannelsError, "norm"),
    "pooling along joints": (averaged, 34, ChiralizeError, "avg_pool1d"),
    "nearest neighbours": (nearest, 34, NeverEquivariantError, "topk"),
    "lopsided constant": (lambda x: torch.matmul(MIX, x), 34, AsymmetricConstantError, "constant"),
    "a number added": (lambda x: x + 1.0, 34, NegatedChannelsError, "add"),
    "dropout that stays on": (lambda x: nn.functional.dropout(x, 0.5), 34, NoRuleError, "dropout"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    function, width, error, word = REFUSED[name]
    with pytest.raises(error) as caught:
        finished(trained(Around(function, width)), normal(2, 17, 2), SOURCE, RESULT)
    assert caught.value.exit_status == 3 and "test_refusals.py" in caught.value.where
    assert word in str(caught.value)


LATE: dict[str, tuple[Callable[[Tensor], Tensor], type[ChiralizeError], str]] = {
    "signs": (torch.relu, NegatedChannelsError, "aten.relu.default"),
    "order": (averaged, NeverEquivariantError, "avg_pool1d.default"),
}


@pytest.mark.parametrize("name", LATE)
def test_a_refusal_names_the_operation_and_not_the_output(name: str) -> None:
    function, error, op = LATE[name]
    with pytest.raises(error) as caught:
        finished(trained(Late(function, 34)), normal(2, 17, 2), SOURCE, RESULT)
    assert op in str(caught.value) and "test_refusals.py" in str(caught.value)


# ---- an order of work that changes nothing --------------------------------------------------------------------------
class Coarser(nn.Module):
    """Blocks that sum the joints up in five parts and hand these out again, by constants that choose one by one."""

    parts: Tensor

    def __init__(self, blocks: int) -> None:
        super().__init__()
        parts = torch.rand(blocks, 5, 17, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        self.register_buffer("parts", parts + parts[:, :, H36M.partner.tolist()])
        self.first, self.last = nn.Linear(2, 8), nn.Linear(8, 3)
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for part, layer in zip(self.parts, self.layers, strict=True):
            x = x + torch.matmul(part.T, torch.relu(layer(torch.matmul(part, x))))
        return self.last(x)


class Gate(nn.Module):
    """A chain of layers, of whose last one a single unit is taken: it is a fixed point, as a last resort."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(34, 8), nn.Linear(8, 51)
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x.flatten(1))
        for layer in self.layers:
            x = layer(torch.relu(x))
        return (self.last(x) * x[:, :1].sigmoid()).unflatten(1, (17, 3))


@pytest.fixture
def visits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Leave]]:
    """Every rule that is run, with what it might guess."""
    seen: list[tuple[str, Leave]] = []
    apply = Run._apply

    def counted(self: Run, node: object) -> None:
        seen.append((node.name, self.solver.leave))  # type: ignore[attr-defined]
        apply(self, node)  # type: ignore[arg-type]

    monkeypatch.setattr(Run, "_apply", counted)
    return seen


def test_the_choice_of_a_constant_runs_only_the_rules_that_it_bears_on(visits: list[tuple[str, Leave]]) -> None:
    counts: list[int] = []
    for blocks in (3, 12):
        visits.clear()
        run = inferred(trained(Coarser(blocks)), normal(2, 17, 2), SOURCE, RESULT).run
        assert not run.constants.open(run.leaves, run.solver)
        counts.append(len(visits))
    assert counts[1] < 5 * counts[0]


def test_only_rules_that_may_guess_run_as_a_last_resort(visits: list[tuple[str, Leave]]) -> None:
    assert inferred(trained(Gate(20)), normal(2, 17, 2), SOURCE, RESULT).result().forced
    assert 0 < sum(leave > Leave.NOTHING for _, leave in visits) < 12


def test_inference_says_the_same_twice() -> None:
    net = trained(Gate(3))
    maps = [finished(net, normal(2, 17, 2), SOURCE, RESULT)[1] for _ in range(2)]
    assert maps[0] == maps[1]


def test_a_whole_round_moves_nothing_in_the_end() -> None:
    inference = inferred(trained(Coarser(3)), normal(2, 17, 2), SOURCE, RESULT)
    inference.finish()
    before = dict(inference.run.solver.bindings)
    inference.run.prove()
    assert {key: before[key] for key in before} == {key: inference.run.solver.bindings[key] for key in before}


# ---- an axis that is known without its signs -------------------------------------------------------------------------
GATES: dict[str, Callable[[Tensor], Tensor]] = {
    "square": lambda y: y * y,
    "beside a mean": lambda y: y + y * y.mean(2, keepdim=True),
    "a gate of the mean": lambda y: y * y.mean(2, keepdim=True).sigmoid(),
}


@pytest.mark.parametrize("name", GATES)
def test_an_axis_without_signs_that_is_known_decides_on_what_it_was_made_from(name: str) -> None:
    """The output's frames do not move, so those before the product may not."""

    def compute(net: Net, x: Tensor) -> Tensor:
        y = net.along(net.inlet(x.flatten(2)).relu().transpose(1, 2)).transpose(1, 2)
        return net.outlet(GATES[name](y)).unflatten(2, (17, 3))

    layers = {"along": nn.Linear(5, 5), "inlet": nn.Linear(34, 12), "outlet": nn.Linear(12, 51)}
    source, result = rep(2, 5, H36M, PLANE), rep(2, 5, H36M, SPACE)
    changed, _ = finished(trained(Net(compute, **layers)), normal(2, 5, 17, 2), source, result)
    assert residual(changed, normal(2, 5, 17, 2), turn_of(source), turn_of(result)) <= ROUNDING
