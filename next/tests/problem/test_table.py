"""The user's data as one table: which array goes where, in which kind, and what does not fit."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from chiralize.body.spec import parse_spec
from chiralize.errors import ChiralizeError, DataFileError, NonFiniteError, UsageError
from chiralize.graph.run import Arguments
from chiralize.problem import table as module
from chiralize.problem.network import Network
from chiralize.problem.prepare import prepare
from chiralize.problem.table import Table, names_of, table_of
from tests.support.small_body import BODY, POSE

X = np.random.default_rng(0).standard_normal((7, 6, 2)).astype(np.float32)
FREE = BODY + 'inputs: [{layout: "b j d", name: poses}, {free: true}, {free: true}]\noutputs: [{layout: "b j d"}]\n'


class Pose(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 2)

    def forward(self, pose: Tensor) -> Tensor:
        return self.fc(pose)


class Timed(Pose):
    """Its speed and step come beside the pose; the step goes by name only."""

    def forward(self, pose: Tensor, speed: Tensor, *, step: Tensor) -> Tensor:
        return self.fc(pose) * speed[:, None] + step[:, None, None]


def one() -> Network:
    return prepare(Pose(), (torch.zeros(2, 6, 2),), {}, parse_spec(POSE))


def three() -> Network:
    steps = torch.tensor([4, 9])
    return prepare(Timed(), (torch.zeros(2, 6, 2), torch.ones(2, 1)), {"step": steps}, parse_spec(FREE))


def rows_of(table: Table, size: int = 3) -> Tensor:
    return torch.cat([Arguments.of(*call).tensors[0] for call in table.batches(size)])


# ---- kinds of data ----------------------------------------------------------------------------------------------
KINDS: dict[str, Callable[[], Any]] = {
    "an array": lambda: X,
    "a tensor": lambda: torch.from_numpy(X),
    "Fortran order": lambda: np.asfortranarray(X),
    "a table of arrays": lambda: {"pose": X},
    "an array of another name": lambda: {"anything": X},
    "rows of numbers": lambda: X.reshape(7, 12),
    "batches of one": lambda: X[:, None],
    "batches": lambda: [X[:4], X[4:]],
    "samples": lambda: list(torch.from_numpy(X)),
    "tables": lambda: ({"pose": part} for part in (X[:4], X[4:])),
    "a loader of pairs": lambda: [(torch.from_numpy(X[:4]), torch.zeros(4)), (torch.from_numpy(X[4:]), torch.zeros(3))],
    "a loader": lambda: torch.utils.data.DataLoader(list(torch.from_numpy(X)), batch_size=2),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("kind", KINDS)
def test_all_kinds_are_one_table(kind: str) -> None:
    table = table_of(KINDS[kind](), one())
    assert len(table) == 7
    assert torch.equal(rows_of(table, 7), torch.from_numpy(X))
    assert torch.equal(rows_of(table), torch.from_numpy(X[:6])), "what fills no batch is left out"


@pytest.mark.parametrize("kind", [">f4", ">f8", "f2", np.longdouble, ">u2", ">i4", np.uint64, "?"])
def test_every_kind_of_number_is_taken(kind: Any) -> None:
    array = np.round(np.abs(X)).astype(kind)
    found = rows_of(table_of(array, one()), 7)
    assert found.dtype == torch.float32 and found.tolist() == array.astype(np.float32).tolist()


def test_arrays_go_to_inputs_by_name() -> None:
    """By the names of arguments and of the specification; what has no array keeps the example's first sample."""
    assert names_of(three()) == [{"pose", "poses"}, {"speed"}, {"step"}]
    for name in ("pose", "poses"):
        table = table_of({"step": np.arange(7), name: X}, three())
        (pose, speed), keywords = table.call([2, 3, 5])
        assert torch.equal(pose, torch.from_numpy(X[[2, 3, 5]]))
        assert keywords["step"].tolist() == [2, 3, 5] and keywords["step"].dtype == torch.long
        assert speed.tolist() == [[1.0]] * 3


