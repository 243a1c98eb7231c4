"""Example inputs where nobody gives any: the reading that a network was made for comes first, and what stays open is
asked for."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from chiralize.body.resolve import resolve
from chiralize.body.spec import load_spec
from chiralize.errors import AmbiguousLayoutError, ChiralizeError, UsageError
from chiralize.problem.examples import Reading, example_for
from chiralize.problem.prepare import prepare
from chiralize.problem.request import Source
from tests.support.zoo import CASES
from tests.support.zoo.case import H36M as PAIRS
from tests.support.zoo.case import Case, both, negated, scrambled, swapped, tensors

H36M = load_spec("h36m")
NESTED = "trees"
"""Takes a table and a keyword: no list of tensors says where they go."""


def derived(net: nn.Module, spec: Any = H36M, **more: Any) -> Reading:
    return example_for(net.eval(), spec, source=Source(), **more)


def shapes(net: nn.Module, spec: Any = H36M, **more: Any) -> list[tuple[int, ...]]:
    return [tuple(tensor.shape) for tensor in tree_leaves(derived(net, spec, **more).call)]


# ---- networks as they are ------------------------------------------------------------------------------------------
def answers_of(case: Case, call: Any) -> list[tuple[int, ...]]:
    args, kwargs = call
    with torch.no_grad():
        answers = tensors(getattr(case.model(torch.float32), case.entry)(*args, **kwargs))
    return [tuple(answer.shape) for answer in answers]


@pytest.mark.parametrize("name", [name for name in CASES if name != NESTED])
def test_the_true_reading_comes_first(name: str) -> None:
    """Layouts are the true ones, and all sizes but those of batch and frames."""
    case = CASES[name]
    spec, example = load_spec(yaml.safe_load(case.spec)), case.example(torch.float32)
    reading = derived(case.model(torch.float32), spec, entry=case.entry)
    true_shapes = [tuple(tensor.shape) for tensor in tree_leaves(example)]
    sizes = [tuple(tensor.shape) for tensor in tree_leaves(reading.call)]
    true = resolve(spec, true_shapes, answers_of(case, example)).inputs
    ours = resolve(reading.spec, sizes, answers_of(case, reading.call)).inputs
    assert [tensor.layout for tensor in ours] == [tensor.layout for tensor in true]
    for one, other in zip(ours, true, strict=True):
        is_open = [word in ("b", "t") for word in one.layout.split()] if one.kind == "pose" else [True] * len(one.shape)
        pairs = zip(is_open, one.shape, other.shape, strict=False)
        assert all(free or size == true_size for free, size, true_size in pairs), (one.shape, other.shape)
    (note,) = reading.findings
    assert (note.topic, note.level) == ("inputs", "note") and ",".join(map(str, sizes[0])) in note.facts


def test_a_nested_call_is_refused() -> None:
    case = CASES[NESTED]
    with pytest.raises(UsageError):
        derived(case.model(torch.float32), load_spec(yaml.safe_load(case.spec)))


# ---- layouts and frames ----------------------------------------------------------------------------------------------
class Wide(nn.Module):
    """A layer on all numbers of a sample."""

    def __init__(self, ins: int, outs: tuple[int, ...] = (17, 3), ndim: int | None = None) -> None:
        super().__init__()
        self.fc, self.outs, self.ndim = nn.Linear(ins, torch.Size(outs).numel()), outs, ndim

    def forward(self, x: Tensor) -> Tensor:
        assert self.ndim in (None, x.ndim)
        return self.fc(x.flatten(1)).unflatten(1, self.outs)


class Convolution(nn.Module):
    """On `b d t j m`, two people."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm1d(17 * 3 * 2)

    def forward(self, x: Tensor) -> Tensor:
        b, d, t, j, m = x.shape
        x = self.bn(x.permute(0, 1, 3, 4, 2).reshape(b, d * j * m, t)).reshape(b, d, j, m, t)[:, :, :, 0]
        return self.conv(x.transpose(2, 3)).mean((1, 2, 3))[:, None].expand(-1, 5)


def test_people() -> None:
    """Two people would be two coordinates of three frames, by sizes alone: the layout that was tried decides."""
    reading = derived(Convolution(), load_spec("h36m", invariant=True))
    assert reading.spec.inputs is not None and reading.spec.inputs[0].layout == "b d t j m"
    assert tree_leaves(reading.call)[0].shape[1:2] + tree_leaves(reading.call)[0].shape[3:] == (3, 17, 2)


