"""Example and calibration inputs: which array goes where, in which kind, and what does not fit."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import load_spec, parse_spec
from chiralize.commands.api import Chirality
from chiralize.errors import DataFileError, UsageError
from chiralize.graph.running import Call
from chiralize.graph.time_limit import TimeLimit
from chiralize.problem.data import from_python
from chiralize.problem.data.cutting import check
from chiralize.problem.data.examples import examples_for, floating_dtype
from chiralize.problem.data.feeds import grouped, mapped
from chiralize.problem.data.from_python import calls_of
from chiralize.problem.data.inputs import calls_from, stacked
from chiralize.problem.data.shapes import input_names
from chiralize.problem.data.shelf import Shelf
from chiralize.problem.preparation import prepare
from chiralize.problem.readings.arguments import arrangements
from chiralize.problem.readings.none_runs import none_runs
from chiralize.problem.readings.search import Search
from chiralize.problem.readings.trial import Trial
from tests.support.command import library_warnings
from tests.support.reduce_nets import original
from tests.support.small_body import POSE, normal


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 2)

    def forward(self, pose: Tensor, speed: Tensor, step: Tensor | None = None) -> Tensor:
        return self.fc(pose) + speed


def stored(folder: Path, **arrays: Any) -> Path:
    path = folder / "data.npz"
    np.savez(path, **arrays)
    return path


def example(
    shapes: Sequence[str] = (),
    path: Path | None = None,
    brought: tuple[Any, ...] | None = None,
    net: nn.Module | None = None,
) -> Call:
    call = (brought, {}) if brought else None
    return examples_for(net or Net(), load_spec("h36m"), "m.pt2", shapes=shapes, example=path, brought=call).call


EXAMPLE = ((torch.zeros(2, 3), torch.zeros(2, 1)), {"step": torch.zeros(2, dtype=torch.long)})


def test_rows_of_a_text_are_samples_in_the_order_of_the_input(tmp_path: Path) -> None:
    """As many numbers a row as a sample has; a .npy of such rows stays an error, since it can say its axes."""
    x = np.arange(24.0).reshape(2, 4, 3)
    path = tmp_path / "poses.csv"
    np.savetxt(path, x.reshape(2, 12), delimiter=",", header="a header", comments="")
    example = ((torch.ones(1, 4, 3),), {})
    calls = list(calls_from(path, example))
    assert torch.equal(torch.cat([args[0] for args, _ in calls]), torch.tensor(x, dtype=torch.float32))
    np.savetxt(path, x.reshape(4, 6), delimiter=",")
    with pytest.raises(DataFileError, match="6 numbers a row, a sample of the model's input has 12"):
        calls_from(path, example)
    np.save(tmp_path / "poses.npy", x.reshape(2, 12))
    with pytest.raises(DataFileError, match=r"array.reshape\(-1, 4, 3\), where its numbers are in the order"):
        calls_from(tmp_path / "poses.npy", example)


@pytest.mark.parametrize(
    ("shape", "wanted", "fix"),
    [
        ((6, 4, 5, 3), (1, 3, 4, 5), r"put the axes in order: \(sample, 3, 4, 5\), array.transpose\(0, 3, 1, 2\)"),
        ((6, 4, 3, 3), (1, 3, 4, 3), r"put the axes in order: \(sample, 3, 4, 3\)$"),
        (
            (6, 4, 4, 3),
            (1, 3, 4, 4),
            r"\(sample, 3, 4, 4\), array.transpose\(0, 3, 1, 2\) where its channels are last$",
        ),
        (
            (6, 3, 4, 4),
            (1, 4, 4, 3),
            r"\(sample, 4, 4, 3\), array.transpose\(0, 2, 3, 1\) where its channels are first$",
        ),
        (
            (6, 17, 20, 2),
            (1, 9, 17, 2),
            r"\(sample, 20, 17, 2\), array.transpose\(0, 2, 1, 3\), if 20 stands where the network was run with 9",
        ),
        ((6, 9, 16, 2), (1, 9, 17, 2), "axis 2 has 16, where the network was run with 17"),
        ((6, 5), (4,), r"store a sample a row: \(sample, 4\), since one call takes one sample"),
        ((4, 3, 6), (1, 4, 3), r"store samples first: \(sample, 4, 3\)"),
        ((266, 30), (1, 266), r"store samples first: \(sample, 266\)"),
        ((30, 133, 2), (1, 266), r"array.reshape\(-1, 266\), where .*\(a layout \"b \(j d\)\" wants joints first"),
        (
            (30, 266),
            (1, 133, 2),
            r"array.reshape\(-1, 133, 2\), where its numbers are in the order that the network reads$",
        ),
        ((30, 17, 3), (1, 17, 2), r"give samples of the network's sizes, \(17, 2\): .* these have \(17, 3\)"),
    ],
)
def test_arrays_in_another_shape(shape: tuple[int, ...], wanted: tuple[int, ...], fix: str, tmp_path: Path) -> None:
    """The remedy is for what is wrong: an order of axes, a network without samples, samples that are not first."""
    np.save(tmp_path / "x.npy", np.zeros(shape))
    with pytest.raises(DataFileError) as found:
        calls_from(tmp_path / "x.npy", ((torch.ones(wanted),), {}))
    assert re.search(fix, found.value.remedy)


def test_names_decide_where_all_are_known(tmp_path: Path) -> None:
    pose, speed = np.arange(12.0).reshape(4, 3), np.arange(4.0).reshape(4, 1)
    path = stored(tmp_path, step=np.arange(4), speed=speed, pose=pose)
    calls = calls_from(path, EXAMPLE, names=input_names(Net()))
    assert len(calls) == 2
    (own_pose, own_speed), keywords = calls[1]
    assert own_pose.tolist() == pose[2:].tolist() and own_speed.tolist() == speed[2:].tolist()
    assert keywords["step"].tolist() == [2, 3] and keywords["step"].dtype == torch.long


def test_file_order_where_names_are_foreign(tmp_path: Path) -> None:
    """States are passed over, inputs without an array keep the example's value."""
    path = stored(tmp_path, b=np.ones((2, 1)))
    ((args, keywords),) = calls_from(path, EXAMPLE, states=(0,), names=("pose", "speed"))
    assert args[0].tolist() == EXAMPLE[0][0].tolist() and args[1].tolist() == [[1], [1]]
    assert keywords["step"].tolist() == [0, 0]


