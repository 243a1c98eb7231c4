"""States: nothing of ours is left in them, the result starts where the original does, and both views have their own."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiralize import ChiralizeWarning, chiralize
from chiralize.body.tensors import parse_spec
from chiralize.errors import CaptureError, DriftError, DriftWarning, MethodUnavailableError, StateWarning
from chiralize.report import to_text
from tests.support.small_body import POSE, normal, stored, trained, turned

SPEC = parse_spec(POSE)
STEPS = [normal(1, 6, 2, seed=100 + step) for step in range(200)]
X = (normal(1, 6, 2),)


class Policy(nn.Module):
    """An LSTM with h and c in buffers, as humanoid policies are deployed."""

    def __init__(self, width: int = 6, start: float = 0.0) -> None:
        super().__init__()
        self.memory, self.head = nn.LSTM(12, width), nn.Linear(width, 12)
        self.register_buffer("h", start * torch.arange(float(width)).view(1, 1, -1))
        self.register_buffer("c", -start * torch.arange(float(width)).view(1, 1, -1))

    def forward(self, x: Tensor) -> Tensor:
        out, (h, c) = self.memory(x.flatten(1).unsqueeze(0), (self.h, self.c))
        self.h[:] = h
        self.c[:] = c
        return self.head(out.squeeze(0)).view(1, 6, 2)


class Plain(Policy):
    """h and c are plain attributes, assigned anew."""

    def __init__(self, start: float = 0.0) -> None:
        super().__init__(6, start)
        h, c = (0.3 + start + torch.zeros(1, 1, 6).double() for _ in range(2))
        del self.h, self.c
        self.h, self.c = h, c

    def forward(self, x: Tensor) -> Tensor:
        out, (self.h, self.c) = self.memory(x.flatten(1).unsqueeze(0), (self.h, self.c))
        return self.head(out.squeeze(0)).view(1, 6, 2)


def scripted(net: nn.Module) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(net)


def traced(net: nn.Module) -> Any:
    """Tracing runs the network, so that it starts in the middle of something."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        return torch.jit.trace(net, X)


def exported(net: nn.Module) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(net, X)


NETS: dict[str, Callable[[], Any]] = {
    "eager": lambda: trained(Policy()),
    "eager, not at zero": lambda: trained(Policy(start=0.2)),
    "plain attributes": lambda: trained(Plain()),
    "script": lambda: scripted(trained(Policy())),
    "script, not at zero": lambda: scripted(trained(Policy(start=0.2))),
    "trace": lambda: traced(trained(Policy())),
    "exported": lambda: exported(trained(Policy(start=0.2))),
}


def converted(net: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ChiralizeWarning)
        return chiralize(net, SPEC, X, samples=1, **options)


def states(net: Any) -> dict[str, bytes]:
    """Every stored tensor, bit by bit."""
    held = dict(net.state_dict if isinstance(net, torch.export.ExportedProgram) else net.state_dict())
    held |= {name: own for name, own in vars(net).items() if isinstance(own, Tensor)} if type(net) is Plain else {}
    return {name: own.detach().numpy().tobytes() for name, own in held.items()}


def runnable(net: Any) -> Any:
    return net.module() if isinstance(net, torch.export.ExportedProgram) else net


def rolled(net: Any, turn: Callable[[Tensor], Tensor] = lambda x: x) -> Tensor:
    """Answers along the sequence of a copy, from its stored state."""
    own = copy.deepcopy(runnable(net))
    with torch.no_grad():
        return torch.stack([own(turn(x)) for x in STEPS])


@pytest.mark.one_in(7)
@pytest.mark.parametrize("name", NETS)
def test_average_is_the_average_of_two_roll_outs(name: str) -> None:
    """Over 200 steps, to 1e-12; the original is left as it was, and the result starts where it does."""
    net = NETS[name]()
    before, expected = states(net), (rolled(net) + turned(rolled(net, turned))) / 2
    result = converted(net, method="average")
    assert states(net) == before
    first, again = rolled(result), rolled(result)
    assert torch.equal(first, again)
    assert (first - expected).abs().max() <= 1e-12
    assert (turned(rolled(result, turned)) - first).abs().max() <= 1e-12


METHODS = [
    *((name, "match") for name in ("eager", "plain attributes", "script, not at zero", "exported")),
    *((name, "project") for name in ("eager, not at zero", "script", "trace")),
]


