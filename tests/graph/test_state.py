"""Networks whose forward keeps a state in a plain attribute: part of the graph where it is there from the start."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.commands.convert import Request, convert
from chiralize.errors import CaptureError, ExportError
from chiralize.problem.preparation import prepare
from tests.support.small_body import POSE, ROUNDING, Net, converted, normal, stored, trained, turned

START = "which is not there before the first call"


class Recurrent(nn.Module):
    """A GRU cell that remembers: start says what, forward how."""

    def __init__(self, start: Any, write: Callable[[Any, Tensor], None]) -> None:
        super().__init__()
        self.cell, self.last, self.state, self.write = nn.GRUCell(12, 8), nn.Linear(8, 12), start, write

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.cell(x.flatten(1), self.state)
        self.write(self, hidden)
        return self.last(hidden).view(-1, 6, 2)


def anew(net: Any, hidden: Tensor) -> None:
    net.state = hidden


def in_place(net: Any, hidden: Tensor) -> None:
    net.state[:] = hidden


def apart(net: nn.Module) -> float:
    """max |F(T x) - T F(x)| over several calls in a row, of copies that start alike."""
    plain, there, worst = copy.deepcopy(net), copy.deepcopy(net), 0.0
    with torch.no_grad():
        for step in range(3):
            x = normal(3, 6, 2, seed=step)
            worst = max(worst, float((there(turned(x)) - turned(plain(x))).abs().max()))
    return worst


def zeros() -> Tensor:
    return torch.zeros(3, 8, dtype=torch.float64)


STATES = {"a tensor, anew": (zeros, anew), "a tensor, in place": (zeros, in_place), "nothing yet": (lambda: None, anew)}


@pytest.mark.one_in(6)
@pytest.mark.parametrize("method", ["match", "project", "average"])
@pytest.mark.parametrize("name", STATES)
def test_states_in_attributes(name: str, method: str) -> None:
    """Kept, exact call after call, and the user's own network is where it was."""
    start, write = STATES[name]
    net = trained(Recurrent(start(), write))
    assert apart(net) > 1e-3
    own = converted(net, method=method)
    assert apart(own) < ROUNDING
    with torch.no_grad():
        assert not torch.equal(*(own(normal(3, 6, 2)) for _ in range(2)))
    assert net.state is None or not net.state.any()
    assert any(START in note for note in own.chirality.report.notes) == (name == "nothing yet")
    assert not any("state" in key for key in own.state_dict())


def test_such_a_tensor_is_proved_and_written(tmp_path: Path) -> None:
    net = trained(Recurrent(zeros(), anew))
    graph = prepare(net, parse_spec(POSE), (normal(3, 6, 2),)).graph()
    assert [leaf.names[0] for leaf in graph.states] == ["state"]
    program = torch.export.load(stored(net, tmp_path)).module()
    assert apart(program) < ROUNDING
    x = normal(3, 6, 2)
    assert not torch.equal(program(x), program(x))


def test_no_graph_forgets() -> None:
    """What is not there before the first call is in no graph: a .pt2 would answer every call as the first."""
    network = prepare(trained(Recurrent(None, anew)), parse_spec(POSE), (normal(3, 6, 2),))
    with pytest.raises(ExportError) as caught:
        convert(network, "net", Request("project", samples=1, product="graph"))
    assert str(caught.value) == (
        "ExportError CH309  -o: forward keeps a state in state, which no graph holds\n"
        "    Fix: register it as a buffer before the first call (register_buffer), or make it an argument and a "
        "result; weights can be written (-o out.pt)"
    )


def test_later_calls_that_do_something_else() -> None:
    """The first call is equivariant; the second reads what that has left, through weights that no proof has seen."""

    def compute(s: Any, x: Tensor) -> Tensor:
        hidden = s.first(x.flatten(1)) + (0 if s.memory is None else s.back(s.memory))
        s.memory = s.last(hidden.tanh())
        return s.memory.view(-1, 6, 2)

    parts = {"first": nn.Linear(12, 8), "back": nn.Linear(12, 8), "last": nn.Linear(8, 12)}
    net = trained(Net(compute, **parts, memory=None))
    with pytest.raises(
        CaptureError, match=r"CH306  memory: forward keeps a state here, and does with it what the first"
    ):
        converted(net)
    assert apart(converted(net, method="average")) < ROUNDING


def test_what_is_looked_at_afterwards_is_no_state() -> None:
    """An attribute that forward fills for others to see, beside a buffer that it does read."""

    def compute(s: Any, x: Tensor) -> Tensor:
        s.seen = torch.tanh(s.first(x.flatten(1) + s.memory))
        s.memory = s.last(s.seen)
        return s.memory.view(-1, 6, 2)

    memory = torch.zeros(3, 12, dtype=torch.float64)
    net = trained(Net(compute, first=nn.Linear(12, 8), last=nn.Linear(8, 12), memory=memory, seen=None))
    network = prepare(net, parse_spec(POSE), (normal(3, 6, 2),))
    assert network.origin.unheld == () and [leaf.names[0] for leaf in network.graph().states] == ["memory"]


def test_a_state_that_is_held_beside_what_is_none() -> None:
    """Both are written by forward; with the tensor in a buffer nothing else changes the next answer."""

    class Watched(Recurrent):
        def __init__(self) -> None:
            super().__init__(zeros(), anew)
            self.seen: Tensor | None = None

        def forward(self, x: Tensor) -> Tensor:
            self.seen = super().forward(x)
            return self.seen

    network = prepare(trained(Watched()), parse_spec(POSE), (normal(3, 6, 2),))
    assert network.origin.unheld == () and [leaf.names[0] for leaf in network.graph().states] == ["state"]


def test_the_last_attention_of_a_call_with_gradients() -> None:
    """deepcopy refuses what autograd made; the copy needs no history."""

    def compute(s: Any, x: Tensor) -> Tensor:
        hidden = s.first(x)
        s.seen = [torch.softmax(hidden @ hidden.transpose(1, 2), -1)]
        return s.last(s.seen[0] @ hidden)

    net = trained(Net(compute, first=nn.Linear(2, 8), last=nn.Linear(8, 2), seen=None))
    before = net(normal(3, 6, 2))
    found: Any = converted(net)
    assert apart(found) < ROUNDING and before.requires_grad
    kept: Any = net.seen
    assert kept[0].grad_fn is not None  # the network itself is as it was
