"""Programs with open sizes: what an example of one sample leaves open, and what it may not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from chiralize.body.tensors import parse_spec
from chiralize.errors import CaptureError
from chiralize.graph import open_sizes
from chiralize.graph.export import export
from chiralize.graph.guards import is_against_one
from chiralize.graph.open_axes import open_batch
from chiralize.graph.open_sizes import opened
from chiralize.problem.preparation import prepare


class Branching(nn.Module):
    """Treats a single sample in another way."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x if x.shape[0] == 1 else x + 1


class Counting(nn.Module):
    """Remembers how often it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * self.calls


class Reading(nn.Module):
    """Decides by what it sees."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Squeezing(nn.Module):
    """Loses the axis of a single sample, as networks of one person do, and then goes another way."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        y = x.squeeze()
        return y if y.dim() == 3 else (self.factor * y).unsqueeze(0)


class Pretending(nn.Module):
    """Goes another way while it is looked at."""

    def forward(self, x: Tensor) -> Tensor:
        return x if torch.compiler.is_exporting() else -x


class Broadcasting(nn.Module):
    """One input has one row for all of the other's."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


def program_of(module: nn.Module, x: Tensor):  # noqa: ANN201
    return opened(module, (x,), {}, open_batch((x,), {}))


@pytest.mark.parametrize("rows", [1, 3])
def test_the_batch_is_open(rows: int) -> None:
    """Also where the example has one sample; the example stays the user's."""
    net, x = nn.Sequential(nn.Linear(4, 3), nn.ReLU()), torch.randn(rows, 4)
    program = program_of(net, x)
    assert program.example_inputs is not None and program.example_inputs[0][0] is x
    for count in (1, 2, 7):
        other = torch.randn(count, 4)
        assert torch.equal(program.module()(other), net(other))


