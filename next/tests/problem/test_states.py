"""States: which ones a network carries, and where those that no buffer holds are found."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.resolve import Handed
from chiralize.body.spec import load_spec
from chiralize.errors import CaptureError
from chiralize.graph.run import Runner
from chiralize.problem.mirror import NetworkMirror
from chiralize.problem.network import Network
from chiralize.problem.prepare import prepare
from chiralize.problem.sequences import Carried, handed_over, roll, roll_both_views
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation

BODY: dict[str, Any] = {"joints": ["l", "r", "c"], "pairs": [["l", "r"]], "dims": ["x", "y"], "negate": ["x"]}
X = torch.randn(1, 3, 2, generator=torch.Generator().manual_seed(0))
STATE, POSE = {"state": True}, {"layout": "b j d"}


class Cell(nn.Module):
    """A GRU cell by hand; `hidden` is a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(6, 4), nn.Linear(4, 6)
        self.register_buffer("hidden", 0.1 * torch.ones(1, 4))

    def forward(self, x: Tensor) -> Tensor:
        self.hidden = self.cell(x.flatten(1), self.hidden)
        return self.head(self.hidden).view(-1, 3, 2)


class Plain(Cell):
    """A plain attribute."""

    def __init__(self) -> None:
        super().__init__()
        hidden = self.hidden
        del self.hidden
        self.hidden = hidden


class Late(Plain):
    """It is not there before the first call."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden: Any = None

    def forward(self, x: Tensor) -> Tensor:
        if self.hidden is None:
            self.hidden = torch.zeros(len(x), 4)
        return super().forward(x)


class Listed(Cell):
    """In a list of attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = [torch.zeros(1, 3, 2)]

    def forward(self, x: Tensor) -> Tensor:
        self.seen[0] = x + self.seen[0]
        return self.head(self.cell(self.seen[0].flatten(1), self.hidden)).view(-1, 3, 2)


class Counter(nn.Linear):
    """It counts its calls, which no answer depends on, and remembers its last answer."""

    def __init__(self) -> None:
        super().__init__(6, 6)
        self.register_buffer("calls", torch.zeros(()))
        self.last: Any = None

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        self.calls += 1
        self.last = super().forward(x.flatten(1))
        return self.last.view(-1, 3, 2)


class Handing(Cell):
    """The state is an argument and a result."""

    def forward(self, x: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        hidden = self.cell(x.flatten(1), hidden)
        return self.head(hidden).view(-1, 3, 2), hidden


def ready(net: nn.Module, *args: Tensor, **fields: Any) -> Network:
    return prepare(net, args or (X,), {}, load_spec({**BODY, **fields}))


# ---- which states there are ---------------------------------------------------------------------------------------
def test_states_in_buffers_and_attributes() -> None:
    for net in (Cell(), Plain()):
        network = ready(net)
        assert network.captured is not None and network.carried.inside and network.carried.keeps_state
        assert "hidden" in dict(network.module.named_buffers())
    assert "hidden" not in dict(Plain().named_buffers())


@pytest.mark.parametrize("build", [Late, Listed])
def test_states_that_no_graph_holds_are_refused(build: type[nn.Module]) -> None:
    network = ready(build())
    assert isinstance(network.problem, CaptureError) and network.captured is None
    assert network.carried.inside


def test_what_no_answer_depends_on_is_no_state() -> None:
    network = ready(Counter())
    assert network.captured is not None and not network.carried and network.problem is None


def test_states_that_are_handed_on() -> None:
    network = ready(Handing(), X, torch.zeros(1, 4), inputs=[POSE, STATE], outputs=[POSE, STATE])
    assert not network.carried.inside and network.carried.keeps_state and not network.carried.has_feedback
    assert network.carried.handed == (Handed(1, 1, None, True),)


def test_answers_that_are_read_again() -> None:
    class Forecast(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
            return super().forward(x.flatten(1)).view(-1, 3, 2)

    carried = ready(Forecast(6, 6), inputs=[POSE], outputs=[{**POSE, "feeds": "input 0"}]).carried
    assert carried.has_feedback and not carried.keeps_state
    assert (carried.observed(9), carried.observed(4)) == (5, 2) and Carried(True).observed(9) == 9


# ---- sequences ----------------------------------------------------------------------------------------------------
def steps_of(count: int) -> list[Any]:
    generator = torch.Generator().manual_seed(1)
    return [((torch.randn(1, 3, 2, generator=generator),), {}) for _ in range(count)]


def test_a_roll_out_goes_on_from_its_states() -> None:
    net, steps = Cell().double(), [((x.double(),), {}) for ((x,), _) in steps_of(20)]
    hidden, expected = net.hidden.clone(), []
    with torch.no_grad():
        for (x,), _ in steps:
            hidden = net.cell(x.flatten(1), hidden)
            expected.append(net.head(hidden).view(1, 3, 2))
        with Runner(net) as runner:
            rolled = [list(roll(runner, steps, Carried(True), watched=["hidden"])) for _ in range(2)]
    for calls in rolled:
        assert all(torch.equal(call.answers[0], answer) for call, answer in zip(calls, expected, strict=True))
        assert torch.equal(calls[0].states["hidden"], net.hidden)
    assert torch.equal(net.hidden, torch.full((1, 4), 0.1).double())


def test_states_that_are_arguments_start_at_zero() -> None:
    net, ones = Handing(), torch.ones(1, 4)
    steps = [((x, ones), {}) for ((x,), _) in steps_of(5)]
    hidden = torch.zeros(1, 4)
    with torch.no_grad(), Runner(net) as runner:
        for call in roll(runner, steps, Carried(False, (Handed(1, 1, None, True),))):
            answer, hidden = net(call.call[0][0], hidden)
            assert torch.equal(call.answers[0], answer)


def test_a_window_moves_on_by_the_frames_that_were_answered() -> None:
    """Of a forecaster of 2 frames that reads 3: four calls, of which the last two read answers."""
    carried = Carried(False, (Handed(0, 0, 1),))
    read, answer = torch.arange(3.0).view(1, 3), torch.tensor([[7.0, 8.0]])
    given = [torch.full((1, 3), -1.0)]
    assert handed_over(carried, given, 1, 4, [read], [answer])[0].tolist() == given[0].tolist()
    assert handed_over(carried, given, 2, 4, [read], [answer])[0].tolist() == [[2.0, 7.0, 8.0]]
    assert handed_over(carried, given, 2, 4, [read], [torch.tensor([9.0])])[0].tolist() == [[1.0, 2.0, 9.0]]


def test_each_view_has_its_own_states() -> None:
    """Of a network that sums up what it reads, the sums of both views are each other's images."""

    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("sum", torch.zeros(1, 3, 2))

        def forward(self, x: Tensor) -> Tensor:
            self.sum = self.sum + x
            return self.sum.clone()

    swap, signs = SignedPermutation([1, 0, 2], [1, 1, 1]), SignedPermutation([0, 1], [-1, 1])
    action = TensorRepresentation((Representation.trivial(1), Representation.of(swap), Representation.of(signs)))
    mirror = NetworkMirror((action,), (action,), {"sum": action})
    with Runner(Sum()) as runner:
        for plain, image in roll_both_views(runner, steps_of(6), Carried(True), mirror, watched=["sum"]):
            assert torch.equal(image.answers[0], mirror.turned_output(0, plain.answers[0]))
            assert torch.equal(image.call[0][0], mirror.turned(plain.call)[0][0])
