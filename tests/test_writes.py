"""In-place ops on values that nobody else holds become the ops that return a new one; all others stay."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from chiralize.capture import export
from chiralize.writes import without_lone_writes, writes
from tests.small_body import Net, normal

Function = Callable[[Net, Tensor], Tensor]


def exported(function: Function) -> torch.export.ExportedProgram:
    net = Net(function, layer=nn.Linear(4, 4), norm=nn.BatchNorm1d(4), drop=nn.Dropout())
    return export(net.double().eval(), (normal(3, 4),), {})


def answer(program: torch.export.ExportedProgram) -> Tensor:
    with torch.no_grad():
        return program.module()(normal(3, 4))


def after(value: Tensor, function: Callable[[Tensor], object]) -> Tensor:
    """The value, when something has been done to it."""
    function(value)
    return value


LONE: dict[str, Function] = {
    "an activation": lambda s, x: torch.relu_(s.norm(s.layer(x))),
    "a sum": lambda s, x: s.layer(x).add_(x),
    "one after the other": lambda s, x: torch.relu_(s.layer(x)).mul_(2).sub_(x),
    "dropout": lambda s, x: F.dropout(s.layer(x), 0.5, False, True).mul_(2),
    "read before": lambda s, x: (lambda y: s.layer(y) + torch.relu_(y))(s.norm(x)),
    "a value and itself": lambda s, x: (lambda y: y.add_(y))(s.layer(x)),
    "a part of an answer": lambda s, x: torch.relu_(torch.max(x, 1)[0]),
}
SEEN: dict[str, Function] = {
    "the input": lambda s, x: torch.relu_(x),
    "through a view": lambda s, x: (lambda y: y.view(-1) + after(y, torch.relu_).view(-1))(s.layer(x)),
    "a view is written": lambda s, x: (lambda y: y + after(y[:, 0], torch.relu_).sum())(s.layer(x)),
    "by what is the same value": lambda s, x: (lambda y: (torch.relu_(s.drop(y)), y)[1])(s.layer(x)),
    "a buffer": lambda s, x: x + s.norm.running_mean.relu_(),
    "rounded": lambda s, x: torch.zeros(3, 4).add_(x),
}


@pytest.mark.parametrize("name", LONE)
def test_lone_writes(name: str) -> None:
    program = exported(LONE[name])
    flat = without_lone_writes(program)
    assert any(map(writes, program.graph.nodes)) and not any(map(writes, flat.graph.nodes))
    assert [node.name for node in flat.graph.nodes] == [node.name for node in program.graph.nodes]
    assert torch.equal(answer(flat), answer(program))


@pytest.mark.parametrize("name", SEEN)
def test_writes_that_others_see(name: str) -> None:
    program = exported(SEEN[name])
    assert any(map(writes, program.graph.nodes)) and without_lone_writes(program) is program


# ---- a law: the same answers ----------------------------------------------------------------------------------------
STEPS: dict[str, Callable[[Net, Tensor, Tensor], Tensor]] = {
    "layer": lambda s, a, b: s.layer(a),
    "dropout": lambda s, a, b: s.drop(a),
    "rows": lambda s, a, b: a[:2],
    "view": lambda s, a, b: a.view(a.shape),
    "sum": lambda s, a, b: a + 1,
    "relu_": lambda s, a, b: torch.relu_(a),
    "add_": lambda s, a, b: a.add_(b) if a.shape == b.shape else a.add_(1),
    "mul_": lambda s, a, b: a.mul_(0.5),
}
STEP = st.tuples(st.sampled_from(list(STEPS)), st.integers(0, 5), st.integers(0, 5))


@settings(max_examples=25)
@given(steps=st.lists(STEP, min_size=2, max_size=6))
def test_the_same_answers(steps: Sequence[tuple[str, int, int]]) -> None:
    """Whatever is written, viewed and read in whatever order: every value that there is at the end."""

    def compute(s: Net, x: Tensor) -> Tensor:
        values = [s.layer(x), s.norm(x)]
        for name, first, second in steps:
            values.append(STEPS[name](s, values[first % len(values)], values[second % len(values)]))
        return torch.cat(values)

    program = exported(compute)
    flat = without_lone_writes(program)
    assert torch.equal(answer(flat), answer(program))
