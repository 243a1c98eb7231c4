"""In-place ops on lone values, or on whole buffers, become the ops that return a new one; all others stay."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from chiralize.graph.export import export
from chiralize.graph.local_writes import without_lone_writes, writes
from tests.support.small_body import POSE, Net, normal, verdicts

Function = Callable[[Net, Tensor], Tensor]


def exported(function: Function) -> torch.export.ExportedProgram:
    parts = {"layer": nn.Linear(4, 4), "norm": nn.BatchNorm1d(4), "drop": nn.Dropout()}
    states = {"state": torch.ones(3, 4), "count": torch.zeros(()), "row": torch.ones(4)}
    return export(Net(function, **parts, **states).double().eval().requires_grad_(False), (normal(3, 4),), {})


def answer(program: torch.export.ExportedProgram) -> Tensor:
    """The answers of three calls, one after the other."""
    module = copy.deepcopy(program.module())
    with torch.no_grad():
        return torch.stack([module(normal(3, 4, seed=seed)).clone() for seed in range(3)])


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
KEPT: dict[str, Function] = {
    "a state": lambda s, x: s.state.copy_(torch.tanh(s.layer(x) + s.state)) * 2,
    "read through the buffer": lambda s, x: after(s.layer(x), s.state.copy_) * s.state,
    "several, read before and after": lambda s, x: (
        s.state[0] * s.count.add_(1) + after(s.state, lambda h: h.copy_(s.norm(x) + h)) + s.row.mul_(0.5)
    ),
    "a view between two writes": lambda s, x: (lambda first, view: after(first, lambda h: h.mul_(2)) + s.state)(
        s.state.copy_(s.layer(x)), s.state.t()
    ),
    "twice": lambda s, x: s.layer(x) + s.count.add_(1).mul_(3) + after(s.count, lambda n: n.sub_(2)),
    "through its own name and another": lambda s, x: after(s.state.copy_(s.layer(x)), torch.relu_) + s.state,
}
SEEN: dict[str, Function] = {
    "the input": lambda s, x: torch.relu_(x),
    "through a view": lambda s, x: (lambda y: y.view(-1) + after(y, torch.relu_).view(-1))(s.layer(x)),
    "a view is written": lambda s, x: (lambda y: y + after(y[:, 0], torch.relu_).sum())(s.layer(x)),
    "by what is the same value": lambda s, x: (lambda y: (torch.relu_(s.drop(y)), y)[1])(s.layer(x)),
    "a part of a buffer": lambda s, x: x + (s.state[0].copy_(s.layer(x)[0]), s.state)[1],
    "a view of a buffer, before": lambda s, x: (lambda view: s.state.copy_(s.layer(x)) + view.t())(s.state.t()),
    "a buffer of what is a part of it": lambda s, x: s.state.copy_(s.state[:1].expand(3, 4)) + x,
    "rounded in a buffer": lambda s, x: s.state.copy_(s.layer(x).float()) + x,
    "spread over a buffer": lambda s, x: s.state.copy_(s.layer(x)[0]) + x,
    "rounded": lambda s, x: torch.zeros(3, 4).add_(x),
}


@pytest.mark.parametrize("name", LONE)
def test_lone_writes(name: str) -> None:
    program = exported(LONE[name])
    flat = without_lone_writes(program)
    assert any(map(writes, program.graph.nodes)) and not any(map(writes, flat.graph.nodes))
    assert [node.name for node in flat.graph.nodes] == [node.name for node in program.graph.nodes]
    assert torch.equal(answer(flat), answer(program))


@pytest.mark.one_in(4)
@pytest.mark.parametrize("name", KEPT)
def test_writes_of_whole_buffers(name: str) -> None:
    program = exported(KEPT[name])
    flat = without_lone_writes(program)
    assert any(map(writes, program.graph.nodes)) and not any(map(writes, flat.graph.nodes))
    written = {spec.target for spec in flat.graph_signature.output_specs if spec.target}
    assert written == set(program.run_decompositions({}).graph_signature.buffers_to_mutate.values())
    assert torch.equal(answer(flat), answer(program))


def test_two_names_of_one_buffer() -> None:
    net = Net(lambda s, x: x + s.first.copy_(x * 2) + s.second, first=normal(3, 4))
    net.register_buffer("second", net.first)
    program = export(net, (normal(3, 4),), {})
    assert without_lone_writes(program) is program


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
    "copy_": lambda s, a, b: a.copy_(b) if a.shape == b.shape else a.mul_(2),
}
STEP = st.tuples(st.sampled_from(list(STEPS)), st.integers(0, 5), st.integers(0, 5))


@given(steps=st.lists(STEP, min_size=2, max_size=6))
def test_the_same_answers(steps: Sequence[tuple[str, int, int]]) -> None:
    """Whatever is written, viewed and read in whatever order: every value that there is at the end."""

    def compute(s: Net, x: Tensor) -> Tensor:
        values = [s.layer(x), s.norm(x), s.state, s.state[:2]]
        for name, first, second in steps:
            values.append(STEPS[name](s, values[first % len(values)], values[second % len(values)]))
        return torch.cat(values)

    program = exported(compute)
    flat = without_lone_writes(program)
    assert torch.equal(answer(flat), answer(program))


def test_a_buffer_that_is_read_by_an_older_name() -> None:
    """As torch.export does not write it: the view sees the second write, too."""
    program = exported(KEPT["a view between two writes"])
    nodes = {node.name: node for node in program.graph.nodes}
    view = next(node for node in nodes.values() if "aten.t." in str(node.target))
    view.args = (nodes["b_state"],)
    program.graph_module.recompile()
    assert without_lone_writes(program) is program


class Named(nn.Module):
    """Its arguments have names of Python functions, which a copied graph would call `input_1` and `range_1`."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, input: Tensor, range: Tensor) -> Tensor:  # noqa: A002
        return torch.relu_(self.layer(input)) * range


def test_names_stay() -> None:
    program = export(Named().double().eval(), (normal(3, 4), normal(3, 4, seed=1)), {})
    lean = without_lone_writes(program)
    assert lean is not program and not any(map(writes, lean.graph.nodes))
    assert [node.name for node in lean.graph.nodes] == [node.name for node in program.graph.nodes]
    x = normal(3, 4, seed=2), normal(3, 4, seed=3)
    assert torch.equal(lean.module()(*x), program.module()(*x))


def test_a_network_that_writes_into_its_input() -> None:
    """Whoever runs it twice on the same tensor runs it on two inputs."""
    doubled = Net(lambda s, x: x.mul_(2.0) + 0.0)
    assert verdicts(doubled, spec=POSE)[:2] == (True, True)
