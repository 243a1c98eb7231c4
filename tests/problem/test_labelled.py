"""Batches with labels, as trainers' DataLoaders give them: the inputs are taken where that is the one reading."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.errors import DataFileError, UsageError
from chiralize.graph.running import Call
from chiralize.problem.data.from_python import calls_of
from tests.support.small_body import POSE, Net, normal, trained

REMARK = "calibration: its batches are pairs (input, target), of which the inputs were taken"
X, Y = torch.randn(12, 6, 2), torch.arange(12)
ONE: Call = ((torch.zeros(2, 6, 2),), {})


def loader() -> DataLoader[Any]:
    return DataLoader(TensorDataset(X, Y), batch_size=4)


GIVEN: dict[str, Callable[[], Any]] = {
    "loader": loader,
    "list": lambda: list(loader()),
    "generator": lambda: ((x, y) for x, y in loader()),
    "arrays": lambda: [(x.numpy(), 1) for x in X.split(4)],
    "any target": lambda: [[X[:4], {"a": 1}], [X[4:8], None], [X[8:], "b"]],
}


@pytest.mark.one_in(3)
@pytest.mark.parametrize("name", GIVEN)
@pytest.mark.parametrize("example", [ONE, ((), {"x": torch.zeros(2, 6, 2)})], ids=["by position", "by name"])
def test_the_input_is_taken(name: str, example: Call) -> None:
    calls, remarks = calls_of(GIVEN[name](), example, names=("x",))
    taken = [value for args, kwargs in calls for value in (*args, *kwargs.values())]
    assert torch.equal(torch.cat(taken), X) and remarks == (REMARK,)


TWO: Call = ((torch.zeros(2, 6, 2), torch.zeros(2, 1)), {})
UNCHANGED: dict[str, tuple[Any, Call, tuple[str, ...]]] = {
    "a mask may be the second": ([(X[:2], Y[:2])], ONE, ("x", "mask")),
    "three parts": ([(X[:2], Y[:2], Y[:2])], ONE, ("x",)),
    "one part too few": ([(X[:2],)], TWO, ("x", "y")),
    "structures": ([(X[:2], Y[:2])], (((torch.zeros(2, 6, 2), torch.zeros(2)),), {}), ("x",)),
    "no tensor": ([(1.0, Y[:2])], ONE, ("x",)),
}


@pytest.mark.parametrize("name", UNCHANGED)
def test_what_could_mean_something_else_is_refused_as_before(name: str) -> None:
    data, example, names = UNCHANGED[name]
    with pytest.raises(DataFileError, match=r"a batch has \d arguments, one call of the model takes"):
        calls_of(data, example, names=names)


def test_two_arguments_are_two_arguments() -> None:
    calls, remarks = calls_of([(X[:2], torch.ones(2, 1))], TWO, names=("x", "y"))
    assert torch.equal(calls[0][0][1], torch.ones(2, 1)) and remarks == ()


# ---- through the doors ------------------------------------------------------------------------------------------
def lifter() -> nn.Module:
    return trained(Net(lambda s, x: s.last(torch.relu(s.first(x.flatten(1)))).unflatten(1, (6, 2)),
                       first=nn.Linear(12, 24), last=nn.Linear(24, 12)))  # fmt: skip


def batches(count: int = 400) -> DataLoader[Any]:
    return DataLoader(TensorDataset(normal(count, 6, 2), torch.zeros(count)), batch_size=20)


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore")
def test_a_conversion_takes_a_loader_and_says_so() -> None:
    labelled: Any = chiralize.chiralize(lifter(), parse_spec(POSE), normal(3, 6, 2), method="match",
                                        calibration=batches(), samples=1)  # fmt: skip
    bare: Any = chiralize.chiralize(lifter(), parse_spec(POSE), normal(3, 6, 2), method="match",
                                    calibration=[x for x, _ in batches()], samples=1)  # fmt: skip
    assert REMARK in labelled.chirality.report.notes and REMARK not in bare.chirality.report.notes
    assert all(torch.equal(a, b) for a, b in zip(labelled.parameters(), bare.parameters(), strict=True))


@pytest.mark.filterwarnings("ignore")
def test_an_audit_takes_it_under_either_name() -> None:
    args = (lifter(), parse_spec(POSE), normal(3, 6, 2))
    report = chiralize.audit(*args, calibration=batches(40))
    former = chiralize.audit(*args, data=batches(40))
    assert REMARK in report.notes and report.network == former.network
    assert "data= is called calibration= now: the former name still works" in former.notes
    assert not any("is called" in note for note in report.notes)
    with pytest.raises(UsageError, match="calibration is given as well"):
        chiralize.audit(*args, calibration=batches(40), data=np.zeros((4, 6, 2)))


def test_a_network_with_a_second_argument_gets_no_targets() -> None:
    """Whoever may mean a mask has to say so: the message is the one about arguments."""

    class Masked(nn.Module):
        def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
            return x if mask is None else x * mask

    with pytest.raises(DataFileError, match="a batch has 2 arguments, one call of the model takes 1"):
        chiralize.chiralize(Masked(), parse_spec(POSE), normal(3, 6, 2), method="match", calibration=batches(40))