@pytest.mark.one_in(8)
@pytest.mark.parametrize(("name", "method"), METHODS)
def test_weights_alone(name: str, method: str) -> None:
    """The residual over 200 steps; states that the mirror moves are made symmetric, and that is said."""
    net = NETS[name]()
    before = states(net)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result: Any = chiralize(net, SPEC, X, samples=1, method=method)
    assert states(net) == before
    first = rolled(result)
    assert (turned(rolled(result, turned)) - first).abs().max() <= 1e-12
    at_rest = name in ("eager", "script")
    moved = {own.name for own in result.chirality.report.changes.states if own.distance > 0}
    assert bool(moved) == any(own.category is StateWarning for own in caught)
    assert not moved if at_rest else moved <= {"h", "c"}
    text = to_text(result.chirality.report)
    assert ("starts from another stored state than the original" in text) == bool(moved)


@pytest.mark.thorough
def test_converted_twice() -> None:
    """A result is equivariant already, states included."""
    result = converted(NETS["script, not at zero"](), method="project")
    assert torch.equal(rolled(converted(result, method="project")), rolled(result))


@pytest.mark.one_in(2)
# ---- without sequences ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("samples", [None, normal(40, 6, 2)], ids=["no inputs", "samples"])
def test_without_sequences_nothing_is_promised(samples: Tensor | None) -> None:
    net = trained(Policy())
    assert converted(net, calibration=samples).chirality.report.form == "two-view"
    method = "project" if samples is None else "match"
    with pytest.warns(DriftWarning, match="its distance from the original is unknown"):
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            result: Any = chiralize(net, SPEC, X, calibration=samples, method=method, samples=1)
    report = result.chirality.report
    assert report.drift.stateful and report.drift.steps == 1 and report.drift.horizons == ()
    assert "its distance from the original is unknown" in report.verdict
    text = to_text(report)
    assert "nine of ten" not in text and "give --calibration" in text
    if samples is not None:
        assert "nothing is known about longer runs" in text
    with pytest.raises(MethodUnavailableError, match="keeps|carries"):
        converted(net, method="reduce", calibration=samples)


# ---- reduce -----------------------------------------------------------------------------------------------------
@pytest.mark.one_in(4)
@pytest.mark.parametrize("name", ["eager", "script, not at zero"])
def test_reduce_with_states_in_buffers(name: str) -> None:
    """Fitted along sequences."""
    net, sequences = NETS[name](), normal(2, 52, 6, 2, seed=3)
    before = states(net)
    result = converted(net, method="reduce", width=0.707, calibration=sequences, force=True)
    report = result.chirality.report
    assert report.drift.steps == 52 and [own.steps for own in report.drift.horizons] == [50, 52]
    assert (turned(rolled(result, turned)) - rolled(result)).abs().max() <= 1e-11
    assert states(net) == before


def test_reduce_is_refused_where_it_drifts_along_sequences() -> None:
    net, sequences = NETS["eager"](), normal(5, 12, 6, 2, seed=3)
    before = states(net)
    with pytest.raises(DriftError, match=r"rho = .* exceeds --max-drift 0.001"):
        converted(net, method="reduce", width=0.5, calibration=sequences, max_drift=0.001)
    assert states(net) == before


# ---- states of submodules ---------------------------------------------------------------------------------------
class Cell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(12, 6)
        self.register_buffer("hidden", 0.1 * torch.ones(1, 6))

    def forward(self, x: Tensor) -> Tensor:
        self.hidden = self.cell(x, self.hidden)
        return self.hidden


class PlainCell(Cell):
    """A plain attribute."""

    def __init__(self) -> None:
        super().__init__()
        hidden = self.hidden.double()
        del self.hidden
        self.hidden = hidden


