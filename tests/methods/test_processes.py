"""Processes that share the inputs: each fits the same weights, those that one process fits on all of them."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor, distributed, nn

from chiralize.commands.convert import Request, convert
from chiralize.graph import processes
from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.rollouts import Carried
from chiralize.graph.running import Call
from chiralize.methods.refine import matrices
from chiralize.methods.refine.imitation import Distance, Weights
from chiralize.methods.refine.lessons import MovedAnew
from chiralize.methods.refine.steps import Steps
from chiralize.methods.refine.training import Training
from chiralize.problem.network import Network
from chiralize.problem.result import WeightAction
from chiralize.symmetry import reynolds
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation
from chiralize.verification.drift import measure, measure_along
from tests.support.reduce_nets import KINDS, calls_for, original, subject_of

ROWS = 64


@cache
def network_of(kind: str) -> Network:
    """Made ready once; no task changes it."""
    return subject_of(original(kind), KINDS[kind].shape, ROWS)


def reduced(kind: str, calls: Sequence[Call], options: dict[str, Any]) -> dict[str, Tensor]:
    """Weights of the network made smaller, and its rho."""
    network = network_of(kind)
    options = {"rounds": 0, **options}
    found = convert(network, kind, Request("reduce", calibration=calls, samples=1, force=True, **options))
    assert found.report.drift is not None
    return {**found.module.state_dict(), "rho": torch.tensor([found.report.drift.rho, found.report.drift.samples])}


def both_halves(kind: str, **options: Any) -> Callable[[int, int], dict[str, Tensor]]:
    def part(rank: int, count: int) -> dict[str, Tensor]:
        return reduced(kind, calls_for(KINDS[kind].shape, 30, ROWS)[rank::count], options)

    return part


def averaged_gradient(rank: int) -> Tensor:
    """The gradient of one weight, 1 in the first process and 3 in the second, as training makes it."""
    layer = nn.Linear(2, 1, bias=False)
    layer.weight.grad = torch.full((1, 2), 2.0 * rank + 1)
    calls = calls_for((2,), 1, 4)
    distance = Distance(lambda call: [call[0][0]], layer, calls, [0])
    weights = Weights(layer, WeightAction())
    Training(distance, weights, MovedAnew(distance, calls, True), calls)._average()
    return layer.weight.grad


def summed(rank: int, count: int) -> dict[str, Tensor]:
    """Sums, means, the first one's values and decisions, numbers of batches and what is drawn for them."""
    own, other = torch.full((2, 2), float(rank + 1)), torch.full((3,), rank, dtype=torch.float64)
    processes.add_up([own, other])
    first = torch.full((2,), 7.0 + rank)
    processes.take_first([first])
    numbers = torch.tensor([processes.number_of(place) for place in range(3)])
    drawn = torch.stack([torch.randn(2, generator=processes.generator(place)) for place in range(3)])
    return {"own": own, "other": other, "first": first, "numbers": numbers, "drawn": drawn,
            "gradient": averaged_gradient(rank),
            "total": torch.tensor(processes.total(rank + 1)),
            "decided": torch.tensor(processes.of_first(rank + 5))}  # fmt: skip


def projected(steps: int = 0) -> dict[str, Tensor]:
    """Weights that are not fitted on any inputs, and so many steps from there."""
    calls = calls_for(KINDS["residual"].shape, 25, ROWS)
    request = Request("project", calibration=calls, samples=1, force=True, distill=steps)
    return dict(convert(network_of("residual"), "net", request).module.state_dict())


def distilled(rank: int, count: int) -> dict[str, Tensor]:
    """Every process with the same inputs."""
    return projected(12)


def distilled_apart(rank: int, count: int) -> dict[str, Tensor]:
    """Every process with its own inputs, from the same start."""
    return both_halves("residual", distill=12)(rank, count)


def together(rank: int, count: int) -> dict[str, Tensor]:
    """All layers at once, every process with its own inputs."""
    return both_halves("residual", rounds=2)(rank, count)