def test_a_branch_for_one_sample_is_not_lost() -> None:
    """Longer examples would take the other branch: the program is that of the example itself."""
    x = torch.randn(1, 4)
    program = program_of(Branching(), x)
    assert torch.equal(program.module()(x), 2 * x)
    with pytest.raises(Exception, match=r"1"):
        program.module()(torch.randn(2, 4))


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_no_axis_of_one_entry_is_taken_for_a_long_one(factor: float) -> None:
    """torch.export guards no `squeeze`: the program is one that does what the network does."""
    x = torch.randn(1, 17, 3)
    assert torch.equal(program_of(Squeezing(factor), x).module()(x), factor * x)


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of samples in every export."""
    rows = list[int]()

    def counted(module: nn.Module, args: tuple[Tensor, ...], *others: Any) -> ExportedProgram:
        rows.append(len(args[0]))
        return export(module, args, *others)

    monkeypatch.setattr(open_sizes, "export", counted)
    return rows


def test_what_takes_one_sample_is_exported_once(exported: list[int]) -> None:
    """Longer examples are run, not exported, where the network refuses them."""
    net, x = Fixed(1), torch.randn(1, 17, 2)
    program = opened(net, (x, 0.5), {}, open_batch((x, 0.5), {}))
    assert exported == [1] and torch.equal(program.module()(x, 0.5)[0], net(x, 0.5)[0])


@pytest.mark.parametrize("net", [nn.LSTM(4, 3), nn.GRU(4, 3, 2, bidirectional=True), nn.RNN(4, 3, batch_first=True)])
def test_guards_against_one_entry_go_where_it_makes_no_difference(exported: list[int], net: nn.Module) -> None:
    """torch guards how values lie in memory. Frames stay open as well: no layer is taken apart into steps."""
    outer = Turned(net)
    x = torch.randn(1, 5, 4)
    program = opened(outer, (x,), {}, ((({0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}),), {}))
    assert exported == [2]
    for sizes in ((1, 5, 4), (3, 5, 4), (1, 1, 4), (2, 7, 4)):
        x = torch.randn(sizes)
        torch.testing.assert_close(program.module()(x), outer(x))


class Turned(nn.Module):
    """A layer between axes that change places, and one of which torch asks how its values lie in memory."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.last = nn.LazyLinear(2)
        self(torch.randn(1, 5, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.layer(x.transpose(0, 1))[0].transpose(0, 1))


class OtherOfOne(nn.Module):
    """A branch of its own for one sample."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x if x.shape[0] == 1 else x


def test_what_a_guard_refuses_is_exported_once_more(exported: list[int]) -> None:
    """The guard of a branch stays, or one sample would be answered wrongly. Exported on one it is the opposite."""
    x = torch.randn(1, 5, 4)
    program = program_of(OtherOfOne(), x)
    assert exported == [2, 1]
    torch.testing.assert_close(program.module()(x), 2 * x)
    with pytest.raises(Exception, match=r"1"):
        program.module()(torch.randn(2, 5, 4))


def test_where_no_guard_speaks_all_is_tried(exported: list[int]) -> None:
    """torch.export guards no `squeeze`: that one program is wrong says nothing of the others."""
    program_of(Squeezing(2.0), torch.randn(1, 17, 3))
    assert exported == [2, 1, 1]


def test_one_row_beside_many() -> None:
    """Axes that cannot both be open are fixed, and the examples keep no marks of what was tried."""
    x, y = torch.randn(1, 17, 3), torch.randn(5, 17, 3)
    program = opened(Broadcasting(), (x, y), {}, open_batch((x, y), {}))
    assert torch.equal(program.module()(x, y), x + y)
    assert not any("dynamic" in name for own in (x, y) for name in vars(own))


def test_what_is_remembered_is_put_back() -> None:
    net = Counting()
    program = program_of(net, torch.ones(1, 4))
    assert float(net.calls) == 0
    assert torch.equal(program.module()(torch.ones(2, 4)), torch.ones(2, 4))


def test_a_program_of_something_else_is_refused() -> None:
    with pytest.raises(CaptureError, match="gives other results on the examples"):
        program_of(Pretending(), torch.randn(2, 4))


def test_what_depends_on_the_data_is_refused() -> None:
    with pytest.raises(CaptureError, match="torch.export cannot capture the network"):
        program_of(Reading(), torch.randn(2, 4))


class Fixed(nn.Module):
    """Written for one batch size, and with arguments that are no tensors."""

    def __init__(self, batch: int) -> None:
        super().__init__()
        self.batch, self.layer = batch, nn.Linear(34, 51)

    def forward(self, x: torch.Tensor, scale: float, last: bool = True) -> tuple[torch.Tensor, int]:
        return self.layer(x.reshape(self.batch, 34)).view(-1, 17, 3) * scale, 7


@pytest.mark.parametrize(("batch", "says"), [(1, "takes 1 as in"), (4, "takes 4 as in"), (-1, "")])
def test_a_fixed_batch_is_noted(batch: int, says: str) -> None:
    for size in (1, 4) if batch < 0 else (batch,):
        network = prepare(Fixed(batch), parse_spec("skeleton: h36m\n"), (torch.randn(size, 17, 2), 0.5))
        notes = [note for note in network.notes if "fixes its batch" in note]
        assert len(notes) == (1 if says else 0) and all(says in note for note in notes)


class Frames(nn.Module):
    """Convolves over any number of frames, or mixes as many as it was built for."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.layer, self.mix = kind, nn.Conv1d(34, 51, 3), nn.Linear(9, 9)
        self.offset = nn.Parameter(torch.randn(2, 1, 17, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.kind == "fixed batch":
            x = x + self.offset
        over_time = x.flatten(2).transpose(1, 2)
        if self.kind == "mixes":
            over_time = self.mix(over_time)
        return self.layer(over_time).transpose(1, 2).unflatten(2, (17, 3))


def test_frames_are_open_where_the_class_takes_any() -> None:
    """Also where the examples are one sample; what the program gives is what the class gives."""
    for rows in (1, 2):
        network = prepare(Frames("open"), parse_spec("skeleton: h36m\n"), (torch.randn(rows, 9, 17, 2),))
        assert network.program is not None and not any("as in the examples" in note for note in network.notes)
        for sizes in ((1, 4), (3, 9), (2, 31)):
            x = torch.randn(*sizes, 17, 2)
            torch.testing.assert_close(network.program.module()(x), network.module(x))


class Strided(nn.Module):
    """Answers otherwise to ten frames and more, which an export does not see."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if torch.compiler.is_exporting():
            return x * 2
        return x * (2 if x.shape[1] < 10 else 3)


def test_a_program_that_is_wrong_for_more_frames_is_not_taken() -> None:
    network = prepare(Strided(), parse_spec("skeleton: h36m\n"), (torch.randn(2, 9, 17, 2),))
    assert network.program is not None and any("takes 9 frames as in the examples" in note for note in network.notes)
    with pytest.raises(Exception, match="9"):
        network.program.module()(torch.randn(2, 12, 17, 2))


@pytest.mark.parametrize(
    ("kind", "says"), [("one answer", ["frames"]), ("mixes", []), ("fixed batch", ["batch", "frames"])]
)
def test_fixed_frames_are_noted_where_weights_would_leave_them_open(kind: str, says: list[str]) -> None:
    """A window that one answer is given for is a size of its own to torch.export."""
    frames = 3 if kind == "one answer" else 9
    spec = parse_spec('skeleton: h36m\ninputs: [{layout: "b t j d"}]\noutputs: [{layout: "b t j d"}]\n')
    network = prepare(Frames(kind), spec, (torch.randn(2, frames, 17, 2),))
    notes = [note for note in network.notes if "as in the examples" in note]
    assert len(notes) == bool(says)
    for word in says:
        texts = {
            "batch": "fixes its batch: exported, it takes 2 as in",
            "frames": f"takes {frames} frames as in the examples",
        }
        assert texts[word] in notes[0]
    if kind == "one answer":
        assert notes[0].endswith("written as weights (.pt, .safetensors) it takes others, as its class does")
        assert "batch" not in notes[0]
        exported = prepare(network.program or network.module, spec, network.args)
        assert not any("as in the examples" in note for note in exported.notes)


class Anchors(nn.Module):
    """Beside the poses, a table of which the first axis is no batch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.table = nn.Linear(34, 51), nn.Parameter(torch.zeros(7, 17, 3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.layer(x.flatten(1)).view(-1, 17, 3), self.table * 1


def test_what_is_no_batch_is_not_noted() -> None:
    network = prepare(Anchors(), parse_spec("skeleton: h36m\n"), (torch.randn(2, 17, 2),))
    assert not any("fixes its batch" in note for note in network.notes)


class Stacked(nn.Module):
    """A product of which torch guards that it is none of a single sample, though it may be."""

    def __init__(self) -> None:
        super().__init__()
        self.bases, self.layer = nn.Parameter(torch.rand(3, 1, 17, 17)), nn.Parameter(torch.rand(3, 1, 2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.matmul(torch.matmul(self.bases, x), self.layer).sum(0)


@pytest.mark.parametrize("batch", [1, 2])
def test_a_program_is_open_from_one_sample_on(batch: int) -> None:
    network = prepare(Stacked(), parse_spec("skeleton: h36m\n"), (torch.randn(batch, 17, 2),))
    assert network.program is not None and network.has_rows and network.program.range_constraints
    assert not any("samples" in note for note in network.notes)
    for size in (1, batch + 3):
        x = torch.randn(size, 17, 2)
        torch.testing.assert_close(network.program.module()(x), Stacked.forward(network.module, x))


class Stepping(nn.Module):
    """A step of two memories of one layer, each with the samples along an axis of its own."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__()
        self.axes = (first, second)
        self.cells = nn.ModuleList([nn.GRUCell(4, 3), nn.GRUCell(3, 3)])

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        one = self.cells[0](x, h.select(1 - self.axes[0], 0))
        two = self.cells[1](one, c.select(1 - self.axes[1], 0))
        return two, one.unsqueeze(1 - self.axes[0]), two.unsqueeze(1 - self.axes[1])


class Flattening(nn.Module):
    """Runs with either axis of its state longer, and hands it back along one of them."""

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = h.reshape(-1, 1) + 0.5 * x.mean(1, keepdim=True)
        return x + h, h.reshape(1, -1, 1)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 1), (0, 1), (1, 0)])
def test_the_samples_of_a_state_of_one_layer_are_open(first: int, second: int) -> None:
    net = Stepping(first, second).eval()

    def call(count: int) -> tuple[Tensor, ...]:
        """Inputs of so many samples."""
        states = [torch.randn(1, 1, 3).repeat_interleave(count, axis) for axis in (first, second)]
        return torch.randn(count, 4), *states

    example = call(1)
    program = opened(net, example, {}, open_batch(example, {}, [(0,), (0, 1), (0, 1)]))
    for count in (1, 2, 5):
        inputs = call(count)
        torch.testing.assert_close(program.module()(*inputs), net(*inputs))


def test_a_state_grows_with_its_answer() -> None:
    """Along its first axis the network would run, and hand back another shape."""
    example = torch.randn(1, 3), torch.randn(1, 1, 1)
    program = opened(Flattening(), example, {}, open_batch(example, {}, [(0,), (0, 1)]))
    inputs = torch.randn(4, 3), torch.randn(1, 4, 1)
    torch.testing.assert_close(program.module()(*inputs), Flattening()(*inputs))


class OfItsSize(nn.Module):
    """Answers one frame of as many numbers as its state has, whose samples lie along another axis."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(4, 3)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        state = self.cell(x, h.select(0, 0))
        return 2 * state.unsqueeze(1), state.unsqueeze(0)


def test_an_answer_of_the_sizes_of_a_state_is_none() -> None:
    net, example = OfItsSize().eval(), (torch.randn(1, 4), torch.randn(1, 1, 3))
    program = opened(net, example, {}, open_batch(example, {}, [(0,), (0, 1)]))
    inputs = torch.randn(5, 4), torch.randn(1, 5, 3)
    torch.testing.assert_close(program.module()(*inputs), net(*inputs))


@pytest.mark.parametrize(
    ("guard", "refuses_only_one"),
    [
        ("L['x'].size()[0] != 1", True),
        ("(6*L['args'][0].size()[0]) != 6", True),
        ("(L['x'].size()[0]*L['x'].size()[1]) != 1", True),
        ("(3*L['x'].size()[0] - L['y'].size()[0]) != 3", False),
        ("L['x'].size()[0] != L['y'].size()[0]", False),
    ],
)
def test_which_guards_refuse_one_entry_alone(guard: str, refuses_only_one: bool) -> None:
    assert is_against_one(guard) == refuses_only_one
