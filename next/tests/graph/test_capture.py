"""Capture: a flat graph without side effects, constants folded, tied weights once, everything with its place."""

from __future__ import annotations

import types
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiralize.errors import CaptureError, ModelRunError
from chiralize.graph.capture import read
from chiralize.graph.export import export
from chiralize.graph.model import CapturedModel
from chiralize.graph.run import Runner, tensors_in
from chiralize.graph.writes import functional
from tests.graph.nets import Net, captured, exported, normal, run_graph
from tests.support.zoo import CASES, Case


def entered(case: Case) -> nn.Module:
    """The network of a case with the method that is called in the place of forward."""
    module = case.model()
    if case.entry != "forward":
        module.forward = types.MethodType(getattr(type(module), case.entry), module)
    return module


@cache
def of_zoo(name: str) -> CapturedModel:
    args, _ = CASES[name].example()
    return captured(entered(CASES[name]), *args)


ALIKE = {
    "lstm, frames first", "gru", "gru, frames first", "gru, both ways, two layers", "gru, negated", "lstm, negated",
    "paper layout, 104, mixed", "paper layout by depth", "paper layout by name", "negated but kept", "swapped classes",
    "policy, tanh negated", "policy, relu", "coordinate major", "coco in, h36m out", "gru cell loop",
}  # fmt: skip
"""Their graphs are those of others with other weights or layers of the same kind."""


@pytest.mark.parametrize("name", [name for name in CASES if name not in ALIKE])
def test_the_graph_answers_as_the_network_does(name: str) -> None:
    """On other inputs than those that it was made of, whatever axis is open."""
    case = CASES[name]
    module, (args, kwargs) = entered(case), case.example()
    program, _ = export(module, args, kwargs, [{0: "b"} for _ in tensors_in((args, kwargs))])
    graph = read(program, args, kwargs)
    (call,) = case.steps(1)
    with Runner(module) as runner:
        expected = tensors_in(runner.run([call]).steps)
    answers = run_graph(graph, tensors_in(call))
    assert len(answers) == len(expected) == len(graph.answers)
    for answer, wanted in zip(answers, expected, strict=True):
        torch.testing.assert_close(answer, wanted, rtol=0, atol=1e-12)


# ---- leaves ------------------------------------------------------------------------------------------------------
def test_buffers_that_forward_writes_are_states() -> None:
    graph = of_zoo("policy, gru in buffers")
    states = {leaf.names[0] for leaf in graph.leaves.values() if leaf.kind == "state"}
    assert states == {"hidden", "last"} == {graph.leaves[leaf].names[0] for leaf in graph.mutations}


