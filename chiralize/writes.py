"""In-place ops on values that nobody else holds, such as `relu_` of a sum, as the ops that return a new tensor.

That is most of what networks write in place, and the same graph otherwise; `run_decompositions`, which takes any write
apart, traces the whole program twice more.

Whose memory a result is, is said by the op's schema. Ops that consist of others may return what they were given without
saying so (`dropout` in eval mode): of those only the ones in `_NEW` are known not to.
"""

from __future__ import annotations

import operator
from collections.abc import Container, Mapping
from typing import Any

import torch
from torch.export import ExportedProgram

_NEW = {f"aten::{name}" for name in (
    "linear", "matmul", "conv1d", "conv2d", "conv3d", "conv1d.padding", "conv2d.padding", "conv3d.padding",
    "conv_transpose1d", "conv_transpose2d.input", "conv_transpose3d.input", "batch_norm", "layer_norm", "group_norm",
    "instance_norm",
)}  # fmt: skip


def without_lone_writes(program: ExportedProgram) -> ExportedProgram:
    """The program with in-place ops on values of their own as their functional twins, under the names they had.

    The program itself where there are none, or others are left.
    """
    order = {node: place for place, node in enumerate(program.graph.nodes)}
    found: dict[str, Any] = {}
    for node in order:
        if writes(node):
            twin = _twin(node)
            if twin is None or not _is_alone(node, order, found):
                return program
            found[node.name] = twin
    if not found:
        return program
    graph = torch.fx.Graph()
    graph.output(graph.graph_copy(program.graph, {}))
    for node in graph.nodes:
        node.target = found.get(node.name, node.target)
    return ExportedProgram(
        torch.fx.GraphModule(program.graph_module, graph), graph, program.graph_signature, program.state_dict,
        program.range_constraints, program.module_call_graph, program.example_inputs, program.constants,
        verifiers=program.verifiers,
    )  # fmt: skip


def writes(node: torch.fx.Node) -> bool:
    """Whether an op says that it changes one of its arguments."""
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable


def _twin(node: torch.fx.Node) -> Any:
    """The op that returns what an in-place op writes; None where there is none, or the two might differ."""
    target = node.target
    assert isinstance(target, torch._ops.OpOverload)
    schema, name = target._schema, target._opname.removesuffix("_")
    written = [place for place, own in enumerate(schema.arguments) if own.alias_info is not None]
    held = (own.meta.get("val") for own in node.all_input_nodes)
    types = {value.dtype for value in held if isinstance(value, torch.Tensor)}
    if written != [0] or name == target._opname or len(types) != 1 or not types.pop().is_floating_point:
        return None  # a result of another type would be rounded on being written
    twin = getattr(getattr(torch.ops.aten, name, None), target._overloadname, None)
    if twin is None or twin._schema.is_mutable or len(twin._schema.returns) != 1:
        return None
    names = [[own.name for own in op._schema.arguments] for op in (target, twin)]
    alike = names[0] == names[1] or (not node.kwargs and len(names[0]) == len(names[1]))
    return twin if alike else None


def _is_alone(node: torch.fx.Node, order: Mapping[torch.fx.Node, int], twins: Container[str]) -> bool:
    """Whether nothing sees the write but who reads its result. twins: ops before it that write no more."""
    source = node.args[0]
    if not isinstance(source, torch.fx.Node) or not node.users:
        return False
    maker = source.args[0] if source.target is operator.getitem else source
    return (
        isinstance(maker, torch.fx.Node)
        and (maker.name in twins or _makes_new(maker))
        and all(order[user] < order[node] and _makes_new(user) for user in source.users if user is not node)
    )


def _makes_new(node: torch.fx.Node) -> bool:
    """Whether the results of an op are memory of their own, and nothing that it was given is written."""
    target = node.target
    if not isinstance(target, torch._ops.OpOverload):
        return False
    if any(own.alias_info is not None for own in (*target._schema.arguments, *target._schema.returns)):
        return False
    consists_of_others = torch._C._dispatch_has_kernel_for_dispatch_key(target.name(), "CompositeImplicitAutograd")
    return not consists_of_others or target.name() in _NEW