def test_confidence_is_a_coordinate_that_stays() -> None:
    reading = derived(Wide(68))
    assert reading.spec.inputs is not None and reading.spec.inputs[0].dims == ("x", "y", "z", "c")
    assert tuple(reading.call[0][0].shape) == (2, 17, 4)


def test_joints_of_one_coordinate() -> None:
    spec = load_spec({"joints": ["l", "r", "c"], "pairs": [["l", "r"]], "dims": ["q"], "negate": []})
    assert shapes(nn.Linear(3, 3), spec) == [(2, 3)]


def test_the_users_layout_fixes_all_but_the_frames() -> None:
    spec = load_spec("h36m", input_layouts=["b (d j) t"], output_layouts=["b (d j) t"])
    assert shapes(nn.Conv1d(34, 51, 3), spec) == [(2, 34, 9)]


class Frames(nn.Module):
    """Frame by frame, with a position for each of `most`, or with a layer across all of them."""

    def __init__(self, most: int = 0, across: int = 0, **attributes: Any) -> None:
        super().__init__()
        self.fc, self.table = nn.Linear(34, 51), nn.Parameter(torch.randn(1, most, 51))
        self.across = nn.Linear(across, across) if across else None
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Tensor:
        assert x.ndim == 4
        y = self.fc(x.flatten(2))
        if self.table.shape[1]:
            y = y + self.table[:, : x.shape[1]]
        if self.across is not None:
            y = self.across(y.transpose(1, 2)).transpose(1, 2)
        return y.unflatten(2, (17, 3))


@pytest.mark.parametrize(
    ("net", "frames"),
    [
        (Frames(receptive_field=27), 27),
        (Frames(num_frames=16), 16),
        (Frames(num_frames=True, seq_len="9"), 9),
        (Frames(across=50), 50),
        (Frames(across=45), 45),
        (Frames(), 9),
    ],
)
def test_where_the_number_of_frames_comes_from(net: nn.Module, frames: int) -> None:
    assert shapes(net) == [(2, frames, 17, 2)]


def test_the_users_arrays_come_first() -> None:
    assert shapes(Frames(num_frames=16), arrays={"x": torch.zeros(8, 31, 17, 2)}) == [(2, 31, 17, 2)]


