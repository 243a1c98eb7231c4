"""Rows of last layers of which nothing is claimed, fitted to the original's answers once the layers before changed.

Such a row is bound by no mirror, so it is a least squares fit of its own: of what the original computes there, on what
the converted network hands to the layer. It is pulled towards the original's row, so that a layer whose inputs have
not changed keeps its rows as they are.

A specification may leave out entries of an output. The layer that gives them, "out in", has claimed rows, which a
method makes symmetric, and dropped ones, which are fitted here: the change c is the least one that minimises
|G c - m|^2, where G is what the layer is given now, and m what the dropped rows are off by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram

from chiralize.graph import rewrite
from chiralize.graph.fixed_sizes import unhooked
from chiralize.graph.running import Arguments, Call
from chiralize.problem.partial import Head

_RIDGE = 1e-6


@dataclass(frozen=True)
class _Seen:
    """The inputs and answers of a layer, "sample number"."""

    given: torch.Tensor
    answered: torch.Tensor


def fitted_rows(
    program: ExportedProgram, values: Mapping[str, torch.Tensor], heads: Sequence[Head], calls: Sequence[Call]
) -> dict[str, torch.Tensor]:
    """The weights of the heads, by name, with rows that are fitted where nothing is claimed of them.

    program: the original.  values: the weights of the result, of which these rows are still the original's.
    """
    before = _recorded(program, heads, calls)
    after = _recorded(rewrite.program_with_weights(program, values), heads, calls)
    fitted: dict[str, torch.Tensor] = {}
    for head in heads:
        # what the original answers in these rows, less what they answer now to other inputs: the change makes up for it
        rows = list(head.dropped)
        weight, target = values[head.weight].double(), before[head.node].answered[:, rows]
        if head.bias is not None:
            bias = values[head.bias].double()
        else:
            bias = weight.new_zeros(len(weight))
        given = after[head.node].given
        missing = target - given @ weight[rows].T - bias[rows]
        if head.bias is not None:
            given = torch.cat([given, given.new_ones(len(given), 1)], 1)
        change = _ridge(given, missing)  # "row column", the bias last
        fitted[head.weight] = values[head.weight].clone()
        fitted[head.weight][rows] += change[:, : weight.shape[1]].to(values[head.weight].dtype)
        if head.bias is not None:
            fitted[head.bias] = values[head.bias].clone()
            fitted[head.bias][rows] += change[:, -1].to(values[head.bias].dtype)
    return fitted


def _ridge(given: torch.Tensor, missing: torch.Tensor) -> torch.Tensor:
    """The change of rows, "row column", that makes up for what is missing; the least one among the best."""
    gram = given.T @ given
    strength = _RIDGE * float(gram.diagonal().mean()) + torch.finfo(torch.float64).tiny
    return torch.linalg.solve(gram + strength * torch.eye(len(gram), dtype=gram.dtype), given.T @ missing).T


@torch.no_grad()
def _recorded(program: ExportedProgram, heads: Sequence[Head], calls: Sequence[Call]) -> dict[str, _Seen]:
    """The inputs and answers of every head, over all calls, in double precision."""
    module = unhooked(program.module(check_guards=False))
    assert isinstance(module, fx.GraphModule)
    recorder = _Recorder(module, {head.node for head in heads})
    for call in calls:
        recorder.run_call(call)
    seen = {}
    for node, pairs in recorder.seen.items():
        seen[node] = _Seen(torch.cat([pair.given for pair in pairs]), torch.cat([pair.answered for pair in pairs]))
    return seen


class _Recorder(fx.Interpreter):
    """Runs a graph and keeps what some layers are given and answer."""

    def __init__(self, module: fx.GraphModule, names: set[str]) -> None:
        super().__init__(module)
        self.names = names
        self.seen: dict[str, list[_Seen]] = {name: [] for name in names}

    def run_call(self, call: Call) -> None:
        """Run the graph on the arguments of one call."""
        self.run(*Arguments.of(*call).leaves, enable_io_processing=False)

    def run_node(self, n: fx.Node) -> Any:
        """One op; of a layer that is asked for, with its input and its answer kept."""
        answer = super().run_node(n)
        if n.name in self.names:
            given = self.fetch_args_kwargs_from_env(n)[0][0]
            flat = given.detach().double().reshape(-1, given.shape[-1])
            self.seen[n.name].append(_Seen(flat, answer.detach().double().reshape(-1, answer.shape[-1])))
        return answer