class Past(nn.Module):
    """The last three observations: two in a row of frames, and the one before in a buffer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(36, 6)
        self.register_buffer("frames", 0.1 * torch.ones(1, 2, 12))
        self.register_buffer("oldest", 0.2 * torch.ones(1, 12))

    def forward(self, x: Tensor) -> Tensor:
        seen = torch.cat([x, self.frames.flatten(1)], 1) + torch.cat([self.oldest, x, x], 1)
        self.frames, self.oldest = torch.cat([self.frames[:, 1:], x[:, None]], 1), self.frames[:, 0]
        return torch.tanh(self.layer(seen))


class Around(nn.Module):
    def __init__(self, memory: nn.Module) -> None:
        super().__init__()
        self.memory, self.head = memory, nn.Linear(6, 12)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.memory(x.flatten(1))).view(1, 6, 2)


@pytest.mark.one_in(3)
@pytest.mark.parametrize(("memory", "method"), [(Cell, "average"), (PlainCell, "match"), (Past, "average")])
def test_submodules_that_assign_their_states(memory: type[nn.Module], method: str, tmp_path: Path) -> None:
    """torch.export sees assignments on the outermost module alone; in an averaged network there is none on that."""
    net = trained(Around(memory()))
    expected = (rolled(net) + turned(rolled(net, turned))) / 2
    written = torch.export.load(stored(net, tmp_path, shape=(1, 6, 2), method=method)).module()
    first = rolled(written)
    assert (turned(rolled(written, turned)) - first).abs().max() <= 1e-12
    assert first[1:].sub(first[:-1]).abs().amax((1, 2, 3)).min() > 1e-3
    if method == "average":
        assert (first - expected).abs().max() <= 1e-12
    x = X[0]
    with torch.no_grad():
        assert not torch.equal(written(x), written(x))


class TwoHolders(nn.Module):
    """One memory that two modules hold: the one writes it, the other reads it."""

    def __init__(self) -> None:
        super().__init__()
        memory = Cell()
        self.writer, self.reader = Around(memory), Around(memory)

    def forward(self, x: Tensor) -> Tensor:
        return self.writer(x) + self.reader(0.5 * x)


@pytest.mark.thorough
def test_auto_without_a_graph() -> None:
    """It ends where `average` does."""
    net = trained(TwoHolders())
    made = converted(net, method="auto", calibration=[normal(10, 6, 2, seed=seed) for seed in range(5)])
    assert made.chirality.report.method == "average"
    assert (rolled(made) - (rolled(net) + turned(rolled(net, turned))) / 2).abs().max() <= 1e-12


def test_a_memory_that_two_modules_hold() -> None:
    """No graph can be made of it, and what needs one says what is in the way."""
    with pytest.raises(
        CaptureError, match=r"hold the buffer under one name alone \(\S+ is \S+\), or use --method average"
    ):
        converted(trained(TwoHolders()), method="match")


# ---- what comes late, and what no graph holds -------------------------------------------------------------------
class WarmUp(nn.Module):
    """Softer in the first ten steps, by a counter."""

    def __init__(self, steps: Any) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 12))
        if isinstance(steps, Tensor):
            self.register_buffer("steps", steps)
        else:
            self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        self.steps += 1
        y = self.layers(x.flatten(1)).view(-1, 6, 2)
        if self.steps <= 10:
            y = 0.1 * y
        return y


COUNTERS: dict[str, Callable[[], Any]] = {
    "a number": lambda: trained(WarmUp(0)),
    "a buffer": lambda: trained(WarmUp(torch.tensor(0))),
    "script": lambda: scripted(trained(WarmUp(0))),
    "script, a buffer": lambda: scripted(trained(WarmUp(torch.tensor(0)))),
}


@pytest.mark.one_in(4)
@pytest.mark.parametrize("name", COUNTERS)
def test_a_branch_that_is_taken_after_many_calls(name: str) -> None:
    """The average counts as the original does; nothing says that its answers are those of single calls."""
    net = COUNTERS[name]()
    expected = (rolled(net) + turned(rolled(net, turned))) / 2
    result = converted(net, method="average")
    assert (rolled(result) - expected).abs().max() <= 1e-12
    assert all(own.is_leaf for own in result.parameters())
    assert result.chirality.report.drift.stateful
    assert "its distance from the original is unknown" in result.chirality.report.verdict


def test_no_result_forgets_a_state() -> None:
    """Of other sizes the result is a graph, which answered every call as the first."""
    sequences = normal(6, 20, 6, 2, seed=3)
    memory = PlainCell()
    memory.hidden = None  # type: ignore[assignment]
    with pytest.raises(CaptureError, match=r"memory.hidden: forward keeps a state here, which no graph holds"):
        converted(trained(Around(memory)), method="reduce", width=0.707, calibration=sequences, force=True)
