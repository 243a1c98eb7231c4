"""Exports write float32 into their casts; a float64 copy casts to float64 in their place, where that rounds nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.errors import ModelRunError
from chiralize.graph.running import Runner
from chiralize.graph.widening import has_float32_written_in
from tests.support.small_body import POSE, normal, turned

X = normal(3, 6, 2).float()


class Cast(nn.Module):
    """Two layers, and between them what is made of their dtype."""

    def __init__(self, between: Callable[[Tensor, Tensor], Tensor], off: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(12, 16), nn.Linear(16, 12)
        self.between, self.off = between, off

    def one(self, x: Tensor) -> Tensor:
        """One view."""
        hidden = self.between(torch.tanh(self.first(x.flatten(1))), x)
        return self.last(hidden).view_as(x)

    def forward(self, x: Tensor) -> Tensor:
        return (1 + self.off) * self.one(x) + turned(self.one(turned(x)))


WRITTEN: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "a mask": lambda hidden, x: hidden * (torch.arange(16) > 5).to(x.dtype),
    "of a softmax": lambda hidden, x: hidden.softmax(-1, dtype=torch.float32).to(x.dtype),
    "of numbers": lambda hidden, x: hidden + torch.arange(16, dtype=x.dtype),
}
STAYS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "finer values are cut": lambda hidden, x: (hidden.double() * 1.1).to(x.dtype),
    "bits are read": lambda hidden, x: hidden + hidden.view(torch.int32).view(torch.float32),
}


def exported(between: Callable[[Tensor, Tensor], Tensor], off: float = 0.0) -> torch.export.ExportedProgram:
    return torch.export.export(Cast(between, off).eval(), (X,))


@pytest.mark.parametrize("name", WRITTEN)
def test_casts_to_the_one_dtype_of_a_graph_become_wide(name: str) -> None:
    module = exported(WRITTEN[name]).module()
    assert has_float32_written_in(module)
    with Runner(module, double=True) as runner:
        (answer,) = runner.run([((X,), {})]).steps
    assert answer.dtype == torch.float64
    with torch.no_grad():
        torch.testing.assert_close(answer, module(X).double(), rtol=0, atol=1e-5)
        assert module(X).dtype == torch.float32  # the network itself is as it was


@pytest.mark.parametrize("name", WRITTEN)
def test_verdicts_of_such_files_are_in_float64(name: str) -> None:
    """A fault of 1e-6, far below what float32 would allow."""
    for off, passes in ((0.0, True), (1e-6, False)):
        report = chiralize.verify(exported(WRITTEN[name], off), parse_spec(POSE), X)
        assert (report.judgement.numeric.dtype, report.judgement.numeric.passed) == ("float64", passes)


@pytest.mark.parametrize("name", STAYS)
def test_what_a_cast_rounds_stays_and_the_report_says_which_bound_that_gives(name: str) -> None:
    report = chiralize.verify(exported(STAYS[name]), parse_spec(POSE), X)
    assert report.judgement.numeric.dtype == "float32"
    note = report.judgement.numeric.notes[0]
    assert note.startswith("run in float32 alone, whose rounding allows residuals of ")
    assert "float32 is written into its graph" in note


def untold() -> torch.fx.GraphModule:
    """A graph that makes numbers in float32, and says of nothing else what it holds, as taken-apart layers do."""
    module = exported(WRITTEN["of numbers"]).module()
    assert isinstance(module, torch.fx.GraphModule)
    for node in module.graph.nodes:
        if torch.float32 not in node.kwargs.values():
            node.meta.pop("val", None)
    return module


def answer_of(module: torch.nn.Module) -> Tensor:
    with Runner(module, double=True) as runner:
        return runner.run([((X,), {})]).steps[0]


def test_layers_that_were_taken_apart_record_no_values() -> None:
    assert answer_of(untold()).dtype == torch.float64


@pytest.mark.parametrize("cast", ["half", "bfloat16", "float"])
def test_casts_that_nothing_records_stay(cast: str) -> None:
    """Then numbers stay in float32, which the float64 layer behind them refuses."""
    module = untold()
    last = next(node for node in reversed(module.graph.nodes) if "linear" in str(node.target))
    with module.graph.inserting_before(last):
        read = last.args[0]
        last.replace_input_with(read, module.graph.call_method(cast, (read,)))
    module.recompile()
    with pytest.raises(ModelRunError, match="dtype"):
        answer_of(module)