def stepped(rank: int, count: int) -> dict[str, Tensor]:
    """Weights after two steps: in blocks and in one piece, one without a gradient; each is moved by one process."""
    whole, kernel = (TensorRepresentation((HALVES, HALVES, *rest)) for rest in ((), (Representation.trivial(3),)))
    known = [whole, kernel, None, whole, None]
    draw = torch.Generator().manual_seed(0)
    weights = [nn.Parameter(torch.randn(8, 8, *[3] * (at == 1), generator=draw)) for at in range(len(known))]
    with mock.patch.multiple(matrices, _SHARED=1, _LEAST=2):
        steps = Steps(weights, known)
        for _ in range(2):
            for weight, rep in zip(weights[:-1], known, strict=False):
                gradient = torch.randn(weight.shape, generator=draw)
                weight.grad = gradient if rep is None else reynolds.project(gradient, rep)
            steps.take(0.1)
    return {str(at): weight.detach() for at, weight in enumerate(weights)}


class Answering(nn.Module):
    """Two outputs: of numbers, and of a class."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.tanh(self.scale * x * torch.tensor([1.0, 2.0])) + 100, x.argmax(1)


HALVES = Representation.of(SignedPermutation.halves(8))
PAIR = TensorRepresentation((Representation.trivial(8), Representation.of(SignedPermutation.of([(0, 1)], size=2))))
MIRROR = NetworkMirror((PAIR,), (PAIR, TensorRepresentation.trivial((8,))))
SHARES = {"halves": lambda number, rank: number % 2 == rank, "one": lambda number, rank: rank == 0,
          "other": lambda number, rank: rank == 1}  # fmt: skip
"""Whether an input goes to a process, by the number of the input and of the process."""


def figures(rank: int, count: int) -> dict[str, Tensor]:
    """Figures of single calls, and along sequences of unequal lengths, of which some processes have none."""
    out = dict[str, Tensor]()
    inputs = [((call[0][0].double(),), {}) for call in calls_for((2,), 7, 8)]
    for name, goes in SHARES.items():
        numbers = [number for number in range(len(inputs)) if count == 1 or goes(number, rank)]
        given = [inputs[number] for number in numbers]
        sequences = [[inputs[number]] * (40 * number + 20) for number in numbers]
        nets = Answering(1.0), Answering(1.1), MIRROR
        single = measure(*nets, given, "", probes=0)
        along = measure_along(*nets, sequences, "", Carried(False))
        for kind, (drift, degeneracy) in (("single", single), ("along", along)):
            values = [drift.gap, drift.rho, drift.samples, drift.steps, len(drift.outputs), len(drift.horizons)]
            joints = [joint.rho for joint in drift.outputs[0].joints]
            shares = [*degeneracy.odd_before, *degeneracy.odd_after]
            out[f"{name}, {kind}"] = torch.tensor([*values, *joints, *shares], dtype=torch.float64)
    return out


TASKS: dict[str, Callable[[int, int], dict[str, Tensor]]] = {
    "sums": summed,
    "figures": figures,
    "stepped": stepped,
    "residual": both_halves("residual"),
    "distilled": distilled,
    "distilled apart": distilled_apart,
    "together": together,
    "gru": both_halves("gru, two layers"),
    "transformer": both_halves("transformer"),
}
OF_ALL_TESTS = ("sums", "figures", "residual", "stepped", "distilled", "distilled apart", "together")


@cache
def by_itself(name: str) -> dict[str, Tensor]:
    """What one process finds with everything."""
    return TASKS[name](0, 1)


def run(name: str, rank: int, count: int, folder: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder / name}.group", rank=rank, world_size=count)
    torch.save(TASKS[name](rank, count), folder / f"{name}-{rank}.pt")
    distributed.destroy_process_group()


def in_processes(names: Sequence[str], folder: Path, count: int = 2) -> dict[str, list[dict[str, Tensor]]]:
    """What every process found, by task."""
    context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    context.set_forkserver_preload([__name__])  # everything is imported once for all of them
    spawned = [context.Process(target=run_all, args=(names, rank, count, folder)) for rank in range(count)]
    for own in spawned:
        own.start()
    for own in spawned:
        own.join(120)
        assert own.exitcode == 0
    return {name: [torch.load(folder / f"{name}-{rank}.pt") for rank in range(count)] for name in names}


def run_all(names: Sequence[str], rank: int, count: int, folder: Path) -> None:
    for name in names:
        run(name, rank, count, folder)


@pytest.fixture(scope="module")
def found(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[dict[str, Tensor]]]:
    """All tasks in the same two processes; without the tests that train, two of them."""
    tests = {item.name for item in request.session.items}
    names = OF_ALL_TESTS if tests & {"test_gradients_are_averaged", "test_rounds_are_shared"} else OF_ALL_TESTS[:4]
    return in_processes(names, tmp_path_factory.mktemp("processes"))


def test_sums_of_two(found: dict[str, list[dict[str, Tensor]]]) -> None:
    first, second = found["sums"]
    for own in (first, second):
        assert own["own"].tolist() == [[3, 3], [3, 3]] and own["other"].tolist() == [1, 1, 1]
        assert own["first"].tolist() == [7, 7] and own["total"] == 3 and own["gradient"].tolist() == [[2, 2]]
    assert (first["numbers"].tolist(), second["numbers"].tolist()) == ([0, 2, 4], [1, 3, 5])
    alone = [torch.randn(2, generator=processes.generator(place)) for place in range(6)]
    assert torch.equal(torch.stack(alone)[::2], first["drawn"]) and torch.equal(
        torch.stack(alone)[1::2], second["drawn"]
    )


def check_halves(name: str, bound: float, halves: Sequence[dict[str, Tensor]]) -> None:
    """Weights, rho and the number of samples are those of one process with everything."""
    wanted = by_itself(name)
    for half in halves:
        assert all(torch.equal(value, halves[0][key]) for key, value in half.items())
        assert half.keys() == wanted.keys()
        for key, value in wanted.items():
            torch.testing.assert_close(half[key], value, rtol=0, atol=bound * float(value.abs().max().clamp_min(1)))


def test_two_halves_make_a_whole(found: dict[str, list[dict[str, Tensor]]]) -> None:
    check_halves("residual", 1e-9, found["residual"])


def test_figures_of_two(found: dict[str, list[dict[str, Tensor]]]) -> None:
    """Also where a process was given nothing, and neither waits for the other."""
    check_halves("figures", 1e-9, found["figures"])
    assert float(by_itself("figures")["halves, along"][3]) == 140  # the median of all lengths


def test_each_moves_some_of_the_weights_for_both(found: dict[str, list[dict[str, Tensor]]]) -> None:
    check_halves("stepped", 1e-6, found["stepped"])
    torch.testing.assert_close(by_itself("stepped")["4"], found["stepped"][1]["4"], rtol=0, atol=0)


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "bound"), [("gru", 1e-9), ("transformer", 1e-5)])
def test_two_halves_of_other_kinds(name: str, bound: float, tmp_path: Path) -> None:
    """A trunk is turned to directions of its moments, which rounding turns too where two carry about as much."""
    check_halves(name, bound, in_processes([name], tmp_path)[name])


@pytest.mark.thorough
def test_gradients_are_averaged(found: dict[str, list[dict[str, Tensor]]]) -> None:
    """Processes with the same inputs train as one does; with their own they stay together.

    Steps do not depend on how large gradients are. That these are means, and no sums, is shown in `test_sums_of_two`.
    """
    wanted, before = distilled(0, 1), projected()
    for own in found["distilled"]:
        for key, value in wanted.items():
            apart, moved = (own[key] - value).abs().max(), (value - before[key]).abs().max()
            assert apart <= 0.1 * moved  # Muon computes in bfloat16, where the last bit of a sum may move the step
    first, second = found["distilled apart"]
    assert all(torch.equal(value, second[key]) for key, value in first.items())
    assert float((first["last.weight"] - found["residual"][0]["last.weight"]).abs().max()) > 1e-6


@pytest.mark.thorough
def test_rounds_are_shared(found: dict[str, list[dict[str, Tensor]]]) -> None:
    """Processes with their own inputs end with the same weights, nearer than least squares alone."""
    first, second = found["together"]
    assert all(torch.equal(value, second[key]) for key, value in first.items())
    assert float(first["rho"][0]) < float(found["residual"][0]["rho"][0])


def test_the_halves_differ() -> None:
    """A planted fault: without the sums, a process fits its own half."""
    whole = by_itself("residual")["last.weight"]
    half = TASKS["residual"](0, 2)["last.weight"]
    assert float((half - whole).abs().max()) > 1e-6


def test_alone_nothing_happens() -> None:
    own = torch.ones(2)
    processes.add_up([own])
    processes.take_first([own])
    assert own.tolist() == [1, 1] and processes.count() == 1 and processes.total(5) == 5