def test_arrays_of_foreign_names_go_in_their_order() -> None:
    table = table_of({"a": X, "b": np.ones((7, 1))}, three())
    assert sorted(table.arrays) == [0, 1]
    as_tuple = table_of((X, np.ones((7, 1)), np.arange(7)), three())
    assert sorted(as_tuple.arrays) == [0, 1, 2]


def test_a_network_without_a_batch() -> None:
    spec = parse_spec(BODY + 'inputs: [{layout: "j d"}]\noutputs: [{layout: "j d"}]\n')
    table = table_of(X, prepare(Pose(), (torch.zeros(6, 2),), {}, spec))
    calls = table.batches(32)
    assert len(calls) == 7 and torch.equal(calls[3][0][0], torch.from_numpy(X[3]))


# ---- what does not fit ------------------------------------------------------------------------------------------
WRONG: dict[str, tuple[Any, type[ChiralizeError]]] = {
    "text": (np.full((4, 6, 2), "a"), DataFileError),
    "objects": (np.full((4, 6, 2), None), DataFileError),
    "beyond float32": (np.full((4, 6, 2), 1e300), NonFiniteError),
    "not a number": (np.full((4, 6, 2), np.nan), NonFiniteError),
    "complex": (torch.zeros(4, 6, 2, dtype=torch.complex64), DataFileError),
    "other joints": (np.zeros((4, 5, 2)), DataFileError),
    "axes in another order": (np.zeros((4, 2, 6)), DataFileError),
    "too many arguments": ([(torch.zeros(2, 6, 2), torch.zeros(2), torch.zeros(1))], DataFileError),
    "too many arrays": ({"a": X, "b": X}, DataFileError),
    "numbers in a batch": ([1.0, 2.0], DataFileError),
    "no batches": (iter([]), DataFileError),
    "no samples": (np.zeros((0, 6, 2)), DataFileError),
    "sizes that change": ([X, np.ones((3, 5, 2))], DataFileError),
    "sparse": (torch.zeros(4, 6, 2).to_sparse(), DataFileError),
    "without values": ([torch.zeros(2, 6, 2, device="meta")], DataFileError),
    "a name": ("poses.npy", UsageError),
    "a number": (3.5, UsageError),
}


@pytest.mark.parametrize("name", WRONG)
def test_data_that_do_not_fit(name: str) -> None:
    data, kind = WRONG[name]
    with pytest.raises(kind):
        table_of(data, one())


@pytest.mark.parametrize("data", [{"pose": X, "speed": np.ones((6, 1))}, {"step": np.ones(7) / 2}, {"pose": X, "x": X}])
def test_several_arrays_that_do_not_fit(data: Any) -> None:
    """Of other numbers of samples, halves for whole numbers, and a name beside one that nothing has."""
    with pytest.raises(DataFileError):
        table_of(data, three())


# ---- what is run through once -----------------------------------------------------------------------------------
def test_a_shuffling_loader_is_read_once() -> None:
    loader = torch.utils.data.DataLoader(list(torch.from_numpy(X)), batch_size=2, shuffle=True)  # type: ignore[arg-type]
    table = table_of(loader, one())
    assert torch.equal(rows_of(table), rows_of(table))
    assert sorted(rows_of(table, 7).flatten().tolist()) == sorted(X.flatten().tolist())


def test_endless_iterables_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """After so many samples; beyond the room in memory they lie in files that are gone with their arrays."""
    monkeypatch.setattr(module, "MOST", 100)
    monkeypatch.setattr(module, "ROOM", 200)
    endless = (np.full((2, 6, 2), float(number), np.float32) for number in itertools.count())
    table = table_of(endless, one())
    assert len(table) == 100 and rows_of(table, 2)[::2, 0, 0].tolist() == list(range(50))


def test_other_numbers_leave_the_table_alone() -> None:
    table = table_of(X.copy(), one())
    changed = table.changed(lambda index, samples: samples.add_(1), [1, 4])
    assert torch.allclose(rows_of(changed, 2), torch.from_numpy(X[[1, 4]]) + 1)
    assert torch.equal(rows_of(table, 7), torch.from_numpy(X))
