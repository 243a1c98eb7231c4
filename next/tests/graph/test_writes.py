"""Nothing is written in place, and the answers stay, whoever reads what was written."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.export import ExportedProgram

from chiralize.graph.execution import writes
from chiralize.graph.writes import EVERY_OP, functional
from tests.graph.nets import Net, normal

Function = Callable[[Net, Tensor], Tensor]


def program_of(function: Function) -> ExportedProgram:
    """As torch.export leaves it, writes and all."""
    parts = {"layer": nn.Linear(4, 4), "norm": nn.BatchNorm1d(4), "drop": nn.Dropout()}
    states = {"state": torch.ones(3, 4), "count": torch.zeros(()), "row": torch.ones(4)}
    net = Net(function, **parts, **states).double().eval().requires_grad_(False)
    return torch.export.export(net, (normal(3, 4),), strict=False)


def answer(program: ExportedProgram) -> Tensor:
    """The answers of three calls, one after the other."""
    module = copy.deepcopy(program.module())
    with torch.no_grad():
        return torch.stack([module(normal(3, 4, seed=seed)).clone() for seed in range(3)])


def after(value: Tensor, function: Callable[[Tensor], object]) -> Tensor:
    """The value, when something has been done to it."""
    function(value)
    return value


WRITES: dict[str, Function] = {
    "an activation": lambda s, x: torch.relu_(s.norm(s.layer(x))),
    "a sum": lambda s, x: s.layer(x).add_(x),
    "one after the other": lambda s, x: torch.relu_(s.layer(x)).mul_(2).sub_(x),
    "read before": lambda s, x: (lambda y: s.layer(y) + torch.relu_(y))(s.norm(x)),
    "a value and itself": lambda s, x: (lambda y: y.add_(y))(s.layer(x)),
    "the input": lambda s, x: torch.relu_(x),
    "through a view": lambda s, x: (lambda y: y.view(-1) + after(y, torch.relu_).view(-1))(s.layer(x)),
    "a view is written": lambda s, x: (lambda y: y + after(y[:, 0], torch.relu_).sum())(s.layer(x)),
    "by what is the same value": lambda s, x: (lambda y: (torch.relu_(s.drop(y)), y)[1])(s.layer(x)),
    "a state": lambda s, x: s.state.copy_(torch.tanh(s.layer(x) + s.state)) * 2,
    "several states": lambda s, x: s.state[0] * s.count.add_(1) + after(s.state, lambda h: h.copy_(s.norm(x) + h)),
    "a part of a buffer": lambda s, x: x + (s.state[0].copy_(s.layer(x)[0]), s.state)[1],
    "a view of a buffer, before": lambda s, x: (lambda view: s.state.copy_(s.layer(x)) + view.t().t())(s.state),
    "rounded": lambda s, x: torch.zeros(3, 4).add_(x),
}


@pytest.mark.parametrize("function", WRITES.values(), ids=WRITES)
def test_nothing_is_written_in_place(function: Function) -> None:
    program = program_of(function)
    flat = functional(program, EVERY_OP)
    assert any(map(writes, program.graph.nodes)) and not any(map(writes, flat.graph.nodes))
    assert torch.equal(answer(flat), answer(program))


# ---- a law: the same answers ----------------------------------------------------------------------------------------
STEPS: dict[str, Callable[[Net, Tensor, Tensor], Tensor]] = {
    "layer": lambda s, a, b: s.layer(a),
    "dropout": lambda s, a, b: F.dropout(a, 0.5, False),
    "rows": lambda s, a, b: a[:2],
    "view": lambda s, a, b: a.view(a.shape),
    "sum": lambda s, a, b: a + 1,
    "relu_": lambda s, a, b: torch.relu_(a),
    "add_": lambda s, a, b: a.add_(b) if a.shape == b.shape else a.add_(1),
    "mul_": lambda s, a, b: a.mul_(0.5),
    "copy_": lambda s, a, b: a.copy_(b) if a.shape == b.shape else a.mul_(2),
}
STEP = st.tuples(st.sampled_from(list(STEPS)), st.integers(0, 5), st.integers(0, 5))


@settings(max_examples=10, deadline=None)
@given(steps=st.lists(STEP, min_size=2, max_size=6))
def test_the_same_answers(steps: Sequence[tuple[str, int, int]]) -> None:
    """Whatever is written, viewed and read in whatever order: every value that there is at the end."""

    def compute(s: Net, x: Tensor) -> Tensor:
        values = [s.layer(x), s.norm(x), s.state, s.state[:2]]
        for name, first, second in steps:
            values.append(STEPS[name](s, values[first % len(values)], values[second % len(values)]))
        return torch.cat(values)

    program = program_of(compute)
    flat = functional(program, EVERY_OP)
    assert not any(map(writes, flat.graph.nodes)) and torch.equal(answer(flat), answer(program))


class Named(nn.Module):
    """Its arguments have names of Python functions, which a rewritten graph would call `input_1` and `range_1`."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, input: Tensor, range: Tensor) -> Tensor:  # noqa: A002
        return torch.relu_(self.layer(input)) * range


def test_names_of_arguments_stay() -> None:
    args = normal(3, 4), normal(3, 4, seed=1)
    program = torch.export.export(Named().double().eval(), args, strict=False)
    flat = functional(program, EVERY_OP)
    assert flat.graph_signature.user_inputs == program.graph_signature.user_inputs == ("input", "range")
    assert torch.equal(flat.module()(*args), program.module()(*args))


class WritesToParts(nn.Module):
    """As a cosine transform does that sorts its input by hand; and its state is the input."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("last", torch.zeros(3, 4))

    def forward(self, x: Tensor) -> Tensor:
        self.last[:] = x
        y = x * 2
        y[:, 0] = x[:, 1].tanh()
        y[:, 2:] = 1.0
        return y


def test_writes_to_parts_have_a_derivative() -> None:
    """What is copied stands in the place of `copy`; a state is no alias of the input."""
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    module = functional(torch.export.export(WritesToParts(), (x,)), EVERY_OP).module()
    given_x = x.clone().requires_grad_(True)
    answered = module(given_x)
    answered[:, :2].sum().backward()
    wanted = torch.zeros(3, 4)
    wanted[:, 1] = 2 + 1 - x[:, 1].tanh() ** 2
    assert torch.equal(answered.detach(), WritesToParts()(x))
    assert given_x.grad is not None and torch.allclose(given_x.grad, wanted, atol=1e-6)
    assert torch.equal(dict(module.named_buffers())["last"], x)
