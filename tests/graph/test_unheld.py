"""Constants that a module does not hold are known by the name of their global, and nothing promises to change them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.commands.convert import Request, convert
from chiralize.errors import AsymmetricConstantError
from chiralize.problem.preparation import prepare
from tests.support.small_body import IMAGE, POSE, ROUNDING, normal, residual, trained

CHAIN = (np.eye(6) + np.eye(6, k=1)) / 2
EVEN = CHAIN + CHAIN[list(IMAGE)][:, list(IMAGE)]
STORED = torch.from_numpy(CHAIN)


class Graph(nn.Module):
    """A layer over joints, whose adjacency comes from somewhere else."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(2, 8), nn.Linear(8, 2)

    def adjacency(self) -> Tensor:
        return torch.from_numpy(CHAIN)

    def forward(self, x: Tensor) -> Tensor:
        return self.last((self.adjacency().to(x) @ self.first(x)).tanh())


class OfArrays(Graph):
    def forward(self, x: Tensor) -> Tensor:
        return self.last((torch.tensor(CHAIN).to(x) @ self.first(x)).tanh())


class OfTensors(Graph):
    def forward(self, x: Tensor) -> Tensor:
        return self.last((STORED @ self.first(x)).tanh())


class OfNumbers(Graph):
    def adjacency(self) -> Tensor:
        return torch.tensor([[float(row + 1 == column) for column in range(6)] for row in range(6)])


class OfPowers(Graph):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("hops", torch.from_numpy(CHAIN))

    def adjacency(self) -> Tensor:
        return self.get_buffer("hops") @ self.get_buffer("hops")


class OfAList(Graph):
    def __init__(self) -> None:
        super().__init__()
        self.hops = [torch.from_numpy(CHAIN)]

    def adjacency(self) -> Tensor:
        return self.hops[0]


class Even(Graph):
    def adjacency(self) -> Tensor:
        return torch.from_numpy(EVEN)


class Held(Graph):
    def __init__(self) -> None:
        super().__init__()
        self.hops = torch.from_numpy(CHAIN)

    def adjacency(self) -> Tensor:
        return self.hops


def converted(net: nn.Module, **options: Any) -> nn.Module:
    network = prepare(trained(net), parse_spec(POSE), (normal(3, 6, 2),))
    return convert(network, "net", Request("match", force=True, **options)).module


@pytest.mark.parametrize("symmetrize", [False, True])
@pytest.mark.parametrize(
    ("build", "name"),
    [
        (Graph, f"CHAIN of {__name__}"),
        (OfArrays, f"CHAIN of {__name__}"),
        (OfTensors, f"CHAIN of {__name__}"),
        (OfAList, f"CHAIN of {__name__}"),
    ],
)
def test_those_outside_are_named_and_not_changed(build: type[nn.Module], name: str, symmetrize: bool) -> None:
    with pytest.raises(AsymmetricConstantError) as raised:
        converted(build(), symmetrize_constants=symmetrize)
    assert raised.value.facts.startswith(f"constant {name} (6, 6) changes by ")
    assert raised.value.remedy.startswith(
        "make it symmetric where it is made, or let the module hold it (self.register_buffer in __init__) for "
        "--symmetrize-constants to change it"
    )


def test_what_forward_computes_has_no_name_of_an_op() -> None:
    with pytest.raises(AsymmetricConstantError, match=r"constant computed in forward \(6, 6\) changes by 1 "):
        converted(OfNumbers())
    with pytest.raises(AsymmetricConstantError, match=r"constant computed in forward of hops \(6, 6\) changes by "):
        converted(OfPowers())


def test_those_that_the_module_holds_can_be_changed() -> None:
    with pytest.raises(AsymmetricConstantError, match=r"constant hops \(6, 6\) .*\n.*use --symmetrize-constants"):
        converted(Held())
    assert residual(converted(Held(), symmetrize_constants=True), (3, 6, 2)) <= ROUNDING


def test_symmetric_ones_are_no_reason_to_refuse() -> None:
    assert residual(converted(Even()), (3, 6, 2)) <= ROUNDING