class Cell(nn.Module):
    """It assigns its state, which torch.export does not see where the cell is a part of a network."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(3, 4)
        self.register_buffer("hidden", torch.zeros(2, 4))
        self.register_buffer("last", torch.ones(2, 4))

    def forward(self, x: Tensor) -> Tensor:
        self.last, self.hidden = self.hidden, self.cell(x, self.hidden)
        return self.hidden + self.last


def test_buffers_that_a_part_of_the_network_replaces_are_states() -> None:
    net, calls = (
        nn.Sequential(Cell(), nn.Linear(4, 2)).eval(),
        [((normal(2, 3, seed=seed).float(),), {}) for seed in range(3)],
    )
    program = exported(net, *calls[0][0])
    graph = read(program, *calls[0])
    assert {leaf.names[0] for leaf in graph.states} == {"0.hidden", "0.last"}
    with Runner(net) as ours, Runner(program.module()) as theirs:
        for expected, answer in zip(ours.run(calls).steps, theirs.run(calls).steps, strict=True):
            torch.testing.assert_close(answer, expected)
    assert not net[0].hidden.any()


def test_kinds_of_leaves() -> None:
    graph = of_zoo("policy, normalised")
    kinds = {leaf.names[0]: leaf.kind for leaf in graph.leaves.values()}
    assert kinds["mean"] == kinds["var"] == "statistic" and kinds["body.0.weight"] == "parameter"
    assert {leaf.names[0]: leaf.kind for leaf in of_zoo("graph").leaves.values()}["mix"] == "constant"


def test_tied_weights_are_one_leaf_with_two_names() -> None:
    names = [leaf.names for leaf in of_zoo("shared and tied").weights]
    assert ("shared.weight", "other.weight") in names
    assert sum("shared.bias" in each for each in names) == 1


@pytest.mark.parametrize(
    ("frozen", "kind"), [((), "parameter"), (("first",), "constant"), (("first", "last"), "parameter")]
)
def test_frozen_weights(frozen: tuple[str, ...], kind: str) -> None:
    """Beside trained ones they are constants; a network that is frozen as a whole was trained before."""
    parts = {"first": nn.Linear(3, 3, False), "last": nn.Linear(3, 3, False)}
    for name in frozen:
        parts[name].requires_grad_(False)
    graph = captured(Net(lambda s, x: s.last(s.first(x).tanh()), **parts), torch.randn(2, 3))
    (leaf,) = (leaf for leaf in graph.leaves.values() if leaf.names == ("first.weight",))
    assert leaf.kind == kind and leaf.frozen == (("first.weight",) if kind == "constant" else ())


def test_weights_that_are_also_read_through_a_list() -> None:
    weight = nn.Parameter(torch.randn(3, 3))
    net = Net(lambda s, x: x @ s.layers[0][0], held=weight)
    net.layers = [(weight, "tanh")]  # type: ignore[assignment]
    assert [leaf.names for leaf in captured(net, torch.randn(2, 3)).weights] == [("held",)]


def test_what_the_module_does_not_hold_is_known_as_such() -> None:
    table = torch.randn(2, 3)
    (leaf,) = (
        leaf for leaf in captured(lambda x: x + table, torch.randn(2, 3)).leaves.values() if leaf.kind == "constant"
    )
    assert not leaf.stored and leaf.known_as and not leaf.sources


@pytest.mark.parametrize("cut", [lambda table: table.chunk(2, -1)[0], lambda table: table[:, :3]])
def test_parts_of_a_table_say_which_buffer_they_are_of(cut: Callable[[Tensor], Tensor]) -> None:
    """Also where it is cut by an op that returns a list, which is no constant itself."""
    graph = captured(Net(lambda s, x: x + 2 * cut(s.table), table=normal(4, 6)), normal(4, 3))
    assert [leaf.sources for leaf in graph.leaves.values() if leaf.kind == "constant"] == [("table",)]


def test_a_copy_of_a_weight_is_the_weight() -> None:
    """So that what is asked of the weight, such as the point that it takes up, is asked of it there, too."""
    net = Net(
        lambda s, x: s.layer(x - s.mean.detach().clone()) + s.mean[:2].sum(), layer=nn.Linear(3, 3), mean=torch.ones(3)
    )
    graph = captured(net, torch.randn(2, 3))
    assert [node.target for node in graph.nodes][:2] == ["aten.sub.Tensor", "aten.linear.default"]
    assert graph.nodes[0].names_read == ("x", "b_mean")
    assert "aten.slice.Tensor" in [node.target for node in graph.nodes]  # a part of it is not


# ---- nodes -------------------------------------------------------------------------------------------------------
def test_nodes_know_module_and_line() -> None:
    graph = of_zoo("temporal")
    conv = next(node for node in graph.nodes if node.target.startswith("aten.conv1d"))
    assert conv.where.module == "expand_conv" and "lifters.py:" in conv.where.line
    assert all(leaf.where.module for leaf in graph.weights)


def test_nodes_before_one_that_reads_nothing() -> None:
    graph = captured(lambda x: x.tanh() + torch.rand(3), normal(2, 3))
    (drawn,) = graph.drawing
    assert graph.until(drawn.name) == (drawn,)
    assert graph.until("no node") == graph.until(graph.answers[0]) == graph.nodes


def test_what_depends_on_no_input_is_folded() -> None:
    graph = captured(lambda x: x * torch.arange(x.shape[1], dtype=x.dtype).cos(), torch.randn(2, 5))
    assert [node.target for node in graph.nodes] == ["aten.mul.Tensor"]


def test_what_nobody_reads_is_left_out() -> None:
    """Positions beside values, and whatever was computed from them."""

    def run(x: Tensor) -> Tensor:
        values, places = x.topk(2, 1)
        places.float().mean(0)
        return values * 2

    graph = captured(run, torch.randn(3, 5))
    assert [node.target for node in graph.nodes] == ["aten.topk.default", "getitem", "aten.mul.Tensor"]
    assert graph.nodes[0].read == {0}


# ---- refusals ----------------------------------------------------------------------------------------------------
def test_export_refuses_quietly(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CaptureError) as caught:
        exported(lambda x: x if x.sum() > 0 else -x, torch.randn(2, 3))
    assert capfd.readouterr().err == ""
    assert "; at test_capture.py:" in caught.value.facts and "x if x.sum() > 0" in caught.value.facts


def test_a_number_read_from_the_input_is_refused_with_its_line() -> None:
    class Reading(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * float(x.sum())

    with pytest.raises(CaptureError) as caught:
        captured(Reading(), torch.randn(2, 3))
    assert "test_capture.py:" in str(caught.value)


def test_examples_that_do_not_fit() -> None:
    program = exported(nn.Linear(4, 2), torch.zeros(3, 4))
    for call in ((torch.zeros(3, 5),), (torch.zeros(3, 4), torch.zeros(1))):
        with pytest.raises(ModelRunError):
            read(program, call, {})


@pytest.mark.parametrize("part", [nn.Linear(12, 12), nn.Parameter(torch.zeros(12, 12)), normal(12, 12)])
def test_a_part_called_as_graphs_call_their_own(part: nn.Module | Tensor) -> None:
    """PyTorch's export of it fails in ways of its own."""
    with pytest.raises(CaptureError) as caught:
        exported(Net(lambda _, x: x, graph=part), torch.zeros(2, 12))
    assert "'graph'" in caught.value.where


