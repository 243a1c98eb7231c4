"""Rewriting an exported program into ops that write nothing in place, and that have a rule or cannot be taken apart.

It stands between `export` and `capture.read`, and is given the ops that have a rule. Where a program writes in place,
or calls an op without a rule, torch takes it apart, which takes one to three times as long as the export:

    y = x + 1;  y.relu_();  return y * 2         ->    y = x + 1;  z = y.relu();  return z * 2

`x[:, 0] = y` then is `select_scatter`, an op without a rule what torch builds it from.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import ExportGraphSignature

from chiralize.errors import CaptureError
from chiralize.errors.words import first_line
from chiralize.graph.execution import arguments_of, holds_tensor, target_of, writes
from chiralize.graph.quiet import quiet

_DEEPEST = 3
"""Times that a program is taken apart: what an op is built from may be built from others again. In no network of the
zoo or of 16 published ones was a second time needed."""
_COPY = torch.ops.aten.copy.default


class _EveryOp(Container[str]):
    def __contains__(self, _: object) -> bool:
        return True


EVERY_OP = _EveryOp()


def functional(program: ExportedProgram, known: Container[str]) -> ExportedProgram:
    """The program without in-place writes, its nodes named as `capture.read` names them.

    known: names of ops that may stay as they are. Others are decomposed into the ops that torch builds them from.
    Raises CaptureError where torch cannot decompose the program.
    """
    calls = [node for node in program.graph.nodes if node.op == "call_function"]
    if all(_is_known(node, known) and not _may_write(node) for node in calls):
        return program
    program = _without_dropout(program)
    # The first turn is made even if every op is known: it also replaces the writes.
    for turn in range(_DEEPEST):
        table = _parts(program, known)
        if turn and not table:
            break
        try:
            with quiet(), torch.no_grad():
                program = program.run_decompositions(table)
        except Exception as error:
            raise CaptureError(
                "torch.export", first_line(error), "give the sizes that the network was built for"
            ) from error
    return _without_copies(program)


def _is_known(node: torch.fx.Node, known: Container[str]) -> bool:
    """Whether an op may stay whole: it is among `known`, makes no tensor of a tensor, or nothing reads it."""
    if not isinstance(node.target, torch._ops.OpOverload) or not node.users:
        return True
    operands = (source.meta.get("val") for source in node.all_input_nodes)
    maps = holds_tensor(node.meta.get("val")) and any(map(holds_tensor, operands))
    return not maps or target_of(node) in known


def _may_write(node: torch.fx.Node) -> bool:
    """Whether a call may change an argument: its schema says so, it updates statistics, or it holds a graph."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return isinstance(node.target, torch._ops.HigherOrderOperator)
    named = arguments_of(node)
    return writes(node) or any(named.get(flag) is True for flag in ("training", "use_input_stats"))


def _parts(program: ExportedProgram, known: Container[str]) -> dict[Any, Any]:
    """For every unknown op, the function that computes it from other ops, where torch has one."""
    unknown = {node.target for node in program.graph.nodes if not _is_known(node, known)}
    parts = _decompositions() if unknown else {}
    return {op: parts[op] for op in unknown if op in parts}


@cache
def _decompositions() -> Mapping[Any, Any]:
    """torch's table of decompositions, by op; filling it takes 40 ms."""
    return torch.export.default_decompositions()


def with_graph(program: ExportedProgram, graph: torch.fx.Graph, signature: ExportGraphSignature) -> ExportedProgram:
    """The program with another graph and signature, on the same weights."""
    module = torch.fx.GraphModule(program.graph_module, graph)
    weights, ranges, calls = program.state_dict, program.range_constraints, program.module_call_graph
    rest = (program.example_inputs, program.constants)
    return ExportedProgram(module, graph, signature, weights, ranges, calls, *rest, verifiers=program.verifiers)


def copied_graph(program: ExportedProgram) -> tuple[torch.fx.Graph, dict[torch.fx.Node, torch.fx.Node]]:
    """A copy of a program's graph, its nodes under the same names; and the copies by the nodes that they are of."""
    graph = torch.fx.Graph()
    copies: dict[torch.fx.Node, torch.fx.Node] = {}
    graph.output(graph.graph_copy(program.graph, copies))
    for node, copy in copies.items():
        copy.name = node.name  # fx would rename a copy of `input` or `range`, which are Python's own functions
    return graph, copies


def _without_dropout(program: ExportedProgram) -> ExportedProgram:
    """The program with what a dropout that is off reads in the place of its result, which is the same tensor.

    torch takes it for a new one when it takes a program apart, and loses a write to it.
    """
    graph, _ = copied_graph(program)
    results = graph.output_node().all_input_nodes
    for node in list(graph.nodes):
        is_off = node.target is torch.ops.aten.dropout.default and not arguments_of(node)["train"]
        if is_off and node not in results:
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    return with_graph(program, graph, program.graph_signature)


def _without_copies(program: ExportedProgram) -> ExportedProgram:
    """The program with what is copied in the place of `copy`, which has no derivative, where shape and type agree.

    A functional program copies where forward wrote to a part of a tensor (`x[:, 0] = y`). Results stay copies: a state
    must not become one of the inputs.
    """
    results = program.graph.output_node().all_input_nodes
    graph, copies = copied_graph(program)
    for node, copy in copies.items():
        if node.target is _COPY and node not in results and _is_alike(*node.args[:2]):
            new = copy.args[1]
            assert isinstance(new, torch.fx.Node)
            copy.replace_all_uses_with(new)
            graph.erase_node(copy)
    return with_graph(program, graph, program.graph_signature)


def _is_alike(old: Any, new: Any) -> bool:
    """Whether one value could stand for the other, as far as shape, type and device go. old, new: nodes, or numbers."""
    kinds: list[tuple[str, torch.dtype, torch.device]] = []
    for node in (old, new):
        value = node.meta.get("val") if isinstance(node, torch.fx.Node) else None
        if isinstance(value, Tensor):
            kinds.append((str(tuple(value.shape)), value.dtype, value.device))
    return len(kinds) == 2 and kinds[0] == kinds[1]