# ---- several tensors ------------------------------------------------------------------------------------------------
class Policy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(34 + 3, 6), nn.Linear(6, 51)

    def forward(self, pose: Tensor, speed: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = self.cell(torch.cat([pose.flatten(1), speed], 1), h)
        return self.head(h).unflatten(1, (17, 3)), h


class Table(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(34 + 2, 51)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.fc(torch.cat([batch["pose"].flatten(1), batch["goal"]], 1)).unflatten(1, (17, 3))


def test_free_inputs_and_states() -> None:
    """What a layer reads beyond the pose is the free one's; the state is as long as the cell's."""
    spec = load_spec("h36m", input_layouts=["b j d", "free", "state"], output_layouts=["b j d", "state"])
    reading = derived(Policy(), spec)
    assert [tuple(tensor.shape) for tensor in reading.call[0]] == [(2, 17, 2), (2, 3), (2, 6)]
    assert not reading.call[0][2].any() and reading.call[0][0].any()
    assert example_for(Policy(), spec, source=Source(input_shapes=("1,17,2", "1,3", "1,6"))).call[0][2].shape == (1, 6)


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(68, 51)

    def forward(self, now: Tensor, before: Tensor, step: int = 1) -> Tensor:
        return self.fc(torch.cat([now, before], 1).flatten(1)).unflatten(1, (17, 3))


def test_like_another_input() -> None:
    spec = load_spec({"skeleton": "h36m", "inputs": [{"layout": "b j d"}, {"like": "input 0"}]})
    assert shapes(Two(), spec) == [(2, 17, 2)] * 2


def test_a_table_by_the_names_of_its_entries() -> None:
    inputs = [{"layout": "b j d", "name": "pose"}, {"free": True, "name": "goal"}]
    (table,), _ = derived(Table(), load_spec({"skeleton": "h36m", "inputs": inputs})).call
    assert {name: tuple(tensor.shape) for name, tensor in table.items()} == {"pose": (2, 17, 2), "goal": (2, 2)}


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), AssertionError()])
def test_a_network_that_refuses_everything(error: BaseException) -> None:
    class Stubborn(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            raise error

    with pytest.raises(UsageError):
        derived(Stubborn(34, 51))


def test_arguments_that_nobody_described() -> None:
    with pytest.raises(UsageError):
        derived(Policy())


# ---- two samples, and what is left as it was ------------------------------------------------------------------------
class Remembering(nn.Module):
    """Writes a buffer of one sample, an attribute and a list in every call."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(34, 51)
        self.register_buffer("last", torch.zeros(1, 34))
        self.calls, self.seen = 0, [0]

    def forward(self, x: Tensor) -> Tensor:
        assert x.ndim == 3
        self.calls += 1
        self.seen.append(self.calls)
        self.last = x.flatten(1)
        return self.fc(self.last).unflatten(1, (17, 3))


class Squeezed(Wide):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).squeeze()


def test_a_state_of_one_sample_and_a_squeeze_get_one_sample() -> None:
    assert shapes(Remembering()) == [(1, 17, 2)]
    spec = load_spec("h36m", input_layouts=["b j d"], output_layouts=["j d"])
    assert shapes(Squeezed(34), spec) == [(1, 17, 2)]


def test_the_network_is_left_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    net = Remembering().eval()
    before = copy.deepcopy(net.state_dict())
    derived(net)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert net.calls == 0 and net.seen == [0] and type(net.last) is Tensor
    assert capfd.readouterr() == ("", "")


class Numbers(Wide):
    """Looks at numbers, which fake tensors have not."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if x.sum() > 0 else -x)


def test_a_network_that_looks_at_numbers_gets_some() -> None:
    assert shapes(Numbers(34)) == [(2, 17, 2)]


def test_trials_without_fake_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    """They stand in a private module of torch."""
    monkeypatch.setattr("chiralize.problem.trial.FakeTensorMode", None)
    assert shapes(Wide(34)) == [(2, 17, 2)]


# ---- the order of joints and coordinates ----------------------------------------------------------------------------
def turn(x: Tensor, dims: int, by_joint: bool) -> Tensor:
    """T on numbers that are stored joint by joint or coordinate by coordinate."""
    if by_joint:
        return both(swapped(PAIRS, -2), negated([0], -1))(x.unflatten(-1, (17, dims))).flatten(-2)
    return both(swapped(PAIRS, -1), negated([0], -2))(x.unflatten(-1, (dims, 17))).flatten(-2)


class Lopsided(nn.Module):
    """Nearly equivariant, as a trained network is: a share of it has only seen one side."""

    def __init__(self, by_joint: bool, share: float, scores: bool = False) -> None:
        super().__init__()
        self.by_joint, self.share, self.scores = by_joint, share, scores
        self.net = nn.Sequential(nn.Linear(34, 64), nn.BatchNorm1d(64), nn.Tanh(), nn.Linear(64, 9 if scores else 51))

    def forward(self, x: Tensor) -> Tensor:
        answer, other = self.net(x), self.net(turn(x, 2, self.by_joint))
        other = other if self.scores else turn(other, 3, self.by_joint)
        return (answer + other) / 2 + self.share * (answer - other) / 2


@pytest.mark.parametrize(
    ("by_joint", "scores", "share"), [(True, False, 0.3), (False, False, 0.05), (True, True, 0.05), (False, True, 0.3)]
)
def test_the_networks_answers_choose(by_joint: bool, scores: bool, share: float) -> None:
    """What is chosen is what the network is made ready with."""
    text = "b (j d)" if by_joint else "b (d j)"
    net = scrambled(Lopsided(by_joint, share, scores), 0).eval()
    reading = derived(net, load_spec("h36m", invariant=scores))
    network = prepare(net, *reading.call, reading.spec)
    assert network.resolved.inputs[0].layout == text
    output = network.resolved.outputs[0]
    assert output.kind == "invariant" if scores else output.layout == text


@pytest.mark.parametrize(("share", "by_joint"), [(1.0, True), (3.0, False)])
def test_answers_that_say_nothing_choose_nothing(share: float, by_joint: bool) -> None:
    """At a share of 1 the network is one that never saw a mirrored pose."""
    with pytest.raises(AmbiguousLayoutError):
        derived(scrambled(Lopsided(by_joint, share), 0))


def test_constant_answers_choose_nothing() -> None:
    class Still(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input) * 0

    with pytest.raises(ChiralizeError):
        derived(Still(34, 51))