def test_left_over_samples_are_dropped(tmp_path: Path) -> None:
    path = stored(tmp_path, pose=np.ones((5, 3)))
    assert len(calls_from(path, EXAMPLE, names=("pose", "speed"))) == 2
    assert len(calls_from(path, EXAMPLE, names=("pose", "speed"), most=1)) == 1


@pytest.mark.parametrize("kind", [np.float64, np.int32, np.uint8, np.float16])
def test_numbers_take_the_kind_of_the_input(kind: type, tmp_path: Path) -> None:
    ((args, _),) = calls_from(stored(tmp_path, pose=np.ones((2, 3), kind)), EXAMPLE, names=("pose",))
    assert args[0].dtype == torch.float32


BAD = {
    "rank": ({"pose": np.ones(6)}, ("(6,)", "(2, 3)", "(sample, 3)")),
    "size": ({"pose": np.ones((2, 4))}, ("(2, 4)", "(2, 3)")),
    "too few": ({"pose": np.ones((1, 3))}, ("1 samples", "takes 2")),
    "uneven": ({"pose": np.ones((4, 3)), "speed": np.ones((6, 1))}, ("'pose': 4", "'speed': 6")),
    "too many": ({"a": np.ones((2, 3)), "b": np.ones((2, 1)), "c": np.ones(2), "d": np.ones(2)}, ("4 arrays", "pose")),
    "complex": ({"pose": np.ones((2, 3), complex)}, ("complex128", "float32")),
    "float for a count": ({"step": np.ones(2) / 2}, ("float64", "int64")),
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit(name: str, tmp_path: Path) -> None:
    arrays, says = BAD[name]
    with pytest.raises(DataFileError) as caught:
        calls_from(stored(tmp_path, **arrays), EXAMPLE, names=("pose", "speed"))
    assert all(text in str(caught.value) for text in says), caught.value


def test_shapes_become_random_inputs_in_the_networks_precision() -> None:
    args, keywords = example(["2,3", "2x1"], net=Net().double())
    assert [tuple(value.shape) for value in args] == [(2, 3), (2, 1)] and keywords == {}
    assert args[0].dtype == torch.float64 and args[0].std() > 0
    again, _ = example(["2,3", "2x1"], net=Net().double())
    assert torch.equal(args[0], again[0])


@pytest.mark.parametrize("text", ["", "a", "1,,2", "1,0", "-1,2", "1.5,2", "99999,99999,99999"])
def test_wrong_shapes(text: str) -> None:
    with pytest.raises(UsageError):
        example([text])


def test_what_the_file_brings_along_comes_last(tmp_path: Path) -> None:
    brought = (torch.ones(1, 3), torch.ones(1, 1))
    assert example(brought=brought)[0] is brought
    path = stored(tmp_path, pose=np.full((4, 3), 5.0))
    args, _ = example(path=path, brought=brought)
    assert args[0].tolist() == [[5, 5, 5]] and args[1] is brought[1]
    with pytest.raises(UsageError, match="2 arguments \\(pose, speed\\), and nothing says what they are"):
        example()
    with pytest.raises(UsageError, match="give one of them"):
        example(["1,3"], path)


def test_an_example_for_weights(tmp_path: Path) -> None:
    """One sample of every array; by name where all are known."""
    path = stored(tmp_path, speed=np.ones((4, 1)), pose=np.ones((4, 3)))
    args, keywords = example(path=path)
    assert [tuple(value.shape) for value in args] == [(1, 3), (1, 1)] and keywords == {}
    path = stored(tmp_path, pose=np.ones((4, 3)), step=np.arange(4))
    args, keywords = example(path=path)
    assert len(args) == 1 and keywords["step"].dtype == torch.long
    path = stored(tmp_path, first=np.ones((4, 3)), second=np.ones((4, 1)))
    args, keywords = example(path=path)
    assert [tuple(value.shape) for value in args] == [(1, 3), (1, 1)] and keywords == {}
    with pytest.raises(DataFileError, match="single number"):
        example(path=stored(tmp_path, pose=np.float64(3)))


def test_names_of_inputs() -> None:
    assert input_names(Net()) == ("pose", "speed", "step")
    assert input_names(Net(), "nothing") == ()
    with library_warnings():
        traced = torch.jit.trace(nn.Linear(2, 2), (torch.ones(1, 2),))
    assert input_names(traced) == ("input",)


def test_precision_of_a_network() -> None:
    assert floating_dtype(Net().double()) == torch.float64
    assert floating_dtype(nn.ReLU()) == torch.float32


# ---- calibration of the Python interface: nothing is held that need not be ------------------------------------------
ONE = ((torch.zeros(2, 3), torch.zeros(2, 1)), {"step": torch.zeros(2, dtype=torch.long)})


def rows_of(calls: Sequence[Call]) -> list[list[float]]:
    return torch.cat([call[0][0] for call in calls]).tolist()


@pytest.mark.parametrize("wrapped", [torch.from_numpy, lambda array: array, np.asfortranarray])
def test_arrays_are_cut_into_batches(wrapped: Any) -> None:
    """Other arguments keep the example's value, precision is the example's, what is left over is dropped."""
    array = np.arange(15.0).reshape(5, 3).astype(np.float32)
    calls, said = calls_of(wrapped(array), ONE)
    assert rows_of(calls) == array[:4].tolist() and said == ()
    assert calls[1][0][0].dtype == torch.float32 and calls[0][0][1] is ONE[0][1] and calls[0][1] == ONE[1]
    assert calls_of(array.astype(np.float64), ONE)[0][0][0][0].dtype == torch.float32
    with pytest.raises(DataFileError, match=r"shape \(1, 3\), one call of the model takes 2 samples"):
        calls_of(wrapped(array[:1]), ONE)


TWO: Call = ((torch.zeros(2, 5, 3), torch.zeros(2, 4)), {})


@pytest.mark.parametrize("example", [TWO, ((), dict(zip("mp", TWO[0], strict=True)))])
@pytest.mark.parametrize("wrapped", [torch.from_numpy, np.asarray])
def test_a_tuple_of_an_array_for_each_argument_is_cut(wrapped: Any, example: Call) -> None:
    data = (wrapped(np.random.rand(7, 5, 3)), wrapped(np.random.rand(7, 4)))
    calls, _ = calls_of(data, example)
    assert len(calls) == 3
    for column, whole in enumerate(data):
        parts = [(*args, *kwargs.values())[column] for args, kwargs in calls]
        torch.testing.assert_close(torch.cat(parts), torch.as_tensor(whole)[:6].float())
    with pytest.raises(DataFileError, match="hold 1 samples, one call of the model takes 2"):
        calls_of(tuple(value[:1] for value in data), example)


def test_a_tuple_that_may_be_batches_of_the_first_argument_is_those() -> None:
    x = torch.rand(4, 3)
    calls, _ = calls_of((x, x), ((torch.zeros(2, 3), torch.ones(2, 3)), {}))
    assert len(calls) == 2 and bool((calls[0][0][1] == 1).all())


def test_sequences_are_used_as_they_are() -> None:
    """Batches of tensors or tuples; nothing is copied."""
    batches = [torch.ones(2, 3), torch.zeros(4, 3)]
    calls, _ = calls_of(batches, ONE)
    assert len(calls) == 2 and calls[1][0][0] is batches[1]
    pairs = [(torch.ones(2, 3), np.ones((2, 1)))]
    assert calls_of(pairs, ONE)[0][0][0][1].dtype == torch.float32


NAMED: Call = ((), {"poses": torch.zeros(2, 3), "step": torch.zeros(2, 1)})


@pytest.mark.parametrize(
    "data",
    [
        torch.arange(12.0).reshape(4, 3),
        list(torch.arange(12.0).reshape(2, 2, 3)),
        [{"poses": part} for part in torch.arange(12.0).reshape(2, 2, 3)],
        iter([(part, torch.zeros(2, 1)) for part in torch.arange(12.0).reshape(2, 2, 3)]),
    ],
    ids=["tensor", "first alone", "by name", "in order"],
)
def test_networks_that_take_all_by_name(data: Any) -> None:
    calls, _ = calls_of(data, NAMED)
    assert torch.cat([kwargs["poses"] for _, kwargs in calls]).tolist() == torch.arange(12.0).reshape(4, 3).tolist()
    assert all(args == () and list(kwargs) == ["poses", "step"] for args, kwargs in calls)


UNFIT: dict[str, tuple[Any, Call, str]] = {
    "another name": (
        [{"pose": torch.zeros(2, 3)}],
        NAMED,
        "a batch has 'pose', one call of the model takes poses, step",
    ),
    "too many": ([(torch.zeros(2, 3),) * 3], NAMED, "a batch has 3 arguments, one call of the model takes 2"),
    "sparse": (torch.zeros(4, 3).to_sparse(), ONE, "a tensor of layout sparse_coo is given"),
    "without values": ([torch.zeros(2, 3, device="meta")], ONE, "a tensor without values (meta) is given"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_data_that_do_not_fit(name: str) -> None:
    data, example, says = UNFIT[name]
    with pytest.raises(DataFileError) as caught:
        calls_of(data, example)
    assert caught.value.facts == says


def test_iterables_are_run_through_once() -> None:
    """A generator, and a loader that shuffles: every pass sees the same batches."""
    data = torch.arange(60.0).reshape(20, 3)
    loader = torch.utils.data.DataLoader(data.split(2), batch_size=None, shuffle=True)  # type: ignore[arg-type]
    for items in (loader, iter(data.split(2))):
        calls, said = calls_of(items, ONE)
        assert len(calls) == 10 and said == ()
        assert rows_of(calls) == rows_of(calls) and sorted(rows_of(calls)) == data.tolist()


def test_endless_iterables_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """After so many samples, with a remark; beyond the room in memory batches lie in files."""
    monkeypatch.setattr(from_python, "MOST_SPOOLED", 100)
    monkeypatch.setattr(from_python, "Shelf", lambda count: Shelf(count, room=200))
    endless = (torch.full((2, 3), float(number)) for number in itertools.count())
    calls, said = calls_of(endless, ONE)
    assert len(calls) == 50 and said == ("calibration: the first 100 samples were taken",)
    assert [call[0][0][0, 0].item() for call in calls] == list(range(50))


def test_a_generator_converts(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the public function, with the remark in the report."""
    monkeypatch.setattr(from_python, "MOST_SPOOLED", 64)
    batches = (normal(8, 6, 2, seed=seed) for seed in range(20))
    found = chiralize.chiralize(original("residual"), parse_spec(POSE), (normal(8, 6, 2),), method="reduce",
                                calibration=batches, samples=1, rounds=0, force=True)  # fmt: skip
    assert isinstance(found.chirality, Chirality)
    assert found.chirality.report.notes[0] == "calibration: the first 64 samples were taken"


@pytest.mark.thorough
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_file_on_the_disk_stays_there(tmp_path: Path) -> None:
    """200 MB, looked at from end to end, batch by batch: memory of our own grows by a few."""

    def own() -> int:
        line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
        return int(line.split()[1]) // 1000

    path, rows = tmp_path / "poses.npy", 200_000_000 // 4 // 3000
    array = np.lib.format.open_memmap(path, "w+", np.float32, (rows, 3000))
    array[1] = 1.0
    del array
    before = own()
    example = ((torch.zeros(1, 3000),), {})
    calls = mapped(stacked, grouped(calls_from(path, example), 32))
    highest, total = 0, 0.0
    for call in calls:
        highest, total = max(highest, own()), total + float(call[0][0].sum())
    check(prepare(nn.Tanh(), parse_spec(POSE), (normal(2, 6, 2),)), calls)
    assert total == 3000 and highest - before < 30


def test_a_search_ends_when_its_time_is_used() -> None:
    spec = load_spec("h36m-17")
    module = nn.Linear(7, 7)  # no sizes of 17 joints fit
    counts: list[int] = []
    for seconds in (30.0, 0.0):
        search = Search(Trial(module, torch.float32), spec, arrangements(module, spec), limit=TimeLimit(seconds))
        assert search.first() is None
        counts.append(search.obstacles.tried)
        facts = none_runs(search, "net", "--input-shape", "convert").facts
        assert ("(17 joints, 3 dims); others were not tried, these took 0 s" in facts) == (seconds == 0)
    assert counts[1] < counts[0]
