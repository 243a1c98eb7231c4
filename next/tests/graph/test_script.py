"""TorchScript goes in as a trace: its names, states and answers are those of the script, or a note says what is not."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiralize.errors import CaptureError
from chiralize.graph.capture import read
from chiralize.graph.export import export
from chiralize.graph.run import Runner
from tests.graph.nets import run_graph
from tests.support.zoo import CASES


def scripted(module: nn.Module, *example: Tensor) -> Any:
    """As a TorchScript module: traced on an example, else compiled."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        if example:
            return torch.jit.trace(module.eval(), example, check_trace=False)
        return torch.jit.script(module.eval())


@pytest.mark.parametrize(
    "name", ["temporal", "lstm cell loop", "invariant classifier", "joint major", "policy, gru in buffers"]
)
def test_traced_networks_are_captured(name: str) -> None:
    case = CASES[name]
    model, ((x,), _) = case.model(), case.steps(1)[0]
    script = scripted(model, x)
    before = {key: value.clone() for key, value in script.state_dict().items()}
    program, _ = export(script, (x,), {}, [{0: "b"}])
    assert all(torch.equal(script.state_dict()[key], value) for key, value in before.items())
    assert set(program.state_dict) <= set(model.state_dict())
    graph = read(program, (x,), {})
    with Runner(script) as runner:
        expected = runner.run([((x,), {})]).steps[0]
    torch.testing.assert_close(run_graph(graph, [x])[0], expected, rtol=0, atol=1e-12)
    assert {leaf.names[0] for leaf in graph.states} == ({"hidden", "last"} if "buffers" in name else set())


class Policy(nn.Module):
    """A policy with a state that forward replaces, and one that it writes."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.GRUCell(6, 8), nn.Linear(8, 4)
        self.register_buffer("hidden", torch.zeros(1, 8))
        self.register_buffer("steps", torch.zeros(1))

    def forward(self, obs: Tensor) -> Tensor:
        hidden = self.cell(obs, self.hidden)
        self.steps += 1.0
        self.hidden = hidden
        return self.out(hidden) / self.steps


def test_states_that_a_script_replaces_are_states_of_the_program() -> None:
    torch.manual_seed(0)
    script, calls = scripted(Policy()), [((torch.randn(1, 6),), {}) for _ in range(3)]
    program, (note,) = export(script, *calls[0], [{0: "b"}])
    assert "b = 1" in note.facts
    with Runner(script) as ours, Runner(program.module()) as theirs:
        expected, answers = ours.run(calls).steps, theirs.run(calls).steps
        assert all(map(torch.equal, expected, ours.run(calls).steps))
    for answer, wanted in zip(answers, expected, strict=True):
        torch.testing.assert_close(answer, wanted)
    assert not script.hidden.any() and not script.steps.any()


class Shaped(nn.Module):
    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows, self.layer = rows, nn.Linear(4, 4)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - as people call it
        return self.layer(input).view(self.rows, 2, 2)


@pytest.mark.parametrize(("rows", "is_open"), [(-1, True), (2, False)])
def test_an_axis_is_open_where_the_graph_is_the_same(rows: int, is_open: bool) -> None:
    script, x = scripted(Shaped(rows)), torch.randn(2, 4)
    program, findings = export(script, (x,), {}, [{0: "b"}])
    torch.testing.assert_close(program.module()(x), script(x))
    assert (findings == ()) == is_open
    if is_open:
        torch.testing.assert_close(program.module()(torch.ones(5, 4)), script(torch.ones(5, 4)))


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if bool(x.sum() > 0) else -x


def test_branches_on_the_data_are_refused() -> None:
    with pytest.raises(CaptureError):
        export(scripted(Branching()), (torch.ones(2, 3),), {}, [{}])


# ---- modules that torch.export refuses ------------------------------------------------------------------------------
class Causal(nn.Module):
    """torch looks at the numbers of the mask, which are always the same."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 8, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1)
        self.register_buffer("mask", torch.triu(torch.full((6, 6), float("-inf")), 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(x, mask=self.mask[: x.shape[1], : x.shape[1]])


def test_a_branch_on_a_constant_is_traced() -> None:
    torch.manual_seed(0)
    net, x = Causal().eval(), torch.randn(2, 4, 8)
    program, findings = export(net, (x,), {}, [{0: "b", 1: "t"}])
    assert findings and set(program.state_dict) == set(net.state_dict())
    (answer,) = run_graph(read(program, (x,), {}), [x])
    torch.testing.assert_close(answer, net(x))


class Switched(nn.Module):
    """It branches on a weight, which a conversion may change, or on a state."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.scale = kind, nn.Parameter(torch.ones(()))
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        number = self.scale if self.kind == "weight" else self.count
        return x * 2 if bool(number > 0) else x


@pytest.mark.parametrize("kind", ["weight", "state"])
def test_a_branch_on_weights_or_states_is_refused(kind: str) -> None:
    with pytest.raises(CaptureError):
        export(Switched(kind), (torch.ones(2, 3),), {}, [{}])
