"""Rewriting an exported program into ops that write nothing in place, and that have a rule or cannot be taken apart.

It stands between `export` and `read_graph`, called by `infer/capture`, which knows the rules. From cheap to dear:
blocks without gradients are put in line, lone writes replaced, and only if a write or an op without a rule is left,
torch takes the program apart. `x[:, 0] = y` then is `select_scatter`, an op without a rule what torch builds it
from.
"""

from __future__ import annotations

import operator
from collections.abc import Container, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch.export import ExportedProgram

from chiralize.errors import CaptureError
from chiralize.errors.words import first_line
from chiralize.graph.execution import arguments_of
from chiralize.graph.local_writes import copied_graph, specs_of, with_graph, without_lone_writes, writes
from chiralize.graph.silence import quiet
from chiralize.graph.tracing import holds_tensor, target_of
from chiralize.graph.written import COPY

# Times that a program is taken apart: what an op is built from may be built from others again.
_DEEPEST = 3
_BLOCK = torch.ops.higher_order.wrap_with_set_grad_enabled


def functionalize(program: ExportedProgram, known: Container[str]) -> ExportedProgram:
    """The program without in-place writes, its nodes named as `read_graph` names them.

    known: names of ops that may stay as they are. Others are decomposed into the ops that torch builds them from.
    Decomposing takes longer than the export did; it is left out where every op is known once the writes are replaced
    that `without_lone_writes` can replace.  Raises CaptureError where torch cannot decompose the program.
    """
    program = without_blocks(program)
    lean = without_lone_writes(program)
    calls = [node for node in lean.graph.nodes if node.op == "call_function"]
    if all(_is_known(node, known) and not _may_write(node) for node in calls):
        return lean
    # The first turn is made even if every op is known: it also replaces the writes.
    for turn in range(_DEEPEST):
        table = _parts(program, known)
        if turn and not table:
            break
        try:
            with quiet():
                program = program.run_decompositions(table)
        except Exception as error:
            # Often it was traced for sizes that its own buffers do not have, or two names share a buffer that is
            # written.
            remedy, shared = "give the sizes that the network was built for", _held_twice(program)
            if shared:
                remedy = (
                    f"hold the buffer under one name alone ({shared}), or use --method average, which needs no graph"
                )
            raise CaptureError("torch.export", first_line(error), remedy) from error
    return without_copies(program)


def without_copies(program: ExportedProgram) -> ExportedProgram:
    """The program with what is copied in the place of `copy`, which has no derivative, where shape and type agree.

    A functional program copies where forward wrote to a part of a tensor (`x[:, 0] = y`). Results stay copies: a state
    must not become one of the inputs.
    """
    results = program.graph.output_node().all_input_nodes
    alike: list[str] = []
    for node in program.graph.nodes:
        if node.target is COPY and node not in results and _is_alike(*node.args[:2]):
            alike.append(node.name)
    if not alike:
        return program
    graph, copies = copied_graph(program)
    for node in filter(lambda copy: copy.name in alike, list(copies.values())):
        new = node.args[1]
        assert isinstance(new, torch.fx.Node)
        node.replace_all_uses_with(new)
        graph.erase_node(node)
    return with_graph(program, graph, program.graph_signature)


def _is_alike(old: Any, new: Any) -> bool:
    """Whether one value could stand for the other, as far as shape, type and device go. old, new: nodes, or numbers."""
    kinds: list[tuple[str, torch.dtype, torch.device]] = []
    for node in (old, new):
        value = node.meta.get("val") if isinstance(node, torch.fx.Node) else None
        if isinstance(value, torch.Tensor):
            kinds.append((str(tuple(value.shape)), value.dtype, value.device))
    return len(kinds) == 2 and kinds[0] == kinds[1]


def without_blocks(program: ExportedProgram) -> ExportedProgram:
    """The program with the ops of every block in place of its call.

    A block is a stretch that export records as a graph of its own, because gradients are off in it. A policy's forward
    is often one such block. `run_decompositions` would trace everything twice more to take it apart.
    """
    blocks = {node: _block(program, node) for node in program.graph.nodes if node.target is _BLOCK}
    if not blocks or None in blocks.values():
        return program
    graph, copies = copied_graph(program)
    for node, block in blocks.items():
        assert block is not None
        _inline(graph, copies[node], block)
    results = graph.output_node().args[0]
    assert isinstance(results, (tuple, list))
    signature = program.graph_signature
    return with_graph(program, graph, replace(signature, output_specs=specs_of(results, signature)))


def _block(program: ExportedProgram, call: torch.fx.Node) -> torch.fx.Graph | None:
    """The graph of the block that is called; None where it is more than ops one after another."""
    held = call.args[1]
    assert isinstance(held, torch.fx.Node)
    block = getattr(program.graph_module, str(held.target)).graph
    if any(node.op not in ("placeholder", "call_function", "output") for node in block.nodes):
        return None
    if any(reader.target is not operator.getitem for reader in call.users):
        return None
    return block


def _inline(graph: torch.fx.Graph, call: torch.fx.Node, block: torch.fx.Graph) -> None:
    """Put the ops of a block in place of its call, in place; its results get the names under which they were read.

    So names stay what `verify` and reports know: `linear` of a block is `linear` of the graph.
    """
    operands = iter(call.args[2:])
    values: dict[torch.fx.Node, Any] = {}
    with graph.inserting_before(call):
        for node in block.nodes:
            if node.op == "placeholder":
                values[node] = next(operands)
            elif node.op == "call_function":
                values[node] = graph.node_copy(node, lambda other: values[other])
    results: Any = block.output_node().args[0]
    for reader in list(call.users):
        source = results[reader.args[1]]
        reader.replace_all_uses_with(values[source])
        graph.erase_node(reader)
        if source.op == "call_function":
            # A result that is an operand of the block has a name already.
            values[source].name = reader.name
    held = call.args[1]
    assert isinstance(held, torch.fx.Node)
    # Several calls may share a block; the last one takes it along.
    graph.erase_node(call)
    if not held.users:
        graph.erase_node(held)


def _held_twice(program: ExportedProgram) -> str:
    """The names of a buffer that has several, such as `a.h is b.h` of a module held twice; "" where none has."""
    names: dict[int, list[str]] = {}
    for name, tensor in (*program.state_dict.items(), *program.constants.items()):
        if isinstance(tensor, torch.Tensor) and tensor.numel() and not isinstance(tensor, torch.nn.Parameter):
            names.setdefault(tensor.untyped_storage()._cdata, []).append(name)
    shared = (aliases for aliases in names.values() if len(aliases) > 1)
    return " is ".join(next(shared, ()))


def _parts(program: ExportedProgram, known: Container[str]) -> dict[Any, Any]:
    """For every unknown op, the function that computes it from other ops, where torch has one."""
    unknown = {node.target for node in program.graph.nodes if not _is_known(node, known)}
    parts = _decompositions() if unknown else {}
    return {op: parts[op] for op in unknown if op in parts}


@cache
def _decompositions() -> Mapping[Any, Any]:
    """torch's table of decompositions, by op; filling it takes 40 ms."""
    return torch.export.default_decompositions()


def _is_known(node: torch.fx.Node, known: Container[str]) -> bool:
    """Whether an op may stay whole: it is among `known`, or makes no tensor of a tensor (sizes), or nothing reads
    it.
    """
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
