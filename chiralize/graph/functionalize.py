"""An exported program without in-place writes, in ops that are known or that consist of no others."""

from __future__ import annotations

import operator
from collections.abc import Container, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import TensorArgument

from chiralize.errors import CaptureError, first_line
from chiralize.graph.local_writes import without_lone_writes, writes
from chiralize.graph.silence import quiet
from chiralize.graph.tracing import holds_tensor, target_of

_DEEPEST = 3
_BLOCK = torch.ops.higher_order.wrap_with_set_grad_enabled


def functionalize(program: ExportedProgram, known: Container[str]) -> ExportedProgram:
    """The program without in-place writes, its nodes called as `read_graph` calls them.

    known: ops that may stay as they are, by name. Others become what torch says that they consist of.
    Decomposing takes longer than the export did, and is left out where every op is known, or would be if it wrote into
    no value of its own.  Raises CaptureError where torch cannot take the program apart.
    """
    program = without_blocks(program)
    lean = without_lone_writes(program)
    if all(_is_known(node, known) and not _may_write(node) for node in lean.graph.nodes if node.op == "call_function"):
        return lean
    for turn in range(_DEEPEST):
        table = _parts(program, known)
        if turn and not table:
            break
        try:
            with quiet():
                program = program.run_decompositions(table)
        except Exception as error:  # it was traced for sizes that its own buffers do not have, ...
            remedy, shared = "give the sizes that the network was built for", _held_twice(program)
            if shared:
                remedy = f"hold the buffer under one name alone ({shared}), or use --method lift, which needs no graph"
            raise CaptureError("torch.export", first_line(error), remedy) from error
    return program


def without_blocks(program: ExportedProgram) -> ExportedProgram:
    """The program with what was recorded apart, because gradients are off there, in its place among the other ops.

    A policy's forward is often one such block. `run_decompositions` would trace everything twice more to take it apart.
    """
    blocks = {node: _block(program, node) for node in program.graph.nodes if node.target is _BLOCK}
    if not blocks or None in blocks.values():
        return program
    graph = torch.fx.Graph()
    copies: dict[torch.fx.Node, torch.fx.Node] = {}
    graph.output(graph.graph_copy(program.graph, copies))
    for node, copy in copies.items():
        copy.name = node.name  # a copy would not be called `input` or `range`, as Python's own functions are
    for node, block in blocks.items():
        assert block is not None
        _inline(graph, copies[node], block)
    return _with_graph(program, graph)


def _block(program: ExportedProgram, call: torch.fx.Node) -> torch.fx.Graph | None:
    """What a block consists of; None where that is more than ops one after another."""
    held = call.args[1]
    assert isinstance(held, torch.fx.Node)
    block = getattr(program.graph_module, str(held.target)).graph
    plain = all(node.op in ("placeholder", "call_function", "output") for node in block.nodes)
    return block if plain and all(reader.target is operator.getitem for reader in call.users) else None


def _inline(graph: torch.fx.Graph, call: torch.fx.Node, block: torch.fx.Graph) -> None:
    """The ops of a block in the place of its call, its results under the names under which they were read."""
    given = iter(call.args[2:])
    values: dict[torch.fx.Node, Any] = {}
    with graph.inserting_before(call):
        for node in block.nodes:
            if node.op == "placeholder":
                values[node] = next(given)
            elif node.op == "call_function":
                values[node] = graph.node_copy(node, lambda other: values[other])
    results: Any = block.output_node().args[0]
    for reader in list(call.users):
        source = results[reader.args[1]]
        reader.replace_all_uses_with(values[source])
        graph.erase_node(reader)
        if source.op == "call_function":
            values[source].name = reader.name
    held = call.args[1]
    assert isinstance(held, torch.fx.Node)
    graph.erase_node(call)
    if not held.users:
        graph.erase_node(held)


def _with_graph(program: ExportedProgram, graph: torch.fx.Graph) -> ExportedProgram:
    """The program with another graph of the same inputs and results."""
    signature, results = program.graph_signature, graph.output_node().args[0]
    assert isinstance(results, (tuple, list))
    named = [
        replace(spec, arg=TensorArgument(now.name)) if isinstance(now, torch.fx.Node) else spec
        for spec, now in zip(signature.output_specs, results, strict=True)
    ]
    return ExportedProgram(
        torch.fx.GraphModule(program.graph_module, graph), graph, replace(signature, output_specs=named),
        program.state_dict, program.range_constraints, program.module_call_graph, program.example_inputs,
        program.constants, verifiers=program.verifiers,
    )  # fmt: skip


def _held_twice(program: ExportedProgram) -> str:
    """Names of a buffer that has several, such as one of a module that two others hold; "" where none has."""
    names: dict[int, list[str]] = {}
    for name, tensor in (*program.state_dict.items(), *program.constants.items()):
        if isinstance(tensor, torch.Tensor) and tensor.numel() and not isinstance(tensor, torch.nn.Parameter):
            names.setdefault(tensor.untyped_storage()._cdata, []).append(name)
    return next((" is ".join(own) for own in names.values() if len(own) > 1), "")


def _parts(program: ExportedProgram, known: Container[str]) -> dict[Any, Any]:
    """What unknown ops consist of, where torch knows."""
    without = {node.target for node in program.graph.nodes if not _is_known(node, known)}
    parts = _decompositions() if without else {}
    return {op: parts[op] for op in without if op in parts}


@cache
def _decompositions() -> Mapping[Any, Any]:
    """What every op consists of; filling torch's table takes 40 ms."""
    return torch.export.default_decompositions()


def _is_known(node: torch.fx.Node, known: Container[str]) -> bool:
    """Whether nothing needs to know what an op consists of; of sizes, and of what nobody reads, nothing does."""
    if not isinstance(node.target, torch._ops.OpOverload) or not node.users:
        return True
    held = (own.meta.get("val") for own in node.all_input_nodes)
    maps = holds_tensor(node.meta.get("val")) and any(map(holds_tensor, held))
    return not maps or target_of(node) in known


def _may_write(node: torch.fx.Node) -> bool:
    """Whether a call changes one of its arguments: it says so, keeps statistics, or holds a graph of its own."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return isinstance(node.target, torch._ops.HigherOrderOperator)
    given = zip(node.target._schema.arguments, node.args, strict=False)
    named = {argument.name: value for argument, value in given} | node.kwargs
    return writes(node) or any(named.get(flag) is True for flag in ("training", "use_input_stats"))
