"""Capture: a flat graph without side effects, constants folded, tied weights once, everything with its place."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.errors import CaptureError, ModelRunError
from chiralize.graph.export import export
from chiralize.graph.model import CapturedModel
from chiralize.graph.tracing import trace
from chiralize.infer.capture import capture, functional
from chiralize.infer.registry import registry
from chiralize.nn import ReversedConv2d, hidden
from chiralize.problem.preparation import prepare
from tests.support.small_body import ROUNDING, converted, normal, residual, stored, trained, verdicts, verified_file
from tests.support.zoo import CASES


class Of(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@cache
def captured(name: str) -> CapturedModel:
    case = CASES[name]
    return prepare(case.model(), parse_spec(case.spec), *case.example(), case.entry).graph()


def test_writes_in_place_become_functional() -> None:
    graph = captured("writes in place")
    assert not [node.target for node in graph.nodes if node.target.split(".")[1].endswith("_")]
    assert any("scatter" in node.target for node in graph.nodes)


def test_buffers_that_forward_writes_are_states() -> None:
    graph = captured("policy, gru in buffers")
    states = {leaf.names[0] for leaf in graph.leaves.values() if leaf.kind == "state"}
    assert states == {"hidden", "last"} == {graph.leaves[leaf].names[0] for leaf in graph.mutations}


def test_kinds_of_leaves() -> None:
    graph = captured("policy, normalised")
    kinds = {leaf.names[0]: leaf.kind for leaf in graph.leaves.values()}
    assert kinds["mean"] == kinds["var"] == "statistic" and kinds["body.0.weight"] == "parameter"
    assert {leaf.names[0]: leaf.kind for leaf in captured("graph").leaves.values()}["mix"] == "constant"


def test_tied_weights_are_one_leaf_with_two_names() -> None:
    names = [leaf.names for leaf in captured("shared and tied").weights]
    assert ("shared.weight", "other.weight") in names
    assert sum("shared.bias" in own for own in names) == 1


def test_nodes_know_module_and_line() -> None:
    graph = captured("temporal")
    conv = next(node for node in graph.nodes if node.target.startswith("aten.conv1d"))
    assert conv.where.module == "expand_conv" and "lifters.py:" in conv.where.line
    assert all(leaf.where.module for leaf in graph.weights)


class Chiral(nn.Module):
    """A layer of this package in code of the user's."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = ReversedConv2d(hidden(4), hidden(4), 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Pictures "b 4 h w" to pictures of the same sizes."""
        return self.layer(x)


def test_lines_of_our_layers_are_not_the_users() -> None:
    """What a layer of this package does is said to be where the user calls it."""
    x = torch.randn(2, 4, 3, 5)
    graph = capture(export(Chiral(), (x,), {}), (x,), {})
    line = inspect.getsourcelines(Chiral.forward)[1] + 2
    assert {node.where.line for node in graph.nodes} == {f"test_capture.py:{line}"}


def test_parts_of_a_table_say_which_buffer_they_are_of() -> None:
    """Also where it is cut by an op that returns a list, which is no constant itself."""

    class Halves(nn.Module):
        def __init__(self, chunked: bool) -> None:
            super().__init__()
            self.chunked = chunked
            self.register_buffer("table", normal(4, 6))

        def forward(self, x: Tensor) -> Tensor:
            table: Any = self.table
            return x + 2 * (table.chunk(2, -1)[0] if self.chunked else table[:, :3])

    for chunked in (False, True):
        graph = capture(export(Halves(chunked), (normal(4, 3),), {}), (normal(4, 3),), {})
        assert [leaf.sources for leaf in graph.leaves.values() if leaf.kind == "constant"] == [("table",)]


def test_nodes_before_one_that_reads_nothing() -> None:
    graph = capture(export(Of(lambda x: x.tanh() + torch.rand(3)), (normal(2, 3),), {}), (normal(2, 3),), {})
    (drawn,) = graph.drawing
    assert graph.until(drawn.name) == (drawn,)
    assert graph.until("no node") == graph.until(graph.answers[0]) == graph.nodes


def test_what_depends_on_no_input_is_folded() -> None:
    class Positions(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * torch.arange(x.shape[1], dtype=x.dtype).cos()

    args = (torch.randn(2, 5),)
    graph = capture(export(Positions(), args, {}), args, {})
    assert [node.target for node in graph.nodes] == ["aten.mul.Tensor"]


class Copied(nn.Module):
    """Reads copies of its weights."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.register_buffer("mean", torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        """Features "b 3" to features "b 3"."""
        return self.layer(x - self.mean.detach().clone()) + self.mean[:2].sum()


def test_a_copy_of_a_weight_is_the_weight() -> None:
    """So that what is asked of the weight, such as the point that it takes up, is asked of it there, too."""
    x = torch.randn(2, 3)
    graph = capture(export(Copied(), (x,), {}), (x,), {})
    assert [node.target for node in graph.nodes][:2] == ["aten.sub.Tensor", "aten.linear.default"]
    assert graph.nodes[0].names_read == ("x", "b_mean")
    assert "aten.slice.Tensor" in [node.target for node in graph.nodes]  # a part of it is not


class Kept(nn.Module):
    """A BatchNorm that goes on keeping statistics in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.batch_norm(x, self.norm.running_mean, self.norm.running_var, training=True)


@pytest.mark.one_in(2)
@pytest.mark.parametrize(
    ("module", "decomposed"),
    [
        (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.ReLU()), False),
        (Of(lambda x: x * torch.zeros(x.shape[0], 3)), False),  # sizes and constants need no rule
        (Of(lambda x: x.swapaxes(0, 1)), True),  # no rule, but its parts have one
        (Of(lambda x: x.clone().add_(1)), True),
        (Kept(), True),
    ],
)
def test_a_program_is_decomposed_where_that_is_needed(module: nn.Module, decomposed: bool) -> None:
    program = export(module.eval(), (torch.randn(3, 3),), {})
    flat = functional(program)
    assert (flat is not program) == decomposed
    assert not any(node.target._schema.is_mutable for node in flat.graph.nodes if hasattr(node.target, "_schema"))