def test_a_program_that_answers_otherwise_is_not_taken() -> None:
    """Here what runs is traced; where that answers otherwise, too, there is no program."""
    graph = captured(lambda x: x if torch.compiler.is_exporting() else -x, torch.ones(2, 3))
    assert [node.target for node in graph.nodes] == ["aten.neg.default"]
    with pytest.raises(CaptureError):
        exported(Net(lambda s, x: x * len(s.seen) if s.seen.append(0) is None else x, seen=[]), torch.ones(2, 3))


# ---- ops that are taken apart ------------------------------------------------------------------------------------
KNOWN = {
    "aten.linear.default",
    "aten.tanh.default",
    "aten.mul.Tensor",
    "aten.add.Tensor",
    "aten.sub.Tensor",
    "aten.div.Tensor",
}


@pytest.mark.parametrize(
    "function",
    [lambda x: torch.divide(x, 1 + x * x), lambda x: nn.functional.mse_loss(x, x.tanh(), reduction="none")],
    ids=["an alias", "a loss"],
)
def test_ops_without_a_rule_are_taken_apart(function: Callable[[Tensor], Tensor]) -> None:
    program = exported(function, torch.randn(3, 4))
    targets = {node.target for node in read(functional(program, KNOWN), (torch.randn(3, 4),), {}).nodes}
    assert targets <= KNOWN | {"aten.pow.Tensor_Scalar"}


def test_known_ops_stay_whole() -> None:
    program = exported(nn.Sequential(nn.Linear(3, 4), nn.Tanh()), torch.randn(3, 3))
    assert functional(program, KNOWN) is program


# ---- arguments that are no tensors -------------------------------------------------------------------------------
class Settings(nn.Module):
    def forward(self, x: Tensor, scale: float = 2.0, *, sizes: Any = (1, 2), flag: bool | None = None) -> Tensor:
        return x * scale * sizes[1]


def test_arguments_that_are_no_tensors_are_named_with_their_values() -> None:
    x = torch.zeros(2, 3)
    _, findings = export(Settings(), (x, 3.0), {"sizes": (4, 5), "flag": True}, [{}])
    (finding,) = findings
    assert (finding.topic, finding.level) == ("capture", "note")
    assert all(text in finding.facts for text in ("scale=3.0", "sizes[0]=4", "sizes[1]=5", "flag=True"))
    assert export(Settings(), (x,), {}, [{}])[1] == ()