def test_what_nobody_reads_is_left_out() -> None:
    """Positions beside values, and whatever was computed from them."""

    def run(x: Tensor) -> Tensor:
        values, places = x.topk(2, 1)
        places.float().mean(0)
        return values * 2

    args = (torch.randn(3, 5),)
    graph = capture(export(Of(run), args, {}), args, {})
    assert [node.target for node in graph.nodes] == ["aten.topk.default", "getitem", "aten.mul.Tensor"]
    assert graph.nodes[0].read == {0}


def test_export_refuses_quietly(capfd: pytest.CaptureFixture[str]) -> None:
    class Branch(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(CaptureError, match="control flow"):
        export(Branch(), (torch.randn(2, 3),), {})
    assert capfd.readouterr().err == ""


def test_a_number_read_from_a_tensor_is_named_with_its_line() -> None:
    class Labelled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * nn.functional.one_hot(torch.tensor([0, 1, 1])).sum()

    with pytest.raises(CaptureError) as caught:
        export(Labelled(), (torch.zeros(2, 3),), {})
    assert "; at test_capture.py:" in caught.value.facts and "one_hot(torch.tensor([0, 1, 1]))" in caught.value.facts
    assert "one_hot without num_classes" in caught.value.remedy


def test_torchscript_is_traced_under_its_own_names() -> None:
    case = CASES["joint major"]
    model = case.model()
    (x,), _ = case.steps(1)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.trace(model, (x,), check_trace=False)
    traced = trace(scripted, (x,), {})
    assert set(traced.state_dict()) <= set(model.state_dict())
    with torch.no_grad():
        assert torch.equal(traced(x), model(x))


def test_examples_that_do_not_fit() -> None:
    program = export(nn.Linear(4, 2), (torch.zeros(3, 4),), {})
    with pytest.raises(ModelRunError, match="CH208"):
        capture(program, (torch.zeros(3, 5),), {})
    with pytest.raises(ModelRunError, match="2 given"):
        capture(program, (torch.zeros(3, 4), torch.zeros(1)), {})


@pytest.mark.one_in(2)
@pytest.mark.parametrize(
    ("function", "gone"),
    [
        (lambda x: torch.divide(x, 1 + x * x), ("divide",)),
        (lambda x: torch.concat([x, x]).arctan(), ("concat", "arctan")),
        (lambda x: nn.functional.mse_loss(x, x.sin(), reduction="none"), ("mse_loss",)),
        (lambda x: nn.functional.kl_div(x, x.exp(), reduction="none"), ("kl_div", "xlogy")),
    ],
    ids=["an alias", "two", "a loss", "parts of parts"],
)
def test_ops_without_a_rule_are_taken_apart(function: Callable[[Tensor], Tensor], gone: tuple[str, ...]) -> None:
    args = (torch.randn(3, 4),)
    found = {node.target for node in capture(export(Of(function), args, {}), args, {}).nodes}
    found.discard("getitem")
    assert found <= registry().keys() and not {target.split(".")[1] for target in found} & {*gone}


class InAList(nn.Module):
    """Weights that are registered, and read through a list."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = [(nn.Parameter(normal(12, 16)), torch.tanh), (nn.Parameter(normal(16, 12)), torch.atan)]
        for number, (weight, _) in enumerate(self.layers):
            self.register_parameter(f"w{number}", weight)

    def forward(self, x: Tensor) -> Tensor:
        y = x.flatten(1)
        for weight, act in self.layers:
            y = act(y @ weight)
        return y.view(-1, 6, 2)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("method", ["match", "project"])
def test_weights_that_are_also_read_through_a_list(method: str, tmp_path: Path) -> None:
    found = converted(InAList(), method=method)
    assert residual(found, (3, 6, 2)) <= ROUNDING
    assert verdicts(found)[:2] == (True, True)
    assert verified_file(stored(InAList(), tmp_path, method=method), (3, 6, 2))[1].passed


@pytest.mark.parametrize("part", [nn.Linear(12, 12), nn.Parameter(torch.zeros(12, 12)), normal(12, 12)])
def test_a_part_called_as_graphs_call_their_own(part: nn.Module | Tensor) -> None:
    """PyTorch's export of it fails in ways of its own; as a module it is averaged."""

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(12, 12)
            setattr(self, "graph", part)  # noqa: B010

        def forward(self, x: Tensor) -> Tensor:
            own: Any = self.graph
            y = own(x.flatten(1)) if isinstance(own, nn.Module) else x.flatten(1) @ own
            return self.last(y.tanh()).view(x.shape)

    net = trained(Named())
    with pytest.raises(CaptureError) as caught:
        converted(net)
    facts = "PyTorch's graphs have an attribute of this name themselves, which a part of the network cannot replace"
    assert f"the network's attribute 'graph': {facts}" in str(caught.value)
    assert caught.value.remedy == "rename it (graph_), or use --method average, which needs no graph"
    assert residual(converted(net, method="average"), (3, 6, 2)) <= ROUNDING
